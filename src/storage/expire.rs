//! Retention: events that are older than their definition keeps them leave the lake, a whole UTC day at a time.
//!
//! What is removed is seen by no query from then on; its bytes go after the time of grace, as those of replaced files
//! do. Event ids stay known, so that a late retry does not bring an old event back.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::Error;
use crate::error::Result;
use crate::storage::DataFile;
use crate::storage::Storage;
use crate::storage::catalog::Removal;
use crate::storage::layout;
use crate::time::Day;
use crate::time::MICROS_PER_MILLI;
use crate::time::Micros;

/// How long events of a definition are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Calendar months.
    pub months: u32,
    /// Days beside them.
    pub days: u32,
}

impl Retention {
    /// The first day that is kept at a moment: all of a day goes when its last moment is too old.
    pub fn first_kept(self, now: Micros) -> Day {
        let back = Day::of(now).months_before(self.months);
        Day(back.0.saturating_sub(i32::try_from(self.days).unwrap_or(i32::MAX)))
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.months, self.days) {
            (0, 1) => f.write_str("1 day"),
            (0, days) => write!(f, "{days} days"),
            (1, 0) => f.write_str("1 month"),
            (months, 0) => write!(f, "{months} months"),
            (months, days) => write!(f, "{months} months and {days} days"),
        }
    }
}

/// `6 MONTHS`, `90 DAYS`, `2 WEEKS`, `1 YEAR`.
impl FromStr for Retention {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut words = text.split_whitespace();
        let wrong = || {
            Error::invalid(format!(
                "a retention is a number of DAYS, WEEKS, MONTHS or YEARS, such as 6 MONTHS, or NONE; found \"{text}\""
            ))
        };
        let (Some(count), Some(unit), None) = (words.next(), words.next(), words.next()) else {
            return Err(wrong());
        };
        let count: u32 = count.parse().ok().filter(|count| (1..=36_500).contains(count)).ok_or_else(wrong)?;
        let unit = unit.to_ascii_uppercase();
        Ok(match unit.strip_suffix('S').unwrap_or(&unit) {
            "DAY" => Self { months: 0, days: count },
            "WEEK" => Self { months: 0, days: count.saturating_mul(7) },
            "MONTH" => Self { months: count, days: 0 },
            "YEAR" => Self { months: count.saturating_mul(12), days: 0 },
            _ => return Err(wrong()),
        })
    }
}

/// What retention removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    pub files: u64,
    pub events: u64,
}

impl Storage {
    /// Removes the events that their definitions keep no longer, those in the log included.
    ///
    /// # Errors
    /// `Invalid` when the directory is open for reading only. What was removed before a failure stays removed.
    pub async fn expire(self: &Arc<Self>) -> Result<Expired> {
        self.writer()?;
        let kept = self.catalog.retentions()?;
        let mut expired = Expired::default();
        if kept.is_empty() {
            return Ok(expired);
        }
        // As it is shown, so that whoever is told of it can ask about it.
        let at = self.config.clock.now().0.div_euclid(MICROS_PER_MILLI) * MICROS_PER_MILLI;
        let removal = Removal { at: Micros(at), last_seq: self.last_seq() };
        self.flush().await?;
        let _turn = self.compacting.lock().await;
        let now = self.config.clock.now();
        for (id, retention) in kept {
            let snapshot = self.snapshot().await?;
            let Some(table) = snapshot.tables.get(&id) else { continue };
            let first = retention.first_kept(now);
            let old = |file: &&DataFile| file.day < first && !layout::is_buffer(&file.path);
            let old: Vec<DataFile> = table.files.iter().filter(old).cloned().collect();
            if old.is_empty() {
                continue;
            }
            self.catalog.note_removal(&id, removal)?;
            let _no_batch = self.committing.lock().await;
            if !self.tables.replace(&table.definition, &old, &[], true, now).await? {
                return Err(Error::conflict(format!(
                    "somebody else changed the files of \"{id}\" while old events were removed; try again"
                )));
            }
            expired.files += old.len() as u64;
            expired.events += old.iter().map(|file| file.rows).sum::<u64>();
        }
        Ok(expired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::parse_instant;

    fn at(text: &str) -> Micros {
        parse_instant(text, None).unwrap()
    }

    #[test]
    fn a_retention_is_read_and_shown_in_words() {
        for (text, months, days, shown) in [
            ("6 MONTHS", 6, 0, "6 months"),
            ("1 month", 1, 0, "1 month"),
            ("90 days", 0, 90, "90 days"),
            ("2 WEEKS", 0, 14, "14 days"),
            ("1 YEAR", 12, 0, "12 months"),
        ] {
            let read: Retention = text.parse().unwrap();
            assert_eq!((read, read.to_string().as_str()), (Retention { months, days }, shown));
        }
        for wrong in ["", "6", "MONTHS", "0 DAYS", "-1 DAYS", "6 MOONS", "6 MONTHS ago"] {
            assert!(wrong.parse::<Retention>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_day_is_kept_until_its_last_moment_is_too_old() {
        let first =
            |text: &str, now: &str| text.parse::<Retention>().unwrap().first_kept(at(now)).to_string();
        assert_eq!(first("1 DAY", "2026-06-10T00:00:00Z"), "2026-06-09");
        assert_eq!(first("1 DAY", "2026-06-10T23:59:59Z"), "2026-06-09");
        assert_eq!(first("6 MONTHS", "2026-11-25T12:00:00Z"), "2026-05-25");
        // The month has no 31st.
        assert_eq!(first("1 MONTH", "2026-03-31T12:00:00Z"), "2026-02-28");
        assert_eq!(first("1 YEAR", "2024-02-29T12:00:00Z"), "2023-02-28");
    }
}
