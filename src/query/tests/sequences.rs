//! `window_funnel`, `sequence_match` and `sequence_count` in SQL, in one part and in many.

use crate::query::testing::Row;
use crate::query::testing::TestLake;
use crate::query::testing::ask;
use crate::query::testing::june;
use crate::query::testing::queries_of;
use crate::query::tests::shop;

const EVENTS: &str = "(VALUES (1, 0, 'A'), (1, 1, 'X'), (1, 2, 'B'), (2, 5, 'A'), (3, 0, 'B'), (3, 0, 'A'), (4, 0, 'A')) \
                      AS e(p, t, k)";

async fn levels(call: &str) -> Vec<String> {
    let lake = shop().await;
    let mut answers = Vec::new();
    for threads in [1, 3, 7] {
        let session = lake.session();
        let set = format!("SET datafusion.execution.target_partitions = {threads}");
        session.run(&set).await.unwrap().collect().await.unwrap();
        answers.push(
            ask(&session, &format!("SELECT p, {call} FROM {EVENTS} GROUP BY p ORDER BY p")).await.unwrap(),
        );
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    answers.remove(0)
}

#[tokio::test]
async fn br13_levels_are_the_same_in_one_part_and_in_many() {
    assert_eq!(levels("window_funnel(10, t, k = 'A', k = 'B')").await, ["1|2", "2|1", "3|2", "4|1"]);
    assert_eq!(levels("sequence_match('(?1).*(?2)', t, k = 'A', k = 'B')").await[0], "1|true");
    assert_eq!(levels("sequence_match('(?1)(?2)', t, k = 'A', k = 'B', k = 'X')").await[0], "1|false");
    assert_eq!(levels("sequence_count('(?1)', t, k = 'A')").await, ["1|1", "2|1", "3|1", "4|1"]);
}

#[tokio::test]
async fn br13_a_state_that_is_spilled_and_merged_carries_everything() {
    let mut lake = TestLake::new();
    // One file for each kind of event, so that no part has two events of a person.
    for (at, name) in ["A", "X", "B"].into_iter().enumerate() {
        lake.define(name, vec![]);
        let rows: Vec<Row> =
            (0..20_000).map(|person| (person + 1, at as i64, at as i64 * 50_000 + person)).collect();
        lake.write(name, june(1), &rows, vec![]).await;
    }
    let call = "window_funnel('1 day', \"occurredTime\", \"definitionId\" = 'A', \"definitionId\" = 'B')";
    let found =
        "sequence_match('(?1).*(?2)', \"occurredTime\", \"definitionId\" = 'A', \"definitionId\" = 'B')";
    let next =
        "next_event(\"occurredTime\", \"definitionId\", \"definitionId\" = 'A', \"definitionId\" = 'X')";
    let sql = format!(
        "SELECT level, found, next, COUNT(*) FROM (SELECT {call} AS level, {found} AS found, {next} AS next FROM events \
         GROUP BY \"personId\") GROUP BY 1, 2, 3"
    );
    for (threads, memory) in [(1, 256 << 20), (3, 256 << 20), (2, 6 << 20)] {
        let session = queries_of(memory, threads).session(lake.snapshot(), lake.store(), &[]).unwrap();
        if memory < 64 << 20 {
            let set = "SET datafusion.execution.batch_size = 256";
            session.run(set).await.unwrap().collect().await.unwrap();
            let plan = ask(&session, &format!("EXPLAIN ANALYZE {sql}")).await.unwrap().concat();
            let spills = plan.split("spill_count=").skip(1).filter(|rest| !rest.starts_with('0')).count();
            assert!(spills > 0, "all fitted: {plan}");
        }
        assert_eq!(ask(&session, &sql).await.unwrap(), ["2|true|B|20000"], "{threads} {memory}");
    }
}

#[tokio::test]
async fn clickhouse_counts_one_event_twice_and_we_do_not() {
    let twice = levels("window_funnel(10, 'clickhouse', t, k = 'A', k = 'A')").await;
    assert_eq!(twice, ["1|2", "2|2", "3|2", "4|2"]);
    assert_eq!(levels("window_funnel(10, t, k = 'A', k = 'A')").await, ["1|1", "2|1", "3|1", "4|1"]);
    let order = levels("window_funnel(10, 'strict_order', t, k = 'A', k = 'B')").await;
    assert_eq!(order[0], "1|1");
}

#[tokio::test]
async fn what_came_next_is_the_same_in_one_part_and_in_many() {
    assert_eq!(levels("next_event(t, k, k = 'A')").await, ["1|X", "2|", "3|B", "4|"]);
    assert_eq!(levels("next_event(t, k, k = 'A', k = 'X')").await, ["1|B", "2|", "3|", "4|"]);
    assert_eq!(levels("next_event(t, k, k = 'A', k = 'B')").await[0], "1|");
    assert_eq!(levels("next_event('backward', 'tail', t, p * 10, k = 'B', k = 'X')").await[0], "1|10");
    // Events of one instant come in the order of their conditions, in both directions.
    assert_eq!(levels("next_event(t, k, k = 'A')").await[2], "3|B");
    assert_eq!(levels("next_event('backward', 'last_match', t, k, k = 'B')").await[2], "3|A");
}

#[tokio::test]
async fn times_and_windows_are_of_one_kind() {
    let lake = shop().await;
    let session = lake.session();
    let sql = "SELECT \"personId\", window_funnel('1 day', \"occurredTime\", \"definitionId\" = 'pageView', \
               \"definitionId\" = 'itemPurchased') FROM events GROUP BY 1 ORDER BY 1";
    assert_eq!(ask(&session, sql).await.unwrap(), ["1|2", "2|1", "3|1", "4|1"]);
    for (sql, said) in [
        ("SELECT window_funnel('1 month', \"occurredTime\", true) FROM pageView", "30 DAYS"),
        (
            "SELECT window_funnel(1, 'strict_ordr', \"occurredTime\", true) FROM pageView",
            "did you mean \"strict_order\"?",
        ),
        ("SELECT window_funnel(1, 'allow_reentry', \"occurredTime\", true) FROM pageView", "goes with"),
        ("SELECT window_funnel(1, \"occurredTime\") FROM pageView", "write window_funnel("),
        ("SELECT sequence_match('(?2)', \"occurredTime\", true) FROM pageView", "conditions 1 to 1"),
        ("SELECT window_funnel(1, path, true) FROM pageView", "write window_funnel("),
        ("SELECT next_event(\"occurredTime\", path) FROM pageView", "write next_event("),
        (
            "SELECT next_event('forwards', \"occurredTime\", path, true) FROM pageView",
            "did you mean \"forward\"?",
        ),
    ] {
        let error = ask(&session, sql).await.unwrap_err().to_string();
        assert!(error.contains(said), "{sql}: {error}");
    }
}

#[tokio::test]
async fn a_session_ends_when_more_than_the_gap_has_passed() {
    let lake = shop().await;
    let session = lake.session();
    let sql = "SELECT p, n, sessionize('30 minutes', t) OVER (PARTITION BY p ORDER BY t) AS s \
               FROM (VALUES (1, 0, TIMESTAMP '2026-06-01T23:40:00Z'), (1, 30, TIMESTAMP '2026-06-02T00:10:00Z'), \
                            (1, 61, TIMESTAMP '2026-06-02T00:41:00Z'), (2, 5, TIMESTAMP '2026-06-01T23:45:00Z')) \
                    AS e(p, n, t) ORDER BY p, n";
    assert_eq!(ask(&session, sql).await.unwrap(), ["1|0|1", "1|30|1", "1|61|2", "2|5|1"]);
    let wrong =
        "SELECT sessionize('1 month', \"occurredTime\") OVER (ORDER BY \"occurredTime\") FROM pageView";
    assert!(ask(&session, wrong).await.unwrap_err().to_string().contains("30 DAYS"));
}
