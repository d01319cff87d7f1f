//! Events that come while the store is open: many callers, one log, one sync for all who wait.
//!
//! ```text
//! callers ─ rows ─▶ queue ─▶ one thread: check together · persons, duplicates, seq ─▶ log, synced ─▶ answers
//! ```
//! Each caller is answered when its rows survive a power cut and every query sees them. Callers who come while a group
//! is being synced are the next group, so the busier the store, the larger its groups. A large batch is checked by its
//! caller before it queues.

mod group;
mod report;
mod tail;
mod upkeep;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::Sender;
use std::sync::mpsc::channel;
use std::thread;
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::ingest::checker::CheckOptions;
use crate::ingest::live::group::Grouper;
use crate::ingest::live::group::Request;
use crate::ingest::live::tail::Tail;
use crate::ingest::live::upkeep::Upkeep;
use crate::ingest::turns::Turns;
use crate::storage::Storage;
use crate::time::SharedClock;

pub use report::Fate;
pub use report::IngestReport;
pub use report::RowFate;
pub use tail::Tailed;
pub use tail::TailedEvent;
pub use tail::Watcher;
pub use upkeep::FlushLimits;

/// A group that has grown to so many bytes takes no further request.
const GROUP_BYTES: usize = 8 << 20;

/// Rows to be stored: JSON objects, one a line, in the shapes that an import takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IngestBatch {
    lines: Bytes,
}

impl IngestBatch {
    /// Rows as lines of JSON. Blank lines count as rows and are passed over.
    pub fn lines(lines: impl Into<Bytes>) -> Self {
        Self { lines: lines.into() }
    }

    /// Rows one by one, each a JSON object.
    pub fn rows<'a>(rows: impl IntoIterator<Item = &'a serde_json::Value>) -> Self {
        let mut lines = Vec::new();
        for row in rows {
            lines.extend_from_slice(row.to_string().as_bytes());
            lines.push(b'\n');
        }
        Self::lines(lines)
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// How rows are taken.
#[derive(Clone, Debug)]
pub struct IngestOptions {
    pub check: CheckOptions,
    /// Unknown persons are created where the identifier allows it; otherwise their rows are refused.
    pub create_persons: bool,
    /// What the sender is called. Under one name, the same row with the same number is the same event, even without an
    /// `eventId`; without a name, a row that has none is always a new event.
    pub source: Option<String>,
    /// The number of the first row, for a sender whose rows come in several calls.
    pub first_row: u64,
    /// Nothing is stored if a row is refused, and the refused rows are told alone; they do not go into the quarantine.
    /// A row whose id another event has keeps none of the others out: it is what a batch has that is sent again.
    pub all_or_none: bool,
}

impl Default for IngestOptions {
    fn default() -> Self {
        Self {
            check: CheckOptions::default(),
            create_persons: true,
            source: None,
            first_row: 1,
            all_or_none: false,
        }
    }
}

/// Takes events into one store. Its thread begins with the first of them, and ends when this is dropped.
#[derive(Debug)]
pub struct Ingester {
    storage: Arc<Storage>,
    clock: SharedClock,
    /// Taken for each group.
    turns: Arc<Turns>,
    /// The way to the thread, once there is one.
    thread: Mutex<Option<Running>>,
    upkeep: Upkeep,
    tail: Tail,
}

#[derive(Debug)]
struct Running {
    queue: Option<Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Ingester {
    /// `turns` are those of all who decide about events in this store.
    pub fn new(storage: Arc<Storage>, clock: SharedClock, turns: Arc<Turns>, limits: FlushLimits) -> Self {
        let upkeep = Upkeep::new(Arc::clone(&storage), limits);
        Self { storage, clock, turns, thread: Mutex::default(), upkeep, tail: Tail::default() }
    }

    /// Brings what is in the log into the lake when it is due, from now on; the first call of
    /// [`Ingester::ingest`] does the same. To be called within the runtime.
    pub fn look_after(&self) {
        self.upkeep.begin();
    }

    /// Sees what is stored from now on.
    pub fn watch(&self) -> Watcher {
        self.tail.watch()
    }

    /// Stores rows. Returns when they are safe and every query sees them, with what became of each. Refused rows are
    /// no error; they are in the quarantine too.
    ///
    /// # Errors
    /// `Invalid` when the directory is open for reading only, `Unavailable` when the log cannot be written, or memory
    /// is full and cannot be flushed. Then nothing of it is stored, or all of it: sending it again stores each event once, if they have ids.
    pub async fn ingest(&self, batch: IngestBatch, options: IngestOptions) -> Result<IngestReport> {
        if batch.is_empty() {
            return Ok(IngestReport::default());
        }
        self.upkeep.begin();
        self.upkeep.make_room().await?;
        let (answer, answered) = oneshot::channel();
        let mut request = Request::new(batch.lines, options, answer);
        if request.is_checked_alone() {
            let storage = Arc::clone(&self.storage);
            let checking = tokio::task::spawn_blocking(move || request.checked(&storage));
            request = checking.await.internal(broken_off)??;
            if let Some(refused) = request.refused() {
                return Ok(refused);
            }
        }
        self.queue(request)?;
        let report = answered.await.internal(broken_off)?;
        self.upkeep.taken();
        report
    }

    fn queue(&self, request: Request) -> Result<()> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let running = match &mut *thread {
            Some(running) => running,
            none => none.insert(self.start()?),
        };
        let queue = running.queue.as_ref().ok_or_else(|| Error::internal(broken_off()))?;
        queue.send(request).map_err(|_| Error::internal(broken_off()))
    }

    fn start(&self) -> Result<Running> {
        // Refused here already, so that no thread is made for nothing.
        drop(self.storage.turn()?);
        let (queue, requests) = channel();
        let mut grouper =
            Grouper::new(Arc::clone(&self.storage), SharedClock::clone(&self.clock), self.tail.clone());
        let turns = Arc::clone(&self.turns);
        let work = move || {
            while let Some(group) = next_group(&requests) {
                let _turn = turns.group();
                grouper.store(group);
            }
        };
        let thread = thread::Builder::new().name("ingest".to_owned()).spawn(work);
        let thread = thread.unavailable(|| "could not begin to take events".to_owned())?;
        Ok(Running { queue: Some(queue), thread: Some(thread) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // Nobody waits for an answer any more, so it ends with the group that it is at.
            let _ = thread.join();
        }
    }
}

/// Waits for a request, and takes those that wait with it.
fn next_group(requests: &Receiver<Request>) -> Option<Vec<Request>> {
    let first = requests.recv().ok()?;
    let mut bytes = first.bytes();
    let mut group = vec![first];
    while bytes < GROUP_BYTES
        && let Ok(next) = requests.try_recv()
    {
        bytes += next.bytes();
        group.push(next);
    }
    Some(group)
}

fn broken_off() -> String {
    "the taking of events broke off".to_owned()
}

#[cfg(test)]
mod tests;
