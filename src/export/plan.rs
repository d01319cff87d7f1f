//! What an export asks for, which files of the snapshot it reads, and where its rows are cut into files.
//!
//! Decides only; `export::run` does. Rows are ordered by time as printed, which is to the millisecond, then by event
//! id; so the range and every cut lie between milliseconds.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::error::Error;
use crate::error::Result;
use crate::export::gzip;
use crate::schema::Definition;
use crate::storage::snapshot::DataFile;
use crate::storage::snapshot::Snapshot;
use crate::time::Day;
use crate::time::Micros;
use crate::time::TimeRange;

/// The most rows of one file, as published.
pub const ROWS_PER_FILE: usize = 50_000;
/// The most characters of a request id.
const REQUEST_ID_CHARS: usize = 64;
const MICROS_PER_MILLI: i64 = 1_000;

/// An export as asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportRequest {
    /// On `occurredTime`; start and end are whole milliseconds.
    pub range: TimeRange,
    /// Definition ids, or patterns in which `*` stands for any characters; none means all.
    pub definitions: Vec<String>,
    /// What file names begin with, and what makes a repetition harmless; a fresh UUID when absent.
    pub request_id: Option<String>,
    /// Adds the Moments fields where they are known.
    pub enrich_moments: bool,
    /// The gzip level, 0 to 9.
    pub level: u32,
    pub limits: ExportLimits,
}

/// How much one export may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportLimits {
    pub rows_per_file: usize,
    /// The longest range.
    pub micros: Option<i64>,
    /// The most patterns, and the most definitions that they name.
    pub definitions: Option<usize>,
}

impl Default for ExportLimits {
    /// Only the size of files is limited: an export into a folder of one's own.
    fn default() -> Self {
        Self { rows_per_file: ROWS_PER_FILE, micros: None, definitions: None }
    }
}

impl ExportLimits {
    /// The limits of the published interface: 24 hours, 200 definitions.
    pub fn published() -> Self {
        Self { micros: Some(24 * 3_600_000_000), definitions: Some(200), ..Self::default() }
    }
}

impl ExportRequest {
    /// All definitions in a range, under a fresh request id, with gzip level 6 and no limits.
    pub fn new(range: TimeRange) -> Self {
        Self {
            range,
            definitions: Vec::new(),
            request_id: None,
            enrich_moments: false,
            level: 6,
            limits: ExportLimits::default(),
        }
    }

    fn check(&self) -> Result<()> {
        let TimeRange { start, end } = self.range;
        for (name, moment) in [("start", start), ("end", end)] {
            if moment.0.rem_euclid(MICROS_PER_MILLI) != 0 {
                return Err(Error::invalid(format!(
                    "the {name} of an export is a whole millisecond, found {}",
                    moment.iso_micros()
                )));
            }
            if !(Micros::FIRST..=Micros(Micros::LAST.0 + 1)).contains(&moment) {
                return Err(Error::invalid(format!("the {name} of an export lies in the years 1 to 9999")));
            }
        }
        if self.range.is_empty() {
            return Err(Error::invalid(format!(
                "an export ends after its start, found {} to {}",
                start.export_form(),
                end.export_form()
            )));
        }
        if self.limits.micros.is_some_and(|most| end.0 - start.0 > most) {
            let hours = self.limits.micros.unwrap_or_default() / 3_600_000_000;
            return Err(Error::invalid(format!("an export covers at most {hours} hours; ask for several")));
        }
        if self.limits.rows_per_file == 0 {
            return Err(Error::invalid("a file of an export holds at least one row"));
        }
        self.request_id.as_deref().map_or(Ok(()), check_request_id)?;
        gzip::check_level(self.level)
    }
}

/// A request id is a part of names of files, and of objects.
pub(crate) fn check_request_id(id: &str) -> Result<()> {
    let fine = (1..=REQUEST_ID_CHARS).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if fine {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "a request id has 1 to {REQUEST_ID_CHARS} of A-Z a-z 0-9 _ -, found \"{id}\""
    )))
}

/// The files that may hold rows of an export, day by day.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) days: Vec<PlannedDay>,
    /// Rows of all these files; those outside the range are among them.
    pub(crate) rows_at_most: u64,
}

/// The files of one UTC day, ordered by definition, then path.
#[derive(Debug)]
pub(crate) struct PlannedDay {
    pub(crate) day: Day,
    pub(crate) files: Vec<PlannedFile>,
}

#[derive(Clone, Debug)]
pub(crate) struct PlannedFile {
    pub(crate) definition: Arc<Definition>,
    pub(crate) file: DataFile,
    /// All of its rows lie in the range.
    pub(crate) whole: bool,
}

impl Plan {
    /// The files from a moment of the range on: everything before it has been exported.
    ///
    /// Fails with `Invalid` for a request that breaks a limit, and with `NotFound` for a pattern that names nothing.
    pub(crate) fn of(snapshot: &Snapshot, request: &ExportRequest, from: Micros) -> Result<Self> {
        request.check()?;
        let range = TimeRange { start: from, end: request.range.end };
        let mut days: BTreeMap<Day, Vec<PlannedFile>> = BTreeMap::new();
        let mut rows_at_most = 0;
        for id in chosen(snapshot, request)? {
            let Some(table) = snapshot.tables.get(id) else { continue };
            for file in &table.files {
                let (least, greatest) = file.times;
                if greatest < range.start || least >= range.end {
                    continue;
                }
                let whole = range.contains(least) && range.contains(greatest);
                let definition = Arc::clone(&table.definition);
                rows_at_most += file.rows;
                days.entry(file.day).or_default().push(PlannedFile { definition, file: file.clone(), whole });
            }
        }
        let days = days.into_iter().map(|(day, files)| PlannedDay { day, files }).collect();
        Ok(Self { days, rows_at_most })
    }
}

/// The ids that the request's patterns name, in order and once each.
fn chosen<'a>(snapshot: &'a Snapshot, request: &ExportRequest) -> Result<Vec<&'a str>> {
    let most = request.limits.definitions.unwrap_or(usize::MAX);
    let mut ids: Vec<&str> = Vec::new();
    for pattern in &request.definitions {
        ids.extend(snapshot.registry.matching(pattern)?.into_iter().map(|one| one.id.as_str()));
    }
    ids.sort_unstable();
    ids.dedup();
    if request.definitions.len() > most || ids.len() > most {
        return Err(Error::invalid(format!(
            "an export names at most {most} definitions, found {} patterns that name {}",
            request.definitions.len(),
            ids.len()
        )));
    }
    if request.definitions.is_empty() {
        ids = snapshot.tables.keys().map(String::as_str).collect();
    }
    Ok(ids)
}

/// The sub-range that a file's name tells: milliseconds since the epoch, half-open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileSpan {
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// From 1; higher when one millisecond holds more rows than a file may.
    pub(crate) part: usize,
    /// No further part follows.
    pub(crate) closes: bool,
}

impl FileSpan {
    /// `<request>-events-<start>-<end>.json.gz`, both as 17 digits, `-2` and so on behind them for further parts.
    pub(crate) fn name(&self, request_id: &str) -> String {
        let part = if self.part > 1 { format!("-{}", self.part) } else { String::new() };
        format!("{}{}-{}{part}.json.gz", name_prefix(request_id), digits(self.start), digits(self.end))
    }
}

/// How far files that are there already reach without a gap from `start` on, and which of them those are.
///
/// Files are put several at a time, so an attempt that was cut off may have left gaps. The next one starts at the
/// first; what lies behind it is made again, and found to be there.
pub(crate) fn reached(start: i64, spans: &[FileSpan]) -> (i64, Vec<FileSpan>) {
    let mut spans = spans.to_vec();
    spans.sort_unstable_by_key(|span| (span.start, span.part));
    let (mut end, mut whole, mut open) = (start, Vec::new(), Vec::new());
    for span in spans {
        if span.start != end || span.part != open.len() + 1 {
            break;
        }
        open.push(span);
        if span.closes {
            end = span.end;
            whole.append(&mut open);
        }
    }
    (end, whole)
}

/// What the names of all files of a request begin with.
pub(crate) fn name_prefix(request_id: &str) -> String {
    format!("{request_id}-events-")
}

/// `yyyymmddhhmmssSSS`
pub(crate) fn digits(milli: i64) -> impl fmt::Display {
    let stamp = Micros(milli * MICROS_PER_MILLI).iso_millis();
    stamp.as_str().chars().filter(char::is_ascii_digit).collect::<String>()
}

/// Rows that go into the file that is open, and whether they are its last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Places in the day's order.
    pub(crate) rows: Range<usize>,
    pub(crate) closes: Option<FileSpan>,
}

/// Cuts ordered rows into files: as full as they may be, cut between two milliseconds where that is possible, each
/// beginning where the one before ended.
#[derive(Debug)]
pub(crate) struct Splitter {
    most: usize,
    /// Where the open file begins.
    start: i64,
    end: i64,
    /// Rows in the open file.
    held: usize,
}

impl Splitter {
    pub(crate) fn new(range: TimeRange, rows_per_file: usize) -> Self {
        let milli = |moment: Micros| moment.0.div_euclid(MICROS_PER_MILLI);
        Self { most: rows_per_file, start: milli(range.start), end: milli(range.end), held: 0 }
    }

    /// The next day's rows: how many, their milliseconds by place (ascending), and whether more days follow.
    pub(crate) fn day(&mut self, rows: usize, milli: impl Fn(usize) -> i64, last: bool) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut at = 0;
        while rows - at > self.most - self.held {
            // The first row that does not fit. All rows of its millisecond go into the next file, if they can.
            let beyond = at + self.most - self.held;
            let moment = milli(beyond);
            let cut = first_where(at..beyond, |row| milli(row) >= moment);
            if cut > at || self.held > 0 {
                let span = FileSpan { start: self.start, end: moment, part: 1, closes: true };
                pieces.push(Piece { rows: at..cut, closes: Some(span) });
                (at, self.start) = (cut, moment);
            } else {
                let group_end = first_where(at..rows, |row| milli(row) > moment);
                let end = if last && group_end == rows { self.end } else { moment + 1 };
                for part in 1.. {
                    let upto = group_end.min(at + self.most);
                    let span = FileSpan { start: self.start, end, part, closes: upto == group_end };
                    pieces.push(Piece { rows: at..upto, closes: Some(span) });
                    at = upto;
                    if at == group_end {
                        break;
                    }
                }
                self.start = end;
            }
            self.held = 0;
        }
        if at < rows {
            self.held += rows - at;
            pieces.push(Piece { rows: at..rows, closes: None });
        }
        pieces
    }

    /// The span of the file that is still open, if it has rows.
    pub(crate) fn finish(self) -> Option<FileSpan> {
        (self.held > 0).then_some(FileSpan { start: self.start, end: self.end, part: 1, closes: true })
    }
}

/// The first place of an ascending run where the condition holds, or its end.
fn first_where(places: Range<usize>, holds: impl Fn(usize) -> bool) -> usize {
    let Range { mut start, mut end } = places;
    while start < end {
        let middle = start + (end - start) / 2;
        if holds(middle) {
            end = middle;
        } else {
            start = middle + 1;
        }
    }
    start
}

#[cfg(test)]
mod tests;
