//! Custom attributes: what users add to profiles, with a type that never changes.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Map;
use serde_json::Number;
use serde_json::Value;

use crate::error::Error;
use crate::error::Result;
use crate::error::did_you_mean;
use crate::person::attribute::is_date;
use crate::person::attribute::within;
use crate::time::parse_instant;

/// The most characters of a value, and of all items of a list as JSON.
const VALUE_CHARS: usize = 4_096;
/// The most characters of a name.
const NAME_CHARS: usize = 256;
/// What a name may not hold.
const NOT_IN_NAMES: &str = "{}[]";

/// The type of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CustomType {
    String,
    Decimal,
    Integer,
    Boolean,
    Date,
    DateTime,
    ListOfObjects,
}

const TYPES: [(CustomType, &str); 7] = [
    (CustomType::String, "STRING"),
    (CustomType::Decimal, "DECIMAL"),
    (CustomType::Integer, "INTEGER"),
    (CustomType::Boolean, "BOOLEAN"),
    (CustomType::Date, "DATE"),
    (CustomType::DateTime, "DATE_TIME"),
    (CustomType::ListOfObjects, "LIST_OF_OBJECTS"),
];

impl CustomType {
    pub fn name(self) -> &'static str {
        TYPES.iter().find(|(one, _)| *one == self).map_or("", |(_, name)| name)
    }

    fn expected(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Decimal => "a number",
            Self::Integer => "an integer of 64 bits",
            Self::Boolean => "true or false",
            Self::Date => "a date such as \"2026-02-28\"",
            Self::DateTime => "a time such as \"2026-02-28T12:30:00Z\"",
            Self::ListOfObjects => "an array of objects",
        }
    }

    /// The value as it is kept, or why it does not fit.
    fn check(self, name: &str, value: &Value) -> std::result::Result<Value, String> {
        let wrong = || format!("{name} is {}, found {}", self.expected(), shortly(value));
        Ok(match (self, value) {
            (Self::String, Value::String(text)) => {
                within(name, text, VALUE_CHARS)?;
                value.clone()
            }
            (Self::Decimal, Value::Number(number)) => {
                let number = number.as_f64().filter(|number| number.is_finite()).ok_or_else(wrong)?;
                Value::Number(Number::from_f64(number).ok_or_else(wrong)?)
            }
            (Self::Integer, Value::Number(number)) => {
                Value::Number(integer(number).ok_or_else(wrong)?.into())
            }
            (Self::Boolean, Value::Bool(_)) => value.clone(),
            (Self::Date, Value::String(text)) if is_date(text) => value.clone(),
            (Self::DateTime, Value::String(text)) => {
                let moment = parse_instant(text, None)
                    .or_else(|_| parse_instant(&format!("{text}Z"), None))
                    .map_err(|_| wrong())?;
                Value::String(moment.to_string())
            }
            _ => return Err(wrong()),
        })
    }
}

impl fmt::Display for CustomType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for CustomType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let upper = text.to_ascii_uppercase();
        TYPES.iter().find(|(_, name)| *name == upper).map(|(kind, _)| *kind).ok_or_else(|| {
            let hint = did_you_mean(text, TYPES.iter().map(|(_, name)| *name));
            Error::invalid(format!(
                "no type of a custom attribute is called \"{text}\"{hint}; the types are STRING, DECIMAL, INTEGER, \
                 BOOLEAN, DATE, DATE_TIME and LIST_OF_OBJECTS"
            ))
        })
    }
}

/// `3` and `3.0`, but not `3.5`.
fn integer(number: &Number) -> Option<i64> {
    if let Some(integer) = number.as_i64() {
        return Some(integer);
    }
    let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 9.0e15)?;
    format!("{float:.0}").parse().ok()
}

/// A value for a message, cut where it is long.
pub(crate) fn shortly(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 {
        text
    } else {
        format!("{}…", text.chars().take(60).collect::<String>())
    }
}

/// One attribute: its name, its type, and for a list what its objects hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CustomAttribute {
    pub name: String,
    pub data_type: CustomType,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub object_schema: BTreeMap<String, CustomType>,
}

impl CustomAttribute {
    /// # Errors
    /// `Invalid` when the name or the types of the objects are not allowed.
    pub fn new(
        name: &str,
        data_type: CustomType,
        object_schema: BTreeMap<String, CustomType>,
    ) -> Result<Self> {
        check_name(name)?;
        if (data_type == CustomType::ListOfObjects) == object_schema.is_empty() {
            return Err(Error::invalid(format!(
                "the attribute \"{name}\" needs an objectSchema if it is a LIST_OF_OBJECTS, and only then"
            )));
        }
        for (field, kind) in &object_schema {
            check_name(field)?;
            if *kind == CustomType::ListOfObjects {
                return Err(Error::invalid(format!(
                    "the field \"{field}\" of \"{name}\" is a list; a list holds no lists"
                )));
            }
        }
        Ok(Self { name: name.to_owned(), data_type, object_schema })
    }

    /// The value as it is kept, or why it does not fit.
    pub fn check(&self, value: &Value) -> std::result::Result<Value, String> {
        if self.data_type != CustomType::ListOfObjects {
            return self.data_type.check(&self.name, value);
        }
        let Value::Array(items) = value else {
            return Err(format!("{} is an array of objects, found {}", self.name, shortly(value)));
        };
        let items =
            items.iter().map(|item| self.check_item(item)).collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(Value::Array(items))
    }

    fn check_item(&self, item: &Value) -> std::result::Result<Value, String> {
        let name = &self.name;
        let Value::Object(fields) = item else {
            return Err(format!("an item of {name} is an object, found {}", shortly(item)));
        };
        let mut kept = Map::new();
        for (field, value) in fields {
            let Some(kind) = self.object_schema.get(field) else {
                let hint = did_you_mean(field, self.object_schema.keys().map(String::as_str));
                return Err(format!("an item of {name} has no field \"{field}\"{hint}"));
            };
            if !value.is_null() {
                kept.insert(field.clone(), kind.check(&format!("{name}.{field}"), value)?);
            }
        }
        kept.sort_keys();
        Ok(Value::Object(kept))
    }
}

fn check_name(name: &str) -> Result<()> {
    let fits = !name.is_empty()
        && name.chars().count() <= NAME_CHARS
        && !name.chars().any(|one| one.is_control() || NOT_IN_NAMES.contains(one));
    if fits {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the name of a custom attribute has 1 to {NAME_CHARS} characters and none of {{ }} [ ], found \"{name}\""
    )))
}

/// All custom attributes, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomAttributes {
    by_name: BTreeMap<String, CustomAttribute>,
}

impl CustomAttributes {
    pub fn get(&self, name: &str) -> Option<&CustomAttribute> {
        self.by_name.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &CustomAttribute> {
        self.by_name.values()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The same with one more.
    ///
    /// # Errors
    /// `Conflict` when there is one of that name, in any case, with another type or of another spelling.
    pub fn with(&self, attribute: CustomAttribute) -> Result<Self> {
        let name = &attribute.name;
        if let Some(known) = self.by_name.values().find(|one| one.name.eq_ignore_ascii_case(name)) {
            if *known == attribute {
                return Ok(self.clone());
            }
            return Err(Error::conflict(format!(
                "there is a custom attribute \"{}\" of type {} already; its type never changes, so give the new one \
                 another name",
                known.name, known.data_type
            )));
        }
        let mut by_name = self.by_name.clone();
        by_name.insert(name.clone(), attribute);
        Ok(Self { by_name })
    }

    /// The same without one.
    pub fn without(&self, name: &str) -> Self {
        let mut by_name = self.by_name.clone();
        by_name.remove(name);
        Self { by_name }
    }

    /// Why a name is not known.
    pub(crate) fn unknown(&self, name: &str) -> String {
        let hint = did_you_mean(name, self.by_name.keys().map(String::as_str));
        format!("there is no custom attribute \"{name}\"{hint}")
    }
}

impl FromIterator<CustomAttribute> for CustomAttributes {
    fn from_iter<T: IntoIterator<Item = CustomAttribute>>(attributes: T) -> Self {
        Self { by_name: attributes.into_iter().map(|one| (one.name.clone(), one)).collect() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(kind: CustomType) -> CustomAttribute {
        CustomAttribute::new("x", kind, BTreeMap::new()).unwrap()
    }

    #[test]
    fn each_type_takes_its_own_values_and_no_others() {
        let values = [
            (CustomType::String, json!("7"), json!(7)),
            (CustomType::Decimal, json!(7.25), json!("7.25")),
            (CustomType::Integer, json!(9_223_372_036_854_775_807_i64), json!(7.5)),
            (CustomType::Boolean, json!(true), json!("true")),
            (CustomType::Date, json!("2024-02-29"), json!("2024-02-30")),
            (CustomType::DateTime, json!("2024-02-29T10:00:00Z"), json!("noon")),
        ];
        for (kind, right, wrong) in values {
            assert!(of(kind).check(&right).is_ok(), "{kind} {right}");
            assert!(of(kind).check(&wrong).is_err(), "{kind} {wrong}");
        }
        assert_eq!(of(CustomType::Integer).check(&json!(3.0)), Ok(json!(3)));
        assert!(of(CustomType::String).check(&json!("é".repeat(4_097))).is_err());
        let moment = of(CustomType::DateTime).check(&json!("2024-02-29T10:00:00+02:00")).unwrap();
        assert_eq!(moment, of(CustomType::DateTime).check(&json!("2024-02-29T08:00:00")).unwrap());
    }

    #[test]
    fn a_list_holds_objects_of_its_schema() {
        let schema =
            BTreeMap::from([("sku".to_owned(), CustomType::String), ("n".to_owned(), CustomType::Integer)]);
        let list = CustomAttribute::new("wishlist", CustomType::ListOfObjects, schema).unwrap();
        assert_eq!(
            list.check(&json!([{"sku": "a", "n": null}, {"n": 2}])),
            Ok(json!([{"sku": "a"}, {"n": 2}]))
        );
        assert!(list.check(&json!([{"sKu": "a"}])).unwrap_err().contains("did you mean \"sku\"?"));
        assert!(list.check(&json!([1])).is_err() && list.check(&json!({})).is_err());
        assert!(CustomAttribute::new("x", CustomType::ListOfObjects, BTreeMap::new()).is_err());
        assert!(CustomAttribute::new("a[0]", CustomType::String, BTreeMap::new()).is_err());
    }

    #[test]
    fn a_type_never_changes() {
        let all = CustomAttributes::default().with(of(CustomType::String)).unwrap();
        assert!(all.with(of(CustomType::String)).is_ok());
        assert!(all.with(of(CustomType::Integer)).is_err());
        let other_case = CustomAttribute::new("X", CustomType::String, BTreeMap::new()).unwrap();
        assert!(all.with(other_case).is_err());
    }
}
