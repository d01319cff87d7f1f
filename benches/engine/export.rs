//! One day into a folder: ordered by time over all definitions, as gzip JSON lines with a manifest.

use criterion::BatchSize;
use criterion::Criterion;
use criterion::Throughput;
use milepost::time::Day;
use tempfile::TempDir;

use crate::data::FIRST_DAY;
use crate::store::Shared;

/// Events of one day of the shared store.
const EVENTS: u64 = 30_000;

pub(crate) fn run(criterion: &mut Criterion, shared: &Shared) {
    let day = Day(FIRST_DAY.0 + 2);
    let (from, to) = (day.iso(), Day(day.0 + 1).iso());
    let (from, to) = (from.as_str(), to.as_str());
    let mut group = criterion.benchmark_group("export");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("one_day", |bencher| {
        let store = shared.get();
        let rows = store.count(&format!("SELECT seq FROM events WHERE day = DATE '{from}'"));
        assert_eq!(rows, EVENTS, "the day holds its share");
        let export = |folder: TempDir| {
            let into = folder.path().join("out");
            store.execute(&format!("EXPORT EVENTS FROM '{from}' TO '{to}' INTO '{}'", into.display()));
            folder
        };
        bencher.iter_batched(|| TempDir::new().unwrap(), export, BatchSize::PerIteration);
    });
    group.finish();
}
