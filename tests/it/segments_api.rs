//! `/people/3/segments`: made, found, replaced, dropped; who is in them; every published code.

use serde_json::Value;

use crate::harness::Server;
use crate::harness::Store;
use crate::harness::seat;

const AT: &str = "/people/3/segments";

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn put(server: &Server, path: &str, body: &str) -> crate::harness::Answer {
    server.ask("PUT", path, &["Content-Type: application/json"], body)
}

#[test]
fn a_segment_lives_from_its_making_to_its_end() {
    let store = Store::with_seats();
    let lines: String = [("a", 1), ("b", 2), ("c", 3)]
        .iter()
        .map(|(who, venue)| {
            seat(&format!("e{venue}"), who, "2026-06-01T10:00:00Z", &format!("{{\"venueId\":{venue}}}"))
        })
        .collect();
    store.import("seed", &lines).fine();
    let server = Server::start(&store);
    let body = r#"{"name":"Late venues","description":"two and up","events":[{"definitionId":"seatReserved",
        "timelineCondition":{"occurred":"ALL","operator":"EMPTY"},
        "payloadConditions":[{"attribute":"venueId","operator":"GTE","value":"2"}]}]}"#;
    let made = server.post(AT, body);
    assert_eq!(made.status, 201, "{made:?}");
    let made = value(&made.body);
    let id = made["id"].as_i64().unwrap();
    assert_eq!(
        (made["name"].as_str(), made["events"][0]["definitionId"].as_str()),
        (Some("Late venues"), Some("seatReserved"))
    );
    let at = format!("{AT}/{id}");
    assert_eq!(value(&server.get(&at).fine()), made);
    let persons = value(&server.get(&format!("{at}/persons?size=1&page=1")).fine());
    assert_eq!(persons["results"][0]["externalId"], "c");
    assert_eq!(
        persons["paging"],
        serde_json::json!({"page": 1, "size": 1, "totalPages": 2, "totalResults": 2})
    );
    // It may get another name and other conditions, and keeps its number.
    let other = r#"{"name":"All","query":{"externalId":"a"}}"#;
    let replaced = value(&put(&server, &at, other).fine());
    assert_eq!((replaced["id"].as_i64(), replaced["name"].as_str()), (Some(id), Some("All")));
    assert_eq!(replaced["query"]["externalId"], "a");
    let persons = value(&server.get(&format!("{at}/persons")).fine());
    assert_eq!(persons["paging"]["totalResults"], 1);
    // One that a statement has made is listed with its statement.
    server.sql("CREATE SEGMENT seated AS PERSONS WHERE DID seatReserved").fine();
    let listed = value(&server.get(&format!("{AT}?sort=name,DESC&size=10")).fine());
    let names: Vec<_> =
        listed["results"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["seated", "Inactive Mobile Users", "All", "Active Mobile Users"]);
    assert!(listed["results"][0]["statement"].as_str().unwrap().contains("DID seatReserved"));
    let gone = server.ask("DELETE", &at, &[], "");
    assert_eq!((gone.status, gone.body.as_str()), (204, ""));
    server.get(&at).fails(404);
    // A number is never given again.
    let again = value(&server.post(AT, other).fine());
    assert!(again["id"].as_i64().unwrap() > id);
}

#[test]
fn predefined_segments_follow_launches_and_stay_as_they_are() {
    let store = Store::with_seats();
    let seats: String = ["a", "b"].iter().map(|who| seat(who, who, "2026-06-01T10:00:00Z", "{}")).collect();
    store.import("seed", &seats).fine();
    let server = Server::start(&store);
    let persons = |name: &str| {
        let listed = value(&server.get(AT).fine());
        let one =
            listed["results"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone();
        let persons = value(&server.get(&format!("{AT}/{}/persons", one["id"])).fine());
        let names =
            persons["results"].as_array().unwrap().iter().map(|one| one["externalId"].as_str().unwrap());
        (one["id"].as_i64().unwrap(), names.map(str::to_owned).collect::<Vec<_>>())
    };
    assert_eq!(persons("Active Mobile Users").1, Vec::<String>::new());
    let launch = r#"{"definitionId":"appLaunched","identifier":{"id":"b","type":"EXTERNAL_ID"},"occurredTime":"NOW","properties":{}}"#;
    let now = server.sql("SELECT to_char(now(), '%Y-%m-%dT%H:%M:%SZ') AS at").fine();
    server.post("/v1/events", &launch.replace("NOW", value(&now)["at"].as_str().unwrap())).fine();
    let (active, who) = persons("Active Mobile Users");
    assert_eq!(who, ["b"]);
    assert_eq!(persons("Inactive Mobile Users").1, ["a"]);
    let at = format!("{AT}/{active}");
    assert!(server.ask("DELETE", &at, &[], "").fails(400).contains("predefined"));
    let other = r#"{"name":"Active Mobile Users","query":{"externalId":"a"}}"#;
    assert!(put(&server, &at, other).fails(400).contains("predefined"));
    let refused = server.sql("DROP SEGMENT \"Active Mobile Users\"");
    assert!(format!("{refused:?}").contains("predefined"), "{refused:?}");
    // A segment of one's own may be made of them.
    server
        .sql("CREATE SEGMENT both AS PERSONS WHERE IN SEGMENT \"Active Mobile Users\" AND DID seatReserved")
        .fine();
    assert_eq!(persons("both").1, ["b"]);
}

#[test]
fn a_server_sees_by_itself_who_enters_a_segment() {
    let store = Store::with_seats();
    store.file("milepost.toml", "[server]\nsegments_seconds = 1\n");
    let settings = store.path("milepost.toml");
    let server = Server::start_with(&store, &["--config", settings.to_str().unwrap()]);
    server.sql("CREATE SEGMENT seated AS PERSONS WHERE DID seatReserved").fine();
    let stays =
        "SELECT personId, left IS NULL AS inside FROM system.segment_members WHERE segment = 'seated'";
    assert_eq!(server.sql(stays).fine(), "");
    server.post("/v1/events", &seat("e", "a", "2026-06-01T10:00:00Z", "{}")).fine();
    let began = std::time::Instant::now();
    while server.sql(stays).fine().is_empty() {
        assert!(began.elapsed().as_secs() < 60, "nobody looked");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(value(&server.sql(stays).fine()), serde_json::json!({"personId": 1, "inside": true}));
}

#[test]
fn every_published_code_of_segments_is_told_in_their_envelope() {
    let store = Store::with_seats();
    let query = store.run(["key", "create", "q", "--scope", "query"]).fine();
    let query = query.lines().last().unwrap().trim().to_owned();
    store.file("milepost.toml", "[server]\nalways_keys = true\n[rates]\npublished = true\n");
    let manage = store.run(["key", "create", "m", "--scope", "manage"]).fine();
    let manage = manage.lines().last().unwrap().trim().to_owned();
    let settings = store.path("milepost.toml");
    let server = Server::start_with(&store, &["--config", settings.to_str().unwrap()]);
    let auth = |key: &str| format!("Authorization: App {key}");
    let told = |answer: crate::harness::Answer, status: u16, code: &str| {
        let body = value(&answer.fails(status));
        assert_eq!(body["errorCode"], code, "{body}");
        for key in ["description", "action", "violations", "resources"] {
            assert!(!body[key].is_null(), "{key}: {body}");
        }
        body
    };
    let json = "Content-Type: application/json";
    let fine = r#"{"name":"a","query":{"city":"Oslo"}}"#;
    told(server.ask("POST", AT, &[json], fine), 401, "E401");
    told(server.ask("POST", AT, &[json, &auth(&query)], fine), 403, "E403");
    told(server.ask("GET", &format!("{AT}/99"), &[&auth(&query)], ""), 404, "E404");
    assert_eq!(server.ask("POST", AT, &[json, &auth(&manage)], fine).status, 201);
    let twice = told(server.ask("POST", AT, &[json, &auth(&manage)], fine), 400, "E400");
    assert_eq!(twice["violations"][0]["property"], "name");
    for wrong in ["", "{", "[]", "{}", r#"{"name":"b"}"#, r#"{"name":"b","evnts":[]}"#] {
        std::thread::sleep(std::time::Duration::from_millis(210));
        told(server.ask("POST", AT, &[json, &auth(&manage)], wrong), 400, "E400");
    }
    let limited =
        (0..40).map(|_| server.ask("GET", AT, &[&auth(&query)], "")).find(|one| one.status == 429).unwrap();
    assert!(limited.head.to_ascii_lowercase().contains("retry-after: 1"), "{limited:?}");
    told(limited, 429, "E429");
}
