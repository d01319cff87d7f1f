//! Profiles, custom attributes, tags, merges and the outbox in the catalog: one function for each thing that is read
//! or written, inside a transaction of the caller.

use rusqlite::Error as SqlError;
use rusqlite::OptionalExtension;
use rusqlite::Transaction;
use rusqlite::params;
use rusqlite::types::Type;
use serde_json::Map;
use serde_json::Value;

use crate::error::Result;
use crate::ids::PersonId;
use crate::person::Contact;
use crate::person::CustomAttribute;
use crate::person::CustomAttributes;
use crate::person::Doc;
use crate::person::IdentifierType;
use crate::person::Member;
use crate::storage::catalog::Catalog;
use crate::storage::catalog::persons::kind_of;
use crate::time::Micros;

/// A merge that was made, and whether it was undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeRow {
    pub number: i64,
    pub from: PersonId,
    pub into: PersonId,
    pub at: Micros,
    pub origin: String,
    pub undone: Option<Micros>,
}

/// An event about a person that is to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxRow {
    pub number: i64,
    pub definition: String,
    pub person: PersonId,
    pub at: Micros,
    pub properties: Map<String, Value>,
}

impl Catalog {
    /// The custom attributes that there are.
    pub fn load_attributes(&self) -> Result<CustomAttributes> {
        self.read("load custom attributes from", custom_attributes)
    }

    /// Notes the name of the file with the table of persons.
    pub(crate) fn name_people_file(&self, name: &str) -> Result<()> {
        self.write("note the table of persons in", |tx| {
            tx.execute("UPDATE people_state SET file = ?1", [name]).map(|_| ())
        })
    }

    /// The number of the last change of persons.
    pub fn last_person_change(&self) -> Result<i64> {
        self.read("read the last change from", last_change)
    }
}

fn from_json<T: serde::de::DeserializeOwned>(column: usize, text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text)
        .map_err(|error| SqlError::FromSqlConversionFailure(column, Type::Text, error.into()))
}

fn to_json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| SqlError::ToSqlConversionFailure(error.into()))
}

/// The record of a person who was never written about.
fn unwritten(created: Micros) -> Doc {
    Doc { modified: created.0, touched: created.0, ..Doc::default() }
}

/// What is kept of one person, merged or not.
pub(crate) fn member(tx: &Transaction<'_>, id: PersonId) -> rusqlite::Result<Option<Member>> {
    let mut statement = tx.prepare_cached(
        "SELECT p.external_id, p.created_at, f.doc FROM persons p LEFT JOIN profiles f ON f.person_id = p.id
         WHERE p.id = ?1 AND p.deleted_at IS NULL",
    )?;
    let found = statement.query_row([id.0], |row| {
        let created = Micros(row.get(1)?);
        let doc = match row.get_ref(2)?.as_str_or_null()? {
            Some(json) => from_json(2, json)?,
            None => unwritten(created),
        };
        Ok(Member { id, created, external_id: row.get(0)?, contacts: Vec::new(), doc })
    });
    let Some(mut member) = found.optional()? else { return Ok(None) };
    member.contacts = contacts(tx, id)?;
    Ok(Some(member))
}

fn contacts(tx: &Transaction<'_>, id: PersonId) -> rusqlite::Result<Vec<Contact>> {
    let mut statement = tx.prepare_cached(
        "SELECT type, id, sender, preferred FROM identities WHERE person_id = ?1 ORDER BY position, type, id, sender",
    )?;
    let rows = statement.query_map([id.0], contact)?;
    rows.filter(|one| one.as_ref().map_or(true, is_contact)).collect()
}

/// Whether an identifier is a way to reach the person, and not another name of it.
fn is_contact(one: &Contact) -> bool {
    !matches!(one.kind, IdentifierType::ExternalId | IdentifierType::Visitor)
}

fn contact(row: &rusqlite::Row<'_>) -> rusqlite::Result<Contact> {
    let kind = kind_of(row.get_ref(0)?.as_str()?)?;
    Ok(Contact { kind, id: row.get(1)?, sender: row.get(2)?, primary: row.get(3)? })
}

/// What is kept of one person, its record still as text: to read that takes longer than to fetch it, and needs no
/// transaction.
#[derive(Debug)]
pub(crate) struct Unread {
    member: Member,
    doc: Option<String>,
}

impl Unread {
    pub(crate) fn id(&self) -> PersonId {
        self.member.id
    }

    pub(crate) fn read(self) -> rusqlite::Result<Member> {
        let doc = match &self.doc {
            Some(json) => from_json(3, json)?,
            None => unwritten(self.member.created),
        };
        Ok(Member { doc, ..self.member })
    }
}

/// Everybody with an id from `first` to `last`, in the order of ids, merged or not.
pub(crate) fn unread_between(tx: &Transaction<'_>, first: i64, last: i64) -> rusqlite::Result<Vec<Unread>> {
    let mut statement = tx.prepare_cached(
        "SELECT p.id, p.external_id, p.created_at, f.doc FROM persons p LEFT JOIN profiles f ON f.person_id = p.id
         WHERE p.id BETWEEN ?1 AND ?2 AND p.deleted_at IS NULL ORDER BY p.id",
    )?;
    let mut all = Vec::new();
    let mut rows = statement.query([first, last])?;
    while let Some(row) = rows.next()? {
        let member = Member {
            id: PersonId(row.get(0)?),
            created: Micros(row.get(2)?),
            external_id: row.get(1)?,
            contacts: Vec::new(),
            doc: Doc::default(),
        };
        all.push(Unread { member, doc: row.get(3)? });
    }
    let mut statement = tx.prepare_cached(
        "SELECT type, id, sender, preferred, person_id FROM identities WHERE person_id BETWEEN ?1 AND ?2
         ORDER BY person_id, position, type, id, sender",
    )?;
    let mut rows = statement.query([first, last])?;
    while let Some(row) = rows.next()? {
        let (contact, person) = (contact(row)?, PersonId(row.get(4)?));
        let at = all.binary_search_by_key(&person, Unread::id);
        if let (Ok(at), true) = (at, is_contact(&contact)) {
            all[at].member.contacts.push(contact);
        }
    }
    Ok(all)
}

/// The persons of whom something else is known than before a change, whether somebody wrote it or events brought it.
pub(crate) fn changed_after(tx: &Transaction<'_>, change: i64) -> rusqlite::Result<Vec<PersonId>> {
    let mut statement = tx.prepare_cached(
        "SELECT person_id FROM profiles WHERE change > ?1 UNION SELECT id FROM persons WHERE change > ?1",
    )?;
    statement.query_map([change], |row| Ok(PersonId(row.get(0)?)))?.collect()
}

/// The persons with greater ids than this one, in the order of ids.
pub(crate) fn persons_after(tx: &Transaction<'_>, last: i64) -> rusqlite::Result<Vec<PersonId>> {
    let sql = "SELECT id FROM persons WHERE id > ?1 AND deleted_at IS NULL ORDER BY id";
    tx.prepare_cached(sql)?.query_map([last], |row| Ok(PersonId(row.get(0)?)))?.collect()
}

/// What tells whether what is kept of persons is still right.
#[derive(Debug)]
pub(crate) struct PeopleState {
    /// The number of the last change.
    pub(crate) change: i64,
    /// The greatest id of a person.
    pub(crate) last: i64,
    /// The name of the file with the table of persons, if one was written.
    pub(crate) file: Option<String>,
}

pub(crate) fn people_state(tx: &Transaction<'_>) -> rusqlite::Result<PeopleState> {
    let sql = "SELECT change, file, (SELECT coalesce(max(id), 0) FROM persons) FROM people_state";
    tx.query_row(sql, [], |row| Ok(PeopleState { change: row.get(0)?, file: row.get(1)?, last: row.get(2)? }))
}

pub(crate) fn put_person(
    tx: &Transaction<'_>,
    id: PersonId,
    external_id: Option<&str>,
    created: Micros,
) -> rusqlite::Result<()> {
    let mut statement = tx.prepare_cached(
        "INSERT INTO persons (id, external_id, created_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (id) DO UPDATE SET external_id = excluded.external_id",
    )?;
    statement.execute(params![id.0, external_id, created.0])?;
    Ok(())
}

/// What a person who stands for others is shown with; `None` for its own external id.
pub(crate) fn show(tx: &Transaction<'_>, id: PersonId, shown: Option<Option<&str>>) -> rusqlite::Result<()> {
    let shown = shown.map(Option::unwrap_or_default);
    tx.prepare_cached("UPDATE persons SET shown_external = ?2 WHERE id = ?1")?
        .execute(params![id.0, shown])?;
    Ok(())
}

pub(crate) fn put_doc(tx: &Transaction<'_>, id: PersonId, doc: &Doc, change: i64) -> rusqlite::Result<()> {
    let mut statement = tx.prepare_cached(
        "INSERT INTO profiles (person_id, doc, change) VALUES (?1, ?2, ?3)
         ON CONFLICT (person_id) DO UPDATE SET doc = excluded.doc, change = excluded.change",
    )?;
    statement.execute(params![id.0, to_json(doc)?, change])?;
    Ok(())
}

/// Notes that a person changed whose record did not.
pub(crate) fn touch(tx: &Transaction<'_>, id: PersonId, change: i64) -> rusqlite::Result<()> {
    let touched = tx
        .prepare_cached("UPDATE profiles SET change = ?2 WHERE person_id = ?1")?
        .execute(params![id.0, change])?;
    if touched == 0
        && let Some(member) = member(tx, id)?
    {
        put_doc(tx, id, &member.doc, change)?;
    }
    Ok(())
}

/// Adds a contact, or moves one that is there already, behind those that the person has.
pub(crate) fn put_contact(
    tx: &Transaction<'_>,
    person: PersonId,
    contact: &Contact,
    position: usize,
) -> rusqlite::Result<()> {
    let mut statement = tx.prepare_cached(
        "INSERT INTO identities (type, id, sender, person_id, position, preferred) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (type, id, sender) DO UPDATE SET person_id = excluded.person_id, position = excluded.position,
             preferred = excluded.preferred",
    )?;
    let Contact { kind, id, sender, primary } = contact;
    statement.execute(params![kind.name(), id, sender, person.0, position, primary])?;
    Ok(())
}

pub(crate) fn prefer_contact(tx: &Transaction<'_>, contact: &Contact) -> rusqlite::Result<()> {
    let sql = "UPDATE identities SET preferred = ?4 WHERE type = ?1 AND id = ?2 AND sender = ?3";
    let Contact { kind, id, sender, primary } = contact;
    tx.prepare_cached(sql)?.execute(params![kind.name(), id, sender, primary])?;
    Ok(())
}

pub(crate) fn remove_identity(
    tx: &Transaction<'_>,
    kind: IdentifierType,
    id: &str,
    sender: &str,
) -> rusqlite::Result<()> {
    let sql = "DELETE FROM identities WHERE type = ?1 AND id = ?2 AND sender = ?3";
    tx.prepare_cached(sql)?.execute(params![kind.name(), id, sender])?;
    Ok(())
}

/// The person's row stays, so that its id is not given out again; nothing is left of what it said.
pub(crate) fn delete_person(
    tx: &Transaction<'_>,
    id: PersonId,
    at: Micros,
    change: i64,
) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM identities WHERE person_id = ?1", [id.0])?;
    let sql = "UPDATE persons SET external_id = NULL, shown_external = NULL, deleted_at = ?2 WHERE id = ?1";
    tx.execute(sql, params![id.0, at.0])?;
    put_doc(tx, id, &Doc::default(), change)
}

/// The number of the last change, and the next one.
pub(crate) fn last_change(tx: &Transaction<'_>) -> rusqlite::Result<i64> {
    tx.query_row("SELECT change FROM people_state", [], |row| row.get(0))
}

pub(crate) fn next_change(tx: &Transaction<'_>) -> rusqlite::Result<i64> {
    tx.query_row("UPDATE people_state SET change = change + 1 RETURNING change", [], |row| row.get(0))
}

pub(crate) fn custom_attributes(tx: &Transaction<'_>) -> rusqlite::Result<CustomAttributes> {
    let mut statement = tx.prepare("SELECT json FROM custom_attributes")?;
    let rows = statement.query_map([], |row| from_json(0, row.get_ref(0)?.as_str()?))?;
    rows.collect()
}

pub(crate) fn put_attribute(tx: &Transaction<'_>, attribute: &CustomAttribute) -> rusqlite::Result<()> {
    let sql = "INSERT INTO custom_attributes (name, json) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING";
    tx.execute(sql, params![attribute.name, to_json(attribute)?])?;
    Ok(())
}

/// Removes the attribute and every value of it; says how many persons had one.
pub(crate) fn remove_attribute(tx: &Transaction<'_>, name: &str, change: i64) -> rusqlite::Result<usize> {
    tx.execute("DELETE FROM custom_attributes WHERE name = ?1", [name])?;
    let mut having = Vec::new();
    {
        let sql = "SELECT person_id, doc FROM profiles, json_each(profiles.doc, '$.custom') WHERE json_each.key = ?1";
        let mut statement = tx.prepare(sql)?;
        let mut rows = statement.query([name])?;
        while let Some(row) = rows.next()? {
            let doc: Doc = from_json(1, row.get_ref(1)?.as_str()?)?;
            having.push((PersonId(row.get(0)?), doc));
        }
    }
    for (id, doc) in &mut having {
        doc.custom.remove(name);
        put_doc(tx, *id, doc, change)?;
    }
    Ok(having.len())
}

/// The tags that there are, with how many persons have each by their own records.
pub(crate) fn tags(tx: &Transaction<'_>) -> rusqlite::Result<Vec<String>> {
    let mut statement = tx.prepare("SELECT name FROM tags ORDER BY name")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

pub(crate) fn put_tag(tx: &Transaction<'_>, name: &str) -> rusqlite::Result<bool> {
    let sql = "INSERT INTO tags (name) VALUES (?1) ON CONFLICT (name) DO NOTHING";
    Ok(tx.prepare_cached(sql)?.execute([name])? > 0)
}

pub(crate) fn remove_tag(tx: &Transaction<'_>, name: &str) -> rusqlite::Result<bool> {
    Ok(tx.execute("DELETE FROM tags WHERE name = ?1", [name])? > 0)
}

/// The persons whose own records have a tag.
pub(crate) fn tagged(tx: &Transaction<'_>, name: &str) -> rusqlite::Result<Vec<PersonId>> {
    let sql = "SELECT person_id FROM profiles, json_each(profiles.doc, '$.tags') WHERE json_each.value = ?1";
    let mut statement = tx.prepare(sql)?;
    statement.query_map([name], |row| Ok(PersonId(row.get(0)?)))?.collect()
}

impl Catalog {
    /// The number of the last merge, undone or not; 0 when there was none.
    pub fn last_merge(&self) -> Result<i64> {
        self.read("look at merges in", |tx| {
            tx.query_row("SELECT coalesce(max(number), 0) FROM merges", [], |row| row.get(0))
        })
    }

    /// The merges up to a number that were in force at a moment, or none when those are the ones in force now.
    pub fn merges_then(&self, number: i64, at: Micros) -> Result<Option<Vec<(PersonId, PersonId)>>> {
        self.read("look at merges in", |tx| {
            let changed = "SELECT EXISTS (SELECT 1 FROM merges WHERE number > ?1 OR undone_at > ?2)";
            if !tx.query_row(changed, params![number, at.0], |row| row.get::<_, bool>(0))? {
                return Ok(None);
            }
            let sql = "SELECT from_person, into_person FROM merges
                       WHERE number <= ?1 AND (undone_at IS NULL OR undone_at > ?2)";
            let mut statement = tx.prepare(sql)?;
            let edges = statement
                .query_map(params![number, at.0], |row| Ok((PersonId(row.get(0)?), PersonId(row.get(1)?))))?;
            edges.collect::<rusqlite::Result<_>>().map(Some)
        })
    }
}

pub(crate) fn merges_in_force(tx: &Transaction<'_>) -> rusqlite::Result<Vec<(PersonId, PersonId)>> {
    let sql = "SELECT from_person, into_person FROM merges WHERE undone_at IS NULL";
    let mut statement = tx.prepare(sql)?;
    statement.query_map([], |row| Ok((PersonId(row.get(0)?), PersonId(row.get(1)?))))?.collect()
}

pub(crate) fn merges(tx: &Transaction<'_>) -> rusqlite::Result<Vec<MergeRow>> {
    let sql = "SELECT number, from_person, into_person, at, origin, undone_at FROM merges ORDER BY number";
    let mut statement = tx.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        Ok(MergeRow {
            number: row.get(0)?,
            from: PersonId(row.get(1)?),
            into: PersonId(row.get(2)?),
            at: Micros(row.get(3)?),
            origin: row.get(4)?,
            undone: row.get::<_, Option<i64>>(5)?.map(Micros),
        })
    })?;
    rows.collect()
}

pub(crate) fn put_merge(
    tx: &Transaction<'_>,
    from: PersonId,
    into: PersonId,
    at: Micros,
    origin: &str,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO merges (from_person, into_person, at, origin) VALUES (?1, ?2, ?3, ?4)";
    tx.prepare_cached(sql)?.execute(params![from.0, into.0, at.0, origin])?;
    Ok(())
}

/// Ends the merge of a person into another; whether there was one.
pub(crate) fn undo_merge(tx: &Transaction<'_>, from: PersonId, at: Micros) -> rusqlite::Result<bool> {
    let sql = "UPDATE merges SET undone_at = ?2 WHERE from_person = ?1 AND undone_at IS NULL";
    Ok(tx.prepare_cached(sql)?.execute(params![from.0, at.0])? > 0)
}

pub(crate) fn put_outbox(
    tx: &Transaction<'_>,
    definition: &str,
    person: PersonId,
    at: Micros,
    properties: &Map<String, Value>,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO outbox (definition, person_id, at, properties) VALUES (?1, ?2, ?3, ?4)";
    tx.prepare_cached(sql)?.execute(params![definition, person.0, at.0, to_json(properties)?])?;
    Ok(())
}

pub(crate) fn outbox(tx: &Transaction<'_>, most: usize) -> rusqlite::Result<Vec<OutboxRow>> {
    let sql = "SELECT number, definition, person_id, at, properties FROM outbox ORDER BY number LIMIT ?1";
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map([most], |row| {
        Ok(OutboxRow {
            number: row.get(0)?,
            definition: row.get(1)?,
            person: PersonId(row.get(2)?),
            at: Micros(row.get(3)?),
            properties: from_json(4, row.get_ref(4)?.as_str()?)?,
        })
    })?;
    rows.collect()
}

/// Takes the events up to a number out of the outbox.
pub(crate) fn empty_outbox(tx: &Transaction<'_>, upto: i64) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM outbox WHERE number <= ?1")?.execute([upto])?;
    Ok(())
}
