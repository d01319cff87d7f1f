//! SQL as a person meets it: names, errors, formats, limits, pruning.

use crate::harness::Store;
use crate::harness::seat;

fn store_of_ten_days() -> Store {
    let store = Store::with_seats();
    let lines: String = (1..=10)
        .map(|day| {
            seat(
                &format!("e{day}"),
                &format!("p{}", day % 3),
                &format!("2026-06-{day:02}T12:00:00Z"),
                &format!(r#"{{"venueId":{day}}}"#),
            )
        })
        .collect();
    store.import("a", &lines).fine();
    store
}

#[test]
fn a_day_or_a_person_prunes_files_before_they_are_opened() {
    let store = store_of_ten_days();
    let plan = |condition: &str| {
        store
            .run(["sql", "-c", &format!("EXPLAIN SELECT venueId FROM seatReserved WHERE {condition}")])
            .fine()
    };
    let files = |plan: &str| plan.matches(".parquet").count();
    assert_eq!(files(&plan("venueId >= 0")), 10);
    assert_eq!(files(&plan("day = DATE '2026-06-03'")), 1);
    assert_eq!(files(&plan("occurredTime >= TIMESTAMP '2026-06-09T00:00:00Z'")), 2);
    assert_eq!(files(&plan("personId = 1")), 4);
}

#[test]
fn errors_point_at_the_place_and_propose_the_nearest_name() {
    let store = store_of_ten_days();
    let fault = store.sql("SELECT venuId\nFROM seatReserved").fails(2);
    assert!(fault.contains("did you mean \"venueId\"?"), "{fault}");
    let fault = store.sql("SELECT 1;\nSELECT venueId FROM seatReservd").fails(2);
    assert!(fault.contains("did you mean \"seatReserved\"?"), "{fault}");
    let fault = store.sql("SELECT venueId FORM seatReserved WHERE").fails(2);
    assert!(fault.contains('^'), "{fault}");
}

#[test]
fn br32_a_sum_of_integers_does_not_wrap() {
    let store = Store::with_seats();
    let lines = format!(
        "{}{}",
        seat("e1", "a", "2026-06-01T10:00:00Z", r#"{"venueId":9223372036854775807}"#),
        seat("e2", "a", "2026-06-01T10:00:00Z", r#"{"venueId":1}"#)
    );
    store.import("a", &lines).fine();
    assert_eq!(store.rows("SELECT SUM(venueId) FROM seatReserved"), ["9223372036854775808"]);
}

#[test]
fn br20_integers_read_back_digit_for_digit_or_are_refused() {
    let store = Store::with_seats();
    let row = |id: &str, properties: &str| seat(id, "a", "2026-06-01T10:00:00Z", properties);
    store.import("a", &row("e1", r#"{"venueId":9007199254740993}"#)).fine();
    store.import("b", &row("e2", r#"{"venueId":9223372036854775807}"#)).fine();
    store.import("c", &row("e3", r#"{"total":1.5}"#)).fine();
    store.import("d", &row("e4", r#"{"venueId":9223372036854775808}"#)).fails(1);
    store.import("e", &row("e5", r#"{"venueId":1.5}"#)).fails(1);
    store.import("f", &row("e6", r#"{"total":9007199254740993}"#)).fails(1);
    assert_eq!(
        store
            .run([
                "sql",
                "--format",
                "ndjson",
                "-c",
                "SELECT venueId, total FROM seatReserved ORDER BY eventId"
            ])
            .fine(),
        "{\"venueId\":9007199254740993,\"total\":null}\n{\"venueId\":9223372036854775807,\"total\":null}\n{\"venueId\":null,\"total\":1.5}\n"
    );
}

#[test]
fn statements_come_from_arguments_files_and_standard_input() {
    let store = store_of_ten_days();
    let file = store.file("ask.sql", "SELECT COUNT(*) AS n FROM seatReserved; SELECT 2 AS two");
    let expected = "n\n10\ntwo\n2\n";
    assert_eq!(store.run(["sql", "--format", "csv", "-f", file.to_str().unwrap()]).fine(), expected);
    let input = "SELECT COUNT(*) AS n FROM seatReserved;\nSELECT 2 AS two;";
    assert_eq!(store.run_with(["sql", "--format", "csv"], input).fine(), expected);
}

#[test]
fn all_events_are_one_table_too() {
    let store = store_of_ten_days();
    assert_eq!(
        store.rows(
            "SELECT definitionId, COUNT(*), COUNT(DISTINCT personId) FROM events GROUP BY definitionId"
        ),
        ["seatReserved,10,3"]
    );
    let first = store.rows("SELECT properties FROM events ORDER BY occurredTime LIMIT 1");
    assert!(first[0].contains(r#"""venueId"":1"#), "{first:?}");
}

#[test]
fn a_folder_shows_what_it_holds() {
    let store = store_of_ten_days();
    let info = store.run(["info"]).fine();
    assert!(info.contains("seatReserved") && info.contains("2026-06-10"), "{info}");
}
