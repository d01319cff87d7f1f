//! SQL over a snapshot: sessions, tables, functions, limits and cancellation.
//!
//! [`Queries`] is made once and holds what all queries share: memory, spill files, the cache of file footers. A
//! [`Session`] is one person's view of one snapshot; it costs next to nothing to make, and keeps views and settings.

mod active;
mod asked;
mod catalog;
mod computed;
mod definitions;
mod events;
mod failure;
mod files;
mod functions;
mod holding;
mod hot;
mod indexed;
mod layout;
mod merged;
mod millis;
mod named;
mod names;
mod people;
mod people_source;
mod person_set;
mod persons_column;
mod planned;
mod rules;
mod scan;
mod segments;
mod session;
mod source;
mod statement;
mod system;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod uniques;
mod whole;
mod wording;

pub use active::Active;
pub(crate) use asked::ask;
pub(crate) use asked::failure;
pub(crate) use asked::plan_of;
pub(crate) use asked::run;
pub use computed::ComputedColumn;
pub use computed::ComputedColumns;
pub use computed::ComputedField;
pub use computed::ComputedKind;
pub(crate) use files::LakeFile;
pub(crate) use indexed::Codes;
pub(crate) use indexed::Indexed;
pub(crate) use named::NamedTable;
pub(crate) use named::in_range;
pub use names::FunctionHelp;
pub use names::Names;
pub use names::TableNames;
pub(crate) use planned::Planned;
pub(crate) use planned::Wanted;
pub(crate) use planned::constant_text;
pub(crate) use planned::scan_by;
pub use segments::Segments;
pub use session::Progress;
pub use session::Queries;
pub use session::QueryConfig;
pub use session::Rows;
pub use session::Session;
pub use system::SystemTable;
