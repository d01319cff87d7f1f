//! What apps send: events with and without `validate`, sessions, whose device it is.

use serde_json::Value;
use serde_json::json;

use crate::harness::Server;
use crate::harness::Store;

const AT: &str = "/mobile/1/appinstance/reg-1";

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A time as apps write it, a little while ago.
fn lately(server: &Server, minutes: u32) -> String {
    let [time] = all_lately(server, [minutes]);
    time
}

/// Several, by one look at the clock.
fn all_lately<const N: usize>(server: &Server, minutes: [u32; N]) -> [String; N] {
    let columns = minutes.map(|ago| format!("CAST(now() - INTERVAL '{ago} minutes' AS TEXT) AS t{ago}"));
    let told = value(server.sql(&format!("SELECT {}", columns.join(", "))).fine().trim());
    minutes.map(|ago| format!("{}Z", told[format!("t{ago}")].as_str().unwrap()[..19].replace(' ', "T")))
}

#[track_caller]
fn refused(server: &Server, path: &str, body: &Value, code: &str) -> String {
    let told = value(&server.post(path, &body.to_string()).fails(400));
    let told = &told["requestError"]["serviceException"];
    assert_eq!(told["messageId"], code, "{told}");
    told["text"].as_str().unwrap().to_owned()
}

#[test]
fn events_of_an_app_are_checked_or_passed_over() {
    let store = Store::with_seats();
    let server = Server::start(&store);
    let date = lately(&server, 10);
    let event =
        |id: &str, properties: Value| json!({"definitionId": id, "date": date, "properties": properties});
    let at = |validate: bool| format!("{AT}/user/events/custom?validate={validate}");
    let body = json!({"events": [event("seatReserved", json!({"venueId": 17})), event("seatReserved", json!({"venueId": 17})),
        event("seatReserved", Value::Null)]});
    for _ in 0..2 {
        // Sent again after a broken line, they are the same events.
        server.post(&at(true), &body.to_string()).fine();
    }
    let rows = || {
        value(
            server.sql("SELECT COUNT(*) AS n, COUNT(DISTINCT personId) AS p FROM seatReserved").fine().trim(),
        )
    };
    assert_eq!(rows(), json!({"n": 3, "p": 1}));
    let old = json!({"definitionId": "seatReserved", "date": "2020-01-01T00:00:00Z"});
    for wrong in [
        event("seatReserved", json!({"venueId": "x"})),
        event("seatReservd", json!({})),
        event("pageView", json!({})),
        old,
        json!({"definitionId": "seatReserved", "date": "noon"}),
    ] {
        let mixed = json!({"events": [event("seatReserved", json!({"venueId": 1})), wrong]});
        refused(&server, &at(true), &mixed, "9");
        assert_eq!(rows()["n"], 3, "all or none: {wrong}");
    }
    refused(&server, &at(true), &json!({"event": []}), "REQUEST_FORMAT_INVALID");
    // Without it nothing is told, and what is right is stored.
    let mixed = json!({"events": [event("seatReserved", json!({"venueId": 2})), event("seatReserved", json!({"venueId": "x"})),
        event("nothing", json!({}))]});
    server.post(&at(false), &mixed.to_string()).fine();
    server.post(&at(false), "no json").fine();
    assert_eq!(rows(), json!({"n": 4, "p": 1}));
}

#[test]
fn sessions_of_an_app_become_events_once() {
    let store = Store::with_seats();
    store.sql("ENABLE EVENT 'session*'").fine();
    let server = Server::start(&store);
    let [start, end, now] = all_lately(&server, [30, 20, 1]);
    let at = format!("{AT}/user/events/session");
    server.post(&at, &json!({"systemData": {"os": "Android"}, "sessionStarts": [start]}).to_string()).fine();
    let bounds = json!({"sessionStarts": [now, now], "sessionBounds": {start.as_str(): end}});
    for _ in 0..2 {
        server.post(&at, &bounds.to_string()).fine();
    }
    let count =
        |id: &str| value(server.sql(&format!("SELECT COUNT(*) AS n FROM {id}")).fine().trim())["n"].clone();
    assert_eq!((count("sessionStarted"), count("sessionEnded")), (json!(2), json!(1)));
    let ended = value(server.sql("SELECT sessionLength, sessionType FROM sessionEnded").fine().trim());
    assert_eq!(ended, json!({"sessionLength": 600.0, "sessionType": "Mobile"}));
    refused(&server, &at, &json!({"sessionStarts": ["noon"]}), "9");
}

#[test]
fn a_device_is_somebodys_until_it_is_not() {
    let store = Store::with_seats();
    let server = Server::start(&store);
    let events = json!({"events": [{"definitionId": "seatReserved", "date": lately(&server, 5)}]});
    server.post(&format!("{AT}/user/events/custom?validate=true"), &events.to_string()).fine();
    let at = format!("{AT}/personalize");
    let ana = json!({"userIdentity": {"emails": [{"address": "ana@example.com"}], "externalUserId": "crm-1"},
        "userAttributes": {"firstName": "Ana"}});
    let person = value(&server.post(&at, &ana.to_string()).fine());
    assert_eq!(
        (person["type"].as_str(), person["externalId"].as_str(), person["firstName"].as_str()),
        (Some("CUSTOMER"), Some("crm-1"), Some("Ana"))
    );
    // What the device did before is hers.
    let hers = server.sql("SELECT COUNT(*) AS n FROM seatReserved s JOIN persons p ON p.personId = s.personId WHERE p.firstName = 'Ana'").fine();
    assert_eq!(value(hers.trim()), json!({"n": 1}));
    let bo = json!({"userIdentity": {"externalUserId": "crm-2"}});
    refused(&server, &at, &bo, "PERSONALIZATION_IMPOSSIBLE");
    refused(&server, &at, &json!({"userIdentity": {}}), "USER_IDENTITY_INVALID");
    refused(&server, &at, &json!({"userIdentity": {"emails": [{"address": "no"}]}}), "EMAIL_INVALID");
    let lead =
        value(&server.post(&format!("{at}?forceDepersonalize=true&keepAsLead=true"), &bo.to_string()).fine());
    assert_eq!(lead["externalId"], "crm-2");
    let both =
        json!({"userIdentity": {"externalUserId": "crm-2", "emails": [{"address": "ana@example.com"}]}});
    refused(&server, &at, &both, "AMBIGUOUS_PERSONALIZE_CANDIDATES");
    let nobodys = value(&server.post(&format!("{AT}/depersonalize"), "").fine());
    assert_eq!(nobodys["type"], "LEAD");
    refused(&server, "/mobile/1/appinstance/reg-2/depersonalize", &json!({}), "NO_REGISTRATION");
    // The same for back ends, which say the application in a header.
    let push = "/people/2/contactInformation/push/reg-1/personalize";
    let ask = |headers: &[&str]| server.ask("POST", push, headers, ana.to_string());
    let told = value(&ask(&[]).fails(400));
    assert_eq!(told, json!({"errorCode": 48001, "errorMessage": "Application code missing"}));
    assert_eq!(value(&ask(&["AppCode: other"]).fails(404))["errorCode"], 48013);
    assert_eq!(value(&ask(&["AppCode: local"]).fine())["externalId"], "crm-1");
}
