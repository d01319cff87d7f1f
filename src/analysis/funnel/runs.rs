//! `Run`: the events of one file in the order of persons in which its index has them: nothing is moved while they are
//! read, and the events of a bucket stand side by side.

use std::ops::Range;

use crate::analysis::funnel::buckets::Extra;

/// Events and, for each, the place of its person in the bucket.
#[derive(Debug, Default)]
pub(super) struct Events {
    pub(super) keys: Vec<u64>,
    pub(super) persons: Vec<u16>,
    pub(super) extra: Vec<Extra>,
}

impl Events {
    pub(super) fn all(&self) -> Part<'_> {
        self.of(0..self.keys.len())
    }

    fn of(&self, range: Range<usize>) -> Part<'_> {
        let extra = self.extra.get(range.clone()).unwrap_or_default();
        Part { keys: &self.keys[range.clone()], persons: &self.persons[range], extra }
    }
}

/// Some events that stand side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) keys: &'a [u64],
    pub(super) persons: &'a [u16],
    pub(super) extra: &'a [Extra],
}

#[derive(Debug, Default)]
pub(super) struct Run {
    /// The day of the file, and its place among those of the day: runs in this order are nearly in order of time.
    pub(super) order: (i32, usize),
    /// Where each bucket begins, up to the last one that has events.
    starts: Vec<usize>,
    pub(super) events: Events,
}

impl Run {
    /// For at most so many events.
    pub(super) fn new(order: (i32, usize), events: usize) -> Self {
        let (keys, persons) = (Vec::with_capacity(events), Vec::with_capacity(events));
        Self { order, starts: Vec::new(), events: Events { keys, persons, extra: Vec::new() } }
    }

    /// Adds an event; `false` when its bucket lies before that of the last one.
    #[inline]
    pub(super) fn push(&mut self, bucket: usize, key: u64, person: u16) -> bool {
        if bucket + 1 != self.starts.len() {
            if bucket < self.starts.len() {
                return false;
            }
            self.starts.resize(bucket + 1, self.events.keys.len());
        }
        self.events.keys.push(key);
        self.events.persons.push(person);
        true
    }

    /// One behind the last bucket that has events.
    pub(super) fn buckets(&self) -> usize {
        self.starts.len()
    }

    /// The events of a bucket.
    pub(super) fn of(&self, bucket: usize) -> Option<Part<'_>> {
        let start = *self.starts.get(bucket)?;
        let end = self.starts.get(bucket + 1).copied().unwrap_or(self.events.keys.len());
        (start < end).then(|| self.events.of(start..end))
    }
}

/// Puts what is nearly in order of its keys in order; what is far from it, too, in a time that is no worse than a sort's.
/// What has one key stays as it is.
pub(super) fn settle_by<T: Copy, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    let mut moves = 8 * items.len();
    for at in 1..items.len() {
        let item = items[at];
        let mut to = at;
        while to > 0 && key(&items[to - 1]) > key(&item) {
            items[to] = items[to - 1];
            to -= 1;
        }
        items[to] = item;
        let moved = at - to;
        if moved > moves {
            items.sort_by_key(key);
            return;
        }
        moves -= moved;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_comes_is_put_in_order(mut items in prop::collection::vec(0_u64..500, 0..300)) {
            let mut right = items.clone();
            right.sort_by_key(|item| item / 3);
            settle_by(&mut items, |item| item / 3);
            prop_assert_eq!(items, right);
        }

        #[test]
        fn a_run_has_the_events_of_each_bucket(mut buckets in prop::collection::vec(0_usize..9, 0..60), early in 0_usize..9) {
            buckets.sort_unstable();
            let mut run = Run::new((0, 0), 4);
            for (key, bucket) in (0..).zip(&buckets) {
                prop_assert!(run.push(*bucket, key, 7));
            }
            prop_assert_eq!(run.push(early, 99, 7), buckets.last().is_none_or(|last| early >= *last));
            for bucket in 0..10 {
                let mut right: Vec<u64> = (0..).zip(&buckets).filter(|(_, one)| **one == bucket).map(|(key, _)| key).collect();
                if bucket == early && buckets.last().is_none_or(|last| early >= *last) {
                    right.push(99);
                }
                prop_assert_eq!(run.of(bucket).map_or(Vec::new(), |part| part.keys.to_vec()), right);
            }
        }
    }
}
