//! The stretch of time whose events count, and how its ends move while time goes on. Pure.

use crate::analysis::attributes::AggregatePeriod;
use crate::analysis::segment::Span;
use crate::analysis::segment::SpanUnit;
use crate::analysis::segment::Window;
use crate::analysis::segment::range;
use crate::error::Error;
use crate::error::Result;
use crate::time::Day;
use crate::time::Micros;
use crate::time::Zone;
use crate::time::zones;

/// From when (everything before, where it is open) up to, and without, when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) from: Option<i64>,
    pub(crate) to: i64,
    pub(crate) starts: Moves,
    pub(crate) ends: Moves,
}

/// How an end moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moves {
    Never,
    /// At midnight in the zone.
    ByDays,
    /// With the clock.
    Steadily,
}

fn outside() -> Error {
    Error::invalid("the days lie outside of the years of the calendar")
}

impl Stretch {
    pub(crate) fn of_period(period: &AggregatePeriod, now: Micros, zone: Zone) -> Result<Self> {
        match period {
            AggregatePeriod::Lifetime => Self::of_window(&Window::Ever, now, zone),
            AggregatePeriod::LastDays(days) => Self::of_window(&Window::LastDays(*days), now, zone),
            AggregatePeriod::Last24Hours => {
                Self::of_window(&Window::Last(Span { count: 24, unit: SpanUnit::Hours }), now, zone)
            }
            AggregatePeriod::Since(date) => {
                Self::of_window(&Window::Absolute { from: Some(date.clone()), to: None }, now, zone)
            }
            AggregatePeriod::DaysBeforeToday(days) => {
                let today = zones::local_day(now, zone).ok_or_else(outside)?;
                let first = today.0.checked_sub_unsigned(*days).ok_or_else(outside)?;
                let from = zones::day_start(Day(first), zone).ok_or_else(outside)?;
                Ok(Self { from: Some(from.0), to: now.0, starts: Moves::ByDays, ends: Moves::Steadily })
            }
        }
    }

    pub(crate) fn of_window(window: &Window, now: Micros, zone: Zone) -> Result<Self> {
        let (from, to) = range(window, now, zone)?;
        let (starts, ends) = match window {
            Window::Ever => (Moves::Never, Moves::Steadily),
            Window::Last(_) | Window::Ago { .. } => (Moves::Steadily, Moves::Steadily),
            Window::LastDays(_) => (Moves::ByDays, Moves::ByDays),
            Window::BeforeLast(_) => (Moves::Never, Moves::Steadily),
            Window::Absolute { .. } if to >= now => (Moves::Never, Moves::Steadily),
            Window::Absolute { .. } => (Moves::Never, Moves::Never),
        };
        Ok(Self { from: from.map(|from| from.0), to: to.0, starts, ends })
    }

    pub(crate) fn contains(&self, at: i64) -> bool {
        self.from.is_none_or(|from| from <= at) && at < self.to
    }

    /// Whether all of a piece of time lies in it.
    pub(crate) fn covers(&self, start: i64, end: i64) -> bool {
        self.from.is_none_or(|from| from <= start) && end <= self.to
    }

    /// Whether something of a piece of time may lie in it, now or a moment later.
    pub(crate) fn touches(&self, start: i64, end: i64) -> bool {
        let begins_in_time = if self.ends == Moves::Steadily { start <= self.to } else { start < self.to };
        self.from.is_none_or(|from| from < end) && begins_in_time
    }

    /// Whether an end lies within a piece of time, so that it is neither all in nor all out, or will in a moment.
    pub(crate) fn cuts(&self, start: i64, end: i64) -> bool {
        [self.from, Some(self.to)].into_iter().flatten().any(|edge| start < edge && edge < end)
            || self.steady_edges().any(|edge| edge == start)
    }

    /// The ends that move with the clock.
    pub(crate) fn steady_edges(&self) -> impl Iterator<Item = i64> {
        let from = self.from.filter(|_| self.starts == Moves::Steadily);
        let to = Some(self.to).filter(|_| self.ends == Moves::Steadily);
        from.into_iter().chain(to)
    }

    /// When an end that moves by days does so next, or may.
    pub(crate) fn next_jump(&self, now: Micros, zone: Zone) -> i64 {
        if self.starts != Moves::ByDays && self.ends != Moves::ByDays {
            return i64::MAX;
        }
        let next = zones::local_day(now, zone).and_then(|today| {
            let is_plain = zones::is_one_stretch(today, zone);
            zones::day_start(Day(today.0 + 1), zone).filter(|_| is_plain)
        });
        // Where clocks go back over midnight, nothing is promised.
        next.map_or(now.0 + 1, |next| next.0)
    }
}

/// The pieces that midnights of the zone cut a UTC day into.
pub(crate) fn pieces(day: Day, zone: Zone) -> Vec<(i64, i64)> {
    let (start, end) = (day.start().0, Day(day.0 + 1).start().0);
    let cuts = (day.0 - 1..=day.0 + 2).filter_map(|day| zones::day_start(Day(day), zone));
    let mut edges: Vec<i64> = cuts.map(|cut| cut.0).filter(|cut| start < *cut && *cut < end).collect();
    edges.sort_unstable();
    edges.dedup();
    edges.push(end);
    let mut from = start;
    edges
        .into_iter()
        .map(|edge| {
            let piece = (from, edge);
            from = edge;
            piece
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MICROS_PER_DAY;

    /// At midnight sharp, an end that moves with the clock is about to cut the day that begins.
    #[test]
    fn a_day_that_begins_now_is_cut_by_what_moves_on_into_it() {
        let (day, now) = (MICROS_PER_DAY, Micros(10 * MICROS_PER_DAY));
        let last = |period| Stretch::of_period(&period, now, Zone::UTC).unwrap();
        let steady = last(AggregatePeriod::Last24Hours);
        for (start, touched, cut) in
            [(8, false, false), (9, true, true), (10, true, true), (11, false, false)]
        {
            let (start, end) = (start * day, (start + 1) * day);
            assert_eq!((steady.touches(start, end), steady.cuts(start, end)), (touched, cut), "{start}");
        }
        let by_days = last(AggregatePeriod::LastDays(2));
        for (start, touched) in [(7, false), (8, true), (9, true), (10, false)] {
            let (start, end) = (start * day, (start + 1) * day);
            assert_eq!((by_days.touches(start, end), by_days.cuts(start, end)), (touched, false), "{start}");
        }
    }
}
