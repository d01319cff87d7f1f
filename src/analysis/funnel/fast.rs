//! `FunnelExec`: funnels without sorting. Events are read in whatever order files give them, as 16 bytes each, and put
//! into buckets of a few thousand persons; a bucket fits the processor's cache, so its persons are set apart by
//! counting, and each has only few events to put in order of time.
//!
//! What does not fit into memory is sorted on disk instead, by DataFusion, and answered by [`PersonsExec`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use arrow::array::Array;
use arrow::array::AsArray;
use arrow::array::StringViewArray;
use arrow::datatypes::Int64Type;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::datatypes::UInt64Type;
use arrow::record_batch::RecordBatch;
use datafusion::common::DataFusionError;
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
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::metrics::MetricBuilder;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use futures::TryStreamExt;

use crate::analysis::funnel::Counting;
use crate::analysis::funnel::FunnelRequest;
use crate::analysis::funnel::question::Code;
use crate::analysis::funnel::question::FunnelQuestion;
use crate::analysis::funnel::question::Part;
use crate::analysis::funnel::question::Words;
use crate::analysis::funnel::question::code;
use crate::analysis::hits::FIRST_EXTRA;
use crate::analysis::hits::PERSON;
use crate::analysis::hits::SEQ_AT;
use crate::analysis::hits::TIME;
use crate::analysis::hits::external;
use crate::analysis::persons::PersonsExec;
use crate::analysis::persons::Question;
use crate::analysis::persons::sorted;
use crate::sequence::Hit;

/// Persons of a bucket, as a power of two.
const BUCKET: u32 = 12;

/// Steps and exclusions share 32 bits.
const MOST: usize = 16;

/// Whether events were sorted on disk, as `EXPLAIN ANALYZE` shows it.
const ON_DISK: &str = "sorted_on_disk";

/// One event: all that most funnels need of it.
#[derive(Clone, Copy, Debug, Default)]
struct Lean {
    time: i64,
    person: u32,
    /// Steps in the lower half, exclusions in the upper.
    marks: u32,
}

/// What a breakdown needs besides; `seq` makes the choice among events of one instant the same every time.
#[derive(Clone, Copy, Debug, Default)]
struct Extra {
    seq: i64,
    value: Code,
}

/// The events of one thread, by bucket.
#[derive(Debug, Default)]
struct Gathered {
    lean: Vec<Vec<Lean>>,
    extra: Vec<Vec<Extra>>,
    words: Words,
}

/// Why events are not gathered.
enum Unfit {
    /// They do not fit into memory, or persons are not numbered densely.
    Sort,
    Failed(DataFusionError),
}

impl From<DataFusionError> for Unfit {
    fn from(error: DataFusionError) -> Self {
        match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => Self::Sort,
            _ => Self::Failed(error),
        }
    }
}

/// Answers a funnel over a plan of hits in any order.
pub(crate) struct FunnelExec {
    question: Arc<FunnelQuestion>,
    hits: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl fmt::Debug for FunnelExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunnelExec").field("question", &self.question).finish_non_exhaustive()
    }
}

impl FunnelExec {
    /// Whether it can answer this request.
    pub(crate) fn answers(request: &FunnelRequest) -> bool {
        request.holding.is_empty()
            && request.counting != Counting::Sessions
            && request.steps.len() <= MOST
            && request.excluding.len() <= MOST
    }

    pub(crate) fn new(question: Arc<FunnelQuestion>, hits: Arc<dyn ExecutionPlan>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(question.schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self { question, hits, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl DisplayAs for FunnelExec {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match kind {
            DisplayFormatType::TreeRender => f.write_str(&self.question.said()),
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "FunnelExec: {}", self.question.said())
            }
        }
    }
}

impl ExecutionPlan for FunnelExec {
    fn name(&self) -> &'static str {
        "FunnelExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.hits]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(hits) = children.pop() else { return internal_err!("a funnel needs events") };
        Ok(Arc::new(Self::new(Arc::clone(&self.question), hits)))
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("a funnel has one answer");
        }
        let (question, hits) = (Arc::clone(&self.question), Arc::clone(&self.hits));
        let on_disk = MetricBuilder::new(&self.metrics).global_counter(ON_DISK);
        let answer = async move {
            match gather(&question, &hits, &context).await {
                Ok((gathered, memory)) => {
                    let parts = walk(&question, gathered, &context).await?;
                    drop(memory);
                    question.answer(parts).map_err(external)
                }
                Err(Unfit::Failed(error)) => Err(error),
                Err(Unfit::Sort) => {
                    on_disk.add(1);
                    let partitions = context.session_config().target_partitions();
                    let rows = sorted(reset_plan_states(hits)?, partitions)?;
                    let answer = PersonsExec::new(question, rows).execute(0, context)?;
                    let batches: Vec<RecordBatch> = answer.try_collect().await?;
                    batches.into_iter().next().map_or_else(|| internal_err!("a funnel had no answer"), Ok)
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

/// Reads all events on all cores.
async fn gather(
    question: &Arc<FunnelQuestion>,
    hits: &Arc<dyn ExecutionPlan>,
    context: &Arc<TaskContext>,
) -> Result<(Vec<Gathered>, Vec<MemoryReservation>), Unfit> {
    let mut running: JoinSet<Result<(Gathered, MemoryReservation), Unfit>> = JoinSet::new();
    for partition in 0..hits.properties().output_partitioning().partition_count() {
        let mut rows = hits.execute(partition, Arc::clone(context))?;
        let memory = MemoryConsumer::new("FunnelExec").register(context.memory_pool());
        let question = Arc::clone(question);
        running.spawn(async move {
            let mut gathered = Gathered::default();
            // A vector that grows has room for half as many again, on average.
            let bytes = size_of::<Lean>() + question.places.value.map_or(0, |_| size_of::<Extra>());
            while let Some(batch) = rows.next().await.transpose()? {
                memory.try_grow(batch.num_rows() * bytes * 3 / 2)?;
                if !gathered.take(&question, &batch) {
                    return Err(Unfit::Sort);
                }
            }
            Ok((gathered, memory))
        });
    }
    let (mut all, mut held) = (Vec::new(), Vec::new());
    while let Some(done) = running.join_next().await {
        let done = done.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?;
        let (gathered, memory) = done?;
        all.push(gathered);
        held.push(memory);
    }
    Ok((all, held))
}

impl Gathered {
    /// Takes the events of a batch; `false` when a person has no number that a bucket could be found by.
    fn take(&mut self, question: &FunnelQuestion, rows: &RecordBatch) -> bool {
        let persons = rows.column(PERSON).as_primitive::<Int64Type>().values();
        let times = rows.column(TIME).as_primitive::<TimestampMicrosecondType>().values();
        let steps = rows.column(FIRST_EXTRA).as_primitive::<UInt64Type>().values();
        let excludes =
            question.places.excludes.map(|at| rows.column(at).as_primitive::<UInt64Type>().values());
        let values: Option<(&StringViewArray, &[i64])> = question.places.value.map(|at| {
            let seqs = rows.column(SEQ_AT).as_primitive::<Int64Type>().values();
            (rows.column(at).as_string_view(), seqs.as_ref())
        });
        // Values repeat, so the one before is looked at first.
        let mut last: Option<(u128, Code)> = None;
        for row in 0..rows.num_rows() {
            let Ok(person) = u32::try_from(persons[row]) else { return false };
            let bucket = (person >> BUCKET) as usize;
            if bucket >= self.lean.len() {
                self.lean.resize_with(bucket + 1, Vec::new);
                self.extra.resize_with(bucket + 1, Vec::new);
            }
            let excluded = excludes.map_or(0, |excludes| low(excludes[row]) << MOST);
            self.lean[bucket].push(Lean { time: times[row], person, marks: low(steps[row]) | excluded });
            if let Some((texts, seqs)) = values {
                let view = texts.views()[row];
                // A view of up to 12 bytes holds the whole text; its length comes first.
                let is_short = view & 0xffff_ffff <= 12 && texts.is_valid(row);
                let value = match last {
                    Some((before, value)) if is_short && before == view => value,
                    _ => code(&mut self.words, texts, row),
                };
                last = is_short.then_some((view, value));
                self.extra[bucket].push(Extra { seq: seqs[row], value });
            }
        }
        true
    }
}

#[expect(clippy::cast_possible_truncation, reason = "there are at most 16 bits")]
fn low(bits: u64) -> u32 {
    bits as u32
}

/// Asks the question of every person, bucket by bucket, on all cores.
async fn walk(
    question: &Arc<FunnelQuestion>,
    mut gathered: Vec<Gathered>,
    context: &Arc<TaskContext>,
) -> Result<Vec<Part>> {
    let mut words = Words::default();
    for one in &mut gathered {
        let codes = words.unite(&one.words);
        for extra in one.extra.iter_mut().flatten() {
            extra.value = codes.get(extra.value as usize).copied().unwrap_or(extra.value);
        }
    }
    let (gathered, words) = (Arc::new(gathered), Arc::new(words));
    let next = Arc::new(AtomicUsize::new(0));
    let mut running = JoinSet::new();
    for _ in 0..context.session_config().target_partitions().max(1) {
        let (question, gathered, next) = (Arc::clone(question), Arc::clone(&gathered), Arc::clone(&next));
        let words = Arc::clone(&words);
        running.spawn(async move {
            let mut part = question.part();
            part.words = Words::clone(&words);
            let buckets = gathered.iter().map(|one| one.lean.len()).max().unwrap_or(0);
            let mut bucket = Bucket::default();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= buckets {
                    return part;
                }
                bucket.fill(&gathered, at);
                bucket.ask(&question, &mut part);
                // Another task may want the thread.
                tokio::task::yield_now().await;
            }
        });
    }
    let mut parts = Vec::new();
    while let Some(done) = running.join_next().await {
        parts.push(done.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?);
    }
    Ok(parts)
}

/// The events of one bucket, each person's together.
#[derive(Debug, Default)]
struct Bucket {
    /// Where the events of each person end.
    ends: Vec<usize>,
    lean: Vec<Lean>,
    extra: Vec<Extra>,
    hits: Vec<Hit>,
    values: Vec<Code>,
    order: Vec<usize>,
}

impl Bucket {
    /// Sets persons apart by counting.
    fn fill(&mut self, gathered: &[Gathered], at: usize) {
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
        self.lean.clear();
        self.lean.resize(begin, Lean::default());
        let has_extra = parts().any(|(_, extra)| !extra.is_empty());
        self.extra.clear();
        self.extra.resize(if has_extra { begin } else { 0 }, Extra::default());
        for (lean, extra) in parts() {
            for (row, one) in lean.iter().enumerate() {
                let to = &mut self.ends[place(one)];
                self.lean[*to] = *one;
                if has_extra {
                    self.extra[*to] = extra[row];
                }
                *to += 1;
            }
        }
    }

    fn ask(&mut self, question: &FunnelQuestion, part: &mut Part) {
        let mut start = 0;
        for end in std::mem::take(&mut self.ends) {
            if end > start {
                self.person(question, part, start, end);
            }
            start = end;
        }
    }

    fn person(&mut self, question: &FunnelQuestion, part: &mut Part, start: usize, end: usize) {
        let hit = |one: &Lean| Hit {
            time: one.time,
            steps: u64::from(one.marks & ((1 << MOST) - 1)),
            excludes: u64::from(one.marks >> MOST),
        };
        let lean = &mut self.lean[start..end];
        self.hits.clear();
        self.values.clear();
        if self.extra.is_empty() {
            if !lean.is_sorted_by_key(|one| one.time) {
                lean.sort_unstable_by_key(|one| one.time);
            }
            self.hits.extend(lean.iter().map(hit));
        } else {
            let extra = &self.extra[start..end];
            self.order.clear();
            self.order.extend(0..lean.len());
            self.order.sort_unstable_by_key(|at| (lean[*at].time, extra[*at].seq));
            self.hits.extend(self.order.iter().map(|at| hit(&lean[*at])));
            self.values.extend(self.order.iter().map(|at| extra[*at].value));
        }
        question.unit(part, i64::from(lean[0].person), &self.hits, &self.values);
    }
}
