//! The way of an event into the log: whoever has the turn decides, logs and shows; and the way back after a stop.
//!
//! ```text
//! turn ─ check ids, number ─▶ append: catalog (persons, refusals) ─ log, synced ─▶ buffers, persons in memory
//! ```
//! When [`Turn::append`] returns, a power cut cannot take the events, and the next snapshot shows them.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::error::Error;
use crate::error::Result;
use crate::person::Persons;
use crate::schema::Registry;
use crate::storage::Layout;
use crate::storage::Storage;
use crate::storage::StorageConfig;
use crate::storage::buffer::Buffers;
use crate::storage::catalog::Catalog;
use crate::storage::event_ids::Verdict;
use crate::storage::record::LoggedGroup;
use crate::storage::steps::Step;
use crate::storage::wal::Wal;

/// The log of a writer.
#[derive(Debug)]
pub(crate) struct Log {
    wal: Wal,
    /// Why it takes nothing more: it has events that nothing shows.
    broken: Option<String>,
}

/// What was found in the log when it was opened.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub log: Log,
    /// Ids of the events in it, and their fingerprints.
    pub ids: Vec<(u128, u64)>,
    pub buffers: Buffers,
    pub last_seq: i64,
}

/// Opens the log and takes from it what the catalog does not have: nothing is decided again.
pub(crate) fn replay(
    config: &StorageConfig,
    layout: &Layout,
    catalog: &Catalog,
    registry: &Registry,
) -> Result<Replayed> {
    let done = catalog.log_position()?;
    let mut last_seq = catalog.last_seq()?;
    let (mut ids, buffers) = (Vec::new(), Buffers::default());
    let wal =
        Wal::open(&layout.log(), config.log_medium(), config.log_segment_bytes, done, |record, bytes| {
            let group = LoggedGroup::decode(bytes, |id| registry.get(id).cloned())?;
            catalog.note(&group.persons, &group.rejected)?;
            ids.extend(group.ids);
            last_seq = last_seq.max(group.last_seq);
            buffers.append(record, group.events)
        })?;
    Ok(Replayed { log: Log { wal, broken: None }, ids, buffers, last_seq })
}

/// The turn to decide about events and to log them; others wait for it.
#[derive(Debug)]
pub struct Turn<'a> {
    storage: &'a Storage,
    log: MutexGuard<'a, Log>,
    /// Ids that were remembered and are not in the log yet.
    decided: Vec<(u128, u64)>,
}

impl Storage {
    /// Waits for the turn to log events. Blocks, while others sync: not for an async thread. Nobody may import
    /// meanwhile, and the log must have been flushed before an import began.
    ///
    /// # Errors
    /// `Invalid` when the directory is open for reading only; `Unavailable` since the log has failed.
    pub fn turn(&self) -> Result<Turn<'_>> {
        self.writer()?;
        let log = self.log()?;
        log.usable()?;
        Ok(Turn { storage: self, log, decided: Vec::new() })
    }

    pub(crate) fn log(&self) -> Result<MutexGuard<'_, Log>> {
        self.writer()?;
        let log = self.log.as_ref().ok_or_else(|| Error::internal("a writer has no log"))?;
        Ok(log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The sequence number of the last event that the store has taken.
    pub fn last_seq(&self) -> i64 {
        self.last_seq.load(Ordering::Acquire)
    }
}

impl Log {
    pub(crate) fn usable(&self) -> Result<()> {
        match self.broken.as_deref().or(self.wal.failure()) {
            None => Ok(()),
            Some(why) => Err(Error::unavailable(format!(
                "no events are taken since the log has failed ({why}); mend that and start again: everything that was \
                 acknowledged is safe"
            ))),
        }
    }

    pub(crate) fn wal(&mut self) -> &mut Wal {
        &mut self.wal
    }
}

impl Turn<'_> {
    /// The number before that of the next event.
    pub fn last_seq(&self) -> i64 {
        self.storage.last_seq()
    }

    /// The persons as they are, for whom the next events may be.
    ///
    /// # Errors
    /// Those of [`Storage::persons`].
    pub fn persons(&self) -> Result<Persons> {
        self.storage.persons().map(|persons| Persons::clone(&persons))
    }

    /// Looks up the ids of events, and remembers the new ones.
    ///
    /// # Errors
    /// When known ids cannot be read.
    pub fn check(&mut self, key: u128, fingerprint: u64) -> Result<Verdict> {
        let verdict = self.storage.event_ids()?.check_logged(key, fingerprint)?;
        if verdict == Verdict::New {
            self.decided.push((key, fingerprint));
        }
        Ok(verdict)
    }

    /// Logs what was decided: when this returns, it is safe and visible.
    ///
    /// # Errors
    /// `Unavailable` when the log cannot be written. Unless the disk was full, it takes nothing more then, until the
    /// directory is opened again.
    pub fn append(mut self, group: LoggedGroup) -> Result<()> {
        if !group.is_empty() {
            let storage = self.storage;
            storage.catalog.note(&group.persons, &group.rejected)?;
            storage.reached(Step::Noted)?;
            let bytes = group.encode()?;
            // The catalog knows them, whatever becomes of their events.
            if !group.persons.is_empty() {
                let mut held = storage.persons.write().unwrap_or_else(PoisonError::into_inner);
                Arc::make_mut(&mut held).add(group.persons);
            }
            let record = self.log.wal.append(&bytes)?;
            self.decided.clear();
            self.log.broken = Some("events are in the log, and could not be shown".to_owned());
            storage.reached(Step::Logged)?;
            storage.last_seq.fetch_max(group.last_seq, Ordering::AcqRel);
            storage.buffers.append(record, group.events)?;
            self.log.broken = None;
        }
        self.decided.clear();
        Ok(())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // The ids of events that are not in the log must not make their next coming a duplicate.
        let decided = std::mem::take(&mut self.decided);
        if let (false, Ok(mut ids)) = (decided.is_empty(), self.storage.event_ids()) {
            ids.unlogged(decided);
        }
    }
}

/// The log of a writer as the storage holds it.
pub(crate) type HeldLog = Option<Mutex<Log>>;
