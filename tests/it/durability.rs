//! What survives a kill, and who may open a store beside whom.

use std::fmt::Write as _;
use std::time::Duration;

use crate::harness::Store;

/// `count` rows, each of its own event, in ten days and forty persons.
fn many(count: usize) -> String {
    let mut lines = String::new();
    for index in 0..count {
        writeln!(
            lines,
            "{{\"definitionId\":\"pageView\",\"externalPersonId\":\"p{}\",\"occurredTime\":\"2026-06-{:02}T10:00:00.{:03}Z\",\"properties\":{{\"path\":\"/{index}\"}}}}",
            index % 40,
            1 + index % 10,
            index % 1000
        )
        .unwrap();
    }
    lines
}

#[test]
fn a_killed_import_leaves_whole_batches_and_goes_on_where_it_stopped() {
    let lines = many(60_000);
    let store = Store::with_seats();
    let file = store.file("events.jsonl", &lines);
    let file = file.to_str().unwrap();
    for round in 0..4 {
        let mut child = store.spawn(["import", "--quiet", file]);
        std::thread::sleep(Duration::from_millis(150 + 350 * round));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    store.run(["import", "--quiet", file]).fine();
    assert_eq!(
        store.rows(
            "SELECT COUNT(*), COUNT(DISTINCT eventId), COUNT(DISTINCT path), MIN(seq), MAX(seq) FROM pageView"
        ),
        ["60000,60000,60000,1,60000"]
    );
    assert_eq!(store.rows("SELECT COUNT(*) FROM persons"), ["40"]);
}

#[test]
fn a_store_has_one_writer_and_readers_beside_it() {
    let store = Store::with_seats();
    store.import("a", &many(10)).fine();
    let mut writer = store.spawn(["import", "--quiet", "--source", "slow", "-"]);
    // The writer holds the lock once the lock's file says its process; asking before that could come first.
    let held_by = writer.id().to_string();
    let names_it = |text: String| text.split(|c: char| !c.is_ascii_digit()).any(|word| word == held_by);
    let lock = store.path("data").join("LOCK");
    for _ in 0..600 {
        if std::fs::read_to_string(&lock).is_ok_and(names_it) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let second = store.import("b", "");
    let reader = store.run(["--read-only", "sql", "--format", "csv", "-c", "SELECT COUNT(*) FROM pageView"]);
    drop(writer.stdin.take());
    writer.wait().unwrap();
    let message = second.fails(3);
    assert!(message.contains("--read-only"), "{message}");
    assert_eq!(reader.fine(), "count(*)\n10\n");
}
