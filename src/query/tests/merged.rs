//! A merge before or after the events came gives the same answers: a lake whose persons were merged later, against one
//! whose events were written for the right person at once.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::query::testing::Row;
use crate::query::tests::rows as ask_rows;

const QUESTIONS: [&str; 16] = [
    "SELECT personId, count(*) FROM seen GROUP BY personId ORDER BY personId",
    "SELECT personId, externalPersonId, eventId FROM events ORDER BY eventId",
    "SELECT count(DISTINCT personId) FROM seen",
    "SELECT definitionId, day, count(*), count(DISTINCT personId) FROM events GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT definitionId, count(DISTINCT personId) FROM events GROUP BY 1 ORDER BY 1",
    "SELECT count(DISTINCT personId) FROM events WHERE occurredTime >= '2026-06-01T00:00:30Z'",
    "SELECT eventId FROM seen WHERE personId = 1 ORDER BY eventId",
    "SELECT eventId FROM seen WHERE personId = 4 ORDER BY eventId",
    "SELECT eventId FROM events WHERE personId IN (1, 2, 3) AND day = '2026-06-01' ORDER BY eventId",
    "SELECT eventId FROM events WHERE personId > 2 ORDER BY eventId",
    "SELECT eventId FROM events WHERE personId <> 1 ORDER BY eventId",
    "SELECT eventId FROM events WHERE externalPersonId = 'p1' OR externalPersonId = 'p5' ORDER BY eventId",
    "SELECT eventId, personId FROM events ORDER BY personId, eventId LIMIT 4",
    "SELECT e.eventId, p.externalPersonId FROM seen e JOIN persons p ON p.personId = e.personId ORDER BY 1",
    "SELECT a.eventId, b.eventId FROM seen a JOIN bought b ON a.personId = b.personId ORDER BY 1, 2",
    "SELECT min(personId), max(personId), sum(personId), count(personId) FROM events",
];

async fn lake(rows: &[(bool, i32, i64, i64)], resolve: impl Fn(i64) -> i64) -> TestLake {
    let mut lake = TestLake::new();
    for id in ["seen", "bought"] {
        lake.define(id, Vec::new());
    }
    for id in 1..=6 {
        lake.person(id, Some(&format!("p{id}")));
    }
    let mut files: BTreeMap<(bool, i32), Vec<Row>> = BTreeMap::new();
    for (at, (bought, day, person, second)) in rows.iter().enumerate() {
        files.entry((*bought, *day)).or_default().push((resolve(*person), *second, at as i64));
    }
    for ((bought, day), rows) in files {
        lake.write(if bought { "bought" } else { "seen" }, june(day), &rows, Vec::new()).await;
    }
    lake
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn merging_before_or_after_the_events_gives_the_same_answers(
        rows in prop::collection::vec((any::<bool>(), 1_i32..3, 1_i64..7, 0_i64..60), 1..40),
        merges in prop::collection::vec((1_i64..7, 1_i64..7), 1..4),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut after = lake(&rows, |person| person).await;
            let mut roots: BTreeMap<i64, i64> = (1..7).map(|id| (id, id)).collect();
            for (one, other) in &merges {
                let (one, other) = (roots[one], roots[other]);
                let (into, from) = (one.min(other), one.max(other));
                if into != from {
                    after.merge(from, into);
                    roots.values_mut().filter(|root| **root == from).for_each(|root| *root = into);
                }
            }
            let before = lake(&rows, |person| roots[&person]).await;
            let (after, before) = (after.session(), before.session());
            for question in QUESTIONS {
                // Twice: the second time columns come from memory.
                for _ in 0..2 {
                    assert_eq!(ask_rows(&after, question).await, ask_rows(&before, question).await, "{question}");
                }
            }
        });
    }
}

#[tokio::test]
async fn the_events_of_one_merged_person_are_a_point_read() {
    let rows: Vec<_> = (0..40).map(|at| (false, at / 20 + 1, i64::from(at % 6) + 1, i64::from(at))).collect();
    let mut lake = lake(&rows, |person| person).await;
    lake.merge(5, 2);
    let plan = lake.session().explain("SELECT eventId FROM events WHERE personId = 2").await.unwrap();
    assert!(
        plan.contains("personId@0 IN (SET) ([2, 5])") || plan.contains("personId@1 IN (SET) ([2, 5])"),
        "{plan}"
    );
    assert!(!plan.contains("FilterExec"), "{plan}");
}
