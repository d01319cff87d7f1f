//! `Buffers`: logged events that are not in the lake yet, shown to every reader as small data files in memory.
//!
//! A reader knows nothing of them: a buffer is a Parquet file of one definition and one day, sorted like all others,
//! under a path of the lake's object store that only this process can read. So whatever reads files (scans, counts of
//! unique persons, exports, analyses) reads the newest events too. They are encoded when somebody asks, not when they
//! come; what was encoded is merged with what comes later as it grows, so each event is encoded a few times at most.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::Encoding;
use parquet::file::properties::EnabledStatistics;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use crate::error::Context;
use crate::error::Result;
use crate::schema::Columns;
use crate::schema::Definition;
use crate::schema::EVENT_ID;
use crate::schema::EventBatch;
use crate::schema::OCCURRED_TIME;
use crate::schema::PERSON_ID;
use crate::schema::SEQ;
use crate::storage::DataFile;
use crate::storage::adapt;
use crate::storage::keys::SortKey;
use crate::storage::keys::SortKeys;
use crate::storage::layout;
use crate::time::Day;
use crate::time::MICROS_PER_DAY;
use crate::time::Micros;

/// So many small batches of a definition become one: each costs some hundred bytes a column.
const SMALL_BATCHES: usize = 64;
/// A chunk of fewer rows is encoded anew together with the ones behind it, once those have as many: each event a few times,
/// and few files whoever asks how often.
const FULL_ROWS: usize = 16_384;

/// What is logged and not in the lake.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// Rises with every change.
    version: u64,
    tables: BTreeMap<String, Table>,
    bytes: usize,
    rows: usize,
    /// When the oldest event came.
    since: Option<Instant>,
    /// Names of files are not used twice.
    files: u64,
}

#[derive(Debug)]
struct Table {
    definition: Arc<Definition>,
    chunks: Vec<Chunk>,
}

/// Events of one definition that are encoded together.
#[derive(Debug)]
struct Chunk {
    /// The records of the log that they are from: the first, and the last.
    records: (u64, u64),
    rows: Vec<RecordBatch>,
    bytes: usize,
    /// As files, once somebody asked.
    files: Option<Vec<DataFile>>,
    /// Nothing is added to it any more: it is being encoded, or was.
    full: bool,
    /// A flush has taken it: what comes later is not merged with it.
    closed: bool,
}

impl Chunk {
    fn count(&self) -> usize {
        self.rows.iter().map(RecordBatch::num_rows).sum()
    }
}

/// Files to be made of some chunks of a table.
struct Work {
    definition: Arc<Definition>,
    /// The record range of the chunks, which become one.
    records: (u64, u64),
    rows: Vec<RecordBatch>,
    /// Files get numbers from here on.
    name: u64,
}

/// A file in memory.
#[derive(Debug)]
pub(crate) struct BufferFile {
    pub file: DataFile,
    pub bytes: Bytes,
}

/// What readers see of the buffers.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub version: u64,
    /// By definition, ordered by day.
    pub files: BTreeMap<String, Vec<DataFile>>,
    /// Those among them that nobody has seen yet.
    pub new: Vec<BufferFile>,
}

impl Buffers {
    /// Adds the events of a record of the log.
    pub(crate) fn append(&self, record: u64, events: Vec<EventBatch>) -> Result<()> {
        let mut held = self.lock();
        held.version += 1;
        for EventBatch { definition, rows } in events {
            if rows.num_rows() == 0 {
                continue;
            }
            held.since.get_or_insert_with(Instant::now);
            held.rows += rows.num_rows();
            let table = held
                .tables
                .entry(definition.id.to_string())
                .or_insert_with(|| Table { definition: Arc::clone(&definition), chunks: Vec::new() });
            table.definition = definition;
            let (before, after) = table.append(record, rows)?;
            held.bytes = (held.bytes + after).saturating_sub(before);
        }
        Ok(())
    }

    /// All events, for a flush; what comes from now on is of another. They stay visible until
    /// [`Buffers::drop_until`].
    pub(crate) fn cut(&self) -> Vec<EventBatch> {
        let mut held = self.lock();
        let mut events = Vec::new();
        for table in held.tables.values_mut() {
            for chunk in &mut table.chunks {
                (chunk.full, chunk.closed) = (true, true);
                let batches = chunk.rows.iter().cloned();
                events.extend(
                    batches.map(|rows| EventBatch { definition: Arc::clone(&table.definition), rows }),
                );
            }
        }
        events
    }

    /// Lets go of the events of records up to this one, of one definition or of all: they are in the lake.
    pub(crate) fn drop_until(&self, definition: Option<&str>, record: u64) {
        let mut held = self.lock();
        let mut gone = false;
        let of = |id: &str| definition.is_none_or(|wanted| wanted == id);
        for (_, table) in held.tables.iter_mut().filter(|(id, _)| of(id)) {
            let before = table.chunks.len();
            table.chunks.retain(|chunk| chunk.records.1 > record);
            gone |= table.chunks.len() < before;
        }
        if !gone {
            return;
        }
        held.tables.retain(|_, table| !table.chunks.is_empty());
        held.version += 1;
        let chunks = || held.tables.values().flat_map(|table| &table.chunks);
        let (bytes, rows) = (chunks().map(|one| one.bytes).sum(), chunks().map(Chunk::count).sum());
        held.since = (rows > 0).then(Instant::now);
        (held.bytes, held.rows) = (bytes, rows);
    }

    /// The memory of the events as columns, the number of them, and when the oldest came.
    pub(crate) fn extent(&self) -> (usize, usize, Option<Instant>) {
        let held = self.lock();
        (held.bytes, held.rows, held.since)
    }

    pub(crate) fn version(&self) -> u64 {
        self.lock().version
    }

    /// All events up to now as files. Takes a while where many are new, and lets others append meanwhile; one call at
    /// a time, and no [`Buffers::drop_until`] meanwhile.
    pub(crate) fn show(&self) -> Result<Shown> {
        let (version, work) = {
            let mut held = self.lock();
            (held.version, held.work())
        };
        let mut new = Vec::new();
        let mut made = Vec::new();
        for one in work {
            let files = encode(&one)?;
            made.push((one, files.iter().map(|file| file.file.clone()).collect::<Vec<_>>()));
            new.extend(files);
        }
        let mut held = self.lock();
        for (one, files) in made {
            if let Some(table) = held.tables.get_mut(one.definition.id.as_str()) {
                table.encoded(one.records, files);
            }
        }
        let mut files: BTreeMap<String, Vec<DataFile>> = BTreeMap::new();
        for (id, table) in &held.tables {
            let shown = table.chunks.iter().filter_map(|chunk| chunk.files.as_ref()).flatten().cloned();
            let mut shown: Vec<DataFile> = shown.collect();
            shown.sort_by(|a, b| (a.day, &a.path).cmp(&(b.day, &b.path)));
            if !shown.is_empty() {
                files.insert(id.clone(), shown);
            }
        }
        Ok(Shown { version, files, new })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Returns the bytes of the last chunk before and after; one that is new had none before.
    fn append(&mut self, record: u64, rows: RecordBatch) -> Result<(usize, usize)> {
        let bytes = rows.get_array_memory_size();
        match self.chunks.last_mut() {
            Some(chunk) if !chunk.full => {
                let before = chunk.bytes;
                chunk.records.1 = record;
                chunk.bytes += bytes;
                chunk.rows.push(rows);
                chunk.tidy()?;
                Ok((before, chunk.bytes))
            }
            _ => {
                self.chunks.push(Chunk {
                    records: (record, record),
                    rows: vec![rows],
                    bytes,
                    files: None,
                    full: false,
                    closed: false,
                });
                Ok((0, bytes))
            }
        }
    }

    /// The chunks of these records are one, and these are its files.
    fn encoded(&mut self, records: (u64, u64), files: Vec<DataFile>) {
        let within = |chunk: &Chunk| records.0 <= chunk.records.0 && chunk.records.1 <= records.1;
        let Some(at) = self.chunks.iter().position(within) else { return };
        let (taken, kept): (Vec<_>, Vec<_>) = mem::take(&mut self.chunks).into_iter().partition(within);
        self.chunks = kept;
        let chunk = Chunk {
            records,
            closed: taken.iter().any(|chunk| chunk.closed),
            bytes: taken.iter().map(|chunk| chunk.bytes).sum(),
            rows: taken.into_iter().flat_map(|chunk| chunk.rows).collect(),
            files: Some(files),
            full: true,
        };
        self.chunks.insert(at, chunk);
    }
}

impl Chunk {
    /// Many small batches at the end become one.
    fn tidy(&mut self) -> Result<()> {
        let small = self.rows.iter().rev().take_while(|rows| rows.num_rows() < SMALL_BATCHES * 8).count();
        let same = |pair: &[RecordBatch]| pair[0].schema_ref() == pair[1].schema_ref();
        let from = self.rows.len() - small;
        if small < SMALL_BATCHES || !self.rows[from..].windows(2).all(same) {
            return Ok(());
        }
        let one = concat_batches(self.rows[from].schema_ref(), &self.rows[from..])
            .internal(|| "could not put buffered events together".to_owned())?;
        let before: usize = self.rows.drain(from..).map(|rows| rows.get_array_memory_size()).sum();
        self.bytes = self.bytes.saturating_sub(before) + one.get_array_memory_size();
        self.rows.push(one);
        Ok(())
    }
}

impl Held {
    /// What has to be encoded so that everything is.
    fn work(&mut self) -> Vec<Work> {
        let mut work = Vec::new();
        for table in self.tables.values_mut() {
            table.chunks.iter_mut().for_each(|chunk| chunk.full = true);
            // Open chunks may be merged with each other, closed ones with each other.
            for closed in [true, false] {
                let chunks: Vec<&Chunk> = table.chunks.iter().filter(|one| one.closed == closed).collect();
                let Some(first) = chunks.iter().position(|chunk| chunk.files.is_none()) else { continue };
                let mut from = first;
                let mut rows: usize = chunks[first..].iter().map(|chunk| chunk.count()).sum();
                while from > 0 && chunks[from - 1].count() <= rows.min(FULL_ROWS) {
                    from -= 1;
                    rows += chunks[from].count();
                }
                let chunks = &chunks[from..];
                let (Some(head), Some(tail)) = (chunks.first(), chunks.last()) else { continue };
                work.push(Work {
                    definition: Arc::clone(&table.definition),
                    records: (head.records.0, tail.records.1),
                    rows: chunks.iter().flat_map(|chunk| chunk.rows.iter().cloned()).collect(),
                    name: self.files,
                });
                // One file a day, and no more days than rows.
                self.files += rows as u64;
            }
        }
        work
    }
}

/// The rows as sorted files, one a day.
fn encode(work: &Work) -> Result<Vec<BufferFile>> {
    let doing = || format!("could not show the newest events of \"{}\"", work.definition.id);
    let schema = SchemaRef::clone(Columns::of(&work.definition).file_schema());
    let rows = work.rows.iter().map(|rows| adapt::to_schema(rows, &schema)).collect::<Result<Vec<_>>>()?;
    let mut days: BTreeMap<i64, Vec<(SortKey, usize, usize)>> = BTreeMap::new();
    for (batch, rows) in rows.iter().enumerate() {
        let keys = SortKeys::of(rows)?;
        for row in 0..keys.len() {
            let day = keys.time(row).div_euclid(MICROS_PER_DAY);
            days.entry(day).or_default().push((keys.key(row), batch, row));
        }
    }
    let batches: Vec<&RecordBatch> = rows.iter().collect();
    let mut files = Vec::with_capacity(days.len());
    for (number, (day, mut places)) in (work.name..).zip(days) {
        places.sort_unstable();
        let day = Day(i32::try_from(day).internal(doing)?);
        let path = layout::buffer_path(work.definition.id.as_str(), day, number)?;
        let sorted: Vec<(usize, usize)> = places.iter().map(|(_, batch, row)| (*batch, *row)).collect();
        let gathered = interleave_record_batch(&batches, &sorted).internal(doing)?;
        let mut writer = ArrowWriter::try_new(Vec::new(), SchemaRef::clone(&schema), Some(properties()))
            .internal(doing)?;
        writer.write(&gathered).internal(doing)?;
        let bytes = Bytes::from(writer.into_inner().internal(doing)?);
        let persons = places.iter().map(|(key, ..)| key.0);
        let times = || places.iter().map(|(key, ..)| key.1);
        let persons = (persons.clone().min().unwrap_or(0), persons.max().unwrap_or(0));
        let times = (Micros(times().min().unwrap_or(0)), Micros(times().max().unwrap_or(0)));
        let file =
            DataFile { path, bytes: bytes.len() as u64, rows: places.len() as u64, day, persons, times };
        files.push(BufferFile { file, bytes });
    }
    Ok(files)
}

/// Quick to write and to read; nothing is compressed, no id is looked up in a dictionary that would hold each of them
/// once, and nothing is said of single pages.
pub(crate) fn properties() -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_column_dictionary_enabled(ColumnPath::from(EVENT_ID), false);
    for name in [PERSON_ID, OCCURRED_TIME, SEQ] {
        let column = ColumnPath::from(name);
        builder = builder
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
    }
    builder.build()
}
