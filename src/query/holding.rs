//! Which files hold persons that a condition names: asked of the indexes beside the files, so that what one person did is
//! read from the files where there is something, whatever days and definitions there are.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::common::Result;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::Operator;

use crate::query::files::LakeFile;
use crate::schema::PERSON_ID;
use crate::storage::Index;

/// More persons than this are in most files.
const MOST_PERSONS: usize = 64;
/// So many files are worth that indexes are read from the disk.
const FEW_FILES: usize = 8;
/// About what the person of an event takes in memory, bytes: most have several in a file.
const EVENT_BYTES: u64 = 2;

/// The persons of whom a row must be that meets all conditions, if they name few.
pub(crate) fn persons_named(conditions: &[Expr]) -> Option<Vec<i64>> {
    let named = conditions.iter().filter_map(named_in).reduce(|one, other| &one & &other)?;
    (named.len() <= MOST_PERSONS).then(|| named.into_iter().collect())
}

/// The persons that a condition allows, if it names them.
pub(crate) fn named_in(condition: &Expr) -> Option<BTreeSet<i64>> {
    allowed(condition, &person_is)
}

/// The person that a column is said to equal, if it is that of persons.
pub(crate) fn person_is(column: &Expr, value: &Expr) -> Option<BTreeSet<i64>> {
    match (column, value) {
        (Expr::Column(column), Expr::Literal(ScalarValue::Int64(Some(id)), _))
            if column.name == PERSON_ID =>
        {
            Some(BTreeSet::from([*id]))
        }
        _ => None,
    }
}

/// The persons that a condition allows, if all that it compares is told by `leaf`: of a column and a value that it
/// equals, whom that allows.
pub(crate) fn allowed(
    condition: &Expr,
    leaf: &impl Fn(&Expr, &Expr) -> Option<BTreeSet<i64>>,
) -> Option<BTreeSet<i64>> {
    match condition {
        Expr::BinaryExpr(binary) => {
            let (left, right) = (&binary.left, &binary.right);
            match binary.op {
                Operator::And => match (allowed(left, leaf), allowed(right, leaf)) {
                    (Some(one), Some(other)) => Some(&one & &other),
                    (one, other) => one.or(other),
                },
                Operator::Or => Some(&allowed(left, leaf)? | &allowed(right, leaf)?),
                Operator::Eq => leaf(left, right).or_else(|| leaf(right, left)),
                _ => None,
            }
        }
        Expr::InList(list) if !list.negated => list
            .list
            .iter()
            .map(|value| leaf(&list.expr, value))
            .try_fold(BTreeSet::new(), |all, some| Some(&all | &some?)),
        _ => None,
    }
}

/// The files that may hold one of the persons. Those without an index stay; so do all of them where reading their
/// indexes would drive others out of memory.
pub(crate) async fn holding(
    index: &Arc<Index>,
    files: Vec<LakeFile>,
    persons: Vec<i64>,
    threads: usize,
) -> Result<Vec<LakeFile>> {
    let rows: u64 = files.iter().map(|one| one.file().rows).sum();
    let room = u64::try_from(index.room()).unwrap_or(u64::MAX);
    let reads = files.len() >= FEW_FILES && rows.saturating_mul(EVENT_BYTES) <= room;
    // Whoever has a greater number is in no file that has an index.
    let persons: Vec<u32> = persons.into_iter().filter_map(|person| u32::try_from(person).ok()).collect();
    let known: Vec<Option<bool>> =
        files.iter().map(|one| index.holds_any(one.file(), &persons, false)).collect();
    if !reads || known.iter().all(Option::is_some) {
        let kept = files.into_iter().zip(known).filter(|(_, holds)| holds.unwrap_or(true));
        return Ok(kept.map(|(one, _)| one).collect());
    }
    let share = files.len().div_ceil(threads.max(1));
    let mut asked = Vec::new();
    for part in files.chunks(share) {
        let (index, part, persons) = (Arc::clone(index), part.to_vec(), persons.clone());
        asked.push(tokio::task::spawn_blocking(move || {
            let may_hold = |one: &LakeFile| index.holds_any(one.file(), &persons, true).unwrap_or(true);
            part.into_iter().filter(may_hold).collect::<Vec<_>>()
        }));
    }
    let mut kept = Vec::new();
    for part in asked {
        kept.extend(part.await.map_err(|error| DataFusionError::External(Box::new(error)))?);
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::col;
    use datafusion::logical_expr::lit;

    use super::*;

    #[test]
    fn persons_are_named_by_equality_lists_and_what_joins_them() {
        let person = || Expr::Column(datafusion::common::Column::new_unqualified(PERSON_ID));
        let is = |id: i64| person().eq(lit(id));
        let one_of = |ids: &[i64]| person().in_list(ids.iter().map(|id| lit(*id)).collect(), false);
        let named = |conditions: &[Expr]| persons_named(conditions);
        assert_eq!(named(&[is(5)]), Some(vec![5]));
        assert_eq!(named(&[lit(5_i64).eq(person())]), Some(vec![5]));
        assert_eq!(named(&[one_of(&[7, 3, 7])]), Some(vec![3, 7]));
        assert_eq!(named(&[one_of(&[7, 3]), is(3)]), Some(vec![3]));
        assert_eq!(named(&[is(1).and(col("day").eq(lit(1)))]), Some(vec![1]));
        assert_eq!(named(&[is(1).or(is(2))]), Some(vec![1, 2]));
        assert_eq!(named(&[is(1).and(is(2))]), Some(vec![]));
        let many: Vec<i64> = (0..65).collect();
        for other in [is(1).or(col("day").eq(lit(1))), person().not_eq(lit(1_i64)), !is(1), one_of(&many)] {
            assert_eq!(named(std::slice::from_ref(&other)), None, "{other}");
        }
        assert_eq!(named(&[person().in_list(vec![lit(1_i64)], true)]), None);
        assert_eq!(named(&[]), None);
    }
}
