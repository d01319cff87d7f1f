//! The store as it was: which events it had at a moment, or when an event was the last, for `SELECT … AS OF`.
//!
//! Events only come, so the store as of event `n` is the events up to `n`. Files that hold later ones too are read and
//! shown without them, as files in memory. Only retention takes events away (and forgetting, which shall have no way
//! back): for a moment before that, the files of the version that the table's Delta log had then are taken, while all of
//! them are still there. Persons and definitions are those of today.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::array::BooleanArray;
use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;
use arrow::datatypes::SchemaRef;
use arrow::datatypes::TimestampMicrosecondType;
use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::path::Path as StorePath;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::schema::Columns;
use crate::schema::Definition;
use crate::schema::RECEIVED_TIME;
use crate::schema::SEQ;
use crate::storage::DataFile;
use crate::storage::Snapshot;
use crate::storage::Storage;
use crate::storage::TableFiles;
use crate::storage::adapt;
use crate::storage::buffer;
use crate::storage::buffer::BufferFile;
use crate::storage::catalog::Reached;
use crate::storage::catalog::Removal;
use crate::storage::delta::Numbered;
use crate::storage::layout;
use crate::time::MICROS_PER_MILLI;
use crate::time::Micros;

/// The most bytes of files that are shown in part, for they are in memory while somebody asks.
const MOST_CUT_BYTES: u64 = 256 << 20;

/// The moment as of which somebody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Time(Micros),
    /// When the event of this number was the last.
    Seq(i64),
}

/// The store as it was.
#[derive(Debug)]
pub struct AsOf {
    /// Without the tables that are refused.
    pub snapshot: Arc<Snapshot>,
    /// Why some definitions cannot be asked about any more, by id.
    pub refused: BTreeMap<String, String>,
}

/// Which events were there.
#[derive(Clone, Copy, Debug)]
struct Reach {
    numbers: Reached,
    received: Micros,
}

impl Reach {
    fn holds(self, seq: i64, received: i64) -> bool {
        seq <= self.numbers.whole || (seq <= self.numbers.logged && received <= self.received.0)
    }

    fn last(self) -> i64 {
        self.numbers.whole.max(self.numbers.logged)
    }
}

/// The files of a table: those that are shown whole, and those that are shown in part.
#[derive(Default)]
struct Parted {
    whole: Vec<DataFile>,
    part: Vec<DataFile>,
}

impl Parted {
    fn of(files: Vec<Numbered>, reach: Reach) -> Self {
        let mut parted = Self::default();
        for Numbered { file, seqs } in files {
            if seqs.1 <= reach.numbers.whole {
                parted.whole.push(file);
            } else if seqs.0 <= reach.last() {
                parted.part.push(file);
            }
        }
        parted
    }

    fn bytes_in_part(&self) -> u64 {
        self.part.iter().map(|file| file.bytes).sum()
    }
}

impl Storage {
    /// The store as it was at a moment.
    ///
    /// # Errors
    /// `Invalid` when the moment lies ahead, or before the first of which it is known what was there.
    pub async fn snapshot_as_of(&self, moment: Moment) -> Result<AsOf> {
        let now = self.snapshot().await?;
        self.forget_past_buffers().await?;
        let reach = self.reach(moment)?;
        let removals = self.catalog.removals()?;
        let (mut tables, mut refused, mut new) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let mut room = MOST_CUT_BYTES;
        for (id, table) in &now.tables {
            let removal = removals.get(id).filter(|one| is_before(moment, one));
            if table.files.is_empty() && removal.is_none() {
                tables.insert(id.clone(), Arc::clone(table));
                continue;
            }
            let parted = match self.parted(table, reach, removal, room).await? {
                Ok(parted) => parted,
                Err(why) => {
                    refused.insert(id.clone(), why);
                    continue;
                }
            };
            room = room.saturating_sub(parted.bytes_in_part());
            let Parted { whole: mut files, part } = parted;
            for file in part {
                match self.cut(&table.definition, file, reach).await? {
                    Shown::Whole(file) => files.push(file),
                    Shown::Part(buffer) => {
                        files.push(buffer.file.clone());
                        new.push(buffer);
                    }
                    Shown::Nothing => {}
                }
            }
            files.sort_by(|a, b| (a.day, &a.path).cmp(&(b.day, &b.path)));
            tables.insert(
                id.clone(),
                Arc::new(TableFiles { definition: Arc::clone(&table.definition), files }),
            );
        }
        self.view.hold(tables.values());
        for BufferFile { file, bytes } in new {
            let shown = self.store.show(&file.path, bytes).await;
            shown.internal(|| "events of the past could not be kept in memory".to_owned())?;
        }
        let snapshot = Snapshot {
            registry: Arc::clone(&now.registry),
            persons: Arc::clone(&now.persons),
            people: now.people.clone(),
            tables,
            index: Arc::clone(&now.index),
        };
        Ok(AsOf { snapshot: Arc::new(snapshot), refused })
    }

    fn reach(&self, moment: Moment) -> Result<Reach> {
        let last = if self.config.read_only { self.catalog.last_seq()? } else { self.last_seq() };
        match moment {
            Moment::Seq(seq) if seq > last => Err(Error::invalid(format!(
                "no event has the number {seq} yet: AS OF takes a number up to {last}, or a time"
            ))),
            Moment::Seq(seq) => {
                Ok(Reach { numbers: Reached { whole: seq, logged: seq }, received: Micros(i64::MIN) })
            }
            Moment::Time(time) if time > self.now() => {
                Err(Error::invalid("AS OF is about the past, and that time lies ahead".to_owned()))
            }
            Moment::Time(time) => match self.catalog.reached_at(time)? {
                Ok(numbers) => Ok(Reach { numbers, received: time }),
                Err(first) => Err(Error::invalid(format!(
                    "it was not noted when events came before {}: ask AS OF that time or a later one, or AS OF a number \
                     of an event",
                    Micros(first.0 + MICROS_PER_MILLI - 1).iso_millis()
                ))),
            },
        }
    }

    /// The files of a table with the events that were there; or why there are none.
    async fn parted(
        &self,
        table: &TableFiles,
        reach: Reach,
        removal: Option<&Removal>,
        room: u64,
    ) -> Result<Result<Parted, String>> {
        let id = table.definition.id.as_str();
        let (buffers, stored): (Vec<DataFile>, Vec<DataFile>) =
            table.files.iter().cloned().partition(|file| layout::is_buffer(&file.path));
        let buffers = Parted { part: buffers, ..Parted::default() };
        let with_buffers = |mut parted: Parted| {
            parted.part.extend(buffers.part.iter().cloned());
            parted
        };
        if removal.is_none() {
            let files = self.tables.numbered(id, stored).await?;
            let today = Parted::of(files, reach);
            if today.bytes_in_part() <= room {
                return Ok(Ok(with_buffers(today)));
            }
        }
        let batch = self.catalog.batch_with(reach.last())?;
        if let Some(files) = self.tables.at_batch(id, batch).await? {
            let then = Parted::of(files, reach);
            let fits = then.bytes_in_part() <= room;
            if fits && self.all_there(&then).await? {
                return Ok(Ok(with_buffers(then)));
            }
        }
        Ok(Err(match removal {
            Some(Removal { at, last_seq }) => format!(
                "events of \"{id}\" that were there then have been removed since, because they were older than they are \
                 kept; the oldest moment that it can be asked about is AS OF '{}', or AS OF {last_seq}",
                at.iso_millis()
            ),
            None => format!(
                "too many events of \"{id}\" have come since into the same files ({} MiB would have to be in memory): ask \
                 AS OF a later moment",
                MOST_CUT_BYTES >> 20
            ),
        }))
    }

    async fn all_there(&self, parted: &Parted) -> Result<bool> {
        for file in parted.whole.iter().chain(&parted.part) {
            match self.store.head(&StorePath::from(file.path.as_str())).await {
                Ok(_) => {}
                Err(object_store::Error::NotFound { .. }) => return Ok(false),
                Err(error) => {
                    return Err(error).unavailable(|| format!("\"{}\" cannot be looked for", file.path));
                }
            }
        }
        Ok(true)
    }

    /// What was there of a file.
    async fn cut(&self, definition: &Arc<Definition>, file: DataFile, reach: Reach) -> Result<Shown> {
        let doing = || format!("the data file \"{}\" cannot be read", file.path);
        let got = self.store.get(&StorePath::from(file.path.as_str())).await.unavailable(doing)?;
        let bytes = got.bytes().await.unavailable(doing)?;
        let definition = Arc::clone(definition);
        let cut = tokio::task::spawn_blocking(move || cut(&definition, file, bytes, reach)).await;
        cut.internal(|| "the reading of the past broke off".to_owned())?
    }
}

/// Whether events were removed after a moment.
fn is_before(moment: Moment, removal: &Removal) -> bool {
    match moment {
        Moment::Time(time) => time < removal.at,
        Moment::Seq(seq) => seq < removal.last_seq,
    }
}

/// What is shown of a file.
enum Shown {
    Whole(DataFile),
    Part(BufferFile),
    Nothing,
}

fn cut(definition: &Definition, file: DataFile, bytes: Bytes, reach: Reach) -> Result<Shown> {
    let doing = || format!("the past of \"{}\" cannot be shown", file.path);
    let schema = SchemaRef::clone(Columns::of(definition).file_schema());
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).internal(doing)?.build().internal(doing)?;
    let mut writer = ArrowWriter::try_new(Vec::new(), SchemaRef::clone(&schema), Some(buffer::properties()))
        .internal(doing)?;
    let (mut all, mut kept) = (0, 0);
    for rows in reader {
        let rows = adapt::to_schema(&rows.internal(doing)?, &schema)?;
        let held = held(&rows, reach).ok_or_else(|| Error::internal(doing()))?;
        let rows_kept = filter_record_batch(&rows, &held).internal(doing)?;
        all += rows.num_rows() as u64;
        kept += rows_kept.num_rows() as u64;
        writer.write(&rows_kept).internal(doing)?;
    }
    if kept == all {
        return Ok(Shown::Whole(file));
    }
    if kept == 0 {
        return Ok(Shown::Nothing);
    }
    let path = layout::past_path(definition.id.as_str(), file.day)?;
    let bytes = Bytes::from(writer.into_inner().internal(doing)?);
    // Bounds of all rows are bounds of some.
    let file = DataFile { path, bytes: bytes.len() as u64, rows: kept, ..file };
    Ok(Shown::Part(BufferFile { file, bytes }))
}

fn held(rows: &RecordBatch, reach: Reach) -> Option<BooleanArray> {
    let seqs = rows.column_by_name(SEQ)?.as_primitive_opt::<Int64Type>()?.values();
    let received = rows.column_by_name(RECEIVED_TIME)?.as_primitive_opt::<TimestampMicrosecondType>()?;
    let held = seqs.iter().zip(received.values()).map(|(seq, received)| reach.holds(*seq, *received));
    Some(held.map(Some).collect())
}
