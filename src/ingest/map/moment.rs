//! Times as others write them, to the one form that we check: ISO 8601 in UTC.
//!
//! A time without an offset keeps none unless the map names a zone: whoever checks it decides what that means.

use chrono::DateTime;
use chrono::NaiveDateTime;
use chrono::NaiveTime;
use chrono::SecondsFormat;
use chrono::TimeDelta;
use chrono::format::Item;
use chrono::format::Parsed;
use chrono::format::StrftimeItems;
use chrono::format::parse;

use crate::error::Error;
use crate::error::Result;
use crate::error::did_you_mean;
use crate::time::Micros;
use crate::time::TimeFault;
use crate::time::Zone;
use crate::time::parse_instant;
use crate::time::parse_zone;

/// How a column writes times.
#[derive(Clone, Debug)]
pub(super) struct TimeForm {
    pub(super) form: Form,
    /// The zone of times that carry no offset.
    pub(super) zone: Option<Zone>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    /// What `time::parse_instant` reads.
    Iso,
    /// A number since 1970; this many make a second.
    Epoch(i64),
    /// A pattern in the manner of `strftime`.
    Pattern(String),
}

/// A time in the year 1973 in milliseconds, in the year 5138 in seconds: which of the two is meant shows here.
const SECONDS_END: i128 = 100_000_000_000;

impl TimeForm {
    /// `format` is `iso`, `epoch_s`, `epoch_ms`, `epoch_us` or a pattern; `key` says where it stands, for the error.
    pub(super) fn new(key: &str, format: Option<&str>, zone: Option<&str>) -> Result<Self> {
        let form = match format.unwrap_or("iso") {
            "iso" => Form::Iso,
            "epoch_s" => Form::Epoch(1),
            "epoch_ms" => Form::Epoch(1_000),
            "epoch_us" => Form::Epoch(1_000_000),
            pattern => {
                let known =
                    pattern.contains('%') && !StrftimeItems::new(pattern).any(|item| item == Item::Error);
                if !known {
                    let hint = did_you_mean(pattern, ["iso", "epoch_s", "epoch_ms", "epoch_us"]);
                    return Err(Error::invalid(format!(
                        "{key}.format: \"{pattern}\" is no time format; use iso, epoch_s, epoch_ms, epoch_us or a pattern such as \"%d/%m/%Y %H:%M:%S\"{hint}"
                    )));
                }
                Form::Pattern(pattern.to_owned())
            }
        };
        let zone = zone.map(parse_zone).transpose();
        let zone = zone.map_err(|error| Error::invalid(format!("{key}.zone: {error}")))?;
        Ok(Self { form, zone })
    }

    /// What a value of this form looks like, for messages.
    pub(super) fn expected(&self) -> String {
        match &self.form {
            Form::Iso => "an ISO 8601 time".to_owned(),
            Form::Epoch(1) => "seconds since 1970".to_owned(),
            Form::Epoch(1_000) => "milliseconds since 1970".to_owned(),
            Form::Epoch(_) => "microseconds since 1970".to_owned(),
            Form::Pattern(pattern) => format!("a time like \"{pattern}\""),
        }
    }

    /// The time in ISO 8601: in UTC with `Z`, or without an offset when neither text nor zone gives one.
    pub(super) fn read(&self, text: &str) -> Result<String, String> {
        let text = text.trim();
        let (local, offset) = match &self.form {
            Form::Iso => return zoned(text, self.zone),
            Form::Epoch(unit) => (epoch(text, *unit)?, Some(0)),
            Form::Pattern(pattern) => by_pattern(text, pattern)
                .map_err(|error| format!("\"{text}\" does not fit the pattern \"{pattern}\" ({error})"))?,
        };
        // A number counts from 1970 in UTC; with a zone it is a wall clock's reading that was taken for UTC.
        let offset = offset.filter(|_| self.zone.is_none() || !matches!(self.form, Form::Epoch(_)));
        let Some(seconds) = offset else {
            return zoned(&local.format("%Y-%m-%dT%H:%M:%S%.f").to_string(), self.zone);
        };
        let utc = local.checked_sub_signed(TimeDelta::seconds(i64::from(seconds)));
        let utc = utc.ok_or_else(|| format!("\"{text}\" is out of range"))?;
        Ok(utc.and_utc().to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

/// The moment in UTC; the text itself when it needs a zone and has none.
fn zoned(text: &str, zone: Option<Zone>) -> Result<String, String> {
    match parse_instant(text, zone) {
        Ok(Micros(micros)) => DateTime::from_timestamp_micros(micros)
            .map(|utc| utc.to_rfc3339_opts(SecondsFormat::AutoSi, true))
            .ok_or_else(|| format!("\"{text}\" is out of range")),
        Err(TimeFault::NoOffset) => Ok(text.to_owned()),
        Err(fault) => Err(format!("\"{text}\" is {fault}")),
    }
}

fn epoch(text: &str, unit: i64) -> Result<NaiveDateTime, String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let wrong = || format!("\"{text}\" is no number of {} since 1970", unit_name(unit));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: i64 = whole.parse().map_err(|_| wrong())?;
    let (unit_wide, size) = (i128::from(unit), i128::from(number).abs());
    if size >= SECONDS_END * unit_wide && unit < 1_000_000 {
        return Err(format!(
            "{text} {} since 1970 lie after the year 5000; is it a smaller unit?",
            unit_name(unit)
        ));
    }
    if size > 0 && unit > 1 && size < SECONDS_END * unit_wide / 1_000 {
        return Err(format!("{text} looks like seconds, not {}; if it is, write epoch_s", unit_name(unit)));
    }
    let billionths: i64 = format!("{fraction:0<9}").parse().map_err(|_| wrong())?;
    let signed = if whole.starts_with('-') { -billionths } else { billionths };
    let (seconds, rest) = (number.div_euclid(unit), number.rem_euclid(unit));
    let nanos = rest * (1_000_000_000 / unit) + signed / unit;
    let time = DateTime::from_timestamp(seconds, 0)
        .and_then(|time| time.checked_add_signed(TimeDelta::nanoseconds(nanos)));
    Ok(time.ok_or_else(wrong)?.naive_utc())
}

fn unit_name(unit: i64) -> &'static str {
    match unit {
        1 => "seconds",
        1_000 => "milliseconds",
        _ => "microseconds",
    }
}

fn by_pattern(text: &str, pattern: &str) -> Result<(NaiveDateTime, Option<i32>), chrono::ParseError> {
    let mut parsed = Parsed::new();
    parse(&mut parsed, text, StrftimeItems::new(pattern))?;
    if parsed.timestamp().is_some() {
        return Ok((parsed.to_naive_datetime_with_offset(0)?, Some(0)));
    }
    let has_time = parsed.hour_div_12().is_some() || parsed.hour_mod_12().is_some();
    let time = if has_time { parsed.to_naive_time()? } else { NaiveTime::MIN };
    Ok((parsed.to_naive_date()?.and_time(time), parsed.offset()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: &str, zone: Option<&str>, text: &str) -> Result<String, String> {
        TimeForm::new("event.time", Some(format), zone).unwrap().read(text)
    }

    #[test]
    fn the_usual_forms_of_iso_are_read() {
        let at = |text| read("iso", None, text).unwrap();
        assert_eq!(at("2022-12-22 13:25:47.512000+00:00"), "2022-12-22T13:25:47.512Z");
        assert_eq!(at("2022-12-22 13:26:11.183 UTC"), "2022-12-22T13:26:11.183Z");
        assert_eq!(at("2015-09-11T00:46:58.771+0200"), "2015-09-10T22:46:58.771Z");
        assert_eq!(at("2015-09-11T00:46-01"), "2015-09-11T01:46:00Z");
        assert_eq!(at("2021-03-03 21:27:34.099"), "2021-03-03 21:27:34.099");
        assert!(read("iso", None, "2021-13-03 21:27:34").is_err());
        assert!(read("iso", None, "21/03/2021").is_err());
        assert!(read("iso", None, "2021-03-03 21:27:34 CET").is_err());
    }

    #[test]
    fn a_zone_is_used_for_times_without_an_offset_only() {
        let at = |text| read("iso", Some("Europe/Zagreb"), text);
        assert_eq!(at("2024-07-01 12:00:00").unwrap(), "2024-07-01T10:00:00Z");
        assert_eq!(at("2024-07-01 12:00:00Z").unwrap(), "2024-07-01T12:00:00Z");
        assert_eq!(at("2024-10-27 02:30:00").unwrap(), "2024-10-27T00:30:00Z");
        assert_eq!(
            at("2024-03-31 02:30:00").unwrap(),
            "2024-03-31T01:30:00Z",
            "a wall time that clocks skip"
        );
    }

    #[test]
    fn numbers_since_1970_know_their_unit() {
        assert_eq!(read("epoch_s", None, "1602611311").unwrap(), "2020-10-13T17:48:31Z");
        assert_eq!(read("epoch_s", None, "1602611311.25").unwrap(), "2020-10-13T17:48:31.250Z");
        assert_eq!(read("epoch_s", Some("Europe/Zagreb"), "1602611311").unwrap(), "2020-10-13T15:48:31Z");
        assert_eq!(read("epoch_ms", None, "1602611311123").unwrap(), "2020-10-13T17:48:31.123Z");
        assert_eq!(read("epoch_s", None, "0").unwrap(), "1970-01-01T00:00:00Z");
        assert_eq!(read("epoch_s", None, "-0.5").unwrap(), "1969-12-31T23:59:59.500Z");
        assert!(read("epoch_s", None, "1602611311123").unwrap_err().contains("smaller unit"));
        assert!(read("epoch_ms", None, "1602611311").unwrap_err().contains("looks like seconds"));
        assert!(read("epoch_s", None, "now").is_err());
    }

    #[test]
    fn patterns_read_dates_alone_and_offsets_inside() {
        assert_eq!(read("%Y%m%d", Some("UTC"), "19970101").unwrap(), "1997-01-01T00:00:00Z");
        let log = "%d/%b/%Y:%H:%M:%S %z";
        assert_eq!(read(log, None, "17/May/2015:10:05:03 +0100").unwrap(), "2015-05-17T09:05:03Z");
        assert!(read("%Y%m%d", None, "1997-01-01").is_err());
    }

    #[test]
    fn a_format_or_zone_that_is_none_is_named_with_its_key() {
        let error = TimeForm::new("event.time", Some("epoch_sec"), None).unwrap_err().to_string();
        assert!(
            error.contains("event.time.format") && error.contains("did you mean \"epoch_s\"?"),
            "{error}"
        );
        let error = TimeForm::new("event.time", None, Some("Europe/Zagrib")).unwrap_err().to_string();
        assert!(error.contains("did you mean \"Europe/Zagreb\"?"), "{error}");
    }
}
