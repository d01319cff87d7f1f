//! An export under way: day by day, reads the files, orders the rows, compresses them on several threads, and puts
//! each file as soon as it is full, while the next is being compressed and the next day sorted; the manifest comes last.

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
use parquet::errors::ParquetError;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::task::spawn_blocking;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::export::day::OpenedFile;
use crate::export::encode::Cut;
use crate::export::encode::Encoded;
use crate::export::encode::Tools;
use crate::export::encode::merge;
use crate::export::encode::stopped;
use crate::export::fault::Fault;
use crate::export::gzip;
use crate::export::gzip::Segment;
use crate::export::lake;
use crate::export::lines::Known;
use crate::export::lines::Lines;
use crate::export::lines::SortedDay;
use crate::export::lines::Sorter;
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
use crate::export::shape::RowShape;
use crate::export::spill::Room;
use crate::export::spill::Spill;
use crate::person::ExternalIds;
use crate::time::Micros;
use crate::time::TimeRange;

/// Rows that one thread compresses at a time; a segment costs a little compression where it begins.
pub(crate) const SEGMENT_ROWS: usize = 4_096;
/// What sorted rows may take in memory, over all days that are worked on.
const ROOM_BYTES: usize = 96 << 20;
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
    persons: Arc<ExternalIds>,
    room: Arc<Room>,
    tools: Arc<Tools>,
}

impl Writer {
    /// `whole` are the files of earlier attempts that need not be written again.
    pub(crate) fn new(
        job: ExportJob,
        request_id: String,
        rows_ahead: u64,
        whole: &[FileSpan],
    ) -> Result<Self> {
        let mut files: Vec<PublishedFile> =
            job.done.iter().filter(|file| whole.contains(&file.span)).cloned().collect();
        files.sort_by_key(|file| (file.span.start, file.span.part));
        let rows = files.iter().map(|file| file.file.rows).sum();
        let bytes = files.iter().map(|file| file.file.bytes).sum();
        let tools = Arc::new(Tools::of(job.request.level));
        let persons = Arc::clone(job.snapshot.persons.external_ids()?);
        Ok(Self {
            persons,
            tools,
            room: Room::of(ROOM_BYTES),
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
        })
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

    /// Begins to read and sort a day, while another is being written.
    pub(crate) fn sort(&mut self, day: PlannedDay, range: TimeRange) -> Ahead {
        let threads = self.job.threads.max(1);
        let moments = self.job.request.enrich_moments;
        let files: Vec<_> = day
            .files
            .into_iter()
            .map(|planned| {
                let nth = self.shapes.len();
                let shape = self
                    .shapes
                    .entry(planned.definition.id.as_str().to_owned())
                    .or_insert_with(|| Arc::new(RowShape::of(&planned.definition, moments).numbered(nth)));
                (planned, Arc::clone(shape))
            })
            .collect();
        let rows: u64 = files.iter().map(|(planned, _)| planned.file.rows).sum();
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        let spill = Spill::new(self.job.spill.clone());
        let sorter = Arc::new(Sorter::new(day.day, rows, Arc::clone(&self.room), spill));
        let known = Known { persons: Arc::clone(&self.persons), flows: Arc::clone(&self.flows) };
        let (lake, stop, seen) = (Arc::clone(&self.job.lake), Arc::clone(&self.stop.0), self.job.seen);
        let mut ahead = JoinSet::new();
        ahead.spawn(async move {
            let opened = stream::iter(files).map(|(planned, shape)| open(Arc::clone(&lake), planned, shape));
            let groups = opened.buffered(threads).map_ok(|file| {
                let groups = 0..file.opened.row_groups();
                stream::iter(groups.map(move |group| Ok::<_, Error>((file.clone(), group))))
            });
            let sorted = groups.try_flatten().map(|group| {
                let (lake, sorter) = (Arc::clone(&lake), Arc::clone(&sorter));
                let (known, stop) = (known.clone(), Arc::clone(&stop));
                async move {
                    let (file, group) = group?;
                    let bytes = fetch(lake.as_ref(), &file.path, file.opened.range_of(group)).await?;
                    let range = (!file.whole).then_some(range);
                    blocking(move || {
                        let parts = file.opened.decode(group, bytes, &file.shape, range, seen)?;
                        let mut lines = sorter.open();
                        for part in parts {
                            if stop.load(Ordering::Relaxed) {
                                return Err(stopped());
                            }
                            sorter.add(&part?, &known, &mut lines)?;
                        }
                        sorter.leave(lines);
                        Ok(())
                    })
                    .await
                }
            });
            sorted.buffer_unordered(threads).try_collect::<()>().await?;
            blocking(move || sorter.finish()).await
        });
        Ahead(ahead)
    }

    /// Writes the rows of a day; `last` says that no other follows.
    pub(crate) async fn day(&mut self, day: SortedDay, splitter: &mut Splitter, last: bool) -> Result<()> {
        let pieces = splitter.day(day.rows(), |at| day.milli(at), last);
        let cuts: Vec<Cut> = pieces
            .into_iter()
            .flat_map(|piece| {
                let end = piece.rows.end;
                let starts = piece.rows.step_by(SEGMENT_ROWS);
                let mut cuts: Vec<Cut> = starts.map(|at| (end.min(at + SEGMENT_ROWS) - at, None)).collect();
                match (cuts.last_mut(), piece.closes) {
                    (Some(last), closes) => last.1 = closes,
                    // The rows that were held fill the file as far as it may be filled.
                    (None, closes) => cuts.push((0, closes)),
                }
                cuts
            })
            .collect();
        let mut missing = cuts.len();
        let threads = self.job.threads.max(1);
        let (sender, mut merged) = mpsc::channel(threads);
        let (tools, stop) = (Arc::clone(&self.tools), Arc::clone(&self.stop.0));
        let merging = blocking(move || {
            merge(day, cuts, &tools, &stop, &sender);
            Ok(())
        });
        let tools = Arc::clone(&self.tools);
        let shapes = self.shapes();
        let encode = move |lines: Result<(Lines, Option<FileSpan>)>| {
            let (tools, shapes) = (Arc::clone(&tools), Arc::clone(&shapes));
            async move {
                let (lines, closes) = lines?;
                blocking(move || Ok((tools.encode(lines, &shapes)?, closes))).await
            }
        };
        let merged = stream::poll_fn(move |context| merged.poll_recv(context));
        let mut segments = merged.map(encode).buffered(threads).boxed();
        let mut merging = std::pin::pin!(merging.fuse());
        loop {
            tokio::select! {
                Some(written) = self.puts.next(), if !self.puts.is_empty() => self.written(written?)?,
                merged = &mut merging => merged?,
                next = segments.next(), if self.puts.len() < MOST_PUTS => {
                    let Some(next) = next else { break };
                    let (Encoded { segment, counts }, closes) = next?;
                    missing -= 1;
                    self.tell(segment.rows, 0);
                    self.open.push(segment);
                    self.open_counts.resize(self.open_counts.len().max(counts.len()), 0);
                    self.open_counts.iter_mut().zip(counts).for_each(|(all, more)| *all += more);
                    if let Some(span) = closes {
                        self.close(span)?;
                    }
                }
            }
        }
        match missing {
            0 => Ok(()),
            _ => Err(Error::internal(died())),
        }
    }

    /// The shapes by their numbers.
    fn shapes(&self) -> Arc<[Arc<RowShape>]> {
        let mut shapes: Vec<_> = self.shapes.values().cloned().collect();
        shapes.sort_by_key(|shape| shape.nth());
        shapes.into()
    }

    /// Sends the open file on its way.
    pub(crate) fn close(&mut self, span: FileSpan) -> Result<()> {
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
        let file = PublishedFile { file, span, rows_by_definition };
        let there = |done: &&PublishedFile| done.span == span && done.file.rows == rows;
        if let Some(done) = self.job.done.iter().find(there).cloned() {
            // An earlier attempt put it behind a gap.
            self.tell(0, done.file.bytes);
            self.files.push(done);
            return Ok(());
        }
        if let Some(journal) = &self.job.journal {
            journal.intended(&file)?;
        }
        self.files.push(file);
        let target = self.job.target.clone();
        let put = async move {
            publish::create(&target, &path, pieces).await?;
            Ok(nth)
        };
        self.puts.push(put.boxed());
        Ok(())
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

/// A day that is being sorted; dropped, it stops.
pub(crate) struct Ahead(JoinSet<Result<SortedDay>>);

impl Ahead {
    pub(crate) async fn sorted(mut self) -> Result<SortedDay> {
        match self.0.join_next().await {
            Some(sorted) => sorted.internal(died)?,
            None => Err(Error::internal(died())),
        }
    }
}

/// A data file and what is to be done with it.
#[derive(Clone)]
struct File {
    path: Path,
    opened: OpenedFile,
    shape: Arc<RowShape>,
    whole: bool,
}

async fn open(lake: Arc<dyn ObjectStore>, planned: PlannedFile, shape: Arc<RowShape>) -> Result<File> {
    let PlannedFile { file, whole, .. } = planned;
    let path =
        Path::parse(&file.path).internal(|| format!("\"{}\" is not a path of a data file", file.path))?;
    let footer = lake::footer(lake, path.clone(), file.bytes).await;
    let footer = footer.map_err(|error| match error {
        ParquetError::External(source) => match source.downcast::<object_store::Error>() {
            Ok(error) => Fault::of(&error).about("could not read", &path),
            Err(source) => Error::unavailable(format!("could not read \"{path}\"")).with_source(source),
        },
        error => Error::internal(format!("data file \"{path}\" is damaged")).with_source(error),
    })?;
    Ok(File { opened: OpenedFile::of(&file.path, file.bytes, footer)?, path, shape, whole })
}

async fn fetch(lake: &dyn ObjectStore, path: &Path, range: Range<u64>) -> Result<Bytes> {
    if range.is_empty() {
        return Ok(Bytes::new());
    }
    lake.get_range(path, range).await.map_err(|error| Fault::of(&error).about("could not read", path))
}

fn died() -> String {
    "a thread of an export died".to_owned()
}

/// Thinking does not belong on the threads that wait for stores.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    spawn_blocking(work).await.internal(died)?
}

pub(crate) fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}
