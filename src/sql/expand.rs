//! Analyses within SQL: `FUNNEL …`, `RETENTION …` and the like become calls of table functions, wherever a query may
//! stand.
//!
//! So an analysis can be a statement, a subquery, a view or explained, and the query layer needs to know nothing of it.

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::error::Result;
use crate::quote::literal;
use crate::sql::cursor::Cursor;
use crate::sql::funnel;
use crate::sql::questions;

/// A word that begins an analysis, and what reads the rest of it: into the name of a table function and its argument.
type Reader = fn(&mut Cursor) -> Result<(&'static str, String)>;

/// Every analysis, by its first word.
fn analyses() -> impl Iterator<Item = (&'static str, Reader)> {
    let questions = questions::WORDS.into_iter().map(|word| (word, questions::call as Reader));
    std::iter::once(("FUNNEL", funnel::call as Reader)).chain(questions)
}

/// What may stand before a query: the start, a parenthesis, the `AS` of a view, or one of these.
const BEFORE: [&str; 6] = ["EXPLAIN", "ANALYZE", "VERBOSE", "ALL", "EXCEPT", "INTERSECT"];

/// What stands before the parenthesis of a query, if a word does; behind any other it is one of a function.
const OPENS: [&str; 12] =
    ["FROM", "JOIN", "IN", "EXISTS", "AS", "ANY", "ALL", "SOME", "UNION", "EXCEPT", "INTERSECT", "LATERAL"];

/// What follows a column that happens to be called like an analysis.
const NO_QUERY: [&str; 14] =
    ["AS", "IS", "IN", "AND", "OR", "NOT", "BETWEEN", "LIKE", "ILIKE", "ASC", "DESC", "FROM", "THEN", "END"];

/// The text with its analyses as calls; the same text when there are none.
pub fn expand(text: &str) -> Result<String> {
    let lower = text.to_ascii_lowercase();
    if !analyses().any(|(word, _)| lower.contains(&word.to_ascii_lowercase())) {
        return Ok(text.to_owned());
    }
    let mut cursor = Cursor::new(text)?;
    let (mut out, mut copied) = (String::new(), 0);
    let (mut may_begin, mut opens) = (true, true);
    // The first `AS` of a view is followed by its query; any other, by a name, which may be that of an analysis.
    let mut is_view = cursor.is(&["CREATE"]);
    while !cursor.at_end() {
        let analysis = analyses().find(|(word, _)| may_begin && begins(&cursor, word));
        if let Some((word, read)) = analysis {
            out.push_str(&text[copied..cursor.start()]);
            if word == "FUNNEL" {
                cursor.expect(&[word])?;
            }
            let (function, argument) = read(&mut cursor)?;
            out.push_str(&format!("SELECT * FROM {function}({})", literal(&argument)));
            copied = cursor.stop();
            (may_begin, opens) = (false, false);
            continue;
        }
        (may_begin, opens) = match cursor.skip() {
            Some(Token::LParen) => (opens, true),
            Some(Token::Word(word)) => {
                let is_one_of = |words: &[&str]| {
                    word.quote_style.is_none() && words.iter().any(|one| word.value.eq_ignore_ascii_case(one))
                };
                let begins_view = is_view && is_one_of(&["AS"]);
                is_view &= !begins_view;
                (begins_view || is_one_of(&BEFORE), is_one_of(&OPENS))
            }
            Some(Token::RParen) => (false, false),
            _ => (false, true),
        };
    }
    out.push_str(&text[copied..]);
    Ok(out)
}

/// Whether an analysis begins here. A column may be called like one, so what follows must be an event or a clause.
fn begins(cursor: &Cursor, word: &str) -> bool {
    if !cursor.is(&[word]) {
        return false;
    }
    match word {
        "PERSONS" => return cursor.is(&[word, "WHERE"]),
        "OVERLAP" => return cursor.is(&[word, "OF"]),
        "PATHS" => return cursor.is(&[word, "FROM"]) || cursor.is(&[word, "TO"]),
        "SESSIONS" => {
            let clauses: [&[&str]; 10] = [
                &["OF"],
                &["PAUSE"],
                &["PER"],
                &["ENTRY"],
                &["EXIT"],
                &["FROM"],
                &["TO"],
                &["AS", "OF"],
                &["IN", "ZONE"],
                &["FOR", "SEGMENT"],
            ];
            return clauses.iter().any(|clause| cursor.is_ahead(1, clause));
        }
        _ => {}
    }
    let any = cursor.is_followed_by(|next| *next == Token::Mul);
    // A product of a column goes on with a value.
    let clauses = ["WHERE", "THEN", "PER", "FROM", "TO", "AS", "IN", "FOR"];
    let ends_there = cursor.is_symbol_ahead(2, &Token::RParen) || cursor.is_end_ahead(2);
    if any {
        return ends_there || clauses.iter().any(|clause| cursor.is_ahead(2, &[clause]));
    }
    !NO_QUERY.iter().any(|next| cursor.is(&[word, next]))
        && cursor.is_followed_by(|next| matches!(next, Token::Word(_) | Token::LParen))
}

/// Whether a statement is a funnel and nothing else.
pub fn is_funnel(text: &str) -> bool {
    Cursor::new(text).is_ok_and(|cursor| begins(&cursor, "FUNNEL"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_analysis_is_found_where_a_query_may_stand() {
        let call = expand("FUNNEL a, b").unwrap();
        assert!(call.starts_with("SELECT * FROM funnel('{\"steps\":[{\"any\":[{\"event\":\"a\""), "{call}");
        let within = expand("SELECT step FROM (FUNNEL a WHERE x = 'it''s', b) AS f -- FUNNEL").unwrap();
        assert!(within.starts_with("SELECT step FROM (SELECT * FROM funnel('{"), "{within}");
        assert!(
            within.ends_with("}') ) AS f -- FUNNEL") || within.ends_with("}')) AS f -- FUNNEL"),
            "{within}"
        );
        assert!(within.contains("x = ''it''''s''"), "{within}");
        assert!(
            expand("CREATE VIEW v AS FUNNEL a, b").unwrap().starts_with("CREATE VIEW v AS SELECT * FROM")
        );
        for text in
            ["SELECT SUM(n) AS sessions FROM (SELECT 1)", "CREATE VIEW v AS SELECT 1 AS sessions FROM a"]
        {
            assert_eq!(expand(text).unwrap(), text);
        }
        assert!(expand("EXPLAIN FUNNEL a, b").unwrap().starts_with("EXPLAIN SELECT * FROM funnel("));
    }

    #[test]
    fn every_question_stands_where_a_query_may() {
        for (text, before, kind, after) in [
            (
                "SELECT * FROM (RETENTION a THEN b PER WEEK) AS r",
                "SELECT * FROM (SELECT",
                "retention",
                ") AS r",
            ),
            (
                "WITH t AS (TREND a, PERSONS OF b PER DAY) SELECT 1",
                "WITH t AS (SELECT",
                "trend",
                ") SELECT 1",
            ),
            ("CREATE VIEW v AS LIFECYCLE * PER WEEK", "CREATE VIEW v AS SELECT", "lifecycle", ""),
            ("EXPLAIN STICKINESS a", "EXPLAIN SELECT", "stickiness", ""),
            ("SELECT 1 UNION ALL SESSIONS PER DAY", "SELECT 1 UNION ALL SELECT", "sessions", ""),
            (
                "SELECT * FROM t JOIN (PATHS FROM a STEPS 2) ON x",
                "SELECT * FROM t JOIN (SELECT",
                "paths",
                ") ON x",
            ),
            (
                "SELECT 1 WHERE p IN (PERSONS WHERE DID a AND (x = 1 OR DID b))",
                "SELECT 1 WHERE p IN (SELECT",
                "persons",
                ")",
            ),
            ("SELECT * FROM (OVERLAP OF a, b)", "SELECT * FROM (SELECT", "overlap", ")"),
            ("SELECT COUNT(*) FROM (STICKINESS *)", "SELECT COUNT(*) FROM (SELECT", "stickiness", ")"),
        ] {
            let found = expand(text).unwrap();
            let start = format!("{before} * FROM analysis('{{\"kind\":\"{kind}\"");
            assert!(found.starts_with(&start) && found.ends_with(&format!("}}'){after}")), "{found}");
        }
        let fault = expand("SELECT * FROM (RETENTION a THEN b PER FORTNIGHT)").unwrap_err();
        assert!(fault.to_string().contains("DAY, WEEK or MONTH") && fault.place().is_some(), "{fault}");
    }

    #[test]
    fn a_column_or_a_text_of_that_name_is_left_alone() {
        for text in [
            "SELECT funnel FROM t",
            "SELECT (funnel) FROM t",
            "SELECT (funnel IS NULL) FROM t",
            "SELECT 'FUNNEL a, b'",
            "SELECT * FROM funnel('{}')",
            "SELECT \"FUNNEL\" FROM t",
            "SELECT (stickiness * 2), (trend), EXTRACT(sessions FROM x), substring(paths FROM 2) FROM t",
            "SELECT * FROM (persons) WHERE x = 1",
            "SELECT (paths), sessions FROM persons WHERE retention = 1 AND (overlap > 2)",
            "SELECT COUNT(*) FROM persons WHERE (trend IS NULL)",
        ] {
            assert_eq!(expand(text).unwrap(), text);
        }
        assert!(is_funnel("funnel a, b") && !is_funnel("SELECT 1 AS funnel"));
    }
}
