//! A set of persons: a bit for each id of a range where ids are dense, a hash set where they are far apart.

use hashbrown::HashSet;

/// The widest range that is kept as bits (512 MiB).
const WIDEST_BITS: u64 = 1 << 32;

/// Persons of a range of ids.
#[derive(Clone, Debug)]
pub(crate) enum PersonSet {
    Bits { first: i64, words: Vec<u64> },
    Sparse(HashSet<i64>),
}

impl PersonSet {
    /// An empty set for ids from `low` to `high`.
    pub(crate) fn between(low: i64, high: i64) -> Self {
        let ids = if low > high { 0 } else { high.abs_diff(low).saturating_add(1) };
        match usize::try_from(ids.div_ceil(64)) {
            Ok(words) if ids <= WIDEST_BITS => Self::Bits { first: low, words: vec![0; words] },
            _ => Self::Sparse(HashSet::new()),
        }
    }

    /// An id outside the range that the set was made for makes it a hash set.
    pub(crate) fn insert(&mut self, person: i64) {
        match self {
            Self::Bits { first, words } => {
                let at = person.checked_sub(*first).and_then(|at| usize::try_from(at).ok());
                match at.filter(|at| at / 64 < words.len()) {
                    Some(at) => words[at / 64] |= 1 << (at % 64),
                    None => {
                        let mut sparse: HashSet<i64> = self.iter().collect();
                        sparse.insert(person);
                        *self = Self::Sparse(sparse);
                    }
                }
            }
            Self::Sparse(persons) => {
                persons.insert(person);
            }
        }
    }

    pub(crate) fn unite(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Bits { first, words }, Self::Bits { first: same, words: more })
                if *first == *same && words.len() >= more.len() =>
            {
                words.iter_mut().zip(more).for_each(|(word, more)| *word |= more);
            }
            _ => {
                let (low, high) = match (self.bounds(), other.bounds()) {
                    (Some(mine), Some(others)) => (mine.0.min(others.0), mine.1.max(others.1)),
                    (one, another) => one.or(another).unwrap_or((0, -1)),
                };
                let mut both = Self::between(low, high);
                self.iter().chain(other.iter()).for_each(|person| both.insert(person));
                *self = both;
            }
        }
    }

    pub(crate) fn len(&self) -> i64 {
        let count = match self {
            Self::Bits { words, .. } => words.iter().map(|word| u64::from(word.count_ones())).sum(),
            Self::Sparse(persons) => persons.len() as u64,
        };
        i64::try_from(count).unwrap_or(i64::MAX)
    }

    /// The memory that the set takes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Bits { words, .. } => words.capacity() * size_of::<u64>(),
            Self::Sparse(persons) => persons.allocation_size(),
        }
    }

    fn bounds(&self) -> Option<(i64, i64)> {
        self.iter().fold(None, |bounds, person| match bounds {
            None => Some((person, person)),
            Some((low, high)) => Some((person.min(low), person.max(high))),
        })
    }

    fn iter(&self) -> Box<dyn Iterator<Item = i64> + '_> {
        match self {
            Self::Bits { first, words } => Box::new(words.iter().enumerate().flat_map(move |(at, word)| {
                let start = i64::try_from(at * 64).unwrap_or(i64::MAX);
                (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| first + start + bit)
            })),
            Self::Sparse(persons) => Box::new(persons.iter().copied()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set(low: i64, high: i64, persons: &[i64]) -> PersonSet {
        let mut set = PersonSet::between(low, high);
        persons.iter().for_each(|person| set.insert(*person));
        set
    }

    #[test]
    fn ids_far_apart_are_not_kept_as_bits() {
        let far = set(i64::MIN, i64::MAX, &[i64::MIN, 0, i64::MAX, 0]);
        assert!(matches!(far, PersonSet::Sparse(_)));
        assert_eq!(far.len(), 3);
    }

    #[test]
    fn an_id_outside_the_range_is_not_lost() {
        assert_eq!(set(5, 10, &[5, 10, 900, 1]).len(), 4);
        assert_eq!(set(1, 0, &[3]).len(), 1);
    }

    proptest! {
        #[test]
        fn a_union_holds_what_either_holds(
            one in prop::collection::vec(-300_i64..300, 0..50),
            other in prop::collection::vec(0_i64..9_000, 0..50),
        ) {
            let mut united = set(-300, 299, &one);
            united.unite(&set(0, 8_999, &other));
            let right: BTreeSet<i64> = one.iter().chain(&other).copied().collect();
            prop_assert_eq!(united.len(), i64::try_from(right.len()).unwrap());
            prop_assert_eq!(united.iter().collect::<BTreeSet<_>>(), right);
        }
    }
}
