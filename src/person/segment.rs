//! `Segment`: persons and identifiers that became known together, packed so that ten million of them fit in memory.
//!
//! All texts lie in one string and every look-up goes through tables of 4-byte positions, so that a person costs some
//! hundred bytes and copying a segment is copying a few arrays. `Persons` stacks segments; the newest is right.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::LazyLock;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::ids::PersonId;
use crate::person::IdentifierType;
use crate::person::PersonRef;
use crate::time::Micros;

/// The most persons, identifiers and bytes of text of one segment: positions in it are `u32`.
const SEGMENT_LIMIT: usize = 1 << 31;

/// The position that stands for no external id.
const NONE: u32 = u32::MAX;

/// Identifiers come from outside: with a fixed seed somebody could choose them to collide.
static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0_u8));

#[derive(Clone, Copy, Debug)]
struct Row {
    id: i64,
    created: i64,
    /// The position of the external id among the names.
    external: u32,
}

/// The rows, each part of them in a list of its own.
#[derive(Clone, Debug, Default)]
struct Rows {
    created: Vec<i64>,
    external: Vec<u32>,
    /// The least and greatest person id.
    range: Option<(i64, i64)>,
    /// The ids; absent while they follow one another without a gap.
    sparse: Option<Sparse>,
}

#[derive(Clone, Debug, Default)]
struct Sparse {
    ids: Vec<i64>,
    /// Positions of rows by person id.
    places: HashTable<u32>,
}

/// An identifier: its id and then its sender in the segment's text, up to where the next one starts.
#[derive(Clone, Copy, Debug)]
struct Name {
    person: i64,
    start: u32,
    /// The bytes of the id, least first. What may be sent at all is shorter than they can say.
    length: [u8; 3],
    kind: IdentifierType,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Segment {
    rows: Rows,
    names: Vec<Name>,
    by_name: HashTable<u32>,
    text: String,
}

/// The same in every segment of the process, so that a look-up hashes once.
pub(crate) fn name_hash(kind: IdentifierType, id: &str, sender: &str) -> u64 {
    let mut seed = *SEED ^ (kind as u64);
    if !sender.is_empty() {
        seed ^= xxh3_64_with_seed(sender.as_bytes(), *SEED);
    }
    xxh3_64_with_seed(id.as_bytes(), seed)
}

fn id_hash(id: i64) -> u64 {
    xxh3_64_with_seed(&id.to_le_bytes(), *SEED)
}

fn at(position: u32) -> usize {
    position as usize
}

/// Segments are kept below [`SEGMENT_LIMIT`], so the position fits.
fn position(index: usize) -> u32 {
    debug_assert!(index < SEGMENT_LIMIT, "a segment is full");
    u32::try_from(index).unwrap_or(NONE)
}

impl Rows {
    fn with_capacity(persons: usize) -> Self {
        let (created, external) = (Vec::with_capacity(persons), Vec::with_capacity(persons));
        Self { created, external, ..Self::default() }
    }

    fn len(&self) -> usize {
        self.created.len()
    }

    fn row(&self, place: usize) -> Row {
        let id = match &self.sparse {
            Some(sparse) => sparse.ids[place],
            // A place that is there is less than the span of the ids.
            None => self.range.map_or(0, |(first, _)| first) + i64::try_from(place).unwrap_or(0),
        };
        Row { id, created: self.created[place], external: self.external[place] }
    }

    fn iter(&self) -> impl Iterator<Item = Row> {
        (0..self.len()).map(|place| self.row(place))
    }

    fn find(&self, id: i64) -> Option<usize> {
        let (first, last) = self.range?;
        if id < first || id > last {
            return None;
        }
        match &self.sparse {
            Some(Sparse { ids, places }) => {
                places.find(id_hash(id), |&place| ids[at(place)] == id).map(|place| at(*place))
            }
            None => usize::try_from(id - first).ok(),
        }
    }

    fn put(&mut self, row: Row) {
        let Row { id, created, external } = row;
        if let Some(known) = self.find(id) {
            (self.created[known], self.external[known]) = (created, external);
            return;
        }
        let follows = self.range.is_none_or(|(_, last)| last.checked_add(1) == Some(id));
        if !follows && self.sparse.is_none() {
            let mut sparse = Sparse::default();
            self.iter().for_each(|known| sparse.push(known.id));
            self.sparse = Some(sparse);
        }
        if let Some(sparse) = &mut self.sparse {
            sparse.push(id);
        }
        let (first, last) = self.range.unwrap_or((id, id));
        self.range = Some((first.min(id), last.max(id)));
        self.created.push(created);
        self.external.push(external);
    }
}

impl Sparse {
    fn push(&mut self, id: i64) {
        let place = position(self.ids.len());
        self.ids.push(id);
        let ids = &self.ids;
        self.places.insert_unique(id_hash(id), place, |&other| id_hash(ids[at(other)]));
    }
}

impl Name {
    fn id_bytes(self) -> usize {
        let [low, middle, high] = self.length;
        at(u32::from_le_bytes([low, middle, high, 0]))
    }
}

impl Segment {
    pub(crate) fn with_capacity(persons: usize) -> Self {
        Self {
            rows: Rows::with_capacity(persons),
            names: Vec::with_capacity(persons),
            by_name: HashTable::with_capacity(persons),
            ..Self::default()
        }
    }

    /// Persons and identifiers together: what it costs to copy this segment.
    pub(crate) fn weight(&self) -> usize {
        self.rows.len() + self.names.len()
    }

    /// Whether one as long as this one and another may still be told by positions.
    pub(crate) fn has_room_for(&self, other: &Self) -> bool {
        self.weight() + other.weight() < SEGMENT_LIMIT && self.text.len() + other.text.len() < SEGMENT_LIMIT
    }

    /// Gives back what was set aside for more.
    pub(crate) fn shrink(&mut self) {
        self.rows.created.shrink_to_fit();
        self.rows.external.shrink_to_fit();
        self.names.shrink_to_fit();
        self.text.shrink_to_fit();
    }

    pub(crate) fn find(&self, hash: u64, kind: IdentifierType, id: &str, sender: &str) -> Option<PersonId> {
        self.name(hash, kind, id, sender).map(|name| PersonId(self.names[at(name)].person))
    }

    pub(crate) fn get(&self, id: PersonId) -> Option<PersonRef<'_>> {
        self.rows.find(id.0).map(|place| self.person(self.rows.row(place)))
    }

    pub(crate) fn contains(&self, id: PersonId) -> bool {
        self.rows.find(id.0).is_some()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = PersonRef<'_>> {
        self.rows.iter().map(|row| self.person(row))
    }

    /// Adds the person, or replaces what this segment knew of it.
    pub(crate) fn put(&mut self, id: PersonId, external: Option<&str>, created: Micros) {
        let external = external.map_or(NONE, |text| self.attach(id, IdentifierType::ExternalId, text, ""));
        self.rows.put(Row { id: id.0, created: created.0, external });
    }

    /// Makes the identifier lead to the person; returns its position.
    pub(crate) fn attach(&mut self, person: PersonId, kind: IdentifierType, id: &str, sender: &str) -> u32 {
        let hash = name_hash(kind, id, sender);
        if let Some(known) = self.name(hash, kind, id, sender) {
            self.names[at(known)].person = person.0;
            return known;
        }
        let place = position(self.names.len());
        let [low, middle, high, _] = position(id.len()).to_le_bytes();
        let (start, length) = (position(self.text.len()), [low, middle, high]);
        self.names.push(Name { person: person.0, start, length, kind });
        self.text.push_str(id);
        self.text.push_str(sender);
        let (names, text) = (&self.names, &self.text);
        self.by_name.insert_unique(hash, place, |&other| {
            let (kind, id, sender) = texts(names, text, at(other));
            name_hash(kind, id, sender)
        });
        place
    }

    /// Both in one: where they disagree, `newer` is right.
    pub(crate) fn merge(older: &Self, newer: &Self) -> Self {
        let mut merged = Self {
            names: Vec::with_capacity(older.names.len() + newer.names.len()),
            by_name: HashTable::with_capacity(older.names.len() + newer.names.len()),
            text: String::with_capacity(older.text.len() + newer.text.len()),
            ..Self::default()
        };
        let older_names = merged.take_names(older);
        let newer_names = merged.take_names(newer);
        let moved = |row: Row, names: &[u32]| Row {
            external: if row.external == NONE { NONE } else { names[at(row.external)] },
            ..row
        };
        let kept = older.rows.iter().filter(|row| !newer.contains(PersonId(row.id)));
        let mut rows: Vec<Row> = kept.map(|row| moved(row, &older_names)).collect();
        rows.extend(newer.rows.iter().map(|row| moved(row, &newer_names)));
        rows.sort_unstable_by_key(|row| row.id);
        merged.rows = Rows::with_capacity(rows.len());
        rows.into_iter().for_each(|row| merged.rows.put(row));
        merged
    }

    /// Attaches all names of the other; says where each of them is now.
    fn take_names(&mut self, other: &Self) -> Vec<u32> {
        (0..other.names.len())
            .map(|index| {
                let (kind, id, sender) = texts(&other.names, &other.text, index);
                self.attach(PersonId(other.names[index].person), kind, id, sender)
            })
            .collect()
    }

    fn name(&self, hash: u64, kind: IdentifierType, id: &str, sender: &str) -> Option<u32> {
        self.by_name
            .find(hash, |&name| texts(&self.names, &self.text, at(name)) == (kind, id, sender))
            .copied()
    }

    fn person(&self, row: Row) -> PersonRef<'_> {
        let external = (row.external != NONE).then(|| texts(&self.names, &self.text, at(row.external)).1);
        PersonRef { id: PersonId(row.id), external_id: external, created: Micros(row.created) }
    }
}

fn texts<'a>(names: &[Name], text: &'a str, index: usize) -> (IdentifierType, &'a str, &'a str) {
    let name = names[index];
    let end = names.get(index + 1).map_or(text.len(), |next| at(next.start));
    let start = at(name.start);
    let middle = start + name.id_bytes();
    (name.kind, &text[start..middle], &text[middle..end])
}
