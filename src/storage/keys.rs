//! What files are sorted by: `(personId, occurredTime, seq)`, read from the rows that carry it.

use arrow::array::AsArray;
use arrow::array::RecordBatch;
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::Int64Type;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::datatypes::TimestampMillisecondType;

use crate::error::Error;
use crate::error::Result;
use crate::schema::OCCURRED_TIME;
use crate::schema::PERSON_ID;
use crate::schema::SEQ;
use crate::time::MICROS_PER_MILLI;

/// Where a row stands among others: person, time, sequence number.
pub(crate) type SortKey = (i64, i64, i64);

/// The sort keys of some rows.
#[derive(Clone, Debug)]
pub(crate) struct SortKeys {
    persons: ScalarBuffer<i64>,
    times: ScalarBuffer<i64>,
    seqs: ScalarBuffer<i64>,
}

impl SortKeys {
    /// The keys of rows that have the system columns.
    pub(crate) fn of(rows: &RecordBatch) -> Result<Self> {
        let integers = |name: &str| {
            let column = rows.column_by_name(name)?;
            Some(column.as_primitive_opt::<Int64Type>()?.values().clone())
        };
        let times = || {
            let column = rows.column_by_name(OCCURRED_TIME)?;
            // As a file holds them.
            if let Some(millis) = column.as_primitive_opt::<TimestampMillisecondType>() {
                let micros = millis.values().iter().map(|time| time.checked_mul(MICROS_PER_MILLI));
                return Some(ScalarBuffer::from(micros.collect::<Option<Vec<i64>>>()?));
            }
            Some(column.as_primitive_opt::<TimestampMicrosecondType>()?.values().clone())
        };
        let missing = |name: &str| Error::internal(format!("events came without their column \"{name}\""));
        Ok(Self {
            persons: integers(PERSON_ID).ok_or_else(|| missing(PERSON_ID))?,
            times: times().ok_or_else(|| missing(OCCURRED_TIME))?,
            seqs: integers(SEQ).ok_or_else(|| missing(SEQ))?,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.persons.len()
    }

    pub(crate) fn key(&self, row: usize) -> SortKey {
        (self.persons[row], self.times[row], self.seqs[row])
    }

    pub(crate) fn time(&self, row: usize) -> i64 {
        self.times[row]
    }
}
