//! The least that a funnel of three steps must do: read person and time of each of their events, and nothing else. How
//! far a funnel is from this is how much there is left to win.
//!
//! `MILEPOST_BENCH_DATA=DIR` reads the store of a data directory in the place of the small one that all share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;

use criterion::Criterion;
use milepost::storage::DataFile;
use milepost::storage::Snapshot;
use milepost::storage::Storage;
use milepost::storage::StorageConfig;
use milepost::time::SystemClock;
use tokio::runtime::Runtime;

use crate::store::Shared;

const STEPS: [&str; 3] = ["pageView", "addedToCart", "itemPurchased"];

pub(crate) fn run(criterion: &mut Criterion, shared: &Shared) {
    let mut group = criterion.benchmark_group("decode");
    group.bench_function("persons_and_times", |bencher| {
        let dir = std::env::var_os("MILEPOST_BENCH_DATA").map(PathBuf::from);
        let dir = dir.unwrap_or_else(|| shared.get().data());
        let mut config = StorageConfig::new(dir, SystemClock::shared());
        config.read_only = true;
        config.index_memory = 1 << 30;
        let runtime = Runtime::new().unwrap();
        let storage = runtime.block_on(Storage::open(config)).unwrap();
        let snapshot = runtime.block_on(storage.snapshot()).unwrap();
        let files: Vec<DataFile> = STEPS
            .iter()
            .filter_map(|id| snapshot.tables.get(*id))
            .flat_map(|table| table.files.clone())
            .collect();
        let rows: u64 = files.iter().map(|file| file.rows).sum();
        assert_eq!(decode(&snapshot, &files).0, rows, "every file has an index");
        bencher.iter(|| decode(&snapshot, &files));
    });
    group.finish();
}

/// Reads the events of all files on two threads; how many there are, and what all persons and times add up to.
fn decode(snapshot: &Arc<Snapshot>, files: &[DataFile]) -> (u64, i64) {
    let next = AtomicUsize::new(0);
    let part = || {
        let (mut rows, mut sum) = (0, 0_i64);
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let Some(sidecar) = snapshot.index.open(file) else { continue };
            let (persons, events) = (sidecar.persons(), sidecar.events());
            events.visit(
                |_| u64::MAX,
                |person, _, time| {
                    rows += 1;
                    sum = sum.wrapping_add(i64::from(persons[person])).wrapping_add(time);
                },
            );
        }
        (rows, sum)
    };
    thread::scope(|scope| {
        let parts = [scope.spawn(part), scope.spawn(part)];
        let add = |all: (u64, i64), one: (u64, i64)| (all.0 + one.0, all.1.wrapping_add(one.1));
        parts.into_iter().map(|part| part.join().unwrap()).fold((0, 0), add)
    })
}
