//! An immutable view of the store: which definitions, persons and files there are; what every query reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::person::Persons;
use crate::schema::Definition;
use crate::schema::Registry;
use crate::time::Day;
use crate::time::Micros;

/// The store as it was at one moment; files that it names stay readable while it is held.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub registry: Arc<Registry>,
    pub persons: Arc<Persons>,
    /// By definition id; every definition except templates, also those without files.
    pub tables: BTreeMap<String, Arc<TableFiles>>,
}

/// The files of one definition.
#[derive(Clone, Debug)]
pub struct TableFiles {
    pub definition: Arc<Definition>,
    /// Ordered by day, then path.
    pub files: Vec<DataFile>,
}

/// One Parquet file: sorted by `(personId, occurredTime, seq)`, all of one UTC day.
#[derive(Clone, Debug, PartialEq)]
pub struct DataFile {
    /// The absolute path in the lake's object store, without a leading slash.
    pub path: String,
    pub bytes: u64,
    pub rows: u64,
    pub day: Day,
    /// The least and greatest `personId`.
    pub persons: (i64, i64),
    /// The least and greatest `occurredTime`.
    pub times: (Micros, Micros),
}
