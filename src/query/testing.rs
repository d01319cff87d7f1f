//! Test only: a small lake in memory, written as the store writes it, and sessions over it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::Int64Array;
use arrow::array::StringArray;
use arrow::array::TimestampMicrosecondArray;
use arrow::compute::SortColumn;
use arrow::compute::lexsort_to_indices;
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::basic::Encoding;
use parquet::file::properties::WriterProperties;

use crate::error::Result;
use crate::ids::PersonId;
use crate::person::Aliases;
use crate::person::Person;
use crate::person::Persons;
use crate::query::Queries;
use crate::query::QueryConfig;
use crate::query::Session;
use crate::query::hot::HotColumns;
use crate::schema::Columns;
use crate::schema::Definition;
use crate::schema::Property;
use crate::schema::Registry;
use crate::storage::Index;
use crate::storage::People;
use crate::storage::Sidecar;
use crate::storage::SidecarBuilder;
use crate::storage::Times;
use crate::storage::snapshot::DataFile;
use crate::storage::snapshot::Snapshot;
use crate::storage::snapshot::TableFiles;
use crate::time::Day;
use crate::time::Micros;
use crate::time::parse_instant;

/// The start of the days that tests use: 2026-06-01.
pub(crate) fn june(day: i32) -> Day {
    Day(Day::of(parse_instant("2026-06-01T00:00:00Z", None).unwrap()).0 + day - 1)
}

/// One event without its properties: person, second of the day, and a number that makes its id.
pub(crate) type Row = (i64, i64, i64);

#[derive(Debug)]
pub(crate) struct TestLake {
    store: Arc<dyn ObjectStore>,
    definitions: BTreeMap<String, Arc<Definition>>,
    files: BTreeMap<String, Vec<DataFile>>,
    persons: Persons,
    seq: i64,
    index: Arc<Index>,
    /// Every so manieth file gets an index; 0 for none.
    index_every: usize,
    written: usize,
}

impl TestLake {
    pub(crate) fn new() -> Self {
        Self {
            store: Arc::new(InMemory::new()),
            definitions: BTreeMap::new(),
            files: BTreeMap::new(),
            persons: Persons::default(),
            seq: 0,
            index: Arc::new(Index::in_memory()),
            index_every: 0,
            written: 0,
        }
    }

    /// Gives every so manieth file that is written from now on an index; 0 gives it to none.
    pub(crate) fn index_every(&mut self, files: usize) {
        self.index_every = files;
    }

    pub(crate) fn define(&mut self, id: &str, properties: Vec<Property>) {
        let definition = Definition::external(id.parse().unwrap(), id, properties);
        self.definitions.insert(id.to_owned(), Arc::new(definition));
        self.files.entry(id.to_owned()).or_default();
    }

    pub(crate) fn person(&mut self, id: i64, external_id: Option<&str>) {
        let person =
            Person { id: PersonId(id), external_id: external_id.map(str::to_owned), created: Micros(id) };
        self.persons.add(person, []);
    }

    /// Merges a person into another.
    pub(crate) fn merge(&mut self, from: i64, into: i64) {
        self.persons.aliases_mut().merge(PersonId(from), PersonId(into));
    }

    /// The merges in force are these, whatever they were.
    pub(crate) fn merges_are(&mut self, merges: &[(i64, i64)]) {
        let merges = merges.iter().map(|(from, into)| (PersonId(*from), PersonId(*into)));
        self.persons.aliases_mut().replace(Aliases::of(merges));
    }

    /// The number that the next event gets.
    pub(crate) fn next_seq(&self) -> i64 {
        self.seq + 1
    }

    /// The files of a day are gone.
    pub(crate) fn clear(&mut self, id: &str, day: Day) {
        if let Some(files) = self.files.get_mut(id) {
            files.retain(|file| file.day != day);
        }
    }

    /// Writes one file of one day; `properties` in the order of the definition, a value for each row.
    pub(crate) async fn write(&mut self, id: &str, day: Day, rows: &[Row], properties: Vec<ArrayRef>) {
        let rows: Vec<Row> = rows.iter().map(|row| (row.0, row.1 * 1_000_000, row.2)).collect();
        self.write_exactly(id, day, &rows, properties).await;
    }

    /// The same with the microsecond of the day in the place of the second.
    pub(crate) async fn write_exactly(
        &mut self,
        id: &str,
        day: Day,
        rows: &[Row],
        properties: Vec<ArrayRef>,
    ) {
        let schema = Arc::clone(Columns::of(&self.definitions[id]).file_schema());
        let times: Vec<i64> = rows.iter().map(|row| day.start().0 + row.1).collect();
        let utc = |times: Vec<i64>| TimestampMicrosecondArray::from(times).with_timezone("UTC");
        let seqs: Vec<i64> = rows.iter().enumerate().map(|(at, _)| self.seq + 1 + at as i64).collect();
        self.seq += rows.len() as i64;
        let ids: StringArray = rows.iter().map(|row| Some(format!("e{}", row.2))).collect();
        let sessions: StringArray = rows.iter().map(|_| None::<&str>).collect();
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
            Arc::new(utc(times.clone())),
            Arc::new(Int64Array::from(seqs)),
            Arc::new(ids),
            Arc::new(sessions),
            Arc::new(utc(times.clone())),
        ];
        columns.extend(properties);
        let batch = RecordBatch::try_new(schema, columns).unwrap();
        let keys = (0..3).map(|at| SortColumn { values: Arc::clone(batch.column(at)), options: None });
        let order = lexsort_to_indices(&keys.collect::<Vec<_>>(), None).unwrap();
        let sorted = take_record_batch(&batch, &order).unwrap();

        // Never the name of a file that was there before.
        let number = self.seq;
        let path = format!("lake/{id}/day={}/{number}.parquet", day.iso());
        let kept = Times::that_keep(times.iter().copied());
        let bytes = parquet_bytes(&kept.of_rows(&sorted, &kept.schema(sorted.schema_ref())).unwrap());
        let persons = rows.iter().map(|row| row.0);
        let file = DataFile {
            path: path.clone(),
            bytes: bytes.len() as u64,
            rows: rows.len() as u64,
            day,
            persons: (persons.clone().min().unwrap(), persons.max().unwrap()),
            times: (Micros(*times.iter().min().unwrap()), Micros(*times.iter().max().unwrap())),
        };
        self.written += 1;
        if self.index_every > 0 && self.written.is_multiple_of(self.index_every) {
            let mut builder = SidecarBuilder::new(rows.len(), kept);
            builder.add(&sorted).unwrap();
            let sidecar = builder.finish(file.bytes).unwrap();
            self.index.hold(&file, Sidecar::read(sidecar.into()).unwrap());
        }
        self.store.put(&Path::from(path), bytes.into()).await.unwrap();
        self.files.get_mut(id).unwrap().push(file);
    }

    /// Adds a property to a definition; the files written so far lack it.
    pub(crate) fn extend(&mut self, id: &str, property: Property) {
        let mut definition = self.definitions[id].as_ref().clone();
        definition.properties.push(property);
        self.definitions.insert(id.to_owned(), Arc::new(definition));
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        let tables = self.definitions.iter().map(|(id, definition)| {
            let mut files = self.files[id].clone();
            files.sort_by(|one, other| (one.day, &one.path).cmp(&(other.day, &other.path)));
            (id.clone(), Arc::new(TableFiles { definition: Arc::clone(definition), files }))
        });
        Arc::new(Snapshot {
            tables: tables.collect(),
            registry: Arc::new(Registry::new(self.definitions.values().map(|one| one.as_ref().clone()))),
            persons: Arc::new(self.persons.clone().into()),
            people: People::default(),
            index: Arc::clone(&self.index),
        })
    }

    pub(crate) fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    pub(crate) fn session(&self) -> Session {
        self.session_within(256 << 20)
    }

    pub(crate) fn session_within(&self, memory_bytes: usize) -> Session {
        self.session_of(&queries(memory_bytes))
    }

    /// A session that keeps no columns in memory.
    pub(crate) fn session_that_forgets(&self) -> Session {
        let mut queries = queries(256 << 20);
        queries.hot = Arc::new(HotColumns::new(0));
        self.session_of(&queries)
    }

    fn session_of(&self, queries: &Queries) -> Session {
        queries.session(self.snapshot(), self.store(), &[]).unwrap()
    }
}

fn queries(memory_bytes: usize) -> Queries {
    queries_of(memory_bytes, 2)
}

/// What all sessions share, with so much memory and so many threads.
pub(crate) fn queries_of(memory_bytes: usize, threads: usize) -> Queries {
    let spill_dir = std::env::temp_dir().join("milepost-query-tests");
    Queries::new(QueryConfig { memory_bytes, threads, spill_dir }).unwrap()
}

fn parquet_bytes(rows: &RecordBatch) -> Vec<u8> {
    let packed = ["personId", "occurredTime", "seq", "receivedTime"];
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(Default::default()))
        .set_max_row_group_row_count(Some(10_000));
    for name in packed {
        properties = properties
            .set_column_dictionary_enabled(name.into(), false)
            .set_column_encoding(name.into(), Encoding::DELTA_BINARY_PACKED)
            .set_column_compression(name.into(), Compression::UNCOMPRESSED);
    }
    let properties = properties.set_column_bloom_filter_enabled("eventId".into(), true).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).unwrap();
    writer.write(rows).unwrap();
    writer.into_inner().unwrap()
}

/// The answer as a table of text without borders: one line a row, values separated by `|`.
pub(crate) async fn ask(session: &Session, sql: &str) -> Result<Vec<String>> {
    let rows = session.run(sql).await?.collect().await?;
    let table = pretty_format_batches(&rows).unwrap().to_string();
    let line = |line: &str| {
        let cells = line.trim_matches('|').split('|').map(str::trim);
        cells.collect::<Vec<_>>().join("|")
    };
    Ok(table.lines().filter(|one| one.starts_with('|')).skip(1).map(line).collect())
}
