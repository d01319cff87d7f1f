//! Writes a run in one pass over sorted entries, whatever its size, and makes it durable before it has its name.

use std::fs;
use std::fs::File;
use std::mem;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;

use xxhash_rust::xxh3::Xxh3;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Context;
use crate::error::Result;
use crate::storage::event_ids::entry::Entry;
use crate::storage::event_ids::filter::FilterBlock;
use crate::storage::event_ids::filter::block_of;
use crate::storage::event_ids::filter::blocks_for;
use crate::storage::event_ids::run::BLOCK_BYTES;
use crate::storage::event_ids::run::BLOCK_ENTRIES;
use crate::storage::event_ids::run::Header;
use crate::storage::event_ids::run::TEMPORARY;

/// How much is gathered before it is written.
const BUFFER_BYTES: usize = 64 * BLOCK_BYTES;

pub(crate) struct RunWriter {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    header: Header,
    filter: Stretch,
    filter_hash: Xxh3,
    filter_block: FilterBlock,
    filter_blocks_done: u64,
    entries: Stretch,
    /// The block that is being filled.
    block: Vec<u8>,
    fences: Vec<u8>,
    last: Option<Entry>,
}

/// A part of the file that is written from its beginning to its end.
struct Stretch {
    buffer: Vec<u8>,
    at: u64,
}

impl Stretch {
    fn new(at: u64) -> Self {
        Self { buffer: Vec::with_capacity(BUFFER_BYTES + BLOCK_BYTES), at }
    }

    fn flush(&mut self, file: &File, path: &Path) -> Result<()> {
        file.write_all_at(&self.buffer, self.at).unavailable(|| could_not_write(path))?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn flush_if_full(&mut self, file: &File, path: &Path) -> Result<()> {
        if self.buffer.len() < BUFFER_BYTES { Ok(()) } else { self.flush(file, path) }
    }
}

fn could_not_write(path: &Path) -> String {
    format!("could not write the event ids \"{}\"", path.display())
}

impl RunWriter {
    /// A run of this name in the directory, with at most so many entries; it exists only once it is finished.
    pub(crate) fn new(dir: &Path, name: &str, at_most: u64) -> Result<Self> {
        let path = dir.join(name);
        let temporary = dir.join(format!("{name}{TEMPORARY}"));
        let file = File::create(&temporary).unavailable(|| could_not_write(&temporary))?;
        let header = Header::new(blocks_for(at_most));
        Ok(Self {
            file,
            temporary,
            path,
            filter: Stretch::new(header.filter_at()),
            filter_hash: Xxh3::new(),
            filter_block: FilterBlock::default(),
            filter_blocks_done: 0,
            entries: Stretch::new(header.entries_at()),
            block: Vec::with_capacity(BLOCK_BYTES),
            fences: Vec::new(),
            last: None,
            header,
        })
    }

    /// Adds an entry; keys rise. An entry with the key of the one before it is left out.
    pub(crate) fn push(&mut self, entry: Entry) -> Result<()> {
        if self.last.is_some_and(|last| last.key() == entry.key()) {
            return Ok(());
        }
        debug_assert!(self.last.is_none_or(|last| last < entry), "entries come in the order of their keys");
        self.last = Some(entry);
        let filter_block = block_of(entry.high, self.header.filter_blocks);
        self.fill_filter(filter_block)?;
        self.filter_block.insert(entry.low);
        if self.block.is_empty() {
            self.fences.extend_from_slice(&entry.high.to_le_bytes());
        }
        entry.write(&mut self.block);
        self.header.entries += 1;
        if self.header.entries.is_multiple_of(BLOCK_ENTRIES as u64) {
            self.end_block()?;
        }
        Ok(())
    }

    /// Makes the run durable under its name.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.fill_filter(self.header.filter_blocks)?;
        if !self.block.is_empty() {
            self.end_block()?;
        }
        self.filter.flush(&self.file, &self.path)?;
        self.entries.flush(&self.file, &self.path)?;
        self.header.filter_checksum = self.filter_hash.digest();
        self.header.fences_checksum = xxh3_64(&self.fences);
        let doing = || could_not_write(&self.path);
        self.file.write_all_at(&self.fences, self.header.fences_at()).unavailable(doing)?;
        self.file.write_all_at(&self.header.to_bytes(), 0).unavailable(doing)?;
        self.file.sync_all().unavailable(doing)?;
        fs::rename(&self.temporary, &self.path).unavailable(doing)?;
        let dir = self.path.parent().unwrap_or(Path::new("."));
        File::open(dir).and_then(|dir| dir.sync_all()).unavailable(doing)
    }

    /// Writes out filter blocks until `upto` is the one that is being filled.
    fn fill_filter(&mut self, upto: u64) -> Result<()> {
        while self.filter_blocks_done < upto {
            let start = self.filter.buffer.len();
            mem::take(&mut self.filter_block).write(&mut self.filter.buffer);
            self.filter_hash.update(&self.filter.buffer[start..]);
            self.filter.flush_if_full(&self.file, &self.path)?;
            self.filter_blocks_done += 1;
        }
        Ok(())
    }

    fn end_block(&mut self) -> Result<()> {
        self.block.resize(BLOCK_BYTES - 8, 0);
        let checksum = xxh3_64(&self.block);
        self.block.extend_from_slice(&checksum.to_le_bytes());
        self.entries.buffer.append(&mut self.block);
        self.entries.flush_if_full(&self.file, &self.path)
    }
}
