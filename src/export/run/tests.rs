use std::collections::BTreeSet;
use std::sync::Mutex;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use proptest::prelude::*;

use super::*;
use crate::error::Kind;
use crate::export::plan::ExportLimits;
use crate::export::target::Destination;
use crate::export::testing::Event;
use crate::export::testing::Store;
use crate::export::testing::Value;
use crate::export::testing::batch;
use crate::export::testing::definition;
use crate::export::testing::gunzip;
use crate::export::writer::SEGMENT_ROWS;
use crate::schema::EventBatch;
use crate::storage::Batch;
use crate::storage::Storage;
use crate::storage::StorageConfig;
use crate::time::MICROS_PER_DAY;
use crate::time::SystemClock;
use crate::value::ScalarType;

const HOUR: i64 = 3_600_000_000;

fn request(id: &str, start: i64, end: i64) -> ExportRequest {
    let range = TimeRange { start: Micros(start), end: Micros(end) };
    ExportRequest { request_id: Some(id.to_owned()), ..ExportRequest::new(range) }
}

fn small_files(request: ExportRequest, rows_per_file: usize) -> ExportRequest {
    ExportRequest { limits: ExportLimits { rows_per_file, ..ExportLimits::default() }, ..request }
}

async fn export(
    store: &Store,
    target: &Arc<dyn ObjectStore>,
    request: ExportRequest,
) -> Result<ExportReport> {
    run(job(store, target, "raw/people", request)).await
}

fn job(store: &Store, target: &Arc<dyn ObjectStore>, prefix: &str, request: ExportRequest) -> ExportJob {
    ExportJob {
        snapshot: Arc::new(store.snapshot()),
        lake: Arc::clone(&store.lake),
        target: Target::of(Arc::clone(target), Path::from(prefix)),
        request,
        seen: None,
        done: Vec::new(),
        journal: None,
        spill: std::env::temp_dir(),
        threads: 2,
        progress: Arc::new(NoProgress),
    }
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap()
}

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

/// Every object of the target with its bytes.
async fn objects(target: &Arc<dyn ObjectStore>) -> BTreeMap<String, Bytes> {
    let listed: Vec<_> = target.list(None).try_collect().await.unwrap();
    let mut objects = BTreeMap::new();
    for object in listed {
        let bytes = target.get(&object.location).await.unwrap().bytes().await.unwrap();
        objects.insert(object.location.to_string(), bytes);
    }
    objects
}

/// The event ids of a report's files, in order.
async fn ids(target: &Arc<dyn ObjectStore>, report: &ExportReport) -> Vec<String> {
    let mut ids = Vec::new();
    for file in &report.files {
        let path = Path::from("raw/people").join(file.name.as_str());
        let bytes = target.get(&path).await.unwrap().bytes().await.unwrap();
        for line in gunzip(&bytes).lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            ids.push(row["eventId"].as_str().unwrap().to_owned());
        }
    }
    ids
}

fn event(id: &str, at: i64) -> Event {
    Event::new(id, at, vec![Value::Text(format!("of {id}"))])
}

/// Page views and opened emails on two days, some at the same millisecond.
async fn store() -> Store {
    let text = [("title", ScalarType::String)];
    let mut store = Store::new(&[definition("emailOpened", &text), definition("pageView", &text)]);
    let views = [event("v3", 2_000), event("v1", 2_999), event("v2", 1_000), event("v4", MICROS_PER_DAY)];
    let opened = [event("e2", 2_500), event("e9", 500), event("e1", MICROS_PER_DAY + 7_000)];
    store.add("pageView", &views).await;
    store.add("emailOpened", &opened).await;
    store
}

#[tokio::test]
async fn rows_of_all_definitions_come_ordered_by_printed_time_then_event_id() {
    let (store, target) = (store().await, memory());
    let report = export(&store, &target, request("r1", 0, 2 * MICROS_PER_DAY)).await.unwrap();
    assert_eq!(ids(&target, &report).await, ["e9", "v2", "e2", "v1", "v3", "v4", "e1"]);
    assert_eq!(report.message, "7 events in 1 file");
    assert_eq!(report.files[0].name, "r1-events-19700101000000000-19700103000000000.json.gz");
    assert_eq!(report.rows_by_definition["pageView"], 4);
    assert_eq!(report.rows_by_definition["emailOpened"], 3);
}

#[tokio::test]
async fn only_the_definitions_asked_for_are_exported() {
    let (store, target) = (store().await, memory());
    let one =
        ExportRequest { definitions: vec!["email*".to_owned()], ..request("r1", 0, 2 * MICROS_PER_DAY) };
    let report = export(&store, &target, one).await.unwrap();
    assert_eq!(ids(&target, &report).await, ["e9", "e2", "e1"]);
    assert_eq!(report.rows_by_definition.keys().collect::<Vec<_>>(), ["emailOpened"]);
}

#[tokio::test]
async fn a_full_file_is_followed_by_one_that_begins_where_it_ended_and_names_are_unique() {
    let (store, target) = (store().await, memory());
    let whole = |id| request(id, 0, 2 * MICROS_PER_DAY);
    let seven = export(&store, &target, small_files(whole("seven"), 7)).await.unwrap();
    assert_eq!(seven.files.len(), 1);
    let six = export(&store, &target, small_files(whole("six"), 6)).await.unwrap();
    let names: Vec<_> = six.files.iter().map(|file| (file.name.as_str(), file.rows)).collect();
    assert_eq!(
        names,
        [
            ("six-events-19700101000000000-19700102000000007.json.gz", 6),
            ("six-events-19700102000000007-19700103000000000.json.gz", 1)
        ]
    );
    let two = export(&store, &target, small_files(whole("two"), 2)).await.unwrap();
    let names: Vec<_> = two.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "two-events-19700101000000000-19700101000000002.json.gz",
            "two-events-19700101000000002-19700101000000003.json.gz",
            "two-events-19700101000000002-19700101000000003-2.json.gz",
            "two-events-19700101000000003-19700103000000000.json.gz",
        ]
    );
    for report in [six, two] {
        assert_eq!(ids(&target, &report).await, ["e9", "v2", "e2", "v1", "v3", "v4", "e1"]);
    }
}

#[tokio::test]
async fn a_file_of_more_rows_than_a_segment_is_one_gzip_member_in_order() {
    let mut store = Store::new(&[definition("seen", &[("title", ScalarType::String)])]);
    let rows = i64::try_from(SEGMENT_ROWS).unwrap() * 2 + 50;
    let events: Vec<_> = (0..rows).map(|nth| event(&format!("n{nth:05}"), nth * 1_000)).collect();
    store.add("seen", &events).await;
    let target = memory();
    let report = export(&store, &target, request("r1", 0, rows * 1_000)).await.unwrap();
    assert_eq!(report.files.len(), 1);
    let expected: Vec<_> = events.iter().map(|event| event.id.clone()).collect();
    assert_eq!(ids(&target, &report).await, expected);
}

#[tokio::test]
async fn equal_data_gives_equal_bytes_however_the_files_lie() {
    let text = [("title", ScalarType::String)];
    let mut other = Store::new(&[definition("emailOpened", &text), definition("pageView", &text)]);
    for (id, at) in [("v4", MICROS_PER_DAY), ("v1", 2_999), ("v2", 1_000), ("v3", 2_000)] {
        other.add("pageView", &[event(id, at)]).await;
    }
    for (id, at) in [("e1", MICROS_PER_DAY + 7_000), ("e9", 500), ("e2", 2_500)] {
        other.add("emailOpened", &[event(id, at)]).await;
    }
    let (one, two) = (memory(), memory());
    let asked = || small_files(request("r1", 0, 2 * MICROS_PER_DAY), 3);
    export(&store().await, &one, asked()).await.unwrap();
    export(&other, &two, asked()).await.unwrap();
    let objects_of_one = objects(&one).await;
    assert_eq!(objects_of_one.len(), 4);
    assert_eq!(objects_of_one, objects(&two).await);
}

#[tokio::test]
async fn a_compaction_of_the_store_changes_no_byte_of_an_export() {
    let folder = tempfile::tempdir().unwrap();
    let config = StorageConfig::new(folder.path(), SystemClock::shared());
    let storage = Storage::open(config).await.unwrap();
    let seen = definition("seen", &[("title", ScalarType::String)]);
    storage.define([seen.clone()]).unwrap();
    let definition = Arc::clone(storage.registry().get("seen").unwrap());
    for first in [1, 41] {
        let event = |nth: i64| event(&format!("n{nth}"), nth % 3 * MICROS_PER_DAY + nth * 7_919 % 100_000);
        let events: Vec<_> = (first..first + 40).map(event).collect();
        let rows = batch(&seen, first, &events);
        let events = vec![EventBatch { definition: Arc::clone(&definition), rows }];
        storage.commit(Batch { events, last_seq: first + 39, ..Batch::default() }).await.unwrap();
    }
    let export = async || {
        let (snapshot, target) = (storage.snapshot().await.unwrap(), memory());
        let asked = small_files(request("r1", 0, 3 * MICROS_PER_DAY), 30);
        let files = snapshot.tables["seen"].files.len();
        let report = run(ExportJob {
            snapshot,
            lake: storage.object_store(),
            ..job(&Store::new(&[]), &target, "", asked)
        });
        let report = report.await.unwrap();
        assert_eq!(report.rows, 80);
        (files, objects(&target).await)
    };
    let (files, before) = export().await;
    storage.compact(Arc::new(|_| {})).await.unwrap();
    let (compacted, after) = export().await;
    assert!(compacted < files);
    assert_eq!(after, before);
}

#[tokio::test]
async fn br29_two_ranges_that_touch_give_each_row_once() {
    let mut store = Store::new(&[definition("seen", &[("title", ScalarType::String)])]);
    let at = [10 * HOUR, 11 * HOUR - 1_000, 11 * HOUR - 1, 11 * HOUR, 12 * HOUR];
    let names = ["ten", "before", "almost", "eleven", "twelve"];
    let events: Vec<_> = at.iter().zip(names).map(|(&at, id)| event(id, at)).collect();
    store.add("seen", &events).await;
    let target = memory();
    let first = export(&store, &target, request("r1", 10 * HOUR, 11 * HOUR)).await.unwrap();
    let second = export(&store, &target, request("r2", 11 * HOUR, 12 * HOUR)).await.unwrap();
    assert_eq!(ids(&target, &first).await, ["ten", "almost", "before"]);
    assert_eq!(ids(&target, &second).await, ["eleven"]);
}

#[tokio::test]
async fn br29_a_request_that_is_complete_writes_nothing_again_also_when_events_came_later() {
    let (mut store, target) = (store().await, memory());
    let asked = || request("r1", 0, 2 * MICROS_PER_DAY);
    let first = export(&store, &target, asked()).await.unwrap();
    let before = objects(&target).await;
    store.add("pageView", &[event("late", 3_000)]).await;
    let second = export(&store, &target, asked()).await.unwrap();
    assert_eq!(objects(&target).await, before);
    assert!(second.repeated && !first.repeated);
    assert_eq!((second.files, second.rows, second.bytes), (first.files, first.rows, first.bytes));
}

#[tokio::test]
async fn a_request_id_cannot_be_used_for_another_request() {
    let (store, target) = (store().await, memory());
    export(&store, &target, request("r1", 0, MICROS_PER_DAY)).await.unwrap();
    let before = objects(&target).await;
    let error = export(&store, &target, request("r1", 0, 2 * MICROS_PER_DAY)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    let moments = ExportRequest { enrich_moments: true, ..request("r1", 0, MICROS_PER_DAY) };
    assert_eq!(export(&store, &target, moments).await.unwrap_err().kind(), Kind::Conflict);
    assert_eq!(objects(&target).await, before);
}

#[tokio::test]
async fn br29_an_attempt_that_was_killed_half_way_is_completed() {
    let (store, target) = (store().await, memory());
    let asked = || small_files(request("r1", 0, 2 * MICROS_PER_DAY), 3);
    let report = export(&store, &target, asked()).await.unwrap();
    let complete = objects(&target).await;
    // What a kill leaves: some files, no manifest.
    for gone in [&report.manifest, &report.files[1].name] {
        target.delete(&Path::from("raw/people").join(gone.as_str())).await.unwrap();
    }
    let resumed = export(&store, &target, asked()).await.unwrap();
    assert_eq!(resumed, report);
    assert_eq!(objects(&target).await, complete);
}

#[tokio::test]
async fn br29_a_file_with_other_content_is_never_overwritten() {
    let (store, target) = (store().await, memory());
    let name = "raw/people/r1-events-19700101000000000-19700103000000000.json.gz";
    target.put(&Path::from(name), "the winner's".into()).await.unwrap();
    let error = export(&store, &target, request("r1", 0, 2 * MICROS_PER_DAY)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    let left = objects(&target).await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[name], "the winner's");
}

#[tokio::test]
async fn files_of_an_attempt_over_other_events_keep_the_manifest_away() {
    let (store, target) = (store().await, memory());
    let stray = "raw/people/r1-events-19700101000000000-19700101000000002.json.gz";
    target.put(&Path::from(stray), "x".into()).await.unwrap();
    target.put(&Path::from("raw/people/r11-events-1-2.json.gz"), "x".into()).await.unwrap();
    let error = export(&store, &target, request("r1", 0, 2 * MICROS_PER_DAY)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.message().contains("19700101000000002"), "{error}");
    assert!(!objects(&target).await.contains_key("raw/people/r1-manifest.json"));
    target.delete(&Path::from(stray)).await.unwrap();
    export(&store, &target, request("r1", 0, 2 * MICROS_PER_DAY)).await.unwrap();
}

#[tokio::test]
async fn two_runs_of_one_request_at_once_leave_one_set_of_files() {
    let (store, target) = (store().await, memory());
    let asked = || small_files(request("r1", 0, 2 * MICROS_PER_DAY), 3);
    let (one, two) = tokio::join!(export(&store, &target, asked()), export(&store, &target, asked()));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.files, two.files);
    assert_eq!(objects(&target).await.len(), one.files.len() + 1);
}

#[tokio::test]
async fn no_rows_are_no_file_and_a_success_that_says_so() {
    let (store, target) = (store().await, memory());
    let report = export(&store, &target, request("r1", 5 * HOUR, 6 * HOUR)).await.unwrap();
    assert_eq!(report.message, "0 events found for the time period queried.");
    assert_eq!((report.rows, report.files.len()), (0, 0));
    assert_eq!(objects(&target).await.keys().collect::<Vec<_>>(), ["raw/people/r1-manifest.json"]);
}

#[tokio::test]
async fn the_manifest_tells_what_the_files_are() {
    let (store, target) = (store().await, memory());
    let report = export(&store, &target, small_files(request("r1", 0, 2 * MICROS_PER_DAY), 3)).await.unwrap();
    let objects = objects(&target).await;
    let manifest: serde_json::Value =
        serde_json::from_slice(&objects["raw/people/r1-manifest.json"]).unwrap();
    assert_eq!(manifest["requestId"], "r1");
    assert_eq!(manifest["request"]["startTime"], "1970-01-01T00:00:00.000+0000");
    assert_eq!(manifest["rows"], 7);
    assert_eq!(manifest["rowsByDefinition"]["pageView"], 4);
    let files = manifest["files"].as_array().unwrap();
    assert_eq!(files.len(), 3);
    for (entry, file) in files.iter().zip(&report.files) {
        let bytes = &objects[&format!("raw/people/{}", file.name)];
        assert_eq!(entry["name"], file.name.as_str());
        assert_eq!(entry["bytes"], count(bytes.len()));
        assert_eq!(entry["rows"], count(gunzip(bytes).lines().count()));
        assert_eq!(entry["sha256"], publish::sha256([bytes]).as_str());
    }
    assert_eq!(files[1]["startTime"], files[0]["endTime"]);
    assert_eq!(files[2]["endTime"], "1970-01-03T00:00:00.000+0000");
}

#[tokio::test]
async fn an_export_into_a_folder_is_not_disturbed_by_what_a_killed_one_left() {
    let store = store().await;
    let folder = tempfile::tempdir().unwrap();
    let target = Target::open(&Destination::new(folder.path().to_str().unwrap())).await.unwrap().store;
    let people = folder.path().join("raw/people");
    std::fs::create_dir_all(&people).unwrap();
    // The name under which a local file is staged.
    let name = "r1-events-19700101000000000-19700103000000000.json.gz";
    let half = people.join(format!("{name}#1"));
    std::fs::write(&half, "half").unwrap();
    let asked = || request("r1", 0, 2 * MICROS_PER_DAY);
    let report = export(&store, &target, asked()).await.unwrap();
    assert_eq!(ids(&target, &report).await.len(), 7);
    assert_eq!(std::fs::read(&half).unwrap(), b"half");
    assert!(export(&store, &target, asked()).await.unwrap().repeated);
}

#[tokio::test]
async fn an_empty_prefix_is_the_top_of_the_target() {
    let (store, target) = (store().await, memory());
    let asked = ExportRequest { request_id: None, ..request("", 0, 2 * MICROS_PER_DAY) };
    let report = run(job(&store, &target, "", asked)).await.unwrap();
    let names: BTreeSet<_> = objects(&target).await.into_keys().collect();
    assert_eq!(names, BTreeSet::from([report.manifest.clone(), report.files[0].name.clone()]));
    assert!(Uuid::parse_str(&report.request_id).is_ok());
}

#[derive(Debug, Default)]
struct Seen(Mutex<Vec<Progress>>);

impl ExportProgress for Seen {
    fn advanced(&self, progress: Progress) {
        self.0.lock().unwrap().push(progress);
    }
}

#[tokio::test]
async fn progress_only_grows_and_ends_with_all_rows_and_bytes() {
    let (store, target, seen) = (store().await, memory(), Arc::new(Seen::default()));
    let asked = small_files(request("r1", 0, 2 * MICROS_PER_DAY), 2);
    let progress: Arc<dyn ExportProgress> = Arc::<Seen>::clone(&seen);
    let report = run(ExportJob { progress, ..job(&store, &target, "", asked) }).await.unwrap();
    let seen = seen.0.lock().unwrap();
    assert!(seen.is_sorted_by_key(|told| (told.rows, told.bytes)));
    let last = seen.last().unwrap();
    assert_eq!((last.rows, last.rows_at_most, last.bytes), (7, 7, report.bytes));
}

#[tokio::test]
async fn a_file_that_is_gone_from_the_lake_is_an_error_and_leaves_no_manifest() {
    let (store, target) = (store().await, memory());
    let broken = Store::new(&[]);
    let lake = Arc::clone(&broken.lake);
    let asked = request("r1", 0, 2 * MICROS_PER_DAY);
    let error = run(ExportJob { lake, ..job(&store, &target, "", asked) }).await;
    // A later attempt takes a newer snapshot.
    assert_eq!(error.unwrap_err().kind(), Kind::Unavailable);
    assert!(objects(&target).await.is_empty());
}

/// An event of the model, without Arrow.
#[derive(Clone, Debug)]
struct Modelled {
    micros: i64,
    person: i64,
    text: Option<String>,
    number: Option<i64>,
    amount: Option<f64>,
    email: bool,
}

fn modelled() -> impl Strategy<Value = Modelled> {
    let text = proptest::option::of("\\PC{0,8}[\\x00-\\x7f]{0,3}");
    let amount = proptest::option::of(proptest::num::f64::NORMAL | proptest::num::f64::ZERO);
    // Three days, few milliseconds of each: ties and cuts are frequent.
    let micros = (0_i64..3, 0_i64..9_000).prop_map(|(day, micros)| day * MICROS_PER_DAY + micros);
    (micros, 1_i64..3, text, proptest::option::of(any::<i64>()), amount, any::<bool>()).prop_map(
        |(micros, person, text, number, amount, email)| Modelled {
            micros,
            person,
            text,
            number,
            amount,
            email,
        },
    )
}

/// The same row from another writer: serde_json over the model.
fn expected(nth: usize, event: &Modelled) -> serde_json::Value {
    let milli = event.micros.rem_euclid(MICROS_PER_DAY) / 1_000;
    serde_json::json!({
        "definitionId": if event.email { "emailOpened" } else { "pageView" },
        "eventId": format!("id-{nth}"),
        "sessionId": null,
        "personId": event.person.to_string(),
        "externalPersonId": (event.person == 1).then_some("crm-1"),
        "occuredTime": format!("1970-01-0{}T00:00:00.{milli:03}+0000", event.micros / MICROS_PER_DAY + 1),
        "text": event.text,
        "number": event.number,
        "amount": event.amount,
    })
}

/// Remembers what was published.
#[derive(Debug, Default)]
struct Remembered(Mutex<Vec<PublishedFile>>);

impl Journal for Remembered {
    fn intended(&self, _: &PublishedFile) -> Result<()> {
        Ok(())
    }

    fn published(&self, file: &PublishedFile) -> Result<()> {
        self.0.lock().unwrap().push(file.clone());
        Ok(())
    }
}

/// Rows of one day at few milliseconds, in files of a few rows, so that all kinds of cuts come up.
async fn crowded(milliseconds: &[i64]) -> Store {
    let mut store = Store::new(&[definition("seen", &[("title", ScalarType::String)])]);
    let events: Vec<_> =
        milliseconds.iter().enumerate().map(|(nth, at)| event(&format!("n{nth:02}"), at * 1_000)).collect();
    store.add("seen", &events).await;
    store
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever of an export was published and noted when it was cut off, the next attempt makes it what it would
    /// have been, and writes nothing of the beginning again.
    #[test]
    fn an_attempt_that_was_cut_off_anywhere_is_completed(
        milliseconds in proptest::collection::vec(0_i64..6, 1..40),
        most in 1_usize..6,
        kept in any::<u64>(),
        noted in any::<u64>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let keep = |bits: u64, nth: usize| bits >> (nth % 64) & 1 == 1;
        let (whole, resumed, again) = runtime.block_on(async {
            let store = crowded(&milliseconds).await;
            let asked = || small_files(request("r1", 0, 10_000), most);
            let (target, journal) = (memory(), Arc::new(Remembered::default()));
            let all: Arc<dyn Journal> = Arc::<Remembered>::clone(&journal);
            run(ExportJob { journal: Some(all), ..job(&store, &target, "", asked()) }).await.unwrap();
            let whole = objects(&target).await;
            let files = journal.0.lock().unwrap().clone();
            let (target, journal) = (memory(), Arc::new(Remembered::default()));
            let mut done = Vec::new();
            for (nth, file) in files.iter().enumerate() {
                if keep(kept, nth) {
                    let path = Path::from(file.file.name.as_str());
                    target.put(&path, whole[&file.file.name].clone().into()).await.unwrap();
                    if keep(noted, nth) {
                        done.push(file.clone());
                    }
                }
            }
            let again: Arc<dyn Journal> = Arc::<Remembered>::clone(&journal);
            let job = ExportJob { done, journal: Some(again), ..job(&store, &target, "", asked()) };
            run(job).await.unwrap();
            let again = journal.0.lock().unwrap().clone();
            (whole, objects(&target).await, again)
        });
        prop_assert_eq!(resumed, whole);
        if kept & noted & 1 == 1 && most > milliseconds.len() {
            prop_assert!(again.is_empty());
        }
    }
}

#[tokio::test]
async fn events_that_came_after_the_first_attempt_are_left_out_of_all_attempts() {
    let (mut store, target) = (store().await, memory());
    let asked = || small_files(request("r1", 0, 2 * MICROS_PER_DAY), 3);
    let seen = |store: &Store| ExportJob { seen: Some(4), ..job(store, &target, "raw/people", asked()) };
    let first = run(seen(&store)).await.unwrap();
    assert_eq!(first.rows, 7);
    let complete = objects(&target).await;
    for gone in [&first.manifest, &first.files[1].name] {
        target.delete(&Path::from("raw/people").join(gone.as_str())).await.unwrap();
    }
    // In the same day and millisecond, and with greater numbers than all before.
    let filler = (0..4).map(|nth| event(&format!("a{nth}"), 2_000 + nth));
    store.add_from("pageView", 5, &filler.collect::<Vec<_>>()).await;
    assert_eq!(run(seen(&store)).await.unwrap().files, first.files);
    assert_eq!(objects(&target).await, complete);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn an_independent_reader_and_writer_agree_with_every_row(
        events in proptest::collection::vec(modelled(), 0..60),
        most in 1_usize..20,
        start in 0_i64..6,
        days in 1_i64..4,
    ) {
        let kinds =
            [("text", ScalarType::String), ("number", ScalarType::Numeric), ("amount", ScalarType::Decimal)];
        let end = days * MICROS_PER_DAY + 5_000;
        let start = start * 1_000;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (files, report) = runtime.block_on(async {
            let mut store = Store::new(&[definition("emailOpened", &kinds), definition("pageView", &kinds)]);
            for email in [true, false] {
                let some: Vec<_> = events
                    .iter()
                    .enumerate()
                    .filter(|(_, event)| event.email == email)
                    .map(|(nth, event)| Event {
                        person: event.person,
                        ..Event::new(format!("id-{nth}"), event.micros, vec![
                            event.text.clone().map_or(Value::Null, Value::Text),
                            event.number.map_or(Value::Null, Value::Int),
                            event.amount.map_or(Value::Null, Value::Float),
                        ])
                    })
                    .collect();
                store.add(if email { "emailOpened" } else { "pageView" }, &some).await;
            }
            let target = memory();
            let report = export(&store, &target, small_files(request("r1", start, end), most)).await.unwrap();
            (objects(&target).await, report)
        });
        let mut model: Vec<_> = events
            .iter()
            .enumerate()
            .filter(|(_, event)| (start..end).contains(&event.micros))
            .map(|(nth, event)| (event.micros / 1_000, format!("id-{nth}"), expected(nth, event)))
            .collect();
        model.sort_by(|one, next| (one.0, &one.1).cmp(&(next.0, &next.1)));
        let mut rows = Vec::new();
        for file in &report.files {
            let text = gunzip(&files[&format!("raw/people/{}", file.name)]);
            prop_assert_eq!(count(text.lines().count()), file.rows);
            rows.extend(text.lines().map(str::to_owned));
        }
        let model: Vec<_> = model.into_iter().map(|(_, _, row)| row.to_string()).collect();
        prop_assert_eq!(rows, model);
    }
}
