//! What analyses need of a session: a table of events by its name, and SQL expressions over its columns.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::common::DFSchema;
use datafusion::common::ScalarValue;
use datafusion::common::config::Dialect;
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::ExprSchemable;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::logical_expr::ident;

use crate::error::Error;
use crate::error::Result;
use crate::error::did_you_mean;
use crate::query::events::EventsTable;
use crate::query::failure::Known;
use crate::query::failure::translate;
use crate::query::files::LakeFile;
use crate::query::layout::time_type;
use crate::query::names;
use crate::query::scan::Lake;
use crate::schema::OCCURRED_TIME;
use crate::schema::PERSON_ID;
use crate::schema::SEQ;
use crate::time::Micros;

/// A table or view whose rows are events.
#[derive(Clone, Debug)]
pub(crate) struct NamedTable {
    pub(crate) name: String,
    provider: Arc<dyn TableProvider>,
    schema: DFSchema,
}

impl NamedTable {
    /// Finds it, or says which name may have been meant.
    pub(crate) async fn events(state: &SessionState, name: &str) -> Result<Self> {
        let table = Self::open(state, name).await?;
        for needed in [PERSON_ID, OCCURRED_TIME, SEQ] {
            if !table.has(needed) {
                return Err(Error::invalid(format!("\"{name}\" is no event: it has no column \"{needed}\"")));
            }
        }
        Ok(table)
    }

    /// Any table or view of the session.
    pub(crate) async fn open(state: &SessionState, name: &str) -> Result<Self> {
        let failed = |error| translate(error, Known::default);
        let (schema, short) = match name.split_once('.') {
            Some((schema, table)) if schema == "system" || schema == "segments" => (schema, table),
            _ => (crate::query::catalog::MAIN, name),
        };
        let catalog = state.catalog_list().catalog(crate::query::catalog::CATALOG);
        let schema = catalog.and_then(|catalog| catalog.schema(schema));
        let missing = |names: Vec<String>| {
            let hint = did_you_mean(short, names.iter().map(String::as_str));
            Error::not_found(format!("no event is called \"{name}\"{hint}"))
        };
        let Some(schema) = schema else { return Err(missing(Vec::new())) };
        let found = schema.table(short).await.map_err(failed)?;
        let Some(provider) = found else { return Err(missing(schema.table_names())) };
        let schema = DFSchema::try_from(provider.schema()).map_err(failed)?;
        Ok(Self { name: name.to_owned(), provider, schema })
    }

    pub(crate) fn has(&self, column: &str) -> bool {
        self.schema.has_column_with_unqualified_name(column)
    }

    /// The files of a table of one definition, and the lake that they are in; nothing for a view and for all events.
    pub(crate) fn files(&self) -> Option<(Arc<Lake>, Vec<LakeFile>)> {
        let table = self.definition()?;
        Some((Arc::clone(table.lake()), table.files()))
    }

    /// The same, and also of the table of all events.
    pub(crate) fn all_files(&self) -> Option<(Arc<Lake>, Vec<LakeFile>)> {
        let table = self.provider.downcast_ref::<EventsTable>()?;
        Some((Arc::clone(table.lake()), table.files()))
    }

    /// What a column of texts of such a table is called in files; nothing for ids, of which each is another.
    pub(crate) fn text_in_files(&self, column: &str) -> Option<String> {
        self.definition()?.text_in_files(column)
    }

    fn definition(&self) -> Option<&EventsTable> {
        self.provider.downcast_ref::<EventsTable>().filter(|table| !table.has_definition_id())
    }

    pub(crate) fn columns(&self) -> Vec<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    /// A scan of the table, to build on; columns have no table name before them.
    pub(crate) fn scan(&self) -> Result<LogicalPlanBuilder> {
        let failed = |error| translate(error, Known::default);
        let source = provider_as_source(Arc::clone(&self.provider));
        let columns: Vec<Expr> = self.schema.fields().iter().map(|field| ident(field.name())).collect();
        let scan = LogicalPlanBuilder::scan("source", source, None).map_err(failed)?;
        let columns = columns.into_iter().map(|one| match one {
            Expr::Column(column) => {
                Expr::Column(column.clone().with_relation("source".into())).alias(column.name)
            }
            other => other,
        });
        scan.project(columns.collect::<Vec<_>>()).map_err(failed)
    }

    /// The type of a column.
    pub(crate) fn kind(&self, column: &str) -> Option<&DataType> {
        self.schema.field_with_unqualified_name(column).ok().map(|field| field.data_type())
    }

    /// A condition on one row, as it is written behind WHERE. Its errors have places in the text.
    pub(crate) fn condition(&self, state: &SessionState, text: &str) -> Result<Expr> {
        self.checked(self.expression(state, text)?, text)
    }

    /// A condition that a program spelled out, which may use functions of functions (`x -> x > 1`); `text` is how it was
    /// written.
    pub(crate) fn spelled_condition(&self, state: &SessionState, spelled: &str, text: &str) -> Result<Expr> {
        let known = || Known { tables: Vec::new(), functions: names::functions(state) };
        let parsed = state.sql_to_expr_with_alias(spelled, &Dialect::DuckDB);
        let planned = parsed.and_then(|one| state.create_logical_expr_from_sql_expr(one, &self.schema));
        self.checked(planned.map_err(|error| translate(error, known))?, text)
    }

    fn checked(&self, condition: Expr, text: &str) -> Result<Expr> {
        let failed = |error| translate(error, Known::default);
        let kind = condition.get_type(&self.schema).map_err(failed)?;
        if !matches!(kind, DataType::Boolean | DataType::Null) {
            let message = format!("\"{text}\" is no condition: it is neither true nor false");
            return Err(Error::invalid(message));
        }
        Ok(condition)
    }

    /// Any expression over one row.
    pub(crate) fn expression(&self, state: &SessionState, text: &str) -> Result<Expr> {
        let known = || Known { tables: Vec::new(), functions: names::functions(state) };
        state.create_logical_expr(text, &self.schema).map_err(|error| translate(error, known))
    }
}

/// `from <= occurredTime < to`, as far as they are given.
pub(crate) fn in_range(from: Option<Micros>, to: Option<Micros>) -> Vec<Expr> {
    let moment = |at: Micros| {
        let zone = match time_type() {
            DataType::Timestamp(_, zone) => zone,
            _ => None,
        };
        Expr::Literal(ScalarValue::TimestampMicrosecond(Some(at.0), zone), None)
    };
    let time = || ident(OCCURRED_TIME);
    let from = from.map(|from| time().gt_eq(moment(from)));
    from.into_iter().chain(to.map(|to| time().lt(moment(to)))).collect()
}
