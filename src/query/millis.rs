//! Lets a query in microseconds read files that keep the times of their events in milliseconds (`storage/shape.rs`).
//!
//! `DataFusion` casts such a column where it is used, and then moves the cast from the column to the literal it is
//! compared with, which cuts the literal to a millisecond: `occurredTime < '….0005'` would lose the events of that
//! millisecond. So a comparison is first turned into one with a whole millisecond that says the same of whole
//! milliseconds; and where the literal is not known yet, the cast is one that `DataFusion` does not know how to move.

use std::fmt;
use std::hash::Hash;
use std::hash::Hasher;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use arrow::datatypes::TimeUnit;
use datafusion::common::Result;
use datafusion::common::ScalarValue;
use datafusion::common::internal_err;
use datafusion::common::tree_node::Transformed;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::ColumnarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::BinaryExpr;
use datafusion::physical_expr::expressions::CastExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::expressions::DynamicFilterPhysicalExpr;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::expressions::lit;
use datafusion::physical_expr_adapter::DefaultPhysicalExprAdapterFactory;
use datafusion::physical_expr_adapter::PhysicalExprAdapter;
use datafusion::physical_expr_adapter::PhysicalExprAdapterFactory;

use crate::time::MICROS_PER_MILLI;

/// Makes `DataFusion`'s own adapter safe for times in milliseconds; one for each file.
#[derive(Debug)]
pub(crate) struct MillisAdapters;

impl PhysicalExprAdapterFactory for MillisAdapters {
    fn create(&self, logical: SchemaRef, physical: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let usual = DefaultPhysicalExprAdapterFactory.create(logical, Arc::clone(&physical))?;
        let has_millis = physical.fields().iter().any(|field| is_millis(field.data_type()));
        Ok(if has_millis { Arc::new(MillisAdapter { usual, physical }) } else { usual })
    }
}

#[derive(Debug)]
struct MillisAdapter {
    usual: Arc<dyn PhysicalExprAdapter>,
    physical: SchemaRef,
}

impl PhysicalExprAdapter for MillisAdapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let expr = expr.transform_up(|expr| Ok(self.compare_with_millis(expr)))?.data;
        let expr = self.usual.rewrite(expr)?;
        let fixed = expr.transform_up(|expr| {
            if expr.downcast_ref::<DynamicFilterPhysicalExpr>().is_none() {
                return Ok(Transformed::no(expr));
            }
            let children = expr.children().into_iter().map(|child| match child.downcast_ref::<CastExpr>() {
                Some(cast) if self.is_millis_column(cast.expr()) => {
                    Arc::new(FixedCast { cast: Arc::clone(child) }) as Arc<dyn PhysicalExpr>
                }
                _ => Arc::clone(child),
            });
            let children = children.collect();
            Ok(Transformed::yes(expr.with_new_children(children)?))
        });
        Ok(fixed?.data)
    }
}

impl MillisAdapter {
    fn is_millis_column(&self, expr: &Arc<dyn PhysicalExpr>) -> bool {
        let field = expr.downcast_ref::<Column>().and_then(|one| self.physical.column_with_name(one.name()));
        field.is_some_and(|(_, field)| is_millis(field.data_type()))
    }

    fn compare_with_millis(&self, expr: Arc<dyn PhysicalExpr>) -> Transformed<Arc<dyn PhysicalExpr>> {
        let changed = expr.downcast_ref::<BinaryExpr>().and_then(|binary| {
            let (column, op, literal) = match (binary.left(), binary.right()) {
                (column, literal) if self.is_millis_column(column) => (column, *binary.op(), literal),
                (literal, column) if self.is_millis_column(column) => (column, binary.op().swap()?, literal),
                _ => return None,
            };
            let ScalarValue::TimestampMicrosecond(Some(micros), zone) =
                literal.downcast_ref::<Literal>()?.value()
            else {
                return None;
            };
            Some(match same_of_millis(op, *micros)? {
                Same::Compare(op, micros) => {
                    let literal = lit(ScalarValue::TimestampMicrosecond(Some(micros), zone.clone()));
                    Arc::new(BinaryExpr::new(Arc::clone(column), op, literal)) as Arc<dyn PhysicalExpr>
                }
                Same::Always(answer) => lit(answer),
            })
        });
        changed.map_or_else(|| Transformed::no(expr), Transformed::yes)
    }
}

/// What says the same of every whole millisecond.
#[derive(Debug, PartialEq, Eq)]
enum Same {
    Compare(Operator, i64),
    /// The column is never NULL.
    Always(bool),
}

/// What a comparison with a time between two milliseconds says of whole ones; `None` when it is good as it is.
fn same_of_millis(op: Operator, micros: i64) -> Option<Same> {
    let before = micros.checked_sub(micros.rem_euclid(MICROS_PER_MILLI))?;
    if before == micros {
        return None;
    }
    Some(match op {
        Operator::Lt | Operator::LtEq => Same::Compare(Operator::LtEq, before),
        Operator::Gt | Operator::GtEq => Same::Compare(Operator::Gt, before),
        Operator::Eq | Operator::IsNotDistinctFrom => Same::Always(false),
        Operator::NotEq | Operator::IsDistinctFrom => Same::Always(true),
        _ => return None,
    })
}

fn is_millis(kind: &DataType) -> bool {
    matches!(kind, DataType::Timestamp(TimeUnit::Millisecond, _))
}

/// A cast that stays where it is.
#[derive(Debug, Eq)]
struct FixedCast {
    cast: Arc<dyn PhysicalExpr>,
}

impl PartialEq for FixedCast {
    fn eq(&self, other: &Self) -> bool {
        self.cast.eq(&other.cast)
    }
}

impl Hash for FixedCast {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.cast.hash(state);
    }
}

impl fmt::Display for FixedCast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cast)
    }
}

impl PhysicalExpr for FixedCast {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.cast.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.cast.nullable(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.cast.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.cast.children()
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let [_] = children.as_slice() else {
            return internal_err!("a cast is of one expression");
        };
        Ok(Arc::new(Self { cast: Arc::clone(&self.cast).with_new_children(children)? }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cast.fmt_sql(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_says_the_same_of_every_whole_millisecond() {
        let holds = |op: Operator, left: i64, right: i64| match op {
            Operator::Lt => left < right,
            Operator::LtEq => left <= right,
            Operator::Gt => left > right,
            Operator::GtEq => left >= right,
            Operator::Eq => left == right,
            _ => left != right,
        };
        let ops = [Operator::Lt, Operator::LtEq, Operator::Gt, Operator::GtEq, Operator::Eq, Operator::NotEq];
        for op in ops {
            for literal in -2_500..2_500 {
                let same = same_of_millis(op, literal);
                assert_eq!(same.is_none(), literal % 1_000 == 0);
                for time in (-3_000..=3_000).step_by(1_000) {
                    let says = match same {
                        None => holds(op, time, literal),
                        Some(Same::Compare(op, whole)) => {
                            assert_eq!(whole % 1_000, 0);
                            holds(op, time, whole)
                        }
                        Some(Same::Always(answer)) => answer,
                    };
                    assert_eq!(says, holds(op, time, literal), "{time} {op} {literal}");
                }
            }
        }
    }
}
