//! Whole imports into a store on a real disk.

use std::fmt::Write;
use std::fs;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;

use arrow::array::AsArray;
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use arrow::datatypes::TimestampMicrosecondType;
use hashbrown::HashMap;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;

use super::*;
use crate::error::Kind;
use crate::ids::PersonId;
use crate::ingest::Quiet;
use crate::ingest::source::ObjectStoreOptions;
use crate::ingest::source::expand;
use crate::person::IdentifierType;
use crate::schema::Columns;
use crate::schema::Definition;
use crate::schema::Property;
use crate::storage;
use crate::storage::StorageConfig;
use crate::storage::steps::Step as Reached;
use crate::storage::steps::Steps;
use crate::time::Micros;
use crate::time::StoppedClock;
use crate::value::ScalarType;

const NOW: Micros = Micros(1_780_000_000_000_000);

/// Stops the nth commit before it is recorded, as a crash would.
#[derive(Debug)]
struct StopAt(AtomicUsize);

impl Steps for StopAt {
    fn reached(&self, step: Reached) -> Result<()> {
        if step == Reached::IdsSealed && self.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            return Err(Error::unavailable("the power went"));
        }
        Ok(())
    }
}

struct Fixture {
    dir: TempDir,
    clock: Arc<StoppedClock>,
}

impl Fixture {
    /// A store with the definitions `sale(amount, item)` and `visit(n)`.
    async fn new() -> (Self, Arc<Storage>) {
        let fixture = Self { dir: TempDir::new().unwrap(), clock: Arc::new(StoppedClock::at(NOW)) };
        let storage = fixture.open(None).await;
        let numeric = |name: &str| Property::scalar(name, ScalarType::Numeric);
        let sale = definition("sale", vec![numeric("amount"), Property::scalar("item", ScalarType::String)]);
        storage.define([sale, definition("visit", vec![numeric("n")])]).unwrap();
        (fixture, storage)
    }

    async fn open(&self, steps: Option<Arc<dyn Steps>>) -> Arc<Storage> {
        let clock: SharedClock = Arc::<StoppedClock>::clone(&self.clock);
        let config = StorageConfig { steps, ..StorageConfig::new(self.dir.path().join("data"), clock) };
        Storage::open(config).await.unwrap()
    }

    fn write(&self, name: &str, lines: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, lines).unwrap();
        path
    }

    fn importer(&self, storage: &Arc<Storage>, options: ImportOptions) -> Importer {
        let clock: SharedClock = Arc::<StoppedClock>::clone(&self.clock);
        Importer::new(Arc::clone(storage), clock, options)
    }

    async fn import_with(
        &self,
        storage: &Arc<Storage>,
        paths: &[PathBuf],
        options: ImportOptions,
    ) -> Result<Report> {
        let inputs: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        let sources = expand(&inputs, "-", &ObjectStoreOptions::default()).unwrap();
        self.importer(storage, options).import(sources, Box::new(Quiet)).await
    }

    async fn import(&self, storage: &Arc<Storage>, lines: &str) -> Report {
        let path = self.write("events.jsonl", lines);
        self.import_with(storage, &[path], ImportOptions::default()).await.unwrap()
    }

    async fn replay(&self, storage: &Arc<Storage>, options: ImportOptions) -> Report {
        self.importer(storage, options).replay(Box::new(Quiet)).await.unwrap()
    }
}

fn definition(id: &str, properties: Vec<Property>) -> Definition {
    Definition::external(id.parse().unwrap(), id, properties)
}

/// `(seq, person, first property, receivedTime)` of all events of a definition, by `seq`.
async fn stored(storage: &Storage, id: &str) -> Vec<(i64, i64, i64, i64)> {
    let snapshot = storage.snapshot().await.unwrap();
    let table = &snapshot.tables[id];
    let schema = Arc::clone(Columns::of(&table.definition).file_schema());
    let batches: Vec<_> = table
        .files
        .iter()
        .flat_map(|file| {
            let file = File::open(storage.layout().local(&file.path)).unwrap();
            ParquetRecordBatchReaderBuilder::try_new(file)
                .unwrap()
                .build()
                .unwrap()
                .map(|batch| batch.unwrap())
        })
        .map(|batch| storage::to_schema(&batch, &schema).unwrap())
        .collect();
    let all = concat_batches(&schema, &batches).unwrap();
    let integers = |at: usize| all.column(at).as_primitive::<Int64Type>().values().to_vec();
    let received = all.column(5).as_primitive::<TimestampMicrosecondType>().values().to_vec();
    let mut rows: Vec<_> = integers(2)
        .into_iter()
        .zip(integers(0))
        .zip(integers(6))
        .zip(received)
        .map(|(((seq, person), first), received)| (seq, person, first, received))
        .collect();
    rows.sort_unstable();
    rows
}

fn sale(keys: &str, amount: i64) -> String {
    format!(
        "{{\"definitionId\":\"sale\",\"occurredTime\":\"2026-06-01T00:00:00Z\",{keys},\"properties\":{{\"amount\":{amount}}}}}\n"
    )
}

fn reasons(report: &Report) -> Vec<(&'static str, u64)> {
    report.reasons.iter().map(|(code, count)| (code.name(), *count)).collect()
}

#[test]
fn what_persons_take_comes_off_the_batches() {
    let room = |persons| room_beside(persons, BATCH_BYTES) >> 20;
    assert_eq!([0, 200_000, 2_000_000, 50_000_000].map(room), [208, 195, 85, 52]);
    assert_eq!(room_beside(usize::MAX, 1), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn br19_a_retry_is_ignored_a_conflict_refused_and_rows_without_ids_stay_apart() {
    let (fixture, storage) = Fixture::new().await;
    let person = "\"externalPersonId\":\"a\"";
    let e1 = |amount| sale(&format!("{person},\"eventId\":\"e1\""), amount);
    let lines = [e1(5), e1(5), e1(6), sale(person, 7), sale(person, 7)].concat();
    let report = fixture.import(&storage, &lines).await;
    assert_eq!((report.rows, report.stored, report.duplicates, report.refused), (5, 3, 1, 1));
    assert_eq!(reasons(&report), [("event_conflict", 1)]);
    assert_eq!(report.samples[0].row, 3);
    assert!(report.samples[0].message.contains("\"e1\""), "{}", report.samples[0].message);
    drop(storage);

    // Three days later, after a restart and a compaction.
    fixture.clock.set(Micros(NOW.0 + 3 * 86_400_000_000));
    let storage = fixture.open(None).await;
    storage.compact(Arc::new(|_| {})).await.unwrap();
    let retry = fixture.write("retry.jsonl", &[e1(5), e1(6)].concat());
    let report = fixture.import_with(&storage, &[retry], ImportOptions::default()).await.unwrap();
    assert_eq!((report.stored, report.duplicates, report.refused), (0, 1, 1));
    let events = stored(&storage, "sale").await;
    assert_eq!(events.iter().map(|event| event.2).sum::<i64>(), 19);
    assert_eq!(events, [(1, 1, 5, NOW.0), (2, 1, 7, NOW.0), (3, 1, 7, NOW.0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_import_again_adds_nothing() {
    let (fixture, storage) = Fixture::new().await;
    let lines = [sale("\"personId\":7", 1), sale("\"personId\":7", 1), sale("\"personId\":0", 1)].concat();
    let first = fixture.import(&storage, &lines).await;
    assert_eq!((first.stored, first.refused, first.persons_created), (2, 1, 1));

    let path = fixture.dir.path().join("events.jsonl");
    let skipped =
        fixture.import_with(&storage, std::slice::from_ref(&path), ImportOptions::default()).await.unwrap();
    assert_eq!((skipped.rows, skipped.stored), (0, 0));
    assert!(
        skipped.notes[0].ends_with("was imported before and has not changed; skipped"),
        "{:?}",
        skipped.notes
    );

    let again = ImportOptions { again: true, ..ImportOptions::default() };
    let report = fixture.import_with(&storage, &[path], again).await.unwrap();
    assert_eq!((report.rows, report.stored, report.duplicates, report.refused), (3, 0, 2, 1));
    assert_eq!(storage.catalog().rejected(0, 10).unwrap().len(), 1);
    assert_eq!(stored(&storage, "sale").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn very_many_small_sources_are_one_batch_and_are_not_all_named_when_skipped() {
    let (fixture, storage) = Fixture::new().await;
    let paths: Vec<PathBuf> =
        (0..25).map(|n| fixture.write(&format!("{n}.jsonl"), &sale("\"personId\":1", n))).collect();
    let report = fixture.import_with(&storage, &paths, ImportOptions::default()).await.unwrap();
    assert_eq!((report.stored, storage.catalog().next_batch().unwrap()), (25, 2));
    assert_eq!(storage.catalog().sources().unwrap().iter().filter(|one| one.finished).count(), 25);
    let again = fixture.import_with(&storage, &paths, ImportOptions::default()).await.unwrap();
    assert_eq!((again.rows, again.notes.len()), (0, 11));
    assert_eq!(again.notes[10], "and 15 more that were imported before and have not changed; skipped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_and_persons_keep_the_order_of_the_input_over_chunks_and_threads() {
    let (fixture, storage) = Fixture::new().await;
    let mut lines = String::new();
    for n in 0..40_000 {
        let id = if n % 3 == 0 { "sale" } else { "visit" };
        let property = if n % 3 == 0 { "amount" } else { "n" };
        let person = n * 7_919 % 501;
        writeln!(
            lines,
            "{{\"definitionId\":\"{id}\",\"occurredTime\":{n},\"identifier\":{{\"type\":\"EMAIL\",\"id\":\"{person}@example.net\"}},\"{property}\":{n}}}{:70}",
            ""
        )
        .unwrap();
    }
    let path = fixture.write("many.jsonl", &lines);
    assert!(lines.len() > 3 * 2 * 1024 * 1024, "several chunks, {}", lines.len());
    let options = ImportOptions { threads: 3, batch_bytes: 1 << 20, ..ImportOptions::default() };
    let report = fixture.import_with(&storage, &[path], options).await.unwrap();
    assert_eq!((report.stored, report.refused, report.persons_created), (40_000, 0, 501));
    assert!(storage.catalog().next_batch().unwrap() > 2, "several batches");

    let mut events = stored(&storage, "sale").await;
    events.extend(stored(&storage, "visit").await);
    events.sort_unstable();
    assert!((1..).zip(&events).all(|(seq, event)| event.0 == seq), "no gap in seq");
    events.sort_unstable_by_key(|event| event.2);
    // Persons are numbered as they appear, 0 first.
    let mut numbers = HashMap::new();
    let mut last_of = HashMap::new();
    for (n, (seq, person, value, received)) in (0..).zip(events) {
        let next = i64::try_from(numbers.len()).unwrap() + 1;
        let expected = *numbers.entry(n * 7_919 % 501).or_insert(next);
        assert_eq!((person, value, received), (expected, n, NOW.0));
        let before = last_of.insert((person, n % 3 == 0), seq);
        assert!(before.is_none_or(|before| before < seq), "event {n} has the number {seq} after {before:?}");
    }
    assert_eq!(storage.catalog().last_seq().unwrap(), 40_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_import_goes_on_behind_its_last_batch() {
    let (fixture, storage) = Fixture::new().await;
    drop(storage);
    let mut lines = String::new();
    for n in 0..30_000 {
        let amount = if n % 1_000 == 500 { "\"x\"".to_owned() } else { n.to_string() };
        writeln!(
            lines,
            "{{\"definitionId\":\"sale\",\"occurredTime\":{n},\"externalPersonId\":\"p{}\",\"amount\":{amount}}}{:120}",
            n % 10,
            ""
        )
        .unwrap();
    }
    let path = fixture.write("many.jsonl", &lines);
    let options = ImportOptions { batch_bytes: 1, ..ImportOptions::default() };
    let crashing = fixture.open(Some(Arc::new(StopAt(AtomicUsize::new(2))))).await;
    let error =
        fixture.import_with(&crashing, std::slice::from_ref(&path), options.clone()).await.unwrap_err();
    assert_eq!(error.message(), "the power went");
    drop(crashing);

    let storage = fixture.open(None).await;
    let before = storage.catalog().last_seq().unwrap();
    assert!((1..29_970).contains(&before), "{before}");
    let report = fixture.import_with(&storage, &[path], options).await.unwrap();
    assert!(report.notes[0].contains("goes on after row"), "{:?}", report.notes);
    assert_eq!(i64::try_from(report.stored).unwrap() + before, 29_970);
    assert_eq!(report.duplicates, 0);
    let events = stored(&storage, "sale").await;
    let mut values: Vec<i64> = events.iter().map(|event| event.2).collect();
    values.sort_unstable();
    let expected: Vec<i64> = (0..30_000).filter(|n| n % 1_000 != 500).collect();
    assert_eq!(values, expected);
    assert!((1..).zip(&events).all(|(seq, event)| event.0 == seq), "no gap in seq");
    assert_eq!(storage.catalog().rejected(0, 100).unwrap().len(), 30);
    let state = storage.catalog().sources().unwrap().remove(0);
    assert_eq!((state.rows, state.stored, state.refused, state.finished), (30_000, 29_970, 30, true));
    assert_eq!(storage.persons().unwrap().len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_persons_are_created_where_the_identifier_allows_it() {
    let (fixture, storage) = Fixture::new().await;
    let identifier = |kind: &str, id: &str| {
        format!("\"identifier\":{{\"type\":\"{kind}\",\"id\":\"{id}\",\"sender\":\"s\"}}")
    };
    let lines = [
        sale(&identifier("EMAIL", "a@example.net"), 1),
        sale(&identifier("PUSH", "r-1"), 2),
        sale("\"personId\":\"90210\",\"externalPersonId\":\"crm-501\"", 3),
        sale("\"externalPersonId\":\"crm-501\"", 4),
        sale(&identifier("PHONE", "385910000000"), 5),
        sale("\"personId\":90210,\"externalPersonId\":\"crm-502\"", 6),
        sale("\"personId\":5,\"externalPersonId\":\"crm-501\"", 7),
        sale("\"personId\":1,\"externalPersonId\":\"crm-1\"", 8),
        sale(&identifier("EMAIL", "a@example.net"), 9),
    ]
    .concat();
    let path = fixture.write("persons.jsonl", &lines);
    let strict = ImportOptions { create_persons: false, ..ImportOptions::default() };
    let refused = fixture.import_with(&storage, std::slice::from_ref(&path), strict).await.unwrap();
    assert_eq!((refused.stored, refused.persons_created), (0, 0));
    assert_eq!(reasons(&refused), [("unknown_person", 9)]);

    let again = ImportOptions { again: true, ..ImportOptions::default() };
    let report = fixture.import_with(&storage, &[path], again).await.unwrap();
    assert_eq!(reasons(&report), [("unknown_person", 1), ("person_contradiction", 2)]);
    let mut persons: Vec<_> = stored(&storage, "sale").await.iter().map(|event| (event.2, event.1)).collect();
    persons.sort_unstable();
    assert_eq!(persons, [(1, 1), (3, 90210), (4, 90210), (5, 90211), (8, 1), (9, 1)]);
    let held = storage.persons().unwrap();
    assert_eq!(held.external_id(PersonId(1)), Some("crm-1"));
    assert_eq!(held.find_by(IdentifierType::Phone, "385910000000", ""), Some(PersonId(90211)));
    // Rows that are taken now have left the quarantine.
    let left: Vec<u64> = storage.catalog().rejected(0, 10).unwrap().iter().map(|row| row.row).collect();
    assert_eq!(left, [2, 6, 7]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_takes_what_can_be_taken_now() {
    let (fixture, storage) = Fixture::new().await;
    let later = "{\"definitionId\":\"later\",\"personId\":1,\"occurredTime\":0}\n";
    let lines =
        [sale("\"personId\":1", 1), later.to_owned(), "not json\n".to_owned(), sale("\"personId\":1", 2)];
    let report = fixture.import(&storage, &lines.concat()).await;
    assert_eq!(reasons(&report), [("invalid_json", 1), ("unknown_definition", 1)]);
    let rejected = storage.catalog().rejected(0, 10).unwrap();
    assert_eq!((rejected[0].row, rejected[0].raw.as_slice()), (2, later.trim_end().as_bytes()));
    assert_eq!(rejected[0].code, "unknown_definition");

    let none = fixture.replay(&storage, ImportOptions::default()).await;
    assert_eq!((none.rows, none.stored, none.refused), (2, 0, 2));
    assert_eq!(storage.catalog().rejected(0, 10).unwrap().len(), 2);

    storage.define([definition("later", vec![Property::scalar("n", ScalarType::Numeric)])]).unwrap();
    let some = fixture.replay(&storage, ImportOptions::default()).await;
    assert_eq!((some.rows, some.stored, some.refused), (2, 1, 1));
    let left = storage.catalog().rejected(0, 10).unwrap();
    assert_eq!((left.len(), left[0].row), (1, 3));
    assert_eq!(storage.catalog().last_seq().unwrap(), 3);

    // The import itself would find the event there.
    let path = fixture.dir.path().join("events.jsonl");
    let again = ImportOptions { again: true, ..ImportOptions::default() };
    let report = fixture.import_with(&storage, &[path], again).await.unwrap();
    assert_eq!((report.stored, report.duplicates, report.refused), (0, 3, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mended_file_clears_its_own_quarantine() {
    let (fixture, storage) = Fixture::new().await;
    let good = sale("\"personId\":1", 1);
    fixture.import(&storage, &format!("{good}{{}}\n{good}")).await;
    assert_eq!(storage.catalog().rejected(0, 10).unwrap().len(), 1);
    let mended = fixture.import(&storage, &format!("{good}{}{good}", sale("\"personId\":1", 2))).await;
    assert_eq!((mended.stored, mended.duplicates, mended.refused), (1, 2, 0));
    assert_eq!(storage.catalog().rejected(0, 10).unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_import_leaves_no_ids_behind() {
    let (fixture, storage) = Fixture::new().await;
    drop(storage);
    let path = fixture.write("events.jsonl", &sale("\"personId\":1,\"eventId\":\"e1\"", 1));
    let crashing = fixture.open(Some(Arc::new(StopAt(AtomicUsize::new(1))))).await;
    assert!(
        fixture.import_with(&crashing, std::slice::from_ref(&path), ImportOptions::default()).await.is_err()
    );
    drop(crashing);
    let storage = fixture.open(None).await;
    let report = fixture.import_with(&storage, &[path], ImportOptions::default()).await.unwrap();
    assert_eq!((report.stored, report.duplicates), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_breaks_off_keeps_its_good_rows() {
    let (fixture, storage) = Fixture::new().await;
    let mut packed = Vec::new();
    let mut encoder = flate2::write::GzEncoder::new(&mut packed, flate2::Compression::fast());
    let lines: String = (0..50_000).map(|n| sale("\"personId\":1", n)).collect();
    std::io::Write::write_all(&mut encoder, lines.as_bytes()).unwrap();
    encoder.finish().unwrap();
    let path = fixture.dir.path().join("torn.jsonl.gz");
    fs::write(&path, &packed[..packed.len() / 2]).unwrap();
    let error = fixture.import_with(&storage, &[path], ImportOptions::default()).await.unwrap_err();
    assert_ne!(error.kind(), Kind::Internal, "{error}");
    assert!(error.to_string().contains("torn.jsonl.gz"), "{error}");
    let events = stored(&storage, "sale").await;
    assert!(!events.is_empty() && events.len() < 50_000, "{}", events.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_nobody_waits_for_stops() {
    let (fixture, storage) = Fixture::new().await;
    /// Holds the import up until the future is gone.
    struct Holding(Arc<AtomicBool>, Arc<AtomicUsize>);
    impl Progress for Holding {
        fn source(&mut self, _name: &str, _bytes: Option<u64>) {
            while !self.0.load(Ordering::SeqCst) {
                thread::yield_now();
            }
        }
        fn advanced(&mut self, _bytes: u64, _report: &Report) {
            self.1.fetch_add(1, Ordering::SeqCst);
        }
        fn committing(&mut self, _rows: u64) {}
    }
    let path = fixture.write("events.jsonl", &sale("\"personId\":1", 1));
    let (gone, chunks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let sources = expand(&[path.display().to_string()], "-", &ObjectStoreOptions::default()).unwrap();
    let holding = Box::new(Holding(Arc::clone(&gone), Arc::clone(&chunks)));
    let import = fixture.importer(&storage, ImportOptions::default()).import(sources, holding);
    let task = tokio::spawn(import);
    while Arc::strong_count(&gone) < 2 {
        tokio::task::yield_now().await;
    }
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    gone.store(true, Ordering::SeqCst);
    while Arc::strong_count(&gone) > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(chunks.load(Ordering::SeqCst), 0);
    assert_eq!(storage.catalog().last_seq().unwrap(), 0);
}
