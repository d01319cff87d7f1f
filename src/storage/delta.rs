//! One Delta table per definition: the log that says which data files are there.
//!
//! A table begins with its first file. A commit that publishes a batch carries the batch's number as an application
//! transaction, which is looked up in the very snapshot that the commit is made from: a fresh snapshot would accept the
//! same number twice. No table handle is kept: one that lives through many commits gets slower with each, so every
//! commit opens the log anew, from its last checkpoint.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use deltalake_core::DeltaTable;
use deltalake_core::DeltaTableError;
use deltalake_core::checkpoints::cleanup_metadata;
use deltalake_core::checkpoints::create_checkpoint;
use deltalake_core::kernel::Action;
use deltalake_core::kernel::Add;
use deltalake_core::kernel::Remove;
use deltalake_core::kernel::Transaction;
use deltalake_core::kernel::transaction::CommitBuilder;
use deltalake_core::kernel::transaction::TableReference;
use deltalake_core::logstore::LogStoreRef;
use deltalake_core::logstore::StorageConfig;
use deltalake_core::logstore::default_logstore;
use deltalake_core::protocol::DeltaOperation;
use deltalake_core::protocol::SaveMode;
use deltalake_core::table::state::DeltaTableState;
use futures::TryStreamExt;
use object_store::Error as StoreError;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::path::Path as StorePath;
use object_store::prefix::PrefixStore;
use serde::Deserialize;
use serde::Serialize;
use url::Url;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::schema::Columns;
use crate::schema::DAY;
use crate::schema::Definition;
use crate::storage::delta_schema;
use crate::storage::layout;
use crate::storage::snapshot::DataFile;
use crate::storage::stats;
use crate::storage::stats::FileStats;
use crate::time::Day;
use crate::time::Micros;

/// Who we are in application transactions.
const APPLICATION: &str = "milepost";
/// A log is opened from its last checkpoint, so this many commits at most are replayed one by one.
const CHECKPOINT_EVERY: u64 = 20;
/// How often a commit is tried when others commit to the same table, or the store does not answer.
const ATTEMPTS: usize = 5;

/// A data file that is written and durable but in no log yet; what a batch's record keeps of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileRecord {
    pub definition: String,
    /// In the lake's object store.
    pub path: String,
    pub bytes: u64,
    /// Days since the epoch.
    pub day: i32,
    /// Delta's statistics of the file.
    pub stats: String,
}

impl FileRecord {
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).internal(|| format!("could not write down the file \"{}\"", self.path))
    }

    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json)
            .internal(|| format!("the catalog's record of a data file is damaged: {json}"))
    }

    fn add(&self, now: Micros, data_change: bool) -> Result<Action> {
        Ok(Action::Add(Add {
            path: layout::within_table(&self.definition, &self.path)?.to_owned(),
            partition_values: partition(Day(self.day))?,
            size: signed(self.bytes),
            modification_time: now.0.div_euclid(1000),
            data_change,
            stats: Some(self.stats.clone()),
            ..Add::default()
        }))
    }
}

/// All tables of a lake.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    store: Arc<dyn ObjectStore>,
    /// What is known of the tables, where nobody else writes and each look at the store takes its time.
    known: Option<Arc<Mutex<Known>>>,
}

#[derive(Debug, Default)]
struct Known {
    /// The tables that were there at first.
    listed: Option<HashSet<String>>,
    /// The newest versions that were read or made.
    newest: HashMap<String, u64>,
}

/// A file, and the least and greatest number of its events, or wider.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Numbered {
    pub file: DataFile,
    pub seqs: (i64, i64),
}

/// A table as its log has it at one version.
#[derive(Debug)]
pub(crate) struct LoadedTable {
    definition: String,
    log: LogStoreRef,
    state: DeltaTableState,
}

impl Tables {
    /// The tables in a lake's object store, one folder each.
    pub(crate) fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, known: None }
    }

    /// The same of a store that is far away and that nobody else writes to.
    pub(crate) fn far_and_alone(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, known: Some(Arc::default()) }
    }

    fn known(&self) -> Option<MutexGuard<'_, Known>> {
        Some(self.known.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, definition: &str, version: u64) {
        if let Some(mut known) = self.known() {
            let newest = known.newest.entry(definition.to_owned()).or_default();
            *newest = version.max(*newest);
        }
    }

    /// The definitions that [`Tables::list`] would name, or more.
    pub(crate) async fn made(&self) -> Result<HashSet<String>> {
        let remembered = self.known().and_then(|known| {
            let listed = known.listed.as_ref()?;
            Some(listed.iter().chain(known.newest.keys()).cloned().collect())
        });
        if let Some(made) = remembered {
            return Ok(made);
        }
        let made: HashSet<String> = self.list().await?.into_iter().collect();
        if let Some(mut known) = self.known() {
            known.listed = Some(made.clone());
        }
        Ok(made)
    }

    /// The definitions that have a folder in the lake; most of them have a table.
    pub(crate) async fn list(&self) -> Result<Vec<String>> {
        let listed = self
            .store
            .list_with_delimiter(None)
            .await
            .unavailable(|| "the lake cannot be listed".to_owned())?;
        Ok(listed.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned)).collect())
    }

    /// The table of a definition as it is now, if it has one.
    pub(crate) async fn load(&self, definition: &str) -> Result<Option<LoadedTable>> {
        let table = self.load_at(definition, None).await?;
        if let Some(table) = &table {
            self.note(definition, table.version());
        }
        Ok(table)
    }

    /// The table as it was at a version; none when its log does not tell any more.
    async fn load_version(&self, definition: &str, version: u64) -> Option<LoadedTable> {
        self.load_at(definition, Some(version)).await.ok().flatten()
    }

    async fn load_at(&self, definition: &str, version: Option<u64>) -> Result<Option<LoadedTable>> {
        let log = self.log(definition)?;
        match Box::pin(DeltaTableState::try_new(&log, version)).await {
            Ok(state) => Ok(Some(LoadedTable { definition: definition.to_owned(), log, state })),
            Err(DeltaTableError::NotATable(_)) => Ok(None),
            Err(error) => {
                Err(error).unavailable(|| format!("the Delta log of \"{definition}\" cannot be read"))
            }
        }
    }

    /// What the newest version of a table says of the numbers in some files; of those that it has no longer, nothing.
    pub(crate) async fn numbered(&self, definition: &str, files: Vec<DataFile>) -> Result<Vec<Numbered>> {
        let table = if files.is_empty() { None } else { self.load(definition).await? };
        let known = table.map(|table| table.numbered()).transpose()?.unwrap_or_default();
        let known: HashMap<String, (i64, i64)> =
            known.into_iter().map(|one| (one.file.path, one.seqs)).collect();
        let seqs = |file: &DataFile| known.get(&file.path).copied().unwrap_or((i64::MIN, i64::MAX));
        Ok(files.into_iter().map(|file| Numbered { seqs: seqs(&file), file }).collect())
    }

    /// The files of a table when it first had all its events of batches up to this one; none when its log does not
    /// reach so far back.
    pub(crate) async fn at_batch(&self, definition: &str, batch: i64) -> Result<Option<Vec<Numbered>>> {
        let Some(newest) = self.load(definition).await? else { return Ok(None) };
        let end = newest.version() + 1;
        drop(newest);
        // Versions rise with their batches; those before the first that the log tells of count as before all.
        let beyond = self.first_version(definition, end, |last| last > batch).await?;
        let Some(before) = beyond.checked_sub(1) else { return Ok(None) };
        let Some(table) = self.load_version(definition, before).await else { return Ok(None) };
        let last = table.last_batch().await?.unwrap_or(0);
        let first = self.first_version(definition, before, |other| other >= last).await?;
        let table = if first == before { Some(table) } else { self.load_version(definition, first).await };
        table.map(|table| table.numbered()).transpose()
    }

    /// The first version before `end` whose last batch is as wanted; `end` if none is.
    async fn first_version(
        &self,
        definition: &str,
        end: u64,
        is_wanted: impl Fn(i64) -> bool,
    ) -> Result<u64> {
        let (mut low, mut high) = (0, end);
        while low < high {
            let middle = low + (high - low) / 2;
            let last = match self.load_version(definition, middle).await {
                Some(table) => table.last_batch().await?,
                None => None,
            };
            if last.is_some_and(&is_wanted) { high = middle } else { low = middle + 1 }
        }
        Ok(low)
    }

    /// Whether a table has a version after this one.
    pub(crate) async fn has_newer(&self, definition: &str, version: u64) -> Result<bool> {
        if let Some(known) = self.known() {
            return Ok(known.newest.get(definition).is_some_and(|newest| *newest > version));
        }
        self.has(definition, version + 1).await
    }

    /// Whether a table's log has the commit of this version.
    pub(crate) async fn has(&self, definition: &str, version: u64) -> Result<bool> {
        let entry = StorePath::from(layout::log_entry(definition, version));
        match self.store.head(&entry).await {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => {
                Err(error).unavailable(|| format!("the Delta log of \"{definition}\" cannot be read"))
            }
        }
    }

    /// Makes the files of one batch visible, and the columns that they need, in one commit; once, however often it is
    /// called for the batch. Batches must come in order.
    pub(crate) async fn publish(
        &self,
        definition: &Definition,
        batch: i64,
        files: &[FileRecord],
        now: Micros,
    ) -> Result<()> {
        let id = definition.id.as_str();
        let mut last_error = None;
        for _ in 0..ATTEMPTS {
            let table = self.load(id).await?;
            if let Some(table) = &table
                && table.last_batch().await?.is_some_and(|last| last >= batch)
            {
                return Ok(());
            }
            let mut actions =
                delta_schema::actions(Columns::of(definition).file_schema(), table.as_ref(), now)?;
            for file in files {
                actions.push(file.add(now, true)?);
            }
            actions.push(Action::Txn(Transaction::new_with_last_update(
                APPLICATION,
                batch,
                Some(now.0.div_euclid(1000)),
            )));
            let operation = DeltaOperation::Write {
                mode: SaveMode::Append,
                partition_by: Some(vec![DAY.to_owned()]),
                predicate: None,
            };
            // A commit may be reported as failed and yet be there: the next round looks.
            match self.commit(id, table.as_ref(), actions, operation).await {
                Ok(()) => return Ok(()),
                Err(error) => last_error = Some(error),
            }
        }
        Err(gave_up(id, last_error))
    }

    /// Puts files in the place of others that hold the same rows, or, if `fewer`, some of them, or none. `false` when the
    /// others are no longer there.
    pub(crate) async fn replace(
        &self,
        definition: &Definition,
        old: &[DataFile],
        new: &[FileRecord],
        fewer: bool,
        now: Micros,
    ) -> Result<bool> {
        let id = definition.id.as_str();
        let mut last_error = None;
        for _ in 0..ATTEMPTS {
            let Some(table) = self.load(id).await? else {
                return Ok(false);
            };
            let active: HashSet<String> = table.files()?.into_iter().map(|file| file.path).collect();
            if !new.is_empty() && new.iter().all(|file| active.contains(&file.path)) {
                return Ok(true);
            }
            if !old.iter().all(|file| active.contains(&file.path)) {
                // Without new files, that all are gone may be the doing of a try whose answer was lost.
                let gone = old.iter().all(|file| !active.contains(&file.path));
                return Ok(new.is_empty() && last_error.is_some() && gone);
            }
            let mut actions =
                delta_schema::actions(Columns::of(definition).file_schema(), Some(&table), now)?;
            for file in old {
                actions.push(remove(id, file, fewer, now)?);
            }
            for file in new {
                actions.push(file.add(now, fewer)?);
            }
            let operation = match fewer {
                true => DeltaOperation::Delete { predicate: None },
                false => DeltaOperation::Optimize { predicate: None, target_size: 0 },
            };
            match self.commit(id, Some(&table), actions, operation).await {
                Ok(()) => return Ok(true),
                Err(error) => last_error = Some(error),
            }
        }
        Err(gave_up(id, last_error))
    }

    /// Removes the history of a table: its log begins with a checkpoint from now on, and what earlier commits said of
    /// files that are gone (among it the least and greatest of their texts) is on the disk no more.
    pub(crate) async fn forget_history(&self, definition: &str) -> Result<()> {
        let doing = || format!("the history of \"{definition}\" could not be removed");
        let Some(table) = self.load(definition).await? else { return Ok(()) };
        let version = table.version();
        checkpoint(Arc::clone(&table.log), version).await.unavailable(doing)?;
        let folder = StorePath::from(format!("{definition}/{}", layout::LOG_FOLDER));
        let entries: Vec<_> = self.store.list(Some(&folder)).try_collect().await.unavailable(doing)?;
        for entry in entries {
            let of = entry
                .location
                .filename()
                .and_then(|name| name.get(..20))
                .and_then(|digits| digits.parse().ok());
            if of.is_some_and(|of: u64| of < version) {
                self.store.delete(&entry.location).await.unavailable(doing)?;
            }
        }
        Ok(())
    }

    /// One try, from exactly this state of the table; a checkpoint follows when one is due.
    async fn commit(
        &self,
        definition: &str,
        table: Option<&LoadedTable>,
        actions: Vec<Action>,
        operation: DeltaOperation,
    ) -> Result<(), DeltaTableError> {
        let log = match table {
            Some(table) => Arc::clone(&table.log),
            None => self.log(definition).map_err(|error| DeltaTableError::generic(error.to_string()))?,
        };
        let reference = table.map(|table| &table.state as &dyn TableReference);
        let prepared = CommitBuilder::default()
            .with_actions(actions)
            .with_max_retries(0)
            .build(reference, Arc::clone(&log), operation)
            .into_prepared_commit_future()
            .await?;
        let committed = Box::pin(prepared.into_future()).await?;
        // A bucket's word is not enough.
        if !self.has(definition, committed.version).await.unwrap_or(false) {
            return Err(DeltaTableError::generic("a commit that was reported as done is not there"));
        }
        self.note(definition, committed.version);
        if committed.version > 0 && committed.version.is_multiple_of(CHECKPOINT_EVERY) {
            // A checkpoint only makes opening faster, and the next one will be tried again.
            let _ = checkpoint(log, committed.version).await;
        }
        Ok(())
    }

    /// Delta wants one store rooted at the table and one that its URLs are resolved in. Both are the lake's, and the URL
    /// only says where in the lake: its scheme is our own, because for `file` Delta would look at the disk by itself
    /// and not through the store. So any store will do, and no part of a user's path needs escapes.
    fn log(&self, definition: &str) -> Result<LogStoreRef> {
        let url = Url::parse(&format!("lake:///{definition}/"))
            .internal(|| format!("\"{definition}\" cannot be the name of a table"))?;
        let prefixed = PrefixStore::new(Arc::clone(&self.store), StorePath::from(definition));
        Ok(default_logstore(Arc::new(prefixed), Arc::clone(&self.store), &url, &StorageConfig::default()))
    }
}

impl LoadedTable {
    pub(crate) fn version(&self) -> u64 {
        self.state.version()
    }

    pub(crate) fn state(&self) -> &DeltaTableState {
        &self.state
    }

    /// The files that are there at this version, ordered by day, then path.
    pub(crate) fn files(&self) -> Result<Vec<DataFile>> {
        Ok(self.numbered()?.into_iter().map(|one| one.file).collect())
    }

    /// The same with the numbers of their events.
    pub(crate) fn numbered(&self) -> Result<Vec<Numbered>> {
        let mut files = Vec::new();
        for file in self.state.log_data().iter() {
            let path = layout::in_lake(&self.definition, &file.path());
            let partition = file.partition_values_map();
            let day = partition.get(DAY).and_then(Option::as_deref).and_then(layout::parse_day).ok_or_else(
                || {
                    Error::internal(format!(
                        "the Delta log of \"{}\" has \"{path}\" without its day",
                        self.definition
                    ))
                },
            )?;
            let FileStats { rows, persons, times, json } = stats::of_log_entry(file.stats(), day);
            let file = DataFile { path, bytes: file.size().unsigned_abs(), rows, day, persons, times };
            files.push(Numbered { file, seqs: stats::numbers(&json) });
        }
        files.sort_by(|Numbered { file: a, .. }, Numbered { file: b, .. }| {
            (a.day, &a.path).cmp(&(b.day, &b.path))
        });
        Ok(files)
    }

    /// The last batch of ours that is in this version.
    pub(crate) async fn last_batch(&self) -> Result<Option<i64>> {
        Box::pin(self.state.transaction_version(&self.log, APPLICATION))
            .await
            .unavailable(|| format!("the Delta log of \"{}\" cannot be read", self.definition))
    }

    /// The files that earlier versions had, as far as the log remembers, and when each was removed.
    pub(crate) async fn removed(&self) -> Result<Vec<(String, Micros)>> {
        let tombstones: Vec<_> = self
            .state
            .all_tombstones(&self.log)
            .try_collect()
            .await
            .unavailable(|| format!("the Delta log of \"{}\" cannot be read", self.definition))?;
        Ok(tombstones
            .iter()
            .map(|file| {
                let millis = file.deletion_timestamp().unwrap_or_default();
                (layout::in_lake(&self.definition, &file.path()), Micros(millis.saturating_mul(1000)))
            })
            .collect())
    }
}

async fn checkpoint(log: LogStoreRef, version: u64) -> Result<(), DeltaTableError> {
    let mut table = DeltaTable::new(log);
    Box::pin(table.load_version(version)).await?;
    Box::pin(create_checkpoint(&table, None)).await?;
    cleanup_metadata(&table, None).await?;
    Ok(())
}

fn remove(definition: &str, file: &DataFile, data_change: bool, now: Micros) -> Result<Action> {
    Ok(Action::Remove(Remove {
        path: layout::within_table(definition, &file.path)?.to_owned(),
        data_change,
        deletion_timestamp: Some(now.0.div_euclid(1000)),
        extended_file_metadata: Some(true),
        partition_values: Some(partition(file.day)?),
        size: Some(signed(file.bytes)),
        ..Remove::default()
    }))
}

fn partition(day: Day) -> Result<HashMap<String, Option<String>>> {
    Ok([(DAY.to_owned(), Some(layout::day_text(day)?))].into())
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn gave_up(definition: &str, last: Option<DeltaTableError>) -> Error {
    let error =
        Error::unavailable(format!("the Delta log of \"{definition}\" takes no commit; try again later"));
    match last {
        Some(last) => error.with_source(last),
        None => error,
    }
}
