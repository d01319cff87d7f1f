//! Whether a person has more than one event in a file, which most questions ask about few of its persons.

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
