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

/// Who entered and left live segments: serialized sets, one row each time that something had changed.
pub(crate) const CHANGES: &str = "
    CREATE TABLE segment_changes (
        name        TEXT NOT NULL REFERENCES segments (name) ON DELETE CASCADE ON UPDATE CASCADE,
        at          INTEGER NOT NULL,
        entered     BLOB NOT NULL,
        left        BLOB NOT NULL,
        PRIMARY KEY (name, at)
    ) WITHOUT ROWID;
";

/// What changed in a live segment since it was looked at before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentChange {
    pub at: Micros,
    /// Serialized sets of persons.
    pub entered: Vec<u8>,
    pub left: Vec<u8>,
}

impl Catalog {
    /// The changes of a segment in order.
    pub fn segment_changes(&self, name: &str) -> Result<Vec<SegmentChange>> {
        self.segment_changes_after(name, None).map(|(_, changes)| changes)
    }

    /// How many changes of a segment there are up to a time, and those after it, in order.
    pub fn segment_changes_after(
        &self,
        name: &str,
        after: Option<Micros>,
    ) -> Result<(u64, Vec<SegmentChange>)> {
        self.read("read the changes of a segment of", |tx| {
            let after = after.map_or(i64::MIN, |after| after.0);
            let sql = "SELECT count(*) FROM segment_changes WHERE name = ?1 AND at <= ?2";
            let before = tx.query_row(sql, params![name, after], |row| row.get(0))?;
            let sql = "SELECT at, entered, left FROM segment_changes WHERE name = ?1 AND at > ?2 ORDER BY at";
            let change = |row: &rusqlite::Row<'_>| {
                Ok(SegmentChange { at: Micros(row.get(0)?), entered: row.get(1)?, left: row.get(2)? })
            };
            let changes =
                tx.prepare(sql)?.query_map(params![name, after], change)?.collect::<Result<_, _>>()?;
            Ok((before, changes))
        })
    }

    /// Notes a change of a segment, if none was noted of it since `seen` (the last one that was read).
    pub fn put_segment_change(&self, name: &str, seen: Option<Micros>, change: &SegmentChange) -> Result<()> {
        self.write("note the change of a segment in", |tx| {
            let sql = "INSERT OR IGNORE INTO segment_changes (name, at, entered, left) SELECT ?1, ?2, ?3, ?4
                       WHERE (SELECT max(at) FROM segment_changes WHERE name = ?1) IS ?5
                       AND EXISTS (SELECT 1 FROM segments WHERE name = ?1)";
            let at = change.at.0.max(seen.map_or(i64::MIN, |seen| seen.0 + 1));
            tx.execute(sql, params![name, at, change.entered, change.left, seen.map(|seen| seen.0)])?;
            Ok(())
        })
    }

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
            tx.execute("DELETE FROM segment_changes WHERE name = ?1", [name])?;
            Ok(())
        })
    }

    /// Whether there was such a segment.
    pub fn drop_segment(&self, name: &str) -> Result<bool> {
        self.write("drop a segment of", |tx| {
            tx.execute("DELETE FROM segment_changes WHERE name = ?1", [name])?;
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
