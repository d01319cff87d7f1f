//! One row of the source, whatever its shape, and the paths by which a map reaches into it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::HashSet;

use crate::ingest::map::tree::Node;

/// A row to be mapped.
#[derive(Clone, Copy, Debug)]
pub(super) enum Row<'r> {
    Object(&'r Node<'r>),
    Record { columns: &'r Columns, fields: &'r [Cow<'r, str>] },
}

/// The names of the columns of records, and what stands for "no value" in them.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) names: Vec<String>,
    places: HashMap<String, usize>,
    null: HashSet<String>,
}

/// A way into a row: a column or key, and from there on through objects, lists (by number) and JSON texts.
///
/// Names may hold dots themselves: the longest name that is there wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) text: String,
    parts: Vec<String>,
}

impl Columns {
    pub(super) fn new(names: Vec<String>, null: &HashSet<String>) -> Self {
        let places = names.iter().enumerate().rev().map(|(place, name)| (name.clone(), place)).collect();
        Self { names, places, null: null.clone() }
    }
}

impl Path {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), parts: text.split('.').map(str::to_owned).collect() }
    }

    /// The first key of this path behind `root`, if it leads through it; for `root` empty, the whole path.
    pub(super) fn below(&self, root: Option<&Path>) -> Option<&str> {
        match root {
            None => Some(&self.text),
            Some(root) => self.text.strip_prefix(root.text.as_str())?.strip_prefix('.'),
        }
    }
}

impl<'r> Row<'r> {
    /// The value at a path; `None` where there is none or it is null.
    pub(super) fn find(&self, path: &Path) -> Option<Cow<'r, Node<'r>>> {
        let found = match *self {
            Self::Object(node) => find(node, &path.parts)?,
            Self::Record { columns, fields } => (1..=path.parts.len()).rev().find_map(|length| {
                let place = columns.places.get(path.parts[..length].join(".").as_str())?;
                let field = fields.get(*place)?;
                if columns.null.contains(field.as_ref()) {
                    return None;
                }
                let node = Node::Text(Cow::Borrowed(field.as_ref()));
                take(node, &path.parts[length..]).map(Cow::Owned)
            })?,
        };
        (*found != Node::Null).then_some(found)
    }

    /// Every key of the row with its value, nulls left out.
    pub(super) fn entries(&self) -> Vec<(&'r str, Cow<'r, Node<'r>>)> {
        match *self {
            Self::Object(node) => entries(node),
            Self::Record { columns, fields } => {
                let given = columns
                    .names
                    .iter()
                    .zip(fields)
                    .filter(|(_, field)| !columns.null.contains(field.as_ref()));
                given
                    .map(|(name, field)| {
                        (name.as_str(), Cow::Owned(Node::Text(Cow::Borrowed(field.as_ref()))))
                    })
                    .collect()
            }
        }
    }
}

/// The entries of an object, nulls left out.
pub(super) fn entries<'r>(node: &'r Node<'r>) -> Vec<(&'r str, Cow<'r, Node<'r>>)> {
    match node {
        Node::Object(entries) => entries
            .iter()
            .filter(|(_, node)| *node != Node::Null)
            .map(|(key, node)| (key.as_ref(), Cow::Borrowed(node)))
            .collect(),
        _ => Vec::new(),
    }
}

fn find<'r>(node: &'r Node<'r>, parts: &[String]) -> Option<Cow<'r, Node<'r>>> {
    if parts.is_empty() {
        return Some(Cow::Borrowed(node));
    }
    if let Node::Text(text) = node {
        return take(Node::Text(Cow::Borrowed(text.as_ref())), parts).map(Cow::Owned);
    }
    (1..=parts.len()).rev().find_map(|length| {
        let inner = if length == 1 { node.get(&parts[0]) } else { node.get(&parts[..length].join(".")) };
        find(inner?, &parts[length..])
    })
}

fn take<'r>(node: Node<'r>, parts: &[String]) -> Option<Node<'r>> {
    if parts.is_empty() {
        return Some(node);
    }
    let node = match node {
        Node::Text(Cow::Borrowed(text)) => json_text(text)?,
        Node::Text(Cow::Owned(text)) => json_text(&text)?.into_static(),
        other => other,
    };
    let length = (1..=parts.len()).rev().find(|length| node.get(&parts[..*length].join(".")).is_some())?;
    take(node.take(&parts[..length].join("."))?, &parts[length..])
}

/// The object or list that a text spells out, if it does.
pub(super) fn json_text(text: &str) -> Option<Node<'_>> {
    let text = text.trim();
    let closed =
        (text.starts_with('{') && text.ends_with('}')) || (text.starts_with('[') && text.ends_with(']'));
    if closed { Node::parse(text).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_through_objects_lists_json_texts_and_dotted_names() {
        let node = Node::parse(r#"{"a":{"b":[{"c":1}],"x.y":2},"t":"[{\"u\":\"{\\\"v\\\":3}\"}]","n":null}"#)
            .unwrap();
        let row = Row::Object(&node);
        let at = |path: &str| row.find(&Path::new(path)).map(|node| node.plain().unwrap().into_owned());
        assert_eq!(at("a.b.0.c").as_deref(), Some("1"));
        assert_eq!(at("a.x.y").as_deref(), Some("2"));
        assert_eq!(at("t.0.u.v").as_deref(), Some("3"));
        assert_eq!(at("a.b.1.c"), None);
        assert_eq!(at("n"), None);
    }

    #[test]
    fn a_column_of_a_record_may_hold_json_and_its_empty_fields_are_nothing() {
        let null = HashSet::from([String::new()]);
        let names = ["id", "props", "props.a"].map(str::to_owned).to_vec();
        let columns = Columns::new(names, &null);
        let fields = ["", "{\"a\":1,\"b\":{\"c\":2}}", "7"].map(Cow::Borrowed);
        let row = Row::Record { columns: &columns, fields: &fields };
        let at = |path: &str| row.find(&Path::new(path)).map(|node| node.plain().unwrap().into_owned());
        assert_eq!(at("props.b.c").as_deref(), Some("2"));
        assert_eq!(at("props.a").as_deref(), Some("7"), "the longest name wins");
        assert_eq!(at("id"), None);
    }
}
