//! PUT and PATCH as published, and that nobody gets what belongs to another.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::person::CustomAttribute;
use crate::person::CustomType;
use crate::time::Micros;

fn nobody(_: IdentifierType, _: &str, _: &str) -> Option<PersonId> {
    None
}

fn known() -> CustomAttributes {
    let tier = CustomAttribute::new("tier", CustomType::String, BTreeMap::new()).unwrap();
    CustomAttributes::default().with(tier).unwrap()
}

fn ana() -> Profile {
    let mut ana = Profile::new(PersonId(1), Micros(0));
    ana.external_id = Some("crm-1".to_owned());
    ana.attributes.insert(Attribute::FirstName, "Ana".to_owned());
    ana.custom.insert("tier".to_owned(), json!("gold"));
    ana.tags.insert("vip".to_owned());
    ana.contacts = vec![Contact::email("ana@example.com"), push("reg-1")];
    ana
}

fn push(id: &str) -> Contact {
    Contact { kind: IdentifierType::Push, id: id.to_owned(), sender: "app".to_owned(), primary: false }
}

fn write(json: Value) -> PersonWrite {
    PersonWrite::from_json(&json).unwrap()
}

#[test]
fn a_put_empties_what_it_does_not_say() {
    let put = write(
        json!({"externalId": "crm-1", "lastName": "Horvat", "contactInformation": {"phone": [{"number": "385911"}]}}),
    );
    let after = decide(&ana(), &put, Mode::Replace, &known(), &nobody).unwrap();
    assert_eq!(after.attributes, BTreeMap::from([(Attribute::LastName, "Horvat".to_owned())]));
    assert!(after.custom.is_empty() && after.tags.is_empty());
    assert_eq!(after.external_id.as_deref(), Some("crm-1"));
    assert_eq!(after.contacts, [push("reg-1"), Contact::phone("385911")]);
    let nothing = decide(&ana(), &PersonWrite::default(), Mode::Replace, &known(), &nobody).unwrap();
    assert_eq!((nothing.external_id, nothing.contacts), (None, vec![push("reg-1")]));
}

#[test]
fn a_patch_keeps_what_it_does_not_say_and_adds_tags_and_contacts() {
    let patch = write(json!({"lastName": "Horvat", "tags": ["new"], "customAttributes": {"tier": null},
        "contactInformation": {"email": [{"address": "ana@home.example"}]}}));
    let after = decide(&ana(), &patch, Mode::Update, &known(), &nobody).unwrap();
    assert_eq!(after.attributes.len(), 2);
    assert!(after.custom.is_empty());
    assert_eq!(after.tags.iter().map(String::as_str).collect::<Vec<_>>(), ["new", "vip"]);
    assert_eq!(after.contacts.len(), 3);
    let emptied = decide(&ana(), &write(json!({"firstName": ""})), Mode::Update, &known(), &nobody).unwrap();
    assert!(emptied.attributes.is_empty());
}

#[test]
fn what_belongs_to_another_person_is_refused_in_the_published_words() {
    let of_another = |_: IdentifierType, _: &str, _: &str| Some(PersonId(2));
    let patch = write(
        json!({"externalId": "crm-2", "contactInformation": {"email": [{"address": "b@example.com"}]}}),
    );
    let faults = decide(&ana(), &patch, Mode::Update, &known(), &of_another).unwrap_err();
    assert!(faults.iter().all(|fault| fault.code == FaultCode::Taken));
    assert_eq!(faults[1].message, "Destination(email) \"b@example.com\" already exists.");
}

#[test]
fn every_fault_of_a_write_is_told_and_nothing_is_kept_of_it() {
    let wrong = write(
        json!({"firstName": "A<b>", "gender": "X", "tags": [""], "customAttributes": {"teir": 1, "tier": 5},
        "contactInformation": [{"type": "EMAIL", "identifier": "nope"}]}),
    );
    let faults = decide(&ana(), &wrong, Mode::Update, &known(), &nobody).unwrap_err();
    let places: Vec<&str> = faults.iter().map(|fault| fault.property.as_str()).collect();
    let expected = [
        "firstName",
        "gender",
        "customAttributes.teir",
        "customAttributes.tier",
        "tags[0]",
        "contactInformation[0].identifier",
    ];
    assert_eq!(places, expected);
}

#[test]
fn a_person_has_at_most_a_hundred_emails() {
    let emails = |count: usize| PersonWrite {
        contacts: Some((0..count).map(|at| Contact::email(format!("a{at}@example.com"))).collect()),
        ..PersonWrite::default()
    };
    let empty = Profile::new(PersonId(1), Micros(0));
    assert!(decide(&empty, &emails(100), Mode::Update, &known(), &nobody).is_ok());
    assert!(decide(&empty, &emails(101), Mode::Update, &known(), &nobody).is_err());
}
