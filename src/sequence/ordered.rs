//! How far a person came when steps are done in order: one pass over the events, a few numbers a step.
//!
//! Of all chains that have reached a step only those matter that may still go on longest. Without limits from step to
//! step that is the one that started last, so one number is kept for each; with limits a later last event helps as
//! well, and a short queue is kept in which each entry started earlier and ended later than the one before.

use std::collections::VecDeque;

use crate::sequence::Entry;
use crate::sequence::Hit;
use crate::sequence::Reached;
use crate::sequence::Rules;
use crate::sequence::Ties;
use crate::sequence::matching::Matching;

/// A chain by what decides how it may go on: when it started and when it last went on.
#[derive(Clone, Copy, Debug)]
struct Live {
    first: i64,
    last: i64,
}

/// What is kept from person to person: memory, never knowledge.
#[derive(Debug, Default)]
pub(crate) struct Ordered {
    /// By the number of steps filled, the last of them included: chains that may go on.
    live: Vec<VecDeque<Live>>,
    /// The latest start of the chains that reach a step in the group at hand.
    reached: Vec<Option<i64>>,
    /// The same of those that no excluded event of the group ends.
    survive: Vec<Option<i64>>,
    /// The latest start of all chains that ever reached a step, and whether an excluded event met all of those.
    best: Vec<Option<(i64, bool)>>,
    matching: Matching,
    /// By step: the latest start of the chains that reach it, where that is all there is to know.
    starts: Vec<Option<i64>>,
}

impl Ordered {
    pub(crate) fn reached(&mut self, rules: &Rules, hits: &[Hit]) -> Reached {
        if rules.entry == Entry::Any
            && rules.is_plain()
            && let Some(reached) = self.plain(rules, hits)
        {
            return reached;
        }
        let steps = rules.steps.len();
        self.live.iter_mut().for_each(VecDeque::clear);
        self.live.resize_with(steps + 1, VecDeque::new);
        for kept in [&mut self.reached, &mut self.survive] {
            kept.clear();
            kept.resize(steps + 1, None);
        }
        self.best.clear();
        self.best.resize(steps + 1, None);

        let mut top = Reached::default();
        let mut started = false;
        let mut rest = hits;
        while let Some((instant, group, after)) = rules.first_instant(rest) {
            rest = after;
            let may_start = rules.may_start(instant) && (rules.entry == Entry::Any || !started);
            let starts = may_start && group.iter().any(|hit| hit.steps & 1 != 0);
            if !starts && !started {
                continue;
            }
            started |= starts;
            match group {
                [alone] if alone.excludes == 0 => {
                    self.step(rules, *alone, instant, starts, &mut top);
                }
                _ => self.group(rules, group, instant, starts, &mut top),
            }
            if top.level == steps {
                break;
            }
            let is_over = rules.entry == Entry::First && self.live.iter().all(VecDeque::is_empty);
            if is_over {
                top.died = Some(instant);
                break;
            }
        }
        top.dropped = rules.drop_person
            && top.level < steps
            && self.best[top.level].is_some_and(|(_, hit)| hit && top.level > 0);
        if top.level > 0 && top.level < steps {
            let open = self.live[top.level].iter();
            top.open_until = open.map(|one| rules.open_until(top.level, one.first, one.last)).max();
        }
        top
    }

    /// The common case, quickly: nothing but order and window counts. None when events share an instant.
    fn plain(&mut self, rules: &Rules, hits: &[Hit]) -> Option<Reached> {
        let steps = rules.steps.len();
        self.starts.clear();
        self.starts.resize(steps, None);
        let mut top = Reached::default();
        for (at, hit) in hits.iter().enumerate() {
            let instant = rules.instant(hit.time);
            if hits.get(at + 1).is_some_and(|next| rules.instant(next.time) == instant) {
                return None;
            }
            let mut bits = hit.steps;
            // From the last step down, so that the event is never used twice.
            while bits != 0 {
                let step = 63 - bits.leading_zeros() as usize;
                bits &= !(1 << step);
                let first = if step == 0 {
                    rules.may_start(instant).then_some(instant)
                } else {
                    self.starts[step - 1].filter(|first| rules.within(*first, instant))
                };
                if first.is_some() && first >= self.starts[step] {
                    self.starts[step] = first;
                    if step >= top.level {
                        let first = first.unwrap_or(instant);
                        top = Reached { level: step + 1, first, last: instant, ..Reached::default() };
                    }
                }
            }
            if top.level == steps {
                return Some(top);
            }
        }
        if let Some(start) = top.level.checked_sub(1).and_then(|step| self.starts[step]) {
            top.open_until = Some(rules.open_until(top.level, start, start));
        }
        Some(top)
    }

    /// The latest start of the chains with `filled` steps that `step` may follow now.
    fn before(&self, rules: &Rules, filled: usize, step: usize, instant: i64) -> Option<i64> {
        let live = &self.live[filled];
        let from = match rules.steps[step].limit {
            None => 0,
            Some(limit) => live.partition_point(|one| instant.saturating_sub(one.last) > limit),
        };
        live.get(from).map(|one| one.first).filter(|first| rules.within(*first, instant))
    }

    /// One event alone at its instant, which is what most are.
    fn step(&mut self, rules: &Rules, hit: Hit, instant: i64, starts: bool, top: &mut Reached) {
        // From the last step down, so that the event is never used twice.
        for step in (0..rules.steps.len()).rev().filter(|step| hit.steps >> step & 1 != 0) {
            let mut first = None;
            if step == 0 {
                first = starts.then_some(instant);
            } else {
                for filled in (1..=step).rev() {
                    if !rules.next(filled).contains(&step) {
                        break;
                    }
                    first = first.max(self.before(rules, filled, step, instant));
                }
            }
            if let Some(first) = first {
                self.note(step + 1, first, Some(first), instant, top);
                self.keep(rules, step + 1, Live { first, last: instant });
            }
        }
    }

    /// Events of one instant: different ones for different steps, in whatever order leads furthest.
    fn group(&mut self, rules: &Rules, group: &[Hit], instant: i64, starts: bool, top: &mut Reached) {
        let steps = rules.steps.len();
        self.matching.group(steps, group);
        let excludes = group.iter().fold(0, |all, hit| all | hit.excludes);
        for filled in 0..steps {
            for step in rules.next(filled) {
                let first = if filled == 0 {
                    starts.then_some(instant)
                } else {
                    self.before(rules, filled, step, instant)
                };
                if let Some(first) = first {
                    self.follow(rules, filled, step, first, excludes);
                }
            }
        }
        for (at, exclusion) in rules.exclusions.iter().enumerate() {
            if excludes >> at & 1 == 0 {
                continue;
            }
            for filled in exclusion.from + 1..=exclusion.to {
                self.live[filled].clear();
                if let Some((first, hit)) = &mut self.best[filled] {
                    *hit |= rules.within(*first, instant);
                }
            }
        }
        for filled in 1..=steps {
            let (reached, survives) = (self.reached[filled].take(), self.survive[filled].take());
            if let Some(reached) = reached {
                self.note(filled, reached, survives, instant, top);
            }
            if let Some(first) = survives {
                self.keep(rules, filled, Live { first, last: instant });
            }
        }
    }

    /// How far chains with `filled` steps come within the group when `step` is the next.
    fn follow(&mut self, rules: &Rules, filled: usize, step: usize, first: i64, excludes: u64) {
        self.matching.clear();
        if !self.matching.add(step) {
            return;
        }
        self.arrive(rules, filled, step + 1, first, excludes);
        if rules.ties == Ties::Strict {
            return;
        }
        for next in step + 1..rules.steps.len() {
            if rules.steps[next].optional {
                if self.matching.could_add(next) {
                    self.arrive(rules, filled, next + 1, first, excludes);
                }
            } else if self.matching.add(next) {
                self.arrive(rules, filled, next + 1, first, excludes);
            } else {
                break;
            }
        }
    }

    /// A chain that came into the group with `before` steps has `filled` now.
    fn arrive(&mut self, rules: &Rules, before: usize, filled: usize, first: i64, excludes: u64) {
        self.reached[filled] = self.reached[filled].max(Some(first));
        // It lives on unless an excluded event lies after the step from which it counts: that one is older than the
        // group when the chain had it before.
        let ends = |(at, one): (usize, &crate::sequence::Exclusion)| {
            excludes >> at & 1 != 0 && one.from < filled && filled <= one.to && before > one.from
        };
        if !rules.exclusions.iter().enumerate().any(ends) {
            self.survive[filled] = self.survive[filled].max(Some(first));
        }
    }

    /// Remembers that a step was reached.
    fn note(&mut self, filled: usize, first: i64, survives: Option<i64>, instant: i64, top: &mut Reached) {
        if filled > top.level {
            *top = Reached { level: filled, first, last: instant, ..Reached::default() };
        }
        let best = &mut self.best[filled];
        match best {
            Some((start, hit)) if *start >= first => *hit &= survives != Some(*start),
            _ => *best = Some((first, survives != Some(first))),
        }
    }

    /// Keeps a chain for what may follow, and lets go of those that it makes useless.
    fn keep(&mut self, rules: &Rules, filled: usize, chain: Live) {
        let live = &mut self.live[filled];
        while live.back().is_some_and(|other| other.first <= chain.first) {
            live.pop_back();
        }
        let has_limits = rules.steps.iter().any(|step| step.limit.is_some());
        if live.is_empty() || has_limits {
            live.push_back(chain);
        }
    }
}
