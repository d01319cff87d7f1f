//! The statements about exports: events, queries, and schedules.

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::error::Result;
use crate::sql::CreateExportSchedule;
use crate::sql::ExportEvents;
use crate::sql::ExportQuery;
use crate::sql::StatementKind;
use crate::sql::cursor::Cursor;
use crate::sql::parser::patterns;

/// After `EXPORT`: `EVENTS …`, or `(SELECT …) INTO '…' [WITH (…)]`.
pub(crate) fn export(cursor: &mut Cursor) -> Result<StatementKind> {
    if let Some(query) = cursor.parenthesised()? {
        cursor.expect(&["INTO"])?;
        let into = cursor.text("a folder or an s3:// address")?;
        return Ok(StatementKind::ExportQuery(ExportQuery { query, into, options: options(cursor)? }));
    }
    if !cursor.take(&["EVENTS"]) {
        return Err(cursor.expected("EVENTS or a query in parentheses"));
    }
    Ok(StatementKind::ExportEvents(events(cursor)?))
}

/// `[* | ids and patterns] FROM '…' TO '…' INTO '…' [WITH (name value, …)]`
fn events(cursor: &mut Cursor) -> Result<ExportEvents> {
    let mut export = ExportEvents::default();
    if !cursor.take_symbol(&Token::Mul) && !cursor.is(&["FROM"]) {
        export.events = patterns(cursor)?;
    }
    cursor.expect(&["FROM"])?;
    export.from = cursor.text("a time")?;
    cursor.expect(&["TO"])?;
    export.to = cursor.text("a time")?;
    cursor.expect(&["INTO"])?;
    export.into = cursor.text("a folder or an s3:// address")?;
    export.options = options(cursor)?;
    Ok(export)
}

/// After `CREATE EXPORT SCHEDULE`: `name EVENTS [* | ids and patterns] EVERY n UNIT [GRACE n UNIT] [FROM '…'] INTO '…'
/// [WITH (…)]`
pub(crate) fn schedule(cursor: &mut Cursor) -> Result<CreateExportSchedule> {
    let mut schedule =
        CreateExportSchedule { name: cursor.name("the name of the schedule")?.text, ..Default::default() };
    cursor.expect(&["EVENTS"])?;
    if !cursor.take_symbol(&Token::Mul) && !cursor.is(&["EVERY"]) {
        schedule.events = patterns(cursor)?;
    }
    cursor.expect(&["EVERY"])?;
    schedule.every = interval(cursor)?;
    if cursor.take(&["GRACE"]) {
        schedule.grace = Some(interval(cursor)?);
    }
    if cursor.take(&["FROM"]) {
        schedule.from = Some(cursor.text("a time")?);
    }
    cursor.expect(&["INTO"])?;
    schedule.into = cursor.text("a folder or an s3:// address")?;
    schedule.options = options(cursor)?;
    Ok(schedule)
}

/// `1 HOUR`, as typed.
fn interval(cursor: &mut Cursor) -> Result<(String, String)> {
    let number = cursor.value("a number")?;
    Ok((number, cursor.name("MINUTES, HOURS, DAYS or WEEKS")?.text))
}

/// `[WITH (name value, …)]`
fn options(cursor: &mut Cursor) -> Result<Vec<(String, String)>> {
    let mut options = Vec::new();
    if cursor.take(&["WITH"]) {
        cursor.expect_symbol(&Token::LParen)?;
        loop {
            let name = cursor.name("the name of an option")?.text.to_lowercase();
            options.push((name, cursor.value("the value of the option")?));
            if !cursor.take_symbol(&Token::Comma) {
                break;
            }
        }
        cursor.expect_symbol(&Token::RParen)?;
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> StatementKind {
        crate::sql::parse(text).unwrap().remove(0).kind
    }

    #[test]
    fn a_query_is_taken_as_it_is_typed() {
        let kind = one(
            "EXPORT (SELECT ')' AS p, (1 + 2) AS n\n FROM pageView -- )\n) INTO 'out' WITH (format 'parquet')",
        );
        let expected = ExportQuery {
            query: "SELECT ')' AS p, (1 + 2) AS n\n FROM pageView -- )\n".to_owned(),
            into: "out".to_owned(),
            options: vec![("format".to_owned(), "parquet".to_owned())],
        };
        assert_eq!(kind, StatementKind::ExportQuery(expected));
    }

    #[test]
    fn a_schedule_has_a_name_events_and_an_interval() {
        let kind =
            one("CREATE EXPORT SCHEDULE hourly EVENTS pageView, 'email*' EVERY 1 HOUR GRACE 10 MINUTES \
                        FROM '2026-06-01' INTO 's3://acme/raw/' WITH (role_arn 'x')");
        let pair = |number: &str, unit: &str| (number.to_owned(), unit.to_owned());
        let expected = CreateExportSchedule {
            name: "hourly".to_owned(),
            events: vec!["pageView".to_owned(), "email*".to_owned()],
            every: pair("1", "HOUR"),
            grace: Some(pair("10", "MINUTES")),
            from: Some("2026-06-01".to_owned()),
            into: "s3://acme/raw/".to_owned(),
            options: vec![pair("role_arn", "x")],
        };
        assert_eq!(kind, StatementKind::CreateExportSchedule(expected));
        assert_eq!(
            one("DROP EXPORT SCHEDULE hourly"),
            StatementKind::DropExportSchedule { name: "hourly".to_owned() }
        );
        let StatementKind::CreateExportSchedule(all) =
            one("CREATE EXPORT SCHEDULE d EVENTS EVERY 1 DAY INTO 'o'")
        else {
            panic!("not a schedule")
        };
        assert!(all.events.is_empty());
    }

    #[test]
    fn an_export_that_is_neither_says_what_was_expected() {
        let fault = crate::sql::parse("EXPORT pageView").unwrap_err().to_string();
        assert_eq!(fault, "expected EVENTS or a query in parentheses, found \"pageView\"");
        let open = crate::sql::parse("EXPORT (SELECT 1 INTO 'x'").unwrap_err().to_string();
        assert!(open.contains("expected \")\""), "{open}");
    }
}
