//! When the log becomes files of the lake: in the background when enough has gathered or it has waited long enough, and
//! at once, with the callers waiting, when there is no more room in memory. Many small flushes make many small files, so
//! they are compacted here too; and events that their definitions keep no longer go.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::Weak;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::error::Error;
use crate::error::Result;
use crate::storage::Storage;
use crate::storage::Unflushed;

/// When the log is flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushLimits {
    /// Bytes of columns in memory that are worth a batch.
    pub bytes: usize,
    /// Events that are worth a batch, however small they are.
    pub events: usize,
    /// How long an event may be in the log alone, where only this process sees it.
    pub age: Duration,
    /// With so many bytes in memory callers wait until a flush has made room.
    pub most_bytes: usize,
}

impl Default for FlushLimits {
    fn default() -> Self {
        Self { bytes: 48 << 20, events: 400_000, age: Duration::from_secs(60), most_bytes: 192 << 20 }
    }
}

impl FlushLimits {
    /// Whether a flush is due.
    pub fn due(&self, held: Unflushed) -> bool {
        held.events > 0 && (held.bytes >= self.bytes || held.events >= self.events || held.age >= self.age)
    }

    fn full(&self, held: Unflushed) -> bool {
        held.bytes >= self.most_bytes
    }
}

/// How often the age of events is looked at, at least.
const LOOK: Duration = Duration::from_secs(5);
/// How long after a flush has failed the next one is tried.
const AFTER_FAILURE: Duration = Duration::from_secs(10);

/// A day of a definition that has so many files is made one, or few, again.
const MANY_FILES: usize = 8;
/// How often old events are looked for.
const EXPIRE_EVERY: Duration = Duration::from_secs(3600);

/// Flushes in the background while it is there.
#[derive(Debug)]
pub(super) struct Upkeep {
    limits: FlushLimits,
    storage: Arc<Storage>,
    /// Held by the caller who makes room for all who wait.
    room: tokio::sync::Mutex<()>,
    wake: Arc<Notify>,
    begun: AtomicBool,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Upkeep {
    pub(super) fn new(storage: Arc<Storage>, limits: FlushLimits) -> Self {
        Self {
            limits,
            storage,
            room: tokio::sync::Mutex::default(),
            wake: Arc::default(),
            begun: AtomicBool::new(false),
            task: Mutex::default(),
        }
    }

    /// Begins to look after the log, on this runtime.
    pub(super) fn begin(&self) {
        if self.begun.swap(true, Ordering::AcqRel) {
            return;
        }
        // Held weakly: the last handle on the store lets go of its lock, whatever the background does.
        let (storage, wake, limits) = (Arc::downgrade(&self.storage), Arc::clone(&self.wake), self.limits);
        let task = tokio::spawn(look_after(storage, wake, limits));
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }

    /// Waits until there is room in memory.
    ///
    /// # Errors
    /// `Unavailable` when there is none, and the flush that would make some fails.
    pub(super) async fn make_room(&self) -> Result<()> {
        if !self.limits.full(self.storage.unflushed()) {
            return Ok(());
        }
        let _turn = self.room.lock().await;
        if !self.limits.full(self.storage.unflushed()) {
            return Ok(());
        }
        self.storage.flush().await.map(|_| ()).map_err(|error| {
            let message = format!(
                "no events are taken until those in memory ({} MiB) are in the lake, and that failed: {error}",
                self.storage.unflushed().bytes >> 20
            );
            Error::unavailable(message).with_source(error)
        })
    }

    /// Lets the background look whether a flush is due.
    pub(super) fn taken(&self) {
        if self.limits.due(self.storage.unflushed()) {
            self.wake.notify_one();
        }
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

async fn look_after(storage: Weak<Storage>, wake: Arc<Notify>, limits: FlushLimits) {
    let mut expired = Instant::now();
    loop {
        // Whichever comes first.
        let _ = tokio::time::timeout(LOOK.min(limits.age), wake.notified()).await;
        let Some(storage) = storage.upgrade() else { return };
        let due = limits.due(storage.unflushed());
        let expires = expired.elapsed() >= EXPIRE_EVERY;
        if !due && !expires {
            continue;
        }
        if expires {
            expired = Instant::now();
        }
        if let Err(error) = keep_in_order(&storage, expires).await {
            tracing::warn!("the log could not be brought into the lake and in order, and is kept: {error}");
            drop(storage);
            tokio::time::sleep(AFTER_FAILURE).await;
        }
    }
}

async fn keep_in_order(storage: &Arc<Storage>, expires: bool) -> Result<()> {
    storage.flush().await?;
    if expires {
        storage.expire().await?;
    }
    if has_many_files(storage).await? {
        storage.compact(Arc::new(|_| {})).await?;
    }
    Ok(())
}

/// Whether a day of a definition has so many files that queries would feel it.
async fn has_many_files(storage: &Storage) -> Result<bool> {
    let snapshot = storage.snapshot().await?;
    Ok(snapshot.tables.values().any(|table| {
        // Files are in the order of days.
        table.files.windows(MANY_FILES).any(|files| files[0].day == files[MANY_FILES - 1].day)
    }))
}
