//! Events out of the store in the published format: gzip JSON lines, exactly once.
//!
//! A request becomes a plan (which files of the snapshot, pure); each day of it is read and put into order, cut into
//! files, written as JSON from the columns and compressed on several threads, and published whole. The manifest is the
//! last file to appear: what it does not name is not exported.

mod day;
mod gzip;
mod json;
mod manifest;
mod plan;
mod publish;
mod run;
mod target;

#[cfg(test)]
mod testing;

pub use manifest::ExportedFile;
pub use plan::ExportLimits;
pub use plan::ExportRequest;
pub use plan::ROWS_PER_FILE;
pub use run::ExportProgress;
pub use run::ExportReport;
pub use run::NoProgress;
pub use run::Progress;
pub use run::run;
pub use target::Target;
