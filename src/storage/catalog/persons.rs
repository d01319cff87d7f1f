//! Persons and identities in the catalog: written with the batch that brought them, loaded whole at start.

use rusqlite::Error as SqlError;
use rusqlite::Transaction;
use rusqlite::params;
use rusqlite::types::Type;

use crate::error::Error;
use crate::error::Result;
use crate::ids::PersonId;
use crate::person::Aliases;
use crate::person::ExternalIds;
use crate::person::Identifier;
use crate::person::IdentifierType;
use crate::person::Packed;
use crate::person::Person;
use crate::person::Persons;
use crate::storage::catalog::Catalog;
use crate::storage::catalog::profiles;
use crate::time::Micros;

impl Catalog {
    /// Who was merged into whom, and still is.
    pub fn merges_in_force(&self) -> Result<Vec<(PersonId, PersonId)>> {
        self.read("load merges from", profiles::merges_in_force)
    }

    /// Every person with every identifier.
    pub fn load_persons(&self) -> Result<Persons> {
        self.read("load persons from", |tx| {
            let count = tx.query_row("SELECT count(*) FROM persons", [], |row| row.get(0))?;
            let mut persons = Persons::with_capacity(count);
            let sql =
                "SELECT id, external_id, created_at, shown_external, deleted_at IS NOT NULL FROM persons
                       ORDER BY id";
            let mut statement = tx.prepare(sql)?;
            let mut rows = statement.query([])?;
            let mut shown = Vec::new();
            while let Some(row) = rows.next()? {
                let external = row.get_ref(1)?.as_str_or_null()?;
                let id = PersonId(row.get(0)?);
                persons.put(id, external, Micros(row.get(2)?));
                if let Some(name) = row.get::<_, Option<String>>(3)? {
                    shown.push((id, name));
                }
                if row.get(4)? {
                    persons.delete(id);
                }
            }
            let mut statement = tx.prepare("SELECT type, id, sender, person_id FROM identities")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let kind = kind_of(row.get_ref(0)?.as_str()?)?;
                let (id, sender) = (row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?);
                persons.attach(PersonId(row.get(3)?), kind, id, sender);
            }
            persons.shrink();
            let aliases = Aliases::of(profiles::merges_in_force(tx)?);
            persons.aliases_mut().replace(aliases);
            for (id, name) in shown {
                persons.aliases_mut().show(id, Some(name.as_str()).filter(|name| !name.is_empty()));
            }
            Ok(persons)
        })
    }

    /// What every person is called outside, merged as these aliases say.
    pub fn load_external_ids(&self, aliases: &Aliases) -> Result<ExternalIds> {
        self.read("load external ids from", |tx| {
            let mut packed = Packed::new(aliases.clone());
            // Whoever is no more has neither.
            let mut statement =
                tx.prepare("SELECT id, external_id, shown_external FROM persons ORDER BY id")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let shown = row.get_ref(2)?.as_str_or_null()?;
                let shown = shown.map(|name| Some(name).filter(|name| !name.is_empty()));
                packed.push(PersonId(row.get(0)?), row.get_ref(1)?.as_str_or_null()?, shown);
            }
            Ok(ExternalIds::from(packed))
        })
    }
}

pub(crate) fn kind_of(name: &str) -> rusqlite::Result<IdentifierType> {
    name.parse().map_err(|error: Error| SqlError::FromSqlConversionFailure(0, Type::Text, error.into()))
}

/// Adds the persons of logged events, and identifiers that lead to new ones. What is there already is newer and stays,
/// and what was taken from a person since does not come back, so that a log may be replayed.
pub(crate) fn add(tx: &Transaction<'_>, persons: &[(Person, Vec<Identifier>)]) -> rusqlite::Result<()> {
    let mut person_row =
        tx.prepare_cached("INSERT OR IGNORE INTO persons (id, external_id, created_at) VALUES (?1, ?2, ?3)")?;
    let mut named = tx.prepare_cached(
        "UPDATE OR IGNORE persons SET external_id = ?2 WHERE id = ?1 AND external_id IS NULL AND ?2 IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM profiles WHERE person_id = ?1)",
    )?;
    let mut identity_row = tx.prepare_cached(
        "INSERT OR IGNORE INTO identities (type, id, sender, person_id) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (person, identifiers) in persons {
        let new = person_row.execute(params![person.id.0, person.external_id, person.created.0])? > 0;
        if !new {
            named.execute(params![person.id.0, person.external_id])?;
            continue;
        }
        let own = |one: &&Identifier| {
            one.kind == IdentifierType::ExternalId && person.external_id.as_ref() == Some(&one.id)
        };
        for one in identifiers.iter().filter(|one| !own(one)) {
            identity_row.execute(params![one.kind.name(), one.id, one.sender, person.id.0])?;
        }
    }
    Ok(())
}

/// Adds persons, or changes those with a known id, and makes the identifiers lead to them.
pub(crate) fn put(tx: &Transaction<'_>, persons: &[(Person, Vec<Identifier>)]) -> rusqlite::Result<()> {
    let mut person_row = tx.prepare_cached(
        "INSERT INTO persons (id, external_id, created_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (id) DO UPDATE SET external_id = excluded.external_id, created_at = excluded.created_at,
             deleted_at = NULL",
    )?;
    for (person, _) in persons {
        person_row.execute(params![person.id.0, person.external_id, person.created.0])?;
    }
    let mut identities: Vec<(&'static str, &Identifier, PersonId)> = persons
        .iter()
        .flat_map(|(person, identifiers)| identifiers.iter().map(move |one| (person, one)))
        .filter(|(person, one)| {
            one.kind != IdentifierType::ExternalId || person.external_id.as_ref() != Some(&one.id)
        })
        .map(|(person, one)| (one.kind.name(), one, person.id))
        .collect();
    // In the order of the index: neighbours land on one page.
    identities.sort_unstable_by_key(|(kind, one, _)| (*kind, &one.id, &one.sender));
    let mut identity_row = tx.prepare_cached(
        "INSERT INTO identities (type, id, sender, person_id) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (type, id, sender) DO UPDATE SET person_id = excluded.person_id",
    )?;
    for (kind, one, person) in identities {
        identity_row.execute(params![kind, one.id, one.sender, person.0])?;
    }
    Ok(())
}
