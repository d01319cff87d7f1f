//! What SQL answers over a small lake, and what `EXPLAIN` says of the way.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::Float64Array;
use arrow::array::Int64Array;
use arrow::array::StringArray;
use proptest::prelude::*;

use crate::error::Kind;
use crate::error::Place;
use crate::query::Session;
use crate::query::testing::Row;
use crate::query::testing::TestLake;
use crate::query::testing::ask;
use crate::query::testing::june;
use crate::schema::Property;
use crate::value::ScalarType;

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn whole(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn decimals(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

/// Three days of page views by four persons, and two purchases.
async fn shop() -> TestLake {
    let mut lake = TestLake::new();
    for (id, external) in [(1, Some("ana")), (2, None), (3, Some("iva")), (4, None)] {
        lake.person(id, external);
    }
    lake.define("pageView", vec![Property::scalar("path", ScalarType::String)]);
    let items = [("itemID", ScalarType::Numeric), ("price", ScalarType::Decimal)];
    lake.define("itemPurchased", items.map(|(name, kind)| Property::scalar(name, kind)).to_vec());
    lake.define("idle", vec![]);
    lake.write(
        "pageView",
        june(1),
        &[(1, 10, 1), (1, 20, 2), (2, 30, 3)],
        vec![texts(&["/", "/shoes", "/"])],
    )
    .await;
    lake.write("pageView", june(2), &[(1, 10, 4), (3, 86_399, 5)], vec![texts(&["/hats", "/shoes"])]).await;
    lake.write("pageView", june(2), &[(1, 11, 6), (4, 0, 7)], vec![texts(&["/hats", "/"])]).await;
    lake.write("pageView", june(3), &[(2, 5, 8)], vec![texts(&["/shoes"])]).await;
    let bought = vec![whole(&[7, 9]), decimals(&[19.99, 5.0])];
    lake.write("itemPurchased", june(2), &[(1, 50, 9), (3, 60, 10)], bought).await;
    lake
}

async fn rows(session: &Session, sql: &str) -> Vec<String> {
    ask(session, sql).await.unwrap()
}

async fn failure(session: &Session, sql: &str) -> crate::error::Error {
    ask(session, sql).await.unwrap_err()
}

#[tokio::test]
async fn a_definition_is_a_table_with_system_columns_first() {
    let lake = shop().await;
    let session = lake.session();
    let described = rows(&session, "DESCRIBE pageView").await;
    let names: Vec<&str> = described.iter().map(|row| row.split('|').next().unwrap()).collect();
    let right = "eventId personId externalPersonId sessionId occurredTime receivedTime day seq path";
    assert_eq!(names.join(" "), right);
    assert_eq!(
        rows(
            &session,
            "SELECT eventId, externalPersonId, occurredTime, day, path FROM pageView WHERE personId = 3"
        )
        .await,
        ["e5|iva|2026-06-02T23:59:59Z|2026-06-02|/shoes"]
    );
    assert_eq!(rows(&session, "SELECT COUNT(*) FROM idle").await, ["0"]);
    assert_eq!(rows(&session, "SELECT personId FROM idle").await, [""; 0]);
}

#[tokio::test]
async fn a_day_opens_only_the_files_of_that_day() {
    let lake = shop().await;
    let session = lake.session();
    for condition in [
        "day = '2026-06-02'",
        "day BETWEEN '2026-06-02' AND '2026-06-02'",
        "occurredTime >= '2026-06-02T00:00:00Z' AND occurredTime < '2026-06-03T00:00:00Z'",
        "CAST(occurredTime AS DATE) = '2026-06-02'",
        "date_trunc('day', occurredTime) = '2026-06-02'",
        "local_day(occurredTime, 'UTC') = '2026-06-02'",
    ] {
        let sql = format!("SELECT path, seq FROM pageView WHERE {condition}");
        let plan = session.explain(&sql).await.unwrap();
        assert!(plan.contains("files=2 of 4, days=1 of 3"), "{condition}:\n{plan}");
        // The condition holds for whole files, so no row is looked at.
        assert!(!plan.contains("predicate="), "{condition}:\n{plan}");
        assert_eq!(rows(&session, &sql).await.len(), 4, "{condition}");
    }
}

#[tokio::test]
async fn part_of_a_day_is_looked_at_row_by_row() {
    let session = shop().await.session();
    let sql = "SELECT eventId FROM pageView WHERE occurredTime >= '2026-06-02T00:00:11Z' ORDER BY eventId";
    let plan = session.explain(sql).await.unwrap();
    assert!(plan.contains("files=3 of 4, days=2 of 3"), "{plan}");
    assert!(plan.contains("predicate=occurredTime"), "{plan}");
    assert_eq!(rows(&session, sql).await, ["e5", "e6", "e8"]);
}

#[tokio::test]
async fn a_person_opens_only_files_that_may_have_them() {
    let session = shop().await.session();
    let plan = session.explain("SELECT path FROM pageView WHERE personId = 4").await.unwrap();
    assert!(plan.contains("files=1 of 4"), "{plan}");
    let sql = "SELECT eventId FROM pageView WHERE externalPersonId = 'iva'";
    let plan = session.explain(sql).await.unwrap();
    assert!(plan.contains("files=2 of 4"), "{plan}");
    assert!(plan.contains("predicate=personId@") && !plan.contains("externalPersonId("), "{plan}");
    assert_eq!(rows(&session, sql).await, ["e5"]);
    assert_eq!(
        rows(&session, "SELECT eventId FROM pageView WHERE externalPersonId = 'nobody'").await,
        [""; 0]
    );
    let others = "SELECT DISTINCT externalPersonId FROM pageView WHERE NOT externalPersonId = 'iva'";
    assert_eq!(rows(&session, others).await, ["ana"]);
    let either = "SELECT COUNT(*) FROM pageView WHERE externalPersonId IN ('ana', 'iva') AND path <> '/hats'";
    assert_eq!(rows(&session, either).await, ["3"]);
}

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

#[tokio::test]
async fn all_events_show_their_properties_as_json() {
    let session = shop().await.session();
    let sql = "SELECT definitionId, externalPersonId, properties FROM events WHERE day = '2026-06-02' AND personId = 1 ORDER BY seq";
    assert_eq!(
        rows(&session, sql).await,
        [
            "pageView|ana|{\"path\":\"/hats\"}",
            "pageView|ana|{\"path\":\"/hats\"}",
            "itemPurchased|ana|{\"itemID\":7,\"price\":19.99}"
        ]
    );
    let plan = session.explain("SELECT personId, eventId FROM events").await.unwrap();
    assert!(!plan.contains("properties") && !plan.contains("Union"), "{plan}");
}

#[tokio::test]
async fn a_property_that_files_lack_is_null_and_odd_names_are_found() {
    let mut lake = shop().await;
    lake.extend("pageView", Property::scalar("a.b", ScalarType::Numeric));
    lake.write("pageView", june(4), &[(2, 1, 11)], vec![texts(&["/new"]), whole(&[5])]).await;
    let session = lake.session();
    assert_eq!(
        rows(&session, "SELECT COUNT(*), COUNT(\"a.b\"), SUM(\"a.b\") FROM pageView").await,
        ["9|1|5"]
    );
    assert_eq!(rows(&session, "SELECT eventId FROM pageView WHERE \"a.b\" = 5").await, ["e11"]);
    assert_eq!(
        rows(&session, "SELECT properties FROM events WHERE eventId = 'e11'").await,
        ["{\"path\":\"/new\",\"a.b\":5}"]
    );
}

#[tokio::test]
async fn br26_reserved_words_and_odd_names_are_selectable_when_quoted() {
    let mut lake = TestLake::new();
    let names = ["externalPersonId", "eventId", "select", "order", "from", "group by", "a\"b", "a.b"];
    lake.define("cart1", names.map(|name| Property::scalar(name, ScalarType::String)).to_vec());
    let values = ["1", "2", "3", "4", "5", "6", "7", "8"].map(|value| texts(&[value]));
    lake.write("cart1", june(1), &[(1, 0, 1)], values.to_vec()).await;
    let sql = "SELECT \"cart1_externalPersonId\", cart1_eventId, \"select\", \"order\", \"from\", \"group by\", \"a\"\"b\", \"a.b\" FROM cart1";
    assert_eq!(rows(&lake.session(), sql).await, ["1|2|3|4|5|6|7|8"]);
}

#[tokio::test]
async fn br25_a_name_in_another_case_is_refused_and_the_right_one_named() {
    let session = shop().await.session();
    let wrong = failure(&session, "SELECT itemId\nFROM itemPurchased").await;
    assert_eq!(wrong.kind(), Kind::NotFound);
    assert_eq!(
        wrong.message(),
        "no column is called \"itemId\"; names keep their case: did you mean \"itemID\"?"
    );
    assert_eq!(wrong.place(), Some(Place { line: 1, column: 8 }));
}

#[tokio::test]
async fn mistakes_are_named_with_their_place_and_the_nearest_name() {
    let session = shop().await.session();
    let table = failure(&session, "SELECT 1\nFROM pageview").await;
    assert_eq!(
        (table.kind(), table.message()),
        (Kind::NotFound, "no table is called \"pageview\"; did you mean \"pageView\"?")
    );
    assert_eq!(table.place(), Some(Place { line: 2, column: 6 }));
    let function = failure(&session, "SELECT coutn(*) FROM pageView").await;
    assert_eq!(
        (function.kind(), function.message()),
        (Kind::NotFound, "no function is called \"coutn\"; did you mean \"count\"?")
    );
    let column = failure(&session, "SELECT p.pth FROM pageView p").await;
    assert_eq!(column.message(), "no column in \"p\" is called \"pth\"; did you mean \"path\"?");
    let syntax = failure(&session, "SELECT path FROM pageView\nWHERE path = = 1").await;
    assert_eq!(syntax.kind(), Kind::Invalid);
    assert_eq!(syntax.place().map(|place| place.line), Some(2), "{syntax}");
    let zone = failure(&session, "SELECT local_day(occurredTime, 'Europe/Zagrep') FROM pageView").await;
    assert!(zone.message().contains("did you mean \"Europe/Zagreb\"?"), "{zone}");
}

#[tokio::test]
async fn what_writes_is_refused() {
    let session = shop().await.session();
    for sql in [
        "CREATE TABLE t AS SELECT 1",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "COPY (SELECT 1) TO '/tmp/x.csv'",
        "INSERT INTO pageView SELECT * FROM pageView",
        "DELETE FROM pageView",
        "DROP TABLE pageView",
        "EXPLAIN INSERT INTO pageView SELECT * FROM pageView",
        "EXPLAIN COPY (SELECT 1) TO '/tmp/x.csv'",
        "SELECT path INTO t FROM pageView",
        "SET datafusion.sql_parser.enable_ident_normalization = true",
        "SET datafusion.runtime.memory_limit = '1G'",
        "CREATE VIEW pageView AS SELECT 1",
    ] {
        let refused = failure(&session, sql).await;
        assert_eq!(refused.kind(), Kind::Invalid, "{sql}: {refused}");
    }
}

#[tokio::test]
async fn views_and_settings_stay_in_the_session_and_follow_the_snapshot() {
    let mut lake = shop().await;
    let session = lake.session();
    rows(&session, "CREATE VIEW shoes AS SELECT personId FROM pageView WHERE path = '/shoes'").await;
    rows(&session, "SET datafusion.execution.batch_size = 17").await;
    assert_eq!(rows(&session, "SELECT COUNT(*) FROM shoes").await, ["3"]);
    lake.write("pageView", june(5), &[(9, 1, 12)], vec![texts(&["/shoes"])]).await;
    let next = session.at(lake.snapshot()).await.unwrap();
    assert_eq!(rows(&next, "SELECT COUNT(*) FROM shoes").await, ["4"]);
    assert_eq!(rows(&session, "SELECT COUNT(*) FROM shoes").await, ["3"]);
    assert_eq!(
        rows(&next, "SHOW datafusion.execution.batch_size").await,
        ["datafusion.execution.batch_size|17"]
    );
    rows(&next, "DROP VIEW shoes").await;
    let after = next.at(lake.snapshot()).await.unwrap();
    assert_eq!(failure(&after, "SELECT * FROM shoes").await.kind(), Kind::NotFound);
}

#[tokio::test]
async fn persons_and_definitions_are_tables() {
    let session = shop().await.session();
    assert_eq!(
        rows(&session, "SELECT personId, externalPersonId FROM persons WHERE externalPersonId IS NOT NULL")
            .await,
        ["1|ana", "3|iva"]
    );
    assert_eq!(
        rows(&session, "SELECT id, enabled, properties FROM definitions WHERE id = 'itemPurchased'").await,
        ["itemPurchased|true|[itemID Numeric, price Decimal]"]
    );
}

#[tokio::test]
async fn br32_a_sum_of_integers_does_not_wrap() {
    let mut lake = TestLake::new();
    lake.define(
        "numbers",
        vec![Property::scalar("n", ScalarType::Numeric), Property::scalar("g", ScalarType::String)],
    );
    let values: ArrayRef =
        Arc::new(Int64Array::from(vec![Some(i64::MAX), Some(1), Some(i64::MAX), None, Some(i64::MIN)]));
    let events: Vec<Row> = (1..=5).map(|person| (person, person, person)).collect();
    lake.write("numbers", june(1), &events, vec![values, texts(&["a", "a", "b", "c", "d"])]).await;
    let session = lake.session();
    for (sql, right) in [
        ("SELECT SUM(n) FROM numbers WHERE personId < 3", "9223372036854775808"),
        ("SELECT AVG(n) FROM numbers WHERE personId < 3", "4.611686018427388e18"),
        ("SELECT SUM(n) FROM numbers", "9223372036854775807"),
        ("SELECT SUM(DISTINCT n) FROM numbers WHERE personId < 4", "9223372036854775808"),
        ("SELECT SUM(n) FILTER (WHERE g <> 'd') FROM numbers", "18446744073709551615"),
        ("SELECT SUM(n) FROM numbers WHERE g = 'c'", ""),
        ("SELECT SUM(n + 1) FROM numbers WHERE personId = 2", "2"),
        ("SELECT SUM(1.5) FROM numbers", "7.5"),
    ] {
        assert_eq!(rows(&session, sql).await, [right], "{sql}");
    }
    let grouped = "SELECT g, SUM(n) FROM numbers GROUP BY g ORDER BY g";
    assert_eq!(
        rows(&session, grouped).await,
        ["a|9223372036854775808", "b|9223372036854775807", "c|", "d|-9223372036854775808"]
    );
    let window = "SELECT SUM(n) OVER (ORDER BY personId ROWS 1 PRECEDING) FROM numbers ORDER BY personId";
    assert_eq!(
        rows(&session, window).await,
        [
            "9223372036854775807",
            "9223372036854775808",
            "9223372036854775808",
            "9223372036854775807",
            "-9223372036854775808"
        ]
    );
}

#[tokio::test]
async fn br27_buckets_and_days_of_a_zone_in_sql() {
    let session = shop().await.session();
    for (sql, right) in [
        ("SELECT local_day(TIMESTAMP '2025-04-24T21:59:59Z', 'Africa/Cairo')", "2025-04-24"),
        ("SELECT local_day(TIMESTAMP '2025-04-24T22:00:00Z', 'Africa/Cairo')", "2025-04-25"),
        ("SELECT day_start(DATE '2025-04-25', 'Africa/Cairo')", "2025-04-24T22:00:00Z"),
        (
            "SELECT time_bucket('1 day', TIMESTAMP '2024-01-01T06:30:00Z', 'Asia/Kolkata')",
            "2023-12-31T18:30:00Z",
        ),
        (
            "SELECT COUNT(DISTINCT time_bucket('hour', CAST(t.value AS TIMESTAMP), 'Europe/Berlin')) FROM \
          UNNEST(generate_series(TIMESTAMP '2024-10-26T22:00:00', TIMESTAMP '2024-10-27T22:59:00', INTERVAL '10 minutes')) AS t(value)",
            "25",
        ),
        ("SELECT time_bucket('day', CAST(NULL AS TIMESTAMP), 'UTC')", ""),
    ] {
        assert_eq!(rows(&session, sql).await, [right], "{sql}");
    }
    let sql = "SELECT eventId FROM pageView WHERE local_day(occurredTime, 'Europe/Zagreb') = '2026-06-03' ORDER BY eventId";
    let plan = session.explain(sql).await.unwrap();
    assert!(plan.contains("files=2 of 4"), "{plan}");
    assert_eq!(rows(&session, sql).await, ["e5", "e8"]);
    let grouped =
        "SELECT local_day(occurredTime, 'Europe/Zagreb') d, COUNT(*) FROM pageView GROUP BY d ORDER BY d";
    assert_eq!(rows(&session, grouped).await, ["2026-06-01|3", "2026-06-02|3", "2026-06-03|2"]);
}

#[tokio::test]
async fn a_percentile_is_exact_with_and_without_groups() {
    let mut lake = TestLake::new();
    lake.define(
        "sale",
        vec![Property::scalar("item", ScalarType::Numeric), Property::scalar("price", ScalarType::Decimal)],
    );
    for day in 1..=3 {
        let events: Vec<Row> = (0..7).map(|n| (n + 1, n, n)).collect();
        let prices: Vec<f64> = (0..7).map(|n| f64::from(day) * 10.0 + f64::from(n * n)).collect();
        lake.write("sale", june(day), &events, vec![whole(&[1, 2, 1, 2, 1, 2, 1]), decimals(&prices)]).await;
    }
    let session = lake.session();
    // Item 1: 10 14 26 46, 20 24 36 56, 30 34 46 66: the 12 values in order have places 0..11, 0.95 * 11 = 10.45.
    let sql = "SELECT item, SUM(price * 2) r, COUNT(*), AVG(price), ROUND(PERCENTILE_CONT(0.95) WITHIN GROUP (ORDER BY price), 9) FROM sale GROUP BY item ORDER BY r DESC LIMIT 1";
    assert_eq!(rows(&session, sql).await, ["1|816.0|12|34.0|60.5"]);
    let all = "SELECT PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY price), PERCENTILE_CONT(0.25) WITHIN GROUP (ORDER BY price DESC) FROM sale WHERE item = 1";
    assert_eq!(rows(&session, all).await, ["32.0|46.0"]);
}

#[tokio::test]
async fn br33_more_than_fits_in_memory_spills_or_says_which_operator_ran_out() {
    let mut lake = TestLake::new();
    lake.define("note", vec![Property::scalar("text", ScalarType::String)]);
    for day in 1..=3_i32 {
        let first = i64::from(day) * 1_000_000;
        let events: Vec<Row> = (0..100_000).map(|n| (n % 40_000 + 1, n % 86_400, first + n)).collect();
        let text: StringArray = events.iter().map(|row| Some(format!("a short text {}", row.2))).collect();
        lake.write("note", june(day), &events, vec![Arc::new(text)]).await;
    }
    let sql = "SELECT COUNT(*), SUM(CAST(array_length(texts) AS BIGINT)) FROM (SELECT personId, ARRAY_AGG(text) AS texts FROM note GROUP BY personId)";
    assert_eq!(rows(&lake.session_within(100 << 20), sql).await, ["40000|300000"]);
    let small = lake.session_within(2 << 20);
    match ask(&small, sql).await {
        Ok(answer) => assert_eq!(answer, ["40000|300000"]),
        Err(error) => {
            assert_eq!(error.kind(), Kind::Exhausted, "{error}");
            assert!(error.message().contains("--memory"), "{error}");
            assert!(error.message().contains("resources exhausted in "), "{error}");
        }
    }
    let sorted = "SELECT text FROM note ORDER BY text";
    let outcome = ask(&lake.session_within(24 << 20), sorted).await;
    assert_eq!(outcome.map(|rows| rows.len()).map_err(|error| error.kind()), Ok(300_000));
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

#[tokio::test]
async fn names_and_help_are_there_for_the_prompt() {
    let session = shop().await.session();
    let names = session.names().await;
    let tables: Vec<&str> = names.tables.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(tables, ["definitions", "events", "idle", "itemPurchased", "pageView", "persons"]);
    assert_eq!(names.tables[3].columns.last().unwrap().0, "price");
    assert!(names.functions.contains(&"local_day".to_owned()) && names.keywords.contains(&"SELECT"));
    let help = session.function("LOCAL_DAY").unwrap();
    assert_eq!(help.syntax, "local_day(time, zone)");
    assert!(session.function("locl_day").unwrap_err().message().contains("did you mean \"local_day\"?"));
}

#[tokio::test]
async fn progress_counts_files_and_ends_with_all() {
    use futures::StreamExt;

    let session = shop().await.session();
    let mut answer = session.run("SELECT path FROM pageView WHERE day > '2026-06-01'").await.unwrap();
    assert_eq!(answer.progress().of, 3);
    while let Some(batch) = answer.next().await {
        batch.unwrap();
    }
    assert_eq!((answer.progress().done, answer.progress().of), (3, 3));
}

#[tokio::test]
async fn filters_joins_and_orders_agree_with_what_they_mean() {
    let session = shop().await.session();
    for (sql, right) in [
        ("SELECT COUNT(*) FROM pageView WHERE externalPersonId LIKE 'a%'", vec!["4"]),
        ("SELECT COUNT(*) FROM pageView WHERE externalPersonId IS NULL", vec!["3"]),
        ("SELECT COUNT(*) FROM pageView WHERE externalPersonId = 'iva' OR path = '/hats'", vec!["3"]),
        ("SELECT eventId FROM pageView ORDER BY occurredTime DESC, seq DESC LIMIT 2", vec!["e8", "e5"]),
        (
            "SELECT eventId FROM events WHERE personId = 1 ORDER BY occurredTime LIMIT 3",
            vec!["e1", "e2", "e4"],
        ),
        (
            "SELECT v.eventId, p.price FROM pageView v JOIN itemPurchased p ON v.personId = p.personId AND v.day = p.day \
             ORDER BY 1",
            vec!["e4|19.99", "e5|5.0", "e6|19.99"],
        ),
        (
            "SELECT eventId, LAG(eventId) OVER (PARTITION BY personId ORDER BY occurredTime, seq) FROM pageView \
             WHERE personId IN (2, 3) ORDER BY 1",
            vec!["e3|", "e5|", "e8|e3"],
        ),
        (
            "SELECT definitionId, COUNT(*) FROM events WHERE eventId = 'e9' GROUP BY definitionId",
            vec!["itemPurchased|1"],
        ),
        ("SELECT day FROM events GROUP BY day ORDER BY day DESC LIMIT 1", vec!["2026-06-03"]),
        ("SELECT COUNT(*) FROM pageView WHERE day = '2026-06-01' OR day = '2026-06-03'", vec!["4"]),
        (
            "SELECT COUNT(*) FROM pageView WHERE day NOT IN ('2026-06-01') AND NOT (day > '2026-06-02')",
            vec!["4"],
        ),
        ("SELECT COUNT(*) FROM pageView WHERE day = NULL", vec!["0"]),
        (
            "SELECT COUNT(*) FROM (SELECT day, COUNT(*) n FROM pageView GROUP BY day HAVING COUNT(*) > 2)",
            vec!["2"],
        ),
    ] {
        assert_eq!(rows(&session, sql).await, right, "{sql}");
    }
}

#[tokio::test]
async fn br33_sketches_of_very_many_groups_do_not_break_the_process() {
    let mut lake = TestLake::new();
    lake.define("note", vec![]);
    let events: Vec<Row> = (0..200_000).map(|n| (n + 1, n % 86_400, n)).collect();
    lake.write("note", june(1), &events, vec![]).await;
    let sql = "SELECT COUNT(*) FROM (SELECT personId, APPROX_DISTINCT(eventId) FROM note GROUP BY personId)";
    match ask(&lake.session_within(100 << 20), sql).await {
        Ok(answer) => assert_eq!(answer, ["200000"]),
        Err(error) => assert_eq!(error.kind(), Kind::Exhausted, "{error}"),
    }
}
