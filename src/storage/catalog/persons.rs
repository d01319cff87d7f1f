//! Persons and identities in the catalog: written with the batch that brought them, loaded whole at start.

use rusqlite::Error as SqlError;
use rusqlite::OptionalExtension;
use rusqlite::ToSql;
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
use crate::person::own_id;
use crate::storage::catalog::Catalog;
use crate::storage::catalog::profiles;
use crate::time::Micros;

impl Catalog {
    /// Who was merged into whom, and still is.
    pub fn merges_in_force(&self) -> Result<Vec<(PersonId, PersonId)>> {
        self.read("load merges from", profiles::merges_in_force)
    }

    /// The person that an identifier was given to, merged or not, unless it is no more.
    pub fn find_person(&self, kind: IdentifierType, id: &str, sender: &str) -> Result<Option<PersonId>> {
        self.read("look for a person in", |tx| {
            let one = |sql: &str, params: &[&dyn ToSql]| {
                tx.prepare_cached(sql)?.query_row(params, |row| row.get(0).map(PersonId)).optional()
            };
            let there = "SELECT id FROM persons WHERE id = ?1 AND deleted_at IS NULL";
            if kind == IdentifierType::Id {
                return own_id(id).map_or(Ok(None), |id| one(there, &[&id.0]));
            }
            let named = "SELECT person_id FROM identities WHERE type = ?1 AND id = ?2 AND sender = ?3";
            if let Some(found) = one(named, &[&kind.name(), &id, &sender])? {
                return one(there, &[&found.0]);
            }
            match kind {
                IdentifierType::ExternalId if sender.is_empty() => {
                    one("SELECT id FROM persons WHERE external_id = ?1 AND deleted_at IS NULL", &[&id])
                }
                _ => Ok(None),
            }
        })
    }

    /// Every person with every identifier, merged as these aliases say.
    pub fn load_persons(&self, aliases: &Aliases) -> Result<Persons> {
        self.read_through("load persons from", |tx| {
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
            persons.aliases_mut().replace(aliases.clone());
            for (id, name) in shown {
                persons.aliases_mut().show(id, Some(name.as_str()).filter(|name| !name.is_empty()));
            }
            Ok(persons)
        })
    }

    /// What every person is called outside, merged as these aliases say.
    pub fn load_external_ids(&self, aliases: &Aliases) -> Result<ExternalIds> {
        self.read_through("load external ids from", |tx| {
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

/// Numbers what events bring about persons, so that a table of them that was made before is brought up to date: all but
/// new persons with greater ids than anybody had, who are found by these.
struct Changes {
    /// The greatest id so far.
    last: i64,
    next: i64,
    any: bool,
}

impl Changes {
    fn begin(tx: &Transaction<'_>) -> rusqlite::Result<Self> {
        let state = profiles::people_state(tx)?;
        Ok(Self { last: state.last, next: state.change + 1, any: false })
    }

    /// The number of the change, unless the person comes behind all others.
    fn between(&mut self, id: PersonId) -> Option<i64> {
        let is_between = id.0 <= self.last;
        self.last = self.last.max(id.0);
        is_between.then_some(self.next)
    }

    fn made(&mut self, any: bool) {
        self.any |= any;
    }

    fn end(self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        if self.any {
            profiles::next_change(tx)?;
        }
        Ok(())
    }
}

/// Adds the persons of logged events, and identifiers that lead to new ones. What is there already is newer and stays,
/// and what was taken from a person since does not come back, so that a log may be replayed.
pub(crate) fn add(tx: &Transaction<'_>, persons: &[(Person, Vec<Identifier>)]) -> rusqlite::Result<()> {
    let mut person_row = tx.prepare_cached(
        "INSERT OR IGNORE INTO persons (id, external_id, created_at, change) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let mut named = tx.prepare_cached(
        "UPDATE OR IGNORE persons SET external_id = ?2, change = ?3
         WHERE id = ?1 AND external_id IS NULL AND ?2 IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM profiles WHERE person_id = ?1)",
    )?;
    let mut changes = Changes::begin(tx)?;
    let mut identity_row = tx.prepare_cached(
        "INSERT OR IGNORE INTO identities (type, id, sender, person_id) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (person, identifiers) in persons {
        let (id, change) = (person.id.0, changes.between(person.id));
        let new = person_row.execute(params![id, person.external_id, person.created.0, change])? > 0;
        changes.made(new && change.is_some());
        if !new {
            let named = named.execute(params![id, person.external_id, changes.next])?;
            changes.made(named > 0);
            continue;
        }
        let own = |one: &&Identifier| {
            one.kind == IdentifierType::ExternalId && person.external_id.as_ref() == Some(&one.id)
        };
        for one in identifiers.iter().filter(|one| !own(one)) {
            identity_row.execute(params![one.kind.name(), one.id, one.sender, person.id.0])?;
        }
    }
    changes.end(tx)
}

/// Adds persons, or changes those with a known id, and makes the identifiers lead to them.
pub(crate) fn put(tx: &Transaction<'_>, persons: &[(Person, Vec<Identifier>)]) -> rusqlite::Result<()> {
    let mut person_row = tx.prepare_cached(
        "INSERT INTO persons (id, external_id, created_at, change) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (id) DO UPDATE SET external_id = excluded.external_id, created_at = excluded.created_at,
             deleted_at = NULL, change = excluded.change",
    )?;
    let mut changes = Changes::begin(tx)?;
    for (person, _) in persons {
        // Whoever is known already has an id that is no greater than the greatest.
        let (id, change) = (person.id.0, changes.between(person.id));
        person_row.execute(params![id, person.external_id, person.created.0, change])?;
        changes.made(change.is_some());
    }
    changes.end(tx)?;
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
