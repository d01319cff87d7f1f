//! The form in which `catalog.db` keeps a definition: JSON that holds all of it, under a version number.
//!
//! The data files of the standard events (`standard.rs`) spell properties in the same way. A text that this version
//! does not know is an error and never half a definition.

use serde::Deserialize;
use serde::Serialize;

use crate::error::Context;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::ids::DefinitionId;
use crate::schema::Category;
use crate::schema::DefaultValue;
use crate::schema::Definition;
use crate::schema::Field;
use crate::schema::Property;
use crate::schema::PropertyType;
use crate::schema::Rule;

/// The version that is written; others are refused.
const FORMAT: u32 = 1;

/// Only the version of a stored text, to say more than "unknown field" about one that a later version wrote.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    id: String,
    title: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    description: String,
    category: StoredCategory,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subcategory: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    template: Option<String>,
    enabled: bool,
    properties: Vec<StoredProperty>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    defaults: Vec<StoredDefault>,
}

/// [`Category`] in JSON.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum StoredCategory {
    External,
    Template,
    Person,
    Channel,
    Product,
}

/// [`Property`] in JSON: `{"name":"url","type":"String","required":true,"rules":[{"cutAt":1500}]}`; a List has
/// `"fields":[{"name":"price","type":"Decimal"}]`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredProperty {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fields: Vec<StoredField>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    required: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rules: Vec<StoredRule>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredField {
    name: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum StoredRule {
    CutAt(usize),
    StartsWith(String),
    OneOf(Vec<String>),
    DayFirst,
}

/// [`DefaultValue`] in JSON:
/// `{"property":"a","value":"b","when":{"property":"c","is":"d"},"unless":["e"]}`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredDefault {
    property: String,
    value: String,
    when: StoredCondition,
    unless: Vec<String>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredCondition {
    property: String,
    is: String,
}

/// The whole definition as one line of JSON.
pub fn to_stored(definition: &Definition) -> Result<String> {
    let stored = Stored {
        format: FORMAT,
        id: definition.id.to_string(),
        title: definition.title.clone(),
        description: definition.description.clone(),
        category: definition.category.into(),
        subcategory: definition.subcategory.clone(),
        template: definition.template.as_ref().map(ToString::to_string),
        enabled: definition.enabled,
        properties: definition.properties.iter().map(StoredProperty::from).collect(),
        defaults: definition.defaults.iter().map(StoredDefault::from).collect(),
    };
    serde_json::to_string(&stored).internal(|| format!("could not write the definition of \"{}\"", stored.id))
}

/// Reads back what [`to_stored`] wrote. Fails with [`Kind::Internal`] on a text that it did not write.
pub fn from_stored(text: &str) -> Result<Definition> {
    let damaged = || "a stored definition cannot be read".to_owned();
    let version: Version = serde_json::from_str(text).internal(damaged)?;
    if version.format != FORMAT {
        return Err(Error::internal(format!(
            "a stored definition has format {}, this version knows {FORMAT}; use a newer milepost",
            version.format
        )));
    }
    let stored: Stored = serde_json::from_str(text).internal(damaged)?;
    stored.try_into().context(Kind::Internal, damaged)
}

impl TryFrom<Stored> for Definition {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        Ok(Self {
            id: stored.id.parse()?,
            title: stored.title,
            description: stored.description,
            category: stored.category.into(),
            subcategory: stored.subcategory,
            template: stored.template.map(|id| id.parse::<DefinitionId>()).transpose()?,
            enabled: stored.enabled,
            properties: stored.properties.into_iter().map(Property::try_from).collect::<Result<_>>()?,
            defaults: stored.defaults.into_iter().map(DefaultValue::from).collect(),
        })
    }
}

impl From<Category> for StoredCategory {
    fn from(category: Category) -> Self {
        match category {
            Category::External => Self::External,
            Category::Template => Self::Template,
            Category::Person => Self::Person,
            Category::Channel => Self::Channel,
            Category::Product => Self::Product,
        }
    }
}

impl From<StoredCategory> for Category {
    fn from(category: StoredCategory) -> Self {
        match category {
            StoredCategory::External => Self::External,
            StoredCategory::Template => Self::Template,
            StoredCategory::Person => Self::Person,
            StoredCategory::Channel => Self::Channel,
            StoredCategory::Product => Self::Product,
        }
    }
}

impl From<&Property> for StoredProperty {
    fn from(property: &Property) -> Self {
        let fields = match &property.kind {
            PropertyType::Scalar(_) => Vec::new(),
            PropertyType::List(fields) => fields
                .iter()
                .map(|field| StoredField { name: field.name.clone(), kind: field.kind.name().to_owned() })
                .collect(),
        };
        Self {
            name: property.name.clone(),
            kind: property.kind.name().to_owned(),
            fields,
            required: property.required,
            rules: property.rules.iter().map(StoredRule::from).collect(),
        }
    }
}

impl TryFrom<StoredProperty> for Property {
    type Error = Error;

    fn try_from(stored: StoredProperty) -> Result<Self> {
        let kind = if stored.kind == PropertyType::LIST {
            let fields = stored
                .fields
                .into_iter()
                .map(|field| Ok(Field { kind: field.kind.parse()?, name: field.name }));
            PropertyType::List(fields.collect::<Result<_>>()?)
        } else {
            PropertyType::Scalar(stored.kind.parse()?)
        };
        let rules = stored.rules.into_iter().map(Rule::from).collect();
        Ok(Self { name: stored.name, kind, required: stored.required, rules })
    }
}

impl From<&Rule> for StoredRule {
    fn from(rule: &Rule) -> Self {
        match rule {
            Rule::CutAt(length) => Self::CutAt(*length),
            Rule::StartsWith(start) => Self::StartsWith(start.clone()),
            Rule::OneOf(choices) => Self::OneOf(choices.clone()),
            Rule::DayFirst => Self::DayFirst,
        }
    }
}

impl From<StoredRule> for Rule {
    fn from(rule: StoredRule) -> Self {
        match rule {
            StoredRule::CutAt(length) => Self::CutAt(length),
            StoredRule::StartsWith(start) => Self::StartsWith(start),
            StoredRule::OneOf(choices) => Self::OneOf(choices),
            StoredRule::DayFirst => Self::DayFirst,
        }
    }
}

impl From<&DefaultValue> for StoredDefault {
    fn from(default: &DefaultValue) -> Self {
        let (property, is) = default.when.clone();
        Self {
            property: default.property.clone(),
            value: default.value.clone(),
            when: StoredCondition { property, is },
            unless: default.unless.clone(),
        }
    }
}

impl From<StoredDefault> for DefaultValue {
    fn from(stored: StoredDefault) -> Self {
        Self {
            property: stored.property,
            value: stored.value,
            when: (stored.when.property, stored.when.is),
            unless: stored.unless,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::Just;
    use proptest::prelude::Strategy;
    use proptest::prelude::any;
    use proptest::prop_oneof;
    use proptest::proptest;
    use proptest::sample::select;

    use super::*;
    use crate::value::ScalarType;

    fn scalar() -> impl Strategy<Value = ScalarType> {
        select(ScalarType::ALL.as_slice())
    }

    fn field() -> impl Strategy<Value = Field> {
        (any::<String>(), scalar()).prop_map(|(name, kind)| Field { name, kind })
    }

    fn rule() -> impl Strategy<Value = Rule> {
        prop_oneof![
            any::<usize>().prop_map(Rule::CutAt),
            any::<String>().prop_map(Rule::StartsWith),
            vec(any::<String>(), 0..3).prop_map(Rule::OneOf),
            Just(Rule::DayFirst),
        ]
    }

    fn property() -> impl Strategy<Value = Property> {
        let kind = prop_oneof![
            scalar().prop_map(PropertyType::Scalar),
            vec(field(), 0..4).prop_map(PropertyType::List),
        ];
        (any::<String>(), kind, any::<bool>(), vec(rule(), 0..3))
            .prop_map(|(name, kind, required, rules)| Property { name, kind, required, rules })
    }

    fn default_value() -> impl Strategy<Value = DefaultValue> {
        (any::<String>(), any::<String>(), any::<(String, String)>(), vec(any::<String>(), 0..3))
            .prop_map(|(property, value, when, unless)| DefaultValue { property, value, when, unless })
    }

    fn id() -> impl Strategy<Value = DefinitionId> {
        "[a-zA-Z0-9]{1,36}".prop_map(|id| id.parse().unwrap())
    }

    fn definition() -> impl Strategy<Value = Definition> {
        let categories =
            [Category::External, Category::Template, Category::Person, Category::Channel, Category::Product];
        let head = (id(), any::<String>(), any::<String>(), select(categories.to_vec()));
        let rest = (option::of(any::<String>()), option::of(id()), any::<bool>());
        (head, rest, vec(property(), 0..5), vec(default_value(), 0..2)).prop_map(
            |(head, rest, properties, defaults)| {
                let (id, title, description, category) = head;
                let (subcategory, template, enabled) = rest;
                Definition {
                    id,
                    title,
                    description,
                    category,
                    subcategory,
                    template,
                    enabled,
                    properties,
                    defaults,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_stored_reads_back_the_same(definition in definition()) {
            let text = to_stored(&definition).unwrap();
            assert_eq!(from_stored(&text).unwrap(), definition);
            assert!(!text.contains('\n'));
        }
    }

    const SMALL: &str =
        r#"{"format":1,"id":"a","title":"A","category":"external","enabled":true,"properties":[]}"#;

    #[test]
    fn another_version_is_refused_by_its_number_and_other_damage_with_the_cause() {
        assert!(from_stored(SMALL).is_ok());
        let later = SMALL.replace("\"format\":1", "\"format\":2").replace("\"title\"", "\"name\"");
        assert!(from_stored(&later).unwrap_err().message().contains("format 2"));
        let unknown = SMALL.replace("\"enabled\"", "\"enable\"");
        let error = from_stored(&unknown).unwrap_err();
        assert_eq!(error.kind(), Kind::Internal);
        assert!(error.to_string().contains("unknown field `enable`"), "{error}");
        assert!(from_stored(&SMALL.replace("\"a\"", "\"a b\"")).is_err());
    }
}
