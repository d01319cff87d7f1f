//! How many events each person has in a file: of all of them, or whether it is more than one, which most questions ask about
//! few. No time is unpacked for it.

use crate::storage::sidecar::format::Events;

/// Asked in the order of the file, it reads on from the person that it was last asked about.
#[derive(Clone, Copy, Debug)]
pub struct Repeats<'a> {
    events: Events<'a>,
    word: usize,
    /// Persons who begin before the word.
    before: usize,
}

impl<'a> Events<'a> {
    pub fn repeats(self) -> Repeats<'a> {
        Repeats { events: self, word: 0, before: 0 }
    }

    /// Hands over the place of each person among those of the file, and how many events it has there.
    pub fn counts(self, mut on: impl FnMut(usize, usize)) {
        // The first row begins the first person.
        let (mut persons, mut since) = (0_usize, 0);
        for word in 0..self.rows().div_ceil(64) {
            let mut starts = self.starts(word);
            while starts != 0 {
                let row = word * 64 + starts.trailing_zeros() as usize;
                starts &= starts - 1;
                if row > 0 {
                    on(persons, row - since);
                    persons += 1;
                }
                since = row;
            }
        }
        if self.rows() > 0 {
            on(persons, self.rows() - since);
        }
    }
}

impl Repeats<'_> {
    /// Whether the `nth` person of the file has a second event there.
    pub fn again(&mut self, nth: usize) -> bool {
        let rows = self.events.rows();
        while self.word * 64 < rows {
            let mut starts = self.events.starts(self.word);
            let count = starts.count_ones() as usize;
            if nth < self.before + count {
                for _ in self.before..nth {
                    starts &= starts - 1;
                }
                // The row behind a person's first one is hers, too, where nobody begins there.
                let next = self.word * 64 + starts.trailing_zeros() as usize + 1;
                return next < rows && self.events.starts(next / 64) >> (next % 64) & 1 == 0;
            }
            self.before += count;
            self.word += 1;
        }
        false
    }
}
