//! `Profile`, what is known of a person as people see it, and `Doc`, what one record of the catalog keeps of it.
//!
//! A merged person has one `Doc` for each of the persons that became one. The profile is computed from all of them
//! ([`Profile::of`]): for each attribute the strongest value wins, by a rule that does not ask in which order they
//! were merged. So merging needs no writing of values, and undoing it brings back what each had.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

use crate::ids::PersonId;
use crate::person::Attribute;
use crate::person::Contact;
use crate::person::PersonKind;
use crate::time::Micros;

/// Where a profile comes from when nobody says.
pub(crate) const DEFAULT_ORIGIN: &str = "API";

/// A person as people see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    pub id: PersonId,
    pub external_id: Option<String>,
    pub kind: PersonKind,
    pub attributes: BTreeMap<Attribute, String>,
    /// Checked against the custom attributes when they were written; never null.
    pub custom: BTreeMap<String, Value>,
    pub tags: BTreeSet<String>,
    /// In the order in which they were added.
    pub contacts: Vec<Contact>,
    pub origin: String,
    pub modified_from: String,
    pub created: Micros,
    pub modified: Micros,
}

impl Profile {
    /// A person about whom nothing is known.
    pub fn new(id: PersonId, created: Micros) -> Self {
        Self {
            id,
            external_id: None,
            kind: PersonKind::default(),
            attributes: BTreeMap::new(),
            custom: BTreeMap::new(),
            tags: BTreeSet::new(),
            contacts: Vec::new(),
            origin: DEFAULT_ORIGIN.to_owned(),
            modified_from: DEFAULT_ORIGIN.to_owned(),
            created,
            modified: created,
        }
    }

    /// Whether both say the same of the person, whenever and from wherever it was said.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.external_id == other.external_id
            && self.kind == other.kind
            && self.attributes == other.attributes
            && self.custom == other.custom
            && self.tags == other.tags
            && self.contacts == other.contacts
    }
}

/// What the catalog keeps of one person, besides its id, external id, contacts and the time of its creation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Doc {
    #[serde(default, rename = "type")]
    pub kind: PersonKind,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<Attribute, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub custom: BTreeMap<String, Value>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub origin: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub modified_from: String,
    /// When its own values were last written, which is their strength in a merge.
    #[serde(default)]
    pub modified: i64,
    /// When anything of it was last written.
    #[serde(default)]
    pub touched: i64,
    /// The type that it had before another was written to the merged person: that of its values' strength.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<PersonKind>,
    /// Values that were written while the person stood for others too; one without a value was emptied then.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub later: BTreeMap<String, Later>,
}

/// When a value was written to a merged person, and whether that was a customer then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Later {
    pub at: i64,
    pub customer: bool,
}

/// One of the persons that a profile is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub id: PersonId,
    pub created: Micros,
    pub external_id: Option<String>,
    pub contacts: Vec<Contact>,
    pub doc: Doc,
}

/// The key of the external id among the values that were written later; no attribute is called so.
pub(crate) const EXTERNAL_ID: &str = "externalId";

/// The key of a custom attribute, which may be called like a standard one.
pub(crate) fn custom_key(name: &str) -> String {
    format!("custom:{name}")
}

/// How strong a value is: a customer's beats a lead's, the later one wins, and what was written to the merged person
/// beats what was there at the same moment. Of equals, the one of the person who was created first.
type Strength = (bool, i64, bool, std::cmp::Reverse<(i64, i64)>);

impl Member {
    /// Who is first: the one created first, and whoever is known before those who are not.
    pub fn age(&self) -> (bool, Micros, PersonId) {
        (self.doc.kind == PersonKind::Visitor, self.created, self.id)
    }

    fn strength(&self, key: &str) -> (Strength, bool) {
        let age = std::cmp::Reverse((self.created.0, self.id.0));
        match self.doc.later.get(key) {
            Some(later) => ((later.customer, later.at, true, age), true),
            None => ((self.doc.strength() == PersonKind::Customer, self.doc.modified, false, age), false),
        }
    }
}

/// The strongest value of those that members have; an emptied one counts, one that was never there does not.
fn strongest<T>(members: &[Member], key: &str, value: impl Fn(&Member) -> Option<T>) -> Option<T> {
    let candidates = members.iter().filter_map(|member| {
        let (strength, written) = member.strength(key);
        let value = value(member);
        (written || value.is_some()).then_some((strength, value))
    });
    candidates.max_by_key(|(strength, _)| *strength).and_then(|(_, value)| value)
}

impl Profile {
    /// The profile of persons who are one; of one alone, simply its own. `None` of nobody.
    ///
    /// The one created first gives id, creation time and origin. Emails, phones, tags and the like are united.
    pub fn of(members: &[Member]) -> Option<Self> {
        let first = members.iter().min_by_key(|one| one.age())?;
        if let [one] = members {
            return Some(one.profile());
        }
        let kind = members.iter().map(|one| one.doc.kind).max().unwrap_or_default();
        let mut attributes = BTreeMap::new();
        for attribute in
            members.iter().flat_map(|one| one.doc.attributes.keys()).copied().collect::<BTreeSet<_>>()
        {
            let value = |one: &Member| one.doc.attributes.get(&attribute).cloned();
            if let Some(value) = strongest(members, attribute.name(), value) {
                attributes.insert(attribute, value);
            }
        }
        let mut custom = BTreeMap::new();
        for name in members.iter().flat_map(|one| one.doc.custom.keys()).collect::<BTreeSet<_>>() {
            let value = |one: &Member| one.doc.custom.get(name).cloned();
            if let Some(value) = strongest(members, &custom_key(name), value) {
                custom.insert(name.clone(), value);
            }
        }
        let tags = members.iter().flat_map(|one| &one.doc.tags);
        let mut by_age: Vec<&Member> = members.iter().collect();
        by_age.sort_by_key(|one| one.age());
        let mut contacts: Vec<Contact> = by_age.iter().flat_map(|one| one.contacts.iter().cloned()).collect();
        one_primary_a_kind(&mut contacts);
        let last = members.iter().max_by_key(|one| (one.doc.touched, std::cmp::Reverse(one.id)));
        Some(Self {
            id: first.id,
            external_id: strongest(members, EXTERNAL_ID, |one| one.external_id.clone()),
            kind,
            attributes,
            custom,
            tags: tags.cloned().collect(),
            contacts,
            origin: origin(&first.doc.origin),
            modified_from: origin(last.map_or("", |one| &one.doc.modified_from)),
            created: first.created,
            modified: Micros(last.map_or(0, |one| one.doc.touched).max(first.created.0)),
        })
    }
}

fn origin(text: &str) -> String {
    if text.is_empty() { DEFAULT_ORIGIN.to_owned() } else { text.to_owned() }
}

/// Of the contacts of a kind that claim to be the first to use, the first is.
pub(crate) fn one_primary_a_kind(contacts: &mut [Contact]) {
    let mut seen = BTreeSet::new();
    for contact in contacts {
        contact.primary = contact.primary && seen.insert(contact.kind);
    }
}

impl Member {
    fn profile(&self) -> Profile {
        let Doc { kind, attributes, custom, tags, origin: from, modified_from, touched, .. } = &self.doc;
        Profile {
            id: self.id,
            external_id: self.external_id.clone(),
            kind: *kind,
            attributes: attributes.clone(),
            custom: custom.clone(),
            tags: tags.clone(),
            contacts: self.contacts.clone(),
            origin: origin(from),
            modified_from: origin(modified_from),
            created: self.created,
            modified: Micros((*touched).max(self.created.0)),
        }
    }
}

impl Doc {
    /// What the record of the person keeps when its profile changes from `before` to `after` at a moment. While the
    /// person stands for others, only what changed is written, with its time, and as strong as a value of the strongest
    /// of them (`merged`).
    #[must_use]
    pub fn changed(
        mut self,
        before: &Profile,
        after: &Profile,
        merged: Option<PersonKind>,
        now: Micros,
    ) -> Self {
        self.touched = now.0;
        self.modified_from.clone_from(&after.modified_from);
        let Some(strongest) = merged else {
            self.kind = after.kind;
            self.attributes.clone_from(&after.attributes);
            self.custom.clone_from(&after.custom);
            self.tags.clone_from(&after.tags);
            self.origin.clone_from(&after.origin);
            self.modified = now.0;
            self.later.clear();
            self.was = None;
            return self;
        };
        let later = Later { at: now.0, customer: after.kind.max(strongest) == PersonKind::Customer };
        if before.kind != after.kind {
            self.was = Some(self.strength());
            self.kind = after.kind;
        }
        if before.external_id != after.external_id {
            self.later.insert(EXTERNAL_ID.to_owned(), later);
        }
        for attribute in before.attributes.keys().chain(after.attributes.keys()) {
            let value = after.attributes.get(attribute);
            if before.attributes.get(attribute) != value {
                self.later.insert(attribute.name().to_owned(), later);
                match value {
                    Some(value) => self.attributes.insert(*attribute, value.clone()),
                    None => self.attributes.remove(attribute),
                };
            }
        }
        for name in before.custom.keys().chain(after.custom.keys()) {
            let value = after.custom.get(name);
            if before.custom.get(name) != value {
                self.later.insert(custom_key(name), later);
                match value {
                    Some(value) => self.custom.insert(name.clone(), value.clone()),
                    None => self.custom.remove(name),
                };
            }
        }
        for tag in after.tags.difference(&before.tags) {
            self.tags.insert(tag.clone());
        }
        self.without(before, after)
    }

    /// The same without what a merged person has no longer: what is united is taken from every record.
    #[must_use]
    pub fn without(mut self, before: &Profile, after: &Profile) -> Self {
        for tag in before.tags.difference(&after.tags) {
            self.tags.remove(tag);
        }
        if self.kind > after.kind {
            self.was = Some(self.strength());
            self.kind = after.kind;
        }
        self
    }

    /// The type that says how strong its values are in a merge.
    pub fn strength(&self) -> PersonKind {
        self.was.unwrap_or(self.kind)
    }
}

#[cfg(test)]
mod tests;
