//! What a table's log says about its columns, kept in step with the definition: columns are added, never changed.
//!
//! Every column is nullable there, although the files have no NULL in some: to Delta, a column that refuses NULL is an
//! invariant that every writer must know how to check.

use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Schema;
use deltalake_core::kernel::Action;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::schema::DAY;
use crate::storage::delta::LoadedTable;
use crate::time::Micros;

/// The first versions of the protocol: every engine that knows Delta reads and writes them.
const READER_VERSION: i32 = 1;
const WRITER_VERSION: i32 = 2;

/// What a commit has to say about columns so that files of this schema can follow in it: everything for a table that
/// is not there yet, the merged schema when columns are new, else nothing.
pub(crate) fn actions(files: &Schema, table: Option<&LoadedTable>, now: Micros) -> Result<Vec<Action>> {
    let wanted = fields(files)?;
    let Some(table) = table else {
        let schema = json!({ "type": "struct", "fields": wanted });
        let metadata = json!({
            "id": uuid::Uuid::new_v4().to_string(),
            "format": { "provider": "parquet", "options": {} },
            "schemaString": schema.to_string(),
            "partitionColumns": [DAY],
            "configuration": {},
            "createdTime": now.0.div_euclid(1000),
        });
        let protocol = json!({ "minReaderVersion": READER_VERSION, "minWriterVersion": WRITER_VERSION });
        return Ok(vec![parse("protocol", protocol)?, parse("metaData", metadata)?]);
    };
    let doing = || "a table's columns cannot be read from its log".to_owned();
    let mut metadata = serde_json::to_value(table.state().metadata()).internal(doing)?;
    let text = metadata.get("schemaString").and_then(Value::as_str).unwrap_or_default();
    let mut schema: Value = serde_json::from_str(text).internal(doing)?;
    let known =
        schema.get_mut("fields").and_then(Value::as_array_mut).ok_or_else(|| Error::internal(doing()))?;
    if !merge(known, wanted) {
        return Ok(Vec::new());
    }
    metadata["schemaString"] = Value::String(schema.to_string());
    Ok(vec![parse("metaData", metadata)?])
}

fn parse(kind: &str, value: Value) -> Result<Action> {
    let action = Map::from_iter([(kind.to_owned(), value)]);
    serde_json::from_value(Value::Object(action))
        .internal(|| format!("could not make a \"{kind}\" for a Delta log"))
}

/// Adds what is wanted and not known; `true` when there was anything. What is known keeps its place.
fn merge(known: &mut Vec<Value>, wanted: Vec<Value>) -> bool {
    let mut grown = false;
    for field in wanted {
        match known.iter_mut().find(|one| one.get("name") == field.get("name")) {
            // A List gets new fields by its definition's new version, which has the old ones too.
            Some(one) if one.get("type") != field.get("type") && one["type"].is_object() => {
                one["type"] = field["type"].clone();
                grown = true;
            }
            Some(_) => {}
            None => {
                known.push(field);
                grown = true;
            }
        }
    }
    grown
}

/// The columns of a table with such files, the partition column first among them, in Delta's JSON.
fn fields(files: &Schema) -> Result<Vec<Value>> {
    let day = Field::new(DAY, DataType::Date32, true);
    std::iter::once(&day).chain(files.fields().iter().map(AsRef::as_ref)).map(field).collect()
}

fn field(field: &Field) -> Result<Value> {
    Ok(json!({ "name": field.name(), "type": kind(field.data_type())?, "nullable": true, "metadata": {} }))
}

fn kind(data_type: &DataType) -> Result<Value> {
    Ok(match data_type {
        DataType::Utf8 => json!("string"),
        DataType::Boolean => json!("boolean"),
        DataType::Int64 => json!("long"),
        DataType::Float64 => json!("double"),
        DataType::Date32 => json!("date"),
        DataType::Timestamp(_, Some(_)) => json!("timestamp"),
        DataType::List(element) => {
            json!({ "type": "array", "elementType": kind(element.data_type())?, "containsNull": true })
        }
        DataType::Struct(parts) => {
            let parts: Vec<_> = parts.iter().map(|part| field(part)).collect::<Result<_>>()?;
            json!({ "type": "struct", "fields": parts })
        }
        other => return Err(Error::internal(format!("no Delta type is known for {other}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Value {
        json!({ "name": name, "type": "string" })
    }

    #[test]
    fn new_columns_are_added_behind_and_old_ones_stay() {
        let mut known = vec![named("a"), named("gone from the definition")];
        assert!(merge(&mut known, vec![named("b"), named("a")]));
        assert_eq!(known, [named("a"), named("gone from the definition"), named("b")]);
        assert!(!merge(&mut known, vec![named("b"), named("a")]));
    }

    #[test]
    fn a_list_that_grew_takes_its_new_fields() {
        let list =
            |parts: &[&str]| json!({ "name": "items", "type": { "type": "array", "elementType": parts } });
        let mut known = vec![list(&["id"])];
        assert!(merge(&mut known, vec![list(&["id", "price"])]));
        assert_eq!(known, [list(&["id", "price"])]);
    }
}
