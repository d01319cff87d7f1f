//! Events as they become safe, for whoever watches.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::process::Command;

use crate::harness::Server;
use crate::harness::Store;
use crate::harness::seat;

#[test]
fn events_are_seen_as_they_come_in_their_order() {
    let store = Store::with_seats();
    let server = Server::start(&store);
    let mut stream = server.connect();
    stream.write_all(b"GET /v1/tail?definitionId=seatReserved HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    // Watching has begun when the first words come.
    assert!(lines.by_ref().any(|line| line.contains(": watching")));
    let rows: String = (0..50)
        .map(|n| seat(&format!("e{n}"), "a", "2026-06-01T10:00:00Z", &format!("{{\"venueId\":{n}}}")))
        .collect();
    server.ask("POST", "/v1/events", &["Content-Type: application/x-ndjson"], &rows).fine();
    server.ask("POST", "/v1/events", &["Content-Type: application/x-ndjson"], &rows).fine();
    let page = r#"{"definitionId":"pageView","externalPersonId":"a","occurredTime":"2026-06-01T10:00:00Z"}"#;
    server.ask("POST", "/v1/events", &["Content-Type: application/x-ndjson"], format!("{page}\n")).fine();
    let last = seat("last", "b", "2026-06-01T10:00:00Z", "{}");
    server.ask("POST", "/v1/events", &["Content-Type: application/x-ndjson"], &last).fine();
    let mut seen = Vec::new();
    for line in lines {
        let Some(data) = line.strip_prefix("data: ") else { continue };
        let event: serde_json::Value = serde_json::from_str(data).unwrap();
        seen.push((event["seq"].as_i64().unwrap(), event["eventId"].as_str().unwrap().to_owned()));
        if event["eventId"] == "last" {
            break;
        }
        let n = event["properties"]["venueId"].as_i64().unwrap();
        assert_eq!(seen.last().unwrap().1, format!("e{n}"));
    }
    assert_eq!(seen.len(), 51, "each once, and no page view");
    assert!(seen.is_sorted());
    server.get("/v1/tail?definitionId=seatReservd").fails(404);
    server.get("/v1/tail?definition=seatReserved").fails(400);
    // Whoever watches keeps no server from ending.
    server.stop();
}

#[test]
fn the_command_line_watches_a_running_server() {
    let store = Store::with_seats();
    let told = store.run(["tail"]).fails(3);
    assert!(told.contains("milepost serve"), "{told}");
    let server = Server::start(&store);
    let refused = store.run(["tail", "seatReservd"]).fails(2);
    assert!(refused.contains("seatReserved"), "{refused}");
    let mut child = store.spawn(["tail", "seatReserved"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The first may come before it watches.
    let mut line = None;
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| lines.next());
        let mut n = 0;
        while !reader.is_finished() {
            let row = seat(&format!("e{n}"), "a", "2026-06-01T10:00:00Z", "{\"venueId\":5}");
            server.ask("POST", "/v1/events", &["Content-Type: application/x-ndjson"], &row).fine();
            n += 1;
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        line = reader.join().unwrap();
    });
    let line = line.unwrap().unwrap();
    assert!(line.starts_with("{\"seq\":") && line.contains("\"venueId\":5"), "{line}");
    assert!(Command::new("kill").arg("-INT").arg(child.id().to_string()).status().unwrap().success());
    drop(child.wait());
}
