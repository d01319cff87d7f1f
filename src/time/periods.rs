//! `Periods`: the days, weeks and months of a zone as whole numbers, so that "three weeks later" is a subtraction.
//!
//! Every moment has one date on the calendar of the zone, and the number comes from that date: never from hours, of
//! which a day has 23, 24 or 25.

use hashbrown::HashMap;
use serde::Deserialize;
use serde::Serialize;

use crate::time::Day;
use crate::time::MICROS_PER_DAY;
use crate::time::Micros;
use crate::time::Zone;
use crate::time::calendar::civil_from_days;
use crate::time::calendar::days_from_civil;
use crate::time::zones;

/// How long a period is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    #[default]
    Day,
    /// From Monday.
    Week,
    Month,
}

impl Period {
    pub fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// Its length where it is counted from a moment and not cut from a calendar: 24 hours, 7 times that, 30 times.
    pub fn rolling(self) -> i64 {
        match self {
            Self::Day => MICROS_PER_DAY,
            Self::Week => 7 * MICROS_PER_DAY,
            Self::Month => 30 * MICROS_PER_DAY,
        }
    }

    /// The number of the period that a date lies in; periods that follow each other have numbers that do.
    pub(crate) fn of_day(self, day: Day) -> i64 {
        let day = i64::from(day.0);
        match self {
            Self::Day => day,
            // 1969-12-29, three days before the epoch, was a Monday.
            Self::Week => (day + 3).div_euclid(7),
            Self::Month => {
                let (year, month, _) = civil_from_days(day);
                year * 12 + month - 1
            }
        }
    }

    /// The first date of a period.
    pub(crate) fn first_day(self, index: i64) -> Day {
        let day = match self {
            Self::Day => index,
            Self::Week => index * 7 - 3,
            Self::Month => {
                let month = u32::try_from(index.rem_euclid(12)).unwrap_or_default() + 1;
                days_from_civil(index.div_euclid(12), month, 1)
            }
        };
        Day(i32::try_from(day).unwrap_or(if day < 0 { i32::MIN } else { i32::MAX }))
    }
}

/// The periods of one zone, with the offset of each UTC day that has only one remembered.
#[derive(Clone, Debug)]
pub(crate) struct Periods {
    pub(crate) period: Period,
    pub(crate) zone: Zone,
    offsets: HashMap<i64, Option<i64>>,
    /// The UTC day that was asked for last, and its offset.
    last: (i64, Option<i64>),
}

impl Periods {
    pub(crate) fn new(period: Period, zone: Zone) -> Self {
        // No day has this number, so nothing is known yet.
        Self { period, zone, offsets: HashMap::new(), last: (i64::MAX, None) }
    }

    /// The date that the calendar shows at a moment.
    pub(crate) fn day(&mut self, at: Micros) -> Day {
        let utc_day = at.0.div_euclid(MICROS_PER_DAY);
        if let (last, Some(offset)) = self.last
            && last == utc_day
        {
            return Day::of(Micros(at.0 + offset));
        }
        let zone = self.zone;
        let offset = *self.offsets.entry(utc_day).or_insert_with(|| {
            let start = Micros(utc_day * MICROS_PER_DAY);
            let first = zones::offset_at(start, zone)?;
            let last = zones::offset_at(Micros(start.0 + MICROS_PER_DAY - 1), zone)?;
            (first == last).then_some(i64::from(first) * 1_000_000)
        });
        self.last = (utc_day, offset);
        match offset {
            Some(offset) => Day::of(Micros(at.0 + offset)),
            None => zones::local_day(at, zone).unwrap_or(Day::of(at)),
        }
    }

    /// The number of the period that a moment lies in.
    pub(crate) fn index(&mut self, at: Micros) -> i64 {
        let day = self.day(at);
        self.period.of_day(day)
    }

    /// The first moment of a period; beyond the calendar's years, the day's start in UTC.
    pub(crate) fn start(&self, index: i64) -> Micros {
        let day = self.period.first_day(index);
        zones::day_start(day, self.zone).unwrap_or(day.start())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::parse_instant;
    use crate::time::parse_zone;

    fn at(text: &str) -> Micros {
        parse_instant(text, None).unwrap()
    }

    #[test]
    fn a_week_starts_on_monday_and_a_month_on_the_first() {
        let zagreb = parse_zone("Europe/Zagreb").unwrap();
        let mut weeks = Periods::new(Period::Week, zagreb);
        // Sunday evening in UTC is Monday in Zagreb.
        let monday = weeks.index(at("2026-05-17T22:30:00Z"));
        assert_eq!(weeks.start(monday), at("2026-05-17T22:00:00Z"));
        assert_eq!(weeks.index(at("2026-05-17T21:59:59Z")), monday - 1);
        let mut months = Periods::new(Period::Month, zagreb);
        let may = months.index(at("2026-05-17T21:59:59Z"));
        assert_eq!(Period::Month.first_day(may).to_string(), "2026-05-01");
        assert_eq!(months.index(at("2026-04-30T22:00:00Z")), may);
        assert_eq!(Period::Month.first_day(may + 8).to_string(), "2027-01-01");
    }

    #[test]
    fn br27_the_day_without_midnight_in_cairo_is_one_day() {
        let mut days = Periods::new(Period::Day, parse_zone("Africa/Cairo").unwrap());
        let before = days.index(at("2025-04-24T21:59:59Z"));
        assert_eq!(days.index(at("2025-04-24T22:00:00Z")), before + 1);
        assert_eq!(days.start(before + 1), at("2025-04-24T22:00:00Z"));
        assert_eq!(days.start(before + 2), at("2025-04-25T21:00:00Z"));
    }

    proptest! {
        #[test]
        fn numbers_and_first_days_are_each_others_inverse(day in -700_000i32..2_900_000, which in 0usize..3) {
            let period = [Period::Day, Period::Week, Period::Month][which];
            let index = period.of_day(Day(day));
            prop_assert!(period.first_day(index) <= Day(day) && Day(day) < period.first_day(index + 1));
            prop_assert_eq!(period.of_day(period.first_day(index)), index);
        }

        #[test]
        fn remembered_days_are_those_of_the_zone(micros in 1_300_000_000i64..1_900_000_000, which in 0usize..4) {
            let names = ["Europe/Berlin", "Africa/Cairo", "America/Havana", "Australia/Lord_Howe"];
            let zone = parse_zone(names[which]).unwrap();
            let moment = Micros(micros * 1_000_000);
            let mut periods = Periods::new(Period::Day, zone);
            prop_assert_eq!(Some(periods.day(moment)), zones::local_day(moment, zone));
        }
    }
}
