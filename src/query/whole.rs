//! Reads small files whole: their columns come from memory when they are there, are decoded in one go when they are
//! not, and go through the scan's own filter and projection. Other files are left to DataFusion's Parquet reader.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::RecordBatch;
use arrow::array::new_null_array;
use arrow::compute::cast;
use arrow::compute::filter_record_batch;
use arrow::datatypes::Field;
use arrow::datatypes::Schema;
use datafusion::common::Result;
use datafusion::common::ScalarValue;
use datafusion::common::internal_datafusion_err;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetFileReaderFactory;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::projection::Projector;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::metrics::MetricBuilder;
use datafusion_datasource::morsel::Morsel;
use datafusion_datasource::morsel::MorselPlan;
use datafusion_datasource::morsel::MorselPlanner;
use datafusion_datasource::morsel::Morselizer;
use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::parquet_to_arrow_schema;

use crate::query::hot::HotColumns;
use crate::query::layout::shown;
use crate::schema::OCCURRED_TIME;
use crate::schema::PERSON_ID;

/// Files of more rows are read as a stream: their columns, decoded at once, would be too much in one piece.
const MOST_ROWS: usize = 1 << 18;

/// How many files came from memory, as `EXPLAIN ANALYZE` shows it.
const FROM_MEMORY: &str = "files_from_memory";

/// Where the files are, which columns are kept of them, and whether this scan may add to those.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    pub(crate) hot: Arc<HotColumns>,
    pub(crate) files: Arc<dyn ParquetFileReaderFactory>,
    pub(crate) fill: bool,
}

impl Whole {
    /// `parquet` reads what is not read whole.
    pub(crate) fn morselizer(
        &self,
        parquet: Box<dyn Morselizer>,
        scan: WholeScan<'_>,
    ) -> Result<Box<dyn Morselizer>> {
        let columns = scan.table.file_schema();
        if columns.fields().is_empty() || columns.fields().iter().any(|field| field.data_type().is_nested()) {
            return Ok(parquet);
        }
        let schema = Arc::clone(scan.table.table_schema());
        // The values of the path are made only where something asks for them.
        let mut asked: HashSet<usize> = scan.projection.map_or_else(
            || (0..schema.fields().len()).collect(),
            |exprs| exprs.column_indices().into_iter().collect(),
        );
        asked.extend(scan.filter.iter().flat_map(collect_columns).map(|column| column.index()));
        let path = (columns.fields().len()..schema.fields().len()).any(|at| asked.contains(&at));
        let projector = scan.projection.map(|exprs| exprs.make_projector(&schema)).transpose()?;
        // Such a condition reads a part of the file, and knows by the statistics of its pages which.
        let reads_part = scan.filter.as_ref().is_some_and(|filter| {
            let columns = collect_columns(filter);
            columns.iter().any(|column| [PERSON_ID, OCCURRED_TIME].contains(&column.name()))
        });
        let reader = Reader {
            whole: Self { fill: self.fill && !reads_part, ..self.clone() },
            columns: Arc::clone(columns),
            schema: if path { schema } else { Arc::clone(columns) },
            filter: scan.filter,
            projector,
            batch_size: scan.batch_size.max(1),
            partition: scan.partition,
            metrics: scan.metrics.clone(),
        };
        Ok(Box::new(WholeFiles { parquet, reader: Arc::new(reader) }))
    }
}

/// What one scan asks for.
pub(crate) struct WholeScan<'a> {
    pub(crate) table: &'a TableSchema,
    pub(crate) filter: Option<Arc<dyn PhysicalExpr>>,
    pub(crate) projection: Option<&'a ProjectionExprs>,
    pub(crate) batch_size: usize,
    pub(crate) partition: usize,
    pub(crate) metrics: &'a ExecutionPlanMetricsSet,
}

#[derive(Debug)]
struct WholeFiles {
    parquet: Box<dyn Morselizer>,
    reader: Arc<Reader>,
}

impl Morselizer for WholeFiles {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        if !is_all(&file) {
            return self.parquet.plan_file(file);
        }
        let small = is_small(&file);
        let reader = Arc::clone(&self.reader);
        match reader.remembered(&file) {
            Some(columns) => Ok(Box::new(WholeFile { reader, file, columns: Some(columns) })),
            None if small && reader.whole.fill => Ok(Box::new(WholeFile { reader, file, columns: None })),
            None => self.parquet.plan_file(file),
        }
    }
}

/// Whether a file may be decoded in one piece.
pub(crate) fn is_small(file: &PartitionedFile) -> bool {
    let rows = file.statistics.as_ref().and_then(|known| known.num_rows.get_value());
    rows.is_some_and(|rows| *rows <= MOST_ROWS)
}

/// Whether the file is meant from its first byte to its last.
fn is_all(file: &PartitionedFile) -> bool {
    let size = i64::try_from(file.object_meta.size).unwrap_or(i64::MAX);
    file.range.as_ref().is_none_or(|range| range.start <= 0 && range.end >= size)
}

/// Reads the columns of files, and makes the rows of the scan from them.
struct Reader {
    whole: Whole,
    /// The columns that are read, in this order.
    columns: Arc<Schema>,
    /// Those and, where they are asked for, the values of the path: what filter and projection speak of.
    schema: Arc<Schema>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    projector: Option<Projector>,
    batch_size: usize,
    partition: usize,
    metrics: ExecutionPlanMetricsSet,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Reader {
    fn remembered(&self, file: &PartitionedFile) -> Option<Vec<ArrayRef>> {
        let names = self.columns.fields().iter().map(|field| field.name().as_str());
        let columns = self.whole.hot.get(&file.object_meta.location, names)?;
        MetricBuilder::new(&self.metrics).counter(FROM_MEMORY, self.partition).add(1);
        Some(columns)
    }

    /// Decodes the columns of one file and keeps them in memory.
    async fn decode(&self, file: &PartitionedFile) -> Result<Vec<ArrayRef>> {
        let mut input: Box<dyn AsyncFileReader> =
            self.whole.files.create_reader(self.partition, file.clone(), None, &self.metrics)?;
        let metadata = input.get_metadata(None).await?;
        let known = metadata.file_metadata();
        let stored = parquet_to_arrow_schema(known.schema_descr(), known.key_value_metadata())?;
        let views: Vec<Field> = stored
            .fields()
            .iter()
            .map(|field| field.as_ref().clone().with_data_type(shown(field.data_type())))
            .collect();
        let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(views)));
        let metadata = ArrowReaderMetadata::try_new(metadata, options)?;
        let wanted = |name: &str| self.columns.field_with_name(name).is_ok();
        let roots = stored.fields().iter().enumerate().filter(|(_, field)| wanted(field.name()));
        let mask = ProjectionMask::roots(metadata.parquet_schema(), roots.map(|(at, _)| at));
        let rows: i64 = metadata.metadata().row_groups().iter().map(|group| group.num_rows()).sum();
        let rows = usize::try_from(rows).map_err(|_| internal_datafusion_err!("a file has {rows} rows"))?;
        let batches: Vec<RecordBatch> = ParquetRecordBatchStreamBuilder::new_with_metadata(input, metadata)
            .with_projection(mask)
            .with_batch_size(rows.max(1))
            .build()?
            .try_collect()
            .await?;
        let mut columns = Vec::with_capacity(self.columns.fields().len());
        for field in self.columns.fields() {
            let column = column_of(&batches, field, rows)?;
            self.whole.hot.put(&file.object_meta.location, field.name(), Arc::clone(&column));
            columns.push(column);
        }
        Ok(columns)
    }

    /// The rows of the scan among some rows of the file.
    fn rows(&self, columns: Vec<ArrayRef>, path: &[ScalarValue], count: usize) -> Result<RecordBatch> {
        let mut all = columns;
        for value in path.iter().take(self.schema.fields().len() - all.len()) {
            all.push(value.to_array_of_size(count)?);
        }
        let mut batch = RecordBatch::try_new(Arc::clone(&self.schema), all)?;
        if let Some(filter) = &self.filter {
            let kept = filter.evaluate(&batch)?.into_array(count)?;
            let kept = kept
                .as_boolean_opt()
                .ok_or_else(|| internal_datafusion_err!("the filter of a scan is no condition"))?;
            batch = filter_record_batch(&batch, kept)?;
        }
        match &self.projector {
            Some(projector) => projector.project_batch(&batch),
            None => Ok(batch),
        }
    }
}

/// One column of the file, of the type that SQL shows.
fn column_of(batches: &[RecordBatch], field: &Field, rows: usize) -> Result<ArrayRef> {
    let parts: Option<Vec<&ArrayRef>> =
        batches.iter().map(|batch| batch.column_by_name(field.name())).collect();
    let stored = match parts.as_deref() {
        Some([one]) => Arc::clone(one),
        Some(parts @ [_, _, ..]) => {
            let parts: Vec<_> = parts.iter().map(|part| part.as_ref()).collect();
            arrow::compute::concat(&parts)?
        }
        // A property that is younger than the file.
        _ => new_null_array(field.data_type(), rows),
    };
    if stored.data_type() == field.data_type() {
        return Ok(stored);
    }
    Ok(cast(&stored, field.data_type())?)
}

/// One file, before and after its columns are there.
#[derive(Debug)]
struct WholeFile {
    reader: Arc<Reader>,
    file: PartitionedFile,
    columns: Option<Vec<ArrayRef>>,
}

impl MorselPlanner for WholeFile {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        let Self { reader, file, columns } = *self;
        let plan = MorselPlan::new();
        Ok(Some(match columns {
            Some(columns) => {
                let rows = columns.first().map_or(0, |column| column.len());
                plan.with_morsels(vec![Box::new(Rows { reader, path: file.partition_values, columns, rows })])
            }
            None => plan.with_pending_planner(async move {
                let columns = reader.decode(&file).await?;
                let planner: Box<dyn MorselPlanner> = Box::new(Self { reader, file, columns: Some(columns) });
                Ok(planner)
            }),
        }))
    }
}

/// The rows of one file.
#[derive(Debug)]
struct Rows {
    reader: Arc<Reader>,
    path: Vec<ScalarValue>,
    columns: Vec<ArrayRef>,
    rows: usize,
}

impl Morsel for Rows {
    fn into_stream(self: Box<Self>) -> BoxStream<'static, Result<RecordBatch>> {
        let size = self.reader.batch_size;
        let starts = (0..self.rows).step_by(size);
        let batches = starts.map(move |start| {
            let count = size.min(self.rows - start);
            let columns = self.columns.iter().map(|column| column.slice(start, count)).collect();
            self.reader.rows(columns, &self.path, count)
        });
        futures::stream::iter(batches).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_cut_at_its_ends_is_still_the_whole_file() {
        let file = || PartitionedFile::new("day=2026-06-01/a.parquet", 100);
        assert!(is_all(&file()));
        assert!(is_all(&file().with_range(0, 100)));
        assert!(!is_all(&file().with_range(0, 99)));
        assert!(!is_all(&file().with_range(1, 100)));
    }

    #[test]
    fn a_file_of_unknown_size_is_not_small() {
        let file = PartitionedFile::new("day=2026-06-01/a.parquet", 100);
        assert!(!is_small(&file));
    }
}
