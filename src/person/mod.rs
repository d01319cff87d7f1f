//! Who did it: identifiers, the persons that they stand for, and what is known of those.
//!
//! `index` and `segment` answer quickly whom an identifier means, for ingest; `external` knows only what persons are called
//! outside, in less room; `alias` says who is one after merges.
//! `attribute`, `custom` and `contact` hold the limits of values; `profile`, `write` and `happened` decide what a
//! write makes of a person and which events tell of it. Nothing here reads or writes a file.

mod alias;
mod attribute;
mod contact;
mod custom;
mod external;
mod format;
mod happened;
mod identifier;
mod index;
mod profile;
mod segment;
mod write;

pub use alias::Aliases;
pub use attribute::ATTRIBUTES;
pub use attribute::Attribute;
pub use attribute::PersonKind;
pub use contact::CONTACTS_OF_A_KIND;
pub use contact::Contact;
pub use custom::CustomAttribute;
pub use custom::CustomAttributes;
pub use custom::CustomType;
pub use external::ExternalIds;
pub use external::Packed;
pub use format::contacts;
pub use happened::Happened;
pub use happened::changes;
pub use identifier::Identifier;
pub use identifier::IdentifierType;
pub use index::Person;
pub use index::PersonRef;
pub use index::Persons;
pub(crate) use index::own_id;
pub use profile::Doc;
pub use profile::Later;
pub use profile::Member;
pub use profile::Profile;
pub use write::Fault;
pub use write::FaultCode;
pub use write::Mode;
pub use write::Owners;
pub use write::PersonWrite;
pub use write::check_tag;
pub use write::decide;
