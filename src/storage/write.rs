//! Batches of events, in the order in which they came, to sorted data files: one per definition and day.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::Int64Array;
use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::schema::Columns;
use crate::schema::Definition;
use crate::schema::EventBatch;
use crate::schema::SEQ;
use crate::storage::adapt;
use crate::storage::delta::FileRecord;
use crate::storage::keys::SortKey;
use crate::storage::keys::SortKeys;
use crate::storage::layout;
use crate::storage::layout::Layout;
use crate::storage::object;
use crate::storage::parquet::DataFileWriter;
use crate::storage::parquet::WrittenFile;
use crate::storage::pool;
use crate::storage::shape;
use crate::storage::shape::Times;
use crate::storage::sidecar;
use crate::time::Day;
use crate::time::MICROS_PER_DAY;

/// Rows that are gathered before they are encoded: few enough to stay in the cache.
const CHUNK_ROWS: usize = 16_384;

/// All events of one definition in a batch.
struct Table {
    definition: Arc<Definition>,
    schema: SchemaRef,
    rows: Vec<RecordBatch>,
}

/// One file to be: the rows of one table that fall on one day.
struct Partition<'a> {
    table: &'a Table,
    day: Day,
    rows: Vec<Row>,
    path: String,
    /// The sequence number of its first row, when the rows are numbered anew.
    first_seq: Option<i64>,
}

/// A row, and where it is: the place of its batch in the table, and its place in the batch.
#[derive(Clone, Copy)]
struct Row {
    key: SortKey,
    batch: u32,
    row: u32,
}

/// Writes all events to files that are durable and that no log names yet; the latest versions of their definitions
/// decide the columns. When it fails, it removes what it wrote.
///
/// `stem` begins the name of each file; a random part follows. With `renumber` the sequence numbers of the events are
/// dealt out anew in the order of definition, day, person and time, where they were in the order of arrival: numbers
/// that rise by one take no space. Equal times of a person in a definition stay in the order of arrival.
pub(crate) fn write_files(
    layout: &Layout,
    threads: usize,
    stem: &str,
    events: Vec<EventBatch>,
    renumber: bool,
    latest: impl Fn(&str) -> Result<Arc<Definition>>,
) -> Result<Vec<FileRecord>> {
    let tables = tables(events, latest)?;
    let by_table = pool::run(threads, tables.iter().collect(), |table| partitions_of(table, stem))?;
    let mut partitions: Vec<Partition<'_>> = by_table.into_iter().flatten().collect();
    if renumber {
        deal_out_seqs(&mut partitions);
    }
    let paths: Vec<String> = partitions.iter().map(|partition| partition.path.clone()).collect();
    let folders: BTreeSet<PathBuf> =
        paths.iter().filter_map(|path| layout.local(path).parent().map(PathBuf::from)).collect();
    for folder in &folders {
        object::create_folder(folder)?;
    }
    // The largest first, so that no thread is left with it at the end.
    partitions.sort_by_key(|partition| std::cmp::Reverse(partition.rows.len()));
    let written = pool::run(threads, partitions, |partition| write_partition(layout, partition));
    let written = written.and_then(|records| {
        for folder in &folders {
            object::sync_folder(folder)?;
        }
        Ok(records)
    });
    if written.is_err() {
        for path in &paths {
            // What cannot be removed now is an orphan, which the next start-up removes.
            let _ = sidecar::remove_with(layout, path);
        }
    }
    written
}

fn tables(events: Vec<EventBatch>, latest: impl Fn(&str) -> Result<Arc<Definition>>) -> Result<Vec<Table>> {
    let mut tables: BTreeMap<String, Table> = BTreeMap::new();
    for EventBatch { definition, rows } in events {
        let id = definition.id.as_str();
        if rows.num_rows() == 0 {
            continue;
        }
        if !tables.contains_key(id) {
            let definition = latest(id)?;
            let schema = SchemaRef::clone(Columns::of(&definition).file_schema());
            tables.insert(id.to_owned(), Table { definition, schema, rows: Vec::new() });
        }
        if let Some(table) = tables.get_mut(id) {
            table.rows.push(adapt::to_schema(&rows, &table.schema)?);
        }
    }
    tables.into_values().map(without_empty_columns).collect()
}

/// Templates have many properties that a sender does not use.
fn without_empty_columns(mut table: Table) -> Result<Table> {
    table.schema = shape::with_values(&table.schema, &table.rows);
    for rows in &mut table.rows {
        *rows = adapt::to_schema(rows, &table.schema)?;
    }
    Ok(table)
}

fn partitions_of<'a>(table: &'a Table, stem: &str) -> Result<Vec<Partition<'a>>> {
    let mut by_day: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
    for (batch, rows) in (0_u32..).zip(&table.rows) {
        let keys = SortKeys::of(rows)?;
        let mut day = i64::MIN;
        let mut of_day = &mut Vec::new();
        for (row, at) in (0_u32..).zip(0..keys.len()) {
            // Neighbours are mostly of one day.
            let its_day = keys.time(at).div_euclid(MICROS_PER_DAY);
            if its_day != day {
                day = its_day;
                of_day = by_day.entry(day).or_default();
            }
            of_day.push(Row { key: keys.key(at), batch, row });
        }
    }
    let id = table.definition.id.as_str();
    by_day
        .into_iter()
        .map(|(day, rows)| {
            let day = Day(i32::try_from(day).internal(|| "a day is out of range".to_owned())?);
            let name = format!("{stem}-{}", uuid::Uuid::new_v4().simple());
            Ok(Partition { table, day, rows, path: layout::data_path(id, day, &name)?, first_seq: None })
        })
        .collect()
}

/// Gives each partition, in their order, its stretch of the sequence numbers, unless these have gaps.
fn deal_out_seqs(partitions: &mut [Partition<'_>]) {
    let seqs = || partitions.iter().flat_map(|partition| &partition.rows).map(|row| row.key.2);
    let (Some(least), Some(greatest)) = (seqs().min(), seqs().max()) else {
        return;
    };
    let count: usize = partitions.iter().map(|partition| partition.rows.len()).sum();
    if i64::try_from(count).ok() != greatest.checked_sub(least).and_then(|span| span.checked_add(1)) {
        return;
    }
    let mut next = least;
    for partition in partitions {
        partition.first_seq = Some(next);
        next += partition.rows.len() as i64;
    }
}

fn write_partition(layout: &Layout, mut partition: Partition<'_>) -> Result<FileRecord> {
    let Partition { table, day, ref mut rows, path, first_seq } = partition;
    rows.sort_unstable_by_key(|row| row.key);
    let batches: Vec<&RecordBatch> = table.rows.iter().collect();
    let times = Times::that_keep(rows.iter().map(|row| row.key.1));
    let writer = DataFileWriter::create(&layout.local(&path), &table.schema, rows.len(), times)?;
    // Of an import, whose files are compacted when it is over: where a day has others, this one will not stay.
    let stays = |one: &PathBuf| {
        first_seq.is_none() || one.parent().is_none_or(|folder| !folder.try_exists().unwrap_or(true))
    };
    let mut writer = writer.with_sidecar(layout.sidecar(&path).filter(stays), rows.len());
    let mut places = Vec::with_capacity(CHUNK_ROWS);
    let mut next_seq = first_seq;
    for chunk in rows.chunks(CHUNK_ROWS) {
        places.clear();
        places.extend(chunk.iter().map(|row| (row.batch as usize, row.row as usize)));
        let gathered = interleave_record_batch(&batches, &places)
            .map_err(|error| Error::internal("could not gather rows for a data file").with_source(error))?;
        let gathered = match &mut next_seq {
            Some(next) => numbered(&gathered, next)?,
            None => gathered,
        };
        writer.write(&gathered)?;
    }
    Ok(record(table.definition.id.as_str(), day, path, writer.finish()?))
}

/// The same rows, numbered from `next` on.
fn numbered(rows: &RecordBatch, next: &mut i64) -> Result<RecordBatch> {
    let doing = || "could not number the rows of a data file".to_owned();
    let first = *next;
    *next += rows.num_rows() as i64;
    let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
    columns[rows.schema_ref().index_of(SEQ).internal(doing)?] =
        Arc::new(Int64Array::from_iter_values(first..*next));
    RecordBatch::try_new(rows.schema(), columns).internal(doing)
}

/// What the log will need to know of a file.
pub(crate) fn record(definition: &str, day: Day, path: String, file: WrittenFile) -> FileRecord {
    FileRecord {
        definition: definition.to_owned(),
        path,
        bytes: file.bytes,
        day: day.0,
        stats: file.stats.json,
    }
}
