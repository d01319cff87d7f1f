//! Which definitions are allowed, and which changes to them: events are kept for ever, so a definition only grows.
//!
//! Decides only: every function takes the registry as it is and returns the definition as it would be. Whoever
//! persists it makes the next registry with `Registry::with`.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::Error;
use crate::error::Result;
use crate::ids::DefinitionId;
use crate::schema::Category;
use crate::schema::Columns;
use crate::schema::Definition;
use crate::schema::DefinitionRequest;
use crate::schema::Property;
use crate::schema::PropertyType;
use crate::schema::Registry;

/// The most characters of a title.
pub const TITLE_CHARS: usize = 100;
/// The most characters of a description.
pub const DESCRIPTION_CHARS: usize = 2000;
/// The most properties of a definition.
pub const PROPERTIES: usize = 120;
/// The most fields of the objects in a List.
pub const LIST_FIELDS: usize = 128;
/// The most characters of a property's or field's name.
pub const NAME_CHARS: usize = 128;

/// Tables that SQL has beside those of the definitions.
const TABLES: [&str; 3] = ["events", "persons", "definitions"];

/// What a new property may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// `^[a-z_][a-zA-Z0-9_]*$`
    Strict,
    /// Anything without control characters, for names that were quoted on purpose.
    Any,
}

/// What [`apply`] did.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    Created(Definition),
    Updated(Definition),
    /// It was so already.
    Unchanged(Arc<Definition>),
}

impl Change {
    /// The definition after the change.
    pub fn definition(&self) -> &Definition {
        match self {
            Self::Created(definition) | Self::Updated(definition) => definition,
            Self::Unchanged(definition) => definition,
        }
    }

    /// For messages: `created`, `updated` or `unchanged`.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Created(_) => "created",
            Self::Updated(_) => "updated",
            Self::Unchanged(_) => "unchanged",
        }
    }
}

/// The definition that a request makes: from nothing, or from a template under the template's id.
///
/// Fails with `Conflict` when the id is taken, also when it differs by case only.
pub fn create(registry: &Registry, request: DefinitionRequest, names: NameRule) -> Result<Definition> {
    check_alone(&request)?;
    let asked = request.properties.clone();
    let definition = match &request.template {
        Some(template) => from_template(registry, template, &request)?,
        None => from_nothing(registry, request)?,
    };
    check_names(&definition.id, &asked, names)?;
    check(&definition)?;
    Ok(definition)
}

fn from_nothing(registry: &Registry, request: DefinitionRequest) -> Result<Definition> {
    let title = request.title.ok_or_else(|| Error::invalid("an event needs a title"))?;
    let id = match request.id {
        Some(id) => id,
        None => DefinitionId::from_title(&title)?,
    };
    check_id(registry, &id)?;
    Ok(Definition {
        description: request.description.unwrap_or_default(),
        ..Definition::external(id, title, request.properties)
    })
}

fn from_template(registry: &Registry, id: &DefinitionId, request: &DefinitionRequest) -> Result<Definition> {
    let template = registry.template(id.as_str())?;
    check_free(registry, id)?;
    let mut definition = Definition {
        category: Category::External,
        template: Some(id.clone()),
        enabled: true,
        ..Definition::clone(template)
    };
    definition.properties.extend(additions(template, &request.properties)?);
    Ok(definition)
}

/// The definition `id` with more properties. Fails with `Conflict` when it has one of them already.
pub fn add(registry: &Registry, id: &str, properties: Vec<Property>, names: NameRule) -> Result<Definition> {
    let old = registry.get(id)?;
    check_own(old)?;
    for property in &properties {
        if let Some(there) = old.properties.iter().find(|one| lower(&one.name) == lower(&property.name)) {
            return Err(Error::conflict(format!(
                "\"{id}\" has a property \"{}\" ({}) already{}",
                there.name,
                there.kind.name(),
                if there.name == property.name { "" } else { ", and names may not differ by case only" }
            )));
        }
    }
    check_names(&old.id, &properties, names)?;
    let mut definition = Definition::clone(old);
    definition.properties.extend(properties);
    check(&definition)?;
    Ok(definition)
}

/// The definition as a request describes it anew: the title must be given, a description may be, and the fields are
/// all that there were (those of its template may be left out) and new ones.
///
/// A definition made from a template keeps the template's title and description, whatever the request says.
pub fn update(registry: &Registry, request: DefinitionRequest, names: NameRule) -> Result<Definition> {
    check_alone(&request)?;
    let id = target(&request)?;
    let old = registry.get(id.as_str())?;
    check_own(old)?;
    if request.template.is_some() && request.template != old.template {
        return Err(Error::conflict(format!("\"{id}\" exists, and was not made from a template")));
    }
    let template = old.template.as_ref().map(|template| registry.template(template.as_str())).transpose()?;
    let mut definition = Definition::clone(old);
    if let Some(template) = template {
        definition.title.clone_from(&template.title);
        definition.description.clone_from(&template.description);
    } else {
        let untitled = || Error::invalid(format!("\"{id}\" needs a title"));
        definition.title = request.title.ok_or_else(untitled)?;
        definition.description = request.description.unwrap_or(definition.description);
    }
    for property in &old.properties {
        let listed = request.properties.iter().any(|one| one.name == property.name);
        let inherits = template.is_some_and(|template| template.property(&property.name).is_some());
        if !listed && !inherits {
            return Err(Error::invalid(format!(
                "the change of \"{id}\" leaves out its property \"{}\"; properties may be added but never removed, so list it too",
                property.name
            )));
        }
    }
    let added = additions(old, &request.properties)?;
    check_names(&id, &added, names)?;
    definition.properties.extend(added);
    check(&definition)?;
    Ok(definition)
}

/// Creates or updates; the same request again changes nothing.
pub fn apply(registry: &Registry, mut request: DefinitionRequest, names: NameRule) -> Result<Change> {
    let id = target(&request)?;
    let Some(old) = registry.find(id.as_str()) else {
        return Ok(Change::Created(create(registry, request, names)?));
    };
    if request.template.is_none() {
        request.id = Some(id);
    }
    let definition = update(registry, request, names)?;
    Ok(if definition == **old { Change::Unchanged(Arc::clone(old)) } else { Change::Updated(definition) })
}

/// Applies requests one after the other, each to what the ones before it made; all or none.
pub fn apply_all(
    registry: &Registry,
    requests: Vec<DefinitionRequest>,
    names: NameRule,
) -> Result<Vec<Change>> {
    let mut registry = registry.clone();
    let mut changes = Vec::with_capacity(requests.len());
    for request in requests {
        let change = apply(&registry, request, names)?;
        registry = registry.with(change.definition().clone());
        changes.push(change);
    }
    Ok(changes)
}

/// The definitions that switching `pattern` (an id, or `email*`) on or off changes.
///
/// Channel events are always on.
pub fn enable(registry: &Registry, pattern: &str, on: bool) -> Result<Vec<Definition>> {
    let matching = registry.matching(pattern)?;
    if let Some(channel) = matching.iter().find(|one| !on && one.category == Category::Channel) {
        return Err(Error::invalid(format!(
            "\"{}\" is a channel event, and those are always on",
            channel.id
        )));
    }
    let changed = matching.into_iter().filter(|one| one.enabled != on);
    Ok(changed.map(|one| Definition { enabled: on, ..Definition::clone(one) }).collect())
}

/// Whether a property or a field of a List may be called so; the error says what may.
pub fn check_name(name: &str, names: NameRule) -> Result<()> {
    let length = name.chars().count();
    if length == 0 || length > NAME_CHARS {
        return Err(Error::invalid(format!(
            "the name of a property has 1 to {NAME_CHARS} characters, \"{name}\" has {length}"
        )));
    }
    let fits = match names {
        NameRule::Strict => {
            name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        }
        NameRule::Any => !name.chars().any(char::is_control),
    };
    if fits {
        return Ok(());
    }
    Err(Error::invalid(match names {
        NameRule::Strict => format!(
            "\"{name}\" cannot name a property: a name starts with a lower-case letter or \"_\" and goes on with ASCII letters, digits and \"_\"; to keep another name, quote it in SQL or allow it with --any-names"
        ),
        NameRule::Any => format!("{name:?} cannot name a property, for it has a control character"),
    }))
}

/// The id that a request speaks of.
fn target(request: &DefinitionRequest) -> Result<DefinitionId> {
    match (&request.template, &request.id, &request.title) {
        (Some(id), _, _) | (None, Some(id), _) => Ok(id.clone()),
        (None, None, Some(title)) => DefinitionId::from_title(title),
        (None, None, None) => Err(Error::invalid("an event needs an id or a title")),
    }
}

/// A request that names a template says nothing of what comes from the template.
fn check_alone(request: &DefinitionRequest) -> Result<()> {
    let Some(template) = &request.template else { return Ok(()) };
    if request.id.is_some() || request.title.is_some() || request.description.is_some() {
        return Err(Error::invalid(format!(
            "an event made from the template \"{template}\" has its id, title and description; leave them out"
        )));
    }
    Ok(())
}

/// The properties that `old` does not have; one that it has must be of the same type.
fn additions(old: &Definition, asked: &[Property]) -> Result<Vec<Property>> {
    if let Some(name) = twice(asked.iter().map(|one| one.name.as_str())) {
        return Err(Error::invalid(format!("the property \"{name}\" of \"{}\" is given twice", old.id)));
    }
    let mut added = Vec::new();
    for property in asked {
        match old.property(&property.name) {
            None => added.push(property.clone()),
            Some(there) if there.kind == property.kind => {}
            Some(there) => {
                return Err(Error::invalid(format!(
                    "\"{}\" has \"{}\" as {}, which cannot become {}; a property keeps its type, so add another",
                    old.id,
                    there.name,
                    described(&there.kind),
                    described(&property.kind)
                )));
            }
        }
    }
    Ok(added)
}

fn described(kind: &PropertyType) -> String {
    match kind {
        PropertyType::Scalar(kind) => kind.to_string(),
        PropertyType::List(fields) => {
            let fields: Vec<_> =
                fields.iter().map(|field| format!("{} {}", field.name, field.kind)).collect();
            format!("List ({})", fields.join(", "))
        }
    }
}

fn check_own(definition: &Definition) -> Result<()> {
    if definition.category.is_standard() {
        return Err(Error::invalid(format!(
            "\"{}\" is a standard event, which cannot be modified; make an event of your own",
            definition.id
        )));
    }
    Ok(())
}

/// Whether an event of one's own may have this id.
///
/// # Errors
/// `Conflict` when it is taken, also when it differs by case only; `Invalid` for those of standard events, templates
/// and SQL's own tables.
pub(crate) fn check_id(registry: &Registry, id: &DefinitionId) -> Result<()> {
    check_free(registry, id)?;
    if let Some(template) = registry.templates().find(|one| same_but_case(&one.id, id)) {
        return Err(Error::invalid(format!(
            "\"{id}\" is the id of a template; choose another id, or use the template: CREATE EVENT FROM TEMPLATE {}",
            template.id
        )));
    }
    if TABLES.iter().any(|table| table.eq_ignore_ascii_case(id.as_str())) {
        return Err(Error::invalid(format!(
            "\"{id}\" is the name of a table of its own in SQL; choose another id"
        )));
    }
    Ok(())
}

fn check_free(registry: &Registry, id: &DefinitionId) -> Result<()> {
    let Some(there) = registry.iter().find(|one| same_but_case(&one.id, id)) else { return Ok(()) };
    if there.category.is_standard() {
        return Err(Error::invalid(format!("\"{}\" is a standard event; choose another id", there.id)));
    }
    let differs = if there.id == *id { "" } else { ", and ids may not differ by case only" };
    Err(Error::conflict(format!("an event \"{}\" is defined already{differs}", there.id)))
}

pub(crate) fn check_names(id: &DefinitionId, properties: &[Property], names: NameRule) -> Result<()> {
    let at = |error: Error| Error::invalid(format!("in the event \"{id}\": {error}"));
    for property in properties {
        check_name(&property.name, names).map_err(at)?;
        let PropertyType::List(fields) = &property.kind else { continue };
        for field in fields {
            check_name(&field.name, names).map_err(at)?;
            // The field's name goes into the files as it is, unlike that of a property.
            if field.name.contains([' ', ',', ';', '{', '}', '(', ')', '=']) {
                return Err(at(Error::invalid(format!(
                    "\"{}\" cannot name a field of a List, for files forbid a blank and any of ,;{{}}()= there",
                    field.name
                ))));
            }
        }
    }
    Ok(())
}

/// The limits that hold for a definition as a whole.
pub(crate) fn check(definition: &Definition) -> Result<()> {
    let id = &definition.id;
    let refuse = |what: String| Err(Error::invalid(format!("in the event \"{id}\": {what}")));
    let title = definition.title.chars().count();
    if title == 0 || title > TITLE_CHARS {
        return refuse(format!("a title has 1 to {TITLE_CHARS} characters, found {title}"));
    }
    let description = definition.description.chars().count();
    if description > DESCRIPTION_CHARS {
        return refuse(format!(
            "a description has at most {DESCRIPTION_CHARS} characters, found {description}"
        ));
    }
    let count = definition.properties.len();
    if count > PROPERTIES {
        return refuse(format!("an event has at most {PROPERTIES} properties, found {count}"));
    }
    if let Some(name) = twice(definition.properties.iter().map(|one| one.name.as_str())) {
        return refuse(format!("the property \"{name}\" is there twice (case does not tell names apart)"));
    }
    let mut lists = definition.properties.iter().filter_map(|one| match &one.kind {
        PropertyType::List(fields) => Some((&one.name, fields)),
        PropertyType::Scalar(_) => None,
    });
    if let Some((name, fields)) = lists.next() {
        if fields.is_empty() || fields.len() > LIST_FIELDS {
            return refuse(format!(
                "the List \"{name}\" has 1 to {LIST_FIELDS} fields, found {}",
                fields.len()
            ));
        }
        if let Some(field) = twice(fields.iter().map(|one| one.name.as_str())) {
            return refuse(format!(
                "the List \"{name}\" has the field \"{field}\" twice (case does not tell names apart)"
            ));
        }
    }
    if let Some((name, _)) = lists.next() {
        return refuse(format!("\"{name}\" is a second List, and an event has at most one"));
    }
    let columns = Columns::of(definition);
    if let Some(name) = twice(columns.properties().iter().map(|one| one.sql.as_str())) {
        return refuse(format!(
            "two properties would share the column \"{name}\", as a name that the system uses itself gets the event's id in front"
        ));
    }
    Ok(())
}

/// The first name that was there before, case aside.
fn twice<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = HashSet::new();
    names.into_iter().find(|name| !seen.insert(lower(name)))
}

fn lower(name: &str) -> String {
    name.to_lowercase()
}

fn same_but_case(one: &DefinitionId, other: &DefinitionId) -> bool {
    one.as_str().eq_ignore_ascii_case(other.as_str())
}

#[cfg(test)]
mod tests;
