//! Reads the column `personId` of one file and nothing else, as fast as Parquet gives it up: no rows, no Arrow.

use std::sync::Arc;

use bytes::Buf;
use bytes::Bytes;
use datafusion::common::DataFusionError;
use datafusion::common::Result;
use datafusion::common::internal_err;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use object_store::ObjectMeta;
use object_store::ObjectStore;
use parquet::column::page::PageReader;
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::Int64Type;
use parquet::errors::ParquetError;
use parquet::file::reader::ChunkReader;
use parquet::file::reader::Length;
use parquet::file::serialized_reader::SerializedPageReader;

use crate::schema::PERSON_ID;

/// How many values are decoded at once.
const BATCH: usize = 8_192;

/// Where the files of the lake are, and what is remembered of their footers.
#[derive(Clone, Debug)]
pub(crate) struct Footers {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) cache: Arc<FileMetadataCache>,
}

/// Calls `on` with the first of each run of equal persons, in the order of the file. In a file that is sorted by
/// person, as those of the lake are, that is every person once.
pub(crate) async fn for_each_run(
    footers: &Footers,
    file: &ObjectMeta,
    mut on: impl FnMut(i64),
) -> Result<()> {
    let metadata = DFParquetMetadata::new(footers.store.as_ref(), file)
        .with_file_metadata_cache(Some(Arc::clone(&footers.cache)))
        .fetch_metadata()
        .await?;
    let columns = metadata.file_metadata().schema_descr();
    let found = (0..columns.num_columns()).find(|at| columns.column(*at).path().string() == PERSON_ID);
    let Some(at) = found else {
        return internal_err!("a file of the lake has no column {PERSON_ID}");
    };
    let ranges = metadata.row_groups().iter().map(|group| {
        let (start, length) = group.column(at).byte_range();
        start..start + length
    });
    let ranges: Vec<_> = ranges.collect();
    let chunks = footers.store.get_ranges(&file.location, &ranges).await?;
    let mut last = None;
    for (group, bytes) in metadata.row_groups().iter().zip(chunks) {
        let chunk = group.column(at);
        let (start, _) = chunk.byte_range();
        let rows =
            usize::try_from(group.num_rows()).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let pages = SerializedPageReader::new(Arc::new(Chunk { start, bytes }), chunk, rows, None)?;
        let pages: Box<dyn PageReader> = Box::new(pages);
        let mut reader = ColumnReaderImpl::<Int64Type>::new(columns.column(at), pages);
        let optional = columns.column(at).max_def_level() > 0;
        let (mut values, mut levels) = (Vec::with_capacity(BATCH), Vec::new());
        loop {
            values.clear();
            levels.clear();
            let (records, ..) =
                reader.read_records(BATCH, optional.then_some(&mut levels), None, &mut values)?;
            if records == 0 {
                break;
            }
            for value in &values {
                if last != Some(*value) {
                    last = Some(*value);
                    on(*value);
                }
            }
        }
    }
    Ok(())
}

/// The bytes of one column of one row group, at their place in the file.
struct Chunk {
    start: u64,
    bytes: Bytes,
}

impl Chunk {
    fn at(&self, place: u64) -> Result<usize, ParquetError> {
        let offset = place.checked_sub(self.start).and_then(|offset| usize::try_from(offset).ok());
        offset
            .filter(|offset| *offset <= self.bytes.len())
            .ok_or_else(|| ParquetError::EOF(format!("{place} is outside the column {PERSON_ID}")))
    }
}

impl Length for Chunk {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Chunk {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.bytes.slice(self.at(start)?..).reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let from = self.at(start)?;
        match from.checked_add(length).filter(|to| *to <= self.bytes.len()) {
            Some(to) => Ok(self.bytes.slice(from..to)),
            None => {
                Err(ParquetError::EOF(format!("{length} bytes from {start} leave the column {PERSON_ID}")))
            }
        }
    }
}
