//! What a data file says about itself in the log: rows, nulls, least and greatest values, in Delta's JSON.
//!
//! Bounds may be wider than the truth, never narrower.

use std::cmp::Ordering;

use arrow::datatypes::DataType;
use arrow::datatypes::SchemaRef;
use arrow::datatypes::TimeUnit;
use chrono::DateTime;
use chrono::Datelike;
use chrono::SecondsFormat;
use chrono::Utc;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::error::Error;
use crate::error::Result;
use crate::schema::EVENT_ID;
use crate::schema::OCCURRED_TIME;
use crate::schema::PERSON_ID;
use crate::schema::SEQ;
use crate::schema::SESSION_ID;
use crate::time::Day;
use crate::time::MICROS_PER_DAY;
use crate::time::MICROS_PER_MILLI;
use crate::time::Micros;

/// Columns with statistics, counted from the first: Delta's own default.
const COLUMNS: usize = 32;
/// Characters that are kept of a text's bounds: Delta's own default.
const TEXT_CHARS: usize = 32;

/// What we need to know of a file to plan with it, and what its log entry says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FileStats {
    pub rows: u64,
    pub persons: (i64, i64),
    pub times: (Micros, Micros),
    /// Delta's `stats`.
    pub json: String,
}

/// The statistics of a file just written with `schema`.
pub(crate) fn of_file(schema: &SchemaRef, file: &ParquetMetaData) -> Result<FileStats> {
    let rows = file.file_metadata().num_rows();
    let (mut least, mut greatest, mut nulls) = (Map::new(), Map::new(), Map::new());
    let (mut persons, mut times) = (None, None);
    for field in schema.fields().iter().take(COLUMNS).filter(|field| !field.data_type().is_nested()) {
        let name = field.name();
        let bounds = Bounds::of(file, name);
        match name.as_str() {
            PERSON_ID => persons = bounds.integers(),
            OCCURRED_TIME => times = bounds.times(field.data_type()),
            _ => {}
        }
        if let Some(count) = bounds.nulls {
            nulls.insert(name.clone(), json!(count));
        }
        // Nobody asks for a range of random ids.
        if name == EVENT_ID || name == SESSION_ID {
            continue;
        }
        if let Some((low, high)) = bounds.json(field.data_type()) {
            least.insert(name.clone(), low);
            greatest.insert(name.clone(), high);
        }
    }
    let missing =
        |what: &str| Error::internal(format!("a data file was written without the bounds of {what}"));
    let times = times.ok_or_else(|| missing(OCCURRED_TIME))?;
    Ok(FileStats {
        rows: rows.unsigned_abs(),
        persons: persons.ok_or_else(|| missing(PERSON_ID))?,
        times: (Micros(times.0), Micros(times.1)),
        json: json!({ "numRecords": rows, "minValues": least, "maxValues": greatest, "nullCount": nulls })
            .to_string(),
    })
}

/// The statistics that a log entry has for a file of one day. What it does not say, or what another engine rounded, is
/// taken to be as wide as it can be.
pub(crate) fn of_log_entry(json: Option<String>, day: Day) -> FileStats {
    let json = json.unwrap_or_default();
    let parsed: Value = serde_json::from_str(&json).unwrap_or_default();
    let bound = |which: &str, column: &str| parsed.get(which).and_then(|values| values.get(column));
    let person = |which: &str| bound(which, PERSON_ID).and_then(Value::as_i64);
    let time = |which: &str| bound(which, OCCURRED_TIME).and_then(Value::as_str);
    let day_start = i64::from(day.0) * MICROS_PER_DAY;
    FileStats {
        rows: parsed.get("numRecords").and_then(Value::as_u64).unwrap_or_default(),
        persons: (person("minValues").unwrap_or(i64::MIN), person("maxValues").unwrap_or(i64::MAX)),
        times: (
            Micros(time("minValues").and_then(parse_time).unwrap_or(day_start)),
            Micros(time("maxValues").and_then(parse_greatest_time).unwrap_or(day_start + MICROS_PER_DAY - 1)),
        ),
        json,
    }
}

/// The least and greatest number of the events of a file, as its log entry says, or as wide as can be.
pub(crate) fn numbers(json: &str) -> (i64, i64) {
    let parsed: Value = serde_json::from_str(json).unwrap_or_default();
    let bound = |which: &str| parsed.get(which).and_then(|values| values.get(SEQ)).and_then(Value::as_i64);
    (bound("minValues").unwrap_or(i64::MIN), bound("maxValues").unwrap_or(i64::MAX))
}

/// The bounds of one column over all row groups.
struct Bounds {
    nulls: Option<u64>,
    /// The statistics of each row group that has a value; `None` when one of those has no bounds.
    groups: Option<Vec<Statistics>>,
}

impl Bounds {
    fn of(file: &ParquetMetaData, column: &str) -> Self {
        let mut nulls = Some(0);
        let mut groups = Some(Vec::new());
        for group in file.row_groups() {
            let chunk = group.columns().iter().find(|chunk| chunk.column_path().parts() == [column]);
            let stats = chunk.and_then(|chunk| chunk.statistics());
            let count = stats.and_then(Statistics::null_count_opt);
            nulls = nulls.zip(count).map(|(sum, one)| sum + one);
            let only_nulls = count == Some(group.num_rows().unsigned_abs());
            match stats {
                _ if only_nulls => {}
                Some(stats) if stats.min_bytes_opt().is_some() && stats.max_bytes_opt().is_some() => {
                    if let Some(groups) = &mut groups {
                        groups.push(stats.clone());
                    }
                }
                _ => groups = None,
            }
        }
        Self { nulls, groups }
    }

    /// The least and greatest of what `low` and `high` find in each group.
    fn over<T: PartialOrd + Clone>(
        &self,
        low: impl Fn(&Statistics) -> Option<T>,
        high: impl Fn(&Statistics) -> Option<T>,
    ) -> Option<(T, T)> {
        let groups = self.groups.as_ref()?;
        let pick = |values: Option<Vec<T>>, wanted: Ordering| {
            values?
                .into_iter()
                .reduce(|kept, next| if next.partial_cmp(&kept) == Some(wanted) { next } else { kept })
        };
        let least = pick(groups.iter().map(low).collect(), Ordering::Less)?;
        let greatest = pick(groups.iter().map(high).collect(), Ordering::Greater)?;
        Some((least, greatest))
    }

    fn integers(&self) -> Option<(i64, i64)> {
        let integer = |stats: &Statistics, low: bool| match stats {
            Statistics::Int64(values) => if low { values.min_opt() } else { values.max_opt() }.copied(),
            _ => None,
        };
        self.over(|stats| integer(stats, true), |stats| integer(stats, false))
    }

    /// In microseconds, of a column that may be in milliseconds.
    fn times(&self, kind: &DataType) -> Option<(i64, i64)> {
        let (low, high) = self.integers()?;
        match kind {
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                Some((low.checked_mul(MICROS_PER_MILLI)?, high.checked_mul(MICROS_PER_MILLI)?))
            }
            _ => Some((low, high)),
        }
    }

    fn json(&self, kind: &DataType) -> Option<(Value, Value)> {
        match kind {
            DataType::Int64 => self.integers().map(|(low, high)| (json!(low), json!(high))),
            DataType::Timestamp(..) => {
                let (low, high) = self.times(kind)?;
                Some((json!(time_text(low)?), json!(time_text(high)?)))
            }
            DataType::Float64 => {
                let double = |stats: &Statistics, low: bool| match stats {
                    Statistics::Double(values) => {
                        if low { values.min_opt() } else { values.max_opt() }.copied()
                    }
                    _ => None,
                };
                let (low, high) = self.over(|stats| double(stats, true), |stats| double(stats, false))?;
                // JSON has no infinities.
                (low.is_finite() && high.is_finite()).then(|| (json!(low), json!(high)))
            }
            DataType::Utf8 => {
                let text =
                    |bytes: Option<&[u8]>| bytes.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
                let (low, high) =
                    self.over(|stats| text(stats.min_bytes_opt()), |stats| text(stats.max_bytes_opt()))?;
                Some((json!(low.chars().take(TEXT_CHARS).collect::<String>()), json!(greatest_text(high)?)))
            }
            _ => None,
        }
    }
}

/// A text of at most one character more than is kept that no text beginning like `text` is greater than.
fn greatest_text(text: String) -> Option<String> {
    match text.chars().nth(TEXT_CHARS) {
        None => Some(text),
        Some(char::MAX) => None,
        Some(_) => Some(text.chars().take(TEXT_CHARS).chain([char::MAX]).collect()),
    }
}

fn time_text(micros: i64) -> Option<String> {
    let time = DateTime::<Utc>::from_timestamp_micros(micros)?;
    (1..=9999).contains(&time.year()).then(|| time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

fn parse_time(text: &str) -> Option<i64> {
    Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros())
}

/// Other engines cut times to milliseconds, so a greatest time that was not written by us may be up to one later.
fn parse_greatest_time(text: &str) -> Option<i64> {
    let micros = parse_time(text)?;
    let digits =
        text.split_once('.').map_or(0, |(_, rest)| rest.chars().take_while(char::is_ascii_digit).count());
    Some(if digits < 6 { micros + 999 } else { micros })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_text_bound_is_never_below_the_text() {
        let long = "é".repeat(40);
        let bound = greatest_text(long.clone()).unwrap();
        assert!(bound > long);
        assert_eq!(bound.chars().count(), TEXT_CHARS + 1);
        assert_eq!(greatest_text("short".to_owned()).unwrap(), "short");
        assert_eq!(greatest_text(format!("{}{}z", "a".repeat(TEXT_CHARS), char::MAX)), None);
    }

    #[test]
    fn times_in_a_log_keep_their_microseconds_and_cut_ones_are_widened() {
        let text = time_text(1_780_272_000_123_456).unwrap();
        assert_eq!(text, "2026-06-01T00:00:00.123456Z");
        assert_eq!(parse_greatest_time(&text), Some(1_780_272_000_123_456));
        assert_eq!(parse_greatest_time("2026-06-01T00:00:00.123Z"), Some(1_780_272_000_123_999));
        assert_eq!(time_text(-1).as_deref(), Some("1969-12-31T23:59:59.999999Z"));
    }

    #[test]
    fn a_log_entry_without_statistics_bounds_nothing() {
        let stats = of_log_entry(None, Day(1));
        assert_eq!(stats.persons, (i64::MIN, i64::MAX));
        assert_eq!(stats.times, (Micros(MICROS_PER_DAY), Micros(2 * MICROS_PER_DAY - 1)));
    }
}
