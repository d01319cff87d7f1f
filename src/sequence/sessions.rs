//! Where one person's visits begin and end: a pause that is longer than a limit parts two sessions.

use std::ops::Range;

/// The sessions of times that are in order, as ranges of places. A pause of exactly the limit does not part, and
/// neither does midnight.
pub(crate) fn sessions(times: &[i64], limit: i64) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    for place in 1..=times.len() {
        if place == times.len() || times[place] - times[place - 1] > limit {
            found.push(start..place);
            start = place;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_longer_pause_parts_sessions() {
        assert_eq!(sessions(&[], 30), Vec::<Range<usize>>::new());
        assert_eq!(sessions(&[5, 5], 30), vec![0..2; 1]);
        assert_eq!(sessions(&[0, 30, 61, 61], 30), [0..2, 2..4]);
    }

    proptest! {
        #[test]
        fn every_event_is_in_one_session_and_pauses_decide(
            mut times in prop::collection::vec(-50i64..50, 0..20), limit in 0i64..12,
        ) {
            times.sort_unstable();
            let found = sessions(&times, limit);
            let covered: Vec<usize> = found.iter().cloned().flatten().collect();
            prop_assert_eq!(covered, (0..times.len()).collect::<Vec<_>>());
            let session_of = |place: usize| found.iter().position(|session| session.contains(&place));
            for place in 1..times.len() {
                let together = session_of(place) == session_of(place - 1);
                prop_assert_eq!(together, times[place] - times[place - 1] <= limit);
            }
        }
    }
}
