//! Questions in SQL, from text to the last row, over a store whose days are compacted.

use criterion::BenchmarkId;
use criterion::Criterion;

use crate::store::Shared;

/// Each with the least number of rows that a right answer has.
const QUESTIONS: [(&str, u64, &str); 4] = [
    (
        "counts_and_uniques",
        40,
        "SELECT definitionId, day, COUNT(*), COUNT(DISTINCT personId) FROM events GROUP BY 1, 2 ORDER BY 1, 2",
    ),
    (
        "filter_on_path",
        10,
        "SELECT day, COUNT(*), COUNT(DISTINCT personId) FROM pageView WHERE path = '/cart' GROUP BY day ORDER BY day",
    ),
    (
        "top_items",
        10,
        "SELECT itemID, SUM(price * amount) AS revenue, COUNT(*), \
         PERCENTILE_CONT(0.95) WITHIN GROUP (ORDER BY price * amount) \
         FROM itemPurchased GROUP BY itemID ORDER BY revenue DESC LIMIT 10",
    ),
    (
        "one_persons_timeline",
        20,
        "SELECT occurredTime, definitionId, eventId, properties FROM events WHERE personId = 42 ORDER BY seq",
    ),
];

pub(crate) fn run(criterion: &mut Criterion, shared: &Shared) {
    let mut group = criterion.benchmark_group("scan");
    for (name, rows, sql) in QUESTIONS {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            let store = shared.get();
            assert!(store.count(sql) >= rows, "{name} finds what was imported");
            bencher.iter(|| store.execute(sql));
        });
    }
    group.finish();
}
