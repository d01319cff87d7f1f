//! Files in milliseconds beside files in microseconds: every comparison with a time answers as if all were in the latter.

use crate::query::testing::TestLake;
use crate::query::testing::june;
use crate::query::tests::rows;
use crate::query::tests::texts;
use crate::schema::Property;
use crate::time::Micros;
use crate::value::ScalarType;

/// Microseconds of the day: one file of whole milliseconds, one that is not, around the same moments.
const WHOLE: [i64; 5] = [0, 1_000, 2_000, 3_000, 5_000];
const FINE: [i64; 5] = [1, 999, 1_000, 2_500, 4_999];

async fn lake() -> TestLake {
    let mut lake = TestLake::new();
    lake.define("pageView", vec![Property::scalar("path", ScalarType::String)]);
    for (times, first) in [(WHOLE, 0), (FINE, 100)] {
        let events: Vec<_> = (first..).zip(times).map(|(id, time)| (1, time, id)).collect();
        lake.write_exactly("pageView", june(2), &events, vec![texts(&["/"; 5])]).await;
    }
    lake
}

fn text(micros: i64) -> String {
    Micros(june(2).start().0 + micros).iso_micros().to_string()
}

fn ids(holds: impl Fn(i64) -> bool) -> Vec<String> {
    let mut all: Vec<String> = (0..)
        .zip(WHOLE)
        .chain((100..).zip(FINE))
        .filter(|(_, time)| holds(*time))
        .map(|(id, _)| format!("e{id}"))
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn every_comparison_of_every_time_finds_the_right_events() {
    let session = lake().await.session();
    for micros in [-1, 0, 1, 500, 999, 1_000, 1_001, 2_000, 2_499, 2_500, 4_999, 5_000, 5_001] {
        let at = text(micros);
        for (condition, right) in [
            (format!("occurredTime < '{at}'"), ids(|time| time < micros)),
            (format!("occurredTime <= '{at}'"), ids(|time| time <= micros)),
            (format!("occurredTime > '{at}'"), ids(|time| time > micros)),
            (format!("'{at}' <= occurredTime"), ids(|time| time >= micros)),
            (format!("occurredTime = '{at}'"), ids(|time| time == micros)),
            (format!("occurredTime <> '{at}'"), ids(|time| time != micros)),
            (
                format!("occurredTime IN ('{at}', '{}')", text(2_000)),
                ids(|time| time == micros || time == 2_000),
            ),
            (format!("NOT (occurredTime >= '{at}' AND personId = 1)"), ids(|time| time < micros)),
        ] {
            let sql = format!("SELECT eventId FROM pageView WHERE {condition} ORDER BY eventId");
            assert_eq!(rows(&session, &sql).await, right, "{condition}");
        }
        let least = format!(
            "SELECT eventId FROM pageView WHERE occurredTime >= '{at}' ORDER BY occurredTime, eventId LIMIT 3"
        );
        let mut all: Vec<_> =
            (0..).zip(WHOLE).chain((100..).zip(FINE)).filter(|(_, time)| *time >= micros).collect();
        all.sort_by_key(|(id, time)| (*time, format!("e{id}")));
        let right: Vec<_> = all.iter().take(3).map(|(id, _)| format!("e{id}")).collect();
        assert_eq!(rows(&session, &least).await, right, "{least}");
    }
    let bounds = "SELECT MIN(occurredTime) AS low, MAX(occurredTime) AS high, COUNT(DISTINCT occurredTime) AS n FROM pageView";
    assert_eq!(rows(&session, bounds).await, ["2026-06-02T00:00:00Z|2026-06-02T00:00:00.005Z|9"]);
}
