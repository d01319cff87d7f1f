//! Optimizer rules that know what files of events are: a file is one day of one definition.
//!
//! [`DayRule`] turns days that are computed from `occurredTime` into the column `day`, which needs no reading.
//! [`UniquesRule`] gives events and unique persons by definition and day to `UniquePersonsExec`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::common::Column;
use datafusion::common::DFSchema;
use datafusion::common::Result;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::Transformed;
use datafusion::common::tree_node::TreeNode;
use datafusion::datasource::provider_as_source;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::Aggregate;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::logical_expr::Operator;
use datafusion::logical_expr::TableScan;
use datafusion::logical_expr::cast;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::optimizer::ApplyOrder;
use datafusion::optimizer::OptimizerConfig;
use datafusion::optimizer::OptimizerRule;

use crate::query::events::EventsTable;
use crate::query::functions::unique_persons;
use crate::query::layout::DEFINITION_ID;
use crate::query::layout::time_type;
use crate::query::uniques::EVENTS;
use crate::query::uniques::PERSONS;
use crate::query::uniques::Uniques;
use crate::query::uniques::UniquesTable;
use crate::schema::DAY;
use crate::schema::OCCURRED_TIME;
use crate::schema::PERSON_ID;
use crate::time::MICROS_PER_DAY;

/// `CAST(occurredTime AS DATE)`, `date_trunc('day', occurredTime)` and `local_day(occurredTime, 'UTC')` become `day`.
#[derive(Debug)]
pub(crate) struct DayRule;

impl OptimizerRule for DayRule {
    fn name(&self) -> &str {
        "milepost_day"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let applies = match &plan {
            LogicalPlan::Filter(one) => is_events(&one.input),
            LogicalPlan::Projection(one) => is_events(&one.input),
            LogicalPlan::Aggregate(one) => is_events(&one.input),
            _ => false,
        };
        if !applies {
            return Ok(Transformed::no(plan));
        }
        let names = NamePreserver::new(&plan);
        let Some(schema) = plan.inputs().first().map(|input| Arc::clone(input.schema())) else {
            return Ok(Transformed::no(plan));
        };
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let rewritten = expr.transform_up(|expr| day_instead(expr, &schema))?;
            Ok(rewritten.update_data(|expr| name.restore(expr)))
        })
    }
}

/// Whether the rows are events as the table gives them, at most filtered or under another table name.
fn is_events(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Filter(one) => is_events(&one.input),
        LogicalPlan::SubqueryAlias(one) => is_events(&one.input),
        LogicalPlan::TableScan(scan) => events_of(scan).is_some(),
        _ => false,
    }
}

fn events_of(scan: &TableScan) -> Option<Arc<dyn TableProvider>> {
    source_as_provider(&scan.source).ok().filter(|provider| provider.is::<EventsTable>())
}

fn day_instead(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let day_of = |time: &Expr| match time {
        Expr::Column(column) if column.name == OCCURRED_TIME => {
            let day = Column::new(column.relation.clone(), DAY);
            schema.has_column(&day).then_some(Expr::Column(day))
        }
        _ => None,
    };
    let instead = match &expr {
        Expr::Cast(one) if *one.field.data_type() == DataType::Date32 => day_of(&one.expr),
        Expr::ScalarFunction(call) => match (call.func.name(), call.args.as_slice()) {
            ("date_trunc", [unit, time]) if is_text(unit, "day") => {
                day_of(time).map(|day| cast(day, time_type()))
            }
            ("local_day", [time, zone]) if is_text(zone, "UTC") => day_of(time),
            _ => None,
        },
        Expr::BinaryExpr(binary) => compared_midnight(&binary.left, binary.op, &binary.right).or_else(|| {
            let swapped = binary.op.swap()?;
            compared_midnight(&binary.right, swapped, &binary.left)
        }),
        _ => None,
    };
    Ok(instead.map_or_else(|| Transformed::no(expr), Transformed::yes))
}

fn is_text(expr: &Expr, text: &str) -> bool {
    let literal = expr.as_literal().and_then(|value| value.try_as_str().flatten());
    literal.is_some_and(|literal| literal.eq_ignore_ascii_case(text))
}

/// `CAST(day AS TIMESTAMP) < TIMESTAMP '2026-06-01'` as a comparison of days, where the time is a midnight.
fn compared_midnight(left: &Expr, op: Operator, right: &Expr) -> Option<Expr> {
    let (Expr::Cast(cast), Expr::Literal(ScalarValue::TimestampMicrosecond(Some(at), _), _)) = (left, right)
    else {
        return None;
    };
    let Expr::Column(column) = cast.expr.as_ref() else { return None };
    let is_day = column.name == DAY && *cast.field.data_type() == time_type();
    if !is_day || !compares(op) || at.rem_euclid(MICROS_PER_DAY) != 0 {
        return None;
    }
    let day = i32::try_from(at.div_euclid(MICROS_PER_DAY)).ok()?;
    let day = Expr::Literal(ScalarValue::Date32(Some(day)), None);
    Some(datafusion::logical_expr::binary_expr(cast.expr.as_ref().clone(), op, day))
}

fn compares(op: Operator) -> bool {
    let comparisons =
        [Operator::Eq, Operator::NotEq, Operator::Lt, Operator::LtEq, Operator::Gt, Operator::GtEq];
    comparisons.contains(&op)
}

/// `COUNT(*)` and `COUNT(DISTINCT personId)` by definition and day, or by one of them, or of all. Where rows must be
/// looked at, `COUNT(DISTINCT personId)` becomes `unique_persons(personId)`.
#[derive(Debug)]
pub(crate) struct UniquesRule;

impl OptimizerRule for UniquesRule {
    fn name(&self) -> &str {
        "milepost_uniques"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Aggregate(aggregate) = &plan else { return Ok(Transformed::no(plan)) };
        let Some(below) = Below::find(&aggregate.input)? else { return Ok(Transformed::no(plan)) };
        if let Some(instead) = counted(aggregate, &below)? {
            return Ok(Transformed::yes(instead));
        }
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let rewritten = unique_instead(expr, &below)?;
            Ok(rewritten.update_data(|expr| name.restore(expr)))
        })
    }
}

/// The table below an aggregate: what its columns are called above, and the conditions on the way.
struct Below {
    provider: Arc<dyn TableProvider>,
    conditions: Vec<Expr>,
    /// How an expression above reads in terms of the table; applied from the top down.
    names: Vec<HashMap<Column, Expr>>,
}

impl Below {
    /// Walks down to the table; none when something on the way changes which rows or values there are.
    fn find(plan: &LogicalPlan) -> Result<Option<Self>> {
        let mut names: Vec<HashMap<Column, Expr>> = Vec::new();
        let mut conditions = Vec::new();
        let mut plan = plan;
        loop {
            match plan {
                LogicalPlan::Filter(filter) => {
                    conditions.push(in_terms_of_table(filter.predicate.clone(), &names)?);
                    plan = &filter.input;
                }
                LogicalPlan::Projection(projection) => {
                    let above = projection.schema.columns();
                    let below = projection.expr.iter().map(|expr| expr.clone().unalias());
                    names.push(above.into_iter().zip(below).collect());
                    plan = &projection.input;
                }
                LogicalPlan::SubqueryAlias(alias) => {
                    let above = alias.schema.columns();
                    let below = alias.input.schema().columns().into_iter().map(Expr::Column);
                    names.push(above.into_iter().zip(below).collect());
                    plan = &alias.input;
                }
                LogicalPlan::TableScan(scan) if scan.fetch.is_none() => {
                    let Some(provider) = events_of(scan) else { return Ok(None) };
                    conditions.extend(scan.filters.iter().cloned());
                    return Ok(Some(Self { provider, conditions, names }));
                }
                _ => return Ok(None),
            }
        }
    }

    fn in_terms_of_table(&self, expr: Expr) -> Result<Expr> {
        in_terms_of_table(expr, &self.names)
    }
}

fn in_terms_of_table(expr: Expr, names: &[HashMap<Column, Expr>]) -> Result<Expr> {
    names.iter().try_fold(expr, |expr, names| {
        let renamed = expr.transform(|expr| match &expr {
            Expr::Column(column) => match names.get(column) {
                Some(below) => Ok(Transformed::yes(below.clone())),
                None => Ok(Transformed::no(expr)),
            },
            _ => Ok(Transformed::no(expr)),
        })?;
        Ok(renamed.data)
    })
}

/// What an expression of the aggregate is, in terms of the counted table.
enum Counted {
    Events,
    Persons,
}

/// The plan that counts by whole files, if the aggregate asks for no more.
fn counted(aggregate: &Aggregate, below: &Below) -> Result<Option<LogicalPlan>> {
    let Some(table) = below.provider.downcast_ref::<EventsTable>() else { return Ok(None) };
    let (mut by_definition, mut by_day, mut persons) = (false, false, false);
    let mut outputs = Vec::new();
    for group in &aggregate.group_expr {
        let group = below.in_terms_of_table(group.clone().unalias())?;
        let (column, shown) = match &group {
            Expr::Cast(cast) if *cast.field.data_type() == time_type() => {
                (cast.expr.as_ref(), Some(time_type()))
            }
            other => (other, None),
        };
        let Expr::Column(column) = column else { return Ok(None) };
        match column.name.as_str() {
            DEFINITION_ID if table.has_definition_id() => by_definition = true,
            DAY => by_day = true,
            _ => return Ok(None),
        }
        let column = Expr::Column(Column::new_unqualified(column.name.clone()));
        outputs.push(match shown {
            Some(kind) => cast(column, kind),
            None => column,
        });
    }
    for counting in &aggregate.aggr_expr {
        let name = match counted_by(counting, below)? {
            Some(Counted::Events) => EVENTS,
            Some(Counted::Persons) => {
                persons = true;
                PERSONS
            }
            None => return Ok(None),
        };
        outputs.push(Expr::Column(Column::new_unqualified(name)));
    }
    let kept = table.keep(&below.conditions)?;
    if kept.proven.contains(&false) || aggregate.aggr_expr.is_empty() {
        return Ok(None);
    }
    let lake = Arc::clone(table.lake());
    let uniques = Uniques { lake, files: kept.files, of: kept.of, by_definition, by_day, persons };
    let source = provider_as_source(Arc::new(UniquesTable(uniques)));
    let named = outputs
        .into_iter()
        .zip(aggregate.schema.iter())
        .map(|(expr, (relation, field))| expr.alias_qualified(relation.cloned(), field.name()));
    let plan =
        LogicalPlanBuilder::scan("uniques", source, None)?.project(named.collect::<Vec<_>>())?.build()?;
    Ok(Some(plan))
}

fn counted_by(counting: &Expr, below: &Below) -> Result<Option<Counted>> {
    let counting = counting.clone().unalias();
    let Some(argument) = counted_argument(&counting, below)? else { return Ok(None) };
    let Expr::AggregateFunction(AggregateFunction { params, .. }) = &counting else { return Ok(None) };
    if params.filter.is_some() || !params.order_by.is_empty() {
        return Ok(None);
    }
    let is_person = matches!(&argument, Expr::Column(column) if column.name == PERSON_ID);
    Ok(match (params.distinct, argument) {
        (true, _) if is_person => Some(Counted::Persons),
        (false, _) if is_person => Some(Counted::Events),
        (false, Expr::Literal(value, _)) if !value.is_null() => Some(Counted::Events),
        _ => None,
    })
}

fn unique_instead(expr: Expr, below: &Below) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| {
        let is_unique = matches!(&expr, Expr::AggregateFunction(one) if one.params.distinct && one.params.order_by.is_empty())
            && matches!(counted_argument(&expr, below)?, Some(Expr::Column(column)) if column.name == PERSON_ID);
        match expr {
            Expr::AggregateFunction(mut one) if is_unique => {
                one.func = unique_persons();
                one.params.distinct = false;
                Ok(Transformed::yes(Expr::AggregateFunction(one)))
            }
            other => Ok(Transformed::no(other)),
        }
    })
}

/// The one argument of a `count`, in terms of the table.
fn counted_argument(expr: &Expr, below: &Below) -> Result<Option<Expr>> {
    match expr {
        Expr::AggregateFunction(AggregateFunction { func, params }) if func.name() == "count" => {
            match params.args.as_slice() {
                [argument] => Ok(Some(below.in_terms_of_table(argument.clone())?)),
                _ => Ok(None),
            }
        }
        _ => Ok(None),
    }
}
