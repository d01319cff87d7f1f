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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::schema::PropertyType;
    use crate::schema::Registry;
    use crate::schema::Rule;
    use crate::schema::evolve;
    use crate::schema::evolve::NameRule;
    use crate::value::ScalarType;

    #[test]
    fn every_definition_is_within_the_limits_and_no_id_is_there_twice() {
        let mut ids = HashSet::new();
        for one in definitions().unwrap() {
            assert!(ids.insert(one.id.as_str().to_lowercase()), "{} is there twice", one.id);
            evolve::check(&one).unwrap();
            evolve::check_names(&one.id, &one.properties, NameRule::Strict).unwrap();
            assert_eq!(one.enabled, one.category == Category::Channel, "{}", one.id);
        }
    }

    fn ids(of: &str) -> String {
        let all = definitions().unwrap();
        let family = all.iter().filter(|one| one.subcategory.as_deref().unwrap_or(one.category.name()) == of);
        family.map(|one| one.id.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_family_has_its_events() {
        assert_eq!(
            ids("template"),
            "itemViewed itemPurchased ratingAdded addedToCart addedToFavourites viewPortionSet"
        );
        let person = ids("person");
        for group in [
            "sessionStarted pageView sessionEnded personCreated personMerged",
            "nameChanged locationChanged birthDateChanged genderChanged customAttributeChanged tagAdded tagRemoved",
            "emailAdded emailChanged emailDeleted phoneAdded phoneChanged phoneDeleted",
            "pushAdded pushChanged pushDeleted facebookAdded facebookChanged facebookDeleted contactInformationChanged",
        ] {
            assert!(person.contains(group), "{group} in {person}");
        }
        assert_eq!(
            ids("email"),
            "emailSent emailDelivered emailOpened emailLinkClicked emailUnsubscribed emailComplained"
        );
        assert_eq!(ids("push"), "pushSent pushDelivered pushOpened");
        assert_eq!(ids("inapp"), "inAppSent inAppDelivered inAppSeen inAppClicked");
        assert_eq!(ids("sms"), "smsSent smsDelivered smsLinkClicked");
        assert_eq!(ids("mms"), "mmsSent mmsDelivered");
        assert_eq!(ids("whatsapp"), "whatsappSent whatsappDelivered whatsappOpened whatsappLinkClicked");
        assert_eq!(ids("viber"), "viberSent viberDelivered viberOpened viberLinkClicked");
        assert_eq!(ids("facebook"), "facebookSent facebookDelivered facebookOpened facebookLinkClicked");
        assert_eq!(ids("line"), "lineSent lineLinkClicked");
        assert_eq!(
            ids("mobileapp"),
            "appPersonalized appDepersonalized appInstalled appUninstalled appLaunched"
        );
        assert_eq!(ids("voice").split(' ').count(), 11);
        assert_eq!(ids("moments"), "personEnteredFlow personExitedFlow");
        assert_eq!(ids("answers"), "answersSessionStarted answersSessionEnded answersSessionStartFailed");
        assert_eq!(ids("conversations"), "conversationCreated conversationClosed");
        assert_eq!(ids("forms"), "formSubmitted");
    }

    #[test]
    fn the_item_of_a_template_is_an_exact_number_and_every_other_number_a_decimal() {
        let registry = Registry::standard().unwrap();
        for template in registry.templates() {
            for property in &template.properties {
                let is_item = property.name == "itemID";
                assert_eq!(property.required, is_item, "{}.{}", template.id, property.name);
                assert_eq!(property.kind == PropertyType::Scalar(ScalarType::Numeric), is_item);
            }
            assert!(template.property("itemID").is_some(), "{}", template.id);
        }
    }

    #[test]
    fn a_page_view_is_spelled_and_ruled_as_the_interface_says() {
        let registry = Registry::standard().unwrap();
        let view = registry.get("pageView").unwrap();
        let names: Vec<_> = view.properties.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(
            names.join(" "),
            "pageTitle url domain path deviceType timestamp browserName browserVersion browserOS referrer browserLanguage websiteLanguage"
        );
        assert_eq!(view.property("url").unwrap().rules, [Rule::CutAt(1500)]);
        assert_eq!(view.property("path").unwrap().rules, [Rule::StartsWith("/".to_owned())]);
        let devices =
            ["unknown", "mobile", "tablet", "desktop", "spider", "TV", "console"].map(str::to_owned);
        assert_eq!(view.property("deviceType").unwrap().rules, [Rule::OneOf(devices.to_vec())]);
        assert_eq!(view.property("timestamp").unwrap().kind, PropertyType::Scalar(ScalarType::DateTime));
    }

    #[test]
    fn a_web_session_without_utm_is_direct_and_its_times_may_be_written_day_first() {
        let registry = Registry::standard().unwrap();
        let started = registry.get("sessionStarted").unwrap();
        let [default] = started.defaults.as_slice() else { panic!("one default") };
        assert_eq!((default.property.as_str(), default.value.as_str()), ("utm_source", "direct"));
        assert_eq!(default.when, ("sessionType".to_owned(), "Web".to_owned()));
        assert_eq!(default.unless.len(), 5);
        for name in &default.unless {
            assert!(started.property(name).is_some(), "{name}");
        }
        let ended = registry.get("sessionEnded").unwrap();
        assert_eq!(started.property("sessionStart").unwrap().rules, [Rule::DayFirst]);
        assert_eq!(ended.property("sessionEnd").unwrap().rules, [Rule::DayFirst]);
    }
}
