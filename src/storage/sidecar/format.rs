//! The bytes of a sidecar, written and read; pure, so that a damaged one can be shown to be no more than useless.

use std::sync::OnceLock;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::storage::sidecar::bits::PADDING;
use crate::storage::sidecar::bits::Packed;
use crate::storage::sidecar::bits::Packer;
use crate::storage::sidecar::bits::WIDEST;
use crate::storage::sidecar::bits::packed_bytes;
use crate::storage::sidecar::bits::width_of;

/// What the file begins with.
const MAGIC: [u8; 8] = *b"MPINDEX\0";
/// One with another is passed over.
const VERSION: u32 = 1;
pub(super) const HEAD_BYTES: usize = 128;
/// Gaps between persons are packed in blocks of so many, each in its own width.
const BLOCK: usize = 128;

/// How the persons are written.
const AS_BITS: u8 = 1;
const AS_GAPS: u8 = 2;

/// What is known of a data file by the first bytes of its sidecar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The size of the data file, by which a sidecar is known to be its own.
    pub file_bytes: u64,
    pub rows: u64,
    /// How many different persons; merged ones count as they are stored.
    pub persons: u64,
    pub least: u32,
    pub greatest: u32,
    /// The number of the first event, where each has the next one.
    pub first_seq: Option<i64>,
    /// Times are multiples of the unit in microseconds, counted from here.
    pub(super) start: i64,
    pub(super) unit: u32,
    pub(super) width: u8,
    pub(super) coding: u8,
    pub(super) persons_bytes: u64,
    pub(super) events_bytes: u64,
    persons_sum: u64,
    events_sum: u64,
}

impl Head {
    /// The size of the section of the persons, and of that of the events.
    pub fn section_bytes(&self) -> (u64, u64) {
        (self.persons_bytes, self.events_bytes)
    }

    /// The size of the whole sidecar.
    pub fn bytes(&self) -> u64 {
        HEAD_BYTES as u64 + self.persons_bytes + self.events_bytes
    }

    fn to_bytes(self) -> [u8; HEAD_BYTES] {
        let mut out = Vec::with_capacity(HEAD_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[self.coding, self.width, u8::from(self.first_seq.is_some()), 0]);
        for number in [self.file_bytes, self.rows, self.persons] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.least.to_le_bytes());
        out.extend_from_slice(&self.greatest.to_le_bytes());
        out.extend_from_slice(&self.first_seq.unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&self.start.to_le_bytes());
        out.extend_from_slice(&u64::from(self.unit).to_le_bytes());
        for number in [self.persons_bytes, self.events_bytes, self.persons_sum, self.events_sum] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.resize(HEAD_BYTES - 8, 0);
        let sum = xxh3_64(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        let mut head = [0; HEAD_BYTES];
        head.copy_from_slice(&out);
        head
    }

    /// The head at the start of some bytes; `None` where there is none, or one of another version.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<HEAD_BYTES>()?;
        let word = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let half = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let is_whole = bytes.starts_with(&MAGIC)
            && half(8)? == VERSION
            && word(HEAD_BYTES - 8)? == xxh3_64(&bytes[..HEAD_BYTES - 8]);
        if !is_whole {
            return None;
        }
        let head = Self {
            coding: bytes[12],
            width: bytes[13],
            first_seq: if bytes[14] == 1 { Some(word(48)?.cast_signed()) } else { None },
            file_bytes: word(16)?,
            rows: word(24)?,
            persons: word(32)?,
            least: half(40)?,
            greatest: half(44)?,
            start: word(56)?.cast_signed(),
            unit: u32::try_from(word(64)?).ok()?,
            persons_bytes: word(72)?,
            events_bytes: word(80)?,
            persons_sum: word(88)?,
            events_sum: word(96)?,
        };
        let makes_sense = u32::from(head.width) <= WIDEST
            && head.events_bytes == events_bytes(usize::try_from(head.rows).ok()?, head.width.into()) as u64
            && head.persons <= head.rows
            && head.persons > 0;
        makes_sense.then_some(head)
    }
}

fn events_bytes(rows: usize, width: u32) -> usize {
    rows.div_ceil(64).saturating_mul(8).saturating_add(packed_bytes(width, rows))
}

/// What a sidecar is written from.
pub(super) struct Content {
    pub(super) file_bytes: u64,
    pub(super) rows: u64,
    /// In order, each once.
    pub(super) persons: Vec<u32>,
    pub(super) first_seq: Option<i64>,
    pub(super) start: i64,
    pub(super) unit: u32,
    pub(super) width: u8,
    /// A bit for each row, set where another person begins.
    pub(super) starts: Vec<u64>,
    /// Packed.
    pub(super) times: Vec<u8>,
}

impl Content {
    /// The bytes of the sidecar; `None` for no rows.
    pub(super) fn to_bytes(&self) -> Option<Vec<u8>> {
        let (least, greatest) = (*self.persons.first()?, *self.persons.last()?);
        let gaps = as_gaps(&self.persons);
        let span = u64::from(greatest - least) + 1;
        let (coding, persons) = if span.div_ceil(8) < gaps.len() as u64 {
            (AS_BITS, as_bits(&self.persons, least, span))
        } else {
            (AS_GAPS, gaps)
        };
        let mut events = Vec::with_capacity(self.starts.len() * 8 + self.times.len());
        self.starts.iter().for_each(|word| events.extend_from_slice(&word.to_le_bytes()));
        events.extend_from_slice(&self.times);
        let head = Head {
            file_bytes: self.file_bytes,
            rows: self.rows,
            persons: self.persons.len() as u64,
            least,
            greatest,
            first_seq: self.first_seq,
            start: self.start,
            unit: self.unit,
            width: self.width,
            coding,
            persons_bytes: persons.len() as u64,
            events_bytes: events.len() as u64,
            persons_sum: xxh3_64(&persons),
            events_sum: xxh3_64(&events),
        };
        let mut bytes = Vec::with_capacity(HEAD_BYTES + persons.len() + events.len());
        bytes.extend_from_slice(&head.to_bytes());
        bytes.extend_from_slice(&persons);
        bytes.extend_from_slice(&events);
        Some(bytes)
    }
}

fn as_bits(persons: &[u32], least: u32, span: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(span.div_ceil(8)).unwrap_or(usize::MAX)];
    for person in persons {
        let at = (person - least) as usize;
        bytes[at / 8] |= 1 << (at % 8);
    }
    bytes
}

/// How many ids lie between each person and the one before, in blocks: a byte for the width, then the packed numbers.
fn as_gaps(persons: &[u32]) -> Vec<u8> {
    let gaps: Vec<u64> = persons.windows(2).map(|pair| u64::from(pair[1] - pair[0] - 1)).collect();
    let mut bytes = Vec::new();
    for block in gaps.chunks(BLOCK) {
        let width = width_of(block.iter().copied().max().unwrap_or(0));
        let mut packer = Packer::new(width, block.len());
        block.iter().for_each(|gap| packer.push(*gap));
        let packed = packer.finish();
        bytes.push(u8::try_from(width).unwrap_or(u8::MAX));
        bytes.extend_from_slice(&packed[..packed.len() - PADDING]);
    }
    bytes.extend_from_slice(&[0; PADDING]);
    bytes
}

/// A sidecar in memory, whole and checked.
#[derive(Debug)]
pub struct Sidecar {
    head: Head,
    bytes: Bytes,
    /// Unpacked when they are first asked for.
    persons: OnceLock<Vec<u32>>,
}

impl Sidecar {
    /// `None` when anything of it is not as it was written.
    pub fn read(bytes: Bytes) -> Option<Self> {
        let head = Head::read(&bytes)?;
        if bytes.len() as u64 != head.bytes() {
            return None;
        }
        let one = Self { head, bytes, persons: OnceLock::new() };
        let (persons, events) = one.sections();
        let is_whole = xxh3_64(persons) == head.persons_sum && xxh3_64(events) == head.events_sum;
        is_whole.then_some(one)
    }

    pub fn head(&self) -> &Head {
        &self.head
    }

    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The memory that it takes once its persons were asked for.
    pub(super) fn memory(&self) -> usize {
        self.bytes.len() + usize::try_from(self.head.persons).unwrap_or(0) * size_of::<u32>()
    }

    fn sections(&self) -> (&[u8], &[u8]) {
        let at = HEAD_BYTES + usize::try_from(self.head.persons_bytes).unwrap_or(0);
        (self.bytes.get(HEAD_BYTES..at).unwrap_or_default(), self.bytes.get(at..).unwrap_or_default())
    }

    /// The ids of all persons in the file, as they are stored, each once, in order.
    pub fn persons(&self) -> &[u32] {
        self.persons.get_or_init(|| unpacked(&self.head, self.sections().0))
    }

    /// The persons alone, from the bytes behind the head; `None` when they are not as they were written.
    pub(super) fn persons_in(head: &Head, bytes: &[u8]) -> Option<Vec<u32>> {
        let is_whole = bytes.len() as u64 == head.persons_bytes && xxh3_64(bytes) == head.persons_sum;
        is_whole.then(|| unpacked(head, bytes))
    }

    /// The events, row by row.
    pub fn events(&self) -> Events<'_> {
        let (bytes, rows) = (self.sections().1, usize::try_from(self.head.rows).unwrap_or(0));
        let (starts, times) = bytes.split_at_checked(rows.div_ceil(64) * 8).unwrap_or_default();
        Events {
            starts,
            times: Packed::new(times, self.head.width.into()),
            start: self.head.start,
            unit: i64::from(self.head.unit),
            rows,
        }
    }
}

fn unpacked(head: &Head, bytes: &[u8]) -> Vec<u32> {
    let count = usize::try_from(head.persons).unwrap_or(0);
    match head.coding {
        AS_BITS => of_bits(bytes, head.least, count),
        _ => of_gaps(bytes, head.least, count),
    }
}

fn of_bits(bytes: &[u8], least: u32, count: usize) -> Vec<u32> {
    let mut persons = Vec::with_capacity(count);
    let mut first = least;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        let mut word = u64::from_le_bytes(word);
        while word != 0 {
            persons.push(first.wrapping_add(word.trailing_zeros()));
            word &= word - 1;
        }
        first = first.wrapping_add(64);
    }
    persons
}

fn of_gaps(bytes: &[u8], least: u32, count: usize) -> Vec<u32> {
    let mut persons = Vec::with_capacity(count);
    let mut last = least;
    persons.push(last);
    let mut rest = bytes;
    let mut left = count.saturating_sub(1);
    while left > 0 {
        let Some((width, block)) = rest.split_first() else { break };
        let (width, size) = (u32::from(*width).min(WIDEST), left.min(BLOCK));
        let packed = Packed::new(block, width);
        persons.extend((0..size).map(|at| {
            #[expect(clippy::cast_possible_truncation, reason = "gaps lie between ids of 32 bits")]
            let gap = packed.get(at) as u32;
            last = last.wrapping_add(gap).wrapping_add(1);
            last
        }));
        let used = packed_bytes(width, size) - PADDING;
        rest = block.get(used..).unwrap_or_default();
        left -= size;
    }
    persons
}

/// Person and time of the rows of a file, in its order.
#[derive(Clone, Copy, Debug)]
pub struct Events<'a> {
    starts: &'a [u8],
    times: Packed<'a>,
    start: i64,
    unit: i64,
    rows: usize,
}

impl Events<'_> {
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// For 64 rows from `64 * at` on: a bit for each, set where another person begins.
    #[inline]
    pub fn starts(&self, at: usize) -> u64 {
        let word = self.starts.get(at * 8..).and_then(<[u8]>::first_chunk::<8>);
        word.map_or(0, |word| u64::from_le_bytes(*word))
    }

    /// When the event of a row occurred, in microseconds.
    #[inline]
    pub fn time(&self, row: usize) -> i64 {
        self.start.wrapping_add(self.times.get(row).cast_signed().wrapping_mul(self.unit))
    }

    /// The rows that `chosen` picks, 64 at a time (it is given the number of the first 64 and answers with a bit for
    /// each): place of the person among those of the file, row, and time, in the order of the file.
    #[inline]
    pub fn visit(&self, mut chosen: impl FnMut(usize) -> u64, mut on: impl FnMut(usize, usize, i64)) {
        let mut before = 0_usize;
        for word in 0..self.rows.div_ceil(64) {
            let starts = self.starts(word);
            let first = word * 64;
            let left = self.rows - first;
            let all = if left >= 64 { u64::MAX } else { (1 << left) - 1 };
            let mut bits = chosen(word) & all;
            if bits == all {
                // Nothing need be counted where every row is taken.
                let mut begun = starts;
                for row in first..first + left.min(64) {
                    before += (begun & 1) as usize;
                    begun >>= 1;
                    on(before.saturating_sub(1), row, self.time(row));
                }
                continue;
            }
            while bits != 0 {
                let bit = bits.trailing_zeros();
                bits &= bits - 1;
                // The first row of a file begins a person, so there is one before any row.
                let upto = starts & (u64::MAX >> (63 - bit));
                let person = (before + upto.count_ones() as usize).saturating_sub(1);
                let row = first + bit as usize;
                on(person, row, self.time(row));
            }
            before += starts.count_ones() as usize;
        }
    }
}
