//! Which statements a session runs: questions, `EXPLAIN`, `SHOW`, `DESCRIBE`, `SET` and `RESET` for this session, and
//! views that last as long as it. Whatever would write files or tables is refused: events change by `CREATE EVENT` and
//! its sisters, by import and by export, which have parsers of their own.

use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::DdlStatement;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::Statement as PlannedStatement;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;

use crate::error::Error;
use crate::error::Result;

/// Settings that `SET` may change; the others belong to the whole store, or would change what names mean.
const SETTABLE: [&str; 4] =
    ["datafusion.execution.", "datafusion.optimizer.", "datafusion.explain.", "datafusion.format."];

/// Refuses a statement that a session does not run.
pub(crate) fn permit(statement: &Statement) -> Result<()> {
    match statement {
        Statement::Statement(one) => permit_sql(one),
        Statement::Explain(explain) => permit(&explain.statement),
        Statement::Reset(_) => Ok(()),
        Statement::CopyTo(_) => Err(refused("COPY")),
        Statement::CreateExternalTable(_) => Err(refused("CREATE EXTERNAL TABLE")),
    }
}

fn permit_sql(statement: &ast::Statement) -> Result<()> {
    match statement {
        ast::Statement::Query(_)
        | ast::Statement::ExplainTable { .. }
        | ast::Statement::ShowTables { .. }
        | ast::Statement::ShowColumns { .. }
        | ast::Statement::ShowFunctions { .. }
        | ast::Statement::ShowVariable { .. }
        | ast::Statement::Set(_)
        | ast::Statement::CreateView { .. }
        | ast::Statement::Drop { object_type: ast::ObjectType::View, .. } => Ok(()),
        ast::Statement::Explain { statement, .. } => permit_sql(statement),
        other => {
            let text = other.to_string();
            let words: Vec<&str> = text.split_whitespace().take(2).collect();
            let is_word = |word: &&str| word.chars().all(|c| c.is_ascii_uppercase());
            let named: Vec<&str> = words.into_iter().take_while(|word| is_word(word)).collect();
            Err(refused(&named.join(" ")))
        }
    }
}

fn refused(what: &str) -> Error {
    Error::invalid(format!(
        "{what} is not run here: SQL asks questions of events; they change by CREATE EVENT, import and export"
    ))
}

/// Refuses a plan that would write, wherever in the statement it hides, or that changes a setting of the whole store.
pub(crate) fn permit_plan(plan: &LogicalPlan) -> Result<()> {
    let reading = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false);
    let checked = match plan {
        LogicalPlan::Ddl(DdlStatement::CreateView(view)) => {
            if view.temporary {
                return Err(Error::invalid("every view is temporary here; leave TEMPORARY out"));
            }
            reading.verify_plan(&view.input)
        }
        LogicalPlan::Ddl(DdlStatement::DropView(_)) => Ok(()),
        LogicalPlan::Statement(PlannedStatement::SetVariable(set)) => return permit_setting(&set.variable),
        LogicalPlan::Statement(PlannedStatement::ResetVariable(reset)) => {
            return permit_setting(&reset.variable);
        }
        other => reading.verify_plan(other),
    };
    checked.map_err(|error| refused("a statement that writes").with_source(error))
}

fn permit_setting(name: &str) -> Result<()> {
    let short = ["timezone", "time_zone", "time.zone"];
    let lower = name.to_ascii_lowercase();
    if short.contains(&lower.as_str()) || SETTABLE.iter().any(|prefix| lower.starts_with(prefix)) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the setting \"{name}\" cannot be changed here; SET changes those that start with {}",
        SETTABLE.join(", ")
    )))
}
