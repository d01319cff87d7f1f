//! Real servers and foreign readers: a bucket that speaks S3, Python's deltalake, DuckDB's delta extension.
//!
//! `.ci/run` installs and starts them. Where they are missing a test says so and is skipped; with
//! `MILEPOST_TEST_NO_SKIP=1` it fails instead.

#![allow(clippy::print_stdout, clippy::unwrap_used, dead_code)]

mod faults;
#[path = "it/harness.rs"]
mod harness;

use std::path::Path;
use std::process::Command;

use harness::Run;
use harness::Server;
use harness::Store;
use harness::project;
use milepost::sequence::Funnel;
use milepost::sequence::Hit;
use milepost::sequence::Rules;
use milepost::sequence::clickhouse::Modes;
use milepost::sequence::clickhouse::window_funnel;

/// The value of a variable that says where a server is; without it the test is skipped, with a word.
fn needs(test: &str, variable: &str) -> Option<String> {
    let value = |wanted: &str| std::env::vars().find(|(name, _)| name == wanted).map(|(_, value)| value);
    let found = value(variable);
    if found.is_none() {
        println!("{test} is skipped: {variable} is not set (`.ci/run` sets it)");
        assert!(value("MILEPOST_TEST_NO_SKIP").is_none(), "{test} may not be skipped here");
    }
    found
}

/// Runs one of the scripts of `tests/python`; its standard output.
#[track_caller]
fn python(python: &str, script: &str, args: &[&str]) -> String {
    let output = Command::new(python).arg(project("tests/python").join(script)).args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} failed:\n{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn demo() -> Store {
    let store = Store::new();
    store.run(["demo", "--load-only"]).fine();
    store
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The counts of a table by day, as the engine answers them.
fn counts_by_day(store: &Store, table: &str) -> Vec<String> {
    store.rows(&format!(
        "SELECT day, COUNT(*), COUNT(DISTINCT personId) FROM {table} GROUP BY day ORDER BY day"
    ))
}

#[test]
fn deltalake_and_duckdb_read_the_tables_as_they_are() {
    let Some(interpreter) = needs("deltalake_and_duckdb_read_the_tables_as_they_are", "MILEPOST_TEST_PYTHON")
    else {
        return;
    };
    let store = demo();
    // A column that old files lack, so that readers fill it in.
    store.sql("ALTER EVENT cdPurchased ADD (note STRING)").fine();
    let line = r#"{"definitionId":"cdPurchased","externalPersonId":"new","occurredTime":"1998-07-01T00:00:00Z","properties":{"amount":1,"price":9.5,"note":"late"}}"#;
    store.import("late", line).fine();
    // A day with a time between two milliseconds, so its file keeps microseconds, and the others milliseconds.
    let line = r#"{"definitionId":"cdPurchased","externalPersonId":"new","occurredTime":"1998-07-02T00:00:00.001001Z","properties":{"amount":1,"price":9.5}}"#;
    store.import("later", line).fine();
    let table = store.path("data").join("lake/cdPurchased");
    for reader in ["deltalake", "duckdb"] {
        let found = python(&interpreter, "read_lake.py", &[reader, text(&table)]);
        let found: Vec<_> = found.lines().map(str::to_owned).collect();
        assert_eq!(found, counts_by_day(&store, "cdPurchased"), "{reader}");
        for (since, right) in [
            ("1998-07-01T00:00:00Z", vec!["1998-07-01,1,1", "1998-07-02,1,1"]),
            ("1998-07-01T00:00:00.000001Z", vec!["1998-07-02,1,1"]),
            ("1998-07-02T00:00:00.001001Z", vec!["1998-07-02,1,1"]),
            ("1998-07-02T00:00:00.001002Z", vec![]),
        ] {
            let found = python(&interpreter, "read_lake.py", &[reader, text(&table), since]);
            assert_eq!(found.lines().collect::<Vec<_>>(), right, "{reader} since {since}");
        }
    }
}

#[test]
fn python_and_duckdb_read_an_export() {
    let Some(interpreter) = needs("python_and_duckdb_read_an_export", "MILEPOST_TEST_PYTHON") else {
        return;
    };
    let store = demo();
    store.sql("EXPORT EVENTS FROM '2024-03-01' TO '2024-03-02' INTO 'out'").fine();
    let expected = store.rows(
        "SELECT definitionId, COUNT(*) FROM events WHERE day = DATE '2024-03-01' GROUP BY definitionId ORDER BY definitionId",
    );
    assert!(!expected.is_empty());
    for reader in ["gzip", "duckdb"] {
        let found = python(&interpreter, "read_export.py", &[reader, text(&store.path("out"))]);
        let found: Vec<_> = found.lines().map(str::to_owned).collect();
        assert_eq!(found, expected, "{reader}");
    }
}

/// Runs the binary with the credentials of the test bucket in its environment.
fn with_bucket(store: &Store, endpoint: &str, args: &[&str]) -> Run {
    let mut command = store.command(args);
    command
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_ACCESS_KEY_ID", "testing")
        .env("AWS_SECRET_ACCESS_KEY", "testing")
        .env("AWS_REGION", "eu-central-1");
    let output = command.output().unwrap();
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn a_bucket_is_imported_from_and_exported_to() {
    let test = "a_bucket_is_imported_from_and_exported_to";
    let (Some(endpoint), Some(interpreter)) =
        (needs(test, "MILEPOST_TEST_S3"), needs(test, "MILEPOST_TEST_PYTHON"))
    else {
        return;
    };
    let store = Store::with_seats();
    let rows: String = (0..100)
        .map(|index| {
            let time = format!("2026-06-01T10:00:{:02}Z", index % 60);
            harness::seat(&format!("e{index}"), &format!("p{}", index % 7), &time, "{}")
        })
        .collect();
    let file = store.file("events.jsonl", rows);
    python(&interpreter, "bucket.py", &[&endpoint, "put", "acme-events", "in/events.jsonl", text(&file)]);
    with_bucket(&store, &endpoint, &["import", "--quiet", "s3://acme-events/in/"]).fine();
    assert_eq!(store.rows("SELECT COUNT(*), COUNT(DISTINCT personId) FROM seatReserved"), ["100,7"]);
    let export =
        "EXPORT EVENTS FROM '2026-06-01' TO '2026-06-02' INTO 's3://acme-events/out/' WITH (request_id 'r1')";
    with_bucket(&store, &endpoint, &["sql", "-c", export]).fine();
    let listed = python(&interpreter, "bucket.py", &[&endpoint, "list", "acme-events", "out/"]);
    assert!(listed.contains("out/r1-events-20260601000000000-20260602000000000.json.gz 100"), "{listed}");
    let missing = with_bucket(&store, &endpoint, &["import", "--quiet", "s3://no-such-bucket/in/"]);
    let message = missing.fails(2);
    assert!(message.contains("no-such-bucket"), "{message}");
}

/// An address of this machine that nobody listens on.
fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn a_postgres_driver_asks_with_a_key_and_without() {
    let Some(interpreter) = needs("a_postgres_driver_asks_with_a_key_and_without", "MILEPOST_TEST_PYTHON")
    else {
        return;
    };
    let store = Store::with_seats();
    let lines = [
        harness::seat(
            "e1",
            "ana",
            "2026-06-01T10:00:00Z",
            r#"{"venueId":17,"total":62.5,"isMember":true,"seats":[{"row":"C","price":31.25}]}"#,
        ),
        harness::seat(
            "e2",
            "bo",
            "2026-06-01T11:00:00Z",
            r#"{"venueId":18,"total":31,"isMember":false,"note":"it's"}"#,
        ),
    ];
    store.import("seed", &lines.concat()).fine();
    let key = store.run(["key", "create", "bi", "--scope", "query"]).fine();
    for (settings, key) in [("", ""), ("[server]\nalways_keys = true\n", key.trim())] {
        store.file("data/milepost.toml", settings);
        let address = free_address();
        let server = Server::start_with(&store, &["--postgres", &address]);
        assert_eq!(python(&interpreter, "wire.py", &[&address, key]), "fine\n");
        assert_eq!(python(&interpreter, "reflect.py", &[&address, key]), "fine\n");
        server.stop();
    }
}

/// What random clients may get: an answer that the published document knows, and never a fault of ours.
#[test]
fn whatever_schemathesis_sends_is_answered_as_the_document_says() {
    let Some(interpreter) =
        needs("whatever_schemathesis_sends_is_answered_as_the_document_says", "MILEPOST_TEST_PYTHON")
    else {
        return;
    };
    let store = Store::with_seats();
    let server = Server::start(&store);
    let url = format!("http://{}/v1/openapi.json", server.address);
    let program = Path::new(&interpreter).with_file_name("schemathesis");
    // The tail never ends; a busy machine is no fault.
    let output = Command::new(program)
        .args(["run", &url, "--exclude-path", "/v1/tail", "--checks"])
        .arg(
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        )
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--max-time", "120"])
        .args(["--seed", "1", "--no-shrink", "--warnings", "off", "--request-timeout", "120"])
        .args(["--suppress-health-check", "all"])
        .current_dir(store.path(""))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    server.get("/readyz").fine();
    server.stop();
}

#[test]
fn a_browser_sends_what_visitors_do() {
    let test = "a_browser_sends_what_visitors_do";
    let (Some(interpreter), Some(browser)) =
        (needs(test, "MILEPOST_TEST_PYTHON"), needs(test, "MILEPOST_TEST_BROWSER"))
    else {
        return;
    };
    let store = Store::with_seats();
    store.sql("ENABLE EVENT 'session*'").fine();
    store
        .sql("CREATE PERSON ATTRIBUTE tier STRING; CREATE PERSON ATTRIBUTE wishlist LIST (sku STRING)")
        .fine();
    store.sql("INSERT INTO persons (externalPersonId) VALUES ('crm-9')").fine();
    let key = store.run(["key", "create", "page", "--scope", "web"]).fine();
    store.file("data/milepost.toml", "[server]\nalways_keys = true\n");
    let server = Server::start(&store);
    let url = format!("http://{}", server.address);
    assert_eq!(python(&interpreter, "page.py", &[&url, key.trim(), &browser]), "fine\n");
    let seats = "SELECT venueId, COUNT(*) FROM seatReserved GROUP BY venueId ORDER BY venueId";
    assert_eq!(store.rows(seats), ["17,1", "18,1", "19,1", "20,1", "21,1"]);
    let persons = "SELECT COUNT(DISTINCT personId) FROM seatReserved";
    assert_eq!(store.rows(persons), ["2"], "the guest who was a visitor before, and another visitor");
    let guest = "SELECT type, firstName, tier, wishlist[1]['sku'], array_length(wishlist) FROM persons WHERE array_has(emails, 'a.guest@example.net')";
    assert_eq!(store.rows(guest), ["LEAD,Ana,gold,x1,2"]);
    let named = "SELECT COUNT(*) FROM seatReserved s JOIN persons p ON p.personId = s.personId WHERE p.firstName = 'Ana'";
    assert_eq!(store.rows(named), ["3"], "what the guest did before it said who it is, too");
    let page = "SELECT path, pageTitle, deviceType, browserOS, websiteLanguage FROM pageView ORDER BY occurredTime LIMIT 1";
    assert_eq!(store.rows(page), ["/shoes,Shoes,desktop,Linux,en"]);
    let campaign =
        "SELECT utm_source, utm_campaign, sessionType FROM sessionStarted ORDER BY occurredTime LIMIT 1";
    assert_eq!(store.rows(campaign), ["mail,may,Web"]);
    assert_eq!(store.rows("SELECT COUNT(*) FROM sessionEnded"), ["2"]);
}

#[test]
fn window_funnel_counts_as_clickhouse_does_in_every_mode() {
    let test = "window_funnel_counts_as_clickhouse_does_in_every_mode";
    let Some(interpreter) = needs(test, "MILEPOST_TEST_PYTHON") else { return };
    let store = Store::new();
    let mut seed = 20_261_125_u64;
    let mut below = |bound: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % bound
    };
    // Few events close together: ties, repeats, events that fit two steps or none.
    let mut rows = Vec::new();
    for person in 0..800 {
        for _ in 0..=below(9) {
            let two = if below(5) == 0 { 1 << below(3) } else { 0 };
            let steps = if below(8) == 0 { 0 } else { 1 << below(3) | two };
            rows.push((person, below(14), steps));
        }
    }
    let csv: String = rows.iter().map(|(person, time, steps)| format!("{person},{time},{steps}\n")).collect();
    let file = store.file("events.csv", csv);
    let values: Vec<String> = rows.iter().map(|(p, t, s)| format!("({p}, {t}, {s})")).collect();
    let values = values.join(", ");
    // The last one is ours: chains of different events, which is what ClickHouse calls strict_once.
    let modes = [
        ("-", "'clickhouse', "),
        ("strict_deduplication", "'strict_deduplication', "),
        ("strict_order", "'strict_order', "),
        ("strict_order+allow_reentry", "'strict_order', 'allow_reentry', "),
        ("strict_increase", "'strict_increase', "),
        ("strict_once+strict_increase", "'strict_once', 'strict_increase', "),
        ("strict_once", "'strict_once', "),
        ("strict_once", ""),
    ];
    let mut names: Vec<&str> = modes.iter().map(|(name, _)| *name).collect();
    names.dedup();
    let args = [&[text(&file), "3", "6"], names.as_slice()].concat();
    let found = python(&interpreter, "window_funnel.py", &args);
    for (name, ours) in modes {
        let theirs: Vec<&str> =
            found.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(',')).collect();
        let levels = store.rows(&format!(
            "SELECT p, window_funnel(6, {ours}t, s & 1 > 0, s & 2 > 0, s & 4 > 0) FROM (VALUES {values}) AS e(p, t, s) \
             GROUP BY p ORDER BY p"
        ));
        assert_eq!(levels, theirs, "{name} {ours}");
    }
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn a_hundred_thousand_random_persons_come_as_far_as_clickhouse_says_in_every_mode() {
    let test = "a_hundred_thousand_random_persons_come_as_far_as_clickhouse_says_in_every_mode";
    let Some(interpreter) = needs(test, "MILEPOST_TEST_PYTHON") else { return };
    let store = Store::new();
    let mut dice = Dice(20_261_126);
    for (steps, window, persons) in [(2_usize, 4_i64, 20_000), (3, 6, 50_000), (4, 9, 30_000)] {
        // Few events close together, ties and events of two steps or none; one person in fifty is busy.
        let mut all: Vec<Vec<Hit>> = Vec::new();
        for _ in 0..persons {
            let (most, span) = if dice.below(50) == 0 { (40, 60) } else { (9, 14) };
            let step = |dice: &mut Dice| 1 << dice.below(steps as u64);
            let mut hits: Vec<Hit> = (0..=dice.below(most))
                .map(|_| {
                    let second = if dice.below(5) == 0 { step(&mut dice) } else { 0 };
                    let steps = if dice.below(8) == 0 { 0 } else { step(&mut dice) | second };
                    Hit { time: dice.below(span).cast_signed(), steps, excludes: 0 }
                })
                .collect();
            hits.sort_by_key(|hit| hit.time);
            all.push(hits);
        }
        let line = |(person, hit): (usize, &Hit)| format!("{person},{},{}\n", hit.time, hit.steps);
        let rows =
            all.iter().enumerate().flat_map(|(person, hits)| hits.iter().map(move |hit| (person, hit)));
        let file = store.file("persons.csv", rows.map(line).collect::<String>());
        let none = Modes::default();
        let modes = [
            ("-", none),
            ("strict_deduplication", Modes { deduplication: true, ..none }),
            ("strict_order", Modes { order: true, ..none }),
            ("strict_order+allow_reentry", Modes { order: true, reentry: true, ..none }),
            ("strict_increase", Modes { increase: true, ..none }),
            ("strict_once", Modes { once: true, ..none }),
            ("strict_once+strict_increase", Modes { once: true, increase: true, ..none }),
        ];
        let (count, length) = (steps.to_string(), window.to_string());
        let args = [text(&file), &count, &length].into_iter().chain(modes.iter().map(|one| one.0));
        let found = python(&interpreter, "window_funnel.py", &args.collect::<Vec<_>>());
        let mut theirs = found.lines();
        let mut ours = Funnel::new(Rules::of(steps, Some(window)));
        for (name, modes) in modes {
            for (person, hits) in all.iter().enumerate() {
                let level = window_funnel(modes, steps, window, hits);
                assert_eq!(theirs.next(), Some(format!("{name},{person},{level}").as_str()), "{hits:?}");
                // What a funnel means here is what ClickHouse calls strict_once.
                if name == "strict_once" {
                    assert_eq!(ours.reached(hits).level, level, "{hits:?}");
                }
            }
        }
        assert_eq!(theirs.next(), None);
    }
}

#[test]
fn next_event_finds_what_clickhouse_finds() {
    let Some(interpreter) = needs("next_event_finds_what_clickhouse_finds", "MILEPOST_TEST_PYTHON") else {
        return;
    };
    let store = Store::new();
    let mut dice = Dice(7);
    let mut rows = Vec::new();
    for person in 0..400 {
        for time in 0..=dice.below(7) {
            rows.push((person, time, ["A", "B", "C"][usize::try_from(dice.below(3)).unwrap()]));
        }
    }
    let csv: String = rows.iter().map(|(person, time, page)| format!("{person},{time},{page}\n")).collect();
    let file = store.file("pages.csv", csv);
    let values: Vec<String> = rows.iter().map(|(p, t, k)| format!("({p}, {t}, '{k}')")).collect();
    let values = values.join(", ");
    let mut chains = Vec::new();
    for direction in ["forward", "backward"] {
        for base in ["head", "tail", "first_match", "last_match"] {
            // Others are refused there.
            if (direction, base) == ("forward", "tail") || (direction, base) == ("backward", "head") {
                continue;
            }
            chains.extend(["A", "AB", "BAA"].map(|pages| format!("{direction}:{base}:{pages}")));
        }
    }
    let args = [text(&file)].into_iter().chain(chains.iter().map(String::as_str));
    let found = python(&interpreter, "next_event.py", &args.collect::<Vec<_>>());
    let mut some = 0;
    for chain in &chains {
        let [direction, base, pages] = chain.split(':').collect::<Vec<_>>().try_into().unwrap();
        let conditions: Vec<String> = pages.chars().map(|page| format!("k = '{page}'")).collect();
        let ours = store.rows(&format!(
            "SELECT p, next_event('{direction}', '{base}', t, k, {}) FROM (VALUES {values}) AS e(p, t, k) \
             GROUP BY p ORDER BY p",
            conditions.join(", ")
        ));
        let theirs = found.lines().filter_map(|line| line.strip_prefix(chain.as_str())?.strip_prefix(','));
        assert_eq!(ours, theirs.collect::<Vec<_>>(), "{chain}");
        some += ours.iter().filter(|line| !line.ends_with(',')).count();
    }
    assert!(some > 1_000, "{some}");
}
