//! `Catalog`: the small things that change one by one (definitions, persons, what was imported, what was refused),
//! in one SQLite file.
//!
//! It is the store's point of commitment: a batch of events exists when [`Catalog::record_batch`] returns, because
//! that one transaction names its files, its persons and how far its sources were read. Everything after it is
//! repeated at the next start if it did not happen.
//!
//! One writer at a time is a rule of the data directory (`storage::lock`), not of this file; readers work beside it.

mod api_keys;
mod batches;
pub(crate) mod computed;
mod definitions;
mod exports;
mod housekeeping;
mod persons;
pub(crate) mod profiles;
mod rejected;
mod schedules;
mod schema;
mod segment_ids;
mod segments;
mod sources;
mod travel;

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::Error as SqlError;
use rusqlite::ErrorCode;
use rusqlite::OpenFlags;
use rusqlite::Transaction;
use rusqlite::TransactionBehavior;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

pub use api_keys::ApiKey;
pub use batches::BatchRecord;
pub use computed::ComputedRow;
pub use exports::AddedExport;
pub use exports::ExportFileRow;
pub use exports::ExportRow;
pub use housekeeping::Forgotten;
pub use profiles::MergeRow;
pub use profiles::OutboxRow;
pub use rejected::RejectedRow;
pub use schedules::ExportScheduleRow;
pub use segments::SegmentChange;
pub use segments::SegmentRow;
pub use sources::SourceState;
pub use travel::KeptLake;
pub use travel::Reached;
pub use travel::Removal;

/// How long to wait for another connection's transaction.
const BUSY: Duration = Duration::from_secs(10);

/// Pages kept in memory while writing: the index of external ids is written at random places.
const WRITER_CACHE_KIB: i64 = 64 * 1024;

/// Pages kept while whole tables are read, each page once.
const READER_CACHE_KIB: i64 = 2 * 1024;

/// An open catalog; may be shared by threads, which take turns.
#[derive(Debug)]
pub struct Catalog {
    connection: Mutex<Connection>,
    path: PathBuf,
    /// Pages that are kept otherwise.
    cache_kib: i64,
}

/// How much the catalog holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub persons: u64,
    /// Refused rows that wait for a replay.
    pub rejected: u64,
    pub batches: u64,
}

impl Catalog {
    /// Opens for reading and writing; makes the file if it is missing and brings an older format up to date.
    ///
    /// # Errors
    /// `Invalid` if the file is of a newer format or no catalog at all, `Unavailable` if it cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
            connection.busy_timeout(BUSY)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "foreign_keys", true)?;
            connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
            Ok(connection)
        });
        let mut connection = opened.map_err(|error| sql_error(path, "open", error))?;
        schema::migrate(&mut connection, path)?;
        Ok(Self { connection: Mutex::new(connection), path: path.to_owned(), cache_kib: WRITER_CACHE_KIB })
    }

    /// Opens for reading only, beside a writer or without one, and where nothing may be written.
    ///
    /// # Errors
    /// `NotFound` if there is no such file; otherwise as [`Catalog::open`].
    pub fn open_read_only(path: &Path) -> Result<Self> {
        if !path.try_exists().unwrap_or(true) {
            return Err(Error::not_found(format!(
                "there is no store at \"{}\"; import something first, or name another directory with --data",
                path.parent().unwrap_or(path).display()
            )));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connect = |name: &Path, flags| {
            let connection = Connection::open_with_flags(name, flags)?;
            connection.busy_timeout(BUSY)?;
            // Opening reads nothing yet: only a question shows whether the file can be used.
            connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))?;
            Ok(connection)
        };
        let opened = connect(path, flags).or_else(|error| match (&error, at_rest(path)) {
            (SqlError::SqliteFailure(failure, _), Some(name))
                if matches!(failure.code, ErrorCode::CannotOpen | ErrorCode::ReadOnly) =>
            {
                connect(Path::new(&name), flags | OpenFlags::SQLITE_OPEN_URI)
            }
            _ => Err(error),
        });
        let connection = opened.map_err(|error| sql_error(path, "open", error))?;
        schema::check(&connection, path)?;
        Ok(Self { connection: Mutex::new(connection), path: path.to_owned(), cache_kib: READER_CACHE_KIB })
    }

    /// Where the catalog lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the catalog as it is now into a new file, without what was deleted from it.
    pub fn copy_to(&self, path: &Path) -> Result<()> {
        let target = path.to_string_lossy();
        let copied = self.lock().execute("VACUUM INTO ?1", [target.as_ref()]);
        copied.map(|_| ()).map_err(|error| sql_error(&self.path, "copy", error))
    }

    pub fn counts(&self) -> Result<Counts> {
        self.read("count rows in", |tx| {
            let count = |table: &str| {
                tx.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, u64>(0))
            };
            Ok(Counts {
                persons: count("persons")?,
                rejected: count("rejected")?,
                batches: count("batches")?,
            })
        })
    }

    /// One view of the catalog, however many statements; `doing` completes "could not … the catalog".
    fn read<T>(&self, doing: &str, run: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T> {
        let mut connection = self.lock();
        let result = connection.transaction().and_then(|tx| run(&tx));
        result.map_err(|error| sql_error(&self.path, doing, error))
    }

    /// [`Catalog::read`] of whole tables: what was read is not kept, for it is not needed again.
    fn read_through<T>(
        &self,
        doing: &str,
        run: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let mut connection = self.lock();
        let read = || {
            connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
            let read = connection.transaction().and_then(|tx| run(&tx));
            connection.pragma_update(None, "cache_size", -self.cache_kib)?;
            read
        };
        read().map_err(|error| sql_error(&self.path, doing, error))
    }

    /// One transaction, durable when this returns.
    fn write<T>(&self, doing: &str, run: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T> {
        let mut connection = self.lock();
        let result = connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|tx| {
            let value = run(&tx)?;
            tx.commit()?;
            Ok(value)
        });
        result.map_err(|error| sql_error(&self.path, doing, error))
    }

    /// One transaction that a process's end cannot undo, and a power cut can until the next [`Catalog::write`].
    fn write_soon<T>(
        &self,
        doing: &str,
        run: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let mut connection = self.lock();
        let result = connection.pragma_update(None, "synchronous", "NORMAL").and_then(|()| {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = run(&tx)?;
            tx.commit()?;
            Ok(value)
        });
        let again = connection.pragma_update(None, "synchronous", "FULL");
        result.and_then(|value| again.map(|()| value)).map_err(|error| sql_error(&self.path, doing, error))
    }

    /// An SQLite error as ours; `doing` completes "could not … the catalog".
    pub(crate) fn failed(&self, doing: &str, error: SqlError) -> Error {
        sql_error(&self.path, doing, error)
    }

    /// [`Catalog::write`] for work that has errors of its own.
    pub(crate) fn change<T>(
        &self,
        doing: &str,
        run: impl FnOnce(&Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut connection = self.lock();
        let say = |error| sql_error(&self.path, doing, error);
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(say)?;
        let value = run(&tx)?;
        tx.commit().map_err(say)?;
        Ok(value)
    }

    /// [`Catalog::read`] for work that has errors of its own.
    pub(crate) fn look<T>(&self, doing: &str, run: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let mut connection = self.lock();
        let tx = connection.transaction().map_err(|error| sql_error(&self.path, doing, error))?;
        run(&tx)
    }

    /// Leaves no byte of what was deleted in the file and in SQLite's own log: the file is written anew, because pages
    /// that were split keep copies of rows that nobody counts.
    pub fn overwrite_deleted(&self) -> Result<()> {
        let connection = self.lock();
        let done = connection
            .execute("VACUUM", [])
            .and_then(|_| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
        done.map_err(|error| sql_error(&self.path, "write anew", error))
    }

    /// A panic elsewhere cannot leave half a transaction behind: dropping one rolls it back.
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name under which SQLite reads a file that nobody writes, in a directory where it may not make its own files;
/// nothing while the log beside it holds anything, because then the file alone is not the truth.
fn at_rest(path: &Path) -> Option<String> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    match fs::metadata(&log) {
        Ok(found) if found.len() == 0 => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        _ => return None,
    }
    let escaped = path.to_str()?.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    Some(format!("file:{escaped}?immutable=1"))
}

/// An SQLite error as ours: what we were doing, to which file, and what the caller can do about it.
fn sql_error(path: &Path, doing: &str, error: SqlError) -> Error {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => Kind::Invalid,
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied,
        ) => Kind::Unavailable,
        Some(ErrorCode::OutOfMemory) => Kind::Exhausted,
        Some(ErrorCode::ConstraintViolation) => Kind::Conflict,
        _ => Kind::Internal,
    };
    Error::new(kind, format!("could not {doing} the catalog \"{}\"", path.display())).with_source(error)
}

#[cfg(test)]
mod tests;
