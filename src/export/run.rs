//! Runs an export: what was asked, what was done of it already, and the report of what is there in the end.
//!
//! When `run` returns well, exactly the files that the manifest names are under the request's name, each row of the
//! snapshot in one of them. When it fails or is dropped, files may be there and the manifest is not; the same request
//! then goes on where it stopped. Memory: a fixed room for rows that are sorted (the rest waits on the disk), four bytes for
//! each row of a day, and the compressed rows of the files that are not yet written.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::ObjectStore;
use uuid::Uuid;

use crate::error::Error;
use crate::error::Result;
use crate::export::manifest::Asked;
use crate::export::manifest::ExportedFile;
use crate::export::manifest::Manifest;
use crate::export::plan::ExportRequest;
use crate::export::plan::FileSpan;
use crate::export::plan::Plan;
use crate::export::plan::Splitter;
use crate::export::plan::reached;
use crate::export::publish;
use crate::export::state::NO_ROWS;
use crate::export::target::Target;
use crate::export::writer::Writer;
use crate::storage::snapshot::Snapshot;
use crate::time::Micros;
use crate::time::TimeRange;

/// How far an export has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub rows: u64,
    /// Rows in the files that are read; not all of them need lie in the range.
    pub rows_at_most: u64,
    /// Compressed bytes of files that are published.
    pub bytes: u64,
}

/// Told how far an export has come, some times a second, from the task that runs it; must be quick.
pub trait ExportProgress: fmt::Debug + Send + Sync {
    fn advanced(&self, progress: Progress);
}

/// For those who do not look.
#[derive(Clone, Copy, Debug)]
pub struct NoProgress;

impl ExportProgress for NoProgress {
    fn advanced(&self, _: Progress) {}
}

/// Told of each file before it is put, and once it is there and whole; an attempt that follows is handed those files
/// again, the former to look for.
pub(crate) trait Journal: fmt::Debug + Send + Sync {
    fn intended(&self, file: &PublishedFile) -> Result<()>;

    fn published(&self, file: &PublishedFile) -> Result<()>;
}

/// A file that is there and whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublishedFile {
    pub(crate) file: ExportedFile,
    pub(crate) span: FileSpan,
    pub(crate) rows_by_definition: BTreeMap<String, u64>,
}

/// What an export wrote, or had written before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportReport {
    pub request_id: String,
    /// The name of the manifest, beside the files.
    pub manifest: String,
    pub files: Vec<ExportedFile>,
    pub rows: u64,
    /// Compressed.
    pub bytes: u64,
    pub rows_by_definition: BTreeMap<String, u64>,
    /// The same request was complete already; nothing was written.
    pub repeated: bool,
    /// For people.
    pub message: String,
}

/// One attempt at an export.
#[derive(Debug)]
pub(crate) struct ExportJob {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) lake: Arc<dyn ObjectStore>,
    pub(crate) target: Target,
    pub(crate) request: ExportRequest,
    /// Events with greater numbers are left out, so that every attempt has the same rows.
    pub(crate) seen: Option<i64>,
    /// What earlier attempts published.
    pub(crate) done: Vec<PublishedFile>,
    pub(crate) journal: Option<Arc<dyn Journal>>,
    /// The folder for rows that do not fit in memory.
    pub(crate) spill: PathBuf,
    /// At most so many of the runtime's blocking threads are busy with this.
    pub(crate) threads: usize,
    pub(crate) progress: Arc<dyn ExportProgress>,
}

/// Exports the rows of a snapshot. Must run inside a Tokio runtime.
///
/// A request id that has a manifest writes nothing and gives the same report again.
///
/// Fails with `Invalid` or `NotFound` for a bad request, with `Conflict` when the request id was used for another
/// request or its files differ from these rows, and as the store says when it cannot be read or written.
pub(crate) fn run(job: ExportJob) -> BoxFuture<'static, Result<ExportReport>> {
    export(job).boxed()
}

async fn export(job: ExportJob) -> Result<ExportReport> {
    let asked = Asked::of(&job.request);
    let request_id = job.request.request_id.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
    let range = job.request.range;
    let spans: Vec<FileSpan> = job.done.iter().map(|file| file.span).collect();
    let (from, whole) = reached(range.start.0.div_euclid(1_000), &spans);
    let from = Micros(from * 1_000);
    let plan = Plan::of(&job.snapshot, &job.request, from)?;
    let manifest_name = Manifest::name(&request_id);
    let manifest_path = job.target.prefix.clone().join(manifest_name.as_str());
    if let Some(json) = publish::read(&job.target, &manifest_path).await? {
        let there = Manifest::from_json(&manifest_name, &json)?;
        if there.request != asked || there.request_id != request_id {
            return Err(Error::conflict(format!(
                "the request id \"{request_id}\" was used for another export; give another one"
            )));
        }
        return Ok(report(there, true));
    }
    let rows_per_file = job.request.limits.rows_per_file;
    let mut writer = Writer::new(job, request_id, plan.rows_at_most, &whole)?;
    writer.learn_flows().await?;
    let mut splitter = Splitter::new(TimeRange { start: from, end: range.end }, rows_per_file);
    let range = TimeRange { start: from, end: range.end };
    let mut days = plan.days.into_iter();
    let mut ahead = days.next().map(|day| writer.sort(day, range));
    while let Some(day) = ahead {
        let sorted = day.sorted().await?;
        ahead = days.next().map(|day| writer.sort(day, range));
        writer.day(sorted, &mut splitter, ahead.is_none()).await?;
    }
    if let Some(span) = splitter.finish() {
        writer.close(span)?;
    }
    let manifest = writer.finish(asked).await?;
    Ok(report(manifest, false))
}

fn report(manifest: Manifest, repeated: bool) -> ExportReport {
    let message = match (manifest.rows, manifest.files.len()) {
        (0, _) => NO_ROWS.to_owned(),
        (rows, files) => {
            let plural = |count| if count == 1 { "" } else { "s" };
            let already = if repeated { "; they were there already" } else { "" };
            format!(
                "{rows} event{} in {files} file{}{already}",
                plural(rows),
                plural(u64::try_from(files).unwrap_or(2))
            )
        }
    };
    ExportReport {
        manifest: Manifest::name(&manifest.request_id),
        request_id: manifest.request_id,
        files: manifest.files,
        rows: manifest.rows,
        bytes: manifest.bytes,
        rows_by_definition: manifest.rows_by_definition,
        repeated,
        message,
    }
}

#[cfg(test)]
mod tests;
