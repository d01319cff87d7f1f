//! Which intervals of a schedule are due: half-open, one after the other, none missed and none twice. Decides only.
//!
//! A schedule remembers one moment, the start of the next interval that has not been handed out. An interval is due
//! when it has ended and the grace for late events is over as well. After a pause all that fell due in it are due.

use crate::error::Error;
use crate::error::Result;
use crate::time::Micros;
use crate::time::TimeRange;

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// At most so many intervals are handed out at once; the rest is due right after.
pub(crate) const MOST_AT_ONCE: usize = 1_000;

/// How a range of time is cut into exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The length of each interval, in microseconds.
    pub every: i64,
    /// How long events may be late, in microseconds.
    pub grace: i64,
    /// Where the next interval starts.
    pub next: Micros,
}

impl Schedule {
    /// The intervals that are due, in order, and the schedule once they are handed out.
    pub fn due(self, now: Micros) -> (Vec<TimeRange>, Self) {
        let (mut due, mut next) = (Vec::new(), self.next);
        while due.len() < MOST_AT_ONCE {
            let end = Micros(next.0.saturating_add(self.every));
            if end.0.saturating_add(self.grace) > now.0 || end <= next {
                break;
            }
            due.push(TimeRange { start: next, end });
            next = end;
        }
        (due, Self { next, ..self })
    }

    /// The last border before a moment, of intervals that start with the epoch: full hours, days in UTC.
    pub fn border(every: i64, moment: Micros) -> Micros {
        Micros(moment.0.div_euclid(every.max(1)) * every.max(1))
    }
}

/// `1 HOUR`, `15 MINUTES`, `2 DAYS`, `1 WEEK`: at least a minute, in microseconds.
pub fn parse_interval(number: &str, unit: &str) -> Result<i64> {
    let wrong = || {
        Error::invalid(format!(
            "an interval looks like 15 MINUTES, 1 HOUR, 1 DAY or 1 WEEK, found \"{number} {unit}\""
        ))
    };
    let unit = match unit.to_ascii_uppercase().trim_end_matches('S') {
        "MINUTE" => MINUTE,
        "HOUR" => HOUR,
        "DAY" => DAY,
        "WEEK" => 7 * DAY,
        _ => return Err(wrong()),
    };
    let number: i64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).filter(|micros| (MINUTE..=366 * DAY).contains(micros)).ok_or_else(wrong)
}

/// `90 minutes`, the shortest way to say it.
pub(crate) fn interval_text(micros: i64) -> String {
    let (unit, name) = [(7 * DAY, "week"), (DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")]
        .into_iter()
        .find(|(unit, _)| micros % unit == 0 && micros >= *unit)
        .unwrap_or((1_000_000, "second"));
    let number = micros / unit;
    format!("{number} {name}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_interval_is_due_when_it_and_its_grace_are_over() {
        let hourly = Schedule { every: HOUR, grace: 10 * MINUTE, next: Micros(0) };
        let due = |now: i64| hourly.due(Micros(now)).0.len();
        assert_eq!((due(HOUR + 10 * MINUTE - 1), due(HOUR + 10 * MINUTE)), (0, 1));
        let (due, after) = hourly.due(Micros(3 * HOUR));
        assert_eq!(due[1], TimeRange { start: Micros(HOUR), end: Micros(2 * HOUR) });
        assert_eq!(after.next, Micros(2 * HOUR));
    }

    #[test]
    fn intervals_start_at_full_hours_and_days() {
        assert_eq!(Schedule::border(HOUR, Micros(HOUR + 5)), Micros(HOUR));
        assert_eq!(Schedule::border(DAY, Micros(-1)), Micros(-DAY));
        assert_eq!(Schedule::border(DAY, Micros(DAY)), Micros(DAY));
    }

    #[test]
    fn intervals_are_read_and_said() {
        for (number, unit, said) in [
            ("1", "HOUR", "1 hour"),
            ("15", "minutes", "15 minutes"),
            ("7", "DAYS", "1 week"),
            ("90", "Minute", "90 minutes"),
        ] {
            assert_eq!(interval_text(parse_interval(number, unit).unwrap()), said);
        }
        for (number, unit) in
            [("0", "HOUR"), ("-1", "DAY"), ("1", "SECOND"), ("x", "DAY"), ("9", "YEARS"), ("400", "DAYS")]
        {
            assert!(parse_interval(number, unit).is_err(), "{number} {unit}");
        }
    }

    /// The slow way: walk over every minute and see which interval ends in it.
    fn twin(first: i64, every: i64, grace: i64, upto: i64) -> Vec<(i64, i64)> {
        (first + 1..=upto - grace)
            .filter(|end| (end - first) % every == 0)
            .map(|end| (end - every, end))
            .collect()
    }

    proptest! {
        /// However often and however late somebody looks: together the looks hand out each interval once, in order,
        /// without a gap, and none before its time.
        #[test]
        fn looks_at_any_times_hand_out_each_interval_once(
            first in -500_i64..500,
            every in 1_i64..60,
            grace in 0_i64..30,
            waits in proptest::collection::vec(0_i64..400, 1..30),
            looked_back in proptest::collection::vec(any::<bool>(), 30),
        ) {
            let mut schedule = Schedule { every, grace, next: Micros(first) };
            let (mut now, mut handed_out) = (first, Vec::new());
            for (wait, back) in waits.iter().zip(&looked_back) {
                now += wait;
                // A clock that was set back hands out nothing again.
                let seen = if *back { now - wait / 2 } else { now };
                let (due, after) = schedule.due(Micros(seen));
                prop_assert!(due.iter().all(|range| range.end.0 + grace <= seen));
                handed_out.extend(due.iter().map(|range| (range.start.0, range.end.0)));
                schedule = after;
            }
            let (due, after) = schedule.due(Micros(now));
            handed_out.extend(due.iter().map(|range| (range.start.0, range.end.0)));
            prop_assert_eq!(after.due(Micros(now)).0.len(), 0);
            prop_assert_eq!(handed_out, twin(first, every, grace, now));
        }
    }
}
