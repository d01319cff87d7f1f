//! Which keys a row may have, and whom it is about.

use super::*;

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
fn a_key_as_long_as_its_row_is_shown_by_its_beginning() {
    let checked = sale_row(&format!("{{\"{}\":1}}", "é".repeat(200_000)));
    let refusal = refused(&checked);
    assert_eq!(refusal.code, Code::UnknownProperty);
    assert!(refusal.message.chars().count() <= 2_001 && refusal.message.ends_with('…'));
    assert_eq!(refusal.property.as_ref().map(|name| name.chars().count()), Some(401));
    assert_eq!(checked.rejections[0].raw.len(), row("{\"\":1}").len() - 1 + 400_000);
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
