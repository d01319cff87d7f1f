//! Which statement asks which question of `analysis`.

use crate::analysis::Analysis;
use crate::error::Result;
use crate::sql::cursor::Cursor;
use crate::sql::retention::retention;

/// The question that a statement asks, if it asks one.
pub(crate) fn parse(cursor: &mut Cursor) -> Result<Option<Analysis>> {
    Ok(if cursor.take(&["RETENTION"]) { Some(Analysis::Retention(retention(cursor)?)) } else { None })
}
