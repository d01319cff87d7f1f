//! What may be written in SQL: names for completion, and what each function does.

use arrow::datatypes::DataType;
use datafusion::catalog::CatalogProvider;
use datafusion::execution::SessionState;
use datafusion::logical_expr::Documentation;

use crate::error::Error;
use crate::error::Result;
use crate::error::did_you_mean;
use crate::query::catalog::LakeCatalog;
use crate::query::catalog::MAIN;

/// All names of a session, each list in order.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pub tables: Vec<TableNames>,
    pub functions: Vec<String>,
}

/// A table and its columns with their types, in the order of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableNames {
    /// With the schema where it is needed: `pageView`, `system.rejected`.
    pub name: String,
    pub columns: Vec<(String, DataType)>,
}

/// What a function does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionHelp {
    pub name: String,
    /// How it is called, such as `local_day(time, zone)`.
    pub syntax: String,
    pub description: String,
    /// Each argument with what it is.
    pub arguments: Vec<(String, String)>,
    pub example: Option<String>,
}

impl Names {
    pub(crate) async fn of(state: &SessionState, catalog: &LakeCatalog) -> Self {
        let mut tables = Vec::new();
        for schema_name in catalog.schema_names() {
            let Some(schema) = catalog.schema(&schema_name) else { continue };
            for table in schema.table_names() {
                let Ok(Some(provider)) = schema.table(&table).await else { continue };
                let fields = provider.schema();
                let columns = fields.fields().iter().map(|one| (one.name().clone(), one.data_type().clone()));
                let name = if schema_name == MAIN { table } else { format!("{schema_name}.{table}") };
                tables.push(TableNames { name, columns: columns.collect() });
            }
        }
        Self { tables, functions: functions(state) }
    }
}

/// The names of all functions, in order.
pub(crate) fn functions(state: &SessionState) -> Vec<String> {
    let mut names: Vec<String> = state.scalar_functions().keys().cloned().collect();
    names.extend(state.aggregate_functions().keys().cloned());
    names.extend(state.window_functions().keys().cloned());
    names.sort();
    names.dedup();
    names
}

pub(crate) fn help(state: &SessionState, name: &str) -> Result<FunctionHelp> {
    let name = name.to_lowercase();
    let documentation: Option<Option<Documentation>> = None
        .or_else(|| state.scalar_functions().get(&name).map(|one| one.documentation().cloned()))
        .or_else(|| state.aggregate_functions().get(&name).map(|one| one.documentation().cloned()))
        .or_else(|| state.window_functions().get(&name).map(|one| one.documentation().cloned()));
    let Some(documentation) = documentation else {
        let known = functions(state);
        let hint = did_you_mean(&name, known.iter().map(String::as_str));
        return Err(Error::not_found(format!("no function is called \"{name}\"{hint}")));
    };
    Ok(match documentation {
        Some(documentation) => FunctionHelp {
            syntax: documentation.syntax_example,
            description: documentation.description,
            arguments: documentation.arguments.unwrap_or_default(),
            example: documentation.sql_example.map(|text| without_fences(&text)),
            name,
        },
        None => FunctionHelp {
            syntax: format!("{name}(...)"),
            description: String::new(),
            arguments: Vec::new(),
            example: None,
            name,
        },
    })
}

/// An example without the Markdown around it.
fn without_fences(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("```"));
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}
