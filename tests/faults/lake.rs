//! A lake in a bucket behind a line that fails in every way: each event is there once, and so is each answer.

use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use crate::faults::Fault;
use crate::faults::Moto;
use crate::faults::Proxy;
use crate::harness::Run;
use crate::harness::Store;
use crate::harness::seat;
use crate::needs;
use crate::python;
use crate::text;

const BUCKET: &str = "acme-lake";

/// Events `first..first + rows` of three days.
fn seats(first: usize, rows: usize) -> String {
    (first..first + rows)
        .map(|nth| {
            let time = format!("2026-06-0{}T10:{:02}:{:02}Z", 1 + nth % 3, nth % 60, nth % 59);
            seat(&format!("e{nth}"), &format!("p{}", nth % 7), &time, &format!("{{\"venueId\":{nth}}}"))
        })
        .collect()
}

fn place(test: &str) -> Option<(Moto, String)> {
    let interpreter = needs(test, "MILEPOST_TEST_PYTHON")?;
    let moto = Moto::start(&interpreter);
    let store = Store::new();
    let file = store.file("marker.txt", "x");
    python(&interpreter, "bucket.py", &[moto.url().as_str(), "put", BUCKET, "marker.txt", text(&file)]);
    Some((moto, interpreter))
}

fn run(store: &Store, endpoint: &str, args: &[&str]) -> Run {
    let mut command: Command = store.command(args);
    command
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_ACCESS_KEY_ID", "testing")
        .env("AWS_SECRET_ACCESS_KEY", "testing")
        .env("AWS_REGION", "eu-central-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env_remove("AWS_PROFILE");
    let output = command.stdin(Stdio::null()).output().unwrap();
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

const DEFINE: &str = "CREATE EVENT seatReserved TITLE 'Seat reserved' (venueId NUMERIC)";
const COUNTS: &str = "SELECT day, COUNT(*), COUNT(DISTINCT eventId), COUNT(DISTINCT seq), SUM(venueId) FROM seatReserved GROUP BY day ORDER BY day";
const ONE_DAY: &str =
    "SELECT COUNT(*), COUNT(DISTINCT personId) FROM seatReserved WHERE day = '2026-06-02' AND venueId < 100";

fn asked(store: &Store, endpoint: &str, sql: &str) -> String {
    run(store, endpoint, &["sql", "--format", "csv", "-c", sql]).fine()
}

/// The files that lie in the lake of a data directory itself.
fn local_files(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| if path.is_dir() { local_files(&path) } else { 1 })
        .sum()
}

/// The same work on a lake; what it answers.
fn work(store: &Store, endpoint: &str, lake: Option<&str>) -> [String; 2] {
    let mut define = vec!["sql", "-c", DEFINE];
    if let Some(lake) = lake {
        define.extend(["--lake", lake]);
    }
    run(store, endpoint, &define).fine();
    for round in 0..3 {
        let file = store.file(&format!("{round}.jsonl"), seats(round * 100, 150));
        run(store, endpoint, &["import", "--quiet", text(&file)]).fine();
    }
    let before = asked(store, endpoint, COUNTS);
    run(store, endpoint, &["compact"]).fine();
    assert_eq!(asked(store, endpoint, COUNTS), before);
    [before, asked(store, endpoint, ONE_DAY)]
}

#[test]
fn br30_a_lake_in_a_bucket_answers_as_one_on_the_disk_whatever_the_line_does() {
    let test = "br30_a_lake_in_a_bucket_answers_as_one_on_the_disk_whatever_the_line_does";
    let Some((moto, _)) = place(test) else { return };
    let expected = work(&Store::new(), &moto.url(), None);
    let faults = [
        Fault::None,
        Fault::DropBefore,
        Fault::LostAnswer,
        Fault::Broken,
        Fault::DoneAndBroken,
        Fault::Lie,
        Fault::Delayed,
    ];
    for fault in faults {
        let proxy = Proxy::once_each(&moto, fault);
        let store = Store::new();
        let lake = format!("s3://{BUCKET}/{fault:?}");
        assert_eq!(work(&store, &proxy.url, Some(&lake)), expected, "{fault:?}");
        // Without a line that fails: nothing that is stored is amiss, and nothing is kept twice.
        run(&store, &moto.url(), &["verify"]).fine();
        assert_eq!(local_files(&store.path("data/lake")), 0);
    }
    // Whatever is asked of the bucket may fail at first.
    let count = AtomicUsize::new(0);
    let proxy = Proxy::start(&moto, move |_| match count.fetch_add(1, Ordering::SeqCst) % 5 {
        0 => Fault::Broken,
        2 => Fault::DropBefore,
        _ => Fault::None,
    });
    let store = Store::new();
    assert_eq!(work(&store, &proxy.url, Some(&format!("s3://{BUCKET}/any"))), expected);
    run(&store, &moto.url(), &["verify"]).fine();
}

#[test]
fn a_lake_belongs_to_one_data_directory_which_knows_where_it_is() {
    let test = "a_lake_belongs_to_one_data_directory_which_knows_where_it_is";
    let Some((moto, _)) = place(test) else { return };
    let (store, lake) = (Store::new(), format!("s3://{BUCKET}/one"));
    work(&store, &moto.url(), Some(&lake));
    let other = Store::new();
    let refused = run(&other, &moto.url(), &["--lake", &lake, "sql", "-c", "SELECT 1"]).fails(2);
    assert!(refused.contains("belongs to another data directory"), "{refused}");
    let elsewhere = format!("s3://{BUCKET}/two");
    let refused = run(&store, &moto.url(), &["--lake", &elsewhere, "sql", "-c", "SELECT 1"]).fails(2);
    assert!(refused.contains(&format!("is in {lake}")), "{refused}");
    let local = Store::new();
    work(&local, &moto.url(), None);
    let refused = run(&local, &moto.url(), &["--lake", &elsewhere, "sql", "-c", "SELECT 1"]).fails(2);
    assert!(refused.contains("is on the local disk"), "{refused}");
    // A question of a store that is open costs the files that it reads, and no look at what else may be there.
    let (once, often) = (Proxy::start(&moto, |_| Fault::None), Proxy::start(&moto, |_| Fault::None));
    asked(&store, &once.url, ONE_DAY);
    asked(&store, &often.url, &[ONE_DAY; 20].join("; "));
    let looks = |line: &Proxy| line.seen().into_iter().filter(|one| !one.path.contains("day")).count();
    assert_eq!(looks(&often), looks(&once));
    // Pruning reads no file of other days.
    let plain = Proxy::start(&moto, |_| Fault::None);
    asked(&store, &plain.url, ONE_DAY);
    let read: Vec<String> =
        plain.seen().into_iter().filter(|one| one.path.contains("day")).map(|one| one.path).collect();
    assert!(!read.is_empty() && read.iter().all(|path| path.contains("2026-06-02")), "{read:?}");
}

#[test]
fn a_person_is_forgotten_and_old_events_go_in_a_bucket_too() {
    let test = "a_person_is_forgotten_and_old_events_go_in_a_bucket_too";
    let Some((moto, interpreter)) = place(test) else { return };
    let (store, lake) = (Store::new(), format!("s3://{BUCKET}/forget"));
    work(&store, &moto.url(), Some(&lake));
    run(&store, &moto.url(), &["sql", "-c", "FORGET PERSON 'p3'"]).fine();
    let left = "SELECT COUNT(*) FROM seatReserved WHERE externalPersonId = 'p3'";
    assert_eq!(asked(&store, &moto.url(), left).lines().last(), Some("0"));
    run(&store, &moto.url(), &["verify"]).fine();
    let listed =
        python(&interpreter, "bucket.py", &[moto.url().as_str(), "list", BUCKET, "forget/seatReserved/day"]);
    assert_eq!(listed.lines().count(), 3, "{listed}");
}

#[test]
fn a_backup_goes_to_a_bucket_and_comes_back_to_a_disk_or_to_another_lake() {
    let test = "a_backup_goes_to_a_bucket_and_comes_back_to_a_disk_or_to_another_lake";
    let Some((moto, _)) = place(test) else { return };
    for lake in [None, Some(format!("s3://{BUCKET}/from"))] {
        let store = Store::new();
        let expected = work(&store, &moto.url(), lake.as_deref());
        let backup = format!("s3://{BUCKET}/backups/{}", lake.is_some());
        // A line that loses answers makes no difference.
        let proxy = Proxy::once_each(&moto, Fault::LostAnswer);
        run(&store, &proxy.url, &["backup", &backup]).fine();
        let again = run(&store, &moto.url(), &["backup", &backup]).fails(2);
        assert!(again.contains("has something in it already"), "{again}");

        let on_disk = Store::new();
        run(&on_disk, &moto.url(), &["restore", &backup]).fine();
        assert!(local_files(&on_disk.path("data/lake")) > 0);
        // The disk is all that it needs.
        assert_eq!(on_disk.sql("SELECT 1").code, Some(0));
        assert_eq!(asked(&on_disk, "http://127.0.0.1:1", COUNTS), expected[0]);

        let moved = Store::new();
        let target = format!("s3://{BUCKET}/moved-{}", lake.is_some());
        run(&moved, &moto.url(), &["--lake", &target, "restore", &backup]).fine();
        assert_eq!(asked(&moved, &moto.url(), COUNTS), expected[0]);
        assert_eq!(local_files(&moved.path("data/lake")), 0);
        run(&moved, &moto.url(), &["verify"]).fine();
    }
}
