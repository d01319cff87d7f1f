//! The definitions in force: an immutable set that readers share; a change makes a new one.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Error;
use crate::error::Result;
use crate::error::did_you_mean;
use crate::schema::Definition;

/// All definitions by id: templates, standard events and the user's own.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    definitions: BTreeMap<String, Arc<Definition>>,
}

impl Registry {
    pub fn new(definitions: impl IntoIterator<Item = Definition>) -> Self {
        let definitions =
            definitions.into_iter().map(|one| (one.id.as_str().to_owned(), Arc::new(one))).collect();
        Self { definitions }
    }

    /// The definition with exactly this id, templates included.
    pub fn find(&self, id: &str) -> Option<&Arc<Definition>> {
        self.definitions.get(id)
    }

    /// The definition with exactly this id, or an error that names the nearest one.
    pub fn get(&self, id: &str) -> Result<&Arc<Definition>> {
        self.find(id).ok_or_else(|| {
            let hint = did_you_mean(id, self.definitions.keys().map(String::as_str));
            Error::not_found(format!("no event is defined as \"{id}\"{hint}"))
        })
    }

    /// All of them, ordered by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.definitions.values()
    }
}
