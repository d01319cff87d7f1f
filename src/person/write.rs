//! What a write of a person says, and what the profile is after it: decided without any I/O.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde_json::Value;

use crate::ids::PersonId;
use crate::ids::is_identifier;
use crate::person::Attribute;
use crate::person::Contact;
use crate::person::CustomAttributes;
use crate::person::IdentifierType;
use crate::person::PersonKind;
use crate::person::Profile;
use crate::person::attribute::within;
use crate::person::contact::CONTACTS_OF_A_KIND;
use crate::person::profile::one_primary_a_kind;

/// The most characters of a tag.
pub(crate) const TAG_CHARS: usize = 256;

/// What a caller says of a person. What is `None` is not said at all; an inner `None` empties.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PersonWrite {
    pub external_id: Option<Option<String>>,
    pub kind: Option<PersonKind>,
    pub attributes: BTreeMap<Attribute, Option<String>>,
    pub custom: BTreeMap<String, Option<Value>>,
    pub tags: Option<Vec<String>>,
    pub contacts: Option<Vec<Contact>>,
}

/// What a write does with that which it does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is emptied: attributes, tags, emails and phones. Contacts of other channels stay while none of their kind
    /// is given.
    Replace,
    /// It stays, and tags and contacts are added to those that are there.
    Update,
}

/// What kind of thing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultCode {
    /// A value that does not fit.
    Invalid,
    /// A thing that must be said and is not.
    Missing,
    /// Something that must be unique is another person's.
    Taken,
    /// It names something that is not there.
    NotFound,
}

/// Why a write was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub code: FaultCode,
    /// Where, as the caller wrote it: `contactInformation[0].identifier`; empty for the whole.
    pub property: String,
    pub message: String,
}

impl Fault {
    pub(crate) fn new(code: FaultCode, property: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, property: property.into(), message: message.into() }
    }

    pub(crate) fn invalid(property: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FaultCode::Invalid, property, message)
    }
}

/// Whose an identifier is.
pub trait Owners {
    fn owner(&self, kind: IdentifierType, id: &str, sender: &str) -> Option<PersonId>;
}

impl<F: Fn(IdentifierType, &str, &str) -> Option<PersonId>> Owners for F {
    fn owner(&self, kind: IdentifierType, id: &str, sender: &str) -> Option<PersonId> {
        self(kind, id, sender)
    }
}

/// The profile after a write, or everything that is wrong with it. `modified` is left as it was.
pub fn decide(
    before: &Profile,
    write: &PersonWrite,
    mode: Mode,
    known: &CustomAttributes,
    owners: &impl Owners,
) -> Result<Profile, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut after = before.clone();
    if mode == Mode::Replace {
        after.attributes.clear();
        after.custom.clear();
        after.tags.clear();
        after.external_id = None;
        after.kind = PersonKind::default();
    }
    if let Some(kind) = write.kind {
        after.kind = kind;
    }
    match &write.external_id {
        Some(Some(id)) if !is_identifier(id) => {
            let message = "externalId has 1 to 256 characters and no control character";
            faults.push(Fault::invalid("externalId", message));
        }
        Some(Some(id)) => {
            let owner = owners.owner(IdentifierType::ExternalId, id, "");
            match owner {
                Some(owner) if owner != before.id => faults.push(taken("externalId", "External id", id)),
                Some(_) if before.external_id.as_ref() != Some(id) => {
                    let message =
                        format!("\"{id}\" is the external id of a person that was merged into this one");
                    faults.push(Fault::new(FaultCode::Taken, "externalId", message));
                }
                _ => after.external_id = Some(id.clone()),
            }
        }
        Some(None) => after.external_id = None,
        None => {}
    }
    for (attribute, value) in &write.attributes {
        match value.as_deref().filter(|value| !value.is_empty()).map(|value| attribute.check(value)) {
            None => {
                after.attributes.remove(attribute);
            }
            Some(Ok(value)) => {
                after.attributes.insert(*attribute, value);
            }
            Some(Err(message)) => faults.push(Fault::invalid(attribute.name(), message)),
        }
    }
    for (name, value) in &write.custom {
        let property = || format!("customAttributes.{name}");
        match (known.get(name), value) {
            (None, _) => faults.push(Fault::invalid(property(), known.unknown(name))),
            (Some(_), None | Some(Value::Null)) => {
                after.custom.remove(name);
            }
            (Some(attribute), Some(value)) => match attribute.check(value) {
                Ok(value) => {
                    after.custom.insert(name.clone(), value);
                }
                Err(message) => faults.push(Fault::invalid(property(), message)),
            },
        }
    }
    for (at, tag) in write.tags.iter().flatten().enumerate() {
        match check_tag(tag) {
            Ok(()) => {
                after.tags.insert(tag.clone());
            }
            Err(message) => faults.push(Fault::invalid(format!("tags[{at}]"), message)),
        }
    }
    if mode == Mode::Replace || write.contacts.is_some() {
        let given = write.contacts.as_deref().unwrap_or_default();
        match contacts(before, given, mode, owners) {
            Ok(contacts) => after.contacts = contacts,
            Err(more) => faults.extend(more),
        }
    }
    if faults.is_empty() { Ok(after) } else { Err(faults) }
}

/// Why a text is no tag.
pub fn check_tag(tag: &str) -> Result<(), String> {
    if tag.is_empty() {
        return Err("a tag has at least one character".to_owned());
    }
    within("a tag", tag, TAG_CHARS)
}

fn taken(property: impl Into<String>, what: &str, id: &str) -> Fault {
    Fault::new(FaultCode::Taken, property, format!("{what} \"{id}\" already exists."))
}

/// The contacts after a write: given ones are added, those that a replacing write leaves out are gone.
fn contacts(
    before: &Profile,
    given: &[Contact],
    mode: Mode,
    owners: &impl Owners,
) -> Result<Vec<Contact>, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut kinds: BTreeSet<IdentifierType> = given.iter().map(|one| one.kind).collect();
    kinds.extend([IdentifierType::Email, IdentifierType::Phone]);
    let stays = |one: &&Contact| {
        mode == Mode::Update || !kinds.contains(&one.kind) || given.iter().any(|other| other.is_same(one))
    };
    let mut after: Vec<Contact> = before.contacts.iter().filter(stays).cloned().collect();
    let firsts: BTreeSet<IdentifierType> =
        given.iter().filter(|one| one.primary).map(|one| one.kind).collect();
    for contact in &mut after {
        contact.primary &= !firsts.contains(&contact.kind);
    }
    for (at, contact) in given.iter().enumerate() {
        let property = || format!("contactInformation[{at}].identifier");
        if let Err(message) = contact.check() {
            faults.push(Fault::invalid(property(), message));
            continue;
        }
        let owner = owners.owner(contact.kind, &contact.id, &contact.sender);
        if owner.is_some_and(|owner| owner != before.id) {
            let what = format!("Destination({})", contact.kind.name().to_lowercase());
            faults.push(taken(property(), &what, &contact.id));
            continue;
        }
        match after.iter_mut().find(|one| one.is_same(contact)) {
            Some(there) => there.primary |= contact.primary,
            None => after.push(contact.clone()),
        }
    }
    one_primary_a_kind(&mut after);
    for kind in kinds {
        let count = after.iter().filter(|one| one.kind == kind).count();
        let grew = count > before.contacts.iter().filter(|one| one.kind == kind).count();
        if grew && count > CONTACTS_OF_A_KIND {
            let message = format!(
                "a person has at most {CONTACTS_OF_A_KIND} contacts of the type {kind}, found {count}"
            );
            faults.push(Fault::invalid("contactInformation", message));
        }
    }
    if faults.is_empty() { Ok(after) } else { Err(faults) }
}

#[cfg(test)]
mod tests;
