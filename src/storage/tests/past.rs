//! The store as of a time and as of a number, against a list of what was there.

use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;

use object_store::ObjectStoreExt;
use object_store::path::Path as StorePath;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// So many events through the log.
    Log(i64),
    /// So many events as a batch.
    Commit(i64),
    Flush,
    Compact,
    Vacuum,
    Reopen,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (1_i64..5).prop_map(Op::Log),
        2 => (1_i64..9).prop_map(Op::Commit),
        2 => Just(Op::Flush),
        1 => Just(Op::Compact),
        1 => Just(Op::Vacuum),
        1 => Just(Op::Reopen),
    ];
    proptest::collection::vec(op, 1..16)
}

/// Where the clock stands at first.
const START: i64 = 1_000_000 * MICROS_PER_DAY / 50;

struct Past {
    dir: TempDir,
    clock: Arc<StoppedClock>,
    now: AtomicI64,
    storage: Arc<Storage>,
}

impl Past {
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let clock = Arc::new(StoppedClock::at(Micros(START)));
        drop(open(&dir).await);
        let storage = Self::open(&dir, &clock).await;
        Self { dir, clock, now: AtomicI64::new(START), storage }
    }

    async fn open(dir: &TempDir, clock: &Arc<StoppedClock>) -> Arc<Storage> {
        Storage::open(StorageConfig { clock: Arc::<StoppedClock>::clone(clock), ..config(dir) })
            .await
            .unwrap()
    }

    /// A while later; the time that it was before.
    fn wait(&self) -> i64 {
        let now = self.now.fetch_add(1_000_000, Ordering::SeqCst);
        self.clock.set(Micros(now + 1_000_000));
        now
    }

    fn received_now(&self, from: i64, count: i64) -> EventBatch {
        let rows: Vec<Event> =
            (from..from + count).map(|seq| (seq, 1 + seq % 3, seq % 2, seq % 50)).collect();
        let EventBatch { definition, rows } = events(&self.storage, "view", &rows);
        let mut columns = rows.columns().to_vec();
        let now = self.now.load(Ordering::SeqCst);
        let times = TimestampMicrosecondArray::from_iter_values((0..count).map(|_| now));
        columns[rows.schema_ref().index_of(RECEIVED_TIME).unwrap()] = Arc::new(times.with_timezone("UTC"));
        EventBatch { definition, rows: RecordBatch::try_new(rows.schema(), columns).unwrap() }
    }

    fn log(&self, count: i64) {
        let mut turn = self.storage.turn().unwrap();
        let from = turn.last_seq() + 1;
        let ids = (from..from + count).map(|seq| (u128::try_from(seq).unwrap(), 1)).collect::<Vec<_>>();
        for (key, fingerprint) in &ids {
            turn.check(*key, *fingerprint).unwrap();
        }
        let events = vec![self.received_now(from, count)];
        turn.append(LoggedGroup { events, ids, last_seq: from + count - 1, ..LoggedGroup::default() })
            .unwrap();
    }

    async fn commit(&self, count: i64) {
        self.storage.flush().await.unwrap();
        let from = self.storage.last_seq() + 1;
        let events = vec![self.received_now(from, count)];
        // Received, and stored a while later: until then nobody sees them.
        self.wait();
        let batch = Batch { events, last_seq: from + count - 1, renumber: true, ..Batch::default() };
        self.storage.commit(batch).await.unwrap();
    }

    async fn asked(&self, moment: Moment) -> Vec<i64> {
        let past = self.storage.snapshot_as_of(moment).await.unwrap();
        assert!(past.refused.is_empty(), "{:?}", past.refused);
        self.seqs(&past.snapshot).await
    }

    /// What was there at these times, and as of these numbers.
    async fn check(&self, was: &[(i64, i64)], seqs: std::ops::RangeInclusive<i64>, after: Op) {
        for (time, last) in was {
            let expected: Vec<i64> = (1..=*last).collect();
            assert_eq!(self.asked(Moment::Time(Micros(*time))).await, expected, "after {after:?}");
        }
        for seq in seqs {
            assert_eq!(self.asked(Moment::Seq(seq)).await, (1..=seq).collect::<Vec<_>>(), "after {after:?}");
        }
    }

    async fn seqs(&self, snapshot: &Snapshot) -> Vec<i64> {
        let store = self.storage.object_store();
        let mut seqs = Vec::new();
        for file in &snapshot.tables["view"].files {
            let got = store.get(&StorePath::from(file.path.as_str())).await.unwrap();
            let bytes = got.bytes().await.unwrap();
            let mut rows = 0;
            for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
                let batch = batch.unwrap();
                rows += batch.num_rows() as u64;
                seqs.extend(batch.column_by_name(SEQ).unwrap().as_primitive::<Int64Type>().values());
            }
            assert_eq!(rows, file.rows);
        }
        seqs.sort_unstable();
        seqs
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn what_was_there_is_there_as_of_then(script in ops()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut past = Past::new().await;
            // The number of the last event at each time.
            let mut was = vec![(past.wait(), 0)];
            for op in script {
                match op {
                    Op::Log(count) => past.log(count),
                    Op::Commit(count) => past.commit(count).await,
                    Op::Flush => past.storage.flush().await.map(|_| ()).unwrap(),
                    Op::Compact => past.storage.compact(quiet()).await.map(|_| ()).unwrap(),
                    Op::Vacuum => past.storage.vacuum(Duration::ZERO).await.map(|_| ()).unwrap(),
                    Op::Reopen => {
                        let Past { dir, clock, now, storage } = past;
                        drop(storage);
                        let storage = Past::open(&dir, &clock).await;
                        past = Past { dir, clock, now, storage };
                    }
                }
                let last = past.storage.last_seq();
                was.push((past.wait(), last));
                past.check(&was[was.len() / 2..], last / 2..=last, op).await;
            }
            let last = past.storage.last_seq();
            past.check(&was, 0..=last, Op::Flush).await;
        });
    }
}

#[tokio::test]
async fn what_retention_removed_is_there_while_its_files_are_and_then_refused_with_the_oldest_moment() {
    let dir = TempDir::new().unwrap();
    let clock = Arc::new(StoppedClock::at(Micros(START)));
    drop(open(&dir).await);
    let storage = Storage::open(StorageConfig {
        clock: Arc::<StoppedClock>::clone(&clock),
        grace: Duration::from_secs(60),
        ..config(&dir)
    })
    .await
    .unwrap();
    let past = Past { dir, clock, now: AtomicI64::new(START), storage };
    past.commit(6).await;
    past.storage.compact(quiet()).await.unwrap();
    let before = past.wait();
    past.commit(4).await;
    let kept = Retention { months: 0, days: 1 };
    past.storage.catalog().set_retention("view", Some(kept)).unwrap();
    let at_removal = past.now.load(Ordering::SeqCst);
    assert_eq!(past.storage.expire().await.unwrap().events, 10);
    past.wait();
    // All files are there, so the log's older version answers.
    assert_eq!(past.asked(Moment::Time(Micros(before))).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(past.asked(Moment::Seq(8)).await, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(past.asked(Moment::Seq(10)).await, [0_i64; 0]);

    past.storage.vacuum(Duration::ZERO).await.unwrap();
    let refused = past.storage.snapshot_as_of(Moment::Time(Micros(before))).await.unwrap();
    assert!(!refused.snapshot.tables.contains_key("view") && refused.snapshot.tables.contains_key("buy"));
    let why = &refused.refused["view"];
    let oldest = format!("AS OF '{}', or AS OF 10", Micros(at_removal).iso_millis());
    assert!(why.ends_with(&oldest), "{why}");
    assert_eq!(past.asked(Moment::Time(Micros(at_removal))).await, [0_i64; 0]);
    assert_eq!(past.asked(Moment::Seq(10)).await, [0_i64; 0]);

    let ahead = past.storage.snapshot_as_of(Moment::Seq(11)).await.unwrap_err();
    assert!(ahead.to_string().contains("a number up to 10"), "{ahead}");
    assert!(past.storage.snapshot_as_of(Moment::Time(Micros(i64::MAX))).await.is_err());
}

#[tokio::test]
async fn what_is_shown_of_the_past_leaves_memory_when_nobody_asks() {
    let dir = TempDir::new().unwrap();
    let storage = open(&dir).await;
    storage.commit(batch(&storage, 1, 100)).await.unwrap();
    let held = storage.snapshot_as_of(Moment::Seq(50)).await.unwrap();
    let path = StorePath::from(held.snapshot.tables["view"].files[0].path.as_str());
    assert!(layout::is_buffer(path.as_ref()), "{path}");
    let store = storage.object_store();
    storage.snapshot_as_of(Moment::Seq(60)).await.unwrap();
    assert!(store.head(&path).await.is_ok());
    drop(held);
    storage.snapshot_as_of(Moment::Seq(60)).await.unwrap();
    assert!(store.head(&path).await.is_err());
}
