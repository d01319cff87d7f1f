//! `Walk`: what a question does with one person's events, in order; and the operator that brings them, without a sort.
//!
//! Events are read in whatever order files give them, a few bytes each, and put into buckets of a few thousand persons.
//! A bucket fits the processor's cache, so its persons are set apart by counting, and each has only few events to put
//! in order of time. What does not fit into memory is sorted on disk instead, by DataFusion, and walked by
//! [`PersonsExec`](crate::analysis::persons::PersonsExec).

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::datatypes::SchemaRef;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::datatypes::UInt64Type;
use arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::common::internal_err;
use datafusion::common::runtime::JoinSet;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_expr::Partitioning;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::DisplayAs;
use datafusion::physical_plan::DisplayFormatType;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::PlanProperties;
use datafusion::physical_plan::execution_plan::Boundedness;
use datafusion::physical_plan::execution_plan::EmissionType;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::metrics::MetricBuilder;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use crate::analysis::gather::All;
use crate::analysis::gather::ON_DISK;
use crate::analysis::gather::Unfit;
use crate::analysis::gather::answer_on_disk;
use crate::analysis::gather::joined;
use crate::analysis::hits::PERSON;
use crate::analysis::hits::SEQ_AT;
use crate::analysis::hits::TIME;
use crate::analysis::hits::external;
use crate::analysis::indexed::IndexedEvents;
use crate::analysis::indexed::Places;
use crate::analysis::persons::Question;
use crate::analysis::values::NULL;
use crate::analysis::values::Numbers;
use crate::analysis::values::Values;
use crate::analysis::wanted::MARKS;
use crate::analysis::wanted::Planned;
use crate::analysis::wanted::VALUE;

/// Persons of a bucket, as a power of two.
const BUCKET: u32 = 12;

/// Kinds of events that the marks of a [`Lean`] have room for.
const MOST_LEAN: usize = 32;

/// One event of somebody, as far as a question needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) at: i64,
    seq: i64,
    /// Of which kinds it is, as bits.
    pub(crate) marks: u64,
    /// The number of its value among the [`Values`].
    pub(crate) value: u32,
}

/// What is done with each person.
pub(crate) trait Walk: fmt::Debug + Send + Sync + 'static {
    /// What one thread knows so far.
    type Part: Send + 'static;

    /// The operator's name in `EXPLAIN`.
    fn name(&self) -> &'static str;

    /// What it does, in a few words.
    fn said(&self) -> String;

    fn schema(&self) -> SchemaRef;

    fn part(&self) -> Self::Part;

    /// Takes all events of a person, in order, each once.
    fn person(&self, part: &mut Self::Part, person: i64, events: &[Event]);

    /// About how many bytes a part holds.
    fn bytes(&self, part: &Self::Part) -> usize;

    fn answer(&self, parts: Vec<Self::Part>, values: &mut Values) -> crate::error::Result<RecordBatch>;
}

/// Walks over the persons of a plan of events in any order.
pub(crate) struct WalkExec<W: Walk> {
    walk: Arc<W>,
    planned: Planned,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl<W: Walk> fmt::Debug for WalkExec<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WalkExec").field("walk", &self.walk).finish_non_exhaustive()
    }
}

impl<W: Walk> WalkExec<W> {
    pub(crate) fn new(walk: Arc<W>, planned: Planned) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(walk.schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self { walk, planned, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl<W: Walk> DisplayAs for WalkExec<W> {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match kind {
            DisplayFormatType::TreeRender => f.write_str(&self.walk.said()),
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "{}: {}", self.walk.name(), self.walk.said())?;
                let files = self.planned.indexed.as_ref().map_or(0, |indexed| indexed.count());
                if files > 0 { write!(f, ", index of {files} files") } else { Ok(()) }
            }
        }
    }
}

impl<W: Walk> ExecutionPlan for WalkExec<W> {
    fn name(&self) -> &str {
        self.walk.name()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.planned.hits]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(hits) = children.pop() else { return internal_err!("a question needs events") };
        Ok(Arc::new(Self::new(Arc::clone(&self.walk), Planned { hits, ..self.planned.clone() })))
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("a question has one answer");
        }
        let (walk, planned) = (Arc::clone(&self.walk), self.planned.clone());
        let on_disk = MetricBuilder::new(&self.metrics).global_counter(ON_DISK);
        let answer = async move {
            let values = Arc::default();
            let gathered = match &planned.indexed {
                _ if planned.kinds > MOST_LEAN => Err(Unfit::Sort),
                Some(indexed) => from_indexes(indexed, &planned, walk.name(), &context).await,
                None => gather(&planned, walk.name(), &values, &context).await,
            };
            match gathered {
                Ok((gathered, memory)) => {
                    let with_extra = planned.seq && planned.indexed.is_none();
                    let (parts, held) = in_buckets(&walk, with_extra, gathered, &context).await?;
                    drop(memory);
                    let answer =
                        walk.answer(parts, &mut values.lock().unwrap_or_else(PoisonError::into_inner));
                    drop(held);
                    answer.map_err(external)
                }
                Err(Unfit::Failed(error)) => Err(error),
                Err(Unfit::Sort) => {
                    on_disk.add(1);
                    let whole = Arc::new(InOrder { walk, planned: planned.clone(), values: Arc::default() });
                    answer_on_disk(whole, planned.hits, context).await
                }
            }
        };
        let stream = futures::stream::once(Box::pin(answer));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// One event: all that most questions need of it.
#[derive(Clone, Copy, Debug, Default)]
struct Lean {
    at: i64,
    person: u32,
    marks: u32,
}

/// What tells events of one instant apart, and a value.
#[derive(Clone, Copy, Debug, Default)]
struct Extra {
    seq: i64,
    value: u32,
}

/// The events of one thread, by bucket.
#[derive(Debug, Default)]
struct Gathered {
    lean: Vec<Vec<Lean>>,
    extra: Vec<Vec<Extra>>,
}

/// Reads all events on all cores.
async fn gather(
    planned: &Planned,
    name: &'static str,
    values: &Arc<Mutex<Values>>,
    context: &Arc<TaskContext>,
) -> Result<All<Gathered>, Unfit> {
    let mut running: JoinSet<Result<(Gathered, MemoryReservation), Unfit>> = JoinSet::new();
    for partition in 0..planned.hits.properties().output_partitioning().partition_count() {
        let mut rows = planned.hits.execute(partition, Arc::clone(context))?;
        let memory = MemoryConsumer::new(name).register(context.memory_pool());
        let (planned, mut numbers) = (planned.clone(), Numbers::of(values));
        running.spawn(async move {
            let mut gathered = Gathered::default();
            // A vector that grows has room for half as many again, on average.
            let bytes = size_of::<Lean>() + if planned.seq { size_of::<Extra>() } else { 0 };
            let mut texts = 0;
            while let Some(batch) = rows.next().await.transpose()? {
                let Some(taken) = gathered.take(&planned, &batch, &mut numbers) else {
                    return Err(Unfit::Sort);
                };
                memory.try_grow(taken * bytes * 3 / 2 + numbers.bytes() - texts)?;
                texts = numbers.bytes();
            }
            Ok((gathered, memory))
        });
    }
    joined(running).await
}

/// Reads all events from the indexes on all cores. No event comes twice, so none needs its number.
async fn from_indexes(
    indexed: &Arc<IndexedEvents>,
    planned: &Planned,
    name: &'static str,
    context: &Arc<TaskContext>,
) -> Result<All<Gathered>, Unfit> {
    let places = Arc::new(Places::default());
    let mut running: JoinSet<Result<(Gathered, MemoryReservation), Unfit>> = JoinSet::new();
    for _ in 0..context.session_config().target_partitions().max(1) {
        let memory = MemoryConsumer::new(name).register(context.memory_pool());
        let (indexed, only, places) = (Arc::clone(indexed), planned.only.clone(), Arc::clone(&places));
        running.spawn(async move {
            let mut gathered = Gathered::default();
            while let Some(at) = places.next(indexed.count()) {
                memory.try_grow(indexed.rows(at) * size_of::<Lean>() * 3 / 2)?;
                let mut fits = true;
                let keep = |person: i64| only.as_ref().is_none_or(|only| only.contains(person));
                let on = |person: i64, time: i64, marks: u64| match u32::try_from(person) {
                    Ok(person) => gathered.push(Lean { at: time, person, marks: low(marks) }),
                    Err(_) => fits = false,
                };
                if !indexed.visit(at, keep, on).await? || !fits {
                    return Err(Unfit::Sort);
                }
            }
            Ok((gathered, memory))
        });
    }
    joined(running).await
}

impl Gathered {
    fn push(&mut self, event: Lean) {
        let bucket = (event.person >> BUCKET) as usize;
        if bucket >= self.lean.len() {
            self.lean.resize_with(bucket + 1, Vec::new);
            self.extra.resize_with(bucket + 1, Vec::new);
        }
        self.lean[bucket].push(event);
    }

    /// Takes the events of a batch and says how many; none when a person has no number that a bucket could be found by.
    fn take(&mut self, planned: &Planned, rows: &RecordBatch, numbers: &mut Numbers) -> Option<usize> {
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
fn low(bits: u64) -> u32 {
    bits as u32
}

/// Walks over every person, bucket by bucket, on all cores.
async fn in_buckets<W: Walk>(
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
fn in_order(events: &mut [Event], numbered: bool) -> &[Event] {
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

/// The same walk over rows that are sorted already.
#[derive(Debug)]
struct InOrder<W: Walk> {
    walk: Arc<W>,
    planned: Planned,
    values: Arc<Mutex<Values>>,
}

/// What one thread knows, and its way to the values.
struct InOrderPart<P> {
    part: P,
    numbers: Numbers,
    values: Vec<u32>,
    events: Vec<Event>,
}

impl<W: Walk> Question for InOrder<W> {
    type Part = InOrderPart<W::Part>;

    fn name(&self) -> &'static str {
        self.walk.name()
    }

    fn said(&self) -> String {
        self.walk.said()
    }

    fn schema(&self) -> SchemaRef {
        self.walk.schema()
    }

    fn part(&self) -> Self::Part {
        let numbers = Numbers::of(&self.values);
        InOrderPart { part: self.walk.part(), numbers, values: Vec::new(), events: Vec::new() }
    }

    fn take(
        &self,
        part: &mut Self::Part,
        rows: &RecordBatch,
        persons: &[Range<usize>],
    ) -> crate::error::Result<()> {
        let ids = rows.column(PERSON).as_primitive::<Int64Type>().values();
        let times = rows.column(TIME).as_primitive::<TimestampMicrosecondType>().values();
        let seqs = rows.column(SEQ_AT).as_primitive::<Int64Type>().values();
        let marks = rows.column(MARKS).as_primitive::<UInt64Type>().values();
        part.values.clear();
        if self.planned.value {
            let values = &mut part.values;
            part.numbers.of_column(rows.column(VALUE).as_string_view(), |number| values.push(number));
        }
        for range in persons {
            let person = ids[range.start];
            if self.planned.only.as_ref().is_some_and(|only| !only.contains(person)) {
                continue;
            }
            part.events.clear();
            part.events.extend(range.clone().map(|row| Event {
                at: times[row],
                seq: seqs[row],
                marks: marks[row],
                value: part.values.get(row).copied().unwrap_or(NULL),
            }));
            self.walk.person(&mut part.part, person, in_order(&mut part.events, self.planned.seq));
        }
        Ok(())
    }

    fn bytes(&self, part: &Self::Part) -> usize {
        self.walk.bytes(&part.part) + part.numbers.bytes()
    }

    fn answer(&self, parts: Vec<Self::Part>) -> crate::error::Result<RecordBatch> {
        let parts = parts.into_iter().map(|one| one.part).collect();
        self.walk.answer(parts, &mut self.values.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
