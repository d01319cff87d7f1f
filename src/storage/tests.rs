//! The store as a whole, on a real disk: what is committed is there, once, sorted, and readable by others.

mod crash;
mod index;
mod past;
mod script;
mod shape;

use std::collections::BTreeSet;
use std::fs;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::Int64Array;
use arrow::array::RecordBatch;
use arrow::array::StringArray;
use arrow::array::TimestampMicrosecondArray;
use arrow::array::new_null_array;
use arrow::datatypes::Int64Type;
use tempfile::TempDir;

use super::*;
use crate::error::Kind;
use crate::ids::PersonId;
use crate::person::Identifier;
use crate::person::IdentifierType;
use crate::person::Person;
use crate::schema::Columns;
use crate::schema::Definition;
use crate::schema::EVENT_ID;
use crate::schema::EventBatch;
use crate::schema::OCCURRED_TIME;
use crate::schema::PERSON_ID;
use crate::schema::Property;
use crate::schema::RECEIVED_TIME;
use crate::schema::SEQ;
use crate::storage::keys::SortKeys;
use crate::time::Day;
use crate::time::MICROS_PER_DAY;
use crate::time::Micros;
use crate::time::StoppedClock;
use crate::value::ScalarType;

/// One event: its sequence number, person, day and time of day.
type Event = (i64, i64, i64, i64);

fn definition(id: &str, properties: &[&str]) -> Definition {
    Definition::external(
        id.parse().unwrap(),
        id,
        properties.iter().map(|name| Property::scalar(*name, ScalarType::String)).collect(),
    )
}

fn events(storage: &Storage, id: &str, events: &[Event]) -> EventBatch {
    let definition = Arc::clone(storage.registry().get(id).unwrap());
    let schema = Arc::clone(Columns::of(&definition).file_schema());
    let columns = schema
        .fields()
        .iter()
        .map(|field| -> ArrayRef {
            let times = |pick: &dyn Fn(&Event) -> i64| {
                let times = TimestampMicrosecondArray::from_iter_values(events.iter().map(pick));
                Arc::new(times.with_timezone("UTC"))
            };
            match field.name().as_str() {
                PERSON_ID => Arc::new(Int64Array::from_iter_values(events.iter().map(|event| event.1))),
                OCCURRED_TIME => times(&|event| event.2 * MICROS_PER_DAY + event.3),
                RECEIVED_TIME => times(&|_| 7),
                SEQ => Arc::new(Int64Array::from_iter_values(events.iter().map(|event| event.0))),
                EVENT_ID => Arc::new(StringArray::from_iter_values(
                    events.iter().map(|event| format!("e{}", event.0)),
                )),
                "path" => Arc::new(StringArray::from_iter_values(
                    events.iter().map(|event| format!("/{}", event.0 % 3)),
                )),
                _ => new_null_array(field.data_type(), events.len()),
            }
        })
        .collect();
    EventBatch { definition, rows: RecordBatch::try_new(schema, columns).unwrap() }
}

/// Events of several days and persons, in an order that is not that of the files.
fn some(from: i64, count: i64, days: i64) -> Vec<Event> {
    (from..from + count).map(|seq| (seq, 1 + seq * 31 % 17, seq % days, (seq * 7919) % 100)).collect()
}

fn config(dir: &TempDir) -> StorageConfig {
    let clock = Arc::new(StoppedClock::at(Micros(1_000_000 * MICROS_PER_DAY / 50)));
    StorageConfig { threads: 2, grace: Duration::ZERO, ..StorageConfig::new(dir.path(), clock) }
}

async fn open(dir: &TempDir) -> Arc<Storage> {
    let storage = Storage::open(config(dir)).await.unwrap();
    if storage.registry().find("view").is_none() {
        storage.define([definition("view", &["path"]), definition("buy", &[])]).unwrap();
    }
    storage
}

fn batch(storage: &Storage, from: i64, count: i64) -> Batch {
    let rows = some(from, count, 3);
    let (first, second) = rows.split_at(rows.len() / 2);
    let events =
        vec![events(storage, "view", first), events(storage, "buy", &rows), events(storage, "view", second)];
    for seq in from..from + count {
        storage.event_ids().unwrap().check(u128::try_from(seq).unwrap(), 1).unwrap();
    }
    Batch { events, last_seq: from + count - 1, ..Batch::default() }
}

fn read(storage: &Storage, file: &DataFile) -> RecordBatch {
    let open = File::open(storage.layout().local(&file.path)).unwrap();
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(open).unwrap().with_batch_size(1 << 20).build().unwrap();
    let batches: Vec<RecordBatch> = reader.map(|batch| batch.unwrap()).collect();
    let rows = arrow::compute::concat_batches(batches[0].schema_ref(), &batches).unwrap();
    let definition = file.path.split('/').next().unwrap();
    let columns = Columns::of(storage.registry().get(definition).unwrap());
    to_schema(&rows, columns.file_schema()).unwrap()
}

/// The sequence numbers of all events of a table, ordered; every file is checked on the way.
async fn seqs(storage: &Storage, id: &str) -> Vec<i64> {
    let snapshot = storage.snapshot().await.unwrap();
    let mut seqs = Vec::new();
    for file in &snapshot.tables[id].files {
        let rows = read(storage, file);
        let keys = SortKeys::of(&rows).unwrap();
        let keys: Vec<_> = (0..keys.len()).map(|row| keys.key(row)).collect();
        assert!(keys.is_sorted(), "{} is not sorted", file.path);
        assert!(keys.iter().all(|key| key.1.div_euclid(MICROS_PER_DAY) == i64::from(file.day.0)));
        assert_eq!(file.rows, keys.len() as u64);
        assert_eq!(file.persons, (keys[0].0, keys[keys.len() - 1].0));
        let times = || keys.iter().map(|key| Micros(key.1));
        assert_eq!(file.times, (times().min().unwrap(), times().max().unwrap()));
        seqs.extend(keys.iter().map(|key| key.2));
    }
    seqs.sort_unstable();
    seqs
}

/// Every data file on disk and every file that a table has: the same, unless there are orphans.
async fn assert_no_orphans(storage: &Storage) {
    let snapshot = storage.snapshot().await.unwrap();
    let named: BTreeSet<String> =
        snapshot.tables.values().flat_map(|table| table.files.iter().map(|file| file.path.clone())).collect();
    let mut there = BTreeSet::new();
    let lake = storage.layout().lake();
    let mut folders = vec![lake.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let within = path.strip_prefix(&lake).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if layout::is_data_file(&within) {
                there.insert(within);
            }
        }
    }
    assert_eq!(there, named);
    index::assert_true(storage, &snapshot);
    assert!(!storage.layout().writing().try_exists().unwrap());
}

fn quiet() -> Arc<OnProgress> {
    Arc::new(|_| {})
}

#[tokio::test]
async fn a_batch_reads_back_sorted_and_whole() {
    let dir = TempDir::new().unwrap();
    let storage = open(&dir).await;
    let number = storage.commit(batch(&storage, 1, 1000)).await.unwrap();
    assert_eq!(number, 1);
    let all: Vec<i64> = (1..=1000).collect();
    assert_eq!(seqs(&storage, "view").await, all);
    assert_eq!(seqs(&storage, "buy").await, all);

    let snapshot = storage.snapshot().await.unwrap();
    let days: Vec<_> = snapshot.tables["view"].files.iter().map(|file| file.day).collect();
    assert_eq!(days, [Day(0), Day(1), Day(2)]);
    let rows = read(&storage, &snapshot.tables["view"].files[0]);
    for row in 0..rows.num_rows() {
        let seq = rows.column_by_name(SEQ).unwrap().as_primitive::<Int64Type>().value(row);
        let text = |name: &str| rows.column_by_name(name).unwrap().as_string::<i32>().value(row).to_owned();
        assert_eq!((text(EVENT_ID), text("path")), (format!("e{seq}"), format!("/{}", seq % 3)));
    }
    assert_no_orphans(&storage).await;
    drop(storage);

    let storage = open(&dir).await;
    assert_eq!(seqs(&storage, "view").await, all);
    assert_eq!(storage.catalog().last_seq().unwrap(), 1000);
}

/// `(seq, event id)` of all events of a table.
async fn numbered(storage: &Storage, id: &str) -> Vec<(i64, String)> {
    let snapshot = storage.snapshot().await.unwrap();
    let mut found = Vec::new();
    for file in &snapshot.tables[id].files {
        let rows = read(storage, file);
        let seqs = rows.column_by_name(SEQ).unwrap().as_primitive::<Int64Type>().values().to_vec();
        let ids = rows.column_by_name(EVENT_ID).unwrap().as_string::<i32>();
        found.extend(seqs.into_iter().zip(ids.iter().map(|id| id.unwrap().to_owned())));
    }
    found
}

#[tokio::test]
async fn new_numbers_rise_by_definition_day_person_and_time_and_ties_stay_in_the_order_of_arrival() {
    let dir = TempDir::new().unwrap();
    let storage = open(&dir).await;
    let views = [(11, 2, 1, 5), (12, 2, 0, 9), (15, 1, 0, 9), (16, 1, 0, 9), (14, 1, 0, 9)];
    let buys = [(17, 1, 0, 0), (13, 3, 0, 0)];
    let events = || vec![events(&storage, "view", &views), events(&storage, "buy", &buys)];
    storage
        .commit(Batch { events: events(), last_seq: 17, renumber: true, ..Batch::default() })
        .await
        .unwrap();
    let named = |rows: &[(i64, &str)]| -> Vec<(i64, String)> {
        rows.iter().map(|(seq, id)| (*seq, (*id).to_owned())).collect()
    };
    assert_eq!(numbered(&storage, "buy").await, named(&[(11, "e17"), (12, "e13")]));
    let expected = named(&[(13, "e14"), (14, "e15"), (15, "e16"), (16, "e12"), (17, "e11")]);
    assert_eq!(numbered(&storage, "view").await, expected);
}

#[tokio::test]
async fn numbers_with_a_gap_are_kept_so_that_none_is_given_twice() {
    let dir = TempDir::new().unwrap();
    let storage = open(&dir).await;
    let events = vec![events(&storage, "buy", &[(21, 2, 0, 0), (23, 1, 0, 0)])];
    storage.commit(Batch { events, last_seq: 23, renumber: true, ..Batch::default() }).await.unwrap();
    assert_eq!(numbered(&storage, "buy").await, [(23, "e23".to_owned()), (21, "e21".to_owned())]);
}

#[tokio::test]
async fn a_snapshot_is_the_same_object_until_something_changes_and_then_stays_as_it_was() {
    let dir = TempDir::new().unwrap();
    let storage = open(&dir).await;
    storage.commit(batch(&storage, 1, 10)).await.unwrap();
    let before = storage.snapshot().await.unwrap();
    assert!(Arc::ptr_eq(&before, &storage.snapshot().await.unwrap()));
    storage.commit(batch(&storage, 11, 10)).await.unwrap();
    let after = storage.snapshot().await.unwrap();
    assert_eq!(before.tables["view"].files.len() + 3, after.tables["view"].files.len());
    storage.define([definition("late", &[])]).unwrap();
    assert!(storage.snapshot().await.unwrap().tables.contains_key("late"));
}

#[tokio::test]
async fn totals_count_days_files_rows_and_bytes() {
    let dir = TempDir::new().unwrap();
    let storage = open(&dir).await;
    storage.commit(batch(&storage, 1, 10)).await.unwrap();
    storage.commit(batch(&storage, 11, 2)).await.unwrap();
    let totals = storage.totals().await.unwrap();
    let view = totals.iter().find(|one| one.definition == "view").unwrap();
    assert_eq!((view.days, view.files, view.rows), (3, 5, 12));
    assert_eq!((view.first_day, view.last_day), (Day(0), Day(2)));
    let bytes: u64 = storage.snapshot().await.unwrap().tables["view"]
        .files
        .iter()
        .map(|file| fs::metadata(storage.layout().local(&file.path)).unwrap().len())
        .sum();
    assert_eq!(view.bytes, bytes);
    assert_eq!(totals.len(), 2);
}

#[tokio::test]
async fn compaction_makes_one_sorted_file_a_day_and_keeps_every_event_once() {
    let dir = TempDir::new().unwrap();
    let storage = open(&dir).await;
    for number in 0..5 {
        storage.commit(batch(&storage, 1 + number * 100, 100)).await.unwrap();
    }
    let held = storage.snapshot().await.unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let done = storage.compact(Arc::new(move |progress| tell.lock().unwrap().push(progress))).await.unwrap();
    assert_eq!((done.files_before, done.files_after, done.rows), (30, 6, 1000));
    let last = *told.lock().unwrap().last().unwrap();
    assert_eq!(last.bytes_done, last.bytes_total);
    assert_eq!(seqs(&storage, "view").await, (1..=500).collect::<Vec<_>>());
    assert_eq!(storage.snapshot().await.unwrap().tables["view"].files.len(), 3);

    // The files of a snapshot that is held stay, whatever the grace, and go when it goes.
    assert_eq!(done.files_removed, 0);
    assert_eq!(
        held.tables["view"].files.iter().map(|file| read(&storage, file).num_rows()).sum::<usize>(),
        500
    );
    drop(held);
    assert_eq!(storage.vacuum(Duration::from_secs(1)).await.unwrap(), 0);
    assert_eq!(storage.vacuum(Duration::ZERO).await.unwrap(), 30);
    assert_no_orphans(&storage).await;
    assert_eq!(storage.compact(quiet()).await.unwrap(), Compacted::default());
}

#[tokio::test]
async fn a_large_day_becomes_files_of_about_the_target_size_in_order() {
    let dir = TempDir::new().unwrap();
    drop(open(&dir).await);
    let storage = Storage::open(StorageConfig { target_file_bytes: 12_000, ..config(&dir) }).await.unwrap();
    for number in 0..20 {
        let rows = some(1 + number * 200, 200, 1);
        let events = vec![events(&storage, "view", &rows)];
        storage.commit(Batch { events, last_seq: 0, ..Batch::default() }).await.unwrap();
    }
    storage.compact(quiet()).await.unwrap();
    assert_eq!(seqs(&storage, "view").await, (1..=4000).collect::<Vec<_>>());
    let snapshot = storage.snapshot().await.unwrap();
    let files = &snapshot.tables["view"].files;
    assert!((2..8).contains(&files.len()), "{files:?}");
    let mut bounds: Vec<_> = files.iter().map(|file| file.persons).collect();
    bounds.sort_unstable();
    assert!(bounds.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{bounds:?}");
}

#[tokio::test]
async fn properties_that_came_later_are_columns_of_the_table_and_null_in_old_rows() {
    let dir = TempDir::new().unwrap();
    let storage = open(&dir).await;
    let old = events(&storage, "view", &some(1, 10, 1));
    storage.commit(Batch { events: vec![old.clone()], ..Batch::default() }).await.unwrap();
    storage.define([definition("view", &["path", "note"])]).unwrap();
    // Rows that were checked before the change and come after it are taken too.
    let late = EventBatch { rows: events(&storage, "view", &some(11, 5, 1)).rows, ..old };
    storage.commit(Batch { events: vec![late], ..Batch::default() }).await.unwrap();
    let table = storage.tables.load("view").await.unwrap().unwrap();
    let names: Vec<String> = table.state().schema().fields().map(|field| field.name().clone()).collect();
    let expected =
        ["day", "personId", "occurredTime", "seq", "eventId", "sessionId", "receivedTime", "path", "note"];
    assert_eq!(names, expected);
    assert_eq!(table.state().metadata().partition_columns(), &["day"]);

    storage.compact(quiet()).await.unwrap();
    assert_eq!(seqs(&storage, "view").await, (1..=15).collect::<Vec<_>>());
    let snapshot = storage.snapshot().await.unwrap();
    let rows = read(&storage, &snapshot.tables["view"].files[0]);
    assert_eq!(rows.column_by_name("note").unwrap().null_count(), 15);
    assert_eq!(rows.column_by_name("path").unwrap().null_count(), 0);
}

#[tokio::test]
async fn a_reader_beside_the_writer_sees_what_was_committed_and_writes_nothing() {
    let dir = TempDir::new().unwrap();
    let storage = open(&dir).await;
    storage.commit(batch(&storage, 1, 10)).await.unwrap();
    let reader = Storage::open(StorageConfig { read_only: true, ..config(&dir) }).await.unwrap();
    assert_eq!(seqs(&reader, "view").await.len(), 10);

    let person = Person { id: PersonId(1), external_id: Some("x".to_owned()), created: Micros(0) };
    let phone = Identifier { kind: IdentifierType::Phone, id: "385".to_owned(), sender: String::new() };
    let mut next = batch(&storage, 11, 10);
    next.persons.push((person, vec![phone.clone()]));
    storage.commit(next).await.unwrap();
    storage.define([definition("late", &[])]).unwrap();

    assert_eq!(seqs(&reader, "view").await.len(), 20);
    let snapshot = reader.snapshot().await.unwrap();
    assert_eq!(snapshot.persons.all().unwrap().find(&phone), Some(PersonId(1)));
    assert!(snapshot.tables.contains_key("late"));
    assert!(Arc::ptr_eq(&snapshot, &reader.snapshot().await.unwrap()));
    assert_eq!(storage.persons().unwrap().find(&phone), Some(PersonId(1)));

    assert_eq!(reader.commit(Batch::default()).await.unwrap_err().kind(), Kind::Invalid);
    assert_eq!(reader.compact(quiet()).await.unwrap_err().kind(), Kind::Invalid);
    assert_eq!(reader.define([]).unwrap_err().kind(), Kind::Invalid);
    let missing = StorageConfig { read_only: true, ..config(&TempDir::new().unwrap()) };
    assert_eq!(Storage::open(missing).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn many_commits_are_kept_short_by_checkpoints() {
    let dir = TempDir::new().unwrap();
    let storage = open(&dir).await;
    for number in 0..45 {
        let events = vec![events(&storage, "buy", &some(1 + number, 1, 1))];
        storage.commit(Batch { events, last_seq: 1 + number, ..Batch::default() }).await.unwrap();
    }
    let log = storage.layout().local("buy/_delta_log");
    let made = |name: &str| log.join(name).try_exists().unwrap();
    assert!(made("00000000000000000020.checkpoint.parquet"));
    assert!(made("00000000000000000040.checkpoint.parquet"));
    assert!(made("_last_checkpoint"));
    drop(storage);
    let storage = open(&dir).await;
    assert_eq!(seqs(&storage, "buy").await, (1..=45).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_event_of_an_impossible_day_fails_the_batch_and_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    let storage = open(&dir).await;
    let rows = events(&storage, "view", &[(1, 1, 0, 0), (2, 1, 10_000_000, 0)]);
    storage.event_ids().unwrap().check(1, 1).unwrap();
    let failed = storage.commit(Batch { events: vec![rows], ..Batch::default() }).await.unwrap_err();
    assert_eq!(failed.kind(), Kind::Invalid);
    assert_eq!(storage.event_ids().unwrap().check(1, 1).unwrap(), event_ids::Verdict::New);
    assert_no_orphans(&storage).await;
}

#[tokio::test]
async fn a_data_file_is_encoded_as_its_readers_expect() {
    use ::parquet::basic::Compression;
    use ::parquet::basic::Encoding;
    let dir = TempDir::new().unwrap();
    let storage = open(&dir).await;
    storage.commit(batch(&storage, 1, 1000)).await.unwrap();
    let snapshot = storage.snapshot().await.unwrap();
    let of_file = metadata(&storage.layout().local(&snapshot.tables["view"].files[0].path));
    let file = of_file.file_metadata();
    assert!(file.created_by().unwrap().starts_with("milepost "));
    assert!(file.key_value_metadata().unwrap().iter().any(|pair| pair.key == "milepost.format"));
    let group = of_file.row_group(0);
    let sorting: Vec<_> = group.sorting_columns().unwrap().iter().map(|one| one.column_idx).collect();
    assert_eq!(sorting, [0, 1, 2]);
    let codecs = [Compression::SNAPPY, Compression::UNCOMPRESSED, Compression::SNAPPY];
    for (column, codec) in codecs.into_iter().enumerate() {
        let column = group.column(column);
        assert_eq!(column.compression(), codec);
        let encodings: Vec<Encoding> = column.encodings().collect();
        assert!(encodings.contains(&Encoding::DELTA_BINARY_PACKED), "{encodings:?}");
        // One page has nothing to skip.
        assert!(column.column_index_offset().is_none() && column.offset_index_offset().is_none());
    }
    assert!(group.column(3).bloom_filter_offset().is_some());
    assert_eq!(group.column(5).compression(), Compression::SNAPPY);
    assert!(matches!(group.column(6).compression(), Compression::ZSTD(_)));

    // The events are of three days.
    storage.commit(batch(&storage, 1001, 70_000)).await.unwrap();
    let snapshot = storage.snapshot().await.unwrap();
    let largest = snapshot.tables["view"].files.iter().max_by_key(|file| file.rows).unwrap();
    let metadata = metadata(&storage.layout().local(&largest.path));
    let group = metadata.row_group(0);
    for column in 0..3 {
        assert!(group.column(column).column_index_offset().is_some());
    }
    assert!(matches!(group.column(0).compression(), Compression::ZSTD(_)));
    // Between three and six bits for each of 23,000 ids.
    let filter = group.column(3).bloom_filter_length().unwrap();
    assert!((23_000 * 3 / 8..23_000 * 6 / 8).contains(&filter), "{filter}");
}

fn metadata(path: &Path) -> ::parquet::file::metadata::ParquetMetaData {
    let file = File::open(path).unwrap();
    ParquetRecordBatchReaderBuilder::try_new(file).unwrap().metadata().as_ref().clone()
}
