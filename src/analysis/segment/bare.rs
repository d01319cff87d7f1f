//! Who did something and how often, from the indexes beside the files: no rows are read where a condition says nothing more.

use std::sync::Arc;

use datafusion::common::runtime::JoinSet;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::memory_pool::MemoryReservation;

use crate::analysis::events::Events;
use crate::analysis::gather::All;
use crate::analysis::gather::joined;
use crate::analysis::ground::Ground;
use crate::analysis::indexed;
use crate::analysis::indexed::IndexedEvents;
use crate::analysis::indexed::Places;
use crate::analysis::wanted::Kind;
use crate::error::Result;
use crate::query::failure;
use crate::time::Micros;

/// What is handed over of the events of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Each {
    /// Who did it, and how often.
    Count,
    /// Everybody, at least once; the number says nothing.
    Person,
}

/// Reads all events of a kind, on all cores, each core into a state of its own; none where indexes cannot tell.
pub(super) async fn fold<S: Send + 'static>(
    ground: &Ground,
    (events, range): (&Events, (Option<Micros>, Option<Micros>)),
    each: Each,
    new: impl Fn() -> S,
    take: impl Fn(&mut S, i64, u32) + Send + Sync + 'static,
    bytes: impl Fn(&S) -> usize + Send + Sync + 'static,
) -> Result<Option<All<S>>> {
    let kind = Kind { events, from: range.0, to: range.1, value: None };
    // Whoever asks for what is not there is told by the question in SQL.
    let Ok(Some(files)) = indexed::plan(&ground.state, &[kind]).await else { return Ok(None) };
    let (files, places) = (Arc::new(files), Arc::new(Places::default()));
    let (take, bytes) = (Arc::new(take), Arc::new(bytes));
    let pool = Arc::clone(&ground.state.runtime_env().memory_pool);
    let mut running: JoinSet<datafusion::common::Result<(Option<S>, MemoryReservation)>> = JoinSet::new();
    for _ in 0..ground.state.config().target_partitions().max(1) {
        let (files, places) = (Arc::clone(&files), Arc::clone(&places));
        let (mut state, take, bytes) = (new(), Arc::clone(&take), Arc::clone(&bytes));
        let memory = MemoryConsumer::new("segment").register(&pool);
        running.spawn(async move {
            while let Some(at) = places.next(files.count()) {
                if !read(&files, at, each, |person, count| take(&mut state, person, count)).await? {
                    return Ok((None, memory));
                }
                memory.try_resize(bytes(&state))?;
                // Another task may want the thread.
                tokio::task::yield_now().await;
            }
            Ok((Some(state), memory))
        });
    }
    let (states, held) = joined(running).await.map_err(|error| failure(&ground.state, error))?;
    Ok(states.into_iter().collect::<Option<Vec<S>>>().map(|states| (states, held)))
}

async fn read(
    files: &IndexedEvents,
    at: usize,
    each: Each,
    mut on: impl FnMut(i64, u32),
) -> datafusion::common::Result<bool> {
    match each {
        Each::Person => files.visit_persons(at, |person| on(person, 0)).await,
        Each::Count => files.visit_counts(at, on).await,
    }
}
