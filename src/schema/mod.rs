//! What an event may look like: definitions, their properties, and the columns they become.

mod batch;
mod columns;
mod definition;
pub mod evolve;
mod format;
mod registry;
mod standard;
mod stored;

pub use batch::EventBatch;
pub use columns::Column;
pub use columns::Columns;
pub use columns::DAY;
pub use columns::EVENT_ID;
pub use columns::EXTERNAL_PERSON_ID;
pub use columns::OCCURRED_TIME;
pub use columns::PERSON_ID;
pub use columns::RECEIVED_TIME;
pub use columns::SEQ;
pub use columns::SESSION_ID;
pub use columns::SYSTEM_COLUMNS;
pub use definition::Category;
pub use definition::DefaultValue;
pub use definition::Definition;
pub use definition::Field;
pub use definition::Property;
pub use definition::PropertyType;
pub use definition::Rule;
pub use evolve::Change;
pub use evolve::NameRule;
pub use format::DefinitionRequest;
pub use format::to_request;
pub use format::to_response;
pub use registry::Registry;
pub use registry::StoredRow;
pub use stored::from_stored;
pub use stored::to_stored;
