//! Turns a map file's form into what runs: everything that can be wrong with a map is found here, not at row 1,000,000.

use std::collections::HashSet;

use crate::error::Error;
use crate::error::Result;
use crate::ingest::map::field::Convert;
use crate::ingest::map::field::Field;
use crate::ingest::map::field::Pick;
use crate::ingest::map::field::Piece;
use crate::ingest::map::moment::TimeForm;
use crate::ingest::map::names::is_property_name;
use crate::ingest::map::row::Path;
use crate::ingest::map::spec::CsvSpec;
use crate::ingest::map::spec::FieldSpec;
use crate::ingest::map::spec::FilterSpec;
use crate::ingest::map::spec::Others;
use crate::ingest::map::tree::Node;
use crate::ingest::source::Dialect;
use crate::ingest::source::Separator;
use crate::person::IdentifierType;
use crate::value::ScalarType;

/// A way to identify the person of a row.
#[derive(Debug)]
pub(super) struct PersonField {
    pub(super) field: Field,
    pub(super) kind: IdentifierType,
    pub(super) sender: Option<String>,
}

/// Rows pass when the value at the path is as wanted.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) path: Path,
    pub(super) is: HashSet<String>,
    pub(super) not: HashSet<String>,
    pub(super) present: Option<bool>,
}

const DEFINITION: &[&str] = &["from", "value", "template", "null", "names", "others", "default"];
const PERSON: &[&str] = &["from", "template", "null", "type", "sender"];
const TIME: &[&str] = &["from", "format", "zone"];
const ID: &[&str] = &["from", "template", "hash", "null"];
const SESSION: &[&str] = &["from", "template", "hash", "null"];
const PROPERTY: &[&str] = &[
    "name", "from", "value", "template", "part", "null", "names", "others", "default", "type", "scale",
    "format", "zone", "fields", "for",
];
const LIST_FIELD: &[&str] = &[
    "name", "from", "value", "part", "null", "names", "others", "default", "type", "scale", "format", "zone",
];

pub(super) fn definition(spec: &FieldSpec) -> Result<Field> {
    let mut field = field("event.definition", spec, DEFINITION)?;
    field.name = "definitionId".to_owned();
    Ok(field)
}

pub(super) fn person(key: &str, spec: &FieldSpec) -> Result<PersonField> {
    let Some(kind) = &spec.kind else {
        return Err(Error::invalid(format!("{key}: a type is missing, such as type = \"EXTERNAL_ID\"")));
    };
    let kind: IdentifierType =
        kind.parse().map_err(|error| Error::invalid(format!("{key}.type: {error}")))?;
    if kind.needs_sender() != spec.sender.is_some() {
        let wanted = if kind.needs_sender() { "needs a sender" } else { "takes no sender" };
        return Err(Error::invalid(format!("{key}.sender: an identifier of type {kind} {wanted}")));
    }
    let mut field = field(key, spec, PERSON)?;
    field.name = "identifier".to_owned();
    Ok(PersonField { field, kind, sender: spec.sender.clone() })
}

pub(super) fn time(spec: &FieldSpec) -> Result<Field> {
    let key = "event.time";
    let mut field = field(key, spec, TIME)?;
    field.name = "occurredTime".to_owned();
    field.convert = Convert::Time(TimeForm::new(key, spec.format.as_deref(), spec.zone.as_deref())?);
    Ok(field)
}

pub(super) fn id(spec: &FieldSpec) -> Result<Field> {
    let mut field = field("event.id", spec, ID)?;
    field.name = "eventId".to_owned();
    Ok(field)
}

pub(super) fn session(spec: &FieldSpec) -> Result<Field> {
    let mut field = field("event.session", spec, SESSION)?;
    field.name = "sessionId".to_owned();
    Ok(field)
}

pub(super) fn property(number: usize, spec: &FieldSpec) -> Result<Field> {
    let key = match &spec.name {
        Some(name) => format!("properties.{name}"),
        None => return Err(Error::invalid(format!("properties[{number}]: a name is missing"))),
    };
    field(&key, spec, PROPERTY)
}

pub(super) fn filter(number: usize, spec: FilterSpec) -> Result<Filter> {
    if spec.is.0.is_empty() && spec.not.0.is_empty() && spec.present.is_none() {
        return Err(Error::invalid(format!(
            "where[{number}]: say what \"{}\" must be: is, not or present",
            spec.from
        )));
    }
    Ok(Filter {
        path: Path::new(&spec.from),
        is: spec.is.0.into_iter().collect(),
        not: spec.not.0.into_iter().collect(),
        present: spec.present,
    })
}

pub(super) fn dialect(spec: &CsvSpec) -> Result<Dialect> {
    let one = |key: &str, text: &str| match text.as_bytes() {
        [byte] if byte.is_ascii() && *byte != b'\n' => Ok(*byte),
        _ => Err(Error::invalid(format!("csv.{key}: one ASCII character is wanted, found \"{text}\""))),
    };
    let separator = match spec.delimiter.as_deref() {
        None => Separator::Byte(b','),
        Some("whitespace") => Separator::Whitespace,
        Some(text) => Separator::Byte(one("delimiter", text)?),
    };
    let quote = match (spec.quote.as_deref(), separator) {
        (Some(""), _) | (None, Separator::Whitespace) => None,
        (Some(text), _) => Some(one("quote", text)?),
        (None, Separator::Byte(_)) => Some(b'"'),
    };
    if separator == Separator::Whitespace && quote.is_some() {
        return Err(Error::invalid("csv.quote: columns parted by whitespace have no quotes; leave it out"));
    }
    let header = spec.header.unwrap_or(spec.columns.is_empty());
    if !header && spec.columns.is_empty() {
        return Err(Error::invalid("csv.columns: without a header the columns need names; list them"));
    }
    Ok(Dialect { separator, quote, header })
}

fn field(key: &str, spec: &FieldSpec, allowed: &[&str]) -> Result<Field> {
    if let Some(extra) = spec.given().into_iter().find(|given| !allowed.contains(given)) {
        let list = allowed.join(", ");
        return Err(Error::invalid(format!(
            "{key}.{extra}: this key means nothing here; there may be {list}"
        )));
    }
    let sources = ["from", "value", "template", "hash"];
    let given: Vec<&str> = spec.given().into_iter().filter(|key| sources.contains(key)).collect();
    let name = spec.name.clone().unwrap_or_default();
    let pick = match given.as_slice() {
        ["from"] => Pick::Paths(paths(&spec.from.0)),
        ["hash"] => Pick::Hash(paths(&spec.hash.0)),
        ["value"] => Pick::Constant(constant(key, spec.value.as_ref())?),
        ["template"] => Pick::Template(template(key, spec.template.as_deref().unwrap_or_default())?),
        [] if allowed == LIST_FIELD => Pick::Paths(vec![Path::new(&name)]),
        _ => {
            let choice: Vec<&str> = sources.into_iter().filter(|key| allowed.contains(key)).collect();
            return Err(Error::invalid(format!("{key}: say exactly one of {}", choice.join(", "))));
        }
    };
    if allowed.contains(&"name") && !is_property_name(&name) {
        return Err(Error::invalid(format!(
            "{key}.name: a name has 1 to 128 letters, digits and _ and begins with a lowercase letter or _, found \"{name}\""
        )));
    }
    Ok(Field {
        name,
        pick,
        part: spec.part,
        null: spec.null.0.iter().cloned().collect(),
        names: spec.names.clone().into_iter().collect(),
        others: spec.others.unwrap_or(Others::Keep),
        default: spec.default.clone(),
        convert: convert(key, spec, allowed)?,
        only: spec.only.0.iter().cloned().collect(),
    })
}

fn convert(key: &str, spec: &FieldSpec, allowed: &[&str]) -> Result<Convert> {
    // The type of an identifier is no type of a value.
    let Some(kind) = spec.kind.as_ref().filter(|_| allowed != PERSON) else {
        let dangling = ["scale", "format", "zone", "fields"];
        if let Some(extra) =
            spec.given().into_iter().find(|given| dangling.contains(given) && allowed != TIME)
        {
            return Err(Error::invalid(format!("{key}.{extra}: say the type as well")));
        }
        return Ok(Convert::AsIs);
    };
    let is_list = kind.eq_ignore_ascii_case("list");
    if is_list && allowed == LIST_FIELD {
        return Err(Error::invalid(format!("{key}.type: a list holds no lists")));
    }
    let scalar = if is_list {
        None
    } else {
        Some(kind.parse::<ScalarType>().map_err(|error| Error::invalid(format!("{key}.type: {error}")))?)
    };
    let fitting: &[&str] = match scalar {
        None => &["fields"],
        Some(ScalarType::Numeric | ScalarType::Decimal) => &["scale"],
        Some(ScalarType::DateTime) => &["format", "zone"],
        Some(ScalarType::String | ScalarType::Boolean) => &[],
    };
    let special = ["scale", "format", "zone", "fields"];
    if let Some(extra) =
        spec.given().into_iter().find(|given| special.contains(given) && !fitting.contains(given))
    {
        return Err(Error::invalid(format!("{key}.{extra}: a {kind} takes no {extra}")));
    }
    if spec.scale.is_some_and(|scale| !scale.is_normal()) {
        return Err(Error::invalid(format!("{key}.scale: a number other than zero is wanted")));
    }
    Ok(match scalar {
        Some(ScalarType::String) => Convert::Text,
        Some(ScalarType::Boolean) => Convert::Boolean,
        Some(ScalarType::Numeric) => Convert::Numeric { scale: spec.scale },
        Some(ScalarType::Decimal) => Convert::Decimal { scale: spec.scale },
        Some(ScalarType::DateTime) => {
            Convert::Time(TimeForm::new(key, spec.format.as_deref(), spec.zone.as_deref())?)
        }
        None => {
            let fields = spec.fields.iter().enumerate().map(|(number, inner)| match &inner.name {
                Some(name) => field(&format!("{key}.fields.{name}"), inner, LIST_FIELD),
                None => Err(Error::invalid(format!("{key}.fields[{number}]: a name is missing"))),
            });
            Convert::List(fields.collect::<Result<_>>()?)
        }
    })
}

fn paths(names: &[String]) -> Vec<Path> {
    names.iter().map(|name| Path::new(name)).collect()
}

fn constant(key: &str, value: Option<&toml::Value>) -> Result<Node<'static>> {
    match value {
        Some(toml::Value::String(text)) => Ok(Node::Text(text.clone().into())),
        Some(toml::Value::Boolean(truth)) => Ok(Node::Boolean(*truth)),
        Some(toml::Value::Integer(number)) => Ok(Node::Number(number.to_string().into())),
        Some(toml::Value::Float(number)) if number.is_finite() => Ok(Node::Number(number.to_string().into())),
        _ => Err(Error::invalid(format!("{key}.value: a text, a number, true or false is wanted"))),
    }
}

fn template(key: &str, text: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        let Some((path, behind)) = behind.split_once('}') else {
            return Err(Error::invalid(format!("{key}.template: a {{ is not closed in \"{text}\"")));
        };
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        pieces.push(Piece::Value(Path::new(path)));
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}
