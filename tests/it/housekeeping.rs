//! What keeps a store in order: verification, backups, retention, forgetting.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use crate::harness::Store;

fn view(id: &str, person: &str, day: &str) -> String {
    format!(
        "{{\"definitionId\":\"pageView\",\"eventId\":\"{id}\",\"externalPersonId\":\"{person}\",\
         \"occurredTime\":\"{day}T10:00:00Z\",\"properties\":{{\"path\":\"/of-{person}\"}}}}\n"
    )
}

fn some_views() -> String {
    let mut lines = String::new();
    for number in 0..300 {
        let (person, day) = (format!("p{}", number % 7), format!("2026-06-{:02}", 1 + number % 5));
        lines.push_str(&view(&format!("e{number}"), &person, &day));
    }
    lines
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn verify_finds_nothing_wrong_with_a_good_store_and_a_changed_byte_with_its_file() {
    let store = Store::with_seats();
    store.run_with(["ingest", "--quiet", "-"], &some_views()).fine();
    store.import("more", &view("later", "p1", "2026-07-01")).fine();
    let said = store.run(["verify"]).fine();
    assert!(said.contains("301 events") && said.ends_with("everything is as it should be\n"), "{said}");
    assert_eq!(store.rows("VERIFY").first().map(|row| row.ends_with(",0,")), Some(true));

    // A byte in the middle of a file's first pages, and a file that is gone.
    let data = files(&store.path("data").join("lake"));
    let data: Vec<_> =
        data.iter().filter(|path| path.extension().is_some_and(|end| end == "parquet")).collect();
    let mut bytes = fs::read(data[0]).unwrap();
    bytes[6] ^= 0x55;
    bytes[20] ^= 0x55;
    fs::write(data[0], bytes).unwrap();
    fs::remove_file(data[1]).unwrap();
    let run = store.run(["verify"]);
    assert_eq!(run.code, Some(4), "{run:?}");
    for path in &data[..2] {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(run.stdout.contains(name), "{}", run.stdout);
    }
    assert!(!run.stdout.contains("as it should be"), "{}", run.stdout);
}

#[test]
fn a_backup_gives_the_same_store_again_and_a_damaged_one_none() {
    let store = Store::with_seats();
    store.run_with(["ingest", "--quiet", "-"], &some_views()).fine();
    let backup = store.path("backup");
    let backup = backup.to_str().unwrap();
    let said = store.run(["backup", backup]).fine();
    assert!(said.contains("files") && said.contains(backup), "{said}");
    // A bare name is a folder where one stands.
    store.run(["backup", "kept"]).fine();
    assert!(store.path("kept").join("backup.json").try_exists().unwrap());
    let again = store.run(["backup", backup]).fails(2);
    assert!(again.contains("has something in it already"), "{again}");
    // What comes later is not in it; a statement makes one too.
    store.run_with(["ingest", "--quiet", "-"], &view("later", "p1", "2026-07-01")).fine();
    let other = store.path("other");
    store.sql(&format!("BACKUP TO '{}'", other.display())).fine();

    let restored = Store::new();
    let over = restored.path("data");
    restored.run(["restore", backup]).fine();
    assert!(over.join("catalog.db").try_exists().unwrap());
    restored.run(["verify"]).fine();
    let all = "SELECT eventId, personId, externalPersonId, path, seq FROM pageView WHERE eventId <> 'later' ORDER BY 1";
    assert_eq!(store.rows(all), restored.rows(all));
    assert_eq!(restored.rows("SELECT COUNT(*) FROM pageView"), ["300"]);
    // It goes on as the first one did: known events are known, new ones get the next numbers.
    let lines = view("e7", "p0", "2026-06-03") + &view("new", "p1", "2026-07-02");
    let run = restored.run_with(["ingest", "-"], &lines);
    assert!(run.stdout.contains("\"duplicate\"") && run.stdout.contains("\"seq\":301"), "{run:?}");
    assert!(restored.run(["restore", backup]).fails(2).contains("has something in it already"));

    let run = Store::new();
    let damaged = files(Path::new(backup))
        .into_iter()
        .find(|path| path.extension().is_some_and(|end| end == "parquet"));
    let damaged = damaged.unwrap();
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[10] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let said = run.run(["restore", backup]).fails(4);
    assert!(said.contains(damaged.file_name().unwrap().to_str().unwrap()), "{said}");
    assert!(!run.path("data").try_exists().unwrap());
    assert!(run.run(["restore", store.path("nothing").to_str().unwrap()]).fails(2).contains("no backup"));
}

#[test]
fn events_older_than_their_retention_are_gone_and_stay_gone() {
    let store = Store::with_seats();
    let lines = view("old", "p1", "2020-02-01")
        + &view("older", "p2", "2019-02-01")
        + &view("new", "p1", "2126-01-01");
    store.run_with(["ingest", "--quiet", "-"], &lines).fine();
    let said = store.sql("ALTER EVENT pageView SET RETENTION 6 MONTHS").fine();
    assert_eq!(said, "events of pageView are kept for 6 months; 2 events were older and are removed\n");
    assert_eq!(store.rows("SELECT eventId FROM pageView"), ["new"]);
    assert_eq!(store.rows("SHOW RETENTION"), ["pageView,6 months"]);
    // A late retry does not bring it back.
    let run = store.run_with(["ingest", "-"], &lines);
    assert_eq!(run.stdout.matches("\"duplicate\"").count(), 3, "{run:?}");
    assert_eq!(store.rows("SELECT COUNT(*) FROM pageView"), ["1"]);
    store.run(["verify"]).fine();
    assert_eq!(
        store.sql("ALTER EVENT pageView SET RETENTION NONE").fine(),
        "events of pageView are kept for ever\n"
    );
    assert!(store.rows("SHOW RETENTION").is_empty());
    let wrong = store.sql("ALTER EVENT pageView SET RETENTION 6 MOONS").fails(2);
    assert!(wrong.contains("DAYS, WEEKS, MONTHS or YEARS"), "{wrong}");
    assert!(store.sql("ALTER EVENT pageVeiw SET RETENTION 6 MONTHS").fails(2).contains("pageView"));
}

#[test]
fn a_forgotten_person_is_nowhere_on_the_disk_and_a_receipt_says_so() {
    let store = Store::with_seats();
    // In the lake, in the log, and in the quarantine.
    store.import("first", &(some_views() + &view("g1", "gone-and-forgotten", "2026-06-02"))).fine();
    let refused = "{\"definitionId\":\"pageView\",\"externalPersonId\":\"gone-and-forgotten\"}\n";
    let lines = view("g2", "gone-and-forgotten", "2026-06-03") + refused + &view("g3", "p1", "2026-06-03");
    store.run_with(["ingest", "--quiet", "-"], &lines);
    let named = |store: &Store| -> Vec<PathBuf> {
        let holds = |path: &PathBuf| {
            let bytes = fs::read(path).unwrap();
            bytes.windows(18).any(|window| window == b"gone-and-forgotten")
        };
        files(&store.path("data")).into_iter().filter(holds).collect()
    };
    assert!(!named(&store).is_empty());
    let said = store.sql("FORGET PERSON 'gone-and-forgotten'").fine();
    for part in ["\"pageView\": 2", "\"identifiers\": 1", "\"refusedRows\": 1", "\"personId\": 8"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(named(&store), Vec::<PathBuf>::new());
    assert_eq!(store.rows("SELECT COUNT(*), COUNT(DISTINCT personId) FROM pageView"), ["301,7"]);
    assert_eq!(store.rows("SELECT COUNT(*) FROM system.rejected"), ["0"]);
    store.run(["verify"]).fine();
    // Nobody is known so any more, and whoever comes under the name is somebody else.
    let nobody = store.sql("FORGET PERSON 'gone-and-forgotten'").fails(2);
    assert!(nobody.contains("nobody is known"), "{nobody}");
    let run = store.run_with(["ingest", "-"], &view("g9", "gone-and-forgotten", "2026-06-03"));
    assert!(run.stdout.contains("\"personId\":9"), "{run:?}");
}
