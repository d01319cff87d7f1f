//! A JSON value as a tree that keeps what a mapping must not lose: the order of keys and every digit of a number.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::Write;

/// Values nested deeper are refused.
const MAX_DEPTH: usize = 64;
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
        let mut parser = Parser { text, at: 0 };
        let node = parser.value(0)?;
        parser.blanks();
        if parser.at < text.len() {
            return Err(parser.wrong("nothing more"));
        }
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

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn wrong(&self, expected: &str) -> String {
        match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(found) => format!("expected {expected} at byte {}, found {found:?}", self.at),
            None => format!("expected {expected} at byte {}, found the end", self.at),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node<'a>, String> {
        if depth > MAX_DEPTH {
            return Err(format!("values are nested more than {MAX_DEPTH} deep"));
        }
        self.blanks();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => Ok(Node::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                let rest = &self.text[self.at..];
                for (word, node) in
                    [("null", Node::Null), ("true", Node::Boolean(true)), ("false", Node::Boolean(false))]
                {
                    if rest.starts_with(word) {
                        self.at += word.len();
                        return Ok(node);
                    }
                }
                Err(self.wrong("a JSON value"))
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Node<'a>, String> {
        self.at += 1;
        let mut entries: Vec<(Cow<'a, str>, Node<'a>)> = Vec::new();
        let mut many: HashSet<Cow<'a, str>> = HashSet::new();
        self.blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Node::Object(entries));
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return Err(self.wrong("a key in quotes"));
            }
            let key = self.string()?;
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
            self.blanks();
            if self.peek() != Some(b':') {
                return Err(self.wrong("\":\""));
            }
            self.at += 1;
            entries.push((key, self.value(depth + 1)?));
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Node::Object(entries));
                }
                _ => return Err(self.wrong("\",\" or \"}\"")),
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Node<'a>, String> {
        self.at += 1;
        let mut items = Vec::new();
        self.blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Node::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Node::List(items));
                }
                _ => return Err(self.wrong("\",\" or \"]\"")),
            }
        }
    }

    fn number(&mut self) -> Result<Node<'a>, String> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let whole = self.digits()?;
        if whole > 1 && self.text.as_bytes()[self.at - whole] == b'0' {
            self.at -= whole;
            return Err(self.wrong("a number without leading zeros"));
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Node::Number(Cow::Borrowed(&self.text[start..self.at])))
    }

    fn digits(&mut self) -> Result<usize, String> {
        let run = self.text.as_bytes()[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if run == 0 {
            return Err(self.wrong("a digit"));
        }
        self.at += run;
        Ok(run)
    }

    fn string(&mut self) -> Result<Cow<'a, str>, String> {
        self.at += 1;
        let mut built = String::new();
        let mut from = self.at;
        loop {
            let bytes = self.text.as_bytes();
            let run =
                bytes[self.at..].iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f)).count();
            self.at += run;
            match self.peek() {
                Some(b'"') => {
                    let piece = &self.text[from..self.at];
                    self.at += 1;
                    if built.is_empty() {
                        return Ok(Cow::Borrowed(piece));
                    }
                    built.push_str(piece);
                    return Ok(Cow::Owned(built));
                }
                Some(b'\\') => {
                    built.push_str(&self.text[from..self.at]);
                    self.at += 1;
                    built.push(self.escape()?);
                    from = self.at;
                }
                _ => return Err(self.wrong("the end of the string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        let byte = self.peek();
        let plain = match byte {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.wrong("an escape such as \\n")),
        };
        self.at += 1;
        Ok(plain)
    }

    fn unicode(&mut self) -> Result<char, String> {
        let high = self.four_digits()?;
        if !(0xd800..0xdc00).contains(&high) {
            return char::from_u32(high).ok_or_else(|| format!("half a character at byte {}", self.at));
        }
        if !self.text[self.at..].starts_with("\\u") {
            return Err(format!("half a character at byte {}", self.at));
        }
        self.at += 2;
        let low = self.four_digits()?;
        let pair = 0x10000 + ((high - 0xd800) << 10) + low.wrapping_sub(0xdc00);
        if !(0xdc00..0xe000).contains(&low) {
            return Err(format!("half a character at byte {}", self.at));
        }
        char::from_u32(pair).ok_or_else(|| format!("half a character at byte {}", self.at))
    }

    fn four_digits(&mut self) -> Result<u32, String> {
        let digits =
            self.text.get(self.at..self.at + 4).filter(|four| four.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits.and_then(|four| u32::from_str_radix(four, 16).ok());
        self.at += 4;
        code.ok_or_else(|| format!("four hexadecimal digits expected before byte {}", self.at))
    }
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
        assert_eq!(written("[1,]").unwrap_err(), "expected a JSON value at byte 3, found ']'");
        assert_eq!(
            written("{\"a\":01}").unwrap_err(),
            "expected a number without leading zeros at byte 5, found '0'"
        );
        assert!(written("\"a\nb\"").is_err());
        assert!(written("\"\\ud800x\"").is_err());
        assert!(written("\"\\ué23").is_err());
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

        #[test]
        fn no_input_makes_it_panic(text in ".*") {
            let ours = Node::parse(&text).is_ok();
            let theirs = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            prop_assert!(ours == theirs || text.contains('e') || text.contains('E'), "{}", text);
        }
    }
}
