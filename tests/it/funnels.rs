//! Funnels as a person asks for them: at the command line, as JSON, within SQL, with mistakes.

use crate::harness::Store;
use crate::harness::seat;

fn store() -> Store {
    let store = Store::with_seats();
    let mut lines = String::new();
    for (id, person, minute, venue) in
        [("e1", "ana", 0, 1), ("e2", "ana", 5, 2), ("e3", "bo", 0, 1), ("e4", "cy", 0, 2), ("e5", "cy", 9, 1)]
    {
        let time = format!("2026-06-01T10:{minute:02}:00Z");
        lines.push_str(&seat(id, person, &time, &format!("{{\"venueId\":{venue}}}")));
    }
    store.import("seats", &lines).fine();
    store
}

#[test]
fn a_statement_a_json_text_and_a_subquery_mean_the_same() {
    let store = store();
    let said = "FUNNEL seatReserved WHERE venueId = 1, seatReserved WHERE venueId = 2 WITHIN 1 HOUR";
    let answer = store.run(["sql", "--format", "csv", "-c", said]).fine();
    let lines: Vec<&str> = answer.lines().collect();
    assert_eq!(lines[1], "1,seatReserved,3,100.0,100.0,2,0,,,,");
    assert_eq!(lines[2], "2,seatReserved,1,33.33,33.33,0,0,300.0,300.0,300.0,300.0");
    let json = r#"{"steps": [{"any": [{"event": "seatReserved", "where": "venueId = 1"}]},
        {"any": [{"event": "seatReserved", "where": "venueId = 2"}]}], "within": "1 hour"}"#;
    assert_eq!(store.run_with(["funnel", "-", "--format", "csv"], json).fine(), answer);
    assert_eq!(store.rows(&format!("SELECT persons FROM ({said}) WHERE step = 2")), ["1"]);
    let steps = store.rows(&format!("CREATE VIEW v AS {said}; SELECT MAX(step) FROM v"));
    assert_eq!(steps.last().map(String::as_str), Some("2"));
    let plan = store.sql(&format!("EXPLAIN {said}")).fine();
    assert!(plan.contains("FunnelExec: steps=2"), "{plan}");
}

#[test]
fn a_mistake_in_a_funnel_is_shown_at_its_place() {
    let store = store();
    let said = store.sql("SELECT 1;\nFUNNEL seatReserved,\n  seatReservd WITHIN 1 DAY").fails(2);
    assert!(said.contains("did you mean \"seatReserved\"?") && said.contains("line 3, column 3"), "{said}");
    let said = store.sql("FUNNEL seatReserved WHERE venuId = 1").fails(2);
    assert!(said.contains("did you mean \"venueId\"?") && said.contains("column 27"), "{said}");
    let said = store.sql("FUNNEL seatReserved WITHIN 7 DAYZ").fails(2);
    assert!(said.contains("no length of time"), "{said}");
    let said = store.run_with(["funnel", "-"], "{\"steps\": [],\n \"withn\": \"1 day\"}").fails(2);
    assert!(said.contains("unknown field \"withn\""), "{said}");
}
