//! Clients that are broken or mean no good: each gets its status, memory stays, and the others are served.

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;

use crate::harness::Server;
use crate::harness::Store;

/// The server's memory in bytes, as it says itself.
fn memory(server: &Server) -> u64 {
    let metrics = server.get("/metrics").fine();
    let line = metrics.lines().find(|line| line.starts_with("process_resident_memory_bytes ")).unwrap();
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

fn is_served(server: &Server) {
    assert_eq!(server.sql("SELECT 7 AS n").fine(), "{\"n\":7}\n");
}

#[test]
fn heads_that_never_end_are_cut_off_and_nobody_waits_for_them() {
    let store = Store::with_seats();
    store.file("data/milepost.toml", "[limits]\nheader_seconds = 1\n");
    let server = Server::start(&store);
    let mut slow: Vec<TcpStream> = (0..300)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(b"POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").unwrap();
            stream
        })
        .collect();
    is_served(&server);
    for stream in &mut slow {
        let mut rest = Vec::new();
        // A reset is an end too.
        drop(stream.read_to_end(&mut rest));
        assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    }
    is_served(&server);
}

#[test]
fn a_body_that_never_ends_is_cut_off_in_time() {
    let store = Store::with_seats();
    store.file("data/milepost.toml", "[limits]\nrequest_seconds = 1\nidle_seconds = 1\n");
    let server = Server::start(&store);
    for (path, kind) in [
        ("/people/3/events", "application/json"),
        ("/v1/events", "application/json"),
        ("/v1/events", "application/x-ndjson"),
        ("/v1/sql", "text/plain"),
    ] {
        let mut stream = server.connect();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: 1000\r\n\r\n[{{"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            answer.contains(" 408 ") || answer.contains("no events came for too long"),
            "{path} {kind}: {answer}"
        );
    }
    is_served(&server);
}

#[test]
fn large_bodies_are_refused_without_being_held() {
    let store = Store::with_seats();
    let server = Server::start(&store);
    is_served(&server);
    let before = memory(&server);
    let hundred = 100 << 20;
    let said = format!(
        "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {hundred}\r\n\r\n["
    );
    server.raw(said.as_bytes()).fails(413);
    // One that does not say how long it is.
    let mut stream = server.connect();
    stream
        .write_all(b"POST /people/3/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    let part = [b"100000\r\n".as_slice(), &vec![b' '; 1 << 20], b"\r\n"].concat();
    for _ in 0..100 {
        if stream.write_all(&part).is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    let refused = answer.is_empty() || String::from_utf8_lossy(&answer).contains(" 413 ");
    assert!(refused, "{}", String::from_utf8_lossy(&answer));
    // A line without an end.
    let mut stream = server.connect();
    stream
        .write_all(b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    for _ in 0..100 {
        if stream.write_all(&part).is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    is_served(&server);
    let grown = memory(&server).saturating_sub(before);
    assert!(grown < 100 << 20, "{grown} bytes more");
}

#[test]
fn what_is_no_text_and_what_has_no_bottom_is_refused() {
    let store = Store::with_seats();
    let server = Server::start(&store);
    let single = "/peopleevents/2/persons/a/definitions/seatReserved/events?identifierType=EXTERNAL_ID";
    let json = ["Content-Type: application/json"];
    for path in [single, "/people/3/events", "/peopleevents/2/definitions", "/v1/sql", "/v1/web/events"] {
        let told = server.ask("POST", path, &json, b"{\"a\":\"\xff\xfe\"}");
        assert_eq!(told.status, 400, "{path}: {told:?}");
    }
    let deep = "[".repeat(200_000);
    let nested = format!("{{\"properties\":{deep}");
    for (path, body) in [
        (single, &nested),
        ("/people/3/events", &deep),
        ("/v1/events", &deep),
        ("/peopleevents/2/definitions", &deep),
        ("/v1/web/events", &nested),
        ("/v1/keys", &deep),
    ] {
        let told = server.ask("POST", path, &json, body);
        assert_eq!(told.status, 400, "{path}: {told:?}");
    }
    let deep = format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000));
    assert!((400..600).contains(&server.sql(&deep).status));
    let bad =
        b"GET /peopleevents/2/definitions/%ff%fe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    server.raw(bad).fails(400);
    server.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").fails(400);
    server.raw(b"GARBAGE\r\n\r\n").fails(400);
    let long =
        format!("GET /{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "a".repeat(200_000));
    let status = server.raw(long.as_bytes()).status;
    assert!([400, 404, 414, 431].contains(&status), "{status}");
    let many: String = (0..500).map(|at| format!("X-{at}: a\r\n")).collect();
    let many = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{many}\r\n");
    server.raw(many.as_bytes()).fails(431);
    is_served(&server);
}

#[test]
fn clients_that_go_away_stop_their_questions() {
    let store = Store::with_seats();
    store.file("data/milepost.toml", "[limits]\nqueries = 1\n");
    let server = Server::start(&store);
    let endless = "SELECT COUNT(*) FROM UNNEST(RANGE(0, 3000000)) AS a(v), UNNEST(RANGE(0, 300000)) AS b(w) WHERE v * w % 7 = 3";
    let mut stream = server.connect();
    let head = format!(
        "POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{endless}",
        endless.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    while !server.get("/metrics").fine().contains("milepost_http_requests_running 2") {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    drop(stream);
    // There is one turn, so this waits until the other question has ended.
    is_served(&server);
}

/// How many files this process and its children may have open.
fn open_files() -> usize {
    let told = std::process::Command::new("sh").args(["-c", "ulimit -n"]).output().unwrap();
    String::from_utf8(told.stdout).unwrap().trim().parse().unwrap_or(usize::MAX)
}

#[test]
fn ten_thousand_connections_are_held_cheaply_and_others_are_served() {
    let store = Store::with_seats();
    store.file("data/milepost.toml", "[limits]\nconnections = 12000\nheader_seconds = 300\n");
    let server = Server::start(&store);
    is_served(&server);
    let before = memory(&server);
    // As many as this machine lets a process have, with some left for the other tests.
    let wanted = 10_000.min(open_files().saturating_sub(500));
    let held: Vec<TcpStream> = (0..wanted)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n").unwrap();
            stream
        })
        .collect();
    is_served(&server);
    let each = memory(&server).saturating_sub(before) / u64::try_from(wanted).unwrap();
    assert!(each < 64 << 10, "{each} bytes a connection");
    // Whoever goes on is answered.
    for mut stream in held.iter().step_by(100) {
        stream.write_all(b"\r\n").unwrap();
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
    }
    drop(held);
    is_served(&server);
}
