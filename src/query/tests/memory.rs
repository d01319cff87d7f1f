//! More than fits in memory: it spills or says what ran out, and never breaks.

use std::sync::Arc;

use arrow::array::StringArray;

use crate::error::Kind;
use crate::query::testing::Row;
use crate::query::testing::TestLake;
use crate::query::testing::ask;
use crate::query::testing::june;
use crate::query::tests::rows;
use crate::schema::Property;
use crate::value::ScalarType;

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
