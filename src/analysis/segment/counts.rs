//! Who did something, how often, and when first or last: read on all cores into arrays with a place for each person,
//! with no table of groups in between. What indexes say is taken from there.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;
use datafusion::common::runtime::JoinSet;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::StreamExt;
use hashbrown::HashMap;

use crate::analysis::bits::Bits;
use crate::analysis::events::Events;
use crate::analysis::gather::All;
use crate::analysis::gather::joined;
use crate::analysis::ground::Ground;
use crate::analysis::ground::Scope;
use crate::analysis::segment::bare;
use crate::analysis::segment::bare::Each;
use crate::error::Result;
use crate::query::failure;
use crate::query::plan_of;
use crate::time::Micros;

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

/// Events of one kind in a range of time, to be counted by persons.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted<'a> {
    pub(super) ground: &'a Ground,
    pub(super) scope: &'a Scope,
    pub(super) events: &'a Events,
    pub(super) range: (Option<Micros>, Option<Micros>),
}

impl Counted<'_> {
    /// Whoever did it.
    pub(super) async fn persons(&self) -> Result<Bits> {
        let of_rows = |set: &mut Bits, batch: &RecordBatch| {
            // The rows of a person come together.
            let mut last = -1;
            for person in persons_in(batch) {
                if *person != last {
                    set.insert(*person);
                    last = *person;
                }
            }
        };
        let take = |set: &mut Bits, person: i64, _: i64| set.insert(person);
        let (sets, _held) = self.parts(Each::Person, Bits::default, take, of_rows, Bits::bytes).await?;
        Ok(sets
            .into_iter()
            .reduce(|mut all, part| {
                all.unite(&part);
                all
            })
            .unwrap_or_default())
    }

    /// Whoever did it so often, at least once.
    pub(super) async fn times(&self, so: impl Fn(u64) -> bool) -> Result<Bits> {
        let new = || PerPerson::new(0_u32);
        let add = |counts: &mut PerPerson<u32>, person: i64, more: u32| {
            let count = counts.of(person);
            *count = count.saturating_add(more);
        };
        let of_rows = move |counts: &mut PerPerson<u32>, batch: &RecordBatch| {
            for of_one in persons_in(batch).chunk_by(|one, next| one == next) {
                add(counts, of_one[0], u32::try_from(of_one.len()).unwrap_or(u32::MAX));
            }
        };
        let take = move |counts: &mut PerPerson<u32>, person: i64, _: i64| add(counts, person, 1);
        let parts = self.parts(Each::Event, new, take, of_rows, PerPerson::bytes).await?;
        Ok(found(parts, add, |count| so(u64::from(count))))
    }

    /// Whose first (or last) time is so.
    pub(super) async fn ends(&self, first: bool, so: impl Fn(i64) -> bool) -> Result<Bits> {
        let new = move || PerPerson::new(if first { i64::MAX } else { i64::MIN });
        let see = move |times: &mut PerPerson<i64>, person: i64, at: i64| {
            let known = times.of(person);
            *known = if first { at.min(*known) } else { at.max(*known) };
        };
        let of_rows = move |times: &mut PerPerson<i64>, batch: &RecordBatch| {
            let at = batch.column(1).as_primitive::<TimestampMicrosecondType>().values();
            for (person, at) in persons_in(batch).iter().zip(at) {
                see(times, *person, *at);
            }
        };
        let parts = self.parts(Each::Time, new, see, of_rows, PerPerson::bytes).await?;
        Ok(found(parts, see, so))
    }

    /// All events, each part of them in a state of its own: from the indexes with `take`, or where those say too little
    /// from rows with `of_rows`.
    async fn parts<S: Send + 'static>(
        &self,
        each: Each,
        new: impl Fn() -> S,
        take: impl Fn(&mut S, i64, i64) + Send + Sync + 'static,
        of_rows: impl Fn(&mut S, &RecordBatch) + Send + Sync + 'static,
        bytes: impl Fn(&S) -> usize + Copy + Send + Sync + 'static,
    ) -> Result<All<S>> {
        if self.events.filter.is_none() && self.scope.segment.is_none() {
            let from_index = bare::fold(self.ground, (self.events, self.range), each, &new, take, bytes);
            if let Some(parts) = from_index.await? {
                return Ok(parts);
            }
        }
        let columns = if each == Each::Time { "\"personId\", \"occurredTime\"" } else { "\"personId\"" };
        let sql = self.scope.select(columns, self.events, self.range, None)?;
        fold(self.ground, &sql, new, of_rows, bytes).await
    }
}

/// Whose value is so, when the values of all parts are added up.
fn found<T: Copy + PartialEq>(
    (mut parts, _held): All<PerPerson<T>>,
    add: impl Fn(&mut PerPerson<T>, i64, T),
    so: impl Fn(T) -> bool,
) -> Bits {
    let Some(mut all) = parts.pop() else { return Bits::default() };
    for part in &parts {
        part.each(|person, value| add(&mut all, person, value));
    }
    let mut found = Bits::default();
    all.each(|person, value| {
        if so(value) {
            found.insert(person);
        }
    });
    found
}

/// Reads all rows of a question, each part of them into a state of its own; says how much memory each took.
async fn fold<S: Send + 'static>(
    ground: &Ground,
    sql: &str,
    new: impl Fn() -> S,
    take: impl Fn(&mut S, &RecordBatch) + Send + Sync + 'static,
    bytes: impl Fn(&S) -> usize + Send + Sync + 'static,
) -> Result<All<S>> {
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
    joined(running).await.map_err(failed)
}

fn persons_in(batch: &RecordBatch) -> &[i64] {
    batch.column(0).as_primitive::<Int64Type>().values()
}
