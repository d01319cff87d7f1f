//! How far each import source was read, so that a killed import goes on and a finished one is not repeated.

use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::Transaction;
use rusqlite::params;

use crate::error::Result;
use crate::storage::catalog::Catalog;
use crate::time::Micros;

/// The progress of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceState {
    /// The absolute path or the URL.
    pub name: String,
    /// What tells this content from another under the same name: size and modification time, or an entity tag.
    pub fingerprint: String,
    /// Rows that are done, from the beginning.
    pub rows: u64,
    /// Bytes that are done, from the beginning.
    pub bytes: u64,
    pub finished: bool,
    pub finished_at: Option<Micros>,
    pub stored: u64,
    pub refused: u64,
    pub duplicate: u64,
}

const COLUMNS: &str = "name, fingerprint, rows, bytes, finished, finished_at, stored, refused, duplicate";

impl Catalog {
    pub fn source(&self, name: &str) -> Result<Option<SourceState>> {
        self.read("look up a source in", |tx| {
            let sql = format!("SELECT {COLUMNS} FROM sources WHERE name = ?1");
            tx.query_row(&sql, [name], read_row).optional()
        })
    }

    /// All of them, by name.
    pub fn sources(&self) -> Result<Vec<SourceState>> {
        self.read("list sources in", |tx| {
            let mut statement = tx.prepare(&format!("SELECT {COLUMNS} FROM sources ORDER BY name"))?;
            statement.query_map([], read_row)?.collect()
        })
    }
}

pub(crate) fn put(tx: &Transaction<'_>, source: &SourceState) -> rusqlite::Result<()> {
    let sql =
        format!("INSERT OR REPLACE INTO sources ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
    tx.prepare_cached(&sql)?.execute(params![
        source.name,
        source.fingerprint,
        source.rows,
        source.bytes,
        source.finished,
        source.finished_at.map(|at| at.0),
        source.stored,
        source.refused,
        source.duplicate,
    ])?;
    Ok(())
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<SourceState> {
    Ok(SourceState {
        name: row.get(0)?,
        fingerprint: row.get(1)?,
        rows: row.get(2)?,
        bytes: row.get(3)?,
        finished: row.get(4)?,
        finished_at: row.get::<_, Option<i64>>(5)?.map(Micros),
        stored: row.get(6)?,
        refused: row.get(7)?,
        duplicate: row.get(8)?,
    })
}
