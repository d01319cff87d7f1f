//! A few columns of a data file, read in parts.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::FutureExt;
use futures::StreamExt;
use futures::TryFutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::metadata::ParquetMetaDataReader;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::storage;

/// The footer of a data file.
pub(crate) async fn footer(
    lake: Arc<dyn ObjectStore>,
    location: Path,
    bytes: u64,
) -> parquet::errors::Result<Arc<ParquetMetaData>> {
    let mut reader = Reader { lake, location };
    let metadata = ParquetMetaDataReader::new().with_prefetch_hint(Some(FOOTER_BYTES));
    metadata.load_and_finish(&mut reader, bytes).await.map(Arc::new)
}

/// What the footer of most files fits in.
const FOOTER_BYTES: usize = 32 << 10;

/// A data file whose footer was read.
pub(crate) async fn open(
    lake: Arc<dyn ObjectStore>,
    path: &str,
) -> Result<ParquetRecordBatchStreamBuilder<Reader>> {
    let location = Path::parse(path).internal(|| format!("\"{path}\" is not a path of a data file"))?;
    let builder = ParquetRecordBatchStreamBuilder::new(Reader { lake, location }).await;
    builder.unavailable(|| format!("could not read \"{path}\""))
}

/// These columns of a data file, as far as it has them, times in microseconds.
pub(crate) async fn columns(
    lake: Arc<dyn ObjectStore>,
    path: &str,
    names: &[&str],
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    rows(open(lake, path).await?, path, names)
}

/// The same of an open file, with what was chosen of it.
pub(crate) fn rows(
    builder: ParquetRecordBatchStreamBuilder<Reader>,
    path: &str,
    names: &[&str],
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let message = format!("could not read \"{path}\"");
    let mask = ProjectionMask::columns(builder.parquet_schema(), names.iter().copied());
    let rows = builder.with_projection(mask).build().unavailable(|| message.clone())?;
    Ok(rows
        .map(move |batch| {
            let batch = batch.map_err(|error| Error::unavailable(message.clone()).with_source(error))?;
            storage::in_micros(batch)
        })
        .boxed())
}

/// Reads parts of an object.
pub(crate) struct Reader {
    lake: Arc<dyn ObjectStore>,
    location: Path,
}

fn foreign(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        self.lake.get_range(&self.location, range).map_err(foreign).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let size = self.lake.head(&self.location).await.map_err(foreign)?.size;
            let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options);
            reader.load_and_finish(self, size).await.map(Arc::new)
        }
        .boxed()
    }
}
