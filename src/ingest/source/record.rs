//! Records of delimited text (CSV, TSV, columns parted by blanks): where one ends, and which fields it has.
//!
//! A quote opens a field only at its start and is doubled inside; anywhere else it is a letter like any other.

use std::borrow::Cow;

/// How the fields of a record are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    pub separator: Separator,
    /// The byte around fields that contain separators or line ends, if there is one.
    pub quote: Option<u8>,
    /// The first record names the columns.
    pub header: bool,
}

/// What stands between two fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separator {
    /// One ASCII byte.
    Byte(u8),
    /// Any run of blanks and tabs; those around the record do not count.
    Whitespace,
}

impl Dialect {
    /// The fields of one record, without its line end.
    pub fn fields<'a>(&self, record: &'a str) -> Vec<Cow<'a, str>> {
        let record = record.strip_suffix('\n').unwrap_or(record);
        let record = record.strip_suffix('\r').unwrap_or(record);
        match self.separator {
            Separator::Whitespace => record.split_ascii_whitespace().map(Cow::Borrowed).collect(),
            Separator::Byte(separator) => self.delimited(record, separator),
        }
    }

    fn delimited<'a>(&self, record: &'a str, separator: u8) -> Vec<Cow<'a, str>> {
        let bytes = record.as_bytes();
        let mut fields = Vec::new();
        let mut at = 0;
        loop {
            let (field, end) = match self.quote {
                Some(quote) if bytes.get(at) == Some(&quote) => quoted(record, at + 1, quote, separator),
                _ => {
                    let end = memchr::memchr(separator, &bytes[at..]).map_or(bytes.len(), |found| at + found);
                    (Cow::Borrowed(&record[at..end]), end)
                }
            };
            fields.push(field);
            if end >= bytes.len() {
                return fields;
            }
            at = end + 1;
        }
    }
}

/// The field whose opening quote stands just before `start`, and where its separator (or the record's end) is.
fn quoted(record: &str, start: usize, quote: u8, separator: u8) -> (Cow<'_, str>, usize) {
    let bytes = record.as_bytes();
    let mut text = String::new();
    let mut from = start;
    let mut at = start;
    loop {
        let Some(found) = memchr::memchr(quote, &bytes[at..]) else {
            text.push_str(&record[from..]);
            return (Cow::Owned(text), bytes.len());
        };
        let close = at + found;
        if bytes.get(close + 1) == Some(&quote) {
            text.push_str(&record[from..=close]);
            from = close + 2;
            at = from;
            continue;
        }
        // What follows a closing quote up to the separator belongs to the field as it stands.
        let end = memchr::memchr(separator, &bytes[close + 1..]).map_or(bytes.len(), |next| close + 1 + next);
        let tail = &record[close + 1..end];
        if text.is_empty() && tail.is_empty() {
            return (Cow::Borrowed(&record[from..close]), end);
        }
        text.push_str(&record[from..close]);
        text.push_str(tail);
        return (Cow::Owned(text), end);
    }
}

/// Finds the ends of rows in bytes that arrive piece by piece.
#[derive(Debug)]
pub(crate) enum Cutter {
    /// A row is a line.
    Lines,
    /// A row is a record, which may hold line ends between quotes.
    Records { separator: u8, quote: u8, state: State },
}

/// Where in a record the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    FieldStart,
    Plain,
    Quoted,
    /// Just behind a quote in a quoted field: the field's end, or the first half of a doubled quote.
    QuoteSeen,
}

impl Cutter {
    pub(crate) fn new(dialect: Option<Dialect>) -> Self {
        match dialect {
            Some(Dialect { separator: Separator::Byte(separator), quote: Some(quote), .. }) => {
                Self::Records { separator, quote, state: State::FieldStart }
            }
            _ => Self::Lines,
        }
    }

    /// The length of the first row in `bytes`, which begin with a row; all of them when none ends in them.
    pub(crate) fn first_end(&mut self, bytes: &[u8]) -> usize {
        let end = match self {
            Self::Lines => memchr::memchr(b'\n', bytes).map(|at| at + 1),
            Self::Records { separator, quote, state } => {
                *state = State::FieldStart;
                scan(bytes, *separator, *quote, state, true).map(|(first, _)| first)
            }
        };
        end.unwrap_or(bytes.len())
    }

    /// Reads on over `bytes`: the places just behind the first and the last row end in them.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Option<(usize, usize)> {
        match self {
            Self::Lines => {
                let last = memchr::memrchr(b'\n', bytes)?;
                let first = memchr::memchr(b'\n', bytes)?;
                Some((first + 1, last + 1))
            }
            Self::Records { separator, quote, state } => scan(bytes, *separator, *quote, state, false),
        }
    }
}

/// The first and last row end; only the first when that is `enough`.
fn scan(bytes: &[u8], separator: u8, quote: u8, state: &mut State, enough: bool) -> Option<(usize, usize)> {
    let mut ends = None;
    let mut at = 0;
    while at < bytes.len() {
        match *state {
            State::Quoted => match memchr::memchr(quote, &bytes[at..]) {
                Some(found) => {
                    *state = State::QuoteSeen;
                    at += found + 1;
                    continue;
                }
                None => return ends,
            },
            State::QuoteSeen if bytes[at] == quote => {
                *state = State::Quoted;
                at += 1;
                continue;
            }
            State::FieldStart if bytes[at] == quote => {
                *state = State::Quoted;
                at += 1;
                continue;
            }
            _ => {}
        }
        match memchr::memchr2(separator, b'\n', &bytes[at..]) {
            Some(found) => {
                at += found + 1;
                *state = State::FieldStart;
                if bytes[at - 1] == b'\n' {
                    ends = Some((ends.map_or(at, |(first, _)| first), at));
                    if enough {
                        return ends;
                    }
                }
            }
            None => {
                *state = State::Plain;
                return ends;
            }
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: Dialect = Dialect { separator: Separator::Byte(b','), quote: Some(b'"'), header: true };

    #[test]
    fn quotes_hide_separators_and_are_doubled_inside() {
        assert_eq!(CSV.fields("a,\"b,\"\"c\"\"\",,\"\"\r\n"), ["a", "b,\"c\"", "", ""]);
        assert_eq!(CSV.fields("5\" disk,x"), ["5\" disk", "x"]);
        assert_eq!(CSV.fields("\"a\"b,c"), ["ab", "c"]);
        assert_eq!(CSV.fields("a,"), ["a", ""]);
    }

    #[test]
    fn blanks_of_any_number_part_columns() {
        let dialect = Dialect { separator: Separator::Whitespace, quote: None, header: true };
        assert_eq!(dialect.fields(" 00001 19970101  1   11.77\r"), ["00001", "19970101", "1", "11.77"]);
    }

    #[test]
    fn a_record_ends_outside_of_quotes_wherever_the_buffer_is_cut() {
        let text = b"a,\"x\ny \"\"q\"\"\n\",5\" disk\nb,c\n\"d\ne";
        for cut in 0..text.len() {
            let mut cutter = Cutter::new(Some(CSV));
            let (left, right) = text.split_at(cut);
            let mut ends = Vec::new();
            for (offset, part) in [(0, left), (cut, right)] {
                if let Some((first, last)) = cutter.advance(part) {
                    ends.extend([first + offset, last + offset]);
                }
            }
            ends.dedup();
            assert_eq!(ends, [23, 27], "cut at {cut}");
        }
    }
}
