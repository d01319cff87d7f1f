//! Which statement asks which question of `analysis`.

use crate::analysis::Analysis;
use crate::error::Result;
use crate::sql::activity::activity;
use crate::sql::activity::paths;
use crate::sql::activity::sessions;
use crate::sql::cursor::Cursor;
use crate::sql::retention::retention;
use crate::sql::segment::overlap;
use crate::sql::segment::persons;
use crate::sql::trend::trend;

/// The words that begin a question.
pub(crate) const WORDS: [&str; 8] =
    ["RETENTION", "TREND", "LIFECYCLE", "STICKINESS", "SESSIONS", "PATHS", "PERSONS", "OVERLAP"];

/// A question within SQL: the table function that answers it, and its argument.
pub(crate) fn call(cursor: &mut Cursor) -> Result<(&'static str, String)> {
    match parse(cursor)? {
        Some(question) => Ok(("analysis", question.to_json()?)),
        None => Err(cursor.expected("a question")),
    }
}

/// The question that a statement asks, if it asks one.
pub(crate) fn parse(cursor: &mut Cursor) -> Result<Option<Analysis>> {
    Ok(Some(if cursor.take(&["RETENTION"]) {
        Analysis::Retention(retention(cursor)?)
    } else if cursor.take(&["TREND"]) {
        Analysis::Trend(trend(cursor)?)
    } else if cursor.take(&["LIFECYCLE"]) {
        Analysis::Lifecycle(activity(cursor)?)
    } else if cursor.take(&["STICKINESS"]) {
        Analysis::Stickiness(activity(cursor)?)
    } else if cursor.take(&["SESSIONS"]) {
        Analysis::Sessions(sessions(cursor)?)
    } else if cursor.take(&["PATHS"]) {
        Analysis::Paths(paths(cursor)?)
    } else if cursor.is(&["PERSONS", "WHERE"]) {
        Analysis::Persons(persons(cursor)?)
    } else if cursor.take(&["OVERLAP", "OF"]) {
        Analysis::Overlap(overlap(cursor)?)
    } else {
        return Ok(None);
    }))
}
