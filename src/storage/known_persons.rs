//! `KnownPersons`: who was merged into whom, which every question needs, and everybody with their names, which few do:
//! they are read from the catalog by whoever first asks for them. Who writes events out needs the external ids alone.
//!
//! Two million persons are a quarter of a gigabyte and take half a second. A funnel over them knows them by their
//! numbers alone.

use std::sync::Arc;
use std::sync::OnceLock;

use crate::error::Result;
use crate::ids::PersonId;
use crate::person::Aliases;
use crate::person::ExternalIds;
use crate::person::Identifier;
use crate::person::IdentifierType;
use crate::person::Person;
use crate::person::Persons;
use crate::storage::catalog::Catalog;

/// The persons of a snapshot. What is read late may be newer than the snapshot: more persons, never fewer.
#[derive(Clone, Debug, Default)]
pub struct KnownPersons {
    aliases: Arc<Aliases>,
    all: OnceLock<Arc<Persons>>,
    external: OnceLock<Arc<ExternalIds>>,
    /// Where they are read from; nowhere, if they are all there.
    catalog: Option<Arc<Catalog>>,
}

impl From<Persons> for KnownPersons {
    fn from(persons: Persons) -> Self {
        let aliases = Arc::clone(persons.aliases());
        Self { aliases, all: OnceLock::from(Arc::new(persons)), ..Self::default() }
    }
}

impl KnownPersons {
    /// Those of the catalog, unread but for the merges.
    pub(crate) fn of(catalog: &Arc<Catalog>) -> Result<Self> {
        let aliases = Arc::new(Aliases::of(catalog.merges_in_force()?));
        Ok(Self { aliases, catalog: Some(Arc::clone(catalog)), ..Self::default() })
    }

    /// Who was merged into whom.
    pub fn aliases(&self) -> &Arc<Aliases> {
        &self.aliases
    }

    /// The person that an id stands for: the id itself, unless it was merged into another.
    pub fn resolve(&self, id: PersonId) -> PersonId {
        self.aliases.resolve(id)
    }

    /// Everybody, read now if nobody has asked yet.
    ///
    /// # Errors
    /// When the catalog cannot be read; the next call tries again.
    pub fn all(&self) -> Result<&Arc<Persons>> {
        if let Some(all) = self.all.get() {
            return Ok(all);
        }
        let read = match &self.catalog {
            Some(catalog) => catalog.load_persons(&self.aliases)?,
            None => Persons::default(),
        };
        Ok(self.all.get_or_init(|| Arc::new(read)))
    }

    /// The person that an identifier was given to, merged or not, unless it is no more; looked up alone if nobody has asked
    /// for everybody.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn find_by(&self, kind: IdentifierType, id: &str, sender: &str) -> Result<Option<PersonId>> {
        match (self.all.get(), &self.catalog) {
            (Some(all), _) => Ok(all.find_by(kind, id, sender)),
            (None, Some(catalog)) => catalog.find_person(kind, id, sender),
            (None, None) => Ok(None),
        }
    }

    /// Whether there is a person of this id, merged or not; as [`KnownPersons::find_by`].
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn contains(&self, id: PersonId) -> Result<bool> {
        Ok(self.find_by(IdentifierType::Id, &id.0.to_string(), "")?.is_some())
    }

    /// The person that an identifier leads to, merges followed; as [`KnownPersons::find_by`].
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn owner(&self, kind: IdentifierType, id: &str, sender: &str) -> Result<Option<PersonId>> {
        Ok(self.find_by(kind, id, sender)?.map(|found| self.resolve(found)))
    }

    /// What everybody is called outside, read now if nobody has asked yet.
    ///
    /// # Errors
    /// When the catalog cannot be read; the next call tries again.
    pub fn external_ids(&self) -> Result<&Arc<ExternalIds>> {
        if let Some(external) = self.external.get() {
            return Ok(external);
        }
        let read = match (self.all.get(), &self.catalog) {
            (Some(all), _) => ExternalIds::Of(Arc::clone(all)),
            (None, Some(catalog)) => catalog.load_external_ids(&self.aliases)?,
            (None, None) => ExternalIds::default(),
        };
        Ok(self.external.get_or_init(|| Arc::new(read)))
    }

    /// The same persons, merged as these aliases say; by default, as if nobody had been.
    pub(crate) fn merged_as(&self, aliases: Aliases) -> Self {
        match self.all.get() {
            Some(all) => Self::from(all.merged_as(aliases)),
            None => Self { aliases: Arc::new(aliases), catalog: self.catalog.clone(), ..Self::default() },
        }
    }

    /// Adds persons that the catalog has already, so that nothing is to do while nobody has asked for them.
    pub(crate) fn add(&mut self, new: Vec<(Person, Vec<Identifier>)>) {
        self.external.take();
        let Some(all) = self.all.get_mut() else { return };
        let persons: &mut Persons = Arc::make_mut(all);
        for (person, identifiers) in new {
            persons.add(person, identifiers);
        }
    }
}
