//! A JSON value as a tree that keeps what a mapping must not lose: the order of keys and every digit of a number.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::Write;

use crate::ingest::json::JsonFault;
use crate::ingest::json::Kind;
use crate::ingest::json::Scanner;

/// Objects with more keys are searched for doubled keys with a set.
const FEW_KEYS: usize = 16;

/// One JSON value, borrowed from the text where that is possible.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node<'a> {
    Null,
    Boolean(bool),
    /// As it is written.
    Number(Cow<'a, str>),
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

impl<'a> Node<'a> {
    /// The value that `text` is, all of it; the error says what is wrong and where.
    pub(crate) fn parse(text: &'a str) -> Result<Self, String> {
        let mut scanner = Scanner::new(text, false);
        let node = read(&mut scanner)?;
        scanner.end().map_err(said)?;
        Ok(node)
    }

    /// A value inside this one: an entry of an object, or of a list by its number.
    pub(crate) fn get(&self, key: &str) -> Option<&Node<'a>> {
        match self {
            Self::Object(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            Self::List(items) => items.get(key.parse::<usize>().ok()?),
            _ => None,
        }
    }

    /// The same as [`Self::get`], taken out of the tree.
    pub(crate) fn take(self, key: &str) -> Option<Node<'a>> {
        match self {
            Self::Object(entries) => entries.into_iter().find(|(name, _)| name == key).map(|(_, node)| node),
            Self::List(items) => items.into_iter().nth(key.parse::<usize>().ok()?),
            _ => None,
        }
    }

    /// The tree without its ties to the text.
    pub(crate) fn into_static(self) -> Node<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        match self {
            Self::Null => Node::Null,
            Self::Boolean(truth) => Node::Boolean(truth),
            Self::Number(digits) => Node::Number(owned(digits)),
            Self::Text(text) => Node::Text(owned(text)),
            Self::List(items) => Node::List(items.into_iter().map(Node::into_static).collect()),
            Self::Object(entries) => Node::Object(
                entries.into_iter().map(|(key, node)| (owned(key), node.into_static())).collect(),
            ),
        }
    }

    /// What a person would write for the value: a text without quotes, anything else as JSON; nothing for null.
    pub(crate) fn plain(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Null => None,
            Self::Boolean(true) => Some(Cow::Borrowed("true")),
            Self::Boolean(false) => Some(Cow::Borrowed("false")),
            Self::Number(text) | Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::List(_) | Self::Object(_) => {
                let mut json = Vec::new();
                self.write(&mut json);
                Some(Cow::Owned(String::from_utf8_lossy(&json).into_owned()))
            }
        }
    }

    /// Appends the value as JSON on one line.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Boolean(true) => out.extend_from_slice(b"true"),
            Self::Boolean(false) => out.extend_from_slice(b"false"),
            Self::Number(digits) => out.extend_from_slice(digits.as_bytes()),
            Self::Text(text) => write_text(text, out),
            Self::List(items) => {
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Self::Object(entries) => {
                out.push(b'{');
                for (at, (key, node)) in entries.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    write_text(key, out);
                    out.push(b':');
                    node.write(out);
                }
                out.push(b'}');
            }
        }
    }
}

/// Appends a text as a JSON string.
pub(crate) fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..=0x1f => b"",
            _ => continue,
        };
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
        if escape.is_empty() {
            // Writing into memory cannot fail.
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.extend_from_slice(escape);
        }
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

fn read<'a>(scanner: &mut Scanner<'a>) -> Result<Node<'a>, String> {
    Ok(match scanner.kind().map_err(said)? {
        Kind::Null => scanner.null().map(|()| Node::Null).map_err(said)?,
        Kind::Boolean => Node::Boolean(scanner.boolean().map_err(said)?),
        Kind::Number => Node::Number(Cow::Borrowed(scanner.number().map_err(said)?.text)),
        Kind::Text => Node::Text(scanner.text().map_err(said)?),
        Kind::Array => {
            scanner.array().map_err(said)?;
            let mut items = Vec::new();
            let mut first = true;
            while scanner.element(&mut first).map_err(said)? {
                items.push(read(scanner)?);
            }
            Node::List(items)
        }
        Kind::Object => {
            scanner.object().map_err(said)?;
            let mut entries: Vec<(Cow<'a, str>, Node<'a>)> = Vec::new();
            let mut many: HashSet<Cow<'a, str>> = HashSet::new();
            let mut first = true;
            while let Some(key) = scanner.key(&mut first).map_err(said)? {
                let twice = if entries.len() < FEW_KEYS {
                    entries.iter().any(|(known, _)| *known == key)
                } else {
                    if many.is_empty() {
                        many.extend(entries.iter().map(|(known, _)| known.clone()));
                    }
                    !many.insert(key.clone())
                };
                if twice {
                    return Err(format!("the key \"{key}\" is given twice in one object"));
                }
                entries.push((key, read(scanner)?));
            }
            Node::Object(entries)
        }
    })
}

fn said(fault: JsonFault) -> String {
    format!("byte {}: {}", fault.at + 1, fault.what.reason())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(text: &str) -> Result<String, String> {
        let mut out = Vec::new();
        Node::parse(text)?.write(&mut out);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn numbers_keep_their_digits_and_keys_their_order() {
        let text = r#"{"b":12345678901234567890123,"a":[1.50,-0.0e+3,null,true],"c":{"x":"é\n"}}"#;
        assert_eq!(written(text).unwrap(), text);
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        assert_eq!(written("{\"a\":1,\"a\":2}").unwrap_err(), "the key \"a\" is given twice in one object");
        assert_eq!(written("[1,]").unwrap_err(), "byte 4: expected a value");
        assert!(written("{\"a\":01}").is_err());
        assert!(written("\"\\ud800x\"").is_err());
        assert!(written("{} {}").is_err());
        assert!(written(&"[".repeat(10_000)).is_err());
    }

    #[test]
    fn a_doubled_key_is_found_among_many() {
        let keys: Vec<String> = (0..40).map(|n| format!("\"k{n}\":1")).collect();
        assert!(written(&format!("{{{}}}", keys.join(","))).is_ok());
        assert!(written(&format!("{{{},\"k3\":1}}", keys.join(","))).is_err());
    }

    proptest! {
        #[test]
        fn any_text_survives_writing_and_parsing(text in ".*") {
            let mut out = Vec::new();
            write_text(&text, &mut out);
            let json = String::from_utf8(out).unwrap();
            prop_assert_eq!(Node::parse(&json).unwrap(), Node::Text(Cow::Borrowed(text.as_str())));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
