//! Removes data files that no table has any more: orphans of a crash at once, replaced files after a time of grace, for
//! readers in other processes may still be at them.

use std::collections::HashSet;
use std::time::Duration;

use crate::error::Result;
use crate::storage::FileRecord;
use crate::storage::Storage;
use crate::storage::delta::Tables;
use crate::storage::lake::Lake;
use crate::storage::sidecar;
use crate::time::Micros;

impl Storage {
    /// Removes files that compaction replaced longer than `grace` ago and that no snapshot of this process holds.
    /// Returns how many.
    ///
    /// # Errors
    /// `Invalid` when the directory is open for reading only.
    pub async fn vacuum(&self, grace: Duration) -> Result<usize> {
        self.writer()?;
        let _alone = (self.compacting.lock().await, self.committing.lock().await);
        self.sweep(grace).await
    }

    /// For a caller that has both turns.
    pub(crate) async fn sweep(&self, grace: Duration) -> Result<usize> {
        let mut held = self.view.live_files();
        for batch in self.catalog.unpublished_batches()? {
            for json in &batch.files {
                held.insert(FileRecord::from_json(json)?.path);
            }
        }
        sweep(&self.lake, &self.tables, grace, self.config.clock.now(), &held).await
    }
}

/// Removes every data file that its table neither has nor lost within the time of grace, except those that are `held`.
/// Nobody may be writing files meanwhile, and all recorded batches must be published or held.
pub(crate) async fn sweep(
    lake: &Lake,
    tables: &Tables,
    grace: Duration,
    now: Micros,
    held: &HashSet<String>,
) -> Result<usize> {
    let grace = i64::try_from(grace.as_micros()).unwrap_or(i64::MAX);
    let mut removed = 0;
    for definition in tables.list().await? {
        let mut kept = HashSet::new();
        if let Some(table) = tables.load(&definition).await? {
            kept.extend(table.files()?.into_iter().map(|file| file.path));
            let lately = table.removed().await?;
            let lately = lately.into_iter().filter(|(_, at)| now.0.saturating_sub(at.0) < grace);
            kept.extend(lately.map(|(path, _)| path));
        }
        for path in lake.data_files(&definition).await? {
            if !kept.contains(&path) && !held.contains(&path) {
                lake.remove(&path).await?;
                removed += 1;
            }
        }
        sidecar::sweep(lake.layout(), &definition, &kept, held)?;
    }
    Ok(removed)
}
