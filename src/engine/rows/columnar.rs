//! Answers as Parquet files and Arrow streams, for programs.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::engine::rows::RowWriter;
use crate::engine::rows::written;
use crate::error::Result;

/// One Parquet file; a row group is held until it is full.
pub(crate) struct ParquetFile<'a> {
    writer: ArrowWriter<Box<dyn Write + Send + 'a>>,
}

impl<'a> ParquetFile<'a> {
    pub(crate) fn new(schema: &SchemaRef, out: Box<dyn Write + Send + 'a>) -> Result<Self> {
        let properties =
            WriterProperties::builder().set_compression(Compression::ZSTD(Default::default())).build();
        let writer = written(ArrowWriter::try_new(out, SchemaRef::clone(schema), Some(properties)))?;
        Ok(Self { writer })
    }
}

impl RowWriter for ParquetFile<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        written(self.writer.write(batch))
    }

    fn finish(&mut self) -> Result<()> {
        written(self.writer.finish())?;
        written(self.writer.inner_mut().flush())
    }
}

/// An Arrow IPC stream.
pub(crate) struct ArrowStream<'a> {
    writer: StreamWriter<Box<dyn Write + Send + 'a>>,
}

impl<'a> ArrowStream<'a> {
    pub(crate) fn new(schema: &SchemaRef, out: Box<dyn Write + Send + 'a>) -> Result<Self> {
        Ok(Self { writer: written(StreamWriter::try_new(out, schema))? })
    }
}

impl RowWriter for ArrowStream<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        written(self.writer.write(batch))
    }

    fn finish(&mut self) -> Result<()> {
        written(self.writer.finish())?;
        written(self.writer.flush())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::RecordBatch;
    use arrow::ipc::reader::StreamReader;
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

    use crate::engine::rows::RowFormat;
    use crate::engine::rows::tests::bytes_as;
    use crate::engine::rows::tests::sample;

    #[test]
    fn a_parquet_file_reads_back_to_the_same_rows() {
        let bytes = Bytes::from(bytes_as(RowFormat::Parquet, &sample()));
        let read: Vec<RecordBatch> =
            ParquetRecordBatchReader::try_new(bytes, 1024).unwrap().map(|batch| batch.unwrap()).collect();
        assert_eq!(read, [sample()]);
    }

    #[test]
    fn an_arrow_stream_reads_back_to_the_same_rows() {
        let bytes = bytes_as(RowFormat::Arrow, &sample());
        let read: Vec<RecordBatch> =
            StreamReader::try_new(bytes.as_slice(), None).unwrap().map(|batch| batch.unwrap()).collect();
        assert_eq!(read, [sample()]);
    }
}
