//! What queries see: the files of every table at its newest version, kept in memory and read again only where a log
//! has grown.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::Weak;

use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream;

use crate::error::Result;
use crate::person::Persons;
use crate::schema::Definition;
use crate::schema::Registry;
use crate::schema::StoredRow;
use crate::storage::DataFile;
use crate::storage::Snapshot;
use crate::storage::Storage;
use crate::storage::TableFiles;
use crate::storage::delta::Tables;

/// Logs that are read at the same time.
const AT_ONCE: usize = 8;

/// The tables as they were last seen.
#[derive(Debug)]
pub(crate) struct View {
    tables: Tables,
    seen: tokio::sync::Mutex<Seen>,
    /// Everything that was handed out and may still be read.
    live: Mutex<Vec<Weak<TableFiles>>>,
}

#[derive(Debug, Default)]
struct Seen {
    by_id: HashMap<String, (u64, Arc<TableFiles>)>,
    /// The last snapshot, handed out again while nothing changes.
    last: Option<Arc<Snapshot>>,
    /// The batch that a reader's persons are as of.
    persons_as_of: i64,
}

impl View {
    pub(crate) fn new(tables: Tables) -> Self {
        Self { tables, seen: tokio::sync::Mutex::default(), live: Mutex::default() }
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

    async fn snapshot(
        &self,
        seen: &mut Seen,
        registry: Arc<Registry>,
        persons: Arc<Persons>,
    ) -> Result<Arc<Snapshot>> {
        let made: HashSet<String> = self.tables.list().await?.into_iter().collect();
        let by_id = &seen.by_id;
        let read = stream::iter(registry.iter().cloned())
            .map(|definition| {
                let known = by_id.get(definition.id.as_str()).cloned();
                let made = made.contains(definition.id.as_str());
                async move { self.read(definition, known, made).await }
            })
            .buffered(AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        let mut tables = BTreeMap::new();
        let mut fresh = Vec::new();
        for (version, table) in read {
            let id = table.definition.id.to_string();
            let same = seen.by_id.get(&id).is_some_and(|(_, known)| Arc::ptr_eq(known, &table));
            if !same {
                fresh.push(Arc::downgrade(&table));
                seen.by_id.insert(id.clone(), (version, Arc::clone(&table)));
            }
            tables.insert(id, table);
        }
        if let Some(last) = &seen.last {
            let same = fresh.is_empty()
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
        let snapshot = Arc::new(Snapshot { registry, persons, tables });
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
                if self.tables.has_newer(id, *version).await? { self.load(id).await? } else { None }
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

impl Storage {
    /// The store as it is now: every batch that [`Storage::commit`] has returned for, none of them in part. The same
    /// object again while nothing changes.
    ///
    /// Beside a writer in another process, a batch may be seen in some tables a moment before the others.
    pub async fn snapshot(&self) -> Result<Arc<Snapshot>> {
        let _whole = self.publishing.read().await;
        let mut seen = self.view.seen.lock().await;
        if self.config.read_only {
            self.reread_definitions()?;
        }
        let snapshot = self.view.snapshot(&mut seen, self.registry(), self.persons()).await?;
        // Persons after files: the catalog had them before the files were there.
        if !self.config.read_only || !self.reread_persons(&mut seen)? {
            return Ok(snapshot);
        }
        let snapshot = Arc::new(Snapshot { persons: self.persons(), ..Snapshot::clone(&snapshot) });
        seen.last = Some(Arc::clone(&snapshot));
        Ok(snapshot)
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
        let batch = self.catalog.next_batch()?;
        if batch == seen.persons_as_of {
            return Ok(false);
        }
        let persons = self.catalog.load_persons()?;
        *self.persons.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(persons);
        seen.persons_as_of = batch;
        Ok(true)
    }
}
