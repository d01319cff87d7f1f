//! What files leave out, and that nobody misses it: microseconds that are all zero, and properties that nothing has.

use arrow::datatypes::DataType;
use arrow::datatypes::TimeUnit;

use super::*;
use crate::storage::parquet::DataFileWriter;

fn at(seq: i64, day: i64, micros: i64) -> Event {
    (seq, 1 + seq % 3, day, micros)
}

async fn commit(storage: &Arc<Storage>, id: &str, rows: &[Event]) {
    let last_seq = rows.iter().map(|event| event.0).max().unwrap();
    let batch = Batch { events: vec![events(storage, id, rows)], last_seq, ..Batch::default() };
    storage.commit(batch).await.unwrap();
}

/// The columns of each file of a table, and the unit of its times.
async fn shapes(storage: &Storage, id: &str) -> Vec<(TimeUnit, Vec<String>)> {
    let snapshot = storage.snapshot().await.unwrap();
    let shape = |file: &DataFile| {
        let open = File::open(storage.layout().local(&file.path)).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(open).unwrap();
        let names = reader.schema().fields().iter().map(|field| field.name().clone()).collect();
        match reader.schema().field_with_name(OCCURRED_TIME).unwrap().data_type() {
            DataType::Timestamp(unit, Some(_)) => (*unit, names),
            other => panic!("{other}"),
        }
    };
    snapshot.tables[id].files.iter().map(shape).collect()
}

#[tokio::test]
async fn times_are_in_milliseconds_where_all_of_a_file_are_whole_ones() {
    let dir = TempDir::new().unwrap();
    let storage = open(&dir).await;
    // Days 0 and 1 are whole, day 2 has one time that is not.
    let rows = [at(1, 0, 5_000), at(2, 0, 1_000), at(3, 1, 0), at(4, 2, 7_000), at(5, 2, 7_001)];
    commit(&storage, "buy", &rows).await;
    let units: Vec<_> = shapes(&storage, "buy").await.into_iter().map(|one| one.0).collect();
    assert_eq!(units, [TimeUnit::Millisecond, TimeUnit::Millisecond, TimeUnit::Microsecond]);
    // Reads each file and compares it with the bounds in the log.
    assert_eq!(seqs(&storage, "buy").await, [1, 2, 3, 4, 5]);

    // Day 0 gets a time that is not whole, day 1 another whole one.
    commit(&storage, "buy", &[at(6, 0, 999), at(7, 1, 86_399_999_000)]).await;
    storage.compact(quiet()).await.unwrap();
    let units: Vec<_> = shapes(&storage, "buy").await.into_iter().map(|one| one.0).collect();
    assert_eq!(units, [TimeUnit::Microsecond, TimeUnit::Millisecond, TimeUnit::Microsecond]);
    assert_eq!(seqs(&storage, "buy").await, [1, 2, 3, 4, 5, 6, 7]);
    let snapshot = storage.snapshot().await.unwrap();
    let times: Vec<_> = snapshot.tables["buy"].files.iter().map(|file| file.times.0.0).collect();
    assert_eq!(times, [999, MICROS_PER_DAY, 2 * MICROS_PER_DAY + 7_000]);
    drop(storage);
    let storage = open(&dir).await;
    assert_eq!(seqs(&storage, "buy").await, [1, 2, 3, 4, 5, 6, 7]);
}

#[tokio::test]
async fn whole_times_in_microseconds_as_earlier_versions_wrote_them_become_milliseconds() {
    let dir = TempDir::new().unwrap();
    let storage = open(&dir).await;
    let schema = Arc::clone(Columns::of(storage.registry().get("buy").unwrap()).file_schema());
    let write = |name: &str, micros: i64| {
        let path = dir.path().join(name);
        let mut writer = DataFileWriter::create(&path, &schema, 2, Times::Micros).unwrap();
        writer.write(&events(&storage, "buy", &[at(3, 0, 1_000), at(6, 0, micros)]).rows).unwrap();
        let written = writer.finish().unwrap();
        assert_eq!(written.stats.times, (Micros(1_000), Micros(micros)));
        path
    };
    let (whole, fine) = (write("whole", 2_000), write("fine", 2_001));
    assert_eq!(
        crate::storage::shape::of_files(&schema, std::slice::from_ref(&whole)).unwrap().1,
        Times::Millis
    );
    assert_eq!(crate::storage::shape::of_files(&schema, &[whole, fine]).unwrap().1, Times::Micros);
}

#[tokio::test]
async fn a_property_that_no_event_has_is_in_no_file_and_comes_back_with_the_first_that_has_it() {
    let dir = TempDir::new().unwrap();
    let storage = open(&dir).await;
    storage.define([definition("look", &["note", "path"])]).unwrap();
    let system = ["personId", "occurredTime", "seq", "eventId", "sessionId", "receivedTime"];
    let mut with_path = system.map(str::to_owned).to_vec();
    with_path.push("path".to_owned());
    commit(&storage, "look", &[at(1, 0, 0)]).await;
    assert_eq!(shapes(&storage, "look").await[0].1, with_path);

    let mut rows = events(&storage, "look", &[at(2, 0, 0)]);
    let mut columns = rows.rows.columns().to_vec();
    columns[6] = Arc::new(StringArray::from(vec!["new"]));
    columns[7] = new_null_array(&DataType::Utf8, 1);
    rows.rows = RecordBatch::try_new(rows.rows.schema(), columns).unwrap();
    storage.commit(Batch { events: vec![rows], last_seq: 2, ..Batch::default() }).await.unwrap();
    storage.compact(quiet()).await.unwrap();
    let snapshot = storage.snapshot().await.unwrap();
    let all = read(&storage, &snapshot.tables["look"].files[0]);
    assert_eq!(shapes(&storage, "look").await[0].1.len(), 8);
    let texts = |at: usize| all.column(at).as_string::<i32>().iter().map(|one| one.map(str::to_owned));
    assert_eq!(texts(6).collect::<Vec<_>>(), [None, Some("new".to_owned())]);
    assert_eq!(texts(7).collect::<Vec<_>>(), [Some("/1".to_owned()), None]);
}
