//! Computed attributes in the catalog: how they are defined and in which state they are. Values are not kept, but for those
//! of a score that was stopped.

use rusqlite::OptionalExtension;
use rusqlite::params;

use crate::error::Result;
use crate::storage::catalog::Catalog;
use crate::time::Micros;

/// A computed attribute as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComputedRow {
    pub name: String,
    /// The definition as JSON.
    pub definition: String,
    /// What its values are.
    pub kind: String,
    pub state: String,
    /// The statement's own words, for people.
    pub said: String,
    /// Values that do not change any more: person and number, each as 8 bytes, the least first.
    pub frozen: Option<Vec<u8>>,
    pub created: Micros,
    pub modified: Micros,
}

/// The step of the catalog's format that brings this table.
pub(crate) const TABLE: &str = "
    CREATE TABLE computed_attributes (
        name        TEXT PRIMARY KEY,
        definition  TEXT NOT NULL,
        kind        TEXT NOT NULL,
        state       TEXT NOT NULL,
        said        TEXT NOT NULL,
        frozen      BLOB,
        created     INTEGER NOT NULL,
        modified    INTEGER NOT NULL
    ) WITHOUT ROWID;
";

const COLUMNS: &str = "name, definition, kind, state, said, frozen, created, modified";

impl Catalog {
    /// All computed attributes by name, without what is frozen of them.
    pub fn computed_attributes(&self) -> Result<Vec<ComputedRow>> {
        self.read("list computed attributes of", |tx| {
            let sql = format!("SELECT {COLUMNS} FROM computed_attributes ORDER BY name");
            tx.prepare_cached(&sql.replace("frozen", "NULL"))?.query_map([], row)?.collect()
        })
    }

    pub fn computed_attribute(&self, name: &str) -> Result<Option<ComputedRow>> {
        self.read("read a computed attribute of", |tx| {
            let sql = format!("SELECT {COLUMNS} FROM computed_attributes WHERE name = ?1");
            tx.query_row(&sql, [name], row).optional()
        })
    }

    /// Adds one, or puts it in the place of the one that has its name.
    pub fn put_computed_attribute(&self, one: &ComputedRow) -> Result<()> {
        self.write("put a computed attribute into", |tx| {
            let sql = format!(
                "INSERT OR REPLACE INTO computed_attributes ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
            );
            let ComputedRow { name, definition, kind, state, said, frozen, created, modified } = one;
            tx.execute(
                &sql,
                params![name, definition, kind, state, said, frozen, created.0, modified.0],
            )?;
            Ok(())
        })
    }

    /// Whether there was one of that name.
    pub fn drop_computed_attribute(&self, name: &str) -> Result<bool> {
        self.write("drop a computed attribute of", |tx| {
            Ok(tx.execute("DELETE FROM computed_attributes WHERE name = ?1", [name])? > 0)
        })
    }
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<ComputedRow> {
    Ok(ComputedRow {
        name: row.get(0)?,
        definition: row.get(1)?,
        kind: row.get(2)?,
        state: row.get(3)?,
        said: row.get(4)?,
        frozen: row.get(5)?,
        created: Micros(row.get(6)?),
        modified: Micros(row.get(7)?),
    })
}
