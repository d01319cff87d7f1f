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

#[test]
fn a_request_is_submitted_worked_on_told_and_cancelled() {
    let store = Store::with_seats();
    store.import("a", &seat("e1", "ana", "2026-06-01T10:00:00Z", "{}")).fine();
    let submit = |id: &str, more: &[&str]| {
        let mut args =
            vec!["export", "submit", "--from", "2026-06-01", "--to", "2026-06-02", "--into", "out"];
        args.extend(["--request-id", id, "--unlimited"]);
        args.extend(more);
        store.run(args)
    };
    assert_eq!(submit("r1", &[]).fine(), "r1\n");
    assert_eq!(submit("r2", &[]).fine(), "r2\n");
    let status = |id: &str| store.run(["export", "status", id, "--format", "csv"]).fine();
    assert!(status("r1").contains("r1,SUBMITTED,"), "{}", status("r1"));
    let cancelled = store.run(["export", "cancel", "r2"]).fine();
    assert!(cancelled.starts_with("Cancellation complete, cancellation request received at "), "{cancelled}");
    let told = store.run(["export", "run-due"]);
    assert!(told.stderr.contains("r1 COMPLETED_SUCCESSFULLY: 1 event"), "{}", told.stderr);
    assert_eq!(rows(&store.path("out")).len(), 1);
    let known = store.rows("SELECT request_id, status, rows, attempts FROM system.exports ORDER BY 1");
    assert_eq!(known, ["r1,COMPLETED_SUCCESSFULLY,1,1", "r2,CANCELLED_BY_CUSTOMER,0,0"]);
    let refused = store.run(["export", "cancel", "r2"]).fails(2);
    assert!(refused.contains("has ended as CANCELLED_BY_CUSTOMER"), "{refused}");
    let unknown = store.run(["export", "status", "r9"]).fails(2);
    assert!(unknown.contains("there is no export \"r9\""), "{unknown}");
    // All at once, and again.
    assert_eq!(submit("r3", &["--wait"]).fine(), "r3\n");
    assert_eq!(submit("r3", &["--wait"]).fine(), "r3\n");
    assert_eq!(rows(&store.path("out")).len(), 2);
}

#[test]
fn the_published_limits_hold_for_requests_unless_they_are_lifted() {
    let store = Store::with_seats();
    let submit =
        |from: &str, to: &str| store.run(["export", "submit", "--from", from, "--to", to, "--into", "out"]);
    assert!(submit("2001-01-01", "2001-01-02").fails(2).contains("one year back"));
    assert!(submit("2001-01-01", "2001-01-03").fails(2).contains("at most 24 hours, found 48"));
    assert!(submit("9001-01-01", "9001-01-02").fails(2).contains("earlier than now"));
    assert_eq!(store.rows("SELECT COUNT(*) FROM system.exports"), ["0"]);
}

#[test]
fn a_schedule_is_made_and_works_when_it_is_due() {
    let store = Store::with_seats();
    let time = |hour: u32| format!("2026-06-01T{hour:02}:30:00Z");
    let lines: String = (0..5).map(|hour| seat(&format!("e{hour}"), "ana", &time(hour), "{}")).collect();
    store.import("a", &lines).fine();
    let made = store
        .sql(
            "CREATE EXPORT SCHEDULE weekly EVENTS 'seat*' EVERY 1 WEEK GRACE 10 MINUTES FROM '2026-05-28' INTO 'out'",
        )
        .fine();
    assert!(made.contains("every 1 week from 2026-05-28T00:00:00.000Z on"), "{made}");
    store.run(["export", "run-due"]).fine();
    assert_eq!(rows(&store.path("out")).len(), 5);
    let first =
        store.rows("SELECT request_id, schedule, rows FROM system.exports ORDER BY start_time LIMIT 1");
    assert_eq!(first, ["weekly-20260528000000000,weekly,5"]);
    let schedules =
        store.rows("SELECT name, every, grace, destination IS NOT NULL FROM system.export_schedules");
    assert_eq!(schedules, ["weekly,1 week,10 minutes,true"]);
    assert!(store.sql("DROP EXPORT SCHEDULE wekly").fails(2).contains("did you mean \"weekly\"?"));
    store.sql("DROP EXPORT SCHEDULE weekly").fine();
}

#[test]
fn any_query_is_exported_as_parquet_csv_or_json() {
    let store = Store::with_seats();
    let lines: String = (0..25)
        .map(|nth| {
            let properties =
                format!(r#"{{"venueId":{nth},"note":"a, \"b\" {nth}","seats":[{{"row":"C","price":1.5}}]}}"#);
            seat(&format!("e{nth:02}"), "ana", "2026-06-01T10:00:00Z", &properties)
        })
        .collect();
    store.import("a", &lines).fine();
    let export = |what: &str, format: &str| {
        let with = format!("WITH (format '{format}', rows_per_file 10, request_id '{format}')");
        store
            .sql(&format!("EXPORT (SELECT {what} FROM seatReserved ORDER BY eventId) INTO '{format}' {with}"))
    };
    for (format, suffix) in [("parquet", ".parquet"), ("csv", ".csv.gz"), ("json", ".json.gz")] {
        assert_eq!(export("eventId, venueId, note", format).fine(), "25 rows in 3 files\n");
        let again = export("eventId, venueId, note", format).fine();
        assert_eq!(again, "25 rows in 3 files; they were there already\n");
        assert!(export("eventId", format).fails(2).contains("was used for another export"));
        let found = files(&store.path(format));
        assert_eq!(found.len(), 4, "{:?}", found.keys());
        assert_eq!(found.keys().filter(|name| name.ends_with(suffix)).count(), 3);
    }
    let first = |folder: &str| {
        let found = files(&store.path(folder));
        let (_, bytes) = found.into_iter().find(|(name, _)| name.contains("-00002.")).unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        text.lines().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(first("csv"), ["eventId,venueId,note", "e10,10,\"a, \"\"b\"\" 10\""]);
    assert_eq!(first("json")[0], r#"{"eventId":"e10","venueId":10,"note":"a, \"b\" 10"}"#);
    let lists = store.sql("EXPORT (SELECT seats FROM seatReserved) INTO 'c' WITH (format 'csv')").fails(2);
    assert!(lists.contains("CSV has no place for the list \"seats\""), "{lists}");
    store.sql("EXPORT (SELECT eventId, seats FROM seatReserved) INTO 'p' WITH (format 'parquet')").fine();
    let wrong = store.sql("EXPORT (SELECT nope FROM seatReserved) INTO 'c'").fails(2);
    assert!(wrong.contains("nope"), "{wrong}");
}

#[test]
fn an_enriched_export_tells_of_the_flow_that_its_person_had_entered_by_then() {
    let store = Store::new();
    store.sql("ENABLE EVENT personEnteredFlow").fine();
    let line = |id: &str, event: &str, person: &str, time: &str, properties: &str| {
        format!(
            "{{\"definitionId\":\"{event}\",\"eventId\":\"{id}\",\"externalPersonId\":\"{person}\",\
             \"occurredTime\":\"2026-06-01T{time}Z\",\"properties\":{properties}}}\n"
        )
    };
    let entered = |name: &str, element: &str| {
        format!(
            "{{\"campaignId\":\"42\",\"campaignName\":\"{name}\",\"elementName\":\"{element}\",\"flowElementId\":\"42-1\",\
             \"campaignStart\":\"2026-05-31T10:00:00Z\"}}"
        )
    };
    let opened = r#"{"campaignId":"42"}"#;
    let lines = [
        line("e1", "emailOpened", "ana", "08:00:00", opened),
        line("f1", "personEnteredFlow", "ana", "09:00:00", &entered("Spring", "Send email")),
        line("e2", "emailOpened", "ana", "10:00:00", opened),
        line("e3", "emailOpened", "bo", "10:00:00", opened),
        line("f2", "personEnteredFlow", "ana", "11:00:00", &entered("Spring 2", "Send SMS")),
        line("e4", "emailOpened", "ana", "12:00:00", r#"{"campaignId":"42","campaignName":"its own"}"#),
        line("e5", "emailOpened", "ana", "12:00:00", r#"{"campaignId":"43"}"#),
    ];
    store.import("a", &lines.concat()).fine();
    store
        .sql(
            "EXPORT EVENTS emailOpened FROM '2026-06-01' TO '2026-06-02' INTO 'out' WITH (enrich_with_moments_info true)",
        )
        .fine();
    let of_flow = |row: &String| {
        let (_, rest) = row.split_once("+0000\",").unwrap();
        rest.split_once("\"deviceType\"").unwrap().0.to_owned()
    };
    let told: Vec<_> = rows(&store.path("out")).iter().map(of_flow).collect();
    assert_eq!(
        told,
        [
            r#""campaignName":null,"#,
            r#""campaignName":"Spring","elementName":"Send email","campaignStart":"2026-05-31T10:00:00.000+0000","flowElementId":"42-1","#,
            r#""campaignName":null,"#,
            r#""campaignName":"its own","elementName":"Send SMS","campaignStart":"2026-05-31T10:00:00.000+0000","flowElementId":"42-1","#,
            r#""campaignName":null,"#,
        ]
    );
}
