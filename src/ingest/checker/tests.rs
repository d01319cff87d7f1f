//! Whole rows, and what all tests of the checker begin with.

mod keys;
mod values;

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
    Definition::external(id.parse().unwrap(), id, properties)
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
fn columns_of_a_few_rows_hold_no_room_for_many() {
    let checked = check(sale(), &row("{\"title\":\"a\",\"count\":1,\"seats\":[{\"row\":\"C\"}]}"));
    let bytes: usize = checked.tables[0].columns.iter().map(|one| one.get_array_memory_size()).sum();
    assert!(bytes < 8 * 1024, "{bytes}");
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
