//! Start-up: takes the lock, opens what there is, and finishes what a crash left undone.
//!
//! Whatever step a crash fell on: a batch that the catalog has is shown by all its tables in the end, once each; files
//! that neither the catalog nor a log names are removed; events of the log that no batch has are taken from there.

use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::error::Context;
use crate::error::Result;
use crate::person::CustomAttributes;
use crate::schema::Registry;
use crate::schema::StoredRow;
use crate::storage::KnownPersons;
use crate::storage::Layout;
use crate::storage::StorageConfig;
use crate::storage::buffer::Buffers;
use crate::storage::catalog::Catalog;
use crate::storage::commit;
use crate::storage::delta::Tables;
use crate::storage::known_ids::KnownIds;
use crate::storage::lake::Lake;
use crate::storage::live;
use crate::storage::live::Log;
use crate::storage::live::Replayed;
use crate::storage::lock::DirLock;
use crate::storage::object;
use crate::storage::vacuum;

/// What a data directory holds, in order.
pub(crate) struct Opened {
    pub lock: Option<DirLock>,
    pub catalog: Arc<Catalog>,
    pub lake: Lake,
    pub tables: Tables,
    pub registry: Registry,
    pub persons: KnownPersons,
    pub attributes: CustomAttributes,
    /// For a writer.
    pub event_ids: Option<KnownIds>,
    pub log: Option<Log>,
    pub buffers: Buffers,
    pub last_seq: i64,
}

pub(crate) async fn open(config: &StorageConfig, layout: &Layout) -> Result<Opened> {
    if config.read_only {
        return open_for_reading(layout);
    }
    object::create_folder(layout.root())?;
    let lock = DirLock::acquire(layout.root(), config.clock.now())?;
    let catalog = Catalog::open(&layout.catalog())?;
    let registry = registry(&catalog, true)?;
    let lake = Lake::of_writer(layout, &catalog, config.lake.as_deref()).await?;
    object::create_folder(&layout.ids())?;
    let tables = lake.tables_of_writer();

    commit::roll_forward(&catalog, &tables, &registry, &config.clock).await?;
    let mark = layout.writing();
    if mark.try_exists().unavailable(|| format!("could not look for \"{}\"", mark.display()))? {
        vacuum::sweep(&lake, &tables, config.grace, config.clock.now(), &HashSet::new()).await?;
        object::remove_file(&mark)?;
    }
    let Replayed { log, ids, buffers, last_seq } = live::replay(config, layout, &catalog, &registry)?;
    let attributes = catalog.load_attributes()?;
    let catalog = Arc::new(catalog);
    let persons = KnownPersons::of(&catalog)?;
    let event_ids = KnownIds::new(layout.ids(), config.event_id_memory, Arc::clone(&catalog), ids);
    Ok(Opened {
        lock: Some(lock),
        catalog,
        lake,
        tables,
        registry,
        persons,
        attributes,
        event_ids: Some(event_ids),
        log: Some(log),
        buffers,
        last_seq,
    })
}

fn open_for_reading(layout: &Layout) -> Result<Opened> {
    let catalog = Catalog::open_read_only(&layout.catalog())?;
    let registry = registry(&catalog, false)?;
    let lake = Lake::of_reader(layout, &catalog)?;
    let tables = Tables::new(Arc::clone(lake.store()));
    // Persons are read with the first snapshot, after the files that need them.
    let attributes = catalog.load_attributes()?;
    Ok(Opened {
        lock: None,
        catalog: Arc::new(catalog),
        lake,
        tables,
        registry,
        persons: KnownPersons::default(),
        attributes,
        event_ids: None,
        log: None,
        buffers: Buffers::default(),
        last_seq: 0,
    })
}

/// The definitions that the catalog keeps and those that this version of the program knows beyond them, which are kept
/// from now on.
fn registry(catalog: &Catalog, write: bool) -> Result<Registry> {
    let kept: Vec<StoredRow> = catalog
        .load_definitions()?
        .into_iter()
        .map(|(key, json, enabled)| StoredRow { key, json, enabled })
        .collect();
    let registry = Registry::load(kept.iter().cloned())?;
    if write {
        let rows = registry.rows()?;
        let new: Vec<&StoredRow> = rows.iter().filter(|row| !kept.contains(row)).collect();
        if !new.is_empty() {
            catalog
                .put_definitions(new.iter().map(|row| (row.key.as_str(), row.json.as_str(), row.enabled)))?;
        }
    }
    Ok(registry)
}

/// The file that says that there may be files which no log names: there while anyone writes, and left behind by a crash
/// or a failure.
#[derive(Debug)]
pub(crate) struct WritingMark {
    path: PathBuf,
    /// Writers at work, and those that broke off.
    open: Mutex<usize>,
}

/// One writer at work.
#[derive(Debug)]
pub(crate) struct Writing<'a> {
    mark: &'a WritingMark,
}

impl WritingMark {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, open: Mutex::new(0) }
    }

    /// To be called before the first file is made. It is not made durable: after a power cut without it, an orphan
    /// wastes its space until the next vacuum, and does no other harm.
    pub(crate) fn begin(&self) -> Result<Writing<'_>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        File::create(&self.path).unavailable(|| format!("could not make \"{}\"", self.path.display()))?;
        *open += 1;
        Ok(Writing { mark: self })
    }
}

impl Writing<'_> {
    /// To be called when logs name all files that were made, or they are gone.
    pub(crate) fn done(self) {
        let mut open = self.mark.open.lock().unwrap_or_else(PoisonError::into_inner);
        *open -= 1;
        if *open == 0 {
            // If it stays, the next start-up looks for orphans and finds none.
            let _ = object::remove_file(&self.mark.path);
        }
    }
}
