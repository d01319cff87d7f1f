//! Moments and days as a calendar shows them: the proleptic Gregorian calendar in integers, and the texts we write.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::error::Result;
use crate::time::Day;
use crate::time::MICROS_PER_DAY;
use crate::time::Micros;

/// Days since the epoch of a date, however far away. The month must be 1 to 12; a day past the month's end runs into
/// the next month.
pub(crate) fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    // The year starts in March here, so that the leap day is the last one; 400 years are one cycle of 146,097 days.
    let year = if month <= 2 { year - 1 } else { year };
    let cycle = year.div_euclid(400);
    let year_of_cycle = year.rem_euclid(400);
    let day_of_year = (153 * ((i64::from(month) + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    let day_of_cycle = year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year;
    cycle * 146_097 + day_of_cycle - 719_468
}

/// Year, month and day of a count of days since the epoch.
pub(crate) fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let cycle = days.div_euclid(146_097);
    let day_of_cycle = days.rem_euclid(146_097);
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_cycle + cycle * 400 + i64::from(month <= 2), month, day)
}

/// How many days a month has.
pub(crate) fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// A short text on the stack: a time or a day, written without allocation.
#[derive(Clone, Copy)]
pub struct Stamp {
    bytes: [u8; 36],
    len: usize,
}

impl Stamp {
    const EMPTY: Self = Self { bytes: [0; 36], len: 0 };

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub fn as_str(&self) -> &str {
        // Only ASCII is ever pushed.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn push_all(&mut self, text: &[u8]) {
        self.bytes[self.len..self.len + text.len()].copy_from_slice(text);
        self.len += text.len();
    }

    /// The last `width` digits of a number that is not negative.
    fn push_digits(&mut self, mut number: i64, width: usize) {
        for place in (self.len..self.len + width).rev() {
            self.bytes[place] = b'0' + u8::try_from(number % 10).unwrap_or_default();
            number /= 10;
        }
        self.len += width;
    }

    /// `YYYY-MM-DD`; a year that needs more than four digits gets a sign and six.
    fn push_date(&mut self, days: i64) {
        let (year, month, day) = civil_from_days(days);
        if (0..=9999).contains(&year) {
            self.push_digits(year, 4);
        } else {
            self.push(if year < 0 { b'-' } else { b'+' });
            self.push_digits(year.abs(), 6);
        }
        self.push(b'-');
        self.push_digits(month, 2);
        self.push(b'-');
        self.push_digits(day, 2);
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Micros {
    /// 0001-01-01T00:00:00Z, the earliest moment that is taken in.
    pub const FIRST: Self = Self(-62_135_596_800_000_000);
    /// 9999-12-31T23:59:59.999999Z, the latest.
    pub const LAST: Self = Self(253_402_300_799_999_999);

    /// `yyyy-MM-dd'T'HH:mm:ss.SSS+0000`, as export files write times; what is finer than a millisecond is cut.
    pub fn export_form(self) -> Stamp {
        let mut stamp = self.to_seconds();
        stamp.push(b'.');
        stamp.push_digits(self.0.rem_euclid(1_000_000) / 1_000, 3);
        stamp.push_all(b"+0000");
        stamp
    }

    /// `yyyy-MM-dd'T'HH:mm:ss.SSS'Z'`; what is finer than a millisecond is cut.
    pub fn iso_millis(self) -> Stamp {
        let mut stamp = self.to_seconds();
        stamp.push(b'.');
        stamp.push_digits(self.0.rem_euclid(1_000_000) / 1_000, 3);
        stamp.push(b'Z');
        stamp
    }

    /// `yyyy-MM-dd'T'HH:mm:ss.SSSSSS'Z'`, exact.
    pub fn iso_micros(self) -> Stamp {
        let mut stamp = self.to_seconds();
        stamp.push(b'.');
        stamp.push_digits(self.0.rem_euclid(1_000_000), 6);
        stamp.push(b'Z');
        stamp
    }

    fn to_seconds(self) -> Stamp {
        let mut stamp = Stamp::EMPTY;
        stamp.push_date(self.0.div_euclid(MICROS_PER_DAY));
        let second = self.0.rem_euclid(MICROS_PER_DAY) / 1_000_000;
        stamp.push(b'T');
        stamp.push_digits(second / 3_600, 2);
        stamp.push(b':');
        stamp.push_digits(second / 60 % 60, 2);
        stamp.push(b':');
        stamp.push_digits(second % 60, 2);
        stamp
    }
}

/// The exact ISO form, with `Z`.
impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iso_micros().fmt(f)
    }
}

impl Day {
    /// The UTC day that a moment lies on; the microsecond before the epoch lies on day -1.
    pub fn of(moment: Micros) -> Self {
        // The days of all 64-bit microseconds fit in 28 bits.
        Self(i32::try_from(moment.0.div_euclid(MICROS_PER_DAY)).unwrap_or_default())
    }

    /// The same day of the month so many calendar months earlier; the last day of that month where it is shorter.
    pub fn months_before(self, months: u32) -> Self {
        let (year, month, day) = civil_from_days(i64::from(self.0));
        let months = year * 12 + month - 1 - i64::from(months);
        let (year, month) = (months.div_euclid(12), u32::try_from(months.rem_euclid(12) + 1).unwrap_or(1));
        let day = u32::try_from(day).unwrap_or(1).min(days_in_month(year, month));
        Self(i32::try_from(days_from_civil(year, month, day)).unwrap_or(i32::MIN))
    }

    /// Midnight at its start; days that no 64-bit count of microseconds reaches stop at the ends of that range.
    pub fn start(self) -> Micros {
        Micros(i64::from(self.0).saturating_mul(MICROS_PER_DAY))
    }

    /// `YYYY-MM-DD`.
    pub fn iso(self) -> Stamp {
        let mut stamp = Stamp::EMPTY;
        stamp.push_date(i64::from(self.0));
        stamp
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iso().fmt(f)
    }
}

/// Exactly `YYYY-MM-DD`, of the years 0001 to 9999.
impl FromStr for Day {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        crate::time::parse::date(text.as_bytes())
            .filter(|_| text.len() == 10)
            .and_then(|days| days.ok())
            .and_then(|days| i32::try_from(days).ok())
            .map(Self)
            .ok_or_else(|| Error::invalid(format!("a day is written as YYYY-MM-DD, found \"{text}\"")))
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use chrono::Datelike;
    use chrono::NaiveDate;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_written_on_both_sides_of_the_epoch() {
        assert_eq!(Micros(0).export_form().as_str(), "1970-01-01T00:00:00.000+0000");
        assert_eq!(Micros(-1).export_form().as_str(), "1969-12-31T23:59:59.999+0000");
        assert_eq!(Micros(-1).to_string(), "1969-12-31T23:59:59.999999Z");
        assert_eq!(Micros(1_744_881_164_183_456).iso_millis().as_str(), "2025-04-17T09:12:44.183Z");
        assert_eq!(Micros::FIRST.iso_millis().as_str(), "0001-01-01T00:00:00.000Z");
        assert_eq!(Micros::LAST.to_string(), "9999-12-31T23:59:59.999999Z");
        assert_eq!(Micros(i64::MAX).to_string(), "+294247-01-10T04:00:54.775807Z");
    }

    #[test]
    fn a_day_that_is_none_is_refused() {
        assert!("2024-02-30".parse::<Day>().is_err());
        assert!("2024-2-3".parse::<Day>().is_err());
        assert!("2024-02-03T00:00Z".parse::<Day>().is_err());
        assert_eq!("1969-12-31".parse::<Day>().unwrap(), Day(-1));
    }

    proptest! {
        #[test]
        fn dates_agree_with_chrono(days in -719_162i32..2_932_896) {
            let twin = NaiveDate::from_num_days_from_ce_opt(days + 719_163).unwrap();
            prop_assert_eq!(Day(days).to_string(), twin.format("%Y-%m-%d").to_string());
            prop_assert_eq!(Day(days).to_string().parse::<Day>().unwrap(), Day(days));
            prop_assert_eq!(days_from_civil(i64::from(twin.year()), twin.month(), twin.day()), i64::from(days));
        }

        #[test]
        fn written_times_agree_with_chrono(micros in Micros::FIRST.0..=Micros::LAST.0) {
            let twin = DateTime::from_timestamp_micros(micros).unwrap();
            let moment = Micros(micros);
            prop_assert_eq!(moment.to_string(), twin.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string());
            prop_assert_eq!(
                moment.export_form().to_string(),
                twin.format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
            );
            prop_assert_eq!(Day::of(moment).to_string(), twin.format("%Y-%m-%d").to_string());
        }
    }
}
