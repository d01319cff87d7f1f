//! What became of each row that a caller sent.

use crate::ids::PersonId;
use crate::ingest::report::Refusal;

/// What became of the rows of one call, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IngestReport {
    pub rows: Vec<RowFate>,
    pub stored: u64,
    /// Events that were there already with the same content.
    pub duplicates: u64,
    pub refused: u64,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowFate {
    /// The number of its line; that of the first is in the options.
    pub row: u64,
    pub fate: Fate,
}

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is an event now.
    Stored {
        /// As the row gives it, or made for it.
        event_id: String,
        person: PersonId,
        /// The number of the event, by which all events are ordered as they came.
        seq: i64,
    },
    /// The same event is there already.
    Duplicate { event_id: String },
    /// It is none; [`Code::EventConflict`](crate::ingest::Code) when another event has its id.
    Refused(Box<Refusal>),
}

impl IngestReport {
    pub(super) fn push(&mut self, row: u64, fate: Fate) {
        match fate {
            Fate::Stored { .. } => self.stored += 1,
            Fate::Duplicate { .. } => self.duplicates += 1,
            Fate::Refused(_) => self.refused += 1,
        }
        self.rows.push(RowFate { row, fate });
    }
}
