//! DataFusion's Parquet source, which also tells `EXPLAIN` how many files and days were left out.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileGroup;
use datafusion::datasource::physical_plan::FileOpener;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::physical_plan::FileSource;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_expr::LexOrdering;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::DisplayFormatType;
use datafusion::physical_plan::SortOrderPushdownResult;
use datafusion::physical_plan::filter_pushdown::FilterPushdownPropagation;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion_datasource::morsel::Morselizer;
use object_store::ObjectStore;

use crate::query::files::Extent;
use crate::query::whole::Whole;
use crate::query::whole::WholeScan;
use crate::query::whole::is_small;
use crate::storage::snapshot::Snapshot;

/// Reads files of the lake; all but [`FileSource::fmt_extra`] is the Parquet source's own.
#[derive(Clone)]
pub(crate) struct LakeSource {
    parquet: Arc<dyn FileSource>,
    whole: Whole,
    batch_size: Option<usize>,
    kept: Extent,
    of: Extent,
    /// Files that somebody holds are not removed, on disk or in memory.
    _held: Arc<Snapshot>,
}

impl LakeSource {
    /// `kept` is what `parquet` and `whole` will read, `of` what the table has, `held` whose files they are.
    pub(crate) fn new(
        parquet: Arc<dyn FileSource>,
        whole: Whole,
        kept: Extent,
        of: Extent,
        held: Arc<Snapshot>,
    ) -> Self {
        Self { parquet, whole, batch_size: None, kept, of, _held: held }
    }

    fn around(&self, parquet: Arc<dyn FileSource>) -> Arc<dyn FileSource> {
        Arc::new(Self { parquet, ..self.clone() })
    }
}

impl FileSource for LakeSource {
    fn create_file_opener(
        &self,
        _object_store: Arc<dyn ObjectStore>,
        _base_config: &FileScanConfig,
        _partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        internal_err!("lake files are opened as morsels")
    }

    fn create_morselizer(
        &self,
        object_store: Arc<dyn ObjectStore>,
        base_config: &FileScanConfig,
        partition: usize,
    ) -> Result<Box<dyn Morselizer>> {
        let parquet = self.parquet.create_morselizer(object_store, base_config, partition)?;
        let Some(batch_size) = self.batch_size else { return Ok(parquet) };
        let scan = WholeScan {
            table: self.parquet.table_schema(),
            filter: self.parquet.filter(),
            projection: self.parquet.projection(),
            batch_size,
            partition,
            metrics: self.parquet.metrics(),
        };
        self.whole.morselizer(parquet, scan)
    }

    fn table_schema(&self) -> &TableSchema {
        self.parquet.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        let parquet = self.parquet.with_batch_size(batch_size);
        Arc::new(Self { parquet, batch_size: Some(batch_size), ..self.clone() })
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.parquet.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.parquet.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.parquet.metrics()
    }

    fn file_type(&self) -> &str {
        self.parquet.file_type()
    }

    fn fmt_extra(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kept, of, .. } = self;
        match kind {
            DisplayFormatType::TreeRender => {
                writeln!(f, "files={} of {}", kept.files, of.files)?;
                writeln!(f, "days={} of {}", kept.days, of.days)?;
            }
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, ", files={} of {}, days={} of {}", kept.files, of.files, kept.days, of.days)?;
            }
        }
        self.parquet.fmt_extra(kind, f)
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        self.parquet.reorder_files(files)
    }

    /// Small files stay whole: the scan has dealt them out by rows already.
    fn repartitioned(
        &self,
        target_partitions: usize,
        repartition_file_min_size: usize,
        output_ordering: Option<LexOrdering>,
        config: &FileScanConfig,
    ) -> Result<Option<FileScanConfig>> {
        if config.file_groups.iter().flat_map(FileGroup::iter).all(is_small) {
            return Ok(None);
        }
        self.parquet.repartitioned(target_partitions, repartition_file_min_size, output_ordering, config)
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        let mut answer = self.parquet.try_pushdown_filters(filters, config)?;
        answer.updated_node = answer.updated_node.map(|parquet| self.around(parquet));
        Ok(answer)
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        let pushed = self.parquet.try_pushdown_projection(projection)?;
        Ok(pushed.map(|parquet| self.around(parquet)))
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
        properties: &EquivalenceProperties,
    ) -> Result<SortOrderPushdownResult<Arc<dyn FileSource>>> {
        Ok(match self.parquet.try_pushdown_sort(order, properties)? {
            SortOrderPushdownResult::Exact { inner } => {
                SortOrderPushdownResult::Exact { inner: self.around(inner) }
            }
            SortOrderPushdownResult::Inexact { inner } => {
                SortOrderPushdownResult::Inexact { inner: self.around(inner) }
            }
            SortOrderPushdownResult::Unsupported => SortOrderPushdownResult::Unsupported,
        })
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.parquet.apply_expressions(f)
    }
}
