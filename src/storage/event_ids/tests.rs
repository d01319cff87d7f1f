use std::collections::HashMap;

use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_128;

use super::*;
use crate::error::Kind;

/// So small that everything happens: runs on disk, filters on disk, merges of three.
const TINY: Limits = Limits { memory: 5_000, fan_in: 3, smallest: 8, rebuilt: 50 };
const ROOMY: Limits = Limits { memory: 1 << 20, ..TINY };

fn key(number: u32) -> u128 {
    xxh3_128(&number.to_le_bytes())
}

fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What the catalog does with the names of a merge.
fn replace(named: &mut Vec<String>, old: &[String], new: &str) {
    named.retain(|name| !old.contains(name));
    named.push(new.to_owned());
}

#[test]
fn br19_a_retry_after_merge_and_restart_is_a_duplicate_and_another_payload_a_conflict() {
    let dir = tempfile::tempdir().unwrap();
    let e1 = xxh3_128(b"e1");
    let mut named = Vec::new();
    let mut ids = EventIds::open_within(dir.path(), &named, TINY).unwrap();
    assert_eq!(ids.check(e1, 5).unwrap(), Verdict::New);
    assert_eq!(ids.check(e1, 5).unwrap(), Verdict::Duplicate, "within the batch");
    assert_eq!(ids.check(e1, 6).unwrap(), Verdict::Conflict, "within the batch");
    for number in 1..=3 {
        ids.check(key(number), 0).unwrap();
        named.extend(ids.seal(i64::from(number)).unwrap());
        ids.recorded();
    }
    assert_eq!(named, ["1.run", "2.run", "3.run"]);
    ids.merge(|old, new| {
        replace(&mut named, old, new);
        Ok(())
    })
    .unwrap();
    assert_eq!(named, ["m1.run"]);
    assert_eq!(names_in(dir.path()), ["m1.run"]);
    drop(ids);
    let mut ids = EventIds::open_within(dir.path(), &named, TINY).unwrap();
    assert_eq!(ids.len(), 4);
    assert_eq!(ids.check(e1, 5).unwrap(), Verdict::Duplicate, "three days later");
    assert_eq!(ids.check(e1, 6).unwrap(), Verdict::Conflict);
    assert_eq!(ids.pending(), 0);
    assert_eq!(ids.seal(4).unwrap(), None, "a batch without new ids has no run");
}

#[test]
fn a_run_that_no_record_names_is_forgotten_at_the_next_opening() {
    let dir = tempfile::tempdir().unwrap();
    let mut ids = EventIds::open_within(dir.path(), &[], TINY).unwrap();
    ids.check(key(1), 0).unwrap();
    ids.seal(1).unwrap();
    drop(ids);
    fs::write(dir.path().join("2.run.temp"), "half a run").unwrap();
    fs::write(dir.path().join("notes"), "not ours").unwrap();
    let mut ids = EventIds::open_within(dir.path(), &[], TINY).unwrap();
    assert_eq!(names_in(dir.path()), ["notes"]);
    assert_eq!(ids.check(key(1), 0).unwrap(), Verdict::New);
}

#[test]
fn a_merge_whose_record_fails_leaves_the_old_runs_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let mut ids = EventIds::open_within(dir.path(), &[], TINY).unwrap();
    let mut named = Vec::new();
    for number in 1..=3 {
        ids.check(key(number), 0).unwrap();
        named.extend(ids.seal(i64::from(number)).unwrap());
        ids.recorded();
    }
    let failed = ids.merge(|_, _| Err(crate::error::Error::unavailable("the disk is full")));
    assert_eq!(failed.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(ids.check(key(2), 0).unwrap(), Verdict::Duplicate);
    assert_eq!(
        names_in(dir.path()),
        ["1.run", "2.run", "3.run", "m1.run"],
        "as after a crash before the record"
    );
    drop(ids);
    let mut ids = EventIds::open_within(dir.path(), &named, TINY).unwrap();
    assert_eq!(names_in(dir.path()), named);
    assert_eq!(ids.check(key(3), 0).unwrap(), Verdict::Duplicate);
}

#[test]
fn a_merge_may_be_written_while_ids_are_checked_and_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let mut ids = EventIds::open_within(dir.path(), &[], TINY).unwrap();
    for number in 1..=3 {
        ids.check(key(number), 0).unwrap();
        ids.seal(i64::from(number)).unwrap();
        ids.recorded();
    }
    let due = ids.merge_due().unwrap();
    let merged = std::thread::scope(|scope| {
        let writing = scope.spawn(|| due.write());
        assert_eq!(ids.check(key(1), 0).unwrap(), Verdict::Duplicate);
        assert_eq!(ids.check(key(4), 0).unwrap(), Verdict::New);
        ids.seal(4).unwrap();
        writing.join().unwrap().unwrap()
    });
    ids.adopt(merged, |old, new| {
        assert_eq!((old.len(), new), (3, "m1.run"));
        Ok(())
    })
    .unwrap();
    assert_eq!(names_in(dir.path()), ["4.run", "m1.run"]);
    for number in 1..=4 {
        assert_eq!(ids.check(key(number), 0).unwrap(), Verdict::Duplicate);
    }
}

#[test]
fn a_group_of_ids_gets_the_verdicts_that_each_alone_gets() {
    for limits in [TINY, ROOMY] {
        let dir = tempfile::tempdir().unwrap();
        let mut ids = EventIds::open_within(dir.path(), &[], limits).unwrap();
        for batch in 0..2 {
            for number in batch * 300..(batch + 1) * 300 {
                ids.check(key(number), u64::from(number)).unwrap();
            }
            ids.seal(i64::from(batch)).unwrap();
            ids.recorded();
        }
        // In a run, pending, twice in the group, and new ones, one conflict among them.
        ids.check(key(10_000), 1).unwrap();
        let numbers: Vec<u32> = (500..560).chain([10_000, 0, 700, 700]).collect();
        assert_eq!(numbers.len(), GROUP);
        let strangers = ids.strangers(numbers.iter().map(|number| key(*number)));
        for (at, number) in numbers.into_iter().enumerate() {
            let fingerprint = if number == 10_000 { 2 } else { u64::from(number) };
            let verdict = ids.check_one_of(strangers, at, key(number), fingerprint).unwrap();
            let right = match (at, number) {
                (_, 10_000) => Verdict::Conflict,
                (62, 700) => Verdict::New,
                _ => Verdict::Duplicate,
            };
            assert_eq!(verdict, right, "{number} at {at}");
        }
    }
}

#[test]
fn damage_anywhere_in_a_run_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["1.run".to_owned()];
    let mut ids = EventIds::open_within(dir.path(), &[], ROOMY).unwrap();
    for number in 0..400 {
        ids.check(key(number), 7).unwrap();
    }
    ids.seal(1).unwrap();
    drop(ids);
    let path = dir.path().join("1.run");
    let whole = fs::read(&path).unwrap();
    let refused = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let error = EventIds::open_within(dir.path(), &names, ROOMY).unwrap_err();
        assert_eq!(error.kind(), Kind::Internal);
        let message = error.to_string();
        assert!(message.contains("1.run") && message.contains("rebuilt"), "{message}");
    };
    for torn in [0, 100, 4096, whole.len() / 2, whole.len() - 1] {
        refused(&whole[..torn]);
    }
    let filter_blocks = filter::blocks_for(400);
    let entries_at = run::Header::new(filter_blocks).entries_at();
    // Magic, count, filter, an entry in the middle of each block, a fence.
    let entries_at = usize::try_from(entries_at).unwrap();
    for at in [0, 16, 4100, entries_at + 2000, entries_at + 2 * 4096 + 5, whole.len() - 3] {
        let mut broken = whole.clone();
        broken[at] ^= 0x10;
        refused(&broken);
    }
    // A run on disk only is checked block by block, when a block is read.
    let mut broken = whole;
    broken[entries_at + 2000] ^= 0x10;
    fs::write(&path, &broken).unwrap();
    let mut ids = EventIds::open_within(dir.path(), &names, Limits { memory: 0, ..TINY }).unwrap();
    let failures = (0..400).filter(|number| ids.check(key(*number), 7).is_err()).count();
    assert_eq!(failures, run::BLOCK_ENTRIES);

    fs::remove_file(&path).unwrap();
    let error = EventIds::open_within(dir.path(), &names, ROOMY).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
}

#[test]
fn a_newer_run_format_is_refused_with_both_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let mut ids = EventIds::open_within(dir.path(), &[], TINY).unwrap();
    ids.check(key(1), 0).unwrap();
    ids.seal(1).unwrap();
    let path = dir.path().join("1.run");
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 9;
    fs::write(&path, bytes).unwrap();
    let error = EventIds::open_within(dir.path(), &["1.run".to_owned()], TINY).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.to_string().contains("format 9") && error.to_string().contains("up to 1"), "{error}");
}

#[test]
fn memory_stays_within_its_limit_however_many_ids_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { memory: 20_000, ..TINY };
    let mut ids = EventIds::open_within(dir.path(), &[], limits).unwrap();
    let mut named = Vec::new();
    for batch in 0..20 {
        for number in 0..500 {
            ids.check(key(batch * 500 + number), 0).unwrap();
        }
        named.extend(ids.seal(i64::from(batch)).unwrap());
        ids.recorded();
        ids.merge(|old, new| {
            replace(&mut named, old, new);
            Ok(())
        })
        .unwrap();
        assert!(ids.memory() <= limits.memory, "{} bytes", ids.memory());
    }
    assert!(ids.runs.len() <= 6, "{} runs", ids.runs.len());
    assert!(ids.runs.iter().all(|known| known.run.has_filter()), "all filters fit");
    let mut ids = EventIds::open_within(dir.path(), &named, limits).unwrap();
    assert!(ids.memory() <= limits.memory);
    assert!(ids.runs.iter().all(|known| known.run.has_filter()), "all filters fit");
    assert_eq!(ids.len(), 10_000);
    for number in 0..10_000 {
        assert_eq!(ids.check(key(number), 0).unwrap(), Verdict::Duplicate);
    }
}

#[test]
fn ids_rebuilt_from_events_are_the_same_and_a_failure_leaves_the_old_ones() {
    let dir = tempfile::tempdir().unwrap();
    let mut ids = EventIds::open_within(dir.path(), &[], TINY).unwrap();
    ids.check(key(0), 0).unwrap();
    let named: Vec<String> = ids.seal(1).unwrap().into_iter().collect();
    drop(ids);
    let failing =
        (0..80).map(|number| Ok((key(number), 0))).chain([Err(crate::error::Error::internal("torn"))]);
    assert!(EventIds::rebuild_within(dir.path(), TINY, failing).is_err());
    assert_eq!(EventIds::open_within(dir.path(), &named, TINY).unwrap().len(), 1);

    let events = (0..120).chain([3, 4]).map(|number| Ok((key(number), u64::from(number))));
    let (mut ids, names) = EventIds::rebuild_within(dir.path(), TINY, events).unwrap();
    assert_eq!((ids.len(), names.len()), (120, 3));
    assert_eq!(ids.check(key(77), 77).unwrap(), Verdict::Duplicate);
    let mut again = EventIds::open_within(dir.path(), &names, TINY).unwrap();
    assert_eq!(again.check(key(119), 1).unwrap(), Verdict::Conflict);
    assert_eq!(names_in(dir.path()), names, "the old runs are gone");
}

#[derive(Clone, Debug)]
enum Step {
    /// From this number on so many ids, with this payload.
    Check(u32, u32, u64),
    /// Seal and record.
    Commit,
    /// Seal, and the record fails.
    CommitFails,
    Discard,
    Merge,
    MergeFails,
    /// Open again without an orderly end.
    Crash,
    /// Seal, then crash before the record.
    CrashBetween,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let check = (0_u32..600, 1_u32..250, 0_u64..2);
    let step = prop_oneof![
        8 => check.prop_map(|(from, count, payload)| Step::Check(from, count, payload)),
        6 => Just(Step::Commit),
        1 => Just(Step::CommitFails),
        1 => Just(Step::Discard),
        2 => Just(Step::Merge),
        1 => Just(Step::MergeFails),
        1 => Just(Step::Crash),
        1 => Just(Step::CrashBetween),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_script_answers_like_a_plain_map(
        steps in steps(),
        memory in prop_oneof![Just(0_usize), Just(3_000), Just(100_000)],
        hashed in proptest::bool::ANY,
    ) {
        // Keys that are no hashes, all in one corner, are slow but must be right too.
        let key = |number: u32| if hashed { key(number) } else { u128::from(number) << 60 };
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { memory, ..TINY };
        let mut ids = EventIds::open_within(dir.path(), &[], limits).unwrap();
        let mut named: Vec<String> = Vec::new();
        let mut stored: HashMap<u32, u64> = HashMap::new();
        let mut seen = stored.clone();
        let mut batch = 0;
        for step in steps {
            match step {
                Step::Check(from, count, payload) => for number in from..from + count {
                    let right = match seen.get(&number) {
                        None => Verdict::New,
                        Some(known) if *known == payload => Verdict::Duplicate,
                        Some(_) => Verdict::Conflict,
                    };
                    prop_assert_eq!(ids.check(key(number), payload).unwrap(), right);
                    seen.entry(number).or_insert(payload);
                },
                Step::Commit => {
                    batch += 1;
                    named.extend(ids.seal(batch).unwrap());
                    ids.recorded();
                    stored = seen.clone();
                }
                Step::CommitFails => {
                    ids.seal(batch + 1).unwrap();
                    ids.discard().unwrap();
                    seen = stored.clone();
                }
                Step::Discard => {
                    ids.discard().unwrap();
                    seen = stored.clone();
                }
                Step::Merge => ids.merge(|old, new| { replace(&mut named, old, new); Ok(()) }).unwrap(),
                Step::MergeFails => {
                    let failed = ids.merge(|_, _| Err(crate::error::Error::unavailable("no")));
                    prop_assert!(failed.is_err() || ids.merge_due().is_none());
                }
                Step::Crash | Step::CrashBetween => {
                    if matches!(step, Step::CrashBetween) {
                        ids.seal(batch + 1).unwrap();
                    }
                    ids = EventIds::open_within(dir.path(), &named, limits).unwrap();
                    seen = stored.clone();
                }
            }
            prop_assert_eq!(ids.len(), seen.len() as u64);
            let fences: usize = ids.runs.iter().map(|known| known.run.blocks() * 8).sum();
            prop_assert!(ids.memory() <= memory + fences, "fences are always in memory, all else is counted");
        }
        let mut files = names_in(dir.path());
        files.retain(|name| named.contains(name));
        named.sort();
        prop_assert_eq!(files, named);
    }
}
