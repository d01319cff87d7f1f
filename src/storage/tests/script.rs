//! BR-40: random scripts of everything that writes, stopped at random steps, against a plain set of events.
//!
//! Whoever sends an event sends it again until it is acknowledged. So after any script each event that was ever sent
//! is there exactly once, unless its person was forgotten; and at every moment what was acknowledged is. Who is one
//! person after merges, and what was there before, is held against the model too.

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
    /// Two persons become one.
    Merge(usize, usize),
    /// A merge is undone.
    Unmerge(usize),
    /// A person is forgotten, and all whom it stands for.
    Forget(usize),
    /// What was there after an earlier operation.
    Ask(usize),
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
        2 => (0..SLOTS, 0..SLOTS).prop_map(|(one, other)| Op::Merge(one, other)),
        1 => (0..SLOTS).prop_map(Op::Unmerge),
        1 => (0..SLOTS).prop_map(Op::Forget),
        2 => (0_usize..30).prop_map(Op::Ask),
        3 => (1_usize..9).prop_map(Op::Arm),
    ];
    proptest::collection::vec(op, 3..25)
}

/// Senders, each of whom is one person at a time.
const SLOTS: usize = 7;

struct World {
    dir: TempDir,
    steps: Arc<StopSoon>,
    storage: Arc<Storage>,
    /// Keys of all events that were acknowledged and whose person was not forgotten.
    stored: BTreeSet<i64>,
    /// Keys of events that are going for good.
    leaving: BTreeSet<i64>,
    forgotten: BTreeSet<i64>,
    next: i64,
    /// The person of each sender; 0 before its first event.
    who: [i64; SLOTS],
    /// The person of each event.
    owner: BTreeMap<i64, i64>,
    /// Into whom persons were merged.
    parent: BTreeMap<i64, i64>,
    /// After each operation the number of the last event, and what was stored.
    history: Vec<(i64, BTreeSet<i64>)>,
}

impl World {
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        drop(open(&dir).await);
        let steps = Arc::new(StopSoon::default());
        steps.arm(NEVER);
        let storage = Self::open(&dir, &steps).await;
        Self {
            dir,
            steps,
            storage,
            stored: BTreeSet::new(),
            leaving: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            next: 1,
            who: [0; SLOTS],
            owner: BTreeMap::new(),
            parent: BTreeMap::new(),
            history: vec![(0, BTreeSet::new())],
        }
    }

    /// Decides whose new events are.
    fn own(&mut self, keys: &[i64]) {
        let mut next = self.storage.persons().unwrap().next_id().0;
        for &key in keys {
            if self.owner.contains_key(&key) {
                continue;
            }
            let slot = slot_of(key);
            if self.who[slot] == 0 {
                self.who[slot] = next;
                next += 1;
            }
            self.owner.insert(key, self.who[slot]);
        }
    }

    /// The persons of events whom the store does not know yet.
    fn new_persons(&self, rows: &[(i64, i64)]) -> Vec<(Person, Vec<Identifier>)> {
        let known = self.storage.persons().unwrap();
        let owners: BTreeSet<i64> = rows.iter().map(|(_, key)| self.owner[key]).collect();
        let new = owners.into_iter().map(PersonId).filter(|id| !known.contains(*id));
        new.map(|id| {
            let external_id = Some(format!("x{}", id.0));
            (Person { id, external_id, created: Micros(0) }, Vec::new())
        })
        .collect()
    }

    fn root(&self, person: i64) -> i64 {
        self.parent.get(&person).map_or(person, |into| self.root(*into))
    }

    fn members(&self, root: i64) -> BTreeSet<i64> {
        self.owner.values().copied().filter(|one| self.root(*one) == root).collect()
    }

    async fn merge(&mut self, one: usize, other: usize) -> Result<()> {
        let (one, other) = (self.who[one], self.who[other]);
        // A person is there when its first event is.
        let known = self.storage.persons().unwrap();
        if one == 0 || other == 0 || !known.contains(PersonId(one)) || !known.contains(PersonId(other)) {
            return Ok(());
        }
        drop(known);
        let into = self
            .storage
            .change_people(move |people| people.merge(PersonId(one), PersonId(other), "test"))
            .await?;
        let (one, other) = (self.root(one), self.root(other));
        // Whoever has the smaller number was there first.
        assert_eq!(into.map(|id| id.0), (one != other).then_some(one.min(other)));
        if one != other {
            self.parent.insert(one.max(other), one.min(other));
        }
        Ok(())
    }

    async fn unmerge(&mut self, slot: usize) -> Result<()> {
        let person = self.who[slot];
        if person != 0 {
            let was = self.storage.change_people(move |people| people.unmerge(PersonId(person))).await?;
            assert_eq!(was.is_some(), self.parent.remove(&person).is_some());
        }
        Ok(())
    }

    /// Begins to forget in the model: the person who stands for a sender's, if there is one.
    fn leave(&mut self, slot: usize) -> Option<i64> {
        let person = self.who[slot];
        if person == 0 || !self.storage.persons().unwrap().contains(PersonId(person)) {
            return None;
        }
        let root = self.root(person);
        let members = self.members(root);
        let of = self.owner.iter().filter(|(_, owner)| members.contains(owner));
        self.leaving = of.map(|(key, _)| *key).collect();
        Some(root)
    }

    /// Nobody knows these persons any more.
    fn left(&mut self, root: i64) {
        let members = self.members(root);
        for slot in &mut self.who {
            if members.contains(slot) {
                *slot = 0;
            }
        }
        self.parent.retain(|from, _| !members.contains(from));
        self.forgotten.append(&mut self.leaving);
        self.stored.retain(|key| !self.forgotten.contains(key));
    }

    /// What was there after an earlier operation, but for those who were forgotten since.
    async fn ask(&self, at: usize) {
        let (seq, stored) = &self.history[at % self.history.len()];
        let past = self.storage.snapshot_as_of(Moment::Seq(*seq)).await.unwrap();
        assert!(past.refused.is_empty());
        let known: BTreeSet<i64> = stored.difference(&self.forgotten).copied().collect();
        for table in ["view", "buy"] {
            let shown: BTreeSet<i64> = self.shown_in(&past.snapshot, table).await.into_keys().collect();
            let lasting: BTreeSet<i64> = shown.difference(&self.leaving).copied().collect();
            let expected: BTreeSet<i64> = known.difference(&self.leaving).copied().collect();
            assert_eq!(lasting, expected, "as of {seq}, after {:?}", self.steps.reached.lock().unwrap());
            assert!(shown.is_subset(&known));
        }
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
            group.events.push(self.keyed(storage, "view", &rows));
            group.events.push(self.keyed(storage, "buy", &rows));
            group.persons = self.new_persons(&rows);
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
        let events = vec![self.keyed(&self.storage, "view", &rows), self.keyed(&self.storage, "buy", &rows)];
        let persons = self.new_persons(&rows);
        self.storage
            .commit(Batch { events, persons, last_seq: seq, renumber: true, ..Batch::default() })
            .await
            .map(|_| ())
    }

    fn keyed(&self, storage: &Storage, id: &str, rows: &[(i64, i64)]) -> EventBatch {
        keyed(storage, id, rows, |key| self.owner[&key])
    }

    /// Does something until it is done, opening the store again after each stop.
    async fn until_done(&mut self, op: &Op) {
        let keys: Vec<i64> = match op {
            Op::Log(count, again) => (self.next - again..self.next + count).filter(|key| *key > 0).collect(),
            Op::Commit(count) => (self.next..self.next + count).collect(),
            _ => Vec::new(),
        };
        self.next = self.next.max(keys.last().map_or(0, |last| last + 1));
        self.own(&keys);
        let leaving = match op {
            Op::Forget(slot) => self.leave(*slot),
            _ => None,
        };
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
                Op::Merge(one, other) => self.merge(*one, *other).await,
                Op::Unmerge(slot) => self.unmerge(*slot).await,
                Op::Forget(_) => match leaving {
                    Some(person) => self.storage.forget(PersonId(person)).await.map(|_| ()),
                    None => Ok(()),
                },
                Op::Ask(at) => {
                    self.ask(*at).await;
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
        if let Some(person) = leaving {
            self.left(person);
        }
        self.stored.extend(keys.into_iter().filter(|key| !self.forgotten.contains(key)));
        self.check(&[]).await;
        self.history.push((self.storage.last_seq(), self.stored.clone()));
    }

    /// Every stored event is there once in both tables; those on their way are there together or not at all.
    async fn check(&self, on_their_way: &[i64]) {
        let views = self.shown("view").await;
        let buys = self.shown("buy").await;
        // One table may be without those who are being forgotten, and the other not yet.
        let lasting = |shown: &BTreeMap<i64, i64>| -> Vec<(i64, i64)> {
            let lasting = shown.iter().filter(|(key, _)| !self.leaving.contains(key));
            lasting.map(|(key, seq)| (*key, *seq)).collect()
        };
        assert_eq!(lasting(&views), lasting(&buys), "after {:?}", self.steps.reached.lock().unwrap());
        let mut seqs: Vec<i64> = views.values().copied().collect();
        seqs.sort_unstable();
        assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "{seqs:?}");
        let new: Vec<i64> = views.keys().copied().filter(|key| !self.stored.contains(key)).collect();
        let is_new = |key: &i64| !self.stored.contains(key) && !self.forgotten.contains(key);
        let expected: Vec<i64> = on_their_way.iter().copied().filter(is_new).collect();
        assert!(new.is_empty() || new == expected, "{new:?} of {expected:?}");
        let mut lasting = self.stored.difference(&self.leaving);
        assert!(lasting.all(|key| views.contains_key(key)));
        let persons = self.storage.persons().unwrap();
        let here = self.who.iter().filter(|id| **id != 0 && !self.leaving_persons().contains(id));
        for &person in here {
            if persons.contains(PersonId(person)) {
                assert_eq!(persons.resolve(PersonId(person)), PersonId(self.root(person)));
            }
        }
    }

    fn leaving_persons(&self) -> BTreeSet<i64> {
        self.leaving.iter().map(|key| self.owner[key]).collect()
    }

    /// The sequence number of each event of a table, by its key; panics when one is there twice.
    async fn shown(&self, id: &str) -> BTreeMap<i64, i64> {
        self.shown_in(&self.storage.snapshot().await.unwrap(), id).await
    }

    async fn shown_in(&self, snapshot: &Snapshot, id: &str) -> BTreeMap<i64, i64> {
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

fn slot_of(key: i64) -> usize {
    usize::try_from(key).unwrap() % SLOTS
}

/// Events `(seq, key)` whose ids are made of their keys.
fn keyed(storage: &Storage, id: &str, rows: &[(i64, i64)], person: impl Fn(i64) -> i64) -> EventBatch {
    let made: Vec<Event> =
        rows.iter().map(|(seq, key)| (*seq, person(*key), key % 3, key * 31 % 50)).collect();
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
            assert_eq!((world.stored.len() + world.forgotten.len()) as i64, all);
            for at in 0..world.history.len() {
                world.ask(at).await;
            }
            assert_eq!(world.storage.unflushed().events, 0);
            assert_eq!(world.storage.log().unwrap().wal().bytes(), 0);
            assert_no_orphans(&world.storage).await;
        });
    }
}
