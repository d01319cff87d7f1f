//! `KnownIds`: the event ids of a writer, which are opened by whoever first asks for one.
//!
//! Most of what opens a data directory for writing asks for none: a question, an export, a definition. Their time and
//! memory grow with the history; nobody should pay for them who takes no events.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;

use crate::error::Result;
use crate::storage::catalog::Catalog;
use crate::storage::event_ids::EventIds;

#[derive(Debug)]
pub(crate) struct KnownIds {
    dir: PathBuf,
    /// The most bytes of memory for runs.
    memory: usize,
    catalog: Arc<Catalog>,
    /// Held by whoever opens them; ids and fingerprints of logged events, until then.
    replayed: Mutex<Vec<(u128, u64)>>,
    opened: OnceLock<Mutex<EventIds>>,
}

impl KnownIds {
    /// The ids in `dir`, and `replayed`, which are those of events in the log.
    pub(crate) fn new(
        dir: PathBuf,
        memory: usize,
        catalog: Arc<Catalog>,
        replayed: Vec<(u128, u64)>,
    ) -> Self {
        Self { dir, memory, catalog, replayed: Mutex::new(replayed), opened: OnceLock::new() }
    }

    /// All of them, opened now if nobody has yet.
    ///
    /// # Errors
    /// Those of [`EventIds::open`]; the next call tries again.
    pub(crate) fn get(&self) -> Result<MutexGuard<'_, EventIds>> {
        let ids = match self.opened.get() {
            Some(ids) => ids,
            None => self.open()?,
        };
        Ok(ids.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn open(&self) -> Result<&Mutex<EventIds>> {
        let mut replayed = self.replayed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ids) = self.opened.get() {
            return Ok(ids);
        }
        let mut ids = EventIds::open(&self.dir, &self.catalog.id_runs()?, self.memory)?;
        replayed.drain(..).for_each(|(key, fingerprint)| ids.replayed(key, fingerprint));
        Ok(self.opened.get_or_init(|| Mutex::new(ids)))
    }
}
