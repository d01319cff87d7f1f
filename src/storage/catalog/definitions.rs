//! Definitions in the catalog: their JSON form under their id, in the order in which they were first put.

use rusqlite::Transaction;
use rusqlite::params;

use crate::error::Error;
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

    /// Adds a definition or replaces the one with this id, which keeps its place.
    pub fn put_definition(&self, id: &str, json: &str, enabled: bool) -> Result<()> {
        self.write("put a definition into", |tx| put(tx, id, json, enabled))
    }

    /// Many at once, all or none.
    pub fn put_definitions<'a>(
        &self,
        definitions: impl IntoIterator<Item = (&'a str, &'a str, bool)>,
    ) -> Result<()> {
        self.write("put definitions into", |tx| {
            definitions.into_iter().try_for_each(|(id, json, enabled)| put(tx, id, json, enabled))
        })
    }

    /// # Errors
    /// `NotFound` if there is no definition with this id.
    pub fn set_enabled(&self, id: &str, enabled: bool) -> Result<()> {
        let changed = self.write("change a definition in", |tx| {
            let sql = "UPDATE definitions SET enabled = ?2,
                       changed_at = CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER) WHERE id = ?1";
            tx.execute(sql, params![id, enabled])
        })?;
        if changed == 0 {
            return Err(Error::not_found(format!("no event is defined as \"{id}\"")));
        }
        Ok(())
    }
}

fn put(tx: &Transaction<'_>, id: &str, json: &str, enabled: bool) -> rusqlite::Result<()> {
    let sql = "INSERT INTO definitions (id, json, enabled) VALUES (?1, ?2, ?3)
               ON CONFLICT (id) DO UPDATE SET json = excluded.json, enabled = excluded.enabled,
               changed_at = CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER)";
    tx.prepare_cached(sql)?.execute(params![id, json, enabled])?;
    Ok(())
}
