//! How far a person came through a funnel, and by which events: the door to its algorithms.

use crate::sequence::Entry;
use crate::sequence::Hit;
use crate::sequence::Order;
use crate::sequence::Reached;
use crate::sequence::Rules;
use crate::sequence::anchored::Anchored;
use crate::sequence::any_order::AnyOrder;
use crate::sequence::chain::chain;
use crate::sequence::chain::quick;
use crate::sequence::ordered::Ordered;
use crate::sequence::strict::Strict;

/// A funnel at work: holds the memory that is used again for the next person.
#[derive(Debug)]
pub struct Funnel {
    rules: Rules,
    ordered: Ordered,
    strict: Strict,
    any: AnyOrder,
    anchored: Anchored,
    has_anchors: bool,
}

/// One way through the funnel, when a person may go through it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub reached: Reached,
    /// Its events are at or behind this place.
    pub from: usize,
}

impl Funnel {
    /// The rules have at least one step and at most [`crate::sequence::MOST_STEPS`]; exclusions and limits go with
    /// [`Order::Ordered`] only.
    pub fn new(rules: Rules) -> Self {
        let has_anchors = rules.steps.iter().any(|step| step.anchored);
        Self {
            rules,
            ordered: Ordered::default(),
            strict: Strict::default(),
            any: AnyOrder::default(),
            anchored: Anchored::default(),
            has_anchors,
        }
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// How far a person came. All events that count are given, in order of time; for [`Order::Strict`] also those that
    /// fit no step.
    pub fn reached(&mut self, hits: &[Hit]) -> Reached {
        match self.rules.order {
            Order::Ordered => self.ordered.reached(&self.rules, hits),
            Order::Strict => self.strict.reached(&self.rules, hits),
            Order::Any if self.has_anchors => self.anchored.reached(&self.rules, hits),
            Order::Any => self.any.reached(&self.rules, hits),
        }
    }

    /// The event of each step in the reported chain, by its place in `hits`; takes the place of what is in `events`.
    pub fn chain(&mut self, hits: &[Hit], reached: &Reached, events: &mut Vec<Option<usize>>) {
        events.clear();
        events.resize(self.rules.steps.len(), None);
        if reached.level == 0 {
            return;
        }
        match self.rules.order {
            Order::Ordered if quick(&self.rules, hits, reached, events) => {}
            Order::Ordered | Order::Strict => *events = chain(&self.rules, hits, reached),
            Order::Any if self.has_anchors => *events = self.anchored.chain(&self.rules, hits, reached),
            Order::Any => *events = self.any.chain(&self.rules, hits, reached),
        }
    }

    /// All attempts, one after the other. Each starts with the earliest event of the first step after the one before
    /// was over: after its last step, after its window, or when nothing was left of it.
    pub fn attempts(&mut self, hits: &[Hit]) -> Vec<Attempt> {
        let entry = std::mem::replace(&mut self.rules.entry, Entry::First);
        let mut attempts = Vec::new();
        let mut from = 0;
        while from < hits.len() {
            let reached = self.reached(&hits[from..]);
            if reached.level == 0 {
                break;
            }
            attempts.push(Attempt { reached, from });
            let over = if reached.level == self.rules.steps.len() {
                Some(reached.last)
            } else {
                let window = self.rules.window.map(|window| reached.first.saturating_add(window));
                reached.died.or(window)
            };
            let Some(over) = over else { break };
            from += hits[from..].partition_point(|hit| self.rules.instant(hit.time) <= over);
        }
        self.rules.entry = entry;
        attempts
    }
}
