//! Gives steps different events of one instant: a maximum matching, found path by path.
//!
//! Events of one instant may be used in either order, and one of them may fit several steps. Taking the first that
//! fits would starve a later step; an augmenting path moves it to another event instead.

use crate::sequence::Hit;

/// Steps and the events that fill them, within one group of events.
#[derive(Debug, Default)]
pub(crate) struct Matching {
    /// For each step, the events that may fill it; no more of them than there are steps can matter.
    fits: Vec<Vec<usize>>,
    /// The event of each step.
    event_of: Vec<Option<usize>>,
    /// The step of each event.
    step_of: Vec<Option<usize>>,
    tried: Vec<bool>,
}

impl Matching {
    /// Starts anew with these events.
    pub(crate) fn group(&mut self, steps: usize, hits: &[Hit]) {
        self.fits.iter_mut().for_each(Vec::clear);
        self.fits.resize_with(steps, Vec::new);
        for (at, hit) in hits.iter().enumerate() {
            let mut bits = hit.steps;
            while bits != 0 {
                let step = bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if let Some(fits) = self.fits.get_mut(step)
                    && fits.len() < steps
                {
                    fits.push(at);
                }
            }
        }
        self.step_of.clear();
        self.step_of.resize(hits.len(), None);
        self.event_of.clear();
        self.event_of.resize(steps, None);
        self.tried.clear();
        self.tried.resize(hits.len(), false);
    }

    /// Takes all events from their steps again.
    pub(crate) fn clear(&mut self) {
        self.step_of.fill(None);
        self.event_of.fill(None);
    }

    /// Gives the step an event, moving others if need be; changes nothing when that cannot be.
    pub(crate) fn add(&mut self, step: usize) -> bool {
        if self.event_of[step].is_some() {
            return true;
        }
        self.tried.fill(false);
        self.path(step)
    }

    fn path(&mut self, step: usize) -> bool {
        for at in 0..self.fits[step].len() {
            let event = self.fits[step][at];
            if std::mem::replace(&mut self.tried[event], true) {
                continue;
            }
            let free = match self.step_of[event] {
                None => true,
                Some(other) => self.path(other),
            };
            if free {
                self.step_of[event] = Some(step);
                self.event_of[step] = Some(event);
                return true;
            }
        }
        false
    }

    /// Whether a step could have an event, too; gives it none.
    pub(crate) fn could_add(&mut self, step: usize) -> bool {
        let before = (self.event_of.clone(), self.step_of.clone());
        let could = self.add(step);
        (self.event_of, self.step_of) = before;
        could
    }

    /// The event of a step, by its place in the group.
    pub(crate) fn event(&self, step: usize) -> Option<usize> {
        self.event_of.get(step).copied().flatten()
    }
}
