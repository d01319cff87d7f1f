//! Who a visitor or a device is: anonymous at first, then a lead, then a customer, as the Web SDK and the Mobile SDK
//! mean it.
//!
//! Each session of an anonymous visitor is a person of its own, merged into the visitor. So when the visitor turns out
//! to be a lead, all sessions follow with one merge, and when it turns out to be a customer, the current one is merged
//! alone. Events stay where they are.

use crate::engine::Engine;
use crate::engine::PersonOp;
use crate::engine::Verdict;
use crate::engine::people::Writer;
use crate::engine::people::refused;
use crate::error::Error;
use crate::error::Result;
use crate::ids::PersonId;
use crate::ids::is_identifier;
use crate::person::Contact;
use crate::person::FaultCode;
use crate::person::Identifier;
use crate::person::IdentifierType;
use crate::person::PersonKind;
use crate::person::PersonWrite;
use crate::person::Profile;

const WEB: &str = "WEB_SDK";
const PUSH: &str = "PUSH";

/// How a device becomes somebody's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Personalize {
    /// Take the device from whoever has it.
    pub force_depersonalize: bool,
    /// Do not make a lead a customer.
    pub keep_as_lead: bool,
}

impl Engine {
    /// The person that events of a visitor's session are of; made when the session is new.
    ///
    /// # Errors
    /// `Invalid` for an id that is none.
    pub async fn visit(&self, visitor: &str, session: &str) -> Result<PersonId> {
        for id in [visitor, session] {
            if !is_identifier(id) {
                return Err(Error::invalid(format!(
                    "a visitor's id has 1 to 256 characters, found \"{id}\""
                )));
            }
        }
        let persons = self.storage().known_persons();
        if let Some(id) = persons.find_by(IdentifierType::Visitor, visitor, session)? {
            return Ok(id);
        }
        let (visitor, session) = (visitor.to_owned(), session.to_owned());
        self.change_people(move |people| Writer { people, origin: WEB }.visit(&visitor, &session)).await
    }

    /// Says who a visitor is. Nobody known: the visitor becomes a new lead, or a lead of its own when it is somebody
    /// already. A lead: all that the visitor did is the lead's. A customer: only what this session did is.
    pub async fn set_person(&self, visitor: &str, session: &str, write: PersonWrite) -> Result<Verdict> {
        let (visitor, session) = (visitor.to_owned(), session.to_owned());
        self.change_people(move |people| {
            Writer { people, origin: WEB }.set_person(&visitor, &session, &write)
        })
        .await
    }

    /// Makes the person of a device somebody: whoever the identifiers in `write` lead to, or a new customer.
    pub async fn personalize(
        &self,
        device: Contact,
        write: PersonWrite,
        how: Personalize,
    ) -> Result<Verdict> {
        self.change_people(move |people| Writer { people, origin: PUSH }.personalize(&device, write, how))
            .await
    }

    /// Takes a device from its person; from now on it is a new lead's.
    pub async fn depersonalize(&self, device: Contact) -> Result<Verdict> {
        self.change_people(move |people| Writer { people, origin: PUSH }.depersonalize(&device)).await
    }
}

fn is_anonymous(profile: &Profile) -> bool {
    profile.kind == PersonKind::Visitor
}

/// Whether nobody has said yet who it is: nothing but registrations leads to it.
fn is_unnamed(profile: &Profile) -> bool {
    let named = [IdentifierType::Email, IdentifierType::Phone];
    profile.external_id.is_none() && !profile.contacts.iter().any(|one| named.contains(&one.kind))
}

impl Writer<'_, '_> {
    fn visit(&mut self, visitor: &str, session: &str) -> Result<PersonId> {
        let own = |sender: &str| Identifier {
            kind: IdentifierType::Visitor,
            id: visitor.to_owned(),
            sender: sender.to_owned(),
        };
        if let Some(id) = self.people.persons().find(&own(session)) {
            return Ok(id);
        }
        let whole = match self.people.persons().find(&own("")) {
            Some(id) => id,
            None => self.people.add_visitor(&own(""), self.origin)?,
        };
        let id = self.people.add_visitor(&own(session), self.origin)?;
        self.people.merge(whole, id, self.origin)?;
        Ok(id)
    }

    fn set_person(&mut self, visitor: &str, session: &str, write: &PersonWrite) -> Result<Verdict> {
        let session = self.visit(visitor, session)?;
        let candidates = self.candidates(write)?;
        let current =
            self.people.profile(session)?.ok_or_else(|| Error::internal("a session is nobody's"))?;
        let target = match &candidates[..] {
            [] => {
                let mut write = write.clone();
                write.kind = Some(PersonKind::Lead);
                if is_anonymous(&current) {
                    return Ok(match self.update_as(&current, &write)? {
                        Verdict::Updated(id) => {
                            self.people.tell_created(id)?;
                            Verdict::Created(id)
                        }
                        other => other,
                    });
                }
                let created = self.write(PersonOp::Create(write))?;
                if let Verdict::Created(id) = created {
                    self.people.move_to(session, id, self.origin)?;
                }
                return Ok(created);
            }
            [target] => target.clone(),
            _ => return Ok(ambiguous()),
        };
        if target.id == current.id {
            return Ok(Verdict::NotModified(target.id));
        }
        if target.kind == PersonKind::Lead && is_anonymous(&current) {
            self.people.merge(target.id, current.id, self.origin)?;
        } else {
            self.people.move_to(session, target.id, self.origin)?;
        }
        Ok(Verdict::Updated(target.id))
    }

    fn update_as(&mut self, before: &Profile, write: &PersonWrite) -> Result<Verdict> {
        let who = Identifier { kind: IdentifierType::Id, id: before.id.to_string(), sender: String::new() };
        self.write(PersonOp::Write { who, write: write.clone(), mode: crate::person::Mode::Update })
    }

    /// The persons that the identifiers of a write lead to.
    fn candidates(&self, write: &PersonWrite) -> Result<Vec<Profile>> {
        let external = write.external_id.iter().flatten().map(|id| Identifier {
            kind: IdentifierType::ExternalId,
            id: id.clone(),
            sender: String::new(),
        });
        let contacts = write.contacts.iter().flatten().map(Contact::identifier);
        let mut ids: Vec<PersonId> =
            external.chain(contacts).filter_map(|one| self.people.owner(&one)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().filter_map(|id| self.people.profile(id).transpose()).collect()
    }

    fn personalize(&mut self, device: &Contact, mut write: PersonWrite, how: Personalize) -> Result<Verdict> {
        let candidates = self.candidates(&write)?;
        if candidates.len() > 1 {
            return Ok(ambiguous());
        }
        let holder = match self.people.owner(&device.identifier()) {
            Some(id) => self.people.profile(id)?,
            None => None,
        };
        let target = candidates.into_iter().next();
        let same = |one: &Profile| target.as_ref().is_some_and(|target| target.id == one.id);
        let free = match &holder {
            Some(holder) if same(holder) => None,
            Some(holder) if is_unnamed(holder) => Some(holder.clone()),
            Some(_) if !how.force_depersonalize => {
                let message = "the device is another person's; depersonalize it first, or force it";
                return Ok(refused(FaultCode::Taken, "pushRegistrationId", message.to_owned()));
            }
            Some(holder) => {
                self.take_away(holder, device)?;
                None
            }
            None => None,
        };
        if !how.keep_as_lead {
            write.kind = Some(PersonKind::Customer);
        }
        match (target, free) {
            (Some(target), Some(free)) => {
                self.people.merge(target.id, free.id, self.origin)?;
                self.with_device(target.id, device, &write)
            }
            (Some(target), None) => self.with_device(target.id, device, &write),
            (None, Some(free)) => self.with_device(free.id, device, &write),
            (None, None) => {
                write.contacts.get_or_insert_default().push(device.clone());
                self.write(PersonOp::Create(write))
            }
        }
    }

    /// Writes to a person, and gives it the device unless it has it.
    fn with_device(&mut self, id: PersonId, device: &Contact, write: &PersonWrite) -> Result<Verdict> {
        let mut write = write.clone();
        write.contacts.get_or_insert_default().push(device.clone());
        let Some(before) = self.people.profile(id)? else {
            return Ok(refused(FaultCode::NotFound, "id", format!("there is no person {id}")));
        };
        self.update_as(&before, &write)
    }

    fn take_away(&mut self, holder: &Profile, device: &Contact) -> Result<Verdict> {
        let who = Identifier { kind: IdentifierType::Id, id: holder.id.to_string(), sender: String::new() };
        self.write(PersonOp::RemoveContacts { who, contacts: vec![device.clone()] })
    }

    fn depersonalize(&mut self, device: &Contact) -> Result<Verdict> {
        let Some(holder) = self.people.owner(&device.identifier()) else {
            let message = format!("nobody has the registration \"{}\"", device.id);
            return Ok(refused(FaultCode::NotFound, "pushRegistrationId", message));
        };
        if let Some(holder) = self.people.profile(holder)? {
            self.take_away(&holder, device)?;
        }
        let lead = PersonWrite {
            kind: Some(PersonKind::Lead),
            contacts: Some(vec![device.clone()]),
            ..PersonWrite::default()
        };
        self.write(PersonOp::Create(lead))
    }
}

fn ambiguous() -> Verdict {
    refused(
        FaultCode::Taken,
        "identifier",
        "the identifiers lead to several persons; merge them first".to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::engine::Config;

    async fn open(folder: &tempfile::TempDir) -> Engine {
        Engine::open(Config { data: folder.path().join("data"), ..Config::default() }).await.unwrap()
    }

    fn write(email: &str) -> PersonWrite {
        PersonWrite::from_json(&json!({"contactInformation": {"email": [{"address": email}]}})).unwrap()
    }

    fn stands_for(engine: &Engine, id: PersonId) -> PersonId {
        engine.storage().persons().unwrap().resolve(id)
    }

    #[tokio::test]
    async fn a_visitor_becomes_a_new_lead_with_all_its_sessions() {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(&folder).await;
        let first = engine.visit("v", "s1").await.unwrap();
        let second = engine.visit("v", "s2").await.unwrap();
        assert_eq!(engine.visit("v", "s1").await.unwrap(), first);
        assert_eq!(stands_for(&engine, first), stands_for(&engine, second));
        let Verdict::Created(lead) = engine.set_person("v", "s2", write("a@example.com")).await.unwrap()
        else {
            panic!("no lead");
        };
        assert_eq!((stands_for(&engine, first), stands_for(&engine, second)), (lead, lead));
        let profile = engine.profiles(&[lead]).unwrap().remove(0).unwrap();
        assert_eq!((profile.kind, profile.contacts.len()), (PersonKind::Lead, 1));
        // Another visitor who says the same is the same lead, with everything it did.
        let other = engine.visit("w", "s3").await.unwrap();
        assert_eq!(
            engine.set_person("w", "s4", write("a@example.com")).await.unwrap(),
            Verdict::Updated(lead)
        );
        assert_eq!(stands_for(&engine, other), lead);
    }

    #[tokio::test]
    async fn a_customer_gets_the_current_session_only() {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(&folder).await;
        let customer =
            engine.write_people(vec![PersonOp::Create(write("c@example.com"))], "API").await.unwrap();
        let customer = customer[0].person().unwrap();
        let before = engine.visit("v", "s1").await.unwrap();
        let now = engine.visit("v", "s2").await.unwrap();
        assert_eq!(
            engine.set_person("v", "s2", write("c@example.com")).await.unwrap(),
            Verdict::Updated(customer)
        );
        assert_eq!(stands_for(&engine, now), customer);
        assert_ne!(stands_for(&engine, before), customer);
        engine.close().await.unwrap();
        let engine = open(&folder).await;
        assert_eq!(stands_for(&engine, now), customer);
        assert_ne!(stands_for(&engine, before), customer);
        let profile = engine.profiles(&[customer]).unwrap().remove(0).unwrap();
        assert_eq!((profile.id, profile.kind, profile.contacts.len()), (customer, PersonKind::Customer, 1));
    }

    #[tokio::test]
    async fn a_device_is_a_leads_until_it_is_personalized() {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(&folder).await;
        let device = Contact {
            kind: IdentifierType::Push,
            id: "reg-1".to_owned(),
            sender: "app".to_owned(),
            primary: false,
        };
        let lead = PersonWrite {
            kind: Some(PersonKind::Lead),
            contacts: Some(vec![device.clone()]),
            ..PersonWrite::default()
        };
        let lead =
            engine.write_people(vec![PersonOp::Create(lead)], "PUSH").await.unwrap()[0].person().unwrap();
        let done =
            engine.personalize(device.clone(), write("a@example.com"), Personalize::default()).await.unwrap();
        assert_eq!(done, Verdict::Updated(lead));
        let profile = engine.profiles(&[lead]).unwrap().remove(0).unwrap();
        assert_eq!((profile.kind, profile.contacts.len()), (PersonKind::Customer, 2));
        // It is somebody's now: another needs force, and then the first keeps what is its own.
        let other = write("b@example.com");
        let done = engine.personalize(device.clone(), other.clone(), Personalize::default()).await.unwrap();
        assert!(matches!(done, Verdict::Refused(_)));
        let force = Personalize { force_depersonalize: true, ..Personalize::default() };
        let Verdict::Created(second) = engine.personalize(device.clone(), other, force).await.unwrap() else {
            panic!("nobody new");
        };
        assert_eq!(engine.match_persons(&[device.identifier()]).unwrap(), [Some(second)]);
        let Verdict::Created(third) = engine.depersonalize(device.clone()).await.unwrap() else {
            panic!("no lead")
        };
        assert_eq!(engine.match_persons(&[device.identifier()]).unwrap(), [Some(third)]);
        let profile = engine.profiles(&[third]).unwrap().remove(0).unwrap();
        assert_eq!(profile.kind, PersonKind::Lead);
    }
}
