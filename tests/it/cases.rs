//! Public cases from the file that comes in to the answer and the file that goes out, through the binary.

use std::io::Read;

use crate::harness::Store;
use crate::harness::project;
use crate::harness::seat;

/// One event by person `ana`.
fn event(definition: &str, id: &str, time: &str, properties: &str) -> String {
    format!(
        "{{\"definitionId\":\"{definition}\",\"eventId\":\"{id}\",\"externalPersonId\":\"ana\",\"occurredTime\":\"{time}\",\"properties\":{properties}}}\n"
    )
}

/// The rows of an export of all events from 1960 to 2100.
fn exported(store: &Store, into: &str) -> String {
    store.sql(&format!("EXPORT EVENTS FROM '1960-01-01' TO '2100-01-01' INTO '{into}'")).fine();
    let mut names: Vec<_> =
        std::fs::read_dir(store.path(into)).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let mut text = String::new();
    for name in names.iter().filter(|name| name.extension().is_some_and(|end| end == "gz")) {
        let file = std::fs::File::open(name).unwrap();
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    }
    text
}

#[test]
fn br41_an_event_before_the_epoch_goes_in_is_asked_about_and_comes_out() {
    let store = Store::with_seats();
    let lines: String = [("e1", "1969-12-31T23:59:55Z"), ("e2", "1970-01-01T00:00:00Z")]
        .iter()
        .map(|(id, time)| seat(id, "ana", time, r#"{"startsAt":"1969-12-31T23:59:59.999Z"}"#))
        .collect();
    store.import("a", &lines).fine();
    assert_eq!(
        store.rows("SELECT eventId, day, occurredTime FROM seatReserved ORDER BY occurredTime"),
        ["e1,1969-12-31,1969-12-31T23:59:55Z", "e2,1970-01-01,1970-01-01T00:00:00Z"]
    );
    assert_eq!(
        store.rows("SELECT COUNT(*) FROM seatReserved WHERE occurredTime < TIMESTAMP '1970-01-01T00:00:00Z'"),
        ["1"]
    );
    let out = exported(&store, "out");
    assert!(out.contains(r#""occuredTime":"1969-12-31T23:59:55.000+0000""#), "{out}");
    assert!(out.contains(r#""startsAt":"1969-12-31T23:59:59.999+0000""#), "{out}");
    let other = Store::with_seats();
    other.run(["import", "--quiet", store.path("out").to_str().unwrap()]).fine();
    assert_eq!(exported(&other, "out"), out);
}

#[test]
fn br21_each_wrong_type_waits_in_quarantine_with_what_was_expected_and_found() {
    let store = Store::new();
    store
        .sql("CREATE EVENT offer TITLE 'Offer' (price NUMBER, title TEXT, vip BOOLEAN, \"day\" DATE)")
        .fine();
    let lines: String = [
        r#"{"price":5}"#,
        r#"{"price":5.5}"#,
        r#"{"price":"42"}"#,
        r#"{"price":true}"#,
        r#"{"title":7}"#,
        r#"{"vip":"true"}"#,
        r#"{"day":"2024-02-30"}"#,
        r#"{"day":"2024-02-29"}"#,
    ]
    .iter()
    .enumerate()
    .map(|(index, properties)| event("offer", &format!("e{index}"), "2026-06-01T00:00:00Z", properties))
    .collect();
    store.import("a", &lines).fails(1);
    assert_eq!(
        store.rows("SELECT row, property, expected, found FROM system.rejected ORDER BY row"),
        [
            r#"3,price,a number,"the string ""42""""#,
            "4,price,a number,true",
            "5,title,a string,the number 7",
            r#"6,vip,true or false,"the string ""true""""#,
            r#"7,day,an ISO 8601 time in a string,"the string ""2024-02-30""""#,
        ]
    );
    assert_eq!(store.rows("SELECT SUM(price), COUNT(title), COUNT(vip) FROM offer"), ["10.5,0,0"]);
    let out = exported(&store, "out");
    assert!(out.contains(r#""day":"2024-02-29T00:00:00.000+0000""#), "{out}");
    // The property keeps its name in files and gives way to the day of the event in SQL.
    assert_eq!(
        store.rows(r#"SELECT "day", offer_day FROM offer WHERE eventId = 'e7'"#),
        ["2026-06-01,2024-02-29T00:00:00Z"]
    );
}

#[test]
fn br22_a_nul_is_counted_and_exported_and_an_id_with_one_is_refused() {
    let store = Store::with_seats();
    let time = "2026-06-01T00:00:00Z";
    store.import("a", &seat("e1", "ana", time, r#"{"note":"a\u0000b"}"#)).fine();
    assert_eq!(store.rows("SELECT LENGTH(note) FROM seatReserved"), ["3"]);
    assert!(exported(&store, "out").contains(r#""note":"a\u0000b""#));
    let row = |keys: &str| {
        format!(
            "{{\"definitionId\":\"seatReserved\",{keys},\"occurredTime\":\"{time}\",\"properties\":{{}}}}\n"
        )
    };
    for (code, keys) in [
        ("invalid_event_id", r#""eventId":"a\u0000b","personId":1"#),
        ("invalid_person", r#""personId":"1\u0000""#),
        ("invalid_person", r#""externalPersonId":"a\u0000b""#),
        ("invalid_session_id", r#""personId":1,"sessionId":"a\u0000b""#),
    ] {
        let report = store.import(keys, &row(keys)).fails(1);
        assert!(report.contains(code), "{report}");
    }
    assert_eq!(store.rows("SELECT COUNT(*) FROM seatReserved"), ["1"]);
}

#[test]
fn br23_half_an_emoji_in_the_middle_stops_its_row_alone() {
    let store = Store::with_seats();
    let lines = [r"\ud83d\ude00", r"x\ud83d", "é"]
        .iter()
        .enumerate()
        .map(|(index, note)| {
            seat(&format!("e{index}"), "ana", "2026-06-01T00:00:00Z", &format!("{{\"note\":\"{note}\"}}"))
        })
        .collect::<String>();
    let report = store.import("a", &lines).fails(1);
    assert!(report.contains("lone_surrogate") && report.contains("byte "), "{report}");
    assert_eq!(store.rows("SELECT note, LENGTH(note) FROM seatReserved ORDER BY eventId"), ["😀,1", "é,1"]);
    assert!(exported(&store, "out").contains("😀"));
    store.run(["import", "--quiet", "--lenient", "--replay"]).fine();
    assert_eq!(store.rows("SELECT note FROM seatReserved WHERE eventId = 'e1'"), ["x\u{fffd}"]);
}

#[test]
fn br31_br37_numbers_stay_numbers_and_text_stays_text() {
    let store = Store::with_seats();
    let properties = r#"{"total":0.0033208349999999998,"note":"2024-12-19T00:00:00Z"}"#;
    let lines = seat("e1", "ana", "2026-06-01T00:00:00Z", properties)
        + &seat("e2", "ana", "2026-06-01T00:00:01Z", r#"{"note":"007"}"#);
    store.import("a", &lines).fine();
    assert_eq!(
        store.rows("SELECT total, note FROM seatReserved ORDER BY eventId"),
        ["0.003320835,2024-12-19T00:00:00Z", ",007"]
    );
    let out = exported(&store, "out");
    assert!(
        out.contains(r#""total":0.003320835,"#) && out.contains(r#""note":"2024-12-19T00:00:00Z""#),
        "{out}"
    );
    assert!(out.contains(r#""note":"007""#), "{out}");
}

#[test]
fn br32_an_average_of_great_integers_does_not_wrap() {
    let store = Store::with_seats();
    let lines: String = ["9223372036854775807", "9223372036854775807"]
        .iter()
        .enumerate()
        .map(|(index, number)| {
            let properties = format!("{{\"venueId\":{number}}}");
            seat(&format!("e{index}"), "ana", "2026-06-01T00:00:00Z", &properties)
        })
        .collect();
    store.import("a", &lines).fine();
    assert_eq!(
        store.rows("SELECT SUM(venueId), AVG(venueId) > 9.2e18 FROM seatReserved"),
        ["18446744073709551614,true"]
    );
    assert_eq!(
        store.rows("SELECT SUM(venueId) FROM seatReserved GROUP BY personId"),
        ["18446744073709551614"]
    );
}

#[test]
fn br19_other_order_of_keys_is_a_duplicate_and_another_value_a_conflict() {
    let store = Store::with_seats();
    let one = r#"{"definitionId":"seatReserved","eventId":"e1","externalPersonId":"ana","occurredTime":"2026-06-01T10:00:00.1234567Z","properties":{"venueId":1,"note":"n"}}"#;
    let other = r#"{"properties":{"note":"n","venueId":1},"occurredTime":"2026-06-01T12:00:00.1234567+02:00","externalPersonId":"ana","eventId":"e1","definitionId":"seatReserved"}"#;
    store.import("a", one).fine();
    store.import("b", other).fine();
    store.import("c", &other.replace(":1}", ":2}")).fails(1);
    // A seventh digit is cut off: time is kept to the microsecond.
    assert_eq!(
        store.rows("SELECT COUNT(*), MAX(occurredTime), MAX(venueId) FROM seatReserved"),
        ["1,2026-06-01T10:00:00.123456Z,1"]
    );
}

#[test]
fn a_definition_has_120_properties_and_not_one_more() {
    let store = Store::new();
    let columns = |count: usize| (1..=count).map(|at| format!("p{at} STRING")).collect::<Vec<_>>().join(", ");
    let fault = store.sql(&format!("CREATE EVENT wide TITLE 'Wide' ({})", columns(121))).fails(2);
    assert!(fault.contains("120"), "{fault}");
    store.sql(&format!("CREATE EVENT wide TITLE 'Wide' ({})", columns(120))).fine();
    let fault = store.sql("ALTER EVENT wide ADD (p121 STRING)").fails(2);
    assert!(fault.contains("120"), "{fault}");
    store.import("a", &event("wide", "e1", "2026-06-01T00:00:00Z", r#"{"p1":"a","p120":"z"}"#)).fine();
    assert_eq!(store.rows("SELECT p1, p119, p120 FROM wide"), ["a,,z"]);
}

#[test]
fn a_row_of_more_than_512_000_bytes_is_refused_alone_and_kept_whole() {
    let store = Store::with_seats();
    let long = format!("{{\"note\":\"{}\"}}", "x".repeat(512_000));
    let time = "2026-06-01T00:00:00Z";
    let lines = [("e1", "{}"), ("e2", &long), ("e3", "{}")]
        .map(|(id, properties)| seat(id, "ana", time, properties))
        .concat();
    store.import("a", &lines).fails(1);
    assert_eq!(store.rows("SELECT eventId FROM seatReserved ORDER BY eventId"), ["e1", "e3"]);
    assert_eq!(
        store.rows("SELECT row, code, LENGTH(raw) > 512000 FROM system.rejected"),
        ["2,row_too_large,true"]
    );
}

#[test]
fn a_template_keeps_its_mandatory_properties() {
    let store = Store::new();
    store.sql("CREATE EVENT FROM TEMPLATE itemPurchased (coupon STRING)").fine();
    let time = "2026-06-01T00:00:00Z";
    let report = store.import("a", &event("itemPurchased", "e1", time, r#"{"coupon":"x"}"#)).fails(1);
    assert!(report.contains("itemID") && report.contains("missing_property"), "{report}");
    let required = store.rows("DESCRIBE itemPurchased");
    assert!(required.iter().any(|line| line.starts_with("itemID,Numeric")), "{required:?}");
}

#[test]
fn standard_events_of_every_channel_are_there() {
    let store = Store::new();
    for (channel, events) in [
        ("email", "emailOpened"),
        ("push", "pushDelivered"),
        ("sms", "smsDelivered"),
        ("whatsapp", "whatsappDelivered"),
        ("viber", "viberDelivered"),
    ] {
        let found = store.rows(&format!(
            "SELECT enabled FROM definitions WHERE lower(id) = lower('{events}') AND category = 'channel'"
        ));
        assert_eq!(found, ["true"], "{channel}");
    }
}

#[test]
fn a_definition_without_events_is_asked_about_and_exported_as_nothing() {
    let store = Store::with_seats();
    assert_eq!(store.rows("SELECT COUNT(*), SUM(venueId) FROM seatReserved"), ["0,"]);
    assert_eq!(store.rows("SELECT COUNT(*) FROM events"), ["0"]);
    let said = store.sql("EXPORT EVENTS seatReserved FROM '2026-06-01' TO '2026-06-02' INTO 'out'").fine();
    assert!(said.contains("0 events found for the time period queried."), "{said}");
}

#[test]
fn an_export_keeps_the_published_limits_when_asked_to() {
    let store = Store::with_seats();
    store.import("a", &seat("e1", "ana", "2026-06-01T10:00:00Z", "{}")).fine();
    let export = |to: &str, limits: &str| {
        store.sql(&format!("EXPORT EVENTS FROM '2026-06-01' TO '{to}' INTO 'out' WITH ({limits})"))
    };
    let fault = export("2026-06-03", "limits true").fails(2);
    assert!(fault.contains("24 hours"), "{fault}");
    export("2026-06-02", "limits true").fine();
    export("2026-06-03", "limits false").fine();
    let fault = export("2026-06-03", "limit true").fails(2);
    assert!(fault.contains("did you mean \"limits\"?"), "{fault}");
}

#[test]
fn rows_of_other_products_become_events_with_their_maps() {
    for (map, sample, answer) in [
        // One of its times is in milliseconds, among seconds.
        ("mixpanel", "mixpanel.jsonl", &["itemBought,1", "mpWebPageView,1", "signedUp,1"][..]),
        ("amplitude", "amplitude.jsonl", &["sessionEnd,1", "songPlayed,1"]),
        ("posthog", "posthog.jsonl", &["orderPlaced,1", "pageViewed,1"]),
        ("posthog_csv", "posthog.csv", &["orderPlaced,1", "pageViewed,1"]),
    ] {
        let store = Store::new();
        let map = project(&format!("testdata/maps/{map}.toml"));
        let sample = project(&format!("testdata/maps/samples/{sample}"));
        let run = store.run([
            "import",
            "--quiet",
            "--define",
            "--yes",
            "--map",
            map.to_str().unwrap(),
            sample.to_str().unwrap(),
        ]);
        assert!(matches!(run.code, Some(0 | 1)), "{run:?}");
        assert_eq!(
            store.rows(
                "SELECT definitionId, COUNT(*) FROM events GROUP BY definitionId ORDER BY definitionId"
            ),
            answer,
            "{run:?}"
        );
    }
}

#[test]
fn an_enriched_export_keeps_a_property_apart_from_the_moments_field_of_its_name_and_comes_back() {
    let make = || {
        let store = Store::new();
        store
            .sql("ENABLE EVENT personEnteredFlow; CREATE EVENT mine TITLE 'Mine' (campaignName STRING, at DATETIME)")
            .fine();
        store
    };
    let store = make();
    let time = "2026-06-01T00:00:00Z";
    let lines = event("personEnteredFlow", "e1", time, r#"{"campaignName":"Spring","flowElementId":"1-2"}"#)
        + &event("mine", "e2", time, r#"{"campaignName":"Own","at":"2026-06-01T00:00:00.1234567Z"}"#);
    store.import("a", &lines).fine();
    let export = "EXPORT EVENTS FROM '2026-06-01' TO '2026-06-02' INTO 'out' WITH (enrich_with_moments_info true, request_id 'r')";
    store.sql(export).fine();
    let name = "out/r-events-20260601000000000-20260602000000000.json.gz";
    let written = std::fs::read(store.path(name)).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(&written[..]).read_to_string(&mut text).unwrap();
    assert!(
        text.contains(
            r#""campaignName":"Spring","elementName":null,"campaignStart":null,"flowElementId":"1-2""#
        ),
        "{text}"
    );
    assert!(text.contains(r#""mine_campaignName":"Own","at":"2026-06-01T00:00:00.123456+0000""#), "{text}");
    let other = make();
    other.run(["import", "--quiet", store.path("out").to_str().unwrap()]).fine();
    other.sql(export).fine();
    assert_eq!(std::fs::read(other.path(name)).unwrap(), written);
}
