//! The registry as tables: `SHOW EVENTS`, `SHOW TEMPLATES`, `DESCRIBE`.

use std::sync::Arc;

use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;

use crate::engine::answer::Table;
use crate::error::Result;
use crate::schema::Columns;
use crate::schema::Definition;
use crate::schema::PropertyType;
use crate::schema::Rule;
use crate::sql::spelled;

/// One row a definition.
pub(crate) fn definitions<'a>(
    definitions: impl IntoIterator<Item = &'a Arc<Definition>>,
) -> Result<RecordBatch> {
    let all: Vec<_> = definitions.into_iter().collect();
    Table::default()
        .texts("id", all.iter().map(|one| Some(one.id.as_str())))
        .texts("title", all.iter().map(|one| Some(&one.title)))
        .texts("category", all.iter().map(|one| Some(one.category.name())))
        .texts("subcategory", all.iter().map(|one| one.subcategory.as_ref()))
        .flags("enabled", all.iter().map(|one| one.enabled))
        .numbers("properties", all.iter().map(|one| one.properties.len() as u64))
        .batch()
}

/// One row a column of the event's table: how events spell it, its type, and how SQL spells it.
pub(crate) fn columns(definition: &Definition) -> Result<RecordBatch> {
    // Whether it is always there, as a mandatory property is.
    let system = [
        ("eventId", "String", true, "unique over the whole store; made up when none is sent"),
        ("personId", "Numeric", true, "the person, as a number of our own"),
        ("externalPersonId", "String", false, "the person, as your systems know it"),
        ("sessionId", "String", false, "of events from the web"),
        ("occurredTime", "DateTime", true, "when it happened"),
        ("receivedTime", "DateTime", true, "when the store took it"),
        ("day", "Date", true, "the UTC day of occurredTime; prunes files"),
        (
            "seq",
            "Numeric",
            true,
            "a number for each event, rising with the batches in which the store took them",
        ),
    ];
    let columns = Columns::of(definition);
    let own = || definition.properties.iter().zip(columns.properties());
    Table::default()
        .texts(
            "property",
            system.iter().map(|one| Some(one.0)).chain(own().map(|(one, _)| Some(one.name.as_str()))),
        )
        .texts(
            "type",
            system
                .iter()
                .map(|one| Some(one.1.to_owned()))
                .chain(own().map(|(one, _)| Some(type_name(&one.kind)))),
        )
        .flags("required", system.iter().map(|one| one.2).chain(own().map(|(one, _)| one.required)))
        .texts(
            "in_sql",
            system
                .iter()
                .map(|one| Some(one.0.to_owned()))
                .chain(own().map(|(_, column)| Some(spelled(&column.sql)))),
        )
        .texts(
            "note",
            system
                .iter()
                .map(|one| Some(one.3.to_owned()))
                .chain(own().map(|(one, _)| Some(rules(&one.rules)))),
        )
        .batch()
}

fn type_name(kind: &PropertyType) -> String {
    match kind {
        PropertyType::Scalar(kind) => kind.name().to_owned(),
        PropertyType::List(fields) => {
            let fields: Vec<_> = fields.iter().map(|one| format!("{} {}", one.name, one.kind)).collect();
            format!("List ({})", fields.join(", "))
        }
    }
}

fn rules(rules: &[Rule]) -> String {
    let said: Vec<_> = rules
        .iter()
        .map(|rule| match rule {
            Rule::CutAt(characters) => format!("cut at {characters} characters"),
            Rule::StartsWith(start) => format!("starts with \"{start}\""),
            Rule::OneOf(values) => format!("one of {}", values.join(", ")),
            Rule::DayFirst => "also as DD/MM/YYYY HH:MM:ss".to_owned(),
        })
        .collect();
    said.join("; ")
}

/// Whether an id fits a pattern of SQL's `LIKE`; upper and lower case count.
pub(crate) fn is_like(text: &str, pattern: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => text.is_empty(),
        Some('%') => {
            let rest = rest.as_str();
            text.char_indices().any(|(at, _)| is_like(&text[at..], rest)) || is_like("", rest)
        }
        Some(wanted) => {
            let mut letters = text.chars();
            letters.next().is_some_and(|found| wanted == '_' || wanted == found)
                && is_like(letters.as_str(), rest.as_str())
        }
    }
}

/// Our word for the type of a column.
pub(crate) fn type_name_of(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "String".to_owned(),
        DataType::Dictionary(_, value) => type_name_of(value),
        DataType::Boolean => "Boolean".to_owned(),
        DataType::Int64 | DataType::UInt64 => "Numeric".to_owned(),
        DataType::Float64 => "Decimal".to_owned(),
        DataType::Date32 => "Date".to_owned(),
        DataType::Timestamp(_, _) => "DateTime".to_owned(),
        DataType::List(_) => "List".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::BooleanArray;
    use arrow::array::StringArray;

    use super::*;
    use crate::schema::Property;
    use crate::value::ScalarType;

    #[test]
    fn a_description_quotes_no_more_than_sql_needs_and_says_what_is_always_there() {
        let properties = ["title", "select"].map(|name| Property::scalar(name, ScalarType::String)).to_vec();
        let definition = Definition::external("cart".parse().unwrap(), "Cart", properties);
        let batch = columns(&definition).unwrap();
        let texts = |name: &str| -> Vec<String> {
            let column = batch.column_by_name(name).unwrap().as_any().downcast_ref::<StringArray>().unwrap();
            column.iter().map(|text| text.unwrap().to_owned()).collect()
        };
        let required = batch.column_by_name("required").unwrap();
        let required = required.as_any().downcast_ref::<BooleanArray>().unwrap();
        let always: Vec<_> = texts("property")
            .into_iter()
            .zip(required.iter())
            .filter_map(|(name, required)| required.unwrap().then_some(name))
            .collect();
        assert_eq!(always, ["eventId", "personId", "occurredTime", "receivedTime", "day", "seq"]);
        assert_eq!(texts("in_sql")[6..], ["day", "seq", "title", "\"select\""]);
        assert_eq!(texts("note")[9], "");
    }

    #[test]
    fn like_has_its_two_wildcards() {
        assert!(is_like("emailOpened", "email%"));
        assert!(is_like("emailOpened", "%Open%"));
        assert!(is_like("sms", "s_s"));
        assert!(is_like("", "%"));
        assert!(!is_like("emailOpened", "Email%"));
        assert!(!is_like("sms", "s_"));
    }
}
