use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::export::run::NoProgress;
use crate::export::run::Progress;
use crate::export::schedule::Schedule;
use crate::export::target::Destination;
use crate::export::testing::Event;
use crate::export::testing::Value;
use crate::export::testing::batch;
use crate::export::testing::definition;
use crate::ids::PersonId;
use crate::person::Profile;
use crate::schema::EventBatch;
use crate::storage::Batch;
use crate::storage::StorageConfig;
use crate::time::StoppedClock;
use crate::time::TimeRange;
use crate::value::ScalarType;

const HOUR: i64 = 3_600_000_000;
const NOW: i64 = 1_000 * 24 * HOUR;
const RETRIES: Retries = Retries { most: 3, first_pause: Duration::from_secs(30) };

struct Place {
    folder: TempDir,
    clock: Arc<StoppedClock>,
    exports: Exports,
}

/// A store with `rows` events of the day before NOW, one each minute.
async fn place(rows: i64) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(StoppedClock::at(Micros(NOW)));
    let exports = open(&folder, &clock).await;
    exports.storage.define([seen()]).unwrap();
    let place = Place { folder, clock, exports };
    if rows > 0 {
        place.add(1, rows).await;
    }
    place
}

fn seen() -> crate::schema::Definition {
    definition("seen", &[("title", ScalarType::String)])
}

async fn open(folder: &TempDir, clock: &Arc<StoppedClock>) -> Exports {
    let config = StorageConfig::new(folder.path().join("data"), Arc::<StoppedClock>::clone(clock));
    Exports::new(Storage::open(config).await.unwrap(), 2, RETRIES)
}

impl Place {
    async fn add(&self, first: i64, rows: i64) {
        let storage = &self.exports.storage;
        let event = |nth: i64| {
            let at = NOW - 24 * HOUR + nth * 60_000_000;
            Event::new(format!("n{nth}"), at, vec![Value::Text("x".to_owned())])
        };
        let events: Vec<_> = (first..first + rows).map(event).collect();
        let definition = Arc::clone(storage.registry().get("seen").unwrap());
        let events = vec![EventBatch { rows: batch(&seen(), first, &events), definition }];
        storage.commit(Batch { events, last_seq: first + rows - 1, ..Batch::default() }).await.unwrap();
    }

    fn out(&self) -> String {
        self.folder.path().join("out").display().to_string()
    }

    /// The day before NOW.
    fn order(&self, id: &str) -> ExportOrder {
        let range = TimeRange { start: Micros(NOW - 24 * HOUR), end: Micros(NOW - 1) };
        let range = TimeRange { end: Micros(range.end.0 / 1_000 * 1_000), ..range };
        ExportOrder {
            request_id: Some(id.to_owned()),
            ..ExportOrder::new(Destination::new(self.out()), range)
        }
    }

    fn submit(&self, id: &str) -> String {
        self.exports.submit(self.order(id), &ExportRules::published()).unwrap()
    }

    async fn work(&self, id: &str) -> Worked {
        self.exports.work(id, Arc::new(NoProgress)).await.unwrap()
    }

    fn status(&self, id: &str) -> (ExportStatus, Option<String>) {
        let state = self.exports.status(id).unwrap();
        (state.status, state.message)
    }
}

#[tokio::test]
async fn a_request_is_taken_worked_on_and_told() {
    let place = place(10).await;
    let id = place.submit("r1");
    assert_eq!(place.status(&id), (ExportStatus::Submitted, None));
    let Worked::Attempted(Some(report)) = place.work(&id).await else { panic!("no report") };
    assert_eq!(report.rows, 10);
    let state = place.exports.status(&id).unwrap();
    assert_eq!(state.status, ExportStatus::CompletedSuccessfully);
    assert_eq!((state.rows, state.attempts, state.seen), (10, 1, Some(10)));
    assert_eq!(place.work(&id).await, Worked::Over);
    assert_eq!(place.exports.list().unwrap().len(), 1);
}

#[tokio::test]
async fn the_same_request_again_is_the_one_that_is_there_and_another_under_its_id_is_refused() {
    let place = place(1).await;
    place.submit("r1");
    assert_eq!(place.submit("r1"), "r1");
    let other = ExportOrder { enrich_moments: true, ..place.order("r1") };
    let fault = place.exports.submit(other, &ExportRules::published()).unwrap_err();
    assert_eq!(fault.kind(), Kind::Conflict);
    assert_eq!(place.exports.list().unwrap().len(), 1);
    let unknown = ExportOrder { definitions: vec!["sen".to_owned()], ..place.order("r2") };
    let fault = place.exports.submit(unknown, &ExportRules::published()).unwrap_err();
    assert!(fault.to_string().contains("did you mean \"seen\""), "{fault}");
}

#[tokio::test]
async fn three_days_may_be_in_progress_and_no_more() {
    let place = place(1).await;
    for id in ["r1", "r2", "r3"] {
        place.submit(id);
    }
    let four = || place.order("r4");
    let fault = place.exports.submit(four(), &ExportRules::published()).unwrap_err();
    assert_eq!(fault.kind(), Kind::TooMany);
    assert!(fault.message().starts_with("72 hours of export are in progress and at most 72"), "{fault}");
    place.work("r2").await;
    place.exports.submit(four(), &ExportRules::published()).unwrap();
    place.exports.submit(place.order("r5"), &ExportRules::unlimited()).unwrap();
}

#[tokio::test]
async fn no_rows_are_a_success_that_says_so() {
    let place = place(0).await;
    place.submit("r1");
    place.work("r1").await;
    let message = "0 events found for the time period queried.".to_owned();
    assert_eq!(place.status("r1"), (ExportStatus::CompletedSuccessfully, Some(message)));
}

#[tokio::test]
async fn what_may_pass_is_tried_again_when_it_is_time_and_what_came_later_stays_out() {
    let place = place(10).await;
    place.submit("r1");
    // A file in the way of the folder: the disk's fault, as far as we can tell.
    std::fs::write(place.out(), "in the way").unwrap();
    place.work("r1").await;
    let (status, message) = place.status("r1");
    assert_eq!(status, ExportStatus::FailedAwaitingRetry);
    assert!(message.unwrap().starts_with("Exception caught while trying to push file to S3. "));
    std::fs::remove_file(place.out()).unwrap();
    let at = Micros(NOW + 30_000_000);
    assert_eq!(place.work("r1").await, Worked::NotBefore(at));
    place.add(11, 5).await;
    place.clock.set(at);
    let (attempts, next) = place.exports.run_due(Arc::new(NoProgress)).await.unwrap();
    assert_eq!((attempts, next), (1, None));
    let state = place.exports.status("r1").unwrap();
    assert_eq!((state.status, state.rows, state.attempts), (ExportStatus::CompletedSuccessfully, 10, 2));
}

#[tokio::test]
async fn what_cannot_succeed_fails_at_once() {
    let place = place(10).await;
    place.submit("r1");
    let name = place.folder.path().join("out/r1-manifest.json");
    std::fs::create_dir_all(place.out()).unwrap();
    std::fs::write(name, "not a manifest").unwrap();
    place.work("r1").await;
    let (status, message) = place.status("r1");
    assert_eq!(status, ExportStatus::FailedAfterMaxRetries);
    assert!(message.unwrap().contains("is not a manifest"));
}

#[tokio::test]
async fn what_nobody_works_on_is_cancelled_and_stays_so() {
    let place = place(10).await;
    place.submit("r1");
    let state = place.exports.cancel("r1").unwrap();
    assert_eq!(state.status, ExportStatus::CancelledByCustomer);
    assert!(state.message.unwrap().starts_with("Cancellation complete, cancellation request received at "));
    assert_eq!(place.exports.cancel("r1").unwrap_err().kind(), Kind::Conflict);
    assert_eq!(place.exports.cancel("r9").unwrap_err().kind(), Kind::NotFound);
    assert_eq!(place.work("r1").await, Worked::Over);
    assert!(!std::path::Path::new(&place.out()).try_exists().unwrap());
}

/// Cancels the export that tells it of its progress.
#[derive(Debug)]
struct Canceller {
    exports: Arc<Exports>,
    seen: Mutex<Vec<ExportState>>,
}

impl ExportProgress for Canceller {
    fn advanced(&self, _: Progress) {
        if let Ok(state) = self.exports.cancel("r1") {
            self.seen.lock().unwrap().push(state);
        }
    }
}

#[tokio::test]
async fn what_is_being_worked_on_is_pending_until_it_has_stopped() {
    let place = place(10).await;
    place.submit("r1");
    let exports = Arc::new(place.exports);
    let canceller = Arc::new(Canceller { exports: Arc::clone(&exports), seen: Mutex::default() });
    let progress: Arc<dyn ExportProgress> = Arc::<Canceller>::clone(&canceller);
    assert_eq!(exports.work("r1", progress).await.unwrap(), Worked::Attempted(None));
    let seen = canceller.seen.lock().unwrap();
    assert_eq!(seen[0].status, ExportStatus::Submitted);
    assert!(seen[0].message.as_ref().unwrap().starts_with("Cancellation pending, "));
    assert_eq!(exports.status("r1").unwrap().status, ExportStatus::CancelledByCustomer);
    let manifest = place.folder.path().join("out/r1-manifest.json");
    assert!(!manifest.try_exists().unwrap());
}

/// Ends the attempt by a panic, as a crash would.
#[derive(Debug)]
struct Crash;

impl ExportProgress for Crash {
    fn advanced(&self, _: Progress) {
        panic!("the lights went out");
    }
}

#[tokio::test]
async fn a_restart_goes_on_with_what_was_running() {
    let place = place(10).await;
    place.submit("r1");
    let folder = place.folder;
    let clock = Arc::clone(&place.clock);
    let exports = place.exports;
    let crashed = tokio::spawn(async move { exports.work("r1", Arc::new(Crash)).await.map(|_| ()) });
    assert!(crashed.await.unwrap_err().is_panic());
    let exports = open(&folder, &clock).await;
    assert_eq!(exports.status("r1").unwrap().status, ExportStatus::InProgress);
    let again = Place { folder, clock, exports };
    again.add(11, 5).await;
    // As the task of a server does it.
    let exports = again.exports;
    let work = async move { exports.run_due(Arc::new(NoProgress)).await.map(|_| exports) };
    let exports = tokio::spawn(work).await.unwrap().unwrap();
    let state = exports.status("r1").unwrap();
    assert_eq!((state.status, state.rows, state.attempts), (ExportStatus::CompletedSuccessfully, 10, 2));
}

fn every(minutes: i64, grace: i64, next: i64) -> Schedule {
    Schedule { every: minutes * 60_000_000, grace: grace * 60_000_000, next: Micros(next) }
}

#[tokio::test]
async fn a_schedule_asks_for_each_interval_once_also_after_downtime_and_counts_what_came_late() {
    let place = place(60).await;
    let order = ExportOrder { request_id: None, ..place.order("") };
    // The day before NOW, hour by hour; the last two are not over with their grace.
    place.exports.create_schedule("hourly", order.clone(), every(60, 90, NOW - 24 * HOUR)).unwrap();
    let again = place.exports.create_schedule("hourly", order, every(60, 90, 0)).unwrap_err();
    assert_eq!(again.kind(), Kind::Conflict);
    let (attempts, next) = place.exports.run_due(Arc::new(NoProgress)).await.unwrap();
    assert_eq!((attempts, next), (22, Some(Micros(NOW + HOUR / 2))));
    let all = place.exports.list().unwrap();
    let rows: Vec<u64> = all.iter().map(|one| one.rows).collect();
    assert_eq!((rows[0], rows[1], rows[2..].iter().sum::<u64>()), (59, 1, 0));
    assert_eq!(all[0].request_id, "hourly-19720926000000000");
    assert!(all.iter().zip(&all[1..]).all(|(one, next)| one.order.end == next.order.start));
    // Nothing is asked for twice, by whoever looks.
    assert_eq!(place.exports.run_due(Arc::new(NoProgress)).await.unwrap().0, 0);
    // Thirty events of the second hour come too late.
    place.add(61, 30).await;
    place.exports.run_due(Arc::new(NoProgress)).await.unwrap();
    let late: Vec<u64> = place.exports.list().unwrap().iter().map(|one| one.late).collect();
    assert_eq!((late[0], late[1], late[2..].iter().sum::<u64>()), (0, 30, 0));
    // Ten hours of downtime.
    place.clock.set(Micros(NOW + 10 * HOUR));
    assert_eq!(place.exports.run_due(Arc::new(NoProgress)).await.unwrap().0, 10);
    place.exports.drop_schedule("hourly").unwrap();
    assert_eq!(place.exports.drop_schedule("hourly").unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_schedule_that_was_dropped_and_made_again_exports_nothing_twice() {
    let place = place(60).await;
    let order = || ExportOrder { request_id: None, ..place.order("") };
    place.exports.create_schedule("d", order(), every(60, 0, NOW - 24 * HOUR)).unwrap();
    assert_eq!(place.exports.run_due(Arc::new(NoProgress)).await.unwrap().0, 24);
    place.exports.drop_schedule("d").unwrap();
    place.exports.create_schedule("d", order(), every(60, 0, NOW - 24 * HOUR)).unwrap();
    assert_eq!(place.exports.run_due(Arc::new(NoProgress)).await.unwrap().0, 0);
    let wrong = place.exports.create_schedule("a b", order(), every(60, 0, 0)).unwrap_err();
    assert!(wrong.message().contains("1 to 40"), "{wrong}");
}

/// Everything that was written, by name.
fn written(place: &Place) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(place.out())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap()))
        .collect()
}

/// Makes the export as it was when its process died: begun, some files there that nobody has noted yet, no manifest.
fn cut_off(place: &Place, id: &str, gone: &[&str]) {
    let catalog = rusqlite::Connection::open(place.folder.path().join("data/catalog.db")).unwrap();
    let begun =
        "UPDATE exports SET status = 'IN_PROGRESS', finished_at = NULL, rows = 0, bytes = 0 WHERE id = ?1";
    assert_eq!(catalog.execute(begun, [id]).unwrap(), 1);
    catalog.execute("UPDATE export_files SET there = 0 WHERE export = ?1", [id]).unwrap();
    for name in gone {
        std::fs::remove_file(format!("{}/{name}", place.out())).unwrap();
    }
}

/// A store whose events are of a person who is merged into an older one when `merge` is called.
async fn place_with_persons(rows: i64) -> Place {
    let place = place(0).await;
    let people = place.exports.storage.change_people(|people| {
        let mut person = |name: &str, created: i64| {
            let external_id = Some(name.to_owned());
            people.create(&Profile { external_id, ..Profile::new(PersonId(0), Micros(created)) })
        };
        Ok((person("young", NOW - HOUR)?, person("old", 1)?))
    });
    assert_eq!(people.await.unwrap(), (PersonId(1), PersonId(2)));
    place.add(1, rows).await;
    place
}

async fn merge(place: &Place) {
    let merged = place.exports.storage.change_people(|people| people.merge(PersonId(1), PersonId(2), "test"));
    assert_eq!(merged.await.unwrap(), Some(PersonId(2)));
}

#[tokio::test]
async fn br29_a_merge_and_late_events_between_two_attempts_change_no_byte() {
    let place = place_with_persons(100).await;
    let order = ExportOrder { rows_per_file: 20, ..place.order("r1") };
    place.exports.submit(order, &ExportRules::unlimited()).unwrap();
    assert!(matches!(place.work("r1").await, Worked::Attempted(Some(_))));
    let whole = written(&place);
    assert_eq!(whole.len(), 6);
    let names: Vec<_> = whole.keys().map(String::as_str).collect();
    // Of five files the first and the fourth had been put.
    let manifest = *names.iter().find(|name| name.ends_with("manifest.json")).unwrap();
    let gone = [names[1], names[2], names[4], manifest];
    cut_off(&place, "r1", &gone);
    merge(&place).await;
    place.add(101, 50).await;
    assert!(matches!(place.work("r1").await, Worked::Attempted(Some(_))));
    assert_eq!(written(&place), whole);
    let state = place.exports.status("r1").unwrap();
    assert_eq!((state.status, state.files, state.rows), (ExportStatus::CompletedSuccessfully, 5, 100));
    assert_eq!(state.seen, Some(100));
    // A new request sees both.
    place.submit("r2");
    place.work("r2").await;
    let (_, bytes) = written(&place).into_iter().find(|(name, _)| name.starts_with("r2-events")).unwrap();
    let text = crate::export::testing::gunzip(&bytes);
    assert_eq!((text.lines().count(), text.matches("\"personId\":\"2\"").count()), (150, 150));
}

#[tokio::test]
async fn br29_a_file_that_was_put_and_not_noted_stays_whatever_its_rows_would_be_today() {
    let place = place_with_persons(60).await;
    let order = ExportOrder { rows_per_file: 20, ..place.order("r1") };
    place.exports.submit(order, &ExportRules::unlimited()).unwrap();
    place.work("r1").await;
    let before = written(&place);
    let names: Vec<_> = before.keys().map(String::as_str).collect();
    let manifest = *names.iter().find(|name| name.ends_with("manifest.json")).unwrap();
    cut_off(&place, "r1", &[names[0], manifest]);
    // What no pin holds: the rows have one field more.
    let mut wider = seen();
    wider.properties.push(crate::schema::Property::scalar("note", ScalarType::String));
    place.exports.storage.define([wider]).unwrap();
    assert!(matches!(place.work("r1").await, Worked::Attempted(Some(_))));
    let after = written(&place);
    assert_eq!(after.len(), before.len());
    for name in [names[1], names[2]] {
        assert_eq!(after[name], before[name]);
    }
    assert!(crate::export::testing::gunzip(&after[names[0]]).contains("\"note\":null"));
}
