//! What is needed to ask about the past: when each batch came, and since when events of a definition are gone.

use std::collections::BTreeMap;

use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;

use crate::error::Result;
use crate::storage::catalog::Catalog;
use crate::time::Micros;

/// The tables of this file; times are microseconds since the epoch. Batches of earlier formats have no time.
pub(super) const TABLES: &str = "
    ALTER TABLE batches ADD COLUMN at INTEGER;

    CREATE TABLE removals (
        definition  TEXT PRIMARY KEY,
        at          INTEGER NOT NULL,
        last_seq    INTEGER NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE lake (
        one         INTEGER PRIMARY KEY CHECK (one = 1),
        url         TEXT NOT NULL,
        owner       TEXT NOT NULL
    );
";

/// The last time that old events of a definition were removed, and the number of the last event by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removal {
    pub at: Micros,
    pub last_seq: i64,
}

/// Where the lake is, when it is not in the data directory, and the name under which this one owns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptLake {
    pub url: String,
    pub owner: String,
}

/// The events that were there at a moment, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// All up to this one.
    pub whole: i64,
    /// Beyond those, up to this one, events of the log that had been received by then; none if it is not greater.
    pub logged: i64,
}

impl Catalog {
    /// What was there at a moment; an error with the first moment that is known when that is later.
    pub fn reached_at(&self, moment: Micros) -> Result<std::result::Result<Reached, Micros>> {
        self.read("read batches from", |tx| {
            let timeless = "SELECT count(*) FROM batches WHERE at IS NULL";
            let timeless: i64 = tx.query_row(timeless, [], |row| row.get(0))?;
            let first: Option<i64> = tx.query_row("SELECT min(at) FROM batches", [], |row| row.get(0))?;
            if timeless > 0
                && let Some(first) = first.filter(|first| moment.0 < *first)
            {
                return Ok(Err(Micros(first)));
            }
            let whole = "SELECT coalesce(max(last_seq), 0) FROM batches WHERE at IS NULL OR at <= ?1";
            let whole: i64 = tx.query_row(whole, [moment.0], |row| row.get(0))?;
            let next = "SELECT last_seq, log_position IS NOT NULL FROM batches
                        WHERE number = (SELECT min(number) FROM batches WHERE at > ?1)";
            let next = tx.query_row(next, [moment.0], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            let logged = match next {
                // What is in the log alone.
                None => i64::MAX,
                Some((last, true)) => last,
                Some((_, false)) => whole,
            };
            Ok(Ok(Reached { whole, logged }))
        })
    }

    /// The first batch with which the store had the event of this number; the newest when the log alone has it.
    pub fn batch_with(&self, seq: i64) -> Result<i64> {
        self.read("read batches from", |tx| {
            let sql = "SELECT coalesce((SELECT min(number) FROM batches WHERE last_seq >= ?1),
                                       (SELECT max(number) FROM batches), 0)";
            tx.query_row(sql, [seq], |row| row.get(0))
        })
    }

    /// Notes that old events of a definition are about to be removed.
    pub fn note_removal(&self, definition: &str, removal: Removal) -> Result<()> {
        self.write("note the removal of old events in", |tx| {
            let sql = "INSERT OR REPLACE INTO removals (definition, at, last_seq) VALUES (?1, ?2, ?3)";
            tx.execute(sql, params![definition, removal.at.0, removal.last_seq])?;
            Ok(())
        })
    }

    /// Where the lake is, when it is not in the data directory.
    pub fn lake(&self) -> Result<Option<KeptLake>> {
        self.read("read where the lake is from", |tx| {
            let row = |row: &Row<'_>| Ok(KeptLake { url: row.get(0)?, owner: row.get(1)? });
            tx.query_row("SELECT url, owner FROM lake", [], row).optional()
        })
    }

    /// Notes where the lake is.
    pub fn set_lake(&self, lake: Option<&KeptLake>) -> Result<()> {
        self.write("note where the lake is in", |tx| {
            tx.execute("DELETE FROM lake", [])?;
            if let Some(KeptLake { url, owner }) = lake {
                tx.execute("INSERT INTO lake (one, url, owner) VALUES (1, ?1, ?2)", [url, owner])?;
            }
            Ok(())
        })
    }

    /// The last removal of each definition that had one.
    pub fn removals(&self) -> Result<BTreeMap<String, Removal>> {
        self.read("read removals of old events from", |tx| {
            let mut statement = tx.prepare("SELECT definition, at, last_seq FROM removals")?;
            let rows = statement.query_map([], |row| {
                Ok((row.get(0)?, Removal { at: Micros(row.get(1)?), last_seq: row.get(2)? }))
            })?;
            rows.collect()
        })
    }
}
