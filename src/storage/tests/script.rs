//! BR-40: random scripts of everything that writes, stopped at random steps, against a plain set of events.
//!
//! Whoever sends an event sends it again until it is acknowledged. So after any script each event that was ever sent
//! is there exactly once; and at every moment what was acknowledged is.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use futures::TryStreamExt;
use futures::stream;
use object_store::ObjectStoreExt;
use object_store::path::Path as StorePath;
use proptest::prelude::*;

use super::*;
use crate::error::Error;
use crate::error::Result;
use crate::storage::event_ids::Verdict;
use crate::storage::steps::Step;
use crate::storage::steps::Steps;

/// Stops at the nth step from when it is armed, whichever that is, and at all after it, as a crash does.
#[derive(Debug, Default)]
struct StopSoon {
    left: AtomicUsize,
    reached: Mutex<Option<Step>>,
}

const NEVER: usize = usize::MAX;

impl StopSoon {
    fn arm(&self, steps: usize) {
        self.left.store(steps, Ordering::SeqCst);
    }
}

impl Steps for StopSoon {
    fn reached(&self, step: Step) -> Result<()> {
        let left = self.left.load(Ordering::SeqCst);
        match left {
            NEVER => return Ok(()),
            0 => {}
            left => {
                self.left.store(left - 1, Ordering::SeqCst);
                if left > 1 {
                    return Ok(());
                }
            }
        }
        self.reached.lock().unwrap().get_or_insert(step);
        Err(Error::cancelled("stopped by a test"))
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// Events of the log; the second number makes some of them retries.
    Log(i64, i64),
    /// A batch, as an import makes it.
    Commit(i64),
    Flush,
    Compact,
    Reopen,
    /// The next operations stop at the nth step.
    Arm(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        5 => (1_i64..6, 0_i64..4).prop_map(|(count, again)| Op::Log(count, again)),
        1 => (1_i64..20).prop_map(Op::Commit),
        2 => Just(Op::Flush),
        1 => Just(Op::Compact),
        1 => Just(Op::Reopen),
        3 => (1_usize..9).prop_map(Op::Arm),
    ];
    proptest::collection::vec(op, 3..25)
}

struct World {
    dir: TempDir,
    steps: Arc<StopSoon>,
    storage: Arc<Storage>,
    /// Keys of all events that were acknowledged.
    stored: BTreeSet<i64>,
    next: i64,
}

impl World {
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        drop(open(&dir).await);
        let steps = Arc::new(StopSoon::default());
        steps.arm(NEVER);
        let storage = Self::open(&dir, &steps).await;
        Self { dir, steps, storage, stored: BTreeSet::new(), next: 1 }
    }

    async fn open(dir: &TempDir, steps: &Arc<StopSoon>) -> Arc<Storage> {
        let steps: Arc<dyn Steps> = Arc::<StopSoon>::clone(steps);
        let config = StorageConfig { steps: Some(steps), log_segment_bytes: 3000, ..config(dir) };
        Storage::open(config).await.unwrap()
    }

    /// As after a crash: whatever was going on has stopped.
    async fn reopen(&mut self) {
        self.steps.arm(NEVER);
        let other =
            Storage::open(StorageConfig::read_only(self.dir.path(), Arc::new(StoppedClock::at(Micros(0)))));
        // Keeps nothing of the old one alive but what a reader may.
        let old = std::mem::replace(&mut self.storage, other.await.unwrap());
        assert_eq!(Arc::strong_count(&old), 1);
        drop(old);
        self.storage = Self::open(&self.dir, &self.steps).await;
    }

    fn group(&self, storage: &Storage, keys: &[i64]) -> Result<()> {
        let mut turn = storage.turn()?;
        let mut seq = turn.last_seq();
        let mut group = LoggedGroup { last_seq: seq, ..LoggedGroup::default() };
        let mut rows = Vec::new();
        for &key in keys {
            let wide = u128::try_from(key).unwrap();
            match turn.check(wide, 1)? {
                Verdict::New => {
                    seq += 1;
                    rows.push((seq, key));
                    group.ids.push((wide, 1));
                }
                Verdict::Duplicate => {}
                Verdict::Conflict => panic!("event {key} is another"),
            }
        }
        group.last_seq = seq;
        if !rows.is_empty() {
            group.events.push(keyed(storage, "view", &rows));
            group.events.push(keyed(storage, "buy", &rows));
            let person = Person { id: PersonId(1 + rows[0].1), external_id: None, created: Micros(0) };
            group.persons.push((person, Vec::new()));
        }
        turn.append(group)
    }

    async fn commit(&self, keys: &[i64]) -> Result<()> {
        self.storage.flush().await?;
        let mut seq = self.storage.last_seq();
        let mut rows = Vec::new();
        for &key in keys {
            if self.storage.event_ids()?.check(u128::try_from(key).unwrap(), 1)? == Verdict::New {
                seq += 1;
                rows.push((seq, key));
            }
        }
        let events = vec![keyed(&self.storage, "view", &rows), keyed(&self.storage, "buy", &rows)];
        self.storage
            .commit(Batch { events, last_seq: seq, renumber: true, ..Batch::default() })
            .await
            .map(|_| ())
    }

    /// Does something until it is done, opening the store again after each stop.
    async fn until_done(&mut self, op: &Op) {
        let keys: Vec<i64> = match op {
            Op::Log(count, again) => (self.next - again..self.next + count).filter(|key| *key > 0).collect(),
            Op::Commit(count) => (self.next..self.next + count).collect(),
            _ => Vec::new(),
        };
        self.next = self.next.max(keys.last().map_or(0, |last| last + 1));
        loop {
            let done = match op {
                Op::Log(..) => {
                    let storage = Arc::clone(&self.storage);
                    tokio::task::block_in_place(|| self.group(&storage, &keys))
                }
                Op::Commit(_) => self.commit(&keys).await,
                Op::Flush => self.storage.flush().await.map(|_| ()),
                Op::Compact => self.storage.compact(quiet()).await.map(|_| ()),
                Op::Reopen => {
                    self.reopen().await;
                    Ok(())
                }
                Op::Arm(steps) => {
                    self.steps.arm(*steps);
                    Ok(())
                }
            };
            match done {
                Ok(()) => break,
                Err(_) => {
                    // What was acknowledged is there also while nothing works any more.
                    self.check(&keys).await;
                    self.reopen().await;
                    self.check(&keys).await;
                }
            }
        }
        self.stored.extend(keys);
        self.check(&[]).await;
    }

    /// Every stored event is there once in both tables; those on their way are there together or not at all.
    async fn check(&self, on_their_way: &[i64]) {
        let views = self.shown("view").await;
        let buys = self.shown("buy").await;
        assert_eq!(views, buys, "after {:?}", self.steps.reached.lock().unwrap());
        let mut seqs: Vec<i64> = views.values().copied().collect();
        seqs.sort_unstable();
        assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "{seqs:?}");
        let new: Vec<i64> = views.keys().copied().filter(|key| !self.stored.contains(key)).collect();
        let expected: Vec<i64> =
            on_their_way.iter().copied().filter(|key| !self.stored.contains(key)).collect();
        assert!(new.is_empty() || new == expected, "{new:?} of {expected:?}");
        assert!(self.stored.iter().all(|key| views.contains_key(key)));
    }

    /// The sequence number of each event of a table, by its key; panics when one is there twice.
    async fn shown(&self, id: &str) -> BTreeMap<i64, i64> {
        let snapshot = self.storage.snapshot().await.unwrap();
        let store = self.storage.object_store();
        let files = stream::iter(snapshot.tables[id].files.iter().map(Ok::<_, object_store::Error>));
        let read = files.and_then(|file| {
            let store = Arc::clone(&store);
            async move { store.get(&StorePath::from(file.path.as_str())).await?.bytes().await }
        });
        let mut found = BTreeMap::new();
        for bytes in read.try_collect::<Vec<_>>().await.unwrap() {
            for rows in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
                let rows = rows.unwrap();
                let seqs = rows.column_by_name(SEQ).unwrap().as_primitive::<Int64Type>().values().to_vec();
                let ids = rows.column_by_name(EVENT_ID).unwrap().as_string::<i32>();
                for (seq, id) in seqs.into_iter().zip(ids.iter()) {
                    let key: i64 = id.unwrap()[1..].parse().unwrap();
                    assert_eq!(found.insert(key, seq), None, "event {key} is there twice");
                }
            }
        }
        found
    }
}

/// Events `(seq, key)` whose ids are made of their keys.
fn keyed(storage: &Storage, id: &str, rows: &[(i64, i64)]) -> EventBatch {
    let made: Vec<Event> =
        rows.iter().map(|(seq, key)| (*seq, 1 + key % 7, key % 3, key * 31 % 50)).collect();
    let EventBatch { definition, rows: batch } = events(storage, id, &made);
    let mut columns = batch.columns().to_vec();
    columns[batch.schema_ref().index_of(EVENT_ID).unwrap()] =
        Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, key)| format!("k{key}"))));
    EventBatch { definition, rows: RecordBatch::try_new(batch.schema(), columns).unwrap() }
}

/// How many scripts to run: some, or as many as a long run wants.
#[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
fn scripts() -> u32 {
    std::env::var("MILEPOST_SCRIPTS").ok().and_then(|text| text.parse().ok()).unwrap_or(24)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: scripts(),
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    })]

    #[test]
    fn br40_every_event_is_stored_once_whatever_stops_when(script in ops()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for op in &script {
                world.until_done(op).await;
            }
            world.steps.arm(NEVER);
            world.until_done(&Op::Reopen).await;
            // Every event that was ever sent is known, so sent once more it changes nothing.
            let all = world.next - 1;
            world.until_done(&Op::Log(0, all)).await;
            world.until_done(&Op::Flush).await;
            world.until_done(&Op::Reopen).await;
            assert_eq!(world.stored.len() as i64, all);
            assert_eq!(world.storage.unflushed().events, 0);
            assert_eq!(world.storage.log().unwrap().wal().bytes(), 0);
            assert_no_orphans(&world.storage).await;
        });
    }
}
