//! Segments in the catalog: under their names, a condition as JSON or the persons themselves.

use rusqlite::OptionalExtension;
use rusqlite::params;

use crate::error::Result;
use crate::storage::catalog::Catalog;
use crate::time::Micros;

/// A segment as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentRow {
    pub name: String,
    pub description: String,
    /// The condition as JSON; of a static segment, where its persons come from.
    pub definition: String,
    /// The statement's own words, for people.
    pub said: String,
    /// The persons of a static segment, as a serialized set.
    pub members: Option<Vec<u8>>,
    pub created: Micros,
    pub modified: Micros,
}

impl Catalog {
    /// All segments without their members, by name.
    pub fn segments(&self) -> Result<Vec<SegmentRow>> {
        self.read("list segments of", |tx| {
            let sql = "SELECT name, description, definition, said, NULL, created, modified FROM segments ORDER BY name";
            tx.prepare(sql)?.query_map([], row)?.collect()
        })
    }

    /// One segment with its members.
    pub fn segment(&self, name: &str) -> Result<Option<SegmentRow>> {
        self.read("read a segment of", |tx| {
            let sql =
                "SELECT name, description, definition, said, members, created, modified FROM segments WHERE name = ?1";
            tx.query_row(sql, [name], row).optional()
        })
    }

    /// Adds a segment, or puts it in the place of the one that has its name.
    pub fn put_segment(&self, segment: &SegmentRow) -> Result<()> {
        self.write("put a segment into", |tx| {
            let sql = "INSERT INTO segments (name, description, definition, said, members, created, modified)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                       ON CONFLICT (name) DO UPDATE SET description = excluded.description,
                       definition = excluded.definition, said = excluded.said, members = excluded.members,
                       modified = excluded.modified";
            let SegmentRow { name, description, definition, said, members, created, modified } = segment;
            tx.execute(sql, params![name, description, definition, said, members, created.0, modified.0])?;
            Ok(())
        })
    }

    /// Whether there was such a segment.
    pub fn drop_segment(&self, name: &str) -> Result<bool> {
        self.write("drop a segment of", |tx| {
            Ok(tx.execute("DELETE FROM segments WHERE name = ?1", [name])? > 0)
        })
    }
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<SegmentRow> {
    Ok(SegmentRow {
        name: row.get(0)?,
        description: row.get(1)?,
        definition: row.get(2)?,
        said: row.get(3)?,
        members: row.get(4)?,
        created: Micros(row.get(5)?),
        modified: Micros(row.get(6)?),
    })
}
