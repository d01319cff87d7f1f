//! The same question again, when columns are in memory: the same answer, and no file is opened.

use crate::query::Session;
use crate::query::testing::TestLake;
use crate::query::tests::rows;
use crate::query::tests::shop;
use crate::schema::Property;
use crate::value::ScalarType;

const QUESTIONS: &[&str] = &[
    "SELECT path, COUNT(*) FROM pageView GROUP BY path ORDER BY path",
    "SELECT eventId, personId, occurredTime, day, path FROM pageView ORDER BY eventId",
    "SELECT eventId FROM pageView WHERE path = '/shoes' ORDER BY eventId",
    "SELECT eventId FROM pageView WHERE personId = 1 AND path <> '/' ORDER BY eventId",
    "SELECT eventId FROM pageView WHERE occurredTime > '2026-06-02T00:00:10Z' ORDER BY eventId",
    "SELECT path, day FROM pageView ORDER BY occurredTime DESC LIMIT 3",
    "SELECT eventId, note FROM pageView WHERE note IS NULL AND day >= '2026-06-02' ORDER BY eventId",
    "SELECT itemID, SUM(price), AVG(price) FROM itemPurchased GROUP BY itemID ORDER BY itemID",
    "SELECT definitionId, eventId, properties FROM events ORDER BY eventId",
    "SELECT p.path, i.itemID FROM pageView p JOIN itemPurchased i ON p.personId = i.personId ORDER BY 1, 2",
    "SELECT externalPersonId, MAX(path) FROM pageView GROUP BY 1 ORDER BY 1",
    "SELECT COUNT(*) FROM pageView WHERE seq % 2 = 0",
];

/// The shop, whose page views have got a property that its files lack.
async fn older_shop() -> TestLake {
    let mut lake = shop().await;
    lake.extend("pageView", Property::scalar("note", ScalarType::String));
    lake
}

async fn analysed(session: &Session, sql: &str) -> String {
    rows(session, &format!("EXPLAIN ANALYZE {sql}")).await.join("\n")
}

#[tokio::test]
async fn the_answer_from_memory_is_the_answer_from_files() {
    let lake = older_shop().await;
    for sql in QUESTIONS {
        let right = rows(&lake.session_that_forgets(), sql).await;
        let session = lake.session();
        assert_eq!(rows(&session, sql).await, right, "first: {sql}");
        assert_eq!(rows(&session, sql).await, right, "again: {sql}");
    }
    // Whatever other questions have left in memory, too.
    let session = lake.session();
    for sql in QUESTIONS.iter().chain(QUESTIONS.iter().rev()) {
        let right = rows(&lake.session_that_forgets(), sql).await;
        assert_eq!(rows(&session, sql).await, right, "{sql}");
    }
}

#[tokio::test]
async fn what_was_read_whole_is_not_read_again() {
    let lake = older_shop().await;
    let session = lake.session();
    let sql = "SELECT path, COUNT(*) FROM pageView GROUP BY path";
    let first = analysed(&session, sql).await;
    assert!(!first.contains("files_from_memory"), "{first}");
    let again = analysed(&session, sql).await;
    assert!(again.contains("files_from_memory=4"), "{again}");
    // One more column must be decoded; a part of the files is only read as far as it is needed.
    let more = analysed(&session, "SELECT path, COUNT(DISTINCT sessionId) FROM pageView GROUP BY path").await;
    assert!(!more.contains("files_from_memory"), "{more}");
    for part in ["SELECT seq FROM pageView WHERE personId = 2", "SELECT seq FROM pageView LIMIT 1"] {
        let first = analysed(&session, part).await;
        let again = analysed(&session, part).await;
        assert!(!first.contains("files_from_memory") && !again.contains("files_from_memory"), "{again}");
    }
}
