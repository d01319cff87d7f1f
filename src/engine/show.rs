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
    let system = [
        ("eventId", "String", "unique over the whole store"),
        ("personId", "Numeric", "the person, as a number of our own"),
        ("externalPersonId", "String", "the person, as your systems know it"),
        ("sessionId", "String", "of events from the web"),
        ("occurredTime", "DateTime", "when it happened"),
        ("receivedTime", "DateTime", "when the store took it"),
        ("day", "Date", "the UTC day of occurredTime; prunes files"),
        ("seq", "Numeric", "the order in which the store took events"),
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
        .flags("required", system.iter().map(|_| false).chain(own().map(|(one, _)| one.required)))
        .texts(
            "in_sql",
            system
                .iter()
                .map(|one| Some(one.0.to_owned()))
                .chain(own().map(|(_, column)| Some(quoted(&column.sql)))),
        )
        .texts(
            "note",
            system.iter().map(|one| Some(one.2.to_owned())).chain(own().map(|(one, _)| rules(&one.rules))),
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

fn rules(rules: &[Rule]) -> Option<String> {
    let said: Vec<_> = rules
        .iter()
        .map(|rule| match rule {
            Rule::CutAt(characters) => format!("cut at {characters} characters"),
            Rule::StartsWith(start) => format!("starts with \"{start}\""),
            Rule::OneOf(values) => format!("one of {}", values.join(", ")),
            Rule::DayFirst => "also as DD/MM/YYYY HH:MM:ss".to_owned(),
        })
        .collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// A name as SQL needs it: quoted when it is not a plain word, or is one that SQL means something by.
pub(crate) fn quoted(name: &str) -> String {
    let plain = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let keyword = datafusion::sql::sqlparser::keywords::ALL_KEYWORDS
        .binary_search(&name.to_ascii_uppercase().as_str())
        .is_ok();
    if plain && !keyword { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
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
    use super::*;

    #[test]
    fn names_are_quoted_where_sql_needs_it() {
        assert_eq!(quoted("venueId"), "venueId");
        assert_eq!(quoted("select"), "\"select\"");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(quoted("group by"), "\"group by\"");
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
