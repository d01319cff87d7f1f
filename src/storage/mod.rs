//! Where events live: the catalog, Parquet files by definition and day, and the commits that make them visible.

pub mod catalog;
pub mod event_ids;
pub mod lock;
pub mod snapshot;
