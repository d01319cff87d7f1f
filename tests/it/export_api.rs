//! `/peopleevents/1/export`: submitted, told, cancelled, as published, over a folder of files that stands for a bucket's
//! absence: nothing answers, so every state but success is seen here; `tests/servers.rs` has a bucket.

use serde_json::Value;

use crate::harness::Answer;
use crate::harness::Server;
use crate::harness::Store;

const AT: &str = "/peopleevents/1/export";

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A request for so many hours of the day before yesterday.
fn order(server: &Server, hours: u32) -> Value {
    let times = server.sql(&format!(
        "SELECT CAST(now() - INTERVAL '48 hours' AS TEXT) AS s, CAST(now() - INTERVAL '{} hours' AS TEXT) AS e",
        48 - hours
    ));
    let times = value(times.fine().trim());
    let form = |key: &str| format!("{}.000+0000", times[key].as_str().unwrap()[..19].replace(' ', "T"));
    serde_json::json!({
        "roleArn": "arn:aws:iam::000000000000:role/reports/events-writer", "bucket": "acme-events",
        "region": "EU_CENTRAL_1", "directoryPath": "raw/people/", "startTime": form("s"), "endTime": form("e"),
        "definitionIdList": ["seat*"],
    })
}

fn message_id(answer: Answer, status: u16, id: &str) -> String {
    let body = value(&answer.fails(status));
    let told = &body["requestError"]["serviceException"];
    assert_eq!(told["messageId"], id, "{body}");
    told["text"].as_str().unwrap().to_owned()
}

#[test]
fn a_request_is_taken_told_and_cancelled() {
    let store = Store::with_seats();
    let server = Server::start(&store);
    let listed = value(&server.get(&format!("{AT}/definitions")).fine());
    let ids: Vec<_> =
        listed["definitionIdList"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    assert!(ids.contains(&"seatReserved") && ids.contains(&"emailOpened") && ids.is_sorted(), "{ids:?}");
    let taken = server.post(AT, &order(&server, 24).to_string());
    assert_eq!(taken.status, 202, "{taken:?}");
    let id = value(&taken.body)["requestId"].as_str().unwrap().to_owned();
    let status = value(&server.get(&format!("{AT}/status/{id}")).fine());
    assert_eq!(status["requestId"], id.as_str());
    let cancelled = server.ask("DELETE", &format!("{AT}/{id}"), &[], "");
    assert_eq!((cancelled.status, cancelled.body.as_str()), (202, ""));
    let mut status = Value::Null;
    for _ in 0..600 {
        status = value(&server.get(&format!("{AT}/status/{id}")).fine());
        if status["status"] == "CANCELLED_BY_CUSTOMER" {
            break;
        }
        assert_eq!(status["status"], "SUBMITTED", "pending is told so: {status}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let told = status["message"].as_str().unwrap();
    assert!(told.starts_with("Cancellation complete, cancellation request received at 20"), "{status}");
    let over = message_id(server.ask("DELETE", &format!("{AT}/{id}"), &[], ""), 409, "CONFLICT");
    assert!(over.contains("CANCELLED_BY_CUSTOMER"), "{over}");
    message_id(server.get(&format!("{AT}/status/nobody")), 404, "NOT_FOUND");
    message_id(server.ask("DELETE", &format!("{AT}/nobody"), &[], ""), 404, "NOT_FOUND");
}

#[test]
fn what_is_wrong_with_a_request_is_told_with_the_published_codes() {
    let store = Store::with_seats();
    let key = store.run(["key", "create", "q", "--scope", "query"]).fine();
    let key = key.lines().last().unwrap().trim().to_owned();
    let server = Server::start(&store);
    let with = |name: &str, to: Value| {
        let mut order = order(&server, 24);
        order[name] = to;
        server.post(AT, &order.to_string())
    };
    for (name, to) in [
        ("roleArn", Value::from("role")),
        ("bucket", Value::from("A b")),
        ("region", Value::from("moon")),
        ("directoryPath", Value::from("no-slash")),
        ("startTime", Value::from("yesterday")),
        ("endTime", Value::from("2999-01-01T00:00:00.000+0000")),
        ("startTime", Value::from("2001-01-01T00:00:00.000+0000")),
        ("definitionIdList", serde_json::json!(["a", "a"])),
        ("surprise", Value::from(1)),
    ] {
        let told = message_id(with(name, to), 400, "BAD_REQUEST");
        assert!(!told.contains("--"), "no flags over HTTP: {told}");
    }
    message_id(server.post(AT, ""), 400, "BAD_REQUEST");
    message_id(with("definitionIdList", serde_json::json!(["seatReservd"])), 404, "NOT_FOUND");
    let app = format!("Authorization: App {key}");
    let json = "Content-Type: application/json";
    message_id(server.ask("POST", AT, &[json, &app], order(&server, 1).to_string()), 403, "FORBIDDEN");
    message_id(
        server.ask("GET", &format!("{AT}/definitions"), &["Authorization: App nobody"], ""),
        401,
        "UNAUTHORIZED",
    );
    // No more than 72 hours at a time. Nothing answers for the bucket, so all of them stay in progress.
    for _ in 0..3 {
        assert_eq!(server.post(AT, &order(&server, 24).to_string()).status, 202);
    }
    let much = server.post(AT, &order(&server, 1).to_string());
    assert!(much.head.to_ascii_lowercase().contains("retry-after:"), "{much:?}");
    let told = message_id(much, 429, "TOO_MANY_REQUESTS");
    assert!(told.contains("at most 72") && !told.contains("--unlimited"), "{told}");
}
