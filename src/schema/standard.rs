//! What everybody has from the start: the templates and the standard events, read from data files in the crate.
//!
//! There is one file a family in `src/schema/standard/`, so that a family can be replaced without reading the others:
//!
//! ```json
//! {
//!   "category": "channel",
//!   "subcategory": "email",
//!   "events": [
//!     {
//!       "id": "emailOpened",
//!       "title": "Email opened",
//!       "description": "A person opened an email",
//!       "properties": [{"name": "browserName", "type": "String"}]
//!     }
//!   ],
//!   "shared": [{"name": "campaignName", "type": "String"}]
//! }
//! ```
//!
//! `category` is `template`, `person`, `channel` or `product`; channel events are on from the start. `shared` follows
//! the properties of every event. A property may have `"required": true`, `"rules"` and, for a List, `"fields"`; an
//! event may have `"defaults"`: see `stored.rs`.

use serde::Deserialize;

use crate::error::Context;
use crate::error::Result;
use crate::schema::Category;
use crate::schema::DefaultValue;
use crate::schema::Definition;
use crate::schema::Property;
use crate::schema::stored::StoredCategory;
use crate::schema::stored::StoredDefault;
use crate::schema::stored::StoredProperty;

const FAMILIES: [&str; 19] = [
    include_str!("standard/templates.json"),
    include_str!("standard/person_activity.json"),
    include_str!("standard/person_attributes.json"),
    include_str!("standard/person_contacts.json"),
    include_str!("standard/email.json"),
    include_str!("standard/push.json"),
    include_str!("standard/inapp.json"),
    include_str!("standard/sms.json"),
    include_str!("standard/mms.json"),
    include_str!("standard/whatsapp.json"),
    include_str!("standard/viber.json"),
    include_str!("standard/messenger.json"),
    include_str!("standard/line.json"),
    include_str!("standard/mobileapp.json"),
    include_str!("standard/voice.json"),
    include_str!("standard/moments.json"),
    include_str!("standard/answers.json"),
    include_str!("standard/conversations.json"),
    include_str!("standard/forms.json"),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Family {
    category: StoredCategory,
    subcategory: Option<String>,
    events: Vec<Event>,
    #[serde(default)]
    shared: Vec<StoredProperty>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    id: String,
    title: String,
    description: String,
    properties: Vec<StoredProperty>,
    #[serde(default)]
    defaults: Vec<StoredDefault>,
}

/// All templates and standard events.
pub(crate) fn definitions() -> Result<Vec<Definition>> {
    let mut all = Vec::new();
    for text in FAMILIES {
        read_family(text, &mut all)?;
    }
    Ok(all)
}

fn read_family(text: &str, all: &mut Vec<Definition>) -> Result<()> {
    let family: Family = serde_json::from_str(text)
        .internal(|| "a file of standard events is not as it should be".to_owned())?;
    let category = Category::from(family.category);
    for event in family.events {
        let properties = event.properties.into_iter().chain(family.shared.iter().cloned());
        all.push(Definition {
            id: event.id.parse()?,
            title: event.title,
            description: event.description,
            category,
            subcategory: family.subcategory.clone(),
            template: None,
            enabled: category == Category::Channel,
            properties: properties.map(Property::try_from).collect::<Result<_>>()?,
            defaults: event.defaults.into_iter().map(DefaultValue::from).collect(),
        });
    }
    Ok(())
}

/// A standard definition of the store as this version knows it: the columns that there are stay, new ones follow.
pub(crate) fn renewed(kept: &Definition, known: Definition) -> Definition {
    let mut properties = Vec::with_capacity(known.properties.len());
    for old in &kept.properties {
        let same = known.property(&old.name).filter(|new| new.kind == old.kind);
        properties.push(same.unwrap_or(old).clone());
    }
    let is_new = |new: &Property| !kept.properties.iter().any(|old| old.name.eq_ignore_ascii_case(&new.name));
    properties.extend(known.properties.iter().filter(|new| is_new(new)).cloned());
    Definition { enabled: kept.enabled, properties, ..known }
}
