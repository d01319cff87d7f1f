//! A data file as an export reads it: its footer once, and then one row group at a time, in batches.

use std::ops::Range;
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
use bytes::Buf;
use bytes::Bytes;
use bytes::buf::Reader;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowPredicate;
use parquet::arrow::arrow_reader::ArrowPredicateFn;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_reader::RowFilter;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::ChunkReader;
use parquet::file::reader::Length;
use parquet::file::statistics::Statistics;

use crate::error::Context;
use crate::error::Result;
use crate::export::json::Part;
use crate::export::shape::RowShape;
use crate::schema::OCCURRED_TIME;
use crate::schema::SEQ;
use crate::storage;
use crate::time::Micros;
use crate::time::TimeRange;

/// Rows of one part.
const BATCH_ROWS: usize = 8_192;
/// A data file whose footer was read, ready to be decoded by row group.
#[derive(Clone, Debug)]
pub(crate) struct OpenedFile {
    metadata: ArrowReaderMetadata,
    bytes: u64,
}

impl OpenedFile {
    /// Texts are to be views, which share the bytes of a dictionary instead of repeating them.
    pub(crate) fn of(path: &str, bytes: u64, footer: Arc<ParquetMetaData>) -> Result<Self> {
        let damaged = || format!("data file \"{path}\" is damaged");
        let options = || ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(&footer), options()).internal(damaged)?;
        let schema = Schema::new(metadata.schema().fields().iter().map(with_views).collect::<Fields>());
        let options = options().with_schema(Arc::new(schema));
        let metadata = ArrowReaderMetadata::try_new(footer, options).internal(damaged)?;
        Ok(Self { metadata, bytes })
    }

    pub(crate) fn row_groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    /// Where the bytes of a row group lie in the file.
    pub(crate) fn range_of(&self, row_group: usize) -> Range<u64> {
        let columns = self.metadata.metadata().row_group(row_group).columns().iter();
        let (starts, ends): (Vec<u64>, Vec<u64>) =
            columns.map(|column| column.byte_range()).map(|(start, length)| (start, start + length)).unzip();
        starts.into_iter().min().unwrap_or(0)..ends.into_iter().max().unwrap_or(0)
    }

    fn greatest_seq(&self, row_group: usize) -> Option<i64> {
        greatest_seq(self.metadata.metadata().row_group(row_group))
    }

    /// The rows of one row group, whose bytes were read, that are in the range and not later than `seen`, where these are
    /// given.
    pub(crate) fn decode(
        &self,
        row_group: usize,
        bytes: Bytes,
        shape: &Arc<RowShape>,
        range: Option<TimeRange>,
        seen: Option<i64>,
    ) -> Result<impl Iterator<Item = Result<Part>>> {
        let seen = seen.filter(|&seen| self.greatest_seq(row_group).is_none_or(|greatest| greatest > seen));
        let reading = || "could not decode a data file".to_owned();
        let part = Piece { start: self.range_of(row_group).start, file_bytes: self.bytes, bytes };
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(part, self.metadata.clone())
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
        let shape = Arc::clone(shape);
        let batches = builder.build().internal(reading)?;
        Ok(batches.map(move |batch| Part::of(&shape, &storage::in_micros(batch.internal(reading)?)?)))
    }
}

/// The part of a file that was read.
#[derive(Clone, Debug)]
struct Piece {
    start: u64,
    bytes: Bytes,
    file_bytes: u64,
}

impl Piece {
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let at = start.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        at.filter(|&at| at <= self.bytes.len())
            .map(|at| self.bytes.slice(at..))
            .ok_or_else(|| ParquetError::EOF(format!("byte {start} of the file was not read")))
    }
}

impl Length for Piece {
    fn len(&self) -> u64 {
        self.file_bytes
    }
}

impl ChunkReader for Piece {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let rest = self.from(start)?;
        if length > rest.len() {
            return Err(ParquetError::EOF(format!("{length} bytes from {start} were not all read")));
        }
        Ok(rest.slice(..length))
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
