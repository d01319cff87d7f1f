//! Lengths of time in words, such as `7 days`.

use crate::error::Error;
use crate::error::Result;

const UNITS: [(&str, i64); 7] = [
    ("microsecond", 1),
    ("millisecond", 1_000),
    ("second", 1_000_000),
    ("minute", 60_000_000),
    ("hour", 3_600_000_000),
    ("day", 86_400_000_000),
    ("week", 7 * 86_400_000_000),
];

/// `7 days`, `30 minutes`: a fixed number of microseconds. A day has 24 hours, also when clocks change.
pub fn parse_duration(text: &str) -> Result<i64> {
    let mut words = text.split_whitespace();
    let (count, unit, more) =
        (words.next().unwrap_or_default(), words.next().unwrap_or_default(), words.next());
    let wrong = || {
        Error::invalid(format!(
            "\"{text}\" is no length of time; write for example 7 DAYS, 30 MINUTES or 0 SECONDS"
        ))
    };
    let unit = unit.to_lowercase();
    let singular = unit.strip_suffix('s').unwrap_or(&unit);
    if ["month", "quarter", "year"].contains(&singular) {
        let message = format!("a {singular} is not always equally long; write it in days, such as 30 DAYS");
        return Err(Error::invalid(message));
    }
    let (Ok(count), Some((_, length)), None) =
        (count.parse::<u64>(), UNITS.iter().find(|(name, _)| *name == singular), more)
    else {
        return Err(wrong());
    };
    // Longer than all of time is as good as all of time.
    Ok(i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(*length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_fixed_and_months_are_refused() {
        assert_eq!(parse_duration("7 DAYS").unwrap(), 7 * 86_400_000_000);
        assert_eq!(parse_duration("1 week").unwrap(), 7 * 86_400_000_000);
        assert_eq!(parse_duration("0 seconds").unwrap(), 0);
        assert_eq!(parse_duration("18446744073709551615 days").unwrap(), i64::MAX);
        assert!(parse_duration("1 month").unwrap_err().to_string().contains("30 DAYS"));
        for wrong in ["", "7", "days", "-1 days", "7 days ago", "7 fortnights"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
