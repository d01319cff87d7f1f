//! Proposes definitions for events that nobody has defined yet, from what the rows hold (`milepost import --define`).
//!
//! It looks at canonical rows as the checker will: strict types, exact names. What cannot be defined so that every row
//! is taken is said in notes, never smoothed over.

mod seen;

use std::collections::HashMap;
use std::collections::HashSet;

use serde_json::Value;

use crate::error::Result;
use crate::ids::DEFINITION_ID_CHARS;
use crate::ids::DefinitionId;
use crate::ingest::map::Node;
use crate::ingest::map::camel;
use crate::ingest::plan::ROW_KEYS;
use crate::ingest::plan::may_be_prefixed;
use crate::ingest::propose::seen::Seen;
use crate::ingest::source::Chunk;
use crate::schema::Category;
use crate::schema::Definition;
use crate::schema::NameRule;
use crate::schema::Property;
use crate::schema::PropertyType;
use crate::schema::Registry;
use crate::schema::evolve::PROPERTIES;
use crate::schema::evolve::check_id;
use crate::schema::evolve::check_name;
use crate::schema::to_request;

/// A definition that would take the rows seen.
#[derive(Clone, Debug, PartialEq)]
pub struct ProposedDefinition {
    /// As it would be: all its properties, those that it has already first.
    pub definition: Definition,
    /// It is not there yet.
    pub new: bool,
    /// The properties that it does not have yet.
    pub added: Vec<String>,
    /// Rows seen of this event.
    pub rows: u64,
    /// What was seen that people should know before they say yes; rows that will be refused among it.
    pub notes: Vec<String>,
}

impl ProposedDefinition {
    /// The request that makes it, in the form of the definitions API.
    pub fn to_json(&self) -> Value {
        to_request(&self.definition)
    }
}

/// Looks at rows and remembers what each event holds; memory grows with the number of properties, not of rows.
#[derive(Debug, Default)]
pub struct Proposer {
    /// In the order of their first row.
    events: Vec<SeenEvent>,
    places: HashMap<String, usize>,
    rows: u64,
    unreadable: u64,
}

#[derive(Debug)]
struct SeenEvent {
    name: String,
    rows: u64,
    properties: Vec<(String, Seen)>,
    places: HashMap<String, usize>,
}

impl Proposer {
    pub fn new() -> Self {
        Self::default()
    }

    /// Rows looked at so far; blank ones do not count.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows among them that are no JSON objects with a `definitionId`; they will be refused.
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Looks at the rows of a chunk.
    pub fn see(&mut self, chunk: &Chunk) {
        for line in
            chunk.bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty())
        {
            self.rows += 1;
            let node = std::str::from_utf8(line).ok().and_then(|text| Node::parse(text).ok());
            if node.as_ref().and_then(|node| self.see_row(node)).is_none() {
                self.unreadable += 1;
            }
        }
    }

    fn see_row(&mut self, node: &Node<'_>) -> Option<()> {
        let Node::Object(entries) = node else { return None };
        let Node::Text(name) = node.get("definitionId")? else { return None };
        let place = match self.places.get(name.as_ref()) {
            Some(place) => *place,
            None => {
                self.places.insert(name.to_string(), self.events.len());
                self.events.push(SeenEvent {
                    name: name.to_string(),
                    rows: 0,
                    properties: Vec::new(),
                    places: HashMap::new(),
                });
                self.events.len() - 1
            }
        };
        let event = &mut self.events[place];
        event.rows += 1;
        match node.get("properties") {
            Some(Node::Object(properties)) => {
                properties.iter().for_each(|(key, value)| event.see(key, value))
            }
            _ => entries.iter().for_each(|(key, value)| event.see_flat(key, value)),
        }
        Some(())
    }

    /// The definitions that take the rows seen, new ones and those that need more properties; events that are taken
    /// already are left out unless there is something to say about them.
    pub fn propose(&self, registry: &Registry) -> Result<Vec<ProposedDefinition>> {
        let mut proposed = Vec::new();
        for event in &self.events {
            let mut proposal = event.propose(registry)?;
            let id = proposal.definition.id.clone();
            if let Some(twin) = proposed.iter_mut().find(|other: &&mut ProposedDefinition| {
                other.definition.id.as_str().eq_ignore_ascii_case(id.as_str())
            }) {
                twin.notes.push(if twin.definition.id == id {
                    format!(
                        "rows of \"{}\" would become the same event; tell them apart with a map",
                        event.name
                    )
                } else {
                    format!(
                        "\"{id}\" differs from it by case only: its rows are refused until a map renames it"
                    )
                });
                twin.notes.append(&mut proposal.notes);
                continue;
            }
            if proposal.new || !proposal.added.is_empty() || !proposal.notes.is_empty() {
                proposed.push(proposal);
            }
        }
        Ok(proposed)
    }
}

/// Looks at all rows of some chunks, or at no more than `rows` of them, and proposes.
pub fn propose(
    chunks: impl IntoIterator<Item = Result<Chunk>>,
    rows: Option<u64>,
    registry: &Registry,
) -> Result<Vec<ProposedDefinition>> {
    let mut proposer = Proposer::new();
    for chunk in chunks {
        proposer.see(&chunk?);
        if rows.is_some_and(|rows| proposer.rows() >= rows) {
            break;
        }
    }
    proposer.propose(registry)
}

impl SeenEvent {
    /// Properties flat in the row: an export writes one that is called like a key of the row with a prefix.
    fn see_flat(&mut self, key: &str, value: &Node<'_>) {
        if ROW_KEYS.contains(&key) {
            return;
        }
        let bare = key.strip_prefix(self.name.as_str()).and_then(|rest| rest.strip_prefix('_'));
        let key = bare.filter(|bare| may_be_prefixed(bare)).unwrap_or(key).to_owned();
        self.see(&key, value);
    }

    fn see(&mut self, key: &str, value: &Node<'_>) {
        let place = match self.places.get(key) {
            Some(place) => *place,
            None => {
                self.places.insert(key.to_owned(), self.properties.len());
                self.properties.push((key.to_owned(), Seen::default()));
                self.properties.len() - 1
            }
        };
        self.properties[place].1.see(value);
    }

    fn propose(&self, registry: &Registry) -> Result<ProposedDefinition> {
        let mut notes = Vec::new();
        let old = registry.find(&self.name);
        let mut definition = match old {
            Some(old) => Definition::clone(old),
            None => self.empty(&mut notes)?,
        };
        if old.is_none()
            && let Err(error) = check_id(registry, &definition.id)
        {
            notes.push(format!("{error}: rows of \"{}\" are refused until a map renames it", self.name));
            return Ok(ProposedDefinition {
                definition,
                new: false,
                added: Vec::new(),
                rows: self.rows,
                notes,
            });
        }
        let new = old.is_none();
        let fixed = definition.category.is_standard() || definition.category == Category::Template;
        let mut added = Vec::new();
        let mut names: HashSet<String> =
            definition.properties.iter().map(|one| one.name.to_ascii_lowercase()).collect();
        for (name, seen) in &self.properties {
            if let Some(property) = definition.property(name) {
                seen.compare(property, &mut notes);
                continue;
            }
            if fixed {
                notes.push(format!("\"{name}\" is no property of {}, which cannot be changed: rows with it are refused; map them to an event of your own", self.name));
                continue;
            }
            let Some(kind) = seen.kind(name, &mut notes) else { continue };
            if let Err(error) = check_name(name, NameRule::Strict) {
                notes.push(format!("{error}: rows with it are refused; rename it with a map"));
                continue;
            }
            if !names.insert(name.to_ascii_lowercase()) {
                notes.push(format!("\"{name}\" differs from another property by case only: rows with it are refused; rename it with a map"));
                continue;
            }
            let lists = definition.properties.iter().any(|one| matches!(one.kind, PropertyType::List(_)));
            if lists && matches!(kind, PropertyType::List(_)) {
                notes.push(format!("\"{name}\" would be a second List, and there may be one: rows with it are refused; map it to a String"));
                continue;
            }
            if definition.properties.len() == PROPERTIES {
                notes.push(format!("\"{name}\" would be more than {PROPERTIES} properties: rows with it are refused; leave some out with a map"));
                continue;
            }
            added.push(name.clone());
            definition.properties.push(Property::new(name, kind));
        }
        Ok(ProposedDefinition { definition, new, added, rows: self.rows, notes })
    }

    /// A definition without properties, under an id that fits.
    fn empty(&self, notes: &mut Vec<String>) -> Result<Definition> {
        let id = match self.name.parse::<DefinitionId>() {
            Ok(id) => id,
            Err(_) => {
                let mut fitting: String = camel(&self.name).chars().take(DEFINITION_ID_CHARS).collect();
                if fitting.is_empty() {
                    fitting = format!("event{:016x}", xxhash_rust::xxh3::xxh3_64(self.name.as_bytes()));
                }
                notes.push(format!(
                    "\"{}\" is no id for an event: its rows are refused until a map calls it \"{fitting}\"",
                    self.name
                ));
                fitting.parse()?
            }
        };
        let title = title(id.as_str());
        Ok(Definition::external(id, title, Vec::new()))
    }
}

/// `addToCart` is called `Add to cart`.
fn title(id: &str) -> String {
    let mut title = String::new();
    let mut last = ' ';
    for letter in id.chars() {
        let begins = letter.is_ascii_uppercase() && last.is_ascii_lowercase();
        if begins {
            title.push(' ');
        }
        title.push(match (title.is_empty(), begins) {
            (true, _) => letter.to_ascii_uppercase(),
            (false, true) => letter.to_ascii_lowercase(),
            (false, false) => letter,
        });
        last = letter;
    }
    title
}

#[cfg(test)]
mod tests;
