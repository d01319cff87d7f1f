//! In which periods a person is new, returns, comes back after a pause or falls silent.

/// What a person is in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Active, and never before.
    New,
    /// Active, and in the period before too.
    Returning,
    /// Active, not in the period before, and once before that.
    Resurrecting,
    /// Not active, and was in the period before.
    Dormant,
}

/// Visits every period in which a person is something; `active` are the numbers of the active periods, rising.
pub(crate) fn visit_states(active: &[i64], mut visit: impl FnMut(i64, State)) {
    for (place, period) in active.iter().enumerate() {
        visit(
            *period,
            match place.checked_sub(1).map(|before| active[before]) {
                None => State::New,
                Some(before) if before + 1 == *period => State::Returning,
                Some(_) => State::Resurrecting,
            },
        );
        if active.get(place + 1) != Some(&(period + 1)) {
            visit(period + 1, State::Dormant);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_agrees_with_the_words_of_the_definition(active in prop::collection::btree_set(0i64..12, 0..8)) {
            let twin = |period: i64| {
                let (now, before) = (active.contains(&period), active.contains(&(period - 1)));
                let ever: bool = active.iter().any(|one| *one < period);
                match (now, before, ever) {
                    (true, _, false) => Some(State::New),
                    (true, true, true) => Some(State::Returning),
                    (true, false, true) => Some(State::Resurrecting),
                    (false, true, _) => Some(State::Dormant),
                    (false, false, _) => None,
                }
            };
            let list: Vec<i64> = active.iter().copied().collect();
            let mut found = Vec::new();
            visit_states(&list, |period, state| found.push((period, state)));
            let expected: Vec<_> = (0..14).filter_map(|period| Some((period, twin(period)?))).collect();
            let mut sorted = found.clone();
            sorted.sort_by_key(|one| one.0);
            prop_assert_eq!(&sorted, &expected);
            // Nobody is two things in one period.
            let periods: BTreeSet<i64> = found.iter().map(|one| one.0).collect();
            prop_assert_eq!(periods.len(), found.len());
        }
    }
}
