//! What DataFusion says went wrong, in our words: whose fault, where in the text, and the cure.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::DataFusionError;
use datafusion::common::SchemaError;
use datafusion::sql::sqlparser::parser::ParserError;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Place;
use crate::error::did_you_mean;
use crate::query::wording::plain;

/// The names that a mistyped one may have meant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) tables: Vec<String>,
    pub(crate) functions: Vec<String>,
}

/// Turns an error of planning or running into ours. `known` is only asked for when a name was not found.
pub(crate) fn translate(error: DataFusionError, known: impl FnOnce() -> Known) -> Error {
    let place = error
        .diagnostic()
        .and_then(|diagnostic| diagnostic.span)
        .map(|span| Place { line: span.start.line, column: span.start.column });
    let translated = explain(error, known);
    match (place, translated.place()) {
        (Some(place), None) => translated.at(place),
        _ => translated,
    }
}

fn explain(error: DataFusionError, known: impl FnOnce() -> Known) -> Error {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => explain(*inner, known),
        DataFusionError::Collection(errors) => match errors.into_iter().next() {
            Some(first) => translate(first, known),
            None => Error::internal("the query failed and did not say why"),
        },
        DataFusionError::Shared(shared) => match Arc::try_unwrap(shared) {
            Ok(alone) => explain(alone, known),
            Err(shared) => of_held(shared.find_root()),
        },
        DataFusionError::External(cause) => match cause.downcast::<Error>() {
            Ok(own) => *own,
            Err(cause) => match cause.downcast::<DataFusionError>() {
                Ok(inner) => explain(*inner, known),
                Err(cause) => match pattern_fault(&cause.to_string()) {
                    Some(fault) => fault,
                    None => Error::internal("the query failed").with_source(cause),
                },
            },
        },
        DataFusionError::ArrowError(arrow, _) => match *arrow {
            arrow::error::ArrowError::ExternalError(cause) => {
                explain(DataFusionError::External(cause), known)
            }
            other => Error::invalid(plain(&other.to_string())),
        },
        DataFusionError::SQL(parser, _) => unreadable(*parser),
        DataFusionError::SchemaError(schema, _) => misnamed(*schema),
        DataFusionError::Plan(text) => not_planned(&text, known),
        DataFusionError::ResourcesExhausted(text) => exhausted(&text),
        DataFusionError::ObjectStore(cause) => {
            Error::unavailable("a file of the lake could not be read").with_source(*cause)
        }
        DataFusionError::ParquetError(cause) => {
            Error::internal("a file of the lake is damaged").with_source(*cause)
        }
        DataFusionError::IoError(cause) => {
            Error::unavailable("the disk did not do what the query needed").with_source(cause)
        }
        other => {
            let kind = kind_of(&other);
            Error::new(kind, plain(&other.strip_backtrace()))
        }
    }
}

/// The same of an error that others hold, too.
fn of_held(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::ResourcesExhausted(text) => exhausted(text),
        DataFusionError::External(cause) => match cause.downcast_ref::<Error>() {
            Some(own) => {
                let same = Error::new(own.kind(), own.message());
                match own.place() {
                    Some(place) => same.at(place),
                    None => same,
                }
            }
            None => Error::internal(format!("the query failed: {cause}")),
        },
        other => Error::new(kind_of(other), plain(&other.strip_backtrace())),
    }
}

/// A regular expression that cannot be read; its error is not of a type that we could name.
fn pattern_fault(text: &str) -> Option<Error> {
    let rest = text.strip_prefix("regex parse error:")?;
    let fault = rest.rsplit_once("error: ").map_or(rest, |(_, fault)| fault);
    Some(Error::invalid(format!("the pattern is no regular expression: {}", fault.trim())))
}

fn kind_of(error: &DataFusionError) -> Kind {
    match error {
        DataFusionError::ResourcesExhausted(_) => Kind::Exhausted,
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => Kind::Unavailable,
        // What DataFusion calls a fault of its own although the statement is at fault.
        DataFusionError::Internal(text) if text.starts_with("Failed to coerce types ") => Kind::Invalid,
        DataFusionError::Internal(_)
        | DataFusionError::ExecutionJoin(_)
        | DataFusionError::ParquetError(_)
        | DataFusionError::External(_) => Kind::Internal,
        _ => Kind::Invalid,
    }
}

/// A syntax error; the parser writes the place at the end of its message.
fn unreadable(error: ParserError) -> Error {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
        ParserError::RecursionLimitExceeded => {
            return Error::invalid("the statement is nested too deeply");
        }
    };
    let ours = |text: &str| {
        let text = text.replace("Expected: ", "expected ").replace(", found: ", ", found ");
        plain(&text.replace(", found EOF", ", found the end of the statement"))
    };
    let Some((message, place)) = text.rsplit_once(" at Line: ") else {
        return Error::invalid(ours(&text));
    };
    let place = place.split_once(", Column: ").and_then(|(line, column)| {
        Some(Place { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
    });
    let message = ours(message);
    match place {
        Some(place) => Error::invalid(message).at(place),
        None => Error::invalid(message),
    }
}

fn misnamed(error: SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let names = valid_fields.iter().map(|one| one.name.as_str());
            let of_table = |one: &&Column| match (&one.relation, &field.relation) {
                (Some(have), Some(want)) => have.table() == want.table(),
                _ => false,
            };
            let table = match &field.relation {
                Some(table) if valid_fields.iter().any(|one| of_table(&one)) => {
                    format!(" in \"{}\"", table.table())
                }
                Some(table) => {
                    return Error::not_found(format!(
                        "no table of the query is called \"{}\"",
                        table.table()
                    ));
                }
                None => String::new(),
            };
            let same = names.clone().find(|name| name.eq_ignore_ascii_case(&field.name));
            let hint = match same {
                Some(name) => format!("; names keep their case: did you mean \"{name}\"?"),
                None => did_you_mean(&field.name, names),
            };
            Error::not_found(format!("no column{table} is called \"{}\"{hint}", field.name))
        }
        SchemaError::AmbiguousReference { field } => Error::invalid(format!(
            "\"{}\" is a column of several tables here; write the table before it, as in table.{}",
            field.name, field.name
        )),
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => {
            Error::invalid(format!("two columns of the answer are called \"{name}\"; rename one with AS"))
        }
    }
}

fn not_planned(text: &str, known: impl FnOnce() -> Known) -> Error {
    let quoted = |text: &str| text.split('\'').nth(1).map(str::to_owned);
    let text = text.split("\n\nbacktrace").next().unwrap_or(text);
    if text.starts_with("table '") && text.ends_with("not found") {
        let full = quoted(text).unwrap_or_default();
        let name = full.strip_prefix("milepost.").unwrap_or(&full);
        let name = name.strip_prefix("main.").unwrap_or(name);
        let hint = did_you_mean(name, known().tables.iter().map(String::as_str));
        return Error::not_found(format!("no table is called \"{name}\"{hint}"));
    }
    if text.starts_with("Invalid function '") {
        let name = quoted(text).unwrap_or_default();
        let functions = known().functions;
        if functions.iter().any(|one| one.eq_ignore_ascii_case(&name)) {
            // It is not taken for an aggregate or a scalar function, so it is one of windows.
            return Error::invalid(format!("{name} needs a window: write {name}(…) OVER (ORDER BY …)"));
        }
        let hint = did_you_mean(&name, functions.iter().map(String::as_str));
        return Error::not_found(format!("no function is called \"{name}\"{hint}"));
    }
    Error::invalid(plain(text))
}

fn exhausted(text: &str) -> Error {
    let operator = text
        .split_once("Additional allocation failed for ")
        .and_then(|(_, rest)| rest.split_once(" with top"))
        .or_else(|| text.split_once(" for ").and_then(|(_, rest)| rest.split_once(" with ")))
        .map(|(name, _)| format!(" in {name}"))
        .unwrap_or_default();
    Error::new(
        Kind::Exhausted,
        format!(
            "resources exhausted{operator}: the query needs more memory than it may have; give it more with --memory, \
             or ask for fewer rows or groups"
        ),
    )
    .with_source(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_ours_stays_what_it_is_when_two_hold_it() {
        let own = Error::conflict("somebody was first").at(Place { line: 2, column: 3 });
        let shared = Arc::new(DataFusionError::External(Box::new(own)));
        for held in [Some(Arc::clone(&shared)), None] {
            let told = match held {
                Some(held) => translate(DataFusionError::Shared(held), Known::default),
                None => {
                    translate(DataFusionError::Shared(Arc::clone(&shared)).context("twice"), Known::default)
                }
            };
            assert_eq!((told.kind(), told.message()), (Kind::Conflict, "somebody was first"));
            assert_eq!(told.place(), Some(Place { line: 2, column: 3 }));
        }
        let alone = translate(DataFusionError::Shared(shared), Known::default);
        assert_eq!((alone.kind(), alone.message()), (Kind::Conflict, "somebody was first"));
    }
}
