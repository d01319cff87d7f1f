//! Finds out by its first bytes how a stream is packed and unpacks it, counting the packed bytes as they go.

use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use flate2::bufread::MultiGzDecoder;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

const BUFFER_BYTES: usize = 512 * 1024;

/// How far a stream has been read, seen from outside.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    bytes: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
}

impl Progress {
    /// Packed bytes that have been used.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the stream itself could not be read, as against its contents not be unpacked.
    fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// What to tell about a read that failed.
    pub(super) fn explain(&self, name: &str, error: io::Error) -> Error {
        let at = self.bytes();
        if self.failed() {
            return Error::unavailable(format!("could not read \"{name}\" any further at byte {at}"))
                .with_source(error);
        }
        Error::invalid(format!(
            "\"{name}\" is damaged or cut off at byte {at} ({error}); every row before that place was read: get a whole copy and import it again"
        ))
    }
}

/// The unpacked bytes of `input`: gzip of any number of members, zstd of any number of frames, or as it is.
pub(super) fn unpack(name: &str, input: Box<dyn Read + Send>) -> Result<(Box<dyn Read + Send>, Progress)> {
    let progress = Progress::default();
    let (start, input) = match beginning(input) {
        Ok(parts) => parts,
        Err(error) => {
            progress.failed.store(true, Ordering::Relaxed);
            return Err(progress.explain(name, error));
        }
    };
    let input = Counted { inner: BufReader::with_capacity(BUFFER_BYTES, input), progress: progress.clone() };
    let reader: Box<dyn Read + Send> = match start {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(input)),
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
            let decoder = zstd::stream::read::Decoder::with_buffer(input)
                .map_err(|error| Error::new(Kind::Internal, "could not start zstd").with_source(error))?;
            Box::new(decoder)
        }
        other => {
            if let Some((what, cure)) = foreign(&other) {
                return Err(Error::invalid(format!("\"{name}\" is {what}; {cure}")));
            }
            Box::new(input)
        }
    };
    Ok((reader, progress))
}

/// The first four bytes, zeros where there are fewer, and the stream with those bytes still in it.
fn beginning(mut input: Box<dyn Read + Send>) -> io::Result<([u8; 4], Box<dyn Read + Send>)> {
    let mut start = [0; 4];
    let mut have = 0;
    while have < start.len() {
        match input.read(&mut start[have..]) {
            Ok(0) => break,
            Ok(more) => have += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let whole = io::Cursor::new(start[..have].to_vec()).chain(input);
    Ok((start, Box::new(whole)))
}

/// Kinds of files that people try and we do not read.
fn foreign(start: &[u8; 4]) -> Option<(&'static str, &'static str)> {
    match start {
        [b'P', b'K', 3, 4] => {
            Some(("a zip archive", "unpack it first (the .gz files in it may stay as they are)"))
        }
        [b'B', b'Z', b'h', _] => Some(("packed with bzip2", "unpack it first, or pack it with gzip or zstd")),
        [0xfd, b'7', b'z', b'X'] => Some(("packed with xz", "unpack it first, or pack it with gzip or zstd")),
        [b'P', b'A', b'R', b'1'] => Some(("a Parquet file", "write its rows as JSON lines or CSV first")),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some(("text in UTF-16", "convert it to UTF-8 first")),
        _ => None,
    }
}

/// A buffered stream that counts what its reader takes out of it.
struct Counted {
    inner: BufReader<Box<dyn Read + Send>>,
    progress: Progress,
}

impl Counted {
    fn note(&self, error: io::Error) -> io::Error {
        if error.kind() != io::ErrorKind::Interrupted {
            self.progress.failed.store(true, Ordering::Relaxed);
        }
        error
    }
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(read) => {
                self.progress.bytes.fetch_add(read as u64, Ordering::Relaxed);
                Ok(read)
            }
            Err(error) => Err(self.note(error)),
        }
    }
}

impl BufRead for Counted {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.inner.fill_buf() {
            Ok(_) => Ok(self.inner.buffer()),
            Err(error) => Err(self.note(error)),
        }
    }

    fn consume(&mut self, amount: usize) {
        self.progress.bytes.fetch_add(amount as u64, Ordering::Relaxed);
        self.inner.consume(amount);
    }
}
