//! Values of one property become one Arrow column, appended row by row.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::BooleanBuilder;
use arrow::array::Float64Builder;
use arrow::array::Int64Builder;
use arrow::array::ListArray;
use arrow::array::NullBufferBuilder;
use arrow::array::StringBuilder;
use arrow::array::StructArray;
use arrow::array::TimestampMicrosecondBuilder;
use arrow::buffer::OffsetBuffer;
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::DataType;
use arrow::datatypes::FieldRef;
use arrow::datatypes::Fields;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::time::Micros;

/// One checked value on its way into a column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Slot<'a> {
    #[default]
    Null,
    Text(Cow<'a, str>),
    Boolean(bool),
    Integer(i64),
    Decimal(f64),
    Time(Micros),
    /// So many objects, whose fields stand one after the other beside the row.
    List(usize),
}

impl Slot<'_> {
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

/// A growing column. A slot of another type than the column's is stored as NULL; reading rows never makes one.
#[derive(Debug)]
pub(crate) enum ColumnBuilder {
    Text(StringBuilder),
    Boolean(BooleanBuilder),
    Integer(Int64Builder),
    Decimal(Float64Builder),
    Time(TimestampMicrosecondBuilder),
    List(Box<ListBuilder>),
}

impl ColumnBuilder {
    pub(crate) fn new(data_type: &DataType) -> Result<Self> {
        Ok(match data_type {
            DataType::Utf8 => Self::Text(StringBuilder::new()),
            DataType::Boolean => Self::Boolean(BooleanBuilder::new()),
            DataType::Int64 => Self::Integer(Int64Builder::new()),
            DataType::Float64 => Self::Decimal(Float64Builder::new()),
            DataType::Timestamp(..) => {
                Self::Time(TimestampMicrosecondBuilder::new().with_data_type(data_type.clone()))
            }
            DataType::List(element) => Self::List(Box::new(ListBuilder::new(element)?)),
            other => return Err(Error::internal(format!("no column of type {other} can be built"))),
        })
    }

    /// Appends one value; `items` are the fields of all objects of a list.
    #[inline]
    pub(crate) fn push(&mut self, slot: &Slot<'_>, items: &[Slot<'_>]) {
        match (self, slot) {
            (Self::Text(column), Slot::Text(value)) => column.append_value(value),
            (Self::Text(column), _) => column.append_null(),
            (Self::Boolean(column), Slot::Boolean(value)) => column.append_value(*value),
            (Self::Boolean(column), _) => column.append_null(),
            (Self::Integer(column), Slot::Integer(value)) => column.append_value(*value),
            (Self::Integer(column), _) => column.append_null(),
            (Self::Decimal(column), Slot::Decimal(value)) => column.append_value(*value),
            (Self::Decimal(column), _) => column.append_null(),
            (Self::Time(column), Slot::Time(value)) => column.append_value(value.0),
            (Self::Time(column), _) => column.append_null(),
            (Self::List(column), slot) => column.push(slot, items),
        }
    }

    pub(crate) fn finish(self) -> Result<ArrayRef> {
        Ok(match self {
            Self::Text(mut column) => Arc::new(column.finish()),
            Self::Boolean(mut column) => Arc::new(column.finish()),
            Self::Integer(mut column) => Arc::new(column.finish()),
            Self::Decimal(mut column) => Arc::new(column.finish()),
            Self::Time(mut column) => Arc::new(column.finish()),
            Self::List(column) => column.finish()?,
        })
    }
}

/// A growing column of lists of objects.
#[derive(Debug)]
pub(crate) struct ListBuilder {
    element: FieldRef,
    fields: Fields,
    columns: Vec<ColumnBuilder>,
    /// Where each list ends; one more than there are lists.
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
    objects: usize,
}

impl ListBuilder {
    fn new(element: &FieldRef) -> Result<Self> {
        let DataType::Struct(fields) = element.data_type() else {
            return Err(Error::internal(format!("a list of {} can not be built", element.data_type())));
        };
        let columns =
            fields.iter().map(|field| ColumnBuilder::new(field.data_type())).collect::<Result<_>>()?;
        Ok(Self {
            element: Arc::clone(element),
            fields: fields.clone(),
            columns,
            offsets: vec![0],
            nulls: NullBufferBuilder::new(0),
            objects: 0,
        })
    }

    fn push(&mut self, slot: &Slot<'_>, items: &[Slot<'_>]) {
        if let Slot::List(count) = slot {
            for object in items.chunks_exact(self.columns.len()) {
                for (column, slot) in self.columns.iter_mut().zip(object) {
                    column.push(slot, &[]);
                }
            }
            self.objects += count;
        }
        self.nulls.append(!slot.is_null());
        // A chunk has a few megabytes, so its objects are counted in far fewer than 31 bits.
        self.offsets.push(i32::try_from(self.objects).unwrap_or(i32::MAX));
    }

    fn finish(mut self) -> Result<ArrayRef> {
        let arrays = self.columns.into_iter().map(ColumnBuilder::finish).collect::<Result<Vec<_>>>()?;
        let objects = StructArray::try_new_with_length(self.fields, arrays, None, self.objects)
            .internal(|| "could not build the objects of a list".to_owned())?;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        let list = ListArray::try_new(self.element, offsets, Arc::new(objects), self.nulls.finish())
            .internal(|| "could not build a list".to_owned())?;
        Ok(Arc::new(list))
    }
}
