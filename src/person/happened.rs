//! What happened to a person, as the standard events tell it: the difference between two profiles.

use std::collections::BTreeSet;

use serde_json::Map;
use serde_json::Value;

use crate::person::Attribute;
use crate::person::Contact;
use crate::person::CustomAttributes;
use crate::person::IdentifierType;
use crate::person::Profile;

/// An event about a person: the id of a standard definition and its properties.
#[derive(Clone, Debug, PartialEq)]
pub struct Happened {
    pub definition: &'static str,
    pub properties: Map<String, Value>,
}

impl Happened {
    fn new<'a>(
        definition: &'static str,
        properties: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Self {
        let properties =
            properties.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
        Self { definition, properties: properties.collect() }
    }

    /// A profile came to be; what it was created with is told by this one event.
    pub fn created(profile: &Profile) -> Self {
        let properties = [
            ("origin", Some(profile.origin.as_str())),
            ("personType", Some(profile.kind.name())),
            ("externalId", profile.external_id.as_deref()),
        ];
        Self::new("personCreated", properties)
    }

    /// Another person was merged into this one.
    pub fn merged(other: &Profile, origin: &str) -> Self {
        let id = other.id.to_string();
        let properties = [
            ("mergedPersonId", Some(id.as_str())),
            ("mergedExternalId", other.external_id.as_deref()),
            ("origin", Some(origin)),
        ];
        Self::new("personMerged", properties)
    }
}

/// What changed from one profile to the next, in a fixed order.
pub fn changes(before: &Profile, after: &Profile, known: &CustomAttributes) -> Vec<Happened> {
    let mut events = Vec::new();
    let attributes: BTreeSet<&Attribute> = before.attributes.keys().chain(after.attributes.keys()).collect();
    for attribute in attributes {
        let (old, new) = (before.attributes.get(attribute), after.attributes.get(attribute));
        if let (Some(definition), true) = (definition_of(*attribute), old != new) {
            let properties = [
                ("attribute", Some(attribute.name())),
                ("oldValue", old.map(String::as_str)),
                ("newValue", new.map(String::as_str)),
            ];
            events.push(Happened::new(definition, properties));
        }
    }
    let names: BTreeSet<&String> = before.custom.keys().chain(after.custom.keys()).collect();
    for name in names {
        let (old, new) = (before.custom.get(name), after.custom.get(name));
        if old != new {
            let (old, new) = (old.map(text_of), new.map(text_of));
            let properties = [
                ("attribute", Some(name.as_str())),
                ("oldValue", old.as_deref()),
                ("newValue", new.as_deref()),
                ("attributeType", known.get(name).map(|one| one.data_type.name())),
            ];
            events.push(Happened::new("customAttributeChanged", properties));
        }
    }
    let tag = |definition, tag: &String| Happened::new(definition, [("tag", Some(tag.as_str()))]);
    events.extend(after.tags.difference(&before.tags).map(|one| tag("tagAdded", one)));
    events.extend(before.tags.difference(&after.tags).map(|one| tag("tagRemoved", one)));
    events.extend(contacts(before, after));
    for event in &mut events {
        event.properties.insert("origin".to_owned(), after.modified_from.clone().into());
    }
    events
}

/// The event that tells of a change of a standard attribute; the others have none.
fn definition_of(attribute: Attribute) -> Option<&'static str> {
    Some(match attribute {
        Attribute::FirstName | Attribute::LastName | Attribute::MiddleName => "nameChanged",
        Attribute::Address | Attribute::City | Attribute::Country => "locationChanged",
        Attribute::BirthDate => "birthDateChanged",
        Attribute::Gender => "genderChanged",
        Attribute::NickName | Attribute::PreferredLanguage | Attribute::ProfilePicture => return None,
    })
}

/// A text as it is, anything else as JSON.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Added and deleted contacts by channel. Where a person had exactly one of a kind and has exactly one other, that one
/// changed.
fn contacts(before: &Profile, after: &Profile) -> Vec<Happened> {
    let mut events = Vec::new();
    let kinds: BTreeSet<IdentifierType> =
        before.contacts.iter().chain(&after.contacts).map(|one| one.kind).collect();
    for kind in kinds {
        let of = |profile: &Profile| -> Vec<Contact> {
            profile.contacts.iter().filter(|one| one.kind == kind).cloned().collect()
        };
        let (old, new) = (of(before), of(after));
        let gone = old.iter().filter(|one| !new.iter().any(|other| other.is_same(one)));
        let come = new.iter().filter(|one| !old.iter().any(|other| other.is_same(one)));
        if old.len() == 1 && new.len() == 1 {
            events.extend(gone.zip(come).flat_map(|(one, other)| contact(kind, Some(one), Some(other))));
        } else {
            events.extend(come.flat_map(|one| contact(kind, None, Some(one))));
            events.extend(gone.flat_map(|one| contact(kind, Some(one), None)));
        }
    }
    events
}

/// The event of the channel, if it has one, and the one of all channels.
fn contact(kind: IdentifierType, old: Option<&Contact>, new: Option<&Contact>) -> Vec<Happened> {
    let (change, at) = match (old, new) {
        (None, _) => ("added", 0),
        (Some(_), Some(_)) => ("changed", 1),
        (Some(_), None) => ("deleted", 2),
    };
    let value = |one: Option<&'_ Contact>| one.map(|one| one.id.clone());
    let (old_value, new_value) = (value(old), value(new));
    let values = [("oldValue", old_value.as_deref()), ("newValue", new_value.as_deref())];
    let mut events = Vec::new();
    if let Some((definitions, sender_is)) = events_of(kind) {
        let sender = new.or(old).map(|one| one.sender.as_str()).filter(|sender| !sender.is_empty());
        let sender = sender_is.map(|name| (name, sender));
        events.push(Happened::new(definitions[at], values.into_iter().chain(sender)));
    }
    let what = [("contactType", Some(kind.name())), ("change", Some(change))];
    events.push(Happened::new("contactInformationChanged", what.into_iter().chain(values)));
    events
}

/// The events of a channel (added, changed, deleted), and what they call the sender.
fn events_of(kind: IdentifierType) -> Option<([&'static str; 3], Option<&'static str>)> {
    Some(match kind {
        IdentifierType::Email => (["emailAdded", "emailChanged", "emailDeleted"], None),
        IdentifierType::Phone => (["phoneAdded", "phoneChanged", "phoneDeleted"], None),
        IdentifierType::Push => (["pushAdded", "pushChanged", "pushDeleted"], Some("applicationId")),
        IdentifierType::Facebook => (["facebookAdded", "facebookChanged", "facebookDeleted"], Some("pageId")),
        _ => return None,
    })
}
