//! Exports as requests: taken, numbered in the catalog, worked on one after the other, told, cancelled, taken up again.
//!
//! The first attempt fixes which events the export has (by their `seq`) and which persons are one; each file is noted
//! before it is put and once it is there. So an attempt that follows, in this process or the next, writes the rest of the
//! same set of files.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::Notify;
use uuid::Uuid;

use crate::error::Context;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::export::manifest::ExportedFile;
use crate::export::order::ExportOrder;
use crate::export::order::ExportRules;
use crate::export::order::hours;
use crate::export::plan::FileSpan;
use crate::export::plan::check_request_id;
use crate::export::publish;
use crate::export::run::ExportJob;
use crate::export::run::ExportProgress;
use crate::export::run::ExportReport;
use crate::export::run::Journal;
use crate::export::run::PublishedFile;
use crate::export::run::run;
use crate::export::state::Begin;
use crate::export::state::Ended;
use crate::export::state::ExportStatus;
use crate::export::state::Retries;
use crate::export::state::Standing;
use crate::export::target::Target;
use crate::person::Aliases;
use crate::storage::Storage;
use crate::storage::catalog::AddedExport;
use crate::storage::catalog::ExportFileRow;
use crate::storage::catalog::ExportRow;
use crate::storage::snapshot::Snapshot;
use crate::time::Micros;

/// How often, and after how long, to look whether a batch has come into the lake.
const PATIENCE: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// A request, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportState {
    pub request_id: String,
    pub status: ExportStatus,
    pub message: Option<String>,
    pub order: ExportOrder,
    pub schedule: Option<String>,
    /// Published so far; the manifest is not one of the files.
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
    pub attempts: u32,
    /// The greatest `seq` among its events.
    pub seen: Option<i64>,
    /// Events of the range that came after it.
    pub late: u64,
    pub submitted_at: Micros,
    pub retry_at: Option<Micros>,
    pub finished_at: Option<Micros>,
}

/// What a look at one request led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Worked {
    /// An attempt was made; the report, when it went well.
    Attempted(Option<ExportReport>),
    /// Nothing to do before that moment.
    NotBefore(Micros),
    /// It is over.
    Over,
}

/// All requests of one open store.
#[derive(Debug)]
pub struct Exports {
    storage: Arc<Storage>,
    threads: usize,
    retries: Retries,
    /// Those that this process works on; each is woken when somebody cancels it.
    running: Mutex<BTreeMap<String, Arc<Notify>>>,
}

/// This process works on a request, until this is dropped.
struct Running<'a> {
    exports: &'a Exports,
    id: &'a str,
    cancelled: Arc<Notify>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.exports.running().remove(self.id);
    }
}

impl Exports {
    pub fn new(storage: Arc<Storage>, threads: usize, retries: Retries) -> Self {
        Self { storage, threads, retries, running: Mutex::default() }
    }

    pub(crate) fn storage(&self) -> &Arc<Storage> {
        &self.storage
    }

    /// Takes a request; its id. The same request under the same id again is the request that is there already.
    ///
    /// # Errors
    /// `Invalid` and `NotFound` for what it asks, `Conflict` when the id stands for another request, `TooMany` when
    /// too much is in progress.
    pub fn submit(&self, order: ExportOrder, rules: &ExportRules) -> Result<String> {
        self.storage.writer()?;
        let now = self.storage.now();
        let mut order = order;
        rules.check(&order, now)?;
        order.destination = order.destination.absolute()?;
        self.check_definitions(&order, rules)?;
        let id = order.request_id.take().unwrap_or_else(|| Uuid::new_v4().to_string());
        check_request_id(&id)?;
        let row = ExportRow {
            id: id.clone(),
            request: serde_json::to_string(&order)
                .internal(|| "could not write down an export".to_owned())?,
            start: Micros(order.start),
            end: Micros(order.end),
            status: ExportStatus::Submitted.as_str().to_owned(),
            submitted_at: now,
            ..ExportRow::default()
        };
        match self.storage.catalog().add_export(&row, rules.in_progress)? {
            AddedExport::Added => Ok(id),
            AddedExport::Known(known) if known.request == row.request => Ok(id),
            AddedExport::Known(_) => Err(Error::conflict(format!(
                "the request id \"{id}\" was used for another export; give another one"
            ))),
            AddedExport::TooMuch(open) => Err(Error::new(
                Kind::TooMany,
                format!(
                    "{} hours of export are in progress and at most {} may be; wait until some are done, or lift the limit \
                     with --unlimited",
                    hours(open),
                    hours(rules.in_progress.unwrap_or_default())
                ),
            )),
        }
    }

    pub(crate) fn check_definitions(&self, order: &ExportOrder, rules: &ExportRules) -> Result<()> {
        let registry = self.storage.registry();
        let mut named: Vec<String> = Vec::new();
        for pattern in &order.definitions {
            named.extend(registry.matching(pattern)?.into_iter().map(|one| one.id.to_string()));
        }
        named.sort_unstable();
        named.dedup();
        match rules.definitions {
            Some(most) if named.len() > most => Err(Error::invalid(format!(
                "an export names at most {most} definitions, and these patterns name {}",
                named.len()
            ))),
            _ => Ok(()),
        }
    }

    /// How a request stands.
    ///
    /// # Errors
    /// `NotFound` when there is none of this id.
    pub fn status(&self, id: &str) -> Result<ExportState> {
        let row = self.storage.catalog().export(id)?.ok_or_else(|| unknown(id))?;
        let files = self.storage.catalog().export_files(id, true)?.len();
        Ok(ExportState { files: u64::try_from(files).unwrap_or(u64::MAX), ..state(row)? })
    }

    /// All requests in the order in which they were submitted.
    pub fn list(&self) -> Result<Vec<ExportState>> {
        let files = self.storage.catalog().count_export_files()?;
        let state = |row: ExportRow| {
            Ok(ExportState { files: files.get(&row.id).copied().unwrap_or_default(), ..state(row)? })
        };
        self.storage.catalog().exports()?.into_iter().map(state).collect()
    }

    /// Asks to cancel a request. What this process works on stops soon; anything else is cancelled when this returns.
    ///
    /// # Errors
    /// `NotFound` when there is none of this id, `Conflict` when it is over.
    pub fn cancel(&self, id: &str) -> Result<ExportState> {
        self.storage.writer()?;
        let now = self.storage.now();
        let running = self.running().get(id).cloned();
        let changed = self
            .storage
            .catalog()
            .change_export(id, |row| change(row, |standing| standing.cancel(running.is_some(), now)))?;
        let (row, cancelled) = changed.ok_or_else(|| unknown(id))?;
        cancelled??;
        if let Some(running) = running {
            running.notify_one();
        }
        state(row)
    }

    /// Works on everything that is due, one after the other: intervals of schedules, requests, retries. How many
    /// attempts were made, and when the next is due; the work of a server's background task.
    pub async fn run_due(&self, progress: Arc<dyn ExportProgress>) -> Result<(usize, Option<Micros>)> {
        self.storage.writer()?;
        let (_, mut next) = self.queue_due()?;
        let mut attempts = 0;
        for row in self.storage.catalog().open_exports()? {
            match self.work(&row.id, Arc::clone(&progress)).await? {
                Worked::Attempted(_) => {
                    attempts += 1;
                    let retry_at = self.status(&row.id)?.retry_at;
                    next = next.into_iter().chain(retry_at).min();
                }
                Worked::NotBefore(at) => next = next.into_iter().chain([at]).min(),
                Worked::Over => {}
            }
        }
        self.count_late().await?;
        Ok((attempts, next))
    }

    /// Makes one attempt at a request, if it is due. What came of it is noted; an error means that it could not be.
    ///
    /// # Errors
    /// `Conflict` when this process works on it already, `NotFound` when there is none of this id.
    pub async fn work(&self, id: &str, progress: Arc<dyn ExportProgress>) -> Result<Worked> {
        self.storage.writer()?;
        let running = self.enter(id)?;
        let catalog = self.storage.catalog();
        // In this order: a snapshot that is taken later has all of these.
        let seen = seq_seen(&self.storage).await?;
        let (now, merges) = (self.storage.now(), catalog.last_merge()?);
        let changed = catalog.change_export(id, |row| {
            let begin = change(row, |standing| standing.begin(now))?;
            if begin == Begin::Run {
                row.seen = row.seen.or(seen);
                row.merges = row.merges.or(Some((merges, now)));
            }
            Ok::<_, Error>(begin)
        })?;
        let (row, begin) = changed.ok_or_else(|| unknown(id))?;
        match begin? {
            Begin::Over => return Ok(Worked::Over),
            Begin::NotBefore(at) => return Ok(Worked::NotBefore(at)),
            Begin::Run => {}
        }
        catalog.begin_export_attempt(id, row.attempts, now)?;
        let result = tokio::select! {
            result = self.attempt(&row, progress) => Some(result),
            () = running.cancelled.notified() => None,
        };
        let now = self.storage.now();
        let reason = result.as_ref().and_then(|result| result.as_ref().err()).map(Error::to_string);
        let ended = match &result {
            None => Ended::LetGo,
            Some(Ok(report)) => Ended::Done { rows: report.rows },
            Some(Err(error)) => {
                let reason = reason.as_deref().unwrap_or_default();
                match error.kind() {
                    Kind::Invalid | Kind::NotFound | Kind::Conflict => Ended::ForGood(reason),
                    _ => Ended::MayPass(reason),
                }
            }
        };
        let done = result.and_then(Result::ok);
        catalog.change_export(id, |row| {
            if let Some(report) = &done {
                (row.rows, row.bytes) = (report.rows, report.bytes);
            }
            change(row, |standing| standing.end(ended, self.retries, now))
        })?;
        let outcome = match ended {
            Ended::Done { .. } => "done",
            Ended::LetGo => "cancelled",
            Ended::MayPass(reason) | Ended::ForGood(reason) => reason,
        };
        catalog.end_export_attempt(id, row.attempts, now, outcome)?;
        Ok(Worked::Attempted(done))
    }

    async fn attempt(&self, row: &ExportRow, progress: Arc<dyn ExportProgress>) -> Result<ExportReport> {
        let order = order_of(row)?;
        let target = Target::open(&order.destination).await?;
        let done = self.published_files(&row.id, &target).await?;
        run(ExportJob {
            snapshot: self.snapshot_of(row).await?,
            lake: self.storage.object_store(),
            target,
            request: order.request(&row.id, None),
            seen: row.seen,
            done,
            journal: Some(Arc::new(Noted { storage: Arc::clone(&self.storage), id: row.id.clone() })),
            spill: self.storage.layout().spill(),
            threads: self.threads,
            progress,
        })
        .await
    }

    /// The store as it is now, with persons merged as the first attempt saw them.
    async fn snapshot_of(&self, row: &ExportRow) -> Result<Arc<Snapshot>> {
        let snapshot = self.storage.snapshot().await?;
        let Some((number, at)) = row.merges else { return Ok(snapshot) };
        let Some(merges) = self.storage.catalog().merges_then(number, at)? else { return Ok(snapshot) };
        let persons = Arc::new(snapshot.persons.merged_as(Aliases::of(merges)));
        Ok(Arc::new(Snapshot { persons, ..Snapshot::clone(&snapshot) }))
    }

    /// What earlier attempts published. Files that were on their way when one was cut off are looked for: what is there
    /// stays, whatever has changed since.
    async fn published_files(&self, id: &str, target: &Target) -> Result<Vec<PublishedFile>> {
        let catalog = self.storage.catalog();
        for file in catalog.export_files(id, false)? {
            let path = target.prefix.clone().join(file.name.as_str());
            if publish::is_there(target, &path, file.bytes, &file.sha256).await? {
                catalog.add_export_file(id, &file, true)?;
            }
        }
        catalog.export_files(id, true)?.iter().map(published).collect()
    }

    fn enter<'a>(&'a self, id: &'a str) -> Result<Running<'a>> {
        let mut running = self.running();
        if running.contains_key(id) {
            return Err(Error::conflict(format!("the export \"{id}\" is being worked on")));
        }
        let cancelled = Arc::new(Notify::new());
        running.insert(id.to_owned(), Arc::clone(&cancelled));
        Ok(Running { exports: self, id, cancelled })
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Notify>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes files in the catalog.
#[derive(Debug)]
struct Noted {
    storage: Arc<Storage>,
    id: String,
}

impl Journal for Noted {
    fn intended(&self, file: &PublishedFile) -> Result<()> {
        self.note(file, false)
    }

    fn published(&self, file: &PublishedFile) -> Result<()> {
        self.note(file, true)
    }
}

impl Noted {
    fn note(&self, file: &PublishedFile, there: bool) -> Result<()> {
        let counts = serde_json::to_string(&file.rows_by_definition)
            .internal(|| "could not write down a file".to_owned())?;
        self.storage.catalog().add_export_file(
            &self.id,
            &ExportFileRow {
                name: file.file.name.clone(),
                start_milli: file.span.start,
                end_milli: file.span.end,
                part: i64::try_from(file.span.part).unwrap_or(i64::MAX),
                closes: file.span.closes,
                rows: file.file.rows,
                bytes: file.file.bytes,
                sha256: file.file.sha256.clone(),
                counts,
            },
            there,
        )
    }
}

fn published(row: &ExportFileRow) -> Result<PublishedFile> {
    let time = |milli: i64| Micros(milli.saturating_mul(1_000)).export_form().to_string();
    Ok(PublishedFile {
        file: ExportedFile {
            name: row.name.clone(),
            start_time: time(row.start_milli),
            end_time: time(row.end_milli),
            rows: row.rows,
            bytes: row.bytes,
            sha256: row.sha256.clone(),
        },
        span: FileSpan {
            start: row.start_milli,
            end: row.end_milli,
            part: usize::try_from(row.part).unwrap_or_default(),
            closes: row.closes,
        },
        rows_by_definition: serde_json::from_str(&row.counts)
            .internal(|| format!("the catalog does not know what is in \"{}\"", row.name))?,
    })
}

/// The number of an event such that every snapshot from now on has it and all before it; none beside a writer, who may
/// have events that are not in files yet.
pub(crate) async fn seq_seen(storage: &Storage) -> Result<Option<i64>> {
    if storage.writer().is_err() {
        return Ok(None);
    }
    for _ in 0..PATIENCE {
        let last = storage.last_seq();
        if storage.catalog().unpublished_batches()?.is_empty() {
            return Ok(Some(last));
        }
        // A batch is on its way into the lake, which takes no longer than a few files.
        tokio::time::sleep(PAUSE).await;
    }
    storage.catalog().published_seq().map(Some)
}

fn unknown(id: &str) -> Error {
    Error::not_found(format!("there is no export \"{id}\"; milepost export list shows all"))
}

pub(crate) fn order_of(row: &ExportRow) -> Result<ExportOrder> {
    serde_json::from_str(&row.request)
        .internal(|| format!("the catalog holds an export \"{}\" that cannot be read", row.id))
}

fn standing_of(row: &ExportRow) -> Result<Standing> {
    Ok(Standing {
        status: row.status.parse()?,
        message: row.message.clone(),
        attempts: row.attempts,
        failures: row.failures,
        cancel_at: row.cancel_at,
        retry_at: row.retry_at,
        finished_at: row.finished_at,
    })
}

/// Lets the state machine change a row.
fn change<T>(row: &mut ExportRow, change: impl FnOnce(&mut Standing) -> T) -> Result<T> {
    let mut standing = standing_of(row)?;
    let said = change(&mut standing);
    row.status = standing.status.as_str().to_owned();
    row.message = standing.message;
    row.attempts = standing.attempts;
    row.failures = standing.failures;
    row.cancel_at = standing.cancel_at;
    row.retry_at = standing.retry_at;
    row.finished_at = standing.finished_at;
    Ok(said)
}

fn state(row: ExportRow) -> Result<ExportState> {
    let (status, message) = standing_of(&row)?.told();
    Ok(ExportState {
        order: order_of(&row)?,
        request_id: row.id,
        status,
        message,
        schedule: row.schedule,
        files: 0,
        rows: row.rows,
        bytes: row.bytes,
        attempts: row.attempts,
        seen: row.seen,
        late: row.late,
        submitted_at: row.submitted_at,
        retry_at: row.retry_at,
        finished_at: row.finished_at,
    })
}

#[cfg(test)]
mod tests;
