//! `pg_catalog`: what `\d` of psql and the reflection of drivers ask, over tables made of our own for the question. They
//! are small, so that each question makes them anew and none is ever stale.

mod functions;
mod spelling;
mod tables;

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::compute::concat_batches;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Schema;
use datafusion::catalog::MemTable;
use datafusion::common::DataFusionError;
use datafusion::prelude::SessionConfig;
use datafusion::prelude::SessionContext;

use crate::engine::Answer;
use crate::engine::Engine;
use crate::engine::Rows;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::server::postgres::catalog::spelling::Asked;
use crate::server::postgres::catalog::tables::Column;
use crate::server::postgres::catalog::tables::Function;
use crate::server::postgres::catalog::tables::Tables;

const COLUMNS: &str = "SELECT table_schema, table_name, column_name, data_type, is_nullable \
     FROM information_schema.columns ORDER BY table_schema, table_name, ordinal_position";
const FUNCTIONS: &str = "SELECT routine_name, MIN(data_type), MIN(function_type) FROM information_schema.routines \
     GROUP BY routine_name ORDER BY routine_name";

/// Whether a text asks what only `pg_catalog` can tell.
pub(crate) fn is_asked(text: &str) -> bool {
    spelling::is_asked(text)
}

/// Answers it.
pub(crate) async fn answer(engine: &Engine, text: &str) -> Result<Rows> {
    let sql = match spelling::read(text) {
        Asked::Nothing => {
            let schema = Schema::new(vec![Field::new("?column?", DataType::Utf8, true)]);
            return Ok(Rows::of(RecordBatch::new_empty(Arc::new(schema))));
        }
        Asked::Sql(sql) => sql,
    };
    let context = context(&tables_of(engine).await?)?;
    let batch = async {
        let frame = context.sql(&sql).await?;
        let schema = Arc::new(frame.schema().as_arrow().clone());
        let batches = frame.collect().await?;
        // Texts may have come in another form than was planned.
        let schema = batches.first().map_or(schema, RecordBatch::schema);
        Ok::<_, DataFusionError>(concat_batches(&schema, &batches)?)
    };
    let unknown = |error: DataFusionError| {
        Error::invalid(format!("pg_catalog here cannot answer this: {}", error.strip_backtrace()))
    };
    Ok(Rows::of(batch.await.map_err(unknown)?))
}

async fn tables_of(engine: &Engine) -> Result<Tables> {
    let columns = texts(engine, COLUMNS).await?.into_iter().map(|row| {
        let [schema, table, name, kind, nullable] = row.try_into().unwrap_or_default();
        Column { schema, table, name, kind, nullable: nullable == "YES" }
    });
    let columns = columns.collect();
    let functions = texts(engine, FUNCTIONS).await?.into_iter().map(|row| {
        let [name, result, kind] = row.try_into().unwrap_or_default();
        Function { name, result, kind }
    });
    Ok(Tables { columns, functions: functions.collect() })
}

/// The rows of an answer as texts; empty where there is nothing.
async fn texts(engine: &Engine, sql: &str) -> Result<Vec<Vec<String>>> {
    let doing = || "could not list tables".to_owned();
    let statements = engine.parse(sql)?;
    let statement = statements.first().ok_or_else(|| Error::internal(doing()))?;
    let Answer::Rows(rows) = engine.execute(statement).await? else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for batch in rows.collect().await? {
        let columns = batch.columns().iter().map(|column| cast(column, &DataType::Utf8));
        let columns: Vec<ArrayRef> = columns.collect::<std::result::Result<_, _>>().internal(doing)?;
        all.extend((0..batch.num_rows()).map(|row| {
            columns.iter().map(|column| column.as_string::<i32>().value(row).to_owned()).collect::<Vec<_>>()
        }));
    }
    Ok(all)
}

fn context(tables: &Tables) -> Result<SessionContext> {
    let doing = || "could not make pg_catalog".to_owned();
    let mut config = SessionConfig::new().with_target_partitions(1).with_information_schema(false);
    config.options_mut().sql_parser.dialect = "postgresql".parse().internal(doing)?;
    let context = SessionContext::new_with_config(config);
    for function in functions::all(tables.visible()) {
        context.register_udf(function);
    }
    for (name, batch) in tables.batches()? {
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).internal(doing)?;
        context.register_table(name, Arc::new(table)).internal(doing)?;
    }
    Ok(context)
}

#[cfg(test)]
mod tests;
