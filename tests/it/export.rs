//! Export as a person does it: the format, the edges, and the way back in.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use crate::harness::Store;
use crate::harness::seat;

/// Every file of a folder by name.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

/// The rows of all `.json.gz` files, in the order of their names.
fn rows(folder: &Path) -> Vec<String> {
    let mut rows = Vec::new();
    for (name, bytes) in files(folder) {
        if name.ends_with(".json.gz") {
            let mut text = String::new();
            flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
            rows.extend(text.lines().map(str::to_owned));
        }
    }
    rows
}

#[test]
fn rows_have_six_mandatory_fields_then_flat_properties() {
    let store = Store::with_seats();
    let properties = r#"{"venueId":9007199254740993,"isMember":true,"total":62.5,"startsAt":"2026-07-01T18:30:00Z","seats":[{"row":"C","price":31.25}]}"#;
    store.import("a", &seat("ord-1", "crm-501", "2026-06-01T09:12:44.183Z", properties)).fine();
    store
        .sql("EXPORT EVENTS seatReserved FROM '2026-06-01' TO '2026-06-02' INTO 'out' WITH (request_id 'r1')")
        .fine();
    assert_eq!(
        rows(&store.path("out")),
        [
            r#"{"definitionId":"seatReserved","eventId":"ord-1","sessionId":null,"personId":"1","externalPersonId":"crm-501","occuredTime":"2026-06-01T09:12:44.183+0000","venueId":9007199254740993,"total":62.5,"startsAt":"2026-07-01T18:30:00.000+0000","isMember":true,"seats":[{"row":"C","price":31.25}],"note":null}"#
        ]
    );
    let names: Vec<_> = files(&store.path("out")).into_keys().collect();
    assert!(names.contains(&"r1-events-20260601000000000-20260602000000000.json.gz".to_owned()), "{names:?}");
    assert!(names.iter().any(|name| name.contains("manifest")), "{names:?}");
}

#[test]
fn br29_neighbouring_ranges_hold_each_event_once() {
    let store = Store::with_seats();
    let lines: String = ["10:00:00.000", "10:59:59.999", "11:00:00.000"]
        .iter()
        .map(|time| seat(&time.replace([':', '.'], "-"), "ana", &format!("2026-06-01T{time}Z"), "{}"))
        .collect();
    store.import("a", &lines).fine();
    for (from, to, count) in [("10:00", "11:00", 2), ("11:00", "12:00", 1), ("12:00", "13:00", 0)] {
        let into = format!("out-{count}");
        let range = format!("FROM '2026-06-01T{from}:00Z' TO '2026-06-01T{to}:00Z'");
        store.sql(&format!("EXPORT EVENTS {range} INTO '{into}'")).fine();
        let found = if count == 0 { Vec::new() } else { rows(&store.path(&into)) };
        assert_eq!(found.len(), count);
    }
}

#[test]
fn export_import_into_an_empty_store_export_is_byte_identical() {
    let store = Store::with_seats();
    let mut lines = String::new();
    for index in 0..200 {
        let time = format!("2026-06-01T{:02}:{:02}:00.{:03}Z", index % 24, index % 60, index);
        let properties =
            format!(r#"{{"venueId":{index},"total":{}.25,"note":"n\u0000😀 {index}"}}"#, index * 7);
        lines.push_str(&seat(&format!("e{index}"), &format!("p{}", index % 17), &time, &properties));
    }
    store.import("a", &lines).fine();
    let export = "EXPORT EVENTS FROM '2026-06-01' TO '2026-06-02' INTO 'out' WITH (request_id 'same')";
    store.sql(export).fine();
    let other = Store::with_seats();
    other.run(["import", "--quiet", store.path("out").to_str().unwrap()]).fine();
    other.sql(export).fine();
    assert_eq!(files(&store.path("out")), files(&other.path("out")));
    assert_eq!(rows(&store.path("out")).len(), 200);
    // And back into the store it came from: all of it is known there already.
    store.run(["import", "--quiet", "out"]).fine();
    assert_eq!(store.rows("SELECT COUNT(*) FROM seatReserved"), ["200"]);
}

#[test]
fn the_command_exports_as_the_statement_does() {
    let store = Store::with_seats();
    store.import("a", &seat("e1", "ana", "2026-06-01T10:00:00Z", "{}")).fine();
    store
        .run([
            "export",
            "--from",
            "2026-06-01",
            "--to",
            "2026-06-02",
            "--into",
            "out",
            "--events",
            "seat*",
            "--request-id",
            "x",
        ])
        .fine();
    store
        .sql("EXPORT EVENTS 'seat*' FROM '2026-06-01' TO '2026-06-02' INTO 'out2' WITH (request_id 'x')")
        .fine();
    assert_eq!(files(&store.path("out")), files(&store.path("out2")));
    let fault = store.sql("EXPORT EVENTS seatReservd FROM '2026-06-01' TO '2026-06-02' INTO 'out3'").fails(2);
    assert!(fault.contains("did you mean \"seatReserved\"?"), "{fault}");
}
