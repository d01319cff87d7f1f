//! Definitions in the catalog: their JSON form under their id, in the order in which they were first put.

use rusqlite::Transaction;
use rusqlite::params;

use crate::error::Result;
use crate::storage::catalog::Catalog;

impl Catalog {
    /// Id, JSON form and whether enabled, in the order in which they were first put.
    pub fn load_definitions(&self) -> Result<Vec<(String, String, bool)>> {
        self.read("load definitions from", |tx| {
            let mut statement = tx.prepare("SELECT id, json, enabled FROM definitions ORDER BY position")?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
        })
    }

    /// Adds definitions, all or none; one whose id is there takes its place.
    pub fn put_definitions<'a>(
        &self,
        definitions: impl IntoIterator<Item = (&'a str, &'a str, bool)>,
    ) -> Result<()> {
        self.write("put definitions into", |tx| {
            definitions.into_iter().try_for_each(|(id, json, enabled)| put(tx, id, json, enabled))
        })
    }
}

fn put(tx: &Transaction<'_>, id: &str, json: &str, enabled: bool) -> rusqlite::Result<()> {
    let sql = "INSERT INTO definitions (id, json, enabled) VALUES (?1, ?2, ?3)
               ON CONFLICT (id) DO UPDATE SET json = excluded.json, enabled = excluded.enabled,
               changed_at = CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER)";
    tx.prepare_cached(sql)?.execute(params![id, json, enabled])?;
    Ok(())
}
