//! The seam between the log and its disk: what it asks of a file, and the local disk's answer. Tests put a disk there
//! that is full, that writes half of what it is given, or whose sync fails.

use std::fmt;
use std::fs::File;
use std::io;
use std::io::Write;
use std::path::Path;

/// Makes the files of a log.
pub(crate) trait Medium: fmt::Debug + Send + Sync {
    /// A new file, for writing from its beginning; its name is durable only when its folder has been synced.
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>>;
}

/// One file of a log, written from its beginning to its end.
pub(crate) trait LogFile: fmt::Debug + Send {
    /// All bytes or an error, after which any part of them may be there.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Returns when everything that was written survives a power cut. After an error nobody knows what does.
    fn sync(&mut self) -> io::Result<()>;
}

/// The local disk.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Disk;

impl Medium for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(File::create_new(path)?))
    }
}

impl LogFile for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
