//! Writing about persons: one transaction of the catalog, with the persons in memory brought along when it holds.
//!
//! [`PeopleTx`] does what `person` has decided: it reads profiles, writes them, merges, and notes the standard events
//! that tell of it in the outbox, all in the one transaction. An event is noted only while its definition is enabled.

use std::sync::Arc;
use std::sync::PoisonError;

use arrow::datatypes::SchemaRef;
use rusqlite::Transaction;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::ids::PersonId;
use crate::person::Aliases;
use crate::person::Contact;
use crate::person::CustomAttribute;
use crate::person::CustomAttributes;
use crate::person::Doc;
use crate::person::Happened;
use crate::person::Identifier;
use crate::person::IdentifierType;
use crate::person::Member;
use crate::person::PersonKind;
use crate::person::Persons;
use crate::person::Profile;
use crate::person::changes;
use crate::schema::Registry;
use crate::storage::Storage;
use crate::storage::catalog::Catalog;
use crate::storage::catalog::profiles;
use crate::storage::catalog::profiles::MergeRow;
use crate::storage::catalog::profiles::OutboxRow;
use crate::time::Micros;

/// Persons, while they are changed.
#[derive(Debug)]
pub struct PeopleTx<'a> {
    tx: &'a Transaction<'a>,
    catalog: &'a Catalog,
    registry: Arc<Registry>,
    persons: Persons,
    attributes: CustomAttributes,
    /// The number of this change, once there is one.
    change: Option<i64>,
    told: bool,
    now: Micros,
}

/// What came of a change.
struct Changed<T> {
    value: T,
    persons: Option<Persons>,
    attributes: CustomAttributes,
}

const DOING: &str = "change persons in";

impl PeopleTx<'_> {
    /// The time of the change.
    pub fn now(&self) -> Micros {
        self.now
    }

    pub fn attributes(&self) -> &CustomAttributes {
        &self.attributes
    }

    pub fn persons(&self) -> &Persons {
        &self.persons
    }

    /// Whose an identifier is, merges followed.
    pub fn owner(&self, identifier: &Identifier) -> Option<PersonId> {
        self.persons.owner(identifier.kind, &identifier.id, &identifier.sender)
    }

    fn say<T>(&self, done: rusqlite::Result<T>) -> Result<T> {
        done.map_err(|error| self.catalog.failed(DOING, error))
    }

    fn change(&mut self) -> Result<i64> {
        match self.change {
            Some(change) => Ok(change),
            None => {
                let change = self.say(profiles::next_change(self.tx))?;
                self.change = Some(change);
                Ok(change)
            }
        }
    }

    /// Everybody whom a person stands for, itself among them.
    fn members(&self, root: PersonId) -> Result<Vec<Member>> {
        self.say(members(self.tx, self.persons.aliases(), root))
    }

    /// The profile of a person, by any id of it.
    pub fn profile(&self, id: PersonId) -> Result<Option<Profile>> {
        self.say(profile(self.tx, self.persons.aliases(), id))
    }

    /// Adds a person with the next id; the id of the given profile does not count.
    pub fn create(&mut self, profile: &Profile) -> Result<PersonId> {
        let id = self.persons.next_id();
        let change = self.change()?;
        self.say(profiles::put_person(self.tx, id, profile.external_id.as_deref(), profile.created))?;
        let nobody = Profile::new(id, profile.created);
        let doc = Doc::default().changed(&nobody, profile, None, self.now);
        self.say(profiles::put_doc(self.tx, id, &doc, change))?;
        self.persons.put(id, profile.external_id.as_deref(), profile.created);
        for (position, contact) in profile.contacts.iter().enumerate() {
            self.say(profiles::put_contact(self.tx, id, contact, position + 1))?;
            self.persons.attach(id, contact.kind, &contact.id, &contact.sender);
        }
        self.note_tags(profile)?;
        self.tell(id, Happened::created(profile))?;
        Ok(id)
    }

    /// Brings a person from one profile to another; both have its id.
    pub fn update(&mut self, before: &Profile, after: &Profile) -> Result<()> {
        let id = before.id;
        let change = self.change()?;
        let members = self.members(id)?;
        let merged =
            if members.len() > 1 { members.iter().map(|one| one.doc.strength()).max() } else { None };
        let own = members.iter().find(|one| one.id == id);
        let own = own.ok_or_else(|| Error::not_found(format!("there is no person {id}")))?;
        for member in members.iter().filter(|one| one.id != id) {
            let doc = member.doc.clone().without(before, after);
            if doc != member.doc {
                self.say(profiles::put_doc(self.tx, member.id, &doc, change))?;
            }
        }
        if before.external_id != after.external_id {
            self.rename(own, after.external_id.as_deref())?;
        }
        let doc = own.doc.clone().changed(before, after, merged, self.now);
        self.say(profiles::put_doc(self.tx, id, &doc, change))?;
        self.write_contacts(before, after)?;
        if merged.is_some() {
            self.show(id)?;
        }
        self.note_tags(after)?;
        for happened in changes(before, after, &self.attributes) {
            self.tell(id, happened)?;
        }
        Ok(())
    }

    /// Gives a person another external id of its own, or none.
    fn rename(&mut self, own: &Member, external_id: Option<&str>) -> Result<()> {
        if own.external_id.as_deref() == external_id {
            return Ok(());
        }
        self.say(profiles::put_person(self.tx, own.id, external_id, own.created))?;
        if let Some(old) = &own.external_id {
            self.persons.detach(IdentifierType::ExternalId, old, "");
        }
        self.persons.put(own.id, external_id, own.created);
        Ok(())
    }

    fn write_contacts(&mut self, before: &Profile, after: &Profile) -> Result<()> {
        for gone in
            before.contacts.iter().filter(|one| !after.contacts.iter().any(|other| other.is_same(one)))
        {
            self.say(profiles::remove_identity(self.tx, gone.kind, &gone.id, &gone.sender))?;
            self.persons.detach(gone.kind, &gone.id, &gone.sender);
        }
        for (at, contact) in after.contacts.iter().enumerate() {
            match before.contacts.iter().find(|one| one.is_same(contact)) {
                Some(known) if known.primary == contact.primary => {}
                Some(_) => self.say(profiles::prefer_contact(self.tx, contact))?,
                None => {
                    self.say(profiles::put_contact(self.tx, after.id, contact, at + 1))?;
                    self.persons.attach(after.id, contact.kind, &contact.id, &contact.sender);
                }
            }
        }
        Ok(())
    }

    /// Every tag that a person has is a tag that there is.
    fn note_tags(&self, profile: &Profile) -> Result<()> {
        profile.tags.iter().try_for_each(|tag| self.say(profiles::put_tag(self.tx, tag)).map(|_| ()))
    }

    /// Removes a person and all whom it stands for, with everything that is known of them. Its id stays taken.
    pub fn delete(&mut self, id: PersonId) -> Result<()> {
        self.delete_all(&[id])
    }

    /// [`PeopleTx::delete`] of several.
    pub fn delete_all(&mut self, ids: &[PersonId]) -> Result<()> {
        ids.iter().try_for_each(|id| self.remove(*id))?;
        self.realias()
    }

    fn remove(&mut self, id: PersonId) -> Result<()> {
        let change = self.change()?;
        for member in self.members(self.persons.resolve(id))? {
            self.say(profiles::undo_merge(self.tx, member.id, self.now))?;
            self.say(profiles::delete_person(self.tx, member.id, self.now, change))?;
            if let Some(external_id) = &member.external_id {
                self.persons.detach(IdentifierType::ExternalId, external_id, "");
            }
            for Contact { kind, id, sender, .. } in &member.contacts {
                self.persons.detach(*kind, id, sender);
            }
            self.persons.delete(member.id);
        }
        Ok(())
    }

    /// Makes two persons one: the one created first stands for both. `None` when they are one already.
    ///
    /// # Errors
    /// `NotFound` when one of them is not there.
    pub fn merge(&mut self, one: PersonId, other: PersonId, origin: &str) -> Result<Option<PersonId>> {
        let (one, other) = (self.persons.resolve(one), self.persons.resolve(other));
        if one == other {
            return Ok(None);
        }
        let known = |id: PersonId| {
            self.profile(id)?.ok_or_else(|| Error::not_found(format!("there is no person {id}")))
        };
        let (one, other) = (known(one)?, known(other)?);
        let first = |id: PersonId| {
            let members = self.members(id)?;
            Ok::<_, Error>(members.iter().map(Member::age).min())
        };
        let (into, from) = if first(one.id)? <= first(other.id)? { (one, other) } else { (other, one) };
        let change = self.change()?;
        self.say(profiles::put_merge(self.tx, from.id, into.id, self.now, origin))?;
        self.say(profiles::touch(self.tx, from.id, change))?;
        self.say(profiles::touch(self.tx, into.id, change))?;
        self.say(profiles::show(self.tx, from.id, None))?;
        self.persons.aliases_mut().merge(from.id, into.id);
        self.show(into.id)?;
        if from.kind != PersonKind::Visitor {
            self.tell(into.id, Happened::merged(&from, origin))?;
        }
        Ok(Some(into.id))
    }

    /// Adds somebody of whom nothing is known but an identifier. No event tells of it.
    pub fn add_visitor(&mut self, identifier: &Identifier, origin: &str) -> Result<PersonId> {
        let id = self.persons.next_id();
        let change = self.change()?;
        self.say(profiles::put_person(self.tx, id, None, self.now))?;
        let doc = Doc {
            kind: PersonKind::Visitor,
            origin: origin.to_owned(),
            modified: self.now.0,
            touched: self.now.0,
            ..Doc::default()
        };
        self.say(profiles::put_doc(self.tx, id, &doc, change))?;
        let Identifier { kind, id: name, sender } = identifier;
        let contact = Contact { kind: *kind, id: name.clone(), sender: sender.clone(), primary: false };
        self.say(profiles::put_contact(self.tx, id, &contact, 0))?;
        self.persons.put(id, None, self.now);
        self.persons.attach(id, *kind, name, sender);
        Ok(id)
    }

    /// Tells that a person, who was anonymous, is there.
    pub fn tell_created(&mut self, id: PersonId) -> Result<()> {
        match self.profile(id)? {
            Some(profile) => self.tell(id, Happened::created(&profile)),
            None => Ok(()),
        }
    }

    /// Merges one who may be merged already into another instead.
    pub fn move_to(&mut self, id: PersonId, target: PersonId, origin: &str) -> Result<()> {
        self.unmerge(id)?;
        self.merge(target, id, origin).map(|_| ())
    }

    /// Makes a person that was merged stand for itself again, and for those who were merged into it before. Says whom
    /// it was merged into; `None` when it is not merged.
    pub fn unmerge(&mut self, id: PersonId) -> Result<Option<PersonId>> {
        let root = self.persons.resolve(id);
        if !self.say(profiles::undo_merge(self.tx, id, self.now))? {
            return Ok(None);
        }
        let change = self.change()?;
        self.realias()?;
        for one in [id, root] {
            self.say(profiles::touch(self.tx, one, change))?;
            self.show(one)?;
        }
        Ok(Some(root))
    }

    /// The aliases as the merges in force say.
    fn realias(&mut self) -> Result<()> {
        let edges = self.say(profiles::merges_in_force(self.tx))?;
        self.persons.aliases_mut().replace(Aliases::of(edges));
        Ok(())
    }

    /// Notes the external id that a person who may stand for others is shown with.
    fn show(&mut self, id: PersonId) -> Result<()> {
        let members = self.members(id)?;
        let own = members.iter().find(|one| one.id == id).and_then(|one| one.external_id.clone());
        let shown = Profile::of(&members).and_then(|profile| profile.external_id);
        if members.len() < 2 || shown == own {
            self.say(profiles::show(self.tx, id, None))?;
            self.persons.aliases_mut().show_own(id);
        } else {
            self.say(profiles::show(self.tx, id, Some(shown.as_deref())))?;
            self.persons.aliases_mut().show(id, shown.as_deref());
        }
        Ok(())
    }

    /// Adds a custom attribute; the same again changes nothing.
    pub fn add_attribute(&mut self, attribute: CustomAttribute) -> Result<()> {
        self.attributes = self.attributes.with(attribute.clone())?;
        self.change()?;
        self.say(profiles::put_attribute(self.tx, &attribute))
    }

    /// Removes a custom attribute with all its values; says how many persons had one.
    pub fn remove_attribute(&mut self, name: &str) -> Result<usize> {
        let change = self.change()?;
        self.attributes = self.attributes.without(name);
        self.say(profiles::remove_attribute(self.tx, name, change))
    }

    /// Adds a tag that nobody has yet; `false` when it is there already.
    pub fn add_tag(&mut self, name: &str) -> Result<bool> {
        self.say(profiles::put_tag(self.tx, name))
    }

    /// Removes a tag from the list of tags, not from persons; `false` when there is none.
    pub fn remove_tag(&mut self, name: &str) -> Result<bool> {
        self.say(profiles::remove_tag(self.tx, name))
    }

    /// The persons that have a tag.
    pub fn tagged(&self, name: &str) -> Result<Vec<PersonId>> {
        let mut ids: Vec<PersonId> = self
            .say(profiles::tagged(self.tx, name))?
            .into_iter()
            .map(|id| self.persons.resolve(id))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// Notes an event about a person, if events of its definition are taken.
    fn tell(&mut self, person: PersonId, happened: Happened) -> Result<()> {
        let enabled = self.registry.find(happened.definition).is_some_and(|definition| definition.enabled);
        if !enabled {
            return Ok(());
        }
        self.told = true;
        self.say(profiles::put_outbox(self.tx, happened.definition, person, self.now, &happened.properties))
    }
}

/// Everybody whom a person stands for, itself among them.
pub(crate) fn members(
    tx: &Transaction<'_>,
    aliases: &Aliases,
    root: PersonId,
) -> rusqlite::Result<Vec<Member>> {
    let ids = aliases.members(root).into_iter();
    let members = ids.filter_map(|id| profiles::member(tx, id).transpose());
    members.collect()
}

/// The profile of a person, by any id of it.
pub(crate) fn profile(
    tx: &Transaction<'_>,
    aliases: &Aliases,
    id: PersonId,
) -> rusqlite::Result<Option<Profile>> {
    Ok(Profile::of(&members(tx, aliases, aliases.resolve(id))?))
}

impl Storage {
    /// Changes persons in one transaction: all that `work` does, or nothing when it fails. When this returns it is
    /// durable and the next snapshot shows it. Once begun it goes on to its end, even if the caller stops waiting.
    ///
    /// Whoever calls this holds the turn to import (see `Engine`), for both give out ids of persons.
    ///
    /// # Errors
    /// `Invalid` when the directory is open for reading only, and those of `work`.
    pub async fn change_people<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut PeopleTx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.writer()?;
        let storage = Arc::clone(self);
        let broke = || "a change of persons broke off".to_owned();
        let whole = tokio::spawn(async move {
            let _turn = storage.committing.lock().await;
            let held = Arc::clone(&storage);
            let changed = tokio::task::spawn_blocking(move || held.change_people_now(work)).await;
            let Changed { value, persons, attributes } = changed.internal(broke)??;
            if let Some(persons) = persons {
                storage.view.forget_last().await;
                *storage.persons.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(persons.into());
                *storage.attributes.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(attributes);
            }
            Ok(value)
        });
        whole.await.internal(broke)?
    }

    fn change_people_now<T>(&self, work: impl FnOnce(&mut PeopleTx<'_>) -> Result<T>) -> Result<Changed<T>> {
        let persons = self.persons()?;
        self.catalog.change(DOING, |tx| {
            let mut people = PeopleTx {
                tx,
                catalog: &self.catalog,
                registry: self.registry(),
                persons: Persons::clone(&persons),
                attributes: CustomAttributes::clone(&self.attributes()),
                change: None,
                told: false,
                now: self.config.clock.now(),
            };
            let value = work(&mut people)?;
            let PeopleTx { persons, attributes, change, told, .. } = people;
            let changed = change.is_some() || told;
            Ok(Changed { value, persons: changed.then_some(persons), attributes })
        })
    }

    /// The custom attributes that there are.
    pub fn attributes(&self) -> Arc<CustomAttributes> {
        Arc::clone(&self.attributes.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The columns of `persons` that are stored.
    pub(crate) fn people_schema(&self) -> SchemaRef {
        crate::storage::people_columns::schema(&self.attributes())
    }

    /// The profile of a person, by any id of it.
    pub fn profile(&self, id: PersonId) -> Result<Option<Profile>> {
        Ok(self.profiles(&[id])?.into_iter().next().flatten())
    }

    /// The profiles of some persons, by any ids of them.
    pub fn profiles(&self, ids: &[PersonId]) -> Result<Vec<Option<Profile>>> {
        let persons = self.known_persons();
        self.read_people(|tx| ids.iter().map(|id| profile(tx, persons.aliases(), *id)).collect())
    }

    /// Every merge that was made, in order.
    pub fn merges(&self) -> Result<Vec<MergeRow>> {
        self.read_people(profiles::merges)
    }

    /// Every tag that there is.
    pub fn tags(&self) -> Result<Vec<String>> {
        self.read_people(profiles::tags)
    }

    /// Events about persons that are not stored yet, the oldest first.
    pub fn outbox(&self, most: usize) -> Result<Vec<OutboxRow>> {
        self.read_people(|tx| profiles::outbox(tx, most))
    }

    /// Forgets events of the outbox up to a number, because they are stored.
    pub fn empty_outbox(&self, upto: i64) -> Result<()> {
        self.writer()?;
        let emptied = |tx: &Transaction<'_>| {
            profiles::empty_outbox(tx, upto).map_err(|error| self.catalog.failed(DOING, error))
        };
        self.catalog.change(DOING, emptied)
    }

    fn read_people<T>(&self, read: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T> {
        let doing = "read persons from";
        self.catalog.look(doing, |tx| read(tx).map_err(|error| self.catalog.failed(doing, error)))
    }
}
