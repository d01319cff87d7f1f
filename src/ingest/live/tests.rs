//! The same rows come through the log as through an import, each once, whoever sends them and whatever stops.

use std::collections::BTreeMap;
use std::fmt::Write;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;

use super::*;
use crate::error::Kind;
use crate::ids::PersonId;
use crate::ingest::Code;
use crate::ingest::ImportOptions;
use crate::ingest::Importer;
use crate::ingest::Quiet;
use crate::ingest::live::group::LARGE_BYTES;
use crate::ingest::source::ObjectStoreOptions;
use crate::ingest::source::expand;
use crate::schema::Definition;
use crate::schema::Property;
use crate::storage::StorageConfig;
use crate::storage::steps::Step;
use crate::storage::steps::Steps;
use crate::time::Micros;
use crate::time::StoppedClock;
use crate::value::ScalarType;

mod disk_full;

const MICROS_PER_DAY: i64 = 86_400_000_000;

fn clock() -> SharedClock {
    Arc::new(StoppedClock::at(Micros(1_780_000_000_000_000)))
}

fn config(dir: &TempDir) -> StorageConfig {
    StorageConfig::new(dir.path().join("data"), clock())
}

async fn open_with(config: StorageConfig) -> (Arc<Storage>, Ingester) {
    let storage = Storage::open(config).await.unwrap();
    let numeric = |name: &str| Property::scalar(name, ScalarType::Numeric);
    let definition = |id: &str, properties| Definition::external(id.parse().unwrap(), id, properties);
    let known = storage.registry().find("visit").is_some();
    if !known {
        let sale = vec![numeric("amount"), Property::scalar("item", ScalarType::String)];
        storage.define([definition("sale", sale), definition("visit", vec![numeric("n")])]).unwrap();
    }
    let ingester = Ingester::new(Arc::clone(&storage), clock(), Arc::default(), FlushLimits::default());
    (storage, ingester)
}

async fn open(dir: &TempDir) -> (Arc<Storage>, Ingester) {
    open_with(config(dir)).await
}

fn visit(id: &str, person: &str, n: u64) -> String {
    let second = n % 60;
    format!(
        "{{\"definitionId\":\"visit\",\"eventId\":\"{id}\",\"externalPersonId\":\"{person}\",\
         \"occurredTime\":\"2026-05-0{}T10:00:{second:02}Z\",\"properties\":{{\"n\":{n}}}}}\n",
        1 + n % 3
    )
}

async fn send(ingester: &Ingester, lines: &str) -> IngestReport {
    ingester.ingest(IngestBatch::lines(lines.to_owned()), IngestOptions::default()).await.unwrap()
}

/// `(seq, person, event id)` of all events of a definition that a snapshot shows, by `seq`; every file must be sorted.
async fn shown(storage: &Arc<Storage>, id: &str) -> Vec<(i64, i64, String)> {
    let snapshot = storage.snapshot().await.unwrap();
    let mut found = Vec::new();
    for file in &snapshot.tables[id].files {
        let bytes = storage.object_store().get(&Path::from(file.path.as_str())).await.unwrap();
        let bytes = bytes.bytes().await.unwrap();
        assert_eq!(bytes.len() as u64, file.bytes);
        let mut of_file = Vec::new();
        for rows in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
            let rows = rows.unwrap();
            let numbers =
                |name: &str| rows.column_by_name(name).unwrap().as_primitive::<Int64Type>().values().to_vec();
            let ids = rows.column_by_name("eventId").unwrap().as_string::<i32>();
            let ids = ids.iter().map(|id| id.unwrap().to_owned());
            of_file.extend(numbers("seq").into_iter().zip(numbers("personId")).zip(ids));
        }
        assert_eq!(of_file.len() as u64, file.rows);
        assert!(of_file.windows(2).all(|pair| pair[0].0.1 <= pair[1].0.1));
        assert!(of_file.iter().all(|((_, person), _)| (file.persons.0..=file.persons.1).contains(person)));
        found.extend(of_file.into_iter().map(|((seq, person), id)| (seq, person, id)));
    }
    found.sort_unstable();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_seen_at_once_and_once_whatever_comes_after() {
    let dir = TempDir::new().unwrap();
    let (storage, ingester) = open(&dir).await;
    let report = send(&ingester, &visit("a", "x", 1)).await;
    let fate = Fate::Stored { event_id: "a".to_owned(), person: PersonId(1), seq: 1 };
    assert_eq!(report.rows, [RowFate { row: 1, fate }]);
    assert_eq!(shown(&storage, "visit").await, [(1, 1, "a".to_owned())]);
    let snapshot = storage.snapshot().await.unwrap();
    assert!(Arc::ptr_eq(&snapshot, &storage.snapshot().await.unwrap()), "nothing has changed");
    assert_eq!(snapshot.persons.all().unwrap().external_id(PersonId(1)), Some("x"));

    // A retry, another event with the id, a new event, a blank line, and one that is none.
    let lines = [visit("a", "x", 1), visit("a", "x", 2), visit("b", "y", 2), "\n".into(), "{}\n".into()];
    let report = send(&ingester, &lines.concat()).await;
    assert_eq!((report.stored, report.duplicates, report.refused), (1, 1, 2));
    let kinds: Vec<_> = report.rows.iter().map(|one| (one.row, fate_name(&one.fate))).collect();
    let expected = [(1, "duplicate"), (2, "event_conflict"), (3, "stored"), (5, "missing_field")];
    assert_eq!(kinds, expected);
    let quarantined = storage.catalog().rejected(0, 10).unwrap();
    let rows: Vec<_> = quarantined.iter().map(|row| (row.row, row.code.as_str())).collect();
    assert_eq!(rows, [(2, "event_conflict"), (5, "missing_field")]);
    assert_eq!(quarantined[1].raw, b"{}");

    let all = vec![(1, 1, "a".to_owned()), (2, 2, "b".to_owned())];
    assert_eq!(shown(&storage, "visit").await, all);
    // The first snapshot is still as it was.
    assert_eq!(snapshot.tables["visit"].files.len(), 1);
    for file in &snapshot.tables["visit"].files {
        storage.object_store().get(&Path::from(file.path.as_str())).await.unwrap();
    }
    drop(snapshot);

    assert_eq!(storage.flush().await.unwrap().events, 2);
    assert_eq!(storage.flush().await.unwrap().events, 0);
    assert_eq!(shown(&storage, "visit").await, all);
    assert_eq!(send(&ingester, &visit("b", "y", 2)).await.duplicates, 1);
    assert_eq!(storage.unflushed().events, 0);
    drop((storage, ingester));

    let (storage, ingester) = open(&dir).await;
    assert_eq!(shown(&storage, "visit").await, all);
    assert_eq!(send(&ingester, &visit("a", "x", 1)).await.duplicates, 1);
    let report = send(&ingester, &visit("c", "x", 3)).await;
    let fate = Fate::Stored { event_id: "c".to_owned(), person: PersonId(1), seq: 3 };
    assert_eq!(report.rows, [RowFate { row: 1, fate }]);
}

fn fate_name(fate: &Fate) -> &'static str {
    match fate {
        Fate::Stored { .. } => "stored",
        Fate::Duplicate { .. } => "duplicate",
        Fate::Refused(refusal) => refusal.code.name(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn br40_what_was_logged_is_there_after_a_stop_with_its_persons_ids_and_refusals() {
    let dir = TempDir::new().unwrap();
    let (storage, ingester) = open(&dir).await;
    send(&ingester, &visit("a", "x", 1)).await;
    storage.flush().await.unwrap();
    send(&ingester, &(visit("b", "y", 2) + "nonsense\n" + &visit("c", "z", 3))).await;
    // Nothing is flushed: this is what a crash leaves.
    drop((storage, ingester));
    for _ in 0..2 {
        let (storage, ingester) = open(&dir).await;
        let all =
            [(1, 1, "a"), (2, 2, "b"), (3, 3, "c")].map(|(seq, person, id)| (seq, person, id.to_owned()));
        assert_eq!(shown(&storage, "visit").await, all);
        assert_eq!(storage.last_seq(), 3);
        assert_eq!(storage.persons().unwrap().external_id(PersonId(3)), Some("z"));
        assert_eq!(storage.catalog().rejected(0, 10).unwrap().len(), 1);
        let report = send(&ingester, &(visit("b", "y", 2) + &visit("c", "z", 4))).await;
        assert_eq!((report.stored, report.duplicates, report.refused), (0, 1, 1));
        assert!(matches!(&report.rows[1].fate, Fate::Refused(why) if why.code == Code::EventConflict));
        storage.catalog().note(&[], &[]).unwrap();
        let ids: Vec<i64> = storage.catalog().rejected(1, 10).unwrap().iter().map(|row| row.id).collect();
        // What this look has left in the quarantine is not for the next one.
        let batch = crate::storage::Batch { replayed: ids, last_seq: 3, ..Default::default() };
        storage.commit(batch).await.unwrap();
        storage.flush().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_at_once_are_each_told_the_truth_about_their_own_rows() {
    let dir = TempDir::new().unwrap();
    let (storage, ingester) = open(&dir).await;
    let ingester = Arc::new(ingester);
    let tasks: Vec<_> = (0..32_u64)
        .map(|caller| {
            let ingester = Arc::clone(&ingester);
            tokio::spawn(async move {
                let mut told = BTreeMap::new();
                for number in 0..20_u64 {
                    // Every event comes from two callers, and both may be first.
                    let id = format!("{}-{number}", caller / 2);
                    let person = format!("p{}", number % 7);
                    let report = send(&ingester, &visit(&id, &person, number)).await;
                    let [RowFate { row: 1, fate }] = report.rows.as_slice() else { panic!("{report:?}") };
                    if let Fate::Stored { event_id, person, seq } = fate {
                        assert_eq!(*event_id, id);
                        told.insert(*seq, (person.0, id));
                    }
                }
                told
            })
        })
        .collect();
    let mut told = BTreeMap::new();
    let mut count = 0;
    for task in tasks {
        let one = task.await.unwrap();
        count += one.len();
        told.extend(one);
    }
    assert_eq!((told.len(), count), (320, 320));
    let told: Vec<_> = told.into_iter().map(|(seq, (person, id))| (seq, person, id)).collect();
    assert_eq!(told.iter().map(|one| one.0).collect::<Vec<_>>(), (1..=320).collect::<Vec<i64>>());
    assert_eq!(storage.persons().unwrap().len(), 7);
    assert_eq!(shown(&storage, "visit").await, told);
    storage.flush().await.unwrap();
    assert_eq!(shown(&storage, "visit").await, told);
}

/// Rows of many kinds: good ones, retries, conflicts, refusals, unknown persons, events without ids.
fn mixed(rows: u64) -> String {
    let mut lines = String::new();
    for n in 0..rows {
        match n % 9 {
            0 => lines.push_str(&visit(&format!("e{}", n / 2), &format!("p{}", n % 11), n)),
            1 => lines.push_str(&visit(&format!("e{}", n / 2), &format!("p{}", (n - 1) % 11), n - 1)),
            2 => lines.push('\n'),
            3 => lines.push_str("{\"definitionId\":\"nope\"}\n"),
            4 => writeln!(
                lines,
                "{{\"definitionId\":\"sale\",\"personId\":{},\"occurredTime\":{},\"amount\":{n},\"item\":\"i{}\"}}",
                1 + n % 5,
                1_777_000_000_000_u64 + n * 1000,
                n % 3
            )
            .unwrap(),
            5 => lines.push_str("{\"definitionId\":\"visit\",\"externalPersonId\":\"q\",\"n\":\"x\"}\n"),
            _ => lines.push_str(&visit(&format!("v{n}"), &format!("p{}", n % 13), n)),
        }
    }
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_come_through_the_log_as_through_an_import() {
    // Checked by the group, and checked by the caller.
    for rows in [200, 2000] {
        let lines = mixed(rows);
        assert_eq!(lines.len() >= LARGE_BYTES, rows == 2000);
        let dir = TempDir::new().unwrap();
        let (storage, ingester) = open(&dir).await;
        let path = dir.path().join("rows.jsonl");
        let source = path.display().to_string();
        let options = IngestOptions { source: Some(source.clone()), ..IngestOptions::default() };
        let live = ingester.ingest(IngestBatch::lines(lines.clone()), options.clone()).await.unwrap();
        assert_eq!(live.stored + live.duplicates + live.refused, live.rows.len() as u64);
        assert!(live.rows.windows(2).all(|pair| pair[0].row < pair[1].row));
        // Sent again, everything is there already.
        let again = ingester.ingest(IngestBatch::lines(lines.clone()), options).await.unwrap();
        assert_eq!((again.stored, again.duplicates), (0, live.stored + live.duplicates));

        let other = TempDir::new().unwrap();
        let (twin, _) = open(&other).await;
        std::fs::write(&path, &lines).unwrap();
        let sources = expand(std::slice::from_ref(&source), "-", &ObjectStoreOptions::default()).unwrap();
        let importer = Importer::new(Arc::clone(&twin), clock(), ImportOptions::default());
        let report = importer.import(sources, Box::new(Quiet)).await.unwrap();
        assert_eq!(
            (live.stored, live.duplicates, live.refused),
            (report.stored, report.duplicates, report.refused)
        );
        let without_seq = |rows: Vec<(i64, i64, String)>| {
            let mut rows: Vec<_> = rows.into_iter().map(|(_, person, id)| (id, person)).collect();
            rows.sort();
            rows
        };
        for id in ["visit", "sale"] {
            let (live, imported) = (shown(&storage, id).await, shown(&twin, id).await);
            assert_eq!(without_seq(live), without_seq(imported));
        }
        let refused = |storage: &Storage| {
            let rows = storage.catalog().rejected(0, usize::MAX).unwrap();
            rows.into_iter()
                .map(|row| (row.row, row.source, row.code, row.message, row.raw))
                .collect::<Vec<_>>()
        };
        assert_eq!(refused(&storage), refused(&twin));
        // The import of what the log has already stores nothing.
        let sources = expand(&[source], "-", &ObjectStoreOptions::default()).unwrap();
        let importer = Importer::new(Arc::clone(&storage), clock(), ImportOptions::default());
        let report = importer.import(sources, Box::new(Quiet)).await.unwrap();
        assert_eq!((report.stored, report.duplicates), (0, live.stored + live.duplicates));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn events_are_taken_while_an_import_runs_and_each_is_stored_once() {
    let dir = TempDir::new().unwrap();
    let (storage, _) = open(&dir).await;
    let turns = Arc::new(Turns::default());
    let ingester = Ingester::new(Arc::clone(&storage), clock(), Arc::clone(&turns), FlushLimits::default());
    // Some ids and persons come both ways.
    let lines: String =
        (0..30_000_u64).map(|n| visit(&format!("i{n}"), &format!("p{}", n % 900), n)).collect();
    let path = dir.path().join("rows.jsonl");
    std::fs::write(&path, lines).unwrap();
    let sources = expand(&[path.display().to_string()], "-", &ObjectStoreOptions::default()).unwrap();
    let let_others_after = std::time::Duration::ZERO;
    let options = ImportOptions { let_others_after, threads: 2, ..ImportOptions::default() };
    let importer = Importer::new(Arc::clone(&storage), clock(), options).with_turn(turns.whole().await);
    let import = tokio::spawn(importer.import(sources, Box::new(Quiet)));
    let (mut sent, mut between) = (0, false);
    while !import.is_finished() || sent == 0 {
        let one = visit(
            &format!("i{}", 29_999 - sent * 100),
            &format!("p{}", (29_999 - sent * 100) % 900),
            29_999 - sent * 100,
        );
        let other = visit(&format!("l{sent}"), &format!("q{}", sent % 5), sent);
        let report = send(&ingester, &(one + &other)).await;
        assert_eq!((report.stored + report.duplicates, report.refused), (2, 0), "{report:?}");
        between |= report.stored > 0 && !import.is_finished();
        sent += 1;
    }
    let report = import.await.unwrap().unwrap();
    assert_eq!((report.stored + report.duplicates, report.refused), (30_000, 0));
    assert!(between, "nothing was taken before the import had ended");
    let rows = shown(&storage, "visit").await;
    assert_eq!(rows.len() as u64, 30_000 + sent);
    let ids: std::collections::BTreeSet<&str> = rows.iter().map(|row| row.2.as_str()).collect();
    assert_eq!(ids.len() as u64, 30_000 + sent);
    assert!(rows.windows(2).all(|pair| pair[0].0 < pair[1].0), "a number was given twice");
    assert_eq!(storage.persons().unwrap().len() as u64, 900 + sent.min(5));
    let verified = storage.verify(|_| {}).await.unwrap();
    assert_eq!(verified.faults, Vec::<String>::new());
}

/// Comes back when it is so, and never when it is not: what is waited for happens in the background.
async fn until(so: impl Fn() -> bool) {
    while !so() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_comes_into_the_lake_by_itself_and_into_few_files() {
    let dir = TempDir::new().unwrap();
    let (storage, _) = open(&dir).await;
    let limits = FlushLimits { events: 5, ..FlushLimits::default() };
    let ingester = Ingester::new(Arc::clone(&storage), clock(), Arc::default(), limits);
    for round in 0..30_u64 {
        let lines: String = (0..5).map(|n| visit(&format!("{round}-{n}"), "x", n)).collect();
        send(&ingester, &lines).await;
        until(|| storage.unflushed().events == 0).await;
    }
    assert_eq!(shown(&storage, "visit").await.len(), 150);
    let snapshot = storage.snapshot().await.unwrap();
    let by_day = snapshot.tables["visit"].files.chunk_by(|a, b| a.day == b.day);
    // Thirty flushes have come to each day; a compaction may still be due or at work.
    assert!(by_day.clone().all(|files| files.len() < 20), "{:?}", by_day.map(<[_]>::len).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_or_none_stores_nothing_beside_a_refused_row_and_keeps_none_of_it() {
    let dir = TempDir::new().unwrap();
    let (storage, ingester) = open(&dir).await;
    send(&ingester, &visit("taken", "x", 1)).await;
    let together = IngestOptions { all_or_none: true, ..IngestOptions::default() };
    let strict = IngestOptions { create_persons: false, ..together.clone() };
    let id = visit("b", "x", 2).replace("\"externalPersonId\":\"x\"", "\"personId\":77");
    let wrong = visit("b", "x", 2).replace("\"n\"", "\"m\"");
    for (options, row, code) in [
        (&together, wrong, Code::UnknownProperty),
        (&together, id, Code::UnknownPerson),
        (&strict, visit("b", "nobody", 2), Code::UnknownPerson),
    ] {
        let lines = format!("{}{row}{}", visit("a", "x", 3), visit("c", "x", 4));
        let report = ingester.ingest(IngestBatch::lines(lines), options.clone()).await.unwrap();
        assert_eq!((report.stored, report.refused), (0, 1), "{report:?}");
        let Fate::Refused(refusal) = &report.rows[0].fate else { panic!("{report:?}") };
        assert_eq!((report.rows[0].row, refusal.code), (2, code));
    }
    assert_eq!(shown(&storage, "visit").await.len(), 1);
    assert!(storage.catalog().rejected(0, 10).unwrap().is_empty());
    // What another event's id keeps out keeps nothing else out, and sent again all are there.
    let lines = format!("{}{}{}", visit("a", "x", 3), visit("taken", "x", 2), visit("c", "new", 4));
    for (stored, duplicates) in [(2, 0), (0, 2)] {
        let report = ingester.ingest(IngestBatch::lines(lines.clone()), together.clone()).await.unwrap();
        assert_eq!((report.stored, report.duplicates, report.refused), (stored, duplicates, 1), "{report:?}");
    }
    assert_eq!(shown(&storage, "visit").await.len(), 3);
}

/// A few events of each definition every hour, flushed each time, as one who has little to tell sends them.
async fn small_flushes(days: i64, definitions: u64, flushes: i64) {
    let dir = TempDir::new().unwrap();
    let (storage, _) = open(&dir).await;
    let id = |nth: u64| format!("small{nth}");
    let small = |nth: u64| {
        Definition::external(
            id(nth).parse().unwrap(),
            id(nth),
            vec![Property::scalar("n", ScalarType::Numeric)],
        )
    };
    storage.define((0..definitions).map(small)).unwrap();
    let limits = FlushLimits { events: usize::try_from(3 * definitions).unwrap(), ..FlushLimits::default() };
    let ingester = Ingester::new(Arc::clone(&storage), clock(), Arc::default(), limits);
    let first = 1_770_000_000_000_000_i64 / MICROS_PER_DAY * MICROS_PER_DAY;
    for flush in 0..days * flushes {
        let at = Micros(first + flush * (MICROS_PER_DAY / flushes)).iso_millis();
        let mut lines = String::new();
        for (nth, n) in (0..definitions).flat_map(|nth| (0..3).map(move |n| (nth, n))) {
            let event = id(nth);
            let row = format!(
                "{{\"definitionId\":\"{event}\",\"eventId\":\"{nth}-{flush}-{n}\",\"externalPersonId\":\"p{n}\","
            );
            writeln!(lines, "{row}\"occurredTime\":\"{at}\",\"properties\":{{\"n\":{n}}}}}").unwrap();
        }
        assert_eq!(send(&ingester, &lines).await.stored, 3 * definitions);
        until(|| storage.unflushed().events == 0).await;
    }
    drop(ingester);
    let snapshot = storage.snapshot().await.unwrap();
    let mut partitions = 0;
    for nth in 0..definitions {
        let files = &snapshot.tables[&id(nth)].files;
        let rows: u64 = files.iter().map(|file| file.rows).sum();
        assert_eq!(i64::try_from(rows).unwrap(), 3 * days * flushes);
        for of_day in files.chunk_by(|a, b| a.day == b.day) {
            partitions += 1;
            // The last day's compaction may have been due or at work.
            let last = of_day[0].day == files.last().unwrap().day;
            assert!(last || of_day.len() < 8, "{} files of one day", of_day.len());
        }
    }
    assert_eq!(partitions, days * i64::try_from(definitions).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_flushes_leave_few_files_a_day() {
    small_flushes(2, 3, 12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes many minutes: a quarter of a year"]
async fn ninety_days_of_small_flushes_of_sixty_definitions_leave_few_files_a_day() {
    small_flushes(90, 60, 24).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_wait_while_memory_is_full_and_none_of_their_events_is_lost() {
    let dir = TempDir::new().unwrap();
    let (storage, _) = open(&dir).await;
    let never = std::time::Duration::from_secs(1_000_000);
    let limits = FlushLimits { bytes: usize::MAX, events: usize::MAX, age: never, most_bytes: 20_000 };
    let ingester = Arc::new(Ingester::new(Arc::clone(&storage), clock(), Arc::default(), limits));
    let tasks: Vec<_> = (0..8_u64)
        .map(|caller| {
            let ingester = Arc::clone(&ingester);
            tokio::spawn(async move {
                for number in 0..20_u64 {
                    let report = send(&ingester, &visit(&format!("{caller}-{number}"), "x", number)).await;
                    assert_eq!(report.stored, 1);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(shown(&storage, "visit").await.len(), 160);
    // Nothing but the lack of room has flushed.
    assert!(storage.catalog().log_position().unwrap() > 0);
    assert!(storage.unflushed().events < 160);
}

/// Fails at a step, and from then on.
#[derive(Debug)]
struct FailAt(Step);

impl Steps for FailAt {
    fn reached(&self, step: Step) -> Result<()> {
        if step == self.0 { Err(Error::unavailable("the power went")) } else { Ok(()) }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn br40_nothing_is_acknowledged_after_a_failure_and_a_retry_stores_it_once() {
    for step in [Step::Noted, Step::Logged] {
        let dir = TempDir::new().unwrap();
        let (storage, ingester) = open(&dir).await;
        send(&ingester, &visit("a", "x", 1)).await;
        drop((storage, ingester));

        let steps: Arc<dyn Steps> = Arc::new(FailAt(step));
        let (storage, ingester) = open_with(StorageConfig { steps: Some(steps), ..config(&dir) }).await;
        for _ in 0..2 {
            let failed =
                ingester.ingest(IngestBatch::lines(visit("b", "y", 2)), IngestOptions::default()).await;
            assert_eq!(failed.unwrap_err().kind(), Kind::Unavailable);
        }
        // Neither the flush nor an import may seal the id of an event that may not be stored.
        let flushed = storage.flush().await;
        match step {
            Step::Noted => assert_eq!(flushed.unwrap().events, 1),
            _ => assert_eq!(flushed.unwrap_err().kind(), Kind::Unavailable),
        }
        assert_eq!(shown(&storage, "visit").await.len(), 1);
        drop((storage, ingester));

        let (storage, ingester) = open(&dir).await;
        let report = send(&ingester, &visit("b", "y", 2)).await;
        assert_eq!((report.stored, report.duplicates), if step == Step::Noted { (1, 0) } else { (0, 1) });
        let ids: Vec<_> = shown(&storage, "visit").await.into_iter().map(|(seq, _, id)| (seq, id)).collect();
        assert_eq!(ids, [(1, "a".to_owned()), (2, "b".to_owned())]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_another_process_takes_nothing_and_says_so() {
    let dir = TempDir::new().unwrap();
    let (storage, _ingester) = open(&dir).await;
    let reader = StorageConfig { read_only: true, ..config(&dir) };
    let reader = Storage::open(reader).await.unwrap();
    let ingester = Ingester::new(Arc::clone(&reader), clock(), Arc::default(), FlushLimits::default());
    let refused = ingester.ingest(IngestBatch::lines(visit("a", "x", 1)), IngestOptions::default()).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::Invalid);
    assert_eq!(reader.flush().await.unwrap_err().kind(), Kind::Invalid);
    drop(storage);
}
