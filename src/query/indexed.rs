//! What can be known of a file without its rows: who is in it and when, from the index beside it, or from three columns
//! of the file where there is none; and the texts of one column as small numbers.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::RecordBatch;
use arrow::array::StringArray;
use arrow::array::UInt16Array;
use arrow::array::UInt32Array;
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Int32Type;
use arrow::datatypes::Int64Type;
use arrow::datatypes::Schema;
use arrow::datatypes::UInt16Type;
use arrow::datatypes::UInt32Type;
use bytes::Bytes;
use datafusion::common::DataFusionError;
use datafusion::common::Result;
use datafusion::common::internal_datafusion_err;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::ParquetFileReaderFactory;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::TryStreamExt;
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::parquet_to_arrow_schema;

use crate::query::files::LakeFile;
use crate::query::scan::Lake;
use crate::query::scan::partitioned_file;
use crate::schema::OCCURRED_TIME;
use crate::schema::PERSON_ID;
use crate::schema::SEQ;
use crate::storage::Sidecar;
use crate::storage::SidecarBuilder;

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 1 << 18;

/// Reads of the files of one lake.
#[derive(Clone, Debug)]
pub(crate) struct Indexed {
    lake: Arc<Lake>,
    files: Arc<dyn ParquetFileReaderFactory>,
}

impl Indexed {
    pub(crate) fn new(lake: Arc<Lake>, runtime: &RuntimeEnv) -> Result<Self> {
        let store = runtime.object_store(&lake.url)?;
        let cache = runtime.cache_manager.get_file_metadata_cache();
        Ok(Self { lake, files: Arc::new(CachedParquetFileReaderFactory::new(store, cache)) })
    }

    pub(crate) fn lake(&self) -> &Arc<Lake> {
        &self.lake
    }

    /// How many of the files have an index.
    pub(crate) fn count<'a>(&self, files: impl IntoIterator<Item = &'a LakeFile>) -> usize {
        let index = &self.lake.snapshot.index;
        files.into_iter().filter(|one| index.head(one.file()).is_some()).count()
    }

    /// The index of a file, and whether it was there; else it is made in memory. `None` when the file cannot have one,
    /// because its persons are not numbered densely.
    pub(crate) async fn of(&self, one: &LakeFile) -> Result<Option<(Arc<Sidecar>, bool)>> {
        let index = &self.lake.snapshot.index;
        if let Some(sidecar) = index.open(one.file()) {
            return Ok(Some((sidecar, true)));
        }
        let rows = usize::try_from(one.file().rows).unwrap_or(0);
        let mut builder: Option<SidecarBuilder> = None;
        for batch in self.read(one, &[PERSON_ID, OCCURRED_TIME, SEQ], None).await? {
            let times = batch.schema_ref().field_with_name(OCCURRED_TIME)?;
            let builder = builder.get_or_insert_with(|| SidecarBuilder::of_field(rows, times));
            builder.add(&batch).map_err(|error| DataFusionError::External(Box::new(error)))?;
        }
        let made = builder.and_then(|builder| builder.finish(one.file().bytes));
        let made = made.and_then(|bytes| Sidecar::read(Bytes::from(bytes)));
        Ok(made.map(|sidecar| (index.hold(one.file(), sidecar), false)))
    }

    /// The persons of a file that cannot have an index, as they are stored, in its order.
    pub(crate) async fn persons(&self, one: &LakeFile) -> Result<Vec<i64>> {
        let mut persons: Vec<i64> = Vec::new();
        for batch in self.read(one, &[PERSON_ID], None).await? {
            let column = batch.column(0).as_primitive_opt::<Int64Type>();
            let column = column.ok_or_else(|| internal_datafusion_err!("{PERSON_ID} is no number"))?;
            persons.extend_from_slice(column.values());
            persons.dedup();
        }
        Ok(persons)
    }

    /// The numbers of the events of a file, in its order.
    pub(crate) async fn seqs(&self, one: &LakeFile) -> Result<Vec<i64>> {
        let mut seqs = Vec::with_capacity(usize::try_from(one.file().rows).unwrap_or(0));
        for batch in self.read(one, &[SEQ], None).await? {
            let column = batch.column(0).as_primitive_opt::<Int64Type>();
            let column = column.ok_or_else(|| internal_datafusion_err!("the column {SEQ} is no number"))?;
            seqs.extend_from_slice(column.values());
        }
        Ok(seqs)
    }

    /// One column of texts of a file, by the name that it has there. Kept in memory as other columns are.
    pub(crate) async fn codes(&self, one: &LakeFile, column: &str) -> Result<Codes> {
        let path = partitioned_file(one, &Schema::empty()).object_meta.location;
        // No column has such a name.
        let names = [format!("{column}\u{0}codes"), format!("{column}\u{0}texts")];
        if let Some(held) = self.lake.hot.get(&path, names.iter().map(String::as_str))
            && let [keys, texts] = held.as_slice()
            && let Some(codes) = Codes::of(keys, texts)
        {
            return Ok(codes);
        }
        let rows = usize::try_from(one.file().rows).unwrap_or(0);
        let (keys, texts) = numbered(self.read(one, &[column], Some(column)).await?, rows)?;
        let codes = Codes::of(&keys, &texts);
        self.lake.hot.put(&path, &names[0], keys);
        self.lake.hot.put(&path, &names[1], texts);
        codes.ok_or_else(|| internal_datafusion_err!("the texts of a column got no numbers"))
    }

    /// Some columns of a file, without those that it lacks; one of them as a dictionary.
    async fn read(
        &self,
        one: &LakeFile,
        columns: &[&str],
        as_codes: Option<&str>,
    ) -> Result<Vec<RecordBatch>> {
        let file = partitioned_file(one, &Schema::empty());
        let metrics = ExecutionPlanMetricsSet::new();
        let mut input: Box<dyn AsyncFileReader> = self.files.create_reader(0, file, None, &metrics)?;
        let metadata = input.get_metadata(None).await?;
        let known = metadata.file_metadata();
        let stored = parquet_to_arrow_schema(known.schema_descr(), known.key_value_metadata())?;
        let fields = stored.fields().iter().map(|field| {
            let field = field.as_ref().clone();
            if Some(field.name().as_str()) == as_codes {
                let kind = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
                field.with_data_type(kind)
            } else {
                field
            }
        });
        let fields: Vec<Field> = fields.collect();
        let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields)));
        let metadata = ArrowReaderMetadata::try_new(metadata, options)?;
        let roots: Vec<usize> = stored
            .fields()
            .iter()
            .enumerate()
            .filter(|(_, field)| columns.contains(&field.name().as_str()))
            .map(|(at, _)| at)
            .collect();
        if roots.is_empty() {
            return Ok(Vec::new());
        }
        let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
        let rows = usize::try_from(one.file().rows).unwrap_or(BATCH_ROWS);
        Ok(ParquetRecordBatchStreamBuilder::new_with_metadata(input, metadata)
            .with_projection(mask)
            .with_batch_size(rows.clamp(1, BATCH_ROWS))
            .build()?
            .try_collect()
            .await?)
    }
}

/// The texts of a column as numbers, row by row; NULL has the number behind all texts.
#[derive(Clone, Debug)]
pub(crate) struct Codes {
    pub(crate) keys: Keys,
    pub(crate) texts: StringArray,
}

/// Numbers, as narrow as they can be.
#[derive(Clone, Debug)]
pub(crate) enum Keys {
    Narrow(ScalarBuffer<u16>),
    Wide(ScalarBuffer<u32>),
}

impl Codes {
    fn of(keys: &ArrayRef, texts: &ArrayRef) -> Option<Self> {
        let texts = texts.as_string_opt::<i32>()?.clone();
        let keys = match keys.as_primitive_opt::<UInt16Type>() {
            Some(narrow) => Keys::Narrow(narrow.values().clone()),
            None => Keys::Wide(keys.as_primitive_opt::<UInt32Type>()?.values().clone()),
        };
        Some(Self { keys, texts })
    }

    /// The number of the text of a row.
    pub(crate) fn code(&self, row: usize) -> usize {
        match &self.keys {
            Keys::Narrow(keys) => keys.get(row).map_or(0, |key| usize::from(*key)),
            Keys::Wide(keys) => keys.get(row).map_or(0, |key| *key as usize),
        }
    }

    /// For 64 rows from `64 * word` on, a bit for each whose number is marked.
    pub(crate) fn marked(&self, word: usize, marks: &[bool]) -> u64 {
        match &self.keys {
            Keys::Narrow(keys) => bits(keys, word, |key| marks[usize::from(*key)]),
            Keys::Wide(keys) => bits(keys, word, |key| marks[*key as usize]),
        }
    }

    /// The same for the rows of one number.
    pub(crate) fn equal(&self, word: usize, code: usize) -> u64 {
        match (&self.keys, u16::try_from(code), u32::try_from(code)) {
            (Keys::Narrow(keys), Ok(code), _) => bits(keys, word, |key| *key == code),
            (Keys::Wide(keys), _, Ok(code)) => bits(keys, word, |key| *key == code),
            _ => 0,
        }
    }
}

#[inline]
fn bits<T>(keys: &[T], word: usize, is: impl Fn(&T) -> bool) -> u64 {
    let first = (word * 64).min(keys.len());
    let chunk = &keys[first..(first + 64).min(keys.len())];
    let mut bits = 0;
    // Eight at a time, which the compiler does at once.
    for (at, eight) in chunk.chunks(8).enumerate() {
        let mut some = 0_u64;
        for (bit, key) in eight.iter().enumerate() {
            some |= u64::from(is(key)) << bit;
        }
        bits |= some << (at * 8);
    }
    bits
}

/// The texts of all batches, each once, and the number of each row.
fn numbered(batches: Vec<RecordBatch>, rows: usize) -> Result<(ArrayRef, ArrayRef)> {
    let mut known: HashMap<String, u32> = HashMap::new();
    let mut texts: Vec<String> = Vec::new();
    let mut keys: Vec<u32> = Vec::with_capacity(rows);
    for batch in &batches {
        let column = batch.column(0).as_dictionary_opt::<Int32Type>();
        let column = column.ok_or_else(|| internal_datafusion_err!("a column was not read as codes"))?;
        let values = column.values().as_string_opt::<i32>();
        let values = values.ok_or_else(|| internal_datafusion_err!("a column of texts has none"))?;
        let mut codes = Vec::with_capacity(values.len());
        for text in values.iter().map(Option::unwrap_or_default) {
            let code = known.get(text).copied().unwrap_or_else(|| {
                let code = u32::try_from(texts.len()).unwrap_or(u32::MAX);
                texts.push(text.to_owned());
                known.insert(text.to_owned(), code);
                code
            });
            codes.push(code);
        }
        let null = u32::MAX;
        let code = |key: i32| usize::try_from(key).ok().and_then(|key| codes.get(key)).copied();
        let of = column.keys();
        match of.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => keys.extend(of.values().iter().map(|key| code(*key).unwrap_or(null))),
            Some(nulls) => keys.extend(
                of.values().iter().zip(nulls).map(
                    |(key, is_there)| {
                        if is_there { code(*key).unwrap_or(null) } else { null }
                    },
                ),
            ),
        }
    }
    // A file that lacks the column.
    keys.resize(rows, u32::MAX);
    let null = u32::try_from(texts.len()).unwrap_or(u32::MAX);
    let narrow = u16::try_from(null).is_ok();
    let texts: ArrayRef = Arc::new(StringArray::from(texts));
    let keys = keys.into_iter().map(|key| key.min(null));
    let keys: ArrayRef = if narrow {
        Arc::new(UInt16Array::from_iter_values(keys.map(|key| u16::try_from(key).unwrap_or(u16::MAX))))
    } else {
        Arc::new(UInt32Array::from_iter_values(keys))
    };
    Ok((keys, texts))
}
