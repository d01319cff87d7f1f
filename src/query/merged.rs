//! Persons who were merged: the column `personId` names the one that stands for all, and conditions on it find the
//! events of each.
//!
//! Files hold the id that an event came with. While nobody is merged nothing of this is in a plan.

use std::collections::BTreeSet;
use std::hash::Hash;
use std::hash::Hasher;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::Int64Array;
use arrow::array::cast::AsArray;
use arrow::datatypes::DataType;
use arrow::datatypes::Int64Type;
use datafusion::common::Column;
use datafusion::common::Result;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ColumnarValue;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::Operator;
use datafusion::logical_expr::ScalarFunctionArgs;
use datafusion::logical_expr::ScalarUDFImpl;
use datafusion::logical_expr::Signature;
use datafusion::logical_expr::Volatility;

use crate::ids::PersonId;
use crate::person::Aliases;
use crate::schema::PERSON_ID;

/// `resolved(personId)`: the person that stands for the one of the event.
#[derive(Debug)]
pub(crate) struct Resolved {
    aliases: Arc<Aliases>,
    signature: Signature,
}

impl Resolved {
    pub(crate) fn new(aliases: Arc<Aliases>) -> Self {
        Self { aliases, signature: Signature::exact(vec![DataType::Int64], Volatility::Immutable) }
    }
}

/// Two are the same when they resolve by the same merges.
impl PartialEq for Resolved {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.aliases, &other.aliases)
    }
}

impl Eq for Resolved {}

impl Hash for Resolved {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.aliases).hash(state);
    }
}

impl ScalarUDFImpl for Resolved {
    fn name(&self) -> &str {
        "resolved"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ids = ColumnarValue::values_to_arrays(&args.args)?;
        let ids = ids[0].as_primitive::<Int64Type>();
        let resolved: Int64Array = ids.unary(|id| self.aliases.resolve(PersonId(id)).0);
        Ok(ColumnarValue::Array(Arc::new(resolved) as ArrayRef))
    }
}

fn mentions(expr: &Expr) -> bool {
    expr.column_refs().iter().any(|one| one.name == PERSON_ID)
}

/// A condition on resolved ids as one on the ids in files: `personId = 5` as `personId IN (5, 7)` where 7 was merged
/// into 5. `None` when the condition asks for persons in another way, so that each row must be resolved first.
pub(crate) fn on_stored_ids(condition: &Expr, aliases: &Aliases) -> Option<Expr> {
    if aliases.is_empty() || !mentions(condition) {
        return Some(condition.clone());
    }
    match condition {
        Expr::BinaryExpr(binary) if matches!(binary.op, Operator::And | Operator::Or) => {
            let mut both = binary.clone();
            *both.left = on_stored_ids(&binary.left, aliases)?;
            *both.right = on_stored_ids(&binary.right, aliases)?;
            Some(Expr::BinaryExpr(both))
        }
        Expr::BinaryExpr(binary) if binary.op == Operator::Eq => {
            match (binary.left.as_ref(), binary.right.as_ref()) {
                (Expr::Column(_), Expr::Literal(id, _)) | (Expr::Literal(id, _), Expr::Column(_)) => {
                    is_one_of(&[id], aliases)
                }
                _ => None,
            }
        }
        Expr::InList(list) if !list.negated && matches!(list.expr.as_ref(), Expr::Column(_)) => {
            let ids = list.list.iter().map(|one| match one {
                Expr::Literal(value, _) => Some(value),
                _ => None,
            });
            is_one_of(&ids.collect::<Option<Vec<_>>>()?, aliases)
        }
        _ => None,
    }
}

fn is_one_of(ids: &[&ScalarValue], aliases: &Aliases) -> Option<Expr> {
    let mut stored = BTreeSet::new();
    for id in ids {
        match id {
            ScalarValue::Int64(Some(id)) => {
                let id = PersonId(*id);
                // Nobody is shown with the id of one who was merged.
                if aliases.resolve(id) == id {
                    stored.extend(aliases.members(id));
                }
            }
            ScalarValue::Int64(None) => {}
            _ => return None,
        }
    }
    let ids = stored.into_iter().map(|id| Expr::Literal(ScalarValue::Int64(Some(id.0)), None));
    let ids: Vec<Expr> = ids.collect();
    let column = Expr::Column(Column::new_unqualified(PERSON_ID));
    Some(match ids.as_slice() {
        // Ids count from 1, so this is true of nobody, in a form that prunes.
        [] => column.eq(Expr::Literal(ScalarValue::Int64(Some(0)), None)),
        [one] => column.eq(one.clone()),
        _ => column.in_list(ids, false),
    })
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::col;
    use datafusion::logical_expr::lit;

    use super::*;

    fn aliases() -> Aliases {
        Aliases::of([(PersonId(7), PersonId(5)), (PersonId(9), PersonId(5))])
    }

    fn id() -> Expr {
        Expr::Column(Column::new_unqualified(PERSON_ID))
    }

    #[test]
    fn a_person_is_found_under_every_id_that_it_has() {
        let stored = |condition: Expr| on_stored_ids(&condition, &aliases()).map(|one| one.to_string());
        let five = "personId IN ([Int64(5), Int64(7), Int64(9)])";
        assert_eq!(stored(id().eq(lit(5_i64))).unwrap(), five);
        assert_eq!(stored(lit(5_i64).eq(id())).unwrap(), five);
        assert_eq!(stored(id().eq(lit(7_i64))).unwrap(), "personId = Int64(0)");
        assert_eq!(stored(id().eq(lit(6_i64))).unwrap(), "personId = Int64(6)");
        assert_eq!(
            stored(id().in_list(vec![lit(6_i64), lit(7_i64), lit(5_i64)], false)).unwrap(),
            "personId IN ([Int64(5), Int64(6), Int64(7), Int64(9)])"
        );
        assert_eq!(
            stored(col("day").eq(lit(1)).and(id().eq(lit(6_i64)))).unwrap(),
            "day = Int32(1) AND personId = Int64(6)"
        );
    }

    #[test]
    fn other_conditions_need_each_row() {
        for condition in [id().gt(lit(5_i64)), id().not_eq(lit(5_i64)), id().in_list(vec![lit(5_i64)], true)]
        {
            assert_eq!(on_stored_ids(&condition, &aliases()), None, "{condition}");
            assert_eq!(on_stored_ids(&condition, &Aliases::default()), Some(condition));
        }
    }
}
