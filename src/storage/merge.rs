//! Several sorted data files read as one, a few thousand rows of each in memory at a time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::error::Context;
use crate::error::Result;
use crate::storage::adapt;
use crate::storage::keys::SortKey;
use crate::storage::keys::SortKeys;

/// Rows of each file that are in memory.
const CHUNK_ROWS: usize = 8192;
/// Rows that are handed on at once, at most (one stretch of a file may go beyond it by a chunk).
const GATHERED_ROWS: usize = 32_768;

/// One file, read as far as `at` in `rows`.
struct Run {
    reader: ParquetRecordBatchReader,
    rows: RecordBatch,
    keys: SortKeys,
    at: usize,
}

impl Run {
    /// The next rows that the file has, in the given columns; `false` at its end.
    fn advance(&mut self, schema: &SchemaRef) -> Result<bool> {
        self.at = 0;
        loop {
            let Some(rows) = self.reader.next() else {
                return Ok(false);
            };
            let rows = rows.unavailable(|| "a data file cannot be read".to_owned())?;
            if rows.num_rows() > 0 {
                self.rows = adapt::to_schema(&rows, schema)?;
                self.keys = SortKeys::of(&self.rows)?;
                return Ok(true);
            }
        }
    }

    fn key(&self) -> SortKey {
        self.keys.key(self.at)
    }
}

/// Hands all rows of the files to `sink`, sorted, in the given columns.
pub(crate) fn merge(
    files: &[PathBuf],
    schema: &SchemaRef,
    mut sink: impl FnMut(&RecordBatch) -> Result<()>,
) -> Result<()> {
    let mut runs = Vec::with_capacity(files.len());
    let mut heads = BinaryHeap::with_capacity(files.len());
    for path in files {
        let doing = || format!("the data file \"{}\" cannot be read", path.display());
        let file = File::open(path).unavailable(doing)?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).unavailable(doing)?;
        let reader = builder.with_batch_size(CHUNK_ROWS).build().unavailable(doing)?;
        let rows = RecordBatch::new_empty(SchemaRef::clone(schema));
        let keys = SortKeys::of(&rows)?;
        let mut run = Run { reader, rows, keys, at: 0 };
        if run.advance(schema)? {
            heads.push(Reverse((run.key(), runs.len())));
            runs.push(run);
        }
    }
    let mut places: Vec<(usize, usize)> = Vec::new();
    while let Some(Reverse((_, number))) = heads.pop() {
        let run = &mut runs[number];
        let next_head = heads.peek().map(|Reverse((key, _))| *key);
        // Sorted files of different times often have long stretches to themselves.
        loop {
            places.push((number, run.at));
            run.at += 1;
            if run.at == run.keys.len() || next_head.is_some_and(|head| run.key() > head) {
                break;
            }
        }
        if run.at < run.keys.len() {
            heads.push(Reverse((run.key(), number)));
            if places.len() >= GATHERED_ROWS {
                gather(&runs, &mut places, &mut sink)?;
            }
            continue;
        }
        // The rows that were picked are of the chunks in memory, so they go before one of those does.
        gather(&runs, &mut places, &mut sink)?;
        let run = &mut runs[number];
        if run.advance(schema)? {
            heads.push(Reverse((run.key(), number)));
        }
    }
    gather(&runs, &mut places, &mut sink)
}

fn gather(
    runs: &[Run],
    places: &mut Vec<(usize, usize)>,
    sink: &mut impl FnMut(&RecordBatch) -> Result<()>,
) -> Result<()> {
    if places.is_empty() {
        return Ok(());
    }
    let chunks: Vec<&RecordBatch> = runs.iter().map(|run| &run.rows).collect();
    let rows = interleave_record_batch(&chunks, places)
        .internal(|| "could not gather rows of data files".to_owned())?;
    places.clear();
    sink(&rows)
}
