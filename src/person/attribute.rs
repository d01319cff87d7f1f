//! The attributes that every profile may have, and what their values may look like: one table of limits.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::Serialize;

use crate::error::Error;
use crate::error::Result;
use crate::error::did_you_mean;
use crate::time::parse_instant;

/// An attribute that is there without being created, besides the external id and the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Attribute {
    FirstName,
    LastName,
    MiddleName,
    NickName,
    Address,
    City,
    Country,
    Gender,
    BirthDate,
    PreferredLanguage,
    ProfilePicture,
}

/// Every attribute with its name and the most characters of a value.
pub const ATTRIBUTES: [(Attribute, &str, usize); 11] = [
    (Attribute::FirstName, "firstName", 255),
    (Attribute::LastName, "lastName", 255),
    (Attribute::MiddleName, "middleName", 50),
    (Attribute::NickName, "nickName", 50),
    (Attribute::Address, "address", 256),
    (Attribute::City, "city", 50),
    (Attribute::Country, "country", 50),
    (Attribute::Gender, "gender", 6),
    (Attribute::BirthDate, "birthDate", 10),
    (Attribute::PreferredLanguage, "preferredLanguage", 16),
    (Attribute::ProfilePicture, "profilePicture", 2_083),
];

/// What names of people may not hold.
const NOT_IN_NAMES: &str = "&<>\"/\\\n\r:(){}=;#";

/// Names of persons that are read and shown in other ways than as attributes.
const OTHERS: [&str; 5] = ["externalId", "type", "tags", "customAttributes", "contactInformation"];

impl Attribute {
    pub fn name(self) -> &'static str {
        ATTRIBUTES.iter().find(|(one, ..)| *one == self).map_or("", |(_, name, _)| name)
    }

    fn most_chars(self) -> usize {
        ATTRIBUTES.iter().find(|(one, ..)| *one == self).map_or(0, |(.., most)| *most)
    }

    /// The value as it is kept, or why it is none.
    pub fn check(self, value: &str) -> std::result::Result<String, String> {
        let (name, most) = (self.name(), self.most_chars());
        match self {
            Self::FirstName | Self::LastName | Self::MiddleName | Self::NickName => {
                if let Some(wrong) = value.chars().find(|one| NOT_IN_NAMES.contains(*one)) {
                    return Err(format!(
                        "{name} may not hold {wrong:?}; it may hold none of & < > \" / \\ : ( ) {{ }} = ; # and no line break"
                    ));
                }
            }
            Self::Gender => {
                let gender = value.to_ascii_uppercase();
                return match gender.as_str() {
                    "MALE" | "FEMALE" => Ok(gender),
                    _ => Err(format!("gender is MALE or FEMALE, found \"{value}\"")),
                };
            }
            Self::BirthDate if !is_date(value) => {
                return Err(format!("birthDate is a date such as 1990-02-28, found \"{value}\""));
            }
            Self::PreferredLanguage if !is_language(value) => {
                return Err(format!("preferredLanguage is a code such as en or en-GB, found \"{value}\""));
            }
            Self::ProfilePicture if !is_url(value) => {
                return Err(format!("profilePicture is an http or https address, found \"{value}\""));
            }
            _ => {}
        }
        within(name, value, most)?;
        Ok(value.to_owned())
    }
}

/// Whether a text has no NUL and at most so many characters.
pub(crate) fn within(name: &str, value: &str, most: usize) -> std::result::Result<(), String> {
    if value.contains('\0') {
        return Err(format!("{name} may not hold the character NUL"));
    }
    let chars = if value.len() <= most { 0 } else { value.chars().count() };
    if chars > most {
        return Err(format!("{name} has at most {most} characters, found {chars}"));
    }
    Ok(())
}

/// A day that the calendar has, as `YYYY-MM-DD`.
pub(crate) fn is_date(text: &str) -> bool {
    text.len() == 10 && parse_instant(text, None).is_ok()
}

/// ISO 639-1 `xx`, or BCP 47 `xx-YY`.
fn is_language(text: &str) -> bool {
    let (language, region) = text.split_once('-').map_or((text, None), |(one, two)| (one, Some(two)));
    language.len() == 2
        && language.bytes().all(|byte| byte.is_ascii_lowercase())
        && region.is_none_or(|region| {
            (2..=8).contains(&region.len()) && region.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Attribute {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        ATTRIBUTES.iter().find(|(_, name, _)| *name == text).map(|(one, ..)| *one).ok_or_else(|| {
            let known = ATTRIBUTES.iter().map(|(_, name, _)| *name).chain(OTHERS);
            let hint = did_you_mean(text, known);
            Error::invalid(format!(
                "a person has no attribute \"{text}\"{hint}; attributes of your own stand in customAttributes"
            ))
        })
    }
}

/// What a person is to the business, the least first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PersonKind {
    /// Nobody knows who it is.
    Visitor,
    Lead,
    #[default]
    Customer,
}

impl PersonKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Visitor => "VISITOR",
            Self::Lead => "LEAD",
            Self::Customer => "CUSTOMER",
        }
    }
}

impl fmt::Display for PersonKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PersonKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_uppercase().as_str() {
            "LEAD" => Ok(Self::Lead),
            "CUSTOMER" => Ok(Self::Customer),
            _ => Err(Error::invalid(format!("the type of a person is LEAD or CUSTOMER, found \"{text}\""))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_to_the_published_limits() {
        let fits = |attribute: Attribute, value: &str| attribute.check(value).is_ok();
        assert!(fits(Attribute::FirstName, &"é".repeat(255)));
        assert!(!fits(Attribute::FirstName, &"é".repeat(256)));
        assert!(!fits(Attribute::NickName, &"a".repeat(51)));
        for wrong in NOT_IN_NAMES.chars() {
            assert!(!fits(Attribute::LastName, &format!("O{wrong}Hara")), "{wrong:?}");
        }
        assert!(fits(Attribute::LastName, "O'Hara-Ćosić"));
        assert!(fits(Attribute::Address, "Main St. 5/2; #3"));
        assert_eq!(Attribute::Gender.check("female"), Ok("FEMALE".to_owned()));
        assert!(!fits(Attribute::Gender, "other"));
        assert!(fits(Attribute::BirthDate, "2024-02-29") && !fits(Attribute::BirthDate, "2023-02-29"));
        assert!(!fits(Attribute::BirthDate, "2024-02-29T00:00:00Z"));
        assert!(fits(Attribute::PreferredLanguage, "en") && fits(Attribute::PreferredLanguage, "zh-Hant"));
        assert!(!fits(Attribute::PreferredLanguage, "english"));
        assert!(fits(Attribute::ProfilePicture, "https://example.com/a.png"));
        assert!(!fits(Attribute::ProfilePicture, "javascript:alert(1)"));
        assert!(!fits(Attribute::City, "a\0b"));
    }

    #[test]
    fn a_mistyped_attribute_is_told_its_name() {
        let told = "firstname".parse::<Attribute>().unwrap_err().to_string();
        assert!(told.contains("did you mean \"firstName\"?"), "{told}");
    }
}
