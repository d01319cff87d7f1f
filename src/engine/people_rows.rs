//! Rows of flat columns as writes of persons: what SQL gives, and what a CSV file holds.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::error::Error;
use crate::error::Result;
use crate::error::did_you_mean;
use crate::person::ATTRIBUTES;
use crate::person::CustomAttributes;
use crate::person::CustomType;
use crate::person::Fault;
use crate::person::PersonWrite;

/// What a column is of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A field of the person by its name.
    Field(String),
    Tags,
    /// Contacts of a channel, and the key of their address in it.
    Contacts(&'static str, &'static str),
    Custom(String),
}

/// The one name of a column that may be meant in several ways.
pub(crate) fn target(column: &str, attributes: &CustomAttributes) -> Result<Target> {
    let own = |name: &str| attributes.get(name).map(|one| Target::Custom(one.name.clone()));
    Ok(match column {
        "externalId" | "externalPersonId" => Target::Field("externalId".to_owned()),
        "type" => Target::Field(column.to_owned()),
        "tags" => Target::Tags,
        "email" | "emails" => Target::Contacts("email", "address"),
        "phone" | "phones" => Target::Contacts("phone", "number"),
        _ if ATTRIBUTES.iter().any(|(_, name, _)| *name == column) => Target::Field(column.to_owned()),
        _ => match own(column).or_else(|| own(column.strip_prefix("custom_")?)) {
            Some(target) => target,
            None => {
                let known = ["externalId", "type", "tags", "email", "phone"].into_iter();
                let known = known.chain(ATTRIBUTES.iter().map(|(_, name, _)| *name));
                let hint = did_you_mean(column, known.chain(attributes.iter().map(|one| one.name.as_str())));
                return Err(Error::not_found(format!(
                    "a person has no attribute \"{column}\"{hint}; CREATE PERSON ATTRIBUTE adds one"
                )));
            }
        },
    })
}

/// A write of a row: one value for each target.
pub(crate) fn write_of(
    targets: &[Target],
    values: Vec<Value>,
) -> std::result::Result<PersonWrite, Vec<Fault>> {
    let mut person = Map::new();
    let mut custom = Map::new();
    let mut contacts = Map::new();
    for (target, value) in targets.iter().zip(values) {
        match target {
            Target::Field(name) => {
                person.insert(name.clone(), value);
            }
            Target::Tags => {
                person.insert("tags".to_owned(), list(value));
            }
            Target::Contacts(channel, key) => {
                let Value::Array(items) = list(value) else { continue };
                let items = items.into_iter().map(|item| json!({ *key: item }));
                contacts.insert((*channel).to_owned(), items.collect());
            }
            Target::Custom(name) => {
                custom.insert(name.clone(), value);
            }
        }
    }
    if !contacts.is_empty() {
        person.insert("contactInformation".to_owned(), contacts.into());
    }
    if !custom.is_empty() {
        person.insert("customAttributes".to_owned(), custom.into());
    }
    PersonWrite::from_json(&person.into())
}

/// An array as it is; a text is one item, or several between semicolons.
fn list(value: Value) -> Value {
    match value {
        Value::String(text) => {
            text.split(';').map(str::trim).filter(|item| !item.is_empty()).map(Value::from).collect()
        }
        other => other,
    }
}

/// A field of a CSV file as the value that its target takes; nothing when it is empty.
pub(crate) fn of_text(target: &Target, text: &str, attributes: &CustomAttributes) -> Option<Value> {
    if text.is_empty() {
        return None;
    }
    let Target::Custom(name) = target else { return Some(text.into()) };
    let read = match attributes.get(name)?.data_type {
        CustomType::String | CustomType::Date | CustomType::DateTime => None,
        CustomType::Boolean => text.to_ascii_lowercase().parse::<bool>().ok().map(Value::from),
        CustomType::Decimal | CustomType::Integer | CustomType::ListOfObjects => {
            serde_json::from_str(text).ok()
        }
    };
    // A text that cannot be read is refused by the type, with its reason.
    Some(read.unwrap_or_else(|| text.into()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::person::Contact;
    use crate::person::CustomAttribute;

    #[test]
    fn columns_become_what_they_are_called() {
        let points = CustomAttribute::new("points", CustomType::Integer, BTreeMap::new()).unwrap();
        let attributes: CustomAttributes = [points].into_iter().collect();
        let columns = ["externalPersonId", "firstName", "tags", "email", "points"];
        let targets: Vec<Target> = columns.iter().map(|one| target(one, &attributes).unwrap()).collect();
        let texts = ["a", "Ana", "vip; new", "a@example.com;b@example.com", "7"];
        let values =
            targets.iter().zip(texts).map(|(target, text)| of_text(target, text, &attributes).unwrap());
        let write = write_of(&targets, values.collect()).unwrap();
        assert_eq!(write.external_id, Some(Some("a".to_owned())));
        assert_eq!(write.tags.unwrap(), ["vip", "new"]);
        assert_eq!(
            write.contacts.unwrap(),
            [Contact::email("a@example.com"), Contact::email("b@example.com")]
        );
        assert_eq!(write.custom["points"], Some(json!(7)));
        let told = target("firstname", &attributes).unwrap_err().to_string();
        assert!(told.contains("did you mean \"firstName\"?"), "{told}");
        assert_eq!(of_text(&targets[1], "", &attributes), None);
    }
}
