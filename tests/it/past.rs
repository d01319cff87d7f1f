//! Questions about the store as it was.

use std::thread;
use std::time::Duration;

use crate::harness::Store;
use crate::harness::seat;

fn seats(ids: std::ops::Range<usize>) -> String {
    ids.map(|id| seat(&format!("s{id}"), &format!("p{}", id % 3), "2026-06-01T10:00:00Z", "{\"venueId\":1}"))
        .collect()
}

/// The present, as the store's own clock tells it.
fn now(store: &Store) -> String {
    thread::sleep(Duration::from_millis(20));
    let now = store.rows("SELECT CAST(now() AS VARCHAR)").remove(0);
    thread::sleep(Duration::from_millis(20));
    now
}

#[test]
fn a_question_may_be_about_the_store_as_it_was() {
    let store = Store::with_seats();
    let nothing = now(&store);
    store.run_with(["ingest", "-"], &seats(0..5)).fine();
    let five = now(&store);
    store.import("more", &seats(5..12)).fine();
    store.sql("MERGE PERSONS 'p0', 'p1'").fine();
    store.run(["compact"]).fine();
    let count = "SELECT COUNT(*), COUNT(DISTINCT personId) FROM seatReserved AS OF";
    assert_eq!(store.rows(&format!("{count} '{nothing}'")), ["0,0"]);
    // The persons are those of today.
    assert_eq!(store.rows(&format!("{count} '{five}'")), ["5,2"]);
    assert_eq!(store.rows(&format!("{count} 3")), ["3,2"]);
    assert_eq!(store.rows(&format!("{count} 0")), ["0,0"]);
    assert_eq!(store.rows(&format!("{count} 12")), ["12,2"]);
    assert_eq!(store.rows("SELECT MAX(seq) FROM events AS OF 7"), ["7"]);
    let view = "CREATE VIEW v AS SELECT seq FROM seatReserved; SELECT COUNT(*) FROM v AS OF 4";
    assert_eq!(store.rows(view).last().map(String::as_str), Some("4"));
    let funnel = "SELECT persons FROM (FUNNEL seatReserved, seatReserved) WHERE step = 1 AS OF 1";
    assert_eq!(store.rows(funnel), ["1"]);

    let ahead = store.sql(&format!("{count} 13")).fails(2);
    assert!(ahead.contains("AS OF takes a number up to 12, or a time"), "{ahead}");
    let ahead = store.sql(&format!("{count} '2999-01-01'")).fails(2);
    assert!(ahead.contains("that time lies ahead"), "{ahead}");
    let elsewhere = store.sql("SELECT COUNT(*) FROM seatReserved AS OF 3 WHERE venueId = 1").fails(2);
    assert!(elsewhere.contains("comes at its end"), "{elsewhere}");
}

#[test]
fn what_retention_removed_is_refused_and_all_else_is_answered() {
    let store = Store::with_seats();
    store.import("old", &seats(0..4)).fine();
    let view = "{\"definitionId\":\"pageView\",\"eventId\":\"v\",\"externalPersonId\":\"p\",\
                \"occurredTime\":\"2026-06-01T10:00:00Z\",\"properties\":{\"path\":\"/\"}}\n";
    store.import("view", view).fine();
    store.sql("ALTER EVENT seatReserved SET RETENTION 1 DAY").fine();
    // For ten minutes the files are there, and the version of the log that has them.
    assert_eq!(store.rows("SELECT COUNT(*) FROM seatReserved AS OF 4"), ["4"]);
    assert_eq!(store.rows("SELECT COUNT(*) FROM seatReserved"), ["0"]);
    for day in std::fs::read_dir(store.path("data/lake/seatReserved")).unwrap() {
        let day = day.unwrap().path();
        if day.file_name().unwrap().to_str().unwrap().starts_with("day=") {
            std::fs::remove_dir_all(day).unwrap();
        }
    }
    let refused = store.sql("SELECT COUNT(*) FROM seatReserved AS OF 4").fails(2);
    assert!(refused.contains("the oldest moment that it can be asked about is AS OF '20"), "{refused}");
    assert!(refused.contains("or AS OF 5"), "{refused}");
    assert!(store.sql("SELECT COUNT(*) FROM events AS OF 4").fails(2).contains("seatReserved"));
    assert_eq!(store.rows("SELECT COUNT(*) FROM seatReserved AS OF 5"), ["0"]);
    assert_eq!(store.rows("SELECT COUNT(*) FROM pageView AS OF 4"), ["0"]);
    assert_eq!(store.rows("SELECT COUNT(*) FROM pageView AS OF 5"), ["1"]);
}
