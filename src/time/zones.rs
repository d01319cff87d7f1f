//! Days and buckets of a zone: which day a moment falls on there, and where days, weeks and hours start.
//!
//! A zone may skip a midnight, show an hour twice or have none; a bucket always starts at a moment that exists, and
//! follows the one before without gap or overlap. Pure: no Arrow.

use chrono::DateTime;
use chrono::Datelike;
use chrono::Days;
use chrono::MappedLocalTime;
use chrono::Months;
use chrono::NaiveDate;
use chrono::NaiveDateTime;
use chrono::NaiveTime;
use chrono::Offset;
use chrono::TimeDelta;
use chrono::TimeZone;
use chrono::Timelike;

use crate::error::Error;
use crate::error::Result;
use crate::time::Day;
use crate::time::Micros;
use crate::time::Zone;

/// How wide the buckets of time are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// A number of minutes that divides an hour, or an hour: every hour that the clock shows twice is two buckets.
    Minutes(u32),
    /// A number of hours that divides a day, from midnight on the clock of the zone.
    Hours(u32),
    Day,
    /// From Monday.
    Week,
    Month,
    Quarter,
    Year,
}

impl Width {
    /// `15 minutes`, `hour`, `6 hours`, `day`, `week`, `month`, `quarter`, `year`; a leading `1` changes nothing.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let lower = text.trim().to_lowercase();
        let (count, unit) = lower.split_once(' ').unwrap_or(("1", &lower));
        let count: u32 = count.parse().unwrap_or(0);
        match (count, unit.trim().trim_end_matches('s')) {
            (1..=60, "minute" | "min") if 60 % count == 0 => Ok(Self::Minutes(count)),
            (1, "hour") => Ok(Self::Minutes(60)),
            (2..=24, "hour") if 24 % count == 0 => Ok(Self::Hours(count)),
            (1, "day") => Ok(Self::Day),
            (1, "week") => Ok(Self::Week),
            (1, "month") => Ok(Self::Month),
            (1, "quarter") | (3, "month") => Ok(Self::Quarter),
            (1, "year") => Ok(Self::Year),
            _ => Err(Error::invalid(format!(
                "no bucket is as wide as \"{text}\"; take minutes that divide an hour, hours that divide a day, or one \
                 day, week, month, quarter or year"
            ))),
        }
    }
}

/// The offset of the zone at a moment, in seconds east of UTC; none outside the years that the calendar knows.
pub(crate) fn offset_at(moment: Micros, zone: Zone) -> Option<i32> {
    let utc = DateTime::from_timestamp_micros(moment.0)?.naive_utc();
    Some(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc())
}

fn wall(moment: Micros, zone: Zone) -> Option<NaiveDateTime> {
    let offset = offset_at(moment, zone)?;
    let utc = DateTime::from_timestamp_micros(moment.0)?.naive_utc();
    utc.checked_add_signed(TimeDelta::seconds(offset.into()))
}

/// The first moment at which the clocks of the zone show this time or, where they skip it, any later one.
fn first_moment_of(wall_time: NaiveDateTime, zone: Zone) -> Option<Micros> {
    match zone.from_local_datetime(&wall_time) {
        MappedLocalTime::Single(one) | MappedLocalTime::Ambiguous(one, _) => {
            Some(Micros(one.timestamp_micros()))
        }
        MappedLocalTime::None => {
            // The clocks jump over it. Two days to each side they do not: search between for the jump.
            let from = wall_time.and_utc().timestamp_micros();
            let (mut before, mut after) = (from - TWO_DAYS, from + TWO_DAYS);
            while after - before > 1 {
                let middle = before + (after - before) / 2;
                if wall(Micros(middle), zone)? < wall_time {
                    before = middle;
                } else {
                    after = middle;
                }
            }
            Some(Micros(after))
        }
    }
}

const TWO_DAYS: i64 = 2 * crate::time::MICROS_PER_DAY;

fn date_of(day: Day) -> Option<NaiveDate> {
    NaiveDate::from_epoch_days(day.0)
}

fn day_of(date: NaiveDate) -> Day {
    Day(date.to_epoch_days())
}

/// The day that the calendar of the zone shows at a moment.
pub(crate) fn local_day(moment: Micros, zone: Zone) -> Option<Day> {
    wall(moment, zone).map(|wall| day_of(wall.date()))
}

/// The first moment of a day in the zone: midnight, or where the clocks skip it, the moment after the jump.
pub(crate) fn day_start(day: Day, zone: Zone) -> Option<Micros> {
    first_moment_of(date_of(day)?.and_time(NaiveTime::MIN), zone)
}

/// Whether the day is one stretch of time that starts at [`day_start`]; not so where clocks go back over midnight.
pub(crate) fn is_one_stretch(day: Day, zone: Zone) -> bool {
    let midnights = [day, Day(day.0.saturating_add(1))]
        .map(|day| date_of(day).map(|date| zone.from_local_datetime(&date.and_time(NaiveTime::MIN))));
    midnights.iter().all(|midnight| !matches!(midnight, None | Some(MappedLocalTime::Ambiguous(..))))
}

/// The start of the bucket that a moment falls into.
pub(crate) fn bucket_start(moment: Micros, width: Width, zone: Zone) -> Option<Micros> {
    let shown = wall(moment, zone)?;
    let midnight = shown.date().and_time(NaiveTime::MIN);
    let start = match width {
        Width::Minutes(minutes) => return minutes_start(moment, minutes, zone),
        Width::Hours(hours) => midnight + TimeDelta::hours((shown.hour() / hours * hours).into()),
        Width::Day => midnight,
        Width::Week => midnight - Days::new(shown.weekday().num_days_from_monday().into()),
        Width::Month => midnight.with_day(1)?,
        Width::Quarter => midnight.with_day(1)? - Months::new(shown.month0() % 3),
        Width::Year => midnight.with_day(1)?.with_month(1)?,
    };
    first_moment_of(start, zone)
}

/// Buckets of up to an hour follow the clock on both sides of a jump, so an hour that is shown twice is two buckets.
fn minutes_start(moment: Micros, minutes: u32, zone: Zone) -> Option<Micros> {
    let offset = offset_at(moment, zone)?;
    let width = i64::from(minutes) * 60_000_000;
    let into = (moment.0 + i64::from(offset) * 1_000_000).rem_euclid(width);
    let start = moment.0 - into;
    if offset_at(Micros(start), zone)? == offset {
        return Some(Micros(start));
    }
    // The clocks jumped within the bucket, which therefore starts at the jump.
    let (mut before, mut after) = (start, moment.0);
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        if offset_at(Micros(middle), zone)? == offset { after = middle } else { before = middle }
    }
    Some(Micros(after))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::time::parse_instant;
    use crate::time::parse_zone;

    fn at(text: &str) -> Micros {
        parse_instant(text, None).unwrap()
    }

    fn zone(name: &str) -> Zone {
        parse_zone(name).unwrap()
    }

    fn day(text: &str) -> Day {
        Day::of(at(&format!("{text}T00:00:00Z")))
    }

    /// The bucket starts of every minute from one moment to another.
    fn series(from: &str, to: &str, width: Width, zone: Zone) -> Vec<Micros> {
        let minutes = (at(from).0..at(to).0).step_by(60_000_000);
        let starts: BTreeSet<Micros> =
            minutes.filter_map(|at| bucket_start(Micros(at), width, zone)).collect();
        starts.into_iter().collect()
    }

    #[test]
    fn br27_a_day_in_kolkata_starts_at_half_past_six_the_evening_before() {
        let kolkata = zone("Asia/Kolkata");
        let noon = at("2024-01-01T06:30:00Z");
        assert_eq!(local_day(noon, kolkata), Some(day("2024-01-01")));
        assert_eq!(day_start(day("2024-01-01"), kolkata), Some(at("2023-12-31T18:30:00Z")));
        assert_eq!(bucket_start(noon, Width::Day, kolkata), Some(at("2023-12-31T18:30:00Z")));
    }

    #[test]
    fn br27_a_day_in_cairo_without_midnight_is_neither_lost_nor_doubled() {
        let cairo = zone("Africa/Cairo");
        let starts = series("2025-04-23T22:00:00Z", "2025-04-26T20:59:00Z", Width::Day, cairo);
        let right = ["2025-04-23T22:00:00Z", "2025-04-24T22:00:00Z", "2025-04-25T21:00:00Z"];
        assert_eq!(starts, right.map(at));
        assert_eq!(local_day(at("2025-04-24T21:59:59Z"), cairo), Some(day("2025-04-24")));
        assert_eq!(local_day(at("2025-04-24T22:00:00Z"), cairo), Some(day("2025-04-25")));
        assert_eq!(day_start(day("2025-04-25"), cairo), Some(at("2025-04-24T22:00:00Z")));
    }

    #[test]
    fn br27_days_in_berlin_have_25_and_23_hours() {
        let berlin = zone("Europe/Berlin");
        let long = day("2024-10-27");
        assert_eq!(day_start(long, berlin), Some(at("2024-10-26T22:00:00Z")));
        assert_eq!(day_start(Day(long.0 + 1), berlin), Some(at("2024-10-27T23:00:00Z")));
        let hours = series("2024-10-26T22:00:00Z", "2024-10-27T23:00:00Z", Width::Minutes(60), berlin);
        assert_eq!(hours.len(), 25);
        let shown: Vec<_> = hours.iter().map(|start| wall(*start, berlin).unwrap().hour()).collect();
        assert_eq!(shown.iter().filter(|hour| **hour == 2).count(), 2);
        let offsets: BTreeSet<_> =
            hours[2..4].iter().map(|start| offset_at(*start, berlin).unwrap()).collect();
        assert_eq!(offsets, BTreeSet::from([3_600, 7_200]));
        let short = series("2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z", Width::Minutes(60), berlin);
        assert_eq!(short.len(), 23);
    }

    #[test]
    fn a_jump_of_half_an_hour_cuts_the_hour() {
        let lord_howe = zone("Australia/Lord_Howe");
        // 2024-04-07 02:00 +11 goes back to 01:30 +10:30, at 15:00Z the day before.
        let starts = series("2024-04-06T14:00:00Z", "2024-04-06T16:30:00Z", Width::Minutes(60), lord_howe);
        let right = ["2024-04-06T14:00:00Z", "2024-04-06T15:00:00Z", "2024-04-06T15:30:00Z"];
        assert_eq!(starts, right.map(at));
    }

    #[test]
    fn weeks_start_on_monday_and_longer_buckets_on_the_first() {
        let zagreb = zone("Europe/Zagreb");
        let moment = at("2026-05-17T23:30:00Z");
        let start = |width| bucket_start(moment, width, zagreb).unwrap();
        assert_eq!(start(Width::Week), at("2026-05-17T22:00:00Z"));
        assert_eq!(start(Width::Month), at("2026-04-30T22:00:00Z"));
        assert_eq!(start(Width::Quarter), at("2026-03-31T22:00:00Z"));
        assert_eq!(start(Width::Year), at("2025-12-31T23:00:00Z"));
        assert_eq!(start(Width::Hours(6)), at("2026-05-17T22:00:00Z"));
    }

    #[test]
    fn a_width_is_read_with_and_without_its_number() {
        assert_eq!(Width::parse("1 hour").unwrap(), Width::parse("hour").unwrap());
        assert_eq!(Width::parse("15 minutes").unwrap(), Width::Minutes(15));
        assert_eq!(Width::parse("3 months").unwrap(), Width::Quarter);
        for wrong in ["7 hours", "2 days", "0 hours", "fortnight", ""] {
            assert!(Width::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_day_on_which_clocks_go_back_over_midnight_is_not_one_stretch() {
        let havana = zone("America/Havana");
        assert!(!is_one_stretch(day("2024-11-03"), havana));
        assert!(is_one_stretch(day("2024-11-05"), havana));
        assert!(is_one_stretch(day("2025-04-25"), zone("Africa/Cairo")));
    }
}
