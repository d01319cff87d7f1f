//! Events over HTTP: every published code and rule of single sends and batches, our own door, and the door of web pages.

use std::io::Write;

use crate::harness::Server;
use crate::harness::Store;

const SINGLE: &str =
    "/peopleevents/2/persons/a.guest%40example.net/definitions/seatReserved/events?identifierType=EMAIL";

/// A time that a batch takes, whenever the test runs.
fn lately(server: &Server) -> String {
    let now = server.sql("SELECT now() - INTERVAL '1 hour' AS t").fine();
    now.split('"').nth(3).unwrap().to_owned()
}

fn item(time: &str, identifier: &str, rest: &str) -> String {
    format!(r#"{{"definitionId":"seatReserved","occurredTime":"{time}","identifier":{identifier}{rest}}}"#)
}

#[test]
fn one_event_is_stored_once_and_answered_as_published() {
    let store = Store::with_seats();
    let server = Server::start(&store);
    let body = r#"{"eventId":"ord-000123","properties":{"venueId":17,"isMember":true,"total":62.50,"startsAt":"2025-05-01T18:30:00.000Z","seats":[{"row":"C","price":31.25}]}}"#;
    let unknown = server.post(SINGLE, body).fails(404);
    assert!(unknown.contains(r#"{"requestError":{"serviceException":{"messageId":"NOT_FOUND""#), "{unknown}");
    let create = format!("{SINGLE}&createPerson=true");
    let first = server.post(&create, body);
    assert_eq!(first.status, 201, "{first:?}");
    let first = first.fine();
    assert!(
        first.starts_with(r#"{"eventId":"ord-000123","definitionId":"seatReserved","occurredTime":"20"#),
        "{first}"
    );
    assert!(
        first.contains(r#""properties":{"venueId":17,"isMember":true,"total":62.50,"#),
        "as it came: {first}"
    );
    assert!(first.ends_with(r#""metadata":{"source":"API"}}"#), "{first}");
    let time = first.split("occurredTime\":\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(time.len(), "2025-04-17T09:12:44.1830000Z".len(), "{time}");
    // The same again is the same event, with the time of the first; so it is with other properties.
    for again in [body, r#"{"eventId":"ord-000123","properties":{"venueId":18}}"#] {
        let again = server.post(SINGLE, again);
        assert_eq!(again.status, 201, "{again:?}");
        assert!(again.body.contains(time) && again.body.contains("\"venueId\":17"), "{again:?}");
    }
    let other = "/peopleevents/2/persons/b%40example.net/definitions/seatReserved/events?identifierType=EMAIL&createPerson=true";
    assert!(server.post(other, body).fails(409).contains("another person"));
    for empty in ["{}", r#"{"properties":{}}"#, r#"{"properties":null}"#] {
        assert_eq!(server.post(SINGLE, empty).status, 201, "{empty}");
    }
    assert_eq!(
        store.rows("SELECT COUNT(*), COUNT(DISTINCT eventId), COUNT(DISTINCT personId) FROM seatReserved"),
        ["4,4,1"]
    );
    assert_eq!(server.stop().matches("mlp_").count(), 0);
    assert_eq!(
        store.rows("SELECT venueId, total FROM seatReserved WHERE eventId = 'ord-000123'"),
        ["17,62.5"]
    );
}

#[test]
fn what_is_wrong_with_one_event_is_told_by_its_property() {
    let store = Store::with_seats();
    let server = Server::start(&store);
    let at = format!("{SINGLE}&createPerson=true");
    let wrong = [
        ("", ""),
        ("null", ""),
        ("[]", ""),
        ("{", ""),
        ("{} {}", ""),
        (r#"{"properties":{"venueId":"17"}}"#, "venueId"),
        (r#"{"properties":{"VenueId":17}}"#, "VenueId"),
        (r#"{"properties":{"venueId":1,"venueId":1}}"#, "venueId"),
        (r#"{"properties":{"isMember":1}}"#, "isMember"),
        (r#"{"properties":{"venueId":5.5}}"#, "venueId"),
        (r#"{"eventId":"a b"}"#, "eventId"),
        (r#"{"eventID":"a"}"#, "eventID"),
        (r#"{"occurredTime":"2025-05-01T18:30:00Z"}"#, "occurredTime"),
        (r#"{"properties":{"note":"\ud800"}}"#, ""),
    ];
    for (body, property) in wrong {
        let told = server.post(&at, body).fails(400);
        assert!(told.contains(r#""messageId":"BAD_REQUEST""#), "{body}: {told}");
        let named =
            property.is_empty() || told.contains(&format!("\"validationErrors\":{{\"{property}\":[\""));
        assert!(named, "{body}: {told}");
    }
    let path = |person: &str, definition: &str, rest: &str| {
        format!("/peopleevents/2/persons/{person}/definitions/{definition}/events?{rest}")
    };
    server.post(&path("a", "seatReservd", "identifierType=EXTERNAL_ID"), "{}").fails(404);
    server.post(&path("a", "itemPurchased", "identifierType=EXTERNAL_ID"), "{}").fails(404);
    server.post(&path("a", "pageView", "identifierType=EXTERNAL_ID"), "{}").fails(403);
    server.post(&path("a", "seatReserved", "identifierType=FAX"), "{}").fails(400);
    server.post(&path("a", "seatReserved", "identifierType=EXTERNAL_ID&createPerson=maybe"), "{}").fails(400);
    server.post(&path("99", "seatReserved", "identifierType=ID&createPerson=true"), "{}").fails(404);
    server.ask("POST", &at, &["Content-Type: text/html"], "{}").fails(415);
    server.ask("POST", &at, &["Content-Type: application/x-www-form-urlencoded"], "{}").fails(415);
    assert_eq!(server.ask("POST", &at, &["Content-Type: application/json-patch+json"], "{}").status, 201);
    assert_eq!(server.ask("POST", &at, &[], "{}").status, 201);
    let large = format!(r#"{{"properties":{{"note":"{}"}}}}"#, "a".repeat(600_000));
    server.post(&at, &large).fails(413);
}

#[test]
fn the_older_form_guesses_who_is_meant() {
    let store = Store::with_seats();
    let lines: String = ["a@b.example:EMAIL", "385911234567:PHONE", "crm-1:EXTERNAL_ID"]
        .iter()
        .enumerate()
        .map(|(at, who)| {
            let (id, kind) = who.split_once(':').unwrap();
            format!("{{\"definitionId\":\"seatReserved\",\"eventId\":\"s{at}\",\"identifier\":{{\"id\":\"{id}\",\"type\":\"{kind}\"}},\"occurredTime\":\"2025-01-01T00:00:00Z\"}}\n")
        })
        .collect();
    store.import("seed", &lines).fine();
    let server = Server::start(&store);
    let path = |person: &str, rest: &str| {
        format!("/peopleevents/1/persons/{person}/definitions/seatReserved/events{rest}")
    };
    assert_eq!(
        server
            .post(&path("a%40b.example", ""), r#"{"definitionId":"seatReserved","properties":{"venueId":1}}"#)
            .status,
        201
    );
    assert_eq!(server.post(&path("385911234567", ""), "{}").status, 201);
    assert_eq!(server.post(&path("crm-1", "?personIdentifierType=EXTERNAL_ID"), "{}").status, 201);
    assert_eq!(server.post(&path("crm-1", ""), r#"{"personIdentifierType":"EXTERNAL_ID"}"#).status, 201);
    server.post(&path("c%40b.example", ""), "{}").fails(404);
    server.post(&path("a%40b.example", ""), r#"{"definitionId":"pageView"}"#).fails(400);
}

#[test]
fn a_batch_is_stored_whole() {
    let store = Store::with_seats();
    let server = Server::start(&store);
    let time = lately(&server);
    let ana = r#"{"id":"ana","type":"EXTERNAL_ID"}"#;
    let items = [
        item(&time, ana, r#","eventId":"b1","properties":{"venueId":3}"#),
        item(&time, r#"{"id":"bo@example.net","type":"EMAIL"}"#, r#","properties":null"#),
        item("2999-01-01T00:00:00Z", ana, r#","eventId":"b3""#),
    ];
    let sent = server.post("/people/3/events", &format!("[{}]", items.join(",\n")));
    assert_eq!((sent.status, sent.body.as_str()), (202, ""), "{sent:?}");
    assert_eq!(store.rows("SELECT COUNT(*), COUNT(DISTINCT personId) FROM seatReserved"), ["3,2"]);
    let now = "SELECT COUNT(*) FROM seatReserved WHERE eventId = 'b3' AND occurredTime <= now()";
    assert_eq!(store.rows(now), ["1"], "a time to come is now");
    // A batch that is repeated in part stores the rest.
    let again = [items[0].clone(), item(&time, ana, r#","eventId":"b4""#)];
    assert_eq!(server.post("/people/3/events", &format!("[{}]", again.join(","))).status, 202);
    assert_eq!(store.rows("SELECT COUNT(*) FROM seatReserved"), ["4"]);
    // Packed, in two members.
    let mut packed = Vec::new();
    for part in [
        format!("[{},", item(&time, ana, r#","eventId":"g1""#)),
        format!("{}]", item(&time, ana, r#","eventId":"g2""#)),
    ] {
        let mut gzip = flate2::write::GzEncoder::new(&mut packed, flate2::Compression::fast());
        gzip.write_all(part.as_bytes()).unwrap();
        gzip.finish().unwrap();
    }
    let headers = ["Content-Type: application/json", "Content-Encoding: gzip"];
    assert_eq!(server.ask("POST", "/people/3/events", &headers, packed).status, 202);
    assert_eq!(store.rows("SELECT COUNT(*) FROM seatReserved"), ["6"]);
}

#[test]
fn a_batch_with_one_fault_stores_nothing_and_names_each_by_its_code() {
    let store = Store::with_seats();
    let server = Server::start(&store);
    let time = lately(&server);
    let ana = r#"{"id":"ana","type":"EXTERNAL_ID"}"#;
    let good = item(&time, ana, "");
    let refused = |body: &str| {
        let told = server.ask("POST", "/people/3/events", &["X-Request-Id: t-9f2"], body);
        assert!(told.head.contains("application/problem+json"), "{told:?}");
        let told = told.fails(400);
        assert!(told.contains("rfc9110#section-15.5.1") && told.contains(r#""traceId":"t-9f2""#), "{told}");
        told.split("\"errors\":").nth(1).unwrap().to_owned()
    };
    for body in ["", "null", "{}", "7", "[", "[{]"] {
        assert!(refused(body).starts_with(r#"[{"index":-1,"code":400500,"#), "{body}");
    }
    assert!(refused("[]").starts_with(r#"[{"index":-1,"code":400502,"#));
    let many = vec!["{}"; 5001].join(",");
    assert!(refused(&format!("[{many}]")).starts_with(r#"[{"index":-1,"code":400503,"#));
    let with = |other: &str| refused(&format!("[{good},{other}]"));
    let unknown = with(&good.replace("seatReserved", "seatReservd"));
    assert!(
        unknown.starts_with(r#"[{"index":-1,"code":400501,"#) && unknown.contains("Details: item 1:"),
        "{unknown}"
    );
    for properties in [r#"{"venueId":"3"}"#, r#"{"venue":3}"#] {
        let told = with(&item(&time, ana, &format!(",\"properties\":{properties}")));
        assert!(told.contains("\"code\":400501"), "{told}");
    }
    let told = refused(&format!(
        "[{},{}]",
        item(&time, r#"{"id":"","type":"EMAIL"}"#, r#","eventId":"a b""#),
        item("2020-01-01T00:00:00Z", ana, "")
    ));
    assert!(told.starts_with(r#"[{"index":0,"code":400504,"#), "{told}");
    for part in [
        r#"{"property":"eventId","#,
        r#"{"property":"identifier.id","message":"Must not be empty."}"#,
        r#"{"index":1,"code":400504,"#,
        "30 days",
    ] {
        assert!(told.contains(part), "no {part} in {told}");
    }
    let told = with(&item(&time, r#"{"id":"99","type":"ID"}"#, ""));
    assert!(told.starts_with(r#"[{"index":1,"code":400505,"#), "{told}");
    let told = with(&item(&time, r#"{"id":"r","type":"PUSH","sender":"app"}"#, ""));
    assert!(told.contains("\"code\":400505"), "{told}");
    let told = with(&good.replace("seatReserved", "pageView"));
    assert!(told.starts_with(r#"[{"index":1,"code":400506,"#), "{told}");
    let large = item(&time, ana, &format!(r#","properties":{{"note":"{}"}}"#, "a".repeat(512_001)));
    assert!(with(&large).contains("512000 bytes"));
    assert_eq!(store.rows("SELECT COUNT(*) FROM seatReserved"), ["0"]);
    assert_eq!(store.rows("SELECT COUNT(*) FROM persons"), ["0"]);
}

#[test]
fn rates_are_kept_by_key_and_say_when_to_come_again() {
    let store = Store::with_seats();
    store.file("data/milepost.toml", "[rates]\nbatch = 2\n");
    let server = Server::start(&store);
    let refused = (0..20).map(|_| server.post("/people/3/events", "[]")).find(|answer| answer.status == 429);
    let refused = refused.unwrap();
    assert!(refused.head.to_lowercase().contains("retry-after: 1"), "{refused:?}");
    assert!(refused.body.contains("TOO_MANY_REQUESTS"), "{refused:?}");
    let key = store.run(["key", "create", "other", "--scope", "ingest"]).fine();
    let header = format!("Authorization: App {}", key.trim());
    server.ask("POST", "/people/3/events", &[&header], "[]").fails(400);
}

#[test]
fn our_own_door_gives_each_event_its_verdict_whole_or_while_they_come() {
    let store = Store::with_seats();
    let server = Server::start(&store);
    let line = |id: &str, venue: &str| {
        format!(
            r#"{{"definitionId":"seatReserved","eventId":"{id}","externalPersonId":"ana","occurredTime":"2026-06-01T10:00:00Z","properties":{{"venueId":{venue}}}}}"#
        )
    };
    let body = format!("[{},{},{}]", line("e1", "1"), line("e1", "1"), line("e2", "\"x\""));
    let told = server.post("/v1/events", &body).fine();
    assert!(told.starts_with(r#"{"stored":1,"duplicates":1,"refused":1,"events":[{"row":1,"verdict":"stored","eventId":"e1","personId":"1","#), "{told}");
    assert!(told.contains(r#"{"row":3,"verdict":"refused","code":"wrong_type","#), "{told}");
    let told = server.post("/v1/events", &line("e1", "2")).fine();
    assert!(told.contains(r#""verdict":"conflict","code":"event_conflict""#), "{told}");
    let lines = format!("{}\n{}\nnot json\n", line("e3", "1"), line("e4", "1"));
    let told = server
        .ask("POST", "/v1/events?createPersons=false", &["Content-Type: application/x-ndjson"], &lines)
        .fine();
    let told: Vec<_> = told.lines().collect();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told[2].contains("\"row\":3") && told[2].contains("invalid_json"), "{told:?}");
    assert_eq!(told[3], r#"{"stored":2,"duplicates":0,"refused":1}"#);
    server.post("/v1/events?createPerson=false", "[]").fails(400);
    server.ask("POST", "/v1/events", &["Content-Type: text/csv"], "a,b").fails(415);
    // Verdicts come while the stream is open.
    let mut stream = server.connect();
    stream
        .write_all(b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    for id in ["s1", "s2"] {
        let line = line(id, "1") + "\n";
        stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).unwrap();
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(&format!("\"eventId\":\"{id}\"")) {
            let mut buffer = [0; 1024];
            let read = std::io::Read::read(&mut stream, &mut buffer).unwrap();
            assert!(read > 0, "the stream ended: {}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&buffer[..read]);
        }
        assert_eq!(store.rows(&format!("SELECT COUNT(*) FROM seatReserved WHERE eventId = '{id}'")), ["1"]);
    }
}

#[test]
fn what_was_acknowledged_is_there_after_the_server_was_killed() {
    let store = Store::with_seats();
    let server = Server::start(&store);
    let at = "/peopleevents/2/persons/ana/definitions/seatReserved/events?identifierType=EXTERNAL_ID&createPerson=true";
    for event in 0..50 {
        assert_eq!(
            server
                .post(at, &format!("{{\"eventId\":\"k{event}\",\"properties\":{{\"venueId\":{event}}}}}"))
                .status,
            201
        );
    }
    drop(server);
    let server = Server::start(&store);
    assert_eq!(store.rows("SELECT COUNT(*), COUNT(DISTINCT venueId) FROM seatReserved"), ["50,50"]);
    let again = server.post(at, r#"{"eventId":"k7","properties":{"venueId":7}}"#);
    assert_eq!(again.status, 201, "{again:?}");
    server.stop();
    assert_eq!(store.rows("SELECT COUNT(*) FROM seatReserved"), ["50"]);
}

#[test]
fn pages_send_with_a_key_that_can_do_nothing_else() {
    let store = Store::with_seats();
    store.file("data/milepost.toml", "[server]\nalways_keys = true\norigins = [\"https://shop.example\"]\n");
    let key = store.run(["key", "create", "page", "--scope", "web"]).fine();
    let key = key.trim();
    let server = Server::start(&store);
    let header = format!("Authorization: App {key}");
    server.ask("POST", "/v1/sql", &[&header], "SELECT 1").fails(403);
    server.ask("POST", "/v1/events", &[&header], "[]").fails(403);
    assert!(server.get("/sdk/milepost.js").fine().contains("root.pe = root.milepost = api"));
    let event = |id: &str, definition: &str, properties: &str| {
        format!(
            r#"{{"eventId":"{id}","definitionId":"{definition}","time":1700000000000,"sessionId":"s1","visitorId":"v1","properties":{properties}}}"#
        )
    };
    let body = |key: &str, events: &[String]| {
        format!(r#"{{"key":"{key}","sentTime":1700000060000,"events":[{}]}}"#, events.join(","))
    };
    let events = [
        event("w1", "pageView", r#"{"path":"/shoes"}"#),
        event("w2", "seatReserved", r#"{"venueId":1}"#),
        event("w3", "seatReserved", r#"{"venue":1}"#),
        event("w4", "sessionStarted", "{}"),
        event("w5", "emailOpened", "{}"),
    ];
    let chrome = "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";
    let send = |origin: &str, body: &str| {
        server.ask("POST", "/v1/web/events", &[origin, chrome, "Content-Type: text/plain"], body)
    };
    send("Origin: https://evil.example", &body(key, &events)).fails(403);
    send("Origin: https://shop.example", &body("mlp_wrong", &events)).fails(401);
    let told = send("Origin: https://shop.example", &body(key, &events));
    assert!(
        told.head.to_lowercase().contains("access-control-allow-origin: https://shop.example"),
        "{told:?}"
    );
    let told = told.fine();
    let verdicts: Vec<_> = told
        .matches("\"verdict\":\"")
        .zip(told.split("\"verdict\":\"").skip(1))
        .map(|(_, rest)| rest.split('"').next().unwrap())
        .collect();
    assert_eq!(verdicts, ["stored", "stored", "refused", "disabled", "refused"], "{told}");
    let again = send("Origin: https://shop.example", &body(key, &events[..2])).fine();
    assert_eq!(again.matches("duplicate").count(), 2, "{again}");
    let preflight = server.ask("OPTIONS", "/v1/web/events", &["Origin: https://shop.example"], "");
    assert_eq!(preflight.status, 204, "{preflight:?}");
    let seen = "SELECT deviceType, browserName, browserOS, sessionId, occurredTime > now() - INTERVAL '10 minutes' FROM pageView";
    assert_eq!(store.rows(seen), ["desktop,Chrome,Windows,s1,true"]);
}
