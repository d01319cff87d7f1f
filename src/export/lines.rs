//! Packed rows, sorted by runs: each run fits in memory, and goes to the disk when there are too many of them.
//!
//! The order of an export is the millisecond, then the event id, then `seq` (ids are unique; if a store breaks that rule,
//! its exports are repeatable still). Rows are packed while they lie beside each other in their columns, which is
//! faster than to fetch each from everywhere later.

mod merge;

use std::cmp::Ordering;
use std::mem;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::export::json::Part;
pub(crate) use crate::export::lines::merge::Merge;
use crate::export::moments::Flows;
use crate::export::shape::PackedRow;
use crate::export::shape::pack_number;
use crate::export::spill::Extent;
use crate::export::spill::Room;
use crate::export::spill::Spill;
use crate::export::spill::Taken;
use crate::person::ExternalIds;
use crate::time::Day;
use crate::time::MICROS_PER_DAY;
use crate::time::Micros;

const MILLIS_PER_DAY: i64 = MICROS_PER_DAY / 1_000;
/// A run that has so many bytes is full.
const RUN_BYTES: usize = 4 << 20;
/// What a row takes at first guess.
const ROW_BYTES: usize = 96;
/// The most that stands before a row of a run: five numbers.
const HEAD_BYTES: usize = 4 * 5 + 10;

/// A row: what it is ordered by, and where its id and behind that what is packed of it are in a text.
#[derive(Clone, Copy, Debug)]
struct Line {
    seq: i64,
    at: usize,
    /// Of the day.
    milli: u32,
    /// Which of the export's definitions it is of.
    nth: u32,
    id_bytes: u32,
    bytes: u32,
}

impl Line {
    fn id<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        &text[self.at..self.at + self.id_bytes as usize]
    }

    fn packed<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        let start = self.at + self.id_bytes as usize;
        &text[start..start + self.bytes as usize]
    }

    fn end(&self) -> usize {
        self.at + self.id_bytes as usize + self.bytes as usize
    }
}

fn order(one: (&Line, &[u8]), other: (&Line, &[u8])) -> Ordering {
    let ((one, text), (other, its_text)) = (one, other);
    one.milli
        .cmp(&other.milli)
        .then_with(|| one.id(text).cmp(other.id(its_text)))
        .then_with(|| one.seq.cmp(&other.seq))
}

/// Rows that are gathered, in any order.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    text: Vec<u8>,
    lines: Vec<Line>,
    /// The first millisecond of their day.
    first_milli: i64,
}

impl Lines {
    /// Room for about so many rows.
    fn for_rows(rows: usize) -> Self {
        let bytes = rows.saturating_mul(ROW_BYTES).min(RUN_BYTES + RUN_BYTES / 16);
        let (text, lines) = (Vec::with_capacity(bytes), Vec::with_capacity(bytes / ROW_BYTES));
        Self { text, lines, ..Self::default() }
    }

    /// Each row, and which of the export's definitions it is of.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (usize, PackedRow<'_>)> {
        self.lines.iter().map(|line| {
            let (event_id, packed) = (line.id(&self.text), line.packed(&self.text));
            let time = Micros((self.first_milli + i64::from(line.milli)) * 1_000);
            (line.nth as usize, PackedRow { time, event_id, packed })
        })
    }

    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.lines.clear();
    }

    fn sort(&mut self) {
        let text = self.text.as_slice();
        self.lines.sort_unstable_by(|one, other| order((one, text), (other, text)));
    }

    /// The rows in their order, one behind the other.
    fn frames(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.text.len() + self.lines.len() * HEAD_BYTES / 2);
        for line in &self.lines {
            for number in [line.milli, line.nth, line.id_bytes, line.bytes] {
                pack_number(u64::from(number), &mut out);
            }
            pack_number(line.seq.cast_unsigned(), &mut out);
            out.extend_from_slice(&self.text[line.at..line.end()]);
        }
        out.shrink_to_fit();
        out
    }
}

/// What lines need to know beside their columns.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) persons: Arc<ExternalIds>,
    pub(crate) flows: Arc<Flows>,
}

/// Gathers the rows of one day, from several threads.
#[derive(Debug)]
pub(crate) struct Sorter {
    first_milli: i64,
    /// The most rows that there can be.
    rows: usize,
    /// A run that has so many bytes is full.
    run_bytes: usize,
    room: Arc<Room>,
    spill: Spill,
    /// Runs that are not full and that nobody works on.
    open: Mutex<Vec<Lines>>,
    done: Mutex<Done>,
}

#[derive(Debug, Default)]
struct Done {
    runs: Vec<Run>,
    millis: Vec<u32>,
}

/// A run in order, as [`Lines::frames`] writes it.
#[derive(Debug)]
enum Run {
    Held(Vec<u8>, Taken),
    Spilled(Extent),
}

impl Sorter {
    pub(crate) fn new(day: Day, rows: usize, room: Arc<Room>, spill: Spill) -> Self {
        let first_milli = i64::from(day.0) * MILLIS_PER_DAY;
        let run_bytes = RUN_BYTES;
        Self { first_milli, rows, run_bytes, room, spill, open: Mutex::default(), done: Mutex::default() }
    }

    /// An open run to put rows into.
    pub(crate) fn open(&self) -> Lines {
        lock(&self.open).pop().unwrap_or_else(|| Lines::for_rows(self.rows))
    }

    /// Leaves a run to whoever comes next.
    pub(crate) fn leave(&self, lines: Lines) {
        lock(&self.open).push(lines);
    }

    /// Adds the rows of a part. Fails with `Internal` when a row lies outside the day.
    pub(crate) fn add(&self, part: &Part, known: &Known, lines: &mut Lines) -> Result<()> {
        let nth = u32::try_from(part.nth()).internal(too_long)?;
        for row in 0..part.rows() {
            let milli = part.time(row).0.div_euclid(1_000) - self.first_milli;
            let milli = u32::try_from(milli).ok().filter(|&milli| i64::from(milli) < MILLIS_PER_DAY);
            let milli = milli.ok_or_else(|| {
                Error::internal(format!(
                    "an event of {} lies in the files of another day",
                    part.time(row).export_form()
                ))
            })?;
            let at = lines.text.len();
            lines.text.extend_from_slice(part.event_id(row).as_bytes());
            let middle = lines.text.len();
            part.pack(row, &known.persons, &known.flows, &mut lines.text);
            let id_bytes = u32::try_from(middle - at).internal(too_long)?;
            let bytes = u32::try_from(lines.text.len() - middle).internal(too_long)?;
            lines.lines.push(Line { seq: part.seq(row), at, milli, nth, id_bytes, bytes });
            if lines.text.len() >= self.run_bytes {
                self.keep(lines)?;
            }
        }
        Ok(())
    }

    /// Puts a run into order and keeps it; leaves an empty one.
    fn keep(&self, lines: &mut Lines) -> Result<()> {
        if lines.lines.is_empty() {
            return Ok(());
        }
        lines.sort();
        let frames = lines.frames();
        let run = match self.room.take(frames.len()) {
            Some(taken) => Run::Held(frames, taken),
            None => Run::Spilled(self.spill.put(&frames)?),
        };
        let mut done = lock(&self.done);
        done.millis.extend(lines.lines.iter().map(|line| line.milli));
        done.runs.push(run);
        lines.clear();
        Ok(())
    }

    /// All rows of the day, once all are there.
    pub(crate) fn finish(&self) -> Result<SortedDay> {
        let open = mem::take(&mut *lock(&self.open));
        for mut lines in open {
            self.keep(&mut lines)?;
        }
        let Done { runs, mut millis } = mem::take(&mut *lock(&self.done));
        // Runs one after another, which a stable sort merges.
        millis.sort();
        Ok(SortedDay { first_milli: self.first_milli, millis, runs })
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn too_long() -> String {
    "a row of an export has more than 4 GiB".to_owned()
}

/// All rows of one day that an export takes: their milliseconds in order, and the runs to be merged.
#[derive(Debug)]
pub(crate) struct SortedDay {
    first_milli: i64,
    millis: Vec<u32>,
    runs: Vec<Run>,
}

impl SortedDay {
    pub(crate) fn rows(&self) -> usize {
        self.millis.len()
    }

    /// The millisecond of the row at a place in the order, since the epoch.
    pub(crate) fn milli(&self, at: usize) -> i64 {
        self.first_milli + i64::from(self.millis[at])
    }

    /// The rows in their order.
    pub(crate) fn merge(self) -> Result<Merge> {
        Merge::of(self.first_milli, self.runs)
    }
}

#[cfg(test)]
mod tests;
