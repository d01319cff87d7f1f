//! `CREATE COMPUTED ATTRIBUTE … AS SUM(price) OF itemPurchased …`, `CREATE SCORE …`, and what is done with them.

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::analysis::attributes::AggregatePeriod;
use crate::analysis::attributes::AggregateRequest;
use crate::analysis::attributes::Computation;
use crate::analysis::attributes::ComputedAttribute;
use crate::analysis::attributes::End;
use crate::analysis::attributes::Function;
use crate::analysis::attributes::ScoreRule;
use crate::error::Result;
use crate::sql::cursor::Cursor;
use crate::sql::segment;

/// What a statement does with computed attributes. Scores are such, too.
#[derive(Clone, Debug, PartialEq)]
pub enum ComputedStatement {
    Create(CreateComputed),
    /// From its JSON form.
    Json {
        text: String,
        or_replace: bool,
    },
    Activate {
        name: String,
        active: bool,
    },
    Drop {
        name: String,
        if_exists: bool,
    },
    Show {
        scores: bool,
    },
}

/// `CREATE COMPUTED ATTRIBUTE …` and `CREATE SCORE …`.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateComputed {
    pub attribute: ComputedAttribute,
    pub or_replace: bool,
    pub if_not_exists: bool,
    /// It is not computed yet.
    pub draft: bool,
}

/// The words with which a clause of an aggregate starts.
const CLAUSES: &[&[&str]] =
    &[&["WITHOUT", "FIRST"], &["WITHOUT", "LAST"], &["IN", "LAST"], &["IN", "LIFETIME"], &["SINCE"]];

/// A statement about computed attributes, if it is one.
pub(crate) fn computed(cursor: &mut Cursor) -> Result<Option<ComputedStatement>> {
    let replaces = [["CREATE", "OR", "REPLACE", "COMPUTED"], ["CREATE", "OR", "REPLACE", "SCORE"]];
    let or_replace = replaces.iter().any(|words| cursor.is(words));
    if or_replace {
        cursor.take(&["CREATE", "OR", "REPLACE"]);
    }
    if or_replace || cursor.is(&["CREATE", "COMPUTED"]) || cursor.is(&["CREATE", "SCORE"]) {
        cursor.take(&["CREATE"]);
        if cursor.take(&["SCORE"]) {
            return create(cursor, or_replace, true).map(Some);
        }
        cursor.expect(&["COMPUTED", "ATTRIBUTE"])?;
        if cursor.take(&["FROM", "JSON"]) {
            let text = cursor.text("a computed attribute in JSON")?;
            return Ok(Some(ComputedStatement::Json { text, or_replace }));
        }
        return create(cursor, or_replace, false).map(Some);
    }
    Ok(Some(if takes(cursor, "ACTIVATE") {
        ComputedStatement::Activate { name: name(cursor)?, active: true }
    } else if takes(cursor, "DEACTIVATE") {
        ComputedStatement::Activate { name: name(cursor)?, active: false }
    } else if takes(cursor, "DROP") {
        let if_exists = cursor.take(&["IF", "EXISTS"]);
        ComputedStatement::Drop { name: name(cursor)?, if_exists }
    } else if cursor.take(&["SHOW", "COMPUTED", "ATTRIBUTES"]) {
        ComputedStatement::Show { scores: false }
    } else if cursor.take(&["SHOW", "SCORES"]) {
        ComputedStatement::Show { scores: true }
    } else {
        return Ok(None);
    }))
}

/// Takes the verb and what it is about.
fn takes(cursor: &mut Cursor, verb: &str) -> bool {
    cursor.take(&[verb, "COMPUTED", "ATTRIBUTE"]) || cursor.take(&[verb, "SCORE"])
}

fn name(cursor: &mut Cursor) -> Result<String> {
    Ok(cursor.name("the name of the attribute")?.text)
}

/// `[IF NOT EXISTS] name [DESCRIPTION '…'] [DRAFT] AS …`
fn create(cursor: &mut Cursor, or_replace: bool, is_score: bool) -> Result<ComputedStatement> {
    let if_not_exists = cursor.take(&["IF", "NOT", "EXISTS"]);
    let name = name(cursor)?;
    let description =
        if cursor.take(&["DESCRIPTION"]) { cursor.text("the description")? } else { String::new() };
    let draft = cursor.take(&["DRAFT"]);
    cursor.expect(&["AS"])?;
    let of = if is_score {
        Computation::Score(rules(cursor)?)
    } else if cursor.take(&["FORMULA"]) {
        cursor.expect_symbol(&Token::LParen)?;
        let text = cursor.expression("an expression over attributes", &[])?;
        cursor.expect_symbol(&Token::RParen)?;
        Computation::Formula(text)
    } else {
        Computation::Aggregate(aggregate(cursor)?)
    };
    let attribute = ComputedAttribute { name, description, of };
    Ok(ComputedStatement::Create(CreateComputed { attribute, or_replace, if_not_exists, draft }))
}

/// `5 WHEN condition, -3 WHEN condition`
fn rules(cursor: &mut Cursor) -> Result<Vec<ScoreRule>> {
    let mut rules = Vec::new();
    loop {
        let negative = cursor.take_symbol(&Token::Minus) || {
            cursor.take_symbol(&Token::Plus);
            false
        };
        let points: i32 = cursor.number("a number of points, such as 5 or -3,")?;
        cursor.expect(&["WHEN"])?;
        let points = if negative { -points } else { points };
        rules.push(ScoreRule { points, when: segment::any(cursor)? });
        if !cursor.take_symbol(&Token::Comma) {
            return Ok(rules);
        }
    }
}

/// `SUM(price) OF itemPurchased [WHERE condition] [WITHOUT FIRST | WITHOUT LAST] [period]`
fn aggregate(cursor: &mut Cursor) -> Result<AggregateRequest> {
    let (function, property) = function(cursor)?;
    cursor.expect(&["OF"])?;
    let event = cursor.name("the id of an event")?.text;
    let filter =
        if cursor.take(&["WHERE"]) { Some(cursor.expression("a condition", CLAUSES)?) } else { None };
    let mut request = AggregateRequest {
        function,
        event,
        property,
        filter,
        without: None,
        period: AggregatePeriod::Lifetime,
    };
    if cursor.take(&["WITHOUT", "FIRST"]) {
        request.without = Some(End::First);
    } else if cursor.take(&["WITHOUT", "LAST"]) {
        request.without = Some(End::Last);
    }
    if cursor.take(&["IN", "LIFETIME"]) {
        request.period = AggregatePeriod::Lifetime;
    } else if cursor.take(&["IN", "LAST"]) {
        let place = cursor.place();
        let count: u32 = cursor.number("24 HOURS, or 7, 14, 30, 60 or 90 DAYS,")?;
        request.period = if cursor.take(&["HOURS"]) {
            if count != 24 {
                let message = "an aggregate looks back on the last 24 hours, or on days";
                return Err(crate::error::Error::invalid(message).at(place));
            }
            AggregatePeriod::Last24Hours
        } else {
            cursor.expect(&["DAYS"])?;
            AggregatePeriod::LastDays(count)
        };
    } else if cursor.take(&["SINCE"]) {
        request.period = match cursor.number::<u32>("a number of days, or a date") {
            Ok(days) => {
                if !cursor.take(&["DAYS", "BEFORE", "TODAY"]) {
                    cursor.expect(&["DAY", "BEFORE", "TODAY"])?;
                }
                AggregatePeriod::DaysBeforeToday(days)
            }
            Err(_) => AggregatePeriod::Since(cursor.text("a number of days, or a date")?),
        };
    }
    Ok(request)
}

fn function(cursor: &mut Cursor) -> Result<(Function, Option<String>)> {
    if cursor.take(&["EXISTS"]) {
        return Ok((Function::Exists, None));
    }
    if cursor.take(&["MOST", "COMMON"]) {
        return Ok((Function::MostCommon, Some(property(cursor)?)));
    }
    let known = [
        ("SUM", Function::Sum),
        ("MIN", Function::Min),
        ("MAX", Function::Max),
        ("AVG", Function::Average),
        ("AVERAGE", Function::Average),
        ("FIRST", Function::First),
        ("LAST", Function::Last),
    ];
    if cursor.take(&["COUNT"]) {
        if !cursor.take_symbol(&Token::LParen) {
            return Ok((Function::Count, None));
        }
        if cursor.take_symbol(&Token::Mul) {
            cursor.expect_symbol(&Token::RParen)?;
            return Ok((Function::Count, None));
        }
        cursor.expect(&["DISTINCT"])?;
        let name = cursor.name("the name of a property")?.text;
        cursor.expect_symbol(&Token::RParen)?;
        return Ok((Function::CountDistinct, Some(name)));
    }
    match known.into_iter().find(|(word, _)| cursor.take(&[word])) {
        Some((_, function)) => Ok((function, Some(property(cursor)?))),
        None => Err(cursor.expected(
            "COUNT, EXISTS, SUM(…), MIN(…), MAX(…), AVG(…), COUNT(DISTINCT …), FIRST(…), LAST(…), MOST COMMON(…) or \
             FORMULA (…)",
        )),
    }
}

fn property(cursor: &mut Cursor) -> Result<String> {
    cursor.expect_symbol(&Token::LParen)?;
    let name = cursor.name("the name of a property")?.text;
    cursor.expect_symbol(&Token::RParen)?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::StatementKind;
    use crate::sql::parse;

    fn json(text: &str) -> String {
        let StatementKind::Computed(statement) = parse(text).unwrap().remove(0).kind else {
            panic!("no computed attribute: {text}");
        };
        let ComputedStatement::Create(create) = *statement else { panic!("nothing is created: {text}") };
        let written = create.attribute.to_json().unwrap();
        assert_eq!(ComputedAttribute::from_json(&written).unwrap(), create.attribute);
        written
    }

    #[test]
    fn every_clause_has_its_json() {
        for (text, expected) in [
            (
                "CREATE COMPUTED ATTRIBUTE visits AS COUNT OF pageView",
                r#"{"name":"visits","aggregate":{"function":"count","event":"pageView","period":"lifetime"}}"#,
            ),
            (
                "CREATE COMPUTED ATTRIBUTE spent DESCRIPTION 'all of it' AS SUM(price) OF itemPurchased \
                 WHERE price > 1 AND category IN ('a', 'b') WITHOUT FIRST IN LAST 90 DAYS",
                r#"{"name":"spent","description":"all of it","aggregate":{"function":"sum","event":"itemPurchased","property":"price","where":"price > 1 AND category IN ('a', 'b')","without":"first","period":{"last_days":90}}}"#,
            ),
            (
                "CREATE COMPUTED ATTRIBUTE x DRAFT AS MOST COMMON(path) OF pageView IN LAST 24 HOURS",
                r#"{"name":"x","aggregate":{"function":"most_common","event":"pageView","property":"path","period":"last24_hours"}}"#,
            ),
            (
                "CREATE COMPUTED ATTRIBUTE x AS COUNT(DISTINCT path) OF pageView SINCE '2026-06-01'",
                r#"{"name":"x","aggregate":{"function":"count_distinct","event":"pageView","property":"path","period":{"since":"2026-06-01"}}}"#,
            ),
            (
                "CREATE COMPUTED ATTRIBUTE x AS LAST(path) OF pageView WITHOUT LAST SINCE 3 DAYS BEFORE TODAY",
                r#"{"name":"x","aggregate":{"function":"last","event":"pageView","property":"path","without":"last","period":{"days_before_today":3}}}"#,
            ),
            (
                "CREATE COMPUTED ATTRIBUTE x AS FORMULA (spent / visits)",
                r#"{"name":"x","formula":"spent / visits"}"#,
            ),
            (
                "CREATE SCORE x AS 5 WHEN DID pageView WHERE url = 'x' IN LAST 90 DAYS, -3 WHEN country = 'Norway'",
                r#"{"name":"x","score":[{"points":5,"when":{"did":{"events":{"event":"pageView","where":"url = 'x'"},"occurrence":"any","time":{"last":{"count":90,"unit":"days"}}}}},{"points":-3,"when":{"persons":"country = 'Norway'"}}]}"#,
            ),
        ] {
            assert_eq!(json(text), expected, "{text}");
        }
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, said) in [
            ("CREATE COMPUTED ATTRIBUTE x AS TOTAL(price) OF a", "expected COUNT, EXISTS, SUM(…)"),
            ("CREATE COMPUTED ATTRIBUTE x AS COUNT", "expected OF"),
            ("CREATE COMPUTED ATTRIBUTE x AS COUNT OF a IN LAST 12 HOURS", "24 hours"),
            ("CREATE COMPUTED ATTRIBUTE x AS COUNT OF a IN LAST DAYS", "7, 14, 30"),
            ("CREATE SCORE x AS WHEN a = 1", "a number of points"),
            ("DROP SCORE", "the name of the attribute"),
        ] {
            let fault = parse(text).unwrap_err();
            assert!(fault.to_string().contains(said), "{text}: {fault}");
            assert!(fault.place().is_some(), "{text}");
        }
    }
}
