//! Counts and unique persons: by whole files where that is enough, by rows where it is not.

use proptest::prelude::*;

use crate::query::testing::Row;
use crate::query::testing::TestLake;
use crate::query::testing::ask;
use crate::query::testing::june;
use crate::query::tests::rows;
use crate::query::tests::shop;

#[tokio::test]
async fn counts_of_whole_days_open_no_file() {
    let session = shop().await.session();
    for (sql, right) in [
        ("SELECT COUNT(*) FROM pageView", "8"),
        ("SELECT COUNT(*) FROM pageView WHERE day >= '2026-06-02'", "5"),
        ("SELECT COUNT(*) FROM events WHERE definitionId = 'pageView' AND day < '2026-06-02'", "3"),
        ("SELECT COUNT(*) FROM events WHERE definitionId LIKE 'item%'", "2"),
        ("SELECT COUNT(*) FROM events WHERE definitionId IN ('idle', 'itemPurchased')", "2"),
    ] {
        let plan = session.explain(sql).await.unwrap();
        assert!(!plan.contains("DataSourceExec"), "{sql}:\n{plan}");
        assert!(!plan.contains("reads=personId"), "{sql}:\n{plan}");
        assert_eq!(rows(&session, sql).await, [right], "{sql}");
    }
    let bounds = "SELECT MIN(occurredTime), MAX(occurredTime) FROM pageView";
    assert!(!session.explain(bounds).await.unwrap().contains("DataSourceExec"));
    assert_eq!(rows(&session, bounds).await, ["2026-06-01T00:00:10Z|2026-06-03T00:00:05Z"]);
}

#[tokio::test]
async fn unique_persons_are_counted_by_their_own_operator() {
    let session = shop().await.session();
    let right = [
        "itemPurchased|2026-06-02|2|2",
        "pageView|2026-06-01|3|2",
        "pageView|2026-06-02|4|3",
        "pageView|2026-06-03|1|1",
    ];
    for day in ["day", "CAST(occurredTime AS DATE)", "local_day(occurredTime, 'UTC')"] {
        let sql = format!(
            "SELECT definitionId, {day}, COUNT(*), COUNT(DISTINCT personId) FROM events GROUP BY definitionId, {day} ORDER BY 1, 2"
        );
        let plan = session.explain(&sql).await.unwrap();
        assert!(
            plan.contains("UniquePersonsExec: by=[definitionId, day], reads=personId, files=5 of 5"),
            "{plan}"
        );
        assert_eq!(rows(&session, &sql).await, right);
    }
    let trunc = "SELECT date_trunc('day', occurredTime) d, COUNT(DISTINCT personId) FROM pageView GROUP BY d ORDER BY d";
    assert!(session.explain(trunc).await.unwrap().contains("UniquePersonsExec"));
    assert_eq!(
        rows(&session, trunc).await,
        ["2026-06-01T00:00:00Z|2", "2026-06-02T00:00:00Z|3", "2026-06-03T00:00:00Z|1"]
    );
    let inner = "SELECT d, COUNT(DISTINCT p) n FROM (SELECT day AS d, personId AS p FROM events e WHERE e.day > '2026-06-01') x GROUP BY d ORDER BY n DESC";
    let plan = session.explain(inner).await.unwrap();
    assert!(
        plan.contains("UniquePersonsExec: by=[day], reads=personId, files=4 of 5, days=2 of 3"),
        "{plan}"
    );
    assert_eq!(rows(&session, inner).await, ["2026-06-02|3", "2026-06-03|1"]);
    assert_eq!(rows(&session, "SELECT COUNT(DISTINCT personId), COUNT(*) FROM events").await, ["4|10"]);
    assert_eq!(rows(&session, "SELECT COUNT(DISTINCT personId) FROM idle").await, ["0"]);
}

#[tokio::test]
async fn what_depends_on_rows_is_not_left_to_the_operator_of_whole_files() {
    let session = shop().await.session();
    for (sql, right) in [
        ("SELECT COUNT(DISTINCT personId) FROM pageView WHERE path = '/shoes'", "3"),
        ("SELECT COUNT(DISTINCT personId) FROM pageView WHERE occurredTime > '2026-06-02T00:00:10Z'", "3"),
        ("SELECT COUNT(DISTINCT eventId) FROM pageView", "8"),
        ("SELECT COUNT(DISTINCT personId) FROM (SELECT personId FROM pageView LIMIT 1)", "1"),
        ("SELECT COUNT(sessionId) FROM pageView", "0"),
        ("SELECT COUNT(DISTINCT personId) FILTER (WHERE path = '/hats') FROM pageView", "1"),
    ] {
        assert!(!session.explain(sql).await.unwrap().contains("UniquePersonsExec"), "{sql}");
        assert_eq!(rows(&session, sql).await, [right], "{sql}");
    }
}

fn plain_of(sql: &str) -> String {
    // A condition on a row that always holds keeps the operator of whole files away.
    sql.replace("FROM events", "FROM (SELECT * FROM events WHERE seq > 0) e")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn unique_persons_equal_those_that_rows_give(
        files in prop::collection::vec(
            (0_usize..3, 1_i32..5, prop::collection::vec((1_i64..60, 0_i64..86_400), 1..80)),
            0..9,
        ),
        far in prop::bool::ANY,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(async {
            let mut lake = TestLake::new();
            let names = ["first", "second", "third"];
            for name in names {
                lake.define(name, vec![]);
            }
            for (which, day, events) in &files {
                let spread = if far { 1 << 40 } else { 1 };
                let rows: Vec<Row> = events.iter().map(|(person, second)| (person * spread, *second, *second)).collect();
                lake.write(names[*which], june(*day), &rows, vec![]).await;
            }
            let session = lake.session();
            for sql in [
                "SELECT definitionId, day, COUNT(*), COUNT(DISTINCT personId) FROM events GROUP BY definitionId, day ORDER BY 1, 2",
                "SELECT definitionId, COUNT(DISTINCT personId), COUNT(*) FROM events GROUP BY definitionId ORDER BY 1",
                "SELECT day, COUNT(DISTINCT personId) FROM events GROUP BY day ORDER BY 1",
                "SELECT COUNT(DISTINCT personId), COUNT(personId) FROM events",
                "SELECT day, COUNT(DISTINCT personId) FROM events WHERE day > '2026-06-02' GROUP BY day ORDER BY 1",
            ] {
                let plan = session.explain(sql).await.unwrap();
                assert!(plan.contains("UniquePersonsExec"), "{plan}");
                let slow = plain_of(sql);
                assert!(!session.explain(&slow).await.unwrap().contains("UniquePersonsExec"));
                assert_eq!(ask(&session, sql).await.unwrap(), ask(&session, &slow).await.unwrap(), "{sql}");
            }
        });
    }
}

#[tokio::test]
async fn different_persons_by_a_property_are_counted_in_sets() {
    let session = shop().await.session();
    let sql = "SELECT path, COUNT(DISTINCT personId) n, COUNT(*) FROM pageView GROUP BY path ORDER BY path";
    assert!(session.explain(sql).await.unwrap().contains("unique_persons("));
    assert_eq!(rows(&session, sql).await, ["/|3|3", "/hats|1|2", "/shoes|3|3"]);
    let summed = "SELECT path, SUM(seq), COUNT(DISTINCT personId) FROM pageView GROUP BY path ORDER BY path";
    assert_eq!(rows(&session, summed).await, ["/|11|3", "/hats|10|1", "/shoes|15|3"]);
    let window = "SELECT DISTINCT unique_persons(personId) OVER (PARTITION BY path) FROM pageView ORDER BY 1";
    assert_eq!(rows(&session, window).await, ["1", "3"]);
}
