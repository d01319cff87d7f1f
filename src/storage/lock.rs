//! `DirLock`: one writer at a time in a data directory, known by name to the one that comes second.
//!
//! The operating system holds the lock on the open file `LOCK`, so it ends with the process however that ends; the
//! text in the file only says whom to look for.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::fs::TryLockError;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::process;

use chrono::DateTime;
use chrono::SecondsFormat;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::time::Micros;

/// The name of the lock file in a data directory.
pub const LOCK_FILE: &str = "LOCK";

/// Held while this process may write to the directory; let go when dropped.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// Makes the directory if it is missing and locks it; `now` is what a second writer will read as the start.
    ///
    /// # Errors
    /// `Unavailable` if another writer holds it, with its process id and start, or if the file cannot be opened.
    pub fn acquire(dir: &Path, now: Micros) -> Result<Self> {
        if fs::metadata(dir).is_ok_and(|there| !there.is_dir()) {
            return Err(Error::invalid(format!("the data directory \"{}\" is a file", dir.display())));
        }
        fs::create_dir_all(dir)
            .unavailable(|| format!("could not make the data directory \"{}\"", dir.display()))?;
        let path = dir.join(LOCK_FILE);
        let doing = || format!("could not lock the data directory by \"{}\"", path.display());
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.unavailable(doing)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(dir, &mut file)),
            Err(TryLockError::Error(error)) => return Err(error).unavailable(doing),
        }
        file.set_len(0).unavailable(doing)?;
        writeln!(file, "{}\n{}", process::id(), written(now)).unavailable(doing)?;
        Ok(Self { _file: file })
    }
}

fn written(at: Micros) -> String {
    DateTime::from_timestamp_micros(at.0)
        .map_or_else(|| at.0.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// What to tell the second writer. The holder may not have written its name yet, or not be ours to read.
fn held(dir: &Path, file: &mut File) -> Error {
    let mut text = String::new();
    let who = match file.read_to_string(&mut text).ok().and_then(|_| text.split_once('\n')) {
        Some((pid, since)) => format!("process {pid} since {}", since.trim_end()),
        None => "another process".to_owned(),
    };
    Error::unavailable(format!(
        "the data directory \"{}\" is being written by {who}; wait for it to end, or read beside it with --read-only",
        dir.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_second_writer_learns_who_is_first_and_gets_in_when_it_left() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirLock::acquire(dir.path(), Micros(1_780_000_000_000_000)).unwrap();
        let refused = DirLock::acquire(dir.path(), Micros(0)).unwrap_err();
        assert_eq!(refused.kind(), Kind::Unavailable);
        let message = refused.to_string();
        assert!(message.contains(&format!("process {}", process::id())), "{message}");
        assert!(message.contains("since 2026-05-28T20:26:40Z"), "{message}");
        assert!(message.contains("--read-only"), "{message}");
        drop(first);
        DirLock::acquire(dir.path(), Micros(0)).unwrap();
    }

    #[test]
    fn a_lock_file_left_by_a_crash_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(LOCK_FILE), "4242\n1999-01-01T00:00:00Z\nand more\n").unwrap();
        let _lock = DirLock::acquire(dir.path(), Micros(0)).unwrap();
        let text = fs::read_to_string(dir.path().join(LOCK_FILE)).unwrap();
        assert_eq!(text, format!("{}\n1970-01-01T00:00:00Z\n", process::id()));
    }

    #[test]
    fn a_file_is_no_data_directory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let refused = DirLock::acquire(file.path(), Micros(0)).unwrap_err();
        assert_eq!(refused.kind(), Kind::Invalid);
        assert!(refused.message().ends_with("is a file"), "{refused}");
    }

    #[test]
    fn the_directory_is_made_when_it_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        let _lock = DirLock::acquire(&inner, Micros(0)).unwrap();
        assert!(inner.join(LOCK_FILE).is_file());
    }
}
