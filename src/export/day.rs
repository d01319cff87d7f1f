//! One day's rows in memory: read from Parquet by definition, and put into the order of an export.
//!
//! Rows stay where Arrow has them. The order is one 64-bit key for each, so a day of a million rows sorts in place in
//! 8 MB.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::array::BooleanArray;
use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::FieldRef;
use arrow::datatypes::Fields;
use arrow::datatypes::Int64Type;
use arrow::datatypes::Schema;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowPredicate;
use parquet::arrow::arrow_reader::ArrowPredicateFn;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_reader::RowFilter;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::export::json::Part;
use crate::export::json::RowShape;
use crate::schema::OCCURRED_TIME;
use crate::schema::SEQ;
use crate::storage;
use crate::time::Day;
use crate::time::MICROS_PER_DAY;
use crate::time::Micros;
use crate::time::TimeRange;

const MILLIS_PER_DAY: i64 = MICROS_PER_DAY / 1_000;
/// Rows of one part.
const BATCH_ROWS: usize = 8_192;
/// A key is the millisecond of the day (27 bits) over the row's position among all parts (37 bits).
const POSITION_BITS: u32 = 37;

/// A data file, ready to be decoded by row group.
#[derive(Clone, Debug)]
pub(crate) struct OpenedFile {
    bytes: Bytes,
    metadata: ArrowReaderMetadata,
}

impl OpenedFile {
    /// Reads the footer. Texts are to be views, which share the bytes of a dictionary instead of repeating them.
    pub(crate) fn open(path: &str, bytes: Bytes) -> Result<Self> {
        let damaged = || format!("data file \"{path}\" is damaged");
        let options = || ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load(&bytes, options()).internal(damaged)?;
        let schema = Schema::new(metadata.schema().fields().iter().map(with_views).collect::<Fields>());
        let options = options().with_schema(Arc::new(schema));
        let metadata =
            ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options).internal(damaged)?;
        Ok(Self { bytes, metadata })
    }

    pub(crate) fn row_groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    fn greatest_seq(&self, row_group: usize) -> Option<i64> {
        greatest_seq(self.metadata.metadata().row_group(row_group))
    }

    /// The rows of one row group that are in the range and not later than `seen`, where these are given.
    pub(crate) fn decode(
        &self,
        row_group: usize,
        shape: &Arc<RowShape>,
        range: Option<TimeRange>,
        seen: Option<i64>,
    ) -> Result<Vec<Part>> {
        let seen = seen.filter(|&seen| self.greatest_seq(row_group).is_none_or(|greatest| greatest > seen));
        let reading = || "could not decode a data file".to_owned();
        let mut builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.bytes.clone(), self.metadata.clone())
                .with_row_groups(vec![row_group])
                .with_batch_size(BATCH_ROWS);
        let mut filters: Vec<Box<dyn ArrowPredicate>> = Vec::new();
        if let Some(range) = range {
            let mask = ProjectionMask::columns(builder.parquet_schema(), [OCCURRED_TIME]);
            filters.push(Box::new(ArrowPredicateFn::new(mask, move |batch| in_range(batch, range))));
        }
        if let Some(seen) = seen {
            let mask = ProjectionMask::columns(builder.parquet_schema(), [SEQ]);
            filters.push(Box::new(ArrowPredicateFn::new(mask, move |batch| not_later(&batch, seen))));
        }
        if !filters.is_empty() {
            builder = builder.with_row_filter(RowFilter::new(filters));
        }
        let mut parts = Vec::new();
        for batch in builder.build().internal(reading)? {
            parts.push(Part::of(shape, &storage::in_micros(batch.internal(reading)?)?)?);
        }
        Ok(parts)
    }
}

/// The number of the last event of a row group, where the file says it.
pub(crate) fn greatest_seq(metadata: &RowGroupMetaData) -> Option<i64> {
    let column = metadata.columns().iter().find(|column| column.column_path().string() == SEQ)?;
    match column.statistics()? {
        Statistics::Int64(numbers) => numbers.max_opt().copied(),
        _ => None,
    }
}

fn not_later(batch: &RecordBatch, seen: i64) -> Result<BooleanArray, ArrowError> {
    let numbers = batch
        .column(0)
        .as_primitive_opt::<Int64Type>()
        .ok_or_else(|| ArrowError::SchemaError(format!("\"{SEQ}\" is not an integer")))?;
    Ok(numbers.values().iter().map(|&seq| Some(seq <= seen)).collect())
}

fn with_views(field: &FieldRef) -> FieldRef {
    let kind = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::List(item) => DataType::List(with_views(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(with_views).collect()),
        other => other.clone(),
    };
    Arc::new(Field::clone(field).with_data_type(kind))
}

fn in_range(batch: RecordBatch, range: TimeRange) -> Result<BooleanArray, ArrowError> {
    let batch = storage::in_micros(batch).map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
    let times = batch
        .column(0)
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| ArrowError::SchemaError(format!("\"{OCCURRED_TIME}\" is not in microseconds")))?;
    Ok(times.values().iter().map(|&time| Some(range.contains(Micros(time)))).collect())
}

/// All rows of one day that an export takes, in its order.
#[derive(Debug)]
pub(crate) struct DayRows {
    parts: Vec<Part>,
    /// The position of each part's first row.
    starts: Vec<u64>,
    keys: Vec<u64>,
    first_milli: i64,
}

impl DayRows {
    /// Puts the rows in order: the millisecond, then the event id, then `seq` (ids are unique; if a store breaks that
    /// rule, its exports are repeatable still).
    ///
    /// Fails with `Internal` when a row lies outside the day.
    pub(crate) fn order(day: Day, parts: Vec<Part>) -> Result<Self> {
        let first_milli = i64::from(day.0) * MILLIS_PER_DAY;
        let mut starts = Vec::with_capacity(parts.len());
        let mut keys = Vec::with_capacity(parts.iter().map(Part::rows).sum());
        let mut position = 0_u64;
        for part in &parts {
            starts.push(position);
            for row in 0..part.rows() {
                let milli = part.time(row).0.div_euclid(1_000) - first_milli;
                let milli =
                    u64::try_from(milli).ok().filter(|_| milli < MILLIS_PER_DAY).ok_or_else(|| {
                        Error::internal(format!(
                            "an event of {} lies in the files of another day",
                            part.time(row).export_form()
                        ))
                    })?;
                keys.push((milli << POSITION_BITS) | position);
                position += 1;
            }
        }
        let mut day = Self { parts, starts, keys: Vec::new(), first_milli };
        keys.sort_unstable();
        for tied in keys.chunk_by_mut(|one, next| one >> POSITION_BITS == next >> POSITION_BITS) {
            if tied.len() > 1 {
                tied.sort_unstable_by_key(|&key| {
                    let (part, row) = day.place(key);
                    (part.event_id(row), part.seq(row))
                });
            }
        }
        day.keys = keys;
        Ok(day)
    }

    pub(crate) fn rows(&self) -> usize {
        self.keys.len()
    }

    /// The millisecond of the row at a place in the order, since the epoch.
    pub(crate) fn milli(&self, at: usize) -> i64 {
        self.first_milli + i64::try_from(self.keys[at] >> POSITION_BITS).unwrap_or_default()
    }

    /// The row at a place in the order.
    pub(crate) fn row(&self, at: usize) -> (&Part, usize) {
        self.place(self.keys[at])
    }

    fn place(&self, key: u64) -> (&Part, usize) {
        let position = key & ((1 << POSITION_BITS) - 1);
        // An empty part starts where the next one does, so it is never the last that starts at or before the position.
        let part = self.starts.partition_point(|&start| start <= position) - 1;
        (&self.parts[part], usize::try_from(position - self.starts[part]).unwrap_or_default())
    }
}
