//! The numbers of segments: each name gets one when it first comes into the catalog, by a trigger, and keeps it when it
//! changes; a number is never given again.

use rusqlite::params;

use crate::error::Result;
use crate::storage::catalog::Catalog;

pub(super) const TABLES: &str = "
    CREATE TABLE segment_ids (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);
    INSERT INTO segment_ids (name) SELECT name FROM segments ORDER BY created, name;
    CREATE TRIGGER segment_made AFTER INSERT ON segments BEGIN
        INSERT INTO segment_ids (name) VALUES (new.name);
    END;
    CREATE TRIGGER segment_renamed AFTER UPDATE OF name ON segments WHEN old.name <> new.name BEGIN
        UPDATE segment_ids SET name = new.name WHERE name = old.name;
    END;
    CREATE TRIGGER segment_dropped AFTER DELETE ON segments BEGIN
        DELETE FROM segment_ids WHERE name = old.name;
    END;
";

impl Catalog {
    pub fn segment_ids(&self) -> Result<Vec<(i64, String)>> {
        self.read("list segments of", |tx| {
            let sql = "SELECT id, name FROM segment_ids ORDER BY id";
            tx.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
    }

    pub fn rename_segment(&self, from: &str, to: &str) -> Result<()> {
        self.write("rename a segment of", |tx| {
            tx.execute("UPDATE segments SET name = ?2 WHERE name = ?1", params![from, to]).map(|_| ())
        })
    }
}
