//! From the log to the lake: everything that is logged so far becomes a batch, which names the last record it took.
//!
//! The batch is committed as any other, so a stop at any step leaves it whole or absent. With it the catalog has the
//! position in the log: records up to there are done, and a replay begins behind it. Until the lake's tables show the
//! batch, the buffers do, and no snapshot ever sees both.

use std::sync::Arc;

use crate::error::Context;
use crate::error::Result;
use crate::schema::EventBatch;
use crate::storage::Batch;
use crate::storage::Storage;
use crate::storage::steps::Step;

/// What a flush did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Events that are in the lake now and were in the log alone.
    pub events: u64,
}

struct Cut {
    events: Vec<EventBatch>,
    /// The last record that is in it.
    record: u64,
    last_seq: i64,
}

impl Storage {
    /// Brings everything that is logged so far into the lake, and trims the log. Does nothing when there is nothing.
    ///
    /// # Errors
    /// `Invalid` when the directory is open for reading only; `Unavailable` since the log has failed. When it fails,
    /// the events stay in the log and visible, and the next flush takes them.
    pub async fn flush(self: &Arc<Self>) -> Result<Flushed> {
        self.writer()?;
        let _turn = self.flushing.lock().await;
        // What an earlier flush recorded must not be taken once more.
        self.settle().await?;
        let storage = Arc::clone(self);
        let cut = tokio::task::spawn_blocking(move || storage.cut_log()).await;
        let Some(cut) = cut.internal(broken_off)?? else { return Ok(Flushed::default()) };
        let events = cut.events.iter().map(|events| events.rows.num_rows() as u64).sum();
        self.commit(Batch {
            events: cut.events,
            last_seq: cut.last_seq,
            log_position: Some(cut.record),
            ..Batch::default()
        })
        .await?;
        self.reached(Step::Flushed)?;
        let storage = Arc::clone(self);
        tokio::task::spawn_blocking(move || storage.log()?.wal().trim(cut.record))
            .await
            .internal(broken_off)??;
        Ok(Flushed { events })
    }

    /// How much is logged and not in the lake yet: bytes of memory, events, and the age of the oldest.
    pub fn unflushed(&self) -> Unflushed {
        let (bytes, events, since) = self.buffers.extent();
        Unflushed { bytes, events, age: since.map(|since| since.elapsed()).unwrap_or_default() }
    }

    fn cut_log(&self) -> Result<Option<Cut>> {
        let mut log = self.log()?;
        log.usable()?;
        let record = log.wal().last();
        if record <= self.catalog.log_position()? {
            return Ok(None);
        }
        log.wal().cut();
        self.event_ids()?.cut_logged();
        Ok(Some(Cut { events: self.buffers.cut(), record, last_seq: self.last_seq() }))
    }
}

/// What is logged and not in the lake yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unflushed {
    pub bytes: usize,
    pub events: usize,
    pub age: std::time::Duration,
}

fn broken_off() -> String {
    "the flush of the log broke off".to_owned()
}
