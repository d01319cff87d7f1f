//! Which events make the chain that is reported: among those that reach the level first, and start last, the one whose
//! events in between are earliest each.
//!
//! How far a person came needs one pass and no memory of events; which events it were is asked for far fewer persons
//! and steps, so it is found afterwards, between the two ends that the pass has found.

use std::collections::HashSet;

use crate::sequence::Hit;
use crate::sequence::Order;
use crate::sequence::Reached;
use crate::sequence::Rules;
use crate::sequence::Ties;
use crate::sequence::matching::Matching;

/// Events of one instant.
#[derive(Clone, Copy, Debug)]
struct Group<'a> {
    instant: i64,
    start: usize,
    hits: &'a [Hit],
    excludes: u64,
}

/// The event of each step, by its place in `hits`; none for steps that were not reached, or left out.
pub(crate) fn chain(rules: &Rules, hits: &[Hit], reached: &Reached) -> Vec<Option<usize>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut at = hits.partition_point(|hit| rules.instant(hit.time) < reached.first);
    while let Some((instant, group, _)) = rules.first_instant(&hits[at..]).filter(|one| one.0 <= reached.last)
    {
        let excludes = group.iter().fold(0, |all, hit| all | hit.excludes);
        groups.push(Group { instant, start: at, hits: group, excludes });
        at += group.len();
    }
    let mut search = Search {
        rules,
        groups: &groups,
        level: reached.level,
        chosen: vec![None; rules.steps.len()],
        dead: HashSet::new(),
        matching: Matching::default(),
    };
    if rules.is_plain() && rules.order == Order::Ordered {
        search.greedy();
    } else {
        search.start();
    }
    search.events()
}

/// The same where nothing but order and window counts and no two events between the ends share an instant, which is
/// so of most persons; says whether it is.
pub(crate) fn quick(rules: &Rules, hits: &[Hit], reached: &Reached, events: &mut [Option<usize>]) -> bool {
    if !rules.is_plain() {
        return false;
    }
    let mut filled = 0;
    let mut before = None;
    let start = hits.partition_point(|hit| rules.instant(hit.time) < reached.first);
    for (at, hit) in hits.iter().enumerate().skip(start) {
        let instant = rules.instant(hit.time);
        if instant > reached.last {
            break;
        }
        if before == Some(instant) {
            events.fill(None);
            return false;
        }
        before = Some(instant);
        if filled < reached.level && hit.steps >> filled & 1 != 0 {
            events[filled] = Some(at);
            filled += 1;
        }
    }
    filled == reached.level
}

struct Search<'a> {
    rules: &'a Rules,
    groups: &'a [Group<'a>],
    level: usize,
    /// The group of each step's event.
    chosen: Vec<Option<usize>>,
    /// Places from which the end cannot be reached: steps filled, group, and the steps filled in that group.
    dead: HashSet<(usize, usize, u64)>,
    matching: Matching,
}

impl Search<'_> {
    /// Each step as early as it can be: right where nothing but order and window counts.
    fn greedy(&mut self) {
        let steps = self.rules.steps.len();
        let mut filled = 0;
        for (at, group) in self.groups.iter().enumerate() {
            self.matching.group(steps, group.hits);
            while filled < self.level && self.matching.add(filled) {
                self.chosen[filled] = Some(at);
                filled += 1;
                if self.rules.ties == Ties::Strict {
                    break;
                }
            }
        }
    }

    fn start(&mut self) {
        self.chosen[0] = Some(0);
        self.go_on(1, 0, 1);
    }

    /// Fills the steps after the first `filled`, whose last is in the group `at` with `here`; whether that succeeds.
    fn go_on(&mut self, filled: usize, at: usize, here: u64) -> bool {
        if filled == self.level {
            return at + 1 == self.groups.len();
        }
        if self.dead.contains(&(filled, at, here)) {
            return false;
        }
        let last = self.groups[at].instant;
        let next = self.rules.next(filled);
        for step in next.start..next.end.min(self.level) {
            for to in at..self.groups.len() {
                let group = self.groups[to];
                let is_here = to == at;
                if !is_here && !self.may_leave(filled, at, here, to) {
                    break;
                }
                let limit = self.rules.steps[step].limit;
                if limit.is_some_and(|limit| group.instant.saturating_sub(last) > limit) {
                    break;
                }
                if is_here && self.rules.ties == Ties::Strict {
                    continue;
                }
                let there = if is_here { here } else { 0 } | 1 << step;
                if self.fits(to, there) {
                    self.chosen[step] = Some(to);
                    if self.go_on(step + 1, to, there) {
                        return true;
                    }
                    self.chosen[step] = None;
                }
            }
        }
        self.dead.insert((filled, at, here));
        false
    }

    /// Whether a chain may pass from one group to another with nothing in between that ends it.
    fn may_leave(&self, filled: usize, at: usize, here: u64, to: usize) -> bool {
        let is_first = at == 0;
        if self.rules.order == Order::Strict {
            let uses_all = is_first || here.count_ones() as usize == self.groups[at].hits.len();
            return to == at + 1 && uses_all;
        }
        self.rules.exclusions.iter().enumerate().all(|(number, exclusion)| {
            if filled <= exclusion.from || filled > exclusion.to {
                return true;
            }
            let met = |group: &Group<'_>| group.excludes >> number & 1 != 0;
            let met_here = met(&self.groups[at]) && here >> exclusion.from & 1 == 0;
            !met_here && !self.groups[at + 1..to].iter().any(met)
        })
    }

    /// Whether these steps can have different events of the group.
    fn fits(&mut self, at: usize, steps: u64) -> bool {
        let count = self.rules.steps.len();
        self.matching.group(count, self.groups[at].hits);
        (0..count).filter(|step| steps >> step & 1 != 0).all(|step| self.matching.add(step))
    }

    /// The events themselves: of each group different ones for its steps.
    fn events(mut self) -> Vec<Option<usize>> {
        let mut events = vec![None; self.chosen.len()];
        for (at, group) in self.groups.iter().enumerate() {
            let here: Vec<usize> =
                (0..self.chosen.len()).filter(|step| self.chosen[*step] == Some(at)).collect();
            if here.is_empty() {
                continue;
            }
            self.matching.group(self.chosen.len(), group.hits);
            for step in &here {
                self.matching.add(*step);
            }
            for step in here {
                events[step] = self.matching.event(step).map(|event| group.start + event);
            }
        }
        events
    }
}
