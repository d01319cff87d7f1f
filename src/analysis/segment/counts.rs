//! Who did something, and how often: read on all cores into arrays with a place for each person,
//! with no table of groups in between. What indexes say is taken from there.

use arrow::record_batch::RecordBatch;
use hashbrown::HashMap;

use crate::analysis::bits::Bits;
use crate::analysis::bits::persons_in;
use crate::analysis::events::Events;
use crate::analysis::gather::All;
use crate::analysis::ground::Ground;
use crate::analysis::ground::Scope;
use crate::analysis::segment::bare;
use crate::analysis::segment::bare::Each;
use crate::error::Result;
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
        let take = |set: &mut Bits, person: i64, _: u32| set.insert(person);
        let (sets, _held) =
            self.parts(Each::Person, Bits::default, take, Bits::insert_first, Bits::bytes).await?;
        Ok(Bits::united(sets))
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
        let parts = self.parts(Each::Count, new, add, of_rows, PerPerson::bytes).await?;
        Ok(found(parts, add, |count| so(u64::from(count))))
    }

    /// All events, each part of them in a state of its own: from the indexes with `take`, or where those say too little
    /// from rows with `of_rows`.
    async fn parts<S: Send + 'static>(
        &self,
        each: Each,
        new: impl Fn() -> S,
        take: impl Fn(&mut S, i64, u32) + Send + Sync + 'static,
        of_rows: impl Fn(&mut S, &RecordBatch) + Send + Sync + 'static,
        bytes: impl Fn(&S) -> usize + Copy + Send + Sync + 'static,
    ) -> Result<All<S>> {
        if self.events.filter.is_none() && self.scope.segment.is_none() {
            let from_index = bare::fold(self.ground, (self.events, self.range), each, &new, take, bytes);
            if let Some(parts) = from_index.await? {
                return Ok(parts);
            }
        }
        let sql = self.scope.select("\"personId\"", self.events, self.range, None)?;
        self.ground.fold(&sql, new, of_rows, bytes).await
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
