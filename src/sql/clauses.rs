//! The clauses that our questions share: which events, from when to when, in which zone, of which persons.

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::analysis::Events;
use crate::error::Error;
use crate::error::Result;
use crate::sql::cursor::Cursor;
use crate::time::Period;

/// The words at which a condition or an expression inside of a question ends.
pub(crate) const STOPS: &[&[&str]] = &[
    &["THEN"],
    &["PER"],
    &["WITHIN"],
    &["FROM"],
    &["TO"],
    &["AS", "OF"],
    &["IN", "ZONE"],
    &["FOR"],
    &["BY"],
    &["SAME", "VALUE"],
    &["ROLLING"],
    &["CALENDAR"],
    &["FIRST"],
    &["RECURRING"],
    &["ON", "OR", "AFTER"],
    &["BRACKETS"],
    &["CELLS"],
    &["PERSONS", "OF"],
];

/// The same inside of a trend.
pub(crate) const TREND_STOPS: &[&[&str]] = &[
    &["FORMULA"],
    &["PER"],
    &["FROM"],
    &["TO"],
    &["AS"],
    &["IN", "ZONE"],
    &["FOR", "SEGMENT"],
    &["BY"],
    &["TOP"],
    &["MOVING"],
    &["COMPARE"],
    &["CUMULATIVE"],
];

/// `pageView`, `*`, `pageView WHERE path = '/shoes'`.
pub(crate) fn events(cursor: &mut Cursor, stops: &[&[&str]]) -> Result<Events> {
    let event = if cursor.take_symbol(&Token::Mul) {
        "*".to_owned()
    } else {
        cursor.name("the id of an event, or * for any")?.text
    };
    let filter = if cursor.take(&["WHERE"]) { Some(cursor.expression("a condition", stops)?) } else { None };
    Ok(Events { event, filter })
}

/// `DAY`, `WEEKS`, …
pub(crate) fn period(cursor: &mut Cursor) -> Result<Period> {
    for (words, period) in [
        (["DAY", "DAYS"], Period::Day),
        (["WEEK", "WEEKS"], Period::Week),
        (["MONTH", "MONTHS"], Period::Month),
    ] {
        if words.into_iter().any(|word| cursor.take(&[word])) {
            return Ok(period);
        }
    }
    Err(cursor.expected("DAY, WEEK or MONTH"))
}

/// `FROM`, `TO`, `AS OF`, `IN ZONE` and `FOR SEGMENT`, in any order and once each.
#[derive(Debug, Default)]
pub(crate) struct ScopeClauses {
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    pub(crate) as_of: Option<String>,
    pub(crate) zone: Option<String>,
    pub(crate) segment: Option<String>,
}

impl ScopeClauses {
    /// Takes one of the clauses if it comes next.
    pub(crate) fn take(&mut self, cursor: &mut Cursor) -> Result<bool> {
        let place = cursor.place();
        let (name, slot, what) = if cursor.take(&["FROM"]) {
            ("FROM", &mut self.from, "a time")
        } else if cursor.take(&["TO"]) {
            ("TO", &mut self.to, "a time")
        } else if cursor.take(&["AS", "OF"]) {
            ("AS OF", &mut self.as_of, "a time")
        } else if cursor.take(&["IN", "ZONE"]) {
            ("IN ZONE", &mut self.zone, "the name of a time zone")
        } else if cursor.take(&["FOR", "SEGMENT"]) {
            ("FOR SEGMENT", &mut self.segment, "the name of a segment")
        } else {
            return Ok(false);
        };
        if slot.is_some() {
            return Err(Error::invalid(format!("{name} is there already")).at(place));
        }
        *slot = Some(if name == "FOR SEGMENT" { cursor.value(what)? } else { cursor.text(what)? });
        Ok(true)
    }
}
