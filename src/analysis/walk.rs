//! `Walk`: what a question does with one person's events, in order; and the operator that brings them, without a sort.
//!
//! Events are read in whatever order files give them, a few bytes each, and put into [`buckets`] of a few thousand
//! persons, each of whom has only few events to put in order of time. What does not fit into memory is sorted on disk
//! instead, by DataFusion, and walked by [`PersonsExec`](crate::analysis::persons::PersonsExec).

mod buckets;
mod sorted;

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use arrow::datatypes::SchemaRef;
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
use crate::analysis::hits::external;
use crate::analysis::indexed::IndexedEvents;
use crate::analysis::indexed::Places;
use crate::analysis::values::Numbers;
use crate::analysis::values::Values;
use crate::analysis::walk::buckets::Extra;
use crate::analysis::walk::buckets::Gathered;
use crate::analysis::walk::buckets::Lean;
use crate::analysis::walk::buckets::in_buckets;
use crate::analysis::walk::buckets::low;
use crate::analysis::walk::sorted::InOrder;
use crate::analysis::wanted::Planned;

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
