use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use serde_json::json;

use super::*;
use crate::ingest::source::ObjectStoreOptions;
use crate::ingest::source::expand;

fn testdata(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(path)
}

/// A data set beside the project; a reason is printed where it is missing.
fn shared(path: &str) -> Option<PathBuf> {
    let found = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(path);
    if found.is_file() {
        return Some(found);
    }
    println!("skipped: {} is not there", found.display());
    None
}

/// What a map made of a file.
#[derive(Debug, Default)]
struct Mapped {
    events: Vec<(u64, Value)>,
    refused: Vec<Refusal>,
    skipped: u64,
}

impl Mapped {
    fn counts(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for (_, event) in &self.events {
            *counts.entry(event["definitionId"].as_str().unwrap()).or_default() += 1;
        }
        counts
    }

    fn row(&self, number: u64) -> &Value {
        &self.events.iter().find(|(row, _)| *row == number).unwrap().1
    }

    fn persons(&self) -> usize {
        let id = |event: &Value| event["identifier"]["id"].as_str().unwrap().to_owned();
        self.events.iter().map(|(_, event)| id(event)).collect::<HashSet<_>>().len()
    }
}

fn map_file(map: &str, data: PathBuf) -> Mapped {
    let mapping = Mapping::load(&testdata("maps").join(map)).unwrap();
    let sources = expand(&[data.display().to_string()], "-", &ObjectStoreOptions::default()).unwrap();
    let mut mapped = Mapped::default();
    for chunk in sources[0].open(mapping.framing()).unwrap() {
        let chunk = chunk.unwrap();
        assert_eq!(
            chunk.header.as_ref().map(|header| mapping.missing_columns(header)).unwrap_or_default(),
            [""; 0]
        );
        add(&mapping.map(&chunk), &mut mapped);
    }
    mapped
}

fn add(chunk: &Chunk, mapped: &mut Mapped) {
    let text = std::str::from_utf8(&chunk.bytes).unwrap();
    assert_eq!(text.lines().count() as u64, chunk.rows);
    let rows = (chunk.first_row..).zip(text.lines()).filter(|(_, line)| !line.is_empty());
    mapped.events.extend(rows.map(|(row, line)| (row, serde_json::from_str(line).unwrap())));
    mapped.refused.extend(chunk.refused.iter().cloned());
    mapped.skipped += chunk.skipped;
}

fn map_text(map: &str, rows: &str) -> Mapped {
    let mapping = Mapping::parse(map).unwrap();
    let mut mapped = Mapped::default();
    let bytes = std::io::Cursor::new(rows.as_bytes().to_vec());
    for chunk in crate::ingest::source::ChunkReader::new("test", Box::new(bytes), mapping.framing()).unwrap()
    {
        add(&mapping.map(&chunk.unwrap()), &mut mapped);
    }
    mapped
}

/// Every property that the map writes is in the definitions beside it.
fn assert_defined(map: &str, mapped: &Mapped, standard: &[&str]) {
    let mapping = Mapping::load(&testdata("maps").join(map)).unwrap();
    let definitions: Vec<Value> = serde_json::from_str(mapping.definitions().unwrap()).unwrap();
    for (row, event) in &mapped.events {
        let id = event["definitionId"].as_str().unwrap();
        if standard.contains(&id) {
            continue;
        }
        let definition = definitions.iter().find(|definition| definition["definitionId"] == id);
        let fields = definition.unwrap_or_else(|| panic!("{id} of row {row} is defined"))["fields"]
            .as_array()
            .unwrap();
        for name in event["properties"].as_object().unwrap().keys() {
            assert!(
                fields.iter().any(|field| field["name"] == name.as_str()),
                "{id}.{name} of row {row} is defined"
            );
        }
    }
}

#[test]
fn the_ecom_map_takes_every_row() {
    let mapped = map_file("ecom.toml", testdata("ecom/ecom.csv.gz"));
    assert_eq!((mapped.events.len(), mapped.refused.len(), mapped.persons()), (31_106, 0, 600));
    assert_eq!(mapped.counts().len(), 19);
    assert_eq!((mapped.counts()["addToCart"], mapped.counts()["purchase"]), (1_346, 470));
    assert_eq!(
        *mapped.row(5),
        json!({"definitionId": "addToCart", "identifier": {"id": "user_0000", "type": "EXTERNAL_ID"},
               "occurredTime": "2024-03-13T10:23:32Z", "sessionId": "sess_000001",
               "properties": {"platform": "desktop", "acquisitionChannel": "email", "userCohort": "2024-01",
                              "userLifecycle": "returning"}})
    );
    assert_defined("ecom.toml", &mapped, &[]);
}

#[test]
fn the_cdnow_map_takes_every_row() {
    let mapped = map_file("cdnow.toml", testdata("cdnow/CDNOW_master.txt"));
    assert_eq!((mapped.events.len(), mapped.refused.len(), mapped.persons()), (69_659, 0, 23_570));
    assert_eq!(
        *mapped.row(4),
        json!({"definitionId": "cdPurchased", "identifier": {"id": "00002", "type": "EXTERNAL_ID"},
               "occurredTime": "1997-01-12T00:00:00Z", "properties": {"amount": 5, "price": 77.0}})
    );
    assert_defined("cdnow.toml", &mapped, &[]);
}

#[test]
fn the_apache_map_takes_all_lines_but_the_broken_one() {
    let Some(data) = shared("apache_logs/apache_logs") else { return };
    let mapped = map_file("apache_logs.toml", data);
    assert_eq!((mapped.events.len(), mapped.persons()), (9_999, 1_753));
    assert_eq!(mapped.counts(), BTreeMap::from([("httpRequest", 48), ("pageView", 9_951)]));
    let [refused] = mapped.refused.as_slice() else { panic!("{:?}", mapped.refused) };
    assert_eq!((refused.row, refused.code), (8_899, "unmapped_line"));
    assert!(refused.message.contains("a closing quote") && refused.raw.starts_with(b"46.118.127.106 - - ["));
    assert_eq!(
        *mapped.row(1),
        json!({"definitionId": "pageView", "identifier": {"id": "83.149.9.216", "type": "EXTERNAL_ID"},
               "occurredTime": "2015-05-17T10:05:03Z",
               "properties": {"url": "/presentations/logstash-monitorama-2013/images/kibana-search.png",
                              "path": "/presentations/logstash-monitorama-2013/images/kibana-search.png",
                              "referrer": "http://semicomplete.com/presentations/logstash-monitorama-2013/"}})
    );
    assert!(
        mapped.events.iter().all(|(_, event)| event["properties"]["path"].as_str().unwrap().starts_with('/'))
    );
    assert_defined("apache_logs.toml", &mapped, &["pageView"]);
}

#[test]
fn the_wikiticker_map_takes_every_row() {
    let Some(data) = shared("wikiticker/wikiticker-2015-09-12-sampled.json.gz") else { return };
    let mapped = map_file("wikiticker.toml", data);
    assert_eq!((mapped.events.len(), mapped.refused.len(), mapped.persons()), (39_244, 0, 10_531));
    let first = mapped.row(1);
    assert_eq!(first["definitionId"], "edited");
    assert_eq!(first["properties"]["comment"], "added project");
    assert_eq!(first["properties"]["delta"], 36);
    assert_eq!(first["properties"].get("cityName"), None, "a null is left out");
    assert_defined("wikiticker.toml", &mapped, &[]);
}

#[test]
fn the_snowplow_web_map_takes_every_row() {
    let Some(data) = shared("snowplow_web/snowplow_web_events.csv") else { return };
    let mapped = map_file("snowplow_web.toml", data);
    assert_eq!((mapped.events.len(), mapped.refused.len(), mapped.persons()), (160, 0, 25));
    assert_eq!(
        (mapped.counts()["pageView"], mapped.counts()["cmpVisible"], mapped.counts().len()),
        (50, 33, 9)
    );
    assert_eq!(
        *mapped.row(3),
        json!({"definitionId": "pageView", "eventId": "6a1c6742-7a16-478d-b106-96f9a9a54918",
               "identifier": {"id": "dupe: event_id different collector_tstamp", "type": "EXTERNAL_ID"},
               "occurredTime": "2021-03-03T21:27:23.095Z",
               "sessionId": "6b379f3eea11eb4ead878125af9cb708f8a91c455d9405b0bc617fa78c2e4291",
               "properties": {"pageTitle": "Collect, manage and operationalize behavioral data at scale | Snowplow",
                              "url": "https://snowplowanalytics.com/", "domain": "snowplowanalytics.com", "path": "/",
                              "browserLanguage": "en-au", "browserName": "Chrome", "browserVersion": "109",
                              "browserOS": "MacOS", "deviceType": "desktop"}})
    );
    assert_defined("snowplow_web.toml", &mapped, &["pageView"]);
}

#[test]
fn the_snowplow_ecommerce_map_takes_every_row_with_its_products() {
    let Some(data) = shared("snowplow_ecommerce/snowplow_ecommerce_events.csv") else { return };
    let mapped = map_file("snowplow_ecommerce.toml", data);
    assert_eq!(
        (mapped.events.len(), mapped.refused.len(), mapped.skipped, mapped.persons()),
        (833, 0, 1, 60)
    );
    let counts = mapped.counts();
    assert_eq!((counts["productView"], counts["checkoutStep"], counts["transaction"]), (179, 38, 15));
    assert_eq!((counts["ecommerceAction"], counts["refund"]), (410, 1));
    let first = mapped.row(2);
    assert_eq!(
        first["properties"]["products"],
        json!([{"id": "1236", "category": "Hats", "brand": "Snowplow", "price": 12.0, "currency": "EUR"}])
    );
    assert_eq!(first["occurredTime"], "2022-12-22T13:25:47.677Z");
    assert_defined("snowplow_ecommerce.toml", &mapped, &[]);
}

#[test]
fn mixpanel_rows_are_mapped_and_milliseconds_among_seconds_refused() {
    let mapped = map_file("mixpanel.toml", testdata("maps/samples/mixpanel.jsonl"));
    assert_eq!(mapped.counts(), BTreeMap::from([("itemBought", 1), ("mpWebPageView", 1), ("signedUp", 1)]));
    assert_eq!(mapped.row(1)["properties"], json!({"city": "Split", "plan": "free"}));
    assert_eq!(mapped.row(1)["occurredTime"], "2025-01-01T12:00:00Z");
    let bought = json!({"price": 19.99, "count": 2, "gift": false, "tags": "[\"new\",\"sale\"]"});
    assert_eq!(mapped.row(2)["properties"], bought);
    assert_eq!(mapped.row(4)["identifier"]["id"], "dev-9");
    let ids: HashSet<&str> =
        mapped.events.iter().map(|(_, event)| event["eventId"].as_str().unwrap()).collect();
    assert!(ids.len() == 3 && ids.iter().all(|id| crate::ids::is_event_id(id)));
    let refused = &mapped.refused[0];
    assert_eq!(
        (refused.row, refused.code, refused.found.as_deref()),
        (3, "unmapped_time", Some("1735736400123"))
    );
    assert!(refused.message.contains("smaller unit"), "{}", refused.message);
}

#[test]
fn amplitude_rows_are_mapped_and_one_without_a_person_is_refused() {
    let mapped = map_file("amplitude.toml", testdata("maps/samples/amplitude.jsonl"));
    assert_eq!(
        *mapped.row(1),
        json!({"definitionId": "songPlayed", "eventId": "0b7b2e9e-0000-4000-8000-000000000001",
               "identifier": {"id": "u-1", "type": "EXTERNAL_ID"}, "occurredTime": "2025-01-01T12:00:00.430Z",
               "sessionId": "1735732800000",
               "properties": {"platform": "player", "osName": "Chrome", "language": "Croatian", "country": "Croatia",
                              "songTitle": "Blue", "seconds": 182}})
    );
    assert_eq!(mapped.row(2)["identifier"]["id"], "d-2");
    assert_eq!(mapped.row(2).get("sessionId"), None);
    assert_eq!((mapped.refused[0].row, mapped.refused[0].code), (3, "unmapped_person"));
}

#[test]
fn posthog_rows_are_mapped_from_json_and_from_csv() {
    let mapped = map_file("posthog.toml", testdata("maps/samples/posthog.jsonl"));
    assert_eq!(mapped.row(1)["definitionId"], "pageViewed");
    assert_eq!(mapped.row(1)["occurredTime"], "2025-01-01T12:00:00.123456Z");
    assert_eq!(
        mapped.row(1)["properties"],
        json!({"currentUrl": "https://shop.example/shoes?color=red", "browser": "Firefox", "browserVersion": 128})
    );
    assert_eq!(mapped.row(2)["properties"]["lines"], "[{\"sku\":\"x1\",\"price\":31.25}]");

    let mapped = map_file("posthog_csv.toml", testdata("maps/samples/posthog.csv"));
    assert_eq!(mapped.row(2)["sessionId"], "s-1");
    assert_eq!(
        mapped.row(2)["properties"],
        json!({"currentUrl": "https://shop.example/a,b", "browserVersion": 128})
    );
    assert_eq!(mapped.row(3)["definitionId"], "orderPlaced");
}

const CSV: &str = r#"
format = "csv"
[event]
definition = { from = "kind", names = { buy = "bought" }, others = "skip" }
person = [{ from = "mail", type = "EMAIL" }, { from = "id", type = "ID" }]
time = { from = "at" }
[[properties]]
name = "price"
from = "cents"
type = "Decimal"
scale = 0.01
[[properties]]
name = "link"
template = "https://shop.example/{id}?x={kind}"
"#;

#[test]
fn refused_and_left_out_records_leave_blank_lines_so_that_numbers_stay() {
    let rows = "kind,mail,id,at,cents\nbuy,,7,2025-01-01T00:00:00Z,\"12\n\"\nlook,a@b.c,7,2025-01-01,1\nbuy,,,2025-01-01,1\n\
                buy,a@b.c,8,2025-01-01 10:00,x\nbuy,a@b.c\n\nbuy,a@b.c,9,2025-01-01 10:00,1999\n";
    let mapped = map_text(CSV, rows);
    assert_eq!(mapped.events.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [2, 9]);
    assert_eq!(mapped.row(2)["personId"], "7");
    assert_eq!(mapped.row(2)["properties"], json!({"price": 0.12, "link": "https://shop.example/7?x=buy"}));
    assert_eq!(mapped.row(9)["properties"]["price"], 19.99);
    assert_eq!(mapped.row(9)["occurredTime"], "2025-01-01 10:00", "no zone: whoever checks it decides");
    assert_eq!(mapped.skipped, 1);
    let refused: Vec<_> = mapped.refused.iter().map(|refused| (refused.row, refused.code)).collect();
    assert_eq!(refused, [(5, "unmapped_person"), (6, "unmapped_value"), (7, "unmapped_columns")]);
    assert_eq!(mapped.refused[1].property.as_deref(), Some("price"));
    assert_eq!(mapped.refused[1].found.as_deref(), Some("x"));
}

#[test]
fn a_refused_record_is_kept_with_its_columns_and_can_be_tried_again() {
    let mapped = map_text(CSV, "kind,mail,id,at,cents\nbuy,a@b.c,8,2025-01-01 10:00,x\n");
    let raw = &mapped.refused[0].raw;
    assert_eq!(raw, br#"{"kind":"buy","mail":"a@b.c","id":"8","at":"2025-01-01 10:00","cents":"x"}"#);
    assert_eq!(Mapping::parse(CSV).unwrap().replay(2, raw).unwrap_err().as_ref(), &mapped.refused[0]);
    let mended = CSV.replace("type = \"Decimal\"", "null = \"x\"\ntype = \"Decimal\"");
    let row = Mapping::parse(&mended).unwrap().replay(2, raw).unwrap().unwrap();
    assert!(row.starts_with(br#"{"definitionId":"bought","#));
    assert_eq!(Mapping::parse(&CSV.replace("buy =", "sell =")).unwrap().replay(2, raw), Ok(None));
}

const JSON: &str = r#"
format = "json"
where = [{ from = "app", is = ["shop", "till"] }, { from = "test", present = false }]
[event]
definition = { from = "e" }
person = [{ from = "u", type = "EXTERNAL_ID" }]
time = { from = "t" }
[rest]
from = "p"
nested = "keep"
"#;

#[test]
fn json_rows_keep_exact_numbers_and_are_refused_for_what_a_map_cannot_know() {
    let row = |p: &str| {
        format!("{{\"app\":\"shop\",\"e\":\"seen\",\"u\":1,\"t\":\"2025-01-01T00:00:00Z\",\"p\":{p}}}\n")
    };
    let rows = [
        row("{\"n\":12345678901234567890,\"d\":0.10,\"items\":[{\"a\":1}]}"),
        row("{\"a\":1,\"a\":2}"),
        row("{\"x_y\":1,\"xY\":2}"),
        row("{\"é\":1}"),
        row("null"),
        "{\"app\":\"other\"}\n".to_owned(),
        "{\"app\":\"till\",\"test\":1}\n".to_owned(),
        "{\"app\":\"till\",\"e\":\"two words\"}\n".to_owned(),
        "{\"app\":\"till\"}\n[1]\nnonsense\n".to_owned(),
    ]
    .concat();
    let mapping = Mapping::parse(JSON).unwrap();
    let chunk = Chunk { rows: 11, bytes: rows.into_bytes(), first_row: 1, ..Chunk::default() };
    let first = mapping.map(&chunk);
    let line = std::str::from_utf8(&first.bytes).unwrap().lines().next().unwrap().to_owned();
    assert!(
        line.ends_with(r#""properties":{"n":12345678901234567890,"d":0.10,"items":[{"a":1}]}}"#),
        "{line}"
    );

    let mut mapped = Mapped::default();
    add(&first, &mut mapped);
    assert_eq!(mapped.events.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [1, 5]);
    assert_eq!(mapped.skipped, 2);
    let refused: Vec<_> = mapped.refused.iter().map(|refused| (refused.row, refused.code)).collect();
    let want = [
        (2, "unmapped_json"),
        (3, "unmapped_name"),
        (4, "unmapped_name"),
        (8, "unmapped_definition"),
        (9, "unmapped_definition"),
        (10, "unmapped_json"),
        (11, "unmapped_json"),
    ];
    assert_eq!(refused, want);
    assert!(mapped.refused[0].message.contains("given twice"));
}

#[test]
fn a_map_that_is_wrong_says_where_and_what_to_do() {
    let wrong = |from: &str, to: &str| {
        assert!(CSV.contains(from));
        Mapping::parse(&CSV.replacen(from, to, 1)).unwrap_err().to_string()
    };
    let cases = [
        ("[event]", "[evnt]", "unknown field `evnt`"),
        ("scale = 0.01", "scale = 0.0", "properties.price.scale: a number other than zero"),
        (
            "type = \"Decimal\"",
            "type = \"Money\"",
            "properties.price.type: no property type is called \"Money\"",
        ),
        ("type = \"Decimal\"\n", "", "properties.price.scale: say the type as well"),
        (
            "\"EMAIL\"",
            "\"MAIL\"",
            "event.person[0].type: no identifier type is called \"MAIL\"; did you mean \"EMAIL\"?",
        ),
        ("\"EMAIL\"", "\"PUSH\"", "event.person[0].sender: an identifier of type PUSH needs a sender"),
        (
            "{ from = \"at\" }",
            "{ from = \"at\", scale = 2 }",
            "event.time.scale: this key means nothing here",
        ),
        ("{ from = \"at\" }", "{ format = \"iso\" }", "event.time: say exactly one of from"),
        ("name = \"link\"", "name = \"Link\"", "properties.Link.name: a name has"),
        ("name = \"link\"", "name = \"price\"", "properties.price: the property is described twice"),
        ("{kind}", "{kind", "properties.link.template: a { is not closed"),
        (
            "format = \"csv\"",
            "format = \"csv\"\ncsv = { delimiter = \"ab\" }",
            "csv.delimiter: one ASCII character",
        ),
        ("format = \"csv\"", "format = \"csv\"\ncsv = { header = false }", "csv.columns: without a header"),
        ("format = \"csv\"", "format = \"json\"\ncsv = {}", "csv: this key is for format = \"csv\" only"),
        ("format = \"csv\"", "format = \"xml\"", "line 2: unknown variant `xml`"),
        ("format = \"csv\"", "format = \"csv\"\ndefinitions = \"x.json\"", "definitions: \"x.json\""),
    ];
    for (from, to, want) in cases {
        let error = wrong(from, to);
        assert!(error.contains(want), "{error}\n  should say: {want}");
    }
    let missing = Mapping::load(&testdata("maps/none.toml")).unwrap_err();
    assert_eq!(missing.kind(), Kind::NotFound);
    assert!(missing.to_string().contains("none.toml"));
}

#[test]
fn columns_that_the_file_does_not_have_are_named() {
    let mapping = Mapping::parse(CSV).unwrap();
    let header = ["kind", "email", "id", "at", "cents"].map(str::to_owned);
    assert_eq!(mapping.missing_columns(&header), ["\"mail\"; did you mean \"email\"?"]);
}

#[test]
fn a_quoted_tab_file_and_one_without_a_header_are_read() {
    let map = |csv: &str| CSV.replace("format = \"csv\"\n", &format!("format = \"csv\"\n[csv]\n{csv}\n"));
    let tabs = map(
        "delimiter = \"\\t\"\nquote = \"\"\nheader = false\ncolumns = [\"kind\", \"mail\", \"id\", \"at\", \"cents\"]\nnull = [\"\\\\N\"]",
    );
    let mapped = map_text(&tabs, "buy\t\\N\t\"7\t2025-01-01T00:00:00Z\t5\n");
    assert_eq!(mapped.row(1)["personId"], "\"7");
    let mapped = map_text(&tabs, "buy\t\t7\t2025-01-01T00:00:00Z\t\r\n");
    assert_eq!(
        mapped.row(1)["properties"]["link"],
        "https://shop.example/7?x=buy",
        "a last field may be empty"
    );
    let semicolons = map("delimiter = \";\"\nquote = \"'\"");
    let mapped = map_text(&semicolons, "kind;mail;id;at;cents\nbuy;;'7;8';2025-01-01T00:00:00Z;5");
    assert_eq!(mapped.row(2)["personId"], "7;8");
}
