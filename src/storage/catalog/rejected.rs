//! Quarantine: rows that were refused, whole and with the reason, until a replay takes them or somebody drops them.

use std::collections::BTreeMap;

use rusqlite::Row;
use rusqlite::Transaction;
use rusqlite::params;

use crate::error::Result;
use crate::person::Identifier;
use crate::person::Person;
use crate::storage::catalog::Catalog;
use crate::storage::catalog::persons;
use crate::time::Micros;

/// Bytes of rows that are read at once, but for the last of them.
const PAGE_BYTES: usize = 64 << 20;

/// One refused row; there is at most one for each row of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RejectedRow {
    /// Handed out by the catalog; 0 before that.
    pub id: i64,
    pub source: String,
    /// The line, or the number of the row in its source, from 1.
    pub row: u64,
    pub definition: Option<String>,
    pub property: Option<String>,
    pub expected: Option<String>,
    pub found: Option<String>,
    /// The reason, from the fixed set of `ingest`.
    pub code: String,
    pub message: String,
    /// The row as it came.
    pub raw: Vec<u8>,
    pub at: Micros,
}

impl Catalog {
    /// Adds the new persons and refused rows of logged events. Others see them when this returns, and the next batch
    /// makes them durable: until then the log is what keeps them.
    pub fn note(&self, new: &[(Person, Vec<Identifier>)], rejected: &[RejectedRow]) -> Result<()> {
        if new.is_empty() && rejected.is_empty() {
            return Ok(());
        }
        self.write_soon("note persons in", |tx| {
            persons::add(tx, new)?;
            put(tx, rejected)
        })
    }

    /// The refused rows with an id above `after`, by id: at most `limit`, and fewer when they are so large that they
    /// had better not be held at once. Call again with the last id until there are none.
    pub fn rejected(&self, after: i64, limit: usize) -> Result<Vec<RejectedRow>> {
        self.read("read refused rows from", |tx| {
            let sql = "SELECT id, source, row, definition, property, expected, found, code, message, raw, at
                       FROM rejected WHERE id > ?1 ORDER BY id LIMIT ?2";
            let mut statement = tx.prepare_cached(sql)?;
            let (mut rows, mut bytes) = (Vec::new(), 0);
            for row in
                statement.query_map(params![after, i64::try_from(limit).unwrap_or(i64::MAX)], read_row)?
            {
                let row = row?;
                bytes += row.raw.len();
                rows.push(row);
                if bytes >= PAGE_BYTES {
                    break;
                }
            }
            Ok(rows)
        })
    }

    /// The refused rows of one source: their numbers, with the ids that they have here.
    pub fn rejected_of(&self, source: &str) -> Result<BTreeMap<u64, i64>> {
        self.read("read refused rows from", |tx| {
            let sql = "SELECT row, id FROM rejected WHERE source = ?1";
            tx.prepare_cached(sql)?.query_map([source], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
    }
}

/// Adds refused rows. One for a row of a source that is there already takes its place: the reason may be another now.
pub(crate) fn put(tx: &Transaction<'_>, rejected: &[RejectedRow]) -> rusqlite::Result<()> {
    let mut statement = tx.prepare_cached(
        "INSERT INTO rejected (source, row, definition, property, expected, found, code, message, raw, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (source, row) DO UPDATE SET definition = excluded.definition, property = excluded.property,
         expected = excluded.expected, found = excluded.found, code = excluded.code, message = excluded.message,
         raw = excluded.raw, at = excluded.at",
    )?;
    for one in rejected {
        statement.execute(params![
            one.source,
            one.row,
            one.definition,
            one.property,
            one.expected,
            one.found,
            one.code,
            one.message,
            one.raw,
            one.at.0,
        ])?;
    }
    Ok(())
}

/// Drops rows that a replay has taken.
pub(crate) fn resolve(tx: &Transaction<'_>, ids: &[i64]) -> rusqlite::Result<()> {
    let mut statement = tx.prepare_cached("DELETE FROM rejected WHERE id = ?1")?;
    for id in ids {
        statement.execute([id])?;
    }
    Ok(())
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<RejectedRow> {
    Ok(RejectedRow {
        id: row.get(0)?,
        source: row.get(1)?,
        row: row.get(2)?,
        definition: row.get(3)?,
        property: row.get(4)?,
        expected: row.get(5)?,
        found: row.get(6)?,
        code: row.get(7)?,
        message: row.get(8)?,
        raw: row.get(9)?,
        at: Micros(row.get(10)?),
    })
}
