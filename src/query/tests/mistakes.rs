//! What is refused, and how mistakes are told.

use crate::error::Kind;
use crate::error::Place;
use crate::query::tests::failure;
use crate::query::tests::shop;

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
async fn the_mistakes_of_every_day_are_told_with_their_cure_and_without_rust() {
    let session = shop().await.session();
    for (sql, told) in [
        ("SELECT 1 / 0", "division by zero; NULLIF(divisor, 0) makes such an answer NULL"),
        (
            "SELECT path + 1 FROM pageView",
            "String + Numeric cannot be computed; CAST one of them to a type that fits",
        ),
        ("SELECT CAST('abc' AS INT)", "'abc' is not a Numeric; TRY_CAST makes such values NULL"),
        ("SELECT path FROM pageView WHERE", "expected an expression, found the end of the statement"),
        (
            "SELECT sum(path) FROM pageView",
            "sum does not take (String); it is written sum(Decimal) or sum(Numeric) or sum(Duration) or sum(Interval)",
        ),
        ("SELECT local_day(occurredTime) FROM pageView", "local_day is written local_day(time, zone)"),
        (
            "SELECT path, count(*) FROM pageView",
            "\"path\" is neither grouped nor in an aggregate: add it to GROUP BY, or write MAX(path) or another \
             aggregate of it",
        ),
        (
            "SELECT row_number() FROM pageView",
            "row_number needs a window: write row_number(…) OVER (ORDER BY …)",
        ),
        (
            "SELECT seats[1].price FROM pageView",
            "behind an index a field is written in brackets, as in seats[1]['price']",
        ),
        (
            "SELECT path FROM pageView WHERE (path = 'a') BETWEEN 'a' AND 'b'",
            "BETWEEN cannot compare Boolean with String; where it is about the time of events, it stands before their \
             WHERE",
        ),
        ("SELECT a.b.c.d.e FROM pageView", "nothing is called \"a.b.c.d.e\": the name has too many parts"),
        (
            "SELECT * FROM pageView WHERE regexp_like(path, '(')",
            "the pattern is no regular expression: unclosed group",
        ),
    ] {
        let wrong = failure(&session, sql).await;
        assert_eq!((wrong.kind(), wrong.message()), (Kind::Invalid, told), "{sql}");
    }
    let lateral = "SELECT v.path FROM pageView v, UNNEST(make_array(v.path)) AS t(x)";
    assert!(failure(&session, lateral).await.message().contains("write UNNEST in the SELECT"));
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
