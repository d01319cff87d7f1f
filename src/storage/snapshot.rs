//! An immutable view of the store: which definitions, persons and files there are; what every query reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::schema::Definition;
use crate::schema::Registry;
use crate::storage::Index;
use crate::storage::Indexed;
use crate::storage::KnownPersons;
use crate::storage::People;
use crate::time::Day;
use crate::time::Micros;

/// The store as it was at one moment; files that it names stay readable while it is held.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub registry: Arc<Registry>,
    pub persons: Arc<KnownPersons>,
    /// The table of persons.
    pub people: People,
    /// By definition id; every definition except templates, also those without files.
    pub tables: BTreeMap<String, Arc<TableFiles>>,
    /// What is known of files without reading them.
    pub index: Arc<Index>,
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
    /// The path in the lake's object store: `<definition>/day=YYYY-MM-DD/<name>.parquet`.
    pub path: String,
    pub bytes: u64,
    pub rows: u64,
    pub day: Day,
    /// The least and greatest `personId`, or wider.
    pub persons: (i64, i64),
    /// The least and greatest `occurredTime`, or wider.
    pub times: (Micros, Micros),
}

/// What the files of one definition amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableTotals {
    pub definition: String,
    /// Days with events.
    pub days: u64,
    pub first_day: Day,
    pub last_day: Day,
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
    /// What is beside those files; filled in by whoever can look.
    pub indexed: Indexed,
}

impl TableFiles {
    /// What there is; nothing for a definition without events.
    pub fn totals(&self) -> Option<TableTotals> {
        let (first, last) = (self.files.first()?, self.files.last()?);
        let days = 1 + self.files.windows(2).filter(|pair| pair[0].day != pair[1].day).count();
        Some(TableTotals {
            definition: self.definition.id.to_string(),
            days: days as u64,
            first_day: first.day,
            last_day: last.day,
            files: self.files.len() as u64,
            rows: self.files.iter().map(|file| file.rows).sum(),
            bytes: self.files.iter().map(|file| file.bytes).sum(),
            indexed: Indexed::default(),
        })
    }
}
