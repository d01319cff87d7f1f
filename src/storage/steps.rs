//! The steps between which a stop must lose nothing and double nothing, and a seam by which tests stop there.

use std::fmt;

use crate::error::Result;

/// What has just been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The run of event ids of a batch is durable.
    IdsSealed,
    /// The data files of a batch are durable.
    FilesWritten,
    /// The catalog has the batch: from here on it is stored.
    Recorded,
    /// One table shows its part of the batch.
    TableCommitted,
    /// All tables show it, and the catalog does not know yet.
    Published,
    /// A table's rewritten files are durable, and its log has the old ones.
    Rewritten,
    /// A table's log has the rewritten files.
    Replaced,
    /// The catalog shows the persons of events that are not in the log yet.
    Noted,
    /// Events are in the log, and their caller does not know yet.
    Logged,
    /// Events of the log are in the lake, and still in the log.
    Flushed,
    /// Events about persons are stored, and still in the outbox.
    Told,
    /// It is noted that a person is to be forgotten.
    Asked,
}

/// Told about each step. An error stops the operation on the spot, as a crash would: nothing is tidied up.
pub trait Steps: fmt::Debug + Send + Sync {
    fn reached(&self, step: Step) -> Result<()>;
}
