//! `Entry`: one remembered event id, and its 24 bytes on disk.

/// The bytes of an entry in a run.
pub(crate) const ENTRY_BYTES: usize = 24;

/// A key in two halves, so that an entry has no padding; ordered by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) high: u64,
    pub(crate) low: u64,
    pub(crate) fingerprint: u64,
}

impl Entry {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the key")]
    pub(crate) fn new(key: u128, fingerprint: u64) -> Self {
        Self { high: (key >> 64) as u64, low: key as u64, fingerprint }
    }

    pub(crate) fn key(self) -> (u64, u64) {
        (self.high, self.low)
    }

    pub(crate) fn write(self, bytes: &mut Vec<u8>) {
        for part in [self.high, self.low, self.fingerprint] {
            bytes.extend_from_slice(&part.to_le_bytes());
        }
    }

    /// From exactly [`ENTRY_BYTES`].
    pub(crate) fn read(bytes: &[u8]) -> Self {
        Self { high: number(bytes, 0), low: number(bytes, 8), fingerprint: number(bytes, 16) }
    }
}

/// The little-endian number in the eight bytes from `at` on; bytes that are not there count as zero.
pub(crate) fn number(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    if let Some(found) = bytes.get(at..at + 8) {
        eight.copy_from_slice(found);
    }
    u64::from_le_bytes(eight)
}
