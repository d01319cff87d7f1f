//! Tables, columns, pruning and views: what a session shows and what `EXPLAIN` says of the way.

use futures::StreamExt;

use crate::error::Kind;
use crate::query::testing::TestLake;
use crate::query::testing::june;
use crate::query::tests::failure;
use crate::query::tests::rows;
use crate::query::tests::shop;
use crate::query::tests::texts;
use crate::query::tests::whole;
use crate::schema::Property;
use crate::value::ScalarType;

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
async fn names_and_help_are_there_for_the_prompt() {
    let session = shop().await.session();
    let names = session.names().await;
    let tables: Vec<&str> = names.tables.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(tables, ["definitions", "events", "idle", "itemPurchased", "pageView", "persons"]);
    assert_eq!(names.tables[3].columns.last().unwrap().0, "price");
    assert!(names.functions.contains(&"local_day".to_owned()));
    let help = session.function("LOCAL_DAY").unwrap();
    assert_eq!(help.syntax, "local_day(time, zone)");
    assert!(session.function("locl_day").unwrap_err().message().contains("did you mean \"local_day\"?"));
}

#[tokio::test]
async fn progress_counts_files_and_ends_with_all() {
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
async fn files_that_are_read_whole_need_no_sort_by_person() {
    let session = shop().await.session();
    let sql = "SELECT personId, occurredTime, eventId FROM pageView WHERE day = '2026-06-02' ORDER BY personId, occurredTime";
    let plan = session.explain(sql).await.unwrap();
    assert!(!plan.contains("SortExec") && plan.contains("SortPreservingMergeExec"), "{plan}");
    let ids = rows(&session, sql).await;
    assert_eq!(
        ids.iter().map(|row| row.rsplit('|').next().unwrap()).collect::<Vec<_>>(),
        ["e4", "e6", "e5", "e7"]
    );
}

#[tokio::test]
async fn columns_without_a_name_are_headed_by_what_was_asked() {
    let session = shop().await.session();
    let headed = async |sql: &str| -> Vec<String> {
        let rows = session.run(sql).await.unwrap();
        let schema = rows.schema();
        let batches = rows.collect().await.unwrap();
        assert!(!batches.is_empty() && batches.iter().all(|batch| batch.schema() == schema));
        schema.fields().iter().map(|field| field.name().clone()).collect()
    };
    assert_eq!(headed("SELECT 1, 'a', count(*) FROM pageView").await, ["1", "'a'", "count(*)"]);
    assert_eq!(headed("SELECT 1, CAST(2 AS INT) AS \"1\"").await, ["Int64(1)", "1"]);
}
