//! Newtypes for the identities of things, so that one number or text can never pass for another.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::error::Result;

/// A person: a dense integer handed out by the catalog, from 1; a text in export files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonId(pub i64);

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of an event definition: letters and digits, 1 to 36 of them, case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DefinitionId(String);

/// The most characters that a definition id may have.
pub const DEFINITION_ID_CHARS: usize = 36;
/// The most characters that an event id may have.
pub const EVENT_ID_CHARS: usize = 36;
/// The most characters that a person identifier or a session id may have.
pub const IDENTIFIER_CHARS: usize = 256;

impl DefinitionId {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id that a title stands for: `Item Added to Cart` becomes `itemAddedToCart`. A title with a letter that an
    /// id cannot have is refused, for an id without that letter would be another word.
    pub fn from_title(title: &str) -> Result<Self> {
        if let Some(letter) = title.chars().find(|letter| letter.is_alphanumeric() && !letter.is_ascii()) {
            return Err(Error::invalid(format!(
                "no id follows from the title \"{title}\", for \"{letter}\" is no ASCII letter or digit; give an id"
            )));
        }
        let mut id = String::new();
        for word in title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
            let mut letters = word.chars();
            let first = letters.next().unwrap_or_default();
            if id.is_empty() {
                id.push(first.to_ascii_lowercase());
            } else {
                id.push(first.to_ascii_uppercase());
            }
            id.push_str(letters.as_str());
        }
        id.parse().map_err(|_| {
            Error::invalid(format!(
                "no id of 1 to {DEFINITION_ID_CHARS} letters and digits follows from the title \"{title}\"; give one"
            ))
        })
    }
}

impl FromStr for DefinitionId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fits = (1..=DEFINITION_ID_CHARS).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::invalid(format!(
            "an event id has 1 to {DEFINITION_ID_CHARS} ASCII letters and digits, found \"{text}\""
        )))
    }
}

impl fmt::Display for DefinitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text may be the id of one event: 1 to 36 of `A-Z a-z 0-9 _ -`.
pub fn is_event_id(text: &str) -> bool {
    (1..=EVENT_ID_CHARS).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Whether a text may identify a person or a session: 1 to 256 characters, no control character among them.
pub fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= IDENTIFIER_CHARS && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_follows_from_a_title() {
        let id = |title: &str| DefinitionId::from_title(title).map(|id| id.to_string());
        assert_eq!(id("Item Added to Cart").unwrap(), "itemAddedToCart");
        assert_eq!(id("  SMS sent! ").unwrap(), "sMSSent");
        assert!(id("购物").is_err());
        // Not `berfallNacht`: an id never loses a letter of its title.
        let error = id("Überfall Nacht").unwrap_err().to_string();
        assert!(error.contains("\"Ü\" is no ASCII letter"), "{error}");
        assert_eq!(id("Sale – now!").unwrap(), "saleNow");
        assert!(id(&"long ".repeat(20)).is_err());
    }

    #[test]
    fn an_event_id_has_no_nul_and_at_most_36_characters() {
        assert!(is_event_id("ord-000123"));
        assert!(!is_event_id("a\0b"));
        assert!(!is_event_id(""));
        assert!(!is_event_id(&"a".repeat(37)));
    }
}
