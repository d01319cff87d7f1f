//! Changes of definitions: what `schema::evolve` allows is made durable; each says in one line what it did.

use std::sync::Arc;

use crate::engine::Engine;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::ids::DefinitionId;
use crate::schema::Definition;
use crate::schema::DefinitionRequest;
use crate::schema::NameRule;
use crate::schema::Registry;
use crate::schema::evolve;
use crate::sql::AlterEvent;
use crate::sql::Change;
use crate::sql::CreateEvent;

impl Engine {
    /// Creates or updates the definitions of a JSON text, all or none; a line for each.
    pub fn apply_definitions(&self, json: &str, any_names: bool, dry_run: bool) -> Result<Vec<String>> {
        let requests = DefinitionRequest::parse(json)?;
        let registry = self.storage().registry();
        let changes = evolve::apply_all(&registry, requests, name_rule(any_names))?;
        let changed: Vec<_> = changes
            .iter()
            .filter(|change| !matches!(change, evolve::Change::Unchanged(_)))
            .map(|change| change.definition().clone())
            .collect();
        if !dry_run && !changed.is_empty() {
            self.storage().define(changed)?;
        }
        let would = if dry_run { "would be " } else { "" };
        Ok(changes
            .iter()
            .map(|change| format!("{} {would}{}", change.definition().id, change.verb()))
            .collect())
    }

    /// The definitions in force.
    pub fn registry(&self) -> Arc<Registry> {
        self.storage().registry()
    }

    /// Makes the definition that one JSON request describes, by the strict rule for names.
    ///
    /// # Errors
    /// `Conflict` when the id is taken; `Invalid` when the request is not one that `schema::evolve` allows.
    pub fn create_definition(&self, json: &str) -> Result<Definition> {
        let request = single(json)?;
        if request.id.is_none() && request.template.is_none() {
            return Err(Error::invalid("at $: one of \"definitionId\" and \"templateId\" must be given"));
        }
        let definition = evolve::create(&self.storage().registry(), request, NameRule::Strict)?;
        self.storage().define(vec![definition.clone()])?;
        Ok(definition)
    }

    /// Changes a definition as one JSON request describes it anew: a title, perhaps a description, and all its fields
    /// with new ones among them.
    ///
    /// # Errors
    /// `NotFound` when there is no such definition; `Invalid` when the change is not allowed.
    pub fn update_definition(&self, id: &str, json: &str) -> Result<Definition> {
        let registry = self.storage().registry();
        let id = DefinitionId::clone(&registry.get(id)?.id);
        let request = single(json)?;
        if request.id.is_some() || request.template.is_some() {
            return Err(Error::invalid(
                "at $: a definition keeps its id; leave \"definitionId\" and \"templateId\" out",
            ));
        }
        let title = request.title.as_deref().map(|title| title.chars().count()).unwrap_or_default();
        if !(1..=evolve::TITLE_CHARS).contains(&title) {
            return Err(Error::invalid(format!(
                "at $.title: a title has 1 to {} characters, found {title}",
                evolve::TITLE_CHARS
            )));
        }
        let request = DefinitionRequest { id: Some(id), ..request };
        let definition = evolve::update(&registry, request, NameRule::Strict)?;
        self.storage().define(vec![definition.clone()])?;
        Ok(definition)
    }

    pub(crate) fn create_event(&self, create: &CreateEvent) -> Result<String> {
        let request = DefinitionRequest {
            id: create.id.as_deref().map(str::parse).transpose()?,
            template: create.template.as_deref().map(str::parse).transpose()?,
            title: create.title.clone().or_else(|| match create.template {
                None => create.id.clone(),
                Some(_) => None,
            }),
            description: create.description.clone(),
            properties: create.properties.clone(),
        };
        match evolve::create(&self.storage().registry(), request, name_rule(create.any_names)) {
            Ok(definition) => {
                let said = format!("event {} created, {}", definition.id, counted(&definition));
                self.storage().define(vec![definition])?;
                Ok(said)
            }
            Err(error) if create.if_not_exists && error.kind() == Kind::Conflict => {
                Ok("the event exists already; nothing changed".to_owned())
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn alter_event(&self, alter: &AlterEvent) -> Result<String> {
        let registry = self.storage().registry();
        let definition = match &alter.change {
            Change::Add { properties, any_names } => {
                evolve::add(&registry, &alter.id, properties.clone(), name_rule(*any_names))?
            }
            Change::Title(title) => self.renamed(&alter.id, Some(title.clone()), None)?,
            Change::Description(text) => self.renamed(&alter.id, None, Some(text.clone()))?,
            Change::Retention(_) => {
                return Err(Error::internal("a retention is no part of a definition"));
            }
        };
        let said = format!("event {} changed, {}", definition.id, counted(&definition));
        self.storage().define(vec![definition])?;
        Ok(said)
    }

    /// The definition with another title or description; an event made from a template keeps the template's.
    fn renamed(&self, id: &str, title: Option<String>, description: Option<String>) -> Result<Definition> {
        let registry = self.storage().registry();
        let old = registry.get(id)?;
        if old.template.is_some() {
            return Err(Error::invalid(format!(
                "\"{id}\" was made from a template and keeps the template's title and description"
            )));
        }
        let request = DefinitionRequest {
            id: Some(DefinitionId::clone(&old.id)),
            template: None,
            title: Some(title.unwrap_or_else(|| old.title.clone())),
            description,
            properties: old.properties.clone(),
        };
        evolve::update(&registry, request, NameRule::Any)
    }

    pub(crate) fn switch_events(&self, patterns: &[String], enabled: bool) -> Result<String> {
        let registry = self.storage().registry();
        let mut changed: Vec<Definition> = Vec::new();
        for pattern in patterns {
            let more = evolve::enable(&registry, pattern, enabled)?;
            changed.extend(
                more.into_iter()
                    .filter(|one| changed.iter().all(|known| known.id != one.id))
                    .collect::<Vec<_>>(),
            );
        }
        let word = if enabled { "enabled" } else { "disabled" };
        if changed.is_empty() {
            return Ok(format!("already {word}; nothing changed"));
        }
        let ids: Vec<_> = changed.iter().map(|one| one.id.to_string()).collect();
        self.storage().define(changed)?;
        Ok(format!("{word} {}", ids.join(", ")))
    }

    /// All definitions, or those whose id fits a pattern of SQL's `LIKE`.
    pub(crate) fn definitions_like(&self, like: Option<&str>) -> Vec<Arc<Definition>> {
        let registry = self.storage().registry();
        let fits = |one: &&Arc<Definition>| {
            like.is_none_or(|pattern| crate::engine::show::is_like(one.id.as_str(), pattern))
        };
        registry.iter().filter(fits).map(Arc::clone).collect()
    }
}

/// The one request of a text.
fn single(json: &str) -> Result<DefinitionRequest> {
    let mut requests = DefinitionRequest::parse(json)?;
    match (requests.pop(), requests.is_empty()) {
        (Some(request), true) if !json.trim_start().starts_with('[') => Ok(request),
        _ => Err(Error::invalid("at $: expected one definition in an object, found an array")),
    }
}

fn name_rule(any_names: bool) -> NameRule {
    if any_names { NameRule::Any } else { NameRule::Strict }
}

fn counted(definition: &Definition) -> String {
    match definition.properties.len() {
        1 => "1 property".to_owned(),
        count => format!("{count} properties"),
    }
}
