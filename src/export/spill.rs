//! Where rows wait for their turn that do not fit in memory: a file that has no name and is gone with its last reader.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use uuid::Uuid;

use crate::error::Context;
use crate::error::Result;

/// So many bytes of memory, shared by all who hold rows.
#[derive(Debug)]
pub(crate) struct Room {
    left: AtomicUsize,
}

/// Some of the room; given back when dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    room: Arc<Room>,
    bytes: usize,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

impl Room {
    pub(crate) fn of(bytes: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(bytes) })
    }

    /// Takes some, if there is that much.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Option<Taken> {
        let less = |left: usize| left.checked_sub(bytes);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok()?;
        Some(Taken { room: Arc::clone(self), bytes })
    }
}

/// Makes the file when it is first needed.
#[derive(Debug)]
pub(crate) struct Spill {
    folder: PathBuf,
    file: Mutex<Option<Arc<File>>>,
    end: AtomicU64,
}

impl Spill {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, file: Mutex::default(), end: AtomicU64::new(0) }
    }

    /// Puts bytes behind all others; where they are.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<Extent> {
        let file = self.file()?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let start = self.end.fetch_add(length, Ordering::Relaxed);
        file.write_all_at(bytes, start).unavailable(|| self.could_not())?;
        Ok(Extent { file, at: start, end: start + length })
    }

    fn file(&self) -> Result<Arc<File>> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*file {
            return Ok(Arc::clone(file));
        }
        fs::create_dir_all(&self.folder).unavailable(|| self.could_not())?;
        let path = self.folder.join(format!("export-{}", Uuid::new_v4().simple()));
        let made = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let made = Arc::new(made.unavailable(|| self.could_not())?);
        // The file stays as long as it is open, and no crash leaves it behind.
        fs::remove_file(&path).unavailable(|| self.could_not())?;
        *file = Some(Arc::clone(&made));
        Ok(made)
    }

    fn could_not(&self) -> String {
        format!("could not use \"{}\" for rows that do not fit in memory", self.folder.display())
    }
}

/// A part of the file that has not been read yet.
#[derive(Debug)]
pub(crate) struct Extent {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Extent {
    /// Reads the next bytes, at most so many, behind those in the buffer; none at the end.
    pub(crate) fn read(&mut self, buffer: &mut Vec<u8>, most: usize) -> Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let (before, bytes) = (buffer.len(), left.min(most));
        buffer.resize(before + bytes, 0);
        let read = self.file.read_exact_at(&mut buffer[before..], self.at);
        read.unavailable(|| "could not read rows back that did not fit in memory".to_owned())?;
        self.at += u64::try_from(bytes).unwrap_or(u64::MAX);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back() {
        let room = Room::of(10);
        let seven = room.take(7).unwrap();
        assert!(room.take(4).is_none());
        let three = room.take(3).unwrap();
        drop(seven);
        assert!(room.take(7).is_some());
        drop(three);
        assert!(room.take(10).is_some());
    }

    #[test]
    fn what_is_put_is_read_back_in_parts_and_no_name_stays() {
        let folder = tempfile::tempdir().unwrap();
        let spill = Spill::new(folder.path().join("spill"));
        let (mut one, mut two) = (spill.put(b"first").unwrap(), spill.put(b"and second").unwrap());
        let mut buffer = b"> ".to_vec();
        assert_eq!(two.read(&mut buffer, 4).unwrap(), 4);
        assert_eq!(two.read(&mut buffer, 100).unwrap(), 6);
        assert_eq!(two.read(&mut buffer, 100).unwrap(), 0);
        assert_eq!(buffer, b"> and second");
        buffer.clear();
        one.read(&mut buffer, 100).unwrap();
        assert_eq!(buffer, b"first");
        assert_eq!(fs::read_dir(folder.path().join("spill")).unwrap().count(), 0);
    }
}
