//! How long events are kept, and which persons were forgotten.

use rusqlite::OptionalExtension;
use rusqlite::params;

use crate::error::Result;
use crate::ids::PersonId;
use crate::storage::Retention;
use crate::storage::catalog::Catalog;
use crate::time::Micros;

/// The request to forget a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgotten {
    pub number: i64,
    pub person: PersonId,
    pub begun: Micros,
    /// When it was done, and the proof.
    pub done: Option<(Micros, String)>,
}

impl Catalog {
    /// The definitions whose events are not kept for ever, by id.
    pub fn retentions(&self) -> Result<Vec<(String, Retention)>> {
        self.read("read the retention in", |tx| {
            let mut statement =
                tx.prepare("SELECT definition, months, days FROM retention ORDER BY definition")?;
            let rows = statement.query_map([], |row| {
                Ok((row.get(0)?, Retention { months: row.get(1)?, days: row.get(2)? }))
            })?;
            rows.collect()
        })
    }

    /// Keeps the events of a definition so long from now on; for ever without a retention.
    pub fn set_retention(&self, definition: &str, retention: Option<Retention>) -> Result<()> {
        self.write("set the retention in", |tx| {
            match retention {
                Some(Retention { months, days }) => tx.execute(
                    "INSERT OR REPLACE INTO retention (definition, months, days) VALUES (?1, ?2, ?3)",
                    params![definition, months, days],
                )?,
                None => tx.execute("DELETE FROM retention WHERE definition = ?1", [definition])?,
            };
            Ok(())
        })
    }

    /// All requests to forget somebody, in the order in which they came.
    pub fn forgotten(&self) -> Result<Vec<Forgotten>> {
        self.read("read who was forgotten from", |tx| {
            let sql = "SELECT number, person_id, begun_at, done_at, receipt FROM forgotten ORDER BY number";
            let mut statement = tx.prepare(sql)?;
            let rows = statement.query_map([], |row| {
                let done: Option<i64> = row.get(3)?;
                let receipt: Option<String> = row.get(4)?;
                Ok(Forgotten {
                    number: row.get(0)?,
                    person: PersonId(row.get(1)?),
                    begun: Micros(row.get(2)?),
                    done: done.map(Micros).zip(receipt),
                })
            })?;
            rows.collect()
        })
    }

    /// Notes that a person is to be forgotten, so that it goes on after a stop; the number of the request, and whether
    /// it was begun before.
    pub fn begin_forgetting(&self, person: PersonId, now: Micros) -> Result<(i64, bool)> {
        self.write("note who is to be forgotten in", |tx| {
            let open = "SELECT number FROM forgotten WHERE person_id = ?1 AND done_at IS NULL";
            if let Some(number) = tx.query_row(open, [person.0], |row| row.get(0)).optional()? {
                return Ok((number, true));
            }
            tx.execute(
                "INSERT INTO forgotten (person_id, begun_at) VALUES (?1, ?2)",
                params![person.0, now.0],
            )?;
            Ok((tx.last_insert_rowid(), false))
        })
    }

    pub fn finish_forgetting(&self, number: i64, now: Micros, receipt: &str) -> Result<()> {
        self.write("note who was forgotten in", |tx| {
            let sql = "UPDATE forgotten SET done_at = ?2, receipt = ?3 WHERE number = ?1";
            tx.execute(sql, params![number, now.0, receipt])?;
            Ok(())
        })
    }

    /// Every text under which these persons are known: external ids, and identifiers.
    pub fn names_of(&self, persons: &[PersonId]) -> Result<Vec<String>> {
        self.read("read the identifiers of a person in", |tx| {
            let sql = "SELECT external_id FROM persons WHERE id = ?1 AND external_id IS NOT NULL
                       UNION SELECT id FROM identities WHERE person_id = ?1";
            let mut statement = tx.prepare(sql)?;
            let mut names = Vec::new();
            for person in persons {
                for name in statement.query_map([person.0], |row| row.get(0))? {
                    names.push(name?);
                }
            }
            Ok(names)
        })
    }

    /// Removes what waits to be told of persons, and the refused rows in which one of these texts stands as a JSON
    /// string, or a number of theirs as the id. Returns how many refused rows there were.
    pub fn remove_rows_about(&self, persons: &[PersonId], names: &[String]) -> Result<u64> {
        self.write("remove rows about a person from", |tx| {
            let mut rows = 0;
            let mut statement = tx.prepare("DELETE FROM rejected WHERE instr(raw, CAST(?1 AS BLOB)) > 0")?;
            for name in names {
                rows += statement.execute([serde_json::Value::from(name.as_str()).to_string()])?;
            }
            let by_id = "DELETE FROM rejected
                         WHERE instr(replace(CAST(raw AS TEXT), ' ', ''), ?1 || ',') > 0
                            OR instr(replace(CAST(raw AS TEXT), ' ', ''), ?1 || '}') > 0";
            let mut by_id = tx.prepare(by_id)?;
            for person in persons {
                for quote in ["", "\""] {
                    rows += by_id.execute([format!("\"personId\":{quote}{}{quote}", person.0)])?;
                }
                tx.execute("DELETE FROM outbox WHERE person_id = ?1", [person.0])?;
            }
            Ok(rows as u64)
        })
    }
}
