//! The events that an analysis asks for, of several definitions, in order of (person, time, seq) and split by person.
//!
//! An analysis says which tables it wants events of, under which conditions and with which columns more; it gets one
//! plan of DataFusion's operators that yields them. Which person an event belongs to is settled before anything is
//! ordered. [`crate::analysis::persons::PersonsExec`] runs such a plan and hands over whole persons.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::DataFusionError;
use datafusion::common::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::ExprSchemable;
use datafusion::logical_expr::JoinType;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::logical_expr::ident;
use datafusion::logical_expr::lit;
use datafusion::logical_expr::or;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::when;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;

use crate::query::NamedTable;
use crate::query::in_range;
use crate::schema::OCCURRED_TIME;
use crate::schema::PERSON_ID;
use crate::schema::SEQ;
use crate::time::Micros;

/// Where the columns of every plan of hits are; those asked for follow.
pub(crate) const PERSON: usize = 0;
pub(crate) const TIME: usize = 1;
pub(crate) const SEQ_AT: usize = 2;
pub(crate) const FIRST_EXTRA: usize = 3;

/// Events of one table.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) table: NamedTable,
    /// Which of its events; none means all.
    pub(crate) filter: Option<Expr>,
    /// The values of the columns asked for, one each, over the columns of the table.
    pub(crate) columns: Vec<Expr>,
}

/// All that an analysis asks for.
#[derive(Clone, Debug)]
pub(crate) struct Hits {
    pub(crate) sources: Vec<Source>,
    /// The columns behind person, time and seq: names and types.
    pub(crate) columns: Vec<(String, DataType)>,
    /// When events occurred: from the one, before the other.
    pub(crate) from: Option<Micros>,
    pub(crate) to: Option<Micros>,
    /// Whether `seq` matters; else it is 0, and not read.
    pub(crate) seq: bool,
    /// Only persons of this plan, which has one column: `personId`.
    pub(crate) persons: Option<LogicalPlan>,
}

impl Hits {
    /// The columns `personId`, `occurredTime`, `seq` and those asked for, in no order yet: the one who runs the plan
    /// requires it, and DataFusion sorts only where files are not sorted already.
    pub(crate) fn logical(&self) -> Result<LogicalPlan> {
        let mut whole: Option<LogicalPlanBuilder> = None;
        for source in &self.sources {
            let one = self.source(source)?;
            whole = Some(match whole {
                None => LogicalPlanBuilder::from(one),
                Some(before) => before.union(one)?,
            });
        }
        let Some(mut whole) = whole else {
            return Err(DataFusionError::Plan("no events are asked for".to_owned()));
        };
        if let Some(persons) = &self.persons {
            let events = whole.alias("hits")?.build()?;
            let persons = LogicalPlanBuilder::from(persons.clone()).alias("chosen")?.build()?;
            let on = (vec![format!("hits.\"{PERSON_ID}\"")], vec![format!("chosen.\"{PERSON_ID}\"")]);
            whole = LogicalPlanBuilder::from(events).join(persons, JoinType::LeftSemi, on, None)?;
        }
        whole.build()
    }

    fn source(&self, source: &Source) -> Result<LogicalPlan> {
        let mut conditions = in_range(self.from, self.to);
        conditions.extend(source.filter.clone());
        let mut plan = source.table.scan().map_err(external)?;
        if let Some(condition) = conjunction(conditions) {
            plan = plan.filter(condition)?;
        }
        let schema = Arc::clone(plan.schema());
        let seq = if self.seq { ident(SEQ) } else { lit(0_i64).alias(SEQ) };
        let mut columns: Vec<Expr> = vec![ident(PERSON_ID), ident(OCCURRED_TIME), seq];
        for (value, (name, kind)) in source.columns.iter().zip(&self.columns) {
            columns.push(value.clone().cast_to(kind, &schema)?.alias(name));
        }
        plan.project(columns)?.build()
    }
}

/// The columns of an answer that are asked for.
pub(crate) fn projected(
    answer: Arc<dyn ExecutionPlan>,
    projection: Option<&Vec<usize>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let Some(chosen) = projection else { return Ok(answer) };
    let schema = answer.schema();
    let columns = chosen.iter().map(|at| {
        let name = schema.field(*at).name().clone();
        (Arc::new(Column::new(&name, *at)) as Arc<dyn PhysicalExpr>, name)
    });
    Ok(Arc::new(ProjectionExec::try_new(columns.collect::<Vec<_>>(), answer)?))
}

pub(crate) fn external(error: crate::error::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Conditions as bits of one number: the number, and the condition that any bit is set. A mark without condition is
/// set for every event.
pub(crate) fn marks(marks: &[(u32, Option<Expr>)]) -> Result<(Expr, Option<Expr>)> {
    let mut number =
        lit(marks.iter().filter(|one| one.1.is_none()).fold(0_u64, |bits, one| bits | 1 << one.0));
    let mut any: Option<Expr> = None;
    for (bit, condition) in marks {
        let Some(condition) = condition else { continue };
        any = Some(any.map_or_else(|| condition.clone(), |before| or(before, condition.clone())));
        // A row that comes through the filter has one of the marks: a single one need not be asked for again.
        let set = if marks.len() == 1 {
            lit(1_u64 << bit)
        } else {
            when(condition.clone(), lit(1_u64 << bit)).otherwise(lit(0_u64))?
        };
        number = datafusion::logical_expr::bitwise_or(number, set);
    }
    let all = marks.iter().any(|one| one.1.is_none());
    Ok((number, any.filter(|_| !all)))
}
