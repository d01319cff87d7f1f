//! `FunnelExec`: funnels without sorting. Events come from the indexes beside the files or, where a condition needs
//! more, from a plan; in whatever order files give them they go into buckets, whose persons are then asked.
//!
//! What does not fit into memory is sorted on disk instead, by DataFusion, and answered by [`PersonsExec`](crate::analysis::persons::PersonsExec).

use std::fmt;
use std::sync::Arc;

use arrow::array::Array;
use arrow::array::AsArray;
use arrow::array::StringViewArray;
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
use datafusion::execution::SessionState;
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

use crate::analysis::funnel::Counting;
use crate::analysis::funnel::FunnelRequest;
use crate::analysis::funnel::buckets;
use crate::analysis::funnel::buckets::Extra;
use crate::analysis::funnel::buckets::Gathered;
use crate::analysis::funnel::buckets::MOST;
use crate::analysis::funnel::buckets::event_bytes;
use crate::analysis::funnel::buckets::fit_together;
use crate::analysis::funnel::buckets::walk;
use crate::analysis::funnel::indexed::IndexedHits;
use crate::analysis::funnel::plan;
use crate::analysis::funnel::question::Code;
use crate::analysis::funnel::question::FunnelQuestion;
use crate::analysis::funnel::question::code;
use crate::analysis::gather::All;
use crate::analysis::gather::ON_DISK;
use crate::analysis::gather::Unfit;
use crate::analysis::gather::answer_on_disk;
use crate::analysis::gather::joined;
use crate::analysis::hits::FIRST_EXTRA;
use crate::analysis::hits::PERSON;
use crate::analysis::hits::SEQ_AT;
use crate::analysis::hits::TIME;
use crate::analysis::hits::external;
use crate::analysis::persons::Question;

/// How many files were read from their indexes, and how many were not, because they had none.
const FROM_INDEX: &str = "files_from_index";
const FROM_FILES: &str = "files_without_index";

impl From<buckets::Unfit> for Unfit {
    fn from(_: buckets::Unfit) -> Self {
        Self::Sort
    }
}

/// Where the events come from.
#[derive(Clone)]
enum Source {
    Plan(Arc<dyn ExecutionPlan>),
    /// The indexes of files; the state makes the plan when they turn out not to do.
    Index(Arc<IndexedHits>, Arc<SessionState>),
}

/// Answers a funnel over hits in any order.
pub(crate) struct FunnelExec {
    question: Arc<FunnelQuestion>,
    source: Source,
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
        Self::over(question, Source::Plan(hits))
    }

    /// The same over the indexes of files.
    pub(crate) fn indexed(question: Arc<FunnelQuestion>, hits: IndexedHits, state: &SessionState) -> Self {
        Self::over(question, Source::Index(Arc::new(hits), Arc::new(state.clone())))
    }

    fn over(question: Arc<FunnelQuestion>, source: Source) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(question.schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self { question, source, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }

    /// What it does, in a few words.
    fn said(&self) -> Vec<String> {
        let mut said = vec![self.question.said()];
        if let Source::Index(hits, _) = &self.source {
            said.extend(hits.said());
        }
        said
    }
}

impl DisplayAs for FunnelExec {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match kind {
            DisplayFormatType::TreeRender => f.write_str(&self.said().join("\n")),
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "FunnelExec: {}", self.said().join(", "))
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
        match &self.source {
            Source::Plan(hits) => vec![hits],
            Source::Index(..) => Vec::new(),
        }
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        self.children().iter().map(|_| false).collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(hits) = children.pop() else { return Ok(self) };
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
        let work = Work {
            question: Arc::clone(&self.question),
            metrics: self.metrics.clone(),
            context,
            schema: self.schema(),
        };
        let source = self.source.clone();
        let answer = async move {
            match source {
                Source::Plan(hits) => work.over_plan(hits).await,
                Source::Index(hits, state) => work.over_index(&hits, &state).await,
            }
        };
        let stream = futures::stream::once(Box::pin(answer));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// What it takes to answer once.
struct Work {
    question: Arc<FunnelQuestion>,
    metrics: ExecutionPlanMetricsSet,
    context: Arc<TaskContext>,
    schema: SchemaRef,
}

impl Work {
    fn threads(&self) -> usize {
        self.context.session_config().target_partitions().max(1)
    }

    async fn over_plan(self, hits: Arc<dyn ExecutionPlan>) -> Result<RecordBatch> {
        match self.gather(&hits).await {
            Ok(all) => self.answer(all).await,
            Err(Unfit::Failed(error)) => Err(error),
            Err(Unfit::Sort) => {
                MetricBuilder::new(&self.metrics).global_counter(ON_DISK).add(1);
                answer_on_disk(self.question, hits, self.context).await
            }
        }
    }

    async fn over_index(self, hits: &Arc<IndexedHits>, state: &SessionState) -> Result<RecordBatch> {
        match self.gather_indexed(hits).await {
            Ok(all) => self.answer(all).await,
            Err(Unfit::Failed(error)) => Err(error),
            Err(Unfit::Sort) => {
                let (request, read) = (self.question.request.clone(), self.question.read.clone());
                let planned = plan::plan(&request, &read, state).await.map_err(external)?;
                let hits = Box::pin(state.create_physical_plan(&planned.0)).await?;
                let question =
                    FunnelQuestion { request, read, places: planned.1, schema: Arc::clone(&self.schema) };
                Self { question: Arc::new(question), ..self }.over_plan(hits).await
            }
        }
    }

    async fn answer(&self, (gathered, memory): All<Gathered>) -> Result<RecordBatch> {
        let parts = walk(&self.question, gathered, self.threads()).await?;
        drop(memory);
        self.question.answer(parts).map_err(external)
    }

    fn memory(&self) -> MemoryReservation {
        MemoryConsumer::new("FunnelExec").register(self.context.memory_pool())
    }

    /// Reads all events of a plan on all cores.
    async fn gather(&self, hits: &Arc<dyn ExecutionPlan>) -> Result<All<Gathered>, Unfit> {
        let mut running = JoinSet::new();
        for partition in 0..hits.properties().output_partitioning().partition_count() {
            let mut rows = hits.execute(partition, Arc::clone(&self.context))?;
            let (memory, question) = (self.memory(), Arc::clone(&self.question));
            running.spawn(async move {
                let mut gathered = Gathered::default();
                let bytes = event_bytes(question.places.value.is_some());
                while let Some(batch) = rows.next().await.transpose()? {
                    memory.try_resize(room(gathered.len() + batch.num_rows(), bytes))?;
                    gathered.take(&question, &batch)?;
                }
                Ok((gathered, memory))
            });
        }
        all_of(running).await
    }

    /// Reads all events from the indexes of files, as many files at a time as there are threads.
    async fn gather_indexed(&self, hits: &Arc<IndexedHits>) -> Result<All<Gathered>, Unfit> {
        let next = hits.queue();
        let mut running = JoinSet::new();
        let threads = self.threads();
        for _ in 0..threads.min(hits.files()).max(1) {
            let (hits, next, memory) = (Arc::clone(hits), Arc::clone(&next), self.memory());
            let counted =
                [FROM_INDEX, FROM_FILES].map(|name| MetricBuilder::new(&self.metrics).global_counter(name));
            running.spawn(async move {
                let mut gathered = Gathered::of_threads(threads);
                let bytes = event_bytes(hits.has_value());
                while let Some(one) = next() {
                    let from_index = hits.take(one, &mut gathered).await?;
                    counted[usize::from(!from_index)].add(1);
                    memory.try_resize(room(gathered.len(), bytes))?;
                }
                Ok((gathered, memory))
            });
        }
        all_of(running).await
    }
}

/// A vector that grows has room for half as many again, on average.
fn room(events: usize, bytes: usize) -> usize {
    events * bytes * 3 / 2
}

async fn all_of(
    running: JoinSet<Result<(Gathered, MemoryReservation), Unfit>>,
) -> Result<All<Gathered>, Unfit> {
    let all = joined(running).await?;
    if fit_together(&all.0) { Ok(all) } else { Err(Unfit::Sort) }
}

impl Gathered {
    /// Takes the events of a batch.
    fn take(
        &mut self,
        question: &FunnelQuestion,
        rows: &RecordBatch,
    ) -> std::result::Result<(), buckets::Unfit> {
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
        let mut kind: Option<(u32, u64)> = None;
        for row in 0..rows.num_rows() {
            let marks = low(steps[row]) | excludes.map_or(0, |excludes| low(excludes[row]) << MOST);
            let number = match kind {
                Some((before, number)) if before == marks => number,
                _ => self.kind(marks)?,
            };
            kind = Some((marks, number));
            self.push(Self::person(persons[row])?, times[row], number)?;
            if let Some((texts, seqs)) = values {
                let view = texts.views()[row];
                // A view of up to 12 bytes holds the whole text; its length comes first.
                let is_short = view & 0xffff_ffff <= 12 && texts.is_valid(row);
                let value = match last {
                    Some((before, value)) if is_short && before == view => value,
                    _ => code(&mut self.words, texts, row),
                };
                last = is_short.then_some((view, value));
                self.push_extra(Extra { seq: seqs[row], value });
            }
        }
        Ok(())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "there are at most 16 bits")]
fn low(bits: u64) -> u32 {
    bits as u32
}
