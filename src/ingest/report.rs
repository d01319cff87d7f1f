//! What came of an import: how many rows were stored, and each refused row as data with its reason.

use std::collections::BTreeMap;
use std::fmt;

/// Why a row was refused; the names are stable, so that people can count and query by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// Not JSON, or not a JSON object.
    InvalidJson,
    /// Bytes that are not UTF-8.
    InvalidUtf8,
    /// Half of a surrogate pair in a string.
    LoneSurrogate,
    /// More bytes than a row may have.
    RowTooLarge,
    /// A key that comes twice in one object, or a field under two spellings.
    DuplicateKey,
    /// A key that a row may not have.
    UnknownKey,
    /// `definitionId` or `occurredTime` is not there.
    MissingField,
    /// No event is so defined.
    UnknownDefinition,
    /// The definition is a template, which takes no events itself.
    TemplateDefinition,
    /// The definition is disabled.
    DisabledDefinition,
    /// The definition has no such property.
    UnknownProperty,
    /// A property that must be given is not.
    MissingProperty,
    /// A value of another type.
    WrongType,
    /// A number that the type cannot hold.
    NumberOutOfRange,
    /// An integer that a Decimal cannot hold exactly.
    InexactNumber,
    /// Not a time, or a date that no calendar has.
    InvalidTime,
    /// A time without an offset, and no zone was given.
    TimeWithoutOffset,
    /// Outside the years 0001 to 9999.
    TimeOutOfRange,
    /// Seconds where milliseconds are asked for.
    SecondsForMilliseconds,
    /// A text that breaks a rule of its property.
    RuleBroken,
    /// `eventId` has other characters than it may have, or too many.
    InvalidEventId,
    /// `sessionId` has control characters or is too long.
    InvalidSessionId,
    /// The person is not given in a form that we know, or given twice.
    InvalidPerson,
    /// Nobody is given.
    MissingPerson,
    /// Nobody is known so, and the person may not be created.
    UnknownPerson,
    /// `personId` and `externalPersonId` are different persons.
    PersonContradiction,
    /// An event of this id with another content is there already.
    EventConflict,
    /// Refused before it was a row to check, by the source or the map; the name is theirs.
    Unread(&'static str),
}

impl Code {
    /// The name that `system.rejected` and the summary show.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::LoneSurrogate => "lone_surrogate",
            Self::RowTooLarge => "row_too_large",
            Self::DuplicateKey => "duplicate_key",
            Self::UnknownKey => "unknown_key",
            Self::MissingField => "missing_field",
            Self::UnknownDefinition => "unknown_definition",
            Self::TemplateDefinition => "template_definition",
            Self::DisabledDefinition => "disabled_definition",
            Self::UnknownProperty => "unknown_property",
            Self::MissingProperty => "missing_property",
            Self::WrongType => "wrong_type",
            Self::NumberOutOfRange => "number_out_of_range",
            Self::InexactNumber => "inexact_number",
            Self::InvalidTime => "invalid_time",
            Self::TimeWithoutOffset => "time_without_offset",
            Self::TimeOutOfRange => "time_out_of_range",
            Self::SecondsForMilliseconds => "seconds_for_milliseconds",
            Self::RuleBroken => "rule_broken",
            Self::InvalidEventId => "invalid_event_id",
            Self::InvalidSessionId => "invalid_session_id",
            Self::InvalidPerson => "invalid_person",
            Self::MissingPerson => "missing_person",
            Self::UnknownPerson => "unknown_person",
            Self::PersonContradiction => "person_contradiction",
            Self::EventConflict => "event_conflict",
            Self::Unread(name) => name,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why a row was refused, before anyone asks which row it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    /// The definition that the row names, as far as reading came.
    pub definition: Option<String>,
    /// The property, or the key of the row.
    pub property: Option<String>,
    pub expected: Option<String>,
    /// The value that stands there, with its type, shortened.
    pub found: Option<String>,
    pub message: String,
}

/// The most characters of a message and of a property's name; a key of a row may be as long as the row.
const MESSAGE_CHARS: usize = 2_000;
const PROPERTY_CHARS: usize = 400;

fn cut(mut text: String, chars: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(chars) {
        text.truncate(end);
        text.push('…');
    }
    text
}

impl Refusal {
    /// A refusal with its reason alone.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            code,
            definition: None,
            property: None,
            expected: None,
            found: None,
            message: cut(message.into(), MESSAGE_CHARS),
        })
    }

    pub(crate) fn about(mut self: Box<Self>, property: &str) -> Box<Self> {
        self.property = Some(cut(property.to_owned(), PROPERTY_CHARS));
        self
    }

    pub(crate) fn because(mut self: Box<Self>, expected: &str, found: &str) -> Box<Self> {
        self.expected = Some(expected.to_owned());
        self.found = Some(found.to_owned());
        self
    }
}

/// One refused row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The line or row number in its source, from 1.
    pub row: u64,
    pub refusal: Box<Refusal>,
    /// The bytes of the row, all of them.
    pub raw: Vec<u8>,
}

/// One refused row in a [`Report`], for people to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    pub source: String,
    pub row: u64,
    pub code: Code,
    pub message: String,
}

/// How many samples of each reason a report keeps.
const SAMPLES_PER_CODE: u64 = 3;

/// What came of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Rows that were read, without those that an earlier run had done.
    pub rows: u64,
    /// Bytes of those rows, before compression.
    pub bytes: u64,
    pub stored: u64,
    pub refused: u64,
    /// Events that were there already with the same content.
    pub duplicates: u64,
    pub persons_created: u64,
    /// How often each reason was met, by its code.
    pub reasons: BTreeMap<Code, u64>,
    /// A few refused rows of each reason, the first ones.
    pub samples: Vec<Sample>,
    /// What people should know beside: sources that were skipped, or gone on with.
    pub notes: Vec<String>,
}

impl Report {
    /// Counts a refused row.
    pub(crate) fn refuse(&mut self, source: &str, row: u64, code: Code, message: &str) {
        self.refused += 1;
        let count = self.reasons.entry(code).or_default();
        *count += 1;
        if *count <= SAMPLES_PER_CODE {
            self.samples.push(Sample { source: source.to_owned(), row, code, message: message.to_owned() });
        }
    }
}

/// Told how an import goes on; every method is cheap to call and called from one thread.
pub trait Progress: Send {
    /// A source begins; `bytes` of it are known, compressed as it is.
    fn source(&mut self, name: &str, bytes: Option<u64>);

    /// So far: bytes of the source that were read, as compressed as it is, and the counts of the whole import.
    fn advanced(&mut self, bytes: u64, report: &Report);

    /// Columns are being written and committed.
    fn committing(&mut self, rows: u64);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn source(&mut self, _name: &str, _bytes: Option<u64>) {}
    fn advanced(&mut self, _bytes: u64, _report: &Report) {}
    fn committing(&mut self, _rows: u64) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_all_and_keeps_a_few_samples_of_each_reason() {
        let mut report = Report::default();
        for row in 1..=10 {
            report.refuse("a.jsonl", row, Code::WrongType, "w");
        }
        report.refuse("a.jsonl", 11, Code::InvalidJson, "j");
        assert_eq!(report.refused, 11);
        assert_eq!(report.reasons.get(&Code::WrongType), Some(&10));
        let rows: Vec<u64> = report.samples.iter().map(|sample| sample.row).collect();
        assert_eq!(rows, [1, 2, 3, 11]);
    }
}
