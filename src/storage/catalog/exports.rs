//! Requests for exports, their attempts and the files that they published, so that a restart goes on where it stopped.
//!
//! What a status means and what may follow it is decided in `export::state`; here it is a word in a row.

use std::collections::BTreeMap;

use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::Transaction;
use rusqlite::params;

use crate::error::Result;
use crate::storage::catalog::Catalog;
use crate::time::Micros;

/// The tables of this file, a step of the catalog's format.
pub(crate) const TABLES: &str = "
    CREATE TABLE exports (
        id           TEXT PRIMARY KEY,
        position     INTEGER NOT NULL UNIQUE,
        schedule     TEXT,
        request      TEXT NOT NULL,
        start_time   INTEGER NOT NULL,
        end_time     INTEGER NOT NULL,
        status       TEXT NOT NULL,
        message      TEXT,
        attempts     INTEGER NOT NULL DEFAULT 0,
        failures     INTEGER NOT NULL DEFAULT 0,
        seen         INTEGER,
        rows         INTEGER NOT NULL DEFAULT 0,
        bytes        INTEGER NOT NULL DEFAULT 0,
        late         INTEGER NOT NULL DEFAULT 0,
        -- The seq up to which late events are counted.
        counted      INTEGER,
        submitted_at INTEGER NOT NULL,
        cancel_at    INTEGER,
        retry_at     INTEGER,
        finished_at  INTEGER
    );
    CREATE INDEX exports_open ON exports (position) WHERE finished_at IS NULL;

    CREATE TABLE export_attempts (
        export       TEXT NOT NULL REFERENCES exports (id),
        number       INTEGER NOT NULL,
        started_at   INTEGER NOT NULL,
        ended_at     INTEGER,
        outcome      TEXT,
        PRIMARY KEY (export, number)
    ) WITHOUT ROWID;

    -- Times are milliseconds, as the names of files tell them; closes: no other file has the same sub-range and comes later.
    CREATE TABLE export_files (
        export       TEXT NOT NULL REFERENCES exports (id),
        name         TEXT NOT NULL,
        start_milli  INTEGER NOT NULL,
        end_milli    INTEGER NOT NULL,
        part         INTEGER NOT NULL,
        closes       INTEGER NOT NULL,
        rows         INTEGER NOT NULL,
        bytes        INTEGER NOT NULL,
        sha256       TEXT NOT NULL,
        counts       TEXT NOT NULL,
        PRIMARY KEY (export, name)
    ) WITHOUT ROWID;

    CREATE TABLE export_schedules (
        name         TEXT PRIMARY KEY,
        request      TEXT NOT NULL,
        every        INTEGER NOT NULL,
        grace        INTEGER NOT NULL,
        next         INTEGER NOT NULL,
        created_at   INTEGER NOT NULL
    ) WITHOUT ROWID;
";

/// What a resumed attempt needs to write the same bytes: which merges of persons the first one saw, and the files that
/// were about to be put when it was cut off. A step of the catalog's format.
pub(crate) const PINS: &str = "
    ALTER TABLE exports ADD COLUMN merges INTEGER;
    ALTER TABLE exports ADD COLUMN merged_at INTEGER;
    ALTER TABLE export_files ADD COLUMN there INTEGER NOT NULL DEFAULT 1;
";

/// A request, and how it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportRow {
    pub id: String,
    /// The schedule that asked, if one did.
    pub schedule: Option<String>,
    /// What was asked, as JSON; holds no secret.
    pub request: String,
    pub start: Micros,
    pub end: Micros,
    pub status: String,
    pub message: Option<String>,
    pub attempts: u32,
    /// How many of the attempts ended with an error; those that were cut off are not among them.
    pub failures: u32,
    /// The greatest `seq` that the export takes, fixed by its first attempt.
    pub seen: Option<i64>,
    /// The merges of persons that the export knows: up to this number, as they were in force at that time; fixed by its
    /// first attempt.
    pub merges: Option<(i64, Micros)>,
    /// Published so far.
    pub rows: u64,
    pub bytes: u64,
    /// Events of the range that came after `seen`, when that was last counted.
    pub late: u64,
    pub submitted_at: Micros,
    pub cancel_at: Option<Micros>,
    pub retry_at: Option<Micros>,
    pub finished_at: Option<Micros>,
}

/// A file that an export published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportFileRow {
    pub name: String,
    pub start_milli: i64,
    pub end_milli: i64,
    pub part: i64,
    pub closes: bool,
    pub rows: u64,
    pub bytes: u64,
    pub sha256: String,
    /// Rows by definition, as JSON.
    pub counts: String,
}

/// What became of a request that was to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddedExport {
    Added,
    /// There is one of this id already.
    Known(Box<ExportRow>),
    /// So many microseconds of range are in progress already.
    TooMuch(i64),
}

pub(crate) const COLUMNS: &str = "id, schedule, request, start_time, end_time, status, message, attempts, failures, seen, rows, \
                       bytes, late, submitted_at, cancel_at, retry_at, finished_at, merges, merged_at";

impl Catalog {
    /// Adds a request, unless the ranges of those in progress would be longer than `most` together.
    pub fn add_export(&self, row: &ExportRow, most: Option<i64>) -> Result<AddedExport> {
        self.write("add an export to", |tx| {
            if let Some(known) = find(tx, &row.id)? {
                return Ok(AddedExport::Known(Box::new(known)));
            }
            let sql = "SELECT coalesce(sum(end_time - start_time), 0) FROM exports WHERE finished_at IS NULL";
            let open: i64 = tx.query_row(sql, [], |row| row.get(0))?;
            if most.is_some_and(|most| open.saturating_add(row.end.0 - row.start.0) > most) {
                return Ok(AddedExport::TooMuch(open));
            }
            insert(tx, row)?;
            Ok(AddedExport::Added)
        })
    }

    pub fn export(&self, id: &str) -> Result<Option<ExportRow>> {
        self.read("look up an export in", |tx| find(tx, id))
    }

    /// All of them in the order in which they were submitted.
    pub fn exports(&self) -> Result<Vec<ExportRow>> {
        self.read("list exports in", |tx| {
            let mut statement = tx.prepare(&format!("SELECT {COLUMNS} FROM exports ORDER BY position"))?;
            statement.query_map([], read_row)?.collect()
        })
    }

    /// Those that have not come to an end, in the order in which they were submitted.
    pub fn open_exports(&self) -> Result<Vec<ExportRow>> {
        self.read("list exports in", |tx| {
            let sql = format!("SELECT {COLUMNS} FROM exports WHERE finished_at IS NULL ORDER BY position");
            tx.prepare(&sql)?.query_map([], read_row)?.collect()
        })
    }

    /// Changes a request in one step, so that nothing that others changed is lost; what `change` says is handed back.
    /// None when there is no such request.
    pub fn change_export<T>(
        &self,
        id: &str,
        change: impl FnOnce(&mut ExportRow) -> T,
    ) -> Result<Option<(ExportRow, T)>> {
        self.write("change an export in", |tx| {
            let Some(mut row) = find(tx, id)? else { return Ok(None) };
            let before = row.clone();
            let said = change(&mut row);
            if row != before {
                update(tx, &row)?;
            }
            Ok(Some((row, said)))
        })
    }

    pub fn begin_export_attempt(&self, id: &str, number: u32, at: Micros) -> Result<()> {
        self.write("note an attempt in", |tx| {
            let sql = "INSERT INTO export_attempts (export, number, started_at) VALUES (?1, ?2, ?3)";
            tx.execute(sql, params![id, number, at.0]).map(|_| ())
        })
    }

    pub fn end_export_attempt(&self, id: &str, number: u32, at: Micros, outcome: &str) -> Result<()> {
        self.write("note an attempt in", |tx| {
            let sql =
                "UPDATE export_attempts SET ended_at = ?3, outcome = ?4 WHERE export = ?1 AND number = ?2";
            tx.execute(sql, params![id, number, at.0, outcome]).map(|_| ())
        })
    }

    /// A file is there and whole, or is about to be put. Durable when this returns.
    pub fn add_export_file(&self, id: &str, file: &ExportFileRow, there: bool) -> Result<()> {
        self.write("note a file in", |tx| {
            let sql = "INSERT OR REPLACE INTO export_files (export, name, start_milli, end_milli, part, closes, rows, bytes, sha256, counts, there)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
            tx.execute(sql, params![
                id,
                file.name,
                file.start_milli,
                file.end_milli,
                file.part,
                file.closes,
                file.rows,
                file.bytes,
                file.sha256,
                file.counts,
                there,
            ])?;
            if !there {
                return Ok(());
            }
            let sum = "UPDATE exports SET (rows, bytes) =
                           (SELECT sum(rows), sum(bytes) FROM export_files WHERE export = ?1 AND there) WHERE id = ?1";
            tx.execute(sum, [id]).map(|_| ())
        })
    }

    /// How many files each export published, by its id.
    pub fn count_export_files(&self) -> Result<BTreeMap<String, u64>> {
        self.read("list files of exports in", |tx| {
            let sql = "SELECT export, count(*) FROM export_files WHERE there GROUP BY export";
            let mut statement = tx.prepare(sql)?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
    }

    /// The files that an export published, or those that were about to be put, in the order of their rows.
    pub fn export_files(&self, id: &str, there: bool) -> Result<Vec<ExportFileRow>> {
        self.read("list files of an export in", |tx| {
            let sql = "SELECT name, start_milli, end_milli, part, closes, rows, bytes, sha256, counts
                       FROM export_files WHERE export = ?1 AND there = ?2 ORDER BY start_milli, part";
            let mut statement = tx.prepare(sql)?;
            let rows = statement.query_map(params![id, there], |row| {
                Ok(ExportFileRow {
                    name: row.get(0)?,
                    start_milli: row.get(1)?,
                    end_milli: row.get(2)?,
                    part: row.get(3)?,
                    closes: row.get(4)?,
                    rows: row.get(5)?,
                    bytes: row.get(6)?,
                    sha256: row.get(7)?,
                    counts: row.get(8)?,
                })
            })?;
            rows.collect()
        })
    }

    /// The position of the last event that the lake's own log shows; later ones may be there and may be not.
    pub fn published_seq(&self) -> Result<i64> {
        self.read("read batches from", |tx| {
            let sql = "SELECT coalesce(max(last_seq), 0) FROM batches
                       WHERE number < (SELECT coalesce(min(number), 9223372036854775807) FROM batches WHERE published = 0)";
            tx.query_row(sql, [], |row| row.get(0))
        })
    }
}

fn find(tx: &Transaction<'_>, id: &str) -> rusqlite::Result<Option<ExportRow>> {
    tx.query_row(&format!("SELECT {COLUMNS} FROM exports WHERE id = ?1"), [id], read_row).optional()
}

/// Adds a request unless there is one of its id.
pub(crate) fn insert_new(tx: &Transaction<'_>, row: &ExportRow) -> rusqlite::Result<()> {
    if find(tx, &row.id)?.is_none() { insert(tx, row) } else { Ok(()) }
}

fn insert(tx: &Transaction<'_>, row: &ExportRow) -> rusqlite::Result<()> {
    let sql = format!(
        "INSERT INTO exports ({COLUMNS}, position) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, \
         ?17, ?18, ?19, (SELECT coalesce(max(position), 0) + 1 FROM exports))"
    );
    let micros = |moment: Option<Micros>| moment.map(|moment| moment.0);
    tx.execute(
        &sql,
        params![
            row.id,
            row.schedule,
            row.request,
            row.start.0,
            row.end.0,
            row.status,
            row.message,
            row.attempts,
            row.failures,
            row.seen,
            row.rows,
            row.bytes,
            row.late,
            row.submitted_at.0,
            micros(row.cancel_at),
            micros(row.retry_at),
            micros(row.finished_at),
            row.merges.map(|(number, _)| number),
            micros(row.merges.map(|(_, at)| at)),
        ],
    )?;
    Ok(())
}

fn update(tx: &Transaction<'_>, row: &ExportRow) -> rusqlite::Result<()> {
    let sql = "UPDATE exports SET status = ?2, message = ?3, attempts = ?4, failures = ?5, seen = ?6, rows = ?7, bytes = ?8,
                   late = ?9, cancel_at = ?10, retry_at = ?11, finished_at = ?12, merges = ?13, merged_at = ?14 WHERE id = ?1";
    let micros = |moment: Option<Micros>| moment.map(|moment| moment.0);
    tx.execute(
        sql,
        params![
            row.id,
            row.status,
            row.message,
            row.attempts,
            row.failures,
            row.seen,
            row.rows,
            row.bytes,
            row.late,
            micros(row.cancel_at),
            micros(row.retry_at),
            micros(row.finished_at),
            row.merges.map(|(number, _)| number),
            micros(row.merges.map(|(_, at)| at)),
        ],
    )?;
    Ok(())
}

pub(crate) fn read_row(row: &Row<'_>) -> rusqlite::Result<ExportRow> {
    let moment = |at: usize| row.get::<_, Option<i64>>(at).map(|micros| micros.map(Micros));
    Ok(ExportRow {
        id: row.get(0)?,
        schedule: row.get(1)?,
        request: row.get(2)?,
        start: Micros(row.get(3)?),
        end: Micros(row.get(4)?),
        status: row.get(5)?,
        message: row.get(6)?,
        attempts: row.get(7)?,
        failures: row.get(8)?,
        seen: row.get(9)?,
        rows: row.get(10)?,
        bytes: row.get(11)?,
        late: row.get(12)?,
        submitted_at: Micros(row.get(13)?),
        cancel_at: moment(14)?,
        retry_at: moment(15)?,
        finished_at: moment(16)?,
        merges: row.get::<_, Option<i64>>(17)?.zip(moment(18)?),
    })
}
