//! Funnels from text to answer: all persons of the shared store, and one who did each step two hundred times (BR-06).

use criterion::Criterion;

use crate::data;
use crate::store::Filled;
use crate::store::Shared;

const BUSY: &str = "FUNNEL pageView, sessionStarted, emailOpened, itemPurchased WITHIN 7 DAYS";
/// Of each of the first three steps, and none of the last.
const TIMES: usize = 200;

pub(crate) fn run(criterion: &mut Criterion, shared: &Shared) {
    let mut group = criterion.benchmark_group("funnel");
    group.bench_function("three_steps", |bencher| {
        let store = shared.get();
        let sql = "FUNNEL pageView WHERE path = '/shoes', sessionStarted, itemPurchased WITHIN 7 DAYS";
        assert_eq!(store.count(sql), 3);
        bencher.iter(|| store.execute(sql));
    });
    group.bench_function("one_busy_person", |bencher| {
        let store = Filled::of(&data::busy(TIMES), 3 * TIMES as u64);
        assert_eq!(store.count(BUSY), 4);
        bencher.iter(|| store.execute(BUSY));
    });
    group.finish();
}
