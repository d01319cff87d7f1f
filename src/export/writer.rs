//! An export under way: day by day, reads the files, orders the rows, compresses them on several threads, and puts
//! each file as soon as it is full, while the next is being compressed; the manifest comes last.

use std::collections::BTreeMap;
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

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::export::day::DayRows;
use crate::export::day::OpenedFile;
use crate::export::fault::Fault;
use crate::export::gzip;
use crate::export::gzip::Deflater;
use crate::export::gzip::Segment;
use crate::export::json::Part;
use crate::export::json::RowShape;
use crate::export::manifest::Asked;
use crate::export::manifest::ExportedFile;
use crate::export::manifest::Manifest;
use crate::export::moments::Flows;
use crate::export::plan::FileSpan;
use crate::export::plan::PlannedDay;
use crate::export::plan::PlannedFile;
use crate::export::plan::Splitter;
use crate::export::plan::name_prefix;
use crate::export::publish;
use crate::export::run::ExportJob;
use crate::export::run::Progress;
use crate::export::run::PublishedFile;
use crate::person::Persons;
use crate::time::Micros;
use crate::time::TimeRange;

/// Rows that one thread compresses at a time; a segment costs a little compression where it begins.
pub(crate) const SEGMENT_ROWS: usize = 4_096;
/// Text that is handed to the compressor at once.
const CHUNK_BYTES: usize = 128 << 10;
/// Files that are written at the same time.
const MOST_PUTS: usize = 4;

/// Tells the threads of an export that nobody waits for them any more.
#[derive(Debug, Default)]
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Compressed rows, and how many are of which definition, by its place in the list of shapes.
struct Encoded {
    segment: Segment,
    counts: Vec<u64>,
}

/// The state of one attempt.
pub(crate) struct Writer {
    job: ExportJob,
    request_id: String,
    shapes: BTreeMap<String, Arc<RowShape>>,
    /// The file that rows go into now, and its rows by place in `shapes`.
    open: Vec<Segment>,
    open_counts: Vec<u64>,
    /// In the order of rows; those at the end may still be on their way.
    files: Vec<PublishedFile>,
    /// Files on their way; each gives its place in `files`.
    puts: FuturesUnordered<BoxFuture<'static, Result<usize>>>,
    told: Progress,
    stop: StopOnDrop,
    /// Nothing, unless rows are to be enriched.
    flows: Arc<Flows>,
}

impl Writer {
    /// `whole` are the files of earlier attempts that need not be written again.
    pub(crate) fn new(job: ExportJob, request_id: String, rows_ahead: u64, whole: &[FileSpan]) -> Self {
        let mut files: Vec<PublishedFile> =
            job.done.iter().filter(|file| whole.contains(&file.span)).cloned().collect();
        files.sort_by_key(|file| (file.span.start, file.span.part));
        let rows = files.iter().map(|file| file.file.rows).sum();
        let bytes = files.iter().map(|file| file.file.bytes).sum();
        Self {
            job,
            request_id,
            shapes: BTreeMap::new(),
            open: Vec::new(),
            open_counts: Vec::new(),
            files,
            puts: FuturesUnordered::new(),
            told: Progress { rows, bytes, rows_at_most: rows + rows_ahead },
            stop: StopOnDrop::default(),
            flows: Arc::default(),
        }
    }

    /// Reads what an enriched export needs to know of flows.
    pub(crate) async fn learn_flows(&mut self) -> Result<()> {
        let job = &self.job;
        if job.request.enrich_moments {
            let upto = Micros(job.request.range.end.0 - 1);
            self.flows = Arc::new(Flows::read(&job.snapshot, &job.lake, upto, job.seen).await?);
        }
        Ok(())
    }

    pub(crate) async fn day(
        &mut self,
        day: PlannedDay,
        range: TimeRange,
        splitter: &mut Splitter,
        last: bool,
    ) -> Result<()> {
        let rows = Arc::new(self.read(day, range).await?);
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
        let (persons, stop) = (Arc::clone(&self.job.snapshot.persons), Arc::clone(&self.stop.0));
        let (level, flows) = (self.job.request.level, Arc::clone(&self.flows));
        let encode = move |(places, closes): (Range<usize>, Option<FileSpan>)| {
            let (rows, stop) = (Arc::clone(&rows), Arc::clone(&stop));
            let known = (Arc::clone(&persons), Arc::clone(&flows));
            blocking(move || encode(&rows, places, &known, level, &stop).map(|encoded| (encoded, closes)))
        };
        let mut segments = stream::iter(jobs).map(encode).buffered(self.job.threads.max(1)).boxed();
        loop {
            tokio::select! {
                Some(written) = self.puts.next(), if !self.puts.is_empty() => self.written(written?)?,
                next = segments.next(), if self.puts.len() < MOST_PUTS => {
                    let Some(next) = next else { return Ok(()) };
                    let (Encoded { segment, counts }, closes) = next?;
                    self.tell(segment.rows, 0);
                    self.open.push(segment);
                    self.open_counts.resize(self.open_counts.len().max(counts.len()), 0);
                    self.open_counts.iter_mut().zip(counts).for_each(|(all, more)| *all += more);
                    if let Some(span) = closes {
                        self.close(span);
                    }
                }
            }
        }
    }

    async fn read(&mut self, day: PlannedDay, range: TimeRange) -> Result<DayRows> {
        let threads = self.job.threads.max(1);
        let lake = Arc::clone(&self.job.lake);
        let open = move |planned: PlannedFile| open(Arc::clone(&lake), planned);
        let opened: Vec<(PlannedFile, OpenedFile)> =
            stream::iter(day.files).map(open).buffered(threads).try_collect().await?;
        let moments = self.job.request.enrich_moments;
        let mut jobs = Vec::new();
        for (planned, file) in opened {
            let nth = self.shapes.len();
            let shape = self
                .shapes
                .entry(planned.definition.id.as_str().to_owned())
                .or_insert_with(|| Arc::new(RowShape::of(&planned.definition, moments).numbered(nth)));
            let range = (!planned.whole).then_some(range);
            for row_group in 0..file.row_groups() {
                let shape = Arc::clone(shape);
                jobs.push(DecodeJob { file: file.clone(), row_group, shape, range, seen: self.job.seen });
            }
        }
        let decoded: Vec<Vec<Part>> =
            stream::iter(jobs).map(DecodeJob::run).buffered(threads).try_collect().await?;
        let day = day.day;
        blocking(move || DayRows::order(day, decoded.into_iter().flatten().collect())).await
    }

    /// Sends the open file on its way.
    pub(crate) fn close(&mut self, span: FileSpan) {
        let segments = std::mem::take(&mut self.open);
        let counts = std::mem::take(&mut self.open_counts);
        let rows = segments.iter().map(|segment| segment.rows).sum();
        let pieces = gzip::member(segments, self.job.request.level);
        let bytes = pieces.iter().map(|piece| count(piece.len())).sum();
        let name = span.name(&self.request_id);
        let path = self.job.target.prefix.clone().join(name.as_str());
        let time = |milli: i64| Micros(milli * 1_000).export_form().to_string();
        let file = ExportedFile {
            name,
            start_time: time(span.start),
            end_time: time(span.end),
            rows,
            bytes,
            sha256: publish::sha256(&pieces),
        };
        let counted = self.shapes.iter().map(|(id, shape)| (id.clone(), counts.get(shape.nth()).copied()));
        let rows_by_definition = counted.filter_map(|(id, rows)| Some((id, rows.filter(|&rows| rows > 0)?)));
        let rows_by_definition = rows_by_definition.collect();
        let nth = self.files.len();
        self.files.push(PublishedFile { file, span, rows_by_definition });
        let target = self.job.target.clone();
        let put = async move {
            publish::create(&target, &path, pieces).await?;
            Ok(nth)
        };
        self.puts.push(put.boxed());
    }

    /// A file is there.
    fn written(&mut self, nth: usize) -> Result<()> {
        let file = &self.files[nth];
        if let Some(journal) = &self.job.journal {
            journal.published(file)?;
        }
        let bytes = file.file.bytes;
        self.tell(0, bytes);
        Ok(())
    }

    fn tell(&mut self, rows: u64, bytes: u64) {
        self.told.rows += rows;
        self.told.bytes += bytes;
        self.job.progress.advanced(self.told);
    }

    /// Waits for the last files, makes sure that no others bear the request's name, and publishes the manifest.
    pub(crate) async fn finish(mut self, asked: Asked) -> Result<Manifest> {
        while let Some(written) = self.puts.next().await {
            self.written(written?)?;
        }
        // An attempt over other rows may have stopped half way and cut elsewhere; its files would be read beside ours.
        let prefix = name_prefix(&self.request_id);
        for name in publish::names(&self.job.target, &prefix).await? {
            if !self.files.iter().any(|file| file.file.name == name) {
                return Err(Error::conflict(format!(
                    "\"{name}\" is of an attempt over other events; give another request id, or remove it"
                )));
            }
        }
        let mut rows_by_definition: BTreeMap<String, u64> = BTreeMap::new();
        for (id, rows) in self.files.iter().flat_map(|file| &file.rows_by_definition) {
            *rows_by_definition.entry(id.clone()).or_default() += rows;
        }
        let files = self.files.into_iter().map(|file| file.file).collect();
        let manifest =
            Manifest::new(self.request_id.clone(), asked, self.job.seen, rows_by_definition, files);
        let path = self.job.target.prefix.clone().join(Manifest::name(&self.request_id).as_str());
        publish::create(&self.job.target, &path, vec![Bytes::from(manifest.to_json()?)]).await?;
        Ok(manifest)
    }
}

struct DecodeJob {
    file: OpenedFile,
    row_group: usize,
    shape: Arc<RowShape>,
    range: Option<TimeRange>,
    seen: Option<i64>,
}

impl DecodeJob {
    async fn run(self) -> Result<Vec<Part>> {
        let Self { file, row_group, shape, range, seen } = self;
        blocking(move || file.decode(row_group, &shape, range, seen)).await
    }
}

async fn open(lake: Arc<dyn ObjectStore>, planned: PlannedFile) -> Result<(PlannedFile, OpenedFile)> {
    let bytes = fetch(lake.as_ref(), &planned.file.path).await?;
    blocking(move || {
        let file = OpenedFile::open(&planned.file.path, bytes)?;
        Ok((planned, file))
    })
    .await
}

async fn fetch(lake: &dyn ObjectStore, path: &str) -> Result<Bytes> {
    let path = Path::parse(path).internal(|| format!("\"{path}\" is not a path of a data file"))?;
    let bytes = match lake.get(&path).await {
        Ok(found) => found.bytes().await,
        Err(error) => Err(error),
    };
    bytes.map_err(|error| Fault::of(&error).about("could not read", &path))
}

fn encode(
    day: &DayRows,
    places: Range<usize>,
    (persons, flows): &(Arc<Persons>, Arc<Flows>),
    level: u32,
    stop: &AtomicBool,
) -> Result<Encoded> {
    let rows = count(places.len());
    let mut counts = Vec::new();
    let mut deflater = Deflater::new(level);
    let mut text = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8);
    for at in places {
        let (part, row) = day.row(at);
        part.write(row, persons, flows, &mut text);
        let nth = part.nth();
        if counts.len() <= nth {
            counts.resize(nth + 1, 0);
        }
        counts[nth] += 1;
        if text.len() >= CHUNK_BYTES {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::cancelled("the export was stopped"));
            }
            deflater.write(&text)?;
            text.clear();
        }
    }
    deflater.write(&text)?;
    Ok(Encoded { segment: deflater.finish(rows)?, counts })
}

/// Thinking does not belong on the threads that wait for stores.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.internal(|| "a thread of an export died".to_owned())?
}

pub(crate) fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}
