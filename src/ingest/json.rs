//! A pull scanner for JSON: strict RFC 8259 over one text, one pass, nothing allocated unless a string has escapes.
//!
//! The caller asks for what it expects and learns the byte at which something else stands. Keys that come twice are
//! the caller's business, for only it knows the keys. No number is converted before its digits are known, so that an
//! integer stays exact.

use std::borrow::Cow;

use crate::ingest::number::Number;

/// How deep objects and arrays may be nested.
pub const DEPTH_LIMIT: u32 = 64;

/// Why a text is not JSON, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonFault {
    /// Counted from 0.
    pub at: usize,
    pub what: What,
}

/// What is wrong at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Something else must stand here.
    Expected(&'static str),
    /// A control character stands bare in a string.
    Control,
    /// An escape that JSON does not have.
    Escape,
    /// Half of a surrogate pair, which is no character.
    LoneSurrogate,
    /// Nested deeper than [`DEPTH_LIMIT`].
    TooDeep,
    /// Something follows the value.
    Trailing,
}

impl What {
    /// The words for a message.
    pub fn reason(self) -> String {
        match self {
            Self::Expected(what) => format!("expected {what}"),
            Self::Control => "a control character in a string must be escaped".to_owned(),
            Self::Escape => "no such escape".to_owned(),
            Self::LoneSurrogate => "half a surrogate pair, which is no character".to_owned(),
            Self::TooDeep => format!("nested deeper than {DEPTH_LIMIT} levels"),
            Self::Trailing => "something follows the value".to_owned(),
        }
    }
}

/// What kind of value stands next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Null,
    Boolean,
    Number,
    Text,
    Array,
    Object,
}

impl Kind {
    /// The words for a message.
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::Text => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

type Scanned<T> = Result<T, JsonFault>;

/// The place of a reader in a text. Copying it is looking ahead.
#[derive(Clone, Copy, Debug)]
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    /// Whether half a surrogate pair becomes U+FFFD and is not a fault.
    lenient: bool,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str, lenient: bool) -> Self {
        Self { text, at: 0, depth: 0, lenient }
    }

    /// The byte that is read next.
    pub fn at(&self) -> usize {
        self.at
    }

    fn fault<T>(&self, what: What) -> Scanned<T> {
        Err(JsonFault { at: self.at, what })
    }

    /// The next byte that is not space, without reading it; 0 at the end.
    #[inline]
    fn look(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return byte;
            }
            self.at += 1;
        }
        0
    }

    /// What kind of value stands next; nothing of it is read.
    #[inline]
    pub fn kind(&mut self) -> Scanned<Kind> {
        Ok(match self.look() {
            b'"' => Kind::Text,
            b'-' | b'0'..=b'9' => Kind::Number,
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b't' | b'f' => Kind::Boolean,
            b'n' => Kind::Null,
            _ => return self.fault(What::Expected("a value")),
        })
    }

    /// Enters an object; then [`Scanner::key`] until there is none.
    #[inline]
    pub fn object(&mut self) -> Scanned<()> {
        self.open(b'{', What::Expected("an object"))
    }

    /// Enters an array; then [`Scanner::element`] until there is none.
    #[inline]
    pub fn array(&mut self) -> Scanned<()> {
        self.open(b'[', What::Expected("an array"))
    }

    fn open(&mut self, bracket: u8, otherwise: What) -> Scanned<()> {
        if self.look() != bracket {
            return self.fault(otherwise);
        }
        if self.depth == DEPTH_LIMIT {
            return self.fault(What::TooDeep);
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.at += 1;
    }

    /// The next key of the object, with its colon; none leaves the object. `first` is true before the first key.
    #[inline]
    pub fn key(&mut self, first: &mut bool) -> Scanned<Option<Cow<'a, str>>> {
        match self.look() {
            b'}' => {
                self.close();
                return Ok(None);
            }
            b'"' if *first => *first = false,
            b',' if !*first => {
                self.at += 1;
                if self.look() != b'"' {
                    return self.fault(What::Expected("a key"));
                }
            }
            _ if *first => return self.fault(What::Expected("a key or \"}\"")),
            _ => return self.fault(What::Expected("\",\" or \"}\"")),
        }
        let key = self.text()?;
        if self.look() != b':' {
            return self.fault(What::Expected("\":\""));
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// Whether the array has another element, which stands next; otherwise it is left. `first` is true before the
    /// first element.
    #[inline]
    pub fn element(&mut self, first: &mut bool) -> Scanned<bool> {
        match self.look() {
            b']' => {
                self.close();
                return Ok(false);
            }
            b',' if !*first => self.at += 1,
            _ if *first => *first = false,
            _ => return self.fault(What::Expected("\",\" or \"]\"")),
        }
        self.kind().map(|_| true)
    }

    /// A string. Escapes are decoded, `\u0000` included.
    #[inline]
    pub fn text(&mut self) -> Scanned<Cow<'a, str>> {
        if self.look() != b'"' {
            return self.fault(What::Expected("a string"));
        }
        let start = self.at + 1;
        let end = plain_end(self.text.as_bytes(), start);
        if self.text.as_bytes().get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(Cow::Borrowed(&self.text[start..end]));
        }
        self.escaped(start, end).map(Cow::Owned)
    }

    #[cold]
    fn escaped(&mut self, start: usize, mut end: usize) -> Scanned<String> {
        let bytes = self.text.as_bytes();
        let mut out = String::with_capacity(end - start + 16);
        let mut from = start;
        loop {
            out.push_str(&self.text[from..end]);
            self.at = end;
            match bytes.get(end) {
                Some(b'"') => {
                    self.at = end + 1;
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape()?),
                Some(_) => return self.fault(What::Control),
                None => return self.fault(What::Expected("the end of the string")),
            }
            from = self.at;
            end = plain_end(bytes, from);
        }
    }

    /// The character of the escape that starts here.
    fn escape(&mut self) -> Scanned<char> {
        let plain = match self.text.as_bytes().get(self.at + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return self.fault(What::Escape),
        };
        self.at += 2;
        Ok(plain)
    }

    fn unicode(&mut self) -> Scanned<char> {
        let Some(unit) = self.unit(self.at) else { return self.fault(What::Escape) };
        if let Some(plain) = char::from_u32(unit) {
            self.at += 6;
            return Ok(plain);
        }
        // A high half, then a low one, make one character; anything else is half a character.
        if (0xd800..0xdc00).contains(&unit)
            && let Some(low @ 0xdc00..0xe000) = self.unit(self.at + 6)
            && let Some(pair) = char::from_u32(0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00))
        {
            self.at += 12;
            return Ok(pair);
        }
        if !self.lenient {
            return self.fault(What::LoneSurrogate);
        }
        self.at += 6;
        Ok(char::REPLACEMENT_CHARACTER)
    }

    /// The UTF-16 unit of a `\uXXXX` at a place.
    fn unit(&self, at: usize) -> Option<u32> {
        let [b'\\', b'u', digits @ ..] = self.text.as_bytes().get(at..at + 6)? else { return None };
        digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
    }

    /// A number, its digits still as they are written.
    #[inline]
    pub fn number(&mut self) -> Scanned<Number<'a>> {
        self.look();
        let start = self.at;
        let (number, length) = Number::read(&self.text[start..]);
        self.at += length;
        match number {
            Ok(number) => Ok(number),
            Err(expected) => self.fault(What::Expected(expected)),
        }
    }

    pub fn boolean(&mut self) -> Scanned<bool> {
        match self.look() {
            b't' => self.word("true").map(|()| true),
            b'f' => self.word("false").map(|()| false),
            _ => self.fault(What::Expected("true or false")),
        }
    }

    pub fn null(&mut self) -> Scanned<()> {
        self.look();
        self.word("null")
    }

    fn word(&mut self, word: &'static str) -> Scanned<()> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return self.fault(What::Expected(word));
        }
        self.at += word.len();
        Ok(())
    }

    /// Reads over one value of any kind, as strictly as if it were asked for, and gives its text.
    pub fn skip(&mut self) -> Scanned<&'a str> {
        let kind = self.kind()?;
        let start = self.at;
        match kind {
            Kind::Null => self.null()?,
            Kind::Boolean => drop(self.boolean()?),
            Kind::Number => drop(self.number()?),
            Kind::Text => drop(self.text()?),
            Kind::Array => {
                self.array()?;
                let mut first = true;
                while self.element(&mut first)? {
                    self.skip()?;
                }
            }
            Kind::Object => {
                self.object()?;
                let mut first = true;
                while self.key(&mut first)?.is_some() {
                    self.skip()?;
                }
            }
        }
        Ok(&self.text[start..self.at])
    }

    /// Nothing but space may follow.
    pub fn end(&mut self) -> Scanned<()> {
        self.look();
        if self.at == self.text.len() { Ok(()) } else { self.fault(What::Trailing) }
    }
}

/// The first byte from `at` on that is a quote, a backslash or a control character; eight bytes at a time.
#[inline]
fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    const QUOTES: u64 = u64::from_ne_bytes([b'"'; 8]);
    const BACKSLASHES: u64 = u64::from_ne_bytes([b'\\'; 8]);
    const SPACES: u64 = u64::from_ne_bytes([b' '; 8]);
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*eight);
        let (quote, backslash) = (word ^ QUOTES, word ^ BACKSLASHES);
        // A byte of a difference that is zero borrows from its high bit. A borrow can mark the bytes above a true
        // hit as well, never one below it, so the lowest mark is right.
        let hits = ((quote.wrapping_sub(ONES) & !quote)
            | (backslash.wrapping_sub(ONES) & !backslash)
            | (word.wrapping_sub(SPACES) & !word))
            & HIGHS;
        if hits != 0 {
            return at + usize::try_from(hits.trailing_zeros() / 8).unwrap_or_default();
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests;
