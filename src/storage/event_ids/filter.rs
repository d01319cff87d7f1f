//! A blocked Bloom filter: says for nearly every id that a run does not have that it is not there, for one cache line.
//!
//! Blocks are in the order of the keys, as the entries are, so writing a run fills them one after the other and never
//! goes back. A key sets one bit in each of the eight words of its block: at ten bits a key, one stranger in about
//! ninety is let through.

use crate::storage::event_ids::entry::number;

/// The bytes of a block: a cache line.
pub(crate) const FILTER_BLOCK_BYTES: usize = 64;

const BITS_PER_KEY: u64 = 10;
const WORDS: usize = FILTER_BLOCK_BYTES / 8;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(align(64))]
pub(crate) struct FilterBlock([u64; WORDS]);

/// How many blocks a filter of at most so many entries has.
pub(crate) fn blocks_for(entries: u64) -> u64 {
    entries.saturating_mul(BITS_PER_KEY).div_ceil(FILTER_BLOCK_BYTES as u64 * 8).max(1)
}

/// The block of a key: its share of the key space, so that it rises with the key.
pub(crate) fn block_of(high: u64, blocks: u64) -> u64 {
    ((u128::from(high) * u128::from(blocks)) >> 64) as u64
}

/// The bit of a key in a word: six bits of its lower half for each word, which the block does not depend on.
fn bit(low: u64, word: usize) -> u64 {
    1 << ((low >> (6 * word)) & 63)
}

impl FilterBlock {
    pub(crate) fn insert(&mut self, low: u64) {
        for (word, bits) in self.0.iter_mut().enumerate() {
            *bits |= bit(low, word);
        }
    }

    /// Without a branch for each word: which of them says no first cannot be foreseen, that one does can.
    #[inline]
    pub(crate) fn may_have(&self, low: u64) -> bool {
        let missing =
            self.0.iter().enumerate().fold(0, |missing, (word, bits)| missing | (bit(low, word) & !bits));
        missing == 0
    }

    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        for word in self.0 {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// From exactly [`FILTER_BLOCK_BYTES`].
    pub(crate) fn read(bytes: &[u8]) -> Self {
        Self(std::array::from_fn(|word| number(bytes, word * 8)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xxhash_rust::xxh3::xxh3_128;

    #[test]
    fn every_key_passes_and_few_strangers_do() {
        let key = |number: u32| {
            let key = xxh3_128(&number.to_le_bytes());
            (u64::try_from(key >> 64).unwrap(), u64::try_from(key & u128::from(u64::MAX)).unwrap())
        };
        let blocks = blocks_for(100_000);
        let mut filter = vec![FilterBlock::default(); usize::try_from(blocks).unwrap()];
        let place = |high| usize::try_from(block_of(high, blocks)).unwrap();
        for (high, low) in (0..100_000).map(key) {
            filter[place(high)].insert(low);
        }
        let passes = |(high, low): (u64, u64)| filter[place(high)].may_have(low);
        assert!((0..100_000).map(key).all(passes));
        let strangers = (100_000..200_000).map(key).filter(|one| passes(*one)).count();
        assert!(strangers < 2_000, "{strangers} of 100000 strangers passed");
    }

    #[test]
    fn blocks_rise_with_the_key_and_a_block_survives_its_bytes() {
        assert_eq!((block_of(0, 7), block_of(u64::MAX, 7)), (0, 6));
        assert!((0..63).all(|shift| block_of(1 << shift, 1000) <= block_of(1 << (shift + 1), 1000)));
        let mut block = FilterBlock::default();
        block.insert(0x0123_4567_89ab_cdef);
        let mut bytes = Vec::new();
        block.write(&mut bytes);
        assert_eq!(bytes.len(), FILTER_BLOCK_BYTES);
        assert_eq!(FilterBlock::read(&bytes), block);
    }
}
