//! Watching events as they become safe.

use crate::engine::Engine;

pub use crate::ingest::Tailed;
pub use crate::ingest::TailedEvent;
pub use crate::ingest::Watcher;

impl Engine {
    /// Sees every event that is stored from now on while this process has the store open, in order, but for those that
    /// came faster than they were read: how many these were is told in their place.
    pub fn watch(&self) -> Watcher {
        self.inner.ingester.watch()
    }
}
