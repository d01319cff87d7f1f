//! A formula between series, such as `A / B * 100`: read with SQL's grammar, computed with NULL for what has no value.

use datafusion::sql::sqlparser::ast::BinaryOperator;
use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::ast::UnaryOperator;
use datafusion::sql::sqlparser::ast::Value;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::error::Error;
use crate::error::Result;
use crate::error::did_you_mean;

/// A formula whose names are places of series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Formula {
    Number(f64),
    Series(usize),
    Negative(Box<Formula>),
    Of(Box<Formula>, char, Box<Formula>),
}

impl Formula {
    /// `names` are what series are called, in order; a letter (A for the first) always works.
    pub(crate) fn parse(text: &str, names: &[String]) -> Result<Self> {
        let parsed = Parser::new(&GenericDialect {}).try_with_sql(text).and_then(|mut parser| {
            let found = parser.parse_expr()?;
            parser.expect_token(&Token::EOF)?;
            Ok(found)
        });
        let expression = parsed.map_err(|_| wrong(text))?;
        Self::of(&expression, text, names)
    }

    fn of(found: &Expr, text: &str, names: &[String]) -> Result<Self> {
        let part = |one: &Expr| Ok::<_, Error>(Box::new(Self::of(one, text, names)?));
        Ok(match found {
            Expr::Nested(inner) => Self::of(inner, text, names)?,
            Expr::Value(value) => match &value.value {
                Value::Number(digits, _) => Self::Number(digits.parse().map_err(|_| wrong(text))?),
                _ => return Err(wrong(text)),
            },
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Self::Negative(part(expr)?),
            Expr::BinaryOp { left, op, right } => {
                let sign = match op {
                    BinaryOperator::Plus => '+',
                    BinaryOperator::Minus => '-',
                    BinaryOperator::Multiply => '*',
                    BinaryOperator::Divide => '/',
                    _ => return Err(wrong(text)),
                };
                Self::Of(part(left)?, sign, part(right)?)
            }
            Expr::Identifier(name) => {
                let by_name = names.iter().position(|one| *one == name.value);
                let letter = match name.value.as_bytes() {
                    [letter @ b'A'..=b'Z'] => Some(usize::from(letter - b'A')).filter(|at| *at < names.len()),
                    _ => None,
                };
                Self::Series(by_name.or(letter).ok_or_else(|| {
                    let hint = did_you_mean(&name.value, names.iter().map(String::as_str));
                    Error::not_found(format!("no series is called \"{}\"{hint}", name.value))
                })?)
            }
            _ => return Err(wrong(text)),
        })
    }

    pub(crate) fn value(&self, series: &impl Fn(usize) -> Option<f64>) -> Option<f64> {
        let value = match self {
            Self::Number(number) => *number,
            Self::Series(at) => series(*at)?,
            Self::Negative(inner) => -inner.value(series)?,
            Self::Of(left, sign, right) => {
                let (left, right) = (left.value(series)?, right.value(series)?);
                match sign {
                    '+' => left + right,
                    '-' => left - right,
                    '*' => left * right,
                    _ => left / right,
                }
            }
        };
        value.is_finite().then_some(value)
    }
}

fn wrong(text: &str) -> Error {
    Error::invalid(format!(
        "a formula has numbers, names of series (A, B, … work always), + - * / and parentheses; found \"{text}\""
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, series: &[Option<f64>]) -> Option<f64> {
        let names: Vec<String> = ["views", "buys", "C"].map(str::to_owned).to_vec();
        Formula::parse(text, &names).unwrap().value(&|at| series[at])
    }

    #[test]
    fn a_formula_is_computed_and_what_has_no_value_is_null() {
        let series = [Some(8.0), Some(2.0), None];
        assert_eq!(value("B / A * 100", &series), Some(25.0));
        assert_eq!(value("-(views - buys) * 2 + .5", &series), Some(-11.5));
        assert_eq!(value("A + C", &series), None);
        assert_eq!(value("A / (B - 2)", &series), None);
    }

    #[test]
    fn what_is_no_formula_is_refused() {
        let names = ["views".to_owned()];
        for wrong in ["", "A +", "A > 1", "sum(A)", "'A'", "A; B"] {
            assert!(Formula::parse(wrong, &names).is_err(), "{wrong}");
        }
        let fault = Formula::parse("A / view", &names).unwrap_err().to_string();
        assert!(fault.contains("did you mean \"views\"?"), "{fault}");
        assert!(Formula::parse("B", &names).is_err());
    }
}
