//! How a data file is written: encodings by column, sort order, page index, bloom filter, and durable when done.
//!
//! What is read most (who and when) is delta-packed, times without more compression, of which they would get no smaller;
//! all else is dictionary and zstd, but numbers, times and flags of small files are snappy. A file holds the events of one
//! definition and one UTC day, sorted by `(personId, occurredTime, seq)`.

use std::fs::File;
use std::path::Path;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::Compression;
use parquet::basic::Encoding;
use parquet::basic::ZstdLevel;
use parquet::file::metadata::KeyValue;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::EnabledStatistics;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use crate::error::Context;
use crate::error::Result;
use crate::schema::EVENT_ID;
use crate::schema::OCCURRED_TIME;
use crate::schema::PERSON_ID;
use crate::schema::SEQ;
use crate::schema::SESSION_ID;
use crate::storage::keys::SortKeys;
use crate::storage::shape::Times;
use crate::storage::sidecar;
use crate::storage::stats;
use crate::storage::stats::FileStats;

/// Rows of a row group: small enough that the cores share a file of a busy day, large enough for its dictionaries.
const ROW_GROUP_ROWS: usize = 262_144;
/// Rows of a page, the least that a point read decodes.
const PAGE_ROWS: usize = 20_000;
/// The share of the ids that are not in a row group that its bloom filter lets through when it has the number of rows
/// that it was made for: with just under four bits for each.
const BLOOM_FALSE_POSITIVES: f64 = 0.313;
/// A file of so many rows has its numbers compressed as its texts are.
const ZSTD_NUMBERS_ROWS: usize = 2_048;
/// Integers that would fill a larger dictionary than this are most likely ids, which zstd makes smaller as they are.
const INTEGER_DICTIONARY_BYTES: usize = 8 << 10;
/// Version of what is written here, for whoever looks at a file alone; the catalog guards the whole directory.
const FORMAT_VERSION: &str = "1";
/// The key under which the version stands in a file.
const FORMAT_KEY: &str = "milepost.format";

/// A data file in the making. Dropped before it is finished, it leaves a torn file that nothing names.
pub(crate) struct DataFileWriter {
    writer: ArrowWriter<File>,
    schema: SchemaRef,
    times: Times,
    /// Its sidecar in the making, and where that will be.
    sidecar: Option<(sidecar::Builder, PathBuf)>,
}

/// A data file that will survive a power loss (its name will once its folder is synced).
#[derive(Debug)]
pub(crate) struct WrittenFile {
    pub bytes: u64,
    pub stats: FileStats,
}

impl DataFileWriter {
    /// Makes the file, in a folder that is there, for at most `rows` rows of `schema`, which all occurred at times that
    /// `times` can keep.
    pub(crate) fn create(path: &Path, schema: &SchemaRef, rows: usize, times: Times) -> Result<Self> {
        let doing = || format!("could not make the data file \"{}\"", path.display());
        let file = File::create(path).unavailable(doing)?;
        let schema = times.schema(schema);
        let options = ArrowWriterOptions::new()
            .with_properties(properties(&schema, rows))
            .with_skip_arrow_metadata(true);
        let writer =
            ArrowWriter::try_new_with_options(file, SchemaRef::clone(&schema), options).internal(doing)?;
        Ok(Self { writer, schema, times, sidecar: None })
    }

    /// The same with a sidecar at `path`, if there is one, for about so many rows.
    pub(crate) fn with_sidecar(mut self, path: Option<PathBuf>, rows: usize) -> Self {
        self.sidecar = path.map(|path| (sidecar::Builder::new(rows, self.times), path));
        self
    }

    /// Adds rows that follow, in the sort order, those that are there.
    pub(crate) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        if let Some((sidecar, _)) = &mut self.sidecar {
            sidecar.take(&SortKeys::of(rows)?);
        }
        let rows = self.times.of_rows(rows, &self.schema)?;
        self.writer.write(&rows).unavailable(|| "could not write a data file".to_owned())
    }

    pub(crate) fn finish(mut self) -> Result<WrittenFile> {
        let doing = || "could not finish a data file".to_owned();
        let metadata = self.writer.finish().unavailable(doing)?;
        let file = self.writer.inner();
        file.sync_all().unavailable(doing)?;
        let bytes = file.metadata().unavailable(doing)?.len();
        if let Some((sidecar, path)) = self.sidecar
            && let Some(sidecar) = sidecar.finish(bytes)
        {
            sidecar::write(&path, &sidecar);
        }
        Ok(WrittenFile { bytes, stats: stats::of_file(&self.schema, &metadata)? })
    }
}

fn properties(schema: &SchemaRef, rows: usize) -> WriterProperties {
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let sorted_by = [PERSON_ID, OCCURRED_TIME, SEQ];
    let sorting = sorted_by.iter().filter_map(|name| {
        let column_idx = i32::try_from(schema.index_of(name).ok()?).ok()?;
        Some(SortingColumn { column_idx, descending: false, nulls_first: false })
    });
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("milepost ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(vec![KeyValue::new(FORMAT_KEY.to_owned(), FORMAT_VERSION.to_owned())]))
        .set_sorting_columns(Some(sorting.collect()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_compression(zstd)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(rows <= PAGE_ROWS);
    // Numbers, times and flags are small once their dictionary has taken them; opening a zstd stream for each of many
    // small files costs more than it saves.
    let numbers = if rows < ZSTD_NUMBERS_ROWS { Compression::SNAPPY } else { zstd };
    for name in sorted_by {
        let column = ColumnPath::from(name);
        // Times of many persons have nothing in common that a compressor would find.
        let compression = if name == OCCURRED_TIME { Compression::UNCOMPRESSED } else { numbers };
        // Only columns in sort order have pages worth skipping, when there is more than one.
        let statistics = if rows <= PAGE_ROWS { EnabledStatistics::Chunk } else { EnabledStatistics::Page };
        builder = builder
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column.clone(), Encoding::DELTA_BINARY_PACKED)
            .set_column_compression(column.clone(), compression)
            .set_column_statistics_enabled(column, statistics);
    }
    for field in schema.fields().iter().filter(|field| !sorted_by.contains(&field.name().as_str())) {
        let column = ColumnPath::from(field.name().as_str());
        if field.data_type().is_primitive() || field.data_type() == &DataType::Boolean {
            builder = builder.set_column_compression(column.clone(), numbers);
        }
        if field.data_type() == &DataType::Int64 {
            builder = builder.set_column_dictionary_page_size_limit(column, INTEGER_DICTIONARY_BYTES);
        }
    }
    // Ids never repeat, so a dictionary only costs; of the other encodings this is the smallest for random ids and
    // within a tenth of the smallest for counted ones.
    let event_id = ColumnPath::from(EVENT_ID);
    // Ids of sessions repeat, but next to each other, where zstd sees it without the places in a dictionary.
    let session_id = ColumnPath::from(SESSION_ID);
    builder
        .set_column_dictionary_enabled(session_id.clone(), false)
        .set_column_encoding(session_id, Encoding::DELTA_LENGTH_BYTE_ARRAY)
        .set_column_dictionary_enabled(event_id.clone(), false)
        .set_column_encoding(event_id.clone(), Encoding::DELTA_LENGTH_BYTE_ARRAY)
        .set_column_bloom_filter_enabled(event_id.clone(), true)
        .set_column_bloom_filter_fpp(event_id.clone(), BLOOM_FALSE_POSITIVES)
        .set_column_bloom_filter_max_ndv(event_id, bloom_rows(rows.min(ROW_GROUP_ROWS)))
        .build()
}

/// For how many rows the filter of so many is made. Its bytes are a power of two, so this is the nearest one, up or down:
/// three to six bits a row, four in the middle.
fn bloom_rows(rows: usize) -> u64 {
    let rows = rows.max(1) as u64;
    let below = 1 << rows.ilog2();
    // The middle between two powers of two by their ratio.
    if rows * rows > 2 * below * below { 2 * below } else { below }
}
