//! The people of a store, for whoever serves them: profiles by any identifier, writes in batches with a verdict for
//! each, tags, custom attributes, and merges.

use std::sync::Arc;

use crate::engine::Engine;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::ids::PersonId;
use crate::person::Contact;
use crate::person::CustomAttribute;
use crate::person::CustomAttributes;
use crate::person::Fault;
use crate::person::FaultCode;
use crate::person::Identifier;
use crate::person::IdentifierType;
use crate::person::Mode;
use crate::person::PersonWrite;
use crate::person::Profile;
use crate::person::check_tag;
use crate::person::decide;
use crate::storage::PeopleTx;
use crate::storage::catalog::MergeRow;

/// The most writes of one batch.
pub const PERSONS_OF_A_BATCH: usize = 1_000;

/// One write of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum PersonOp {
    /// A new person; refused when an identifier of it is somebody's.
    Create(PersonWrite),
    /// PUT (`Replace`) or PATCH (`Update`) of a person that is there.
    Write {
        who: Identifier,
        write: PersonWrite,
        mode: Mode,
    },
    /// The same of the person that any of the identifiers in the write leads to, or else a new one.
    Upsert {
        write: PersonWrite,
        mode: Mode,
    },
    /// Removes the person and what is known of it.
    Delete {
        who: Identifier,
    },
    /// Adds contacts, puts them in the place of all emails and phones, or removes them.
    AddContacts {
        who: Identifier,
        contacts: Vec<Contact>,
    },
    ReplaceContacts {
        who: Identifier,
        contacts: Vec<Contact>,
    },
    RemoveContacts {
        who: Identifier,
        contacts: Vec<Contact>,
    },
    Tag {
        who: Identifier,
        tag: String,
    },
    Untag {
        who: Identifier,
        tag: String,
    },
    /// Makes these persons one, the earliest created; `write` then overrides what was stored.
    Merge {
        who: Vec<Identifier>,
        write: Option<PersonWrite>,
    },
}

/// What came of one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Created(PersonId),
    Updated(PersonId),
    NotModified(PersonId),
    Deleted(PersonId),
    Refused(Vec<Fault>),
}

impl Verdict {
    pub fn person(&self) -> Option<PersonId> {
        match self {
            Self::Created(id) | Self::Updated(id) | Self::NotModified(id) | Self::Deleted(id) => Some(*id),
            Self::Refused(_) => None,
        }
    }

    /// `CREATED`, `UPDATED`, `NOT_MODIFIED`, `DELETED` or `REFUSED`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Created(_) => "CREATED",
            Self::Updated(_) => "UPDATED",
            Self::NotModified(_) => "NOT_MODIFIED",
            Self::Deleted(_) => "DELETED",
            Self::Refused(_) => "REFUSED",
        }
    }
}

impl Engine {
    /// The person that an identifier leads to; an `ID` may be that of one who was merged.
    pub fn find_person(&self, who: &Identifier) -> Result<Option<Profile>> {
        match self.storage().known_persons().owner(who.kind, &who.id, &who.sender)? {
            Some(id) => self.storage().profile(id),
            None => Ok(None),
        }
    }

    /// The ids of the persons that identifiers lead to, in their order.
    pub fn match_persons(&self, who: &[Identifier]) -> Result<Vec<Option<PersonId>>> {
        let persons = self.storage().known_persons();
        who.iter().map(|one| persons.owner(one.kind, &one.id, &one.sender)).collect()
    }

    /// The profiles of some persons, in their order; none for those that are not there.
    pub fn profiles(&self, ids: &[PersonId]) -> Result<Vec<Option<Profile>>> {
        self.storage().profiles(ids)
    }

    /// Writes a batch, in order and in one transaction: what is refused is in its verdict, all else is done. `origin`
    /// says who writes, such as `API` or `IMPORT`.
    ///
    /// # Errors
    /// `Invalid` for more than [`PERSONS_OF_A_BATCH`] writes or in a store that is open for reading only.
    pub async fn write_people(&self, ops: Vec<PersonOp>, origin: &str) -> Result<Vec<Verdict>> {
        if ops.len() > PERSONS_OF_A_BATCH {
            let message = format!("a batch has at most {PERSONS_OF_A_BATCH} persons, found {}", ops.len());
            return Err(Error::invalid(message));
        }
        let origin = origin.to_owned();
        let work = move |people: &mut PeopleTx<'_>| {
            ops.into_iter().map(|op| Writer { people, origin: &origin }.write(op)).collect()
        };
        self.change_people(work).await
    }

    /// Writes any number of persons, all or none.
    ///
    /// # Errors
    /// The first refusal, said of its row.
    pub async fn write_people_whole(&self, ops: Vec<PersonOp>, origin: &str) -> Result<Vec<Verdict>> {
        let origin = origin.to_owned();
        let work = move |people: &mut PeopleTx<'_>| {
            let of = ops.len();
            let mut verdicts = Vec::with_capacity(of);
            for (at, op) in ops.into_iter().enumerate() {
                let verdict = Writer { people, origin: &origin }.write(op)?;
                if let Verdict::Refused(faults) = &verdict {
                    let fault = faults.first().map_or("", |fault| fault.message.as_str());
                    let row = if of > 1 { format!("row {}: ", at + 1) } else { String::new() };
                    return Err(Error::invalid(format!("{row}{fault}; nothing was changed")));
                }
                verdicts.push(verdict);
            }
            Ok(verdicts)
        };
        self.change_people(work).await
    }

    /// The person that a text means as people write one: `EMAIL:ana@example.com`, or without a type whatever leads to
    /// somebody: an external id, a `personId`, an email or a phone number.
    ///
    /// # Errors
    /// `NotFound` when it means nobody, `Invalid` for a type that there is not.
    pub fn who(&self, text: &str) -> Result<Identifier> {
        let identifier = |kind: IdentifierType, id: &str, sender: &str| Identifier {
            kind,
            id: id.to_owned(),
            sender: sender.to_owned(),
        };
        let persons = self.storage().known_persons();
        let typed =
            text.split_once(':').and_then(|(kind, id)| Some((kind.parse::<IdentifierType>().ok()?, id)));
        let found = match typed {
            // `PUSH:sender:id`, for the sender has no colon more often than the id.
            Some((kind, rest)) if kind.needs_sender() => {
                let (sender, id) = rest.split_once(':').ok_or_else(|| {
                    Error::invalid(format!("a {kind} is written {kind}:sender:id, found \"{text}\""))
                })?;
                vec![identifier(kind, id, sender)]
            }
            Some((kind, id)) => vec![identifier(kind, id, "")],
            None => {
                [IdentifierType::ExternalId, IdentifierType::Id, IdentifierType::Email, IdentifierType::Phone]
                    .map(|kind| identifier(kind, text, ""))
                    .to_vec()
            }
        };
        for one in found {
            if persons.owner(one.kind, &one.id, &one.sender)?.is_some() {
                return Ok(one);
            }
        }
        Err(Error::not_found(format!(
            "nobody is known by \"{text}\"; a person is an external id, a personId, or a type and an id such as \
             EMAIL:ana@example.com"
        )))
    }

    /// The id that a person had before it was merged, by a name that it had then.
    ///
    /// # Errors
    /// `NotFound` when the text means nobody.
    pub fn own_id_of(&self, text: &str) -> Result<PersonId> {
        let who = self.who(text)?;
        let own = self.storage().known_persons().find_by(who.kind, &who.id, &who.sender)?;
        own.ok_or_else(|| Error::not_found(format!("nobody is known by \"{text}\"")))
    }

    /// The custom attributes, by name.
    pub fn custom_attributes(&self) -> Arc<CustomAttributes> {
        self.storage().attributes()
    }

    /// Adds a custom attribute; the same again changes nothing.
    ///
    /// # Errors
    /// `Conflict` when there is one of that name with another type.
    pub async fn add_custom_attribute(&self, attribute: CustomAttribute) -> Result<()> {
        let computed = self.storage().catalog().computed_attributes()?;
        if computed.iter().any(|one| one.name.eq_ignore_ascii_case(&attribute.name)) {
            let name = &attribute.name;
            return Err(Error::conflict(format!(
                "there is a computed attribute \"{name}\"; take another name"
            )));
        }
        self.change_people(move |people| people.add_attribute(attribute)).await
    }

    /// Removes a custom attribute and all its values; says how many persons had one.
    ///
    /// # Errors
    /// `NotFound` when there is none of that name.
    pub async fn remove_custom_attribute(&self, name: &str) -> Result<usize> {
        let name = name.to_owned();
        let work = move |people: &mut PeopleTx<'_>| {
            if people.attributes().get(&name).is_none() {
                return Err(Error::not_found(format!("there is no custom attribute \"{name}\"")));
            }
            people.remove_attribute(&name)
        };
        self.change_people(work).await
    }

    /// The tags that there are, in order.
    pub fn tags(&self) -> Result<Vec<String>> {
        self.storage().tags()
    }

    /// Adds a tag that nobody has yet; `false` when it is there already.
    pub async fn add_tag(&self, name: &str) -> Result<bool> {
        check_tag(name).map_err(Error::invalid)?;
        let name = name.to_owned();
        self.change_people(move |people| people.add_tag(&name)).await
    }

    /// Removes a tag from everybody who has it, and from the list; says how many had it.
    ///
    /// # Errors
    /// `NotFound` when there is no such tag.
    pub async fn remove_tag(&self, name: &str) -> Result<usize> {
        let name = name.to_owned();
        let work = move |people: &mut PeopleTx<'_>| {
            let tagged = people.tagged(&name)?;
            for id in &tagged {
                let mut writer = Writer { people, origin: "API" };
                writer.change(*id, |after| {
                    after.tags.remove(&name);
                })?;
            }
            if !people.remove_tag(&name)? {
                return Err(Error::not_found(format!("there is no tag \"{name}\"")));
            }
            Ok(tagged.len())
        };
        self.change_people(work).await
    }

    /// Every merge that was made and may have been undone, in order.
    pub fn merges(&self) -> Result<Vec<MergeRow>> {
        self.storage().merges()
    }

    /// Undoes the merge of a person into another, by its own id; says into whom it was merged.
    ///
    /// # Errors
    /// `NotFound` when it is merged into nobody.
    pub async fn unmerge(&self, id: PersonId) -> Result<PersonId> {
        let work = move |people: &mut PeopleTx<'_>| {
            let into = people.unmerge(id)?;
            into.ok_or_else(|| Error::not_found(format!("person {id} was not merged into another")))
        };
        self.change_people(work).await
    }
}

/// Decides and does one write after the other.
pub(crate) struct Writer<'a, 'tx> {
    pub(crate) people: &'a mut PeopleTx<'tx>,
    pub(crate) origin: &'a str,
}

impl Writer<'_, '_> {
    pub(crate) fn write(&mut self, op: PersonOp) -> Result<Verdict> {
        match op {
            PersonOp::Create(write) => self.create(&write),
            PersonOp::Write { who, write, mode } => match self.known(&who)? {
                Ok(before) => self.decide(&before, &write, mode),
                Err(fault) => Ok(Verdict::Refused(vec![fault])),
            },
            PersonOp::Upsert { write, mode } => self.upsert(&write, mode),
            PersonOp::Delete { who } => match self.known(&who)? {
                Ok(profile) => {
                    self.people.delete(profile.id)?;
                    Ok(Verdict::Deleted(profile.id))
                }
                Err(fault) => Ok(Verdict::Refused(vec![fault])),
            },
            PersonOp::AddContacts { who, contacts } => self.patch(&who, contacts, |_| Vec::new()),
            PersonOp::ReplaceContacts { who, contacts } => {
                let channels = [IdentifierType::Email, IdentifierType::Phone];
                let gone = contacts.clone();
                self.patch(&who, contacts, move |before| {
                    let all = before.contacts.iter().filter(|one| channels.contains(&one.kind));
                    all.filter(|one| !gone.iter().any(|other| other.is_same(one))).cloned().collect()
                })
            }
            PersonOp::RemoveContacts { who, contacts } => self.patch(&who, Vec::new(), move |_| contacts),
            PersonOp::Tag { who, tag } => match check_tag(&tag) {
                Ok(()) => self.edit(&who, |after| {
                    after.tags.insert(tag);
                }),
                Err(message) => Ok(refused(FaultCode::Invalid, "tag", message)),
            },
            PersonOp::Untag { who, tag } => self.edit(&who, |after| {
                after.tags.remove(&tag);
            }),
            PersonOp::Merge { who, write } => self.merge(&who, write),
        }
    }

    /// The person that an identifier leads to, or the fault that there is none.
    fn known(&self, who: &Identifier) -> Result<std::result::Result<Profile, Fault>> {
        let profile = match self.people.owner(who) {
            Some(id) => self.people.profile(id)?,
            None => None,
        };
        Ok(profile.ok_or_else(|| {
            let message = format!("nobody is known by the {} \"{}\"", who.kind, who.id);
            Fault { code: FaultCode::NotFound, property: "identifier".to_owned(), message }
        }))
    }

    fn create(&mut self, write: &PersonWrite) -> Result<Verdict> {
        let mut nobody = Profile::new(PersonId(0), self.people.now());
        nobody.origin = self.origin.to_owned();
        nobody.modified_from.clone_from(&nobody.origin);
        match self.decided(&nobody, write, Mode::Update) {
            Ok(profile) => Ok(Verdict::Created(self.people.create(&profile)?)),
            Err(faults) => Ok(Verdict::Refused(faults)),
        }
    }

    fn upsert(&mut self, write: &PersonWrite, mode: Mode) -> Result<Verdict> {
        let external = write.external_id.iter().flatten().map(|id| Identifier {
            kind: IdentifierType::ExternalId,
            id: id.clone(),
            sender: String::new(),
        });
        let contacts = write.contacts.iter().flatten().map(Contact::identifier);
        let mut owners: Vec<PersonId> =
            external.chain(contacts).filter_map(|one| self.people.owner(&one)).collect();
        owners.dedup();
        let found = match owners.first() {
            Some(id) => self.people.profile(*id)?,
            None => None,
        };
        match found {
            Some(before) if !is_another(&before, write) => self.decide(&before, write, mode),
            _ => self.create(write),
        }
    }

    fn decided(
        &self,
        before: &Profile,
        write: &PersonWrite,
        mode: Mode,
    ) -> std::result::Result<Profile, Vec<Fault>> {
        let owners =
            |kind: IdentifierType, id: &str, sender: &str| self.people.persons().owner(kind, id, sender);
        decide(before, write, mode, self.people.attributes(), &owners)
    }

    fn decide(&mut self, before: &Profile, write: &PersonWrite, mode: Mode) -> Result<Verdict> {
        match self.decided(before, write, mode) {
            Ok(after) => self.put(before, after),
            Err(faults) => Ok(Verdict::Refused(faults)),
        }
    }

    fn put(&mut self, before: &Profile, mut after: Profile) -> Result<Verdict> {
        if after.says_the_same(before) {
            return Ok(Verdict::NotModified(before.id));
        }
        self.origin.clone_into(&mut after.modified_from);
        self.people.update(before, &after)?;
        Ok(Verdict::Updated(before.id))
    }

    /// Changes a person by its id.
    fn change(&mut self, id: PersonId, change: impl FnOnce(&mut Profile)) -> Result<Verdict> {
        let Some(before) = self.people.profile(id)? else {
            return Ok(refused(FaultCode::NotFound, "id", format!("there is no person {id}")));
        };
        let mut after = before.clone();
        change(&mut after);
        self.put(&before, after)
    }

    fn edit(&mut self, who: &Identifier, change: impl FnOnce(&mut Profile)) -> Result<Verdict> {
        match self.known(who)? {
            Ok(before) => self.change(before.id, change),
            Err(fault) => Ok(Verdict::Refused(vec![fault])),
        }
    }

    /// Adds contacts and removes others.
    fn patch(
        &mut self,
        who: &Identifier,
        add: Vec<Contact>,
        gone: impl FnOnce(&Profile) -> Vec<Contact>,
    ) -> Result<Verdict> {
        let before = match self.known(who)? {
            Ok(before) => before,
            Err(fault) => return Ok(Verdict::Refused(vec![fault])),
        };
        let mut left = before.clone();
        let gone = gone(&before);
        left.contacts.retain(|one| !gone.iter().any(|other| other.is_same(one)));
        let write = PersonWrite { contacts: Some(add), ..PersonWrite::default() };
        match self.decided(&left, &write, Mode::Update) {
            Ok(after) => self.put(&before, after),
            Err(faults) => Ok(Verdict::Refused(faults)),
        }
    }

    fn merge(&mut self, who: &[Identifier], write: Option<PersonWrite>) -> Result<Verdict> {
        let mut ids = Vec::new();
        for one in who {
            match self.known(one)? {
                Ok(profile) => ids.push(profile.id),
                Err(fault) => return Ok(Verdict::Refused(vec![fault])),
            }
        }
        let Some((first, others)) = ids.split_first() else {
            return Ok(refused(
                FaultCode::Missing,
                "identifier",
                "a merge needs at least two persons".to_owned(),
            ));
        };
        let mut root = *first;
        let mut merged = false;
        for other in others {
            match self.people.merge(root, *other, self.origin) {
                Ok(Some(into)) => (root, merged) = (into, true),
                Ok(None) => {}
                Err(error) if error.kind() == Kind::NotFound => {
                    return Ok(refused(FaultCode::NotFound, "identifier", error.message().to_owned()));
                }
                Err(error) => return Err(error),
            }
        }
        let written = match write {
            Some(write) => match self.people.profile(root)? {
                Some(before) => self.decide(&before, &write, Mode::Update)?,
                None => Verdict::NotModified(root),
            },
            None => Verdict::NotModified(root),
        };
        Ok(match written {
            Verdict::NotModified(id) if merged => Verdict::Updated(id),
            other => other,
        })
    }
}

/// Whether a write means another person than the one whose contact it names: both have external ids, and they differ.
fn is_another(known: &Profile, write: &PersonWrite) -> bool {
    let given = write.external_id.iter().flatten().next();
    given.is_some_and(|id| known.external_id.as_ref().is_some_and(|own| own != id))
}

pub(crate) fn refused(code: FaultCode, property: &str, message: String) -> Verdict {
    Verdict::Refused(vec![Fault { code, property: property.to_owned(), message }])
}

#[cfg(test)]
mod kept;
#[cfg(test)]
mod tests;
