//! How many steps a person did within the window, in whatever order: a maximum matching of steps and events in it.
//! Where some steps keep their place, see [`crate::sequence::anchored`].

use crate::sequence::Hit;
use crate::sequence::Reached;
use crate::sequence::Rules;
use crate::sequence::matching::Matching;

#[derive(Debug, Default)]
pub(crate) struct AnyOrder {
    matching: Matching,
    window: Window,
}

/// The events between two places of a slice, by how many fit each step.
#[derive(Debug, Default)]
pub(crate) struct Window {
    counts: Vec<usize>,
    /// Steps that some event fits: no matching is greater.
    pub(crate) present: usize,
}

impl Window {
    pub(crate) fn start(&mut self, steps: usize) {
        self.counts.clear();
        self.counts.resize(steps, 0);
        self.present = 0;
    }

    pub(crate) fn add(&mut self, hit: Hit) {
        for (step, count) in self.counts.iter_mut().enumerate() {
            if hit.steps >> step & 1 != 0 {
                *count += 1;
                self.present += usize::from(*count == 1);
            }
        }
    }

    pub(crate) fn remove(&mut self, hit: Hit) {
        for (step, count) in self.counts.iter_mut().enumerate() {
            if hit.steps >> step & 1 != 0 {
                *count -= 1;
                self.present -= usize::from(*count == 0);
            }
        }
    }
}

impl AnyOrder {
    pub(crate) fn reached(&mut self, rules: &Rules, hits: &[Hit]) -> Reached {
        let steps = rules.steps.len();
        let level = self.level(rules, hits);
        if level == 0 {
            return Reached::default();
        }
        let (from, to) = self.earliest(rules, hits, level);
        let (first, last) = (rules.instant(hits[from].time), rules.instant(hits[to].time));
        let mut reached = Reached { level, first, last, ..Reached::default() };
        if level < steps {
            reached.open_until = self.open_until(rules, hits, level);
        }
        reached
    }

    /// The most steps in any window that starts in the range.
    fn level(&mut self, rules: &Rules, hits: &[Hit]) -> usize {
        let (mut best, mut end) = (0, 0);
        self.window.start(rules.steps.len());
        for (start, hit) in hits.iter().enumerate() {
            let first = rules.instant(hit.time);
            while let Some(next) = hits.get(end).filter(|next| rules.within(first, rules.instant(next.time)))
            {
                self.window.add(*next);
                end += 1;
            }
            if rules.may_start(first) && hit.steps != 0 && self.window.present > best {
                best = best.max(self.count(rules, &hits[start..end]));
            }
            self.window.remove(*hit);
        }
        best
    }

    /// How many steps can have different events of these.
    fn count(&mut self, rules: &Rules, hits: &[Hit]) -> usize {
        let steps = rules.steps.len();
        self.matching.group(steps, hits);
        (0..steps).filter(|step| self.matching.add(*step)).count()
    }

    /// The events between which the reported chain lies: completed first, and then started last.
    fn earliest(&mut self, rules: &Rules, hits: &[Hit], level: usize) -> (usize, usize) {
        let mut from = 0;
        self.window.start(rules.steps.len());
        for end in 0..hits.len() {
            let last = rules.instant(hits[end].time);
            self.window.add(hits[end]);
            while from < end {
                let first = rules.instant(hits[from].time);
                let is_out = hits[from].steps == 0 || first < rules.starts.0 || !rules.within(first, last);
                if !is_out {
                    break;
                }
                self.window.remove(hits[from]);
                from += 1;
            }
            let starts = rules.may_start(rules.instant(hits[from].time));
            let whole = starts && self.window.present >= level;
            if whole && self.count(rules, &hits[from..=end]) >= level {
                let may = |at: &usize| rules.may_start(rules.instant(hits[*at].time)) && hits[*at].steps != 0;
                // Those of its own instant that come after it belong to the same window.
                let same = hits[end..].iter().take_while(|hit| rules.instant(hit.time) == last).count();
                let end = end + same - 1;
                for start in (from..=end).rev().filter(may) {
                    if self.count(rules, &hits[start..=end]) >= level {
                        let first = rules.instant(hits[start].time);
                        let start = (0..=start).rev().take_while(|at| rules.instant(hits[*at].time) == first);
                        return (start.last().unwrap_or(from), end);
                    }
                }
            }
        }
        (0, 0)
    }

    /// The latest end of a window that holds as many steps: in it, one more may come.
    fn open_until(&mut self, rules: &Rules, hits: &[Hit], level: usize) -> Option<i64> {
        let Some(window) = rules.window else { return Some(i64::MAX) };
        let starts = (0..hits.len()).rev().filter(|at| hits[*at].steps != 0);
        for start in starts {
            let first = rules.instant(hits[start].time);
            let inside =
                hits[start..].iter().take_while(|hit| rules.within(first, rules.instant(hit.time))).count();
            if rules.may_start(first) && self.count(rules, &hits[start..start + inside]) >= level {
                return Some(first.saturating_add(window));
            }
        }
        None
    }

    /// The event of each step in the reported chain, which lies between two instants; the earliest that do.
    pub(crate) fn chain(&mut self, rules: &Rules, hits: &[Hit], reached: &Reached) -> Vec<Option<usize>> {
        let steps = rules.steps.len();
        let inside = |hit: &Hit| (reached.first..=reached.last).contains(&rules.instant(hit.time));
        let from = hits.iter().position(inside).unwrap_or(0);
        let size = hits[from..].iter().take_while(|hit| inside(hit)).count();
        // Events choose steps here, in their order, so that the earliest are taken.
        let mut event_of: Vec<Option<usize>> = vec![None; steps];
        for event in from..from + size {
            let mut tried = vec![false; steps];
            place(hits, event, &mut event_of, &mut tried);
        }
        event_of
    }
}

/// Gives the event a step, moving others if need be.
fn place(hits: &[Hit], event: usize, event_of: &mut [Option<usize>], tried: &mut [bool]) -> bool {
    for step in 0..event_of.len() {
        if hits[event].steps >> step & 1 == 0 || std::mem::replace(&mut tried[step], true) {
            continue;
        }
        let free = match event_of[step] {
            None => true,
            Some(other) => place(hits, other, event_of, tried),
        };
        if free {
            event_of[step] = Some(event);
            return true;
        }
    }
    false
}
