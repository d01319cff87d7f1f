//! Who did something, how often, and when first or last: read on all cores into arrays with a place for each person,
//! with no table of groups in between.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::common::runtime::JoinSet;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::StreamExt;
use hashbrown::HashMap;

use crate::analysis::bits::Bits;
use crate::analysis::ground::Ground;
use crate::error::Result;
use crate::query::failure;
use crate::query::plan_of;

/// Persons up to here have a place in the array; those beyond are kept by themselves.
const DENSE: i64 = 1 << 28;

/// A value for each person who has one.
#[derive(Debug)]
struct PerPerson<T> {
    dense: Vec<T>,
    far: HashMap<i64, T>,
    none: T,
}

impl<T: Copy + PartialEq> PerPerson<T> {
    fn new(none: T) -> Self {
        Self { dense: Vec::new(), far: HashMap::new(), none }
    }

    fn of(&mut self, person: i64) -> &mut T {
        match usize::try_from(person) {
            Ok(at) if person < DENSE => {
                if at >= self.dense.len() {
                    self.dense.resize((at + 1).max(self.dense.len() * 2), self.none);
                }
                &mut self.dense[at]
            }
            _ => self.far.entry(person).or_insert(self.none),
        }
    }

    fn each(&self, mut take: impl FnMut(i64, T)) {
        let dense = (0_i64..).zip(self.dense.iter().copied());
        let far = self.far.iter().map(|(person, value)| (*person, *value));
        dense
            .chain(far)
            .filter(|(_, value)| *value != self.none)
            .for_each(|(person, value)| take(person, value));
    }

    fn bytes(&self) -> usize {
        self.dense.capacity() * size_of::<T>() + self.far.allocation_size()
    }
}

/// Reads all rows of a question, each part of them into a state of its own; says how much memory each took.
async fn fold<S: Send + 'static>(
    ground: &Ground,
    sql: &str,
    new: impl Fn() -> S,
    take: impl Fn(&mut S, &RecordBatch) + Send + Sync + 'static,
    bytes: impl Fn(&S) -> usize + Send + Sync + 'static,
) -> Result<Vec<(S, MemoryReservation)>> {
    let failed = |error| failure(&ground.state, error);
    let plan = plan_of(&ground.state, sql).await?;
    let task = ground.state.task_ctx();
    let (take, bytes) = (Arc::new(take), Arc::new(bytes));
    let mut running: JoinSet<datafusion::common::Result<(S, MemoryReservation)>> = JoinSet::new();
    for partition in 0..plan.properties().output_partitioning().partition_count() {
        let mut rows = plan.execute(partition, Arc::clone(&task)).map_err(failed)?;
        let memory = MemoryConsumer::new("segment").register(task.memory_pool());
        let (mut state, take, bytes) = (new(), Arc::clone(&take), Arc::clone(&bytes));
        running.spawn(async move {
            while let Some(batch) = rows.next().await.transpose()? {
                take(&mut state, &batch);
                memory.try_resize(bytes(&state))?;
            }
            Ok((state, memory))
        });
    }
    let mut states = Vec::new();
    while let Some(done) = running.join_next().await {
        let done =
            done.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error))).and_then(|done| done);
        states.push(done.map_err(failed)?);
    }
    Ok(states)
}

fn persons_in(batch: &RecordBatch) -> &[i64] {
    batch.column(0).as_primitive::<Int64Type>().values()
}

/// Whoever is in the first column.
pub(super) async fn persons(ground: &Ground, sql: &str) -> Result<Bits> {
    let take = |set: &mut Bits, batch: &RecordBatch| {
        // The rows of a person come together.
        let mut last = -1;
        for person in persons_in(batch) {
            if *person != last {
                set.insert(*person);
                last = *person;
            }
        }
    };
    let parts = fold(ground, sql, Bits::default, take, Bits::bytes).await?;
    Ok(parts
        .into_iter()
        .map(|(part, _)| part)
        .reduce(|mut all, part| {
            all.unite(&part);
            all
        })
        .unwrap_or_default())
}

/// Whoever is in the first column so often, at least once.
pub(super) async fn times(ground: &Ground, sql: &str, so: impl Fn(u64) -> bool) -> Result<Bits> {
    let take = |counts: &mut PerPerson<u32>, batch: &RecordBatch| {
        for of_one in persons_in(batch).chunk_by(|one, next| one == next) {
            let count = counts.of(of_one[0]);
            *count = count.saturating_add(u32::try_from(of_one.len()).unwrap_or(u32::MAX));
        }
    };
    let mut parts = fold(ground, sql, || PerPerson::new(0_u32), take, PerPerson::bytes).await?;
    let Some((mut all, _held)) = parts.pop() else { return Ok(Bits::default()) };
    for (part, _) in &parts {
        part.each(|person, more| {
            let count = all.of(person);
            *count = count.saturating_add(more);
        });
    }
    let mut found = Bits::default();
    all.each(|person, count| {
        if so(u64::from(count)) {
            found.insert(person);
        }
    });
    Ok(found)
}

/// Whose first (or last) time, in the second column, is so.
pub(super) async fn ends(ground: &Ground, sql: &str, first: bool, so: impl Fn(i64) -> bool) -> Result<Bits> {
    let none = if first { i64::MAX } else { i64::MIN };
    let end = move |one: i64, other: i64| if first { one.min(other) } else { one.max(other) };
    let take = move |times: &mut PerPerson<i64>, batch: &RecordBatch| {
        let at = batch.column(1).as_primitive::<TimestampMicrosecondType>().values();
        for (person, at) in persons_in(batch).iter().zip(at) {
            let known = times.of(*person);
            *known = end(*known, *at);
        }
    };
    let mut parts = fold(ground, sql, move || PerPerson::new(none), take, PerPerson::bytes).await?;
    let Some((mut all, _held)) = parts.pop() else { return Ok(Bits::default()) };
    for (part, _) in &parts {
        part.each(|person, at| {
            let known = all.of(person);
            *known = end(*known, at);
        });
    }
    let mut found = Bits::default();
    all.each(|person, at| {
        if so(at) {
            found.insert(person);
        }
    });
    Ok(found)
}
