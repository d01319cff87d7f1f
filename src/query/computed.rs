//! Computed attributes: columns of `persons` whose values follow from events, and are found when a query reads them.

use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::UInt64Array;
use arrow::compute::take;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::FieldRef;
use arrow::datatypes::TimeUnit;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde::Serialize;

use crate::error::Context;
use crate::error::Result;
use crate::storage::snapshot::Snapshot;

/// What the values of a computed attribute are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ComputedKind {
    Integer,
    /// A sum of integers, which may need more than 64 bits.
    IntegerSum,
    Decimal,
    String,
    Boolean,
    DateTime,
    Date,
}

impl ComputedKind {
    pub fn data_type(self) -> DataType {
        match self {
            Self::Integer => DataType::Int64,
            Self::IntegerSum => DataType::Decimal128(38, 0),
            Self::Decimal => DataType::Float64,
            Self::String => DataType::Utf8,
            Self::Boolean => DataType::Boolean,
            Self::DateTime => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Date => DataType::Date32,
        }
    }

    /// The type as people read it, as they do those of custom attributes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Integer | Self::IntegerSum => "INTEGER",
            Self::Decimal => "DECIMAL",
            Self::String => "STRING",
            Self::Boolean => "BOOLEAN",
            Self::DateTime => "DATE_TIME",
            Self::Date => "DATE",
        }
    }
}

/// A column that is computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComputedField {
    pub name: String,
    pub kind: ComputedKind,
}

/// The values of some persons, in the order of their ids, and behind them the value of all others.
#[derive(Clone, Debug)]
pub struct ComputedColumn {
    pub persons: Vec<i64>,
    pub values: ArrayRef,
}

/// Where a session's computed attributes come from.
pub trait ComputedColumns: fmt::Debug + Send + Sync {
    /// Those that there are, in the order of their columns.
    fn fields(&self) -> Result<Vec<ComputedField>>;

    /// The values of one over a snapshot, now.
    fn column<'a>(
        &'a self,
        name: &'a str,
        snapshot: &'a Arc<Snapshot>,
    ) -> BoxFuture<'a, Result<Arc<ComputedColumn>>>;
}

impl ComputedField {
    pub(crate) fn field(&self) -> FieldRef {
        Arc::new(Field::new(&self.name, self.kind.data_type(), true))
    }
}

impl ComputedColumn {
    /// The values of these persons, whose ids are in order.
    pub(crate) fn of(&self, ids: &[i64]) -> Result<ArrayRef> {
        let none = self.persons.len() as u64;
        let first = ids.first().copied().unwrap_or_default();
        let mut at = self.persons.partition_point(|person| *person < first);
        let places: UInt64Array = ids
            .iter()
            .map(|id| {
                while self.persons.get(at).is_some_and(|person| person < id) {
                    at += 1;
                }
                Some(if self.persons.get(at) == Some(id) { at as u64 } else { none })
            })
            .collect();
        take(&self.values, &places, None)
            .internal(|| "could not put a computed attribute together".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;

    #[test]
    fn persons_without_a_value_have_that_of_all_others() {
        let column = ComputedColumn {
            persons: vec![2, 5, 9],
            values: Arc::new(Int64Array::from(vec![20, 50, 90, 0])),
        };
        let of = |ids: Vec<i64>| column.of(&ids).unwrap();
        let expected: ArrayRef = Arc::new(Int64Array::from(vec![0, 20, 0, 90, 0]));
        assert_eq!(&of(vec![1, 2, 6, 9, 12]), &expected);
        assert_eq!(of(vec![5]).len(), 1);
        assert_eq!(of(vec![]).len(), 0);
    }
}
