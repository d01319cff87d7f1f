//! Questions over a small lake, held against twins that go through every person's history by the words of the
//! definition: in a zone whose clocks change on the way, in any number of parts, and sorted on disk.

#![expect(clippy::cast_possible_truncation, reason = "of small numbers")]

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::Float64Array;
use arrow::array::StringArray;

use crate::analysis::register;
use crate::query::Session;
use crate::query::testing::Row;
use crate::query::testing::TestLake;
use crate::query::testing::ask;
use crate::query::testing::queries_of;
use crate::quote::literal;
use crate::schema::Property;
use crate::time::Day;
use crate::time::Micros;
use crate::time::Zone;
use crate::time::parse_zone;
use crate::time::zones;
use crate::value::ScalarType;

/// 2026-10-22, three days before clocks in Berlin go back.
const FIRST: i32 = 20_748;
const DAYS: i32 = 6;
const ZONE: &str = "Europe/Berlin";
const MINUTE: i64 = 60_000_000;

/// One event of the history.
#[derive(Clone, Debug)]
struct Event {
    person: i64,
    kind: &'static str,
    at: i64,
    place: Option<&'static str>,
    price: Option<i32>,
}

fn zone() -> Zone {
    parse_zone(ZONE).unwrap()
}

fn local(at: i64) -> Day {
    zones::local_day(Micros(at), zone()).unwrap()
}

/// A history that is the same every time, of so many events.
fn history(count: usize, persons: u64) -> Vec<Event> {
    let mut seed = 20_261_025_u64;
    let mut below = |bound: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % bound
    };
    let mut events = Vec::new();
    for _ in 0..count {
        let day = Day(FIRST + below(DAYS as u64) as i32);
        events.push(Event {
            person: 1 + below(persons) as i64,
            kind: ["view", "buy"][usize::from(below(4) == 0)],
            // Many of the same minute, and so of the same instant.
            at: day.start().0 + below(1_440) as i64 * MINUTE,
            place: [None, Some("a"), Some("b"), Some("c")][below(4) as usize],
            price: Some(below(9) as i32).filter(|price| *price > 0),
        });
    }
    events
}

/// The history as files: a few for each day and kind.
async fn lake(events: &[Event]) -> TestLake {
    let mut lake = TestLake::new();
    let properties = || {
        vec![Property::scalar("place", ScalarType::String), Property::scalar("price", ScalarType::Decimal)]
    };
    lake.define("view", properties());
    lake.define("buy", properties());
    let persons: BTreeSet<i64> = events.iter().map(|event| event.person).collect();
    persons.iter().for_each(|person| lake.person(*person, None));
    for (piece, of) in events.chunks(events.len().div_ceil(3).max(1)).enumerate() {
        let mut files: BTreeMap<(&str, i32), Vec<(usize, &Event)>> = BTreeMap::new();
        for (at, event) in of.iter().enumerate() {
            files.entry((event.kind, Day::of(Micros(event.at)).0)).or_default().push((at, event));
        }
        for ((kind, day), rows) in files {
            let day = Day(day);
            let number = |at: usize| (piece * events.len() + at) as i64;
            let keys: Vec<Row> = rows
                .iter()
                .map(|(at, event)| (event.person, event.at - day.start().0, number(*at)))
                .collect();
            let places: StringArray = rows.iter().map(|(_, event)| event.place).collect();
            let prices: Float64Array = rows.iter().map(|(_, event)| event.price.map(f64::from)).collect();
            lake.write_exactly(kind, day, &keys, vec![Arc::new(places) as ArrayRef, Arc::new(prices)]).await;
        }
    }
    lake
}

fn session(lake: &TestLake, memory: usize, threads: usize) -> Session {
    let queries = register(queries_of(memory, threads)).unwrap();
    queries.session(lake.snapshot(), lake.store(), &[]).unwrap()
}

async fn answer(session: &Session, question: &str) -> Vec<String> {
    ask(session, &format!("SELECT * FROM analysis({})", literal(question))).await.unwrap()
}

fn histories(events: &[Event]) -> BTreeMap<i64, Vec<&Event>> {
    let mut persons: BTreeMap<i64, Vec<&Event>> = BTreeMap::new();
    for event in events {
        persons.entry(event.person).or_default().push(event);
    }
    persons.values_mut().for_each(|of_one| of_one.sort_by_key(|event| event.at));
    persons
}

/// First views, and any other event on the same day or so many days later, by the calendar of the zone.
fn retention(events: &[Event], last: i32) -> Vec<String> {
    let mut cohorts: BTreeMap<(Day, i32), (usize, usize)> = BTreeMap::new();
    for of_one in histories(events).values() {
        let Some(first) = of_one.iter().position(|event| event.kind == "view") else { continue };
        let start = of_one[first];
        for day in 0..=last {
            let comes_back = of_one.iter().enumerate().any(|(at, event)| {
                at != first && event.at >= start.at && (local(event.at).0 - local(start.at).0).max(0) == day
            });
            let cell = cohorts.entry((local(start.at), day)).or_default();
            *cell = (cell.0 + 1, cell.1 + usize::from(comes_back));
        }
    }
    let line = |((cohort, day), (persons, back)): (&(Day, i32), &(usize, usize))| {
        format!("{}|{day}|{persons}|{back}", cohort.iso())
    };
    cohorts.iter().map(line).collect()
}

fn lifecycle(events: &[Event]) -> Vec<String> {
    let days: Vec<BTreeSet<i32>> = histories(events)
        .values()
        .map(|of_one| of_one.iter().map(|event| local(event.at).0).collect())
        .collect();
    let all = days.iter().flatten();
    let (first, last) = (*all.clone().min().unwrap(), *all.max().unwrap());
    let count = |so: &dyn Fn(&BTreeSet<i32>) -> bool| days.iter().filter(|days| so(days)).count();
    (first..=last)
        .map(|day| {
            let before = |days: &BTreeSet<i32>| days.contains(&(day - 1));
            let ever = |days: &BTreeSet<i32>| days.iter().any(|one| *one < day);
            let new = count(&|days| days.contains(&day) && !ever(days));
            let returning = count(&|days| days.contains(&day) && before(days));
            let back = count(&|days| days.contains(&day) && !before(days) && ever(days));
            let dormant = count(&|days| !days.contains(&day) && before(days));
            format!("{}|{new}|{returning}|{back}|{dormant}", Day(day).iso())
        })
        .collect()
}

fn stickiness(events: &[Event]) -> Vec<String> {
    let active = histories(events);
    let days =
        |of_one: &Vec<&Event>| of_one.iter().map(|event| local(event.at)).collect::<BTreeSet<_>>().len();
    let most = active.values().map(days).max().unwrap();
    let count = |so: &dyn Fn(usize) -> bool| active.values().filter(|of_one| so(days(of_one))).count();
    (1..=most).map(|k| format!("{k}|{}|{}", count(&|days| days == k), count(&|days| days >= k))).collect()
}

/// Sessions, persons and events of each local day in which a session begins, where two hours part sessions.
fn sessions(events: &[Event]) -> Vec<String> {
    let mut days: BTreeMap<Day, (usize, BTreeSet<i64>, usize)> = BTreeMap::new();
    for (person, of_one) in histories(events) {
        let mut begins = of_one[0].at;
        for (place, event) in of_one.iter().enumerate() {
            let is_new = place == 0 || event.at - of_one[place - 1].at > 120 * MINUTE;
            if is_new {
                begins = event.at;
            }
            let day = days.entry(local(begins)).or_default();
            day.0 += usize::from(is_new);
            day.1.insert(person);
            day.2 += 1;
        }
    }
    days.iter()
        .map(|(day, (count, persons, events))| format!("{}|{count}|{}|{events}", day.iso(), persons.len()))
        .collect()
}

/// Views, the persons of buys and the sum of their prices on each local day.
fn trend(events: &[Event]) -> Vec<String> {
    let mut days: BTreeMap<Day, (usize, BTreeSet<i64>, i32)> = BTreeMap::new();
    for event in events {
        let day = days.entry(local(event.at)).or_default();
        if event.kind == "view" {
            day.0 += 1;
        } else {
            day.1.insert(event.person);
            day.2 += event.price.unwrap_or(0);
        }
    }
    days.iter()
        .map(|(day, (views, persons, sum))| format!("{}|{views}|{}|{sum}.0", day.iso(), persons.len()))
        .collect()
}

/// Three views within an hour and no buy in the hour after the last of them, which is over.
fn sequence(events: &[Event], as_of: i64) -> Vec<String> {
    let holds = |of_one: &Vec<&Event>| {
        let views: Vec<i64> =
            of_one.iter().filter(|event| event.kind == "view").map(|event| event.at).collect();
        let buys = || of_one.iter().filter(|event| event.kind == "buy");
        views.windows(3).any(|three| {
            let (first, last) = (three[0], three[2]);
            let end = last + 60 * MINUTE;
            last - first <= 60 * MINUTE && end < as_of && !buys().any(|buy| last < buy.at && buy.at <= end)
        })
    };
    histories(events)
        .into_iter()
        .filter(|(_, of_one)| holds(of_one))
        .map(|(person, _)| person.to_string())
        .collect()
}

/// Columns of the lines of an answer.
fn only(lines: &[String], columns: &[usize]) -> Vec<String> {
    let pick = |line: &String| {
        let cells: Vec<&str> = line.split('|').collect();
        columns.iter().map(|at| cells[*at]).collect::<Vec<_>>().join("|")
    };
    lines.iter().map(pick).collect()
}

const AS_OF: &str = "2026-10-28T20:00:00Z";

/// Questions, with the columns of their answers that the twin says.
fn questions() -> [(String, &'static [usize]); 6] {
    let of = |text: &str| format!("{{{text}, \"zone\": \"{ZONE}\", \"as_of\": \"{AS_OF}\"}}");
    [
        (
            of(
                r#""kind": "retention", "start": {"event": "view"}, "return": {"event": "*"}, "periods": 3, "shape": "cells""#,
            ),
            &[0, 1, 3, 4],
        ),
        (of(r#""kind": "lifecycle", "events": {"event": "*"}"#), &[0, 1, 2, 3, 4]),
        (of(r#""kind": "stickiness", "events": {"event": "*"}"#), &[0, 1, 2]),
        (
            of(r#""kind": "sessions", "events": {"event": "*"}, "pause": {"count": 2, "unit": "hours"}"#),
            &[0, 1, 2, 3],
        ),
        (
            of(
                r#""kind": "trend", "series": [{"events": {"event": "view"}}, {"events": {"event": "buy"}, "measure": "persons"},
                {"events": {"event": "buy"}, "measure": "sum", "value": "price"}]"#,
            ),
            &[0, 1, 2, 3],
        ),
        (
            of(
                r#""kind": "persons", "condition": {"sequence": {"steps": [{"event": "view"}, {"event": "view"}, {"event": "view"}],
                "not_followed_by": {"event": "buy"}, "within": {"count": 60, "unit": "minutes"}}}"#,
            ),
            &[0],
        ),
    ]
}

#[tokio::test]
async fn br27_answers_are_those_of_whole_histories_where_clocks_change() {
    for (count, persons) in [(80, 7), (300, 40), (2_000, 150)] {
        let events = history(count, persons);
        // Time ends where the latest event may lie.
        let as_of = crate::time::parse_instant(AS_OF, None).unwrap().0;
        let lake = lake(&events).await;
        let right = [
            retention(&events, 3),
            lifecycle(&events),
            stickiness(&events),
            sessions(&events),
            trend(&events),
            sequence(&events, as_of),
        ];
        let session = session(&lake, 64 << 20, 2);
        for ((question, columns), mut right) in questions().into_iter().zip(right) {
            let mut found = only(&answer(&session, &question).await, columns);
            if question.contains("retention") {
                right.sort();
                found.sort();
            }
            // The days up to the moment asked for have lines even where nothing happened.
            found.truncate(right.len().max(1));
            assert_eq!(found, right, "{question}");
        }
    }
}

#[tokio::test]
async fn answers_are_the_same_in_any_number_of_parts_and_on_disk() {
    let events = history(60_000, 3_000);
    let lake = lake(&events).await;
    let mut all: Vec<String> = questions().into_iter().map(|(question, _)| question).collect();
    let of = |text: &str| format!("{{{text}, \"zone\": \"{ZONE}\", \"as_of\": \"{AS_OF}\"}}");
    all.extend([
        of(r#""kind": "retention", "start": {"event": "view", "where": "price > 2"}, "return": {"event": "buy"}, "by": "place",
            "entry": "recurring", "per": "week", "on_or_after": true, "shape": "cells""#),
        of(r#""kind": "retention", "start": {"event": "view", "where": "place = 'a'"}, "return": {"event": "view"}, "by": "place",
            "entry": "first_ever", "same_value": true, "rolling": true"#),
        of(r#""kind": "paths", "anchor": {"event": "view", "where": "price = 8"}, "steps": 4"#),
        of(r#""kind": "paths", "anchor": {"event": "buy"}, "to_it": true, "through": [{"event": "view"}], "by": "place""#),
        of(r#""kind": "sessions", "events": {"event": "view"}, "entry": "place""#),
        of(r#""kind": "persons", "condition": {"sequence": {"steps": [{"event": "view"}, {"event": "buy"}, {"event": "view", "where": "price = 1"}],
            "within": {"count": 60, "unit": "minutes"}}}"#),
    ]);
    let mut right: Vec<Vec<String>> = Vec::new();
    for (threads, memory) in [(2, 256 << 20), (1, 256 << 20), (7, 256 << 20), (2, 1_200 << 10)] {
        let session = session(&lake, memory, threads);
        let small = memory < 4 << 20;
        if small {
            // Batches that are small beside the memory, as they are in earnest.
            session.run("SET datafusion.execution.batch_size = 256").await.unwrap().collect().await.unwrap();
            let sql = format!("EXPLAIN ANALYZE SELECT * FROM analysis({})", literal(&all[0]));
            let run = ask(&session, &sql).await.unwrap();
            assert!(run.iter().any(|line| line.contains("sorted_on_disk=1")), "all fitted: {run:#?}");
        }
        for (at, question) in all.iter().enumerate() {
            if small && (question.contains("paths") || question.contains("\"sessions\"")) {
                // A tree of paths is kept whole, and so are the days of sessions.
                continue;
            }
            let found = answer(&session, question).await;
            match right.get(at) {
                None => right.push(found),
                Some(right) => assert_eq!(&found, right, "{threads} parts, {memory} bytes: {question}"),
            }
        }
    }
}

/// The indexes alone, and all events of all persons: a condition that always holds takes the long way.
#[tokio::test]
async fn retention_from_indexes_is_that_of_the_events() {
    for merged in [false, true] {
        let mut lake = lake(&history(1_500, 90)).await;
        if merged {
            (1..30).for_each(|person| lake.merge(person, person + 40));
        }
        let session = session(&lake, 64 << 20, 2);
        for event in ["view", "*"] {
            for more in [
                "\"periods\": 4, \"shape\": \"cells\"",
                "\"periods\": 4, \"shape\": \"cells\", \"on_or_after\": true, \"from\": \"2026-10-24\"",
                "\"brackets\": [0, 2, 5], \"to\": \"2026-10-25\", \"as_of\": \"2026-10-27\"",
                "\"per\": \"week\", \"periods\": 1, \"from\": \"2026-10-23\", \"to\": \"2026-10-26\"",
                "\"per\": \"month\", \"periods\": 0, \"as_of\": \"2026-10-22\"",
            ] {
                let of = |filter: &str| {
                    let events = format!("{{\"event\": \"{event}\"{filter}}}");
                    format!("{{\"kind\": \"retention\", \"start\": {events}, \"return\": {events}, {more}}}")
                };
                let (short, long) = (of(""), of(", \"where\": \"TRUE\""));
                let plan = |question: &str| format!("EXPLAIN SELECT * FROM analysis({})", literal(question));
                let said = ask(&session, &plan(&short)).await.unwrap().join("\n");
                assert!(said.contains("AnswerExec: retention"), "{said}");
                let said = ask(&session, &plan(&long)).await.unwrap().join("\n");
                assert!(said.contains("RetentionExec"), "{said}");
                assert_eq!(answer(&session, &short).await, answer(&session, &long).await, "{merged} {short}");
            }
        }
    }
}

/// The same for periods in which persons were active, and for persons of buckets.
#[tokio::test]
async fn active_periods_from_indexes_are_those_of_the_events() {
    for merged in [false, true] {
        let mut lake = lake(&history(1_500, 90)).await;
        if merged {
            (1..30).for_each(|person| lake.merge(person, person + 40));
        }
        let session = session(&lake, 64 << 20, 2);
        for question in [
            r#"{"kind": "lifecycle", "events": EVENT}"#,
            r#"{"kind": "lifecycle", "events": EVENT, "from": "2026-10-24", "to": "2026-10-26", "as_of": "2026-11-01"}"#,
            r#"{"kind": "lifecycle", "events": EVENT, "per": "week", "as_of": "2026-10-25"}"#,
            r#"{"kind": "stickiness", "events": EVENT}"#,
            r#"{"kind": "stickiness", "events": EVENT, "from": "2026-10-24", "to": "2026-10-27"}"#,
            r#"{"kind": "stickiness", "events": EVENT, "per": "week"}"#,
            r#"{"kind": "trend", "series": [{"measure": "persons", "events": EVENT}]}"#,
            r#"{"kind": "trend", "series": [{"measure": "persons", "events": EVENT}], "per": "week", "moving": 2}"#,
            r#"{"kind": "trend", "series": [{"measure": "persons", "events": EVENT}, {"events": EVENT}], "cumulative": true,
                "from": "2026-10-23"}"#,
            r#"{"kind": "trend", "series": [{"measure": "persons", "events": EVENT}], "from": "2026-10-25",
                "to": "2026-10-27", "compare": true}"#,
            r#"{"kind": "trend", "series": [{"measure": "persons", "events": EVENT}], "per": "quarter",
                "from": "2026-01-01", "as_of": "2026-10-26"}"#,
        ] {
            for event in ["view", "*"] {
                let of =
                    |filter: &str| question.replace("EVENT", &format!("{{\"event\": \"{event}\"{filter}}}"));
                let (short, long) = (of(""), of(", \"where\": \"TRUE\""));
                if !question.contains("trend") {
                    let plan =
                        |question: &str| format!("EXPLAIN SELECT * FROM analysis({})", literal(question));
                    let said = ask(&session, &plan(&short)).await.unwrap().join("\n");
                    assert!(said.contains("AnswerExec: "), "{said}");
                    let said = ask(&session, &plan(&long)).await.unwrap().join("\n");
                    assert!(!said.contains("AnswerExec"), "{said}");
                }
                let found = answer(&session, &short).await;
                assert_eq!(found, answer(&session, &long).await, "{merged} {short}");
                assert!(!found.is_empty(), "{short}");
            }
        }
    }
}

/// Walks that need only who and when are fed from the indexes.
#[tokio::test]
async fn walks_over_indexes_are_those_over_events() {
    let mut lake = lake(&history(1_500, 90)).await;
    (1..30).for_each(|person| lake.merge(person, person + 40));
    let session = session(&lake, 64 << 20, 2);
    for question in [
        r#"{"kind": "lifecycle", "events": EVENT, "zone": "Europe/Berlin", "as_of": "2026-10-26T12:00:00Z"}"#,
        r#"{"kind": "sessions", "events": EVENT, "pause": {"count": 1, "unit": "hours"}}"#,
        r#"{"kind": "retention", "start": EVENT, "return": {"event": "buy"}, "zone": "Europe/Berlin", "from": "2026-10-23"}"#,
        r#"{"kind": "persons", "condition": {"sequence": {"steps": [EVENT, EVENT, {"event": "buy"}], "within": {"count": 1, "unit": "hours"},
            "time": {"absolute": {"from": "2026-10-23", "to": "2026-10-26T12:00:00Z"}}}}}"#,
        r#"{"kind": "persons", "condition": {"did": {"events": EVENT}}, "as_of": "2026-10-24T07:30:00Z"}"#,
        r#"{"kind": "persons", "condition": {"not": {"did": {"events": EVENT,
            "time": {"absolute": {"from": "2026-10-24T06:00:00Z", "to": "2026-10-24T09:00:00Z"}}}}}}"#,
        r#"{"kind": "persons", "condition": {"did": {"events": EVENT, "times": {"at_least": 3},
            "time": {"absolute": {"from": "2026-10-23", "to": "2026-10-26T12:00:00Z"}}}}}"#,
        r#"{"kind": "persons", "condition": {"did": {"events": EVENT, "times": {"at_most": 12}}}}"#,
        r#"{"kind": "persons", "condition": {"did": {"events": EVENT, "occurrence": "first",
            "time": {"absolute": {"from": "2026-10-23", "to": "2026-10-25"}}}}}"#,
        r#"{"kind": "persons", "condition": {"did": {"events": EVENT, "occurrence": "last",
            "time": {"absolute": {"to": "2026-10-26T12:00:00Z"}}}}, "as_of": "2026-10-27"}"#,
    ] {
        for event in ["view", "*"] {
            let of = |filter: &str| question.replace("EVENT", &format!("{{\"event\": \"{event}\"{filter}}}"));
            let (short, long) = (of(""), of(", \"where\": \"TRUE\""));
            if !question.contains("persons") {
                let plan = format!("EXPLAIN SELECT * FROM analysis({})", literal(&short));
                let said = ask(&session, &plan).await.unwrap().join("\n");
                assert!(said.contains(", index of "), "{said}");
            }
            let found = answer(&session, &short).await;
            assert_eq!(found, answer(&session, &long).await, "{short}");
            assert!(!found.is_empty(), "{short}");
        }
    }
}

#[tokio::test]
async fn a_question_is_a_table_like_any_other() {
    let events = history(300, 40);
    let session = session(&lake(&events).await, 64 << 20, 2);
    let stickiness = literal(&questions()[2].0);
    let whole = answer(&session, &questions()[2].0).await;
    let sql = format!("SELECT persons FROM analysis({stickiness}) AS s WHERE days = 2");
    assert_eq!(ask(&session, &sql).await.unwrap(), only(&whole[1..2], &[1]));
    let sql = format!("CREATE VIEW sticky AS SELECT days, persons AS who FROM analysis({stickiness})");
    session.run(&sql).await.unwrap().collect().await.unwrap();
    assert_eq!(ask(&session, "SELECT COUNT(*) FROM sticky").await.unwrap(), [whole.len().to_string()]);
    let twice =
        r#"{"kind": "trend", "series": [{"events": {"event": "view"}}, {"events": {"event": "view"}}]}"#;
    let sql = format!("SELECT view, \"view 2\" FROM analysis({}) LIMIT 1", literal(twice));
    let line = ask(&session, &sql).await.unwrap().remove(0);
    let (one, other) = line.split_once('|').unwrap();
    assert_eq!(one, other, "two columns of one name are told apart");
    for (wrong, said) in [
        ("'{}'", "missing field `kind`"),
        ("1", "one constant text"),
        (r#"'{"kind": "paths", "anchor": {"event": "view"}, "steps": 99}'"#, "1 to 20 steps"),
        (r#"'{"kind": "lifecycle", "events": {"event": "vew"}}'"#, "did you mean \"view\"?"),
    ] {
        let fault = ask(&session, &format!("SELECT * FROM analysis({wrong})")).await.unwrap_err().to_string();
        assert!(fault.contains(said), "{wrong}: {fault}");
    }
}
