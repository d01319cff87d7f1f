//! Writes one mapped row as a canonical JSON line.

use std::borrow::Cow;

use glob::Pattern;

use crate::error::Context;
use crate::error::Kind;
use crate::error::Result;
use crate::ids::DefinitionId;
use crate::ingest::map::Mapping;
use crate::ingest::map::compile::Filter;
use crate::ingest::map::compile::PersonField;
use crate::ingest::map::field::Problem;
use crate::ingest::map::field::shorten;
use crate::ingest::map::log;
use crate::ingest::map::names::camel_property;
use crate::ingest::map::names::is_property_name;
use crate::ingest::map::row::Columns;
use crate::ingest::map::row::Path;
use crate::ingest::map::row::Row;
use crate::ingest::map::row::entries;
use crate::ingest::map::row::json_text;
use crate::ingest::map::spec::Format;
use crate::ingest::map::spec::Nested;
use crate::ingest::map::spec::RestNames;
use crate::ingest::map::spec::RestSpec;
use crate::ingest::map::tree::Node;
use crate::ingest::map::tree::write_text;
use crate::person::IdentifierType;

/// What came of a row that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Event,
    /// There was nothing in it.
    Blank,
    /// A filter, or a definition that the map skips.
    LeftOut,
}

/// Why a row became no event, and the row as it is to be kept.
pub(super) type Unmapped = Box<(Problem, Vec<u8>)>;

/// Properties from everything that the map does not name.
#[derive(Debug)]
pub(super) struct Rest {
    from: Option<Path>,
    names: RestNames,
    except: Vec<Pattern>,
    nested: Nested,
    /// Keys that the map reads elsewhere.
    named: Vec<String>,
}

impl Rest {
    pub(super) fn new(spec: RestSpec, paths: &[Path]) -> Result<Self> {
        let from = spec.from.as_deref().map(Path::new);
        let pattern = |text: &String| {
            Pattern::new(text)
                .context(Kind::Invalid, || format!("rest.except: \"{text}\" is no pattern of names"))
        };
        Ok(Self {
            names: spec.names.unwrap_or(RestNames::Camel),
            except: spec.except.0.iter().map(pattern).collect::<Result<_>>()?,
            nested: spec.nested.unwrap_or(Nested::Text),
            named: paths.iter().filter_map(|path| path.below(from.as_ref())).map(str::to_owned).collect(),
            from,
        })
    }

    fn takes(&self, key: &str) -> bool {
        let named = |path: &String| {
            path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        !self.named.iter().any(named) && !self.except.iter().any(|pattern| pattern.matches(key))
    }
}

impl Filter {
    fn passes(&self, row: &Row<'_>) -> bool {
        let node = row.find(&self.path);
        let text = node.as_ref().and_then(|node| node.plain());
        let text = text.as_deref().unwrap_or_default();
        (self.is.is_empty() || self.is.contains(text))
            && !self.not.contains(text)
            && self.present.is_none_or(|present| present != text.is_empty())
    }
}

impl Mapping {
    /// Appends the event that `record` is, without a line end; the error carries the row as it is to be kept.
    pub(super) fn outcome(
        &self,
        record: &[u8],
        columns: Option<&Columns>,
        out: &mut Vec<u8>,
    ) -> Result<Outcome, Unmapped> {
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        let record = record.strip_suffix(b"\r").unwrap_or(record);
        if record.trim_ascii().is_empty() {
            return Ok(Outcome::Blank);
        }
        let kept = |problem| Box::new((problem, record.to_vec()));
        let text = std::str::from_utf8(record).map_err(|error| {
            kept(Problem::new(
                "unmapped_text",
                format!("byte {} of the row is not UTF-8", error.valid_up_to() + 1),
            ))
        })?;
        let unread = |code, expected: &str, reason: String| {
            kept(Problem {
                expected: Some(expected.to_owned()),
                found: Some(shorten(text)),
                ..Problem::new(code, reason)
            })
        };
        if self.format == Format::Json {
            let node =
                Node::parse(text).map_err(|reason| unread("unmapped_json", "a JSON object", reason))?;
            if !matches!(node, Node::Object(_)) {
                return Err(unread(
                    "unmapped_json",
                    "a JSON object",
                    "the row is JSON, but no object".to_owned(),
                ));
            }
            return self.event(&Row::Object(&node), out).map_err(kept);
        }
        let fields = match self.dialect {
            Some(dialect) => dialect.fields(text),
            None => log::fields(text).map_err(|reason| {
                unread(
                    "unmapped_line",
                    "a line of an access log",
                    format!("no line of an access log: {reason}"),
                )
            })?,
        };
        let Some(columns) = columns.filter(|columns| columns.names.len() == fields.len()) else {
            let wanted = columns.map_or(0, |columns| columns.names.len());
            let expected = format!("{wanted} columns");
            return Err(unread(
                "unmapped_columns",
                &expected,
                format!("the row has {} columns, expected {wanted}", fields.len()),
            ));
        };
        let row = Row::Record { columns, fields: &fields };
        self.event(&row, out).map_err(|problem| {
            let raw = if self.format == Format::Csv { as_object(columns, &fields) } else { record.to_vec() };
            Box::new((problem, raw))
        })
    }

    /// Appends the event that a row is.
    pub(super) fn event(&self, row: &Row<'_>, out: &mut Vec<u8>) -> Result<Outcome, Problem> {
        if !self.filters.iter().all(|filter| filter.passes(row)) {
            return Ok(Outcome::LeftOut);
        }
        let Some(definition) = self.definition_id(row)? else { return Ok(Outcome::LeftOut) };
        out.extend_from_slice(b"{\"definitionId\":");
        write_text(&definition, out);
        if let Some(id) = self.id.as_ref().map(|id| id.text(row)).transpose()?.flatten() {
            out.extend_from_slice(b",\"eventId\":");
            write_text(&id, out);
        }
        self.write_person(row, out)?;
        let Some(time) = self.time.text(row)? else {
            return Err(Problem::new("unmapped_time", "the row has no time where the map looks for it"));
        };
        out.extend_from_slice(b",\"occurredTime\":");
        write_text(&time, out);
        if let Some(session) = self.session.as_ref().map(|session| session.text(row)).transpose()?.flatten() {
            out.extend_from_slice(b",\"sessionId\":");
            write_text(&session, out);
        }
        out.extend_from_slice(b",\"properties\":{");
        self.write_properties(&definition, row, out)?;
        out.extend_from_slice(b"}}");
        Ok(Outcome::Event)
    }

    fn definition_id(&self, row: &Row<'_>) -> Result<Option<String>, Problem> {
        let given = self.definition.value(row)?;
        let Some(id) = given.and_then(|node| node.plain().map(Cow::into_owned)) else {
            // A value that the map skips is as good as left out, but a row that names no event is not.
            let named = self.definition.has_source(row);
            return if named {
                Ok(None)
            } else {
                Err(Problem::new("unmapped_definition", "the row names no event where the map looks for it"))
            };
        };
        match id.parse::<DefinitionId>() {
            Ok(_) => Ok(Some(id)),
            Err(error) => {
                let message = format!(
                    "{error}; name it under event.definition.names in the map, or say others = \"camel\""
                );
                Err(Problem::new("unmapped_definition", message).of(
                    "definitionId",
                    "letters and digits",
                    &id,
                ))
            }
        }
    }

    fn write_person(&self, row: &Row<'_>, out: &mut Vec<u8>) -> Result<(), Problem> {
        for PersonField { field, kind, sender } in &self.persons {
            let Some(id) = field.text(row)? else { continue };
            if *kind == IdentifierType::Id {
                out.extend_from_slice(b",\"personId\":");
                write_text(&id, out);
                return Ok(());
            }
            out.extend_from_slice(b",\"identifier\":{\"id\":");
            write_text(&id, out);
            out.extend_from_slice(b",\"type\":");
            write_text(kind.name(), out);
            if let Some(sender) = sender {
                out.extend_from_slice(b",\"sender\":");
                write_text(sender, out);
            }
            out.push(b'}');
            return Ok(());
        }
        Err(Problem::new("unmapped_person", "the row has none of the identifiers that the map looks for"))
    }

    fn write_properties(&self, definition: &str, row: &Row<'_>, out: &mut Vec<u8>) -> Result<(), Problem> {
        let mut written: Vec<Cow<'_, str>> = Vec::new();
        for property in &self.properties {
            if !property.only.is_empty() && !property.only.contains(definition) {
                continue;
            }
            if let Some(value) = property.value(row)? {
                if !written.is_empty() {
                    out.push(b',');
                }
                written.push(Cow::Borrowed(&property.name));
                write_text(&property.name, out);
                out.push(b':');
                value.write(out);
            }
        }
        let Some(rest) = &self.rest else { return Ok(()) };
        let root = match &rest.from {
            Some(path) => match row.find(path) {
                Some(root) => Some(root),
                None => return Ok(()),
            },
            None => None,
        };
        let parsed = match root.as_deref() {
            Some(Node::Text(text)) => json_text(text),
            _ => None,
        };
        let given = match (&parsed, root.as_deref()) {
            (Some(node), _) | (None, Some(node)) => entries(node),
            (None, None) => row.entries(),
        };
        for (key, node) in given.into_iter().filter(|(key, _)| rest.takes(key)) {
            let nested = matches!(*node, Node::List(_) | Node::Object(_));
            if nested && rest.nested == Nested::Skip {
                continue;
            }
            if nested && rest.nested == Nested::Refuse {
                let message = format!(
                    "\"{key}\" is no single value; describe it under properties, or say nested = \"text\" under rest"
                );
                let found = node.plain().unwrap_or_default();
                return Err(Problem::new("unmapped_value", message).of(key, "a single value", &found));
            }
            let name: Cow<'_, str> = match rest.names {
                RestNames::Keep => Cow::Borrowed(key),
                RestNames::Camel => Cow::Owned(camel_property(key)),
            };
            if !is_property_name(&name) || written.iter().any(|other| other.eq_ignore_ascii_case(&name)) {
                let why =
                    if is_property_name(&name) { "is there already" } else { "is no name for a property" };
                let message = format!(
                    "\"{key}\" would become \"{name}\", which {why}; name it under properties, or leave it out with rest.except"
                );
                return Err(Problem::new("unmapped_name", message).of(key, "a name of its own", &name));
            }
            if !written.is_empty() {
                out.push(b',');
            }
            write_text(&name, out);
            out.push(b':');
            match node.plain() {
                Some(text) if nested && rest.nested == Nested::Text => write_text(&text, out),
                _ => node.write(out),
            }
            written.push(Cow::Owned(name.into_owned()));
        }
        Ok(())
    }
}

/// A record with the names of its columns.
fn as_object(columns: &Columns, fields: &[Cow<'_, str>]) -> Vec<u8> {
    let mut out = Vec::new();
    let named = columns.names.iter().zip(fields);
    let entries =
        named.map(|(name, field)| (Cow::Borrowed(name.as_str()), Node::Text(Cow::Borrowed(field.as_ref()))));
    Node::Object(entries.collect()).write(&mut out);
    out
}
