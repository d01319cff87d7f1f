//! Analyses within SQL: `FUNNEL …` becomes a call of the table function `funnel`, wherever a query may stand.
//!
//! So an analysis can be a statement, a subquery, a view or explained, and the query layer needs to know nothing of it.

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::error::Result;
use crate::quote::literal;
use crate::sql::cursor::Cursor;
use crate::sql::funnel;

/// A word that begins an analysis, and what reads the rest of it: into the name of a table function and its argument.
type Reader = fn(&mut Cursor) -> Result<(&'static str, String)>;

/// Every analysis, by its first word.
const ANALYSES: [(&str, Reader); 1] = [("FUNNEL", funnel::call)];

/// What may stand before a query: the start, a parenthesis, or one of these.
const BEFORE: [&str; 5] = ["AS", "EXPLAIN", "ANALYZE", "VERBOSE", "ALL"];

/// What follows a column that happens to be called like an analysis.
const NO_QUERY: [&str; 14] =
    ["AS", "IS", "IN", "AND", "OR", "NOT", "BETWEEN", "LIKE", "ILIKE", "ASC", "DESC", "FROM", "THEN", "END"];

/// The text with its analyses as calls; the same text when there are none.
pub fn expand(text: &str) -> Result<String> {
    let lower = text.to_ascii_lowercase();
    if !ANALYSES.iter().any(|(word, _)| lower.contains(&word.to_ascii_lowercase())) {
        return Ok(text.to_owned());
    }
    let mut cursor = Cursor::new(text)?;
    let (mut out, mut copied) = (String::new(), 0);
    let mut may_begin = true;
    while !cursor.at_end() {
        let analysis = ANALYSES.iter().find(|(word, _)| may_begin && begins(&cursor, word));
        if let Some((word, read)) = analysis {
            out.push_str(&text[copied..cursor.start()]);
            cursor.expect(&[word])?;
            let (function, argument) = read(&mut cursor)?;
            out.push_str(&format!("SELECT * FROM {function}({})", literal(&argument)));
            copied = cursor.stop();
            may_begin = false;
            continue;
        }
        may_begin = match cursor.skip() {
            Some(Token::LParen) => true,
            Some(Token::Word(word)) => {
                word.quote_style.is_none() && BEFORE.iter().any(|one| word.value.eq_ignore_ascii_case(one))
            }
            _ => false,
        };
    }
    out.push_str(&text[copied..]);
    Ok(out)
}

fn begins(cursor: &Cursor, word: &str) -> bool {
    cursor.is(&[word])
        && !NO_QUERY.iter().any(|next| cursor.is(&[word, next]))
        && cursor.is_followed_by(|next| matches!(next, Token::Word(_) | Token::LParen | Token::Mul))
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
        assert!(expand("EXPLAIN FUNNEL a, b").unwrap().starts_with("EXPLAIN SELECT * FROM funnel("));
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
        ] {
            assert_eq!(expand(text).unwrap(), text);
        }
        assert!(is_funnel("funnel a, b") && !is_funnel("SELECT 1 AS funnel"));
    }
}
