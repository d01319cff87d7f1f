//! How far a person came when nothing may lie between two steps: any other event starts the person over.
//!
//! Events of one instant may be put in either order, also here. So what a chain does not use of the instant in which
//! it starts is put before it, and of the instant in which it stands behind it; between the two it must use all.

use crate::sequence::Entry;
use crate::sequence::Hit;
use crate::sequence::Reached;
use crate::sequence::Rules;
use crate::sequence::Ties;
use crate::sequence::matching::Matching;

#[derive(Debug, Default)]
pub(crate) struct Strict {
    /// By the number of steps filled: the latest start of the chains that end in the instant before.
    live: Vec<Option<i64>>,
    next: Vec<Option<i64>>,
    matching: Matching,
}

impl Strict {
    pub(crate) fn reached(&mut self, rules: &Rules, hits: &[Hit]) -> Reached {
        let steps = rules.steps.len();
        self.live.clear();
        self.live.resize(steps + 1, None);
        let mut top = Reached::default();
        let mut started = false;
        let mut rest = hits;
        while let Some((instant, group, after)) = rules.first_instant(rest) {
            rest = after;
            let may_start = rules.may_start(instant) && (rules.entry == Entry::Any || !started);
            let starts = may_start && group.iter().any(|hit| hit.steps & 1 != 0);
            started |= starts;
            self.next.clear();
            self.next.resize(steps + 1, None);
            self.matching.group(steps, group);
            for filled in 0..steps {
                let first = if filled == 0 { starts.then_some(instant) } else { self.live[filled] };
                let Some(first) = first.filter(|first| rules.within(*first, instant)) else { continue };
                self.matching.clear();
                for step in filled..steps {
                    if (step > filled && rules.ties == Ties::Strict) || !self.matching.add(step) {
                        break;
                    }
                    if step + 1 > top.level {
                        top = Reached { level: step + 1, first, last: instant, ..Reached::default() };
                    } else if step + 1 == top.level && instant == top.last {
                        top.first = top.first.max(first);
                    }
                    if filled == 0 || step + 1 - filled == group.len() {
                        self.next[step + 1] = self.next[step + 1].max(Some(first));
                    }
                }
            }
            std::mem::swap(&mut self.live, &mut self.next);
            if top.level == steps {
                return top;
            }
            if rules.entry == Entry::First && started && self.live.iter().all(Option::is_none) {
                top.died = Some(instant);
                return top;
            }
        }
        if top.level > 0 {
            top.open_until = self.live[top.level].map(|first| rules.open_until(top.level, first, first));
        }
        top
    }
}
