//! Import as a person does it: what is stored, what is refused and why, what a second run does.

use std::io::Write;

use crate::harness::Store;
use crate::harness::seat;

#[test]
fn a_refused_row_waits_in_quarantine_and_is_taken_after_the_cure() {
    let store = Store::with_seats();
    let good = seat("e1", "ana", "2026-06-01T10:00:00Z", r#"{"venueId":1}"#);
    let bad = seat("e2", "ana", "2026-06-01T11:00:00Z", r#"{"venueId":2,"gate":"B"}"#);
    let report = store.import("a", &format!("{good}{bad}")).fails(1);
    assert!(report.contains("gate"), "{report}");
    assert_eq!(
        store.rows("SELECT source, row, definition, property, code FROM system.rejected"),
        ["a,2,seatReserved,gate,unknown_property"]
    );
    store.sql("ALTER EVENT seatReserved ADD (gate STRING)").fine();
    store.run(["import", "--quiet", "--replay"]).fine();
    assert_eq!(store.rows("SELECT COUNT(*) FROM system.rejected"), ["0"]);
    assert_eq!(store.rows("SELECT eventId, gate FROM seatReserved ORDER BY eventId"), ["e1,", "e2,B"]);
}

#[test]
fn br19_duplicates_are_ignored_conflicts_refused_and_rows_without_id_stay_two() {
    let store = Store::new();
    store.sql("CREATE EVENT paid TITLE 'Paid' (amount NUMERIC)").fine();
    let row = |id: &str, amount: i64| {
        let id = if id.is_empty() { String::new() } else { format!("\"eventId\":\"{id}\",") };
        format!(
            "{{\"definitionId\":\"paid\",{id}\"externalPersonId\":\"p\",\"occurredTime\":\"2026-06-01T10:00:00Z\",\"properties\":{{\"amount\":{amount}}}}}\n"
        )
    };
    store.import("first", &row("e1", 5)).fine();
    store.run(["compact"]).fine();
    store.import("retry", &row("e1", 5)).fine();
    store.import("other payload", &row("e1", 6)).fails(1);
    assert_eq!(store.rows("SELECT code FROM system.rejected"), ["event_conflict"]);
    store.import("no ids", &format!("{0}{0}", row("", 7))).fine();
    assert_eq!(store.rows("SELECT COUNT(*), SUM(amount) FROM paid"), ["3,19"]);
}

#[test]
fn the_same_import_again_adds_nothing_with_and_without_ids() {
    let store = Store::with_seats();
    let line =
        r#"{"definitionId":"seatReserved","externalPersonId":"ana","occurredTime":"2026-06-01T10:00:00Z"}"#;
    let bad =
        r#"{"definitionId":"seatReservd","externalPersonId":"ana","occurredTime":"2026-06-01T10:00:00Z"}"#;
    let file = store.file("events.jsonl", format!("{line}\n{line}\n{bad}\n"));
    let file = file.to_str().unwrap();
    for again in [&["import", "--quiet", file][..], &["import", "--quiet", "--again", file][..]] {
        store.run(again).fails(1);
        assert_eq!(store.rows("SELECT COUNT(*) FROM seatReserved"), ["2"]);
        assert_eq!(store.rows("SELECT COUNT(*) FROM system.rejected"), ["1"]);
    }
}

#[test]
fn archives_arrays_and_folders_are_read_as_they_are() {
    let store = Store::with_seats();
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let row = |id: &str| seat(id, "ana", "2026-06-01T10:00:00Z", "{}");
    std::fs::create_dir(store.path("in")).unwrap();
    store.file("in/two-members.gz", [gzip(&row("g1")), gzip(&row("g2"))].concat());
    store.file("in/one.zst", zstd::encode_all(row("z1").as_bytes(), 1).unwrap());
    store.file("in/array.json", format!("[\n{},\n{}]", row("a1").trim_end(), row("a2")));
    store.file("in/plain", format!("\u{feff}{}\r\n\r\n{}", row("p1").trim_end(), row("p2").trim_end()));
    store.run(["import", "--quiet", "in"]).fine();
    assert_eq!(
        store.rows("SELECT eventId FROM seatReserved ORDER BY eventId"),
        ["a1", "a2", "g1", "g2", "p1", "p2", "z1"]
    );
}

#[test]
fn a_person_is_found_by_every_identifier_and_created_only_when_allowed() {
    let store = Store::with_seats();
    let row = |event: &str, person: &str| {
        format!(
            "{{\"definitionId\":\"seatReserved\",\"eventId\":\"{event}\",{person},\"occurredTime\":\"2026-06-01T10:00:00Z\"}}\n"
        )
    };
    let refused = store
        .run_with(
            ["import", "--quiet", "--no-create-persons", "-"],
            &row("e0", r#""externalPersonId":"ana""#),
        )
        .fails(1);
    assert!(refused.contains("unknown_person"), "{refused}");
    store.import("a", &row("e1", r#""externalPersonId":"ana""#)).fine();
    store.import("b", &row("e2", r#""identifier":{"id":"ana","type":"EXTERNAL_ID"}"#)).fine();
    store.import("c", &row("e3", r#""personId":"1","externalPersonId":"ana""#)).fine();
    store.import("d", &row("e4", r#""identifier":{"id":"ana@example.net","type":"EMAIL"}"#)).fine();
    store.import("e", &row("e5", r#""identifier":{"id":"reg-77","type":"PUSH","sender":"app"}"#)).fails(1);
    assert_eq!(
        store.rows("SELECT eventId, personId, externalPersonId FROM seatReserved ORDER BY eventId"),
        ["e1,1,ana", "e2,1,ana", "e3,1,ana", "e4,2,"]
    );
}

#[test]
fn times_without_an_offset_need_a_zone_and_seconds_are_told_from_milliseconds() {
    let store = Store::with_seats();
    let row = |id: &str, time: &str| {
        format!(
            "{{\"definitionId\":\"seatReserved\",\"eventId\":\"{id}\",\"externalPersonId\":\"ana\",\"occurredTime\":{time}}}\n"
        )
    };
    let report = store.import("no offset", &row("e1", r#""2026-06-01T10:00:00""#)).fails(1);
    assert!(report.contains("--zone"), "{report}");
    let zone = ["import", "--quiet", "--zone", "Europe/Zagreb", "-"];
    store.run_with(zone, &row("e1", r#""2026-06-01T10:00:00""#)).fine();
    store.import("offset", &row("e2", r#""2026-06-01T10:00:00.000+0000""#)).fine();
    store.import("epoch", &row("e3", "1780308000000")).fine();
    let report = store.import("seconds", &row("e4", "1780308000")).fails(1);
    assert!(report.contains("seconds"), "{report}");
    assert_eq!(
        store.rows("SELECT eventId, occurredTime FROM seatReserved ORDER BY eventId"),
        ["e1,2026-06-01T08:00:00Z", "e2,2026-06-01T10:00:00Z", "e3,2026-06-01T10:00:00Z"]
    );
}

#[test]
fn the_rules_of_page_views_and_sessions_hold() {
    let store = Store::with_seats();
    store.sql("ENABLE EVENT sessionStarted").fine();
    let row = |definition: &str, id: &str, properties: &str| {
        format!(
            "{{\"definitionId\":\"{definition}\",\"eventId\":\"{id}\",\"externalPersonId\":\"ana\",\"occurredTime\":\"2026-06-01T10:00:00Z\",\"properties\":{properties}}}\n"
        )
    };
    let url = format!("{}\u{1f600}tail", "a".repeat(1499));
    store
        .import(
            "a",
            &row("pageView", "e1", &format!(r#"{{"url":"{url}","path":"/shoes","deviceType":"TV"}}"#)),
        )
        .fine();
    assert_eq!(store.rows("SELECT LENGTH(url), OCTET_LENGTH(url) FROM pageView"), ["1500,1503"]);
    store.import("b", &row("pageView", "e2", r#"{"path":"shoes"}"#)).fails(1);
    store.import("c", &row("pageView", "e3", r#"{"deviceType":"phone"}"#)).fails(1);
    let session = r#"{"sessionType":"Web","sessionStart":"01/06/2026 10:00:00"}"#;
    store.import("d", &row("sessionStarted", "e4", session)).fine();
    assert_eq!(
        store.rows("SELECT utm_source, sessionStart FROM sessionStarted"),
        ["direct,2026-06-01T10:00:00Z"]
    );
}

#[test]
fn definitions_are_proposed_from_the_data_and_made_when_told_to() {
    let store = Store::new();
    let line = r#"{"definitionId":"coffeeBrewed","eventId":"c1","externalPersonId":"ana","occurredTime":"2026-06-01T10:00:00Z","properties":{"grams":18,"ratio":2.5,"decaf":false,"note":"nutty"}}"#;
    let file = store.file("coffee.jsonl", line);
    let file = file.to_str().unwrap();
    let proposed = store.run(["import", "--quiet", "--define", file]);
    assert!(
        proposed.stdout.contains("\"coffeeBrewed\"") && proposed.stdout.contains("\"Numeric\""),
        "{proposed:?}"
    );
    assert_eq!(store.rows("SELECT COUNT(*) FROM definitions WHERE id = 'coffeeBrewed'"), ["0"]);
    store.run(["import", "--quiet", "--define", "--yes", file]).fine();
    assert_eq!(store.rows("SELECT grams, ratio, decaf, note FROM coffeeBrewed"), ["18,2.5,false,nutty"]);
}
