//! What a funnel asks of one person's events, and how far the person came: the words that its algorithms share.

/// Steps and exclusions are bits of a word, so there are at most so many of each.
pub const MOST_STEPS: usize = 64;

/// One event of a person, as a funnel sees it. Events come in order of `(time, seq)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hit {
    /// Microseconds since the epoch.
    pub time: i64,
    /// Bit `k` is set when the event fits step `k`, counted from 0.
    pub steps: u64,
    /// Bit `k` is set when the event fits exclusion `k`.
    pub excludes: u64,
}

/// One step: a place in the chain that an event may fill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The chain may go on without it.
    pub optional: bool,
    /// How long after the event before it, at most, in microseconds.
    pub limit: Option<i64>,
    /// In any order: the step keeps its place, so those before it come before it, and those behind it behind.
    pub anchored: bool,
}

/// An event that may not lie between two steps, both counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exclusion {
    pub from: usize,
    pub to: usize,
}

/// In which order steps are done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// One after the other, with anything between.
    #[default]
    Ordered,
    /// One after the other with nothing between: any other event starts the person over.
    Strict,
    /// As they come: how many of them a person did within the window.
    Any,
}

/// Which events of the first step may start a chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Entry {
    #[default]
    Any,
    /// The earliest alone.
    First,
}

/// Whether events of one instant may follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ties {
    /// In either order.
    #[default]
    Any,
    /// No: a step must be later than the one before.
    Strict,
}

/// A funnel. Times are microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The first is not optional.
    pub steps: Vec<Step>,
    /// From the first event of a chain to its last, at most; exactly so long is inside.
    pub window: Option<i64>,
    pub order: Order,
    pub entry: Entry,
    pub ties: Ties,
    /// Times are rounded down to a multiple of this before they are compared; 0 leaves them as they are.
    pub tolerance: i64,
    /// Between steps that are not optional.
    pub exclusions: Vec<Exclusion>,
    /// An excluded event takes the person out altogether, instead of ending the chain.
    pub drop_person: bool,
    /// When the first event of a chain may be: from the one, before the other.
    pub starts: (i64, i64),
}

impl Rules {
    /// So many steps in order, within a window, and nothing else asked.
    pub fn of(steps: usize, window: Option<i64>) -> Self {
        Self {
            steps: vec![Step::default(); steps],
            window,
            order: Order::default(),
            entry: Entry::default(),
            ties: Ties::default(),
            tolerance: 0,
            exclusions: Vec::new(),
            drop_person: false,
            starts: (i64::MIN, i64::MAX),
        }
    }

    /// Only order and window count: one number a step says all there is to know of a person.
    pub(crate) fn is_plain(&self) -> bool {
        self.exclusions.is_empty() && self.steps.iter().all(|step| *step == Step::default())
    }

    /// The instant that a time counts as.
    pub(crate) fn instant(&self, time: i64) -> i64 {
        if self.tolerance > 1 { time.saturating_sub(time.rem_euclid(self.tolerance)) } else { time }
    }

    /// The hits of the first instant, which may be taken in any order, with that instant; and those after them.
    #[inline]
    pub(crate) fn first_instant<'a>(&self, hits: &'a [Hit]) -> Option<(i64, &'a [Hit], &'a [Hit])> {
        let instant = self.instant(hits.first()?.time);
        let size = hits.iter().take_while(|hit| self.instant(hit.time) == instant).count();
        let (group, after) = hits.split_at(size);
        Some((instant, group, after))
    }

    /// Whether an event at this instant may still belong to a chain that started at `first`.
    pub(crate) fn within(&self, first: i64, instant: i64) -> bool {
        // Saturation keeps the longest windows right: nothing is further apart than the longest of them.
        self.window.is_none_or(|window| instant.saturating_sub(first) <= window)
    }

    pub(crate) fn may_start(&self, instant: i64) -> bool {
        self.starts.0 <= instant && instant < self.starts.1
    }

    /// The steps that may come next after `filled` of them, the last of which is filled: over optional ones, too.
    pub(crate) fn next(&self, filled: usize) -> std::ops::Range<usize> {
        if filled == 0 {
            return 0..1.min(self.steps.len());
        }
        let skipped = self.steps[filled..].iter().take_while(|step| step.optional).count();
        filled..(filled + skipped + 1).min(self.steps.len())
    }

    /// In any order: the block of each step. An anchor is one of its own, and so is each run of free steps between two.
    pub(crate) fn blocks(&self) -> Vec<usize> {
        let mut block = 0;
        let mut blocks = Vec::with_capacity(self.steps.len());
        for (at, step) in self.steps.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|before| self.steps.get(before));
            block += usize::from(before.is_some_and(|before| before.anchored || step.anchored));
            blocks.push(block);
        }
        blocks
    }

    /// The last instant at which a chain may be continued.
    pub(crate) fn open_until(&self, filled: usize, first: i64, last: i64) -> i64 {
        let whole = self.window.map_or(i64::MAX, |window| first.saturating_add(window));
        let limits = self.next(filled).map(|step| self.steps[step].limit);
        let next = limits.map(|limit| limit.map_or(i64::MAX, |limit| last.saturating_add(limit))).max();
        whole.min(next.unwrap_or(i64::MAX))
    }
}

/// How far a person came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// The furthest step, counted from 1; 0 for a person who did not enter. In any order: how many steps.
    pub level: usize,
    /// When the chain that is reported starts: of those that reach the level, the one completed first, and of those
    /// the one that starts last.
    pub first: i64,
    /// When it reaches the level.
    pub last: i64,
    /// An excluded event takes the person out.
    pub dropped: bool,
    /// Until when the person may still go on; none after the last step, and when no chain is left.
    pub open_until: Option<i64>,
    /// When the attempt was over before its window, for those that start anew.
    pub(crate) died: Option<i64>,
}
