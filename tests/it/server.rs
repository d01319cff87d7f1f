//! `milepost serve` as its clients see it: keys, questions, definitions, faults, an orderly end.

use std::io::Read;
use std::io::Write;
use std::time::Duration;

use crate::harness::Server;
use crate::harness::Store;

#[test]
fn a_question_is_answered_in_each_format() {
    let store = Store::with_seats();
    let server = Server::start(&store);
    assert_eq!(server.get("/healthz").fine(), "ok\n");
    assert_eq!(server.get("/readyz").fine(), "ready\n");
    let ask = "SELECT 1 AS n, 'a,b' AS t";
    assert_eq!(server.sql(ask).fine(), "{\"n\":1,\"t\":\"a,b\"}\n");
    let csv = server.ask("POST", "/v1/sql?format=csv", &[], ask).fine();
    assert_eq!(csv, "n,t\n1,\"a,b\"\n");
    let csv = server.ask("POST", "/v1/sql", &["Accept: text/csv"], ask);
    assert!(csv.head.to_lowercase().contains("content-type: text/csv"), "{csv:?}");
    let json = server.post("/v1/sql", r#"{"sql":"SELECT 1 AS n","format":"json"}"#).fine();
    assert_eq!(json, "[{\"n\":1}]\n");
    let done = server.sql("ENABLE EVENT emailOpened, pageView").fine();
    assert!(done.starts_with("{\"done\":\""), "{done}");
    let metrics = server.get("/metrics").fine();
    assert!(
        metrics.contains(r#"milepost_http_requests_total{route="/v1/sql",method="POST",status="200"} 5"#),
        "{metrics}"
    );
    let log = server.stop();
    assert!(log.contains("milepost::audit") && log.contains("ENABLE EVENT"), "{log}");
    assert!(!store.path("data").join("SERVER").try_exists().unwrap());
}

#[test]
fn a_wrong_question_is_told_with_its_place_and_an_id() {
    let store = Store::with_seats();
    let server = Server::start(&store);
    let refused = server.ask("POST", "/v1/sql", &["X-Request-Id: abc-1"], "SELECT *\nFROM seatReservd");
    assert!(refused.head.contains("x-request-id: abc-1"), "{refused:?}");
    let body: String = refused.fails(400);
    for part in
        [r#""code":"not_found""#, r#""line":2"#, r#""column":6"#, r#""requestId":"abc-1""#, "seatReserved"]
    {
        assert!(body.contains(part), "no {part} in {body}");
    }
    assert!(server.sql("SELECT 1; SELECT 2").fails(400).contains("one statement"));
    assert!(server.ask("POST", "/v1/sql?fromat=csv", &[], "SELECT 1").fails(400).contains("did you mean"));
    assert!(server.ask("POST", "/v1/sql", &[], b"SELECT '\xff'").fails(400).contains("not UTF-8"));
    server.get("/v1/sql").fails(405);
    assert!(server.get("/nothing").fails(404).contains("\"not_found\""));
    server.get("/peopleevents/2/nothing").fails(404);
    // What it says of itself stays inside.
    assert!(server.sql("COPY (SELECT 1) TO '/tmp/x.csv'").fails(400).contains("COPY is not run here"));
}

#[test]
fn definitions_are_made_read_and_extended_as_published() {
    let store = Store::new();
    let server = Server::start(&store);
    let at = "/peopleevents/2/definitions";
    let seat = r#"{"definitionId":"seatReserved","title":"Seat reserved","description":"Guest holds a seat","fields":[{"name":"venueId","type":"Numeric"},{"name":"seats","type":"List","schema":{"type":"Object","fields":[{"name":"row","type":"String"}]}}]}"#;
    let made = server.post(at, seat);
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.fine();
    assert!(
        made.contains(r#""isInternalDefinition":false,"category":"external","subcategory":null"#),
        "{made}"
    );
    assert_eq!(server.get(&format!("{at}/seatReserved")).fine(), made);
    let conflict = server.post(at, seat).fails(409);
    assert!(conflict.contains(r#""messageId":"CONFLICT""#), "{conflict}");
    assert_eq!(
        server
            .post(at, r#"{"templateId":"itemPurchased","fields":[{"name":"coupon","type":"String"}]}"#)
            .status,
        201
    );
    for wrong in [
        r#"{"title":"No id"}"#,
        r#"{"definitionId":"a","title":"A","fields":[{"name":"Upper","type":"String"}]}"#,
        r#"{"definitionId":"a","title":"A","color":"red"}"#,
        r#"{"definitionId":"a","title":"A","title":"B"}"#,
        r#"{"definitionId":"pageView","title":"A"}"#,
        r#"[{"definitionId":"a","title":"A"}]"#,
        "",
        "null",
    ] {
        let body = server.post(at, wrong).fails(400);
        assert!(body.contains(r#"{"requestError":{"serviceException":{"messageId":"BAD_REQUEST""#), "{body}");
    }
    let more = r#"{"title":"Seat","fields":[{"name":"venueId","type":"Numeric"},{"name":"seats","type":"List","schema":{"type":"Object","fields":[{"name":"row","type":"String"}]}},{"name":"note","type":"String"}]}"#;
    assert!(server.post(&format!("{at}/seatReserved"), more).fine().contains("\"note\""));
    let fewer = r#"{"title":"Seat","fields":[{"name":"venueId","type":"Numeric"}]}"#;
    assert!(server.post(&format!("{at}/seatReserved"), fewer).fails(400).contains("never removed"));
    assert!(server.post(&format!("{at}/none"), fewer).fails(404).contains("NOT_FOUND"));
    assert!(server.get(&format!("{at}/none")).fails(404).contains("NOT_FOUND"));
    assert!(server.get(&format!("{at}?searchText=zzz")).fails(404).contains("No matches"));
    let listed = server.get(&format!("{at}?category=external&orderField=Title&orderType=Desc")).fine();
    assert!(listed.starts_with(r#"[{"definitionId":"seatReserved","title":"Seat""#), "{listed}");
    assert!(listed.contains(r#""definitionId":"itemPurchased""#), "{listed}");
    let refused = server.ask("POST", at, &["Content-Type: text/html"], seat);
    refused.fails(415);
}

#[test]
fn keys_let_in_what_their_scopes_say_and_the_commands_of_the_owner_always() {
    let store = Store::with_seats();
    let before = store.run(["key", "create", "reader", "--scope", "query"]).fine();
    store.file("data/milepost.toml", "[server]\nalways_keys = true\n");
    let server = Server::start(&store);
    let reader = before.trim();
    let manager = store.run(["key", "create", "boss", "--scope", "manage"]).fine();
    let manager = manager.trim();
    let ask = |header: &str, text: &str| server.ask("POST", "/v1/sql", &[header], text);
    let refused = server.sql("SELECT 1");
    assert!(refused.head.to_lowercase().contains("www-authenticate"), "{refused:?}");
    assert!(refused.fails(401).contains("milepost key create"));
    for form in ["App", "Bearer", "app"] {
        ask(&format!("Authorization: {form} {reader}"), "SELECT 1").fine();
    }
    ask("Authorization: App wrong", "SELECT 1").fails(401);
    let barred = ask(&format!("Authorization: App {reader}"), "ENABLE EVENT emailOpened").fails(403);
    assert!(barred.contains("scope manage") && !barred.contains(reader), "{barred}");
    ask(&format!("Authorization: App {manager}"), "ENABLE EVENT personCreated").fine();
    let get = |path: &str| server.ask("GET", path, &[&format!("Authorization: App {reader}")], "");
    get("/peopleevents/2/definitions").fine();
    get("/v1/keys").fails(403);
    server.get("/healthz").fine();
    server.get("/metrics").fails(401);
    // The command line finds the server, and needs no key.
    assert_eq!(store.rows("SELECT 7"), ["7"]);
    let listed = store.run(["key", "list", "--format", "csv"]).fine();
    assert!(listed.contains("reader,query,") && listed.contains("boss,manage,"), "{listed}");
    store.run(["key", "revoke", "reader"]).fine();
    ask(&format!("Authorization: App {reader}"), "SELECT 1").fails(401);
    let unknown = store.run(["key", "revoke", "bos"]).fails(2);
    assert!(unknown.contains("did you mean \"boss\"?"), "{unknown}");
    let log = server.stop();
    assert!(!log.contains(reader) && !log.contains(manager), "{log}");
    let refused = store.run(["key", "create", "boss", "--scope", "manage"]).fails(2);
    assert!(refused.contains("choose another"), "{refused}");
}

#[test]
fn the_command_line_asks_the_server_that_has_the_store() {
    let store = Store::with_seats();
    let server = Server::start(&store);
    assert_eq!(store.rows("SELECT 1 UNION ALL SELECT 2 ORDER BY 1"), ["1", "2"]);
    store.sql("CREATE EVENT ticketSold TITLE 'Ticket sold' (price DECIMAL)").fine();
    assert_eq!(store.rows("SELECT COUNT(*) FROM ticketSold"), ["0"]);
    let wrong = store.sql("SELECT 1;\nSELECT * FROM tickeSold").fails(2);
    assert!(wrong.contains("line 2, column 15") && wrong.contains("ticketSold"), "{wrong}");
    assert_eq!(store.rows("SELECT * FROM UNNEST(RANGE(0, 30000))").len(), 30000);
    drop(server);
    // It was killed and could not take its word back; nobody is misled.
    assert_eq!(store.rows("SELECT 3"), ["3"]);
}

#[test]
fn pages_of_other_sites_need_a_key_on_loopback_too() {
    let store = Store::new();
    let server = Server::start(&store);
    server.ask("POST", "/v1/sql", &["Origin: https://evil.example"], "SELECT 1").fails(401);
    let rebound = b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    server.raw(rebound).fails(401);
    server.ask("POST", "/v1/sql", &["Origin: http://localhost:3000"], "SELECT 1").fine();
}

#[test]
fn settings_are_shown_with_words_and_unknown_ones_refused() {
    let store = Store::new();
    let shown = store.run(["config", "show"]).fine();
    assert!(shown.contains("[server]\n# Where HTTP is served."), "{shown}");
    store.file("m.toml", shown);
    assert!(
        store.run(["--config", "m.toml", "config", "show"]).fine().contains("listen = \"127.0.0.1:6453\"")
    );
    store.file("m.toml", "[server]\nlisen = \"127.0.0.1:1\"\n");
    let fault = store.run(["--config", "m.toml", "serve"]).fails(2);
    assert!(fault.contains("did you mean \"server.listen\"?"), "{fault}");
    let none = store.run(["--config", "none.toml", "serve"]).fails(2);
    assert!(none.contains("none.toml"), "{none}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let fault = store.run(["serve", "--listen", &address]).fails(3);
    assert!(fault.contains("is taken by another program"), "{fault}");
    assert!(store.run(["serve", "--listen", "nowhere"]).fails(2).contains("no address to listen on"));
}

#[test]
fn a_request_that_runs_is_answered_before_the_server_ends() {
    let store = Store::new();
    let server = Server::start(&store);
    let mut stream = server.connect();
    let body = "SELECT COUNT(*) AS n FROM UNNEST(RANGE(0, 3000000)) AS a(v) WHERE v % 7 = 3";
    let head = format!("POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body.as_bytes()[..10]).unwrap();
    // The server has begun with it when the rest of the body is waited for.
    while !server.get("/metrics").fine().contains("milepost_http_requests_running 2") {
        std::thread::sleep(Duration::from_millis(20));
    }
    server.end();
    stream.write_all(&body.as_bytes()[10..]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("{\"n\":428571}"), "{answer}");
    assert!(server.stop().contains("stopped"));
}

#[test]
fn every_door_of_the_published_document_opens() {
    let store = Store::with_seats();
    let server = Server::start(&store);
    let document = server.get("/v1/openapi.json").fine();
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 10);
    for (path, methods) in paths {
        for method in methods.as_object().unwrap().keys() {
            let at = path
                .replace("{definitionId}", "seatReserved")
                .replace("{personId}", "1")
                .replace("{name}", "none")
                .replace("{segmentId}", "9")
                .replace("{requestId}", "none")
                .replace("{pushRegistrationId}", "reg-1");
            if path == "/v1/tail" {
                // Goes on for ever; it has a test of its own.
                continue;
            }
            let told = server.ask(&method.to_uppercase(), &at, &["Content-Type: application/json"], "7");
            let lost = told.status == 405 || told.body.contains("there is nothing at");
            assert!(!lost, "{method} {path}: {told:?}");
            let said =
                methods[method]["responses"].as_object().unwrap().contains_key(&told.status.to_string());
            assert!(said, "{method} {path} answers {}, which is not said", told.status);
        }
    }
}

#[test]
fn a_question_in_json_is_answered_as_its_statement_is() {
    let store = Store::with_seats();
    let lines: String = [("a", "01"), ("a", "08"), ("b", "02")]
        .iter()
        .map(|(who, day)| {
            crate::harness::seat(&format!("{who}{day}"), who, &format!("2026-06-{day}T10:00:00Z"), "{}")
        })
        .collect();
    store.import("seed", &lines).fine();
    let server = Server::start(&store);
    let statement =
        "RETENTION seatReserved THEN seatReserved PER WEEK FOR 2 FROM '2026-06-01' TO '2026-06-15'";
    let csv = server.ask("POST", "/v1/sql?format=csv", &[], statement).fine();
    assert!(csv.lines().count() > 1, "{csv}");
    let wrong = server.post("/v1/retention", "{\"form\":1}").fails(400);
    assert!(wrong.contains("this is no question"), "{wrong}");
    server.post("/v1/retention", "[]").fails(400);
    assert!(server.post("/v1/retrention", "{}").fails(404).contains("nothing at"));
}
