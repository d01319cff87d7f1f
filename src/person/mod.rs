//! Who did it: identifiers, and the persons that they stand for.

mod identifier;
mod index;
mod segment;

pub use identifier::Identifier;
pub use identifier::IdentifierType;
pub use index::Person;
pub use index::PersonRef;
pub use index::Persons;
