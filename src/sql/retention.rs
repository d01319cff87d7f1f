//! `RETENTION start THEN return …`.

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::analysis::CellOf;
use crate::analysis::Entry;
use crate::analysis::RetentionRequest;
use crate::analysis::Shape;
use crate::error::Result;
use crate::sql::clauses::STOPS;
use crate::sql::clauses::ScopeClauses;
use crate::sql::clauses::events;
use crate::sql::clauses::period;
use crate::sql::cursor::Cursor;

/// `a [WHERE …] THEN b [WHERE …] [PER DAY | WEEK | MONTH] [FOR n] [ROLLING | CALENDAR] [FIRST TIME | FIRST EVER |
/// RECURRING] [ON OR AFTER] [BRACKETS (1, 4, 8)] [BY expression [SAME VALUE]] [FROM …] [TO …] [AS OF …] [IN ZONE …]
/// [FOR SEGMENT …] [CELLS] [PERSONS OF 'date' [PERIOD n] [VALUE '…']]` after the word `RETENTION`.
pub(crate) fn retention(cursor: &mut Cursor) -> Result<RetentionRequest> {
    let start = events(cursor, STOPS)?;
    cursor.expect(&["THEN"])?;
    let mut request = RetentionRequest { start, back: events(cursor, STOPS)?, ..RetentionRequest::default() };
    let mut scope = ScopeClauses::default();
    loop {
        if cursor.take(&["PER"]) {
            request.per = period(cursor)?;
        } else if scope.take(cursor)? {
        } else if cursor.take(&["FOR"]) {
            request.periods = Some(cursor.number("a number of periods, or SEGMENT")?);
        } else if cursor.take(&["ROLLING"]) {
            request.rolling = true;
        } else if cursor.take(&["CALENDAR"]) {
            request.rolling = false;
        } else if cursor.take(&["FIRST", "EVER"]) {
            request.entry = Entry::FirstEver;
        } else if cursor.take(&["FIRST", "TIME"]) {
            request.entry = Entry::FirstTime;
        } else if cursor.take(&["RECURRING"]) {
            request.entry = Entry::Recurring;
        } else if cursor.take(&["ON", "OR", "AFTER"]) {
            request.on_or_after = true;
        } else if cursor.take(&["BRACKETS"]) {
            request.brackets = brackets(cursor)?;
        } else if cursor.take(&["BY"]) {
            request.by = Some(cursor.expression("a property, or an expression", STOPS)?);
        } else if cursor.take(&["SAME", "VALUE"]) {
            request.same_value = true;
        } else if cursor.take(&["CELLS"]) {
            request.shape = Shape::Cells;
        } else if cursor.take(&["PERSONS", "OF"]) {
            request.persons_of = Some(cell(cursor)?);
        } else if cursor.at_query_end() {
            break;
        } else {
            return Err(cursor.expected(
                "PER, FOR, FROM, TO, BY, RECURRING, ROLLING, ON OR AFTER, BRACKETS, AS OF, IN ZONE, CELLS, PERSONS OF or the end",
            ));
        }
    }
    Ok(RetentionRequest {
        from: scope.from,
        to: scope.to,
        as_of: scope.as_of,
        zone: scope.zone,
        segment: scope.segment,
        ..request
    })
}

fn brackets(cursor: &mut Cursor) -> Result<Vec<u32>> {
    cursor.expect_symbol(&Token::LParen)?;
    let mut edges = vec![cursor.number("the first period of a bracket")?];
    while cursor.take_symbol(&Token::Comma) {
        edges.push(cursor.number("the first period of a bracket")?);
    }
    cursor.expect_symbol(&Token::RParen)?;
    Ok(edges)
}

/// `'date' [PERIOD n] [VALUE '…']`
fn cell(cursor: &mut Cursor) -> Result<CellOf> {
    let mut cell = CellOf { cohort: cursor.text("a date in the cohort's period")?, ..CellOf::default() };
    if cursor.take(&["PERIOD"]) {
        cell.period = Some(cursor.number("the number of a period")?);
    }
    if cursor.take(&["VALUE"]) {
        cell.value = Some(cursor.text("a value")?);
    }
    Ok(cell)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Analysis;
    use crate::sql::StatementKind;
    use crate::sql::parse;
    use crate::time::Period;

    fn one(text: &str) -> RetentionRequest {
        let statement = parse(text).unwrap().remove(0);
        let StatementKind::Question(question) = statement.kind else { panic!("no question: {text}") };
        let Analysis::Retention(request) = *question else { panic!("no retention: {text}") };
        request
    }

    #[test]
    fn a_statement_and_its_json_are_one_request() {
        let request = one(
            "RETENTION pageView WHERE path IN ('/a, b', 'it''s') AND CASE WHEN x THEN y ELSE z END\n  THEN * \
                           PER WEEK FOR 8 RECURRING ROLLING ON OR AFTER BY upper(device) SAME VALUE \
                           FROM '2026-06-01' TO '2026-07-01' AS OF '2026-08-01' IN ZONE 'Europe/Zagreb' FOR SEGMENT buyers CELLS \
                           PERSONS OF '2026-06-01' PERIOD 3 VALUE 'X'",
        );
        assert_eq!(
            request.start.filter.as_deref(),
            Some("path IN ('/a, b', 'it''s') AND CASE WHEN x THEN y ELSE z END")
        );
        let json = r#"{
            "kind": "retention",
            "start": {"event": "pageView", "where": "path IN ('/a, b', 'it''s') AND CASE WHEN x THEN y ELSE z END"},
            "return": {"event": "*"},
            "per": "week", "periods": 8, "entry": "recurring", "rolling": true, "on_or_after": true,
            "by": "upper(device)", "same_value": true, "from": "2026-06-01", "to": "2026-07-01", "as_of": "2026-08-01",
            "zone": "Europe/Zagreb", "segment": "buyers", "shape": "cells",
            "persons_of": {"cohort": "2026-06-01", "period": 3, "value": "X"}
        }"#;
        assert_eq!(Analysis::from_json(json).unwrap(), Analysis::Retention(request));
        assert_eq!(one("retention a then b").per, Period::Day);
        assert_eq!(one("RETENTION a THEN b BRACKETS (1, 4, 8)").brackets, [1, 4, 8]);
    }

    #[test]
    fn what_is_missing_or_twice_is_said() {
        for (text, said) in [
            ("RETENTION a", "expected THEN"),
            ("RETENTION a THEN b FOR x", "a number of periods"),
            ("RETENTION a THEN b FROM '2026-06-01' FROM '2026-06-02'", "FROM is there already"),
            ("RETENTION a WHERE THEN b", "expected a condition"),
            ("RETENTION a THEN b PER FORTNIGHT", "DAY, WEEK or MONTH"),
            ("RETENTION a THEN b WITHOUT c", "PER, FOR"),
        ] {
            let fault = parse(text).unwrap_err();
            assert!(fault.to_string().contains(said), "{text}: {fault}");
            assert!(fault.place().is_some(), "{text}");
        }
        let fault = Analysis::from_json(r#"{"kind": "retention", "start": {"event": "a"}, "retrun": 1}"#)
            .unwrap_err();
        assert!(fault.to_string().contains("retrun"), "{fault}");
    }
}
