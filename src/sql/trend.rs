//! `TREND series, …`.

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::analysis::Measure;
use crate::analysis::Named;
use crate::analysis::Series;
use crate::analysis::TrendRequest;
use crate::error::Result;
use crate::sql::clauses::ScopeClauses;
use crate::sql::clauses::TREND_STOPS;
use crate::sql::clauses::events;
use crate::sql::cursor::Cursor;

/// `[measure OF] event [WHERE …] [AS name], … [FORMULA 'A / B' [AS name]] [PER 15 MINUTES | DAY | …] [BY expression [TOP
/// n]] [MOVING n] [COMPARE] [CUMULATIVE]` and the clauses of every question, after the word `TREND`.
pub(crate) fn trend(cursor: &mut Cursor) -> Result<TrendRequest> {
    let mut request = TrendRequest { series: vec![series(cursor)?], ..TrendRequest::default() };
    while cursor.take_symbol(&Token::Comma) {
        request.series.push(series(cursor)?);
    }
    let mut scope = ScopeClauses::default();
    loop {
        if cursor.take(&["FORMULA"]) {
            let formula = cursor.text("a formula such as 'A / B * 100'")?;
            request.formulas.push(Named { formula, name: name(cursor)? });
        } else if cursor.take(&["PER"]) {
            let mut width = cursor.value("a width such as DAY or 15 MINUTES")?;
            if width.bytes().all(|byte| byte.is_ascii_digit()) {
                width = format!("{width} {}", cursor.value("MINUTES, HOURS or another unit of time")?);
            }
            request.per = Some(width.to_lowercase());
        } else if scope.take(cursor)? {
        } else if cursor.take(&["BY"]) {
            request.by = Some(cursor.expression("a property, or an expression", TREND_STOPS)?);
        } else if cursor.take(&["TOP"]) {
            request.top = Some(cursor.number("how many values to show")?);
        } else if cursor.take(&["MOVING"]) {
            request.moving = Some(cursor.number("how many buckets to average")?);
        } else if cursor.take(&["COMPARE"]) {
            request.compare = true;
        } else if cursor.take(&["CUMULATIVE"]) {
            request.cumulative = true;
        } else if cursor.at_query_end() {
            break;
        } else {
            return Err(cursor.expected(
                "another series after a comma, FORMULA, PER, BY, TOP, MOVING, COMPARE, CUMULATIVE, FROM, TO, IN ZONE, FOR SEGMENT or the end",
            ));
        }
    }
    Ok(TrendRequest {
        from: scope.from,
        to: scope.to,
        as_of: scope.as_of,
        zone: scope.zone,
        segment: scope.segment,
        ..request
    })
}

fn name(cursor: &mut Cursor) -> Result<Option<String>> {
    // `AS OF` is a clause of its own.
    if cursor.is(&["AS", "OF"]) || !cursor.take(&["AS"]) {
        return Ok(None);
    }
    Ok(Some(cursor.value("a name")?))
}

/// `[COUNT | PERSONS | SUM(…) | … [PER PERSON] OF] event [WHERE …] [AS name]`
fn series(cursor: &mut Cursor) -> Result<Series> {
    let mut series = Series::default();
    let is_measure =
        |cursor: &Cursor, word: &str| cursor.is(&[word, "OF"]) || cursor.is(&[word, "PER", "PERSON", "OF"]);
    let mut measured = true;
    if is_measure(cursor, "COUNT") {
        cursor.take(&["COUNT"]);
    } else if is_measure(cursor, "PERSONS") {
        cursor.take(&["PERSONS"]);
        series.measure = Measure::Persons;
    } else if let Some(measure) = measure_of_value(cursor) {
        series.measure = measure;
        series.value = Some(cursor.expression("a property, or an expression", &[])?);
        if measure == Measure::Percentile {
            let at = if cursor.take_symbol(&Token::Comma) {
                cursor.number("a number from 0 to 1, such as 0.95")?
            } else {
                0.5
            };
            series.at = Some(at);
        }
        cursor.expect_symbol(&Token::RParen)?;
    } else {
        measured = false;
    }
    if measured {
        if cursor.take(&["PER", "PERSON"]) {
            series.measure = match series.measure {
                Measure::Count => Measure::CountPerPerson,
                Measure::Sum => Measure::SumPerPerson,
                _ => return Err(cursor.expected("OF, for only COUNT and SUM are averaged per person,")),
            };
        }
        cursor.expect(&["OF"])?;
    }
    series.events = events(cursor, TREND_STOPS)?;
    series.name = name(cursor)?;
    Ok(series)
}

/// `SUM(`, `MEDIAN(` and so on.
fn measure_of_value(cursor: &mut Cursor) -> Option<Measure> {
    let measures = [
        ("SUM", Measure::Sum),
        ("AVG", Measure::Avg),
        ("MIN", Measure::Min),
        ("MAX", Measure::Max),
        ("MEDIAN", Measure::Percentile),
        ("PERCENTILE", Measure::Percentile),
    ];
    let (word, measure) = measures.into_iter().find(|(word, _)| cursor.is_call(word))?;
    cursor.take(&[word]);
    cursor.take_symbol(&Token::LParen);
    Some(measure)
}

#[cfg(test)]
mod tests {
    use crate::analysis::Analysis;
    use crate::sql::StatementKind;
    use crate::sql::parse;

    #[test]
    fn a_statement_and_its_json_are_one_request() {
        let text = "TREND persons, PERSONS OF pageView WHERE path = '/a' AS visitors, SUM(price * amount) PER PERSON OF purchase, \
                    PERCENTILE(price, 0.95) OF purchase AS p95 FORMULA 'B / A * 100' AS share PER 15 MINUTES BY platform TOP 3 \
                    MOVING 7 COMPARE CUMULATIVE FROM '2026-06-01' AS OF '2026-07-01' IN ZONE 'Europe/Berlin'";
        let StatementKind::Question(question) = parse(text).unwrap().remove(0).kind else { panic!() };
        let json = r#"{
            "kind": "trend",
            "series": [
                {"events": {"event": "persons"}},
                {"name": "visitors", "measure": "persons", "events": {"event": "pageView", "where": "path = '/a'"}},
                {"measure": "sum_per_person", "value": "price * amount", "events": {"event": "purchase"}},
                {"name": "p95", "measure": "percentile", "value": "price", "at": 0.95, "events": {"event": "purchase"}}
            ],
            "formulas": [{"formula": "B / A * 100", "name": "share"}],
            "per": "15 minutes", "by": "platform", "top": 3, "moving": 7, "compare": true, "cumulative": true,
            "from": "2026-06-01", "as_of": "2026-07-01", "zone": "Europe/Berlin"
        }"#;
        assert_eq!(Analysis::from_json(json).unwrap(), *question);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, said) in [
            ("TREND", "expected the id of an event"),
            ("TREND SUM(price) pageView", "expected OF"),
            ("TREND AVG(price) PER PERSON OF pageView", "only COUNT and SUM"),
            ("TREND a PER 15", "MINUTES"),
            ("TREND a b", "expected another series"),
        ] {
            let fault = parse(text).unwrap_err();
            assert!(fault.to_string().contains(said), "{text}: {fault}");
            assert!(fault.place().is_some(), "{text}");
        }
    }
}
