//! Events that come one by one and in small batches: until they are safe on the disk and seen by every query.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use criterion::Criterion;
use criterion::Throughput;
use milepost::ingest::FlushLimits;
use milepost::ingest::IngestBatch;
use milepost::ingest::IngestOptions;
use milepost::ingest::Ingester;
use milepost::storage::Storage;
use milepost::storage::StorageConfig;
use milepost::time::SystemClock;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::data;
use crate::store;

const DAYS: i64 = 2;

pub(crate) fn run(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("live");
    group.sample_size(10);
    // Many callers with one event each, and few with a thousand.
    for (name, callers, calls, rows) in
        [("single_events_of_64_callers", 64, 60, 1), ("batches_of_1000", 4, 50, 1000)]
    {
        let events = callers * calls * rows;
        group.throughput(Throughput::Elements(events as u64));
        group.bench_function(name, |bencher| {
            let runtime = Runtime::new().unwrap();
            let made = data::events(events as u64, DAYS);
            let texts: Vec<String> = made.chunks(rows).map(data::lines).collect();
            bencher.iter_custom(|times| (0..times).map(|_| once(&runtime, &texts, callers)).sum());
        });
    }
    group.finish();
}

/// How long the callers take to bring in all texts, each waiting for its answer before it sends the next.
fn once(runtime: &Runtime, texts: &[String], callers: usize) -> Duration {
    let dir = TempDir::new().unwrap();
    let config = StorageConfig::new(dir.path().join("data"), SystemClock::shared());
    let storage = runtime.block_on(Storage::open(config)).unwrap();
    storage.define(store::definitions()).unwrap();
    let ingester =
        Ingester::new(Arc::clone(&storage), SystemClock::shared(), Arc::default(), FlushLimits::default());
    let ingester = Arc::new(ingester);
    runtime.block_on(async {
        let started = Instant::now();
        let tasks: Vec<_> = (0..callers)
            .map(|caller| {
                let ingester = Arc::clone(&ingester);
                let own: Vec<_> = texts.iter().skip(caller).step_by(callers).cloned().collect();
                tokio::spawn(async move {
                    for text in own {
                        let batch = IngestBatch::lines(text);
                        let report = ingester.ingest(batch, IngestOptions::default()).await.unwrap();
                        assert_eq!(report.stored, report.rows.len() as u64);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        started.elapsed()
    })
}
