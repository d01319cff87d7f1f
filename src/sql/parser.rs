//! The statements that we add to SQL: definitions of events and exports. Errors point at the place in the text.

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::error::Error;
use crate::error::Result;
use crate::schema::Field;
use crate::schema::Property;
use crate::schema::PropertyType;
use crate::sql::AlterEvent;
use crate::sql::Change;
use crate::sql::CreateEvent;
use crate::sql::Statement;
use crate::sql::StatementKind;
use crate::sql::computed::computed;
use crate::sql::cursor::Cursor;
use crate::sql::export;
use crate::sql::housekeeping;
use crate::sql::people::people;
use crate::sql::questions;
use crate::sql::segment;
use crate::sql::split::split;
use crate::value::ScalarType;

/// All statements of a text. Plain SQL is taken as it is; the query layer parses it.
///
/// An error's place is counted in the whole text.
pub fn parse(text: &str) -> Result<Vec<Statement>> {
    split(text)
        .into_iter()
        .map(|piece| {
            let kind = parse_one(piece.text).map_err(|error| match error.place() {
                Some(place) => error.at(place.within(piece.place)),
                None => error.at(piece.place),
            })?;
            Ok(Statement { text: piece.text.to_owned(), place: piece.place, kind })
        })
        .collect()
}

fn parse_one(text: &str) -> Result<StatementKind> {
    let mut cursor = Cursor::new(text)?;
    let kind = if cursor.take(&["CREATE", "EVENT"]) {
        StatementKind::CreateEvent(create(&mut cursor)?)
    } else if cursor.take(&["ALTER", "EVENT"]) {
        StatementKind::AlterEvent(alter(&mut cursor)?)
    } else if cursor.take(&["ENABLE", "EVENT"]) || cursor.take(&["ENABLE", "EVENTS"]) {
        StatementKind::SwitchEvents { patterns: patterns(&mut cursor)?, enabled: true }
    } else if cursor.take(&["DISABLE", "EVENT"]) || cursor.take(&["DISABLE", "EVENTS"]) {
        StatementKind::SwitchEvents { patterns: patterns(&mut cursor)?, enabled: false }
    } else if cursor.take(&["SHOW", "EVENTS"]) {
        let like = if cursor.take(&["LIKE"]) { Some(cursor.text("a pattern")?) } else { None };
        StatementKind::ShowEvents { like }
    } else if cursor.take(&["SHOW", "TEMPLATES"]) {
        StatementKind::ShowTemplates
    } else if cursor.take(&["DESCRIBE"]) || cursor.take(&["DESC"]) {
        StatementKind::Describe { name: dotted(&mut cursor)? }
    } else if cursor.take(&["EXPORT"]) {
        export::export(&mut cursor)?
    } else if let Some(statement) = segment::segment(&mut cursor)? {
        StatementKind::Segment(Box::new(statement))
    } else if let Some(statement) = computed(&mut cursor)? {
        StatementKind::Computed(Box::new(statement))
    } else if let Some(question) = questions::parse(&mut cursor)? {
        StatementKind::Question(Box::new(question))
    } else if let Some(kind) = housekeeping::statement(&mut cursor)? {
        kind
    } else if let Some(statement) = people(&mut cursor, text)? {
        return Ok(StatementKind::People(statement));
    } else if cursor.take(&["CREATE", "EXPORT", "SCHEDULE"]) {
        StatementKind::CreateExportSchedule(export::schedule(&mut cursor)?)
    } else if cursor.take(&["DROP", "EXPORT", "SCHEDULE"]) {
        StatementKind::DropExportSchedule { name: cursor.name("the name of the schedule")?.text }
    } else {
        return Ok(StatementKind::Plain);
    };
    cursor.expect_end()?;
    Ok(kind)
}

/// `[IF NOT EXISTS] [id] [FROM TEMPLATE id] [TITLE '…'] [DESCRIPTION '…'] [(properties)]`
fn create(cursor: &mut Cursor) -> Result<CreateEvent> {
    let mut event =
        CreateEvent { if_not_exists: cursor.take(&["IF", "NOT", "EXISTS"]), ..CreateEvent::default() };
    if !cursor.is(&["FROM", "TEMPLATE"]) && !cursor.is(&["TITLE"]) && cursor.is_name() {
        event.id = Some(cursor.name("the id of the event")?.text);
    }
    loop {
        let place = cursor.place();
        if cursor.take(&["FROM", "TEMPLATE"]) {
            if event.id.is_some() {
                let message = "an event made from a template has the template's id; leave yours out";
                return Err(Error::invalid(message).at(place));
            }
            event.template = Some(cursor.name("the id of a template")?.text);
        } else if cursor.take(&["TITLE"]) {
            event.title = Some(cursor.text("the title")?);
        } else if cursor.take(&["DESCRIPTION"]) {
            event.description = Some(cursor.text("the description")?);
        } else {
            break;
        }
    }
    if event.id.is_none() && event.template.is_none() && event.title.is_none() {
        return Err(cursor.expected("the id of the event, FROM TEMPLATE or TITLE"));
    }
    if cursor.take_symbol(&Token::LParen) {
        (event.properties, event.any_names) = properties(cursor)?;
    }
    Ok(event)
}

/// `id ADD (properties) | id SET TITLE '…' | id SET DESCRIPTION '…'`
fn alter(cursor: &mut Cursor) -> Result<AlterEvent> {
    let id = cursor.name("the id of the event")?.text;
    let change = if cursor.take(&["ADD"]) {
        cursor.expect_symbol(&Token::LParen)?;
        let (properties, any_names) = properties(cursor)?;
        Change::Add { properties, any_names }
    } else if cursor.take(&["SET", "TITLE"]) {
        Change::Title(cursor.text("the title")?)
    } else if cursor.take(&["SET", "DESCRIPTION"]) {
        Change::Description(cursor.text("the description")?)
    } else if cursor.take(&["SET", "RETENTION"]) {
        Change::Retention(housekeeping::retention(cursor)?)
    } else {
        let hint = "ADD (…), SET TITLE, SET DESCRIPTION or SET RETENTION (properties are only ever added)";
        return Err(cursor.expected(hint));
    };
    Ok(AlterEvent { id, change })
}

/// `name TYPE, name LIST (name TYPE, …), …)` after the opening parenthesis, and whether a name was quoted.
fn properties(cursor: &mut Cursor) -> Result<(Vec<Property>, bool)> {
    let mut any_names = false;
    let mut properties = Vec::new();
    if cursor.take_symbol(&Token::RParen) {
        return Ok((properties, any_names));
    }
    loop {
        let name = cursor.name("the name of a property")?;
        any_names |= name.quoted;
        let kind = if cursor.take(&["LIST"]) {
            cursor.expect_symbol(&Token::LParen)?;
            let (fields, quoted) = fields(cursor)?;
            any_names |= quoted;
            PropertyType::List(fields)
        } else {
            PropertyType::Scalar(scalar(cursor)?)
        };
        properties.push(Property::new(name.text, kind));
        if !cursor.take_symbol(&Token::Comma) {
            break;
        }
    }
    cursor.expect_symbol(&Token::RParen)?;
    Ok((properties, any_names))
}

fn fields(cursor: &mut Cursor) -> Result<(Vec<Field>, bool)> {
    let mut any_names = false;
    let mut fields = Vec::new();
    loop {
        let name = cursor.name("the name of a field")?;
        any_names |= name.quoted;
        if cursor.is(&["LIST"]) {
            return Err(cursor.expected("a type other than LIST, for a list holds no list,"));
        }
        fields.push(Field { name: name.text, kind: scalar(cursor)? });
        if !cursor.take_symbol(&Token::Comma) {
            break;
        }
    }
    cursor.expect_symbol(&Token::RParen)?;
    Ok((fields, any_names))
}

fn scalar(cursor: &mut Cursor) -> Result<ScalarType> {
    let place = cursor.place();
    let word = cursor.name("the type of the property")?.text;
    word.parse().map_err(|error: Error| error.at(place))
}

/// Ids or `'patterns*'`, separated by commas.
pub(crate) fn patterns(cursor: &mut Cursor) -> Result<Vec<String>> {
    let mut patterns = Vec::new();
    loop {
        patterns.push(pattern(cursor)?);
        if !cursor.take_symbol(&Token::Comma) {
            return Ok(patterns);
        }
    }
}

fn pattern(cursor: &mut Cursor) -> Result<String> {
    if cursor.is_name() {
        return Ok(cursor.name("the id of an event")?.text);
    }
    cursor.text("the id of an event, or a pattern such as 'email*'")
}

/// `system.rejected`, `pageView`, `"a.b"`.
fn dotted(cursor: &mut Cursor) -> Result<String> {
    let mut name = cursor.name("the name of an event or a table")?.text;
    while cursor.take_symbol(&Token::Period) {
        name.push('.');
        name.push_str(&cursor.name("the name of a table")?.text);
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Place;
    use crate::sql::ExportEvents;

    fn one(text: &str) -> StatementKind {
        let mut statements = parse(text).unwrap();
        assert_eq!(statements.len(), 1);
        statements.remove(0).kind
    }

    fn fault(text: &str) -> (String, Place) {
        let error = parse(text).unwrap_err();
        (error.to_string(), error.place().unwrap())
    }

    #[test]
    fn an_event_is_created_with_every_type() {
        let StatementKind::CreateEvent(event) = one(
            "CREATE EVENT seatReserved TITLE 'Seat reserved' (venueId NUMERIC, \
             total Decimal, startsAt DATETIME, isMember BOOLEAN, seats LIST (row STRING, price DECIMAL), note text)",
        ) else {
            panic!("not a CREATE EVENT");
        };
        assert_eq!(event.id.as_deref(), Some("seatReserved"));
        assert_eq!(event.title.as_deref(), Some("Seat reserved"));
        let types: Vec<_> = event.properties.iter().map(|one| one.kind.name()).collect();
        assert_eq!(types, ["Numeric", "Decimal", "DateTime", "Boolean", "List", "String"]);
        assert!(!event.any_names);
    }

    #[test]
    fn an_event_may_take_its_id_from_a_title_or_a_template() {
        let StatementKind::CreateEvent(event) = one("create event title 'Item Added to Cart'") else {
            panic!("not a CREATE EVENT");
        };
        assert_eq!((event.id, event.title.as_deref()), (None, Some("Item Added to Cart")));
        let StatementKind::CreateEvent(event) =
            one("CREATE EVENT FROM TEMPLATE itemPurchased (coupon STRING)")
        else {
            panic!("not a CREATE EVENT");
        };
        assert_eq!((event.id, event.template.as_deref()), (None, Some("itemPurchased")));
        assert_eq!(event.properties.len(), 1);
    }

    #[test]
    fn br26_quoted_names_may_be_keywords_and_hold_quotes_and_dots() {
        let StatementKind::CreateEvent(event) =
            one(r#"CREATE EVENT cart1 ("select" STRING, "group by" STRING, "a""b" STRING, "a.b" STRING)"#)
        else {
            panic!("not a CREATE EVENT");
        };
        let names: Vec<_> = event.properties.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["select", "group by", "a\"b", "a.b"]);
        assert!(event.any_names);
    }

    #[test]
    fn an_error_says_what_was_expected_and_points_at_the_place_in_the_whole_text() {
        let (message, place) = fault("SELECT 1;\nALTER EVENT x DROP y");
        assert_eq!(
            message,
            "expected ADD (…), SET TITLE, SET DESCRIPTION or SET RETENTION (properties are only ever added), found \
             \"DROP\""
        );
        assert_eq!(place, Place { line: 2, column: 15 });
        let (message, place) = fault("CREATE EVENT a (b MONEY)");
        assert!(message.starts_with("no property type is called \"MONEY\""), "{message}");
        assert_eq!(place, Place { line: 1, column: 19 });
        let (message, place) = fault("EXPORT EVENTS a FROM '2026-06-01'");
        assert_eq!(message, "expected TO, found the end of the statement");
        assert_eq!(place, Place { line: 1, column: 34 });
    }

    #[test]
    fn an_export_names_events_range_place_and_options() {
        let kind = one("EXPORT EVENTS pageView, 'email*' FROM '2026-06-01' TO '2026-06-02' INTO 'out/' \
                        WITH (Enrich_With_Moments_Info true, request_id 'abc')");
        let expected = ExportEvents {
            events: vec!["pageView".to_owned(), "email*".to_owned()],
            from: "2026-06-01".to_owned(),
            to: "2026-06-02".to_owned(),
            into: "out/".to_owned(),
            options: vec![
                ("enrich_with_moments_info".to_owned(), "true".to_owned()),
                ("request_id".to_owned(), "abc".to_owned()),
            ],
        };
        assert_eq!(kind, StatementKind::ExportEvents(expected));
    }

    #[test]
    fn everything_else_is_plain_sql() {
        assert_eq!(one("SELECT * FROM export"), StatementKind::Plain);
        assert_eq!(one("SHOW TABLES"), StatementKind::Plain);
        assert_eq!(
            one("SHOW EVENTS LIKE 'email%'"),
            StatementKind::ShowEvents { like: Some("email%".to_owned()) }
        );
    }
}
