//! Which SQL column comes from where: from a column of the file (often under another name), from the path, or from a
//! look-up.

use std::sync::Arc;

use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::FieldRef;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use arrow::datatypes::TimeUnit;

use crate::schema::Column;
use crate::schema::Columns;
use crate::schema::DAY;
use crate::schema::EVENT_ID;
use crate::schema::EXTERNAL_PERSON_ID;
use crate::schema::OCCURRED_TIME;
use crate::schema::PERSON_ID;
use crate::schema::RECEIVED_TIME;
use crate::schema::SEQ;
use crate::schema::SESSION_ID;

/// The column of `events` that names the definition.
pub(crate) const DEFINITION_ID: &str = "definitionId";
/// The column of `events` that holds all properties as JSON text.
pub(crate) const PROPERTIES: &str = "properties";

/// Where the values of a SQL column come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The column of the file with this name.
    File(String),
    /// The day or the definition that the file belongs to.
    Path,
    /// The external id of the person of the event.
    ExternalPersonId,
    /// All properties of the event, as JSON text.
    Properties,
}

/// One column as SQL sees it.
#[derive(Clone, Debug)]
pub(crate) struct SqlColumn {
    pub(crate) field: FieldRef,
    pub(crate) origin: Origin,
}

impl SqlColumn {
    fn new(name: &str, kind: DataType, nullable: bool, origin: Origin) -> Self {
        Self { field: Arc::new(Field::new(name, kind, nullable)), origin }
    }

    fn stored(name: &str, kind: DataType, nullable: bool) -> Self {
        Self::new(name, kind, nullable, Origin::File(name.to_owned()))
    }

    fn property(column: &Column) -> Self {
        Self::new(&column.sql, shown(&column.data_type), true, Origin::File(column.file.clone()))
    }

    pub(crate) fn name(&self) -> &str {
        self.field.name()
    }
}

/// The columns of the table of one definition: the system columns, then the properties in the definition's order.
pub(crate) fn of_definition(columns: &Columns) -> Vec<SqlColumn> {
    system_columns().into_iter().chain(columns.properties().iter().map(SqlColumn::property)).collect()
}

/// The columns of `events`: `definitionId`, the system columns, `properties`.
pub(crate) fn of_all_events() -> Vec<SqlColumn> {
    let first = SqlColumn::new(DEFINITION_ID, DataType::Utf8View, false, Origin::Path);
    let last = SqlColumn::new(PROPERTIES, DataType::Utf8View, false, Origin::Properties);
    std::iter::once(first).chain(system_columns()).chain(std::iter::once(last)).collect()
}

pub(crate) fn schema_of(columns: &[SqlColumn]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|column| Arc::clone(&column.field)).collect::<Vec<_>>()))
}

/// A moment in a file and in SQL.
pub(crate) fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// How a type of the files is shown: texts as views, which are read and compared without copying.
pub(crate) fn shown(kind: &DataType) -> DataType {
    match kind {
        DataType::Utf8 => DataType::Utf8View,
        other => other.clone(),
    }
}

fn system_columns() -> Vec<SqlColumn> {
    vec![
        SqlColumn::stored(EVENT_ID, DataType::Utf8View, false),
        SqlColumn::stored(PERSON_ID, DataType::Int64, false),
        SqlColumn::new(EXTERNAL_PERSON_ID, DataType::Utf8View, true, Origin::ExternalPersonId),
        SqlColumn::stored(SESSION_ID, DataType::Utf8View, true),
        SqlColumn::stored(OCCURRED_TIME, time_type(), false),
        SqlColumn::stored(RECEIVED_TIME, time_type(), false),
        SqlColumn::new(DAY, DataType::Date32, false, Origin::Path),
        SqlColumn::stored(SEQ, DataType::Int64, false),
    ]
}
