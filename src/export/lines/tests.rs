use std::collections::BTreeSet;

use parquet::arrow::ArrowWriter;
use proptest::prelude::*;

use super::*;
use crate::export::clock::Clock;
use crate::export::shape::RowShape;
use crate::export::testing::Event;
use crate::export::testing::Value;
use crate::export::testing::batch;
use crate::export::testing::decode;
use crate::export::testing::definition;
use crate::export::testing::write;
use crate::value::ScalarType;

fn known() -> Known {
    Known { persons: Arc::default(), flows: Arc::default() }
}

/// A part for each list of events; numbers count on from part to part.
fn parts(lists: &[Vec<(i64, u8)>]) -> Vec<Part> {
    let definition = definition("seen", &[("title", ScalarType::String)]);
    let shape = Arc::new(RowShape::of(&definition, false).numbered(3));
    let mut seq = 1;
    let mut parts = Vec::new();
    for list in lists {
        let events: Vec<Event> = list
            .iter()
            .map(|(milli, id)| {
                Event::new(format!("e{id}"), milli * 1_000, vec![Value::Text("x".repeat(usize::from(*id)))])
            })
            .collect();
        let rows = batch(&definition, seq, &events);
        seq += i64::try_from(events.len()).unwrap();
        if rows.num_rows() > 0 {
            let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
            writer.write(&rows).unwrap();
            parts.extend(decode(writer.into_inner().unwrap(), &shape));
        }
    }
    parts
}

/// The slow twin: all lines at once, with what orders them.
fn twin(parts: &[Part]) -> Vec<Vec<u8>> {
    let mut rows = Vec::new();
    for part in parts {
        for row in 0..part.rows() {
            let mut line = Vec::new();
            write(part, row, &known().persons, &known().flows, &mut line);
            let id = part.event_id(row).to_owned();
            rows.push((part.time(row).0.div_euclid(1_000), id, part.seq(row), line));
        }
    }
    rows.sort();
    rows.into_iter().map(|(_, _, _, line)| line).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn runs_in_memory_and_on_disk_give_the_rows_in_the_order_of_an_export(
        lists in proptest::collection::vec(proptest::collection::vec((0_i64..9, 0_u8..40), 0..60), 0..6),
        run_bytes in 1_usize..8_000,
        room_bytes in 0_usize..40_000,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let parts = parts(&lists);
        let room = Room::of(room_bytes);
        let spill = Spill::new(folder.path().to_owned());
        let sorter = Sorter { run_bytes, ..Sorter::new(Day(0), 100, Arc::clone(&room), spill) };
        for part in &parts {
            let mut lines = sorter.open();
            sorter.add(part, &known(), &mut lines).unwrap();
            sorter.leave(lines);
        }
        let day = sorter.finish().unwrap();
        let mut millis: Vec<i64> = lists.iter().flatten().map(|(milli, _)| *milli).collect();
        millis.sort_unstable();
        prop_assert_eq!((0..day.rows()).map(|at| day.milli(at)).collect::<Vec<_>>(), millis);
        let mut merge = day.merge().unwrap();
        let mut lines = Lines::default();
        while merge.next_into(&mut lines).unwrap() {}
        let mut found = Vec::new();
        for (nth, row) in lines.rows() {
            prop_assert_eq!(nth, 3);
            let mut line = Vec::new();
            prop_assert!(parts[0].shape().write(row, &mut Clock::default(), &mut line).is_some());
            found.push(line);
        }
        prop_assert_eq!(found, twin(&parts));
        drop(merge);
        // All room is free again.
        prop_assert!(room.take(room_bytes).is_some());
    }
}

#[test]
fn a_row_of_another_day_is_a_fault_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    let sorter = Sorter::new(Day(1), 1, Room::of(0), Spill::new(folder.path().to_owned()));
    let parts = parts(&[vec![(5, 1)]]);
    let fault = sorter.add(&parts[0], &known(), &mut sorter.open()).unwrap_err();
    assert!(fault.message().contains("lies in the files of another day"), "{fault}");
}

#[test]
fn runs_are_on_disk_only_when_there_is_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let kinds = |room: usize| {
        let sorter = Sorter::new(Day(0), 10, Room::of(room), Spill::new(folder.path().to_owned()));
        let mut lines = sorter.open();
        sorter.add(&parts(&[vec![(5, 1), (4, 2)]])[0], &known(), &mut lines).unwrap();
        sorter.leave(lines);
        let runs = sorter.finish().unwrap().runs;
        runs.iter().map(|run| matches!(run, Run::Held(..))).collect::<BTreeSet<_>>()
    };
    assert_eq!(kinds(0), BTreeSet::from([false]));
    assert_eq!(kinds(1 << 20), BTreeSet::from([true]));
}
