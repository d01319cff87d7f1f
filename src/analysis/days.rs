//! In which periods persons were active, from the indexes beside the files alone.
//!
//! Where a question is about all events of a definition, and its periods are whole days of the files, it is enough to
//! know in which periods a person was active, and whether there was a second event in the first of them. That is a
//! number of 64 bits a person; no time is read.

use std::ops::Range;
use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::common::runtime::JoinSet;
use datafusion::execution::memory_pool::MemoryConsumer;
use hashbrown::HashMap;

use crate::analysis::Ground;
use crate::analysis::events::Events;
use crate::analysis::ground::Scope;
use crate::analysis::indexed::files;
use crate::error::Result;
use crate::ids::PersonId;
use crate::query::Indexed;
use crate::query::LakeFile;
use crate::query::failure;
use crate::time::Day;
use crate::time::MICROS_PER_DAY;
use crate::time::Micros;
use crate::time::Zone;

/// Periods that a person's number has bits for; the last bits are flags.
const MOST_PERIODS: usize = 62;

/// Whoever was first active where that does not count.
const OUTSIDE: u64 = 1 << 63;
/// A second event in the first period.
const AGAIN: u64 = 1 << 62;

/// More persons than this have no place each.
const MOST_PERSONS: i64 = 1 << 28;

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) event: &'a str,
    /// The days that are looked at.
    pub(crate) days: Range<Day>,
    /// Who was active before these, or after them for the first time, is left out.
    pub(crate) starts: Range<Day>,
}

/// How many persons were active in each combination of periods.
#[derive(Debug, Default)]
pub(crate) struct ActivePeriods {
    /// The periods that have events, in order.
    periods: Vec<i64>,
    masks: HashMap<u64, i64>,
}

/// Persons who were active in the same periods.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alike<'a> {
    periods: &'a [i64],
    mask: u64,
    pub(crate) persons: i64,
}

impl ActivePeriods {
    pub(crate) fn iter(&self) -> impl Iterator<Item = Alike<'_>> {
        let periods = self.periods.as_slice();
        self.masks.iter().map(move |(mask, persons)| Alike { periods, mask: *mask, persons: *persons })
    }
}

impl<'a> Alike<'a> {
    /// Whether there was a second event in the first period.
    pub(crate) fn again(&self) -> bool {
        self.mask & AGAIN != 0
    }

    /// When they were active, in order.
    pub(crate) fn periods(&self) -> impl Iterator<Item = i64> + use<'a> {
        let (periods, mut left) = (self.periods, self.mask & !AGAIN);
        std::iter::from_fn(move || {
            let period = periods.get(left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(*period)
        })
    }
}

/// Whether events and scope say nothing but a definition and whole days of the files.
pub(crate) fn are_whole(events: &Events, scope: &Scope) -> bool {
    let whole = |at: Option<Micros>| at.is_none_or(|at| at.0.rem_euclid(MICROS_PER_DAY) == 0);
    events.filter.is_none()
        && scope.segment.is_none()
        && scope.zone == Zone::UTC
        && [scope.from, scope.to, scope.until].into_iter().all(whole)
}

/// The days between two moments, which are midnights.
pub(crate) fn days_of(from: Option<Micros>, to: Option<Micros>) -> Range<Day> {
    from.map_or(Day(i32::MIN), Day::of)..to.map_or(Day(i32::MAX), Day::of)
}

/// The files of a question in order of their days, with the bits of their periods.
struct Days {
    indexed: Indexed,
    files: Vec<(LakeFile, u64)>,
    starts: Range<Day>,
}

/// When persons were active; `period` gives the number of a day's. None where indexes cannot tell.
pub(crate) async fn active(
    asked: Asked<'_>,
    period: impl Fn(Day) -> i64,
    ground: &Ground,
) -> Result<Option<ActivePeriods>> {
    let state = &ground.state;
    let Some((indexed, mut all)) = files(state, [asked.event].into_iter()).await? else {
        return Ok(None);
    };
    all.retain(|file| asked.days.contains(&file.file().day));
    all.sort_by_key(|file| file.file().day);
    let mut periods: Vec<i64> = all.iter().map(|file| period(file.file().day)).collect();
    periods.dedup();
    let persons = all.iter().map(|file| file.file().persons.1).max().unwrap_or(0);
    let least = all.iter().map(|file| file.file().persons.0).min().unwrap_or(0);
    if periods.len() > MOST_PERIODS || least < 0 || persons >= MOST_PERSONS {
        return Ok(None);
    }
    let bits = all.into_iter().map(|file| {
        let period = period(file.file().day);
        let bit = 1_u64 << periods.partition_point(|one| *one < period);
        (file, bit)
    });
    let merged = !indexed.lake().snapshot.persons.aliases().is_empty();
    let days = Arc::new(Days { files: bits.collect(), indexed, starts: asked.starts });
    // Whoever was merged may stand anywhere: then one range holds all.
    let parts = if merged { 1 } else { state.config().target_partitions().max(1) };
    let parts = i64::try_from(parts).unwrap_or(1);
    let mut running: JoinSet<datafusion::common::Result<Option<HashMap<u64, i64>>>> = JoinSet::new();
    for part in 0..parts {
        let range = part * (persons + 1) / parts..(part + 1) * (persons + 1) / parts;
        let memory = MemoryConsumer::new("ActivePeriods").register(&state.runtime_env().memory_pool);
        let days = Arc::clone(&days);
        running.spawn(async move {
            let places = usize::try_from(range.end - range.start).unwrap_or(0);
            memory.try_grow(places * size_of::<u64>())?;
            days.masks(range, places).await
        });
    }
    let mut found = ActivePeriods { periods, ..ActivePeriods::default() };
    while let Some(done) = running.join_next().await {
        let done =
            done.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error))).and_then(|done| done);
        let Some(part) = done.map_err(|error| failure(state, error))? else { return Ok(None) };
        for (mask, persons) in part {
            *found.masks.entry(mask).or_default() += persons;
        }
    }
    Ok(Some(found))
}

impl Days {
    /// The periods of the persons of a range; none where a file can have no index.
    async fn masks(
        &self,
        range: Range<i64>,
        places: usize,
    ) -> datafusion::common::Result<Option<HashMap<u64, i64>>> {
        let mut active = vec![0_u64; places];
        let aliases = Arc::clone(self.indexed.lake().snapshot.persons.aliases());
        for (file, bit) in &self.files {
            let Some((sidecar, _)) = self.indexed.of(file).await? else { return Ok(None) };
            let counts = self.starts.contains(&file.file().day);
            let (persons, mut repeats) = (sidecar.persons(), sidecar.events().repeats());
            let mut see = |nth: usize, person: i64| {
                let place = usize::try_from(person - range.start).unwrap_or(usize::MAX);
                let Some(mask) = active.get_mut(place) else { return };
                if *mask == 0 {
                    let again = if repeats.again(nth) { AGAIN } else { 0 };
                    *mask = if counts { bit | again } else { OUTSIDE };
                } else {
                    // The lowest bit is the first period, in which any other event is a second one.
                    let is_first = *mask & mask.wrapping_neg() == *bit;
                    *mask |= bit | (AGAIN * u64::from(is_first));
                }
            };
            if aliases.is_empty() {
                let first = persons.partition_point(|person| i64::from(*person) < range.start);
                let end = persons.partition_point(|person| i64::from(*person) < range.end);
                for (nth, person) in (first..).zip(&persons[first..end]) {
                    see(nth, i64::from(*person));
                }
            } else {
                for (nth, person) in persons.iter().enumerate() {
                    see(nth, aliases.resolve(PersonId(i64::from(*person))).0);
                }
            }
            // Another range, another file: let others have the thread.
            tokio::task::yield_now().await;
        }
        let mut masks = HashMap::new();
        for mask in active.into_iter().filter(|mask| *mask != 0 && mask & OUTSIDE == 0) {
            *masks.entry(mask).or_default() += 1;
        }
        Ok(Some(masks))
    }
}
