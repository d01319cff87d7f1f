//! All names that a person may type, for completion and help.

use crate::engine::Engine;
use crate::engine::show;
use crate::error::Result;
use crate::query::FunctionHelp;

/// A table, and its columns with the names of their types.
pub type TableNames = (String, Vec<(String, String)>);

/// What completion may offer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub tables: Vec<TableNames>,
    /// Each with its documentation, which may be empty.
    pub functions: Vec<(String, String)>,
    pub definitions: Vec<String>,
}

impl Engine {
    pub async fn names(&self) -> Result<Names> {
        let session = self.session().await?;
        let known = session.names().await;
        let columns = |columns: &[(String, _)]| {
            columns.iter().map(|(name, kind)| (name.clone(), show::type_name_of(kind))).collect()
        };
        let tables = known.tables.iter().map(|table| (table.name.clone(), columns(&table.columns))).collect();
        let functions = known
            .functions
            .iter()
            .map(|name| (name.clone(), session.function(name).map(help).unwrap_or_default()))
            .collect();
        let definitions = self.storage().registry().iter().map(|one| one.id.to_string()).collect();
        Ok(Names { tables, functions, definitions })
    }
}

/// A function's documentation as text.
fn help(function: FunctionHelp) -> String {
    let mut text = format!("{}\n{}", function.syntax, function.description);
    for (name, meaning) in &function.arguments {
        text.push_str(&format!("\n  {name}: {meaning}"));
    }
    if let Some(example) = &function.example {
        text.push_str(&format!("\n\n{example}"));
    }
    text
}
