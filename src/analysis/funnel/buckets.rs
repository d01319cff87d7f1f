//! The events of a funnel in memory, in buckets of a few thousand persons, and the walk over whole persons.
//!
//! An event is a number of 64 bits, its time above and which steps it fits below, and the place of its person in the
//! bucket. A bucket fits the processor's cache: its persons are set apart by counting, and each has only few events to
//! put in order of time, which is the order of the numbers.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use datafusion::common::DataFusionError;
use datafusion::common::Result;
use datafusion::common::runtime::JoinSet;

use crate::analysis::funnel::question::Code;
use crate::analysis::funnel::question::FunnelQuestion;
use crate::analysis::funnel::question::NULL;
use crate::analysis::funnel::question::Part;
use crate::analysis::funnel::question::Words;
use crate::analysis::funnel::runs;
use crate::analysis::funnel::runs::Events;
use crate::analysis::funnel::runs::Run;
use crate::analysis::funnel::runs::settle_by;
use crate::analysis::persons::Question;
use crate::sequence::Hit;
use crate::sequence::Order;

/// Persons of a bucket, as a power of two.
const BUCKET: u32 = 12;
/// The bits of an event's number that say which steps and exclusions it fits.
const FITS: u32 = 6;
/// Times are counted from the first moment that can be stored, 0001-01-01.
const FIRST: i64 = -62_135_596_800_000_000;
/// Steps and exclusions share 32 bits.
pub(crate) const MOST: usize = 16;

/// What a breakdown needs besides; `seq` makes the choice among events of one instant the same every time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extra {
    pub(crate) seq: i64,
    pub(crate) value: Code,
}

/// The most bytes of an event while it is gathered; `extra` for a breakdown.
pub(crate) fn event_bytes(extra: bool) -> usize {
    size_of::<u64>() + size_of::<u16>() + if extra { size_of::<Extra>() } else { 0 }
}

/// The events that one thread has gathered.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// Events of files that come in order of persons.
    runs: Vec<Run>,
    /// Other events, in their buckets.
    buckets: Vec<Events>,
    /// The bucket at hand, which is not in its place meanwhile: events mostly come in order of persons.
    open: Events,
    at: usize,
    /// Whether the last event went into a bucket.
    aside: bool,
    /// Which steps and exclusions there are together (steps in the lower half, exclusions in the upper), and the value
    /// of such an event, if its kind says that.
    fits: Vec<(u32, Code)>,
    /// How many kinds may say a value.
    valued: usize,
    pub(crate) words: Words,
    events: usize,
}

/// An event cannot be gathered: its person has no number that a bucket could be found by, or there are too many kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unfit;

impl Gathered {
    /// The number under which events are pushed that fit these steps and exclusions.
    pub(crate) fn kind(&mut self, marks: u32) -> std::result::Result<u64, Unfit> {
        self.kind_of((marks, NULL))
    }

    fn kind_of(&mut self, kind: (u32, Code)) -> std::result::Result<u64, Unfit> {
        let at = self.fits.iter().position(|one| *one == kind).unwrap_or(self.fits.len());
        if at == self.fits.len() {
            if at == 1 << FITS {
                return Err(Unfit);
            }
            self.fits.push(kind);
        }
        Ok(at as u64)
    }

    /// One of so many threads, which all have a part of the kinds that say a value.
    pub(crate) fn of_threads(threads: usize) -> Self {
        Self { valued: (1 << FITS) / 2 / threads.max(1), ..Self::default() }
    }

    /// The numbers of events that fit these steps and have each of these values, and none behind them; nothing where
    /// there are too many kinds for that.
    pub(crate) fn kinds_with<'a>(
        &mut self,
        marks: u32,
        texts: impl ExactSizeIterator<Item = &'a str>,
    ) -> Option<Vec<u64>> {
        let known = self.fits.iter().filter(|(_, value)| *value != NULL).count();
        if texts.len() > self.valued || self.fits.len() + texts.len() >= 1 << FITS {
            return None;
        }
        let codes: Vec<Code> = texts.map(|text| self.words.code(text)).collect();
        let new = codes.iter().filter(|code| !self.fits.contains(&(marks, **code))).count();
        if known + new > self.valued {
            return None;
        }
        let kinds = codes.into_iter().chain([NULL]).map(|code| self.kind_of((marks, code)).ok());
        kinds.collect()
    }

    /// The number of a person whose events can be gathered.
    pub(crate) fn person(id: i64) -> std::result::Result<u32, Unfit> {
        u32::try_from(id).map_err(|_| Unfit)
    }

    /// From now on, events of another file are pushed: its day, its place among others, and for how many events there
    /// should be room.
    pub(crate) fn begin_file(&mut self, order: (i32, usize), events: usize) {
        self.runs.push(Run::new(order, events));
    }

    /// Adds an event of the file that was begun, in which most come in order of persons.
    #[inline]
    pub(crate) fn push_next(&mut self, person: u32, time: i64, kind: u64) -> std::result::Result<(), Unfit> {
        let key = key(time, kind)?;
        let bucket = (person >> BUCKET) as usize;
        self.aside = !self.runs.last_mut().is_some_and(|run| run.push(bucket, key, place(person)));
        if self.aside {
            return self.push(person, time, kind);
        }
        self.events += 1;
        Ok(())
    }

    /// The file that was begun, for events that are known to come in order of persons; none when times between these two
    /// have no number.
    pub(crate) fn in_order(&mut self, (first, last): (i64, i64)) -> Option<InOrder<'_>> {
        key(first, 0).and(key(last, 0)).ok()?;
        let run = self.runs.last_mut()?;
        self.events -= run.events.keys.len();
        Some(InOrder { run, events: &mut self.events })
    }

    /// Adds an event, in whatever order.
    #[inline]
    pub(crate) fn push(&mut self, person: u32, time: i64, kind: u64) -> std::result::Result<(), Unfit> {
        let key = key(time, kind)?;
        let bucket = (person >> BUCKET) as usize;
        if bucket != self.at {
            self.turn_to(bucket);
        }
        self.aside = true;
        self.open.keys.push(key);
        self.open.persons.push(place(person));
        self.events += 1;
        Ok(())
    }

    /// What belongs to the event that was pushed last.
    #[inline]
    pub(crate) fn push_extra(&mut self, extra: Extra) {
        match self.runs.last_mut().filter(|_| !self.aside) {
            Some(run) => run.events.extra.push(extra),
            None => self.open.extra.push(extra),
        }
    }

    /// How many events there are.
    pub(crate) fn len(&self) -> usize {
        self.events
    }

    #[cold]
    fn turn_to(&mut self, bucket: usize) {
        self.close();
        if bucket >= self.buckets.len() {
            self.buckets.resize_with(bucket + 1, Events::default);
        }
        self.open = std::mem::take(&mut self.buckets[bucket]);
        self.at = bucket;
    }

    fn close(&mut self) {
        if self.at >= self.buckets.len() {
            self.buckets.resize_with(self.at + 1, Events::default);
        }
        self.buckets[self.at] = std::mem::take(&mut self.open);
    }
}

/// Takes the events of one file.
#[derive(Debug)]
pub(crate) struct InOrder<'a> {
    run: &'a mut Run,
    events: &'a mut usize,
}

impl InOrder<'_> {
    #[inline]
    pub(crate) fn push(&mut self, person: u32, time: i64, kind: u64) {
        let key = time.wrapping_sub(FIRST).cast_unsigned() << FITS | kind;
        self.run.push((person >> BUCKET) as usize, key, place(person));
    }
}

impl Drop for InOrder<'_> {
    fn drop(&mut self) {
        *self.events += self.run.events.keys.len();
    }
}

/// The number of an event.
#[inline]
fn key(time: i64, kind: u64) -> std::result::Result<u64, Unfit> {
    let of_time = time.wrapping_sub(FIRST).cast_unsigned();
    if of_time >> (64 - FITS) != 0 { Err(Unfit) } else { Ok(of_time << FITS | kind) }
}

/// The place of a person in its bucket.
fn place(person: u32) -> u16 {
    u16::try_from(person & ((1 << BUCKET) - 1)).unwrap_or(0)
}

/// The kinds of events of all threads together, and where those of each thread are among them.
fn united(gathered: &[Gathered]) -> (Vec<(u32, Code)>, Vec<Vec<u64>>) {
    let mut fits: Vec<(u32, Code)> = Vec::new();
    let mut place = |kind: &(u32, Code)| {
        let at = fits.iter().position(|known| known == kind).unwrap_or(fits.len());
        if at == fits.len() {
            fits.push(*kind);
        }
        at as u64
    };
    let renamed = gathered.iter().map(|one| one.fits.iter().map(&mut place).collect()).collect();
    (fits, renamed)
}

/// Whether what several threads have gathered is not of too many kinds together.
pub(crate) fn fit_together(gathered: &[Gathered]) -> bool {
    // Threads number their words alike only later: until then, no value of one is that of another.
    let (valued, plain): (Vec<_>, Vec<_>) =
        gathered.iter().flat_map(|one| &one.fits).partition(|(_, value)| *value != NULL);
    let plain: HashSet<u32> = plain.into_iter().map(|(marks, _)| marks).collect();
    valued.len() + plain.len() <= 1 << FITS
}

/// Asks the question of every person, bucket by bucket, on so many threads.
pub(crate) async fn walk(
    question: &Arc<FunnelQuestion>,
    mut gathered: Vec<Gathered>,
    threads: usize,
) -> Result<Vec<Part>> {
    let mut words = Words::default();
    for one in &mut gathered {
        one.close();
        let codes = words.unite(&one.words);
        for (_, value) in &mut one.fits {
            *value = codes.get(*value as usize).copied().unwrap_or(*value);
        }
        let events = one.runs.iter_mut().map(|run| &mut run.events).chain(&mut one.buckets);
        for extra in events.flat_map(|events| &mut events.extra) {
            extra.value = codes.get(extra.value as usize).copied().unwrap_or(extra.value);
        }
    }
    let (fits, renamed) = united(&gathered);
    let buckets =
        gathered.iter().flat_map(|one| one.runs.iter().map(Run::buckets).chain([one.buckets.len()]));
    let buckets = buckets.max().unwrap_or(0);
    let mut runs: Vec<(usize, Run)> = Vec::new();
    for (thread, one) in gathered.iter_mut().enumerate() {
        runs.extend(std::mem::take(&mut one.runs).into_iter().map(|run| (thread, run)));
    }
    runs.sort_by_key(|(_, run)| run.order);
    let shared = Arc::new((All { runs, gathered, renamed }, fits, words));
    let next = Arc::new(AtomicUsize::new(0));
    let mut running = JoinSet::new();
    for _ in 0..threads.max(1) {
        let (question, shared, next) = (Arc::clone(question), Arc::clone(&shared), Arc::clone(&next));
        running.spawn(async move {
            let (all, fits, words) = shared.as_ref();
            let mut part = question.part();
            part.words = Words::clone(words);
            let mut bucket = Bucket::default();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= buckets {
                    return part;
                }
                bucket.fill(all, at);
                bucket.ask(&question, &mut part, at, fits);
                // Another task may want the thread.
                tokio::task::yield_now().await;
            }
        });
    }
    let mut parts = Vec::new();
    while let Some(done) = running.join_next().await {
        parts.push(done.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?);
    }
    Ok(parts)
}

/// What all threads have gathered.
#[derive(Debug)]
struct All {
    /// In order, each with the thread that read it.
    runs: Vec<(usize, Run)>,
    gathered: Vec<Gathered>,
    /// The kinds of each thread among those of all.
    renamed: Vec<Vec<u64>>,
}

impl All {
    /// The events of a bucket, with the kinds of their thread.
    fn of(&self, bucket: usize) -> impl Iterator<Item = (runs::Part<'_>, &[u64])> {
        let runs = self.runs.iter().filter_map(move |(thread, run)| Some((run.of(bucket)?, *thread)));
        let aside = self.gathered.iter().enumerate();
        let aside = aside.filter_map(move |(thread, one)| Some((one.buckets.get(bucket)?.all(), thread)));
        runs.chain(aside).map(|(part, thread)| (part, self.renamed[thread].as_slice()))
    }
}

/// The events of one bucket, each person's together.
#[derive(Debug, Default)]
struct Bucket {
    /// Where the events of each person end.
    ends: Vec<u32>,
    keys: Vec<u64>,
    extra: Vec<Extra>,
    hits: Vec<Hit>,
    values: Vec<Code>,
    /// Time and place of each event of a person.
    order: Vec<(u64, usize)>,
}

impl Bucket {
    /// Sets persons apart by counting.
    fn fill(&mut self, all: &All, at: usize) {
        self.ends.clear();
        self.ends.resize(1 << BUCKET, 0);
        for person in all.of(at).flat_map(|(events, _)| events.persons) {
            self.ends[usize::from(*person)] += 1;
        }
        // First where each begins; filling moves that on to where it ends.
        let mut begin = 0;
        for count in &mut self.ends {
            begin += std::mem::replace(count, begin);
        }
        let events = begin as usize;
        self.keys.clear();
        self.keys.resize(events, 0);
        let has_extra = all.of(at).any(|(events, _)| !events.extra.is_empty());
        self.extra.clear();
        self.extra.resize(if has_extra { events } else { 0 }, Extra::default());
        let kind = (1_u64 << FITS) - 1;
        for (events, renamed) in all.of(at) {
            let same = renamed.iter().enumerate().all(|(at, to)| at as u64 == *to);
            for (row, (key, person)) in events.keys.iter().zip(events.persons).enumerate() {
                let to = &mut self.ends[usize::from(*person)];
                let known = if same {
                    *key
                } else {
                    let of = usize::try_from(key & kind).unwrap_or(0);
                    key & !kind | renamed.get(of).copied().unwrap_or(0)
                };
                self.keys[*to as usize] = known;
                if has_extra {
                    let none = Extra { seq: 0, value: NULL };
                    self.extra[*to as usize] = events.extra.get(row).copied().unwrap_or(none);
                }
                *to += 1;
            }
        }
    }

    fn ask(&mut self, question: &FunnelQuestion, part: &mut Part, at: usize, fits: &[(u32, Code)]) {
        // In order nobody enters without the first step.
        let must = if question.read.rules.order == Order::Ordered { 1 } else { u32::MAX };
        let kind = (1_u64 << FITS) - 1;
        let enters: u64 = fits
            .iter()
            .enumerate()
            .fold(0, |bits, (at, (marks, _))| if marks & must != 0 { bits | 1 << at } else { bits });
        let mut start = 0;
        let ends = std::mem::take(&mut self.ends);
        for (place, end) in ends.iter().enumerate() {
            let end = *end as usize;
            let kinds = self.keys[start..end].iter().fold(0_u64, |kinds, key| kinds | 1 << (key & kind));
            if kinds & enters != 0 {
                let person = (at << BUCKET | place) as i64;
                self.person(question, part, person, start..end, fits);
            }
            start = end;
        }
        self.ends = ends;
    }

    fn person(
        &mut self,
        question: &FunnelQuestion,
        part: &mut Part,
        person: i64,
        of: std::ops::Range<usize>,
        fits: &[(u32, Code)],
    ) {
        let kind = (1_u64 << FITS) - 1;
        let of_kind = |key: u64| {
            usize::try_from(key & kind).ok().and_then(|at| fits.get(at)).copied().unwrap_or((0, NULL))
        };
        let hit = |key: u64| {
            let (marks, _) = of_kind(key);
            Hit {
                time: (key >> FITS).cast_signed().wrapping_add(FIRST),
                steps: u64::from(marks & ((1 << MOST) - 1)),
                excludes: u64::from(marks >> MOST),
            }
        };
        let keys = &mut self.keys[of.clone()];
        self.hits.clear();
        self.values.clear();
        if self.extra.is_empty() {
            // Events of one instant stay as they come: those of one definition are in the order of their numbers.
            settle_by(keys, |key| key >> FITS);
            self.hits.extend(keys.iter().map(|key| hit(*key)));
            if question.request.by.is_some() {
                self.values.extend(keys.iter().map(|key| of_kind(*key).1));
            }
        } else {
            let extra = &self.extra[of];
            self.order.clear();
            self.order.extend(keys.iter().map(|key| key >> FITS).zip(0..));
            if !self.order.is_sorted_by(|one, next| one.0 < next.0) {
                settle_by(&mut self.order, |one| *one);
                let ties = self.order.chunk_by_mut(|one, next| one.0 == next.0);
                for tie in ties.filter(|tie| tie.len() > 1) {
                    tie.sort_unstable_by_key(|(_, at)| (extra[*at].seq, *at));
                }
            }
            self.hits.extend(self.order.iter().map(|(_, at)| hit(keys[*at])));
            self.values.extend(self.order.iter().map(|(_, at)| match of_kind(keys[*at]) {
                (_, NULL) => extra[*at].value,
                (_, value) => value,
            }));
        }
        question.unit(part, person, &self.hits, &self.values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_cannot_be_numbered_is_refused_and_not_changed() {
        let mut gathered = Gathered::default();
        let kind = gathered.kind(1).unwrap();
        assert_eq!(gathered.push(7, FIRST, kind), Ok(()));
        assert_eq!(gathered.push(7, FIRST - 1, kind), Err(Unfit));
        assert_eq!(gathered.push(7, i64::MAX, kind), Err(Unfit));
        assert_eq!(gathered.len(), 1);
        for marks in 2..=64 {
            gathered.kind(marks).unwrap();
        }
        assert_eq!(gathered.kind(65), Err(Unfit));
        assert_eq!(gathered.kind(64), Ok(63));
        assert_eq!(Gathered::person(-1), Err(Unfit));
        assert_eq!(Gathered::person(1 << 32), Err(Unfit));
    }
}
