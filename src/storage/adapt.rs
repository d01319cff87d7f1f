//! Brings rows of an older version of a definition to the columns of a newer one: what was added since is NULL, and
//! times that a file keeps in milliseconds are in microseconds.

use std::sync::Arc;

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::ListArray;
use arrow::array::RecordBatch;
use arrow::array::RecordBatchOptions;
use arrow::array::StructArray;
use arrow::array::new_null_array;
use arrow::compute::CastOptions;
use arrow::compute::cast_with_options;
use arrow::datatypes::DataType;
use arrow::datatypes::SchemaRef;
use arrow::datatypes::TimeUnit;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;

/// The same rows with exactly these columns.
pub(crate) fn to_schema(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if rows.schema_ref() == schema {
        return Ok(rows.clone());
    }
    let columns = schema
        .fields()
        .iter()
        .map(|field| match rows.column_by_name(field.name()) {
            Some(column) => to_type(column, field.data_type()),
            None => Ok(new_null_array(field.data_type(), rows.num_rows())),
        })
        .collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns, &options)
        .internal(|| "rows do not fit the columns of their definition".to_owned())
}

fn to_type(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    let doing = || format!("a column of type {} cannot become {wanted}", column.data_type());
    match (column.data_type(), wanted) {
        (held, wanted) if held == wanted => Ok(Arc::clone(column)),
        (DataType::List(_), DataType::List(element)) => {
            let list = column.as_list::<i32>();
            let values = to_type(list.values(), element.data_type())?;
            let made = ListArray::try_new(
                Arc::clone(element),
                list.offsets().clone(),
                values,
                list.nulls().cloned(),
            );
            Ok(Arc::new(made.internal(doing)?))
        }
        (DataType::Struct(_), DataType::Struct(parts)) => {
            let held = column.as_struct();
            let columns = parts
                .iter()
                .map(|part| match held.column_by_name(part.name()) {
                    Some(column) => to_type(column, part.data_type()),
                    None => Ok(new_null_array(part.data_type(), held.len())),
                })
                .collect::<Result<Vec<_>>>()?;
            let made =
                StructArray::try_new_with_length(parts.clone(), columns, held.nulls().cloned(), held.len());
            Ok(Arc::new(made.internal(doing)?))
        }
        (
            DataType::Timestamp(TimeUnit::Millisecond, zone),
            DataType::Timestamp(TimeUnit::Microsecond, wanted),
        ) if zone == wanted => {
            let options = CastOptions { safe: false, ..CastOptions::default() };
            cast_with_options(column, &DataType::Timestamp(TimeUnit::Microsecond, wanted.clone()), &options)
                .internal(doing)
        }
        _ => Err(Error::internal(doing())),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::array::StringArray;
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::Field;
    use arrow::datatypes::Fields;
    use arrow::datatypes::Schema;

    use super::*;

    fn list(parts: &[(&str, DataType)]) -> Field {
        let parts: Fields = parts.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect();
        let element = Field::new("element", DataType::Struct(parts), true);
        Field::new("items", DataType::List(Arc::new(element)), true)
    }

    #[test]
    fn columns_and_fields_of_a_list_that_came_later_are_null() {
        let old = list(&[("id", DataType::Int64)]);
        let new = list(&[("id", DataType::Int64), ("colour", DataType::Utf8)]);
        let DataType::List(element) = old.data_type() else { unreachable!() };
        let DataType::Struct(parts) = element.data_type() else { unreachable!() };
        let items = StructArray::new(
            parts.clone(),
            vec![Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef],
            None,
        );
        let lists =
            ListArray::new(Arc::clone(element), OffsetBuffer::from_lengths([2, 0, 1]), Arc::new(items), None);
        let held = RecordBatch::try_new(Arc::new(Schema::new(vec![old])), vec![Arc::new(lists)]).unwrap();
        let schema = Arc::new(Schema::new(vec![Field::new("note", DataType::Utf8, true), new]));

        let adapted = to_schema(&held, &schema).unwrap();

        assert_eq!(adapted.schema_ref(), &schema);
        assert_eq!(adapted.column(0).null_count(), 3);
        let first = adapted.column(1).as_list::<i32>().value(0);
        assert_eq!(first.as_struct().column(0).as_ref(), &Int64Array::from(vec![1, 2]) as &dyn Array);
        assert_eq!(
            first.as_struct().column(1).as_ref(),
            &StringArray::from(vec![None::<&str>; 2]) as &dyn Array
        );
    }

    #[test]
    fn a_column_that_changed_its_type_is_an_error() {
        let field = |kind| Arc::new(Schema::new(vec![Field::new("a", kind, true)]));
        let held =
            RecordBatch::try_new(field(DataType::Int64), vec![Arc::new(Int64Array::from(vec![1]))]).unwrap();
        assert!(to_schema(&held, &field(DataType::Utf8)).is_err());
    }
}
