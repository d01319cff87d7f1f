//! How far a person came when some steps keep their place and those between them come in any order.
//!
//! Steps fall into blocks: each anchor is one, and so is each run of free steps between two. Within a block steps come
//! as they like, and a block begins when the one before is whole. From a given start, the earliest end of a block leaves
//! the most room for the next, so one walk over the events says how far that start leads. Events of one instant may be
//! used in either order: an augmenting path gives the block before another of them if that helps the next.

use crate::sequence::Hit;
use crate::sequence::Reached;
use crate::sequence::Rules;
use crate::sequence::any_order::Window;

#[derive(Debug, Default)]
pub(crate) struct Anchored {
    /// The block of each step.
    block_of: Vec<usize>,
    /// When each block began and, once it is whole, when it ended.
    spans: Vec<(i64, Option<i64>)>,
    /// The event of each step.
    event_of: Vec<Option<usize>>,
    tried: Vec<bool>,
    window: Window,
}

/// How far a start leads, and when that is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Way {
    level: usize,
    last: i64,
}

impl Anchored {
    pub(crate) fn reached(&mut self, rules: &Rules, hits: &[Hit]) -> Reached {
        let steps = rules.steps.len();
        self.block_of = rules.blocks();
        let mut top = Reached::default();
        // Whether later starts may still lead as far as early; when one does not, none behind it does.
        let mut ties = false;
        let starts = self.starts(rules, hits);
        self.window.start(steps);
        let (mut begin, mut end) = (0, 0);
        for start in &starts {
            let first = rules.instant(hits[*start].time);
            if top.level == steps && !(ties && first <= top.last) {
                break;
            }
            while let Some(hit) = hits.get(end).filter(|hit| rules.within(first, rules.instant(hit.time))) {
                self.window.add(*hit);
                end += 1;
            }
            for hit in &hits[begin..*start] {
                self.window.remove(*hit);
            }
            begin = *start;
            ties &= first <= top.last;
            if !ties && self.window.present <= top.level {
                continue;
            }
            let way = self.walk(rules, &hits[*start..], first);
            ties = way.level > top.level || (ties && way.level == top.level && way.last == top.last);
            if ties {
                top = Reached { level: way.level, first, last: way.last, ..Reached::default() };
            }
        }
        if top.level > 0 && top.level < steps {
            let newest = starts.iter().rev().map(|start| (*start, rules.instant(hits[*start].time)));
            let mut newest =
                newest.filter(|(start, first)| self.walk(rules, &hits[*start..], *first).level == top.level);
            let last = |first: i64| rules.window.map_or(i64::MAX, |window| first.saturating_add(window));
            top.open_until = newest.next().map(|(_, first)| last(first));
        }
        top
    }

    /// The event of each step in the reported chain.
    pub(crate) fn chain(&mut self, rules: &Rules, hits: &[Hit], reached: &Reached) -> Vec<Option<usize>> {
        self.block_of = rules.blocks();
        let from = hits.partition_point(|hit| rules.instant(hit.time) < reached.first);
        let to = hits.partition_point(|hit| rules.instant(hit.time) <= reached.last);
        self.walk(rules, &hits[from..to], reached.first);
        self.event_of.iter().map(|event| event.map(|event| from + event)).collect()
    }

    /// The first event of each instant in which a chain may start. Of events in a row that one and the same step alone
    /// may use, the last is worth as much as any: a chain has at most one of them. The very first is kept: alone it is a
    /// chain of one step that nothing completes earlier.
    fn starts(&self, rules: &Rules, hits: &[Hit]) -> Vec<usize> {
        let first_block = self.block_of.iter().take_while(|block| **block == 0).count();
        let starts = u64::MAX >> (64 - first_block.clamp(1, 64));
        let mut found: Vec<usize> = Vec::new();
        let (mut at, mut before) = (0, None);
        while let Some((instant, group, _)) = rules.first_instant(&hits[at..]) {
            let alone = match group {
                [hit] if hit.steps.is_power_of_two() => Some(hit.steps),
                _ => None,
            };
            let may = rules.may_start(instant) && group.iter().any(|hit| hit.steps & starts != 0);
            if found.len() > 1 && may && before.is_some() && before == alone {
                found.pop();
            }
            if may {
                found.push(at);
            }
            before = alone.filter(|_| may);
            at += group.len();
        }
        found
    }

    /// How far one comes from a start; leaves the events in `event_of`.
    fn walk(&mut self, rules: &Rules, hits: &[Hit], first: i64) -> Way {
        let steps = rules.steps.len();
        self.event_of.clear();
        self.event_of.resize(steps, None);
        self.spans.clear();
        self.spans.push((first, None));
        let mut way = Way::default();
        let mut at = 0;
        while let Some((instant, group, _)) = rules.first_instant(&hits[at..]) {
            if !rules.within(first, instant) || way.level == steps {
                break;
            }
            let mut event = at;
            while event < at + group.len() {
                if hits[event].steps != 0 && !self.event_of.contains(&Some(event)) {
                    self.tried.clear();
                    self.tried.resize(steps, false);
                    if self.place(rules, hits, event) {
                        way = Way { level: way.level + 1, last: instant };
                        if self.next_block(instant) {
                            // What the block before had no use for may be of use to this one.
                            event = at;
                            continue;
                        }
                    }
                }
                event += 1;
            }
            at += group.len();
        }
        way
    }

    /// Begins the next block when this one is whole.
    fn next_block(&mut self, instant: i64) -> bool {
        let block = self.spans.len() - 1;
        let mut steps = self.block_of.iter().zip(&self.event_of).filter(|(of, _)| **of == block);
        let is_last = self.block_of.last() == Some(&block);
        if is_last || steps.any(|(_, event)| event.is_none()) {
            return false;
        }
        self.spans[block].1 = Some(instant);
        self.spans.push((instant, None));
        true
    }

    /// Gives the event a step, moving others if need be.
    fn place(&mut self, rules: &Rules, hits: &[Hit], event: usize) -> bool {
        let instant = rules.instant(hits[event].time);
        for step in 0..self.event_of.len() {
            let Some((begin, end)) = self.spans.get(self.block_of[step]) else { break };
            let is_then = *begin <= instant && end.is_none_or(|end| instant <= end);
            if hits[event].steps >> step & 1 == 0
                || !is_then
                || std::mem::replace(&mut self.tried[step], true)
            {
                continue;
            }
            let free = match self.event_of[step] {
                None => true,
                Some(other) => self.place(rules, hits, other),
            };
            if free {
                self.event_of[step] = Some(event);
                return true;
            }
        }
        false
    }
}
