//! Who did it: identifiers, and the persons that they stand for.

mod identifier;
mod index;

pub use identifier::Identifier;
pub use identifier::IdentifierType;
pub use index::Person;
pub use index::Persons;
