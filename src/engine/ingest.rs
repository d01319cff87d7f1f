//! Events that come while the store is open.

use std::sync::Arc;

use crate::engine::Engine;
use crate::error::Context;
use crate::error::Result;

pub use crate::ingest::CheckOptions;
pub use crate::ingest::Fate;
pub use crate::ingest::IngestBatch;
pub use crate::ingest::IngestOptions;
pub use crate::ingest::IngestReport;
pub use crate::ingest::RowFate;

impl Engine {
    /// Reads what the first event would wait for: the ids of all others, and all persons.
    ///
    /// # Errors
    /// `Invalid` when the directory is open for reading only; `Internal` when ids are missing or damaged.
    pub async fn expect_events(&self) -> Result<()> {
        let storage = Arc::clone(self.storage());
        let read = move || {
            storage.persons()?;
            storage.event_ids().map(drop)
        };
        let reading = tokio::task::spawn_blocking(read);
        reading.await.internal(|| "persons and event ids could not be read".to_owned())?
    }

    /// Stores rows, in the shapes that an import takes, and says of each what became of it. When this returns, the
    /// events survive a power cut and the next query sees them; calls from many tasks at once share the cost of that.
    /// Refused rows are no error; they are in the quarantine too. While an
    /// import runs, this waits until that stores a batch, which it does every second for those who wait.
    ///
    /// # Errors
    /// `Invalid` when the directory is open for reading only, `Unavailable` when the log cannot be written. Then
    /// nothing is acknowledged, and sending the same events again, with their ids, stores each once.
    pub async fn ingest(&self, batch: IngestBatch, options: IngestOptions) -> Result<IngestReport> {
        let zone = options.check.zone.or(self.config().zone);
        let check = CheckOptions { zone, ..options.check };
        let options = IngestOptions { check, ..options };
        self.inner.ingester.ingest(batch, options).await
    }
}
