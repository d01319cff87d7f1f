//! Makes a sidecar from rows in the order of their file.

use arrow::array::RecordBatch;
use arrow::datatypes::Field;

use crate::error::Result;
use crate::storage::keys::SortKeys;
use crate::storage::shape::Times;
use crate::storage::sidecar::bits::Packer;
use crate::storage::sidecar::bits::width_of;
use crate::storage::sidecar::format::Content;
use crate::time::MICROS_PER_DAY;
use crate::time::MICROS_PER_MILLI;

/// Takes rows; the bytes come at the end.
#[derive(Debug)]
pub(crate) struct Builder {
    unit: i64,
    width: u8,
    start: i64,
    rows: usize,
    last: Option<u32>,
    persons: Vec<u32>,
    starts: Vec<u64>,
    times: Packer,
    first_seq: i64,
    /// Whether each event has had the next number so far.
    in_sequence: bool,
    /// Some row does not fit in: it is not of the same day, or its person has no number of 32 bits.
    unfit: bool,
}

impl Builder {
    /// For about so many rows, whose times `times` can keep.
    pub(crate) fn new(rows: usize, times: Times) -> Self {
        let unit = match times {
            Times::Millis => MICROS_PER_MILLI,
            Times::Micros => 1,
        };
        let width = width_of((MICROS_PER_DAY / unit - 1).unsigned_abs());
        Self {
            unit,
            width: u8::try_from(width).unwrap_or(u8::MAX),
            start: 0,
            rows: 0,
            last: None,
            persons: Vec::new(),
            starts: Vec::with_capacity(rows.div_ceil(64)),
            times: Packer::new(width, rows),
            first_seq: 0,
            in_sequence: true,
            unfit: false,
        }
    }

    /// The same for rows as a file holds them, by its column of times.
    pub(crate) fn of_field(rows: usize, times: &Field) -> Self {
        Self::new(rows, Times::of_field(times))
    }

    /// [`Builder::take`] of rows that have the system columns.
    pub(crate) fn add(&mut self, rows: &RecordBatch) -> Result<()> {
        self.take(&SortKeys::of(rows)?);
        Ok(())
    }

    /// Adds rows that follow those that are there.
    pub(crate) fn take(&mut self, keys: &SortKeys) {
        if self.unfit || keys.len() == 0 {
            return;
        }
        if self.rows == 0 {
            let (_, time, seq) = keys.key(0);
            self.start = time.saturating_sub(time.rem_euclid(MICROS_PER_DAY));
            self.first_seq = seq;
        }
        for row in 0..keys.len() {
            let (person, time, seq) = keys.key(row);
            let (Ok(person), of_day) = (u32::try_from(person), time.wrapping_sub(self.start)) else {
                self.unfit = true;
                return;
            };
            if !(0..MICROS_PER_DAY).contains(&of_day)
                || of_day % self.unit != 0
                || self.last.is_some_and(|last| last > person)
            {
                self.unfit = true;
                return;
            }
            if self.rows.is_multiple_of(64) {
                self.starts.push(0);
            }
            if self.last != Some(person) {
                self.last = Some(person);
                self.persons.push(person);
                if let Some(word) = self.starts.last_mut() {
                    *word |= 1 << (self.rows % 64);
                }
            }
            self.times.push((of_day / self.unit).unsigned_abs());
            self.in_sequence &= seq == self.first_seq.wrapping_add_unsigned(self.rows as u64);
            self.rows += 1;
        }
    }

    /// The sidecar of a data file of so many bytes; `None` when it cannot have one.
    pub(crate) fn finish(self, file_bytes: u64) -> Option<Vec<u8>> {
        if self.unfit {
            return None;
        }
        Content {
            file_bytes,
            rows: self.rows as u64,
            persons: self.persons,
            first_seq: self.in_sequence.then_some(self.first_seq),
            start: self.start,
            unit: u32::try_from(self.unit).ok()?,
            width: self.width,
            starts: self.starts,
            times: self.times.finish(),
        }
        .to_bytes()
    }
}
