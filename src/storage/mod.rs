//! Where events live: the catalog, Parquet files by definition and day, and the commits that make them visible.
//!
//! The way of a batch of events, drawn once:
//!
//! ```text
//! commit ─ write ─▶ sorted Parquet files, durable, named by nobody        a stop here: orphans, removed at start-up
//!        ─ seal ──▶ a run of event ids, likewise
//!        ─ record ▶ ONE transaction of the catalog: files, ids, persons, progress, refused rows   ◀ now it is stored
//!        ─ publish▶ one Delta commit per definition, carrying the batch's number     a stop here: rolled forward at
//!        ─ mark ──▶ the catalog forgets the list of files                            start-up, each commit once
//! ```
//!
//! Events that come one by one go through the log: `live` makes them safe and visible, `flush` makes batches of them.
//!
//! One process writes to a data directory, the one that holds its lock; others read beside it.

mod adapt;
mod backup;
mod buffer;
mod commit;
mod compact;
mod copy;
mod delta;
mod delta_schema;
mod durable;
mod expire;
mod flush;
mod forget;
mod kept_columns;
mod keys;
mod known_ids;
mod known_persons;
mod lake;
mod live;
mod merge;
mod object;
mod overlay;
mod parquet;
mod people;
mod people_columns;
mod people_file;
mod people_kept;
mod people_rows;
mod pool;
mod record;
mod recover;
mod shape;
mod sidecar;
mod stats;
mod store;
mod travel;
mod vacuum;
mod verify;
mod view;
mod wal;
mod write;

pub mod catalog;
pub mod event_ids;
pub mod layout;
pub mod lock;
#[doc(hidden)]
pub mod probe;
pub mod snapshot;
pub mod steps;

#[cfg(test)]
pub(crate) use adapt::to_schema;
pub use backup::Copied;
pub use backup::restore;
pub use commit::Batch;
pub use commit::Committing;
pub use compact::CompactProgress;
pub use compact::Compacted;
pub use compact::OnProgress;
pub use delta::FileRecord;
pub use expire::Expired;
pub use expire::Retention;
pub use flush::Flushed;
pub use flush::Unflushed;
pub use forget::Receipt;
pub use known_persons::KnownPersons;
pub use layout::Layout;
pub use live::Turn;
pub(crate) use object::open_bucket;
pub(crate) use object::open_local;
pub use people::PeopleTx;
pub use people_rows::People;
pub use people_rows::PeopleChunk;
pub use record::LoggedGroup;
#[cfg(test)]
pub(crate) use shape::Times;
pub(crate) use shape::in_micros;
pub(crate) use sidecar::Builder as SidecarBuilder;
pub use sidecar::Head as SidecarHead;
pub use sidecar::Index;
pub use sidecar::Indexed;
pub use sidecar::Passed;
pub use sidecar::Sidecar;
pub use snapshot::DataFile;
pub use snapshot::Snapshot;
pub use snapshot::TableFiles;
pub use snapshot::TableTotals;
pub use store::Storage;
pub use store::StorageConfig;
pub use travel::AsOf;
pub use travel::Moment;
pub use verify::Verified;

#[cfg(test)]
mod tests;
