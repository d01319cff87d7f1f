//! `Run`: event ids in one file that never changes, sorted by key, with as much of it in memory as there is room for.
//!
//! ```text
//! header   4096 bytes: magic, version, counts, checksums
//! filter   blocks of 64 bytes, padded to a multiple of 4096
//! entries  blocks of 4096 bytes: 170 entries of 24 bytes, 8 zero bytes, the checksum of these
//! fences   for each block of entries the upper half of its first key, 8 bytes
//! ```
//! Numbers are little-endian, checksums XXH3 with 64 bits. Header, filter and fences are checked when the run is
//! opened, a block of entries whenever it is read.

use std::cmp::Ordering;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;

use xxhash_rust::xxh3::Xxh3;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::storage::event_ids::entry::ENTRY_BYTES;
use crate::storage::event_ids::entry::Entry;
use crate::storage::event_ids::entry::number;
use crate::storage::event_ids::filter::FILTER_BLOCK_BYTES;
use crate::storage::event_ids::filter::FilterBlock;
use crate::storage::event_ids::filter::block_of;

/// How the names of runs end.
pub(crate) const SUFFIX: &str = ".run";
/// What is added to a name while its run is being written.
pub(crate) const TEMPORARY: &str = ".temp";

pub(crate) const BLOCK_BYTES: usize = 4096;
pub(crate) const BLOCK_ENTRIES: usize = (BLOCK_BYTES - 8) / ENTRY_BYTES;

const MAGIC: u64 = u64::from_le_bytes(*b"MPEVTIDS");
const VERSION: u64 = 1;
const FILTER_AT: u64 = BLOCK_BYTES as u64;
/// How much is read at once.
const READ_BLOCKS: usize = 64;

/// The first page of the file, and where the other parts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) entries: u64,
    pub(crate) filter_blocks: u64,
    pub(crate) filter_checksum: u64,
    pub(crate) fences_checksum: u64,
}

impl Header {
    pub(crate) fn new(filter_blocks: u64) -> Self {
        Self { entries: 0, filter_blocks, filter_checksum: 0, fences_checksum: 0 }
    }

    fn blocks(&self) -> u64 {
        self.entries.div_ceil(BLOCK_ENTRIES as u64)
    }

    pub(crate) fn filter_at(&self) -> u64 {
        FILTER_AT
    }

    fn filter_bytes(&self) -> u64 {
        self.filter_blocks * FILTER_BLOCK_BYTES as u64
    }

    pub(crate) fn entries_at(&self) -> u64 {
        FILTER_AT + self.filter_bytes().next_multiple_of(BLOCK_BYTES as u64)
    }

    pub(crate) fn fences_at(&self) -> u64 {
        self.entries_at() + self.blocks() * BLOCK_BYTES as u64
    }

    fn file_bytes(&self) -> u64 {
        self.fences_at() + self.blocks() * 8
    }

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let parts =
            [MAGIC, VERSION, self.entries, self.filter_blocks, self.filter_checksum, self.fences_checksum];
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_le_bytes()).collect();
        bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
        bytes.resize(BLOCK_BYTES, 0);
        bytes
    }

    fn from_bytes(bytes: &[u8], length: u64, path: &Path) -> Result<Self> {
        if number(bytes, 0) != MAGIC {
            return Err(damaged(path, "it does not begin as one"));
        }
        let version = number(bytes, 8);
        if version > VERSION {
            return Err(Error::invalid(format!(
                "the event ids \"{}\" have format {version} and this program knows formats up to {VERSION}; use a \
                 newer milepost",
                path.display()
            )));
        }
        if bytes.get(..48).map(xxh3_64) != Some(number(bytes, 48)) {
            return Err(damaged(path, "the checksum of its header is wrong"));
        }
        let header = Self {
            entries: number(bytes, 16),
            filter_blocks: number(bytes, 24),
            filter_checksum: number(bytes, 32),
            fences_checksum: number(bytes, 40),
        };
        if length != header.file_bytes() {
            return Err(damaged(path, &format!("it has {length} of {} bytes", header.file_bytes())));
        }
        Ok(header)
    }
}

/// An error about a run that cannot be trusted, with the cure.
pub(crate) fn damaged(path: &Path, how: &str) -> Error {
    Error::internal(format!(
        "the event ids \"{}\" are damaged: {how}; the events themselves are safe in the lake, from which the ids \
         can be rebuilt",
        path.display()
    ))
}

#[derive(Debug)]
pub(crate) struct Run {
    file: File,
    path: PathBuf,
    name: String,
    header: Header,
    /// The upper half of the first key of each block.
    fences: Vec<u64>,
    /// All of the filter, or nothing when there was no room.
    filter: Vec<FilterBlock>,
    /// All of the entries, or nothing when there was no room.
    entries: Vec<Entry>,
}

impl Run {
    /// Opens and checks a run. Of filter and entries (in this order), what fits into `room` bytes is kept in memory.
    pub(crate) fn open(dir: &Path, name: &str, room: usize) -> Result<Self> {
        let path = dir.join(name);
        let doing = || format!("could not open the event ids \"{}\"", path.display());
        let file = File::open(&path).unavailable(doing)?;
        let length = file.metadata().unavailable(doing)?.len();
        let mut first =
            vec![0; usize::try_from(length).map_or(BLOCK_BYTES, |length| length.min(BLOCK_BYTES))];
        file.read_exact_at(&mut first, 0).unavailable(doing)?;
        let header = Header::from_bytes(&first, length, &path)?;
        let run = Self {
            file,
            path,
            name: name.to_owned(),
            header,
            fences: Vec::new(),
            filter: Vec::new(),
            entries: Vec::new(),
        };
        run.load(room)
    }

    fn load(mut self, room: usize) -> Result<Self> {
        let mut bytes = vec![0; size(self.header.blocks())? * 8];
        self.read_at(&mut bytes, self.header.fences_at())?;
        if xxh3_64(&bytes) != self.header.fences_checksum {
            return Err(damaged(&self.path, "the checksum of its fences is wrong"));
        }
        self.fences = bytes.chunks_exact(8).map(|eight| number(eight, 0)).collect();

        let filter_bytes = size(self.header.filter_bytes())?;
        let keep_filter = self.memory() + filter_bytes <= room;
        if keep_filter {
            self.filter.reserve_exact(size(self.header.filter_blocks)?);
        }
        let mut hash = Xxh3::new();
        let mut at = self.header.filter_at();
        let mut left = filter_bytes;
        while left > 0 {
            bytes.resize(left.min(READ_BLOCKS * BLOCK_BYTES), 0);
            self.read_at(&mut bytes, at)?;
            hash.update(&bytes);
            if keep_filter {
                self.filter.extend(bytes.chunks_exact(FILTER_BLOCK_BYTES).map(FilterBlock::read));
            }
            at += bytes.len() as u64;
            left -= bytes.len();
        }
        if hash.digest() != self.header.filter_checksum {
            return Err(damaged(&self.path, "the checksum of its filter is wrong"));
        }

        let count = size(self.header.entries)?;
        if keep_filter && self.memory() + count * size_of::<Entry>() <= room {
            let mut entries = Vec::with_capacity(count);
            let mut next = 0;
            while next < self.fences.len() {
                next = self.read_blocks(next, &mut entries)?;
            }
            self.entries = entries;
        }
        Ok(self)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn len(&self) -> u64 {
        self.header.entries
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.header.file_bytes()
    }

    /// The bytes that it keeps in memory.
    pub(crate) fn memory(&self) -> usize {
        self.fences.len() * 8
            + self.filter.len() * FILTER_BLOCK_BYTES
            + self.entries.len() * size_of::<Entry>()
    }

    pub(crate) fn has_entries(&self) -> bool {
        !self.entries.is_empty()
    }

    pub(crate) fn has_filter(&self) -> bool {
        !self.filter.is_empty()
    }

    /// From now on entries are read where they lie.
    pub(crate) fn drop_entries(&mut self) {
        self.entries = Vec::new();
    }

    /// From now on the filter is read where it lies, and so are the entries.
    pub(crate) fn drop_filter(&mut self) {
        self.drop_entries();
        self.filter = Vec::new();
    }

    /// The bytes of filter and fences of a run whose file has so many bytes, rounded up.
    pub(crate) fn lean_bytes(file_bytes: u64) -> usize {
        usize::try_from(file_bytes / 16).unwrap_or(usize::MAX)
    }

    /// The fingerprint under a key.
    #[inline]
    pub(crate) fn find(&self, wanted: Entry) -> Result<Option<u64>> {
        if self.may_have(wanted)? { self.search(wanted) } else { Ok(None) }
    }

    /// Which of these keys are surely not here: a bit for each. None where the filter is not in memory.
    pub(crate) fn strangers(&self, group: &[Entry]) -> u64 {
        if self.filter.is_empty() {
            return 0;
        }
        group.iter().enumerate().fold(0, |strangers, (at, wanted)| {
            let block = block_of(wanted.high, self.header.filter_blocks);
            let block = usize::try_from(block).ok().and_then(|block| self.filter.get(block));
            strangers | u64::from(block.is_some_and(|block| !block.may_have(wanted.low))) << at
        })
    }

    #[inline]
    fn may_have(&self, wanted: Entry) -> Result<bool> {
        let block = block_of(wanted.high, self.header.filter_blocks);
        if let Some(block) = usize::try_from(block).ok().and_then(|block| self.filter.get(block)) {
            return Ok(block.may_have(wanted.low));
        }
        let mut bytes = [0; FILTER_BLOCK_BYTES];
        self.read_at(&mut bytes, self.header.filter_at() + block * FILTER_BLOCK_BYTES as u64)?;
        Ok(FilterBlock::read(&bytes).may_have(wanted.low))
    }

    fn search(&self, wanted: Entry) -> Result<Option<u64>> {
        // Blocks that begin with the same upper half may all hold the key, and so may the one before them.
        let first = self.fences.partition_point(|fence| *fence < wanted.high).saturating_sub(1);
        let end = self.fences.partition_point(|fence| *fence <= wanted.high);
        for block in (first..end).rev() {
            let found = if self.entries.is_empty() {
                let mut bytes = [0; BLOCK_BYTES];
                self.read_checked(&mut bytes, block)?;
                let count = self.entries_in(block)?;
                search_by(count, wanted, |index| Entry::read(&bytes[index * ENTRY_BYTES..][..ENTRY_BYTES]))
            } else {
                let start = block * BLOCK_ENTRIES;
                let entries = &self.entries[start..self.entries.len().min(start + BLOCK_ENTRIES)];
                search_by(entries.len(), wanted, |index| entries[index])
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Appends the entries of some blocks from `first` on; returns the block after them.
    pub(crate) fn read_blocks(&self, first: usize, entries: &mut Vec<Entry>) -> Result<usize> {
        let count = READ_BLOCKS.min(self.fences.len() - first);
        let mut bytes = vec![0; count * BLOCK_BYTES];
        self.read_checked(&mut bytes, first)?;
        for (index, block) in bytes.chunks_exact(BLOCK_BYTES).enumerate() {
            let count = self.entries_in(first + index)?;
            entries.extend(block.chunks_exact(ENTRY_BYTES).take(count).map(Entry::read));
        }
        Ok(first + count)
    }

    /// How many blocks of entries there are.
    pub(crate) fn blocks(&self) -> usize {
        self.fences.len()
    }

    fn entries_in(&self, block: usize) -> Result<usize> {
        Ok(size(self.header.entries)?.saturating_sub(block * BLOCK_ENTRIES).min(BLOCK_ENTRIES))
    }

    /// Fills `bytes` with whole blocks from `first` on.
    fn read_checked(&self, bytes: &mut [u8], first: usize) -> Result<()> {
        self.read_at(bytes, self.header.entries_at() + (first * BLOCK_BYTES) as u64)?;
        let wrong = bytes
            .chunks_exact(BLOCK_BYTES)
            .position(|block| xxh3_64(&block[..BLOCK_BYTES - 8]) != number(block, BLOCK_BYTES - 8));
        match wrong {
            Some(at) => Err(damaged(&self.path, &format!("the checksum of block {} is wrong", first + at))),
            None => Ok(()),
        }
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> Result<()> {
        let doing = || format!("could not read the event ids \"{}\"", self.path.display());
        self.file.read_exact_at(bytes, at).unavailable(doing)
    }
}

/// The fingerprint under a key among so many sorted entries.
fn search_by(count: usize, wanted: Entry, entry: impl Fn(usize) -> Entry) -> Option<u64> {
    let (mut from, mut to) = (0, count);
    while from < to {
        let middle = from.midpoint(to);
        let found = entry(middle);
        match found.key().cmp(&wanted.key()) {
            Ordering::Less => from = middle + 1,
            Ordering::Equal => return Some(found.fingerprint),
            Ordering::Greater => to = middle,
        }
    }
    None
}

fn size(count: u64) -> Result<usize> {
    usize::try_from(count).internal(|| format!("{count} is more than this machine can address"))
}
