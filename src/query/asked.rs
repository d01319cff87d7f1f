//! What an analysis asks within a question: SQL and plans, over the same snapshot and under the same limits.

use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::common::config::Dialect;
use datafusion::execution::SessionState;
use datafusion::physical_plan::ExecutionPlan;

use crate::error::Error;
use crate::error::Result;
use crate::query::Rows;
use crate::query::catalog::CATALOG;
use crate::query::catalog::MAIN;
use crate::query::failure::Known;
use crate::query::failure::translate;
use crate::query::names;

/// The plan of a question that a program wrote, which may use functions of functions (`x -> x > 1`).
pub(crate) async fn plan_of(state: &SessionState, sql: &str) -> Result<Arc<dyn ExecutionPlan>> {
    let failed = |error| failure(state, error);
    let statement = state.sql_to_statement(sql, &Dialect::DuckDB).map_err(failed)?;
    let plan = Box::pin(state.statement_to_plan(statement)).await.map_err(failed)?;
    Box::pin(state.create_physical_plan(&plan)).await.map_err(failed)
}

/// The rows of such a question.
pub(crate) async fn ask(state: &SessionState, sql: &str) -> Result<Rows> {
    run(state, plan_of(state, sql).await?)
}

/// The rows of a plan.
pub(crate) fn run(state: &SessionState, plan: Arc<dyn ExecutionPlan>) -> Result<Rows> {
    Rows::of_plan(plan, state.task_ctx()).map_err(|error| failure(state, error))
}

/// What went wrong, with the names that may have been meant.
pub(crate) fn failure(state: &SessionState, error: DataFusionError) -> Error {
    translate(error, || Known { tables: tables(state), functions: names::functions(state) })
}

/// The tables that a question may name: those of other schemas with the schema before them.
fn tables(state: &SessionState) -> Vec<String> {
    let Some(catalog) = state.catalog_list().catalog(CATALOG) else { return Vec::new() };
    let mut tables = Vec::new();
    for name in catalog.schema_names() {
        let names = catalog.schema(&name).map(|schema| schema.table_names()).unwrap_or_default();
        let spelled = |table: String| if name == MAIN { table } else { format!("{name}.{table}") };
        tables.extend(names.into_iter().map(spelled));
    }
    tables
}
