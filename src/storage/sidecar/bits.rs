//! Numbers of a fixed width, one behind the other, little end first; any of them can be read alone.

/// What lies behind the last number, so that each can be read as a part of eight bytes.
pub(super) const PADDING: usize = 8;

/// The widest number that eight bytes hold wherever it begins.
pub(super) const WIDEST: u32 = 57;

/// Writes numbers of one width.
#[derive(Clone, Debug)]
pub(super) struct Packer {
    width: u32,
    bytes: Vec<u8>,
    open: u64,
    filled: u32,
}

impl Packer {
    /// For about so many numbers of `width` bits, at most [`WIDEST`].
    pub(super) fn new(width: u32, count: usize) -> Self {
        Self { width, bytes: Vec::with_capacity(packed_bytes(width, count)), open: 0, filled: 0 }
    }

    /// The number is smaller than two to the power of the width.
    #[inline]
    pub(super) fn push(&mut self, number: u64) {
        self.open |= number << self.filled;
        self.filled += self.width;
        if self.filled >= 64 {
            self.bytes.extend_from_slice(&self.open.to_le_bytes());
            self.filled -= 64;
            let written = self.width - self.filled;
            self.open = if written < 64 { number >> written } else { 0 };
        }
    }

    /// The bytes with their padding: [`packed_bytes`] of them for so many numbers.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let rest = self.filled.div_ceil(8) as usize;
        self.bytes.extend_from_slice(&self.open.to_le_bytes()[..rest]);
        self.bytes.extend_from_slice(&[0; PADDING]);
        self.bytes
    }
}

/// How many bytes so many numbers take, with their padding.
pub(super) fn packed_bytes(width: u32, count: usize) -> usize {
    count.saturating_mul(width as usize).div_ceil(8).saturating_add(PADDING)
}

/// Reads numbers of one width.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed<'a> {
    bytes: &'a [u8],
    width: usize,
    mask: u64,
}

impl<'a> Packed<'a> {
    /// The width is at most [`WIDEST`].
    pub(super) fn new(bytes: &'a [u8], width: u32) -> Self {
        Self { bytes, width: width as usize, mask: (1 << width) - 1 }
    }

    /// The number at a place; 0 behind the end.
    #[inline]
    pub(super) fn get(&self, at: usize) -> u64 {
        let bit = at * self.width;
        let word = self.bytes.get(bit / 8..).and_then(<[u8]>::first_chunk::<8>);
        word.map_or(0, |word| u64::from_le_bytes(*word) >> (bit % 8) & self.mask)
    }
}

/// The bits that a number takes.
pub(super) fn width_of(greatest: u64) -> u32 {
    64 - greatest.leading_zeros()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_is_read_again(
            width in 0_u32..=WIDEST,
            numbers in prop::collection::vec(any::<u64>(), 0..300),
        ) {
            let numbers: Vec<u64> = numbers.iter().map(|one| one & ((1 << width) - 1)).collect();
            let mut packer = Packer::new(width, numbers.len());
            numbers.iter().for_each(|one| packer.push(*one));
            let bytes = packer.finish();
            prop_assert_eq!(bytes.len(), packed_bytes(width, numbers.len()));
            let packed = Packed::new(&bytes, width);
            let read: Vec<u64> = (0..numbers.len()).map(|at| packed.get(at)).collect();
            prop_assert_eq!(read, numbers);
        }
    }

    #[test]
    fn a_width_is_that_of_the_greatest_number() {
        assert_eq!((width_of(0), width_of(1), width_of(127), width_of(128)), (0, 1, 7, 8));
    }
}
