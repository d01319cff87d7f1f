//! Reads a log from its beginning: every whole record in order, a torn end cut off, damage before it told with its
//! place.

use std::fs;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::storage::object;
use crate::storage::wal::SUFFIX;
use crate::storage::wal::Segment;
use crate::storage::wal::frame;
use crate::storage::wal::path_of;
use crate::storage::wal::read;

/// The segments in a folder, oldest first.
pub(super) fn segments(dir: &Path) -> Result<Vec<Segment>> {
    let doing = || format!("could not open the log in \"{}\"", dir.display());
    let mut segments = Vec::new();
    for entry in fs::read_dir(dir).unavailable(doing)? {
        let entry = entry.unavailable(doing)?;
        let name = entry.file_name();
        if let Some(first) = name.to_str().and_then(first_of) {
            segments.push(Segment { first, bytes: entry.metadata().unavailable(doing)?.len() });
        }
    }
    segments.sort_by_key(|segment| segment.first);
    Ok(segments)
}

fn first_of(name: &str) -> Option<u64> {
    name.strip_suffix(SUFFIX).filter(|digits| digits.len() == 20)?.parse().ok().filter(|first| *first > 0)
}

/// Hands every record after `done` to `each`; returns the segments that are left, and the number of the next record.
pub(super) fn replay(
    dir: &Path,
    segments: Vec<Segment>,
    done: u64,
    mut each: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<(Vec<Segment>, u64)> {
    let mut next = done + 1;
    let count = segments.len();
    let mut left = Vec::with_capacity(count);
    for (at, mut segment) in segments.into_iter().enumerate() {
        let path = path_of(dir, segment.first);
        let last = at + 1 == count;
        if at == 0 && segment.first <= done {
            next = segment.first;
        }
        if segment.first != next {
            return Err(Error::internal(format!(
                "the log has no records {next} to {}: a segment before \"{}\" is missing; restore it, or a backup",
                segment.first - 1,
                path.display()
            )));
        }
        let bytes = read(&path)?;
        let head = frame::read_head(&bytes).and_then(|first| {
            if first == segment.first { Ok(()) } else { Err("its head names another record than its name") }
        });
        if let Err(what) = head {
            if !(last && bytes.len() <= frame::HEAD_BYTES) {
                return Err(damaged(&path, 0, what));
            }
            // Made, and stopped before its first record was safe.
            object::remove_file(&path)?;
            continue;
        }
        let mut from = frame::HEAD_BYTES;
        while from < bytes.len() {
            let found = frame::read(&bytes[from..]);
            match found {
                Ok(frame) if frame.record == next => {
                    if next > done {
                        each(next, frame.payload)?;
                    }
                    next += 1;
                    from += frame.bytes();
                }
                Ok(_) => return Err(damaged(&path, from, "a record has another number than its place")),
                Err(what) => {
                    if !last || frame::find(&bytes[from + 1..]).is_some() {
                        return Err(damaged(&path, from, what));
                    }
                    segment.bytes = from as u64;
                    break;
                }
            }
        }
        if segment.first == next {
            // Nothing is in it, and the next record begins a segment of this name.
            object::remove_file(&path)?;
            continue;
        }
        if last && next > done + 1 {
            make_durable(&path, &bytes[..from])?;
        }
        left.push(segment);
    }
    // A log that ends before what is stored elsewhere is an old one: numbers go on after what is stored.
    Ok((left, next.max(done + 1)))
}

/// Writes the last segment anew, without its torn end. What was read may be in the memory of the system alone: a sync
/// that failed, or never came, left it there, and whoever sees an event may rely on it from now on.
fn make_durable(path: &Path, bytes: &[u8]) -> Result<()> {
    let doing = || format!("could not make the end of the log \"{}\" durable", path.display());
    let beside = path.with_extension("new");
    let mut file = File::create(&beside).unavailable(doing)?;
    file.write_all(bytes).unavailable(doing)?;
    file.sync_all().unavailable(doing)?;
    fs::rename(&beside, path).unavailable(doing)?;
    path.parent().map_or(Ok(()), object::sync_folder)
}

fn damaged(path: &Path, at: usize, what: &str) -> Error {
    Error::internal(format!(
        "the log \"{}\" is damaged at byte {at}: {what}; restore the file or a backup, for events that were \
         acknowledged are in what follows",
        path.display()
    ))
}
