//! Sums, percentiles and the days of zones.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::Int64Array;

use crate::query::testing::Row;
use crate::query::testing::TestLake;
use crate::query::testing::june;
use crate::query::tests::decimals;
use crate::query::tests::rows;
use crate::query::tests::shop;
use crate::query::tests::texts;
use crate::query::tests::whole;
use crate::schema::Property;
use crate::value::ScalarType;

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
