//! The definitions in force: an immutable set that readers share; a change makes a new one.
//!
//! A template and the event made from it have the same id, so templates are kept apart: they take no events, have no
//! table, and are asked for by their own methods.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Error;
use crate::error::Result;
use crate::error::did_you_mean;
use crate::error::nearest;
use crate::schema::Category;
use crate::schema::Definition;
use crate::schema::from_stored;
use crate::schema::standard;
use crate::schema::to_stored;

/// What stands before the id of a template in [`StoredRow::key`].
const TEMPLATE_KEY: &str = "template/";

/// All definitions by id: standard events and the user's own, and the templates.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    definitions: BTreeMap<String, Arc<Definition>>,
    templates: BTreeMap<String, Arc<Definition>>,
}

/// One definition as the catalog keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// Unique: the id, for a template with `template/` before it.
    pub key: String,
    /// See `to_stored`.
    pub json: String,
    /// Counts, and not the one inside the JSON.
    pub enabled: bool,
}

impl Registry {
    pub fn new(definitions: impl IntoIterator<Item = Definition>) -> Self {
        let mut registry = Self::default();
        for definition in definitions {
            registry.put(definition);
        }
        registry
    }

    /// What a new store starts with: all templates and standard events.
    pub fn standard() -> Result<Self> {
        Ok(Self::new(standard::definitions()?))
    }

    /// The registry that a store holds: what it kept, and what this version of the program knows beyond that.
    ///
    /// What is kept wins where events may depend on it: a standard event keeps its properties and their types, and
    /// gets new ones behind them; an event of the user stays, also when a later version has a standard event of that
    /// name. The rows to write back are the [`rows`](Self::rows) that differ.
    pub fn load(rows: impl IntoIterator<Item = StoredRow>) -> Result<Self> {
        let mut kept = Self::default();
        for row in rows {
            let definition = from_stored(&row.json)?;
            kept.put(Definition { enabled: row.enabled, ..definition });
        }
        for known in standard::definitions()? {
            let own = match known.category {
                Category::Template => &kept.templates,
                _ => &kept.definitions,
            };
            let there = own.values().find(|one| one.id.as_str().eq_ignore_ascii_case(known.id.as_str()));
            match there {
                None => kept.put(known),
                Some(there) if there.category == known.category && there.id == known.id => {
                    let renewed = standard::renewed(there, known);
                    kept.put(renewed);
                }
                Some(_) => {}
            }
        }
        Ok(kept)
    }

    /// Everything as rows of the catalog, templates included.
    pub fn rows(&self) -> Result<Vec<StoredRow>> {
        self.templates.values().chain(self.definitions.values()).map(|one| Self::row(one)).collect()
    }

    /// One definition as a row of the catalog.
    pub fn row(definition: &Definition) -> Result<StoredRow> {
        let prefix = if definition.category == Category::Template { TEMPLATE_KEY } else { "" };
        Ok(StoredRow {
            key: format!("{prefix}{}", definition.id),
            json: to_stored(definition)?,
            enabled: definition.enabled,
        })
    }

    /// The same registry with this definition in it, in the place of the one with its id.
    #[must_use]
    pub fn with(&self, definition: Definition) -> Self {
        let mut next = self.clone();
        next.put(definition);
        next
    }

    fn put(&mut self, definition: Definition) {
        let place = match definition.category {
            Category::Template => &mut self.templates,
            _ => &mut self.definitions,
        };
        place.insert(definition.id.as_str().to_owned(), Arc::new(definition));
    }

    /// The definition with exactly this id; never a template.
    pub fn find(&self, id: &str) -> Option<&Arc<Definition>> {
        self.definitions.get(id)
    }

    /// The definition with exactly this id, or an error that names the nearest one.
    pub fn get(&self, id: &str) -> Result<&Arc<Definition>> {
        self.find(id).ok_or_else(|| self.unknown(id))
    }

    /// All of them without the templates, ordered by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.definitions.values()
    }

    /// The template with exactly this id, or an error that names the nearest one.
    pub fn template(&self, id: &str) -> Result<&Arc<Definition>> {
        self.templates.get(id).ok_or_else(|| {
            let known = || self.templates.keys().map(String::as_str);
            let hint = match nearest(id, known()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("the templates are {}", known().collect::<Vec<_>>().join(", ")),
            };
            Error::not_found(format!("no template is called \"{id}\"; {hint}"))
        })
    }

    /// The templates, ordered by id.
    pub fn templates(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.templates.values()
    }

    /// The definitions that an id or a pattern names, ordered by id; `*` stands for any characters, also none.
    ///
    /// Fails with `NotFound` when there are none.
    pub fn matching(&self, pattern: &str) -> Result<Vec<&Arc<Definition>>> {
        if !pattern.contains('*') {
            return Ok(vec![self.get(pattern)?]);
        }
        let matching: Vec<_> = self.iter().filter(|one| matches(pattern, one.id.as_str())).collect();
        if matching.is_empty() {
            return Err(Error::not_found(format!(
                "no event has an id like \"{pattern}\"; ids are case-sensitive"
            )));
        }
        Ok(matching)
    }

    fn unknown(&self, id: &str) -> Error {
        if self.templates.contains_key(id) {
            return Error::not_found(format!(
                "no event is defined as \"{id}\", but there is a template; CREATE EVENT FROM TEMPLATE {id} defines it"
            ));
        }
        let hint = did_you_mean(id, self.definitions.keys().chain(self.templates.keys()).map(String::as_str));
        Error::not_found(format!("no event is defined as \"{id}\"{hint}"))
    }
}

/// Whether `text` is like `pattern`, in which `*` stands for any characters, also none.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|start| text.strip_prefix(start)) else { return false };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::schema::Property;
    use crate::value::ScalarType;

    fn standard() -> Registry {
        Registry::standard().unwrap()
    }

    fn ids(registry: &Registry, pattern: &str) -> Vec<String> {
        registry.matching(pattern).unwrap().iter().map(|one| one.id.to_string()).collect()
    }

    #[test]
    fn a_star_stands_for_any_characters_and_none() {
        assert!(matches("email*", "emailOpened"));
        assert!(matches("email*", "email"));
        assert!(matches("person*Flow", "personEnteredFlow"));
        assert!(matches("*", ""));
        assert!(matches("a**b", "ab"));
        assert!(matches("*a*b*", "xxaxxbxx"));
        assert!(!matches("email*", "Email"));
        assert!(!matches("person*Flow", "personEnteredFlows"));
        assert!(!matches("a*a", "a"));
        assert!(!matches("*b*a*", "ab"));
        assert!(!matches("email", "emailOpened"));
    }

    #[test]
    fn a_pattern_selects_ids_and_one_that_selects_none_is_an_error() {
        assert_eq!(ids(&standard(), "person*Flow"), ["personEnteredFlow", "personExitedFlow"]);
        assert_eq!(ids(&standard(), "pageView"), ["pageView"]);
        assert_eq!(standard().matching("nothing*").unwrap_err().kind(), Kind::NotFound);
        assert_eq!(
            standard().matching("pageview").unwrap_err().message(),
            "no event is defined as \"pageview\"; did you mean \"pageView\"?"
        );
    }

    #[test]
    fn a_template_is_not_an_event_and_says_how_to_become_one() {
        let registry = standard();
        assert!(registry.find("itemPurchased").is_none());
        assert!(registry.iter().all(|one| one.category != Category::Template));
        let error = registry.get("itemPurchased").unwrap_err();
        assert!(error.message().contains("CREATE EVENT FROM TEMPLATE itemPurchased"), "{error}");
        let error = registry.template("itemPurchase").unwrap_err();
        assert_eq!(
            error.message(),
            "no template is called \"itemPurchase\"; did you mean \"itemPurchased\"?"
        );
        assert!(registry.template("zebra").unwrap_err().message().contains("viewPortionSet"));
    }

    #[test]
    fn rows_load_back_to_the_same_registry_with_a_template_and_its_event_side_by_side() {
        let made = Definition {
            category: Category::External,
            template: Some("itemViewed".parse().unwrap()),
            ..Definition::clone(standard().template("itemViewed").unwrap())
        };
        let registry = standard().with(made);
        let rows = registry.rows().unwrap();
        assert!(rows.iter().any(|row| row.key == "template/itemViewed"));
        assert!(rows.iter().any(|row| row.key == "itemViewed"));
        let loaded = Registry::load(rows.clone()).unwrap();
        assert_eq!(loaded.rows().unwrap(), rows);
    }

    #[test]
    fn an_empty_catalog_loads_as_the_standard_registry() {
        assert_eq!(Registry::load([]).unwrap().rows().unwrap(), standard().rows().unwrap());
    }

    #[test]
    fn a_standard_event_of_an_earlier_version_keeps_its_columns_and_gets_the_new_ones() {
        let mut old = Definition::clone(standard().get("pageView").unwrap());
        old.title = "An old title".to_owned();
        old.properties = vec![
            Property::scalar("gone", ScalarType::String),
            Property::scalar("url", ScalarType::Numeric),
            Property::scalar("path", ScalarType::String),
        ];
        let row = StoredRow { enabled: true, ..Registry::row(&old).unwrap() };
        let loaded = Registry::load([row]).unwrap();
        let now = loaded.get("pageView").unwrap();
        assert!(now.enabled);
        assert_eq!(now.title, "Page view");
        assert_eq!(now.properties[..2], old.properties[..2]);
        assert_eq!(now.properties[2].name, "path");
        assert_eq!(now.properties[2].rules.len(), 1);
        assert_eq!(now.properties.len(), 13);
    }

    #[test]
    fn an_event_of_the_user_outlives_a_later_standard_event_of_its_name() {
        let mut own = Definition::clone(standard().get("pageView").unwrap());
        own.id = "PAGEVIEW".parse().unwrap();
        own.category = Category::External;
        let loaded = Registry::load([Registry::row(&own).unwrap()]).unwrap();
        assert_eq!(**loaded.get("PAGEVIEW").unwrap(), own);
        assert!(loaded.find("pageView").is_none());
    }
}
