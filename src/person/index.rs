//! `Persons`: every known person and identifier in memory, for resolution while importing and look-up while asking.
//!
//! The catalog is the truth; this is loaded from it at start and kept in step by whoever writes. A clone costs a few
//! reference counts and never changes afterwards: the next addition goes into a new segment, and segments of like
//! size are merged, each person a few times in all. So a writer may publish a version after every batch.

use std::sync::Arc;

use crate::ids::PersonId;
use crate::person::Aliases;
use crate::person::Identifier;
use crate::person::IdentifierType;
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
    aliases: Arc<Aliases>,
}

/// A `personId` as export files write it.
pub(crate) fn own_id(text: &str) -> Option<PersonId> {
    let id = text.parse().ok().filter(|_| !text.starts_with(['+', '0']))?;
    Some(PersonId(id))
}

/// Whom an identifier leads to that was taken from its person.
const NOBODY: PersonId = PersonId(0);

impl Persons {
    /// Room for so many persons at once, for loading.
    pub fn with_capacity(persons: usize) -> Self {
        Self { segments: vec![Arc::new(Segment::with_capacity(persons))], ..Self::default() }
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
        if self.aliases.is_deleted(id) {
            Arc::make_mut(&mut self.aliases).undelete(id);
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

    /// Makes an identifier lead to nobody.
    pub(crate) fn detach(&mut self, kind: IdentifierType, id: &str, sender: &str) {
        self.attach(NOBODY, kind, id, sender);
    }

    /// The person is no more; its id is not given out again, and identifiers must be detached one by one.
    pub(crate) fn delete(&mut self, id: PersonId) {
        if self.contains(id) && Arc::make_mut(&mut self.aliases).delete(id) {
            self.count -= 1;
        }
    }

    pub fn get(&self, id: PersonId) -> Option<PersonRef<'_>> {
        if self.aliases.is_deleted(id) {
            return None;
        }
        self.segments.iter().rev().find_map(|segment| segment.get(id))
    }

    pub fn contains(&self, id: PersonId) -> bool {
        !self.aliases.is_deleted(id) && self.segments.iter().rev().any(|segment| segment.contains(id))
    }

    /// The external id that a person is shown with, if it has one; of a merged person, that of the one that stands
    /// for it.
    pub fn external_id(&self, id: PersonId) -> Option<&str> {
        let id = self.resolve(id);
        match self.aliases.shown(id) {
            Some(shown) => shown,
            None => self.get(id).and_then(|person| person.external_id),
        }
    }

    /// The person that an id stands for: the id itself, unless it was merged into another. Events are stored under
    /// the id that they came with, so whoever reads them resolves it before sorting or counting.
    pub fn resolve(&self, id: PersonId) -> PersonId {
        self.aliases.resolve(id)
    }

    /// Who was merged into whom.
    pub fn aliases(&self) -> &Arc<Aliases> {
        &self.aliases
    }

    /// The same persons, merged as these aliases say; with none, events are read under the ids that they came with.
    pub(crate) fn merged_as(&self, aliases: Aliases) -> Self {
        let mut persons = self.clone();
        persons.aliases_mut().replace(aliases);
        persons
    }

    pub(crate) fn aliases_mut(&mut self) -> &mut Aliases {
        Arc::make_mut(&mut self.aliases)
    }

    /// The person that an identifier leads to, merges followed.
    pub fn owner(&self, kind: IdentifierType, id: &str, sender: &str) -> Option<PersonId> {
        self.find_by(kind, id, sender).map(|found| self.resolve(found))
    }

    pub fn find(&self, identifier: &Identifier) -> Option<PersonId> {
        self.find_by(identifier.kind, &identifier.id, &identifier.sender)
    }

    /// The person that an identifier was given to, merged or not (see [`Persons::owner`]), unless it is no more; `sender` is empty for the
    /// kinds that need none. An `ID` is our own `personId`, written as export files write it.
    pub fn find_by(&self, kind: IdentifierType, id: &str, sender: &str) -> Option<PersonId> {
        if kind == IdentifierType::Id {
            return own_id(id).filter(|person| self.contains(*person));
        }
        let hash = name_hash(kind, id, sender);
        let found = self.segments.iter().rev().find_map(|segment| segment.find(hash, kind, id, sender));
        found.filter(|person| *person != NOBODY && !self.aliases.is_deleted(*person))
    }

    /// The id that the next new person gets: one above the greatest.
    pub fn next_id(&self) -> PersonId {
        PersonId(self.last.saturating_add(1))
    }

    /// How many persons there are that stand for themselves.
    pub fn len(&self) -> usize {
        self.count - self.aliases.len()
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Every person once that stands for itself, in no promised order.
    pub fn iter(&self) -> impl Iterator<Item = PersonRef<'_>> {
        self.all()
            .filter(|person| self.resolve(person.id) == person.id)
            .map(|person| PersonRef { external_id: self.external_id(person.id), ..person })
    }

    /// Every person once, those that were merged into others too, with their own external ids.
    fn all(&self) -> impl Iterator<Item = PersonRef<'_>> {
        let all = self.segments.iter().enumerate().flat_map(|(index, segment)| {
            let newer = &self.segments[index + 1..];
            segment.iter().filter(move |person| !newer.iter().any(|later| later.contains(person.id)))
        });
        all.filter(|person| !self.aliases.is_deleted(person.id))
    }

    /// Gives back what was set aside for more persons.
    pub(crate) fn shrink(&mut self) {
        if let Some(last) = self.segments.last_mut().and_then(Arc::get_mut) {
            last.shrink();
        }
    }

    /// Changes the last segment, or a new one if a clone of this index holds the last.
    fn open(&mut self, change: impl FnOnce(&mut Segment)) {
        if let Some(last) = self.segments.last_mut().and_then(Arc::get_mut)
            && last.has_room_for(last)
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
            if newer.weight().saturating_mul(MERGE_RATIO) < older.weight() || !older.has_room_for(newer) {
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
