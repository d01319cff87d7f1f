//! What queries see: the files of every table at its newest version, kept in memory and read again only where a log
//! has grown.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::Weak;

use futures::FutureExt;
use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream;

use crate::error::Context;
use crate::error::Result;
use crate::schema::Definition;
use crate::schema::Registry;
use crate::schema::StoredRow;
use crate::storage::DataFile;
use crate::storage::Index;
use crate::storage::KnownPersons;
use crate::storage::People;
use crate::storage::Snapshot;
use crate::storage::Storage;
use crate::storage::TableFiles;
use crate::storage::buffer::Shown;
use crate::storage::delta::Tables;

/// Logs that are read at the same time.
const AT_ONCE: usize = 8;

/// The tables as they were last seen.
#[derive(Debug)]
pub(crate) struct View {
    tables: Tables,
    /// Another process writes.
    foreign: bool,
    index: Arc<Index>,
    seen: tokio::sync::Mutex<Seen>,
    /// Everything that was handed out and may still be read.
    live: Mutex<Vec<Weak<TableFiles>>>,
}

#[derive(Debug, Default)]
struct Seen {
    by_id: HashMap<String, (u64, Arc<TableFiles>)>,
    /// The last snapshot, handed out again while nothing changes.
    last: Option<Arc<Snapshot>>,
    /// The batch and the change of persons that a reader's persons are as of.
    persons_as_of: (i64, i64),
    /// The buffers, and the tables that have some, as they were last seen.
    buffers: Shown,
    buffered: HashMap<String, Arc<TableFiles>>,
}

impl View {
    pub(crate) fn new(tables: Tables, foreign: bool, index: Arc<Index>) -> Self {
        Self { tables, foreign, index, seen: tokio::sync::Mutex::default(), live: Mutex::default() }
    }

    /// Lets go of what the last snapshot holds, so that persons can be added in place.
    pub(crate) async fn forget_last(&self) {
        self.seen.lock().await.last = None;
    }

    /// The paths of all files that somebody in this process may still read.
    pub(crate) fn live_files(&self) -> HashSet<String> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let held = live.iter().filter_map(Weak::upgrade);
        held.flat_map(|table| table.files.iter().map(|file| file.path.clone()).collect::<Vec<_>>()).collect()
    }

    /// Keeps the files of tables while somebody holds these.
    pub(crate) fn hold<'a>(&self, tables: impl Iterator<Item = &'a Arc<TableFiles>>) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.retain(|table| table.strong_count() > 0);
        live.extend(tables.map(Arc::downgrade));
    }

    async fn snapshot(
        &self,
        seen: &mut Seen,
        registry: Arc<Registry>,
        persons: Arc<KnownPersons>,
        people: People,
        // Whether the buffers are as they were when the last snapshot was made.
        unchanged: bool,
    ) -> Result<Arc<Snapshot>> {
        let made = self.tables.made().await?;
        let by_id = &seen.by_id;
        let read = stream::iter(registry.iter().cloned())
            .map(|definition| {
                let known = by_id.get(definition.id.as_str()).cloned();
                let made = made.contains(definition.id.as_str());
                // Boxed, so that the compiler can tell that it may move between threads.
                self.read(definition, known, made).boxed()
            })
            .buffered(AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        let mut tables = BTreeMap::new();
        let mut fresh = Vec::new();
        let mut buffered = HashMap::new();
        for (version, mut table) in read {
            let id = table.definition.id.to_string();
            let same = seen.by_id.get(&id).is_some_and(|(_, known)| Arc::ptr_eq(known, &table));
            if !same {
                fresh.push(Arc::downgrade(&table));
                seen.by_id.insert(id.clone(), (version, Arc::clone(&table)));
            }
            if let Some(files) = seen.buffers.files.get(&id) {
                match seen.buffered.get(&id) {
                    Some(known) if same && unchanged => table = Arc::clone(known),
                    _ => {
                        table = Arc::new(with_buffers(&table, files));
                        fresh.push(Arc::downgrade(&table));
                    }
                }
                buffered.insert(id.clone(), Arc::clone(&table));
            }
            tables.insert(id, table);
        }
        seen.buffered = buffered;
        if let Some(last) = &seen.last {
            let same = fresh.is_empty()
                && unchanged
                && Arc::ptr_eq(&last.registry, &registry)
                && Arc::ptr_eq(&last.persons, &persons)
                && last.tables.len() == tables.len();
            if same {
                return Ok(Arc::clone(last));
            }
        }
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.retain(|table| table.strong_count() > 0);
        live.extend(fresh);
        let snapshot =
            Arc::new(Snapshot { registry, persons, people, tables, index: Arc::clone(&self.index) });
        seen.last = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    /// One table at its newest version; what is known of it when that is it.
    async fn read(
        &self,
        definition: Arc<Definition>,
        known: Option<(u64, Arc<TableFiles>)>,
        made: bool,
    ) -> Result<(u64, Arc<TableFiles>)> {
        let id = definition.id.as_str();
        let newest = match &known {
            Some((version, table)) if !table.files.is_empty() => {
                let newer = self.tables.has_newer(id, *version).await?
                    // Whoever writes elsewhere may have removed the history of a table, this version with it.
                    || (self.foreign && !self.tables.has(id, *version).await?);
                if newer { self.load(id).await? } else { None }
            }
            _ if made => self.load(id).await?,
            _ => None,
        };
        Ok(match (newest, known) {
            (Some((version, files)), _) => (version, Arc::new(TableFiles { definition, files })),
            (None, Some((version, table))) if Arc::ptr_eq(&table.definition, &definition) => (version, table),
            (None, Some((version, table))) => {
                (version, Arc::new(TableFiles { definition, files: table.files.clone() }))
            }
            (None, None) => (0, Arc::new(TableFiles { definition, files: Vec::new() })),
        })
    }

    async fn load(&self, id: &str) -> Result<Option<(u64, Vec<DataFile>)>> {
        let table = self.tables.load(id).await?;
        table.map(|table| Ok((table.version(), table.files()?))).transpose()
    }
}

/// The files of a table and of its buffers, in order.
fn with_buffers(table: &TableFiles, buffers: &[DataFile]) -> TableFiles {
    let mut files: Vec<DataFile> = table.files.iter().chain(buffers).cloned().collect();
    files.sort_by(|a, b| (a.day, &a.path).cmp(&(b.day, &b.path)));
    TableFiles { definition: Arc::clone(&table.definition), files }
}

fn could_not_show() -> String {
    "the newest events could not be kept in memory".to_owned()
}

impl Storage {
    /// The store as it is now: every batch that [`Storage::commit`] has returned for, and every group that
    /// [`Turn::append`](crate::storage::Turn::append) has, none of them in part. The same object again while nothing
    /// changes.
    ///
    /// Beside a writer in another process, a batch may be seen in some tables a moment before the others.
    pub async fn snapshot(&self) -> Result<Arc<Snapshot>> {
        let _whole = self.publishing.read().await;
        let mut seen = self.view.seen.lock().await;
        if self.config.read_only {
            self.reread_definitions()?;
        }
        // Definitions and persons after events: whatever an event needs was there before it.
        let unchanged = self.see_buffers(&mut seen).await?;
        let snapshot = self
            .view
            .snapshot(&mut seen, self.registry(), self.known_persons(), self.people(), unchanged)
            .await?;
        if !unchanged {
            self.forget_buffers(&seen).await?;
        }
        // Persons after files: the catalog had them before the files were there.
        if !self.config.read_only || !self.reread_persons(&mut seen)? {
            return Ok(snapshot);
        }
        let snapshot = Arc::new(Snapshot {
            persons: self.known_persons(),
            people: self.people(),
            ..Snapshot::clone(&snapshot)
        });
        seen.last = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    fn people(&self) -> People {
        People::new(self.attributes(), Arc::clone(&self.people_rows))
    }

    /// The table of persons by somebody who has kept nothing, neither in memory nor in this file.
    #[cfg(test)]
    pub(crate) fn people_anew(&self, file: &std::path::Path) -> People {
        let file = crate::storage::people_file::PeopleFile::new(file.to_owned());
        let rows = crate::storage::people_rows::PeopleRows::new(Arc::clone(&self.catalog), file, false);
        People::new(self.attributes(), Arc::new(rows))
    }

    /// Rows of persons that were made since they were last written to the disk.
    #[cfg(test)]
    pub(crate) fn people_unsaved(&self) -> usize {
        self.people_rows.unsaved()
    }

    /// The buffers as they are now, readable as files; `true` when they have not changed since they were last seen.
    async fn see_buffers(&self, seen: &mut Seen) -> Result<bool> {
        if self.buffers.version() == seen.buffers.version {
            return Ok(true);
        }
        let buffers = Arc::clone(&self.buffers);
        let shown = tokio::task::spawn_blocking(move || buffers.show()).await;
        let mut shown = shown.internal(|| "the encoding of the newest events broke off".to_owned())??;
        for new in shown.new.drain(..) {
            self.store.show(&new.file.path, new.bytes).await.internal(could_not_show)?;
        }
        seen.buffers = shown;
        Ok(false)
    }

    /// Frees what neither the newest snapshot nor one that is still held reads.
    async fn forget_buffers(&self, seen: &Seen) -> Result<()> {
        let mut needed = self.view.live_files();
        needed.extend(seen.buffers.files.values().flatten().map(|file| file.path.clone()));
        self.store.keep(|path| needed.contains(path)).await.internal(could_not_show)
    }

    /// Frees what was shown of the past to those who ask no more.
    pub(crate) async fn forget_past_buffers(&self) -> Result<()> {
        let seen = self.view.seen.lock().await;
        self.forget_buffers(&seen).await
    }

    /// The definitions as the writer has them now.
    fn reread_definitions(&self) -> Result<()> {
        let rows = self.catalog.load_definitions()?;
        let rows = rows.into_iter().map(|(key, json, enabled)| StoredRow { key, json, enabled });
        let registry = Registry::load(rows)?;
        let mut held = self.registry.write().unwrap_or_else(PoisonError::into_inner);
        if held.rows()? != registry.rows()? {
            *held = Arc::new(registry);
        }
        Ok(())
    }

    /// The persons as the writer has them now; `true` when that may be other ones.
    fn reread_persons(&self, seen: &mut Seen) -> Result<bool> {
        let as_of = (self.catalog.next_batch()?, self.catalog.last_person_change()?);
        if as_of == seen.persons_as_of {
            return Ok(false);
        }
        let persons = KnownPersons::of(&self.catalog)?;
        let attributes = self.catalog.load_attributes()?;
        *self.attributes.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(attributes);
        *self.persons.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(persons);
        seen.persons_as_of = as_of;
        Ok(true)
    }
}
