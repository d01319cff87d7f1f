//! What a file leaves out: columns of properties that none of its events has, and the microseconds where all its events
//! occurred on whole milliseconds, as nearly all do.
//!
//! In the log, in SQL and wherever rows are gathered the columns are those of the definition, and times are in
//! microseconds; a column that a file lacks is NULL to every reader.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::ArrowNativeTypeOp;
use arrow::array::AsArray;
use arrow::array::RecordBatch;
use arrow::array::TimestampMillisecondArray;
use arrow::compute::unary;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::FieldRef;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use arrow::datatypes::TimeUnit;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::datatypes::TimestampMillisecondType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::statistics::Statistics;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::schema::OCCURRED_TIME;
use crate::schema::SYSTEM_COLUMNS;
use crate::time::MICROS_PER_MILLI;

/// In what a file holds the times of its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Times {
    Millis,
    Micros,
}

impl Times {
    /// The smallest that keeps these times, in microseconds, exactly.
    pub(crate) fn that_keep(micros: impl IntoIterator<Item = i64>) -> Self {
        let whole = micros.into_iter().all(|time| time % MICROS_PER_MILLI == 0);
        if whole { Self::Millis } else { Self::Micros }
    }

    /// The smallest that keeps the times of these files exactly.
    fn of_files(files: &[PathBuf]) -> Result<Self> {
        for path in files {
            let doing = || format!("the data file \"{}\" cannot be read", path.display());
            let builder = open(path)?;
            let kind = builder.schema().field_with_name(OCCURRED_TIME).internal(doing)?.data_type();
            if matches!(kind, DataType::Timestamp(TimeUnit::Millisecond, _)) {
                continue;
            }
            // Files of the first versions hold microseconds, whatever the times.
            let only_times = ProjectionMask::columns(builder.parquet_schema(), [OCCURRED_TIME]);
            for rows in builder.with_projection(only_times).build().unavailable(doing)? {
                let rows = rows.unavailable(doing)?;
                let times = rows.column(0).as_primitive_opt::<TimestampMicrosecondType>();
                let times = times.ok_or_else(|| Error::internal(doing()))?;
                if Self::that_keep(times.values().iter().copied()) == Self::Micros {
                    return Ok(Self::Micros);
                }
            }
        }
        Ok(Self::Millis)
    }

    /// In what the column of times of a file holds them.
    pub(crate) fn of_field(field: &Field) -> Self {
        match field.data_type() {
            DataType::Timestamp(TimeUnit::Millisecond, _) => Self::Millis,
            _ => Self::Micros,
        }
    }

    /// The columns of a file with such times.
    pub(crate) fn schema(self, rows: &SchemaRef) -> SchemaRef {
        match self {
            Self::Micros => SchemaRef::clone(rows),
            Self::Millis => {
                let fields = rows.fields().iter().map(|field| {
                    if field.name() == OCCURRED_TIME {
                        Arc::new(Field::new(OCCURRED_TIME, millis_type(), field.is_nullable()))
                    } else {
                        Arc::clone(field)
                    }
                });
                Arc::new(Schema::new(fields.collect::<Vec<_>>()))
            }
        }
    }

    /// The rows as a file with such times holds them; `schema` is what [`Times::schema`] made.
    pub(crate) fn of_rows(self, rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
        if self == Self::Micros {
            return Ok(rows.clone());
        }
        let doing = || "times cannot be kept in milliseconds".to_owned();
        let at = schema.index_of(OCCURRED_TIME).internal(doing)?;
        let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
        let micros = columns[at].as_primitive_opt::<TimestampMicrosecondType>();
        let micros = micros.ok_or_else(|| Error::internal(doing()))?;
        let millis: TimestampMillisecondArray =
            unary::<_, _, TimestampMillisecondType>(micros, |time| time.div_euclid(MICROS_PER_MILLI));
        columns[at] = Arc::new(millis.with_timezone("UTC"));
        RecordBatch::try_new(SchemaRef::clone(schema), columns).internal(doing)
    }
}

/// Rows as a file holds them, with their times in microseconds.
pub(crate) fn in_micros(rows: RecordBatch) -> Result<RecordBatch> {
    let doing = || "times cannot be brought to microseconds".to_owned();
    let Some((at, held)) = rows.schema_ref().column_with_name(OCCURRED_TIME) else {
        return Ok(rows);
    };
    let Some(millis) = rows.column(at).as_primitive_opt::<TimestampMillisecondType>() else {
        return Ok(rows);
    };
    let micros =
        millis.try_unary::<_, TimestampMicrosecondType, _>(|time| time.mul_checked(MICROS_PER_MILLI));
    let micros = micros.internal(doing)?.with_timezone("UTC");
    let mut fields: Vec<FieldRef> = rows.schema_ref().fields().to_vec();
    fields[at] = Arc::new(Field::new(OCCURRED_TIME, micros.data_type().clone(), held.is_nullable()));
    let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
    columns[at] = Arc::new(micros);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).internal(doing)
}

/// What rows with some of these columns need: the columns that some batch has a value in, and all system columns.
pub(crate) fn with_values(schema: &SchemaRef, rows: &[RecordBatch]) -> SchemaRef {
    let has_values =
        |at: usize| rows.iter().any(|rows| rows.column(at).logical_null_count() < rows.num_rows());
    kept(schema, has_values)
}

/// What the rows of some files together need of the columns of their definition, and in what they keep their times.
pub(crate) fn of_files(schema: &SchemaRef, files: &[PathBuf]) -> Result<(SchemaRef, Times)> {
    let mut used: HashSet<String> = HashSet::new();
    for path in files {
        let file = open(path)?;
        for group in file.metadata().row_groups() {
            for column in group.columns() {
                let nulls = column.statistics().and_then(Statistics::null_count_opt);
                if let (true, [root, ..]) = (
                    nulls.is_none_or(|nulls| nulls < column.num_values().unsigned_abs()),
                    column.column_path().parts(),
                ) {
                    used.insert(root.clone());
                }
            }
        }
    }
    let columns = kept(schema, |at| used.contains(schema.field(at).name()));
    Ok((columns, Times::of_files(files)?))
}

fn kept(schema: &SchemaRef, has_values: impl Fn(usize) -> bool) -> SchemaRef {
    let fields = schema.fields().iter().enumerate();
    let fields = fields.filter(|(at, _)| *at < SYSTEM_COLUMNS || has_values(*at));
    Arc::new(Schema::new(fields.map(|(_, field)| Arc::clone(field)).collect::<Vec<_>>()))
}

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let doing = || format!("the data file \"{}\" cannot be read", path.display());
    let file = File::open(path).unavailable(doing)?;
    ParquetRecordBatchReaderBuilder::try_new(file).unavailable(doing)
}

fn millis_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

#[cfg(test)]
mod tests {
    use arrow::array::TimestampMicrosecondArray;

    use super::*;
    use crate::storage::adapt;

    #[test]
    fn one_time_between_milliseconds_keeps_all_in_microseconds() {
        assert_eq!(Times::that_keep([0, -1_000, 1_780_272_000_123_000]), Times::Millis);
        assert_eq!(Times::that_keep([0, -1_000, 1_780_272_000_123_456]), Times::Micros);
        assert_eq!(Times::that_keep([-1]), Times::Micros);
        assert_eq!(Times::that_keep([]), Times::Millis);
    }

    #[test]
    fn rows_come_back_from_milliseconds_as_they_were() {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let schema = Arc::new(Schema::new(vec![Field::new(OCCURRED_TIME, micros, false)]));
        let times = TimestampMicrosecondArray::from(vec![
            -62_135_596_800_000_000,
            -1_000,
            0,
            253_402_300_799_999_000,
        ]);
        let rows =
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(times.with_timezone("UTC"))]).unwrap();
        let held = Times::Millis.of_rows(&rows, &Times::Millis.schema(&schema)).unwrap();
        assert_eq!(held.column(0).data_type(), &millis_type());
        assert_eq!(held.column(0).as_primitive::<TimestampMillisecondType>().value(1), -1);
        assert_eq!(adapt::to_schema(&held, &schema).unwrap(), rows);
        assert_eq!(in_micros(held).unwrap(), rows);
        assert_eq!(in_micros(rows.clone()).unwrap(), rows);
        assert_eq!(Times::Micros.of_rows(&rows, &Times::Micros.schema(&schema)).unwrap(), rows);
    }
}
