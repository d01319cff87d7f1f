//! Which runs become one, and how: runs of like size together, so that their number grows with the logarithm of the
//! history and each id is rewritten as seldom.
//!
//! Writing the new run touches nothing that is in use, so it may happen beside look-ups, on another thread.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::BinaryHeap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Result;
use crate::storage::event_ids::Limits;
use crate::storage::event_ids::entry::Entry;
use crate::storage::event_ids::run::Run;
use crate::storage::event_ids::write::RunWriter;

/// Runs that are to become one. [`Merge::write`] makes the new file; `EventIds::adopt` puts it in their place.
#[derive(Debug)]
pub struct Merge {
    pub(crate) dir: PathBuf,
    pub(crate) runs: Vec<Arc<Run>>,
    pub(crate) name: String,
}

/// A merged run that is durable on disk and not in use yet.
#[derive(Debug)]
pub struct Merged {
    pub(crate) old: Vec<String>,
    pub(crate) name: String,
}

impl Merge {
    /// Writes the new run, durably, under its own name; the old ones stay as they are.
    pub fn write(self) -> Result<Merged> {
        let entries = self.runs.iter().map(|run| run.len()).sum();
        let mut writer = RunWriter::new(&self.dir, &self.name, entries)?;
        let mut readers: Vec<Reader<'_>> = self.runs.iter().map(|run| Reader::new(run)).collect();
        let mut heads = BinaryHeap::new();
        for (index, reader) in readers.iter_mut().enumerate() {
            heads.extend(reader.next()?.map(|entry| Reverse((entry, index))));
        }
        while let Some(Reverse((entry, index))) = heads.pop() {
            writer.push(entry)?;
            heads.extend(readers[index].next()?.map(|entry| Reverse((entry, index))));
        }
        writer.finish()?;
        let old = self.runs.iter().map(|run| run.name().to_owned()).collect();
        Ok(Merged { old, name: self.name })
    }
}

/// The runs of the lowest size class that has enough of them; nothing if none has.
pub(crate) fn due(runs: impl Iterator<Item = Arc<Run>>, limits: Limits) -> Option<Vec<Arc<Run>>> {
    let mut classes: BTreeMap<u32, Vec<Arc<Run>>> = BTreeMap::new();
    for run in runs {
        classes.entry(class(run.len(), limits)).or_default().push(run);
    }
    classes.into_values().find(|runs| runs.len() >= limits.fan_in)
}

/// Class 0 up to `smallest` entries, each further class `fan_in` times as many.
fn class(entries: u64, limits: Limits) -> u32 {
    let times = entries / limits.smallest.max(1);
    if times == 0 { 0 } else { times.ilog((limits.fan_in as u64).max(2)) + 1 }
}

/// The entries of a run from its beginning to its end, a few blocks in memory.
struct Reader<'a> {
    run: &'a Run,
    next_block: usize,
    entries: Vec<Entry>,
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(run: &'a Run) -> Self {
        Self { run, next_block: 0, entries: Vec::new(), at: 0 }
    }

    fn next(&mut self) -> Result<Option<Entry>> {
        if self.at == self.entries.len() && self.next_block < self.run.blocks() {
            self.entries.clear();
            self.at = 0;
            self.next_block = self.run.read_blocks(self.next_block, &mut self.entries)?;
        }
        let entry = self.entries.get(self.at).copied();
        self.at += usize::from(entry.is_some());
        Ok(entry)
    }
}
