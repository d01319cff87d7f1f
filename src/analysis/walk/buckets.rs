//! Events in buckets of a few thousand persons: a bucket fits the processor's cache, so its persons are set apart by
//! counting.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::datatypes::UInt64Type;
use arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::common::runtime::JoinSet;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::memory_pool::MemoryReservation;

use crate::analysis::gather::All;
use crate::analysis::gather::joined;
use crate::analysis::hits::PERSON;
use crate::analysis::hits::SEQ_AT;
use crate::analysis::hits::TIME;
use crate::analysis::values::NULL;
use crate::analysis::values::Numbers;
use crate::analysis::walk::Event;
use crate::analysis::walk::Walk;
use crate::analysis::wanted::MARKS;
use crate::analysis::wanted::Planned;
use crate::analysis::wanted::VALUE;

/// Persons of a bucket, as a power of two.
const BUCKET: u32 = 12;

/// One event: all that most questions need of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lean {
    pub(super) at: i64,
    pub(super) person: u32,
    pub(super) marks: u32,
}

/// What tells events of one instant apart, and a value.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extra {
    seq: i64,
    value: u32,
}

/// The events of one thread, by bucket.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    lean: Vec<Vec<Lean>>,
    extra: Vec<Vec<Extra>>,
}

impl Gathered {
    pub(super) fn push(&mut self, event: Lean) {
        let bucket = (event.person >> BUCKET) as usize;
        if bucket >= self.lean.len() {
            self.lean.resize_with(bucket + 1, Vec::new);
            self.extra.resize_with(bucket + 1, Vec::new);
        }
        self.lean[bucket].push(event);
    }

    /// Takes the events of a batch and says how many; none when a person has no number that a bucket could be found by.
    pub(super) fn take(
        &mut self,
        planned: &Planned,
        rows: &RecordBatch,
        numbers: &mut Numbers,
    ) -> Option<usize> {
        let persons = rows.column(PERSON).as_primitive::<Int64Type>().values();
        let times = rows.column(TIME).as_primitive::<TimestampMicrosecondType>().values();
        let seqs = rows.column(SEQ_AT).as_primitive::<Int64Type>().values();
        let marks = rows.column(MARKS).as_primitive::<UInt64Type>().values();
        let mut values = Vec::new();
        if planned.value {
            values.reserve(rows.num_rows());
            numbers.of_column(rows.column(VALUE).as_string_view(), |number| values.push(number));
        }
        let mut taken = 0;
        for row in 0..rows.num_rows() {
            if planned.only.as_ref().is_some_and(|only| !only.contains(persons[row])) {
                continue;
            }
            let person = u32::try_from(persons[row]).ok()?;
            self.push(Lean { at: times[row], person, marks: low(marks[row]) });
            if planned.seq {
                let value = values.get(row).copied().unwrap_or(NULL);
                self.extra[(person >> BUCKET) as usize].push(Extra { seq: seqs[row], value });
            }
            taken += 1;
        }
        Some(taken)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "there are at most as many bits")]
pub(super) fn low(bits: u64) -> u32 {
    bits as u32
}

/// Walks over every person, bucket by bucket, on all cores.
pub(super) async fn in_buckets<W: Walk>(
    walk: &Arc<W>,
    with_extra: bool,
    gathered: Vec<Gathered>,
    context: &Arc<TaskContext>,
) -> Result<All<W::Part>> {
    let gathered = Arc::new(gathered);
    let next = Arc::new(AtomicUsize::new(0));
    let mut running: JoinSet<Result<(W::Part, MemoryReservation)>> = JoinSet::new();
    for _ in 0..context.session_config().target_partitions().max(1) {
        let (walk, gathered, next) = (Arc::clone(walk), Arc::clone(&gathered), Arc::clone(&next));
        let memory = MemoryConsumer::new(walk.name()).register(context.memory_pool());
        running.spawn(async move {
            let mut part = walk.part();
            let buckets = gathered.iter().map(|one| one.lean.len()).max().unwrap_or(0);
            let mut bucket = Bucket::default();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= buckets {
                    return Ok((part, memory));
                }
                bucket.fill(&gathered, at, with_extra);
                bucket.walk(walk.as_ref(), &mut part);
                memory.try_resize(walk.bytes(&part))?;
                // Another task may want the thread.
                tokio::task::yield_now().await;
            }
        });
    }
    joined(running).await
}

/// The events of one bucket, each person's together.
#[derive(Debug, Default)]
struct Bucket {
    /// Where the events of each person end.
    ends: Vec<usize>,
    events: Vec<Event>,
    /// The first person that the bucket has room for.
    base: i64,
    numbered: bool,
}

impl Bucket {
    /// Sets persons apart by counting.
    fn fill(&mut self, gathered: &[Gathered], at: usize, with_extra: bool) {
        let persons = 1_usize << BUCKET;
        let place = |one: &Lean| one.person as usize & (persons - 1);
        self.ends.clear();
        self.ends.resize(persons, 0);
        let parts = || gathered.iter().filter_map(move |one| Some((one.lean.get(at)?, one.extra.get(at)?)));
        for one in parts().flat_map(|(lean, _)| lean) {
            self.ends[place(one)] += 1;
        }
        // First where each begins; filling moves that on to where it ends.
        let mut begin = 0;
        for count in &mut self.ends {
            begin += std::mem::replace(count, begin);
        }
        self.numbered = with_extra;
        self.events.clear();
        self.events.resize(begin, Event::default());
        self.base = i64::try_from(at << BUCKET).unwrap_or_default();
        for (lean, extra) in parts() {
            for (row, one) in lean.iter().enumerate() {
                let to = &mut self.ends[place(one)];
                let Extra { seq, value } = if with_extra { extra[row] } else { Extra::default() };
                self.events[*to] = Event { at: one.at, seq, marks: u64::from(one.marks), value };
                *to += 1;
            }
        }
    }

    fn walk<W: Walk>(&mut self, walk: &W, part: &mut W::Part) {
        let mut start = 0;
        for (person, end) in (self.base..).zip(&self.ends) {
            if *end > start {
                let events = in_order(&mut self.events[start..*end], self.numbered);
                walk.person(part, person, events);
            }
            start = *end;
        }
    }
}

/// A person's events in order, each once: one that came from two tables has the marks of both.
pub(super) fn in_order(events: &mut [Event], numbered: bool) -> &[Event] {
    let key = |one: &Event| (one.at, one.seq);
    if !events.is_sorted_by_key(key) {
        // Events come in a few stretches that are in order already, which a stable sort makes use of.
        events.sort_by_key(key);
    }
    let mut kept = 0;
    for at in 1..events.len() {
        let next = events[at];
        // Events without numbers come from one table, where none comes twice.
        if numbered && key(&next) == key(&events[kept]) {
            events[kept].marks |= next.marks;
            events[kept].value = events[kept].value.max(next.value);
        } else {
            kept += 1;
            events[kept] = next;
        }
    }
    &events[..=kept]
}
