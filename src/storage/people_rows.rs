//! The table of persons for those who ask: as it is kept in memory, brought up to date first, or of some persons alone. A
//! table that took long to make goes to the disk, where the next process finds it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use arrow::array::ArrayRef;
use arrow::array::BooleanArray;
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::DataType;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use crate::error::Context;
use crate::error::Result;
use crate::ids::PersonId;
use crate::person::Aliases;
use crate::person::CustomAttributes;
use crate::person::Persons;
use crate::person::Profile;
use crate::storage::catalog::Catalog;
use crate::storage::catalog::profiles;
use crate::storage::kept_columns::KeptColumns;
use crate::storage::known_persons::KnownPersons;
use crate::storage::people::profile;
use crate::storage::people_columns::schema;
use crate::storage::people_file::PeopleFile;
use crate::storage::people_kept::Kept;
use crate::storage::people_kept::kept;

/// More persons than these are not read one by one.
const MOST_SOUGHT: usize = 1_000;
/// Fewer new rows than these, and than a quarter of all, are not worth a new file: they are soon made.
const LEAST_SAVED: usize = if cfg!(test) { 4 } else { 50_000 };

/// The persons of a snapshot, for those who ask.
#[derive(Clone, Debug, Default)]
pub struct People {
    attributes: Arc<CustomAttributes>,
    rows: Option<Arc<PeopleRows>>,
}

/// What is kept in memory, for all snapshots of a store.
#[derive(Debug)]
pub(crate) struct PeopleRows {
    catalog: Arc<Catalog>,
    file: PeopleFile,
    /// Whether the file may be written.
    writes: bool,
    kept: Mutex<Kept>,
}

/// Some persons, in the order of ids.
#[derive(Clone, Debug)]
pub struct PeopleChunk {
    ids: ScalarBuffer<i64>,
    rows: Arc<KeptColumns>,
}

impl PeopleChunk {
    pub(crate) fn new(ids: ScalarBuffer<i64>, rows: Arc<KeptColumns>) -> Self {
        Self { ids, rows }
    }

    /// How many they are.
    #[expect(clippy::len_without_is_empty, reason = "nobody has an empty one")]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The column at a place of [`People::schema`], as the type that it says; of the rows that are wanted, if not of all.
    pub fn column(
        &self,
        place: usize,
        shown_as: &DataType,
        wanted: Option<&BooleanArray>,
    ) -> Result<ArrayRef> {
        let column = self.rows.column(place, shown_as, wanted);
        column.internal(|| "could not put the persons together".to_owned())
    }

    /// The rows whose value at a place `holds` is true of. It is asked about values, not about rows: of each that there
    /// is, once, where there are few.
    ///
    /// # Errors
    /// Those of `holds`.
    pub fn matching<E: From<ArrowError>>(
        &self,
        place: usize,
        shown_as: &DataType,
        holds: impl Fn(&ArrayRef) -> std::result::Result<BooleanArray, E>,
    ) -> std::result::Result<BooleanArray, E> {
        self.rows.matching(place, shown_as, holds)
    }
}

impl PeopleRows {
    pub(crate) fn new(catalog: Arc<Catalog>, file: PeopleFile, writes: bool) -> Self {
        Self { catalog, file, writes, kept: Mutex::default() }
    }

    #[cfg(test)]
    pub(crate) fn unsaved(&self) -> usize {
        lock(&self.kept).unsaved
    }

    /// Leaves nothing of persons on the disk; what is in memory follows the catalog as ever.
    pub(crate) fn forget(&self) -> Result<()> {
        let mut kept = lock(&self.kept);
        self.file.remove()?;
        kept.unsaved = kept.rows();
        Ok(())
    }

    /// Everybody who stands for themselves as these aliases say.
    fn chunks(&self, aliases: &Arc<Aliases>, attributes: &Arc<CustomAttributes>) -> Result<Vec<PeopleChunk>> {
        let mut held = lock(&self.kept);
        // If it fails half way, nothing is kept, and who asks next begins anew.
        let mut kept = std::mem::take(&mut *held);
        if kept.attributes != *attributes {
            kept = Kept::of(attributes);
        }
        let doing = "read persons from";
        self.catalog.look(doing, |tx| {
            let say = |error| self.catalog.failed(doing, error);
            let state = profiles::people_state(tx).map_err(say)?;
            if kept.is_new()
                && let Some(name) = &state.file
                && let Some(found) = self.file.find(name, attributes)
            {
                kept.open(found)?;
            }
            kept.catch_up(tx, &state, aliases, say)
        })?;
        if self.writes && kept.unsaved >= LEAST_SAVED.max(kept.rows() / 4) {
            self.save(&mut kept);
        }
        *held = kept;
        Ok(held.shown().collect())
    }

    /// Some persons, read alone; none if the table is there already, where they are sooner found.
    fn sought(
        &self,
        aliases: &Aliases,
        attributes: &CustomAttributes,
        ids: &BTreeSet<i64>,
    ) -> Result<Option<Vec<PeopleChunk>>> {
        if !lock(&self.kept).is_new() {
            return Ok(None);
        }
        let roots = ids.iter().map(|id| PersonId(*id)).filter(|id| aliases.resolve(*id) == *id);
        let doing = "read persons from";
        let profiles = self.catalog.look(doing, |tx| {
            let read = roots.map(|id| profile(tx, aliases, id)).collect::<rusqlite::Result<Vec<_>>>();
            read.map_err(|error| self.catalog.failed(doing, error))
        })?;
        let profiles: Vec<Profile> = profiles.into_iter().flatten().collect();
        if profiles.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let (ids, rows) = kept(&profiles, attributes)?;
        Ok(Some(vec![PeopleChunk::new(ids, rows)]))
    }

    /// Writes the file. It is derived, so a failure is only a store without one.
    fn save(&self, kept: &mut Kept) {
        kept.unsaved = 0;
        if let Ok(name) = self.file.write(kept.made(), kept.columns()) {
            let _ = self.catalog.name_people_file(&name);
        }
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl People {
    pub(crate) fn new(attributes: Arc<CustomAttributes>, rows: Arc<PeopleRows>) -> Self {
        Self { attributes, rows: Some(rows) }
    }

    pub fn attributes(&self) -> &CustomAttributes {
        &self.attributes
    }

    /// The columns: those that every person has, then the custom attributes by name.
    pub fn schema(&self) -> SchemaRef {
        schema(&self.attributes)
    }

    /// Everybody who stands for themselves, in the order of ids. Reads the catalog where it is not in memory yet.
    pub fn chunks(&self, persons: &KnownPersons) -> Result<Vec<PeopleChunk>> {
        match &self.rows {
            Some(rows) => rows.chunks(persons.aliases(), &self.attributes),
            None => self.unwritten(persons.all()?),
        }
    }

    /// [`People::chunks`] with some persons in them, if they are there, by their own ids. The table is not made for them.
    pub fn chunks_with(&self, persons: &KnownPersons, ids: &BTreeSet<i64>) -> Result<Vec<PeopleChunk>> {
        if let Some(rows) = self.rows.as_ref().filter(|_| ids.len() <= MOST_SOUGHT)
            && let Some(some) = rows.sought(persons.aliases(), &self.attributes, ids)?
        {
            return Ok(some);
        }
        let mut chunks = self.chunks(persons)?;
        chunks.retain(|chunk| ids.iter().any(|id| chunk.ids.binary_search(id).is_ok()));
        Ok(chunks)
    }

    /// Persons of whom nothing is written anywhere, as tests have them.
    fn unwritten(&self, persons: &Persons) -> Result<Vec<PeopleChunk>> {
        let mut all: Vec<Profile> = persons
            .iter()
            .map(|one| Profile {
                external_id: one.external_id.map(str::to_owned),
                ..Profile::new(one.id, one.created)
            })
            .collect();
        all.sort_by_key(|one| one.id);
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let (ids, rows) = kept(&all, &self.attributes)?;
        Ok(vec![PeopleChunk::new(ids, rows)])
    }
}
