//! What the events of one person amount to: how many, how much, the first, the most common. A `Tally` is put together from
//! parts in any order, so that days that are past need not be looked at again.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use crate::sequence::exact::ExactSum;

/// What is made of the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// How many events.
    Count,
    /// Whether there is one.
    Exists,
    Sum,
    Min,
    Max,
    Average,
    /// How many different values.
    CountDistinct,
    /// The value of the first event, even if it has none.
    First,
    Last,
    /// The value that most events have; of equals the one seen last.
    MostCommon,
}

/// One end of a row of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    First,
    Last,
}

/// What to make of events, and which of them to leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) function: Function,
    pub(crate) without: Option<End>,
}

/// A value of a property.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scalar {
    Truth(bool),
    Whole(i128),
    Decimal(Decimal),
    /// Microseconds since the epoch.
    Moment(i64),
    Text(Arc<str>),
}

/// A number with an order; zero has no sign.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decimal(f64);

impl Decimal {
    pub(crate) fn new(number: f64) -> Self {
        Self(if number == 0.0 { 0.0 } else { number })
    }

    pub(crate) fn number(self) -> f64 {
        self.0
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Decimal {}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// One event: its place among all events, and its value if it has one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dated {
    pub(crate) at: i64,
    pub(crate) seq: i64,
    pub(crate) value: Option<Scalar>,
}

impl Dated {
    fn place(&self) -> (i64, i64) {
        (self.at, self.seq)
    }
}

/// What some events of a person amount to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tally {
    /// The place of the first or last event, whichever is left out.
    edge: (i64, i64),
    /// All events.
    all: State,
    /// All but the one that is left out, if one is.
    rest: Option<State>,
}

/// Of an empty row of events, or more.
#[derive(Clone, Debug, PartialEq)]
enum State {
    Count(u64),
    /// Whole numbers and others are never mixed.
    Sum {
        whole: i128,
        decimal: ExactSum,
        values: u64,
        is_whole: bool,
    },
    Extreme(Option<Scalar>),
    /// How often each value is there, and where it was last.
    Values(BTreeMap<Scalar, (u64, (i64, i64))>),
    Ends(Option<((i64, i64), Option<Scalar>)>),
}

impl Tally {
    pub(crate) fn of(plan: Plan, event: Dated) -> Self {
        let edge = event.place();
        let rest = plan.without.map(|_| State::empty(plan.function));
        Self { edge, all: State::of(plan.function, event), rest }
    }

    /// Takes in other events of the same person.
    pub(crate) fn merge(&mut self, plan: Plan, mut other: Self) {
        let ours_goes = match plan.without {
            None => true,
            Some(End::First) => self.edge <= other.edge,
            Some(End::Last) => self.edge >= other.edge,
        };
        if !ours_goes {
            mem::swap(self, &mut other);
        }
        // The event that is left out of both together is the one left out of this; all of the others stay.
        if let Some(rest) = &mut self.rest {
            rest.merge(plan.function, &other.all);
        }
        self.all.merge(plan.function, &other.all);
    }

    /// What the events amount to; nothing where there is no value to speak of.
    pub(crate) fn value(&self, plan: Plan) -> Option<Scalar> {
        self.rest.as_ref().unwrap_or(&self.all).value(plan.function)
    }
}

/// What no events at all amount to.
pub(crate) fn value_of_none(function: Function) -> Option<Scalar> {
    State::empty(function).value(function)
}

impl State {
    fn empty(function: Function) -> Self {
        match function {
            Function::Count | Function::Exists => Self::Count(0),
            Function::Sum | Function::Average => {
                Self::Sum { whole: 0, decimal: ExactSum::default(), values: 0, is_whole: true }
            }
            Function::Min | Function::Max => Self::Extreme(None),
            Function::CountDistinct | Function::MostCommon => Self::Values(BTreeMap::new()),
            Function::First | Function::Last => Self::Ends(None),
        }
    }

    fn of(function: Function, event: Dated) -> Self {
        let mut state = Self::empty(function);
        let place = event.place();
        match (&mut state, event.value) {
            (Self::Count(count), _) => *count = 1,
            (Self::Ends(end), value) => *end = Some((place, value)),
            (_, None) => {}
            (Self::Sum { whole, values, .. }, Some(Scalar::Whole(number))) => {
                (*whole, *values) = (number, 1);
            }
            (Self::Sum { decimal, values, is_whole, .. }, Some(Scalar::Decimal(number))) => {
                decimal.add(number.number());
                (*values, *is_whole) = (1, false);
            }
            (Self::Sum { .. }, Some(_)) => {}
            (Self::Extreme(extreme), value) => *extreme = value,
            (Self::Values(values), Some(value)) => {
                values.insert(value, (1, place));
            }
        }
        state
    }

    fn merge(&mut self, function: Function, other: &Self) {
        match (self, other) {
            (Self::Count(count), Self::Count(more)) => *count += more,
            (
                Self::Sum { whole, decimal, values, is_whole },
                Self::Sum { whole: more, decimal: others, values: other_values, is_whole: other_whole },
            ) => {
                // 2^63 values of 2^63 fit.
                *whole += more;
                decimal.merge(others);
                *values += other_values;
                *is_whole &= other_whole;
            }
            (Self::Extreme(one), Self::Extreme(Some(other))) => {
                let better = match one {
                    None => true,
                    Some(one) if function == Function::Min => *other < *one,
                    Some(one) => *other > *one,
                };
                if better {
                    *one = Some(other.clone());
                }
            }
            (Self::Values(values), Self::Values(others)) => {
                for (value, (count, last)) in others {
                    let known = values.entry(value.clone()).or_insert((0, *last));
                    known.0 += count;
                    known.1 = known.1.max(*last);
                }
            }
            (Self::Ends(one), Self::Ends(Some(other))) => {
                let better = match one {
                    None => true,
                    Some(one) if function == Function::First => other.0 < one.0,
                    Some(one) => other.0 > one.0,
                };
                if better {
                    *one = Some(other.clone());
                }
            }
            _ => {}
        }
    }

    fn value(&self, function: Function) -> Option<Scalar> {
        match self {
            Self::Count(count) if function == Function::Exists => Some(Scalar::Truth(*count > 0)),
            Self::Count(count) => Some(Scalar::Whole(i128::from(*count))),
            Self::Sum { values: 0, .. } => None,
            Self::Sum { whole, decimal, values, is_whole } => Some(match (function, is_whole) {
                (Function::Average, true) => Scalar::Decimal(Decimal::new(*whole as f64 / *values as f64)),
                (Function::Average, false) => Scalar::Decimal(Decimal::new(decimal.value() / *values as f64)),
                (_, true) => Scalar::Whole(*whole),
                (_, false) => Scalar::Decimal(Decimal::new(decimal.value())),
            }),
            Self::Extreme(value) => value.clone(),
            Self::Values(values) if function == Function::CountDistinct => {
                Some(Scalar::Whole(values.len() as i128))
            }
            Self::Values(values) => {
                values.iter().max_by_key(|(_, often)| **often).map(|(value, _)| value.clone())
            }
            Self::Ends(end) => end.as_ref().and_then(|(_, value)| value.clone()),
        }
    }
}

/// What events amount to, by the words of the functions: slow, and obviously right.
#[cfg(test)]
pub(crate) fn spelled_out(plan: Plan, events: &[Dated]) -> Option<Scalar> {
    let mut events = events.to_vec();
    events.sort_by_key(Dated::place);
    match plan.without {
        Some(End::First) if !events.is_empty() => drop(events.remove(0)),
        Some(End::Last) => drop(events.pop()),
        _ => {}
    }
    let values: Vec<Scalar> = events.iter().filter_map(|one| one.value.clone()).collect();
    let wholes: Vec<i128> = values
        .iter()
        .filter_map(|one| if let Scalar::Whole(number) = one { Some(*number) } else { None })
        .collect();
    let mut exact = ExactSum::default();
    for value in &values {
        if let Scalar::Decimal(number) = value {
            exact.add(number.number());
        }
    }
    let often = |value: &Scalar| values.iter().filter(|one| *one == value).count();
    match plan.function {
        Function::Count => Some(Scalar::Whole(events.len() as i128)),
        Function::Exists => Some(Scalar::Truth(!events.is_empty())),
        Function::Sum if values.is_empty() => None,
        Function::Sum if wholes.len() == values.len() => Some(Scalar::Whole(wholes.iter().sum())),
        Function::Sum => Some(Scalar::Decimal(Decimal::new(exact.value()))),
        Function::Average if values.is_empty() => None,
        Function::Average => {
            let sum =
                if wholes.len() == values.len() { wholes.iter().sum::<i128>() as f64 } else { exact.value() };
            Some(Scalar::Decimal(Decimal::new(sum / values.len() as f64)))
        }
        Function::Min => values.iter().min().cloned(),
        Function::Max => values.iter().max().cloned(),
        Function::CountDistinct => {
            let different: std::collections::BTreeSet<&Scalar> = values.iter().collect();
            Some(Scalar::Whole(different.len() as i128))
        }
        Function::First => events.first().and_then(|one| one.value.clone()),
        Function::Last => events.last().and_then(|one| one.value.clone()),
        // The last of the most common ones, as they come.
        Function::MostCommon => {
            let most = values.iter().map(often).max()?;
            values.iter().rev().find(|value| often(value) == most).cloned()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) const ALL: [Function; 10] = [
        Function::Count,
        Function::Exists,
        Function::Sum,
        Function::Min,
        Function::Max,
        Function::Average,
        Function::CountDistinct,
        Function::First,
        Function::Last,
        Function::MostCommon,
    ];

    fn value(which: u8, number: i64) -> Option<Scalar> {
        match which {
            0 => Some(Scalar::Whole(i128::from(number) * i128::from(i64::MAX))),
            1 => Some(Scalar::Decimal(Decimal::new(number as f64 / 10.0))),
            _ => Some(Scalar::Text(format!("{number}").into())),
        }
    }

    proptest! {
        #[test]
        fn parts_in_any_order_amount_to_what_the_words_say(
            events in prop::collection::vec((0i64..6, prop::option::of(-3i64..4)), 1..14),
            which in 0u8..3,
            swaps in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 14),
            function in prop::sample::select(ALL.to_vec()),
            without in prop::option::of(prop::sample::select(vec![End::First, End::Last])),
        ) {
            // A text has no sum.
            let which = if matches!(function, Function::Sum | Function::Average) { which % 2 } else { which };
            let plan = Plan { function, without };
            let events: Vec<Dated> = events
                .iter()
                .zip(0..)
                .map(|((at, number), seq)| Dated {
                    at: *at,
                    seq,
                    value: number.and_then(|number| value(which, number)),
                })
                .collect();
            let mut parts: Vec<Tally> = events.iter().map(|one| Tally::of(plan, one.clone())).collect();
            for (one, other) in swaps {
                if parts.len() < 2 {
                    break;
                }
                let taken = parts.remove(one.index(parts.len()));
                let at = other.index(parts.len());
                parts[at].merge(plan, taken);
            }
            let mut whole = parts.remove(0);
            parts.into_iter().for_each(|part| whole.merge(plan, part));
            prop_assert_eq!(whole.value(plan), spelled_out(plan, &events));
            prop_assert_eq!(value_of_none(function), spelled_out(plan, &[]));
        }
    }

    #[test]
    fn of_equally_common_values_the_one_seen_last_counts() {
        let plan = Plan { function: Function::MostCommon, without: None };
        let text = |text: &str| Some(Scalar::Text(text.into()));
        let event = |at: i64, value| Tally::of(plan, Dated { at, seq: at, value });
        let mut tally = event(1, text("b"));
        tally.merge(plan, event(2, text("a")));
        assert_eq!(tally.value(plan), text("a"));
        tally.merge(plan, event(3, text("b")));
        tally.merge(plan, event(4, None));
        assert_eq!(tally.value(plan), text("b"));
    }
}
