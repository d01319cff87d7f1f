//! The server's keys as the catalog keeps them: a name, a digest, scopes, and when they came and went.

use rusqlite::params;

use crate::error::Result;
use crate::storage::catalog::Catalog;
use crate::time::Micros;

/// One key, without its secret, which nobody keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    pub name: String,
    /// SHA-256 of the secret.
    pub digest: [u8; 32],
    /// Names separated by commas; what they mean is the engine's to say.
    pub scopes: String,
    pub created: Micros,
    pub revoked: Option<Micros>,
}

impl Catalog {
    /// All keys, the revoked ones too, in the order in which they were made.
    pub fn api_keys(&self) -> Result<Vec<ApiKey>> {
        self.read("read keys from", |tx| {
            let sql = "SELECT name, digest, scopes, created_at, revoked_at FROM api_keys ORDER BY id";
            let read = |row: &rusqlite::Row<'_>| {
                Ok(ApiKey {
                    name: row.get(0)?,
                    digest: row.get(1)?,
                    scopes: row.get(2)?,
                    created: Micros(row.get(3)?),
                    revoked: row.get::<_, Option<i64>>(4)?.map(Micros),
                })
            };
            tx.prepare_cached(sql)?.query_map([], read)?.collect()
        })
    }

    /// Adds a key; false when the name is taken.
    pub fn add_api_key(&self, key: &ApiKey) -> Result<bool> {
        self.write("add a key to", |tx| {
            let sql = "INSERT INTO api_keys (name, digest, scopes, created_at) VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT (name) DO NOTHING";
            Ok(tx.execute(sql, params![key.name, key.digest, key.scopes, key.created.0])? > 0)
        })
    }

    /// Revokes a key; false when no key in force is called so.
    pub fn revoke_api_key(&self, name: &str, at: Micros) -> Result<bool> {
        self.write("revoke a key of", |tx| {
            let sql = "UPDATE api_keys SET revoked_at = ?2 WHERE name = ?1 AND revoked_at IS NULL";
            Ok(tx.execute(sql, params![name, at.0])? > 0)
        })
    }
}
