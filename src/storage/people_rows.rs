//! The table of persons as Arrow columns in memory, in chunks by id: made when somebody first asks, and after that made
//! anew only where persons changed, which the number of the last change tells. A table that took long to make goes to the
//! disk, where the next process finds it.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::sync_channel;
use std::thread;

use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::BooleanArray;
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::DataType;
use arrow::datatypes::Int64Type;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::ids::PersonId;
use crate::person::Aliases;
use crate::person::CustomAttributes;
use crate::person::Member;
use crate::person::Persons;
use crate::person::Profile;
use crate::storage::catalog::Catalog;
use crate::storage::catalog::profiles;
use crate::storage::catalog::profiles::PeopleState;
use crate::storage::catalog::profiles::Unread;
use crate::storage::kept_columns::KeptColumns;
use crate::storage::known_persons::KnownPersons;
use crate::storage::people::members;
use crate::storage::people_columns::columns;
use crate::storage::people_columns::schema;
use crate::storage::people_file::Found;
use crate::storage::people_file::Made;
use crate::storage::people_file::PeopleFile;

/// Persons of one chunk when it is made; one that grows to twice as many is cut.
const CHUNK: usize = 8_192;
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

#[derive(Debug, Default)]
struct Kept {
    /// What the chunks were made from.
    aliases: Arc<Aliases>,
    attributes: Arc<CustomAttributes>,
    change: i64,
    /// The greatest id of a person that was looked at.
    last: i64,
    chunks: Vec<Chunk>,
    /// Rows that were made since the file was written.
    unsaved: usize,
}

/// Persons in the order of ids; never empty.
#[derive(Clone, Debug)]
struct Chunk {
    /// The same that the first column has, if there are rows.
    ids: ScalarBuffer<i64>,
    rows: Option<Arc<KeptColumns>>,
}

/// Some persons, in the order of ids.
#[derive(Clone, Debug)]
pub struct PeopleChunk {
    ids: ScalarBuffer<i64>,
    rows: Arc<KeptColumns>,
}

impl PeopleChunk {
    pub fn ids(&self) -> &[i64] {
        &self.ids
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
        let mut kept = lock(&self.kept);
        if kept.attributes != *attributes {
            *kept = Kept { attributes: Arc::clone(attributes), ..Kept::default() };
        }
        let doing = "read persons from";
        self.catalog.look(doing, |tx| {
            let say = |error| self.catalog.failed(doing, error);
            let state = profiles::people_state(tx).map_err(say)?;
            if kept.chunks.is_empty()
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
        Ok(kept.chunks.iter().filter_map(Chunk::shown).collect())
    }

    /// Some persons, read alone; none if the table is there already, where they are sooner found.
    fn sought(
        &self,
        aliases: &Aliases,
        attributes: &CustomAttributes,
        ids: &BTreeSet<i64>,
    ) -> Result<Option<Vec<PeopleChunk>>> {
        if !lock(&self.kept).chunks.is_empty() {
            return Ok(None);
        }
        let roots = ids.iter().map(|id| PersonId(*id)).filter(|id| aliases.resolve(*id) == *id);
        let doing = "read persons from";
        let profiles = self.catalog.look(doing, |tx| {
            let read = roots.map(|id| members(tx, aliases, id).map(|members| Profile::of(&members)));
            let read = read.collect::<rusqlite::Result<Vec<_>>>();
            read.map_err(|error| self.catalog.failed(doing, error))
        })?;
        let profiles: Vec<Profile> = profiles.into_iter().flatten().collect();
        if profiles.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let (ids, rows) = kept(&profiles, attributes)?;
        Ok(Some(vec![PeopleChunk { ids, rows }]))
    }

    /// Writes the file. It is derived, so a failure is only a store without one.
    fn save(&self, kept: &mut Kept) {
        kept.unsaved = 0;
        let chunks = kept.chunks.iter().filter_map(|chunk| chunk.rows.as_deref());
        if let Ok(name) = self.file.write(kept.made(), chunks) {
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
        Ok(vec![PeopleChunk { ids, rows }])
    }
}

impl Chunk {
    /// Chunks of these ids, without their rows.
    fn cut(ids: &[i64]) -> impl Iterator<Item = Self> {
        ids.chunks(CHUNK).map(|ids| Self { ids: ids.to_vec().into(), rows: None })
    }

    fn shown(&self) -> Option<PeopleChunk> {
        Some(PeopleChunk { ids: self.ids.clone(), rows: self.rows.clone()? })
    }
}

impl Kept {
    fn rows(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.ids.len()).sum()
    }

    fn made(&self) -> Made {
        let mut merged: Vec<_> = self.aliases.iter().map(|(from, root)| (from.0, root.0)).collect();
        merged.sort_unstable();
        let attributes = self.attributes.iter().cloned().collect();
        Made { change: self.change, last: self.last, merged, attributes }
    }

    /// Goes on from what a file has; from nothing, if some of it is not as it was written.
    fn open(&mut self, found: Found) -> Result<()> {
        let unopened = found.chunks.into_iter().enumerate().map(Ok);
        let mut opened = made(unopened, |chunk| Ok(chunk.open()))?;
        opened.sort_unstable_by_key(|(at, _)| *at);
        let chunks = opened.into_iter().map(|(_, opened)| {
            let (ids, rows) = opened?;
            Some(Chunk { ids, rows: Some(Arc::new(rows)) })
        });
        let Some(chunks) = chunks.collect::<Option<Vec<_>>>() else { return Ok(()) };
        let Made { change, last, merged, .. } = found.made;
        let merged = merged.into_iter().map(|(from, root)| (PersonId(from), PersonId(root)));
        *self = Self {
            aliases: Arc::new(Aliases::of(merged)),
            attributes: Arc::clone(&self.attributes),
            change,
            last,
            chunks,
            unsaved: 0,
        };
        Ok(())
    }

    fn catch_up(
        &mut self,
        tx: &rusqlite::Transaction<'_>,
        state: &PeopleState,
        aliases: &Arc<Aliases>,
        say: impl Fn(rusqlite::Error) -> Error + Copy + Sync,
    ) -> Result<()> {
        let same = Arc::ptr_eq(&self.aliases, aliases);
        if (state.change, state.last) == (self.change, self.last) && same {
            return Ok(());
        }
        if !self.chunks.is_empty() {
            let changed = profiles::changed_after(tx, self.change).map_err(say)?;
            let mut changed: BTreeSet<PersonId> =
                changed.into_iter().filter(|id| id.0 <= self.last).collect();
            changed.extend(aliases.differing_from(&self.aliases));
            let roots: Vec<PersonId> = changed.iter().map(|id| aliases.resolve(*id)).collect();
            changed.extend(roots);
            changed.into_iter().for_each(|id| self.mark(id, aliases));
        }
        let new = profiles::persons_after(tx, self.last).map_err(say)?;
        self.append(new.into_iter().filter(|id| aliases.resolve(*id) == *id));
        self.cut();
        let missing = self.chunks.iter().enumerate().filter(|(_, chunk)| chunk.rows.is_none());
        let read = missing.map(|(at, chunk)| Ok((at, Read::of(tx, aliases, &chunk.ids).map_err(say)?)));
        for (at, chunk) in made(read, |read| read.chunk(&self.attributes, say))? {
            self.unsaved += chunk.ids.len();
            self.chunks[at] = chunk;
        }
        self.chunks.retain(|chunk| !chunk.ids.is_empty());
        self.aliases = Arc::clone(aliases);
        (self.change, self.last) = (state.change, state.last);
        Ok(())
    }

    /// Adds persons behind all others.
    fn append(&mut self, new: impl Iterator<Item = PersonId>) {
        let mut ids: Vec<i64> = new.map(|id| id.0).collect();
        if ids.is_empty() {
            return;
        }
        if let Some(short) = self.chunks.pop_if(|last| last.ids.len() < CHUNK) {
            ids.splice(..0, short.ids.iter().copied());
        }
        self.chunks.extend(Chunk::cut(&ids));
    }

    /// Notes that a person came, changed, or is not shown any more.
    fn mark(&mut self, id: PersonId, aliases: &Aliases) {
        let after =
            self.chunks.partition_point(|chunk| chunk.ids.first().is_some_and(|first| *first <= id.0));
        let at = after.saturating_sub(1);
        let Some(chunk) = self.chunks.get_mut(at) else {
            self.chunks.extend(Chunk::cut(&[id.0]));
            return;
        };
        let shown = aliases.resolve(id) == id;
        match (chunk.ids.binary_search(&id.0), shown) {
            (Ok(_), true) => chunk.rows = None,
            (Err(place), true) => {
                // One that is no more is left out when the rows are made.
                let (before, behind) = chunk.ids.split_at(place);
                let ids: Vec<i64> = before.iter().chain([&id.0]).chain(behind).copied().collect();
                *chunk = Chunk { ids: ids.into(), rows: None };
            }
            (Ok(_), false) => {
                let ids: Vec<i64> = chunk.ids.iter().copied().filter(|one| *one != id.0).collect();
                *chunk = Chunk { ids: ids.into(), rows: None };
            }
            (Err(_), false) => {}
        }
        if self.chunks[at].ids.is_empty() {
            self.chunks.remove(at);
        }
    }

    fn cut(&mut self) {
        if self.chunks.iter().all(|chunk| chunk.ids.len() <= 2 * CHUNK) {
            return;
        }
        let chunks = std::mem::take(&mut self.chunks);
        self.chunks = chunks
            .into_iter()
            .flat_map(|chunk| match chunk.ids.len() > 2 * CHUNK {
                true => Chunk::cut(&chunk.ids).collect(),
                false => vec![chunk],
            })
            .collect();
    }
}

/// What the catalog has of some persons who stand for themselves.
#[derive(Debug)]
struct Read {
    ids: ScalarBuffer<i64>,
    all: Vec<Unread>,
    /// Everybody whom somebody stands for, of those who stand for others.
    merged: HashMap<PersonId, Vec<Member>>,
}

impl Read {
    fn of(
        tx: &rusqlite::Transaction<'_>,
        aliases: &Aliases,
        ids: &ScalarBuffer<i64>,
    ) -> rusqlite::Result<Self> {
        let ids = ids.clone();
        let (Some(first), Some(last)) = (ids.first(), ids.last()) else {
            return Ok(Self { ids, all: Vec::new(), merged: HashMap::new() });
        };
        let roots = ids.iter().map(|id| PersonId(*id)).filter(|id| aliases.is_involved(*id));
        let merged = roots.map(|id| Ok((id, members(tx, aliases, id)?))).collect::<rusqlite::Result<_>>()?;
        let all = profiles::unread_between(tx, *first, *last)?;
        Ok(Self { ids, all, merged })
    }

    /// Their profiles in the order of ids; those that the catalog lacks are left out.
    fn profiles(mut self) -> rusqlite::Result<Vec<Profile>> {
        let mut found = Vec::with_capacity(self.ids.len());
        let mut all = self.all.into_iter().peekable();
        for id in self.ids.iter().map(|id| PersonId(*id)) {
            while all.next_if(|one| one.id() < id).is_some() {}
            let own = all.next_if(|one| one.id() == id);
            found.extend(match (self.merged.remove(&id), own) {
                (Some(members), _) => Profile::of(&members),
                (None, Some(own)) => Profile::of(&[own.read()?]),
                (None, None) => None,
            });
        }
        Ok(found)
    }

    fn chunk(self, attributes: &CustomAttributes, say: impl Fn(rusqlite::Error) -> Error) -> Result<Chunk> {
        let profiles = self.profiles().map_err(say)?;
        let (ids, rows) = kept(&profiles, attributes)?;
        Ok(Chunk { ids, rows: Some(rows) })
    }
}

/// What is kept of some profiles, and their ids.
fn kept(
    profiles: &[Profile],
    attributes: &CustomAttributes,
) -> Result<(ScalarBuffer<i64>, Arc<KeptColumns>)> {
    let columns = columns(profiles, attributes)?;
    let ids = columns[0].as_primitive::<Int64Type>().values().clone();
    let kept = KeptColumns::of(columns).internal(|| "could not put the persons together".to_owned())?;
    Ok((ids, Arc::new(kept)))
}

/// What is made of each of the parts that come, on several threads while the next is fetched; with their places.
fn made<R: Send, T: Send>(
    parts: impl Iterator<Item = Result<(usize, R)>>,
    make: impl Fn(R) -> Result<T> + Sync,
) -> Result<Vec<(usize, T)>> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return Ok(Vec::new());
    }
    let (sender, receiver) = sync_channel(threads);
    // Held by those who take alone: when the last of them ends, nobody waits to give.
    let receiver = Arc::new(Mutex::new(receiver));
    let work = |receiver: Arc<Mutex<Receiver<(usize, R)>>>| {
        let mut all = Vec::new();
        loop {
            let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((at, part)) = next else { return Ok(all) };
            all.push((at, make(part)?));
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads).map(|_| Arc::clone(&receiver)).map(|one| scope.spawn(|| work(one))).collect();
        drop(receiver);
        let mut failed = None;
        for part in parts {
            match part.map(|part| sender.send(part)) {
                Ok(Ok(())) => {}
                // All of them have failed, which is told below.
                Ok(Err(_)) => break,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        drop(sender);
        let mut all = Vec::new();
        for worker in workers {
            let done: Result<Vec<_>> =
                worker.join().unwrap_or_else(|_| Err(Error::internal("the reading of persons broke off")));
            all.extend(done?);
        }
        failed.map_or(Ok(all), Err)
    })
}
