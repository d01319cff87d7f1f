//! Events that come one by one: answered when they are safe, whatever happens to the process afterwards.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::hash::Hasher;
use std::hash::RandomState;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crate::harness::Store;
use crate::harness::seat;

fn view(id: usize) -> String {
    format!(
        "{{\"definitionId\":\"pageView\",\"eventId\":\"e{id}\",\"externalPersonId\":\"p{}\",\
         \"occurredTime\":\"2026-06-{:02}T10:00:00Z\",\"properties\":{{\"path\":\"/{id}\"}}}}\n",
        id % 40,
        1 + id % 3
    )
}

#[test]
fn each_line_is_answered_with_what_became_of_it_and_every_query_sees_it() {
    let store = Store::with_seats();
    let lines = [
        view(1),
        seat("s1", "p", "2026-06-01T10:00:00Z", "{\"venueId\":1}"),
        view(1),
        "\n".to_owned(),
        seat("s2", "p", "2026-06-01T10:00:00Z", "{\"venueId\":\"x\"}"),
    ];
    let run = store.run_with(["ingest", "-"], &lines.concat());
    let answers: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(answers.len(), 4, "{run:?}");
    assert_eq!(answers[0], "{\"row\":1,\"status\":\"stored\",\"eventId\":\"e1\",\"personId\":1,\"seq\":1}");
    assert_eq!(answers[1], "{\"row\":2,\"status\":\"stored\",\"eventId\":\"s1\",\"personId\":2,\"seq\":2}");
    assert_eq!(answers[2], "{\"row\":3,\"status\":\"duplicate\",\"eventId\":\"e1\"}");
    assert!(answers[3].starts_with("{\"row\":5,\"status\":\"refused\",\"code\":\"wrong_type\",\"message\":"));
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("2 stored, 1 known already, 1 refused"), "{}", run.stderr);
    assert_eq!(
        store.rows("SELECT definitionId, COUNT(*) FROM events GROUP BY 1 ORDER BY 1"),
        ["pageView,1", "seatReserved,1"]
    );
    assert_eq!(store.rows("SELECT row, code FROM system.rejected"), ["5,wrong_type"]);
    // An import knows what came through the log.
    let again = store.import("again", &view(1)).fine();
    assert_eq!(again, "");
    assert_eq!(store.rows("SELECT COUNT(*) FROM pageView"), ["1"]);
}

/// One run of the binary that is killed after so long: the ids of the events that it acknowledged.
fn killed_after(store: &Store, from: usize, wait: Duration) -> Vec<usize> {
    let mut child = store.spawn(["ingest", "-"]);
    let mut input = child.stdin.take().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let writer = thread::spawn(move || {
        let mut id = from;
        while !stopped.load(Ordering::Relaxed) {
            // Groups of one to seven lines, some of them cut in two.
            let lines: String = (id..id + 1 + id % 7).map(view).collect();
            id += 1 + id % 7;
            let (first, second) = lines.split_at(lines.len() / 2);
            if input.write_all(first.as_bytes()).and_then(|()| input.write_all(second.as_bytes())).is_err() {
                break;
            }
        }
    });
    let reader = thread::spawn(move || {
        let mut acknowledged = Vec::new();
        for line in output.lines() {
            // The last line may be half of one.
            let Ok(line) = line else { break };
            let id = line.split("\"eventId\":\"e").nth(1).and_then(|rest| rest.split('"').next());
            if line.ends_with('}')
                && let Some(id) = id
            {
                assert!(line.contains("\"stored\"") || line.contains("\"duplicate\""), "{line}");
                acknowledged.push(id.parse().unwrap());
            }
        }
        acknowledged
    });
    thread::sleep(wait);
    child.kill().unwrap();
    child.wait().unwrap();
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    reader.join().unwrap()
}

/// How often to kill: 50 times, or as often as a long run wants.
#[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
fn rounds() -> u64 {
    std::env::var("MILEPOST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(50)
}

#[test]
fn br40_what_was_acknowledged_is_stored_once_however_often_the_process_is_killed() {
    let rounds = rounds();
    let seed = RandomState::new().build_hasher().finish();
    println!("seed {seed}");
    let mut random = seed | 1;
    let store = Store::with_seats();
    let mut acknowledged = BTreeMap::new();
    let mut next = 0;
    for round in 0..rounds {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Some are killed while they open, most while they take events.
        let wait = Duration::from_millis((random >> 33) % 400);
        let told = killed_after(&store, next, wait);
        for id in told {
            *acknowledged.entry(id).or_insert(0) += 1;
            // What was sent and not acknowledged is sent again.
            next = next.max(id + 1);
        }
        if round % 10 == 9 {
            let stored = store.rows("SELECT eventId, COUNT(*), COUNT(DISTINCT seq) FROM pageView GROUP BY 1");
            let stored: BTreeMap<usize, &str> = stored
                .iter()
                .map(|line| line.split_once(',').unwrap())
                .map(|(id, counts)| (id[1..].parse().unwrap(), counts))
                .collect();
            for id in acknowledged.keys() {
                assert_eq!(stored.get(id), Some(&"1,1"), "seed {seed}, round {round}, event e{id}");
            }
            assert!(stored.values().all(|counts| *counts == "1,1"), "seed {seed}, round {round}");
        }
    }
    assert!(acknowledged.len() > 50, "too few events came through to say anything: {}", acknowledged.len());
    let twice =
        store.rows("SELECT COUNT(*) - COUNT(DISTINCT seq), COUNT(*) - COUNT(DISTINCT eventId) FROM events");
    assert_eq!(twice, ["0,0"]);
}
