//! Formulas: an expression in SQL over the columns of `persons`, NULL as soon as a column in it is.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::Array;
use arrow::array::AsArray;
use arrow::array::Int64Array;
use arrow::array::UInt32Array;
use arrow::array::new_null_array;
use arrow::compute::cast;
use arrow::compute::concat;
use arrow::compute::sort_to_indices;
use arrow::compute::take;
use arrow::datatypes::DataType;
use arrow::datatypes::Int64Type;
use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::ast::visit_expressions;
use datafusion::sql::sqlparser::dialect::DuckDbDialect;
use datafusion::sql::sqlparser::parser::Parser;

use crate::analysis::Ground;
use crate::analysis::attributes::Computed;
use crate::analysis::attributes::Over;
use crate::analysis::events::condition;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::query::ComputedColumn;
use crate::query::ComputedKind;
use crate::quote::quoted;
use crate::time::Micros;

/// The names in an expression, and whether it asks a question of its own.
pub(crate) fn names(text: &str) -> Result<BTreeSet<String>> {
    let not_read = || Error::invalid(format!("\"{text}\" is no expression in SQL"));
    let parsed = Parser::new(&DuckDbDialect {})
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_expr())
        .map_err(|error| not_read().with_source(error))?;
    let mut names = BTreeSet::new();
    let asks = visit_expressions(&parsed, |one| {
        match one {
            Expr::Identifier(name) => {
                names.insert(name.value.clone());
            }
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
                return ControlFlow::Break(());
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
    if asks.is_break() {
        return Err(Error::invalid("a formula is about the columns of one person; it has no SELECT in it"));
    }
    Ok(names)
}

/// The expression as SQL that is NULL when a name in it is.
fn guarded(text: &str) -> Result<String> {
    let spelled = condition(text)?;
    let names = names(text)?;
    let tests: Vec<String> = names.iter().map(|name| format!("{} IS NULL", quoted(name))).collect();
    Ok(if tests.is_empty() {
        format!("({spelled})")
    } else {
        format!("CASE WHEN {} THEN NULL ELSE {spelled} END", tests.join(" OR "))
    })
}

/// What the values of a formula are.
pub(crate) async fn kind(text: &str, ground: &Ground) -> Result<ComputedKind> {
    let said = |error: Error| Error::new(error.kind(), format!("about the formula: {error}"));
    let sql = format!("SELECT {} AS \"value\" FROM persons", guarded(text)?);
    let plan = ground.plan(&sql).await.map_err(said)?;
    let found = plan.schema().field(0).data_type().clone();
    Ok(match found {
        DataType::Boolean => ComputedKind::Boolean,
        DataType::Date32 => ComputedKind::Date,
        DataType::Timestamp(..) => ComputedKind::DateTime,
        DataType::Decimal128(_, 0) => ComputedKind::IntegerSum,
        one if one.is_integer() => ComputedKind::Integer,
        one if one.is_numeric() => ComputedKind::Decimal,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => ComputedKind::String,
        _ => {
            return Err(Error::invalid(format!(
                "the formula \"{text}\" gives neither a number, a text, a time nor a truth"
            )));
        }
    })
}

pub(crate) async fn values(text: &str, kind: ComputedKind, over: &Over<'_>) -> Result<Computed> {
    let said = |error: Error| Error::new(error.kind(), format!("about the formula: {error}"));
    let session = (over.open)(Arc::clone(over.snapshot))?;
    let sql = format!("SELECT \"personId\", {} AS \"value\" FROM persons", guarded(text)?);
    let batches = session.ask(&sql).await.map_err(said)?.collect().await.map_err(said)?;
    let doing = || "could not put a formula together".to_owned();
    let mut persons: Vec<i64> = Vec::new();
    let mut parts = Vec::new();
    for batch in &batches {
        persons.extend(batch.column(0).as_primitive::<Int64Type>().values());
        parts.push(cast(batch.column(1), &kind.data_type()).internal(doing)?);
    }
    parts.push(new_null_array(&kind.data_type(), 1));
    let values =
        concat(&parts.iter().map(|part| part.as_ref()).collect::<Vec<&dyn Array>>()).internal(doing)?;
    // Parts of the table come in any order; the last value is that of nobody.
    let nobody = persons.len();
    let ids = Int64Array::from(persons);
    let order = sort_to_indices(&ids, None, None).internal(doing)?;
    let persons = order.values().iter().map(|at| ids.value(*at as usize)).collect();
    let places: UInt32Array =
        order.values().iter().copied().chain(u32::try_from(nobody).ok()).map(Some).collect();
    let values = take(&values, &places, None).internal(doing)?;
    let column = Arc::new(ComputedColumn { persons, values });
    // What is in it may change with time, and is kept there.
    Ok(Computed { column, until: Micros(over.now.0 + 1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formula_is_null_when_a_name_in_it_is() {
        assert_eq!(
            guarded("spent / coalesce(visits, 1) + \"Odd\" * 2").unwrap(),
            "CASE WHEN \"Odd\" IS NULL OR \"spent\" IS NULL OR \"visits\" IS NULL THEN NULL ELSE spent / \
             coalesce(visits, 1) + \"Odd\" * 2 END"
        );
        assert_eq!(guarded("1 + 1").unwrap(), "(1 + 1)");
        assert!(guarded("(SELECT 1)").unwrap_err().to_string().contains("no SELECT"));
        assert!(guarded("1; DROP").is_err());
    }
}
