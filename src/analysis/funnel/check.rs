//! What a funnel cannot mean, each with its cure.

use crate::analysis::funnel::By;
use crate::analysis::funnel::Counting;
use crate::analysis::funnel::FunnelEntry;
use crate::analysis::funnel::FunnelOrder;
use crate::analysis::funnel::FunnelRequest;
use crate::analysis::funnel::FunnelTies;
use crate::analysis::funnel::Listing;
use crate::analysis::funnel::Of;
use crate::error::Error;
use crate::error::Result;
use crate::sequence::MOST_STEPS;

/// How many properties a chain may hold constant.
const MOST_HELD: usize = 3;

impl FunnelRequest {
    /// Refuses what cannot be meant.
    pub(super) fn check(&self) -> Result<()> {
        let steps = self.steps.len();
        if steps == 0 {
            return Err(Error::invalid("a funnel needs at least one step"));
        }
        if steps > MOST_STEPS {
            return Err(Error::invalid(format!(
                "a funnel has at most {MOST_STEPS} steps, this one has {steps}"
            )));
        }
        if self.excluding.len() > MOST_STEPS {
            return Err(Error::invalid(format!("a funnel has at most {MOST_STEPS} excluded events")));
        }
        if let Some(step) = self.steps.iter().position(|step| step.any.is_empty()) {
            return Err(Error::invalid(format!("step {} names no event", step + 1)));
        }
        if self.steps[0].optional {
            return Err(Error::invalid("the first step cannot be optional: it is where persons enter"));
        }
        if self.steps[0].within.is_some() {
            return Err(Error::invalid("the first step has no step before it to be within a time of"));
        }
        let has_limits = self.steps.iter().any(|step| step.optional || step.within.is_some());
        if self.order != FunnelOrder::Ordered && (has_limits || !self.excluding.is_empty()) {
            let message = "optional steps, times between steps and EXCLUDING need steps in order; leave out STRICT and \
                           ANY ORDER, or leave these out";
            return Err(Error::invalid(message));
        }
        if self.order == FunnelOrder::Any
            && (self.ties == FunnelTies::Strict || self.entry == FunnelEntry::First)
        {
            return Err(Error::invalid(
                "ENTRY FIRST and TIES STRICT need steps in order; leave out ANY ORDER",
            ));
        }
        if self.order == FunnelOrder::Any && self.counting == Counting::Totals {
            return Err(Error::invalid("COUNTING TOTALS needs steps in order; leave out ANY ORDER"));
        }
        if self.order == FunnelOrder::Strict
            && (!self.holding.is_empty() || self.counting == Counting::Sessions)
        {
            let message =
                "STRICT looks at all events of a person; HOLDING and COUNTING SESSIONS look at some of them";
            return Err(Error::invalid(message));
        }
        if self.holding.len() > MOST_HELD {
            return Err(Error::invalid(format!("at most {MOST_HELD} properties can be held")));
        }
        for one in &self.excluding {
            let Some([from, to]) = one.between else { continue };
            let is_step = |at: usize| (1..=steps).contains(&at);
            if !is_step(from) || !is_step(to) || to <= from {
                return Err(Error::invalid(format!(
                    "BETWEEN {from} AND {to} names no two steps in order; there are steps 1 to {steps}"
                )));
            }
            if self.steps[from - 1].optional || self.steps[to - 1].optional {
                return Err(Error::invalid("an event is excluded between steps that are not optional"));
            }
        }
        let by = match &self.by {
            Some(By { of: Of::Step(step), .. }) => Some(*step),
            _ => None,
        };
        let listed = match self.listing {
            Some(Listing::Reached(step) | Listing::DroppedAfter(step) | Listing::InProgressAfter(step)) => {
                Some(step)
            }
            _ => None,
        };
        let timed = self.histogram.as_ref().and_then(|one| one.step);
        for step in [by, listed, timed].into_iter().flatten().chain(self.anchored.iter().copied()) {
            if !(1..=steps).contains(&step) {
                return Err(Error::invalid(format!("there is no step {step}; there are steps 1 to {steps}")));
            }
        }
        if self.histogram.is_some() && self.timed_step() == 1 {
            return Err(Error::invalid("a histogram is of the time to a step behind the first"));
        }
        if self.histogram.is_some() && self.listing.is_some() {
            return Err(Error::invalid(
                "HISTOGRAM counts persons and LISTING names them; leave one of them out",
            ));
        }
        if !self.anchored.is_empty() && self.order != FunnelOrder::Any {
            return Err(Error::invalid(
                "ANCHORING says which steps keep their place in ANY ORDER; steps in order all do",
            ));
        }
        Ok(())
    }
}
