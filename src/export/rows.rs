//! The rows of any query as files: Parquet, CSV or JSON lines, and a manifest last.
//!
//! A query may answer in another order each time, so an attempt cannot go on with the files of another: each writes
//! under a name of its own, the manifest decides which attempt counts, and what others left is removed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::csv::WriterBuilder as CsvWriter;
use arrow::datatypes::SchemaRef;
use arrow::json::WriterBuilder as JsonWriter;
use arrow::json::writer::LineDelimited;
use bytes::Bytes;
use futures::Stream;
use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream;
use object_store::ObjectStoreExt;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::basic::ZstdLevel;
use parquet::file::properties::WriterProperties;
use serde::Deserialize;
use serde::Serialize;
use uuid::Uuid;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::export::gzip;
use crate::export::gzip::Deflater;
use crate::export::gzip::Segment;
use crate::export::plan::check_request_id;
use crate::export::publish;
use crate::export::run::ExportProgress;
use crate::export::run::Progress;
use crate::export::target::Target;
use crate::export::writer::blocking;
use crate::export::writer::count;

/// The form of the manifest that this version writes and reads.
const FORMAT: u32 = 1;
/// Rows that are encoded at once.
const SLICE: usize = 8_192;

/// What the files of a query are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowFormat {
    /// gzip JSON lines; a NULL is written as null.
    #[default]
    Json,
    /// gzip, with a line of names first.
    Csv,
    /// zstd.
    Parquet,
}

impl RowFormat {
    fn suffix(self) -> &'static str {
        match self {
            Self::Json => "json.gz",
            Self::Csv => "csv.gz",
            Self::Parquet => "parquet",
        }
    }
}

impl FromStr for RowFormat {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name.to_ascii_lowercase().as_str() {
            "json" | "ndjson" => Ok(Self::Json),
            "csv" => Ok(Self::Csv),
            "parquet" => Ok(Self::Parquet),
            _ => Err(Error::invalid(format!(
                "the format of an export is json, csv or parquet, found \"{name}\""
            ))),
        }
    }
}

/// What to do with the rows of a query.
#[derive(Clone, Debug)]
pub(crate) struct RowsJob {
    pub(crate) target: Target,
    /// A fresh UUID when absent.
    pub(crate) request_id: Option<String>,
    pub(crate) query: String,
    pub(crate) format: RowFormat,
    pub(crate) rows_per_file: usize,
    /// The gzip level.
    pub(crate) level: u32,
    /// How many are encoded at once.
    pub(crate) threads: usize,
    pub(crate) progress: Arc<dyn ExportProgress>,
}

/// What the export of a query wrote, or had written before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowsReport {
    pub request_id: String,
    pub files: Vec<String>,
    pub rows: u64,
    pub bytes: u64,
    /// The same request was complete already; nothing was written.
    pub repeated: bool,
}

impl fmt::Display for RowsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: u64| if count == 1 { "" } else { "s" };
        let files = u64::try_from(self.files.len()).unwrap_or(u64::MAX);
        write!(f, "{} row{} in {files} file{}", self.rows, plural(self.rows), plural(files))?;
        if self.repeated { f.write_str("; they were there already") } else { Ok(()) }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    format: u32,
    request_id: String,
    query: String,
    file_format: RowFormat,
    rows: u64,
    bytes: u64,
    files: Vec<Written>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Written {
    name: String,
    rows: u64,
    bytes: u64,
    sha256: String,
}

/// The report of an export of this id that is complete already, if there is one: then the query need not run.
///
/// Fails with `Conflict` when the id was used for something else.
pub(crate) async fn complete(job: &RowsJob) -> Result<Option<RowsReport>> {
    let Some(id) = &job.request_id else { return Ok(None) };
    check_request_id(id)?;
    let name = manifest_name(id);
    let Some(json) = publish::read(&job.target, &job.target.prefix.clone().join(name.as_str())).await? else {
        return Ok(None);
    };
    let there = serde_json::from_slice::<Manifest>(&json).ok();
    match there.filter(|one| one.format == FORMAT && one.query == job.query && one.file_format == job.format)
    {
        Some(manifest) => Ok(Some(report(manifest, true))),
        None => Err(Error::conflict(format!(
            "the request id \"{id}\" was used for another export; give another one"
        ))),
    }
}

/// Writes the rows. Fails with `Invalid` when the format has no place for a column.
pub(crate) async fn run(
    job: RowsJob,
    schema: SchemaRef,
    rows: impl Stream<Item = Result<RecordBatch>> + Send + Unpin,
) -> Result<RowsReport> {
    gzip::check_level(job.level)?;
    if job.format == RowFormat::Csv
        && let Some(field) = schema.fields().iter().find(|field| field.data_type().is_nested())
    {
        return Err(Error::invalid(format!(
            "CSV has no place for the list \"{}\"; export json or parquet, or leave it out",
            field.name()
        )));
    }
    let id = job.request_id.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
    let attempt: String = Uuid::new_v4().simple().to_string().chars().take(8).collect();
    let mut files = Files {
        job,
        schema,
        prefix: format!("{id}-{attempt}-"),
        written: Vec::new(),
        told: Progress::default(),
    };
    let wrote = match files.job.format {
        RowFormat::Parquet => files.parquet(rows).await,
        RowFormat::Json | RowFormat::Csv => files.text(rows).await,
    };
    let published = match wrote {
        Ok(()) => files.publish(&id).await,
        Err(error) => Err(error),
    };
    let Files { job, written, .. } = files;
    match published {
        Ok(manifest) => {
            let keep: Vec<&str> = written.iter().map(|one| one.name.as_str()).collect();
            remove(&job.target, &format!("{id}-"), |name| {
                keep.contains(&name) || name == manifest_name(&id) || name.contains("-events-")
            })
            .await;
            Ok(report(manifest, false))
        }
        Err(error) => {
            let ours: Vec<String> = written.into_iter().map(|one| one.name).collect();
            remove(&job.target, &format!("{id}-{attempt}-"), |name| !ours.iter().any(|one| one == name))
                .await;
            Err(error)
        }
    }
}

fn manifest_name(id: &str) -> String {
    format!("{id}-manifest.json")
}

fn report(manifest: Manifest, repeated: bool) -> RowsReport {
    RowsReport {
        request_id: manifest.request_id,
        files: manifest.files.into_iter().map(|file| file.name).collect(),
        rows: manifest.rows,
        bytes: manifest.bytes,
        repeated,
    }
}

/// Removes what attempts left under a prefix. Litter that stays because of an error is named by no manifest.
async fn remove(target: &Target, prefix: &str, keep: impl Fn(&str) -> bool) {
    for name in publish::names(target, prefix).await.unwrap_or_default() {
        if !keep(&name) {
            drop(target.store.delete(&target.prefix.clone().join(name.as_str())).await);
        }
    }
}

/// The files of one attempt.
struct Files {
    job: RowsJob,
    schema: SchemaRef,
    prefix: String,
    written: Vec<Written>,
    told: Progress,
}

impl Files {
    async fn text(&mut self, rows: impl Stream<Item = Result<RecordBatch>> + Send + Unpin) -> Result<()> {
        let (format, level, threads) = (self.job.format, self.job.level, self.job.threads.max(1));
        let mut first = true;
        let slices = sliced(rows, self.job.rows_per_file).map(move |slice| {
            let begins = std::mem::replace(&mut first, matches!(&slice, Ok((_, true))));
            async move {
                let (batch, closes) = slice?;
                let rows = batch.num_rows();
                let segment = blocking(move || segment(&batch, format, level, begins)).await?;
                Ok::<_, Error>((segment, rows, closes))
            }
        });
        let mut slices = Box::pin(slices.buffered(threads));
        let (mut open, mut held) = (Vec::new(), 0);
        while let Some((segment, rows, closes)) = slices.try_next().await? {
            self.tell(rows, 0);
            open.push(segment);
            held += rows;
            if closes {
                self.put(gzip::member(std::mem::take(&mut open), level), std::mem::take(&mut held)).await?;
            }
        }
        if held > 0 {
            self.put(gzip::member(open, level), held).await?;
        }
        Ok(())
    }

    async fn parquet(&mut self, rows: impl Stream<Item = Result<RecordBatch>> + Send + Unpin) -> Result<()> {
        let mut slices = Box::pin(sliced(rows, self.job.rows_per_file));
        let (mut open, mut held) = (None, 0);
        while let Some((batch, closes)) = slices.try_next().await? {
            let rows = batch.num_rows();
            let mut writer = match open.take() {
                Some(writer) => writer,
                None => writer(&self.schema)?,
            };
            let writer = blocking(move || {
                writer.write(&batch).internal(could_not)?;
                Ok(writer)
            })
            .await?;
            self.tell(rows, 0);
            held += rows;
            if closes {
                self.put(vec![ended(writer).await?], std::mem::take(&mut held)).await?;
            } else {
                open = Some(writer);
            }
        }
        match open {
            Some(writer) => {
                let bytes = ended(writer).await?;
                self.put(vec![bytes], held).await
            }
            None => Ok(()),
        }
    }

    async fn put(&mut self, pieces: Vec<Bytes>, rows: usize) -> Result<()> {
        let bytes = pieces.iter().map(Bytes::len).sum();
        let name = format!("{}{:05}.{}", self.prefix, self.written.len() + 1, self.job.format.suffix());
        let sha256 = publish::sha256(&pieces);
        let path = self.job.target.prefix.clone().join(name.as_str());
        self.written.push(Written { name, rows: count(rows), bytes: count(bytes), sha256 });
        publish::create(&self.job.target, &path, pieces).await?;
        self.tell(0, bytes);
        Ok(())
    }

    async fn publish(&self, id: &str) -> Result<Manifest> {
        let manifest = Manifest {
            format: FORMAT,
            request_id: id.to_owned(),
            query: self.job.query.clone(),
            file_format: self.job.format,
            rows: self.written.iter().map(|one| one.rows).sum(),
            bytes: self.written.iter().map(|one| one.bytes).sum(),
            files: self.written.clone(),
        };
        let mut json =
            serde_json::to_vec_pretty(&manifest).internal(|| "could not write a manifest".to_owned())?;
        json.push(b'\n');
        let path = self.job.target.prefix.clone().join(manifest_name(id).as_str());
        publish::create(&self.job.target, &path, vec![Bytes::from(json)]).await?;
        Ok(manifest)
    }

    fn tell(&mut self, rows: usize, bytes: usize) {
        self.told.rows += count(rows);
        self.told.rows_at_most = self.told.rows;
        self.told.bytes += count(bytes);
        self.job.progress.advanced(self.told);
    }
}

fn could_not() -> String {
    "could not write rows".to_owned()
}

/// Batches cut so that none reaches over the end of a file; and whether it ends one.
fn sliced(
    rows: impl Stream<Item = Result<RecordBatch>> + Send + Unpin,
    most: usize,
) -> impl Stream<Item = Result<(RecordBatch, bool)>> + Send {
    let mut held = 0;
    rows.flat_map(move |batch| {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return stream::iter(vec![Err(error)]),
        };
        let (mut at, mut slices) = (0, Vec::new());
        while at < batch.num_rows() {
            let rows = (most - held).min(SLICE).min(batch.num_rows() - at);
            held += rows;
            let closes = held == most;
            if closes {
                held = 0;
            }
            slices.push(Ok((batch.slice(at, rows), closes)));
            at += rows;
        }
        stream::iter(slices)
    })
}

/// Some rows as compressed text.
fn segment(batch: &RecordBatch, format: RowFormat, level: u32, begins: bool) -> Result<Segment> {
    let mut text = Vec::new();
    if format == RowFormat::Csv {
        let mut writer = CsvWriter::new().with_header(begins).build(&mut text);
        writer.write(batch).internal(could_not)?;
        drop(writer);
    } else {
        let mut writer = JsonWriter::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut text);
        writer.write(batch).internal(could_not)?;
        writer.finish().internal(could_not)?;
        drop(writer);
    }
    let mut deflater = Deflater::new(level);
    deflater.write(&text)?;
    deflater.finish(count(batch.num_rows()))
}

fn writer(schema: &SchemaRef) -> Result<ArrowWriter<Vec<u8>>> {
    let level = ZstdLevel::try_new(3).internal(could_not)?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
    ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties)).internal(could_not)
}

async fn ended(writer: ArrowWriter<Vec<u8>>) -> Result<Bytes> {
    blocking(move || writer.into_inner().internal(could_not).map(Bytes::from)).await
}
