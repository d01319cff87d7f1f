//! `Merge`: the runs of a day, in memory and on the disk, as one sequence of rows.

use std::cmp::Ordering;

use crate::error::Error;
use crate::error::Result;
use crate::export::lines::HEAD_BYTES;
use crate::export::lines::Line;
use crate::export::lines::Lines;
use crate::export::lines::Run;
use crate::export::lines::order;
use crate::export::shape::Packed;
use crate::export::spill::Extent;
use crate::export::spill::Taken;

/// How much of a run on disk is read at once.
const READ_BYTES: usize = 64 << 10;

/// Where a run is read.
#[derive(Debug)]
struct Cursor {
    head: Option<Line>,
    /// The run, or what was read of it last.
    frames: Vec<u8>,
    /// Where in that the row behind the head starts.
    next: usize,
    rest: Rest,
}

/// What holds a run.
#[derive(Debug)]
enum Rest {
    Memory(Option<Taken>),
    Disk(Extent),
}

impl Cursor {
    fn of(run: Run) -> Result<Self> {
        let (frames, rest) = match run {
            Run::Held(frames, taken) => (frames, Rest::Memory(Some(taken))),
            Run::Spilled(extent) => (Vec::new(), Rest::Disk(extent)),
        };
        let mut cursor = Self { head: None, frames, next: 0, rest };
        cursor.advance()?;
        Ok(cursor)
    }

    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.head, &other.head) {
            (Some(one), Some(two)) => order((one, &self.frames), (two, &other.frames)),
            // Who has nothing more comes last.
            (one, two) => two.is_some().cmp(&one.is_some()),
        }
    }

    fn advance(&mut self) -> Result<()> {
        self.head = None;
        if !self.ensure(1)? {
            // The memory is free for others.
            self.frames = Vec::new();
            if let Rest::Memory(taken) = &mut self.rest {
                *taken = None;
            }
            return Ok(());
        }
        // The last rows may be shorter than a head may be.
        self.ensure(HEAD_BYTES)?;
        let (mut line, head) = self.line().ok_or_else(cut_off)?;
        let whole = head + line.end();
        if !self.ensure(whole)? {
            return Err(cut_off());
        }
        line.at = self.next + head;
        self.next += whole;
        self.head = Some(line);
        Ok(())
    }

    /// The next row, not yet where it lies, and the bytes of its head.
    fn line(&self) -> Option<(Line, usize)> {
        let frames = &self.frames[self.next..];
        let mut packed = Packed::of(frames);
        let mut number = || u32::try_from(packed.number()?).ok();
        let (milli, nth, id_bytes, bytes) = (number()?, number()?, number()?, number()?);
        let seq = packed.number()?.cast_signed();
        Some((Line { seq, at: 0, milli, nth, id_bytes, bytes }, frames.len() - packed.len()))
    }

    /// Reads until so many bytes follow; false when there are none at all.
    fn ensure(&mut self, bytes: usize) -> Result<bool> {
        if self.frames.len() - self.next >= bytes {
            return Ok(true);
        }
        let Rest::Disk(extent) = &mut self.rest else { return Ok(false) };
        self.frames.drain(..self.next);
        self.next = 0;
        while self.frames.len() < bytes {
            let missing = bytes - self.frames.len();
            if extent.read(&mut self.frames, missing.max(READ_BYTES))? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn cut_off() -> Error {
    Error::internal("rows that did not fit in memory were cut off on the disk")
}

/// Gives the rows of all runs in their order.
#[derive(Debug)]
pub(crate) struct Merge {
    first_milli: i64,
    cursors: Vec<Cursor>,
    /// Cursors that have rows; each comes before those at twice its place and one or two more.
    heap: Vec<usize>,
}

impl Merge {
    /// Of a day that starts with this millisecond.
    pub(super) fn of(first_milli: i64, runs: Vec<Run>) -> Result<Self> {
        let cursors = runs.into_iter().map(Cursor::of).collect::<Result<Vec<_>>>()?;
        let mut heap: Vec<usize> = (0..cursors.len()).filter(|&nth| cursors[nth].head.is_some()).collect();
        heap.sort_by(|&one, &other| cursors[one].cmp(&cursors[other]));
        Ok(Self { first_milli, cursors, heap })
    }

    /// Appends the next row; false when there is none.
    pub(crate) fn next_into(&mut self, out: &mut Lines) -> Result<bool> {
        let Some(&first) = self.heap.first() else { return Ok(false) };
        let cursor = &mut self.cursors[first];
        let Some(head) = cursor.head else { return Ok(false) };
        out.first_milli = self.first_milli;
        out.lines.push(Line { at: out.text.len(), ..head });
        out.text.extend_from_slice(&cursor.frames[head.at..head.end()]);
        cursor.advance()?;
        if cursor.head.is_none() {
            self.heap.swap_remove(0);
        }
        self.sink();
        Ok(true)
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
