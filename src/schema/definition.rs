//! `Definition` and `Property`: what an event of one kind may carry.

use crate::ids::DefinitionId;
use crate::value::ScalarType;

/// One kind of event: its id, what people call it, and its properties in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    pub id: DefinitionId,
    pub title: String,
    pub description: String,
    pub category: Category,
    /// The channel or product of a standard event, such as `email` or `moments`.
    pub subcategory: Option<String>,
    /// The template that it was made from.
    pub template: Option<DefinitionId>,
    /// Events of a disabled definition are refused.
    pub enabled: bool,
    pub properties: Vec<Property>,
    /// Values that are filled in when the event leaves them out.
    pub defaults: Vec<DefaultValue>,
}

/// The family that a definition belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Made by the user, from nothing or from a template.
    External,
    /// A ready-made definition that the user may adopt and extend; takes no events itself.
    Template,
    /// Standard: what a person did or what changed about them. Must be enabled.
    Person,
    /// Standard: what happened on a channel. Always on.
    Channel,
    /// Standard: what happened in a product. Must be enabled.
    Product,
}

impl Category {
    pub fn name(self) -> &'static str {
        match self {
            Self::External => "external",
            Self::Template => "template",
            Self::Person => "person",
            Self::Channel => "channel",
            Self::Product => "product",
        }
    }

    /// Whether the definition is part of the product, so that users may enable but not change it.
    pub fn is_standard(self) -> bool {
        matches!(self, Self::Person | Self::Channel | Self::Product)
    }
}

/// One property of an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// As events spell it; case-sensitive.
    pub name: String,
    pub kind: PropertyType,
    /// An event without it is refused.
    pub required: bool,
    pub rules: Vec<Rule>,
}

/// What a property holds.
#[derive(Clone, Debug, PartialEq)]
pub enum PropertyType {
    Scalar(ScalarType),
    /// A list of objects with these fields; at most one such property in a definition.
    List(Vec<Field>),
}

/// One field of the objects in a List.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub kind: ScalarType,
}

/// What else holds for the value of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A longer text is cut to so many code points.
    CutAt(usize),
    /// The text starts with this.
    StartsWith(String),
    /// The text is one of these.
    OneOf(Vec<String>),
    /// The time may be written as `DD/MM/YYYY HH:MM:ss` (UTC), beside ISO 8601.
    DayFirst,
}

/// `property` becomes `value` when `when.0` holds `when.1` and none of `unless` is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultValue {
    pub property: String,
    pub value: String,
    pub when: (String, String),
    pub unless: Vec<String>,
}

impl Definition {
    /// An event of one's own, enabled, without a template or defaults.
    pub fn external(id: DefinitionId, title: impl Into<String>, properties: Vec<Property>) -> Self {
        Self {
            id,
            title: title.into(),
            description: String::new(),
            category: Category::External,
            subcategory: None,
            template: None,
            enabled: true,
            properties,
            defaults: Vec::new(),
        }
    }

    /// The place of a property in the definition, by its exact name.
    pub fn position(&self, property: &str) -> Option<usize> {
        self.properties.iter().position(|candidate| candidate.name == property)
    }

    pub fn property(&self, name: &str) -> Option<&Property> {
        self.position(name).map(|at| &self.properties[at])
    }
}

impl Property {
    pub fn new(name: impl Into<String>, kind: PropertyType) -> Self {
        Self { name: name.into(), kind, required: false, rules: Vec::new() }
    }

    pub fn scalar(name: impl Into<String>, kind: ScalarType) -> Self {
        Self::new(name, PropertyType::Scalar(kind))
    }
}

impl PropertyType {
    /// The name of the type that is not scalar.
    pub const LIST: &'static str = "List";

    /// The name of the type as definitions spell it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Scalar(kind) => kind.name(),
            Self::List(_) => Self::LIST,
        }
    }
}
