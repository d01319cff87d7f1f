//! `Index`: finds the sidecars of data files, checks them, and keeps those in memory that were used last.
//!
//! A data file never changes and no name is used twice, so what is kept of one is right for as long as it is kept.

use std::collections::HashMap;
use std::fs;
use std::fs::File;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use bytes::Bytes;

use crate::storage::DataFile;
use crate::storage::Layout;
use crate::storage::layout;
use crate::storage::sidecar::format::HEAD_BYTES;
use crate::storage::sidecar::format::Head;
use crate::storage::sidecar::format::Sidecar;

/// Heads are small, but a store may have very many files.
const MOST_HEADS: usize = 200_000;

/// The sidecars of one data directory; the default has none.
#[derive(Debug, Default)]
pub struct Index {
    layout: Option<Layout>,
    /// The most bytes of sidecars in memory.
    memory: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    heads: HashMap<String, Head>,
    whole: HashMap<String, Used>,
    /// The persons of files of which nothing else was asked.
    persons: HashMap<String, Arc<Vec<u32>>>,
    bytes: usize,
    /// Rises with each use.
    clock: u64,
    passed: Passed,
}

#[derive(Debug)]
struct Used {
    sidecar: Arc<Sidecar>,
    at: u64,
}

/// How often a sidecar was looked for and passed over, since the directory was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// There was none.
    pub absent: u64,
    /// It was not as it was written.
    pub torn: u64,
    /// It was of another file.
    pub stale: u64,
}

impl Index {
    pub(crate) fn new(layout: Layout, memory: usize) -> Self {
        Self { layout: Some(layout), memory, held: Mutex::default() }
    }

    /// One that has no place on a disk, and keeps all that it is given.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Self {
        Self { memory: usize::MAX, ..Self::default() }
    }

    /// What the sidecar of a file says first.
    pub fn head(&self, file: &DataFile) -> Option<Head> {
        if let Some(head) = self.lock().heads.get(&file.path) {
            return Some(*head);
        }
        let path = self.path(file)?;
        let mut bytes = [0; HEAD_BYTES];
        let read = File::open(&path).and_then(|mut open| {
            open.read_exact(&mut bytes)?;
            open.metadata()
        });
        let length = match read {
            Ok(metadata) => metadata.len(),
            Err(error) => return self.pass(error.kind()),
        };
        // One that is cut off is known by its length, before all of it is read.
        let Some(head) = Head::read(&bytes).filter(|head| head.bytes() == length) else {
            return self.pass(ErrorKind::InvalidData);
        };
        self.own(file, head)
    }

    /// How many bytes of sidecars are kept in memory, at most.
    pub fn room(&self) -> usize {
        self.memory
    }

    /// Whether a file has one of these persons; none where no sidecar tells. Without `read` it is told from memory alone;
    /// with it, only the part of a sidecar is read that the persons are in.
    pub fn holds_any(&self, file: &DataFile, persons: &[u32], read: bool) -> Option<bool> {
        let is_in = |there: &[u32]| persons.iter().any(|person| there.binary_search(person).is_ok());
        if let Some(sidecar) = self.opened(file) {
            return Some(is_in(sidecar.persons()));
        }
        let known = self.lock().persons.get(&file.path).cloned();
        match known {
            Some(there) => Some(is_in(&there)),
            None if read => self.read_persons(file).map(|there| is_in(&there)),
            None => None,
        }
    }

    fn read_persons(&self, file: &DataFile) -> Option<Arc<Vec<u32>>> {
        let head = self.head(file)?;
        let mut bytes = vec![0; usize::try_from(head.section_bytes().0).ok()?];
        let read = File::open(self.path(file)?).and_then(|mut open| {
            open.seek(SeekFrom::Start(HEAD_BYTES as u64))?;
            open.read_exact(&mut bytes)
        });
        if let Err(error) = read {
            return self.pass(error.kind());
        }
        let Some(persons) = Sidecar::persons_in(&head, &bytes) else {
            return self.pass(ErrorKind::InvalidData);
        };
        let persons = Arc::new(persons);
        let mut held = self.lock();
        held.bytes += persons_bytes(&persons);
        if let Some(before) = held.persons.insert(file.path.clone(), Arc::clone(&persons)) {
            held.bytes = held.bytes.saturating_sub(persons_bytes(&before));
        }
        if held.bytes > self.memory {
            held.let_go(self.memory / 4 * 3);
        }
        Some(persons)
    }

    /// The sidecar of a file, if it is in memory.
    fn opened(&self, file: &DataFile) -> Option<Arc<Sidecar>> {
        let mut held = self.lock();
        held.clock += 1;
        let now = held.clock;
        let used = held.whole.get_mut(&file.path)?;
        used.at = now;
        Some(Arc::clone(&used.sidecar))
    }

    /// The sidecar of a file, whole and checked.
    pub fn open(&self, file: &DataFile) -> Option<Arc<Sidecar>> {
        if let Some(sidecar) = self.opened(file) {
            return Some(sidecar);
        }
        let bytes = match fs::read(self.path(file)?) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) => return self.pass(error.kind()),
        };
        let Some(sidecar) = Sidecar::read(bytes) else { return self.pass(ErrorKind::InvalidData) };
        self.own(file, *sidecar.head())?;
        Some(self.hold(file, sidecar))
    }

    /// Keeps a sidecar in memory: one that was read, or one that was made for a file that has none.
    pub fn hold(&self, file: &DataFile, sidecar: Sidecar) -> Arc<Sidecar> {
        let sidecar = Arc::new(sidecar);
        let mut held = self.lock();
        if self.path(file).is_none() {
            // There is no other place where it could be looked for.
            held.heads.insert(file.path.clone(), *sidecar.head());
        }
        held.clock += 1;
        let used = Used { sidecar: Arc::clone(&sidecar), at: held.clock };
        held.bytes += sidecar.memory();
        if let Some(before) = held.whole.insert(file.path.clone(), used) {
            held.bytes = held.bytes.saturating_sub(before.sidecar.memory());
        }
        if held.bytes > self.memory {
            held.let_go(self.memory / 4 * 3);
        }
        sidecar
    }

    /// Lets go of what is kept of files that are not there any more, or have other sidecars now.
    pub(crate) fn forget<'a>(&self, paths: impl IntoIterator<Item = &'a str>) {
        let mut held = self.lock();
        for path in paths {
            held.heads.remove(path);
            if let Some(persons) = held.persons.remove(path) {
                held.bytes = held.bytes.saturating_sub(persons_bytes(&persons));
            }
            if let Some(used) = held.whole.remove(path) {
                held.bytes = held.bytes.saturating_sub(used.sidecar.memory());
            }
        }
    }

    pub fn passed(&self) -> Passed {
        self.lock().passed
    }

    fn path(&self, file: &DataFile) -> Option<PathBuf> {
        if layout::is_buffer(&file.path) {
            return None;
        }
        self.layout.as_ref()?.sidecar(&file.path)
    }

    /// The head, if it is that of the file.
    fn own(&self, file: &DataFile, head: Head) -> Option<Head> {
        let mut held = self.lock();
        if (head.file_bytes, head.rows) != (file.bytes, file.rows) {
            held.passed.stale += 1;
            return None;
        }
        if held.heads.len() >= MOST_HEADS {
            held.heads.clear();
        }
        held.heads.insert(file.path.clone(), head);
        Some(head)
    }

    fn pass<T>(&self, why: ErrorKind) -> Option<T> {
        let passed = &mut self.lock().passed;
        match why {
            ErrorKind::NotFound => passed.absent += 1,
            _ => passed.torn += 1,
        }
        None
    }

    /// Nothing here is half changed when a thread stops with the lock: at worst bytes are counted wrongly.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn persons_bytes(persons: &[u32]) -> usize {
    size_of_val(persons)
}

impl Held {
    /// Lets go of those that were not used for longest, until no more than so many bytes are left.
    fn let_go(&mut self, most: usize) {
        for (_, persons) in self.persons.drain() {
            self.bytes = self.bytes.saturating_sub(persons_bytes(&persons));
        }
        let mut used: Vec<(u64, String)> =
            self.whole.iter().map(|(path, used)| (used.at, path.clone())).collect();
        used.sort_unstable();
        for (_, path) in used {
            if self.bytes <= most {
                break;
            }
            if let Some(used) = self.whole.remove(&path) {
                self.bytes = self.bytes.saturating_sub(used.sidecar.memory());
            }
        }
    }
}
