//! `Persons`: every known person and identifier in memory, for resolution while importing and look-up while asking.
//!
//! The catalog is the truth; this is loaded from it at start and kept in step by whoever writes.

use hashbrown::HashMap;

use crate::ids::PersonId;
use crate::person::Identifier;
use crate::person::IdentifierType;
use crate::time::Micros;

/// One person as far as events need to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub id: PersonId,
    pub external_id: Option<String>,
    pub created: Micros,
}

/// All persons by id, and by identifier.
#[derive(Clone, Debug, Default)]
pub struct Persons {
    by_id: HashMap<PersonId, Person>,
    by_identifier: HashMap<Identifier, PersonId>,
    last: i64,
}

impl Persons {
    /// Adds a person and the identifiers that lead to it (its external id among them, if it has one).
    pub fn add(&mut self, person: Person, identifiers: impl IntoIterator<Item = Identifier>) {
        let id = person.id;
        self.last = self.last.max(id.0);
        if let Some(external) = &person.external_id {
            self.by_identifier.insert(
                Identifier { kind: IdentifierType::ExternalId, id: external.clone(), sender: String::new() },
                id,
            );
        }
        self.by_identifier.extend(identifiers.into_iter().map(|identifier| (identifier, id)));
        self.by_id.insert(id, person);
    }

    pub fn get(&self, id: PersonId) -> Option<&Person> {
        self.by_id.get(&id)
    }

    pub fn find(&self, identifier: &Identifier) -> Option<PersonId> {
        self.by_identifier.get(identifier).copied()
    }

    /// The id that the next new person gets.
    pub fn next_id(&self) -> PersonId {
        PersonId(self.last + 1)
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Person> {
        self.by_id.values()
    }
}
