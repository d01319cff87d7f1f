//! Makes, counts, checks and removes the sidecars of a data directory.

use std::collections::HashSet;
use std::fs;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::error::Context;
use crate::error::Result;
use crate::schema::OCCURRED_TIME;
use crate::schema::PERSON_ID;
use crate::schema::SEQ;
use crate::storage::DataFile;
use crate::storage::Layout;
use crate::storage::Storage;
use crate::storage::TableFiles;
use crate::storage::keys::SortKeys;
use crate::storage::layout;
use crate::storage::object;
use crate::storage::pool;
use crate::storage::shape::Times;
use crate::storage::sidecar::Builder;
use crate::storage::sidecar::Sidecar;

/// What the sidecars of some files amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Indexed {
    /// Files that have one.
    pub files: u64,
    /// Bytes of the sections of persons, and of those of events.
    pub persons_bytes: u64,
    pub events_bytes: u64,
}

impl Indexed {
    pub fn bytes(&self) -> u64 {
        self.persons_bytes + self.events_bytes
    }
}

/// Writes a sidecar. It is derived, so a failure is only a file without one.
pub(crate) fn write(path: &Path, bytes: &[u8]) {
    let written = fs::write(path, bytes).or_else(|error| match (error.kind(), path.parent()) {
        (std::io::ErrorKind::NotFound, Some(folder)) => {
            fs::create_dir_all(folder)?;
            fs::write(path, bytes)
        }
        _ => Err(error),
    });
    if written.is_err() {
        // A torn one would be passed over as well; this one does not take up space.
        let _ = object::remove_file(path);
    }
}

/// Removes a data file and its sidecar; that either is gone already is fine.
pub(crate) fn remove_with(layout: &Layout, path: &str) -> Result<()> {
    // The sidecar first: it must not outlive the events that it tells of.
    if let Some(sidecar) = layout.sidecar(path) {
        object::remove_file(&sidecar)?;
    }
    object::remove_file(&layout.local(path))
}

/// Makes the sidecar of a data file from the file.
fn sidecar_of(layout: &Layout, file: &DataFile) -> Result<Option<Vec<u8>>> {
    let path = layout.local(&file.path);
    let doing = || format!("the data file \"{}\" cannot be read", path.display());
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unavailable(doing)?).unavailable(doing)?;
    let micros = builder.schema().field_with_name(OCCURRED_TIME).internal(doing)?;
    let times = Times::of_field(micros);
    let mask = ProjectionMask::columns(builder.parquet_schema(), [PERSON_ID, OCCURRED_TIME, SEQ]);
    let mut made = Builder::new(usize::try_from(file.rows).unwrap_or(0), times);
    for rows in builder.with_projection(mask).build().unavailable(doing)? {
        made.take(&SortKeys::of(&rows.unavailable(doing)?)?);
    }
    Ok(made.finish(file.bytes))
}

fn on_disk<'a>(tables: impl Iterator<Item = &'a Arc<TableFiles>>) -> Vec<DataFile> {
    let files = tables.flat_map(|table| &table.files);
    files.filter(|file| !layout::is_buffer(&file.path)).cloned().collect()
}

impl Storage {
    /// Makes the sidecars that are missing, torn or stale; says how many. Nobody may rewrite files meanwhile.
    pub(crate) async fn index_missing(self: &Arc<Self>) -> Result<u64> {
        let snapshot = self.snapshot().await?;
        let storage = Arc::clone(self);
        let work = move || {
            let mut files = on_disk(snapshot.tables.values());
            // What lies in a bucket got its sidecar when it was written here, or does without.
            files.retain(|file| {
                let is_here = storage.layout.local(&file.path).try_exists().unwrap_or(false);
                is_here && file.rows > 0 && storage.index.head(file).is_none()
            });
            let made = pool::run(storage.config.threads, files, |file| {
                let Some(path) = storage.layout.sidecar(&file.path) else { return Ok(0_u64) };
                let Some(bytes) = sidecar_of(&storage.layout, &file)? else { return Ok(0) };
                write(&path, &bytes);
                storage.index.forget([file.path.as_str()]);
                Ok(1)
            })?;
            Ok(made.into_iter().sum())
        };
        tokio::task::spawn_blocking(work).await.internal(|| "the making of indexes broke off".to_owned())?
    }

    /// What the sidecars of a table's files amount to.
    pub fn indexed(&self, table: &TableFiles) -> Indexed {
        let mut all = Indexed::default();
        for head in table.files.iter().filter_map(|file| self.index.head(file)) {
            let (persons, events) = head.section_bytes();
            all.files += 1;
            all.persons_bytes += persons;
            all.events_bytes += events;
        }
        all
    }

    /// What is wrong with the sidecar of a file: it is removed, for it is made anew from the file. `None` when it has
    /// one that says what the file says, or has none.
    pub(crate) fn verify_sidecar(&self, file: &DataFile) -> Result<Option<String>> {
        let Some(path) = self.layout.sidecar(&file.path) else { return Ok(None) };
        let found = match fs::read(&path) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).unavailable(|| format!("\"{}\" cannot be read", path.display())),
        };
        if !self.layout.local(&file.path).try_exists().unwrap_or(false) {
            return Ok(None);
        }
        let right = sidecar_of(&self.layout, file)?;
        if right.as_deref() == Some(&found[..]) {
            return Ok(None);
        }
        let what = if Sidecar::read(found).is_some() { "says something else than it" } else { "is damaged" };
        object::remove_file(&path)?;
        self.index.forget([file.path.as_str()]);
        Ok(Some(format!("{}: its index {what} and is removed; milepost compact makes it anew", file.path)))
    }
}

/// Removes the sidecars of a definition whose data files are neither `kept` nor `held`.
pub(crate) fn sweep(
    layout: &Layout,
    definition: &str,
    kept: &HashSet<String>,
    held: &HashSet<String>,
) -> Result<()> {
    let folder = layout.index().join(definition);
    for day in names(&folder)? {
        let within = folder.join(&day);
        let mut left = 0;
        for name in names(&within)? {
            let path = layout::data_of_sidecar(definition, &day, &name);
            if path.is_some_and(|path| kept.contains(&path) || held.contains(&path)) {
                left += 1;
            } else {
                object::remove_file(&within.join(&name))?;
            }
        }
        if left == 0 {
            // Somebody may be writing into it: then it stays.
            let _ = fs::remove_dir(&within);
        }
    }
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let doing = || format!("could not list \"{}\"", folder.display());
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).unavailable(doing),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.unavailable(doing)?.file_name().into_string().ok());
    }
    Ok(names)
}
