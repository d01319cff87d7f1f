//! `Engine`: the one object everyone above holds; open, import, execute, export, close.

mod answer;
mod config;
mod definitions;
mod execute;
mod exports;
mod exports_table;
mod housekeeping;
mod imports;
mod ingest;
mod keys;
mod live;
mod names;
mod people;
mod people_events;
mod people_identity;
mod people_import;
mod people_rows;
mod people_statements;
mod questions;
pub(crate) mod rows;
mod schedules;
mod segments;
mod serving;
mod settings;
mod show;
mod system;

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::sync::MutexGuard;

use crate::engine::keys::KeyRing;
use crate::engine::segments::EngineSegments;
use crate::error::Result;
use crate::export::Exports;
use crate::export::Retries;
use crate::ingest::FlushLimits;
use crate::ingest::Ingester;
use crate::query::Queries;
use crate::query::QueryConfig;
use crate::query::Session;
use crate::query::SystemTable;
use crate::sql::Statement;
use crate::storage::Storage;
use crate::storage::StorageConfig;
use crate::storage::snapshot::Snapshot;
use crate::time::Micros;
use crate::time::SharedClock;
use crate::time::SystemClock;

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
pub use names::Names;
pub use names::TableNames;
pub use people::PERSONS_OF_A_BATCH;
pub use people::PersonOp;
pub use people::Verdict;
pub use people_identity::Personalize;
pub use people_import::PeopleFile;
pub use people_import::PeopleImport;
pub use people_import::PeopleReport;
pub use rows::RowFormat;
pub use rows::RowWriter;
pub use serving::Announcement;
pub use serving::Door;
pub use settings::ServerSettings;
pub use settings::show as show_settings;

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
    exports: Exports,
    /// Held by the import that runs: two at once would give out the same persons and sequence numbers.
    importing: Arc<Mutex<()>>,
    /// Takes events one by one.
    ingester: Ingester,
}

impl Engine {
    /// Opens a data directory; a writer makes it when it is missing, and finishes what a crash left.
    ///
    /// # Errors
    /// `Unavailable` when another process writes to it; `NotFound` when there is nothing to read.
    pub async fn open(config: Config) -> Result<Self> {
        let clock: SharedClock = Arc::new(SystemClock);
        let mut storage = StorageConfig::new(&config.data, clock);
        (storage.read_only, storage.threads) = (config.read_only, config.thread_count());
        storage.event_id_memory = config.event_ids.unwrap_or(storage.event_id_memory);
        let storage = Storage::open(storage).await?;
        let queries = crate::analysis::register(Queries::new(QueryConfig {
            memory_bytes: usize::try_from(config.memory_bytes()).unwrap_or(usize::MAX),
            threads: config.thread_count(),
            spill_dir: storage.layout().spill(),
        })?)?;
        let system = system::tables(&storage, &config);
        let exports = Exports::new(Arc::clone(&storage), config.thread_count(), Retries::default());
        let importing = Arc::new(Mutex::default());
        let limits = FlushLimits::default();
        let ingester =
            Ingester::new(Arc::clone(&storage), SystemClock::shared(), Arc::clone(&importing), limits);
        if storage.unflushed().events > 0 {
            ingester.look_after();
        }
        if !config.read_only
            && let Err(error) = storage.resume_forgetting().await
        {
            tracing::warn!("somebody who is to be forgotten is not yet: {error}");
        }
        let keys = KeyRing::default();
        let inner = Inner { config, storage, queries, system, keys, exports, importing, ingester };
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
        let done = self.storage().compact(told).await?;
        let mut said = match done.files_before {
            0 => "nothing to compact: each day is in as few files as it needs".to_owned(),
            files => format!("{files} files became {} ({} rows)", done.files_after, done.rows),
        };
        if expired.events > 0 {
            said.push_str(&format!(
                "; {} events were older than they are kept and are removed",
                expired.events
            ));
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
    pub(crate) async fn turn_to_import(&self) -> MutexGuard<'_, ()> {
        self.inner.importing.lock().await
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
            None => Arc::new(self.inner.queries.session_with(
                Arc::clone(&snapshot),
                self.storage().object_store(),
                &self.inner.system,
                Some(Arc::new(EngineSegments(Arc::downgrade(&self.inner)))),
            )?),
        };
        *held = Some((snapshot, Arc::clone(&session)));
        Ok(session)
    }
}
