//! The types a property may have, and the names people use for them.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::error::Result;

/// The type of a scalar property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScalarType {
    /// Unicode text, byte for byte.
    String,
    /// `true` or `false`.
    Boolean,
    /// A moment, in microseconds since the epoch, UTC.
    DateTime,
    /// A 64-bit integer, exact.
    Numeric,
    /// A 64-bit floating point number; an integer that it cannot hold exactly is refused.
    Decimal,
}

impl ScalarType {
    pub const ALL: [Self; 5] = [Self::String, Self::Boolean, Self::DateTime, Self::Numeric, Self::Decimal];

    pub fn name(self) -> &'static str {
        match self {
            Self::String => "String",
            Self::Boolean => "Boolean",
            Self::DateTime => "DateTime",
            Self::Numeric => "Numeric",
            Self::Decimal => "Decimal",
        }
    }

    /// What a value of this type looks like in JSON, for messages.
    pub fn expected(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Boolean => "true or false",
            Self::DateTime => "an ISO 8601 time in a string",
            Self::Numeric => "an integer of 64 bits",
            Self::Decimal => "a number",
        }
    }
}

impl fmt::Display for ScalarType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Case does not matter here, and the words that people see elsewhere are aliases: Text, True/False, Date, Number
/// (a Decimal, for a price of 19.99 must fit) and SQL's own.
impl FromStr for ScalarType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "string" | "text" | "varchar" => Self::String,
            "boolean" | "bool" | "true/false" => Self::Boolean,
            "datetime" | "date" | "timestamp" => Self::DateTime,
            "numeric" | "integer" | "int" | "bigint" => Self::Numeric,
            "decimal" | "number" | "double" | "float" => Self::Decimal,
            _ => {
                return Err(Error::invalid(format!(
                    "no property type is called \"{text}\"; the types are String, Boolean, DateTime, Numeric, Decimal and List"
                )));
            }
        })
    }
}
