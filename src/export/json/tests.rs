use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;
use crate::export::testing::Event;
use crate::export::testing::Value;
use crate::export::testing::batch;
use crate::export::testing::decode;
use crate::export::testing::definition;
use crate::export::testing::with_list;
use crate::ids::PersonId;
use crate::person::ExternalIds;
use crate::person::Person;
use crate::person::Persons;
use crate::schema::Category;
use crate::schema::Definition;
use crate::value::ScalarType;

const AT: i64 = 1_744_881_164_183_000;

/// The lines of events, through the same column types as a data file gives.
fn lines(definition: &Definition, moments: bool, events: &[Event]) -> Vec<String> {
    let rows = batch(definition, 1, events);
    let mut file = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut file, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    let shape = Arc::new(RowShape::of(definition, moments));
    let mut persons = Persons::default();
    let person = Person { id: PersonId(1), external_id: Some("crm \"1\"".to_owned()), created: Micros(0) };
    persons.add(person, []);
    let persons = ExternalIds::from(persons);
    let mut out = Vec::new();
    for part in decode(file, &shape) {
        for row in 0..part.rows() {
            write(&part, row, &persons, &mut out);
        }
    }
    String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
}

fn write(part: &Part, row: usize, persons: &ExternalIds, out: &mut Vec<u8>) {
    crate::export::testing::write(part, row, persons, &Flows::default(), out);
}

fn only_line(definition: &Definition, values: Vec<Value>) -> String {
    let mut lines = lines(definition, false, &[Event::new("e-1", AT, values)]);
    assert_eq!(lines.len(), 1);
    lines.remove(0)
}

/// The text of one property's value.
fn value(kind: ScalarType, value: Value) -> String {
    let line = only_line(&definition("seen", &[("p", kind)]), vec![value]);
    let (_, tail) = line.split_once(",\"p\":").unwrap();
    tail.strip_suffix('}').unwrap().to_owned()
}

#[test]
fn a_row_has_the_mandatory_fields_then_the_properties_in_the_order_of_the_definition() {
    let seats = with_list(
        definition(
            "seatReserved",
            &[
                ("venueId", ScalarType::Numeric),
                ("isMember", ScalarType::Boolean),
                ("total", ScalarType::Decimal),
                ("note", ScalarType::String),
                ("startsAt", ScalarType::DateTime),
            ],
        ),
        "seats",
        &[("row", ScalarType::String), ("price", ScalarType::Decimal)],
    );
    let full = vec![
        Value::Int(17),
        Value::Bool(true),
        Value::Float(62.5),
        Value::Text("zwölf".to_owned()),
        Value::Time(AT),
        Value::List(vec![
            vec![Value::Text("C".to_owned()), Value::Float(31.25)],
            vec![Value::Null, Value::Float(1.0)],
        ]),
    ];
    let nulls = vec![Value::Null; 6];
    let mut second = Event::new("ord-000124", AT + 1, nulls);
    second.person = 2;
    second.session = Some("s-9".to_owned());
    let rows = lines(&seats, false, &[Event::new("ord-000123", AT, full), second]);
    assert_eq!(
        rows,
        [
            r#"{"definitionId":"seatReserved","eventId":"ord-000123","sessionId":null,"personId":"1","externalPersonId":"crm \"1\"","occuredTime":"2025-04-17T09:12:44.183+0000","venueId":17,"isMember":true,"total":62.5,"note":"zwölf","startsAt":"2025-04-17T09:12:44.183+0000","seats":[{"row":"C","price":31.25},{"row":null,"price":1.0}]}"#,
            r#"{"definitionId":"seatReserved","eventId":"ord-000124","sessionId":"s-9","personId":"2","externalPersonId":null,"occuredTime":"2025-04-17T09:12:44.183+0000","venueId":null,"isMember":null,"total":null,"note":null,"startsAt":null,"seats":null}"#,
        ]
    );
}

#[test]
fn a_list_without_items_is_empty_and_not_null() {
    let lists = with_list(definition("seen", &[]), "p", &[("a", ScalarType::Numeric)]);
    assert!(only_line(&lists, vec![Value::List(Vec::new())]).ends_with("\"p\":[]}"));
}

#[test]
fn br20_integers_are_written_digit_for_digit() {
    for number in [9_007_199_254_740_993, i64::MAX, i64::MIN, 0, -7] {
        assert_eq!(value(ScalarType::Numeric, Value::Int(number)), number.to_string());
    }
    assert_eq!(value(ScalarType::Decimal, Value::Float(1.5)), "1.5");
}

#[test]
fn br31_a_decimal_is_a_number_in_its_shortest_form_that_reads_back() {
    let text = |number| value(ScalarType::Decimal, Value::Float(number));
    assert_eq!(text("0.0033208349999999998".parse().unwrap()), "0.003320835");
    assert_eq!(text(62.0), "62.0");
    assert_eq!(text(-0.0), "-0.0");
    assert_eq!(text(19.99), "19.99");
    for number in [f64::MAX, f64::MIN_POSITIVE, 5e-324, 1e16, 1e21, 123_456_789.125, 0.1 + 0.2] {
        let text = text(number);
        assert!(serde_json::from_str::<Json>(&text).unwrap().is_number(), "{text}");
        assert_eq!(text.parse::<f64>().unwrap().to_bits(), number.to_bits(), "{text}");
    }
}

#[test]
fn a_time_is_written_in_milliseconds_or_exactly() {
    let text = |micros| value(ScalarType::DateTime, Value::Time(micros));
    assert_eq!(text(0), "\"1970-01-01T00:00:00.000+0000\"");
    assert_eq!(text(-1), "\"1969-12-31T23:59:59.999999+0000\"");
    assert_eq!(text(AT + 1_000), "\"2025-04-17T09:12:44.184+0000\"");
    assert_eq!(text(AT + 120), "\"2025-04-17T09:12:44.183120+0000\"");
}

#[test]
fn br22_a_nul_and_its_like_are_escaped() {
    let text = |text: &str| value(ScalarType::String, Value::Text(text.to_owned()));
    assert_eq!(text("a\0b"), r#""a\u0000b""#);
    assert_eq!(text("\u{1}\u{1f}\u{8}\u{c}\n\r\t"), r#""\u0001\u001f\b\f\n\r\t""#);
    assert_eq!(text(r#"say "hi" \ bye"#), r#""say \"hi\" \\ bye""#);
    assert_eq!(text("\u{7f}/"), "\"\u{7f}/\"");
    assert_eq!(text(""), r#""""#);
}

#[test]
fn br23_an_emoji_is_written_as_utf8() {
    let text = |text: &str| value(ScalarType::String, Value::Text(text.to_owned()));
    assert_eq!(text("\u{1f600}"), "\"\u{1f600}\"");
    let url = format!("{}\u{1f600}", "a".repeat(1_499));
    assert_eq!(text(&url), format!("\"{url}\""));
}

#[test]
fn br26_a_property_with_a_mandatory_name_is_prefixed_and_the_others_are_unchanged() {
    let names =
        ["externalPersonId", "eventId", "select", "order", "from", "group by", "a\"b", "a.b", "occurredTime"];
    let cart = definition("cart1", &names.map(|name| (name, ScalarType::String)));
    let line = only_line(&cart, names.map(|name| Value::Text(name.to_uppercase())).to_vec());
    let read: serde_json::Map<String, Json> = serde_json::from_str(&line).unwrap();
    let keys: Vec<_> = read.keys().skip(6).collect();
    let expected = [
        "cart1_externalPersonId",
        "cart1_eventId",
        "select",
        "order",
        "from",
        "group by",
        "a\"b",
        "a.b",
        "occurredTime",
    ];
    assert_eq!(keys, expected);
    assert_eq!(read["eventId"], "e-1");
    assert_eq!(read["cart1_eventId"], "EVENTID");
}

#[test]
fn a_prefixed_name_that_is_taken_does_not_make_a_key_twice() {
    for names in [["eventId", "cart1_eventId"], ["cart1_eventId", "eventId"]] {
        let cart = definition("cart1", &names.map(|name| (name, ScalarType::String)));
        let line = only_line(&cart, names.map(|name| Value::Text(name.to_owned())).to_vec());
        assert!(line.contains(r#""cart1_eventId":"cart1_eventId""#), "{line}");
        assert!(line.contains(r#""cart1_eventId_":"eventId""#), "{line}");
    }
}

#[test]
fn moments_fields_of_a_standard_event_come_first_and_those_of_an_own_event_are_prefixed() {
    let kinds = [
        ("exitReason", ScalarType::String),
        ("flowElementId", ScalarType::String),
        ("campaignName", ScalarType::String),
        ("campaignStart", ScalarType::DateTime),
    ];
    let values = || {
        vec![
            Value::Text("done".to_owned()),
            Value::Text("10-12".to_owned()),
            Value::Text("Spring".to_owned()),
            Value::Time(0),
        ]
    };
    let mut flow = definition("personExitedFlow", &kinds);
    flow.category = Category::Product;
    let event = Event::new("e-1", AT, values());
    let properties = |definition: &Definition, moments| {
        let line = lines(definition, moments, std::slice::from_ref(&event)).remove(0);
        line.split_once("+0000\",").unwrap().1.to_owned()
    };
    assert_eq!(
        properties(&flow, true),
        r#""campaignName":"Spring","campaignStart":"1970-01-01T00:00:00.000+0000","flowElementId":"10-12","exitReason":"done"}"#
    );
    let plain = r#""exitReason":"done","flowElementId":"10-12","campaignName":"Spring","campaignStart":"1970-01-01T00:00:00.000+0000"}"#;
    assert_eq!(properties(&flow, false), plain);
    let own = definition("own", &kinds);
    assert_eq!(properties(&own, false), plain);
    assert_eq!(
        properties(&own, true),
        r#""exitReason":"done","own_flowElementId":"10-12","own_campaignName":"Spring","own_campaignStart":"1970-01-01T00:00:00.000+0000"}"#
    );
}

#[test]
fn a_property_that_is_younger_than_the_file_is_null() {
    let old = definition("seen", &[("a", ScalarType::String)]);
    let new = definition("seen", &[("a", ScalarType::String), ("b", ScalarType::Numeric)]);
    let rows = batch(&old, 1, &[Event::new("e-1", AT, vec![Value::Text("x".to_owned())])]);
    let mut file = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut file, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    let parts = decode(file, &Arc::new(RowShape::of(&new, false)));
    let mut out = Vec::new();
    write(&parts[0], 0, &ExternalIds::default(), &mut out);
    assert!(String::from_utf8(out).unwrap().ends_with(",\"a\":\"x\",\"b\":null}\n"));
}

proptest! {
    #[test]
    fn any_text_is_written_as_serde_writes_it(text in "\\PC*[\\x00-\\x7f]{0,20}\\PC*") {
        let mut out = Vec::new();
        write_text(text.as_bytes(), &mut out);
        prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&text).unwrap());
    }

    #[test]
    fn the_scan_finds_the_first_byte_that_must_be_escaped(bytes: Vec<u8>, from in 0_usize..40) {
        let from = from.min(bytes.len());
        let slow = bytes[from..].iter().position(|&byte| must_escape(byte)).map(|at| at + from);
        prop_assert_eq!(next_to_escape(&bytes, from), slow);
    }
}
