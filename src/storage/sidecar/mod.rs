//! The index beside a data file: who is in it, and when each of its events occurred, small enough to be read in place
//! of the file by questions that need no more.
//!
//! ```text
//! head      which file it belongs to, how many rows and persons, where the sections are, checksums
//! persons   the ids of the persons, each once, in order
//! events    a bit for each row, set where another person begins; then the times of day of all rows, bit-packed
//! ```
//!
//! It is derived: made where the file is made, not synced, and made anew by compaction where it is missing. One that is
//! absent, torn, or of another file is passed over, and whoever asked reads the file.

mod bits;
mod build;
mod format;
mod index;
mod make;
mod repeats;

pub(crate) use build::Builder;
pub use format::Head;
pub use format::Sidecar;
pub use index::Index;
pub use index::Passed;
pub use make::Indexed;
pub(crate) use make::remove_with;
pub(crate) use make::sweep;
pub(crate) use make::write;

#[cfg(test)]
mod tests;
