//! `Persons`: every known person and identifier in memory, for resolution while importing and look-up while asking.
//!
//! The catalog is the truth; this is loaded from it at start and kept in step by whoever writes. A clone costs a few
//! reference counts and never changes afterwards: the next addition goes into a new segment, and segments of like
//! size are merged, each person a few times in all. So a writer may publish a version after every batch.

use std::sync::Arc;

use crate::ids::PersonId;
use crate::person::Identifier;
use crate::person::IdentifierType;
use crate::person::segment::SEGMENT_LIMIT;
use crate::person::segment::Segment;
use crate::person::segment::name_hash;
use crate::time::Micros;

/// A segment at least a quarter as heavy as the one before it is merged into that: few segments, few copies.
const MERGE_RATIO: usize = 4;

/// One person as far as events need to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub id: PersonId,
    pub external_id: Option<String>,
    pub created: Micros,
}

/// A [`Person`] as the index holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PersonRef<'a> {
    pub id: PersonId,
    pub external_id: Option<&'a str>,
    pub created: Micros,
}

/// All persons by id, and by identifier.
#[derive(Clone, Debug, Default)]
pub struct Persons {
    /// Oldest first; where two disagree, the later one is right. Only the last may change, and only while nobody
    /// else holds it.
    segments: Vec<Arc<Segment>>,
    count: usize,
    last: i64,
}

impl Persons {
    /// Room for so many persons at once, for loading.
    pub fn with_capacity(persons: usize) -> Self {
        Self { segments: vec![Arc::new(Segment::with_capacity(persons))], count: 0, last: 0 }
    }

    /// Adds a person and the identifiers that lead to it (its external id among them, if it has one). A person with
    /// the same id is replaced; its older identifiers still lead to it.
    pub fn add(&mut self, person: Person, identifiers: impl IntoIterator<Item = Identifier>) {
        self.put(person.id, person.external_id.as_deref(), person.created);
        for identifier in identifiers {
            self.attach(person.id, identifier.kind, &identifier.id, &identifier.sender);
        }
    }

    /// [`Persons::add`] without owned texts and without further identifiers.
    pub fn put(&mut self, id: PersonId, external_id: Option<&str>, created: Micros) {
        if !self.contains(id) {
            self.count += 1;
        }
        self.last = self.last.max(id.0);
        self.open(|segment| segment.put(id, external_id, created));
    }

    /// Makes an identifier lead to a person; `sender` is empty for the kinds that need none.
    pub fn attach(&mut self, person: PersonId, kind: IdentifierType, id: &str, sender: &str) {
        self.open(|segment| {
            segment.attach(person, kind, id, sender);
        });
    }

    pub fn get(&self, id: PersonId) -> Option<PersonRef<'_>> {
        self.segments.iter().rev().find_map(|segment| segment.get(id))
    }

    pub fn contains(&self, id: PersonId) -> bool {
        self.segments.iter().rev().any(|segment| segment.contains(id))
    }

    /// The external id of a person, if it has one.
    pub fn external_id(&self, id: PersonId) -> Option<&str> {
        self.get(id).and_then(|person| person.external_id)
    }

    pub fn find(&self, identifier: &Identifier) -> Option<PersonId> {
        self.find_by(identifier.kind, &identifier.id, &identifier.sender)
    }

    /// The person that an identifier leads to; `sender` is empty for the kinds that need none. An `ID` is our own
    /// `personId`, written as export files write it.
    pub fn find_by(&self, kind: IdentifierType, id: &str, sender: &str) -> Option<PersonId> {
        if kind == IdentifierType::Id {
            let person = PersonId(id.parse().ok()?);
            return (self.contains(person) && !id.starts_with(['+', '0'])).then_some(person);
        }
        let hash = name_hash(kind, id, sender);
        self.segments.iter().rev().find_map(|segment| segment.find(hash, kind, id, sender))
    }

    /// The id that the next new person gets: one above the greatest.
    pub fn next_id(&self) -> PersonId {
        PersonId(self.last.saturating_add(1))
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Every person once, in no promised order.
    pub fn iter(&self) -> impl Iterator<Item = PersonRef<'_>> {
        self.segments.iter().enumerate().flat_map(|(index, segment)| {
            let newer = &self.segments[index + 1..];
            segment.iter().filter(move |person| !newer.iter().any(|later| later.contains(person.id)))
        })
    }

    /// Changes the last segment, or a new one if a clone of this index holds the last.
    fn open(&mut self, change: impl FnOnce(&mut Segment)) {
        if let Some(last) = self.segments.last_mut().and_then(Arc::get_mut)
            && last.weight() < SEGMENT_LIMIT
        {
            return change(last);
        }
        self.merge();
        let mut segment = Segment::default();
        change(&mut segment);
        self.segments.push(Arc::new(segment));
    }

    /// Merges from the end while the last segment is not much lighter than the one before it.
    fn merge(&mut self) {
        while let [.., older, newer] = self.segments.as_slice() {
            let both = older.weight() + newer.weight();
            if newer.weight().saturating_mul(MERGE_RATIO) < older.weight() || both >= SEGMENT_LIMIT {
                return;
            }
            let merged = Arc::new(Segment::merge(older, newer));
            self.segments.truncate(self.segments.len() - 2);
            self.segments.push(merged);
        }
    }
}

#[cfg(test)]
mod tests;
