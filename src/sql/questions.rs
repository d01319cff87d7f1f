//! Which statement asks which question of `analysis`.

use crate::analysis::Analysis;
use crate::error::Result;
use crate::sql::cursor::Cursor;
use crate::sql::retention::retention;
use crate::sql::trend::trend;

/// The question that a statement asks, if it asks one.
pub(crate) fn parse(cursor: &mut Cursor) -> Result<Option<Analysis>> {
    Ok(Some(if cursor.take(&["RETENTION"]) {
        Analysis::Retention(retention(cursor)?)
    } else if cursor.take(&["TREND"]) {
        Analysis::Trend(trend(cursor)?)
    } else {
        return Ok(None);
    }))
}
