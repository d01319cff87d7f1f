//! `Wal`: the log in which an event is safe before anyone says that it is stored.
//!
//! Records are numbered from 1 without gaps and stand in *segments*, files that are named after their first record. A
//! record is whatever bytes the caller gives; one sync serves all that it puts into it, which is how many callers
//! share one. When events have reached the lake their records are trimmed away, a segment at a time.
//!
//! What the medium is trusted with: what was synced stays. What was written and not synced may be there whole, in part,
//! or not at all; so the last record of the last segment may be torn, and is cut off when the log is opened. A damaged
//! record anywhere before that is an error that names its place: nobody may go on as if it had never been.
//!
//! After a sync has failed, nobody knows what is on the disk: the log takes nothing more until it is opened again. A
//! write that finds the disk full is undone instead (what it left is cut off, and that is synced), and the log goes on when
//! there is room.

mod frame;
mod medium;
mod replay;

use std::fs;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::storage::object;

pub(crate) use frame::RECORD_LIMIT;
#[cfg(test)]
pub(crate) use frame::head as head_of;
#[cfg(test)]
pub(crate) use frame::write as frame_of;
pub(crate) use medium::Disk;
pub(crate) use medium::LogFile;
pub(crate) use medium::Medium;

/// What the names of segments end with.
const SUFFIX: &str = ".log";

/// A log, open for appending.
#[derive(Debug)]
pub(crate) struct Wal {
    dir: PathBuf,
    medium: Arc<dyn Medium>,
    /// A segment that has grown to this size takes no further record.
    segment_bytes: u64,
    /// The segments on disk, oldest first.
    segments: Vec<Segment>,
    /// The last of them, while it may be written to.
    open: Option<Open>,
    /// The number of the next record.
    next: u64,
    /// Why nothing is taken any more.
    failed: Option<String>,
    buffer: Vec<u8>,
}

/// A segment on disk: its first record, and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    first: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Open {
    file: Box<dyn LogFile>,
}

impl Wal {
    /// Opens the log in `dir`, which is made when it is missing, and hands every record after `done` to `each`, in
    /// order, with its number. A torn end is cut off; segments of records up to `done` are removed.
    ///
    /// # Errors
    /// `Internal` with file and byte when a record before the end is damaged or missing; what `each` returns.
    pub(crate) fn open(
        dir: &Path,
        medium: Arc<dyn Medium>,
        segment_bytes: u64,
        done: u64,
        each: impl FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<Self> {
        object::create_folder(dir)?;
        let segments = replay::segments(dir)?;
        let (segments, next) = replay::replay(dir, segments, done, each)?;
        let mut wal = Self {
            dir: dir.to_owned(),
            medium,
            segment_bytes,
            segments,
            open: None,
            next,
            failed: None,
            buffer: Vec::new(),
        };
        wal.trim(done)?;
        Ok(wal)
    }

    /// The number of the last record; that of the last one trimmed, if there are none.
    pub(crate) fn last(&self) -> u64 {
        self.next - 1
    }

    /// How many bytes the log takes on disk.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Adds a record and returns its number when it survives a power cut.
    ///
    /// # Errors
    /// `Unavailable` when the disk does not take it, and, unless it was full, from then on always: whether the record is
    /// there is known when the log is opened again.
    pub(crate) fn append(&mut self, payload: &[u8]) -> Result<u64> {
        if let Some(why) = &self.failed {
            return Err(Error::unavailable(format!(
                "the log takes no events since an earlier failure ({why}); mend that and start again"
            )));
        }
        if payload.len() > RECORD_LIMIT {
            return Err(Error::exhausted(format!(
                "a record of the log may have {RECORD_LIMIT} bytes, this one has {}; send fewer events at once",
                payload.len()
            )));
        }
        self.write(payload).map_err(|failure| {
            self.open = None;
            let undone = failure.was_full && self.undo().is_ok();
            if !undone {
                self.failed = Some(failure.error.to_string());
            }
            failure.error
        })
    }

    /// Cuts off what a write left behind that was not synced; the next record begins a segment.
    fn undo(&mut self) -> Result<()> {
        let next = path_of(&self.dir, self.next);
        let begun = self.segments.pop_if(|segment| segment.first == self.next).is_some();
        if begun || next.try_exists().unavailable(|| format!("could not look for \"{}\"", next.display()))? {
            object::remove_file(&next)?;
            return object::sync_folder(&self.dir);
        }
        let Some(segment) = self.segments.last() else { return Ok(()) };
        let path = path_of(&self.dir, segment.first);
        let cut = || {
            let file = OpenOptions::new().write(true).open(&path)?;
            file.set_len(segment.bytes)?;
            file.sync_all()
        };
        cut().unavailable(|| format!("could not cut the end off \"{}\"", path.display()))
    }

    fn write(&mut self, payload: &[u8]) -> Result<u64, Failure> {
        let record = self.next;
        let full = self.segments.last().is_some_and(|segment| segment.bytes >= self.segment_bytes);
        if full || self.open.is_none() {
            self.begin_segment(record)?;
        }
        self.buffer.clear();
        frame::write(record, payload, &mut self.buffer);
        let (Some(open), Some(segment)) = (&mut self.open, self.segments.last_mut()) else {
            return Err(Error::internal("the log has no segment to write to").into());
        };
        let doing = || format!("could not write to the log in \"{}\"", self.dir.display());
        open.file.write(&self.buffer).map_err(|error| Failure::of(error, doing))?;
        open.file.sync().unavailable(doing)?;
        segment.bytes += self.buffer.len() as u64;
        self.next += 1;
        Ok(record)
    }

    fn begin_segment(&mut self, first: u64) -> Result<(), Failure> {
        self.open = None;
        let path = path_of(&self.dir, first);
        let doing = || format!("could not begin the segment \"{}\" of the log", path.display());
        let mut file = self.medium.create(&path).map_err(|error| Failure::of(error, doing))?;
        let head = frame::head(first);
        file.write(&head).map_err(|error| Failure::of(error, doing))?;
        object::sync_folder(&self.dir)?;
        self.segments.push(Segment { first, bytes: head.len() as u64 });
        self.open = Some(Open { file });
        Ok(())
    }

    /// Why nothing is taken any more.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// The next record begins a segment, so that all before it can be trimmed.
    pub(crate) fn cut(&mut self) {
        self.open = None;
    }

    /// Removes every segment whose records all have numbers up to `done`: they are stored elsewhere.
    pub(crate) fn trim(&mut self, done: u64) -> Result<()> {
        let mut gone = 0;
        for (at, segment) in self.segments.iter().enumerate() {
            let last = self.segments.get(at + 1).map_or(self.next, |later| later.first) - 1;
            let writing = self.open.is_some() && at + 1 == self.segments.len();
            if last > done || writing {
                break;
            }
            object::remove_file(&path_of(&self.dir, segment.first))?;
            gone += 1;
        }
        self.segments.drain(..gone);
        Ok(())
    }
}

/// Why a record was not written.
struct Failure {
    error: Error,
    /// There was no room, and nothing was synced.
    was_full: bool,
}

impl Failure {
    fn of(error: io::Error, doing: impl FnOnce() -> String) -> Self {
        let was_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        Self { error: Error::unavailable(format!("{}: {error}", doing())).with_source(error), was_full }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, was_full: false }
    }
}

/// The path of the segment whose first record has this number.
fn path_of(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}{SUFFIX}"))
}

/// The bytes of a segment.
fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).unavailable(|| format!("could not read the log \"{}\"", path.display()))
}

#[cfg(test)]
pub(crate) mod tests;
