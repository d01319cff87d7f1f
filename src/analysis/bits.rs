//! `Bits`: a set of persons with a bit for each; persons are numbered densely, so it is small, and to ask it is cheap.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use roaring::RoaringTreemap;

/// Ids up to here have a bit (512 MiB for all of them); those beyond are kept by themselves.
const DENSE: u64 = 1 << 32;

/// Some of all persons.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bits {
    words: Vec<u64>,
    far: RoaringTreemap,
}

impl Bits {
    pub(crate) fn insert(&mut self, person: i64) {
        let Ok(person) = u64::try_from(person) else { return };
        if person >= DENSE {
            self.far.insert(person);
            return;
        }
        let word = usize::try_from(person / 64).unwrap_or(usize::MAX);
        if word >= self.words.len() {
            self.words.resize((word + 1).max(self.words.len() * 2), 0);
        }
        self.words[word] |= 1 << (person % 64);
    }

    /// Inserts the persons in the first column of a batch.
    pub(crate) fn insert_first(&mut self, batch: &RecordBatch) {
        // The rows of a person come together.
        let mut last = -1;
        for person in persons_in(batch) {
            if *person != last {
                self.insert(*person);
                last = *person;
            }
        }
    }

    /// All that are in any of the sets.
    pub(crate) fn united(sets: Vec<Self>) -> Self {
        let both = |mut all: Self, part: Self| {
            all.unite(&part);
            all
        };
        sets.into_iter().reduce(both).unwrap_or_default()
    }

    pub(crate) fn contains(&self, person: i64) -> bool {
        let Ok(person) = u64::try_from(person) else { return false };
        if person >= DENSE {
            return self.far.contains(person);
        }
        let word = usize::try_from(person / 64).unwrap_or(usize::MAX);
        self.words.get(word).is_some_and(|word| word >> (person % 64) & 1 == 1)
    }

    pub(crate) fn unite(&mut self, other: &Self) {
        if other.words.len() > self.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        self.words.iter_mut().zip(&other.words).for_each(|(word, more)| *word |= more);
        self.far |= &other.far;
    }

    pub(crate) fn intersect(&mut self, other: &Self) {
        self.words.truncate(other.words.len());
        self.words.iter_mut().zip(&other.words).for_each(|(word, more)| *word &= more);
        self.far &= &other.far;
    }

    pub(crate) fn subtract(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, less)| *word &= !less);
        self.far -= &other.far;
    }

    pub(crate) fn len(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum::<u64>() + self.far.len()
    }

    pub(crate) fn common(&self, other: &Self) -> u64 {
        let dense = self.words.iter().zip(&other.words);
        dense.map(|(one, other)| u64::from((one & other).count_ones())).sum::<u64>()
            + self.far.intersection_len(&other.far)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.words.len() * size_of::<u64>()
    }

    /// In order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        let dense = self.words.iter().zip(0_u64..).flat_map(|(word, at)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(at * 64 + u64::from(bit))
            })
        });
        dense.chain(&self.far).filter_map(|person| i64::try_from(person).ok())
    }
}

/// The first column of a batch.
pub(crate) fn persons_in(batch: &RecordBatch) -> &[i64] {
    batch.column(0).as_primitive::<Int64Type>().values()
}

impl FromIterator<i64> for Bits {
    fn from_iter<T: IntoIterator<Item = i64>>(persons: T) -> Self {
        let mut bits = Self::default();
        persons.into_iter().for_each(|person| bits.insert(person));
        bits
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn persons() -> impl Strategy<Value = Vec<i64>> {
        prop::collection::vec(prop_oneof![0_i64..300, (1_i64 << 32)..(1 << 32) + 9], 0..40)
    }

    proptest! {
        #[test]
        fn it_is_a_set(one in persons(), other in persons(), asked in 0_i64..300) {
            let (mine, theirs): (Bits, Bits) = (one.iter().copied().collect(), other.iter().copied().collect());
            let (one, other): (BTreeSet<i64>, BTreeSet<i64>) = (one.into_iter().collect(), other.into_iter().collect());
            let list = |bits: &Bits| bits.iter().collect::<Vec<_>>();
            let of = |set: &BTreeSet<i64>| set.iter().copied().collect::<Vec<_>>();
            prop_assert_eq!(list(&mine), of(&one));
            prop_assert_eq!(mine.contains(asked), one.contains(&asked));
            let (mut both, mut any, mut less) = (mine.clone(), mine.clone(), mine.clone());
            both.intersect(&theirs);
            any.unite(&theirs);
            less.subtract(&theirs);
            prop_assert_eq!(list(&both), of(&(&one & &other)));
            prop_assert_eq!(list(&any), of(&(&one | &other)));
            prop_assert_eq!(list(&less), of(&(&one - &other)));
            prop_assert_eq!((any.len(), mine.common(&theirs)), ((&one | &other).len() as u64, (&one & &other).len() as u64));
        }
    }
}
