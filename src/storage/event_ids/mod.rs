//! `EventIds`: every event id that the store has taken, exactly, so that a retry is told from a new event and from a
//! conflict over the whole history.
//!
//! An id is a 128-bit hash, and with it goes a fingerprint of what the event says. The ids of the batch that is being
//! gathered are *pending*, in memory. [`EventIds::seal`] writes them as a sorted *run* on disk; the catalog names the
//! run in the transaction that records the batch, and that alone makes it count: a run that no record names is removed
//! when the ids are opened again. Runs of like size are merged, so there are few.
//!
//! ```text
//! check ─▶ pending? ─▶ each run: filter ─▶ fences ─▶ one block, in memory or on disk
//! ```
//! Ids of *logged* events are in sets of their own, since those events are stored already: no failure of a batch makes
//! them forgotten, and only the flush that takes their events seals them.
//!
//! Memory is bounded: filters and small runs stay in memory while they fit, larger ones are read where they lie.

mod entry;
mod filter;
mod merge;
mod pending;
mod run;
mod write;

use std::fs;
use std::mem;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Context;
use crate::error::Result;
use crate::storage::event_ids::entry::Entry;
use crate::storage::event_ids::pending::Pending;
use crate::storage::event_ids::run::Run;
use crate::storage::event_ids::run::SUFFIX;
use crate::storage::event_ids::run::TEMPORARY;
use crate::storage::event_ids::run::damaged;
use crate::storage::event_ids::write::RunWriter;

pub use merge::Merge;
pub use merge::Merged;

/// How many ids are looked for at once: a bit for each.
pub const GROUP: usize = 64;

/// What the store knows of an event id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Never seen; it is remembered now.
    New,
    /// Seen with the same payload: a retry.
    Duplicate,
    /// Seen with another payload.
    Conflict,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The most bytes that all runs together keep in memory.
    memory: usize,
    /// So many runs of one size class become one.
    fan_in: usize,
    /// Runs of up to so many entries are of the smallest class.
    smallest: u64,
    /// So many ids make a run when all are written anew.
    rebuilt: usize,
}

impl Limits {
    fn of_memory(memory: usize) -> Self {
        Self { memory, fan_in: 16, smallest: 1 << 17, rebuilt: 1 << 21 }
    }
}

#[derive(Debug)]
struct Known {
    run: Arc<Run>,
    /// Whether the catalog names it.
    recorded: bool,
}

/// The event ids of a data directory; one writer has it.
#[derive(Debug)]
pub struct EventIds {
    dir: PathBuf,
    limits: Limits,
    pending: Pending,
    /// Sets of the ids of logged events that are in no run that counts; the last one grows.
    logged: Vec<Pending>,
    /// How many of these sets are in a run that waits to be recorded.
    sealed: usize,
    runs: Vec<Known>,
}

impl EventIds {
    /// Opens the runs that the catalog names and removes all others. `memory` is the most bytes that runs keep in
    /// memory; the pending ids of a batch, some 35 bytes each, come on top.
    ///
    /// # Errors
    /// `Internal` if a run is missing or damaged: [`EventIds::rebuild`] is the cure.
    pub fn open(dir: &Path, names: &[String], memory: usize) -> Result<Self> {
        Self::open_within(dir, names, Limits::of_memory(memory))
    }

    pub(crate) fn open_within(dir: &Path, names: &[String], limits: Limits) -> Result<Self> {
        let doing = || format!("could not open the directory of event ids \"{}\"", dir.display());
        fs::create_dir_all(dir).unavailable(doing)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(dir).unavailable(doing)? {
            let entry = entry.unavailable(doing)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if names.contains(&name) {
                found.push((entry.metadata().unavailable(doing)?.len(), name));
            } else if name.ends_with(SUFFIX) || name.ends_with(TEMPORARY) {
                remove(&entry.path())?;
            }
        }
        if let Some(missing) = names.iter().find(|name| found.iter().all(|(_, found)| found != *name)) {
            return Err(damaged(&dir.join(missing), "the file is missing"));
        }
        let mut ids = Self::empty(dir, limits);
        // Memory goes to the filters first, and then to the entries of the smallest runs.
        found.sort_unstable();
        let mut later: usize = found.iter().map(|(bytes, _)| Run::lean_bytes(*bytes)).sum();
        for (bytes, name) in found {
            let lean = Run::lean_bytes(bytes);
            later -= lean;
            let free = limits.memory.saturating_sub(ids.memory());
            let run = Run::open(dir, &name, free.saturating_sub(later).max(lean.min(free)))?;
            ids.runs.push(Known { run: Arc::new(run), recorded: true });
        }
        Ok(ids)
    }

    fn empty(dir: &Path, limits: Limits) -> Self {
        Self {
            dir: dir.to_owned(),
            limits,
            pending: Pending::default(),
            logged: Vec::new(),
            sealed: 0,
            runs: Vec::new(),
        }
    }

    /// Looks an id up, and remembers it as pending when it is new.
    ///
    /// # Errors
    /// `Unavailable` or `Internal` if a run that is not in memory cannot be read.
    pub fn check(&mut self, key: u128, fingerprint: u64) -> Result<Verdict> {
        self.check_one_of(0, 0, key, fingerprint)
    }

    /// Which of these ids, [`GROUP`] at most, are surely in no run: a bit for each. Looking at many at once waits for
    /// memory once, where [`EventIds::check`] waits for each.
    pub fn strangers(&self, keys: impl Iterator<Item = u128>) -> u64 {
        let mut group = [Entry::new(0, 0); GROUP];
        let mut count = 0;
        for (place, key) in group.iter_mut().zip(keys) {
            *place = Entry::new(key, 0);
            count += 1;
        }
        let group = &group[..count];
        self.runs.iter().fold(u64::MAX, |strangers, known| strangers & known.run.strangers(group))
    }

    /// As [`EventIds::check`], for the id at place `at` of those that `strangers` is about. Between the two calls no run
    /// may be added.
    ///
    /// # Errors
    /// As [`EventIds::check`].
    pub fn check_one_of(
        &mut self,
        strangers: u64,
        at: usize,
        key: u128,
        fingerprint: u64,
    ) -> Result<Verdict> {
        let entry = Entry::new(key, fingerprint);
        let verdict = self.look_up(entry, strangers >> at & 1 == 1)?;
        if verdict == Verdict::New {
            self.pending.insert(entry);
        }
        Ok(verdict)
    }

    /// Looks an id up, and remembers it as that of a logged event when it is new.
    ///
    /// # Errors
    /// As [`EventIds::check`].
    pub fn check_logged(&mut self, key: u128, fingerprint: u64) -> Result<Verdict> {
        let entry = Entry::new(key, fingerprint);
        let verdict = self.look_up(entry, false)?;
        if verdict == Verdict::New {
            self.growing().insert(entry);
        }
        Ok(verdict)
    }

    /// Forgets ids that [`EventIds::check_logged`] found new, because their events did not come into the log.
    pub fn unlogged(&mut self, ids: impl IntoIterator<Item = (u128, u64)>) {
        for (key, fingerprint) in ids {
            self.growing().remove(Entry::new(key, fingerprint));
        }
    }

    /// Remembers the id of an event that the log has, and that was found new when it was logged.
    pub fn replayed(&mut self, key: u128, fingerprint: u64) {
        let entry = Entry::new(key, fingerprint);
        if self.logged.iter().all(|set| set.find(entry).is_none()) {
            self.growing().insert(entry);
        }
    }

    /// The ids of logged events so far belong together: the next flush seals them, and no later ones.
    pub fn cut_logged(&mut self) {
        if self.logged.last().is_some_and(|set| set.len() > 0) {
            self.logged.push(Pending::default());
        }
    }

    fn growing(&mut self) -> &mut Pending {
        if self.logged.len() == self.sealed {
            self.logged.push(Pending::default());
        }
        let last = self.logged.len() - 1;
        &mut self.logged[last]
    }

    /// Whether an id is remembered, whatever its event says.
    ///
    /// # Errors
    /// As [`EventIds::check`].
    pub fn knows(&self, key: u128) -> Result<bool> {
        Ok(self.look_up(Entry::new(key, 0), false)? != Verdict::New)
    }

    fn look_up(&self, entry: Entry, in_no_run: bool) -> Result<Verdict> {
        let mut known = self.pending.find(entry);
        known = known.or_else(|| self.logged.iter().rev().find_map(|set| set.find(entry)));
        for Known { run, .. } in &self.runs {
            if known.is_some() || in_no_run {
                break;
            }
            known = run.find(entry)?;
        }
        Ok(match known {
            Some(same) if same == entry.fingerprint => Verdict::Duplicate,
            Some(_) => Verdict::Conflict,
            None => Verdict::New,
        })
    }

    /// How many ids were new since the last seal.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// How many ids are remembered, the pending ones included.
    pub fn len(&self) -> u64 {
        let logged: usize = self.logged[self.sealed..].iter().map(Pending::len).sum();
        self.runs.iter().map(|known| known.run.len()).sum::<u64>() + (self.pending.len() + logged) as u64
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the pending ids as the run of batch `number`, durably, and returns its name, or nothing if there are
    /// none. Record the name in the catalog, then say [`EventIds::recorded`], or [`EventIds::discard`].
    ///
    /// # Errors
    /// When it fails, the pending ids and what was sealed and not recorded are forgotten, as by `discard`.
    pub fn seal(&mut self, number: i64) -> Result<Option<String>> {
        if self.pending.len() == 0 {
            return Ok(None);
        }
        let name = format!("{number}{SUFFIX}");
        let sealed = self.write_pending(&name).and_then(|()| self.open_new(&name));
        let sealed = sealed.map(|run| self.runs.push(Known { run: Arc::new(run), recorded: false }));
        if let Err(error) = sealed {
            // The first error is the one to tell; what this leaves behind goes at the next opening.
            let _ = self.discard();
            return Err(error);
        }
        Ok(Some(name))
    }

    /// Writes the ids of logged events up to the last cut as the run of batch `number`, as [`EventIds::seal`] does.
    ///
    /// # Errors
    /// When it fails, nothing is sealed, and no id is forgotten.
    pub fn seal_logged(&mut self, number: i64) -> Result<Option<String>> {
        let sets = self.logged.len().saturating_sub(1);
        let mut entries: Vec<Entry> = self.logged[..sets].iter().flat_map(Pending::iter).collect();
        if entries.is_empty() {
            return Ok(None);
        }
        entries.sort_unstable();
        let name = format!("{number}{SUFFIX}");
        let mut writer = RunWriter::new(&self.dir, &name, entries.len() as u64)?;
        entries.into_iter().try_for_each(|entry| writer.push(entry))?;
        writer.finish()?;
        let run = self.open_new(&name)?;
        self.runs.push(Known { run: Arc::new(run), recorded: false });
        self.sealed = sets;
        Ok(Some(name))
    }

    /// Removes what was sealed and not recorded; the ids of logged events stay known, and those that were checked for
    /// a batch stay pending.
    pub fn unseal(&mut self) -> Result<()> {
        self.sealed = 0;
        let (kept, dropped): (Vec<_>, Vec<_>) =
            mem::take(&mut self.runs).into_iter().partition(|known| known.recorded);
        self.runs = kept;
        dropped.iter().try_for_each(|known| remove(known.run.path()))
    }

    /// The catalog names everything that was sealed.
    pub fn recorded(&mut self) {
        self.logged.drain(..self.sealed);
        self.sealed = 0;
        for known in &mut self.runs {
            known.recorded = true;
        }
    }

    /// Forgets the pending ids and removes what was sealed and not recorded, as if those ids had never been checked.
    pub fn discard(&mut self) -> Result<()> {
        self.pending = Pending::default();
        self.unseal()
    }

    /// The next runs that ought to become one, if there are any.
    pub fn merge_due(&self) -> Option<Merge> {
        let recorded = self.runs.iter().filter(|known| known.recorded);
        let runs = merge::due(recorded.map(|known| Arc::clone(&known.run)), self.limits)?;
        let (dir, name) = (self.dir.clone(), merged_name(self.next_generation()));
        Some(Merge { dir, runs, name })
    }

    /// Puts a merged run in the place of the old ones. `record` makes the catalog name the new run instead of the old
    /// ones; if it fails, the old ones stay in use.
    pub fn adopt(
        &mut self,
        merged: Merged,
        record: impl FnOnce(&[String], &str) -> Result<()>,
    ) -> Result<()> {
        let Merged { old, name } = merged;
        // Checks the new run, and costs no memory while the old ones are still in use.
        let lean = Run::open(&self.dir, &name, 0)?;
        record(&old, &name)?;
        let replaced = |known: &Known| old.iter().any(|name| name == known.run.name());
        let (dropped, kept): (Vec<_>, Vec<_>) = mem::take(&mut self.runs).into_iter().partition(replaced);
        self.runs = kept;
        let run = self.open_new(&name).unwrap_or(lean);
        self.runs.push(Known { run: Arc::new(run), recorded: true });
        // From here on nobody needs the old files; one that cannot be removed goes at the next opening.
        for known in dropped {
            let _ = remove(known.run.path());
        }
        Ok(())
    }

    /// Merges until no merge is due; `record` as in [`EventIds::adopt`].
    pub fn merge(&mut self, mut record: impl FnMut(&[String], &str) -> Result<()>) -> Result<()> {
        while let Some(due) = self.merge_due() {
            self.adopt(due.write()?, &mut record)?;
        }
        Ok(())
    }

    /// Writes all ids anew, from the events themselves, whatever runs there are. Returns the ids and the names of
    /// their runs, which the catalog is to name instead of all others. Of an id that comes twice, the first counts.
    ///
    /// # Errors
    /// Those of the iterator, and of writing; the runs that the catalog names are untouched then.
    pub fn rebuild(
        dir: &Path,
        memory: usize,
        events: impl IntoIterator<Item = Result<(u128, u64)>>,
    ) -> Result<(Self, Vec<String>)> {
        Self::rebuild_within(dir, Limits::of_memory(memory), events)
    }

    pub(crate) fn rebuild_within(
        dir: &Path,
        limits: Limits,
        events: impl IntoIterator<Item = Result<(u128, u64)>>,
    ) -> Result<(Self, Vec<String>)> {
        let doing = || format!("could not open the directory of event ids \"{}\"", dir.display());
        fs::create_dir_all(dir).unavailable(doing)?;
        let mut generation = 0;
        for entry in fs::read_dir(dir).unavailable(doing)? {
            let name = entry.unavailable(doing)?.file_name();
            generation = generation.max(generation_of(&name.to_string_lossy()));
        }
        let mut ids = Self::empty(dir, limits);
        let mut flush = |ids: &mut Self| -> Result<()> {
            generation += 1;
            let name = merged_name(generation);
            ids.write_pending(&name)?;
            let run = ids.open_new(&name)?;
            ids.runs.push(Known { run: Arc::new(run), recorded: true });
            Ok(())
        };
        for event in events {
            let (key, fingerprint) = event?;
            ids.check(key, fingerprint)?;
            if ids.pending.len() >= limits.rebuilt {
                flush(&mut ids)?;
            }
        }
        if ids.pending.len() > 0 {
            flush(&mut ids)?;
        }
        let names = ids.runs.iter().map(|known| known.run.name().to_owned()).collect();
        Ok((ids, names))
    }

    /// Writes the pending ids as a run; afterwards none are pending, even if it failed.
    fn write_pending(&mut self, name: &str) -> Result<()> {
        let room = Pending::with_room_for(self.pending.len());
        let pending = mem::replace(&mut self.pending, room);
        let mut writer = RunWriter::new(&self.dir, name, pending.len() as u64)?;
        pending.into_sorted().try_for_each(|entry| writer.push(entry))?;
        writer.finish()
    }

    /// Opens a run that was just written, after making room for it.
    fn open_new(&mut self, name: &str) -> Result<Run> {
        let path = self.dir.join(name);
        let file = fs::metadata(&path)
            .unavailable(|| format!("could not open the event ids \"{}\"", path.display()))?;
        self.make_room(file.len());
        Run::open(&self.dir, name, self.limits.memory.saturating_sub(self.memory()))
    }

    fn memory(&self) -> usize {
        self.runs.iter().map(|known| known.run.memory()).sum()
    }

    /// Makes room in memory for a run whose file has so many bytes: for its entries, larger runs give up theirs; for
    /// its filter, any run gives up its entries, and larger ones their filter.
    fn make_room(&mut self, file_bytes: u64) {
        let all = usize::try_from(file_bytes).unwrap_or(usize::MAX);
        while self.memory().saturating_add(all) > self.limits.memory
            && self
                .change_largest(|run| run.has_entries() && run.file_bytes() >= file_bytes, Run::drop_entries)
        {
        }
        let lean = Run::lean_bytes(file_bytes);
        while self.memory().saturating_add(lean) > self.limits.memory
            && (self.change_largest(Run::has_entries, Run::drop_entries)
                || self.change_largest(
                    |run| run.has_filter() && run.file_bytes() > file_bytes,
                    Run::drop_filter,
                ))
        {}
    }

    /// Changes the largest such run that no merge is reading; `false` if there is none.
    fn change_largest(&mut self, such: impl Fn(&Run) -> bool, change: impl FnOnce(&mut Run)) -> bool {
        let runs = self.runs.iter_mut().filter_map(|known| Arc::get_mut(&mut known.run));
        let largest = runs.filter(|run| such(run)).max_by_key(|run| run.len());
        largest.map(change).is_some()
    }

    fn next_generation(&self) -> u64 {
        self.runs.iter().map(|known| generation_of(known.run.name())).max().unwrap_or(0) + 1
    }
}

/// The name of a run that is not that of one batch. Generations rise, so no two runs in use have one name.
fn merged_name(generation: u64) -> String {
    format!("m{generation}{SUFFIX}")
}

/// 0 for the run of one batch.
fn generation_of(name: &str) -> u64 {
    let number = name.strip_prefix('m').and_then(|rest| rest.split('.').next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).unavailable(|| format!("could not remove the event ids \"{}\"", path.display()))
}

#[cfg(test)]
mod tests;
