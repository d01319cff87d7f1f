//! From bytes to checked events: parse, validate, resolve the person, drop duplicates, report.
//!
//! ```text
//! source ─ chunks of JSON lines ─▶ checker (N threads) ─▶ sequencer (one) ─▶ storage.commit
//!                                  row: keys, types,      persons, duplicates,
//!                                  rules, columns         seq, in input order
//!
//! live: rows of many callers ─▶ checker ─▶ sequencer ─▶ the log, one sync for all who wait
//! ```

mod checker;
mod column;
mod fingerprint;
mod import;
pub mod json;
mod keys;
mod live;
pub mod map;
mod number;
mod plan;
#[doc(hidden)]
pub mod probe;
pub mod propose;
mod report;
mod row;
mod sequencer;
pub mod source;
mod turns;
mod validate;
mod who;

pub use checker::CheckOptions;
pub use checker::Checked;
pub use checker::Checker;
pub use checker::ROW_BYTES_LIMIT;
pub use import::ImportOptions;
pub use import::Importer;
pub use live::Fate;
pub use live::FlushLimits;
pub use live::IngestBatch;
pub use live::IngestOptions;
pub use live::IngestReport;
pub use live::Ingester;
pub use live::RowFate;
pub use live::Tailed;
pub use live::TailedEvent;
pub use live::Watcher;
pub use report::Code;
pub use report::Progress;
pub use report::Quiet;
pub use report::Refusal;
pub use report::Rejection;
pub use report::Report;
pub use report::Sample;
pub use turns::Turn;
pub use turns::Turns;
pub use who::PERSON_ID_LIMIT;
