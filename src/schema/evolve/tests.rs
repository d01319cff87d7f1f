//! Every limit from both sides, and what may become of a definition.

use super::*;
use crate::error::Kind;
use crate::schema::Field;
use crate::value::ScalarType;

fn standard() -> Registry {
    Registry::standard().unwrap()
}

fn text(name: &str) -> Property {
    Property::scalar(name, ScalarType::String)
}

fn list(name: &str, fields: usize) -> Property {
    let field = |at| Field { name: format!("f{at}"), kind: ScalarType::String };
    Property::new(name, PropertyType::List((0..fields).map(field).collect()))
}

/// A request for the event `seat`.
fn seat(properties: Vec<Property>) -> DefinitionRequest {
    DefinitionRequest {
        id: Some("seat".parse().unwrap()),
        title: Some("Seat reserved".to_owned()),
        properties,
        ..DefinitionRequest::default()
    }
}

fn template(id: &str, properties: Vec<Property>) -> DefinitionRequest {
    DefinitionRequest { template: Some(id.parse().unwrap()), properties, ..DefinitionRequest::default() }
}

fn made(properties: Vec<Property>) -> Result<Definition> {
    create(&standard(), seat(properties), NameRule::Strict)
}

/// A registry with `seat (note String, row Numeric)`.
fn with_seat() -> Registry {
    let definition = made(vec![text("note"), Property::scalar("row", ScalarType::Numeric)]).unwrap();
    standard().with(definition)
}

fn assert_refused<T: std::fmt::Debug>(result: Result<T>, kind: Kind, says: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.message().contains(says), "{error}");
}

#[test]
fn the_id_follows_from_the_title() {
    let request =
        DefinitionRequest { id: None, title: Some("Item Added to Cart".to_owned()), ..seat(vec![]) };
    assert_eq!(create(&standard(), request, NameRule::Strict).unwrap().id.as_str(), "itemAddedToCart");
}

#[test]
fn an_id_is_unique_also_without_case() {
    let registry = with_seat();
    let again = create(&registry, seat(vec![]), NameRule::Strict);
    assert_refused(again, Kind::Conflict, "an event \"seat\" is defined already");
    let upper = DefinitionRequest { id: Some("SEAT".parse().unwrap()), ..seat(vec![]) };
    assert_refused(create(&registry, upper, NameRule::Strict), Kind::Conflict, "may not differ by case only");
}

#[test]
fn ids_of_standard_events_templates_and_tables_are_taken() {
    let named = |id: &str| {
        let request = DefinitionRequest { id: Some(id.parse().unwrap()), ..seat(vec![]) };
        create(&standard(), request, NameRule::Strict)
    };
    assert_refused(named("pageView"), Kind::Invalid, "\"pageView\" is a standard event");
    assert_refused(named("PageView"), Kind::Invalid, "\"pageView\" is a standard event");
    assert_refused(named("itemviewed"), Kind::Invalid, "CREATE EVENT FROM TEMPLATE itemViewed");
    assert_refused(named("Events"), Kind::Invalid, "table of its own");
}

#[test]
fn a_title_has_1_to_100_characters_and_a_description_at_most_2000() {
    let with = |title: Option<String>, description: usize| {
        let description = Some("ž".repeat(description));
        create(&standard(), DefinitionRequest { title, description, ..seat(vec![]) }, NameRule::Strict)
    };
    assert!(with(Some("ž".repeat(100)), 2000).is_ok());
    assert_refused(with(Some("ž".repeat(101)), 0), Kind::Invalid, "1 to 100 characters, found 101");
    assert_refused(with(Some(String::new()), 0), Kind::Invalid, "1 to 100 characters, found 0");
    assert_refused(with(None, 0), Kind::Invalid, "needs a title");
    assert_refused(with(Some("T".to_owned()), 2001), Kind::Invalid, "at most 2000 characters, found 2001");
}

#[test]
fn an_event_has_at_most_120_properties() {
    let many = |count: usize| made((0..count).map(|at| text(&format!("p{at}"))).collect());
    assert_eq!(many(120).unwrap().properties.len(), 120);
    assert_refused(many(121), Kind::Invalid, "at most 120 properties, found 121");
    let full = standard().with(many(120).unwrap());
    assert_refused(add(&full, "seat", vec![text("more")], NameRule::Strict), Kind::Invalid, "found 121");
}

#[test]
fn an_event_has_at_most_one_list_of_1_to_128_fields() {
    assert!(made(vec![list("seats", 128), text("note")]).is_ok());
    assert!(made(vec![list("seats", 1)]).is_ok());
    assert_refused(made(vec![list("seats", 129)]), Kind::Invalid, "1 to 128 fields, found 129");
    assert_refused(made(vec![list("seats", 0)]), Kind::Invalid, "1 to 128 fields, found 0");
    assert_refused(made(vec![list("a", 1), list("b", 1)]), Kind::Invalid, "\"b\" is a second List");
    let registry = standard().with(made(vec![list("a", 1)]).unwrap());
    assert_refused(
        add(&registry, "seat", vec![list("b", 1)], NameRule::Strict),
        Kind::Invalid,
        "second List",
    );
}

#[test]
fn a_name_has_1_to_128_characters_and_keeps_the_pattern() {
    for good in ["a", "_", "_1", "aB_9", &"a".repeat(128)] {
        assert!(made(vec![text(good)]).is_ok(), "{good}");
    }
    for bad in ["A", "1a", "a-b", "a b", "a.b", "ž", "až", "", &"a".repeat(129)] {
        assert_eq!(made(vec![text(bad)]).unwrap_err().kind(), Kind::Invalid, "{bad}");
    }
}

#[test]
fn a_quoted_name_is_anything_of_1_to_128_characters_without_control_characters() {
    let named = |name: &str| create(&standard(), seat(vec![text(name)]), NameRule::Any);
    for good in ["A", "1a", "a-b", "group by", "a\"b", "a.b", "价格", &"ž".repeat(128)] {
        assert_eq!(named(good).unwrap().properties[0].name, good);
    }
    for bad in ["", "a\nb", "a\0b", "a\u{7f}", &"ž".repeat(129)] {
        assert_eq!(named(bad).unwrap_err().kind(), Kind::Invalid, "{bad:?}");
    }
}

#[test]
fn fields_of_a_list_are_named_like_properties_but_for_what_files_forbid() {
    let with = |names: &[&str], rule| {
        let fields = names.iter().map(|name| Field { name: (*name).to_owned(), kind: ScalarType::String });
        create(&standard(), seat(vec![Property::new("seats", PropertyType::List(fields.collect()))]), rule)
    };
    assert_refused(with(&["Row"], NameRule::Strict), Kind::Invalid, "\"Row\" cannot name a property");
    assert!(with(&["Row", "a.b"], NameRule::Any).is_ok());
    assert_refused(with(&["a b"], NameRule::Any), Kind::Invalid, "\"a b\" cannot name a field of a List");
    assert_refused(with(&["row", "Row"], NameRule::Any), Kind::Invalid, "the field \"Row\" twice");
    assert!(with(&[&"a".repeat(128)], NameRule::Strict).is_ok());
    assert_refused(with(&[&"a".repeat(129)], NameRule::Strict), Kind::Invalid, "has 129");
}

#[test]
fn br25_names_that_differ_only_by_case_are_refused_at_definition_time() {
    let both = create(&standard(), seat(vec![text("B"), text("b")]), NameRule::Any);
    assert_refused(both, Kind::Invalid, "the property \"b\" is there twice");
    let umlaut = create(&standard(), seat(vec![text("Ä"), text("ä")]), NameRule::Any);
    assert_refused(umlaut, Kind::Invalid, "there twice");
    assert_refused(made(vec![text("a"), text("a")]), Kind::Invalid, "there twice");
    let later = add(&with_seat(), "seat", vec![text("nOTE")], NameRule::Strict);
    assert_refused(later, Kind::Conflict, "names may not differ by case only");
    let registry = standard().with(made(vec![text("note")]).unwrap());
    for twice in ["note", "nOTE"] {
        let later = update(&registry, seat(vec![text("note"), text(twice)]), NameRule::Strict);
        assert_refused(later, Kind::Invalid, "is given twice");
    }
}

#[test]
fn br26_reserved_words_and_clashing_names_are_all_kept() {
    let names = ["externalPersonId", "eventId", "select", "order", "from", "group by", "a\"b", "a.b"];
    let properties: Vec<_> = names.iter().map(|name| text(name)).collect();
    assert_refused(made(properties.clone()), Kind::Invalid, "\"group by\" cannot name a property");
    let definition = create(&standard(), seat(properties), NameRule::Any).unwrap();
    let kept: Vec<_> = definition.properties.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(kept, names);
    let columns = Columns::of(&definition);
    let sql: Vec<_> = columns.properties().iter().map(|one| one.sql.as_str()).collect();
    assert_eq!(sql[..3], ["seat_externalPersonId", "seat_eventId", "select"]);
}

#[test]
fn br26_a_name_that_would_take_the_column_of_another_is_refused() {
    let both = made(vec![text("eventId"), text("seat_eventId")]);
    assert_refused(both, Kind::Invalid, "would share the column \"seat_eventId\"");
    let registry = standard().with(made(vec![text("seat_eventId")]).unwrap());
    assert_refused(
        add(&registry, "seat", vec![text("eventId")], NameRule::Strict),
        Kind::Invalid,
        "would share",
    );
}

#[test]
fn properties_are_added_at_the_end_and_never_twice() {
    let definition = add(&with_seat(), "seat", vec![text("extra")], NameRule::Strict).unwrap();
    let names: Vec<_> = definition.properties.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["note", "row", "extra"]);
    let again = add(&with_seat(), "seat", vec![text("note")], NameRule::Strict);
    assert_refused(again, Kind::Conflict, "has a property \"note\" (String) already");
    let unknown = add(&with_seat(), "seats", vec![text("x")], NameRule::Strict);
    assert_refused(unknown, Kind::NotFound, "did you mean \"seat\"?");
}

#[test]
fn a_change_adds_and_renames_but_neither_removes_nor_retypes() {
    let registry = with_seat();
    let old = registry.get("seat").unwrap().properties.clone();
    let mut asked = vec![text("extra")];
    asked.extend(old.iter().rev().cloned());
    let request = DefinitionRequest { title: Some("New".to_owned()), ..seat(asked) };
    let changed = update(&registry, request, NameRule::Strict).unwrap();
    assert_eq!(changed.title, "New");
    assert_eq!(changed.properties, [old[0].clone(), old[1].clone(), text("extra")]);
    assert_refused(
        update(&registry, seat(vec![text("note")]), NameRule::Strict),
        Kind::Invalid,
        "leaves out its property \"row\"",
    );
    assert_refused(
        update(&registry, seat(vec![text("note"), text("row")]), NameRule::Strict),
        Kind::Invalid,
        "has \"row\" as Numeric, which cannot become String",
    );
    let untitled = DefinitionRequest { title: None, ..seat(old) };
    assert_refused(update(&registry, untitled, NameRule::Strict), Kind::Invalid, "needs a title");
}

#[test]
fn a_list_keeps_its_fields() {
    let registry = standard().with(made(vec![list("seats", 1)]).unwrap());
    let wider = update(&registry, seat(vec![list("seats", 2)]), NameRule::Strict);
    assert_refused(wider, Kind::Invalid, "List (f0 String), which cannot become List (f0 String, f1 String)");
}

#[test]
fn a_name_that_was_quoted_once_does_not_hinder_later_changes() {
    let registry = standard().with(create(&standard(), seat(vec![text("Odd")]), NameRule::Any).unwrap());
    assert!(update(&registry, seat(vec![text("Odd"), text("even")]), NameRule::Strict).is_ok());
    assert!(add(&registry, "seat", vec![text("even")], NameRule::Strict).is_ok());
}

#[test]
fn standard_events_can_be_neither_modified_nor_made_again() {
    let registry = standard();
    let added = add(&registry, "pageView", vec![text("extra")], NameRule::Strict);
    assert_refused(added, Kind::Invalid, "cannot be modified");
    let request = DefinitionRequest { id: Some("emailOpened".parse().unwrap()), ..seat(vec![]) };
    assert_refused(apply(&registry, request, NameRule::Strict), Kind::Invalid, "cannot be modified");
}

#[test]
fn an_event_from_a_template_has_its_id_and_properties_and_more() {
    let registry = standard();
    let original = registry.template("itemPurchased").unwrap();
    let request = template("itemPurchased", vec![text("coupon")]);
    let definition = create(&registry, request.clone(), NameRule::Strict).unwrap();
    assert_eq!(definition.id.as_str(), "itemPurchased");
    assert_eq!(definition.title, original.title);
    assert_eq!(definition.category, Category::External);
    assert_eq!(definition.template, Some(original.id.clone()));
    assert!(definition.enabled);
    assert!(definition.property("itemID").unwrap().required);
    assert_eq!(definition.properties.len(), original.properties.len() + 1);
    let registry = registry.with(definition);
    assert!(registry.template("itemPurchased").is_ok());
    assert_refused(create(&registry, request, NameRule::Strict), Kind::Conflict, "defined already");
}

#[test]
fn a_request_with_a_template_says_nothing_else_and_keeps_types() {
    let registry = standard();
    let titled = DefinitionRequest { title: Some("T".to_owned()), ..template("itemViewed", vec![]) };
    assert_refused(create(&registry, titled, NameRule::Strict), Kind::Invalid, "leave them out");
    let named = DefinitionRequest { id: Some("x".parse().unwrap()), ..template("itemViewed", vec![]) };
    assert_refused(create(&registry, named, NameRule::Strict), Kind::Invalid, "leave them out");
    let retyped = template("itemViewed", vec![text("itemID")]);
    assert_refused(create(&registry, retyped, NameRule::Strict), Kind::Invalid, "cannot become String");
    let clashing = template("itemViewed", vec![text("itemId")]);
    assert_refused(create(&registry, clashing, NameRule::Strict), Kind::Invalid, "there twice");
    assert_refused(
        create(&registry, template("itemSeen", vec![]), NameRule::Strict),
        Kind::NotFound,
        "itemSeen",
    );
}

#[test]
fn an_event_from_a_template_keeps_the_templates_title_when_changed() {
    let registry = standard();
    let registry =
        registry.with(create(&registry, template("itemViewed", vec![]), NameRule::Strict).unwrap());
    let request = DefinitionRequest { id: Some("itemViewed".parse().unwrap()), ..seat(vec![text("coupon")]) };
    let changed = update(&registry, request, NameRule::Strict).unwrap();
    assert_eq!(changed.title, "Item viewed");
    assert!(changed.property("coupon").is_some());
}

#[test]
fn applying_the_same_again_changes_nothing() {
    let requests = vec![seat(vec![text("note")]), template("itemViewed", vec![text("coupon")])];
    let mut registry = standard();
    let first = apply_all(&registry, requests.clone(), NameRule::Strict).unwrap();
    assert_eq!(first.iter().map(Change::verb).collect::<Vec<_>>(), ["created", "created"]);
    for change in &first {
        registry = registry.with(change.definition().clone());
    }
    let second = apply_all(&registry, requests, NameRule::Strict).unwrap();
    assert!(second.iter().all(|change| matches!(change, Change::Unchanged(_))), "{second:?}");
    let wider = apply(&registry, seat(vec![text("note"), text("more")]), NameRule::Strict).unwrap();
    assert_eq!(wider.verb(), "updated");
}

#[test]
fn applying_without_an_id_finds_the_event_by_its_title() {
    let titled =
        |properties| DefinitionRequest { id: None, title: Some("Seat".to_owned()), ..seat(properties) };
    let changes = apply_all(
        &standard(),
        vec![titled(vec![text("a")]), titled(vec![text("a"), text("b")])],
        NameRule::Strict,
    );
    let changes = changes.unwrap();
    assert_eq!(changes[1].verb(), "updated");
    assert_eq!(changes[1].definition().properties.len(), 2);
}

#[test]
fn people_and_product_events_are_switched_and_channel_events_stay_on() {
    let registry = standard();
    let on = enable(&registry, "person*Flow", true).unwrap();
    assert_eq!(on.len(), 2);
    assert!(on.iter().all(|one| one.enabled));
    assert_eq!(enable(&registry, "email*ed", true).unwrap().len(), 3);
    assert_eq!(enable(&registry, "emailOpened", true).unwrap(), []);
    assert_refused(enable(&registry, "emailOpened", false), Kind::Invalid, "always on");
    assert_refused(enable(&registry, "nothing*", true), Kind::NotFound, "nothing*");
    let off = enable(&with_seat(), "seat", false).unwrap();
    assert!(!off[0].enabled);
}
