//! One batch from memory to a place where a power cut cannot take it, whole or not at all.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use futures::StreamExt;
use futures::stream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::person::Identifier;
use crate::person::Person;
use crate::person::Persons;
use crate::schema::EventBatch;
use crate::schema::Registry;
use crate::storage::FileRecord;
use crate::storage::Storage;
use crate::storage::catalog::BatchRecord;
use crate::storage::catalog::Catalog;
use crate::storage::catalog::RejectedRow;
use crate::storage::catalog::SourceState;
use crate::storage::delta::Tables;
use crate::storage::steps::Step;
use crate::storage::write;
use crate::time::SharedClock;

/// Tables that are committed to at the same time.
const AT_ONCE: usize = 4;

/// Everything that becomes true together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// In any order, and several of one definition if it suits.
    pub events: Vec<EventBatch>,
    /// New persons, or known ones with new identifiers.
    pub persons: Vec<(Person, Vec<Identifier>)>,
    /// All persons with those of this batch, where the caller has them already, so that they are held once. Nobody else
    /// may have added any since they were made.
    pub known: Option<Persons>,
    /// How far the sources are done with this batch.
    pub sources: Vec<SourceState>,
    pub rejected: Vec<RejectedRow>,
    /// Ids of refused rows that this batch resolved.
    pub replayed: Vec<i64>,
    /// The sequence number of the last event of this batch, or of an earlier one if it has none.
    pub last_seq: i64,
    /// The events are those of the log up to this record, which is done with them then; their ids are the logged ones.
    pub log_position: Option<u64>,
    /// Nobody has seen the sequence numbers yet, so they may be given anew, in the order in which rows lie in files.
    pub renumber: bool,
}

/// A batch on its way; it goes on also when this is dropped.
#[derive(Debug)]
pub struct Committing(JoinHandle<Result<i64>>);

impl Committing {
    /// Waits for the end of the commit; the number of the batch, or the errors of [`Storage::commit`].
    pub async fn finish(self) -> Result<i64> {
        self.0.await.internal(|| "the commit of a batch broke off".to_owned())?
    }
}

impl Storage {
    /// Stores a batch: its events, persons, progress and refusals, and the event ids that were checked since the last
    /// batch. When this returns, all of it survives a power cut and the next snapshot shows it. Once it is begun it
    /// goes on to its end, even if the caller stops waiting.
    ///
    /// Returns the number of the batch.
    ///
    /// # Errors
    /// When it fails before the catalog has the batch, nothing of it is there, and the checked event ids are forgotten.
    /// When it fails after that, the batch is stored, and the message says so: the next commit or start-up shows it.
    pub async fn commit(self: &Arc<Self>, batch: Batch) -> Result<i64> {
        self.begin(batch).await?.finish().await
    }

    /// Begins what [`Storage::commit`] does. When this returns, the event ids that were checked so far belong to the
    /// batch, and ids of the next one may be checked; not before [`Committing::finish`] may the next one begin.
    ///
    /// # Errors
    /// `Invalid` when the directory is open for reading only. All else is told at the end.
    pub async fn begin(self: &Arc<Self>, batch: Batch) -> Result<Committing> {
        self.writer()?;
        let storage = Arc::clone(self);
        let (sealed, told) = oneshot::channel();
        let task = tokio::spawn(async move { storage.commit_now(batch, sealed).await });
        // When nobody tells, it has failed before, and the end tells why.
        let _ = told.await;
        Ok(Committing(task))
    }

    async fn commit_now(self: &Arc<Self>, batch: Batch, sealed: oneshot::Sender<()>) -> Result<i64> {
        let _turn = self.committing.lock().await;
        if self.behind.load(Ordering::Acquire) {
            self.catch_up().await?;
        }
        let number = self.catalog.next_batch()?;
        let writing = self.mark.begin()?;
        let Batch { events, persons, known, sources, rejected, replayed, last_seq, log_position, renumber } =
            batch;

        let seal = async {
            let run = self.seal(number, log_position.is_some()).await;
            if run.is_ok() {
                // Nobody listens where the whole commit is waited for.
                let _ = sealed.send(());
            }
            run
        };
        // Ids go to one file and events to many others, so there is work for two threads.
        let (run, files) = match tokio::join!(seal, self.write_events(number, events, renumber)) {
            (Ok(run), Ok(files)) => (run, files),
            (run, files) => {
                self.abandon(files.as_deref().unwrap_or_default(), log_position).await?;
                writing.done();
                let error = run.err().or(files.err());
                return Err(error.unwrap_or_else(|| Error::internal("a batch was not written")));
            }
        };
        self.reached(Step::IdsSealed)?;
        self.reached(Step::FilesWritten)?;

        let record = BatchRecord {
            number,
            last_seq,
            files: files.iter().map(FileRecord::to_json).collect::<Result<_>>()?,
            id_runs: run.iter().cloned().collect(),
            persons,
            sources,
            rejected,
            replayed,
            log_position,
            at: self.config.clock.now(),
        };
        let (record, recorded) = self.record(record).await?;
        if let Err(error) = recorded {
            // The transaction may be there although its answer was lost.
            if self.catalog.next_batch()? <= number {
                self.abandon(&files, log_position).await?;
                writing.done();
                return Err(error);
            }
        }
        self.reached(Step::Recorded)?;

        self.event_ids()?.recorded();
        self.last_seq.fetch_max(last_seq, Ordering::AcqRel);
        self.behind.store(true, Ordering::Release);
        self.add_persons(record.persons, known).await;
        let published = self.show(number, files, log_position).await;
        published.map_err(|error| {
            let message =
                format!("batch {number} is stored, but not visible yet; it will be after the next start");
            Error::new(error.kind(), message).with_source(error)
        })?;
        self.behind.store(false, Ordering::Release);
        writing.done();
        self.merge_id_runs().await?;
        Ok(number)
    }

    /// Sorting and syncing some million ids is not for an async thread.
    async fn seal(self: &Arc<Self>, number: i64, logged: bool) -> Result<Option<String>> {
        let storage = Arc::clone(self);
        let work = move || {
            let mut ids = storage.event_ids()?;
            if logged { ids.seal_logged(number) } else { ids.seal(number) }
        };
        tokio::task::spawn_blocking(work)
            .await
            .internal(|| "the sealing of event ids broke off".to_owned())?
    }

    async fn write_events(
        self: &Arc<Self>,
        number: i64,
        events: Vec<EventBatch>,
        renumber: bool,
    ) -> Result<Vec<FileRecord>> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let storage = Arc::clone(self);
        let work = move || {
            let registry = storage.registry();
            let stem = format!("b{number:08}");
            let latest = |id: &str| registry.get(id).cloned();
            write::write_files(&storage.layout, storage.config.threads, &stem, events, renumber, latest)
        };
        let written = tokio::task::spawn_blocking(work).await;
        let files = written.internal(|| "the writing of a batch broke off".to_owned())??;
        // What is shipped of a batch that fails is an orphan, as what is written is.
        self.lake.ship(&files).await?;
        Ok(files)
    }

    /// The point of commitment. A batch may bring a hundred thousand persons, so it is not for an async thread.
    async fn record(self: &Arc<Self>, record: BatchRecord) -> Result<(BatchRecord, Result<()>)> {
        let storage = Arc::clone(self);
        let work = move || {
            let recorded = storage.catalog.record_batch(&record);
            (record, recorded)
        };
        tokio::task::spawn_blocking(work).await.internal(|| "the recording of a batch broke off".to_owned())
    }

    /// Removes what no record names, and forgets the ids that were checked for it; those of the log are still known,
    /// because their events are.
    async fn abandon(&self, files: &[FileRecord], log_position: Option<u64>) -> Result<()> {
        for file in files {
            self.lake.remove(&file.path).await?;
        }
        let mut ids = self.event_ids()?;
        if log_position.is_some() { ids.unseal() } else { ids.discard() }
    }

    /// Event ids of many batches are looked up faster when their runs are one.
    async fn merge_id_runs(self: &Arc<Self>) -> Result<()> {
        let storage = Arc::clone(self);
        let work = move || {
            let record = |old: &[String], new: &str| storage.catalog.replace_id_runs(old, &[new.to_owned()]);
            loop {
                // Ids are checked while the new run is written.
                let Some(due) = storage.event_ids()?.merge_due() else {
                    return Ok(());
                };
                let merged = due.write()?;
                storage.event_ids()?.adopt(merged, record)?;
            }
        };
        tokio::task::spawn_blocking(work)
            .await
            .internal(|| "the merging of event ids broke off".to_owned())?
    }

    async fn add_persons(&self, new: Vec<(Person, Vec<Identifier>)>, known: Option<Persons>) {
        if new.is_empty() {
            return;
        }
        self.view.forget_last().await;
        let mut held = self.persons.write().unwrap_or_else(PoisonError::into_inner);
        match known {
            Some(known) => *held = Arc::new(known.into()),
            None => Arc::make_mut(&mut held).add(new),
        }
    }

    /// Lets the tables show a recorded batch, for snapshots all of them at once.
    async fn show(&self, number: i64, files: Vec<FileRecord>, log_position: Option<u64>) -> Result<()> {
        let _whole = self.publishing.write().await;
        let registry = self.registry();
        let shown = |id: &str| {
            // From here on the table shows what its buffers held, so no snapshot may see both.
            self.buffers.drop_until(Some(id), log_position.unwrap_or(0));
            self.reached(Step::TableCommitted)
        };
        let of: BTreeSet<String> = files.iter().map(|file| file.definition.clone()).collect();
        let published = publish(&self.tables, &registry, &self.config.clock, number, files, shown).await;
        if let (Err(_), Some(position)) = (&published, log_position) {
            self.drop_shown(number, of, position).await;
        }
        published?;
        self.reached(Step::Published)?;
        self.catalog.mark_published(number)
    }

    /// After a failure: lets go of the buffers of tables that show the batch all the same, because only the answer was
    /// lost.
    async fn drop_shown(&self, number: i64, definitions: BTreeSet<String>, log_position: u64) {
        for id in definitions {
            let shows = async {
                let table = self.tables.load(&id).await.ok()??;
                table.last_batch().await.ok()?
            };
            if shows.await.is_some_and(|last| last >= number) {
                self.buffers.drop_until(Some(&id), log_position);
            }
        }
    }

    /// Shows what an earlier commit could not, if there is anything.
    pub(crate) async fn settle(&self) -> Result<()> {
        let _turn = self.committing.lock().await;
        if self.behind.load(Ordering::Acquire) { self.catch_up().await } else { Ok(()) }
    }

    /// Shows what an earlier commit recorded and could not show.
    async fn catch_up(&self) -> Result<()> {
        let _whole = self.publishing.write().await;
        roll_forward(&self.catalog, &self.tables, &self.registry(), &self.config.clock).await?;
        self.buffers.drop_until(None, self.catalog.log_position()?);
        self.behind.store(false, Ordering::Release);
        Ok(())
    }
}

/// Publishes every batch that the catalog has and that may not be in all tables, in order.
pub(crate) async fn roll_forward(
    catalog: &Catalog,
    tables: &Tables,
    registry: &Registry,
    clock: &SharedClock,
) -> Result<()> {
    for batch in catalog.unpublished_batches()? {
        let files = batch.files.iter().map(|json| FileRecord::from_json(json)).collect::<Result<Vec<_>>>()?;
        publish(tables, registry, clock, batch.number, files, |_| Ok(())).await?;
        catalog.mark_published(batch.number)?;
    }
    Ok(())
}

/// One commit in each table that has files of the batch; a table that has the batch already is left as it is. `shown`
/// is told of each table when it shows the batch.
async fn publish(
    tables: &Tables,
    registry: &Registry,
    clock: &SharedClock,
    number: i64,
    files: Vec<FileRecord>,
    shown: impl Fn(&str) -> Result<()>,
) -> Result<()> {
    let mut by_definition: BTreeMap<String, Vec<FileRecord>> = BTreeMap::new();
    for file in files {
        by_definition.entry(file.definition.clone()).or_default().push(file);
    }
    let shown = &shown;
    stream::iter(by_definition)
        .map(|(id, files)| async move {
            let definition = registry.get(&id)?;
            tables.publish(definition, number, &files, clock.now()).await?;
            shown(&id)
        })
        .buffer_unordered(AT_ONCE)
        // All of them to their end: a commit that is given up on its way may be there or come to be.
        .collect::<Vec<Result<()>>>()
        .await
        .into_iter()
        .collect()
}
