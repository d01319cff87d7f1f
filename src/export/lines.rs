//! Rows as lines of text, sorted by runs: each run fits in memory, and goes to the disk when there are too many of them.
//!
//! The order of an export is the millisecond, then the event id, then `seq` (ids are unique; if a store breaks that rule,
//! its exports are repeatable still). Lines are written while rows lie beside each other in their columns, which is
//! faster than to fetch each row from everywhere later.

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
use crate::export::moments::Flows;
use crate::export::spill::Extent;
use crate::export::spill::Room;
use crate::export::spill::Spill;
use crate::export::spill::Taken;
use crate::person::ExternalIds;
use crate::time::Day;
use crate::time::MICROS_PER_DAY;

const MILLIS_PER_DAY: i64 = MICROS_PER_DAY / 1_000;
/// A run that has so many bytes is full.
const RUN_BYTES: usize = 4 << 20;
/// What a row takes at first guess.
const ROW_BYTES: usize = 384;
/// How much of a run on disk is read at once.
const READ_BYTES: usize = 64 << 10;
/// What stands before each line on disk.
const FRAME_BYTES: usize = 24;

/// A row: what it is ordered by, and where its id and behind that its line are in a text.
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

    fn line<'a>(&self, text: &'a [u8]) -> &'a [u8] {
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
}

impl Lines {
    /// Room for about so many rows.
    fn for_rows(rows: usize) -> Self {
        let bytes = rows.saturating_mul(ROW_BYTES).min(RUN_BYTES + RUN_BYTES / 16);
        Self { text: Vec::with_capacity(bytes), lines: Vec::with_capacity(bytes / ROW_BYTES) }
    }

    fn held_bytes(&self) -> usize {
        self.text.capacity() + self.lines.capacity() * size_of::<Line>()
    }

    fn sort(&mut self) {
        let text = self.text.as_slice();
        self.lines.sort_unstable_by(|one, other| order((one, text), (other, text)));
    }

    /// The lines in their order, as a disk keeps them.
    fn frames(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.text.len() + self.lines.len() * FRAME_BYTES);
        for line in &self.lines {
            out.extend_from_slice(&line.seq.to_le_bytes());
            for number in [line.milli, line.nth, line.id_bytes, line.bytes] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            out.extend_from_slice(&self.text[line.at..line.end()]);
        }
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

/// A run in order.
#[derive(Debug)]
enum Run {
    Held(Lines, Taken),
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
            part.write(row, &known.persons, &known.flows, &mut lines.text);
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
        let run = match self.room.take(lines.held_bytes()) {
            Some(taken) => {
                let full = lines.text.len() >= self.run_bytes;
                let next = Lines::for_rows(if full { self.rows } else { 0 });
                let full = mem::replace(lines, next);
                lock(&self.done).millis.extend(full.lines.iter().map(|line| line.milli));
                Run::Held(full, taken)
            }
            None => {
                let extent = self.spill.put(&lines.frames())?;
                lock(&self.done).millis.extend(lines.lines.iter().map(|line| line.milli));
                lines.text.clear();
                lines.lines.clear();
                Run::Spilled(extent)
            }
        };
        lock(&self.done).runs.push(run);
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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
        let cursors = self.runs.into_iter().map(Cursor::of).collect::<Result<Vec<_>>>()?;
        let mut heap: Vec<usize> = (0..cursors.len()).filter(|&nth| cursors[nth].head.is_some()).collect();
        heap.sort_by(|&one, &other| cursors[one].cmp(&cursors[other]));
        Ok(Merge { cursors, heap })
    }
}

/// Where a run is read.
#[derive(Debug)]
struct Cursor {
    head: Option<Line>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Held { lines: Lines, next: usize, _taken: Taken },
    Spilled { extent: Extent, buffer: Vec<u8>, next: usize },
}

impl Cursor {
    fn of(run: Run) -> Result<Self> {
        let source = match run {
            Run::Held(lines, taken) => Source::Held { lines, next: 0, _taken: taken },
            Run::Spilled(extent) => Source::Spilled { extent, buffer: Vec::new(), next: 0 },
        };
        let mut cursor = Self { head: None, source };
        cursor.advance()?;
        Ok(cursor)
    }

    fn text(&self) -> &[u8] {
        match &self.source {
            Source::Held { lines, .. } => &lines.text,
            Source::Spilled { buffer, .. } => buffer,
        }
    }

    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.head, &other.head) {
            (Some(one), Some(two)) => order((one, self.text()), (two, other.text())),
            // Who has nothing more comes last.
            (one, two) => two.is_some().cmp(&one.is_some()),
        }
    }

    fn advance(&mut self) -> Result<()> {
        match &mut self.source {
            Source::Held { lines, next, .. } => {
                self.head = lines.lines.get(*next).copied();
                *next += 1;
                if self.head.is_none() {
                    // Its memory is free for others.
                    *lines = Lines::default();
                }
            }
            Source::Spilled { extent, buffer, next } => {
                self.head = None;
                if !ensure(extent, buffer, next, FRAME_BYTES)? {
                    return Ok(());
                }
                let frame = &buffer[*next..*next + FRAME_BYTES];
                let number = |at: usize| u32::from_le_bytes(bytes_at(frame, at));
                let mut line = Line {
                    seq: i64::from_le_bytes(bytes_at(frame, 0)),
                    at: 0,
                    milli: number(8),
                    nth: number(12),
                    id_bytes: number(16),
                    bytes: number(20),
                };
                let whole = FRAME_BYTES + line.end();
                if !ensure(extent, buffer, next, whole)? {
                    return Err(Error::internal("rows that did not fit in memory were cut off on the disk"));
                }
                line.at = *next + FRAME_BYTES;
                *next += whole;
                self.head = Some(line);
            }
        }
        Ok(())
    }
}

/// Reads until so many bytes follow `next` in the buffer; false when there are none at all.
fn ensure(extent: &mut Extent, buffer: &mut Vec<u8>, next: &mut usize, bytes: usize) -> Result<bool> {
    if buffer.len() - *next >= bytes {
        return Ok(true);
    }
    buffer.drain(..*next);
    *next = 0;
    while buffer.len() < bytes {
        if extent.read(buffer, READ_BYTES.max(bytes - buffer.len()))? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

fn bytes_at<const N: usize>(frame: &[u8], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&frame[at..at + N]);
    bytes
}

/// Gives the rows of all runs in their order.
#[derive(Debug)]
pub(crate) struct Merge {
    cursors: Vec<Cursor>,
    /// Cursors that have rows; each comes before those at twice its place and one or two more.
    heap: Vec<usize>,
}

impl Merge {
    /// Appends the next row; the number of its definition, or none after the last row.
    pub(crate) fn next_into(&mut self, out: &mut Vec<u8>) -> Result<Option<usize>> {
        let Some(&first) = self.heap.first() else { return Ok(None) };
        let cursor = &mut self.cursors[first];
        let Some(head) = cursor.head else { return Ok(None) };
        out.extend_from_slice(head.line(cursor.text()));
        cursor.advance()?;
        if cursor.head.is_none() {
            self.heap.swap_remove(0);
        }
        self.sink();
        Ok(Some(head.nth as usize))
    }

    /// Lets the first go down to its place.
    fn sink(&mut self) {
        let mut at = 0;
        loop {
            let before = |one: usize, other: usize| {
                self.cursors[self.heap[one]].cmp(&self.cursors[self.heap[other]]) == Ordering::Less
            };
            let (left, right) = (2 * at + 1, 2 * at + 2);
            if left >= self.heap.len() {
                return;
            }
            let child = if right < self.heap.len() && before(right, left) { right } else { left };
            if !before(child, at) {
                return;
            }
            self.heap.swap(at, child);
            at = child;
        }
    }
}

#[cfg(test)]
mod tests;
