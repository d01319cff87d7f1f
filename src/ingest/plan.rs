//! A definition, made ready for reading many rows: names to places, rules unrolled, columns known.

use std::sync::Arc;

use arrow::datatypes::DataType;
use hashbrown::HashMap;

use crate::error::did_you_mean;
use crate::ingest::fingerprint;
use crate::ingest::report::Code;
use crate::ingest::report::Refusal;
use crate::schema::Columns;
use crate::schema::Definition;
use crate::schema::PropertyType;
use crate::schema::Rule;
use crate::value::ScalarType;

/// Keys of a row that are no properties.
pub(crate) const ROW_KEYS: [&str; 9] = [
    "definitionId",
    "eventId",
    "sessionId",
    "personId",
    "externalPersonId",
    "identifier",
    "occurredTime",
    "occuredTime",
    "properties",
];

/// Keys that an export adds to a row when it is told to; a property of that name is prefixed there.
const ENRICHMENT: [&str; 4] = ["campaignName", "elementName", "campaignStart", "flowElementId"];

/// Whether a property of this name may stand under a prefix when properties are flat in the row.
pub(crate) fn may_be_prefixed(name: &str) -> bool {
    ENRICHMENT.contains(&name) || ROW_KEYS.contains(&name)
}

/// A definition as rows are read by it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub definition: Arc<Definition>,
    pub columns: Columns,
    pub properties: Vec<PropertyPlan>,
    /// The places of the properties that must be given.
    pub required: Vec<usize>,
    pub defaults: Vec<DefaultPlan>,
    /// What the fingerprint of every event of this definition starts from.
    pub seed: u64,
    nested: HashMap<String, usize>,
    flat: HashMap<String, usize>,
}

/// One property as values are read into it.
#[derive(Debug)]
pub(crate) struct PropertyPlan {
    pub name: String,
    pub kind: PropertyType,
    pub data_type: DataType,
    pub rules: Vec<Rule>,
    /// A time may be written day first.
    pub day_first: bool,
    pub seed: u64,
    /// The fields of a List, with the seed of each.
    pub fields: Vec<FieldPlan>,
}

/// One field of the objects in a List.
#[derive(Debug)]
pub(crate) struct FieldPlan {
    pub name: String,
    pub kind: ScalarType,
    pub seed: u64,
}

/// A default with its properties found.
#[derive(Debug)]
pub(crate) struct DefaultPlan {
    pub property: usize,
    pub value: String,
    pub when: (usize, String),
    pub unless: Vec<usize>,
}

impl Plan {
    pub(crate) fn new(definition: &Arc<Definition>) -> Self {
        let columns = Columns::of(definition);
        let properties: Vec<PropertyPlan> = definition
            .properties
            .iter()
            .zip(columns.properties())
            .map(|(property, column)| {
                let seed = fingerprint::seed(&property.name);
                let fields = match &property.kind {
                    PropertyType::Scalar(_) => Vec::new(),
                    PropertyType::List(fields) => fields
                        .iter()
                        .map(|field| FieldPlan {
                            name: field.name.clone(),
                            kind: field.kind,
                            seed: fingerprint::bits(seed, fingerprint::seed(&field.name)),
                        })
                        .collect(),
                };
                PropertyPlan {
                    name: property.name.clone(),
                    kind: property.kind.clone(),
                    data_type: column.data_type.clone(),
                    rules: property.rules.iter().filter(|rule| **rule != Rule::DayFirst).cloned().collect(),
                    day_first: property.rules.contains(&Rule::DayFirst),
                    seed,
                    fields,
                }
            })
            .collect();
        let (nested, flat) = names(definition);
        let place = |name: &str| definition.position(name);
        let defaults = definition
            .defaults
            .iter()
            .filter_map(|default| {
                Some(DefaultPlan {
                    property: place(&default.property)?,
                    value: default.value.clone(),
                    when: (place(&default.when.0)?, default.when.1.clone()),
                    unless: default.unless.iter().filter_map(|name| place(name)).collect(),
                })
            })
            .collect();
        Self {
            required: (0..properties.len()).filter(|at| definition.properties[*at].required).collect(),
            seed: fingerprint::seed(definition.id.as_str()),
            definition: Arc::clone(definition),
            columns,
            properties,
            defaults,
            nested,
            flat,
        }
    }

    /// Whether events of this definition may be taken now.
    pub(crate) fn takes_events(&self) -> Result<(), Box<Refusal>> {
        let id = &self.definition.id;
        if !self.definition.enabled {
            return Err(Refusal::new(
                Code::DisabledDefinition,
                format!("\"{id}\" is disabled; ENABLE EVENT {id} lets it take events"),
            ));
        }
        Ok(())
    }

    /// The place of a property by the key that it has inside `properties`.
    pub(crate) fn find_nested(&self, key: &str) -> Option<usize> {
        self.nested.get(key).copied()
    }

    /// The place of a property by the key that it has beside the keys of the row: its name, or the name behind the
    /// definition's id if the name clashes with a key of the row or of the export.
    pub(crate) fn find_flat(&self, key: &str) -> Option<usize> {
        self.flat.get(key).copied()
    }

    /// Why a key is refused that is no property.
    #[cold]
    pub(crate) fn unknown(&self, key: &str) -> Box<Refusal> {
        let id = &self.definition.id;
        let names = || self.properties.iter().map(|property| property.name.as_str());
        let hint = match names().find(|name| name.eq_ignore_ascii_case(key)) {
            Some(name) => format!("; it differs only by case from \"{name}\""),
            None => did_you_mean(key, names()),
        };
        let hint = if hint.is_empty() && ENRICHMENT.contains(&key) {
            "; it comes from an export with Moments information, which no column here holds".to_owned()
        } else {
            hint
        };
        Refusal::new(Code::UnknownProperty, format!("\"{id}\" has no property \"{key}\"{hint}")).about(key)
    }
}

/// Where the keys lead: inside `properties`, and flat in the row.
fn names(definition: &Definition) -> (HashMap<String, usize>, HashMap<String, usize>) {
    let places = || definition.properties.iter().enumerate().map(|(place, property)| (&property.name, place));
    let nested = places().map(|(name, place)| (name.clone(), place)).collect();
    let columns = Columns::of(definition);
    let sql = columns.properties().iter().enumerate().map(|(place, column)| (column.sql.clone(), place));
    let prefixed = places()
        .filter(|(name, _)| may_be_prefixed(name))
        .map(|(name, place)| (prefixed(definition, name), place));
    // The names themselves are entered last: a property that happens to be called like another one with a prefix is
    // meant by its own name.
    let plain = places().filter(|(name, _)| !ROW_KEYS.contains(&name.as_str()));
    let plain = plain.map(|(name, place)| (name.clone(), place));
    (nested, sql.chain(prefixed).chain(plain).collect())
}

/// The key of a property in an export whose name clashes there: behind the definition's id, and with underscores
/// until no other property is called so.
fn prefixed(definition: &Definition, name: &str) -> String {
    let mut key = format!("{}_{name}", definition.id);
    while definition.property(&key).is_some() {
        key.push('_');
    }
    key
}
