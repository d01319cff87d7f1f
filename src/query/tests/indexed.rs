//! Answers with an index beside every file, beside some, and beside none are the same.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::query::testing::Row;
use crate::query::tests::rows as rows_of;
use crate::time::Day;

const QUESTIONS: [&str; 9] = [
    "SELECT definitionId, day, count(*), count(DISTINCT personId) FROM events GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT definitionId, count(DISTINCT personId) FROM events GROUP BY 1 ORDER BY 1",
    "SELECT day, count(DISTINCT personId) FROM events GROUP BY 1 ORDER BY 1",
    "SELECT count(DISTINCT personId) FROM seen",
    "SELECT day, count(DISTINCT personId) FROM seen WHERE day > '2026-06-01' GROUP BY 1 ORDER BY 1",
    "SELECT count(DISTINCT personId) FROM events WHERE day = '2026-06-02'",
    "SELECT definitionId, day, seq FROM events WHERE personId = 3 ORDER BY 1, 2, 3",
    "SELECT personId, seq FROM events WHERE personId IN (2, 5) AND day > '2026-06-01' ORDER BY 1, 2",
    "SELECT personId, count(*) FROM seen WHERE personId = 4 OR personId = 9 GROUP BY 1 ORDER BY 1",
];

/// Bought or seen, day, person, second; in files of so many events.
type Events = [(bool, i32, i64, i64)];

async fn lake(rows: &Events, piece: usize, merges: &[(i64, i64)], index_every: usize) -> TestLake {
    let mut lake = TestLake::new();
    lake.index_every(index_every);
    for id in ["seen", "bought"] {
        lake.define(id, Vec::new());
    }
    for id in 1..=9 {
        lake.person(id, None);
    }
    for (number, piece) in rows.chunks(piece).enumerate() {
        let mut files: BTreeMap<(bool, i32), Vec<Row>> = BTreeMap::new();
        for (at, (bought, day, person, second)) in piece.iter().enumerate() {
            let id = (number * 1_000 + at) as i64;
            files.entry((*bought, *day)).or_default().push((*person, *second, id));
        }
        for ((bought, day), rows) in files {
            lake.write(if bought { "bought" } else { "seen" }, june(day), &rows, Vec::new()).await;
        }
    }
    for (from, into) in merges {
        lake.merge(*from, *into);
    }
    lake
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn unique_persons_are_the_same_with_any_index(
        rows in prop::collection::vec((any::<bool>(), 1_i32..4, 1_i64..10, 0_i64..60), 1..60),
        merges in prop::collection::vec((1_i64..10, 1_i64..10), 0..3),
        piece in 5_usize..60,
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut right: Vec<Vec<String>> = Vec::new();
            for every in [0, 1, 2] {
                let lake = lake(&rows, piece, &merges, every).await;
                let session = lake.session();
                for (at, question) in QUESTIONS.iter().enumerate() {
                    let answer = rows_of(&session, question).await;
                    if every == 0 {
                        right.push(answer);
                    } else {
                        assert_eq!(answer, right[at], "{question} with an index beside file {every}");
                    }
                }
                let active = session.active().unwrap();
                for id in ["seen", "bought", "nothing"] {
                    let by_day = active.by_day(id, june(2)..june(4)).await.unwrap();
                    let mut right: BTreeMap<Day, Vec<u64>> = BTreeMap::new();
                    for (bought, day, person, _) in &rows {
                        if *day >= 2 && (if *bought { "bought" } else { "seen" }) == id {
                            let root = lake.snapshot().persons.resolve(crate::ids::PersonId(*person));
                            right.entry(june(*day)).or_default().push(root.0.unsigned_abs());
                        }
                    }
                    right.values_mut().for_each(|ids| { ids.sort_unstable(); ids.dedup(); });
                    let said = by_day.iter().map(|(day, set)| (*day, set.iter().collect::<Vec<u64>>()));
                    assert_eq!(said.collect::<BTreeMap<_, _>>(), right);
                    let mut all: Vec<u64> = right.values().flatten().copied().collect();
                    all.sort_unstable();
                    all.dedup();
                    let within = active.within(id, june(2)..june(4)).await.unwrap();
                    assert_eq!(within.iter().collect::<Vec<u64>>(), all);
                    let days: Vec<Day> = active.days(id).into_iter().filter(|day| *day >= june(2)).collect();
                    assert_eq!(days, right.keys().copied().collect::<Vec<_>>());
                }
            }
        });
    }
}

#[tokio::test]
async fn a_plan_says_whether_persons_are_counted_from_indexes() {
    let rows = [(false, 1, 1, 5), (false, 2, 2, 5), (false, 2, 3, 6)];
    let sql = "SELECT day, count(DISTINCT personId) FROM seen GROUP BY day ORDER BY day";
    for (every, says) in
        [(0, "reads=personId,"), (1, "reads=index,"), (2, "reads=index of 1, personId of others,")]
    {
        let session = lake(&rows, 10, &[], every).await.session();
        let plan = session.explain(sql).await.unwrap();
        assert!(plan.contains(says), "{says}\n{plan}");
        assert_eq!(rows_of(&session, sql).await, ["2026-06-01|1", "2026-06-02|2"]);
    }
}
