//! Questions about what persons do over time, as statements on a small store.

use crate::harness::Store;
use crate::harness::seat;

/// Days in June 2026 on which each person reserved a seat.
fn store_of(days: &[(&str, &[u32])]) -> Store {
    let store = Store::with_seats();
    let mut lines = String::new();
    for (person, days) in days {
        for day in *days {
            let id = format!("{person}{day}");
            let time = format!("2026-06-{day:02}T12:00:00Z");
            lines.push_str(&seat(&id, person, &time, &format!(r#"{{"venueId":{day},"note":"{person}"}}"#)));
        }
    }
    store.import("a", &lines).fine();
    store
}

#[test]
fn br14_only_another_and_later_event_is_a_return() {
    let store = store_of(&[("ana", &[1, 2, 4]), ("bo", &[1]), ("cy", &[2, 3])]);
    let rows = store.rows(
        "RETENTION seatReserved THEN seatReserved FOR 3 FROM '2026-06-01' AS OF '2026-06-05' IN ZONE 'UTC' CELLS",
    );
    assert_eq!(
        rows,
        [
            "2026-06-01,0,1,2,0,0.0,true",
            "2026-06-01,1,2,2,1,0.5,true",
            "2026-06-01,2,3,2,0,0.0,true",
            "2026-06-01,3,4,2,1,0.5,true",
            "2026-06-02,0,1,1,0,0.0,true",
            "2026-06-02,1,2,1,1,1.0,true",
            "2026-06-02,2,3,1,0,0.0,true",
            "2026-06-02,3,4,1,0,0.0,false",
        ]
    );
    // A start on day 2 and a return on day 1 is none.
    let back = "RETENTION seatReserved WHERE venueId = 2 THEN seatReserved WHERE venueId = 1 FOR 1 CELLS";
    let returned: Vec<String> =
        store.rows(back).iter().map(|row| row.split(',').nth(4).unwrap().to_owned()).collect();
    assert_eq!(returned, ["0", "0"]);
}

#[test]
fn the_first_time_is_looked_for_in_all_of_history_and_the_condition_before_or_after() {
    let store = store_of(&[("ana", &[1, 3]), ("bo", &[3])]);
    let persons = |words: &str| {
        store.rows(&format!(
            "RETENTION seatReserved WHERE venueId = 3 THEN * {words} FROM '2026-06-02' FOR 0 CELLS"
        ))
    };
    assert_eq!(persons("FIRST TIME"), ["2026-06-03,0,1,2,0,0.0,true"]);
    assert_eq!(persons("FIRST EVER"), ["2026-06-03,0,1,1,0,0.0,true"]);
    // Ana's first reservation was before the range.
    let all = store.rows("RETENTION seatReserved THEN seatReserved FROM '2026-06-02' FOR 0 CELLS");
    assert_eq!(all, ["2026-06-03,0,1,1,0,0.0,true"]);
    let recurring =
        store.rows("RETENTION seatReserved THEN seatReserved RECURRING FROM '2026-06-02' FOR 0 CELLS");
    assert_eq!(recurring, ["2026-06-03,0,1,2,0,0.0,true"]);
}

#[test]
fn the_persons_of_a_cell_are_as_many_as_it_says_and_buckets_sum_to_the_total() {
    let store = store_of(&[("ana", &[1, 2, 4]), ("bo", &[1, 2]), ("cy", &[1, 3]), ("di", &[2])]);
    let persons =
        store.rows("RETENTION seatReserved THEN seatReserved FOR 3 PERSONS OF '2026-06-01' PERIOD 1");
    assert_eq!(persons.len(), 2);
    let started = store.rows("RETENTION seatReserved THEN seatReserved PERSONS OF '2026-06-01'");
    assert_eq!(started.len(), 3);
    let by = store.rows(
        "RETENTION seatReserved THEN seatReserved FOR 1 BY note FROM '2026-06-01' TO '2026-06-02' CELLS",
    );
    let sum: u32 = by.iter().map(|row| row.split(',').nth(5).unwrap().parse::<u32>().unwrap()).sum();
    assert_eq!(by.iter().filter(|row| row.split(',').nth(2) == Some("1")).count(), 3);
    assert_eq!(sum, 2);
    let one = store.rows(
        "RETENTION seatReserved THEN seatReserved FOR 1 BY note PERSONS OF '2026-06-01' PERIOD 1 VALUE 'bo'",
    );
    assert_eq!(one.len(), 1);
}

#[test]
fn mistakes_in_questions_are_named() {
    let store = store_of(&[("ana", &[1])]);
    let fault = |text: &str| store.sql(text).fails(2);
    assert!(fault("RETENTION seatReservd THEN *").contains("did you mean \"seatReserved\"?"));
    assert!(fault("RETENTION seatReserved WHERE venuId = 1 THEN *").contains("did you mean \"venueId\"?"));
    assert!(fault("RETENTION seatReserved THEN * FROM 'June'").contains("FROM is no time"));
    assert!(fault("RETENTION seatReserved THEN * IN ZONE 'Europe/Zagrab'").contains("Europe/Zagreb"));
    assert!(fault("RETENTION seatReserved THEN * BRACKETS (4, 1)").contains("rising"));
    assert!(fault("RETENTION seatReserved THEN * SAME VALUE").contains("BY"));
    let list = "RETENTION seatReserved WHERE any(seats.price > 10) THEN * CELLS";
    assert_eq!(store.rows(list), Vec::<String>::new());
}

#[test]
fn a_trend_has_every_day_and_agrees_with_sql() {
    let store = store_of(&[("ana", &[1, 2, 4]), ("bo", &[1, 4]), ("cy", &[4])]);
    let trend = "TREND seatReserved, PERSONS OF seatReserved, SUM(venueId) OF seatReserved, AVG(venueId) OF seatReserved \
                 FORMULA 'A / B' FROM '2026-06-01' TO '2026-06-06'";
    assert_eq!(
        store.rows(trend),
        [
            "2026-06-01,2,2,2.0,1.0,1.0",
            "2026-06-02,1,1,2.0,2.0,1.0",
            "2026-06-03,0,0,0.0,,",
            "2026-06-04,3,3,12.0,4.0,1.0",
            "2026-06-05,0,0,0.0,,",
        ]
    );
    let cumulative = store.rows("TREND PERSONS OF seatReserved CUMULATIVE FROM '2026-06-01' TO '2026-06-05'");
    assert_eq!(cumulative, ["2026-06-01,2", "2026-06-02,2", "2026-06-03,2", "2026-06-04,3"]);
    let before = store.rows("TREND seatReserved COMPARE FROM '2026-06-03' TO '2026-06-05'");
    assert_eq!(before, ["2026-06-03,0,2", "2026-06-04,3,1"]);
    let moving = store.rows("TREND seatReserved MOVING 2 FROM '2026-06-01' TO '2026-06-04'");
    assert_eq!(moving, ["2026-06-01,2,", "2026-06-02,1,1.5", "2026-06-03,0,0.5"]);
}

#[test]
fn the_slices_of_a_trend_sum_to_the_whole() {
    let store = store_of(&[("ana", &[1, 2, 4]), ("bo", &[1, 2]), ("cy", &[1]), ("di", &[1])]);
    store.import("b", &seat("null", "eve", "2026-06-01T10:00:00Z", r#"{"venueId":1}"#)).fine();
    let rows = store.rows("TREND seatReserved BY note TOP 1 FROM '2026-06-01' TO '2026-06-02'");
    assert_eq!(rows, ["2026-06-01,ana,1", "2026-06-01,,1", "2026-06-01,(other),3"]);
    let persons =
        store.rows("TREND PERSONS OF seatReserved BY note TOP 1 PER MONTH FROM '2026-06-01' TO '2026-07-01'");
    assert_eq!(persons, ["2026-06-01,ana,1", "2026-06-01,,1", "2026-06-01,(other),3"]);
}

/// The persons of a condition by their external ids, in order.
fn persons(store: &Store, condition: &str) -> Vec<String> {
    store.sql(&format!("CREATE OR REPLACE STATIC SEGMENT found AS PERSONS WHERE {condition}")).fine();
    store.rows("SELECT externalPersonId FROM persons WHERE personId IN (SELECT personId FROM segments.found) ORDER BY 1")
}

#[test]
fn br17_did_not_is_asked_alone_and_knows_persons_without_events() {
    let store = Store::with_seats();
    let mut lines = String::new();
    let view = |person: &str, time: &str| {
        format!(
            "{{\"definitionId\":\"pageView\",\"identifier\":{{\"id\":\"{person}\",\"type\":\"EXTERNAL_ID\"}},\"occurredTime\":\"{time}\",\
             \"properties\":{{\"url\":\"/\"}}}}\n"
        )
    };
    // As of 2026-06-30: p1 bought 10 days ago, p2 viewed yesterday, p4 bought 60 days ago; p3's only event comes later.
    lines.push_str(&seat("e1", "p1", "2026-06-20T00:00:00Z", r#"{"total":20}"#));
    lines.push_str(&view("p2", "2026-06-29T00:00:00Z"));
    lines.push_str(&view("p3", "2026-07-29T00:00:00Z"));
    lines.push_str(&seat("e4", "p4", "2026-05-01T00:00:00Z", r#"{"total":5}"#));
    store.import("a", &lines).fine();
    let as_of = "AS OF '2026-06-30'";
    // Without an event before that day nobody knew p3; as of now everybody does.
    let did_not = ["p2", "p4"];
    assert_eq!(persons(&store, &format!("NOT DID seatReserved IN LAST 30 DAYS {as_of}")), did_not);
    assert_eq!(
        persons(&store, &format!("DID seatReserved EXACTLY 0 TIMES IN LAST 30 DAYS {as_of}")),
        did_not
    );
    assert_eq!(
        persons(&store, &format!("DID seatReserved AT MOST 0 TIMES IN LAST 30 DAYS {as_of}")),
        did_not
    );
    assert_eq!(persons(&store, &format!("DID seatReserved IN LAST 30 DAYS {as_of}")), ["p1"]);
    assert_eq!(persons(&store, "DID NOT seatReserved SINCE '2026-06-10'"), ["p2", "p3", "p4"]);
    assert_eq!(persons(&store, "DID seatReserved BETWEEN 0 AND 1 TIMES"), ["p1", "p2", "p3", "p4"]);
    assert_eq!(
        persons(&store, "DID seatReserved HAVING SUM(total) >= 20 OR DID pageView BEFORE '2026-07-01'"),
        ["p1", "p2"]
    );
    assert_eq!(
        persons(&store, "externalPersonId IN ('p3', 'p4') AND NOT (DID pageView AND DID * AT LEAST 1 TIME)"),
        ["p4"]
    );
}

#[test]
fn a_segment_is_a_table_a_filter_and_goes_with_its_events() {
    let store = store_of(&[("ana", &[1, 2, 4]), ("bo", &[1]), ("cy", &[2, 3])]);
    let made = store
        .sql("CREATE SEGMENT often AS PERSONS WHERE DID seatReserved AT LEAST 2 TIMES ON AT LEAST 2 DAYS")
        .fine();
    assert!(made.contains("2 persons now"), "{made}");
    assert_eq!(store.rows("SELECT COUNT(*) FROM segments.often"), ["2"]);
    assert_eq!(
        store.rows("TREND seatReserved FOR SEGMENT often PER MONTH FROM '2026-06-01' TO '2026-07-01'"),
        ["2026-06-01,5"]
    );
    store.import("b", &seat("late", "bo", "2026-06-05T12:00:00Z", "{}")).fine();
    assert_eq!(store.rows("SELECT COUNT(*) FROM segments.often"), ["3"]);
    store.sql("CREATE SEGMENT ends AS PERSONS WHERE IN SEGMENT often AND NOT DID seatReserved FIRST TIME BEFORE '2026-06-02'").fine();
    assert_eq!(store.rows("SELECT COUNT(*) FROM segments.ends"), ["1"]);
    assert_eq!(
        store.rows("OVERLAP OF often, ends"),
        ["often,often,3,3,3,1.0", "often,ends,3,1,1,1.0", "ends,ends,1,1,1,1.0"]
    );
    let fault = |text: &str| store.sql(text).fails(2);
    assert!(
        fault("CREATE OR REPLACE SEGMENT often AS PERSONS WHERE IN SEGMENT ends").contains("made of itself")
    );
    assert!(fault("SELECT * FROM segments.oftn").contains("segments.often"));
    assert!(fault("PERSONS WHERE IN SEGMENT oftn").contains("often"));
    let taken = store.sql("CREATE SEGMENT often AS PERSONS WHERE DID *");
    assert!(taken.stderr.contains("OR REPLACE"), "{}", taken.stderr);
    assert!(store.sql("DROP SEGMENT often").stderr.contains("made of"), "a segment in use is not dropped");
    store.sql("DROP SEGMENT ends; DROP SEGMENT often").fine();
    assert_eq!(store.rows("SHOW SEGMENTS"), Vec::<String>::new());
    let listed = store.sql("CREATE SEGMENT two AS LIST ('ana', 'bo', 'nobody')").fine();
    assert!(listed.contains("2 persons now; 1 external ids are not known"), "{listed}");
    assert_eq!(store.rows("SELECT COUNT(*) FROM segments.two"), ["2"]);
    let file = store.file("vips.txt", "cy\n\nana\n");
    store.sql(&format!("CREATE OR REPLACE SEGMENT two FROM '{}'", file.display())).fine();
    assert_eq!(persons(&store, "IN SEGMENT two AND DID seatReserved IN LAST 36500 DAYS"), ["ana", "cy"]);
}

#[test]
fn a_segment_in_the_published_json_is_the_same_as_its_statement() {
    let store = store_of(&[("ana", &[1, 2, 4]), ("bo", &[1]), ("cy", &[2, 3])]);
    store
        .import(
            "b",
            &seat(
                "x",
                "di",
                "2026-06-01T12:00:00Z",
                r#"{"venueId":9,"seats":[{"row":"A","price":50},{"row":"B"}]}"#,
            ),
        )
        .fine();
    let json = |events: &str| format!(r#"{{"events": [{events}]}}"#);
    let made = |events: &str| {
        store.sql(&format!("CREATE OR REPLACE SEGMENT x AS JSON '{}'", json(events))).fine();
        store.rows("SELECT externalPersonId FROM persons WHERE personId IN (SELECT personId FROM segments.x) ORDER BY 1")
    };
    let clause = |times: &str, time: &str, payload: &str| {
        format!(
            r#"{{"definitionId": "seatReserved", {times} "timelineCondition": {time}, "payloadConditions": [{payload}]}}"#
        )
    };
    let ever = r#"{"occurred": "ALL", "operator": "EMPTY"}"#;
    let twice = r#""occurrenceCondition": {"operation": "GREATER_OR_EQUAL", "times": 2},"#;
    assert_eq!(made(&clause(twice, ever, "")), ["ana", "cy"]);
    let venue = r#"{"attribute": "venueId", "operator": "GT", "value": "3"}"#;
    assert_eq!(made(&clause("", ever, venue)), ["ana", "di"]);
    let list = r#"{"attribute": "seats.price", "operator": "GTE", "value": "50"}"#;
    assert_eq!(made(&clause("", ever, list)), ["di"]);
    let never = r#"{"occurred": "NOT", "operator": "BEFORE_ABS", "start": 1780401600}"#;
    assert_eq!(made(&clause("", never, "")), ["cy"], "before 2026-06-02T12:00:00Z");
    let first = r#"{"occurred": "FIRST", "operator": "AFTER_ABS", "start": 1780358400}"#;
    assert_eq!(made(&clause("", first, "")), ["cy"], "since 2026-06-02");
    let query = r##"CREATE OR REPLACE SEGMENT x AS JSON '{"query": {"#or": [{"externalId": "bo"}, {"#startsWith": {"externalId": "d"}}]}}'"##;
    store.sql(query).fine();
    assert_eq!(store.rows("SELECT COUNT(*) FROM segments.x"), ["2"]);
    let fault = store.sql("CREATE SEGMENT y AS JSON '{\"events\": [{\"definitionId\": \"seatReservd\", \"timelineCondition\": \
                           {\"occurred\": \"ALL\", \"operator\": \"EMPTY\"}, \"payloadConditions\": [{\"attribute\": \"a\", \
                           \"operator\": \"EQ\", \"value\": \"1\"}]}]}'");
    assert!(fault.stderr.contains("did you mean \"seatReserved\"?"), "{}", fault.stderr);
}

#[test]
fn lifecycle_stickiness_sessions_and_paths_on_a_small_history() {
    let store = store_of(&[("ana", &[1, 2, 4]), ("bo", &[1]), ("cy", &[2, 3])]);
    let lifecycle = store.rows("LIFECYCLE seatReserved FROM '2026-06-01' TO '2026-06-06' AS OF '2026-06-05'");
    assert_eq!(
        lifecycle,
        [
            "2026-06-01,2,0,0,0,true",
            "2026-06-02,1,1,0,1,true",
            "2026-06-03,0,1,0,1,true",
            "2026-06-04,0,0,1,1,true",
        ]
    );
    let stickiness = store.rows("STICKINESS seatReserved FROM '2026-06-01' TO '2026-06-05'");
    assert_eq!(stickiness, ["1,1,3,100.0%", "2,1,2,66.7%", "3,1,1,33.3%"]);
    let sessions = store.rows("SESSIONS OF seatReserved PAUSE 24 HOURS PER MONTH");
    assert_eq!(sessions, ["2026-06-01,4,3,6,1.5,43200.0,43200.0,2"]);
    let entry = store.rows("SESSIONS OF seatReserved PAUSE 24 HOURS ENTRY note TOP 1");
    assert_eq!(entry, ["ana,2,50.0%", "(other),2,50.0%"]);
    let paths = store.rows(
        "PATHS FROM seatReserved WHERE venueId = 1 STEPS 2 THROUGH seatReserved BY venueId WITHIN 10 DAYS",
    );
    assert_eq!(
        paths,
        [
            "0,seatReserved,2,100.0%,,seatReserved",
            "1,├─ 2,1,50.0%,86400.0,seatReserved > 2",
            "2,│  └─ 4,1,100.0%,172800.0,seatReserved > 2 > 4",
            "1,└─ (ends),1,50.0%,,seatReserved > (ends)",
        ]
    );
    let back = store.rows(
        "PATHS TO seatReserved WHERE venueId = 4 STEPS 2 THROUGH seatReserved BY venueId WITHIN 10 DAYS",
    );
    assert_eq!(back.last().unwrap(), "2,\"   └─ 1\",1,100.0%,86400.0,1 > 2 > seatReserved");
}

#[test]
fn a_question_stands_where_a_query_may_and_its_mistakes_have_their_place() {
    let store = store_of(&[("ana", &[1, 2, 4]), ("bo", &[1]), ("cy", &[2, 3])]);
    let said = "RETENTION seatReserved THEN seatReserved FOR 1 FROM '2026-06-01' CELLS";
    assert_eq!(store.rows(&format!("SELECT SUM(returned) FROM ({said}) WHERE period = 1")), ["2"]);
    let views = format!("CREATE VIEW r AS {said}; SELECT COUNT(*) FROM r");
    assert_eq!(store.rows(&views).last().map(String::as_str), Some("4"));
    let both = "WITH s AS (STICKINESS seatReserved), l AS (LIFECYCLE seatReserved) SELECT (SELECT MAX(days) FROM s), (SELECT SUM(new) FROM l)";
    assert_eq!(store.rows(both), ["3,3"]);
    let inside = "SELECT externalPersonId FROM persons WHERE personId IN (PERSONS WHERE DID seatReserved AT LEAST 2 TIMES) ORDER BY 1";
    assert_eq!(store.rows(inside), ["ana", "cy"]);
    let fault = store.sql("SELECT 1;\nSELECT * FROM (LIFECYCLE seatReserved PER YEAR)").fails(2);
    assert!(fault.contains("DAY, WEEK or MONTH") && fault.contains("line 2, column 43"), "{fault}");
    let plan = store.sql("EXPLAIN PATHS FROM seatReserved").fine();
    assert!(plan.contains("PathsExec: from seatReserved, 3 steps"), "{plan}");
}

#[test]
fn the_persons_of_another_question_make_a_segment() {
    let store = store_of(&[("ana", &[1, 2, 4]), ("bo", &[1]), ("cy", &[2, 3])]);
    let made = store
        .sql("CREATE STATIC SEGMENT back AS (RETENTION seatReserved THEN seatReserved PERSONS OF '2026-06-01' PERIOD 1)")
        .fine();
    assert!(made.contains("1 person now"), "{made}");
    assert_eq!(persons(&store, "IN SEGMENT back"), ["ana"]);
    store
        .sql("CREATE OR REPLACE STATIC SEGMENT back AS (FUNNEL seatReserved, seatReserved WITHIN 1 DAY LISTING PERSONS REACHING STEP 2)")
        .fine();
    assert_eq!(persons(&store, "IN SEGMENT back"), ["ana", "cy"]);
    assert!(store.rows("SHOW SEGMENTS")[0].starts_with("back,static,"));
    let fault = store.sql("CREATE STATIC SEGMENT x AS (SELECT 1 AS one)").fails(2);
    assert!(fault.contains("no column personId"), "{fault}");
    let fault = store.sql("REFRESH SEGMENT back").fails(2);
    assert!(fault.contains("static"), "{fault}");
    store.sql("CREATE SEGMENT live AS PERSONS WHERE DID seatReserved AT LEAST 3 TIMES").fine();
    let refreshed = store.sql("REFRESH SEGMENTS").fine();
    assert!(refreshed.contains("1 live segment refreshed: 0 persons entered, 0 left"), "{refreshed}");
    assert_eq!(
        store.rows("SELECT segment, COUNT(entered), COUNT(\"left\") FROM system.segment_members GROUP BY 1"),
        ["live,1,0"]
    );
}

#[test]
fn merged_persons_are_one_in_segments_and_in_every_question() {
    let store = store_of(&[("ana", &[1, 2]), ("bo", &[3]), ("cy", &[1])]);
    store.sql("CREATE SEGMENT two AS LIST ('ana', 'bo')").fine();
    let cells = "RETENTION seatReserved THEN seatReserved FOR 2 FROM '2026-06-01' TO '2026-07-01' CELLS";
    let second_day =
        |rows: Vec<String>| rows.iter().find(|row| row.starts_with("2026-06-01,2,")).unwrap().clone();
    assert_eq!(second_day(store.rows(cells)), "2026-06-01,2,3,2,0,0.0,true");
    store.run(["people", "merge", "ana", "bo"]).fine();
    assert_eq!(second_day(store.rows(cells)), "2026-06-01,2,3,2,1,0.5,true");
    assert_eq!(store.rows("SELECT COUNT(*) FROM (SELECT DISTINCT personId FROM segments.two)"), ["1"]);
    assert_eq!(
        store.rows(
            "TREND PERSONS OF seatReserved PER MONTH FOR SEGMENT two FROM '2026-06-01' TO '2026-07-01'"
        ),
        ["2026-06-01,1"]
    );
    assert_eq!(persons(&store, "DID seatReserved ON AT LEAST 3 DAYS"), ["ana"]);
    assert_eq!(persons(&store, "NOT DID seatReserved"), Vec::<String>::new());
}
