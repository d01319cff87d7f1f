//! What goes wrong for people who are new here: each mistake names the thing, the cure, and whose turn it is.

use crate::harness::Store;
use crate::harness::seat;

#[test]
fn inputs_that_are_not_there_or_of_another_shape_are_the_users_to_mend() {
    let store = Store::with_seats();
    let missing = store.run(["import", "none.json"]).fails(2);
    assert_eq!(missing, "milepost: there is no file or folder \"none.json\"\n");
    store.file("day.csv", "a,b\n1,2\n");
    let table = store.run(["import", "day.csv"]).fails(2);
    assert!(table.contains("is CSV by its name: --map"), "{table}");
    assert_eq!(store.rows("SELECT COUNT(*) FROM system.rejected"), ["0"]);
    store.file("events.json", "{\"a\":");
    let broken = store.run(["events", "apply", "events.json"]).fails(2);
    assert!(broken.starts_with("milepost: events.json: the definitions are not JSON"), "{broken}");
    let folder = store.run(["sql", "-c", "SELECT 1", "-o", "none/answer.csv"]).fails(2);
    assert!(folder.contains("could not create \"none/answer.csv\""), "{folder}");
    let time = store.run(["export", "--from", "2026-06-01", "--to", "soon", "--into", "out"]).fails(2);
    assert!(time.starts_with("milepost: the time \"soon\": not a time in ISO 8601"), "{time}");
}

#[test]
fn rows_of_another_shape_lead_to_maps_and_rows_without_definition_to_define() {
    let store = Store::new();
    store.file("own.json", "{\"type\":\"sold\"}\n");
    let proposed = store.run(["import", "own.json", "--define"]);
    assert!(proposed.stderr.contains("--map says how"), "{proposed:?}");
    let line = seat("e1", "a", "2026-06-01T10:00:00Z", "{}");
    let refused = store.run_with(["import", "--source", "a", "-"], &line).fails(1);
    assert!(refused.contains("add --define"), "{refused}");
}

#[test]
fn lists_are_read_as_the_readme_says() {
    let store = Store::with_seats();
    let seats = r#"{"seats":[{"row":"C","price":31.25},{"row":"D","price":20}]}"#;
    store.import("a", &seat("e1", "a", "2026-06-01T10:00:00Z", seats)).fine();
    assert_eq!(store.rows("SELECT seats[1]['price'] FROM seatReserved"), ["31.25"]);
    assert_eq!(
        store.rows(
            "SELECT eventId, seat['price'] FROM (SELECT eventId, UNNEST(seats) AS seat FROM seatReserved)"
        ),
        ["e1,31.25", "e1,20.0"]
    );
    let fault = store.sql("SELECT seats[1].price FROM seatReserved").fails(2);
    assert!(fault.contains("written in brackets, as in seats[1]['price']"), "{fault}");
}

#[test]
fn the_time_of_a_statement_is_said_once_and_beside_the_answer() {
    let store = Store::new();
    let plain = store.run(["sql", "-c", "SELECT 1"]);
    let timed = store.run(["sql", "--timing", "-c", "SELECT 1"]);
    assert_eq!(timed.stdout, plain.stdout);
    assert!(timed.stderr.starts_with("Time: "), "{timed:?}");
}

#[test]
fn a_data_directory_may_be_a_bare_name() {
    let store = Store::new();
    let mut command = store.command(["sql", "-c", "SELECT 1"]);
    command.args(["--data", "bare"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(store.path("bare/catalog.db").try_exists().unwrap());
}
