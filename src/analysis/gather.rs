//! What events are gathered by: many threads, memory that may not do, and the way over the disk then.

use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::common::Result;
use datafusion::common::internal_err;
use datafusion::common::runtime::JoinSet;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use futures::TryStreamExt;

use crate::analysis::persons::PersonsExec;
use crate::analysis::persons::Question;
use crate::analysis::persons::sorted;

/// Whether events were sorted on disk, as `EXPLAIN ANALYZE` shows it.
pub(crate) const ON_DISK: &str = "sorted_on_disk";

/// Why events are not gathered in memory.
pub(crate) enum Unfit {
    /// They do not fit, or persons are not numbered densely.
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

/// What the threads have gathered, and the memory for it.
pub(crate) type All<G> = (Vec<G>, Vec<MemoryReservation>);

/// Waits for all threads; the first failure ends the others.
pub(crate) async fn joined<G: Send + 'static, E: From<DataFusionError> + Send + 'static>(
    mut running: JoinSet<Result<(G, MemoryReservation), E>>,
) -> Result<All<G>, E> {
    let (mut all, mut held) = (Vec::new(), Vec::new());
    while let Some(done) = running.join_next().await {
        let done = done.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?;
        let (gathered, memory) = done?;
        all.push(gathered);
        held.push(memory);
    }
    Ok((all, held))
}

/// Sorts all events on disk and asks them person by person.
pub(crate) async fn answer_on_disk<Q: Question>(
    question: Arc<Q>,
    hits: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
) -> Result<RecordBatch> {
    let rows = sorted(reset_plan_states(hits)?, context.session_config().target_partitions().max(1))?;
    let answer = PersonsExec::new(question, rows).execute(0, context)?;
    let batches: Vec<RecordBatch> = answer.try_collect().await?;
    batches.into_iter().next().map_or_else(|| internal_err!("a question had no answer"), Ok)
}
