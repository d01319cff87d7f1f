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
