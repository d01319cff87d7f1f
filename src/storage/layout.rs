//! The only file that knows paths: what lies where in a data directory, and in the lake's object store.
//!
//! ```text
//! catalog.db                                        definitions, persons, batches, sources, quarantine
//! LOCK                                              held by the writer
//! SERVER                                            where the server listens that has the directory open
//! WRITING                                           there while data files may exist that no log names yet
//! ids/<n>.run                                       event ids of one batch
//! log/<n>.log                                       events that are safe and not in the lake yet, from record n on
//! lake/<definition>/_delta_log/                     the Delta log of one definition
//! lake/<definition>/day=YYYY-MM-DD/<name>.parquet   its events of one UTC day
//! index/<definition>/day=YYYY-MM-DD/<name>.idx     what is known of the data file of that name, made from it
//! index/persons.rows                                the table of persons, made from the catalog
//! spill/                                            what running queries could not keep in memory
//! state/history                                     what was typed at the prompt
//! ```
//!
//! The lake's object store is rooted at `lake/`, so a path in it starts with the definition.

use std::path::Path;
use std::path::PathBuf;

use chrono::Datelike;
use chrono::NaiveDate;

use crate::error::Error;
use crate::error::Result;
use crate::time::Day;

/// The folder of a table that holds its log.
pub const LOG_FOLDER: &str = "_delta_log";
/// What the name of a data file ends with.
const DATA_SUFFIX: &str = ".parquet";
/// What the name of a sidecar ends with.
const SIDECAR_SUFFIX: &str = ".idx";
/// What the names of files in memory begin with, and no others.
const BUFFER_PREFIX: &str = "buffer-";
/// Days from 0001-01-01 to 1970-01-01, counted as chrono does.
const EPOCH_FROM_CE: i32 = 719_163;

/// The places of one data directory.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn catalog(&self) -> PathBuf {
        self.root.join("catalog.db")
    }

    pub fn lock(&self) -> PathBuf {
        self.root.join("LOCK")
    }

    /// Where the server that has the directory open says how to reach it.
    pub fn server(&self) -> PathBuf {
        self.root.join("SERVER")
    }

    /// The settings that hold when no other file is named.
    pub fn settings(&self) -> PathBuf {
        self.root.join("milepost.toml")
    }

    /// Present from before the first data file of a commit is written until a log names it, so that a start-up after
    /// a crash knows that it has to look for orphans.
    pub fn writing(&self) -> PathBuf {
        self.root.join("WRITING")
    }

    pub fn ids(&self) -> PathBuf {
        self.root.join("ids")
    }

    /// The segments of the log.
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    pub fn lake(&self) -> PathBuf {
        self.root.join("lake")
    }

    /// Where queries put what does not fit in memory.
    pub fn spill(&self) -> PathBuf {
        self.root.join("spill")
    }

    /// Where the prompt keeps its history.
    pub fn history(&self) -> PathBuf {
        self.root.join("state").join("history")
    }

    /// The sidecars of data files.
    pub fn index(&self) -> PathBuf {
        self.root.join("index")
    }

    /// The table of persons, made from the catalog.
    pub(crate) fn people(&self) -> PathBuf {
        self.index().join("persons.rows")
    }

    /// The sidecar of a data file of the lake; on the local disk, wherever the lake is. None for what is no data file.
    pub(crate) fn sidecar(&self, path: &str) -> Option<PathBuf> {
        let mut local = self.index();
        local.extend(format!("{}{SIDECAR_SUFFIX}", path.strip_suffix(DATA_SUFFIX)?).split('/'));
        Some(local)
    }

    /// A path of the lake's object store on the local disk.
    pub fn local(&self, path: &str) -> PathBuf {
        let mut local = self.lake();
        local.extend(path.split('/'));
        local
    }
}

/// The path of a data file in the lake's object store.
pub fn data_path(definition: &str, day: Day, name: &str) -> Result<String> {
    Ok(format!("{definition}/day={}/{name}{DATA_SUFFIX}", day_text(day)?))
}

/// The path of a file that is in memory alone: the events of one definition and day that are in the log and not in the
/// lake yet.
pub(crate) fn buffer_path(definition: &str, day: Day, number: u64) -> Result<String> {
    data_path(definition, day, &format!("{BUFFER_PREFIX}{number:012}"))
}

/// The path of a file that is in memory alone: what was there, at some moment, of a file that has more now.
pub(crate) fn past_path(definition: &str, day: Day) -> Result<String> {
    data_path(definition, day, &format!("{BUFFER_PREFIX}past-{}", uuid::Uuid::new_v4().simple()))
}

/// Whether a path in the lake's object store is that of a buffer, which is in memory alone.
pub fn is_buffer(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.starts_with(BUFFER_PREFIX))
}

/// The path of a table's data file as its log writes it: without the definition.
pub fn within_table<'a>(definition: &str, path: &'a str) -> Result<&'a str> {
    path.strip_prefix(definition).and_then(|rest| rest.strip_prefix('/')).ok_or_else(|| {
        Error::internal(format!("the data file \"{path}\" is not in the table of \"{definition}\""))
    })
}

/// The path in the lake's object store of what a table's log calls `path`.
pub fn in_lake(definition: &str, path: &str) -> String {
    format!("{definition}/{path}")
}

/// The commit that made a version of a table.
pub fn log_entry(definition: &str, version: u64) -> String {
    format!("{definition}/{LOG_FOLDER}/{version:020}.json")
}

/// Whether a path in the lake's object store is that of a data file.
pub fn is_data_file(path: &str) -> bool {
    let mut parts = path.split('/').skip(1);
    let day = parts.next().and_then(|part| part.strip_prefix("day=")).and_then(parse_day);
    day.is_some() && parts.next().is_some_and(|name| name.ends_with(DATA_SUFFIX)) && parts.next().is_none()
}

/// The data file that a sidecar belongs to, by the names of its folders and its own.
pub(crate) fn data_of_sidecar(definition: &str, day: &str, name: &str) -> Option<String> {
    let stem = name.strip_suffix(SIDECAR_SUFFIX)?;
    Some(format!("{definition}/{day}/{stem}{DATA_SUFFIX}"))
}

/// A day as partitions spell it. Years have four digits there, so a day outside 0001..=9999 is refused.
pub fn day_text(day: Day) -> Result<String> {
    day.0
        .checked_add(EPOCH_FROM_CE)
        .and_then(NaiveDate::from_num_days_from_ce_opt)
        .filter(|date| (1..=9999).contains(&date.year()))
        .map(|date| date.format("%Y-%m-%d").to_string())
        .ok_or_else(|| {
            Error::invalid(
                "an event cannot be stored that occurred outside the years 0001 to 9999".to_owned(),
            )
        })
}

/// The day that a partition spells.
pub fn parse_day(text: &str) -> Option<Day> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(Day(date.num_days_from_ce() - EPOCH_FROM_CE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_reads_back_as_it_was_written() {
        for (day, text) in
            [(0, "1970-01-01"), (-1, "1969-12-31"), (20_605, "2026-06-01"), (-719_162, "0001-01-01")]
        {
            assert_eq!(day_text(Day(day)).unwrap(), text);
            assert_eq!(parse_day(text), Some(Day(day)));
        }
        assert!(day_text(Day(i32::MAX)).is_err());
        assert!(day_text(Day(-719_163)).is_err());
    }

    #[test]
    fn a_path_leads_from_the_lake_to_the_table_and_back() {
        let path = data_path("pageView", Day(0), "b1").unwrap();
        assert_eq!(path, "pageView/day=1970-01-01/b1.parquet");
        let within = within_table("pageView", &path).unwrap();
        assert_eq!(in_lake("pageView", within), path);
        assert!(within_table("page", &path).is_err());
        assert!(is_data_file(&path));
        assert!(!is_data_file(&log_entry("pageView", 3)));
        assert!(!is_data_file("pageView/_delta_log/00000000000000000010.checkpoint.parquet"));
    }
}
