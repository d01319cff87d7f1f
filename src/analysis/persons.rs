//! `PersonsExec`: hands an analysis the events of one whole person after the other, on all cores, and takes its answer.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::common::internal_err;
use datafusion::common::runtime::JoinSet;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_expr::LexOrdering;
use datafusion::physical_expr::OrderingRequirements;
use datafusion::physical_expr::Partitioning;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::DisplayAs;
use datafusion::physical_plan::DisplayFormatType;
use datafusion::physical_plan::Distribution;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::InputDistributionRequirements;
use datafusion::physical_plan::PlanProperties;
use datafusion::physical_plan::execution_plan::Boundedness;
use datafusion::physical_plan::execution_plan::EmissionType;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use crate::analysis::hits::PERSON;
use crate::analysis::hits::external;
use crate::schema::OCCURRED_TIME;
use crate::schema::PERSON_ID;
use crate::schema::SEQ;

/// What an analysis does with persons. Parts are made on several threads and put together at the end.
pub(crate) trait Question: fmt::Debug + Send + Sync + 'static {
    /// What one thread knows so far.
    type Part: Send + 'static;

    /// The operator's name in `EXPLAIN`.
    fn name(&self) -> &'static str;

    /// What it does, in a few words.
    fn said(&self) -> String;

    fn schema(&self) -> SchemaRef;

    fn part(&self) -> Self::Part;

    /// Takes persons, each a range of rows in order of time, whole. Columns are as [`crate::analysis::hits::Hits`] has
    /// them.
    fn take(
        &self,
        part: &mut Self::Part,
        rows: &RecordBatch,
        persons: &[Range<usize>],
    ) -> crate::error::Result<()>;

    /// About how many bytes a part holds.
    fn bytes(&self, part: &Self::Part) -> usize;

    fn answer(&self, parts: Vec<Self::Part>) -> crate::error::Result<RecordBatch>;
}

/// Runs a [`Question`] over a plan of hits.
pub(crate) struct PersonsExec<Q: Question> {
    question: Arc<Q>,
    hits: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl<Q: Question> fmt::Debug for PersonsExec<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PersonsExec").field("question", &self.question).finish_non_exhaustive()
    }
}

impl<Q: Question> PersonsExec<Q> {
    pub(crate) fn new(question: Arc<Q>, hits: Arc<dyn ExecutionPlan>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(question.schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self { question, hits, properties: Arc::new(properties) }
    }
}

/// Split by person.
fn split() -> Vec<Arc<dyn PhysicalExpr>> {
    vec![Arc::new(Column::new(PERSON_ID, PERSON))]
}

/// In order of person, time and seq.
fn order() -> Option<LexOrdering> {
    let names = [PERSON_ID, OCCURRED_TIME, SEQ];
    let keys = names.into_iter().enumerate();
    LexOrdering::new(keys.map(|(at, name)| PhysicalSortExpr::new_default(Arc::new(Column::new(name, at)))))
}

/// A plan of hits as [`PersonsExec`] wants them: split by person and sorted, on disk if need be.
pub(crate) fn sorted(hits: Arc<dyn ExecutionPlan>, partitions: usize) -> Result<Arc<dyn ExecutionPlan>> {
    let Some(order) = order() else { return internal_err!("hits have no columns to sort by") };
    let split = RepartitionExec::try_new(hits, Partitioning::Hash(split(), partitions.max(1)))?;
    Ok(Arc::new(SortExec::new(order, Arc::new(split)).with_preserve_partitioning(true)))
}

impl<Q: Question> DisplayAs for PersonsExec<Q> {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match kind {
            DisplayFormatType::TreeRender => f.write_str(&self.question.said()),
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "{}: {}", self.question.name(), self.question.said())
            }
        }
    }
}

impl<Q: Question> ExecutionPlan for PersonsExec<Q> {
    fn name(&self) -> &str {
        self.question.name()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.hits]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::KeyPartitioned(split())])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![order().map(OrderingRequirements::from)]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(hits) = children.pop() else { return internal_err!("an analysis needs events") };
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
            return internal_err!("an analysis has one answer");
        }
        let (question, hits) = (Arc::clone(&self.question), Arc::clone(&self.hits));
        let answer = async move {
            let mut running = JoinSet::new();
            for partition in 0..hits.properties().output_partitioning().partition_count() {
                let rows = hits.execute(partition, Arc::clone(&context))?;
                let memory = MemoryConsumer::new(question.name()).register(context.memory_pool());
                let question = Arc::clone(&question);
                running.spawn(async move {
                    let mut part = question.part();
                    let mut whole = Whole::default();
                    let mut rows = rows;
                    while let Some(batch) = rows.next().await {
                        whole.take(batch?, |rows, persons| question.take(&mut part, rows, persons))?;
                        memory.try_resize(question.bytes(&part))?;
                    }
                    whole.end(|rows, persons| question.take(&mut part, rows, persons))?;
                    Ok::<_, datafusion::common::DataFusionError>((part, memory))
                });
            }
            let (mut parts, mut held) = (Vec::new(), Vec::new());
            while let Some(done) = running.join_next().await {
                let (part, memory) = match done {
                    Ok(done) => done?,
                    Err(error) => return internal_err!("a task of an analysis stopped: {error}"),
                };
                parts.push(part);
                held.push(memory);
            }
            question.answer(parts).map_err(external)
        };
        let stream = futures::stream::once(Box::pin(answer));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }
}

/// Cuts a stream of batches so that every person is in one piece.
#[derive(Debug, Default)]
struct Whole {
    /// Rows of the last person, who may go on in the next batch.
    open: Vec<RecordBatch>,
}

impl Whole {
    fn take(
        &mut self,
        batch: RecordBatch,
        mut on: impl FnMut(&RecordBatch, &[Range<usize>]) -> crate::error::Result<()>,
    ) -> Result<()> {
        let rows = batch.num_rows();
        let persons = runs(&batch);
        let (Some(first), Some(last)) = (persons.first().cloned(), persons.last().cloned()) else {
            return Ok(());
        };
        let id = |batch: &RecordBatch| batch.column(PERSON).as_primitive::<Int64Type>().value(0);
        let goes_on = self.open.first().is_some_and(|open| id(open) == id(&batch));
        let mut from = 0;
        if goes_on {
            self.open.push(batch.slice(0, first.end));
            if first.end == rows {
                return Ok(());
            }
            from = 1;
        }
        self.end(&mut on)?;
        let whole = &persons[from..persons.len() - 1];
        if !whole.is_empty() {
            on(&batch, whole).map_err(external)?;
        }
        self.open.push(batch.slice(last.start, rows - last.start));
        Ok(())
    }

    fn end(
        &mut self,
        mut on: impl FnMut(&RecordBatch, &[Range<usize>]) -> crate::error::Result<()>,
    ) -> Result<()> {
        let open = std::mem::take(&mut self.open);
        let Some(one) = open.first() else { return Ok(()) };
        let whole = if open.len() == 1 { one.clone() } else { concat_batches(&one.schema(), &open)? };
        let all = 0..whole.num_rows();
        on(&whole, std::slice::from_ref(&all)).map_err(external)
    }
}

/// The rows of each person.
fn runs(batch: &RecordBatch) -> Vec<Range<usize>> {
    let ids = batch.column(PERSON).as_primitive::<Int64Type>().values();
    let mut runs = Vec::new();
    let mut start = 0;
    for at in 1..=ids.len() {
        if at == ids.len() || ids[at] != ids[start] {
            runs.push(start..at);
            start = at;
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use arrow::array::ArrayRef;
    use arrow::array::Int64Array;

    use super::*;

    #[test]
    fn every_person_comes_in_one_piece_however_rows_are_cut() {
        let ids = [1_i64, 1, 2, 3, 3, 3, 3, 4];
        for size in 1..=ids.len() {
            let mut seen = Vec::new();
            let mut on = |rows: &RecordBatch, persons: &[Range<usize>]| {
                let values = rows.column(PERSON).as_primitive::<Int64Type>().values();
                seen.extend(persons.iter().map(|one| values[one.clone()].to_vec()));
                Ok(())
            };
            let mut whole = Whole::default();
            for piece in ids.chunks(size) {
                let column: ArrayRef = Arc::new(Int64Array::from(piece.to_vec()));
                whole.take(RecordBatch::try_from_iter([(PERSON_ID, column)]).unwrap(), &mut on).unwrap();
            }
            whole.end(&mut on).unwrap();
            assert_eq!(seen, [vec![1, 1], vec![2], vec![3, 3, 3, 3], vec![4]], "{size}");
        }
    }
}
