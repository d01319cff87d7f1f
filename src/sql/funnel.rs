//! `FUNNEL a, b WHERE …, c WITHIN 7 DAYS …`: the statement, read into the request that it stands for.

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::analysis::By;
use crate::analysis::Counting;
use crate::analysis::Excluding;
use crate::analysis::FunnelEntry;
use crate::analysis::FunnelOrder;
use crate::analysis::FunnelRequest;
use crate::analysis::FunnelStep;
use crate::analysis::FunnelTies;
use crate::analysis::Histogram;
use crate::analysis::Listing;
use crate::analysis::Of;
use crate::analysis::Per;
use crate::analysis::Picked;
use crate::error::Error;
use crate::error::Place;
use crate::error::Result;
use crate::error::did_you_mean;
use crate::sql::cursor::Cursor;
use crate::time::parse_duration;

/// What may follow the steps, for the error that finds something else there.
const CLAUSES: &str = "WITHIN, STRICT, ANY ORDER, ANCHORING, ENTRY, TIES, TOLERANCE, EXCLUDING, DROPPING PERSONS, HOLDING, \
                       BY, PER, FOR SEGMENT, FROM, TO, STRICT RANGE, IN ZONE, AS OF, COUNTING, HISTOGRAM or LISTING";

/// Their first words.
const WORDS: [&str; 20] = [
    "WITHIN",
    "STRICT",
    "ANY",
    "ANCHORING",
    "ENTRY",
    "TIES",
    "TOLERANCE",
    "EXCLUDING",
    "DROPPING",
    "HOLDING",
    "BY",
    "PER",
    "FOR",
    "FROM",
    "TO",
    "IN",
    "AS",
    "COUNTING",
    "HISTOGRAM",
    "LISTING",
];

/// What ends a condition although SQL could go on.
const ENDS: [&[&str]; 1] = [&["IN", "ZONE"]];

/// The rest of a statement that began with `FUNNEL`, as a call.
pub(crate) fn call(cursor: &mut Cursor) -> Result<(&'static str, String)> {
    Ok(("funnel", funnel(cursor)?.to_json()?))
}

fn funnel(cursor: &mut Cursor) -> Result<FunnelRequest> {
    let mut request = FunnelRequest::default();
    loop {
        let step = step(cursor, &mut request)?;
        request.steps.push(step);
        if !cursor.take_symbol(&Token::Comma) {
            break;
        }
    }
    while !cursor.at_end() && !cursor.is_symbol(&Token::RParen) {
        clause(cursor, &mut request)?;
    }
    Ok(request)
}

/// `[OPTIONAL] event [AS label] [WHERE …] [WITHIN … OF PREVIOUS]`, or `(event …, event …)` instead of one event.
fn step(cursor: &mut Cursor, request: &mut FunnelRequest) -> Result<FunnelStep> {
    let optional = cursor.is_followed_by(|next| matches!(next, Token::Word(_))) && cursor.take(&["OPTIONAL"]);
    let mut step = FunnelStep { optional, ..FunnelStep::default() };
    if cursor.take_symbol(&Token::LParen) {
        loop {
            step.any.push(picked(cursor)?);
            if !cursor.take_symbol(&Token::Comma) {
                break;
            }
        }
        cursor.expect_symbol(&Token::RParen)?;
        step.label = label(cursor)?;
    } else {
        let mut one = event(cursor)?;
        step.label = label(cursor)?;
        condition(cursor, &mut one)?;
        step.any.push(one);
        if step.label.is_none() {
            step.label = label(cursor)?;
        }
    }
    if cursor.is(&["WITHIN"]) {
        cursor.expect(&["WITHIN"])?;
        let length = duration(cursor)?;
        if cursor.take(&["OF", "PREVIOUS"]) {
            step.within = Some(length);
        } else {
            request.within = Some(length);
        }
    }
    Ok(step)
}

fn event(cursor: &mut Cursor) -> Result<Picked> {
    let at = place(cursor.place());
    let event = cursor.name("the id of an event")?.text;
    Ok(Picked { event, at, ..Picked::default() })
}

fn picked(cursor: &mut Cursor) -> Result<Picked> {
    let mut one = event(cursor)?;
    condition(cursor, &mut one)?;
    Ok(one)
}

fn label(cursor: &mut Cursor) -> Result<Option<String>> {
    if cursor.is(&["AS", "OF"]) || !cursor.take(&["AS"]) {
        return Ok(None);
    }
    cursor.value("a name for the step").map(Some)
}

fn condition(cursor: &mut Cursor, one: &mut Picked) -> Result<()> {
    if cursor.take(&["WHERE"]) {
        one.where_at = place(cursor.place());
        one.condition = Some(cursor.whole_expression(&ENDS)?);
    }
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "as the request has it")]
fn place(place: Place) -> Option<[u64; 2]> {
    Some([place.line, place.column])
}

/// `7 DAYS`.
fn duration(cursor: &mut Cursor) -> Result<String> {
    let at = cursor.place();
    let count = cursor.value("a number, as in 7 DAYS")?;
    let text = match count.split_once(' ') {
        // In quotes it is whole already.
        Some(_) => count,
        None => format!("{count} {}", cursor.name("a unit, as in 7 DAYS")?.text.to_lowercase()),
    };
    parse_duration(&text).map_err(|error| error.at(at))?;
    Ok(text)
}

fn clause(cursor: &mut Cursor, request: &mut FunnelRequest) -> Result<()> {
    if cursor.take(&["WITHIN"]) {
        request.within = Some(duration(cursor)?);
    } else if cursor.take(&["STRICT", "RANGE"]) {
        request.strict_range = true;
    } else if cursor.take(&["STRICT"]) {
        request.order = FunnelOrder::Strict;
    } else if cursor.take(&["ANY", "ORDER"]) {
        request.order = FunnelOrder::Any;
    } else if cursor.take(&["ANCHORING"]) {
        loop {
            cursor.take(&["STEP"]);
            request.anchored.push(number(cursor)?);
            if !cursor.take_symbol(&Token::Comma) {
                break;
            }
        }
    } else if cursor.take(&["ENTRY"]) {
        let entries = [("ANY", FunnelEntry::Any), ("FIRST", FunnelEntry::First)];
        request.entry = one_of(cursor, &entries)?;
    } else if cursor.take(&["TIES"]) {
        request.ties = one_of(cursor, &[("ANY", FunnelTies::Any), ("STRICT", FunnelTies::Strict)])?;
    } else if cursor.take(&["TOLERANCE"]) {
        request.tolerance = Some(duration(cursor)?);
    } else if cursor.take(&["EXCLUDING"]) {
        loop {
            request.excluding.push(excluding(cursor)?);
            if !cursor.take_symbol(&Token::Comma) {
                break;
            }
        }
    } else if cursor.take(&["DROPPING", "PERSONS"]) {
        request.drop_person = true;
    } else if cursor.take(&["HOLDING"]) {
        loop {
            request.holding.push(cursor.name("a property")?.text);
            if !cursor.take_symbol(&Token::Comma) {
                break;
            }
        }
    } else if cursor.take(&["BY"]) {
        request.by = Some(by(cursor)?);
    } else if cursor.take(&["PER"]) {
        request.per = Some(one_of(cursor, &[("DAY", Per::Day), ("WEEK", Per::Week), ("MONTH", Per::Month)])?);
    } else if cursor.take(&["FOR", "SEGMENT"]) {
        request.for_segment = Some(cursor.value("the name of a segment")?);
    } else if cursor.take(&["FROM"]) {
        request.from = Some(cursor.text("a day or a time")?);
    } else if cursor.take(&["TO"]) {
        request.to = Some(cursor.text("a day or a time")?);
    } else if cursor.take(&["IN", "ZONE"]) {
        request.zone = Some(cursor.text("the name of a time zone")?);
    } else if cursor.take(&["AS", "OF"]) {
        request.as_of = Some(cursor.text("a day or a time")?);
    } else if cursor.take(&["COUNTING"]) {
        let words = [
            ("UNIQUES", Counting::Uniques),
            ("PERSONS", Counting::Uniques),
            ("TOTALS", Counting::Totals),
            ("SESSIONS", Counting::Sessions),
        ];
        request.counting = one_of(cursor, &words)?;
    } else if cursor.take(&["HISTOGRAM"]) {
        request.histogram = Some(histogram(cursor)?);
    } else if cursor.take(&["LISTING"]) {
        request.listing = Some(listing(cursor)?);
    } else {
        let error = cursor.expected(&format!("a comma and another step, or {CLAUSES}"));
        let found = cursor.name("a word").map(|name| name.text).unwrap_or_default();
        let hint = did_you_mean(&found.to_uppercase(), WORDS);
        return Err(match error.place() {
            Some(place) => Error::invalid(format!("{}{hint}", error.message())).at(place),
            None => error,
        });
    }
    Ok(())
}

fn one_of<T: Copy>(cursor: &mut Cursor, words: &[(&str, T)]) -> Result<T> {
    let found = words.iter().find(|(word, _)| cursor.take(&[word])).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        cursor.expected(&names.join(" or "))
    })
}

/// `event [BETWEEN [STEP] 1 AND 2] [WHERE …]`
fn excluding(cursor: &mut Cursor) -> Result<Excluding> {
    let mut picked = event(cursor)?;
    let mut between = None;
    if cursor.take(&["BETWEEN"]) {
        cursor.take(&["STEP"]);
        let from = number(cursor)?;
        cursor.expect(&["AND"])?;
        between = Some([from, number(cursor)?]);
    }
    condition(cursor, &mut picked)?;
    Ok(Excluding { picked, between })
}

fn number(cursor: &mut Cursor) -> Result<usize> {
    let at = cursor.place();
    let text = cursor.value("the number of a step")?;
    let number = text.parse().ok().filter(|number| *number > 0);
    number
        .ok_or_else(|| Error::invalid(format!("\"{text}\" is no number of a step; they count from 1")).at(at))
}

/// `[OF STEP n] [EVERY 10 MINUTES]`
fn histogram(cursor: &mut Cursor) -> Result<Histogram> {
    let step = if cursor.take(&["OF", "STEP"]) { Some(number(cursor)?) } else { None };
    let every = if cursor.take(&["EVERY"]) { Some(duration(cursor)?) } else { None };
    Ok(Histogram { step, every })
}

/// `property [OF STEP n | OF FIRST | OF LAST | OF PERSON]`, of step 1 when nothing is said; or `SEGMENT name`.
fn by(cursor: &mut Cursor) -> Result<By> {
    // A property may be called like that, too; then it is followed by OF, by a clause or by nothing.
    let is_name = |next: &Token| match next {
        Token::Word(word) => {
            let upper = word.value.to_uppercase();
            word.quote_style.is_some() || (upper != "OF" && !WORDS.contains(&upper.as_str()))
        }
        Token::SingleQuotedString(_) => true,
        _ => false,
    };
    if cursor.is(&["SEGMENT"]) && cursor.is_followed_by(is_name) {
        cursor.expect(&["SEGMENT"])?;
        let at = place(cursor.place());
        return Ok(By { property: cursor.value("the name of a segment")?, of: Of::Segment, at });
    }
    let at = place(cursor.place());
    let property = cursor.name("a property")?.text;
    let of = if !cursor.take(&["OF"]) {
        Of::Step(1)
    } else if cursor.take(&["STEP"]) {
        Of::Step(number(cursor)?)
    } else {
        one_of(cursor, &[("FIRST", Of::First), ("LAST", Of::Last), ("PERSON", Of::Person)])
            .map_err(|_| cursor.expected("STEP and its number, FIRST, LAST or PERSON"))?
    };
    Ok(By { property, of, at })
}

/// `PERSONS [REACHING STEP n | DROPPED AFTER STEP n | IN PROGRESS AFTER STEP n]`
fn listing(cursor: &mut Cursor) -> Result<Listing> {
    cursor.expect(&["PERSONS"])?;
    if cursor.take(&["REACHING", "STEP"]) {
        return number(cursor).map(Listing::Reached);
    }
    if cursor.take(&["DROPPED", "AFTER", "STEP"]) {
        return number(cursor).map(Listing::DroppedAfter);
    }
    if cursor.take(&["IN", "PROGRESS", "AFTER", "STEP"]) {
        return number(cursor).map(Listing::InProgressAfter);
    }
    Ok(Listing::Persons)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> FunnelRequest {
        let mut cursor = Cursor::new(text).unwrap();
        cursor.expect(&["FUNNEL"]).unwrap();
        let request = funnel(&mut cursor).unwrap();
        cursor.expect_end().unwrap();
        request
    }

    fn fault(text: &str) -> (String, u64) {
        let mut cursor = Cursor::new(text).unwrap();
        cursor.expect(&["FUNNEL"]).unwrap();
        let error = funnel(&mut cursor).unwrap_err();
        (error.to_string(), error.place().unwrap().column)
    }

    #[test]
    fn every_clause_is_read() {
        let request = read(
            "FUNNEL pageView WHERE path IN ('/a', '/b') AND x > 1, OPTIONAL addedToCart AS \"Cart\", \
             (itemPurchased WHERE total > 5, \"seat reserved\") AS bought WITHIN 1 DAY OF PREVIOUS WITHIN 7 DAYS \
             BY deviceType OF STEP 2 PER WEEK FOR SEGMENT 'buyers' FROM '2026-06-01' TO '2026-07-01' \
             IN ZONE 'Europe/Zagreb' ENTRY FIRST TIES STRICT TOLERANCE 1 SECOND \
             EXCLUDING sessionEnded BETWEEN 1 AND 3 WHERE n = 1, x HOLDING itemID, b COUNTING TOTALS AS OF '2026-08-03' \
             DROPPING PERSONS STRICT RANGE LISTING PERSONS DROPPED AFTER STEP 1",
        );
        let step = &request.steps[0].any[0];
        assert_eq!(step.condition.as_deref(), Some("path IN ('/a', '/b') AND x > 1"));
        assert_eq!((step.at, step.where_at), (Some([1, 8]), Some([1, 23])));
        assert!(request.steps[1].optional && request.steps[1].label.as_deref() == Some("Cart"));
        assert_eq!(request.steps[2].any.len(), 2);
        assert_eq!(request.steps[2].within.as_deref(), Some("1 day"));
        assert_eq!(request.within.as_deref(), Some("7 days"));
        assert_eq!(request.by.as_ref().map(|by| by.of), Some(Of::Step(2)));
        assert_eq!((request.per, request.counting), (Some(Per::Week), Counting::Totals));
        assert_eq!(request.excluding[0].between, Some([1, 3]));
        assert_eq!(request.excluding[1].picked.event, "x");
        assert_eq!(request.holding, ["itemID", "b"]);
        assert_eq!(request.zone.as_deref(), Some("Europe/Zagreb"));
        assert_eq!(request.listing, Some(Listing::DroppedAfter(1)));
        assert!(request.drop_person && request.strict_range && request.entry == FunnelEntry::First);
        let again = FunnelRequest::parse(&request.to_json().unwrap()).unwrap();
        assert_eq!(again, request);
    }

    #[test]
    fn anchors_histograms_and_segments_are_read() {
        let request = read(
            "FUNNEL a, b, c ANY ORDER ANCHORING STEP 1, 3 HISTOGRAM OF STEP 2 EVERY 10 MINUTES BY SEGMENT vip",
        );
        assert_eq!(request.anchored, [1, 3]);
        let histogram = Histogram { step: Some(2), every: Some("10 minutes".to_owned()) };
        assert_eq!(request.histogram, Some(histogram));
        let by = request.by.as_ref().map(|by| (by.property.as_str(), by.of));
        assert_eq!(by, Some(("vip", Of::Segment)));
        assert_eq!(FunnelRequest::parse(&request.to_json().unwrap()).unwrap(), request);
        for (text, property, of) in [
            ("FUNNEL a BY segment", "segment", Of::Step(1)),
            ("FUNNEL a BY segment PER DAY", "segment", Of::Step(1)),
            ("FUNNEL a BY segment OF PERSON", "segment", Of::Person),
            ("FUNNEL a BY SEGMENT 'per'", "per", Of::Segment),
        ] {
            let by = read(text).by.unwrap();
            assert_eq!((by.property.as_str(), by.of), (property, of), "{text}");
        }
        assert_eq!(read("FUNNEL a, b HISTOGRAM").histogram, Some(Histogram::default()));
    }

    #[test]
    fn any_asks_about_the_entries_of_a_list_wherever_it_stands() {
        for condition in
            ["any(seats.price > 100)", "x = 1 AND ANY (seats.price > 100 AND seats.row = 'A')", "a = ANY(b)"]
        {
            let request = read(&format!("FUNNEL a WHERE {condition}, b WITHIN 1 DAY"));
            assert_eq!(request.steps[0].any[0].condition.as_deref(), Some(condition));
        }
        let (said, column) = fault("FUNNEL a WHERE x = 1 AND any(seats.price >), b");
        assert!(said.contains("expected an expression") && column == 43, "{said} {column}");
    }

    #[test]
    fn a_condition_ends_where_a_clause_begins() {
        let request = read("FUNNEL a WHERE x = 1 IN ZONE 'UTC'");
        assert_eq!(request.steps[0].any[0].condition.as_deref(), Some("x = 1"));
        let request =
            read("FUNNEL a WHERE x BETWEEN 1 AND 2, b WHERE y IS DISTINCT FROM 3 FROM '2026-06-01'");
        assert_eq!(request.steps[1].any[0].condition.as_deref(), Some("y IS DISTINCT FROM 3"));
        assert_eq!(request.from.as_deref(), Some("2026-06-01"));
    }

    #[test]
    fn faults_have_a_place_and_a_cure() {
        let (said, column) = fault("FUNNEL a, b WITIN 7 DAYS");
        assert!(said.contains("did you mean \"WITHIN\"?") && column == 13, "{said} {column}");
        let (said, column) = fault("FUNNEL a, b WITHIN 1 MONTH");
        assert!(said.contains("30 DAYS") && column == 20, "{said} {column}");
        let (said, column) = fault("FUNNEL a WHERE x = , b");
        assert!(said.contains("expected an expression") && column == 20, "{said} {column}");
        let (said, _) = fault("FUNNEL a, b PER YEAR");
        assert!(said.contains("DAY or WEEK or MONTH"), "{said}");
        let (said, _) = fault("FUNNEL a, ");
        assert!(said.contains("the id of an event"), "{said}");
    }
}
