//! `Events`: which events a question is about, and the conditions that people write on them, as SQL.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::ast::FunctionArg;
use datafusion::sql::sqlparser::ast::FunctionArgExpr;
use datafusion::sql::sqlparser::ast::FunctionArguments;
use datafusion::sql::sqlparser::ast::visit_expressions_mut;
use datafusion::sql::sqlparser::dialect::DuckDbDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use datafusion::sql::sqlparser::tokenizer::Tokenizer;
use serde::Deserialize;
use serde::Serialize;

use crate::error::Error;
use crate::error::Result;
use crate::quote::literal;
use crate::quote::quoted;

/// The events of one definition, or of all, that meet a condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// The id of a definition, or `*` for all events.
    pub event: String,
    /// A condition in SQL on the columns of the event; `any(list.field > 1)` asks about the entries of a list.
    #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
}

impl Events {
    pub fn of(event: &str) -> Self {
        Self { event: event.to_owned(), filter: None }
    }

    /// How the events are called in a sentence.
    pub(crate) fn said(&self) -> &str {
        if self.event == "*" { "events" } else { &self.event }
    }

    /// The table that holds them.
    pub(crate) fn table(&self) -> String {
        if self.event == "*" { "events".to_owned() } else { quoted(&self.event) }
    }

    /// The condition as SQL that the query layer understands.
    pub(crate) fn condition(&self) -> Result<Option<String>> {
        let Some(filter) = &self.filter else { return Ok(None) };
        condition(filter).map(Some).map_err(|error| in_condition(self.said(), error))
    }
}

/// An error in what was written about an event, said of that event; its place is one of SQL that nobody wrote.
pub(crate) fn in_condition(said: &str, error: Error) -> Error {
    Error::new(error.kind(), format!("about {said}: {error}"))
}

/// What a column of an expression is called: a name in quotes without them.
pub(crate) fn heading(expression: &str) -> String {
    let inner = expression.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.filter(|inner| !inner.contains('"')).unwrap_or(expression).to_owned()
}

/// A field of a list that an `any(…)` asks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntryField {
    pub(crate) list: String,
    pub(crate) field: String,
}

/// A condition with its `any(…)` spelled out, and the fields that they ask about; nothing when it has none.
pub(crate) fn entries(text: &str) -> Result<Option<(String, Vec<EntryField>)>> {
    if any_by_name(text) == text {
        return Ok(None);
    }
    let mut fields = Vec::new();
    let spelled = spell(text, &mut fields)?;
    Ok((!fields.is_empty()).then_some((spelled, fields)))
}

/// One expression of SQL, checked to be one, with `any(…)` spelled out.
pub(crate) fn condition(text: &str) -> Result<String> {
    spell(text, &mut Vec::new())
}

fn spell(text: &str, fields: &mut Vec<EntryField>) -> Result<String> {
    let dialect = DuckDbDialect {};
    let parsed = Parser::new(&dialect).try_with_sql(&any_by_name(text)).and_then(|mut parser| {
        let found = parser.parse_expr()?;
        parser.expect_token(&Token::EOF)?;
        Ok(found)
    });
    let mut found = parsed.map_err(|error| {
        let message = error.to_string();
        let message = message.strip_prefix("sql parser error: ").unwrap_or(&message).to_lowercase();
        Error::invalid(format!("\"{text}\" is not a condition in SQL: {message}"))
    })?;
    let mut fault = None;
    let _: ControlFlow<()> = visit_expressions_mut(&mut found, |one| {
        match any_match(one, fields) {
            Ok(Some(spelled)) => *one = spelled,
            Ok(None) => {}
            Err(error) => fault = Some(error),
        }
        ControlFlow::Continue(())
    });
    match fault {
        Some(fault) => Err(fault),
        None => Ok(found.to_string()),
    }
}

/// The name under which `any` passes the parser, for which `AND any(…)` and `= any(…)` are alike; as long as `any`, so
/// that places in the text stay what they are.
const ANY: &str = "_an";

/// Whether a token is an `any` that asks about the entries of a list; `before` and `after` are its neighbours.
pub(crate) fn is_any(token: &Token, before: Option<&Token>, after: Option<&Token>) -> bool {
    let is_word = matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("any"));
    let compares =
        matches!(before, Some(Token::Eq | Token::Neq | Token::Lt | Token::LtEq | Token::Gt | Token::GtEq));
    is_word && after == Some(&Token::LParen) && !compares
}

/// The token that takes the place of such an `any` before a text is parsed.
pub(crate) fn any_token() -> Token {
    Token::make_word(ANY, None)
}

/// The same text with every `any(` that is no comparison with an array called [`ANY`].
fn any_by_name(text: &str) -> String {
    let Ok(tokens) = Tokenizer::new(&DuckDbDialect {}, text).with_unescape(false).tokenize() else {
        return text.to_owned();
    };
    let said = |token: &Token| !matches!(token, Token::Whitespace(_));
    let mut spelled = String::with_capacity(text.len());
    for (at, token) in tokens.iter().enumerate() {
        let before = tokens[..at].iter().rev().find(|one| said(one));
        if is_any(token, before, tokens[at + 1..].iter().find(|one| said(one))) {
            spelled.push_str(ANY);
        } else {
            spelled.push_str(&token.to_string());
        }
    }
    spelled
}

/// The name of an entry of a list inside of [`any_match`].
const ENTRY: &str = "_entry";

/// `any(seats.price > 100)` as `array_any_match(seats, _entry -> _entry['price'] > 100)`; nothing for anything else.
fn any_match(found: &Expr, fields: &mut Vec<EntryField>) -> Result<Option<Expr>> {
    let Expr::Function(function) = found else { return Ok(None) };
    if function.name.to_string() != ANY {
        return Ok(None);
    }
    let wrong = || {
        Error::invalid(format!(
            "any(…) holds one condition on the fields of one list, such as any(seats.price > 100); found {}",
            found.to_string().replacen(ANY, "any", 1)
        ))
    };
    let FunctionArguments::List(list) = &function.args else { return Err(wrong()) };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(inner))] = list.args.as_slice() else {
        return Err(wrong());
    };
    let mut inner = inner.clone();
    let mut of: Option<String> = None;
    let mut mixed = false;
    let _: ControlFlow<()> = visit_expressions_mut(&mut inner, |one| {
        if let Expr::CompoundIdentifier(parts) = one
            && let [list, field] = parts.as_slice()
        {
            mixed |= of.as_ref().is_some_and(|known| *known != list.value);
            let text = format!("{ENTRY}[{}]", literal(&field.value));
            of = Some(list.value.clone());
            fields.push(EntryField { list: list.value.clone(), field: field.value.clone() });
            if let Ok(spelled) = parse(&text) {
                *one = spelled;
            }
        }
        ControlFlow::Continue(())
    });
    let Some(list) = of.filter(|_| !mixed) else { return Err(wrong()) };
    parse(&format!("array_any_match({}, {ENTRY} -> {inner})", quoted(&list))).map(Some).map_err(|_| wrong())
}

fn parse(text: &str) -> std::result::Result<Expr, datafusion::sql::sqlparser::parser::ParserError> {
    Parser::new(&DuckDbDialect {}).try_with_sql(text)?.parse_expr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_one_expression() {
        for same in
            ["path = '/shoes' AND price >= 1", "name = 'it''s' OR \"a \"\"b\" LIKE '%any(%'", "a = ANY(b)"]
        {
            assert_eq!(condition(same).unwrap(), same);
        }
        for wrong in ["", "path =", "1 = 1) UNION SELECT (1", "a = 1; DROP TABLE x", "a = 1, b"] {
            let fault = condition(wrong).unwrap_err().to_string();
            assert!(fault.contains("is not a condition"), "{wrong}: {fault}");
        }
    }

    #[test]
    fn any_asks_about_the_entries_of_one_list() {
        assert_eq!(
            condition("total > 1 AND any(seats.price > 100 AND seats.row = 'A')").unwrap(),
            "total > 1 AND array_any_match(\"seats\", _entry -> _entry['price'] > 100 AND _entry['row'] = 'A')"
        );
        for wrong in ["any(price > 1)", "any(a.b = c.d)", "any(a.b = 1, 2)", "any()"] {
            assert!(condition(wrong).unwrap_err().to_string().contains("one list"), "{wrong}");
        }
    }
}
