//! Events out of the store in the published format: gzip JSON lines, exactly once.
//!
//! An order becomes a request in the catalog, which attempts are made at until it is done (`service`, `state`). An
//! attempt becomes a plan (which files of the snapshot, pure); each day of it is read, written as JSON from the columns
//! and put into order (`lines`, on the disk what does not fit in memory), cut into files, compressed on several threads,
//! and published whole. The manifest is the last file to appear: what it does not name is not exported.

mod arn;
mod clock;
mod clouds;
mod credentials;
mod day;
mod encode;
mod fault;
mod gzip;
mod json;
mod lake;
mod late;
mod lines;
mod manifest;
mod moments;
mod order;
mod plan;
mod publish;
mod rows;
mod run;
mod schedule;
mod schedules;
mod service;
mod shape;
mod spill;
mod state;
mod target;
mod writer;

#[cfg(test)]
mod testing;

pub use manifest::ExportedFile;
pub use order::ExportOrder;
pub use order::ExportRules;
pub use plan::ExportLimits;
pub use plan::ExportRequest;
pub use plan::ROWS_PER_FILE;
pub use rows::RowFormat;
pub(crate) use rows::RowsJob;
pub use rows::RowsReport;
pub(crate) use rows::complete;
pub(crate) use rows::run as run_rows;
pub(crate) use run::ExportJob;
pub use run::ExportProgress;
pub use run::ExportReport;
pub use run::NoProgress;
pub use run::Progress;
pub(crate) use run::run;
pub use schedule::Schedule;
pub(crate) use schedule::interval_text;
pub use schedule::parse_interval;
pub use schedules::ScheduleState;
pub use service::ExportState;
pub use service::Exports;
pub use service::Worked;
pub(crate) use service::seq_seen;
pub use state::ExportStatus;
pub use state::Retries;
pub use target::Destination;
pub use target::Target;
pub(crate) use target::is_bucket;
