//! One value of the event to be: picked from the row, translated, and brought to its type.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::HashSet;

use url::Url;
use xxhash_rust::xxh3::Xxh3Default;

use crate::ingest::map::moment::TimeForm;
use crate::ingest::map::names::camel;
use crate::ingest::map::row::Path;
use crate::ingest::map::row::Row;
use crate::ingest::map::row::json_text;
use crate::ingest::map::spec::Others;
use crate::ingest::map::spec::Part;
use crate::ingest::map::tree::Node;

/// Where one value comes from and what becomes of it; compiled from a `FieldSpec`.
#[derive(Debug)]
pub(super) struct Field {
    /// The property or key that it becomes.
    pub(super) name: String,
    pub(super) pick: Pick,
    pub(super) part: Option<Part>,
    /// Texts that mean "no value".
    pub(super) null: HashSet<String>,
    pub(super) names: HashMap<String, String>,
    pub(super) others: Others,
    pub(super) default: Option<String>,
    pub(super) convert: Convert,
    /// The definitions that have this property; all when empty.
    pub(super) only: HashSet<String>,
}

/// Where a value comes from.
#[derive(Debug)]
pub(super) enum Pick {
    /// The first of these that has a value.
    Paths(Vec<Path>),
    Constant(Node<'static>),
    /// Texts and the values between them; no value when one of them has none.
    Template(Vec<Piece>),
    /// 32 hexadecimal digits that follow from the values.
    Hash(Vec<Path>),
}

#[derive(Debug)]
pub(super) enum Piece {
    Text(String),
    Value(Path),
}

/// What type a value is brought to.
#[derive(Debug)]
pub(super) enum Convert {
    AsIs,
    Text,
    Boolean,
    /// An integer.
    Numeric {
        scale: Option<f64>,
    },
    Decimal {
        scale: Option<f64>,
    },
    Time(TimeForm),
    List(Vec<Field>),
}

/// Why a value could not be made.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) code: &'static str,
    pub(super) property: Option<String>,
    pub(super) expected: Option<String>,
    pub(super) found: Option<String>,
    pub(super) message: String,
}

impl Problem {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, property: None, expected: None, found: None, message: message.into() }
    }

    pub(super) fn of(mut self, property: &str, expected: impl Into<String>, found: &str) -> Self {
        self.property = Some(property.to_owned());
        self.expected = Some(expected.into());
        self.found = Some(shorten(found));
        self
    }
}

/// So much of a value that a message stays readable.
pub(super) fn shorten(text: &str) -> String {
    const CHARS: usize = 80;
    if text.chars().count() <= CHARS {
        text.to_owned()
    } else {
        format!("{}…", text.chars().take(CHARS).collect::<String>())
    }
}

impl Field {
    /// The value for this row; `None` when there is none.
    pub(super) fn value<'r>(&self, row: &Row<'r>) -> Result<Option<Cow<'r, Node<'r>>>, Problem> {
        let mut value = self.picked(row);
        if let (Some(part), Some(text)) = (self.part, value.as_ref().and_then(|node| node.plain())) {
            value = part_of(&text, part).map(|text| Cow::Owned(Node::Text(Cow::Owned(text))));
        }
        if !self.null.is_empty() {
            value = value.filter(|node| node.plain().is_some_and(|text| !self.null.contains(text.as_ref())));
        }
        if (!self.names.is_empty() || self.others != Others::Keep)
            && let Some(node) = value
        {
            value = self.renamed(node)?;
        }
        let value = match (value, &self.default) {
            (Some(node), _) => node,
            (None, Some(text)) => Cow::Owned(Node::Text(Cow::Owned(text.clone()))),
            (None, None) => return Ok(None),
        };
        self.convert(value)
    }

    /// The value as a text that is not empty.
    pub(super) fn text(&self, row: &Row<'_>) -> Result<Option<String>, Problem> {
        let value = self.value(row)?;
        Ok(value
            .and_then(|node| node.plain().map(|text| text.trim().to_owned()))
            .filter(|text| !text.is_empty()))
    }

    /// Whether the row has anything where the value comes from.
    pub(super) fn has_source(&self, row: &Row<'_>) -> bool {
        self.picked(row).and_then(|node| node.plain().map(|text| !text.is_empty())).unwrap_or(false)
    }

    fn picked<'r>(&self, row: &Row<'r>) -> Option<Cow<'r, Node<'r>>> {
        match &self.pick {
            Pick::Constant(node) => Some(Cow::Owned(node.clone())),
            Pick::Paths(paths) => {
                let mut found = paths.iter().filter_map(|path| row.find(path));
                if paths.len() == 1 {
                    return found.next();
                }
                found.find(|node| {
                    node.plain().is_some_and(|text| !text.is_empty() && !self.null.contains(text.as_ref()))
                })
            }
            Pick::Template(pieces) => {
                let mut text = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Text(piece) => text.push_str(piece),
                        Piece::Value(path) => text.push_str(&row.find(path)?.plain()?),
                    }
                }
                Some(Cow::Owned(Node::Text(Cow::Owned(text))))
            }
            Pick::Hash(paths) => {
                let mut hash = Xxh3Default::new();
                for path in paths {
                    let node = row.find(path);
                    // A length before each value, so that neighbours cannot lend each other letters.
                    match node.as_ref().and_then(|node| node.plain()) {
                        Some(text) => {
                            hash.update(&(text.len() as u64).to_le_bytes());
                            hash.update(text.as_bytes());
                        }
                        None => hash.update(&u64::MAX.to_le_bytes()),
                    }
                }
                Some(Cow::Owned(Node::Text(Cow::Owned(format!("{:032x}", hash.digest128())))))
            }
        }
    }

    fn renamed<'r>(&self, node: Cow<'r, Node<'r>>) -> Result<Option<Cow<'r, Node<'r>>>, Problem> {
        let Some(text) = node.plain() else { return Ok(None) };
        let text_node = |text: String| Some(Cow::Owned(Node::Text(Cow::Owned(text))));
        if let Some(name) = self.names.get(text.as_ref()) {
            return Ok(text_node(name.clone()));
        }
        match self.others {
            Others::Skip => Ok(None),
            Others::Camel => Ok(text_node(camel(&text))),
            Others::Refuse => {
                let message = format!(
                    "\"{}\" has no name for \"{}\" in the map; add one under names",
                    self.name,
                    shorten(&text)
                );
                Err(Problem::new("unmapped_value", message).of(
                    &self.name,
                    "a value that the map names",
                    &text,
                ))
            }
            Others::Keep => {
                drop(text);
                Ok(Some(node))
            }
        }
    }

    fn convert<'r>(&self, node: Cow<'r, Node<'r>>) -> Result<Option<Cow<'r, Node<'r>>>, Problem> {
        let owned = |node| Ok(Some(Cow::Owned(node)));
        let Some(text) = node.plain() else { return Ok(None) };
        let wrong = |expected: &str| {
            let message = format!("\"{}\" must be {expected}, found {}", self.name, shorten(&text));
            Problem::new("unmapped_value", message).of(&self.name, expected, &text)
        };
        match &self.convert {
            Convert::AsIs => {
                drop(text);
                Ok(Some(node))
            }
            Convert::Text => owned(Node::Text(Cow::Owned(text.into_owned()))),
            Convert::Boolean => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "t" | "yes" | "1" => owned(Node::Boolean(true)),
                "false" | "f" | "no" | "0" => owned(Node::Boolean(false)),
                "" => Ok(None),
                _ => Err(wrong("true or false")),
            },
            Convert::Numeric { .. } | Convert::Decimal { .. } | Convert::Time(_)
                if text.trim().is_empty() =>
            {
                Ok(None)
            }
            Convert::Numeric { scale } => {
                let number = integer(&text, *scale).ok_or_else(|| wrong("an integer of 64 bits"))?;
                owned(Node::Number(Cow::Owned(number)))
            }
            Convert::Decimal { scale } => {
                let number = decimal(&text, *scale).ok_or_else(|| wrong("a number"))?;
                owned(Node::Number(Cow::Owned(number)))
            }
            Convert::Time(form) => match form.read(&text) {
                Ok(time) => owned(Node::Text(Cow::Owned(time))),
                Err(reason) => {
                    let message = format!("\"{}\": {reason}", self.name);
                    Err(Problem::new("unmapped_time", message).of(&self.name, form.expected(), &text))
                }
            },
            Convert::List(fields) => {
                let list = self.list(&node, fields)?;
                owned(list)
            }
        }
    }

    /// The items, each brought to its fields; a lone object is a list of one.
    fn list(&self, node: &Node<'_>, fields: &[Field]) -> Result<Node<'static>, Problem> {
        let parsed = match node {
            Node::Text(text) => json_text(text),
            _ => None,
        };
        let items = match parsed.as_ref().unwrap_or(node) {
            Node::List(items) => items.as_slice(),
            object @ Node::Object(_) => std::slice::from_ref(object),
            _ => &[],
        };
        let is_list = matches!(parsed.as_ref().unwrap_or(node), Node::List(_) | Node::Object(_));
        if !is_list || items.iter().any(|item| !matches!(item, Node::Object(_))) {
            let found = node.plain().unwrap_or_default();
            let message = format!("\"{}\" must be a list of objects, found {}", self.name, shorten(&found));
            return Err(Problem::new("unmapped_value", message).of(&self.name, "a list of objects", &found));
        }
        if fields.is_empty() {
            return Ok(parsed.unwrap_or_else(|| node.clone()).into_static());
        }
        let item = |item: &Node<'_>| {
            let mut entries = Vec::with_capacity(fields.len());
            for field in fields {
                if let Some(value) =
                    field.value(&Row::Object(item)).map_err(|problem| self.within(problem))?
                {
                    entries.push((Cow::Owned(field.name.clone()), value.into_owned().into_static()));
                }
            }
            Ok(Node::Object(entries))
        };
        Ok(Node::List(items.iter().map(item).collect::<Result<_, _>>()?))
    }

    fn within(&self, mut problem: Problem) -> Problem {
        problem.property = problem.property.map(|field| format!("{}.{field}", self.name));
        problem
    }
}

/// A part of a URL, or of the target of a request, which has no host.
fn part_of(text: &str, part: Part) -> Option<String> {
    let relative = text.starts_with('/');
    if relative && part == Part::Host {
        return None;
    }
    let base = if relative { Url::parse("http://localhost/").ok()?.join(text) } else { Url::parse(text) };
    // A target that no URL may be (a bad port, say) still has a path before its query.
    let Ok(url) = base else {
        return match part {
            Part::Path if relative => text.split(['?', '#']).next().map(str::to_owned),
            _ => None,
        };
    };
    match part {
        Part::Host => url.host_str().map(str::to_owned),
        Part::Path if relative => text.split(['?', '#']).next().map(str::to_owned),
        Part::Path => Some(url.path().to_owned()),
        Part::Query => url.query().map(str::to_owned),
    }
}

/// An integer as JSON writes it. A fraction of zeros is none; anything else is no integer.
fn integer(text: &str, scale: Option<f64>) -> Option<String> {
    let text = text.trim();
    let number = match text.parse::<i64>() {
        Ok(number) => Some(number),
        Err(_) => {
            let (whole, fraction) = text.split_once('.')?;
            let zeros = !fraction.is_empty() && fraction.bytes().all(|byte| byte == b'0');
            if zeros { whole.parse().ok() } else { None }
        }
    };
    match scale {
        None => number.map(|number| number.to_string()),
        Some(scale) => {
            let scaled = scaled(text, scale)?;
            // Within the integers that a float holds exactly, so that the text has no exponent and no fraction.
            (scaled.fract() == 0.0 && scaled.abs() <= 9_007_199_254_740_992.0).then(|| format!("{scaled:.0}"))
        }
    }
}

/// A number as JSON writes it: with its own digits unless it is scaled.
fn decimal(text: &str, scale: Option<f64>) -> Option<String> {
    let text = text.trim();
    if let Some(scale) = scale {
        return scaled(text, scale).and_then(serde_json::Number::from_f64).map(|number| number.to_string());
    }
    if let Ok(Node::Number(digits)) = Node::parse(text) {
        return Some(digits.into_owned());
    }
    // `.5`, `+1` and `007` are numbers to people, but not to JSON.
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.'));
    let number = text.parse::<f64>().ok().filter(|number| plain && number.is_finite())?;
    serde_json::Number::from_f64(number).map(|number| number.to_string())
}

/// A scale of 0.01 divides by 100: hundredths have no exact float, hundreds do.
fn scaled(text: &str, scale: f64) -> Option<f64> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite())?;
    let divisor = (1.0 / scale).round();
    let divides = scale < 1.0 && ((1.0 / scale) - divisor).abs() < 1e-9 * divisor;
    Some(if divides { number / divisor } else { number * scale })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_exact_or_none() {
        assert_eq!(integer("00042", None).as_deref(), Some("42"));
        assert_eq!(integer("9223372036854775807", None).as_deref(), Some("9223372036854775807"));
        assert_eq!(integer("3.00", None).as_deref(), Some("3"));
        assert_eq!(integer("3.5", None), None);
        assert_eq!(integer("9223372036854775808", None), None);
        assert_eq!(integer("3.5", Some(10.0)).as_deref(), Some("35"));
    }

    #[test]
    fn decimals_keep_their_digits_and_cents_become_units() {
        assert_eq!(decimal("11.770", None).as_deref(), Some("11.770"));
        assert_eq!(decimal(".5", None).as_deref(), Some("0.5"));
        assert_eq!(decimal("1999", Some(0.01)).as_deref(), Some("19.99"));
        assert_eq!(decimal("NaN", None), None);
        assert_eq!(decimal("inf", Some(2.0)), None);
        assert_eq!(decimal("1,5", None), None);
    }

    #[test]
    fn parts_of_urls_and_of_request_targets() {
        let url = "https://shop.example/a%20b/c?x=1#y";
        assert_eq!(part_of(url, Part::Host).as_deref(), Some("shop.example"));
        assert_eq!(part_of(url, Part::Path).as_deref(), Some("/a%20b/c"));
        assert_eq!(part_of(url, Part::Query).as_deref(), Some("x=1"));
        assert_eq!(part_of("/a//b?c", Part::Path).as_deref(), Some("/a//b"));
        assert_eq!(part_of("/a?c=d", Part::Host), None);
        assert_eq!(part_of("//[?x", Part::Path).as_deref(), Some("//["));
        assert_eq!(part_of("not a url", Part::Path), None);
    }
}
