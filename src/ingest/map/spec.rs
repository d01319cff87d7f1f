//! The form of a map file: exactly the keys that may stand in it, so that a mistyped one is refused.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::de::SeqAccess;
use serde::de::Visitor;

/// A map file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MapSpec {
    pub(super) format: Format,
    pub(super) csv: Option<CsvSpec>,
    /// A file beside the map with the definitions that it needs.
    pub(super) definitions: Option<String>,
    #[serde(default, rename = "where")]
    pub(super) filters: Vec<FilterSpec>,
    pub(super) event: EventSpec,
    #[serde(default)]
    pub(super) properties: Vec<FieldSpec>,
    pub(super) rest: Option<RestSpec>,
}

/// What the rows of the source are.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(super) enum Format {
    #[serde(rename = "json")]
    Json,
    #[serde(rename = "csv")]
    Csv,
    #[serde(rename = "combined-log")]
    CombinedLog,
}

/// How records are written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CsvSpec {
    /// One ASCII character, or `whitespace`; a comma when absent.
    pub(super) delimiter: Option<String>,
    /// One ASCII character, or nothing for none; `"` when absent.
    pub(super) quote: Option<String>,
    /// Whether the first record names the columns; it does when `columns` is absent.
    pub(super) header: Option<bool>,
    /// Names of the columns, instead of those in the header.
    #[serde(default)]
    pub(super) columns: Vec<String>,
    /// Fields that mean "no value"; the empty field when absent.
    pub(super) null: Option<Vec<String>>,
}

/// Rows that do not pass are left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilterSpec {
    pub(super) from: String,
    #[serde(default)]
    pub(super) is: Names,
    #[serde(default)]
    pub(super) not: Names,
    pub(super) present: Option<bool>,
}

/// Everything about an event but its properties.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventSpec {
    pub(super) definition: FieldSpec,
    /// Tried in order: the first that has a value identifies the person.
    pub(super) person: Vec<FieldSpec>,
    pub(super) time: FieldSpec,
    pub(super) id: Option<FieldSpec>,
    pub(super) session: Option<FieldSpec>,
}

/// Where one value comes from and what becomes of it. Which keys make sense depends on what it is for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FieldSpec {
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) from: Names,
    pub(super) value: Option<toml::Value>,
    pub(super) template: Option<String>,
    #[serde(default)]
    pub(super) hash: Names,
    pub(super) part: Option<Part>,
    #[serde(default)]
    pub(super) null: Names,
    #[serde(default)]
    pub(super) names: BTreeMap<String, String>,
    pub(super) others: Option<Others>,
    pub(super) default: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) scale: Option<f64>,
    pub(super) format: Option<String>,
    pub(super) zone: Option<String>,
    pub(super) sender: Option<String>,
    #[serde(default)]
    pub(super) fields: Vec<FieldSpec>,
    #[serde(default, rename = "for")]
    pub(super) only: Names,
}

/// Everything that no other key named, as properties.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RestSpec {
    /// The object whose entries are taken; the row itself when absent.
    pub(super) from: Option<String>,
    /// How their names become ours.
    pub(super) names: Option<RestNames>,
    /// Patterns of names that are left out.
    #[serde(default)]
    pub(super) except: Names,
    /// What becomes of objects and lists.
    pub(super) nested: Option<Nested>,
}

/// A part of a URL.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Part {
    Host,
    Path,
    Query,
}

/// What becomes of a value that `names` does not list.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Others {
    Keep,
    Camel,
    Skip,
    Refuse,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum RestNames {
    Keep,
    Camel,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Nested {
    /// As their JSON text.
    Text,
    /// As they are.
    Keep,
    Skip,
    Refuse,
}

/// One name, or a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E>(self, text: &str) -> Result<Names, E> {
                Ok(Names(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = items.next_element()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}

impl FieldSpec {
    /// The keys that are given.
    pub(super) fn given(&self) -> Vec<&'static str> {
        let keys = [
            ("name", self.name.is_some()),
            ("from", !self.from.0.is_empty()),
            ("value", self.value.is_some()),
            ("template", self.template.is_some()),
            ("hash", !self.hash.0.is_empty()),
            ("part", self.part.is_some()),
            ("null", !self.null.0.is_empty()),
            ("names", !self.names.is_empty()),
            ("others", self.others.is_some()),
            ("default", self.default.is_some()),
            ("type", self.kind.is_some()),
            ("scale", self.scale.is_some()),
            ("format", self.format.is_some()),
            ("zone", self.zone.is_some()),
            ("sender", self.sender.is_some()),
            ("fields", !self.fields.is_empty()),
            ("for", !self.only.0.is_empty()),
        ];
        keys.into_iter().filter(|(_, given)| *given).map(|(key, _)| key).collect()
    }
}
