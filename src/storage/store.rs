//! `Storage`: one open data directory, which everything that keeps or reads events goes through.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicI64;
use std::thread;
use std::time::Duration;

use object_store::ObjectStore;

use crate::error::Error;
use crate::error::Result;
use crate::person::CustomAttributes;
use crate::person::Persons;
use crate::schema::Definition;
use crate::schema::Registry;
use crate::storage::Index;
use crate::storage::KnownPersons;
use crate::storage::Layout;
use crate::storage::TableTotals;
use crate::storage::buffer::Buffers;
use crate::storage::catalog::Catalog;
use crate::storage::delta::Tables;
use crate::storage::event_ids::EventIds;
use crate::storage::known_ids::KnownIds;
use crate::storage::lake::Lake;
use crate::storage::live::HeldLog;
use crate::storage::lock::DirLock;
use crate::storage::overlay::Overlay;
use crate::storage::people_file::PeopleFile;
use crate::storage::people_rows::PeopleRows;
use crate::storage::recover;
use crate::storage::recover::WritingMark;
use crate::storage::steps::Step;
use crate::storage::steps::Steps;
use crate::storage::view::View;
use crate::storage::wal::Disk;
use crate::storage::wal::Medium;
use crate::time::Micros;
use crate::time::SharedClock;

/// Data files end at about this size when they are compacted.
const TARGET_FILE_BYTES: u64 = 128 * 1024 * 1024;
/// How long files that compaction replaced stay for readers in other processes.
const GRACE: Duration = Duration::from_secs(600);
/// Of the 1.5 GiB that an import may use; a guess.
const EVENT_ID_MEMORY: usize = 192 * 1024 * 1024;

const INDEX_MEMORY: usize = 256 * 1024 * 1024;

/// Segments of the log are trimmed as a whole, and read as a whole.
const LOG_SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// How to open a data directory.
#[derive(Clone, Debug)]
pub struct StorageConfig {
    /// The data directory.
    pub dir: PathBuf,
    /// Take no lock and write nothing; works beside a writer.
    pub read_only: bool,
    /// Threads that write or rewrite files at a time.
    pub threads: usize,
    /// The size that compaction aims at.
    pub target_file_bytes: u64,
    /// How long replaced files stay on disk for readers in other processes, which may still be reading them.
    pub grace: Duration,
    /// The most bytes of memory for known event ids; what does not fit is looked up on disk.
    pub event_id_memory: usize,
    /// The most bytes of memory for the indexes beside data files that were used last.
    pub index_memory: usize,
    pub clock: SharedClock,
    /// A file of the log that has grown to this size is followed by another.
    pub log_segment_bytes: u64,
    /// `s3://bucket/prefix` for a lake in a bucket; needed only when the data directory is made, which remembers it.
    pub lake: Option<String>,
    /// Told about each step of writing; for tests.
    pub steps: Option<Arc<dyn Steps>>,
    /// The disk under the log; for tests.
    pub(crate) medium: Option<Arc<dyn Medium>>,
}

impl StorageConfig {
    /// A writer with all cores and the usual sizes.
    pub fn new(dir: impl Into<PathBuf>, clock: SharedClock) -> Self {
        Self {
            dir: dir.into(),
            read_only: false,
            threads: thread::available_parallelism().map_or(1, usize::from),
            target_file_bytes: TARGET_FILE_BYTES,
            grace: GRACE,
            event_id_memory: EVENT_ID_MEMORY,
            index_memory: INDEX_MEMORY,
            clock,
            log_segment_bytes: LOG_SEGMENT_BYTES,
            lake: None,
            steps: None,
            medium: None,
        }
    }

    pub(crate) fn log_medium(&self) -> Arc<dyn Medium> {
        self.medium.clone().unwrap_or_else(|| Arc::new(Disk))
    }

    /// A reader.
    pub fn read_only(dir: impl Into<PathBuf>, clock: SharedClock) -> Self {
        Self { read_only: true, ..Self::new(dir, clock) }
    }
}

/// An open data directory.
#[derive(Debug)]
pub struct Storage {
    pub(crate) config: StorageConfig,
    pub(crate) layout: Layout,
    pub(crate) lake: Lake,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) tables: Tables,
    pub(crate) view: View,
    pub(crate) index: Arc<Index>,
    /// Held by whoever commits a batch, from its first file to its last log entry.
    pub(crate) committing: tokio::sync::Mutex<()>,
    /// Held by whoever rewrites files.
    pub(crate) compacting: tokio::sync::Mutex<()>,
    /// Held for writing while the tables get a batch one by one, so that no snapshot shows half of it.
    pub(crate) publishing: tokio::sync::RwLock<()>,
    /// A batch was recorded and could not be published; the next commit does that first.
    pub(crate) behind: AtomicBool,
    pub(crate) mark: WritingMark,
    pub(crate) persons: RwLock<Arc<KnownPersons>>,
    pub(crate) attributes: RwLock<Arc<CustomAttributes>>,
    pub(crate) people_rows: Arc<PeopleRows>,
    pub(crate) registry: RwLock<Arc<Registry>>,
    /// Logged events that are not in the lake yet.
    pub(crate) buffers: Arc<Buffers>,
    pub(crate) log: HeldLog,
    /// Held by whoever brings the log into the lake.
    pub(crate) flushing: tokio::sync::Mutex<()>,
    /// The number of the last event that was taken.
    pub(crate) last_seq: AtomicI64,
    pub(crate) store: Arc<Overlay>,
    event_ids: Option<KnownIds>,
    /// Let go last.
    _lock: Option<DirLock>,
}

impl Storage {
    /// Opens a data directory. A writer makes it when it is missing, takes its lock, and finishes what a crash left.
    ///
    /// # Errors
    /// `Unavailable` when another process writes to it; `NotFound` when there is nothing to read.
    pub async fn open(config: StorageConfig) -> Result<Arc<Self>> {
        let layout = Layout::new(&config.dir);
        let opened = recover::open(&config, &layout).await?;
        let mark = WritingMark::new(layout.writing());
        let catalog = opened.catalog;
        let file = PeopleFile::new(layout.people());
        let people_rows = Arc::new(PeopleRows::new(Arc::clone(&catalog), file, !config.read_only));
        let index = Arc::new(Index::new(layout.clone(), config.index_memory));
        Ok(Arc::new(Self {
            layout,
            catalog,
            view: View::new(opened.tables.clone(), config.read_only, Arc::clone(&index)),
            index,
            tables: opened.tables,
            committing: tokio::sync::Mutex::default(),
            compacting: tokio::sync::Mutex::default(),
            publishing: tokio::sync::RwLock::default(),
            behind: AtomicBool::new(false),
            mark,
            persons: RwLock::new(Arc::new(opened.persons)),
            attributes: RwLock::new(Arc::new(opened.attributes)),
            people_rows,
            registry: RwLock::new(Arc::new(opened.registry)),
            buffers: Arc::new(opened.buffers),
            log: opened.log.map(Mutex::new),
            flushing: tokio::sync::Mutex::default(),
            last_seq: AtomicI64::new(opened.last_seq),
            store: Arc::new(Overlay::new(Arc::clone(opened.lake.store()))),
            lake: opened.lake,
            event_ids: opened.event_ids,
            _lock: opened.lock,
            config,
        }))
    }

    /// Where things lie in the data directory.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The object store that holds the lake; [`DataFile::path`](crate::storage::DataFile) is a path in it. The newest
    /// events are files in memory, which nobody finds who looks for them on the disk.
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store) as Arc<dyn ObjectStore>
    }

    /// The time, by the clock that this was opened with.
    pub fn now(&self) -> Micros {
        self.config.clock.now()
    }

    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The definitions in force. A reader sees them as of its last snapshot.
    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// All persons, read now if nobody has asked for them yet. Whoever commits batches should let go of this before it
    /// does: while it is held, a batch that has new persons copies them all first.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn persons(&self) -> Result<Arc<Persons>> {
        self.known_persons().all().map(Arc::clone)
    }

    /// The persons for a snapshot, read or not.
    pub(crate) fn known_persons(&self) -> Arc<KnownPersons> {
        Arc::clone(&self.persons.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The ids of all events, for whoever checks new ones; their writer holds this from the first check of a batch on,
    /// and not while it commits, which seals the ids that were checked.
    ///
    /// # Errors
    /// `Invalid` when the directory is open for reading only; the first call reads them, and may fail to.
    pub fn event_ids(&self) -> Result<MutexGuard<'_, EventIds>> {
        self.event_ids.as_ref().ok_or_else(read_only)?.get()
    }

    /// Adds definitions or puts them in the place of those with their ids; durable and in force when this returns,
    /// all or none. Which changes are allowed is decided by `schema::evolve`.
    ///
    /// # Errors
    /// `Invalid` when the directory is open for reading only.
    pub fn define(&self, definitions: impl IntoIterator<Item = Definition>) -> Result<()> {
        self.writer()?;
        let mut registry = self.registry.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = Registry::clone(&registry);
        let mut rows = Vec::new();
        for definition in definitions {
            rows.push(Registry::row(&definition)?);
            next = next.with(definition);
        }
        let rows = rows.iter().map(|row| (row.key.as_str(), row.json.as_str(), row.enabled));
        self.catalog.put_definitions(rows)?;
        *registry = Arc::new(next);
        Ok(())
    }

    /// What each definition that has events holds, ordered by id.
    pub async fn totals(&self) -> Result<Vec<TableTotals>> {
        let snapshot = self.snapshot().await?;
        let totals = snapshot
            .tables
            .values()
            .filter_map(|table| Some(TableTotals { indexed: self.indexed(table), ..table.totals()? }));
        Ok(totals.collect())
    }

    /// An error unless this is the writer.
    pub(crate) fn writer(&self) -> Result<()> {
        if self.config.read_only { Err(read_only()) } else { Ok(()) }
    }

    pub(crate) fn reached(&self, step: Step) -> Result<()> {
        self.config.steps.as_ref().map_or(Ok(()), |steps| steps.reached(step))
    }
}

fn read_only() -> Error {
    Error::invalid("the data directory is open for reading only; leave out --read-only to change it")
}
