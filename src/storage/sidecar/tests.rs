//! What a sidecar says is what its file says, and one that is not whole says nothing.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::Int64Array;
use arrow::array::RecordBatch;
use arrow::array::TimestampMicrosecondArray;
use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::schema::OCCURRED_TIME;
use crate::schema::PERSON_ID;
use crate::schema::SEQ;
use crate::storage::DataFile;
use crate::storage::Layout;
use crate::storage::keys::SortKey;
use crate::storage::keys::SortKeys;
use crate::storage::shape::Times;
use crate::time::Day;
use crate::time::MICROS_PER_DAY;
use crate::time::Micros;

fn keys(rows: &[SortKey]) -> SortKeys {
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.1));
    let columns: [(&str, ArrayRef); 3] = [
        (PERSON_ID, Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)))),
        (OCCURRED_TIME, Arc::new(times.with_timezone("UTC"))),
        (SEQ, Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2)))),
    ];
    SortKeys::of(&RecordBatch::try_from_iter(columns).unwrap()).unwrap()
}

/// The sidecar of sorted rows that come in pieces.
fn built(rows: &[SortKey], piece: usize) -> Option<Vec<u8>> {
    let times = Times::that_keep(rows.iter().map(|row| row.1));
    let mut builder = Builder::new(rows.len(), times);
    rows.chunks(piece).for_each(|rows| builder.take(&keys(rows)));
    builder.finish(77)
}

fn file(rows: u64) -> DataFile {
    let path = "view/day=2026-06-01/a.parquet".to_owned();
    let bounds = (Micros(0), Micros(0));
    DataFile { path, bytes: 77, rows, day: Day(0), persons: (0, 0), times: bounds }
}

fn read_back(sidecar: &Sidecar) -> Vec<(i64, i64)> {
    let persons = sidecar.persons();
    let mut rows = Vec::new();
    sidecar.events().visit(
        |_| u64::MAX,
        |at, row, time| {
            assert_eq!(row, rows.len());
            rows.push((i64::from(persons[at]), time));
        },
    );
    rows
}

fn sorted(rows: Vec<(u32, i64)>, day: i64, unit: i64) -> Vec<SortKey> {
    let mut rows: Vec<(i64, i64)> = rows
        .into_iter()
        .map(|(person, time)| (i64::from(person), day * MICROS_PER_DAY + time / unit * unit))
        .collect();
    rows.sort_unstable();
    rows.into_iter().zip(5..).map(|((person, time), seq)| (person, time, seq)).collect()
}

/// Persons close together, far apart, and few of them with many events.
fn persons() -> impl Strategy<Value = u32> {
    prop_oneof![1_u32..300, 1_u32..4, 1_000_000_u32..1_000_100, any::<u32>()]
}

proptest! {
    #[test]
    fn a_sidecar_says_what_its_rows_say(
        rows in prop::collection::vec((persons(), 0..MICROS_PER_DAY), 1..600),
        day in -800_000_i64..3_000_000,
        unit in prop_oneof![Just(1_i64), Just(1_000), Just(1_000_000)],
        piece in 1_usize..200,
    ) {
        let rows = sorted(rows, day, unit);
        let bytes = built(&rows, piece).unwrap();
        let sidecar = Sidecar::read(Bytes::from(bytes)).unwrap();
        let expected: Vec<(i64, i64)> = rows.iter().map(|row| (row.0, row.1)).collect();
        prop_assert_eq!(read_back(&sidecar), expected);
        let persons: BTreeSet<i64> = rows.iter().map(|row| row.0).collect();
        let said: Vec<i64> = sidecar.persons().iter().map(|id| i64::from(*id)).collect();
        prop_assert_eq!(said, persons.iter().copied().collect::<Vec<_>>());
        let head = sidecar.head();
        prop_assert_eq!((head.rows, head.persons), (rows.len() as u64, persons.len() as u64));
        prop_assert_eq!(head.first_seq, Some(5));
        prop_assert_eq!(head.bytes(), sidecar.bytes().len() as u64);
    }

    #[test]
    fn some_rows_are_visited_as_they_stand_among_all(
        rows in prop::collection::vec((1_u32..40, 0..MICROS_PER_DAY), 1..300),
        masks in prop::collection::vec(any::<u64>(), 5),
    ) {
        let rows = sorted(rows, 3, 1);
        let sidecar = Sidecar::read(Bytes::from(built(&rows, 64).unwrap())).unwrap();
        let persons = sidecar.persons();
        let mut seen = Vec::new();
        sidecar.events().visit(|word| masks[word], |at, row, time| seen.push((row, persons[at], time)));
        let chosen = rows.iter().enumerate().filter(|(row, _)| masks[row / 64] >> (row % 64) & 1 == 1);
        let expected: Vec<_> =
            chosen.map(|(row, key)| (row, u32::try_from(key.0).unwrap(), key.1)).collect();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn it_is_known_of_each_person_how_many_events_there_are(
        counts in prop::collection::vec(1_usize..70, 1..200),
        asked in any::<u64>(),
    ) {
        let events = |(person, count): (i64, &usize)| vec![(person, 0, 0); *count];
        let rows: Vec<SortKey> = (1_i64..).zip(&counts).flat_map(events).collect();
        let sidecar = Sidecar::read(Bytes::from(built(&rows, 64).unwrap())).unwrap();
        let mut repeats = sidecar.events().repeats();
        for (nth, count) in counts.iter().enumerate().filter(|(nth, _)| asked >> (nth % 64) & 1 == 1) {
            prop_assert_eq!(repeats.again(nth), *count > 1, "person {}", nth);
        }
        let mut counted = Vec::new();
        sidecar.events().counts(|nth, count| counted.push((nth, count)));
        prop_assert_eq!(counted, counts.into_iter().enumerate().collect::<Vec<_>>());
    }

    #[test]
    fn a_damaged_sidecar_is_none(
        rows in prop::collection::vec((1_u32..500, 0..MICROS_PER_DAY), 1..200),
        at in any::<prop::sample::Index>(),
        bit in 0_u32..8,
    ) {
        let mut bytes = built(&sorted(rows, 3, 1), 64).unwrap();
        let at = at.index(bytes.len());
        prop_assert!(Sidecar::read(Bytes::copy_from_slice(&bytes[..at])).is_none());
        bytes[at] ^= 1 << bit;
        prop_assert!(Sidecar::read(Bytes::from(bytes)).is_none());
    }

    #[test]
    fn bytes_of_anything_are_none(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Sidecar::read(Bytes::from(bytes)).is_none());
    }
}

#[test]
fn rows_that_a_sidecar_cannot_hold_have_none() {
    let day = MICROS_PER_DAY;
    for rows in [
        vec![],
        vec![(-1, 0, 1)],
        vec![(1 << 32, 0, 1)],
        vec![(1, 0, 1), (1, day, 2)],
        vec![(1, day, 1), (2, day - 1, 2)],
        vec![(2, 0, 1), (1, 0, 2)],
    ] {
        assert_eq!(built(&rows, 10), None, "{rows:?}");
    }
}

#[test]
fn numbers_with_a_gap_are_not_told() {
    let head = |rows: &[SortKey]| *Sidecar::read(Bytes::from(built(rows, 1).unwrap())).unwrap().head();
    assert_eq!(head(&[(1, 0, 7), (1, 1, 8), (2, 0, 9)]).first_seq, Some(7));
    assert_eq!(head(&[(1, 0, 7), (1, 1, 9)]).first_seq, None);
    assert_eq!(head(&[(1, 0, 7), (1, 1, 6)]).first_seq, None);
}

#[test]
fn one_that_is_absent_torn_or_of_another_file_is_passed_over_and_counted() {
    let dir = TempDir::new().unwrap();
    let layout = Layout::new(dir.path());
    let index = Index::new(layout.clone(), 1 << 20);
    let rows: Vec<SortKey> = (1..200).map(|person| (person, 0, person)).collect();
    let bytes = built(&rows, 50).unwrap();
    let path = layout.sidecar(&file(199).path).unwrap();

    assert!(index.head(&file(199)).is_none());
    assert!(index.open(&file(199)).is_none());
    assert_eq!(index.passed(), Passed { absent: 2, torn: 0, stale: 0 });

    write(&path, &bytes[..bytes.len() - 1]);
    assert!(index.head(&file(199)).is_none());
    let mut wrong = bytes.clone();
    *wrong.last_mut().unwrap() ^= 1;
    write(&path, &wrong);
    assert!(index.open(&file(199)).is_none());
    assert_eq!(index.passed(), Passed { absent: 2, torn: 2, stale: 0 });

    write(&path, &bytes);
    assert!(index.open(&file(198)).is_none());
    assert!(index.head(&DataFile { bytes: 78, ..file(199) }).is_none());
    assert_eq!(index.passed(), Passed { absent: 2, torn: 2, stale: 2 });

    assert_eq!(index.head(&file(199)).unwrap().persons, 199);
    let held = index.open(&file(199)).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(Arc::ptr_eq(&held, &index.open(&file(199)).unwrap()), "what is in memory needs no file");
    index.forget([file(199).path.as_str()]);
    assert!(index.open(&file(199)).is_none());
}

#[test]
fn who_is_in_a_file_is_told_from_the_part_of_the_persons_alone() {
    let dir = TempDir::new().unwrap();
    let layout = Layout::new(dir.path());
    let index = Index::new(layout.clone(), 1 << 20);
    let rows: Vec<SortKey> = (1..200).map(|person| (person * 3, 0, person)).collect();
    let bytes = built(&rows, 50).unwrap();
    let path = layout.sidecar(&file(199).path).unwrap();
    assert_eq!(index.holds_any(&file(199), &[3], true), None, "there is none");
    // Events that are torn do not matter; persons that are do.
    let mut wrong = bytes.clone();
    *wrong.last_mut().unwrap() ^= 1;
    write(&path, &wrong);
    assert_eq!(index.holds_any(&file(199), &[3], false), None, "it was not read yet");
    assert_eq!(index.holds_any(&file(199), &[4, 5, 6], true), Some(true));
    assert_eq!(index.holds_any(&file(199), &[1, 4, 600], false), Some(false), "it was read");
    index.forget([file(199).path.as_str()]);
    wrong[format::HEAD_BYTES] ^= 1;
    write(&path, &wrong);
    assert_eq!(index.holds_any(&file(199), &[3], true), None);
    write(&path, &bytes);
    index.open(&file(199)).unwrap();
    assert_eq!(index.holds_any(&file(199), &[597], false), Some(true));
}

#[test]
fn no_more_stay_in_memory_than_there_is_room_for() {
    let dir = TempDir::new().unwrap();
    let layout = Layout::new(dir.path());
    let rows: Vec<SortKey> = (1..200).map(|person| (person, 0, person)).collect();
    let bytes = built(&rows, 50).unwrap();
    let path = layout.sidecar(&file(199).path).unwrap();
    for (memory, stays) in [(1 << 20, true), (0, false)] {
        write(&path, &bytes);
        let index = Index::new(layout.clone(), memory);
        assert!(index.open(&file(199)).is_some());
        fs::remove_file(&path).unwrap();
        assert_eq!(index.open(&file(199)).is_some(), stays);
    }
}

#[test]
fn dense_persons_are_bits_and_sparse_ones_are_gaps() {
    let bytes = |step: usize| {
        let rows: Vec<SortKey> = (0..10_000).map(|at| (at * step as i64, 0, at)).collect();
        Sidecar::read(Bytes::from(built(&rows, 999).unwrap())).unwrap().head().section_bytes().0
    };
    // A bit for each; four bits for a gap of nine.
    assert!(bytes(1) < 1_260 && bytes(10) < 5_200, "{} {}", bytes(1), bytes(10));
}
