//! `Engine`: the one object everyone above holds; open, import, execute, export, close.

mod answer;
mod computed;
mod config;
mod definitions;
mod execute;
mod exports;
mod exports_table;
#[cfg(test)]
mod funnel_proof;
mod housekeeping;
mod imports;
mod ingest;
mod keys;
mod live;
mod membership;
mod names;
mod past;
mod people;
mod people_events;
mod people_identity;
mod people_import;
mod people_list;
mod people_rows;
mod people_statements;
mod people_told;
mod predefined;
mod questions;
pub(crate) mod rows;
mod schedules;
mod segment_doors;
mod segments;
mod serving;
mod settings;
mod show;
mod system;
mod tail;
mod visitors;

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::engine::computed::EngineComputed;
use crate::engine::computed::Keeper;
use crate::engine::keys::KeyRing;
use crate::engine::membership::Memberships;
use crate::engine::segments::EngineSegments;
use crate::error::Result;
use crate::export::Exports;
use crate::export::Retries;
use crate::ingest::Ingester;
use crate::ingest::Turn;
use crate::ingest::Turns;
use crate::query::Queries;
use crate::query::QueryConfig;
use crate::query::Session;
use crate::query::SystemTable;
use crate::sql::Statement;
use crate::storage::Storage;
use crate::storage::StorageConfig;
use crate::storage::snapshot::Snapshot;
use crate::storage::steps::Steps;
use crate::time::Micros;
use crate::time::SharedClock;
use crate::time::SystemClock;
use crate::time::Zone;

pub use crate::time::parse_zone;
pub use answer::Answer;
pub use answer::Rows;
pub use config::Config;
pub use config::DEFAULT_DATA;
pub use config::parse_bytes;
pub use housekeeping::restore;
pub use imports::ImportRequest;
pub use imports::Proposal;
pub use ingest::CheckOptions;
pub use ingest::Fate;
pub use ingest::IngestBatch;
pub use ingest::IngestOptions;
pub use ingest::IngestReport;
pub use ingest::RowFate;
pub use keys::Key;
pub use keys::Scope;
pub use live::StoredEvent;
pub use membership::Moved;
pub use names::Names;
pub use names::TableNames;
pub use people::PERSONS_OF_A_BATCH;
pub use people::PersonOp;
pub use people::Verdict;
pub use people_identity::Personalize;
pub use people_import::PeopleFile;
pub use people_import::PeopleImport;
pub use people_import::PeopleReport;
pub use people_list::PersonsPage;
pub use people_told::PersonForm;
pub use rows::RowFormat;
pub use rows::RowWriter;
pub use segment_doors::SegmentInfo;
pub use serving::Announcement;
pub use serving::Door;
pub use settings::ServerSettings;
pub use settings::show as show_settings;
pub use tail::Tailed;
pub use tail::TailedEvent;
pub use tail::Watcher;

/// An open data directory. Clones share it.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
    /// The session of this handle, over the snapshot that it last asked; views and settings live in it.
    session: Arc<Mutex<Option<Seen>>>,
}

/// A session, and the snapshot that it is over.
type Seen = (Arc<Snapshot>, Arc<Session>);

#[derive(Debug)]
struct Inner {
    config: Config,
    storage: Arc<Storage>,
    queries: Queries,
    system: Vec<Arc<dyn SystemTable>>,
    keys: KeyRing,
    computed: Keeper,
    exports: Exports,
    /// Two who decide at once would give out the same persons and sequence numbers.
    turns: Arc<Turns>,
    /// Takes events one by one.
    ingester: Ingester,
    memberships: Memberships,
}

impl Engine {
    /// Opens a data directory; a writer makes it when it is missing, and finishes what a crash left.
    ///
    /// # Errors
    /// `Unavailable` when another process writes to it; `NotFound` when there is nothing to read.
    pub async fn open(config: Config) -> Result<Self> {
        Self::open_with(config, None).await
    }

    /// The same with a seam by which tests stop it between two steps of writing.
    async fn open_with(config: Config, steps: Option<Arc<dyn Steps>>) -> Result<Self> {
        let clock: SharedClock = Arc::new(SystemClock);
        let mut storage = StorageConfig::new(&config.data, clock);
        (storage.read_only, storage.threads) = (config.read_only, config.thread_count());
        (storage.lake, storage.steps) = (config.lake.clone(), steps);
        storage.event_id_memory = config.event_ids.unwrap_or(storage.event_id_memory);
        let (of_queries, of_indexes) = config.shares_of_memory();
        storage.index_memory = of_indexes;
        let storage = Storage::open(storage).await?;
        let queries = Queries::new(QueryConfig {
            memory_bytes: of_queries,
            threads: config.thread_count(),
            spill_dir: storage.layout().spill(),
        })?;
        let queries = crate::analysis::register_in(queries, config.zone.unwrap_or(Zone::UTC))?;
        let system = system::tables(&storage, &config);
        let exports = Exports::new(Arc::clone(&storage), config.thread_count(), Retries::default());
        let turns = Arc::new(Turns::default());
        let limits = config.flush;
        let ingester = Ingester::new(Arc::clone(&storage), SystemClock::shared(), Arc::clone(&turns), limits);
        if storage.unflushed().events > 0 {
            ingester.look_after();
        }
        if !config.read_only
            && let Err(error) = storage.resume_forgetting().await
        {
            tracing::warn!("somebody who is to be forgotten is not yet: {error}");
        }
        let keys = KeyRing::default();
        let computed = Keeper::default();
        let inner = Inner {
            config,
            storage,
            queries,
            system,
            keys,
            computed,
            exports,
            turns,
            ingester,
            memberships: Memberships::default(),
        };
        let engine = Self { inner: Arc::new(inner), session: Arc::default() };
        if !engine.config().read_only {
            engine.tell_of_people().await?;
        }
        Ok(engine)
    }

    /// A handle on the same store with views and settings of its own, for one of several people who ask at a time.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), session: Arc::default() }
    }

    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The time, by the clock of the store.
    pub fn now(&self) -> Micros {
        self.storage().now()
    }

    /// The statements of a text; an error says where in the text it is.
    pub fn parse(&self, text: &str) -> Result<Vec<Statement>> {
        crate::sql::parse(text)
    }

    /// Makes each day of each definition one sorted file, or a few large ones, without the events that are kept no longer;
    /// says what it did.
    pub async fn compact(&self, progress: impl Fn(u64, u64) + Send + Sync + 'static) -> Result<String> {
        let told =
            Arc::new(move |now: crate::storage::CompactProgress| progress(now.bytes_done, now.bytes_total));
        let expired = self.storage().expire().await?;
        let visitors = self.forget_idle_visitors().await?;
        let done = self.storage().compact(told).await?;
        let mut said = match done.files_before {
            0 if done.indexed > 0 => "each day is in as few files as it needs".to_owned(),
            0 => "nothing to compact: each day is in as few files as it needs".to_owned(),
            files => format!("{files} files became {} ({} rows)", done.files_after, done.rows),
        };
        if done.indexed > 0 {
            said.push_str(&format!("; files that got the index that they lacked: {}", done.indexed));
        }
        if expired.events > 0 {
            said.push_str(&format!(
                "; {} events were older than they are kept and are removed",
                expired.events
            ));
        }
        if visitors > 0 {
            said.push_str(&format!("; {visitors} visitors were not seen for 45 days and are forgotten"));
        }
        Ok(said)
    }

    /// Ends the work of this handle: what the log alone has comes into the lake, where other programs see it too.
    /// Everything that was acknowledged is on disk already; the directory's lock goes with the last handle.
    pub async fn close(self) -> Result<()> {
        *self.session.lock().await = None;
        if !self.config().read_only {
            self.storage().flush().await?;
        }
        Ok(())
    }

    pub(crate) fn storage(&self) -> &Arc<Storage> {
        &self.inner.storage
    }

    /// The turn of an import; the next one waits for it.
    pub(crate) async fn turn_to_import(&self) -> Turn {
        self.inner.turns.whole().await
    }

    /// Looks again at what the writer did, where this is a reader.
    pub async fn refresh(&self) -> Result<()> {
        self.storage().snapshot().await.map(|_| ())
    }

    /// The session over the store as it is now.
    pub(crate) async fn session(&self) -> Result<Arc<Session>> {
        let snapshot = self.storage().snapshot().await?;
        let mut held = self.session.lock().await;
        let session = match &*held {
            Some((seen, session)) if Arc::ptr_eq(seen, &snapshot) => Arc::clone(session),
            Some((_, session)) => Arc::new(session.at(Arc::clone(&snapshot)).await?),
            None => Arc::new(self.session_over(Arc::clone(&snapshot))?),
        };
        *held = Some((snapshot, Arc::clone(&session)));
        Ok(session)
    }

    /// A session of its own over a snapshot.
    pub(crate) fn session_over(&self, snapshot: Arc<Snapshot>) -> Result<Session> {
        self.inner.queries.session_with(
            snapshot,
            self.storage().object_store(),
            &self.inner.system,
            Some(Arc::new(EngineSegments(Arc::downgrade(&self.inner)))),
            Some(Arc::new(EngineComputed(Arc::downgrade(&self.inner)))),
        )
    }
}
