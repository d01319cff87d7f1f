//! Events about persons: what changes of profiles have put into the outbox becomes events, each exactly once.
//!
//! The outbox is written in the transaction of the change. Its events are stored under ids that follow from their
//! numbers, and leave it when they are safe; after a stop in between they come again, and are known by their ids.

use serde_json::Value;
use serde_json::json;

use crate::engine::Engine;
use crate::engine::IngestBatch;
use crate::engine::IngestOptions;
use crate::error::Result;
use crate::storage::PeopleTx;
use crate::storage::catalog::OutboxRow;
use crate::storage::steps::Step;

/// Events that are stored at once.
const AT_ONCE: usize = 1_000;

impl Engine {
    /// Changes persons, when it is this one's turn, and stores the events that tell of it.
    pub(crate) async fn change_people<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut PeopleTx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let turn = self.turn_to_import().await;
        let done = self.storage().change_people(work).await?;
        drop(turn);
        self.tell_of_people().await?;
        Ok(done)
    }

    /// Stores the events that wait in the outbox.
    pub(crate) async fn tell_of_people(&self) -> Result<()> {
        loop {
            let waiting = self.storage().outbox(AT_ONCE)?;
            let Some(last) = waiting.last().map(|row| row.number) else { return Ok(()) };
            let rows: Vec<Value> = waiting.iter().map(event).collect();
            let options = IngestOptions { create_persons: false, ..IngestOptions::default() };
            // Refused is what was disabled since, or is about somebody who is no more.
            self.ingest(IngestBatch::rows(&rows), options).await?;
            self.storage().reached(Step::Told)?;
            self.storage().empty_outbox(last)?;
        }
    }
}

fn event(row: &OutboxRow) -> Value {
    json!({
        "definitionId": row.definition,
        "eventId": format!("milepost-person-{}", row.number),
        "personId": row.person.0,
        "occurredTime": row.at.to_string(),
        "properties": row.properties,
    })
}

#[cfg(test)]
mod tests;
