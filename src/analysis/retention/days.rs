//! Retention from the indexes beside the files alone: who is in each file, and who is there more than once.
//!
//! Where the start and the return are the same events, and periods are whole days of the files, it is enough to know in
//! which periods a person was active, and whether there was a second event in the first of them. That is a number of 64
//! bits a person; no time is read.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::common::runtime::JoinSet;
use datafusion::execution::memory_pool::MemoryConsumer;
use hashbrown::HashMap;

use crate::analysis::Entry;
use crate::analysis::Ground;
use crate::analysis::RetentionRequest;
use crate::analysis::ground::Scope;
use crate::analysis::indexed::files;
use crate::analysis::retention::Cohort;
use crate::error::Result;
use crate::ids::PersonId;
use crate::query::Indexed;
use crate::query::LakeFile;
use crate::query::failure;
use crate::sequence::retention::Rules;
use crate::time::Day;
use crate::time::MICROS_PER_DAY;
use crate::time::Micros;
use crate::time::Zone;

/// Periods that a person's number has bits for; the last bits are flags.
const MOST_PERIODS: i64 = 62;

/// Whoever started outside of the range.
const OUTSIDE: u64 = 1 << 63;
/// A second event in the first period.
const AGAIN: u64 = 1 << 62;

/// More persons than this have no place each.
const MOST_PERSONS: i64 = 1 << 28;

/// Whether the request asks for nothing that days of files do not say.
pub(super) fn answers(request: &RetentionRequest, scope: &Scope) -> bool {
    let whole = |at: Option<Micros>| at.is_none_or(|at| at.0.rem_euclid(MICROS_PER_DAY) == 0);
    request.start == request.back
        && request.start.filter.is_none()
        && request.entry == Entry::FirstTime
        && !request.rolling
        && request.by.is_none()
        && request.persons_of.is_none()
        && scope.segment.is_none()
        && scope.zone == Zone::UTC
        && [scope.from, scope.to, scope.until].into_iter().all(whole)
}

/// The files of a question in order of their days, with the bits of their periods.
struct Days {
    indexed: Indexed,
    files: Vec<(LakeFile, u64)>,
    /// The first day on which a start counts, and the first on which none does any more.
    starts: Range<Day>,
}

/// How many persons were active in each combination of periods.
type Masks = HashMap<u64, i64>;

/// The cohorts by period; none where indexes cannot tell.
pub(super) async fn cohorts(
    request: &RetentionRequest,
    rules: &Rules,
    scope: &Scope,
    ground: &Ground,
) -> Result<Option<BTreeMap<i64, Cohort>>> {
    let state = &ground.state;
    let Some((indexed, mut all)) = files(state, [request.start.event.as_str()].into_iter()).await? else {
        return Ok(None);
    };
    let until = scope.until.map_or(Day(i32::MAX), Day::of);
    all.retain(|file| file.file().day < until);
    all.sort_by_key(|file| file.file().day);
    let period = |file: &LakeFile| request.per.of_day(file.file().day);
    let (Some(first), Some(last)) = (all.first().map(period), all.last().map(period)) else {
        return Ok(Some(BTreeMap::new()));
    };
    let persons = all.iter().map(|file| file.file().persons.1).max().unwrap_or(0);
    let least = all.iter().map(|file| file.file().persons.0).min().unwrap_or(0);
    if last - first >= MOST_PERIODS || least < 0 || persons >= MOST_PERSONS {
        return Ok(None);
    }
    let bits = all.into_iter().map(|file| {
        let bit = 1_u64 << (period(&file) - first);
        (file, bit)
    });
    let starts = scope.from.map_or(Day(i32::MIN), Day::of)..scope.end().map_or(Day(i32::MAX), Day::of);
    let merged = !indexed.lake().snapshot.persons.aliases().is_empty();
    let days = Arc::new(Days { files: bits.collect(), indexed, starts });
    // Whoever was merged may stand anywhere: then one range holds all.
    let parts = if merged { 1 } else { state.config().target_partitions().max(1) };
    let parts = i64::try_from(parts).unwrap_or(1);
    let mut running: JoinSet<datafusion::common::Result<Option<Masks>>> = JoinSet::new();
    for part in 0..parts {
        let range = part * (persons + 1) / parts..(part + 1) * (persons + 1) / parts;
        let memory = MemoryConsumer::new("RetentionExec").register(&state.runtime_env().memory_pool);
        let days = Arc::clone(&days);
        running.spawn(async move {
            let places = usize::try_from(range.end - range.start).unwrap_or(0);
            memory.try_grow(places * size_of::<u64>())?;
            days.masks(range, places).await
        });
    }
    let mut masks = Masks::new();
    while let Some(done) = running.join_next().await {
        let done =
            done.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error))).and_then(|done| done);
        let Some(part) = done.map_err(|error| failure(state, error))? else { return Ok(None) };
        for (mask, persons) in part {
            *masks.entry(mask).or_default() += persons;
        }
    }
    Ok(Some(of_masks(&masks, first, rules)))
}

fn of_masks(masks: &Masks, first: i64, rules: &Rules) -> BTreeMap<i64, Cohort> {
    let mut cohorts: BTreeMap<i64, Cohort> = BTreeMap::new();
    let mut reached = vec![false; rules.cells.len()];
    for (mask, persons) in masks {
        let mut periods = mask & !AGAIN;
        let start = i64::from(periods.trailing_zeros());
        reached.fill(false);
        if mask & AGAIN != 0 {
            rules.cells.mark(0, &mut reached);
        }
        periods &= periods - 1;
        while periods != 0 {
            rules.cells.mark(i64::from(periods.trailing_zeros()) - start, &mut reached);
            periods &= periods - 1;
        }
        let cohort = cohorts.entry(first + start).or_default();
        cohort.persons += persons;
        cohort.returned.resize(reached.len(), 0);
        for (count, reached) in cohort.returned.iter_mut().zip(&reached) {
            *count += if *reached { *persons } else { 0 };
        }
    }
    cohorts
}

impl Days {
    /// The periods of the persons of a range; none where a file can have no index.
    async fn masks(&self, range: Range<i64>, places: usize) -> datafusion::common::Result<Option<Masks>> {
        let mut active = vec![0_u64; places];
        let aliases = Arc::clone(self.indexed.lake().snapshot.persons.aliases());
        for (file, bit) in &self.files {
            let Some((sidecar, _)) = self.indexed.of(file).await? else { return Ok(None) };
            let counts = self.starts.contains(&file.file().day);
            let mut see = |person: i64, again: bool| {
                let place = usize::try_from(person - range.start).unwrap_or(usize::MAX);
                let Some(mask) = active.get_mut(place) else { return };
                let again = if again { AGAIN } else { 0 };
                if *mask == 0 {
                    *mask = if counts { bit | again } else { OUTSIDE };
                } else if *mask & OUTSIDE == 0 {
                    // The lowest bit is the first period, in which any other event is a second one.
                    let is_first = mask.trailing_zeros() == bit.trailing_zeros();
                    *mask |= bit | if is_first { AGAIN } else { 0 };
                }
            };
            let (persons, events) = (sidecar.persons(), sidecar.events());
            let rows = events.rows();
            let mut persons = persons.iter().map(|person| i64::from(*person));
            for word in 0..rows.div_ceil(64) {
                let mut starts = events.starts(word);
                // The row behind a person's first one is hers, too, where nobody begins there.
                let next = if (word + 1) * 64 < rows { events.starts(word + 1) } else { 1 };
                let mut begins_next = starts >> 1 | next << 63;
                let left = rows - word * 64;
                if left < 64 {
                    begins_next |= 1 << (left - 1);
                }
                while starts != 0 {
                    let bit = starts.trailing_zeros();
                    starts &= starts - 1;
                    let again = begins_next >> bit & 1 == 0;
                    let Some(person) = persons.next() else { break };
                    if aliases.is_empty() {
                        if range.contains(&person) {
                            see(person, again);
                        }
                    } else {
                        see(aliases.resolve(PersonId(person)).0, again);
                    }
                }
            }
            // Another range, another file: let others have the thread.
            tokio::task::yield_now().await;
        }
        let mut masks = Masks::new();
        for mask in active.into_iter().filter(|mask| *mask != 0 && mask & OUTSIDE == 0) {
            *masks.entry(mask).or_default() += 1;
        }
        Ok(Some(masks))
    }
}
