//! Texts and numbers to moments: the ISO 8601 forms that senders use, day-first times and epoch milliseconds.
//!
//! Nothing is guessed: a time without an offset needs a zone from the caller, and a date that no calendar has is a
//! fault. The common form, UTC with `Z`, is read digit by digit without any allocation.

use std::fmt;

use chrono::Duration;
use chrono::LocalResult;
use chrono::NaiveDateTime;
use chrono::Offset;
use chrono::TimeZone;
use chrono_tz::TZ_VARIANTS;

use crate::error::Error;
use crate::error::Result;
use crate::error::did_you_mean;
use crate::time::MICROS_PER_DAY;
use crate::time::Micros;
use crate::time::calendar::days_from_civil;
use crate::time::calendar::days_in_month;

/// A time zone by its IANA name, such as `Europe/Zagreb`.
pub type Zone = chrono_tz::Tz;

/// Why a text or a number is not a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFault {
    /// It is not written in a form that we know.
    Form,
    /// It has no offset and no zone was given.
    NoOffset,
    /// No calendar has that date.
    NoSuchDate,
    /// No clock shows that time of day.
    NoSuchTime,
    /// It is outside the years 0001 to 9999.
    OutOfRange,
    /// It is a number of seconds, where milliseconds are asked for.
    Seconds,
}

impl TimeFault {
    /// What is wrong, and the cure.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Form => "not a time in ISO 8601, such as 2024-02-29T18:30:00.000Z",
            Self::NoOffset => {
                "a time without an offset; end it with Z or +00:00, or give the zone it is in (--zone)"
            }
            Self::NoSuchDate => "no such date",
            Self::NoSuchTime => "no such time of day",
            Self::OutOfRange => "outside the years 0001 to 9999",
            Self::Seconds => "looks like seconds since 1970; milliseconds are expected, so multiply by 1000",
        }
    }
}

impl fmt::Display for TimeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

/// The zone of a name, with the nearest one named when there is none.
pub fn parse_zone(name: &str) -> Result<Zone> {
    name.parse().map_err(|_| {
        let hint = did_you_mean(name, TZ_VARIANTS.iter().map(|zone| zone.name()));
        Error::not_found(format!("no time zone is called \"{name}\"{hint}"))
    })
}

/// A moment from ISO 8601: a date, then optionally `T` or a space and hours, minutes and seconds (minutes and seconds
/// may be left out), a fraction (digits past the microsecond are cut) and an offset: `Z`, `+00`, `+0000`, `+00:00` or
/// ` UTC`. A date alone is its midnight, in the zone or else in UTC.
///
/// A time without an offset is read in the zone, and is a fault without one. A wall time that the zone shows twice is
/// the earlier moment; one that it skips is read with the offset that held before the gap, so that the midnight of a
/// day that starts late is the day's first moment.
pub fn parse_instant(text: &str, zone: Option<Zone>) -> Result<Micros, TimeFault> {
    let bytes = text.as_bytes();
    let days = date(bytes).ok_or(TimeFault::Form)??;
    let midnight = days * MICROS_PER_DAY;
    let Some((separator, rest)) = bytes[10..].split_first() else {
        return zone.map_or(in_range(midnight), |zone| in_zone(midnight, zone));
    };
    if !matches!(separator, b'T' | b't' | b' ') {
        return Err(TimeFault::Form);
    }
    let (time_of_day, rest) = time_of_day(rest)?;
    let wall = midnight + time_of_day;
    match rest {
        b"Z" | b"z" => in_range(wall),
        [] => in_zone(wall, zone.ok_or(TimeFault::NoOffset)?),
        _ => in_range(wall - offset(rest)?),
    }
}

/// A moment from `DD/MM/YYYY HH:MM:ss`, UTC.
pub fn parse_day_first(text: &str) -> Result<Micros, TimeFault> {
    let bytes = text.as_bytes();
    let [_, _, b'/', _, _, b'/', _, _, _, _, b' ', rest @ ..] = bytes else { return Err(TimeFault::Form) };
    let [_, _, b':', _, _, b':', _, _] = rest else { return Err(TimeFault::Form) };
    let (day, month, year) = (two(bytes, 0), two(bytes, 3), four(bytes, 6));
    let (Some(day), Some(month), Some(year)) = (day, month, year) else { return Err(TimeFault::Form) };
    let (time_of_day, _) = time_of_day(rest)?;
    in_range(civil(year, month, day)? * MICROS_PER_DAY + time_of_day)
}

/// A moment from milliseconds since the epoch. A number that would be a moment of January or February 1970, while the
/// same number of seconds lies in the years 2001 to 2100, is refused: somebody sent seconds.
pub fn from_epoch_millis(millis: i64) -> Result<Micros, TimeFault> {
    const SECONDS_OF_2001_TO_2100: std::ops::Range<i64> = 978_307_200..4_133_980_800;
    if SECONDS_OF_2001_TO_2100.contains(&millis) {
        return Err(TimeFault::Seconds);
    }
    in_range(millis.checked_mul(1_000).ok_or(TimeFault::OutOfRange)?)
}

/// Days since the epoch of the `YYYY-MM-DD` that a text starts with; `None` when it does not start so.
pub(super) fn date(bytes: &[u8]) -> Option<Result<i64, TimeFault>> {
    let [_, _, _, _, b'-', _, _, b'-', _, _, ..] = bytes else { return None };
    Some(civil(four(bytes, 0)?, two(bytes, 5)?, two(bytes, 8)?))
}

fn civil(year: u32, month: u32, day: u32) -> Result<i64, TimeFault> {
    let year = i64::from(year);
    if year == 0 {
        return Err(TimeFault::OutOfRange);
    }
    if !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
        return Err(TimeFault::NoSuchDate);
    }
    Ok(days_from_civil(year, month, day))
}

/// Microseconds since midnight from `HH[:MM[:SS[.fraction]]]`, and what follows.
fn time_of_day(bytes: &[u8]) -> Result<(i64, &[u8]), TimeFault> {
    let hour = two(bytes, 0).ok_or(TimeFault::Form)?;
    let (mut minute, mut second, mut micros) = (0, 0, 0);
    let mut rest = &bytes[2..];
    if let [b':', after @ ..] = rest {
        minute = two(after, 0).ok_or(TimeFault::Form)?;
        rest = &after[2..];
        if let [b':', after @ ..] = rest {
            second = two(after, 0).ok_or(TimeFault::Form)?;
            rest = &after[2..];
            if let [b'.' | b',', after @ ..] = rest {
                (micros, rest) = fraction(after)?;
            }
        }
    }
    if hour > 23 || minute > 59 || second > 59 {
        return Err(TimeFault::NoSuchTime);
    }
    Ok((i64::from(hour * 3_600 + minute * 60 + second) * 1_000_000 + micros, rest))
}

fn fraction(bytes: &[u8]) -> Result<(i64, &[u8]), TimeFault> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return Err(TimeFault::Form);
    }
    let shown = bytes[..digits].iter().map(|byte| i64::from(byte - b'0'));
    let micros = shown.chain(std::iter::repeat(0)).take(6).fold(0, |micros, digit| micros * 10 + digit);
    Ok((micros, &bytes[digits..]))
}

/// Microseconds east of Greenwich from `Z`, ` UTC`, `+HH`, `+HHMM` or `+HH:MM`, a space before it or not.
fn offset(bytes: &[u8]) -> Result<i64, TimeFault> {
    let bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
    let (sign, rest) = match bytes {
        b"Z" | b"z" | b"UTC" => return Ok(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return Err(TimeFault::Form),
    };
    let (hours, minutes) = match rest {
        [_, _] => (two(rest, 0), Some(0)),
        [_, _, _, _] => (two(rest, 0), two(rest, 2)),
        [_, _, b':', _, _] => (two(rest, 0), two(rest, 3)),
        _ => return Err(TimeFault::Form),
    };
    let (Some(hours), Some(minutes)) = (hours, minutes) else { return Err(TimeFault::Form) };
    if hours > 23 || minutes > 59 {
        return Err(TimeFault::NoSuchTime);
    }
    Ok(sign * i64::from(hours * 60 + minutes) * 60_000_000)
}

/// The moment at which the zone's clocks show a wall time (as if it were UTC, in microseconds).
fn in_zone(wall: i64, zone: Zone) -> Result<Micros, TimeFault> {
    let fits = |wall: i64| chrono::DateTime::from_timestamp_micros(wall).map(|moment| moment.naive_utc());
    let shown: NaiveDateTime = fits(wall).ok_or(TimeFault::OutOfRange)?;
    if let LocalResult::Single(offset) | LocalResult::Ambiguous(offset, _) =
        zone.offset_from_local_datetime(&shown)
    {
        return in_range(wall - i64::from(offset.fix().local_minus_utc()) * 1_000_000);
    }
    // A gap: its start is looked for backwards. Zones shift by quarters of an hour; the longest gap, a skipped day,
    // has 24 hours.
    let mut before = shown;
    for _ in 0..200 {
        before -= Duration::minutes(15);
        if let LocalResult::Single(offset) | LocalResult::Ambiguous(_, offset) =
            zone.offset_from_local_datetime(&before)
        {
            return in_range(wall - i64::from(offset.fix().local_minus_utc()) * 1_000_000);
        }
    }
    Err(TimeFault::NoSuchTime)
}

fn in_range(micros: i64) -> Result<Micros, TimeFault> {
    if (Micros::FIRST.0..=Micros::LAST.0).contains(&micros) {
        Ok(Micros(micros))
    } else {
        Err(TimeFault::OutOfRange)
    }
}

fn digit(bytes: &[u8], at: usize) -> Option<u32> {
    let value = bytes.get(at)?.wrapping_sub(b'0');
    (value < 10).then_some(u32::from(value))
}

fn two(bytes: &[u8], at: usize) -> Option<u32> {
    Some(digit(bytes, at)? * 10 + digit(bytes, at + 1)?)
}

fn four(bytes: &[u8], at: usize) -> Option<u32> {
    Some(two(bytes, at)? * 100 + two(bytes, at + 2)?)
}

#[cfg(test)]
mod tests;
