//! Levels as ClickHouse's `windowFunnel` counts them, mode by mode, with its known peculiarities: for those who compare
//! numbers with it. What a funnel means here is in [`crate::sequence::Funnel`].
//!
//! It sorts events by time and then by step, lets one event be two steps unless told otherwise, and keeps the newest
//! start of each step only.

use crate::sequence::Funnel;
use crate::sequence::Hit;
use crate::sequence::Rules;
use crate::sequence::Ties;

/// ClickHouse's modes, which may be combined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Modes {
    /// A step that is repeated ends the scan; the first step may be.
    pub deduplication: bool,
    /// An event that is no step, or a step too early, ends the scan.
    pub order: bool,
    /// With `order`: a step too early is passed by.
    pub reentry: bool,
    /// Times must rise.
    pub increase: bool,
    /// An event is one step only.
    pub once: bool,
}

/// The level of one person; `window` is in the unit of the times.
pub fn window_funnel(modes: Modes, steps: usize, window: i64, hits: &[Hit]) -> usize {
    if modes.once && !modes.order && !modes.deduplication {
        // It keeps every chain there is; ours finds the same without.
        let ties = if modes.increase { Ties::Strict } else { Ties::Any };
        let mut sorted: Vec<Hit> = hits.to_vec();
        sorted.sort_by_key(|hit| hit.time);
        return Funnel::new(Rules { ties, ..Rules::of(steps, Some(window)) }).reached(&sorted).level;
    }
    let mut list: Vec<Entry> = Vec::new();
    for (id, hit) in hits.iter().enumerate() {
        let fits = (0..steps).filter(|step| hit.steps >> step & 1 != 0);
        list.extend(fits.map(|step| Entry { time: hit.time, step: Some(step), id }));
        if modes.order && (hit.steps & all(steps)) == 0 {
            list.push(Entry { time: hit.time, step: None, id });
        }
    }
    if list.is_empty() {
        return 0;
    }
    if steps == 1 && !modes.order {
        return 1;
    }
    // None, an event that is no step, comes before the steps of its instant.
    list.sort_by_key(|entry| (entry.time, entry.step));
    scan(modes, steps, window, &list)
}

fn all(steps: usize) -> u64 {
    u64::MAX.checked_shl(u32::try_from(steps).unwrap_or(u32::MAX)).map_or(u64::MAX, |above| !above)
}

/// An event as one of its steps.
#[derive(Clone, Copy, Debug)]
struct Entry {
    time: i64,
    step: Option<usize>,
    id: usize,
}

/// A chain that has reached a step.
#[derive(Clone, Debug)]
struct Path {
    first: i64,
    last: i64,
    events: Vec<usize>,
}

fn scan(modes: Modes, steps: usize, window: i64, list: &[Entry]) -> usize {
    // By step: the newest chain, or with `once` all of them.
    let mut reached: Vec<Vec<Path>> = vec![Vec::new(); steps];
    let highest =
        |reached: &[Vec<Path>]| reached.iter().rposition(|paths| !paths.is_empty()).map_or(0, |at| at + 1);
    let mut started = false;
    for entry in list {
        let Some(step) = entry.step else {
            if started {
                break;
            }
            continue;
        };
        if step == 0 {
            let path = Path { first: entry.time, last: entry.time, events: vec![entry.id] };
            keep(modes, &mut reached[0], path);
            started = true;
        } else if modes.deduplication && !reached[step].is_empty() {
            return highest(&reached);
        } else if modes.order && started && reached[step - 1].is_empty() {
            if modes.reentry {
                continue;
            }
            return reached.iter().position(Vec::is_empty).unwrap_or(steps);
        } else {
            let mut further = Vec::new();
            for before in &reached[step - 1] {
                let fits = entry.time.saturating_sub(before.first) <= window
                    && !(modes.once && before.events.contains(&entry.id))
                    && !(modes.increase && before.last >= entry.time);
                if fits {
                    let mut path = before.clone();
                    path.last = entry.time;
                    path.events.push(entry.id);
                    further.push(path);
                }
            }
            for path in further {
                keep(modes, &mut reached[step], path);
                if step + 1 == steps {
                    return steps;
                }
            }
        }
    }
    highest(&reached)
}

fn keep(modes: Modes, paths: &mut Vec<Path>, path: Path) {
    if !modes.once {
        paths.clear();
    }
    paths.push(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Modes =
        Modes { deduplication: false, order: false, reentry: false, increase: false, once: false };

    const COLUMNS: [Modes; 7] = [
        DEFAULT,
        Modes { deduplication: true, ..DEFAULT },
        Modes { order: true, ..DEFAULT },
        Modes { order: true, reentry: true, ..DEFAULT },
        Modes { increase: true, ..DEFAULT },
        Modes { once: true, ..DEFAULT },
        Modes { once: true, increase: true, ..DEFAULT },
    ];

    /// Events, steps, window; levels by the columns above, as ClickHouse 26.9.2.1 gave them.
    const CASES: [(&str, &str, i64, [usize; 7]); 35] = [
        ("A0 B0", "A,B", 10, [2, 2, 2, 2, 1, 2, 1]),
        ("B0 A0", "A,B", 10, [2, 2, 2, 2, 1, 2, 1]),
        ("A0", "A,A", 10, [2, 2, 2, 2, 1, 1, 1]),
        ("A0 A0", "A,A", 10, [2, 2, 2, 2, 1, 2, 1]),
        ("A0 A5", "A,A", 10, [2, 2, 2, 2, 1, 2, 2]),
        ("A0 A100", "A,A", 50, [2, 2, 2, 2, 1, 1, 1]),
        ("B0", "AB,B", 10, [2, 2, 2, 2, 1, 1, 1]),
        ("B0 B3", "AB,B", 10, [2, 2, 2, 2, 1, 2, 2]),
        ("A0 B6 C12", "A,B,C", 10, [2, 2, 2, 2, 2, 2, 2]),
        ("A0 B10", "A,B", 10, [2, 2, 2, 2, 2, 2, 2]),
        ("A0 B11", "A,B", 10, [1, 1, 1, 1, 1, 1, 1]),
        ("A0 A5 B12", "A,B", 10, [2, 2, 2, 2, 2, 2, 2]),
        ("A0 B1 A2 C3", "A,B,C", 10, [3, 3, 3, 3, 3, 3, 3]),
        ("A0 B1 A9 B10 C12", "A,B,C", 10, [3, 2, 3, 3, 3, 3, 3]),
        ("A0 A1 B1", "A,B", 10, [2, 2, 2, 2, 1, 2, 2]),
        ("A0 B1 C2 B3 D4", "A,B,C,D", 10, [4, 3, 4, 4, 4, 4, 4]),
        ("A0 B1 D2 C3", "A,B,C", 10, [3, 3, 2, 2, 3, 3, 3]),
        ("A0 A1 B2", "A,B", 10, [2, 2, 2, 2, 2, 2, 2]),
        ("i0 s5 l10 i15 s20 i25 s30 l35 e40", "i,s,l,e", 60, [4, 3, 4, 4, 4, 4, 4]),
        ("a0 b600 d1800 b2400", "a,b,c,d", 1800, [2, 2, 2, 2, 2, 2, 2]),
        ("p1 q2 r2 s2 q3 r3 s3 q4 r4 s4", "p,q,r,s", 100_000, [4, 4, 4, 4, 2, 4, 4]),
        ("o1 v10 v10 v11", "o,v,v", 100, [3, 2, 3, 3, 2, 3, 3]),
        ("o1 v10 v10", "o,v,v", 100, [3, 2, 3, 3, 2, 3, 2]),
        ("A100 A100 A300", "A,A,A", 100_000, [3, 2, 3, 3, 1, 3, 2]),
        ("B0 A1 B2", "A,B", 10, [2, 2, 2, 2, 2, 2, 2]),
        ("A0 X1 B2", "A,B", 10, [2, 2, 1, 1, 2, 2, 2]),
        ("C0", "A,B", 10, [0, 0, 0, 0, 0, 0, 0]),
        ("B0", "A,B", 10, [0, 0, 0, 0, 0, 0, 0]),
        ("A0 B1 C2 A3", "A,B,C", 10, [3, 3, 3, 3, 3, 3, 3]),
        ("A0 B0", "A,B", 0, [2, 2, 2, 2, 1, 2, 1]),
        ("A0 C0", "AC,A", 10, [2, 2, 2, 2, 1, 2, 1]),
        ("C0 A0", "AC,A", 10, [2, 2, 2, 2, 1, 2, 1]),
        ("A0 X1 A2 B3", "A,B", 10, [2, 2, 1, 1, 2, 2, 2]),
        ("A0 C1 B2 C3", "A,B,C", 10, [3, 3, 1, 3, 3, 3, 3]),
        ("A0 B8 A9 C12", "A,B,C", 10, [2, 2, 2, 2, 2, 2, 2]),
    ];

    fn hits(events: &str, steps: &[&str]) -> Vec<Hit> {
        let hit = |event: &str| {
            let (kind, time) = event.split_at(1);
            let fits = steps.iter().enumerate().filter(|(_, step)| step.contains(kind));
            let bits = fits.fold(0, |bits, (step, _)| bits | 1 << step);
            Hit { time: time.parse().unwrap(), steps: bits, excludes: 0 }
        };
        events.split(' ').map(hit).collect()
    }

    #[test]
    fn every_mode_counts_as_clickhouse_does() {
        for (number, (events, steps, window, levels)) in CASES.into_iter().enumerate() {
            let steps: Vec<&str> = steps.split(',').collect();
            let hits = hits(events, &steps);
            let found = COLUMNS.map(|modes| window_funnel(modes, steps.len(), window, &hits));
            assert_eq!(found, levels, "C{:02} {events}", number + 1);
        }
    }

    #[test]
    fn br03_a_repeat_ends_the_scan_at_the_level_that_was_reached() {
        let modes = Modes { deduplication: true, ..DEFAULT };
        let first = hits("i0 s5 l10 i15 s20", &["i", "s", "l", "e"]);
        assert_eq!(window_funnel(modes, 4, 60, &first), 3);
        let second = hits("a0 b600 d1800 b2400", &["a", "b", "c", "d"]);
        assert_eq!(window_funnel(modes, 4, 1800, &second), 2);
    }
}
