//! Rows as bytes for programs and files: CSV, JSON, Parquet, Arrow; the prompt and the server write the same.

pub(crate) mod cell;
mod columnar;
mod csv;
mod json;

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::engine::rows::columnar::ArrowStream;
use crate::engine::rows::columnar::ParquetFile;
use crate::engine::rows::csv::Csv;
use crate::engine::rows::json::Json;
use crate::error::Context;
use crate::error::Result;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFormat {
    /// A header and comma-separated rows; NULL is empty, empty text is `""`.
    Csv,
    /// One JSON array of objects.
    Json,
    /// One JSON object per line.
    Ndjson,
    /// A Parquet file.
    Parquet,
    /// An Arrow IPC stream.
    Arrow,
}

/// Writes one answer, batch by batch; nothing but the batch at hand is held.
pub trait RowWriter: Send {
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;

    /// Writes what stands at the end, and flushes.
    fn finish(&mut self) -> Result<()>;
}

impl RowFormat {
    /// A writer of rows of this schema.
    ///
    /// # Errors
    /// When the place to write to fails, or the format has no word for a type of the schema.
    pub fn writer<'a>(
        self,
        schema: &SchemaRef,
        out: Box<dyn Write + Send + 'a>,
    ) -> Result<Box<dyn RowWriter + 'a>> {
        Ok(match self {
            Self::Csv => Box::new(Csv::new(schema, out)?),
            Self::Json => Box::new(Json::array(out)),
            Self::Ndjson => Box::new(Json::lines(out)),
            Self::Parquet => Box::new(ParquetFile::new(schema, out)?),
            Self::Arrow => Box::new(ArrowStream::new(schema, out)?),
        })
    }
}

/// What to say when the place we write to fails us.
pub(crate) fn written<T, E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    result: Result<T, E>,
) -> Result<T> {
    result.unavailable(|| "could not write the answer".to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use arrow::array::ArrayRef;
    use arrow::array::Int64Array;
    use arrow::array::StringArray;

    use super::*;

    /// Wide letters, empty text, NULL, quotes.
    pub(crate) fn sample() -> RecordBatch {
        let names = StringArray::from(vec![Some("東京"), Some(""), None, Some("say \"hi\", now")]);
        let counts = Int64Array::from(vec![Some(1), Some(-20), None, Some(300)]);
        RecordBatch::try_from_iter_with_nullable([
            ("name", Arc::new(names) as ArrayRef, true),
            ("count", Arc::new(counts) as ArrayRef, true),
        ])
        .unwrap()
    }

    pub(crate) fn bytes_as(format: RowFormat, batch: &RecordBatch) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = format.writer(&batch.schema(), Box::new(&mut bytes)).unwrap();
        writer.write(batch).unwrap();
        writer.finish().unwrap();
        drop(writer);
        bytes
    }

    pub(crate) fn written_as(format: RowFormat, batch: &RecordBatch) -> String {
        String::from_utf8(bytes_as(format, batch)).unwrap()
    }
}
