//! Batches: what one transaction makes true, and which of them the lake's log does not show yet.

use rusqlite::Error as SqlError;
use rusqlite::Transaction;
use rusqlite::params;
use rusqlite::types::Type;

use crate::error::Result;
use crate::person::Identifier;
use crate::person::Person;
use crate::storage::catalog::Catalog;
use crate::storage::catalog::RejectedRow;
use crate::storage::catalog::SourceState;
use crate::storage::catalog::persons;
use crate::storage::catalog::rejected;
use crate::storage::catalog::sources;
use crate::time::Micros;

/// Everything that becomes true together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchRecord {
    /// From 1, without gaps.
    pub number: i64,
    /// The position of the last event of this batch, or of an earlier one if it has none.
    pub last_seq: i64,
    /// One JSON text for each file that the lake is to show.
    pub files: Vec<String>,
    /// The names of the new runs of event ids.
    pub id_runs: Vec<String>,
    /// New persons, or known ones with what changed, and identifiers that lead to them from now on.
    pub persons: Vec<(Person, Vec<Identifier>)>,
    /// How far the sources are done.
    pub sources: Vec<SourceState>,
    pub rejected: Vec<RejectedRow>,
    /// Ids of refused rows that this batch resolved.
    pub replayed: Vec<i64>,
    /// The last record of the log whose events are stored with this batch or before it, if it took them from there.
    pub log_position: Option<u64>,
    /// When it came.
    pub at: Micros,
}

impl Catalog {
    /// The number of the next batch: one above the last that was recorded.
    pub fn next_batch(&self) -> Result<i64> {
        self.read("read batches from", |tx| {
            tx.query_row("SELECT coalesce(max(number), 0) + 1 FROM batches", [], |row| row.get(0))
        })
    }

    /// The position of the last event of the store; 0 when it has none.
    pub fn last_seq(&self) -> Result<i64> {
        self.read("read batches from", |tx| {
            // Not that of the newest batch: events of the log are numbered before they are in one.
            tx.query_row("SELECT coalesce(max(last_seq), 0) FROM batches", [], |row| row.get(0))
        })
    }

    /// The last record of the log whose events are in a batch; 0 when none is.
    pub fn log_position(&self) -> Result<u64> {
        self.read("read batches from", |tx| {
            tx.query_row("SELECT coalesce(max(log_position), 0) FROM batches", [], |row| row.get(0))
        })
    }

    /// Makes a batch true, in one transaction: when this returns it survives a power cut, and when it fails nothing
    /// of it is there.
    ///
    /// # Errors
    /// `Conflict` if the number is taken or an external id belongs to another person.
    pub fn record_batch(&self, batch: &BatchRecord) -> Result<()> {
        self.write("record a batch in", |tx| {
            let files = serde_json::to_string(&batch.files)
                .map_err(|error| SqlError::ToSqlConversionFailure(error.into()))?;
            tx.execute(
                "INSERT INTO batches (number, last_seq, files, log_position, at) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![batch.number, batch.last_seq, files, batch.log_position, batch.at.0],
            )?;
            persons::put(tx, &batch.persons)?;
            put_runs(tx, &batch.id_runs)?;
            batch.sources.iter().try_for_each(|source| sources::put(tx, source))?;
            rejected::put(tx, &batch.rejected)?;
            rejected::resolve(tx, &batch.replayed)
        })
    }

    /// Batches that were recorded and whose files the lake may not show yet, by number. Persons, sources and refused
    /// rows came into force with the record and are not repeated here.
    pub fn unpublished_batches(&self) -> Result<Vec<BatchRecord>> {
        self.read("read batches from", |tx| {
            let sql = "SELECT number, last_seq, files FROM batches WHERE published = 0 ORDER BY number";
            let mut statement = tx.prepare(sql)?;
            let rows = statement.query_map([], |row| {
                let files = serde_json::from_str(row.get_ref(2)?.as_str()?)
                    .map_err(|error| SqlError::FromSqlConversionFailure(2, Type::Text, error.into()))?;
                Ok(BatchRecord {
                    number: row.get(0)?,
                    last_seq: row.get(1)?,
                    files,
                    ..BatchRecord::default()
                })
            })?;
            rows.collect()
        })
    }

    /// The lake's own log has the batch now; its list of files is dropped here.
    pub fn mark_published(&self, number: i64) -> Result<()> {
        self.write("mark a batch in", |tx| {
            tx.execute("UPDATE batches SET published = 1, files = '[]' WHERE number = ?1", [number])?;
            Ok(())
        })
    }

    /// The names of the runs that hold the event ids of all recorded batches.
    pub fn id_runs(&self) -> Result<Vec<String>> {
        self.read("read the runs of event ids from", |tx| {
            let mut statement = tx.prepare("SELECT name FROM event_id_runs ORDER BY name")?;
            statement.query_map([], |row| row.get(0))?.collect()
        })
    }

    /// From now on the `new` runs stand for the `old` ones.
    pub fn replace_id_runs(&self, old: &[String], new: &[String]) -> Result<()> {
        self.write("replace runs of event ids in", |tx| {
            let mut statement = tx.prepare("DELETE FROM event_id_runs WHERE name = ?1")?;
            for name in old {
                statement.execute([name])?;
            }
            put_runs(tx, new)
        })
    }
}

fn put_runs(tx: &Transaction<'_>, names: &[String]) -> rusqlite::Result<()> {
    let mut statement = tx.prepare_cached("INSERT INTO event_id_runs (name) VALUES (?1)")?;
    for name in names {
        statement.execute([name])?;
    }
    Ok(())
}
