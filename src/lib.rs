//! Milepost keeps what people did and answers questions about it: a columnar engine for events.

pub mod cli;
pub mod engine;
pub mod error;
pub mod export;
pub mod ids;
pub mod ingest;
pub mod person;
pub mod query;
pub mod schema;
pub mod sql;
pub mod storage;
pub mod time;
pub mod value;
