//! The commit of one batch into a fresh store: sorted Parquet files, event ids, catalog and Delta log, all durable.

use std::sync::Arc;

use criterion::BatchSize;
use criterion::Criterion;
use criterion::Throughput;
use milepost::storage::Batch;
use milepost::storage::Storage;
use milepost::storage::StorageConfig;
use milepost::storage::event_ids::Verdict;
use milepost::time::SystemClock;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::data;
use crate::store;

const EVENTS: u64 = 100_000;
/// A batch of an import in the order of time covers few days.
const DAYS: i64 = 2;

pub(crate) fn run(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("write");
    group.sample_size(10).throughput(Throughput::Elements(EVENTS));
    group.bench_function("commit", |bencher| {
        let runtime = Runtime::new().unwrap();
        let definitions = store::definitions();
        let batch = Batch {
            events: data::batches(&data::events(EVENTS, DAYS), &store::shared(definitions.clone())),
            persons: data::persons(EVENTS),
            last_seq: i64::try_from(EVENTS).unwrap(),
            ..Batch::default()
        };
        let rows: usize = batch.events.iter().map(|events| events.rows.num_rows()).sum();
        assert_eq!(u64::try_from(rows).unwrap(), EVENTS);
        let fresh = || {
            let dir = TempDir::new().unwrap();
            let config = StorageConfig::new(dir.path().join("data"), SystemClock::shared());
            let storage = runtime.block_on(Storage::open(config)).unwrap();
            storage.define(definitions.clone()).unwrap();
            remember_ids(&storage);
            (storage, batch.clone(), dir)
        };
        // What comes out is dropped outside of the measurement: closing and deleting are not commits.
        let commit = |(storage, batch, dir): (Arc<Storage>, Batch, TempDir)| {
            runtime.block_on(storage.commit(batch)).unwrap();
            (storage, dir)
        };
        bencher.iter_batched(fresh, commit, BatchSize::PerIteration);
    });
    group.finish();
}

/// Lets the store see the ids of all events, as an import does before it commits.
fn remember_ids(storage: &Storage) {
    let mut ids = storage.event_ids().unwrap();
    for number in 0..EVENTS {
        let key = xxhash_rust::xxh3::xxh3_128(data::event_id(number).as_bytes());
        assert_eq!(ids.check(key, number).unwrap(), Verdict::New);
    }
}
