//! `Kept`: the table of persons as Arrow columns, in chunks by id; each is made anew when one of its persons changed, which
//! the numbers of changes tell.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::sync_channel;
use std::thread;

use arrow::array::AsArray;
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::Int64Type;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::ids::PersonId;
use crate::person::Aliases;
use crate::person::CustomAttributes;
use crate::person::Member;
use crate::person::Profile;
use crate::storage::catalog::profiles;
use crate::storage::catalog::profiles::PeopleState;
use crate::storage::catalog::profiles::Unread;
use crate::storage::kept_columns::KeptColumns;
use crate::storage::people::members;
use crate::storage::people_columns::columns;
use crate::storage::people_file::Found;
use crate::storage::people_file::Made;
use crate::storage::people_rows::PeopleChunk;

/// Persons of one chunk when it is made; one that grows to twice as many is cut.
const CHUNK: usize = 8_192;

#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// What the chunks were made from.
    aliases: Arc<Aliases>,
    pub(crate) attributes: Arc<CustomAttributes>,
    change: i64,
    /// The greatest id of a person that was looked at.
    last: i64,
    chunks: Vec<Chunk>,
    /// Rows that were made since the file was written.
    pub(crate) unsaved: usize,
}

/// Persons in the order of ids; never empty.
#[derive(Clone, Debug)]
struct Chunk {
    /// The same that the first column has, if there are rows.
    ids: ScalarBuffer<i64>,
    rows: Option<Arc<KeptColumns>>,
}

impl Chunk {
    /// Chunks of these ids, without their rows.
    fn cut(ids: &[i64]) -> impl Iterator<Item = Self> {
        ids.chunks(CHUNK).map(|ids| Self { ids: ids.to_vec().into(), rows: None })
    }

    fn shown(&self) -> Option<PeopleChunk> {
        Some(PeopleChunk::new(self.ids.clone(), self.rows.clone()?))
    }
}

impl Kept {
    /// Nothing yet, for tables with these columns.
    pub(crate) fn of(attributes: &Arc<CustomAttributes>) -> Self {
        Self { attributes: Arc::clone(attributes), ..Self::default() }
    }

    /// Whether nobody was looked at yet; a table from which all are gone has been looked at.
    pub(crate) fn is_new(&self) -> bool {
        self.last == 0
    }

    pub(crate) fn shown(&self) -> impl Iterator<Item = PeopleChunk> {
        self.chunks.iter().filter_map(Chunk::shown)
    }

    pub(crate) fn columns(&self) -> impl Iterator<Item = &KeptColumns> {
        self.chunks.iter().filter_map(|chunk| chunk.rows.as_deref())
    }

    pub(crate) fn rows(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.ids.len()).sum()
    }

    pub(crate) fn made(&self) -> Made {
        let mut merged: Vec<_> = self.aliases.iter().map(|(from, root)| (from.0, root.0)).collect();
        merged.sort_unstable();
        let attributes = self.attributes.iter().cloned().collect();
        Made { change: self.change, last: self.last, merged, attributes }
    }

    /// Goes on from what a file has; from nothing, if some of it is not as it was written.
    pub(crate) fn open(&mut self, found: Found) -> Result<()> {
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

    /// Brings all to what the catalog says.
    pub(crate) fn catch_up(
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
        if !self.is_new() {
            let changed = profiles::changed_after(tx, self.change).map_err(say)?;
            let mut changed: BTreeSet<PersonId> = changed.into_iter().collect();
            changed.extend(aliases.differing_from(&self.aliases));
            let roots: Vec<PersonId> = changed.iter().map(|id| aliases.resolve(*id)).collect();
            changed.extend(roots);
            // The others come behind all that are there.
            changed.retain(|id| id.0 <= self.last);
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
pub(crate) fn kept(
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
