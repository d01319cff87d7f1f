//! Funnels over a small lake: the corners of the answer, and random persons in any number of parts.

#![expect(clippy::cast_possible_truncation, reason = "of small numbers")]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::StringArray;

use proptest::prelude::*;

use crate::analysis::By;
use crate::analysis::Counting;
use crate::analysis::Excluding;
use crate::analysis::FunnelOrder;
use crate::analysis::FunnelRequest;
use crate::analysis::FunnelStep;
use crate::analysis::Listing;
use crate::analysis::Of;
use crate::analysis::Per;
use crate::analysis::Picked;
use crate::analysis::register;
use crate::query::Session;
use crate::query::testing::Row;
use crate::query::testing::TestLake;
use crate::query::testing::ask;
use crate::query::testing::june;
use crate::query::testing::queries_of;
use crate::quote::literal;
use crate::schema::Property;
use crate::sequence::Funnel;
use crate::sequence::Hit;
use crate::value::ScalarType;

fn session(lake: &TestLake, memory: usize, threads: usize) -> Session {
    let queries = register(queries_of(memory, threads)).unwrap();
    queries.session(lake.snapshot(), lake.store(), &[]).unwrap()
}

fn pick(event: &str) -> Picked {
    match event.split_once(' ') {
        Some((event, condition)) => {
            Picked { event: event.to_owned(), condition: Some(condition.to_owned()), ..Picked::default() }
        }
        None => Picked { event: event.to_owned(), ..Picked::default() },
    }
}

/// `["view path = 'x'", "buy"]` within a time, as of long after.
fn funnel(steps: &[&str], within: &str) -> FunnelRequest {
    FunnelRequest {
        steps: steps.iter().map(|one| FunnelStep { any: vec![pick(one)], ..FunnelStep::default() }).collect(),
        within: Some(within.to_owned()),
        as_of: Some("2027-01-01".to_owned()),
        ..FunnelRequest::default()
    }
}

async fn answer(session: &Session, columns: &str, request: &FunnelRequest) -> Vec<String> {
    let json = literal(&request.to_json().unwrap());
    ask(session, &format!("SELECT {columns} FROM funnel({json})")).await.unwrap()
}

async fn fault(session: &Session, request: &FunnelRequest) -> String {
    let json = literal(&request.to_json().unwrap());
    ask(session, &format!("SELECT * FROM funnel({json})")).await.unwrap_err().to_string()
}

fn texts(values: &[Option<&str>]) -> Vec<ArrayRef> {
    vec![Arc::new(values.iter().copied().collect::<StringArray>())]
}

fn defined(events: &[&str]) -> TestLake {
    let mut lake = TestLake::new();
    for event in events {
        lake.define(event, vec![Property::scalar("country", ScalarType::String)]);
    }
    lake
}

/// Person, definition, day of June, second.
async fn put(lake: &mut TestLake, events: &[(i64, &str, i32, i64, Option<&str>)]) {
    type Rows<'a> = Vec<(Row, Option<&'a str>)>;
    let mut files: BTreeMap<(&str, i32), Rows<'_>> = BTreeMap::new();
    for (at, (person, event, day, second, country)) in (0..).zip(events) {
        files.entry((event, *day)).or_default().push(((*person, *second, at), *country));
    }
    for ((event, day), rows) in files {
        let keys: Vec<Row> = rows.iter().map(|one| one.0).collect();
        let values: Vec<Option<&str>> = rows.iter().map(|one| one.1).collect();
        lake.write(event, june(day), &keys, texts(&values)).await;
    }
}

#[tokio::test]
async fn br09_the_range_is_of_the_first_step_and_open_windows_are_in_progress() {
    let mut lake = defined(&["A", "B"]);
    put(&mut lake, &[(1, "A", 30, 0, None), (2, "A", 30, 0, None), (1, "B", 35, 0, None)]).await;
    let session = session(&lake, 64 << 20, 2);
    let mut request = FunnelRequest {
        from: Some("2026-06-01".to_owned()),
        to: Some("2026-07-01".to_owned()),
        as_of: Some("2026-07-06".to_owned()),
        ..funnel(&["A", "B"], "14 days")
    };
    let columns = "step, persons, dropped, in_progress";
    assert_eq!(answer(&session, columns, &request).await, ["1|2|0|1", "2|1|0|0"]);
    request.as_of = Some("2026-07-30".to_owned());
    assert_eq!(answer(&session, columns, &request).await, ["1|2|1|0", "2|1|0|0"]);
    request.strict_range = true;
    assert_eq!(answer(&session, columns, &request).await, ["1|2|2|0", "2|0|0|0"]);
}

#[tokio::test]
async fn br10_the_list_is_the_bar_and_days_sum_to_it() {
    let mut lake = defined(&["A", "B"]);
    put(&mut lake, &[(1, "B", 1, 0, None), (1, "A", 1, 5, None), (2, "A", 2, 0, None)]).await;
    let session = session(&lake, 64 << 20, 2);
    let mut request = FunnelRequest { order: FunnelOrder::Any, ..funnel(&["A", "B"], "10 seconds") };
    let steps = answer(&session, "event, persons", &request).await;
    assert_eq!(steps, ["any 1 of 2|2", "any 2 of 2|1"]);
    request.per = Some(Per::Day);
    let days = answer(&session, "day, complete, step, persons", &request).await;
    assert_eq!(
        days,
        ["2026-06-01|true|1|1", "2026-06-01|true|2|1", "2026-06-02|true|1|1", "2026-06-02|true|2|0"]
    );
    // The day is whole as soon as the window of its last moment has passed, and not before.
    for (as_of, complete) in [("2026-06-03T00:00:09Z", "false"), ("2026-06-03T00:00:10Z", "true")] {
        let then = FunnelRequest { as_of: Some(as_of.to_owned()), ..request.clone() };
        let days = answer(&session, "day, complete", &then).await;
        assert_eq!(
            days[2..],
            [format!("2026-06-02|{complete}"), format!("2026-06-02|{complete}")],
            "{as_of}"
        );
    }
    request.per = None;
    request.listing = Some(Listing::Reached(2));
    assert_eq!(answer(&session, "\"personId\", state, seconds", &request).await, ["1|converted|5.0"]);
    request.listing = Some(Listing::DroppedAfter(1));
    assert_eq!(answer(&session, "\"personId\", state", &request).await, ["2|dropped"]);
}

#[tokio::test]
async fn br11_a_breakdown_is_of_the_chain_and_sums_to_the_whole() {
    let mut lake = defined(&["view", "buy"]);
    put(
        &mut lake,
        &[
            (1, "view", 1, 0, Some("DE")),
            (1, "buy", 1, 5, None),
            (2, "view", 1, 0, None),
            (2, "buy", 1, 5, Some("FR")),
        ],
    )
    .await;
    let session = session(&lake, 64 << 20, 2);
    let mut request = funnel(&["view", "buy"], "1 day");
    let columns = "country, step, persons";
    request.by = Some(By { property: "country".to_owned(), of: Of::Step(1), at: None });
    assert_eq!(answer(&session, columns, &request).await, ["DE|1|1", "DE|2|1", "|1|1", "|2|1"]);
    request.by = Some(By { property: "country".to_owned(), of: Of::First, at: None });
    assert_eq!(answer(&session, columns, &request).await, ["DE|1|1", "DE|2|1", "FR|1|1", "FR|2|1"]);
    request.by = Some(By { property: "country".to_owned(), of: Of::Step(2), at: None });
    assert_eq!(answer(&session, columns, &request).await, ["FR|1|1", "FR|2|1", "|1|1", "|2|1"]);
    request.by = Some(By { property: "externalPersonId".to_owned(), of: Of::Person, at: None });
    assert_eq!(answer(&session, "step, persons", &request).await, ["1|2", "2|2"]);
}

#[tokio::test]
async fn br38_the_order_within_a_second_counts() {
    let mut lake = defined(&["A", "B"]);
    put(&mut lake, &[(1, "A", 1, 9, None), (1, "B", 1, 1, None)]).await;
    put(&mut lake, &[(2, "A", 1, 1, None), (2, "B", 1, 9, None)]).await;
    let session = session(&lake, 64 << 20, 2);
    assert_eq!(answer(&session, "persons", &funnel(&["A", "B"], "10 seconds")).await, ["2", "1"]);
}

#[tokio::test]
async fn conditions_exclusions_held_properties_and_totals_work_together() {
    let mut lake = defined(&["A", "B", "X"]);
    put(
        &mut lake,
        &[
            (1, "A", 1, 0, Some("i")),
            (1, "B", 1, 1, Some("j")),
            (1, "B", 1, 2, Some("i")),
            (2, "A", 1, 0, Some("i")),
            (2, "X", 1, 1, None),
            (2, "B", 1, 2, Some("i")),
            (2, "A", 1, 3, Some("k")),
            (2, "B", 1, 4, Some("k")),
        ],
    )
    .await;
    let session = session(&lake, 64 << 20, 2);
    let columns = "persons, dropped, avg_seconds";
    let plain = funnel(&["A", "B country = 'i'"], "1 hour");
    assert_eq!(answer(&session, columns, &plain).await, ["2|0|", "2|0|2.0"]);
    let held = FunnelRequest { holding: vec!["country".to_owned()], ..funnel(&["A", "B"], "1 hour") };
    assert_eq!(answer(&session, columns, &held).await, ["2|0|", "2|0|2.0"]);
    let excluding = Excluding { picked: pick("X"), between: None };
    let without = FunnelRequest { excluding: vec![excluding.clone()], ..plain.clone() };
    assert_eq!(answer(&session, columns, &without).await, ["2|1|", "1|0|2.0"]);
    let held = FunnelRequest { excluding: vec![excluding.clone()], ..held };
    assert_eq!(answer(&session, columns, &held).await, ["2|0|", "2|0|1.5"]);
    // The second person enters once more after the excluded event, and that entry is not met by another.
    let gone = FunnelRequest { drop_person: true, ..without };
    assert_eq!(answer(&session, columns, &gone).await, ["2|1|", "1|0|2.0"]);
    let totals = FunnelRequest { counting: Counting::Totals, ..funnel(&["A", "B"], "1 hour") };
    assert_eq!(answer(&session, "attempts", &totals).await, ["3", "3"]);
    let strict = FunnelRequest { order: FunnelOrder::Strict, ..funnel(&["A", "B country = 'i'"], "1 hour") };
    assert_eq!(answer(&session, "persons", &strict).await, ["2", "0"]);
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_with_its_cure() {
    let lake = defined(&["view", "buy"]);
    let session = session(&lake, 64 << 20, 2);
    let said = fault(&session, &funnel(&["vew", "buy"], "1 day")).await;
    assert!(said.contains("no event is called \"vew\"; did you mean \"view\"?"), "{said}");
    let said = fault(&session, &funnel(&["view contry = 'x'"], "1 day")).await;
    assert!(said.contains("did you mean \"country\"?"), "{said}");
    let said = fault(&session, &funnel(&["view country"], "1 day")).await;
    assert!(said.contains("no condition"), "{said}");
    let by = Some(By { property: "contry".to_owned(), of: Of::Step(1), at: None });
    let said = fault(&session, &FunnelRequest { by, ..funnel(&["view"], "1 day") }).await;
    assert!(said.contains("did you mean \"country\"?"), "{said}");
    let many = vec!["view"; 65];
    let said = fault(&session, &funnel(&many, "1 day")).await;
    assert!(said.contains("at most 64 steps"), "{said}");
    let segment = FunnelRequest { for_segment: Some("x".to_owned()), ..funnel(&["view"], "1 day") };
    let said = fault(&session, &segment).await;
    assert!(said.contains("no segment is called \"x\""), "{said}");
    let said = ask(&session, "SELECT * FROM funnel('{\"stepps\": []}')").await.unwrap_err().to_string();
    assert!(said.contains("unknown field \"stepps\""), "{said}");
}

/// Random persons: how many reach each step by the algorithm alone, and by the lake in so many parts.
#[tokio::test]
async fn the_answer_is_the_same_in_any_number_of_parts_and_on_disk() {
    let names = ["A", "B", "C"];
    let mut lake = defined(&names);
    let mut seed = 12_345_u64;
    let mut below = |bound: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % bound
    };
    let mut events = Vec::new();
    for _ in 0..45_000 {
        let (person, kind, day) = (below(3_000) as i64, below(3) as usize, 1 + below(5) as i32);
        let country = [None, Some("DE"), Some("FR")][below(3) as usize];
        events.push((person, names[kind], day, below(4_000) as i64, country));
    }
    for piece in events.chunks(9_000) {
        put(&mut lake, piece).await;
    }
    let mut persons: BTreeMap<i64, Vec<Hit>> = BTreeMap::new();
    for (person, kind, day, second, country) in &events {
        let step = names.iter().position(|name| name == kind).unwrap();
        let fits = step != 0 || *country == Some("DE");
        let time = (june(*day).start().0) + second * 1_000_000;
        persons.entry(*person).or_default().push(Hit {
            time,
            steps: if fits { 1 << step } else { 0 },
            excludes: 0,
        });
    }
    let request = funnel(&["A country = 'DE'", "B", "C"], "10 hours");
    let mut walker = Funnel::new(request.read().unwrap().rules);
    let mut right = [0; 3];
    for hits in persons.values_mut() {
        hits.sort_by_key(|hit| hit.time);
        let level = walker.reached(hits).level;
        right[..level].iter_mut().for_each(|count| *count += 1);
    }
    let right: Vec<String> = right.iter().map(ToString::to_string).collect();
    assert!(right[0] != right[1] && right[2] != "0", "{right:?}");
    let mut whole = None;
    for (threads, memory) in
        [(1, 256 << 20), (2, 256 << 20), (7, 256 << 20), (64, 512 << 20), (2, 1_200 << 10)]
    {
        let session = session(&lake, memory, threads);
        if memory < 4 << 20 {
            // Batches that are small beside the memory, as they are in earnest.
            session.run("SET datafusion.execution.batch_size = 256").await.unwrap().collect().await.unwrap();
        }
        assert_eq!(answer(&session, "persons", &request).await, right, "{threads} parts");
        let by = FunnelRequest {
            by: Some(By { property: "country".to_owned(), of: Of::Step(2), at: None }),
            per: Some(Per::Day),
            ..request.clone()
        };
        if memory < 4 << 20 {
            let json = literal(&by.to_json().unwrap());
            let run = ask(&session, &format!("EXPLAIN ANALYZE SELECT * FROM funnel({json})")).await.unwrap();
            assert!(run.iter().any(|line| line.contains("sorted_on_disk=1")), "all fitted: {run:#?}");
        }
        let all = answer(&session, "*", &by).await;
        assert_eq!(whole.get_or_insert_with(|| all.clone()), &all, "{threads} parts");
        for step in 1..=3 {
            let listed = FunnelRequest { listing: Some(Listing::Reached(step)), ..request.clone() };
            let count = answer(&session, "COUNT(DISTINCT \"personId\")", &listed).await;
            assert_eq!(count[0], right[step - 1], "the list of step {step}");
        }
    }
}

/// Person, definition, day of June, second, country.
type Happened = (i64, usize, i32, i64, Option<&'static str>);

async fn indexed_lake(
    events: &[Happened],
    piece: usize,
    merges: &[(i64, i64)],
    index_every: usize,
) -> TestLake {
    let names = ["A", "B", "C"];
    let mut lake = defined(&names);
    lake.index_every(index_every);
    for person in 1..=6 {
        lake.person(person, None);
    }
    for piece in events.chunks(piece) {
        let named: Vec<_> = piece.iter().map(|one| (one.0, names[one.1], one.2, one.3, one.4)).collect();
        put(&mut lake, &named).await;
    }
    for (from, into) in merges {
        lake.merge(*from, *into);
    }
    lake
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

    /// A condition that no index helps with makes DataFusion's plan find the events.
    #[test]
    fn a_funnel_from_indexes_is_the_funnel_from_rows(
        events in prop::collection::vec(
            (1_i64..7, 0_usize..3, 1_i32..4, 0_i64..20, prop::sample::select(vec![None, Some("DE"), Some("FR")])),
            1..80,
        ),
        merges in prop::collection::vec((1_i64..7, 1_i64..7), 0..3),
        piece in 10_usize..80,
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let by = |of| Some(By { property: "country".to_owned(), of, at: None });
            let none = Excluding { picked: pick("C country IS NULL"), between: None };
            let plain = funnel(&["A country = 'DE'", "B", "C"], "2 days");
            let requests = [
                plain.clone(),
                funnel(&["A", "A country <> 'DE'", "B country IN ('FR', 'DE') AND country <> 'FR'"], "10 hours"),
                funnel(&["A country IS NULL", "B country LIKE 'D%' OR country IS NULL"], "3 days"),
                FunnelRequest { by: by(Of::Step(2)), ..plain.clone() },
                FunnelRequest { by: by(Of::First), order: FunnelOrder::Any, ..plain.clone() },
                FunnelRequest { by: by(Of::Last), counting: Counting::Totals, ..funnel(&["B", "A"], "1 day") },
                FunnelRequest { excluding: vec![none], ..funnel(&["A", "B"], "2 days") },
                FunnelRequest {
                    from: Some("2026-06-01T00:00:05Z".to_owned()),
                    to: Some("2026-06-02T00:00:07Z".to_owned()),
                    listing: Some(Listing::Persons),
                    ..plain
                },
            ];
            for every in [0, 1, 2] {
                let lake = indexed_lake(&events, piece, &merges, every).await;
                let session = session(&lake, 64 << 20, 2);
                for request in &requests {
                    let from_index = answer(&session, "*", request).await;
                    let json = literal(&request.to_json().unwrap());
                    let plan = session.explain(&format!("SELECT * FROM funnel({json})")).await.unwrap();
                    assert!(plan.contains("index=yes") && !plan.contains("DataSourceExec"), "{plan}");
                    let mut by_rows = request.clone();
                    let first = &mut by_rows.steps[0].any[0].condition;
                    let before = first.take().map_or_else(String::new, |text| format!("({text}) AND "));
                    *first = Some(format!("{before}\"personId\" > 0"));
                    let json = literal(&by_rows.to_json().unwrap());
                    let plan = session.explain(&format!("SELECT * FROM funnel({json})")).await.unwrap();
                    assert!(!plan.contains("index=yes"), "{plan}");
                    // Without what the step is called, which has the condition in it or not.
                    assert_eq!(from_index, answer(&session, "*", &by_rows).await, "{request:?}");
                }
            }
        });
    }
}
