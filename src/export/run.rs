//! Runs an export: day by day, reads a snapshot's files, orders the rows, compresses them on several threads, and
//! publishes each file whole; the manifest comes last.
//!
//! When `run` returns well, exactly the files that the manifest names are under the request's name, each row of the
//! snapshot in one of them. When it fails or is dropped, files may be there and the manifest is not; the same request
//! over the same snapshot then goes on where it stopped. Memory: the columns of one day, and the compressed rows of
//! the files that are not yet written.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::FutureExt;
use futures::StreamExt;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use futures::stream;
use futures::stream::FuturesUnordered;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use uuid::Uuid;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::export::day::DayRows;
use crate::export::day::OpenedFile;
use crate::export::gzip;
use crate::export::gzip::Deflater;
use crate::export::gzip::Segment;
use crate::export::json::Part;
use crate::export::json::RowShape;
use crate::export::manifest::Asked;
use crate::export::manifest::ExportedFile;
use crate::export::manifest::Manifest;
use crate::export::plan::ExportRequest;
use crate::export::plan::FileSpan;
use crate::export::plan::Plan;
use crate::export::plan::PlannedDay;
use crate::export::plan::PlannedFile;
use crate::export::plan::Splitter;
use crate::export::plan::name_prefix;
use crate::export::publish;
use crate::person::Persons;
use crate::storage::snapshot::Snapshot;
use crate::time::Micros;
use crate::time::TimeRange;

/// Rows that one thread compresses at a time; a segment costs a little compression where it begins.
const SEGMENT_ROWS: usize = 4_096;
/// Text that is handed to the compressor at once.
const CHUNK_BYTES: usize = 128 << 10;
/// Files that are written at the same time.
const MOST_PUTS: usize = 4;

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

/// Exports the rows of a snapshot into the directory `prefix` of `target`.
///
/// Must run inside a Tokio runtime; at most `threads` of its blocking threads are busy with this. A request id that
/// has a manifest writes nothing and gives the same report again.
///
/// Fails with `Invalid` or `NotFound` for a bad request, with `Conflict` when the request id was used for another
/// request or its files differ from these rows, and as the store says when it cannot be read or written.
pub async fn run(
    snapshot: &Snapshot,
    lake: Arc<dyn ObjectStore>,
    target: Arc<dyn ObjectStore>,
    prefix: &Path,
    request: ExportRequest,
    threads: usize,
    progress: Arc<dyn ExportProgress>,
) -> Result<ExportReport> {
    let plan = Plan::of(snapshot, &request)?;
    let asked = Asked::of(&request);
    let request_id = request.request_id.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
    let manifest_name = Manifest::name(&request_id);
    let manifest_path = prefix.clone().join(manifest_name.as_str());
    if let Some(json) = publish::read(target.as_ref(), &manifest_path).await? {
        let there = Manifest::from_json(&manifest_name, &json)?;
        if there.request != asked || there.request_id != request_id {
            return Err(Error::conflict(format!(
                "the request id \"{request_id}\" was used for another export; give another one"
            )));
        }
        return Ok(report(there, true));
    }
    let mut writer = Writer {
        lake,
        target,
        prefix: prefix.clone(),
        request_id,
        request,
        threads: threads.max(1),
        persons: Arc::clone(&snapshot.persons),
        shapes: BTreeMap::new(),
        open: Vec::new(),
        files: Vec::new(),
        rows_by_definition: BTreeMap::new(),
        puts: FuturesUnordered::new(),
        told: Progress { rows_at_most: plan.rows_at_most, ..Progress::default() },
        progress,
        stop: StopOnDrop::default(),
    };
    let mut splitter = Splitter::new(writer.request.range, writer.request.limits.rows_per_file);
    let days = plan.days.len();
    for (nth, day) in plan.days.iter().enumerate() {
        writer.day(day, &mut splitter, nth + 1 == days).await?;
    }
    if let Some(span) = splitter.finish() {
        writer.close(span);
    }
    let manifest = writer.finish(asked).await?;
    Ok(report(manifest, false))
}

fn report(manifest: Manifest, repeated: bool) -> ExportReport {
    let message = match (manifest.rows, manifest.files.len()) {
        (0, _) => "0 events found for the time period queried.".to_owned(),
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

/// Tells the threads of an export that nobody waits for them any more.
#[derive(Debug, Default)]
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An export under way.
struct Writer {
    lake: Arc<dyn ObjectStore>,
    target: Arc<dyn ObjectStore>,
    prefix: Path,
    request_id: String,
    request: ExportRequest,
    threads: usize,
    persons: Arc<Persons>,
    shapes: BTreeMap<String, Arc<RowShape>>,
    /// The file that rows go into now.
    open: Vec<Segment>,
    files: Vec<ExportedFile>,
    rows_by_definition: BTreeMap<String, u64>,
    /// Files on their way; each gives its bytes.
    puts: FuturesUnordered<BoxFuture<'static, Result<u64>>>,
    told: Progress,
    progress: Arc<dyn ExportProgress>,
    stop: StopOnDrop,
}

impl Writer {
    async fn day(&mut self, day: &PlannedDay, splitter: &mut Splitter, last: bool) -> Result<()> {
        let rows = Arc::new(self.read(day).await?);
        let pieces = splitter.day(rows.rows(), |at| rows.milli(at), last);
        let jobs = pieces.into_iter().flat_map(|piece| {
            let end = piece.rows.end;
            let starts = piece.rows.step_by(SEGMENT_ROWS);
            let mut segments: Vec<_> = starts.map(|at| (at..end.min(at + SEGMENT_ROWS), None)).collect();
            match (segments.last_mut(), piece.closes) {
                (Some(last), closes) => last.1 = closes,
                // The rows that were held fill the file as far as it may be filled.
                (None, closes) => segments.push((end..end, closes)),
            }
            segments
        });
        let (persons, stop, level) =
            (Arc::clone(&self.persons), Arc::clone(&self.stop.0), self.request.level);
        let encode = move |(places, closes): (Range<usize>, Option<FileSpan>)| {
            let (rows, persons, stop) = (Arc::clone(&rows), Arc::clone(&persons), Arc::clone(&stop));
            blocking(move || encode(&rows, places, &persons, level, &stop).map(|segment| (segment, closes)))
        };
        let mut segments = stream::iter(jobs).map(encode).buffered(self.threads).boxed();
        loop {
            tokio::select! {
                Some(written) = self.puts.next(), if !self.puts.is_empty() => {
                    let bytes = written?;
                    self.tell(0, bytes);
                }
                next = segments.next(), if self.puts.len() < MOST_PUTS => {
                    let Some(next) = next else { return Ok(()) };
                    let (segment, closes) = next?;
                    self.tell(segment.rows, 0);
                    self.open.push(segment);
                    if let Some(span) = closes {
                        self.close(span);
                    }
                }
            }
        }
    }

    async fn read(&mut self, day: &PlannedDay) -> Result<DayRows> {
        // Boxed, so that the compiler can tell that it may move between threads.
        let open = |planned: PlannedFile| {
            let lake = Arc::clone(&self.lake);
            let opening = async move {
                let bytes = fetch(lake.as_ref(), &planned.file.path).await?;
                blocking(move || Ok((OpenedFile::open(&planned.file.path, bytes)?, planned))).await
            };
            opening.map(|opened| opened.map(|(file, planned)| (planned, file))).boxed()
        };
        let opened: Vec<(PlannedFile, OpenedFile)> =
            stream::iter(day.files.clone()).map(open).buffered(self.threads).try_collect().await?;
        let moments = self.request.enrich_moments;
        let mut jobs = Vec::new();
        for (planned, file) in opened {
            let id = planned.definition.id.as_str().to_owned();
            let shape = self
                .shapes
                .entry(id.clone())
                .or_insert_with(|| Arc::new(RowShape::of(&planned.definition, moments)));
            let range = (!planned.whole).then_some(self.request.range);
            for row_group in 0..file.row_groups() {
                jobs.push(DecodeJob {
                    id: id.clone(),
                    file: file.clone(),
                    row_group,
                    shape: Arc::clone(shape),
                    range,
                });
            }
        }
        let decoded: Vec<_> =
            stream::iter(jobs).map(DecodeJob::run).buffered(self.threads).try_collect().await?;
        let mut parts = Vec::new();
        for (id, some) in decoded {
            let rows: usize = some.iter().map(|part| part.rows()).sum();
            if rows > 0 {
                *self.rows_by_definition.entry(id).or_default() += count(rows);
            }
            parts.extend(some);
        }
        let day = day.day;
        blocking(move || DayRows::order(day, parts)).await
    }

    /// Sends the open file on its way.
    fn close(&mut self, span: FileSpan) {
        let segments = std::mem::take(&mut self.open);
        let rows = segments.iter().map(|segment| segment.rows).sum();
        let pieces = gzip::member(segments, self.request.level);
        let bytes = pieces.iter().map(|piece| count(piece.len())).sum();
        let name = span.name(&self.request_id);
        let path = self.prefix.clone().join(name.as_str());
        let time = |milli: i64| Micros(milli * 1_000).export_form().to_string();
        self.files.push(ExportedFile {
            name,
            start_time: time(span.start),
            end_time: time(span.end),
            rows,
            bytes,
            sha256: publish::sha256(&pieces),
        });
        let target = Arc::clone(&self.target);
        let put = async move {
            publish::create(target.as_ref(), &path, pieces).await?;
            Ok(bytes)
        };
        self.puts.push(put.boxed());
    }

    fn tell(&mut self, rows: u64, bytes: u64) {
        self.told.rows += rows;
        self.told.bytes += bytes;
        self.progress.advanced(self.told);
    }

    /// Waits for the last files, makes sure that no others bear the request's name, and publishes the manifest.
    async fn finish(mut self, asked: Asked) -> Result<Manifest> {
        while let Some(written) = self.puts.next().await {
            let bytes = written?;
            self.tell(0, bytes);
        }
        // An attempt over other rows may have stopped half way and cut elsewhere; its files would be read beside ours.
        let prefix = name_prefix(&self.request_id);
        for name in publish::names(self.target.as_ref(), &self.prefix, &prefix).await? {
            if !self.files.iter().any(|file| file.name == name) {
                return Err(Error::conflict(format!(
                    "\"{name}\" is of an attempt over other events; give another request id, or remove it"
                )));
            }
        }
        let manifest = Manifest::new(self.request_id.clone(), asked, self.rows_by_definition, self.files);
        let path = self.prefix.clone().join(Manifest::name(&self.request_id).as_str());
        publish::create(self.target.as_ref(), &path, vec![Bytes::from(manifest.to_json()?)]).await?;
        Ok(manifest)
    }
}

struct DecodeJob {
    id: String,
    file: OpenedFile,
    row_group: usize,
    shape: Arc<RowShape>,
    range: Option<TimeRange>,
}

impl DecodeJob {
    async fn run(self) -> Result<(String, Vec<Part>)> {
        let Self { id, file, row_group, shape, range } = self;
        blocking(move || Ok((id, file.decode(row_group, &shape, range)?))).await
    }
}

async fn fetch(lake: &dyn ObjectStore, path: &str) -> Result<Bytes> {
    let path = Path::parse(path).internal(|| format!("\"{path}\" is not a path of a data file"))?;
    let bytes = match lake.get(&path).await {
        Ok(found) => found.bytes().await,
        Err(error) => Err(error),
    };
    bytes.map_err(|error| publish::failed("could not read", &path, error))
}

fn encode(
    day: &DayRows,
    places: Range<usize>,
    persons: &Persons,
    level: u32,
    stop: &AtomicBool,
) -> Result<Segment> {
    let rows = count(places.len());
    let mut deflater = Deflater::new(level);
    let mut text = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8);
    for at in places {
        let (part, row) = day.row(at);
        part.write(row, persons, &mut text);
        if text.len() >= CHUNK_BYTES {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::cancelled("the export was stopped"));
            }
            deflater.write(&text)?;
            text.clear();
        }
    }
    deflater.write(&text)?;
    deflater.finish(rows)
}

/// Thinking does not belong on the threads that wait for stores.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.internal(|| "a thread of an export died".to_owned())?
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
