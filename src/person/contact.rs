//! Contact information: where a person can be reached. Each contact is an identifier, unique across all persons.

use serde::Deserialize;
use serde::Serialize;

use crate::person::Identifier;
use crate::person::IdentifierType;
use crate::person::attribute::within;

/// The most contacts of one kind that a write may give a person.
pub const CONTACTS_OF_A_KIND: usize = 100;

const ADDRESS_CHARS: usize = 255;
const PHONE_CHARS: usize = 50;

/// One way to reach a person.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Contact {
    pub kind: IdentifierType,
    pub id: String,
    /// The application or the sender that knows it; empty for emails and phones.
    pub sender: String,
    pub primary: bool,
}

impl Contact {
    pub fn email(address: impl Into<String>) -> Self {
        Self { kind: IdentifierType::Email, id: address.into(), sender: String::new(), primary: false }
    }

    pub fn phone(number: impl Into<String>) -> Self {
        Self { kind: IdentifierType::Phone, id: number.into(), sender: String::new(), primary: false }
    }

    /// Whether both are the same way to reach somebody.
    pub fn is_same(&self, other: &Self) -> bool {
        self.key() == other.key()
    }

    pub(crate) fn key(&self) -> (IdentifierType, &str, &str) {
        (self.kind, &self.id, &self.sender)
    }

    pub fn identifier(&self) -> Identifier {
        Identifier { kind: self.kind, id: self.id.clone(), sender: self.sender.clone() }
    }

    /// Why it cannot be the contact of anybody.
    pub fn check(&self) -> Result<(), String> {
        let Self { kind, id, sender, .. } = self;
        match kind {
            IdentifierType::Id | IdentifierType::ExternalId | IdentifierType::Visitor => {
                return Err(format!("{kind} is no contact information"));
            }
            IdentifierType::Email if !is_email(id) => {
                return Err(format!("an email is an address such as ana@example.com, found \"{id}\""));
            }
            IdentifierType::Phone if !is_phone(id) => {
                return Err(format!(
                    "a phone number has digits with the country's code and at most a + before them, found \"{id}\""
                ));
            }
            _ => {}
        }
        let most = if *kind == IdentifierType::Phone { PHONE_CHARS } else { ADDRESS_CHARS };
        within("an identifier", id, most)?;
        within("a sender", sender, ADDRESS_CHARS)?;
        if id.is_empty() || id.chars().any(char::is_control) {
            return Err("an identifier has at least one character, and no control character".to_owned());
        }
        match (kind.needs_sender(), sender.is_empty()) {
            (true, true) => Err(format!("a contact of the type {kind} needs its sender")),
            (false, false) => Err(format!("a contact of the type {kind} has no sender")),
            _ => Ok(()),
        }
    }
}

fn is_email(text: &str) -> bool {
    let Some((user, host)) = text.rsplit_once('@') else { return false };
    !user.is_empty() && !host.is_empty() && !text.contains(char::is_whitespace) && !host.starts_with('.')
}

fn is_phone(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    (3..=PHONE_CHARS).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contacts_are_checked_by_their_kind() {
        for right in ["ana@example.com", "a+b@x.io", "ime@domena.hr"] {
            assert!(Contact::email(right).check().is_ok(), "{right}");
        }
        for wrong in ["ana", "@x.io", "a@", "a b@x.io", &format!("{}@x.io", "a".repeat(255))] {
            assert!(Contact::email(wrong).check().is_err(), "{wrong}");
        }
        assert!(Contact::phone("385911234567").check().is_ok());
        assert!(Contact::phone("+385911234567").check().is_ok());
        assert!(Contact::phone("091/123-456").check().is_err());
        let push = |sender: &str| Contact {
            kind: IdentifierType::Push,
            id: "reg-1".to_owned(),
            sender: sender.to_owned(),
            primary: false,
        };
        assert!(push("app-1").check().is_ok() && push("").check().is_err());
        assert!(Contact { sender: "x".to_owned(), ..Contact::email("a@b.c") }.check().is_err());
    }
}
