//! `CREATE SEGMENT … AS PERSONS WHERE …` and the conditions that make a person a member.

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::analysis::Events;
use crate::analysis::segment::Aggregate;
use crate::analysis::segment::Amount;
use crate::analysis::segment::Change;
use crate::analysis::segment::Comparison;
use crate::analysis::segment::Condition;
use crate::analysis::segment::Did;
use crate::analysis::segment::Occurrence;
use crate::analysis::segment::OverlapRequest;
use crate::analysis::segment::PersonsRequest;
use crate::analysis::segment::Span;
use crate::analysis::segment::SpanUnit;
use crate::analysis::segment::Steps;
use crate::analysis::segment::Total;
use crate::analysis::segment::Window;
use crate::error::Place;
use crate::error::Result;
use crate::sql::cursor::Cursor;

/// What a statement does with segments.
#[derive(Clone, Debug, PartialEq)]
pub enum SegmentStatement {
    Create(CreateSegment),
    Drop {
        name: String,
        if_exists: bool,
    },
    /// `REFRESH SEGMENT name`, or all live ones.
    Refresh {
        name: Option<String>,
    },
    Show,
}

/// `CREATE SEGMENT …`.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateSegment {
    pub name: String,
    pub description: Option<String>,
    pub or_replace: bool,
    pub if_not_exists: bool,
    pub members: Members,
}

/// Who is in a segment.
#[derive(Clone, Debug, PartialEq)]
pub enum Members {
    /// Whoever meets the condition, whenever it is asked for.
    Live(PersonsRequest),
    /// Whoever meets the condition now, for good.
    Frozen(PersonsRequest),
    /// The persons of a query's answer, for good: its column `personId`.
    Query { text: String, place: Place },
    /// Whoever meets the conditions of a segment in the published JSON.
    Json(String),
    /// The persons with these external ids.
    Listed(Vec<String>),
    /// The persons whose external ids stand in a file, one a line.
    File(String),
}

impl SegmentStatement {
    /// The file that it would read.
    pub fn file(&self) -> Option<&str> {
        match self {
            Self::Create(CreateSegment { members: Members::File(path), .. }) => Some(path),
            _ => None,
        }
    }
}

/// The words with which a condition of ours starts, and no SQL.
const OURS: &[&[&str]] = &[
    &["DID"],
    &["SEQUENCE"],
    &["STOPPED"],
    &["CAME", "BACK"],
    &["IN", "SEGMENT"],
    &["NOT", "IN", "SEGMENT"],
];

/// The words with which a clause of `DID` and its kin starts.
const CLAUSES: &[&[&str]] = &[
    &["AT", "LEAST"],
    &["AT", "MOST"],
    &["EXACTLY"],
    &["ON", "AT"],
    &["ON", "EXACTLY"],
    &["ON", "BETWEEN"],
    &["HAVING"],
    &["FIRST", "TIME"],
    &["LAST", "TIME"],
    &["IN", "LAST"],
    &["BEFORE"],
    &["SINCE"],
    &["THEN"],
    &["NOT", "FOLLOWED"],
    &["WITHIN"],
    &["FOR"],
    &["AFTER"],
    &["AS", "OF"],
    &["IN", "ZONE"],
];

/// A statement about segments, if it is one.
pub(crate) fn segment(cursor: &mut Cursor) -> Result<Option<SegmentStatement>> {
    let or_replace = cursor.is(&["CREATE", "OR", "REPLACE", "SEGMENT"])
        || cursor.is(&["CREATE", "OR", "REPLACE", "STATIC", "SEGMENT"]);
    if or_replace {
        cursor.take(&["CREATE", "OR", "REPLACE"]);
    } else if cursor.is(&["CREATE", "SEGMENT"]) || cursor.is(&["CREATE", "STATIC", "SEGMENT"]) {
        cursor.take(&["CREATE"]);
    } else if cursor.take(&["DROP", "SEGMENT"]) {
        let if_exists = cursor.take(&["IF", "EXISTS"]);
        return Ok(Some(SegmentStatement::Drop {
            name: cursor.name("the name of a segment")?.text,
            if_exists,
        }));
    } else if cursor.take(&["REFRESH", "SEGMENTS"]) {
        return Ok(Some(SegmentStatement::Refresh { name: None }));
    } else if cursor.take(&["REFRESH", "SEGMENT"]) {
        return Ok(Some(SegmentStatement::Refresh {
            name: Some(cursor.name("the name of a segment")?.text),
        }));
    } else if cursor.take(&["SHOW", "SEGMENTS"]) {
        return Ok(Some(SegmentStatement::Show));
    } else {
        return Ok(None);
    }
    let frozen = cursor.take(&["STATIC"]);
    cursor.expect(&["SEGMENT"])?;
    let if_not_exists = cursor.take(&["IF", "NOT", "EXISTS"]);
    let name = cursor.name("the name of the segment")?.text;
    let description =
        if cursor.take(&["DESCRIPTION"]) { Some(cursor.text("the description")?) } else { None };
    let members = if cursor.take(&["FROM"]) {
        Members::File(cursor.text("a file with an external person id a line")?)
    } else {
        cursor.expect(&["AS"])?;
        if !frozen && cursor.take(&["JSON"]) {
            Members::Json(cursor.text("a segment in JSON")?)
        } else if cursor.take(&["LIST"]) {
            Members::Listed(list(cursor)?)
        } else if is_query(cursor) {
            if !frozen {
                return Err(
                    cursor.expected("PERSONS WHERE …; CREATE STATIC SEGMENT keeps the persons of a query")
                );
            }
            Members::Query { place: cursor.place(), text: cursor.rest().to_owned() }
        } else {
            let place = cursor.place();
            let request = persons(cursor)?;
            if request.as_of.is_some() && !frozen {
                let message =
                    "a segment is asked for as of any moment; only CREATE STATIC SEGMENT is as of one";
                return Err(crate::error::Error::invalid(message).at(place));
            }
            if frozen { Members::Frozen(request) } else { Members::Live(request) }
        }
    };
    Ok(Some(SegmentStatement::Create(CreateSegment {
        name,
        description,
        or_replace,
        if_not_exists,
        members,
    })))
}

fn is_query(cursor: &Cursor) -> bool {
    ["SELECT", "WITH", "FUNNEL", "RETENTION"].iter().any(|word| cursor.is(&[word]))
        || cursor.is_symbol(&Token::LParen)
}

fn list(cursor: &mut Cursor) -> Result<Vec<String>> {
    cursor.expect_symbol(&Token::LParen)?;
    let mut ids = vec![cursor.text("an external person id")?];
    while cursor.take_symbol(&Token::Comma) {
        ids.push(cursor.text("an external person id")?);
    }
    cursor.expect_symbol(&Token::RParen)?;
    Ok(ids)
}

/// `PERSONS WHERE condition [AS OF 'time'] [IN ZONE 'zone']`
pub(crate) fn persons(cursor: &mut Cursor) -> Result<PersonsRequest> {
    cursor.expect(&["PERSONS", "WHERE"])?;
    let mut request = PersonsRequest { condition: any(cursor)?, as_of: None, zone: None };
    loop {
        if cursor.take(&["AS", "OF"]) {
            request.as_of = Some(cursor.text("a time")?);
        } else if cursor.take(&["IN", "ZONE"]) {
            request.zone = Some(cursor.text("the name of a time zone")?);
        } else {
            return Ok(request);
        }
    }
}

/// The names of segments, after `OVERLAP OF`.
pub(crate) fn overlap(cursor: &mut Cursor) -> Result<OverlapRequest> {
    let mut segments = vec![cursor.value("the name of a segment")?];
    while cursor.take_symbol(&Token::Comma) {
        segments.push(cursor.value("the name of a segment")?);
    }
    Ok(OverlapRequest { segments })
}

/// Conditions joined by `OR`.
pub(crate) fn any(cursor: &mut Cursor) -> Result<Condition> {
    let mut parts = vec![all(cursor)?];
    while cursor.take(&["OR"]) {
        parts.push(all(cursor)?);
    }
    Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::Or(parts) })
}

/// Conditions joined by `AND`.
fn all(cursor: &mut Cursor) -> Result<Condition> {
    let mut parts = vec![one(cursor)?];
    while cursor.take(&["AND"]) {
        parts.push(one(cursor)?);
    }
    Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::And(parts) })
}

fn one(cursor: &mut Cursor) -> Result<Condition> {
    if cursor.is_group_with(0, OURS) {
        cursor.expect_symbol(&Token::LParen)?;
        let inner = any(cursor)?;
        cursor.expect_symbol(&Token::RParen)?;
        return Ok(inner);
    }
    if cursor.take(&["NOT"]) {
        return Ok(Condition::Not(Box::new(one(cursor)?)));
    }
    if cursor.take(&["DID", "NOT"]) {
        return Ok(Condition::Not(Box::new(did(cursor)?)));
    }
    if cursor.take(&["DID"]) {
        return did(cursor);
    }
    if cursor.take(&["SEQUENCE"]) {
        return sequence(cursor);
    }
    if cursor.take(&["STOPPED"]) {
        let events = filtered(cursor)?;
        cursor.expect(&["FOR"])?;
        return Ok(Condition::Stopped(Box::new(Change { events, span: span(cursor)? })));
    }
    if cursor.take(&["CAME", "BACK", "TO"]) {
        let events = filtered(cursor)?;
        cursor.expect(&["AFTER"])?;
        return Ok(Condition::CameBack(Box::new(Change { events, span: span(cursor)? })));
    }
    if cursor.take(&["IN", "SEGMENT"]) {
        return Ok(Condition::Segment(cursor.value("the name of a segment")?));
    }
    let stops = |cursor: &Cursor| {
        [["AND"], ["OR"]].iter().any(|word| cursor.is(word))
            || cursor.is(&["AS", "OF"])
            || cursor.is(&["IN", "ZONE"])
    };
    let text = cursor.expression_up_to(
        "a condition on a person, DID, SEQUENCE, STOPPED, CAME BACK TO or IN SEGMENT",
        stops,
    )?;
    Ok(Condition::Persons(text))
}

/// Where the condition of an event ends: at a clause, and where another condition of ours is joined.
fn ends_filter(cursor: &Cursor) -> bool {
    let joined = cursor.is(&["AND"]) || cursor.is(&["OR"]);
    let skip = if joined && cursor.is_ahead(1, &["NOT"]) { 2 } else { 1 };
    CLAUSES.iter().any(|clause| cursor.is(clause))
        || joined && (OURS.iter().any(|ours| cursor.is_ahead(skip, ours)) || cursor.is_group_with(skip, OURS))
}

fn event(cursor: &mut Cursor) -> Result<Events> {
    let event = if cursor.take_symbol(&Token::Mul) {
        "*".to_owned()
    } else {
        cursor.name("the id of an event, or * for any")?.text
    };
    Ok(Events { event, filter: None })
}

fn filter(cursor: &mut Cursor, events: &mut Events) -> Result<bool> {
    let comes = cursor.take(&["WHERE"]);
    if comes {
        events.filter = Some(cursor.expression_up_to("a condition", ends_filter)?);
    }
    Ok(comes)
}

fn filtered(cursor: &mut Cursor) -> Result<Events> {
    let mut events = event(cursor)?;
    filter(cursor, &mut events)?;
    Ok(events)
}

/// `event` and its clauses, after `DID`.
fn did(cursor: &mut Cursor) -> Result<Condition> {
    let mut did = Did { events: event(cursor)?, ..Did::default() };
    loop {
        if filter(cursor, &mut did.events)? {
        } else if cursor.take(&["ON"]) {
            did.days = Some(amount(cursor)?);
            plural(cursor, "DAY")?;
        } else if cursor.take(&["HAVING"]) {
            did.total = Some(total(cursor)?);
        } else if cursor.take(&["FIRST", "TIME"]) {
            did.occurrence = Occurrence::First;
        } else if cursor.take(&["LAST", "TIME"]) {
            did.occurrence = Occurrence::Last;
        } else if cursor.is(&["AT"]) || cursor.is(&["EXACTLY"]) {
            did.times = Some(amount(cursor)?);
            plural(cursor, "TIME")?;
        } else if cursor.take(&["BETWEEN"]) {
            between(cursor, &mut did)?;
        } else if let Some(time) = window(cursor)? {
            did.time = time;
        } else {
            return Ok(Condition::Did(Box::new(did)));
        }
    }
}

/// `AT LEAST n`, `AT MOST n`, `EXACTLY n`, `BETWEEN n AND n`
fn amount(cursor: &mut Cursor) -> Result<Amount> {
    let what = "a whole number";
    if cursor.take(&["AT", "LEAST"]) {
        Ok(Amount::AtLeast(cursor.number(what)?))
    } else if cursor.take(&["AT", "MOST"]) {
        Ok(Amount::AtMost(cursor.number(what)?))
    } else if cursor.take(&["EXACTLY"]) {
        Ok(Amount::Exactly(cursor.number(what)?))
    } else if cursor.take(&["BETWEEN"]) {
        let least = cursor.number(what)?;
        cursor.expect(&["AND"])?;
        Ok(Amount::Between(least, cursor.number(what)?))
    } else {
        Err(cursor.expected("AT LEAST, AT MOST, EXACTLY or BETWEEN"))
    }
}

fn plural(cursor: &mut Cursor, word: &str) -> Result<()> {
    let many = format!("{word}S");
    if cursor.take(&[word]) || cursor.take(&[&many]) { Ok(()) } else { Err(cursor.expected(&many)) }
}

/// `n AND n TIMES`, `n AND n DAYS AGO`, `'time' AND 'time'`, after `BETWEEN`.
fn between(cursor: &mut Cursor, did: &mut Did) -> Result<()> {
    let Ok(first) = cursor.number::<u32>("a number") else {
        did.time = absolute(cursor)?;
        return Ok(());
    };
    cursor.expect(&["AND"])?;
    let second = cursor.number::<u32>("a number")?;
    if cursor.take(&["TIMES"]) || cursor.take(&["TIME"]) {
        did.times = Some(Amount::Between(first.into(), second.into()));
        return Ok(());
    }
    did.time = ago(cursor, first, second)?;
    Ok(())
}

fn absolute(cursor: &mut Cursor) -> Result<Window> {
    let from = Some(cursor.text("a number, or a time")?);
    cursor.expect(&["AND"])?;
    Ok(Window::Absolute { from, to: Some(cursor.text("a time")?) })
}

fn ago(cursor: &mut Cursor, from: u32, to: u32) -> Result<Window> {
    let unit = unit(cursor, "TIMES, or a unit and AGO,")?;
    cursor.expect(&["AGO"])?;
    Ok(Window::Ago { from: Span { count: from, unit }, to: Span { count: to, unit } })
}

/// `IN LAST n DAYS`, `IN LAST n CALENDAR DAYS`, `BEFORE LAST n DAYS`, `BEFORE 'time'`, `SINCE 'time'`, if one comes next.
fn window(cursor: &mut Cursor) -> Result<Option<Window>> {
    Ok(Some(if cursor.take(&["IN", "LAST"]) {
        let count = cursor.number("a number of days, hours or minutes")?;
        if cursor.take(&["CALENDAR"]) {
            plural(cursor, "DAY")?;
            Window::LastDays(count)
        } else {
            Window::Last(Span { count, unit: unit(cursor, "DAYS, HOURS, MINUTES or WEEKS")? })
        }
    } else if cursor.take(&["BEFORE", "LAST"]) {
        Window::BeforeLast(span(cursor)?)
    } else if cursor.take(&["BEFORE"]) {
        Window::Absolute { from: None, to: Some(cursor.text("a time, or LAST")?) }
    } else if cursor.take(&["SINCE"]) {
        Window::Absolute { from: Some(cursor.text("a time")?), to: None }
    } else {
        return Ok(None);
    }))
}

pub(crate) fn span(cursor: &mut Cursor) -> Result<Span> {
    let count = cursor.number("a number of days, hours or minutes")?;
    Ok(Span { count, unit: unit(cursor, "DAYS, HOURS, MINUTES or WEEKS")? })
}

fn unit(cursor: &mut Cursor, expected: &str) -> Result<SpanUnit> {
    let units = [
        (["MINUTE", "MINUTES"], SpanUnit::Minutes),
        (["HOUR", "HOURS"], SpanUnit::Hours),
        (["DAY", "DAYS"], SpanUnit::Days),
        (["WEEK", "WEEKS"], SpanUnit::Weeks),
    ];
    let found = units.into_iter().find(|(words, _)| words.iter().any(|word| cursor.is(&[word])));
    let Some((words, unit)) = found else { return Err(cursor.expected(expected)) };
    let taken = words.iter().any(|word| cursor.take(&[word]));
    debug_assert!(taken, "one of the words came next");
    Ok(unit)
}

/// `SUM(price) >= 100`, after `HAVING`.
fn total(cursor: &mut Cursor) -> Result<Total> {
    let aggregates = [
        ("SUM", Aggregate::Sum),
        ("AVG", Aggregate::Avg),
        ("MIN", Aggregate::Min),
        ("MAX", Aggregate::Max),
        ("DISTINCT", Aggregate::Distinct),
    ];
    let found = aggregates.into_iter().find(|(word, _)| cursor.is_call(word));
    let Some((word, of)) = found else {
        return Err(cursor.expected("SUM(…), AVG(…), MIN(…), MAX(…) or DISTINCT(…)"));
    };
    cursor.take(&[word]);
    cursor.expect_symbol(&Token::LParen)?;
    let value = cursor.expression("a property, or an expression", &[])?;
    cursor.expect_symbol(&Token::RParen)?;
    let signs = [
        (Token::Lt, Comparison::Less),
        (Token::LtEq, Comparison::AtMost),
        (Token::Eq, Comparison::Equal),
        (Token::Neq, Comparison::Different),
        (Token::GtEq, Comparison::AtLeast),
        (Token::Gt, Comparison::Greater),
    ];
    let sign = signs.into_iter().find(|(symbol, _)| cursor.take_symbol(symbol));
    let Some((_, is)) = sign else { return Err(cursor.expected("a comparison such as >=")) };
    let negative = cursor.take_symbol(&Token::Minus);
    let number: f64 = cursor.number("a number")?;
    Ok(Total { of, value, is, number: if negative { -number } else { number } })
}

/// `event THEN event … [NOT FOLLOWED BY event] WITHIN n DAYS [window]`, after `SEQUENCE`.
fn sequence(cursor: &mut Cursor) -> Result<Condition> {
    let mut steps = vec![filtered(cursor)?];
    while cursor.take(&["THEN"]) {
        steps.push(filtered(cursor)?);
    }
    let not_followed_by =
        if cursor.take(&["NOT", "FOLLOWED", "BY"]) { Some(filtered(cursor)?) } else { None };
    cursor.expect(&["WITHIN"])?;
    let within = span(cursor)?;
    let time = if cursor.take(&["BETWEEN"]) {
        match cursor.number::<u32>("a number") {
            Err(_) => absolute(cursor)?,
            Ok(from) => {
                cursor.expect(&["AND"])?;
                let to = cursor.number("a number")?;
                ago(cursor, from, to)?
            }
        }
    } else {
        window(cursor)?.unwrap_or_default()
    };
    Ok(Condition::Sequence(Box::new(Steps { steps, within, not_followed_by, time })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Analysis;
    use crate::sql::StatementKind;
    use crate::sql::parse;

    fn condition(text: &str) -> Condition {
        let statement = parse(&format!("PERSONS WHERE {text}")).unwrap().remove(0);
        let StatementKind::Question(question) = statement.kind else { panic!("no question: {text}") };
        let Analysis::Persons(request) = *question else { panic!("no persons: {text}") };
        request.condition
    }

    fn json(text: &str) -> Condition {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_example_of_the_design_is_read() {
        let found = condition(
            "country = 'Norway' AND price BETWEEN 1 AND 2 AND DID itemPurchased WHERE price >= 100 AND amount > 1 \
             AT LEAST 2 TIMES IN LAST 30 DAYS AND NOT DID itemViewed IN LAST 45 DAYS",
        );
        let expected = json(
            r#"{"and": [
                {"persons": "country = 'Norway'"},
                {"persons": "price BETWEEN 1 AND 2"},
                {"did": {"events": {"event": "itemPurchased", "where": "price >= 100 AND amount > 1"},
                         "times": {"at_least": 2}, "time": {"last": {"count": 30, "unit": "days"}}}},
                {"not": {"did": {"events": {"event": "itemViewed"}, "time": {"last": {"count": 45, "unit": "days"}}}}}
            ]}"#,
        );
        assert_eq!(found, expected);
    }

    #[test]
    fn every_clause_has_its_json() {
        for (text, expected) in [
            (
                "DID a BETWEEN 2 AND 3 TIMES BETWEEN 60 AND 30 DAYS AGO",
                r#"{"did": {"events": {"event": "a"}, "times": {"between": [2, 3]},
                    "time": {"ago": {"from": {"count": 60, "unit": "days"}, "to": {"count": 30, "unit": "days"}}}}}"#,
            ),
            (
                "DID a ON AT LEAST 3 DAYS HAVING SUM(x * y) >= -1.5 IN LAST 7 CALENDAR DAYS",
                r#"{"did": {"events": {"event": "a"}, "days": {"at_least": 3}, "time": {"last_days": 7},
                    "total": {"of": "sum", "value": "x * y", "is": ">=", "number": -1.5}}}"#,
            ),
            (
                "DID * FIRST TIME BETWEEN '2026-06-01' AND '2026-06-02'",
                r#"{"did": {"events": {"event": "*"}, "occurrence": "first",
                    "time": {"absolute": {"from": "2026-06-01", "to": "2026-06-02"}}}}"#,
            ),
            (
                "DID NOT a BEFORE LAST 2 HOURS",
                r#"{"not": {"did": {"events": {"event": "a"}, "time": {"before_last": {"count": 2, "unit": "hours"}}}}}"#,
            ),
            (
                "SEQUENCE a WHERE x = 1 THEN b NOT FOLLOWED BY c WITHIN 7 DAYS SINCE '2026-06-01'",
                r#"{"sequence": {"steps": [{"event": "a", "where": "x = 1"}, {"event": "b"}], "not_followed_by": {"event": "c"},
                    "within": {"count": 7, "unit": "days"}, "time": {"absolute": {"from": "2026-06-01"}}}}"#,
            ),
            (
                "(STOPPED a FOR 30 DAYS OR CAME BACK TO a AFTER 30 DAYS) AND (x = 1 OR y = 2) AND IN SEGMENT b",
                r#"{"and": [{"or": [{"stopped": {"events": {"event": "a"}, "span": {"count": 30, "unit": "days"}}},
                                    {"came_back": {"events": {"event": "a"}, "span": {"count": 30, "unit": "days"}}}]},
                            {"persons": "(x = 1 OR y = 2)"}, {"segment": "b"}]}"#,
            ),
            (
                "DID a WHERE (x = 1 OR y = 2) AND z = 3 OR NOT (DID b AND DID c EXACTLY 0 TIMES)",
                r#"{"or": [{"did": {"events": {"event": "a", "where": "(x = 1 OR y = 2) AND z = 3"}}},
                           {"not": {"and": [{"did": {"events": {"event": "b"}}},
                                            {"did": {"events": {"event": "c"}, "times": {"exactly": 0}}}]}}]}"#,
            ),
        ] {
            assert_eq!(condition(text), json(expected), "{text}");
        }
    }

    #[test]
    fn a_query_may_say_who_is_in_a_segment_and_a_file_is_told_of() {
        let one = |text: &str| match parse(text).unwrap().remove(0).kind {
            StatementKind::Segment(segment) => *segment,
            other => panic!("no segment: {other:?}"),
        };
        let SegmentStatement::Create(create) =
            one("CREATE STATIC SEGMENT x AS (FUNNEL a, b LISTING PERSONS REACHED STEP 2)")
        else {
            panic!("nothing is created");
        };
        let Members::Query { text, .. } = create.members else { panic!("no query") };
        assert_eq!(text, "(FUNNEL a, b LISTING PERSONS REACHED STEP 2)");
        assert_eq!(one("CREATE SEGMENT x FROM 'ids.txt'").file(), Some("ids.txt"));
        assert_eq!(one("CREATE SEGMENT x AS LIST ('a')").file(), None);
        assert_eq!(one("REFRESH SEGMENTS"), SegmentStatement::Refresh { name: None });
        assert_eq!(one("REFRESH SEGMENT x"), SegmentStatement::Refresh { name: Some("x".to_owned()) });
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, said) in [
            ("CREATE SEGMENT", "expected the name of the segment"),
            ("CREATE SEGMENT x AS FUNNEL a LISTING PERSONS", "CREATE STATIC SEGMENT keeps"),
            ("CREATE SEGMENT x AS persons", "expected PERSONS WHERE"),
            ("CREATE SEGMENT x AS PERSONS WHERE DID", "expected the id of an event"),
            ("CREATE SEGMENT x AS PERSONS WHERE DID a AT LEAST 2", "expected TIMES"),
            ("CREATE SEGMENT x AS PERSONS WHERE DID a IN LAST 3", "DAYS, HOURS"),
            ("CREATE SEGMENT x AS PERSONS WHERE SEQUENCE a THEN b", "expected WITHIN"),
            ("CREATE SEGMENT x AS PERSONS WHERE DID a HAVING price > 1", "SUM(…)"),
            ("CREATE SEGMENT x AS PERSONS WHERE DID a AS OF '2026-06-01'", "STATIC"),
            ("PERSONS WHERE a = 1 AND", "expected a condition on a person"),
        ] {
            let fault = parse(text).unwrap_err();
            assert!(fault.to_string().contains(said), "{text}: {fault}");
            assert!(fault.place().is_some(), "{text}");
        }
    }
}
