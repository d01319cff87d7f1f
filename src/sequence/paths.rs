//! What a person does next after an event, or did before one: a few steps, with loops folded into one.

/// One event of a person, in order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) at: i64,
    /// What it is called; equal numbers are equal names.
    pub(crate) label: u32,
}

/// How far to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) steps: usize,
    /// From the anchor, in microseconds; the edge belongs to it.
    pub(crate) window: i64,
}

/// A step of a path, and how long after (or before) the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) label: u32,
    pub(crate) after: i64,
}

/// The steps from an anchor on, through `stops` in the order in which they are met (backwards in time for a path that
/// leads to the anchor). Equal steps that follow each other, or the anchor itself, are one.
pub(crate) fn path(reach: Reach, anchor: Stop, stops: impl Iterator<Item = Stop>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut last, mut since) = (anchor.label, anchor.at);
    for stop in stops {
        if steps.len() == reach.steps || (stop.at - anchor.at).abs() > reach.window {
            break;
        }
        if stop.label != last {
            steps.push(Step { label: stop.label, after: (stop.at - since).abs() });
            (last, since) = (stop.label, stop.at);
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(steps: usize, window: i64, stops: &[(i64, u32)]) -> Vec<u32> {
        let stops = stops.iter().map(|(at, label)| Stop { at: *at, label: *label });
        path(Reach { steps, window }, Stop { at: 0, label: 0 }, stops).iter().map(|step| step.label).collect()
    }

    #[test]
    fn loops_are_folded_and_the_window_ends_the_path() {
        assert_eq!(labels(3, 100, &[(1, 0), (2, 1), (3, 1), (4, 2), (5, 1), (6, 3)]), [1, 2, 1]);
        assert_eq!(labels(3, 4, &[(1, 1), (4, 2), (5, 3)]), [1, 2]);
        assert_eq!(labels(3, 100, &[]), Vec::<u32>::new());
        assert_eq!(labels(2, 10, &[(-1, 1), (-10, 2), (-11, 3)]), [1, 2], "backwards too");
    }

    proptest! {
        #[test]
        fn it_is_the_beginning_of_the_folded_events(
            mut stops in prop::collection::vec((0i64..20, 0u32..3), 0..12), steps in 0usize..5, window in 0i64..20,
        ) {
            stops.sort_unstable();
            let mut twin: Vec<u32> = std::iter::once(0)
                .chain(stops.iter().filter(|stop| stop.0 <= window).map(|stop| stop.1))
                .collect();
            twin.dedup();
            twin.remove(0);
            twin.truncate(steps);
            prop_assert_eq!(labels(steps, window, &stops), twin);
        }
    }
}
