//! `LIFECYCLE`, `STICKINESS`, `SESSIONS` and `PATHS`.

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::analysis::ActivityRequest;
use crate::analysis::PathsRequest;
use crate::analysis::SessionsRequest;
use crate::error::Result;
use crate::sql::clauses::ScopeClauses;
use crate::sql::clauses::events;
use crate::sql::clauses::period;
use crate::sql::cursor::Cursor;
use crate::sql::segment::span;

/// The words at which a condition or an expression of these questions ends.
const STOPS: &[&[&str]] = &[
    &["PER"],
    &["FROM"],
    &["TO"],
    &["AS", "OF"],
    &["IN", "ZONE"],
    &["FOR", "SEGMENT"],
    &["PAUSE"],
    &["ENTRY"],
    &["EXIT"],
    &["TOP"],
    &["THROUGH"],
    &["STEPS"],
    &["BY"],
    &["WITHIN"],
];

/// `event [WHERE …] [PER DAY | WEEK | MONTH]` and the clauses of every question, after `LIFECYCLE` or `STICKINESS`.
pub(crate) fn activity(cursor: &mut Cursor) -> Result<ActivityRequest> {
    let mut request = ActivityRequest { events: events(cursor, STOPS)?, ..ActivityRequest::default() };
    let mut scope = ScopeClauses::default();
    loop {
        if cursor.take(&["PER"]) {
            request.per = period(cursor)?;
        } else if scope.take(cursor)? {
        } else if cursor.at_query_end() {
            break;
        } else {
            return Err(cursor.expected("PER, FROM, TO, AS OF, IN ZONE, FOR SEGMENT or the end"));
        }
    }
    let ScopeClauses { from, to, as_of, zone, segment } = scope;
    Ok(ActivityRequest { from, to, as_of, zone, segment, ..request })
}

/// `[OF event [WHERE …]] [PAUSE 30 MINUTES] [PER DAY | …] [ENTRY expression | EXIT expression] [TOP n]` and the clauses
/// of every question, after `SESSIONS`.
pub(crate) fn sessions(cursor: &mut Cursor) -> Result<SessionsRequest> {
    let mut request = SessionsRequest::default();
    request.events.event = "*".to_owned();
    if cursor.take(&["OF"]) {
        request.events = events(cursor, STOPS)?;
    }
    let mut scope = ScopeClauses::default();
    loop {
        let what = "a property, or an expression";
        if cursor.take(&["PAUSE"]) {
            request.pause = Some(span(cursor)?);
        } else if cursor.take(&["PER"]) {
            request.per = period(cursor)?;
        } else if request.exit.is_none() && cursor.take(&["ENTRY"]) {
            request.entry = Some(cursor.expression(what, STOPS)?);
        } else if request.entry.is_none() && cursor.take(&["EXIT"]) {
            request.exit = Some(cursor.expression(what, STOPS)?);
        } else if cursor.take(&["TOP"]) {
            request.top = Some(cursor.number("how many values to show")?);
        } else if scope.take(cursor)? {
        } else if cursor.at_query_end() {
            break;
        } else {
            return Err(cursor.expected(
                "OF, PAUSE, PER, ENTRY or EXIT, TOP, FROM, TO, AS OF, IN ZONE, FOR SEGMENT or the end",
            ));
        }
    }
    let ScopeClauses { from, to, as_of, zone, segment } = scope;
    Ok(SessionsRequest { from, to, as_of, zone, segment, ..request })
}

/// `FROM | TO event [WHERE …] [STEPS n] [THROUGH event [WHERE …], …] [BY expression] [WITHIN 1 DAY] [TOP n]` and the
/// clauses of every question, after `PATHS`.
pub(crate) fn paths(cursor: &mut Cursor) -> Result<PathsRequest> {
    let mut request = PathsRequest { to_it: cursor.take(&["TO"]), ..PathsRequest::default() };
    if !request.to_it && !cursor.take(&["FROM"]) {
        return Err(cursor.expected("FROM or TO and an event"));
    }
    request.anchor = events(cursor, STOPS)?;
    let mut scope = ScopeClauses::default();
    loop {
        if cursor.take(&["STEPS"]) {
            request.steps = Some(cursor.number("a number of steps")?);
        } else if cursor.take(&["THROUGH"]) {
            request.through = vec![events(cursor, STOPS)?];
            while cursor.take_symbol(&Token::Comma) {
                request.through.push(events(cursor, STOPS)?);
            }
        } else if cursor.take(&["BY"]) {
            request.by = Some(cursor.expression("a property, or an expression", STOPS)?);
        } else if cursor.take(&["WITHIN"]) {
            request.within = Some(span(cursor)?);
        } else if cursor.take(&["TOP"]) {
            request.top = Some(cursor.number("how many branches to show")?);
        } else if scope.take(cursor)? {
        } else if cursor.at_query_end() {
            break;
        } else {
            return Err(cursor.expected(
                "STEPS, THROUGH, BY, WITHIN, TOP, FROM, TO, AS OF, IN ZONE, FOR SEGMENT or the end",
            ));
        }
    }
    let ScopeClauses { from, to, as_of, zone, segment } = scope;
    Ok(PathsRequest { from, to, as_of, zone, segment, ..request })
}

#[cfg(test)]
mod tests {
    use crate::analysis::Analysis;
    use crate::sql::StatementKind;
    use crate::sql::parse;

    #[test]
    fn statements_and_their_json_are_one_request() {
        for (text, json) in [
            (
                "LIFECYCLE pageView WHERE path = '/a' PER WEEK FROM '2026-06-01' FOR SEGMENT x",
                r#"{"kind": "lifecycle", "events": {"event": "pageView", "where": "path = '/a'"}, "per": "week",
                    "from": "2026-06-01", "segment": "x"}"#,
            ),
            (
                "STICKINESS * TO '2026-06-01' IN ZONE 'UTC'",
                r#"{"kind": "stickiness", "events": {"event": "*"}, "to": "2026-06-01", "zone": "UTC"}"#,
            ),
            (
                "SESSIONS OF pageView PAUSE 20 MINUTES PER MONTH ENTRY path TOP 3",
                r#"{"kind": "sessions", "events": {"event": "pageView"}, "pause": {"count": 20, "unit": "minutes"}, "per": "month",
                    "entry": "path", "top": 3}"#,
            ),
            (
                "PATHS TO purchase WHERE total > 1 STEPS 4 THROUGH a WHERE x = 1, b BY path WITHIN 2 HOURS TOP 3 FROM '2026-06-01'",
                r#"{"kind": "paths", "to_it": true, "anchor": {"event": "purchase", "where": "total > 1"}, "steps": 4,
                    "through": [{"event": "a", "where": "x = 1"}, {"event": "b"}], "by": "path",
                    "within": {"count": 2, "unit": "hours"}, "top": 3, "from": "2026-06-01"}"#,
            ),
        ] {
            let StatementKind::Question(question) = parse(text).unwrap().remove(0).kind else {
                panic!("{text}")
            };
            assert_eq!(Analysis::from_json(json).unwrap(), *question, "{text}");
        }
        for wrong in ["PATHS home", "SESSIONS ENTRY a EXIT b", "LIFECYCLE a TOP 3", "STICKINESS"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
