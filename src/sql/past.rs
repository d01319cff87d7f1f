//! `SELECT … AS OF '2026-06-01T12:00:00Z'` and `SELECT … AS OF 1200`: a question about the store as it was.

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::error::Error;
use crate::error::Place;
use crate::error::Result;
use crate::sql::cursor::Cursor;

/// A question about the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// The question, without its `AS OF`.
    pub query: String,
    pub moment: PastMoment,
    /// Where the moment stands in the text.
    pub place: Place,
    /// The words and names of the question, and the texts in it.
    pub words: Vec<String>,
}

/// The moment as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PastMoment {
    Time(String),
    /// When the event of this number was the last.
    Seq(i64),
}

/// What a question may begin with.
const QUESTIONS: [&str; 3] = ["SELECT", "WITH", "EXPLAIN"];

/// The question about the past that a text is; none when it is about the present.
///
/// # Errors
/// `Invalid` when `AS OF` stands elsewhere than at the end.
pub fn past(text: &str) -> Result<Option<Past>> {
    // Cheap, for most texts have none.
    if !text.to_ascii_lowercase().contains("of") {
        return Ok(None);
    }
    // What cannot be cut into words is for the parser of SQL to tell.
    let Ok(mut cursor) = Cursor::new(text) else { return Ok(None) };
    if !QUESTIONS.iter().any(|word| cursor.is(&[word])) {
        return Ok(None);
    }
    let (mut words, mut depth) = (Vec::new(), 0_usize);
    loop {
        let start = cursor.start();
        let is_moment = |next: &Token| matches!(next, Token::SingleQuotedString(_) | Token::Number(..));
        if depth == 0 && cursor.is(&["AS", "OF"]) && cursor.ahead(2).is_some_and(is_moment) {
            cursor.expect(&["AS", "OF"])?;
            let place = cursor.place();
            let moment = match cursor.skip() {
                Some(Token::SingleQuotedString(text)) => PastMoment::Time(text),
                Some(Token::Number(digits, _)) => PastMoment::Seq(number(&digits, place)?),
                _ => return Ok(None),
            };
            if !cursor.at_end() {
                let message = "AS OF is for the whole question, and comes at its end";
                return Err(Error::invalid(message).at(place));
            }
            return Ok(Some(Past { query: text[..start].to_owned(), moment, place, words }));
        }
        match cursor.skip() {
            Some(Token::LParen) => depth += 1,
            Some(Token::RParen) => depth = depth.saturating_sub(1),
            Some(Token::Word(word)) => words.push(word.value),
            Some(Token::SingleQuotedString(text)) => words.push(text),
            Some(_) => {}
            None => return Ok(None),
        }
    }
}

fn number(digits: &str, place: Place) -> Result<i64> {
    digits.parse().map_err(|_| {
        Error::invalid(format!("the number of an event is a whole number, found {digits}")).at(place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<(String, PastMoment)> {
        past(text).unwrap().map(|past| (past.query, past.moment))
    }

    #[test]
    fn the_moment_stands_at_the_end_of_a_question() {
        let time = PastMoment::Time("2026-06-01".to_owned());
        assert_eq!(
            found("SELECT a FROM b AS OF '2026-06-01'"),
            Some(("SELECT a FROM b ".to_owned(), time.clone()))
        );
        assert_eq!(found("select 1 as of 12").unwrap().1, PastMoment::Seq(12));
        assert_eq!(found("WITH x AS (SELECT 1) SELECT * FROM x AS OF '2026-06-01'").unwrap().1, time);
        let words = past("EXPLAIN SELECT * FROM funnel('{\"a\"}') AS OF 3").unwrap().unwrap().words;
        assert!(words.contains(&"{\"a\"}".to_owned()), "{words:?}");
    }

    #[test]
    fn what_is_no_moment_is_left_to_sql() {
        for text in [
            "SELECT 1 AS of",
            "SELECT 'AS OF 12'",
            "SELECT a AS \"of\" FROM b",
            "SELECT * FROM (SELECT 1 AS OF 1)",
            "CREATE VIEW v AS SELECT 1 AS OF 1",
            "SELECT 'open AS OF 1",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn a_moment_elsewhere_is_told_with_its_place() {
        let error = past("SELECT * FROM a AS OF 3 WHERE b = 1").unwrap_err();
        assert_eq!(error.to_string(), "AS OF is for the whole question, and comes at its end");
        assert_eq!(error.place(), Some(Place { line: 1, column: 23 }));
        assert!(past("SELECT 1 AS OF 1.5").is_err());
    }
}
