//! Text to [`Statement`]: our additions to SQL; parses only, runs nothing.

mod activity;
mod clauses;
mod cursor;
mod expand;
mod export;
mod funnel;
mod housekeeping;
mod parser;
mod people;
mod questions;
mod retention;
mod segment;
mod spelling;
mod split;
mod statement;
mod trend;

pub use crate::quote::quoted;
pub use expand::expand;
pub use expand::is_funnel;
pub use parser::parse;
pub use people::PeopleStatement;
pub use people::Who;
pub use segment::CreateSegment;
pub use segment::Members;
pub use segment::SegmentStatement;
pub use spelling::KEYWORDS;
pub use spelling::spelled;
pub use split::is_complete;
pub use statement::AlterEvent;
pub use statement::Change;
pub use statement::CreateEvent;
pub use statement::CreateExportSchedule;
pub use statement::ExportEvents;
pub use statement::ExportQuery;
pub use statement::Statement;
pub use statement::StatementKind;
