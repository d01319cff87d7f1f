//! A small table put together column by column, whose names are known only when it is made.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::BooleanArray;
use arrow::array::Date32Array;
use arrow::array::Float64Array;
use arrow::array::Int64Array;
use arrow::array::StringArray;
use arrow::array::TimestampMicrosecondArray;
use arrow::datatypes::Field;
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use arrow::record_batch::RecordBatchOptions;

use crate::error::Context;
use crate::error::Result;
use crate::time::Day;

#[derive(Debug, Default)]
pub(crate) struct Table {
    fields: Vec<Field>,
    columns: Vec<ArrayRef>,
}

impl Table {
    /// A name that is there already gets a number behind it: a table may be a subquery, whose names differ.
    pub(crate) fn column(mut self, name: impl Into<String>, column: ArrayRef) -> Self {
        let name: String = name.into();
        let taken = |name: &str| self.fields.iter().any(|field| field.name() == name);
        let numbered = (2..).map(|number| format!("{name} {number}"));
        let name = std::iter::once(name.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or(name);
        self.fields.push(Field::new(name, column.data_type().clone(), true));
        self.columns.push(column);
        self
    }

    pub(crate) fn texts<T: AsRef<str>>(
        self,
        name: impl Into<String>,
        values: impl IntoIterator<Item = Option<T>>,
    ) -> Self {
        self.column(name, Arc::new(values.into_iter().collect::<StringArray>()))
    }

    pub(crate) fn numbers(
        self,
        name: impl Into<String>,
        values: impl IntoIterator<Item = Option<i64>>,
    ) -> Self {
        self.column(name, Arc::new(values.into_iter().collect::<Int64Array>()))
    }

    pub(crate) fn decimals(
        self,
        name: impl Into<String>,
        values: impl IntoIterator<Item = Option<f64>>,
    ) -> Self {
        self.column(name, Arc::new(values.into_iter().collect::<Float64Array>()))
    }

    pub(crate) fn flags(self, name: impl Into<String>, values: impl IntoIterator<Item = bool>) -> Self {
        self.column(name, Arc::new(values.into_iter().map(Some).collect::<BooleanArray>()))
    }

    pub(crate) fn days(self, name: impl Into<String>, values: impl IntoIterator<Item = Option<Day>>) -> Self {
        self.column(name, Arc::new(values.into_iter().map(|day| Some(day?.0)).collect::<Date32Array>()))
    }

    /// Moments, in microseconds.
    pub(crate) fn times(
        self,
        name: impl Into<String>,
        values: impl IntoIterator<Item = Option<i64>>,
    ) -> Self {
        let times = values.into_iter().collect::<TimestampMicrosecondArray>();
        self.column(name, Arc::new(times.with_timezone("UTC")))
    }

    pub(crate) fn batch(self) -> Result<RecordBatch> {
        let rows = self.columns.first().map_or(0, |column| column.len());
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(self.fields)), self.columns, &options)
            .internal(|| "could not build a table".to_owned())
    }
}
