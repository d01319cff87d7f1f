//! All names that a person may type, for completion and help.

use arrow::util::display::ArrayFormatter;
use arrow::util::display::FormatOptions;
use datafusion::sql::sqlparser::keywords::ALL_KEYWORDS;

use crate::engine::Engine;
use crate::engine::show;
use crate::error::Context;
use crate::error::Result;

/// A table, and its columns with the names of their types.
pub type TableNames = (String, Vec<(String, String)>);

/// What completion may offer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub tables: Vec<TableNames>,
    /// Each with a line or more of documentation.
    pub functions: Vec<(String, String)>,
    pub keywords: Vec<String>,
    pub definitions: Vec<String>,
}

impl Engine {
    pub async fn names(&self) -> Result<Names> {
        let mut tables: Vec<TableNames> = Vec::new();
        for (table, column, kind) in self.columns().await? {
            match tables.last_mut().filter(|(known, _)| *known == table) {
                Some((_, columns)) => columns.push((column, kind)),
                None => tables.push((table, vec![(column, kind)])),
            }
        }
        let functions = self.texts("SELECT DISTINCT routine_name, coalesce(description, '') FROM information_schema.routines ORDER BY 1, 2").await?;
        let functions = functions.into_iter().filter_map(|row| <[String; 2]>::try_from(row).ok());
        let mut described: Vec<(String, String)> = Vec::new();
        for [name, text] in functions {
            match described.last_mut().filter(|(known, _)| *known == name) {
                Some((_, known)) if known.is_empty() => *known = text,
                Some(_) => {}
                None => described.push((name, text)),
            }
        }
        let definitions = self.storage().registry().iter().map(|one| one.id.to_string()).collect();
        let keywords = ALL_KEYWORDS.iter().map(|word| (*word).to_owned()).collect();
        Ok(Names { tables, functions: described, keywords, definitions })
    }

    /// Every column of every table: table (with `system.` before it where it belongs), name, type.
    pub(crate) async fn columns(&self) -> Result<Vec<(String, String, String)>> {
        let rows = self
            .texts(
                "SELECT CASE table_schema WHEN 'system' THEN 'system.' || table_name ELSE table_name END, \
                 column_name, data_type FROM information_schema.columns \
                 WHERE table_schema <> 'information_schema' ORDER BY table_schema, table_name, ordinal_position",
            )
            .await?;
        let columns = rows.into_iter().filter_map(|row| <[String; 3]>::try_from(row).ok());
        Ok(columns.map(|[table, column, kind]| (table, column, show::type_words(&kind))).collect())
    }

    /// The rows of a question, each value as text.
    async fn texts(&self, sql: &str) -> Result<Vec<Vec<String>>> {
        let mut rows = Vec::new();
        for batch in self.session().await?.run(sql).await?.collect().await? {
            let columns: Vec<_> = batch
                .columns()
                .iter()
                .map(|column| ArrayFormatter::try_new(column, &FormatOptions::default()))
                .collect::<Result<_, _>>()
                .internal(|| "could not read the names of the store".to_owned())?;
            rows.extend(
                (0..batch.num_rows())
                    .map(|row| columns.iter().map(|one| one.value(row).to_string()).collect()),
            );
        }
        Ok(rows)
    }
}
