//! Statements that keep a store in order: how long events are kept, who is forgotten, copies and checks.

use crate::error::Result;
use crate::sql::StatementKind;
use crate::sql::cursor::Cursor;

/// A statement of this kind, if the text begins like one.
pub(crate) fn statement(cursor: &mut Cursor) -> Result<Option<StatementKind>> {
    let kind = if cursor.take(&["FORGET", "PERSON"]) {
        let kind = if cursor.is_name() { Some(cursor.name("a kind of identifier")?.text) } else { None };
        StatementKind::ForgetPerson { kind, id: cursor.text("the external id of the person")? }
    } else if cursor.take(&["SHOW", "RETENTION"]) {
        StatementKind::ShowRetention
    } else if cursor.take(&["BACKUP"]) {
        cursor.expect(&["TO"])?;
        StatementKind::Backup { into: cursor.text("a folder")? }
    } else if cursor.take(&["VERIFY"]) {
        StatementKind::Verify
    } else {
        return Ok(None);
    };
    Ok(Some(kind))
}

/// `6 MONTHS`, or nothing for `NONE`.
pub(crate) fn retention(cursor: &mut Cursor) -> Result<Option<String>> {
    if cursor.take(&["NONE"]) {
        return Ok(None);
    }
    let expected = "a number of DAYS, WEEKS, MONTHS or YEARS, or NONE";
    let count = cursor.value(expected)?;
    Ok(Some(format!("{count} {}", cursor.name("DAYS, WEEKS, MONTHS or YEARS")?.text)))
}
