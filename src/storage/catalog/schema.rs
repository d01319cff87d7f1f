//! The tables of `catalog.db`, as numbered steps from one format to the next.
//!
//! A step that was released never changes; a new need is a new step at the end.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::TransactionBehavior;

use crate::error::Error;
use crate::error::Result;
use crate::storage::catalog::computed;
use crate::storage::catalog::exports;
use crate::storage::catalog::segment_ids;
use crate::storage::catalog::segments;
use crate::storage::catalog::sql_error;
use crate::storage::catalog::travel;

/// Step `n` (from 1) makes format `n` out of format `n - 1`; format 0 is an empty file.
const STEPS: &[&str] = &[
    FIRST,
    LOG,
    API_KEYS,
    PEOPLE,
    exports::TABLES,
    HOUSEKEEPING,
    SEGMENTS,
    segment_ids::TABLES,
    segments::CHANGES,
    travel::TABLES,
    computed::TABLE,
    exports::PINS,
    CHANGED_BY_EVENTS,
];

/// A change of persons that events brought, which has no profile to note it in; and the file with the table of persons that
/// may be believed.
const CHANGED_BY_EVENTS: &str = "
    ALTER TABLE persons ADD COLUMN change INTEGER;
    CREATE INDEX persons_by_change ON persons (change) WHERE change IS NOT NULL;
    ALTER TABLE people_state ADD COLUMN file TEXT;
";

/// Segments: definition is JSON, members the persons of a static one.
const SEGMENTS: &str = "
    CREATE TABLE segments (
        name        TEXT PRIMARY KEY,
        description TEXT NOT NULL,
        definition  TEXT NOT NULL,
        said        TEXT NOT NULL,
        members     BLOB,
        created     INTEGER NOT NULL,
        modified    INTEGER NOT NULL
    ) WITHOUT ROWID;
";

/// Times are microseconds since the epoch, UTC. `created_at` and `changed_at` of rows that people made by hand are
/// SQLite's own clock: nothing is computed from them.
const FIRST: &str = "
    CREATE TABLE meta (
        one         INTEGER PRIMARY KEY CHECK (one = 1),
        format      INTEGER NOT NULL,
        created_at  INTEGER NOT NULL DEFAULT (CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER))
    );
    INSERT INTO meta (one, format) VALUES (1, 0);

    CREATE TABLE definitions (
        position    INTEGER PRIMARY KEY,
        id          TEXT NOT NULL UNIQUE,
        json        TEXT NOT NULL,
        enabled     INTEGER NOT NULL,
        created_at  INTEGER NOT NULL DEFAULT (CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER)),
        changed_at  INTEGER NOT NULL DEFAULT (CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER))
    );

    CREATE TABLE persons (
        id          INTEGER PRIMARY KEY,
        external_id TEXT UNIQUE,
        created_at  INTEGER NOT NULL
    );

    CREATE TABLE identities (
        type        TEXT NOT NULL,
        id          TEXT NOT NULL,
        sender      TEXT NOT NULL,
        person_id   INTEGER NOT NULL REFERENCES persons (id),
        PRIMARY KEY (type, id, sender)
    ) WITHOUT ROWID;

    -- files: a JSON list, emptied when the batch is published, since the lake's own log then has it.
    CREATE TABLE batches (
        number      INTEGER PRIMARY KEY,
        last_seq    INTEGER NOT NULL,
        files       TEXT NOT NULL,
        published   INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX batches_unpublished ON batches (number) WHERE published = 0;

    CREATE TABLE event_id_runs (
        name        TEXT PRIMARY KEY
    ) WITHOUT ROWID;

    CREATE TABLE sources (
        name        TEXT PRIMARY KEY,
        fingerprint TEXT NOT NULL,
        rows        INTEGER NOT NULL,
        bytes       INTEGER NOT NULL,
        finished    INTEGER NOT NULL,
        finished_at INTEGER,
        stored      INTEGER NOT NULL,
        refused     INTEGER NOT NULL,
        duplicate   INTEGER NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE rejected (
        id          INTEGER PRIMARY KEY AUTOINCREMENT,
        source      TEXT NOT NULL,
        row         INTEGER NOT NULL,
        definition  TEXT,
        property    TEXT,
        expected    TEXT,
        found       TEXT,
        code        TEXT NOT NULL,
        message     TEXT NOT NULL,
        raw         BLOB NOT NULL,
        at          INTEGER NOT NULL,
        UNIQUE (source, row)
    );
";

/// A batch that took events from the log names the last record whose events it has.
const LOG: &str = "ALTER TABLE batches ADD COLUMN log_position INTEGER;";

/// The keys of the server: never the key itself, only its digest. A revoked key stays, so that its name is not
/// given to another.
const API_KEYS: &str = "
    CREATE TABLE api_keys (
        id          INTEGER PRIMARY KEY,
        name        TEXT NOT NULL UNIQUE,
        digest      BLOB NOT NULL UNIQUE,
        scopes      TEXT NOT NULL,
        created_at  INTEGER NOT NULL,
        revoked_at  INTEGER
    );
";

/// Profiles, merges and the events that tell of them. `shown_external` of a person who stands for others is the external
/// id that it is shown with: NULL for its own, empty for none. `change` grows with every write, so that what is kept in
/// memory is brought up to date by what is newer.
const PEOPLE: &str = "
    ALTER TABLE persons ADD COLUMN shown_external TEXT;
    ALTER TABLE persons ADD COLUMN deleted_at INTEGER;
    ALTER TABLE identities ADD COLUMN position INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE identities ADD COLUMN preferred INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX identities_of_person ON identities (person_id);

    CREATE TABLE profiles (
        person_id   INTEGER PRIMARY KEY REFERENCES persons (id),
        doc         TEXT NOT NULL,
        change      INTEGER NOT NULL
    );
    CREATE INDEX profiles_by_change ON profiles (change);

    CREATE TABLE people_state (
        one         INTEGER PRIMARY KEY CHECK (one = 1),
        change      INTEGER NOT NULL
    );
    INSERT INTO people_state (one, change) VALUES (1, 0);

    CREATE TABLE custom_attributes (
        name        TEXT PRIMARY KEY,
        json        TEXT NOT NULL,
        created_at  INTEGER NOT NULL DEFAULT (CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER))
    ) WITHOUT ROWID;

    CREATE TABLE tags (
        name        TEXT PRIMARY KEY,
        created_at  INTEGER NOT NULL DEFAULT (CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER))
    ) WITHOUT ROWID;

    CREATE TABLE merges (
        number      INTEGER PRIMARY KEY,
        from_person INTEGER NOT NULL,
        into_person INTEGER NOT NULL,
        at          INTEGER NOT NULL,
        origin      TEXT NOT NULL,
        undone_at   INTEGER
    );
    CREATE UNIQUE INDEX merges_in_force ON merges (from_person) WHERE undone_at IS NULL;

    CREATE TABLE outbox (
        number      INTEGER PRIMARY KEY AUTOINCREMENT,
        definition  TEXT NOT NULL,
        person_id   INTEGER NOT NULL,
        at          INTEGER NOT NULL,
        properties  TEXT NOT NULL
    );
";

/// How long events are kept, by definition; and which persons were forgotten, begun before it is done.
const HOUSEKEEPING: &str = "
    CREATE TABLE retention (
        definition  TEXT PRIMARY KEY,
        months      INTEGER NOT NULL,
        days        INTEGER NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE forgotten (
        number      INTEGER PRIMARY KEY,
        person_id   INTEGER NOT NULL,
        begun_at    INTEGER NOT NULL,
        done_at     INTEGER,
        receipt     TEXT
    );
";

/// Brings the file to the newest format, in one transaction.
pub(crate) fn migrate(connection: &mut Connection, path: &Path) -> Result<()> {
    let doing = "set up";
    let tx = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| sql_error(path, doing, error))?;
    let found = format_of(&tx, path)?;
    let steps = steps_from(found, path)?;
    if steps.is_empty() {
        return Ok(());
    }
    let run = || {
        for step in steps {
            tx.execute_batch(step)?;
        }
        tx.execute("UPDATE meta SET format = ?1", [STEPS.len()])?;
        tx.commit()
    };
    run().map_err(|error| sql_error(path, doing, error))
}

/// The format that this program writes.
#[cfg(test)]
pub(crate) fn newest() -> usize {
    STEPS.len()
}

/// Refuses what a reader cannot read.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<()> {
    let found = format_of(connection, path)?;
    if steps_from(found, path)?.is_empty() {
        return Ok(());
    }
    Err(Error::unavailable(format!(
        "the catalog \"{}\" has format {found} and this program reads format {}; open it once for writing, \
         which brings it up to date",
        path.display(),
        STEPS.len()
    )))
}

/// The steps that are missing.
fn steps_from(found: usize, path: &Path) -> Result<&'static [&'static str]> {
    STEPS.get(found..).ok_or_else(|| {
        Error::invalid(format!(
            "the catalog \"{}\" has format {found} and this program knows formats up to {}; use a newer milepost",
            path.display(),
            STEPS.len()
        ))
    })
}

/// 0 for a file without tables.
fn format_of(connection: &Connection, path: &Path) -> Result<usize> {
    let ask = || {
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
        if tables == 0 {
            return Ok(Some(0));
        }
        let ours =
            "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('meta', 'event_id_runs')";
        if connection.query_row(ours, [], |row| row.get::<_, i64>(0))? < 2 {
            return Ok(None);
        }
        connection.query_row("SELECT format FROM meta", [], |row| row.get(0)).optional()
    };
    let format: Option<usize> = ask().map_err(|error| sql_error(path, "read", error))?;
    format.ok_or_else(|| {
        Error::invalid(format!(
            "\"{}\" is an SQLite file but not a catalog of milepost; name another directory with --data",
            path.display()
        ))
    })
}
