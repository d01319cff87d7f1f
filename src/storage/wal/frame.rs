//! How records stand in a segment: a head that names the segment, then frames, each with its length, its number and a
//! checksum over both and the payload.
//!
//! ```text
//! head:  "MPLOG\0\0" format:u8 | first:u64 | xxh3:u64                       24 bytes
//! frame: "MPfr" length:u32 | number:u64 | xxh3:u64 | payload                24 bytes and the payload
//! ```
//! Integers are little-endian. The checksum of a head is over the 16 bytes before it; that of a frame is over the
//! length, the number and the payload.

use memchr::memmem;
use xxhash_rust::xxh3::Xxh3;
use xxhash_rust::xxh3::xxh3_64;

/// The bytes of a segment's head.
pub(crate) const HEAD_BYTES: usize = 24;
/// The bytes of a frame before its payload.
pub(crate) const FRAME_BYTES: usize = 24;
/// The most bytes that a record may have.
pub(crate) const RECORD_LIMIT: usize = 1 << 30;

const HEAD_MAGIC: &[u8; 7] = b"MPLOG\0\0";
const FORMAT: u8 = 1;
const FRAME_MAGIC: &[u8; 4] = b"MPfr";

/// What stands at the beginning of the segment whose first record has this number.
pub(crate) fn head(first: u64) -> [u8; HEAD_BYTES] {
    let mut bytes = [0; HEAD_BYTES];
    bytes[..7].copy_from_slice(HEAD_MAGIC);
    bytes[7] = FORMAT;
    bytes[8..16].copy_from_slice(&first.to_le_bytes());
    let sum = xxh3_64(&bytes[..16]);
    bytes[16..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The number of the first record of a segment, if its head is whole; or what is wrong with it.
pub(crate) fn read_head(bytes: &[u8]) -> Result<u64, &'static str> {
    let head = bytes.get(..HEAD_BYTES).ok_or("it ends within its head")?;
    if xxh3_64(&head[..16]) != number(head, 16) || head[..7] != HEAD_MAGIC[..] {
        return Err("its head is damaged");
    }
    if head[7] != FORMAT {
        return Err("its format is newer than this program; use a newer milepost");
    }
    Ok(number(head, 8))
}

/// Adds the frame of a record.
pub(crate) fn write(record: u64, payload: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(FRAME_MAGIC);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&record.to_le_bytes());
    out.extend_from_slice(&sum_of(length, record, payload).to_le_bytes());
    out.extend_from_slice(payload);
}

/// A frame that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub record: u64,
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// How many bytes it takes in its segment.
    pub(crate) fn bytes(&self) -> usize {
        FRAME_BYTES + self.payload.len()
    }
}

/// The frame at the beginning of `bytes`, if there is a whole one; or what is wrong.
pub(crate) fn read(bytes: &[u8]) -> Result<Frame<'_>, &'static str> {
    let head = bytes.get(..FRAME_BYTES).ok_or("the head of a record is cut off")?;
    if head[..4] != FRAME_MAGIC[..] {
        return Err("no record begins where one should");
    }
    let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let record = number(head, 8);
    let end = usize::try_from(length).ok().filter(|length| *length <= RECORD_LIMIT);
    let payload = end.and_then(|length| bytes.get(FRAME_BYTES..FRAME_BYTES + length));
    let payload = payload.ok_or("a record is cut off, or its length is damaged")?;
    if sum_of(length, record, payload) != number(head, 16) {
        return Err("the checksum of a record is wrong");
    }
    Ok(Frame { record, payload })
}

/// The place of the first whole frame in `bytes`, wherever it begins.
pub(crate) fn find(bytes: &[u8]) -> Option<usize> {
    memmem::find_iter(bytes, FRAME_MAGIC).find(|at| read(&bytes[*at..]).is_ok())
}

fn sum_of(length: u32, record: u64, payload: &[u8]) -> u64 {
    let mut sum = Xxh3::new();
    sum.update(&length.to_le_bytes());
    sum.update(&record.to_le_bytes());
    sum.update(payload);
    sum.digest()
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}
