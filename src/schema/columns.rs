//! Definition to columns: the names in SQL and in the files, and the Arrow types.
//!
//! A file holds the six system columns, then the properties in the order of the definition. `day` is the partition,
//! so it is in the path and not in the file. SQL shows the same, with `externalPersonId` looked up beside `personId`.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use arrow::datatypes::Field as ArrowField;
use arrow::datatypes::Fields;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use arrow::datatypes::TimeUnit;

use crate::schema::Definition;
use crate::schema::PropertyType;
use crate::value::ScalarType;

pub const PERSON_ID: &str = "personId";
pub const OCCURRED_TIME: &str = "occurredTime";
pub const SEQ: &str = "seq";
pub const EVENT_ID: &str = "eventId";
pub const SESSION_ID: &str = "sessionId";
pub const RECEIVED_TIME: &str = "receivedTime";
/// The partition: the UTC day of `occurredTime`, a `Date32`.
pub const DAY: &str = "day";
/// Looked up by `personId` when asked for; in no file.
pub const EXTERNAL_PERSON_ID: &str = "externalPersonId";

/// Names that a property's column may not take; such a property becomes `<definitionId>_<name>`.
const RESERVED: [&str; 10] = [
    PERSON_ID,
    OCCURRED_TIME,
    "occuredTime",
    SEQ,
    EVENT_ID,
    SESSION_ID,
    RECEIVED_TIME,
    DAY,
    EXTERNAL_PERSON_ID,
    "definitionId",
];

/// How many system columns stand before the properties in a file.
pub const SYSTEM_COLUMNS: usize = 6;

/// One property as a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// In SQL: the property's name, prefixed when it clashes with a system column.
    pub sql: String,
    /// In the files: the same, with what a Delta table forbids in a name replaced.
    pub file: String,
    pub data_type: DataType,
}

/// The columns of one definition.
#[derive(Clone, Debug)]
pub struct Columns {
    properties: Vec<Column>,
    file_schema: SchemaRef,
}

impl Columns {
    pub fn of(definition: &Definition) -> Self {
        let mut taken: HashSet<String> = RESERVED.iter().map(|name| name.to_lowercase()).collect();
        let mut properties: Vec<Column> = Vec::with_capacity(definition.properties.len());
        for property in &definition.properties {
            let clashes = RESERVED.iter().any(|name| name.eq_ignore_ascii_case(&property.name));
            let sql =
                if clashes { format!("{}_{}", definition.id, property.name) } else { property.name.clone() };
            let mut file = file_name(&sql);
            while !taken.insert(file.to_lowercase()) {
                file.push('_');
            }
            properties.push(Column { sql, file, data_type: property_type(&property.kind) });
        }
        let fields = system_fields()
            .into_iter()
            .chain(properties.iter().map(|one| ArrowField::new(&one.file, one.data_type.clone(), true)));
        let file_schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Self { properties, file_schema }
    }

    /// The properties, in the order of the definition.
    pub fn properties(&self) -> &[Column] {
        &self.properties
    }

    /// The schema of a data file: `personId, occurredTime, seq, eventId, sessionId, receivedTime`, then the
    /// properties under their file names.
    pub fn file_schema(&self) -> &SchemaRef {
        &self.file_schema
    }
}

fn system_fields() -> Vec<ArrowField> {
    vec![
        ArrowField::new(PERSON_ID, DataType::Int64, false),
        ArrowField::new(OCCURRED_TIME, time_type(), false),
        ArrowField::new(SEQ, DataType::Int64, false),
        ArrowField::new(EVENT_ID, DataType::Utf8, false),
        ArrowField::new(SESSION_ID, DataType::Utf8, true),
        ArrowField::new(RECEIVED_TIME, time_type(), false),
    ]
}

fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn scalar_type(kind: ScalarType) -> DataType {
    match kind {
        ScalarType::String => DataType::Utf8,
        ScalarType::Boolean => DataType::Boolean,
        ScalarType::DateTime => time_type(),
        ScalarType::Numeric => DataType::Int64,
        ScalarType::Decimal => DataType::Float64,
    }
}

fn property_type(kind: &PropertyType) -> DataType {
    match kind {
        PropertyType::Scalar(kind) => scalar_type(*kind),
        PropertyType::List(fields) => {
            let fields: Fields =
                fields.iter().map(|one| ArrowField::new(&one.name, scalar_type(one.kind), true)).collect();
            DataType::List(Arc::new(ArrowField::new("element", DataType::Struct(fields), true)))
        }
    }
}

/// Delta forbids ` ,;{}()\n\t=` in a column's name, and other engines stumble over quotes and dots.
fn file_name(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_alphanumeric() || c == '_' || c == '$' || c == '-' { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Property;

    fn columns(names: &[&str]) -> Vec<Column> {
        let properties = names.iter().map(|name| Property::scalar(*name, ScalarType::String)).collect();
        let definition = Definition::external("cart1".parse().unwrap(), "Cart", properties);
        Columns::of(&definition).properties().to_vec()
    }

    #[test]
    fn br26_clashing_and_odd_names_each_keep_a_column_of_their_own() {
        let made = columns(&["externalPersonId", "eventId", "select", "group by", "group_by", "a\"b", "a.b"]);
        let sql: Vec<_> = made.iter().map(|one| one.sql.as_str()).collect();
        let file: Vec<_> = made.iter().map(|one| one.file.as_str()).collect();
        assert_eq!(
            sql,
            ["cart1_externalPersonId", "cart1_eventId", "select", "group by", "group_by", "a\"b", "a.b"]
        );
        assert_eq!(
            file,
            ["cart1_externalPersonId", "cart1_eventId", "select", "group_by", "group_by_", "a_b", "a_b_"]
        );
    }
}
