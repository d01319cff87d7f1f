use arrow::array::Array;
use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use arrow::datatypes::Int64Type;
use arrow::datatypes::TimestampMicrosecondType;

use super::*;
use crate::person::IdentifierType;
use crate::person::Person;
use crate::schema::Category;
use crate::schema::DefaultValue;
use crate::schema::Field;
use crate::schema::Property;
use crate::schema::PropertyType;
use crate::schema::Rule;
use crate::time::Micros;
use crate::time::parse_zone;
use crate::value::ScalarType;

pub(crate) fn definition(id: &str, properties: Vec<Property>) -> Definition {
    Definition {
        id: id.parse().unwrap(),
        title: id.to_owned(),
        description: String::new(),
        category: Category::External,
        subcategory: None,
        template: None,
        enabled: true,
        properties,
        defaults: Vec::new(),
    }
}

fn scalar(name: &str, kind: ScalarType) -> Property {
    Property::scalar(name, kind)
}

fn seats() -> Property {
    let field = |name: &str, kind| Field { name: name.to_owned(), kind };
    Property::new(
        "seats",
        PropertyType::List(vec![field("row", ScalarType::String), field("price", ScalarType::Decimal)]),
    )
}

/// The definition of most tests here.
fn sale() -> Definition {
    definition(
        "sale",
        vec![
            scalar("price", ScalarType::Decimal),
            scalar("title", ScalarType::String),
            scalar("vip", ScalarType::Boolean),
            scalar("day", ScalarType::DateTime),
            scalar("count", ScalarType::Numeric),
            seats(),
        ],
    )
}

fn known() -> Persons {
    let mut persons = Persons::default();
    persons.add(Person { id: PersonId(1), external_id: Some("crm-1".to_owned()), created: Micros(0) }, []);
    persons.add(Person { id: PersonId(2), external_id: None, created: Micros(0) }, []);
    persons.attach(PersonId(2), IdentifierType::Push, "reg-77", "app");
    persons
}

pub(crate) fn check_as(definitions: Vec<Definition>, options: CheckOptions, lines: &[u8]) -> Checked {
    Checker::new(&Registry::new(definitions), options).check_chunk(lines, "test.jsonl", 1, &known()).unwrap()
}

fn check(definition: Definition, lines: &str) -> Checked {
    check_as(vec![definition], CheckOptions::default(), lines.as_bytes())
}

/// One row of `sale` by person 1 with these properties.
fn row(properties: &str) -> String {
    format!(
        "{{\"definitionId\":\"sale\",\"personId\":1,\"occurredTime\":\"2026-06-01T00:00:00Z\",\"properties\":{properties}}}\n"
    )
}

/// One row of `sale` with these keys beside the definition.
fn keys(keys: &str) -> String {
    format!("{{\"definitionId\":\"sale\",{keys}}}\n")
}

fn sale_row(properties: &str) -> Checked {
    check(sale(), &row(properties))
}

/// The refusal of the only row.
fn refused(checked: &Checked) -> &Refusal {
    assert_eq!((checked.events.len(), checked.rejections.len()), (0, 1));
    &checked.rejections[0].refusal
}

fn code(checked: &Checked) -> Code {
    refused(checked).code
}

fn message(checked: &Checked) -> &str {
    &refused(checked).message
}

/// The column of a property of the only definition.
fn column(checked: &Checked, at: usize) -> &ArrayRef {
    assert_eq!(checked.rejections, []);
    &checked.tables[0].columns[3 + at]
}

#[test]
fn an_event_becomes_a_row_of_columns() {
    let checked = check(
        sale(),
        "{\"eventId\":\"ord-1\",\"definitionId\":\"sale\",\"sessionId\":\"s\",\"occurredTime\":\"2025-04-17T09:12:44.1830000Z\",\"personId\":\"1\",\"properties\":{\"title\":\"a\\\"b\",\"price\":62.5,\"count\":3.0,\"vip\":true,\"day\":\"2025-05-01T18:30:00.000Z\",\"seats\":[{\"price\":31.25,\"row\":\"C\"},{}]}}\r\n\n  \n{\"definitionId\":\"sale\",\"personId\":1,\"occurredTime\":1744881164183}",
    );
    assert_eq!((checked.rows, checked.rejections.len()), (2, 0));
    let rows: Vec<u64> = checked.events.iter().map(|event| event.row).collect();
    assert_eq!(rows, [1, 4]);
    let table = &checked.tables[0];
    assert_eq!(
        table.columns[0].as_primitive::<TimestampMicrosecondType>().values(),
        &[1_744_881_164_183_000; 2]
    );
    assert_eq!(table.columns[1].as_string::<i32>().value(0), "ord-1");
    assert_eq!(table.columns[1].as_string::<i32>().value(1).len(), 26);
    assert_eq!(table.columns[2].as_string::<i32>().value(0), "s");
    assert!(table.columns[2].is_null(1));
    assert_eq!(column(&checked, 0).as_primitive::<Float64Type>().value(0), 62.5);
    assert_eq!(column(&checked, 1).as_string::<i32>().value(0), "a\"b");
    assert!(column(&checked, 2).as_boolean().value(0));
    assert_eq!(
        column(&checked, 3).as_primitive::<TimestampMicrosecondType>().value(0),
        1_746_124_200_000_000
    );
    assert_eq!(column(&checked, 4).as_primitive::<Int64Type>().value(0), 3);
    let list = column(&checked, 5).as_list::<i32>();
    let objects = list.value(0);
    let objects = objects.as_struct();
    assert_eq!(objects.column(0).as_string::<i32>().value(0), "C");
    assert_eq!(objects.column(1).as_primitive::<Float64Type>().value(0), 31.25);
    assert!(objects.column(0).is_null(1) && objects.column(1).is_null(1));
    for at in 0..6 {
        assert!(column(&checked, at).is_null(1), "{at}");
        assert_eq!(column(&checked, at).data_type(), table.schema.field(6 + at).data_type());
    }
}

#[test]
fn an_empty_list_is_not_null() {
    let checked = check(sale(), &[row("{\"seats\":[]}"), row("{\"seats\":null}")].concat());
    let list = column(&checked, 5).as_list::<i32>();
    assert!(list.is_valid(0) && list.value(0).is_empty() && list.is_null(1));
}

#[test]
fn br20_integers_come_back_digit_for_digit() {
    let checked = check(
        sale(),
        &[
            row("{\"count\":9007199254740993}"),
            row("{\"count\":9223372036854775807}"),
            row("{\"price\":1.5}"),
        ]
        .concat(),
    );
    let counts = column(&checked, 4).as_primitive::<Int64Type>();
    assert_eq!((counts.value(0), counts.value(1)), (9_007_199_254_740_993, i64::MAX));
    assert_eq!(column(&checked, 0).as_primitive::<Float64Type>().value(2), 1.5);

    assert_eq!(code(&sale_row("{\"count\":9223372036854775808}")), Code::NumberOutOfRange);
    assert_eq!(code(&sale_row("{\"count\":1.5}")), Code::WrongType);
    assert_eq!(code(&sale_row("{\"price\":1e999}")), Code::NumberOutOfRange);
    let inexact = sale_row("{\"price\":9007199254740993}");
    assert_eq!(code(&inexact), Code::InexactNumber);
    assert_eq!(
        message(&inexact),
        "property \"price\" of \"sale\" must be a number, found the number 9007199254740993, which 64 bits of floating point cannot hold exactly; a Numeric property can, or write it with a point to have it rounded"
    );
}

#[test]
fn br21_types_are_strict_and_each_refusal_says_what_came() {
    let taken = check(
        sale(),
        &[row("{\"price\":5}"), row("{\"price\":5.5}"), row("{\"day\":\"2024-02-29\"}")].concat(),
    );
    assert_eq!(taken.events.len(), 3);
    for (properties, property, expected, found) in [
        ("{\"price\":\"42\"}", "price", "a number", "the string \"42\""),
        ("{\"price\":true}", "price", "a number", "true"),
        ("{\"title\":7}", "title", "a string", "the number 7"),
        ("{\"vip\":\"true\"}", "vip", "true or false", "the string \"true\""),
        ("{\"day\":\"2024-02-30\"}", "day", "an ISO 8601 time in a string", "the string \"2024-02-30\""),
        ("{\"day\":1709164800000}", "day", "an ISO 8601 time in a string", "the number 1709164800000"),
        ("{\"vip\":1}", "vip", "true or false", "the number 1"),
        ("{\"count\":\"1\"}", "count", "an integer of 64 bits", "the string \"1\""),
        ("{\"seats\":{}}", "seats", "an array of objects", "an object {}"),
        ("{\"seats\":[{},null]}", "seats", "an array of objects", "null as item 2"),
        ("{\"seats\":[{},{\"price\":\"x\"}]}", "seats[2].price", "a number", "the string \"x\""),
    ] {
        let checked = sale_row(properties);
        let refusal = refused(&checked);
        assert_eq!(refusal.property.as_deref(), Some(property), "{properties}");
        assert_eq!(refusal.expected.as_deref(), Some(expected), "{properties}");
        assert_eq!(refusal.found.as_deref(), Some(found), "{properties}");
        assert_eq!(refusal.definition.as_deref(), Some("sale"));
        let says = format!("property \"{property}\" of \"sale\" must be {expected}, found {found}");
        assert!(refusal.message.starts_with(&says), "{}", refusal.message);
    }
}

#[test]
fn br22_a_nul_is_kept_in_a_property_and_refused_in_ids() {
    let checked = sale_row("{\"title\":\"a\\u0000b\"}");
    assert_eq!(column(&checked, 1).as_string::<i32>().value(0), "a\0b");
    let time = "\"occurredTime\":\"2026-06-01\"";
    let event = check(sale(), &keys(&format!("\"personId\":1,{time},\"eventId\":\"a\\u0000b\"")));
    assert_eq!(code(&event), Code::InvalidEventId);
    assert_eq!(
        message(&event),
        "\"eventId\" must be 1 to 36 of A-Z, a-z, 0-9, _ and -, found the string \"a\\u0000b\""
    );
    for person in [
        "\"personId\":\"1\\u0000\"",
        "\"externalPersonId\":\"a\\u0000b\"",
        "\"identifier\":{\"type\":\"EMAIL\",\"id\":\"a\\u0000b\"}",
    ] {
        assert_eq!(code(&check(sale(), &keys(&format!("{person},{time}")))), Code::InvalidPerson, "{person}");
    }
    let session = check(sale(), &keys(&format!("\"personId\":1,{time},\"sessionId\":\"\\u0000\"")));
    assert_eq!(code(&session), Code::InvalidSessionId);
}

#[test]
fn br23_half_an_emoji_refuses_its_row_alone() {
    let lines =
        [row("{\"title\":\"\\ud83d\\ude00\"}"), row("{\"title\":\"x\\ud83d\"}"), row("{\"title\":\"é\"}")];
    let checked = check(sale(), &lines.concat());
    assert_eq!((checked.events.len(), checked.rejections.len()), (2, 1));
    let rejection = &checked.rejections[0];
    assert_eq!((rejection.row, rejection.refusal.code), (2, Code::LoneSurrogate));
    let place = lines[1].find("\\ud83d").unwrap() + 1;
    assert!(
        rejection.refusal.message.starts_with(&format!("byte {place}: ")),
        "{}",
        rejection.refusal.message
    );
    let titles = checked.tables[0].columns[4].as_string::<i32>();
    assert_eq!((titles.value(0), titles.value(1)), ("😀", "é"));

    let lenient = CheckOptions { lenient: true, ..CheckOptions::default() };
    let checked = check_as(vec![sale()], lenient, lines.concat().as_bytes());
    assert_eq!(column(&checked, 1).as_string::<i32>().value(1), "x\u{fffd}");
}

#[test]
fn br23_a_cut_counts_code_points() {
    let mut url = scalar("url", ScalarType::String);
    url.rules = vec![Rule::CutAt(1_500)];
    let page = definition("sale", vec![url]);
    let long = format!("{}😀tail", "a".repeat(1_499));
    let escaped = format!("{}\\ud83d\\ude00tail", "a".repeat(1_499));
    let fits = "é".repeat(1_500);
    let lines = [&long, &escaped, &fits].map(|url| row(&format!("{{\"url\":\"{url}\"}}"))).concat();
    let checked = check(page, &lines);
    let urls = column(&checked, 0).as_string::<i32>();
    assert_eq!((urls.value(0).chars().count(), urls.value(0).len()), (1_500, 1_503));
    assert!(urls.value(0).ends_with("a😀"));
    assert_eq!((urls.value(1), urls.value(2)), (urls.value(0), fits.as_str()));
}

#[test]
fn br25_a_name_in_another_case_is_refused() {
    let checked = sale_row("{\"Price\":5}");
    assert_eq!(code(&checked), Code::UnknownProperty);
    assert_eq!(
        message(&checked),
        "\"sale\" has no property \"Price\"; it differs only by case from \"price\""
    );
    let field = sale_row("{\"seats\":[{\"Row\":\"C\"}]}");
    assert_eq!(
        message(&field),
        "the objects of \"seats\" of \"sale\" have no field \"Row\"; it differs only by case from \"row\""
    );
    assert_eq!(
        message(&sale_row("{\"tilte\":\"x\"}")),
        "\"sale\" has no property \"tilte\"; did you mean \"title\"?"
    );
}

#[test]
fn br31_a_long_fraction_is_a_plain_number() {
    let checked = sale_row("{\"price\":0.0033208349999999998}");
    assert_eq!(column(&checked, 0).as_primitive::<Float64Type>().value(0), 0.003_320_835);
    assert_eq!(checked.tables[0].columns.len(), 3 + 6);
}

#[test]
fn br37_text_that_looks_like_something_else_stays_text() {
    let lines = [row("{\"title\":\"2024-12-19T00:00:00Z\"}"), row("{\"title\":\"007\"}")].concat();
    let checked = check(sale(), &lines);
    let titles = column(&checked, 1).as_string::<i32>();
    assert_eq!((titles.value(0), titles.value(1)), ("2024-12-19T00:00:00Z", "007"));
}

#[test]
fn br41_the_epoch_and_what_was_before_are_ordinary() {
    let times = ["\"1970-01-01T00:00:00Z\"", "\"1969-12-31T23:59:55Z\"", "0", "-5000"];
    let lines = times.map(|time| keys(&format!("\"personId\":1,\"occurredTime\":{time}"))).concat();
    let checked = check(sale(), &lines);
    let taken = checked.tables[0].columns[0].as_primitive::<TimestampMicrosecondType>();
    assert_eq!(taken.values(), &[0, -5_000_000, 0, -5_000_000]);
}

#[test]
fn a_key_given_twice_is_refused() {
    let time = "\"occurredTime\":\"2026-06-01\"";
    for (line, key) in [
        (keys(&format!("\"personId\":1,\"personId\":1,{time}")), "personId"),
        (keys(&format!("\"personId\":1,{time},\"definitionId\":\"sale\"")), "definitionId"),
        (keys(&format!("\"personId\":1,{time},\"occuredTime\":\"2026-06-01\"")), "occuredTime"),
        (keys(&format!("\"personId\":1,{time},\"properties\":null,\"properties\":{{}}")), "properties"),
        (
            keys(&format!("\"identifier\":{{\"id\":\"a\",\"id\":\"a\",\"type\":\"EMAIL\"}},{time}")),
            "identifier.id",
        ),
        (keys(&format!("\"personId\":1,{time},\"price\":null,\"title\":\"x\",\"price\":null")), "price"),
        (row("{\"price\":1,\"pr\\u0069ce\":1}"), "price"),
        (row("{\"seats\":[{\"row\":\"a\"},{\"row\":null,\"row\":\"a\"}]}"), "seats[2].row"),
    ] {
        let checked = check(sale(), &line);
        assert_eq!(code(&checked), Code::DuplicateKey, "{line}");
        assert_eq!(refused(&checked).property.as_deref(), Some(key), "{line}");
    }
    let again = check(sale(), &[row("{\"price\":1}"), row("{\"price\":1}")].concat());
    assert_eq!(again.events.len(), 2);
}

#[test]
fn the_body_may_be_empty_or_null() {
    let bare = keys("\"personId\":1,\"occurredTime\":\"2026-06-01\"");
    let checked = check(sale(), &[row("{}"), row("null"), bare].concat());
    assert_eq!((checked.events.len(), checked.rejections.len()), (3, 0));
    assert_eq!(code(&sale_row("[]")), Code::WrongType);
    assert_eq!(code(&check(sale(), "{}\n")), Code::MissingField);
    assert_eq!(code(&check(sale(), "[]\n")), Code::InvalidJson);
    assert_eq!(code(&check(sale(), "{\"definitionId\":\"sale\"} x\n")), Code::InvalidJson);
}

#[test]
fn keys_may_come_in_any_order() {
    let nested = "{\"properties\":{\"title\":\"}\\\"\",\"count\":2},\"occurredTime\":\"2026-06-01\",\"personId\":1,\"definitionId\":\"sale\"}\n";
    let flat = "{\"count\":2,\"personId\":1,\"title\":\"}\\\"\",\"definitionId\":\"sale\",\"occuredTime\":\"2026-06-01\"}\n";
    let checked = check(sale(), &[nested, flat].concat());
    for at in 0..2 {
        assert_eq!(column(&checked, 1).as_string::<i32>().value(at), "}\"");
        assert_eq!(column(&checked, 4).as_primitive::<Int64Type>().value(at), 2);
    }
    assert_eq!(
        code(&check(sale(), "{\"properties\":{\"title\":\"x\"},\"personId\":1}\n")),
        Code::MissingField
    );
    assert_eq!(code(&check(sale(), "{\"title\":\"x\",\"personId\":1}\n")), Code::MissingField);
}

#[test]
fn properties_stand_in_one_place() {
    let start = "\"personId\":1,\"occurredTime\":\"2026-06-01\"";
    let after = check(sale(), &keys(&format!("{start},\"properties\":{{}},\"title\":\"x\"")));
    let before = check(sale(), &keys(&format!("{start},\"title\":\"x\",\"properties\":{{}}")));
    assert_eq!((code(&after), code(&before)), (Code::UnknownKey, Code::UnknownKey));
}

#[test]
fn an_export_row_is_read_with_its_prefixed_keys() {
    let names = ["externalPersonId", "eventId", "campaignName", "occurredTime", "cart1_eventId", "plain"];
    let cart = definition("cart1", names.map(|name| scalar(name, ScalarType::String)).to_vec());
    let line = "{\"definitionId\":\"cart1\",\"eventId\":\"e\",\"sessionId\":null,\"personId\":\"1\",\"externalPersonId\":\"crm-1\",\"occuredTime\":\"2025-04-17T09:12:44.183+0000\",\"cart1_externalPersonId\":\"a\",\"cart1_campaignName\":\"c\",\"cart1_occurredTime\":\"d\",\"plain\":\"f\",\"cart1_eventId\":\"b\"}\n";
    let checked = check(cart, line);
    let values = [0, 2, 3, 5].map(|at| column(&checked, at).as_string::<i32>().value(0));
    assert_eq!(values, ["a", "c", "d", "f"]);
    // Two properties want this key; the one that has it as its name gets it.
    assert!(column(&checked, 1).is_null(0));
    assert_eq!(column(&checked, 4).as_string::<i32>().value(0), "b");
    assert_eq!(checked.events[0].person, Doer::Known(PersonId(1)));

    let exported = line.replace("\"plain\"", "\"occurredTime\":\"o\",\"cart1_eventId_\":\"e\",\"plain\"");
    let exported = check(
        definition("cart1", names.map(|name| scalar(name, ScalarType::String)).to_vec()),
        &exported.replace("\"cart1_occurredTime\":\"d\",", ""),
    );
    let values = [1, 3, 4].map(|at| column(&exported, at).as_string::<i32>().value(0));
    assert_eq!(values, ["e", "o", "b"]);

    let foreign = check(sale(), &keys("\"personId\":1,\"occuredTime\":\"2026-06-01\",\"campaignName\":null"));
    assert_eq!(code(&foreign), Code::UnknownProperty);
    assert!(message(&foreign).contains("Moments"), "{}", message(&foreign));
    let prefixed = check(sale(), &keys("\"personId\":1,\"occuredTime\":\"2026-06-01\",\"sale_title\":\"x\""));
    assert_eq!(code(&prefixed), Code::UnknownProperty);
}

#[test]
fn keys_that_an_export_leaves_to_properties_name_them_in_its_rows() {
    let names = ["identifier", "occurredTime", "properties"];
    let odd = || definition("sale", names.map(|name| scalar(name, ScalarType::String)).to_vec());
    let values = "\"identifier\":\"a\",\"occurredTime\":\"b\",\"properties\":\"c\"";
    let checked = check(odd(), &keys(&format!("\"personId\":\"1\",\"occuredTime\":\"2026-06-01\",{values}")));
    let found = [0, 1, 2].map(|at| column(&checked, at).as_string::<i32>().value(0));
    assert_eq!(found, ["a", "b", "c"]);
    let ours = check(odd(), &keys(&format!("\"personId\":\"1\",{values}")));
    assert_eq!(refused(&ours).property.as_deref(), Some("identifier"));
    let nested =
        check(odd(), &keys(&format!("\"personId\":1,\"occurredTime\":0,\"properties\":{{{values}}}")));
    assert_eq!(column(&nested, 1).as_string::<i32>().value(0), "b");
}

#[test]
fn a_person_is_given_in_one_of_four_ways() {
    let time = "\"occurredTime\":\"2026-06-01\"";
    for (person, doer) in [
        ("\"personId\":1", Doer::Known(PersonId(1))),
        ("\"personId\":\"2\",\"externalPersonId\":null", Doer::Known(PersonId(2))),
        ("\"externalPersonId\":\"crm-1\",\"identifier\":null", Doer::Known(PersonId(1))),
        ("\"personId\":\"1\",\"externalPersonId\":\"crm-1\"", Doer::Known(PersonId(1))),
        (
            "\"identifier\":{\"type\":\"EXTERNAL_ID\",\"id\":\"crm-1\",\"sender\":\"any\"}",
            Doer::Known(PersonId(1)),
        ),
        ("\"identifier\":{\"id\":\"1\",\"type\":\"ID\"}", Doer::Known(PersonId(1))),
        ("\"identifier\":{\"id\":\"reg-77\",\"type\":\"PUSH\",\"sender\":\"app\"}", Doer::Known(PersonId(2))),
        ("\"identifier\":{\"id\":\"reg-77\",\"type\":\"PUSH\",\"sender\":\"other\"}", Doer::Claimed(0)),
        ("\"identifier\":{\"id\":\"a@b\",\"type\":\"EMAIL\"}", Doer::Claimed(0)),
        ("\"personId\":1,\"externalPersonId\":\"crm-2\"", Doer::Claimed(0)),
        ("\"personId\":9", Doer::Claimed(0)),
    ] {
        let checked = check(sale(), &keys(&format!("{person},{time}")));
        assert_eq!(checked.events.first().map(|event| event.person), Some(doer), "{person}: {checked:?}");
    }
    for (person, wrong) in [
        ("\"eventId\":\"e\"", Code::MissingPerson),
        ("\"personId\":1,\"identifier\":{\"id\":\"a@b\",\"type\":\"EMAIL\"}", Code::InvalidPerson),
        ("\"personId\":0", Code::InvalidPerson),
        ("\"personId\":-1", Code::InvalidPerson),
        ("\"personId\":1.0", Code::InvalidPerson),
        ("\"personId\":\"01\"", Code::InvalidPerson),
        ("\"personId\":9007199254740992", Code::InvalidPerson),
        ("\"personId\":true", Code::WrongType),
        ("\"identifier\":{\"id\":\"a@b\"}", Code::InvalidPerson),
        ("\"identifier\":{\"id\":\"\",\"type\":\"EMAIL\"}", Code::InvalidPerson),
        ("\"identifier\":{\"id\":\"a\",\"type\":\"email\"}", Code::InvalidPerson),
        ("\"identifier\":{\"id\":\"reg-77\",\"type\":\"PUSH\"}", Code::InvalidPerson),
        ("\"identifier\":{\"id\":\"a\",\"type\":\"EMAIL\",\"x\":1}", Code::UnknownKey),
    ] {
        assert_eq!(code(&check(sale(), &keys(&format!("{person},{time}")))), wrong, "{person}");
    }
}

#[test]
fn claims_are_listed_once_in_order_of_appearance() {
    let event = |id: &str| keys(&format!("\"externalPersonId\":\"{id}\",\"occurredTime\":\"2026-06-01\""));
    let checked = check(sale(), &[event("b"), event("a"), event("b"), event("crm-1")].concat());
    let doers: Vec<Doer> = checked.events.iter().map(|event| event.person).collect();
    assert_eq!(doers, [Doer::Claimed(0), Doer::Claimed(1), Doer::Claimed(0), Doer::Known(PersonId(1))]);
    let ids: Vec<&str> = checked
        .claims
        .iter()
        .map(|claim| match claim {
            Claim::Named(identifier) => identifier.id.as_str(),
            Claim::Id(..) => "",
        })
        .collect();
    assert_eq!(ids, ["b", "a"]);
}

#[test]
fn times_need_an_offset_or_a_zone() {
    let line = keys("\"personId\":1,\"occurredTime\":\"2026-06-01T12:00:00\",\"day\":\"2026-06-01\"");
    assert_eq!(code(&check(sale(), &line)), Code::TimeWithoutOffset);
    let zone = parse_zone("Europe/Zagreb").unwrap();
    let options = CheckOptions { zone: Some(zone), ..CheckOptions::default() };
    let checked = check_as(vec![sale()], options, line.as_bytes());
    let at =
        |column: &ArrayRef| Micros(column.as_primitive::<TimestampMicrosecondType>().value(0)).to_string();
    assert_eq!(at(&checked.tables[0].columns[0]), "2026-06-01T10:00:00.000000Z");
    assert_eq!(at(column(&checked, 3)), "2026-05-31T22:00:00.000000Z");

    let seconds = check(sale(), &keys("\"personId\":1,\"occurredTime\":1744881164"));
    assert_eq!(code(&seconds), Code::SecondsForMilliseconds);
    assert!(message(&seconds).contains("multiply by 1000"), "{}", message(&seconds));
    let text = check(sale(), &keys("\"personId\":1,\"occurredTime\":\"1744881164183\""));
    assert_eq!(code(&text), Code::InvalidTime);
}

#[test]
fn rules_of_texts_and_defaults() {
    let with = |name: &str, rules: Vec<Rule>| Property { rules, ..scalar(name, ScalarType::String) };
    let mut start = scalar("start", ScalarType::DateTime);
    start.rules = vec![Rule::DayFirst];
    let mut session = definition(
        "sale",
        vec![
            with("path", vec![Rule::StartsWith("/".to_owned())]),
            with("device", vec![Rule::OneOf(vec!["mobile".to_owned(), "TV".to_owned()])]),
            start,
            scalar("kind", ScalarType::String),
            scalar("source", ScalarType::String),
            scalar("medium", ScalarType::String),
        ],
    );
    session.defaults = vec![DefaultValue {
        property: "source".to_owned(),
        value: "direct".to_owned(),
        when: ("kind".to_owned(), "Web".to_owned()),
        unless: vec!["source".to_owned(), "medium".to_owned()],
    }];
    let lines = [
        "{\"path\":\"/a\",\"device\":\"TV\",\"start\":\"29/02/2024 18:30:05\",\"kind\":\"Web\"}",
        "{\"start\":\"2024-02-29T18:30:05Z\",\"kind\":\"Web\",\"medium\":\"cpc\"}",
        "{\"kind\":\"Web\",\"source\":null}",
        "{\"kind\":\"Web\",\"source\":\"mail\"}",
        "{\"kind\":\"App\"}",
    ];
    let checked = check(session.clone(), &lines.map(row).concat());
    let sources: Vec<Option<&str>> = column(&checked, 4).as_string::<i32>().iter().collect();
    assert_eq!(sources, [Some("direct"), None, Some("direct"), Some("mail"), None]);
    let starts = column(&checked, 2).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(starts.value(0), starts.value(1));
    for (properties, says) in [
        ("{\"path\":\"a\"}", "must be a string that starts with \"/\", found the string \"a\""),
        (
            "{\"device\":\"tv\"}",
            "must be one of \"mobile\", \"TV\", found the string \"tv\"; did you mean \"TV\"?",
        ),
    ] {
        let checked = check(session.clone(), &row(properties));
        assert_eq!(code(&checked), Code::RuleBroken);
        assert!(message(&checked).ends_with(says), "{}", message(&checked));
    }
    assert_eq!(code(&check(session, &row("{\"start\":\"31/02/2024 00:00:00\"}"))), Code::InvalidTime);
}

#[test]
fn what_must_be_given_may_be_neither_left_out_nor_null() {
    let mut sold = sale();
    sold.properties[4].required = true;
    for properties in ["{}", "{\"count\":null}", "null"] {
        let checked = check(sold.clone(), &row(properties));
        assert_eq!(code(&checked), Code::MissingProperty);
        assert_eq!(message(&checked), "\"sale\" needs the property \"count\"");
    }
    assert_eq!(check(sold, &row("{\"count\":0}")).events.len(), 1);
}

#[test]
fn templates_and_disabled_and_unknown_definitions_take_no_events() {
    let template = Definition { category: Category::Template, ..definition("itemViewed", vec![]) };
    let disabled =
        Definition { enabled: false, category: Category::Person, ..definition("tagAdded", vec![]) };
    let event = |id: &str| format!("{{\"definitionId\":\"{id}\",\"personId\":1,\"occurredTime\":0}}\n");
    let lines = [event("itemViewed"), event("tagAdded"), event("sael"), event("sale")].concat();
    let checked = check_as(vec![template, disabled, sale()], CheckOptions::default(), lines.as_bytes());
    let found: Vec<(u64, Code)> = checked.rejections.iter().map(|one| (one.row, one.refusal.code)).collect();
    assert_eq!(
        found,
        [(1, Code::TemplateDefinition), (2, Code::DisabledDefinition), (3, Code::UnknownDefinition)]
    );
    assert!(checked.rejections[1].refusal.message.contains("ENABLE EVENT tagAdded"));
    assert!(checked.rejections[2].refusal.message.contains("did you mean \"sale\"?"));
    assert_eq!(checked.events.len(), 1);
}

#[test]
fn a_row_may_have_512_000_bytes_and_not_one_more() {
    let fill = |bytes: usize| {
        let empty = row("{\"title\":\"\"}").len() - 1;
        row(&format!("{{\"title\":\"{}\"}}", "x".repeat(bytes - empty)))
    };
    assert_eq!(check(sale(), &fill(512_000)).events.len(), 1);
    let checked = check(sale(), &fill(512_001));
    assert_eq!(code(&checked), Code::RowTooLarge);
    assert_eq!(checked.rejections[0].raw.len(), 512_001);
}

#[test]
fn bytes_that_are_not_utf8_refuse_their_row_alone() {
    let lines =
        [row("{\"title\":\"é\"}").into_bytes(), b"{\"a\":\"\xff\"}\n".to_vec(), row("{}").into_bytes()]
            .concat();
    let checked = check_as(vec![sale()], CheckOptions::default(), &lines);
    assert_eq!(checked.events.len(), 2);
    assert_eq!(checked.rejections[0].refusal.code, Code::InvalidUtf8);
    assert_eq!(checked.rejections[0].refusal.message, "byte 7: not UTF-8");
    assert_eq!(checked.rejections[0].raw, b"{\"a\":\"\xff\"}");
}

#[test]
fn a_refused_row_leaves_nothing_behind() {
    let lines = [
        row("{\"title\":\"a\",\"seats\":[{\"row\":\"x\"}],\"price\":\"bad\"}"),
        row("{\"count\":1}"),
        row("{\"title\":\"b\",\"nothing\":1}"),
        row("{\"seats\":[{\"row\":\"y\"}]}"),
    ];
    let checked = check(sale(), &lines.concat());
    assert_eq!((checked.events.len(), checked.rejections.len()), (2, 2));
    let table = &checked.tables[0];
    assert!(table.columns.iter().all(|column| column.len() == 2));
    assert_eq!(table.columns[4].null_count(), 2);
    let list = table.columns[8].as_list::<i32>();
    assert!(list.is_null(0));
    assert_eq!(list.value(1).as_struct().column(0).as_string::<i32>().value(0), "y");
}

#[test]
fn the_fingerprint_ignores_order_and_nulls_and_sees_everything_else() {
    let payload = |line: &str| {
        let checked = check(sale(), line);
        assert_eq!(checked.rejections, []);
        checked.events[0].payload
    };
    let base = payload(&row(
        "{\"title\":\"a\",\"count\":1,\"seats\":[{\"row\":\"x\",\"price\":2},{\"row\":\"y\"}]}",
    ));
    for same in [
        "{\"count\":1,\"seats\":[{\"price\":2.0,\"row\":\"x\"},{\"row\":\"y\",\"price\":null}],\"title\":\"a\"}",
        "{\"count\":1.0,\"vip\":null,\"seats\":[{\"price\":2e0,\"row\":\"x\"},{\"row\":\"y\"}],\"title\":\"\\u0061\"}",
    ] {
        assert_eq!(payload(&row(same)), base);
    }
    let others = [
        row("{\"title\":\"b\",\"count\":1,\"seats\":[{\"row\":\"x\",\"price\":2},{\"row\":\"y\"}]}"),
        row("{\"title\":\"a\",\"count\":2,\"seats\":[{\"row\":\"x\",\"price\":2},{\"row\":\"y\"}]}"),
        row("{\"title\":\"a\",\"count\":1,\"seats\":[{\"row\":\"y\"},{\"row\":\"x\",\"price\":2}]}"),
        row("{\"title\":\"a\",\"count\":1,\"seats\":[{\"row\":\"x\"},{\"row\":\"y\",\"price\":2}]}"),
        row("{\"title\":\"a\",\"count\":1,\"seats\":[]}"),
        row("{\"title\":\"a\",\"count\":1}"),
        row("{\"title\":\"a\",\"count\":1,\"vip\":false}"),
        row("{\"title\":\"a\",\"price\":1}"),
        keys("\"personId\":1,\"occurredTime\":\"2026-06-01T00:00:00.001Z\",\"title\":\"a\",\"count\":1"),
        keys(
            "\"personId\":1,\"occurredTime\":\"2026-06-01T00:00:00Z\",\"sessionId\":\"s\",\"title\":\"a\",\"count\":1",
        ),
    ];
    let mut all: Vec<u64> = others.iter().map(|line| payload(line)).chain([base]).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), others.len() + 1);
}

#[test]
fn br19_rows_without_an_id_get_ids_that_the_same_import_makes_again() {
    let line = row("{\"count\":7}");
    let lines = [line.clone(), line].concat();
    let keys = |checked: &Checked| checked.events.iter().map(|event| event.key).collect::<Vec<_>>();
    let (once, again) = (check(sale(), &lines), check(sale(), &lines));
    assert_eq!(keys(&once), keys(&again));
    assert_ne!(once.events[0].key, once.events[1].key);
    assert_eq!(once.events[0].payload, once.events[1].payload);
}

#[test]
fn a_chunk_may_begin_anywhere_in_its_source() {
    let checker = Checker::new(&Registry::new([sale()]), CheckOptions::default());
    let line = row("{\"count\":7}");
    let whole = checker.check_chunk([&*line, &*line].concat().as_bytes(), "s", 1, &known()).unwrap();
    let second = checker.check_chunk(line.as_bytes(), "s", 2, &known()).unwrap();
    assert_eq!(second.events[0].key, whole.events[1].key);
    assert_eq!(second.events[0].row, 2);
}
