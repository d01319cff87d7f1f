//! Exports into a bucket behind a line that fails in every way: each event is there once, whatever happened.

use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::faults::Fault;
use crate::faults::Moto;
use crate::faults::Proxy;
use crate::harness::Run;
use crate::harness::Store;
use crate::harness::seat;
use crate::needs;
use crate::python;
use crate::text;

const BUCKET: &str = "acme-events";

/// Events `first..first + rows` of one day; their ids are `e<n>`.
fn seats(first: usize, rows: usize) -> String {
    (first..first + rows)
        .map(|nth| {
            let time =
                format!("2026-06-01T{:02}:{:02}:{:02}.{:03}Z", nth % 24, nth % 60, nth % 59, nth % 1000);
            seat(&format!("e{nth}"), &format!("p{}", nth % 7), &time, &format!("{{\"venueId\":{nth}}}"))
        })
        .collect()
}

/// What the digest of the events `e0..e<rows>` must be.
fn digest(interpreter: &str, rows: &str) -> String {
    let code = format!(
        "import hashlib; print(hashlib.sha256('\\n'.join(sorted('e%d' % n for n in range({rows}))).encode()).hexdigest()[:16])"
    );
    let output = Command::new(interpreter).args(["-c", &code]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn with_keys(store: &Store, endpoint: &str, args: &[&str], key: &str, secret: &str) -> Command {
    let mut command = store.command(args);
    command
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_ACCESS_KEY_ID", key)
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .env("AWS_REGION", "eu-central-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env_remove("AWS_PROFILE")
        .env_remove("AWS_SESSION_TOKEN");
    command
}

fn command(store: &Store, endpoint: &str, args: &[&str]) -> Command {
    with_keys(store, endpoint, args, "testing", "testing")
}

fn run(mut command: Command) -> Run {
    let output = command.stdin(Stdio::null()).output().unwrap();
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A request for the whole day, which works on it until it is over.
fn submit<'a>(id: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args =
        vec!["export", "submit", "--wait", "--unlimited", "--from", "2026-06-01", "--to", "2026-06-02"];
    args.extend(["--rows-per-file", "200", "--into", "s3://acme-events/out/", "--request-id", id]);
    args.extend(more);
    args
}

/// A bucket, a store with events in it, and Python.
fn place(test: &str, rows: usize) -> Option<(Moto, Store, String)> {
    let interpreter = needs(test, "MILEPOST_TEST_PYTHON")?;
    let moto = Moto::start(&interpreter);
    let store = Store::with_seats();
    let file = store.file("marker.txt", "x");
    python(&interpreter, "bucket.py", &[moto.url().as_str(), "put", BUCKET, "marker.txt", text(&file)]);
    store.import("first", &seats(0, rows)).fine();
    Some((moto, store, interpreter))
}

/// The lines of `exports.py`: what each export holds.
fn held(interpreter: &str, moto: &Moto) -> Vec<Vec<String>> {
    let printed = python(interpreter, "exports.py", &[moto.url().as_str(), BUCKET, "out/"]);
    printed.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

#[test]
fn br30_every_fault_of_the_line_ends_in_the_same_files() {
    let test = "br30_every_fault_of_the_line_ends_in_the_same_files";
    let Some((moto, store, interpreter)) = place(test, 1_000) else { return };
    let faults = [
        Fault::None,
        Fault::DropBefore,
        Fault::LostAnswer,
        Fault::Broken,
        Fault::DoneAndBroken,
        Fault::Lie,
        Fault::FineWithError,
        Fault::Torn,
        Fault::Expired,
        Fault::Delayed,
    ];
    for fault in faults {
        let proxy = Proxy::once_each(&moto, fault);
        let id = format!("{fault:?}");
        run(command(&store, &proxy.url, &submit(&id, &[]))).fine();
        let puts =
            |path: &str| proxy.seen().iter().filter(|one| one.method == "PUT" && one.path == path).count();
        if fault == Fault::LostAnswer {
            let path = format!("/{BUCKET}/out/{id}-manifest.json");
            assert_eq!(puts(&path), 1, "what a look finds is not put again");
        }
    }
    let whole = digest(&interpreter, "1000");
    let held = held(&interpreter, &moto);
    assert_eq!(held.len(), faults.len());
    for export in held {
        assert_eq!(export[1..], ["5", "1000", "1000", &whole], "{}", export[0]);
    }
    let statuses = store.rows("SELECT DISTINCT status, rows, attempts FROM system.exports");
    assert_eq!(statuses, ["COMPLETED_SUCCESSFULLY,1000,1"]);
}

#[test]
fn br30_what_cannot_succeed_fails_at_once_with_the_reason() {
    let test = "br30_what_cannot_succeed_fails_at_once_with_the_reason";
    let Some((moto, store, _)) = place(test, 10) else { return };
    let proxy =
        Proxy::start(&moto, |request| if request.method == "PUT" { Fault::Denied } else { Fault::None });
    let refused = run(command(&store, &proxy.url, &submit("denied", &[]))).fails(2);
    assert!(refused.contains("AccessDenied: as the test says"), "{refused}");
    assert_eq!(proxy.seen().iter().filter(|one| one.method == "PUT").count(), 1, "it is not tried again");
    let mut args = submit("nowhere", &[]);
    let into = args.iter().position(|arg| arg.starts_with("s3://")).unwrap();
    args[into] = "s3://no-such-bucket/out/";
    let refused = run(command(&store, &moto.url(), &args)).fails(2);
    assert!(refused.contains("NoSuchBucket"), "{refused}");
    let told = store.rows("SELECT status, message FROM system.exports ORDER BY request_id");
    for (row, reason) in told.iter().zip(["AccessDenied: as the test says", "NoSuchBucket"]) {
        assert!(row.starts_with("FAILED_AFTER_MAX_RETRIES,"), "{row}");
        assert!(row.contains("Exception caught while trying to push file to S3. "), "{row}");
        assert!(row.contains(reason), "{row}");
    }
}

/// Numbers that look random and are the same every time.
fn noise(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn br29_an_export_that_is_killed_at_any_moment_is_completed_and_nothing_is_doubled() {
    const KILLS: usize = 50;
    let test = "br29_an_export_that_is_killed_at_any_moment_is_completed_and_nothing_is_doubled";
    let Some((moto, store, interpreter)) = place(test, 2_000) else { return };
    let started = Instant::now();
    run(command(&store, &moto.url(), &submit("whole", &[]))).fine();
    let whole = started.elapsed();
    // Answers take a little, as they do from a bucket, so that there is a middle to be killed in.
    let proxy = Proxy::start(&moto, |_| Fault::None);
    let (mut state, mut rows, mut cut) = (42, 2_000, 0);
    for nth in 0..KILLS {
        let id = format!("k{nth}");
        let mut child = command(&store, &proxy.url, &submit(&id, &[]));
        let mut child =
            child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let micros = u64::try_from(whole.as_micros()).unwrap();
        thread::sleep(Duration::from_micros(noise(&mut state) % micros));
        child.kill().unwrap();
        child.wait().unwrap();
        let before = store.rows(&format!("SELECT status FROM system.exports WHERE request_id = '{id}'"));
        cut += usize::from(before == ["IN_PROGRESS"]);
        if nth % 5 == 0 {
            // Events of the same day that come between the attempts are in no export that had begun.
            store.import(&format!("late {nth}"), &seats(rows, 10)).fine();
            rows += 10;
        }
        run(command(&store, &proxy.url, &submit(&id, &[]))).fine();
    }
    assert!(cut > KILLS / 10, "only {cut} of {KILLS} were cut off in the middle");
    let held = held(&interpreter, &moto);
    assert_eq!(held.len(), KILLS + 1);
    for export in held {
        let (rows, seen) = (&export[2], &export[3]);
        assert_eq!(rows, seen, "{}", export[0]);
        assert_eq!(export[4], digest(&interpreter, rows), "{}", export[0]);
    }
    let left = store.rows("SELECT COUNT(*) FROM system.exports WHERE status <> 'COMPLETED_SUCCESSFULLY'");
    assert_eq!(left, ["0"]);
}

#[test]
fn a_role_is_assumed_with_its_external_id_and_renewed_when_its_token_expires() {
    let test = "a_role_is_assumed_with_its_external_id_and_renewed_when_its_token_expires";
    let Some(interpreter) = needs(test, "MILEPOST_TEST_PYTHON") else { return };
    let moto = Moto::start(&interpreter);
    let made = python(&interpreter, "role.py", &[moto.url().as_str(), BUCKET]);
    let [role, key, secret, root_key, root_secret] = made.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("{made}")
    };
    moto.check_signatures();
    let store = Store::with_seats();
    store.import("first", &seats(0, 1_000)).fine();
    // The trust policy, which moto does not look at; and in the middle of the export the token expires.
    let puts = AtomicUsize::new(0);
    let proxy = Proxy::start(&moto, move |request| {
        let body = String::from_utf8_lossy(&request.body);
        let stranger = body.contains("Action=AssumeRole") && !body.contains("ExternalId=the-external-id");
        // The role may not list, which is fine; moto cannot check the signature of such a request.
        if stranger || request.path.contains("list-type=") {
            Fault::Denied
        } else if request.method == "PUT" && puts.fetch_add(1, Ordering::SeqCst) == 2 {
            Fault::Expired
        } else {
            Fault::None
        }
    });
    let submit_as = |id, more: &[&str]| {
        let args: Vec<_> =
            submit(id, &["--role-arn", role]).into_iter().chain(more.iter().copied()).collect();
        run(with_keys(&store, &proxy.url, &args, key, secret))
    };
    let refused = submit_as("stranger", &[]).fails(2);
    assert!(refused.contains("could not assume the role") && refused.contains("AccessDenied"), "{refused}");
    submit_as("friend", &["--external-id", "the-external-id"]).fine();
    let assumed =
        proxy.seen().iter().filter(|one| String::from_utf8_lossy(&one.body).contains("AssumeRole")).count();
    assert!(assumed >= 3, "one refused, one taken, one renewed; found {assumed}");
    // Without the role the user may write nothing.
    let refused = run(with_keys(&store, &proxy.url, &submit("bare", &[]), key, secret)).fails(2);
    assert!(refused.contains("AccessDenied"), "{refused}");
    // Signatures count.
    let forged = run(with_keys(&store, &proxy.url, &submit("forged", &[]), key, "no-such-secret")).fails(2);
    assert!(forged.contains("SignatureDoesNotMatch"), "{forged}");
    moto.trust_all();
    let mut check = Command::new(&interpreter);
    check.arg(crate::harness::project("tests/python/exports.py")).args([moto.url().as_str(), BUCKET, "out/"]);
    let checked = run_python(check.env("TEST_ROOT_KEY", root_key).env("TEST_ROOT_SECRET", root_secret));
    assert_eq!(checked.lines().count(), 1, "{checked}");
    assert!(checked.starts_with("friend 5 1000 1000 "), "{checked}");
    // Nothing secret is kept.
    for file in std::fs::read_dir(store.path("data")).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let holds = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
            assert!(!holds(secret) && !holds(key), "{}", path.display());
        }
    }
}

fn run_python(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_exported_bucket_is_read_by_python_duckdb_and_by_us() {
    let test = "an_exported_bucket_is_read_by_python_duckdb_and_by_us";
    let Some((moto, store, interpreter)) = place(test, 500) else { return };
    run(command(&store, &moto.url(), &submit("r1", &[]))).fine();
    let folder = store.path("fetched");
    python(&interpreter, "exports.py", &[moto.url().as_str(), BUCKET, "out/", text(&folder)]);
    for reader in ["gzip", "duckdb"] {
        let found = python(&interpreter, "read_export.py", &[reader, text(&folder)]);
        assert_eq!(found.trim(), "seatReserved,500", "{reader}");
    }
    let other = Store::with_seats();
    run(command(&other, &moto.url(), &["import", "--quiet", "s3://acme-events/out/"])).fine();
    let question = "SELECT eventId, personId, externalPersonId, occurredTime, venueId FROM seatReserved ORDER BY eventId";
    let persons =
        "SELECT COUNT(*) FROM (SELECT eventId, externalPersonId, occurredTime, venueId FROM seatReserved)";
    assert_eq!(other.rows(persons), ["500"]);
    let columns = |store: &Store| -> Vec<String> {
        let without_person = |row: &String| {
            let mut cells: Vec<_> = row.split(',').collect();
            cells.remove(1);
            cells.join(",")
        };
        store.rows(question).iter().map(without_person).collect()
    };
    assert_eq!(columns(&store), columns(&other));
}
