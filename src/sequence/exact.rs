//! `ExactSum`: a sum of floating point numbers that does not depend on their order, so that it may be put together from
//! parts in any way and is the same.

use std::mem;

/// Numbers whose mathematical sum is that of all that were added, smallest first, none overlapping another in its bits.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ExactSum {
    parts: Vec<f64>,
}

impl ExactSum {
    pub(crate) fn add(&mut self, number: f64) {
        let mut rest = number;
        let mut kept = 0;
        for at in 0..self.parts.len() {
            let mut other = self.parts[at];
            if rest.abs() < other.abs() {
                mem::swap(&mut rest, &mut other);
            }
            let high = rest + other;
            if !high.is_finite() {
                // Beyond what a number can hold: it stays infinite.
                self.parts = vec![high];
                return;
            }
            let low = other - (high - rest);
            if low != 0.0 {
                self.parts[kept] = low;
                kept += 1;
            }
            rest = high;
        }
        self.parts.truncate(kept);
        self.parts.push(rest);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        other.parts.iter().for_each(|part| self.add(*part));
    }

    /// The sum, rounded once.
    pub(crate) fn value(&self) -> f64 {
        let mut left = self.parts.iter().rev().copied();
        let Some(mut high) = left.next() else { return 0.0 };
        while let Some(next) = left.next() {
            let before = high;
            high = before + next;
            let low = next - (high - before);
            if low == 0.0 {
                continue;
            }
            // Half of the last place: what is left decides which way it is rounded.
            if let Some(after) = left.next()
                && (low < 0.0) == (after < 0.0)
                && after != 0.0
            {
                let twice = low * 2.0;
                let rounded = high + twice;
                if rounded - high == twice {
                    high = rounded;
                }
            }
            break;
        }
        high
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(numbers: impl IntoIterator<Item = f64>) -> f64 {
        let mut sum = ExactSum::default();
        numbers.into_iter().for_each(|number| sum.add(number));
        sum.value()
    }

    #[test]
    fn what_rounding_would_lose_is_kept() {
        assert_eq!(sum([0.1; 10]), 1.0);
        assert_eq!(sum([1e100, 1.0, -1e100]), 1.0);
        assert_eq!(sum([1.0, 1e-16, 1e-16]), 1.000_000_000_000_000_2);
        assert_eq!(sum([]), 0.0);
    }

    proptest! {
        #[test]
        fn neither_order_nor_grouping_matters(
            mut numbers in prop::collection::vec(-1e20f64..1e20, 0..30),
            small in prop::collection::vec(-1f64..1.0, 0..30),
            cut in 0usize..60,
        ) {
            numbers.extend(small);
            let there = sum(numbers.iter().copied());
            prop_assert_eq!(sum(numbers.iter().rev().copied()).to_bits(), there.to_bits());
            let (one, other) = numbers.split_at(cut.min(numbers.len()));
            let (mut whole, mut rest) = (ExactSum::default(), ExactSum::default());
            other.iter().for_each(|number| whole.add(*number));
            one.iter().for_each(|number| rest.add(*number));
            whole.merge(&rest);
            prop_assert_eq!(whole.value().to_bits(), there.to_bits());
        }
    }
}
