//! Compaction: many small files of a day into one (or few), sorted, with every event once.
//!
//! Which files to rewrite is decided by [`pick`], which is pure; the rest reads them as one sorted stream, writes that,
//! and puts the new files in the place of the old ones, in one commit per table.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use arrow::array::RecordBatch;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::schema::Columns;
use crate::schema::Definition;
use crate::storage::DataFile;
use crate::storage::FileRecord;
use crate::storage::Layout;
use crate::storage::Storage;
use crate::storage::layout;
use crate::storage::merge;
use crate::storage::object;
use crate::storage::parquet::DataFileWriter;
use crate::storage::pool;
use crate::storage::shape;
use crate::storage::steps::Step;
use crate::storage::write;
use crate::time::Day;

/// Files that are merged at a time, at most: each is open and has a piece in memory.
const MOST_INPUTS: usize = 64;

/// How far a compaction is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactProgress {
    pub bytes_done: u64,
    /// May grow: what was merged from very many files is merged again.
    pub bytes_total: u64,
}

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    pub files_before: u64,
    pub files_after: u64,
    pub rows: u64,
    /// Files that were removed from disk, because nobody needs them any more.
    pub files_removed: usize,
    /// Files that were left as they are and got the index that they lacked.
    pub indexed: u64,
}

/// Files of one day that become fewer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rewrite {
    pub day: Day,
    pub inputs: Vec<DataFile>,
    /// How many files they become.
    pub outputs: u64,
}

/// What to rewrite in a table so that each day is one file, or a few of about `target` bytes. A file of half of that
/// or more is left alone, unless all of the day fits into one.
pub(crate) fn pick(files: &[DataFile], target: u64) -> Vec<Rewrite> {
    let mut days: BTreeMap<Day, Vec<&DataFile>> = BTreeMap::new();
    for file in files {
        days.entry(file.day).or_default().push(file);
    }
    days.into_iter().filter_map(|(day, files)| pick_of_day(day, files, target.max(1))).collect()
}

fn pick_of_day(day: Day, mut files: Vec<&DataFile>, target: u64) -> Option<Rewrite> {
    let bytes = |files: &[&DataFile]| files.iter().map(|file| file.bytes).sum::<u64>();
    if bytes(&files) > target {
        files.retain(|file| file.bytes < target / 2);
    }
    if files.len() < 2 {
        return None;
    }
    files.sort_by(|a, b| (a.bytes, &a.path).cmp(&(b.bytes, &b.path)));
    files.truncate(MOST_INPUTS);
    // Rounded, so that outputs are between three quarters of the target and one and a half of it.
    let outputs = ((bytes(&files) + target / 2) / target).max(1);
    Some(Rewrite { day, inputs: files.into_iter().cloned().collect(), outputs })
}

/// The files that are not in memory alone.
fn on_disk(files: &[DataFile]) -> Vec<DataFile> {
    files.iter().filter(|file| !layout::is_buffer(&file.path)).cloned().collect()
}

/// Told from the threads that rewrite.
pub type OnProgress = dyn Fn(CompactProgress) + Send + Sync;

impl Storage {
    /// Rewrites small files until each day of each definition is one file, or a few of the target size; then removes
    /// files that nobody needs any more. Events can be committed and read meanwhile.
    ///
    /// # Errors
    /// `Invalid` when the directory is open for reading only. What was done before a failure stays done.
    pub async fn compact(self: &Arc<Self>, progress: Arc<OnProgress>) -> Result<Compacted> {
        self.writer()?;
        let storage = Arc::clone(self);
        tokio::spawn(async move { storage.compact_now(&progress).await })
            .await
            .internal(|| "the compaction broke off".to_owned())?
    }

    async fn compact_now(self: &Arc<Self>, progress: &Arc<OnProgress>) -> Result<Compacted> {
        let _turn = self.compacting.lock().await;
        let mut total = Compacted::default();
        let done = Arc::new(Mutex::new(0));
        let mut planned = 0;
        loop {
            let snapshot = self.snapshot().await?;
            let target = self.config.target_file_bytes;
            let work: Vec<(Arc<Definition>, Vec<Rewrite>)> = snapshot
                .tables
                .values()
                .map(|table| (Arc::clone(&table.definition), pick(&on_disk(&table.files), target)))
                .filter(|(_, rewrites)| !rewrites.is_empty())
                .collect();
            drop(snapshot);
            if work.is_empty() {
                break;
            }
            let inputs = work.iter().flat_map(|(_, rewrites)| rewrites).flat_map(|one| &one.inputs);
            planned += inputs.map(|file| file.bytes).sum::<u64>();
            let done = Arc::clone(&done);
            let on_progress = Arc::clone(progress);
            let report = move |bytes: u64| {
                // Told under the lock: two threads that end together must not tell the greater number first.
                let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                *done += bytes;
                on_progress(CompactProgress { bytes_done: *done, bytes_total: planned });
            };
            self.rewrite_tables(work, report, &mut total).await?;
        }
        total.indexed = self.index_missing().await?;
        let _alone = self.committing.lock().await;
        total.files_removed = self.sweep(self.config.grace).await?;
        Ok(total)
    }

    /// Rewrites the files of all tables in one pool, and puts those of a table in place when its last one is written.
    async fn rewrite_tables(
        self: &Arc<Self>,
        work: Vec<(Arc<Definition>, Vec<Rewrite>)>,
        report: impl Fn(u64) + Send + Sync + 'static,
        total: &mut Compacted,
    ) -> Result<()> {
        let writing = self.mark.begin()?;
        let mut tables = Vec::with_capacity(work.len());
        let mut jobs = Vec::new();
        for (at, (definition, mut rewrites)) in work.into_iter().enumerate() {
            tables.push(Compacting {
                definition: Arc::clone(&definition),
                left: rewrites.len(),
                old: rewrites.iter().flat_map(|one| one.inputs.clone()).collect(),
                new: Vec::new(),
            });
            rewrites.sort_by_key(|one| Reverse(one.inputs.iter().map(|file| file.bytes).sum::<u64>()));
            jobs.extend(rewrites.into_iter().map(|one| (at, Arc::clone(&definition), one)));
        }
        let (written, mut answers) = mpsc::unbounded_channel();
        let storage = Arc::clone(self);
        let runtime = Handle::current();
        let rewriting = tokio::task::spawn_blocking(move || {
            pool::run(storage.config.threads, jobs, |(at, definition, one)| {
                let inputs = one.inputs.iter().map(|file| file.path.clone()).collect();
                let copies = runtime.block_on(storage.lake.fetch(inputs))?;
                let files = rewrite(&storage.layout, &definition, &one)?;
                drop(copies);
                runtime.block_on(storage.lake.ship(&files))?;
                report(one.inputs.iter().map(|file| file.bytes).sum());
                // Nobody listens any more when a table could not be changed, which is told there.
                written.send((at, files)).internal(|| "a compaction was given up".to_owned())
            })
        });
        let mut placed = Ok(());
        while placed.is_ok()
            && let Some((at, files)) = answers.recv().await
        {
            let table: &mut Compacting = &mut tables[at];
            table.left -= 1;
            table.new.extend(files);
            if table.left == 0 {
                placed = self.put_in_place(table, total).await;
            }
        }
        drop(answers);
        let rewritten = rewriting.await.internal(|| "the rewriting of files broke off".to_owned())?;
        placed?;
        rewritten?;
        writing.done();
        Ok(())
    }

    async fn put_in_place(self: &Arc<Self>, table: &Compacting, total: &mut Compacted) -> Result<()> {
        let Compacting { definition, old, new, .. } = table;
        self.reached(Step::Rewritten)?;
        let replaced = {
            let _turn = self.committing.lock().await;
            self.tables.replace(definition, old, new, false, self.config.clock.now()).await?
        };
        self.reached(Step::Replaced)?;
        if !replaced {
            for file in new {
                self.lake.remove(&file.path).await?;
            }
            return Err(Error::conflict(format!(
                "somebody else changed the files of \"{}\" while they were compacted; try again",
                definition.id
            )));
        }
        total.files_before += old.len() as u64;
        total.files_after += new.len() as u64;
        total.rows += old.iter().map(|file| file.rows).sum::<u64>();
        Ok(())
    }
}

/// A table whose files are being rewritten.
struct Compacting {
    definition: Arc<Definition>,
    /// Rewrites that are not done yet.
    left: usize,
    old: Vec<DataFile>,
    new: Vec<FileRecord>,
}

/// Writes what the inputs become; durable when this returns. When it fails, what it wrote are orphans, which the next
/// start-up removes.
fn rewrite(layout: &Layout, definition: &Definition, rewrite: &Rewrite) -> Result<Vec<FileRecord>> {
    let rows: u64 = rewrite.inputs.iter().map(|file| file.rows).sum();
    let rows_each = usize::try_from(rows.div_ceil(rewrite.outputs)).unwrap_or(usize::MAX).max(1);
    let id = definition.id.as_str();
    let mut files = Vec::new();
    let mut open: Option<(String, DataFileWriter, usize)> = None;
    let inputs: Vec<PathBuf> = rewrite.inputs.iter().map(|file| layout.local(&file.path)).collect();
    let (schema, times) = shape::of_files(Columns::of(definition).file_schema(), &inputs)?;
    let schema = &schema;
    merge::merge(&inputs, schema, |rows: &RecordBatch| {
        let mut from = 0;
        while from < rows.num_rows() {
            let (path, mut writer, left) = match open.take() {
                Some(open) => open,
                None => {
                    let name = format!("c-{}", uuid::Uuid::new_v4().simple());
                    let path = layout::data_path(id, rewrite.day, &name)?;
                    let writer = DataFileWriter::create(&layout.local(&path), schema, rows_each, times)?;
                    let writer = writer.with_sidecar(layout.sidecar(&path), rows_each);
                    (path, writer, rows_each)
                }
            };
            let count = left.min(rows.num_rows() - from);
            writer.write(&rows.slice(from, count))?;
            from += count;
            if count == left {
                files.push(write::record(id, rewrite.day, path, writer.finish()?));
            } else {
                open = Some((path, writer, left - count));
            }
        }
        Ok(())
    })?;
    if let Some((path, writer, _)) = open {
        files.push(write::record(id, rewrite.day, path, writer.finish()?));
    }
    if let Some(folder) = files.first().map(|file| layout.local(&file.path))
        && let Some(folder) = folder.parent()
    {
        object::sync_folder(folder)?;
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Micros;

    fn file(day: i32, name: &str, bytes: u64) -> DataFile {
        let path = format!("pageView/day={day}/{name}.parquet");
        let bound = (Micros(0), Micros(0));
        DataFile { path, bytes, rows: bytes, day: Day(day), persons: (1, 1), times: bound }
    }

    fn names(rewrite: &Rewrite) -> Vec<&str> {
        rewrite.inputs.iter().map(|file| file.path.rsplit('/').next().unwrap_or_default()).collect()
    }

    #[test]
    fn a_day_of_one_file_is_left_alone_however_small() {
        assert_eq!(pick(&[file(1, "a", 1), file(2, "b", 500)], 100), []);
    }

    #[test]
    fn a_day_that_fits_into_one_file_becomes_one() {
        let picked = pick(&[file(1, "a", 60), file(1, "b", 30), file(2, "c", 5)], 100);
        assert_eq!(picked.len(), 1);
        assert_eq!((picked[0].day, picked[0].outputs), (Day(1), 1));
        assert_eq!(names(&picked[0]), ["b.parquet", "a.parquet"]);
    }

    #[test]
    fn of_a_large_day_only_small_files_are_rewritten() {
        let files = [file(1, "a", 120), file(1, "b", 60), file(1, "c", 3), file(1, "d", 4)];
        let picked = pick(&files, 100);
        assert_eq!(names(&picked[0]), ["c.parquet", "d.parquet"]);
        assert_eq!(pick(&files[..3], 100), []);
    }

    #[test]
    fn many_small_files_become_files_near_the_target() {
        let files: Vec<_> = (0..40).map(|number| file(1, &format!("{number:02}"), 10)).collect();
        let picked = pick(&files, 100);
        assert_eq!((picked[0].inputs.len(), picked[0].outputs), (40, 4));
    }

    #[test]
    fn rewriting_comes_to_an_end_for_any_sizes() {
        let mut sizes: Vec<u64> = (0..500).map(|number| (number * 7919) % 130).collect();
        let target = 100;
        for round in 0.. {
            assert!(round < 20, "still something to do with {sizes:?}");
            let files: Vec<_> =
                (0..).zip(&sizes).map(|(at, size)| file(1, &format!("{at:03}"), *size)).collect();
            let Some(picked) = pick(&files, target).pop() else {
                break;
            };
            let total: u64 = picked.inputs.iter().map(|file| file.bytes).sum();
            assert!(picked.outputs < picked.inputs.len() as u64);
            sizes =
                files.iter().filter(|file| !picked.inputs.contains(file)).map(|file| file.bytes).collect();
            sizes.extend((0..picked.outputs).map(|_| total / picked.outputs));
        }
        assert!(sizes.iter().filter(|size| **size < target / 2).count() <= 1, "{sizes:?}");
    }
}
