//! A person as JSON: read from what callers send, in either of the two shapes of contact information, and written as
//! the interface answers it.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::person::ATTRIBUTES;
use crate::person::Contact;
use crate::person::Fault;
use crate::person::FaultCode;
use crate::person::IdentifierType;
use crate::person::PersonWrite;
use crate::person::Profile;
use crate::person::custom::shortly;

/// Fields that an answer has and that a write may repeat: they are passed over.
const READ_ONLY: [&str; 9] = [
    "id",
    "createdAt",
    "modifiedAt",
    "origin",
    "createdFrom",
    "modifiedFrom",
    "computedAttributes",
    "personId",
    "createdTime",
];

impl PersonWrite {
    /// Reads what a caller says of a person, or everything that is wrong with its form.
    pub fn from_json(value: &Value) -> Result<Self, Vec<Fault>> {
        let Value::Object(fields) = value else {
            return Err(vec![Fault::invalid("", format!("a person is an object, found {}", shortly(value)))]);
        };
        let mut write = Self::default();
        let mut faults = Vec::new();
        for (name, value) in fields {
            if let Err(more) = write.field(name, value) {
                faults.extend(more);
            }
        }
        if faults.is_empty() { Ok(write) } else { Err(faults) }
    }

    fn field(&mut self, name: &str, value: &Value) -> Result<(), Vec<Fault>> {
        let one = |fault: Fault| vec![fault];
        match name {
            "externalId" | "externalPersonId" => {
                self.external_id = Some(text(name, value).map_err(one)?.map(str::to_owned));
            }
            "type" => {
                if let Some(text) = text(name, value).map_err(one)? {
                    let kind = text.parse();
                    self.kind =
                        Some(kind.map_err(|error: crate::error::Error| {
                            vec![Fault::invalid(name, error.message())]
                        })?);
                }
            }
            "tags" => self.tags = tags(value).map_err(one)?,
            "customAttributes" => match value {
                Value::Null => {}
                Value::Object(custom) => {
                    let given = custom
                        .iter()
                        .map(|(name, value)| (name.clone(), (!value.is_null()).then(|| value.clone())));
                    self.custom.extend(given);
                }
                _ => return Err(vec![Fault::invalid(name, "customAttributes is an object")]),
            },
            "contactInformation" => self.contacts = contacts(value)?,
            _ if READ_ONLY.contains(&name) => {}
            _ => {
                let attribute = name
                    .parse()
                    .map_err(|error: crate::error::Error| vec![Fault::invalid(name, error.message())])?;
                self.attributes.insert(attribute, text(name, value).map_err(one)?.map(str::to_owned));
            }
        }
        Ok(())
    }
}

fn text<'a>(name: &str, value: &'a Value) -> Result<Option<&'a str>, Fault> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        other => Err(Fault::invalid(name, format!("{name} is a string, found {}", shortly(other)))),
    }
}

fn tags(value: &Value) -> Result<Option<Vec<String>>, Fault> {
    let Value::Array(items) = value else {
        return if value.is_null() {
            Ok(None)
        } else {
            Err(Fault::invalid("tags", "tags is an array of strings"))
        };
    };
    let each = items.iter().enumerate().map(|(at, item)| match item {
        Value::String(tag) => Ok(tag.clone()),
        other => {
            Err(Fault::invalid(format!("tags[{at}]"), format!("a tag is a string, found {}", shortly(other))))
        }
    });
    each.collect::<Result<_, _>>().map(Some)
}

/// Contact information of either shape: an object by channel, or a flat list.
pub fn contacts(value: &Value) -> Result<Option<Vec<Contact>>, Vec<Fault>> {
    let place = "contactInformation";
    match value {
        Value::Null => Ok(None),
        Value::Array(items) => {
            let each = items.iter().enumerate();
            let read = each.map(|(at, item)| flat(&format!("{place}[{at}]"), item));
            collect(read).map(Some)
        }
        Value::Object(channels) => {
            let each = channels.iter().flat_map(|(channel, items)| by_channel(place, channel, items));
            collect(each).map(Some)
        }
        _ => Err(vec![Fault::invalid(place, "contactInformation is an object or an array")]),
    }
}

fn collect(read: impl Iterator<Item = Result<Contact, Fault>>) -> Result<Vec<Contact>, Vec<Fault>> {
    let (mut contacts, mut faults) = (Vec::new(), Vec::new());
    for one in read {
        match one {
            Ok(contact) => contacts.push(contact),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(contacts) } else { Err(faults) }
}

/// `{"type", "identifier", "sender", "primary"}`.
fn flat(place: &str, item: &Value) -> Result<Contact, Fault> {
    let kind = required(place, item, "type")?;
    let kind = kind
        .parse()
        .map_err(|error: crate::error::Error| Fault::invalid(format!("{place}.type"), error.message()))?;
    let id = required(place, item, "identifier")?.to_owned();
    Ok(Contact { kind, id, sender: sender(place, item)?, primary: primary(item) })
}

fn required<'a>(place: &str, item: &'a Value, name: &str) -> Result<&'a str, Fault> {
    match item.get(name) {
        Some(Value::String(text)) => Ok(text),
        None | Some(Value::Null) => {
            Err(Fault::new(FaultCode::Missing, format!("{place}.{name}"), format!("\"{name}\" is missing")))
        }
        Some(other) => Err(Fault::invalid(
            format!("{place}.{name}"),
            format!("\"{name}\" is a string, found {}", shortly(other)),
        )),
    }
}

/// The sender, whatever the channel calls it.
fn sender(place: &str, item: &Value) -> Result<String, Fault> {
    for name in ["sender", "applicationId", "appCode", "pageId"] {
        if let Some(sender) = item.get(name).filter(|sender| !sender.is_null()) {
            return text(&format!("{place}.{name}"), sender)
                .map(|sender| sender.unwrap_or_default().to_owned());
        }
    }
    Ok(String::new())
}

fn primary(item: &Value) -> bool {
    item.get("primary").or_else(|| item.get("preferred")).and_then(Value::as_bool).unwrap_or_default()
}

/// `"email": [{"address": …}]`, `"phone": [{"number": …}]`, any other channel `[{"id" or "userId", "sender"}]`.
fn by_channel(place: &str, channel: &str, items: &Value) -> Vec<Result<Contact, Fault>> {
    let place = format!("{place}.{channel}");
    let name: String = channel
        .chars()
        .flat_map(|one| {
            let before = one.is_ascii_uppercase().then_some('_');
            before.into_iter().chain(std::iter::once(one.to_ascii_uppercase()))
        })
        .collect();
    let kind: IdentifierType = match name.parse() {
        Ok(kind) => kind,
        Err(error) => {
            let error: crate::error::Error = error;
            return vec![Err(Fault::invalid(place, error.message()))];
        }
    };
    let Value::Array(items) = items else {
        return if items.is_null() {
            Vec::new()
        } else {
            vec![Err(Fault::invalid(place, "a channel holds an array"))]
        };
    };
    let key = match kind {
        IdentifierType::Email => "address",
        IdentifierType::Phone => "number",
        _ => "id",
    };
    let read = items.iter().enumerate().map(|(at, item)| {
        let place = format!("{place}[{at}]");
        let id = match item {
            Value::String(id) => id,
            _ => required(&place, item, if item.get("userId").is_some() { "userId" } else { key })?,
        };
        Ok(Contact { kind, id: id.to_owned(), sender: sender(&place, item)?, primary: primary(item) })
    });
    read.collect()
}

impl Profile {
    /// The person as the second version of the interface answers it: contact information by channel.
    pub fn to_json(&self) -> Value {
        let mut person = self.attributes_json();
        let mut channels: Map<String, Value> = Map::new();
        for contact in &self.contacts {
            let mut item = Map::new();
            let key = match contact.kind {
                IdentifierType::Email => "address",
                IdentifierType::Phone => "number",
                _ => "id",
            };
            item.insert(key.to_owned(), contact.id.clone().into());
            if !contact.sender.is_empty() {
                item.insert("sender".to_owned(), contact.sender.clone().into());
            }
            if contact.primary {
                item.insert("primary".to_owned(), true.into());
            }
            let list = channels.entry(channel(contact.kind)).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list.push(item.into());
            }
        }
        person.insert("contactInformation".to_owned(), channels.into());
        person.into()
    }

    /// The person as the third version answers it: contact information as a flat list.
    pub fn to_flat_json(&self) -> Value {
        let mut person = self.attributes_json();
        let contacts = self.contacts.iter().map(|one| {
            let mut item = json!({"type": one.kind.name(), "identifier": one.id, "primary": one.primary});
            if let (Value::Object(item), false) = (&mut item, one.sender.is_empty()) {
                item.insert("sender".to_owned(), one.sender.clone().into());
            }
            item
        });
        person.insert("contactInformation".to_owned(), contacts.collect());
        person.into()
    }

    fn attributes_json(&self) -> Map<String, Value> {
        let mut person = Map::new();
        let mut put = |name: &str, value: Value| person.insert(name.to_owned(), value);
        put("id", self.id.0.into());
        if let Some(external_id) = &self.external_id {
            put("externalId", external_id.clone().into());
        }
        put("type", self.kind.name().into());
        for (attribute, name, _) in ATTRIBUTES {
            if let Some(value) = self.attributes.get(&attribute) {
                put(name, value.clone().into());
            }
        }
        put("tags", self.tags.iter().cloned().collect());
        let custom: Map<String, Value> =
            self.custom.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        put("customAttributes", custom.into());
        put("origin", self.origin.clone().into());
        put("modifiedFrom", self.modified_from.clone().into());
        let seconds =
            |at: crate::time::Micros| at.iso_millis().to_string().chars().take(19).collect::<String>();
        put("createdAt", seconds(self.created).into());
        put("modifiedAt", seconds(self.modified).into());
        person
    }
}

/// What the second version calls a channel: `EMAIL` is `email`, `LIVE_CHAT` is `liveChat`.
fn channel(kind: IdentifierType) -> String {
    let mut name = String::new();
    for (at, word) in kind.name().split('_').enumerate() {
        let word = word.to_ascii_lowercase();
        match (at, word.chars().next()) {
            (0, _) | (_, None) => name.push_str(&word),
            (_, Some(first)) => {
                name.push(first.to_ascii_uppercase());
                name.push_str(&word[first.len_utf8()..]);
            }
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PersonId;
    use crate::time::Micros;

    #[test]
    fn both_shapes_of_contact_information_say_the_same() {
        let by_channel = json!({"firstName": "Ana", "tags": ["vip"], "customAttributes": {"tier": "gold", "x": null},
            "contactInformation": {"email": [{"address": "ana@example.com"}], "phone": [{"number": "385911"}],
                "push": [{"id": "reg-1", "applicationId": "app-1"}], "liveChat": [{"id": "u", "sender": "s"}]}});
        let flat = json!({"firstName": "Ana", "tags": ["vip"], "customAttributes": {"tier": "gold", "x": null},
            "contactInformation": [{"type": "EMAIL", "identifier": "ana@example.com"},
                {"type": "PHONE", "identifier": "385911"}, {"type": "PUSH", "identifier": "reg-1", "sender": "app-1"},
                {"type": "LIVE_CHAT", "identifier": "u", "sender": "s"}]});
        let write = PersonWrite::from_json(&by_channel).unwrap();
        assert_eq!(write, PersonWrite::from_json(&flat).unwrap());
        assert_eq!(write.custom.get("x"), Some(&None));
        assert_eq!(write.contacts.unwrap().len(), 4);
    }

    #[test]
    fn every_fault_of_the_form_is_told_with_its_place() {
        let wrong = json!({"firstname": "Ana", "tags": ["a", 1], "type": "BOSS",
            "contactInformation": [{"type": "EMAIL"}, {"type": "MAIL", "identifier": "x"}]});
        let faults = PersonWrite::from_json(&wrong).unwrap_err();
        let places: Vec<&str> = faults.iter().map(|fault| fault.property.as_str()).collect();
        let expected = [
            "firstname",
            "tags[1]",
            "type",
            "contactInformation[0].identifier",
            "contactInformation[1].type",
        ];
        assert_eq!(places, expected);
        assert!(faults[0].message.contains("did you mean \"firstName\"?"));
    }

    #[test]
    fn an_answer_can_be_sent_back() {
        let mut profile = Profile::new(PersonId(7), Micros(0));
        profile.contacts = vec![
            Contact::email("a@b.c"),
            Contact {
                kind: IdentifierType::AppleBusinessChat,
                id: "u".to_owned(),
                sender: "s".to_owned(),
                primary: true,
            },
        ];
        profile.tags.insert("vip".to_owned());
        for json in [profile.to_json(), profile.to_flat_json()] {
            let write = PersonWrite::from_json(&json).unwrap();
            assert_eq!(write.contacts.unwrap(), profile.contacts);
            assert_eq!(json["createdAt"], "1970-01-01T00:00:00");
        }
    }
}
