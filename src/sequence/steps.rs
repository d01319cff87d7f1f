//! Steps in an order, and something that must not follow: does one person's history hold such a chain?
//!
//! A chain is made of different events, each not earlier than the one before, from the first to the last within a
//! window; equal times may be used in either order. What must not follow is forbidden after the last step, up to and
//! with the end of the same window, which must have closed.

/// An event of a person, with the steps that it fits as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fit {
    pub(crate) at: i64,
    pub(crate) steps: u64,
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) steps: usize,
    /// In microseconds; the edge belongs to it.
    pub(crate) window: i64,
    /// The present: nothing from here on has happened.
    pub(crate) as_of: i64,
}

/// Whether a chain of all steps exists in `events` (ordered by time) that none of `forbidden` follows (times in order);
/// without `forbidden`, any chain will do.
pub(crate) fn has_chain(order: Order, events: &[Fit], forbidden: Option<&[i64]>) -> bool {
    // For each number of steps done: the latest first event that a chain of so many can have.
    let mut latest: Vec<Option<i64>> = vec![None; order.steps + 1];
    for group in events.chunk_by(|one, next| one.at == next.at) {
        let at = group[0].at;
        let mut next = latest.clone();
        for (done, first) in latest.iter().enumerate().take(order.steps) {
            let first = if done == 0 { Some(at) } else { *first };
            let Some(first) = first.filter(|first| at - first <= order.window) else { continue };
            let mut used_by: Vec<Option<usize>> = vec![None; group.len()];
            for step in done..order.steps {
                let mut tried = vec![false; group.len()];
                if !assign(step, group, &mut used_by, &mut tried) {
                    break;
                }
                next[step + 1] = next[step + 1].max(Some(first));
                if step + 1 == order.steps && is_free(order, at, forbidden) {
                    return true;
                }
            }
        }
        latest = next;
    }
    false
}

/// The same where all steps are one kind of event, which happened at these times, in order.
pub(crate) fn has_repeated(order: Order, times: &[i64], forbidden: Option<&[i64]>) -> bool {
    let Some(before) = order.steps.checked_sub(1) else { return false };
    // The latest events up to one are the closest together.
    let spans = times.iter().zip(times.get(before..).unwrap_or_default());
    spans.into_iter().any(|(first, last)| last - first <= order.window && is_free(order, *last, forbidden))
}

/// Gives a step an event of the group of its own, moving other steps if that makes room.
fn assign(step: usize, group: &[Fit], used_by: &mut [Option<usize>], tried: &mut [bool]) -> bool {
    for place in 0..group.len() {
        if group[place].steps & (1 << step) == 0 || tried[place] {
            continue;
        }
        tried[place] = true;
        let free = match used_by[place] {
            None => true,
            Some(other) => assign(other, group, used_by, tried),
        };
        if free {
            used_by[place] = Some(step);
            return true;
        }
    }
    false
}

/// Whether the time in which something must not follow a last step at `at` is over, and nothing did.
fn is_free(order: Order, at: i64, forbidden: Option<&[i64]>) -> bool {
    let Some(forbidden) = forbidden else { return true };
    let end = at.saturating_add(order.window);
    let after = forbidden.partition_point(|time| *time <= at);
    end < order.as_of && forbidden.get(after).is_none_or(|time| *time > end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn has(steps: usize, window: i64, events: &[(i64, u64)], forbidden: Option<&[i64]>) -> bool {
        let events: Vec<Fit> = events.iter().map(|(at, steps)| Fit { at: *at, steps: *steps }).collect();
        has_chain(Order { steps, window, as_of: 1_000 }, &events, forbidden)
    }

    #[test]
    fn a_chain_is_in_order_of_different_events_and_within_the_window() {
        assert!(has(2, 10, &[(0, 1), (10, 2)], None));
        assert!(!has(2, 10, &[(0, 1), (11, 2)], None));
        assert!(!has(2, 10, &[(0, 2), (1, 1)], None));
        assert!(!has(2, 10, &[(0, 3)], None), "one event does not fill two steps");
        assert!(has(2, 10, &[(5, 2), (5, 1)], None), "equal times are in either order");
        assert!(has(2, 10, &[(0, 3), (0, 1)], None));
    }

    #[test]
    fn what_must_not_follow_has_had_its_time() {
        let chain = [(0, 1), (5, 2)];
        assert!(has(2, 10, &chain, Some(&[])));
        assert!(!has(2, 10, &chain, Some(&[15])));
        assert!(has(2, 10, &chain, Some(&[5, 16])), "neither at the same time nor after the window");
        assert!(!has(2, 10, &[(980, 1), (990, 2)], Some(&[])), "the window is still open");
        assert!(has(2, 9, &[(980, 1), (989, 2)], Some(&[])));
        // Another attempt that nothing followed counts.
        assert!(has(2, 10, &[(0, 1), (5, 2), (100, 1), (101, 2)], Some(&[6])));
    }

    /// Every choice of events for the steps.
    fn twin(order: Order, events: &[Fit], forbidden: Option<&[i64]>) -> bool {
        fn go(order: Order, events: &[Fit], forbidden: Option<&[i64]>, chosen: &mut Vec<usize>) -> bool {
            if chosen.len() == order.steps {
                let (first, last) = (events[chosen[0]].at, events[chosen[order.steps - 1]].at);
                let follows = |time: &i64| last < *time && *time <= last + order.window;
                let free =
                    forbidden.is_none_or(|all| last + order.window < order.as_of && !all.iter().any(follows));
                return last - first <= order.window && free;
            }
            (0..events.len()).any(|place| {
                let later = chosen.last().is_none_or(|before| events[place].at >= events[*before].at);
                let fits = events[place].steps & (1 << chosen.len()) != 0;
                if !later || !fits || chosen.contains(&place) {
                    return false;
                }
                chosen.push(place);
                let found = go(order, events, forbidden, chosen);
                chosen.pop();
                found
            })
        }
        go(order, events, forbidden, &mut Vec::new())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]
        #[test]
        fn it_agrees_with_every_choice_of_events(
            mut events in prop::collection::vec((0i64..12, 1u64..8), 0..8),
            mut forbidden in prop::option::of(prop::collection::vec(0i64..14, 0..4)),
            (steps, window, as_of) in (1usize..4, 0i64..8, 6i64..20),
        ) {
            events.sort_unstable();
            if let Some(all) = &mut forbidden {
                all.sort_unstable();
            }
            let events: Vec<Fit> = events.into_iter().map(|(at, steps)| Fit { at, steps }).collect();
            let order = Order { steps, window, as_of };
            let forbidden = forbidden.as_deref();
            prop_assert_eq!(has_chain(order, &events, forbidden), twin(order, &events, forbidden));
            // The same events where each fits every step.
            let all: Vec<Fit> = events.iter().map(|event| Fit { steps: 7, ..*event }).collect();
            let times: Vec<i64> = events.iter().map(|event| event.at).collect();
            prop_assert_eq!(has_repeated(order, &times, forbidden), twin(order, &all, forbidden));
        }
    }
}
