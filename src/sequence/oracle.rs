//! Test only: what a funnel means, by trying every chain there is. Slow, short, and written from the definition.

use crate::sequence::Entry;
use crate::sequence::Hit;
use crate::sequence::Order;
use crate::sequence::Rules;
use crate::sequence::Ties;

/// The event of each step, as far as the chain goes; none for an optional step that it leaves out.
type Chain = Vec<Option<usize>>;

/// What the definition says of a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Truth {
    pub(crate) level: usize,
    /// The instants of the reported chain, step by step.
    pub(crate) times: Vec<Option<i64>>,
    pub(crate) dropped: bool,
    pub(crate) open_until: Option<i64>,
}

pub(crate) fn truth(rules: &Rules, hits: &[Hit]) -> Truth {
    let oracle = Oracle { rules, hits };
    let mut chains = match rules.order {
        Order::Ordered => oracle.ordered(),
        Order::Strict => oracle.strict(),
        Order::Any => oracle.any(),
    };
    let level_of = |chain: &Chain| match rules.order {
        Order::Any => chain.iter().flatten().count(),
        _ => chain.len(),
    };
    let level = chains.iter().map(level_of).max().unwrap_or(0);
    if level == 0 {
        return Truth { times: vec![None; rules.steps.len()], ..Truth::default() };
    }
    chains.retain(|chain| level_of(chain) == level);
    let reported = chains.iter().min_by_key(|chain| oracle.rank(chain)).unwrap();
    let mut times: Vec<Option<i64>> = reported.iter().map(|event| event.map(|at| oracle.at(at))).collect();
    times.resize(rules.steps.len(), None);
    let whole = level == rules.steps.len();
    let latest = chains.iter().map(|chain| oracle.first(chain)).max().unwrap();
    let newest = chains.iter().filter(|chain| oracle.first(chain) == latest);
    let dropped = rules.drop_person && !whole && newest.clone().all(|chain| oracle.is_hit(chain));
    let open_until = if whole {
        None
    } else {
        chains.iter().filter(|chain| !oracle.is_over(chain)).map(|chain| oracle.open_until(chain)).max()
    };
    Truth { level, times, dropped, open_until }
}

struct Oracle<'a> {
    rules: &'a Rules,
    hits: &'a [Hit],
}

impl Oracle<'_> {
    fn at(&self, event: usize) -> i64 {
        let (time, tolerance) = (self.hits[event].time, self.rules.tolerance);
        if tolerance > 1 { time.div_euclid(tolerance) * tolerance } else { time }
    }

    fn times<'a>(&'a self, chain: &'a Chain) -> impl Iterator<Item = i64> + 'a {
        chain.iter().flatten().map(|event| self.at(*event))
    }

    fn first(&self, chain: &Chain) -> i64 {
        self.times(chain).min().unwrap()
    }

    fn last(&self, chain: &Chain) -> i64 {
        self.times(chain).max().unwrap()
    }

    fn fits(&self, event: usize, step: usize) -> bool {
        self.hits[event].steps >> step & 1 != 0
    }

    /// Completed first, then started last, then each event earliest; a step that is left out is later than any.
    fn rank(&self, chain: &Chain) -> (i64, i64, Vec<i64>) {
        let mut times: Vec<i64> = chain.iter().map(|one| one.map_or(i64::MAX, |at| self.at(at))).collect();
        if self.rules.order == Order::Any {
            times = self.times(chain).collect();
            times.sort_unstable();
        }
        (self.last(chain), -self.first(chain), times)
    }

    fn may_start(&self, first: i64) -> bool {
        self.rules.starts.0 <= first && first < self.rules.starts.1
    }

    fn starts(&self) -> Vec<usize> {
        let all =
            (0..self.hits.len()).filter(|event| self.fits(*event, 0) && self.may_start(self.at(*event)));
        let all: Vec<usize> = all.collect();
        let earliest = all.iter().map(|event| self.at(*event)).min();
        let keeps = |event: &usize| self.rules.entry == Entry::Any || Some(self.at(*event)) == earliest;
        all.into_iter().filter(keeps).collect()
    }

    fn within(&self, first: i64, last: i64) -> bool {
        self.rules.window.is_none_or(|window| i128::from(last) - i128::from(first) <= i128::from(window))
    }

    fn ordered(&self) -> Vec<Chain> {
        let mut chains = Vec::new();
        for start in self.starts() {
            self.extend(vec![Some(start)], &mut chains);
        }
        chains
    }

    fn extend(&self, chain: Chain, chains: &mut Vec<Chain>) {
        let last = self.last(&chain);
        for step in chain.len()..self.rules.steps.len() {
            for event in 0..self.hits.len() {
                let now = self.at(event);
                let in_order = match self.rules.ties {
                    Ties::Any => last <= now,
                    Ties::Strict => last < now,
                };
                let limit = self.rules.steps[step].limit;
                let fits = self.fits(event, step)
                    && !chain.contains(&Some(event))
                    && in_order
                    && self.within(self.first(&chain), now)
                    && limit.is_none_or(|limit| now - last <= limit);
                if fits {
                    let mut longer = chain.clone();
                    longer.resize(step, None);
                    longer.push(Some(event));
                    if !self.is_excluded(&longer) {
                        self.extend(longer, chains);
                    }
                }
            }
            if !self.rules.steps[step].optional {
                break;
            }
        }
        chains.push(chain);
    }

    /// Whether an excluded event lies strictly between two steps of the chain.
    fn is_excluded(&self, chain: &Chain) -> bool {
        self.rules.exclusions.iter().enumerate().any(|(number, one)| {
            let (Some(Some(from)), Some(Some(to))) = (chain.get(one.from), chain.get(one.to)) else {
                // Not there yet, but what has passed by the last step counts already.
                let Some(Some(from)) = chain.get(one.from) else { return false };
                return self.meets(number, self.at(*from), self.last(chain));
            };
            self.meets(number, self.at(*from), self.at(*to))
        })
    }

    fn meets(&self, number: usize, after: i64, before: i64) -> bool {
        let mut all = (0..self.hits.len()).filter(|event| self.hits[*event].excludes >> number & 1 != 0);
        all.any(|event| after < self.at(event) && self.at(event) < before)
    }

    /// Whether an excluded event comes while the next step is awaited.
    fn is_hit(&self, chain: &Chain) -> bool {
        self.rules.exclusions.iter().enumerate().any(|(number, one)| {
            let waits = one.from < chain.len() && chain.len() <= one.to;
            let Some(Some(from)) = chain.get(one.from).filter(|_| waits) else { return false };
            let mut all = (0..self.hits.len()).filter(|event| self.hits[*event].excludes >> number & 1 != 0);
            all.any(|event| {
                let now = self.at(event);
                self.at(*from) < now && self.within(self.first(chain), now)
            })
        })
    }

    /// Whether nothing can follow any more, whatever comes after the last event.
    fn is_over(&self, chain: &Chain) -> bool {
        match self.rules.order {
            Order::Ordered => self.rules.exclusions.iter().enumerate().any(|(number, one)| {
                let waits = one.from < chain.len() && chain.len() <= one.to;
                let Some(Some(from)) = chain.get(one.from).filter(|_| waits) else { return false };
                self.meets(number, self.at(*from), i64::MAX)
            }),
            Order::Strict => {
                // It may be put at the very end of the events.
                let last = self.last(chain);
                let at_end = (0..self.hits.len()).filter(|event| self.at(*event) >= last);
                let starts_there = self.first(chain) == last;
                let mut free = at_end.filter(|event| !chain.contains(&Some(*event)));
                free.any(|event| !starts_there || self.at(event) > last)
            }
            Order::Any => false,
        }
    }

    fn open_until(&self, chain: &Chain) -> i64 {
        let whole = self.rules.window.map_or(i64::MAX, |window| self.first(chain).saturating_add(window));
        if self.rules.order != Order::Ordered {
            return whole;
        }
        let mut next = i64::MIN;
        for step in &self.rules.steps[chain.len()..] {
            next = next.max(step.limit.map_or(i64::MAX, |limit| self.last(chain).saturating_add(limit)));
            if !step.optional {
                break;
            }
        }
        whole.min(next)
    }

    /// Every order in which events of one instant may be put; a chain is a stretch of one without anything between.
    fn strict(&self) -> Vec<Chain> {
        let starts = self.starts();
        let mut chains = Vec::new();
        let mut orders = vec![Vec::new()];
        for _ in self.hits {
            let mut longer = Vec::new();
            for order in &orders {
                let left: Vec<usize> = (0..self.hits.len()).filter(|one| !order.contains(one)).collect();
                let earliest = left.iter().map(|event| self.at(*event)).min();
                for event in left.iter().filter(|event| Some(self.at(**event)) == earliest) {
                    let mut order = order.clone();
                    order.push(*event);
                    longer.push(order);
                }
            }
            orders = longer;
        }
        for order in orders {
            for start in (0..order.len()).filter(|place| starts.contains(&order[*place])) {
                let mut chain: Chain = Vec::new();
                for (step, event) in order[start..].iter().take(self.rules.steps.len()).enumerate() {
                    let follows = chain.last().copied().flatten().is_none_or(|last: usize| {
                        self.rules.ties == Ties::Any || self.at(last) < self.at(*event)
                    });
                    let first = self.at(order[start]);
                    if !self.fits(*event, step) || !follows || !self.within(first, self.at(*event)) {
                        break;
                    }
                    chain.push(Some(*event));
                    chains.push(chain.clone());
                }
            }
        }
        chains
    }

    /// Whether an anchor comes behind all steps before it, and before all steps behind it.
    fn keeps_places(&self, chain: &Chain) -> bool {
        let anchors: Vec<bool> = self.rules.steps.iter().map(|step| step.anchored).collect();
        (0..chain.len()).all(|later| {
            let Some(now) = chain[later] else { return true };
            // Steps that must lie before this one: an anchor stands between, or is one of the two.
            let mut before = (0..later).filter(|earlier| anchors[*earlier..=later].contains(&true));
            before.all(|earlier| chain[earlier].is_some_and(|then| self.at(then) <= self.at(now)))
        })
    }

    /// Every way to give steps different events within one window.
    fn any(&self) -> Vec<Chain> {
        let mut chains: Vec<Chain> = vec![Vec::new()];
        for step in 0..self.rules.steps.len() {
            let mut longer = Vec::new();
            for chain in &chains {
                let events = (0..self.hits.len()).filter(|one| self.fits(*one, step)).map(Some);
                for event in events.chain([None]).filter(|one| one.is_none() || !chain.contains(one)) {
                    let mut chain = chain.clone();
                    chain.push(event);
                    longer.push(chain);
                }
            }
            chains = longer;
        }
        chains.retain(|chain| {
            chain.iter().any(Option::is_some)
                && self.within(self.first(chain), self.last(chain))
                && self.may_start(self.first(chain))
                && self.keeps_places(chain)
        });
        chains
    }
}
