//! `PersonsSource`: chunks of persons that become rows one after another, as they are read. Conditions on single columns are
//! its own: of a column that has few values, each value is asked once, and only rows that are wanted are made.

use std::fmt;
use std::sync::Arc;

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::BooleanArray;
use arrow::compute::and;
use arrow::compute::prep_null_mask_filter;
use arrow::datatypes::DataType;
use arrow::datatypes::FieldRef;
use arrow::datatypes::Int64Type;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow::record_batch::RecordBatchOptions;
use datafusion::common::DataFusionError;
use datafusion::common::Result;
use datafusion::common::Statistics;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source::DataSource;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::DynamicFilterTracking;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_expr::Partitioning;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::utils::reassign_expr_columns;
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::DisplayFormatType;
use datafusion::physical_plan::filter_pushdown::FilterPushdownPropagation;
use datafusion::physical_plan::filter_pushdown::PushedDown;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream;

use crate::query::computed::ComputedColumn;
use crate::storage::PeopleChunk;

#[derive(Clone, Debug)]
pub(crate) struct PersonsSource {
    partitions: Vec<Vec<PeopleChunk>>,
    columns: Arc<Columns>,
    /// What rows must be, all of it.
    conditions: Vec<Condition>,
}

/// The columns that are asked for, in their order.
#[derive(Debug)]
pub(crate) struct Columns {
    pub(crate) schema: SchemaRef,
    pub(crate) of: Vec<Column>,
}

#[derive(Debug)]
pub(crate) enum Column {
    /// The place among those that are kept.
    Stored(usize),
    Computed(Arc<ComputedColumn>),
}

/// A condition on one stored column.
#[derive(Clone, Debug)]
struct Condition {
    place: usize,
    /// A schema of that column alone, which the expression is of.
    schema: SchemaRef,
    expr: Arc<dyn PhysicalExpr>,
}

impl Condition {
    /// If it asks for nothing but one stored column, and for the same of equal values.
    fn of(expr: &Arc<dyn PhysicalExpr>, columns: &Columns) -> Option<Self> {
        let asked = collect_columns(expr);
        let mut asked = asked.iter();
        let (Some(column), None) = (asked.next(), asked.next()) else { return None };
        let Column::Stored(place) = columns.of.get(column.index())? else { return None };
        if is_volatile(expr) || DynamicFilterTracking::classify(expr).contains_dynamic_filter() {
            return None;
        }
        let field = Arc::clone(&columns.schema.fields()[column.index()]);
        let schema = Arc::new(Schema::new(vec![field]));
        let expr = reassign_expr_columns(Arc::clone(expr), &schema).ok()?;
        Some(Self { place: *place, schema, expr })
    }

    /// Which of some values it is true of.
    fn of_values(&self, values: &ArrayRef) -> Result<BooleanArray> {
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), vec![Arc::clone(values)])?;
        let holds = self.expr.evaluate(&rows)?.into_array(values.len())?;
        let holds = holds.as_boolean();
        Ok(if holds.null_count() > 0 { prep_null_mask_filter(holds) } else { holds.clone() })
    }
}

impl Columns {
    /// The rows of a chunk, or those that are wanted.
    fn rows(&self, chunk: &PeopleChunk, wanted: Option<&BooleanArray>) -> Result<RecordBatch> {
        let column = |(column, field): (&Column, &FieldRef)| -> Result<ArrayRef> {
            let made = match column {
                Column::Stored(place) => chunk.column(*place, field.data_type(), wanted),
                Column::Computed(computed) => {
                    // The first stored column is the id.
                    let ids = chunk.column(0, &DataType::Int64, wanted);
                    ids.and_then(|ids| computed.of(ids.as_primitive::<Int64Type>().values()))
                }
            };
            made.map_err(external)
        };
        let columns = self.of.iter().zip(self.schema.fields()).map(column).collect::<Result<Vec<_>>>()?;
        let rows = wanted.map_or(chunk.len(), BooleanArray::true_count);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

pub(crate) fn external(error: crate::error::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

impl PersonsSource {
    pub(crate) fn new(partitions: Vec<Vec<PeopleChunk>>, columns: Arc<Columns>) -> Self {
        Self { partitions, columns, conditions: Vec::new() }
    }

    fn persons(&self) -> usize {
        self.partitions.iter().flatten().map(PeopleChunk::len).sum()
    }
}

/// The rows of a chunk that all conditions are true of; none if there are none.
fn rows_of(chunk: &PeopleChunk, conditions: &[Condition], columns: &Columns) -> Result<Option<RecordBatch>> {
    let mut wanted: Option<BooleanArray> = None;
    for condition in conditions {
        let shown_as = condition.schema.field(0).data_type();
        let holds = chunk.matching(condition.place, shown_as, |values| condition.of_values(values))?;
        let both = match wanted {
            Some(wanted) => and(&wanted, &holds)?,
            None => holds,
        };
        if both.true_count() == 0 {
            return Ok(None);
        }
        wanted = Some(both);
    }
    let wanted = wanted.filter(|wanted| wanted.true_count() < chunk.len());
    columns.rows(chunk, wanted.as_ref()).map(Some)
}

impl DataSource for PersonsSource {
    fn open(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (columns, conditions) = (Arc::clone(&self.columns), self.conditions.clone());
        let schema = Arc::clone(&columns.schema);
        let chunks = self.partitions[partition].clone().into_iter();
        let rows = chunks.filter_map(move |chunk| rows_of(&chunk, &conditions, &columns).transpose());
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream::iter(rows))))
    }

    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "persons={}, partitions={}", self.persons(), self.partitions.len())?;
        let conditions: Vec<String> = self.conditions.iter().map(|one| one.expr.to_string()).collect();
        if !conditions.is_empty() {
            write!(f, ", predicate={}", conditions.join(" AND "))?;
        }
        Ok(())
    }

    fn output_partitioning(&self) -> Partitioning {
        Partitioning::UnknownPartitioning(self.partitions.len())
    }

    fn eq_properties(&self) -> EquivalenceProperties {
        EquivalenceProperties::new(Arc::clone(&self.columns.schema))
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        let all = match partition {
            Some(partition) => &self.partitions[partition..=partition],
            None => &self.partitions,
        };
        let rows = all.iter().flatten().map(PeopleChunk::len).sum();
        let mut statistics = Statistics::new_unknown(&self.columns.schema);
        statistics.num_rows =
            if self.conditions.is_empty() { Precision::Exact(rows) } else { Precision::Inexact(rows) };
        Ok(Arc::new(statistics))
    }

    fn with_fetch(&self, _: Option<usize>) -> Option<Arc<dyn DataSource>> {
        None
    }

    fn fetch(&self) -> Option<usize> {
        None
    }

    fn try_swapping_with_projection(&self, _: &ProjectionExprs) -> Result<Option<Arc<dyn DataSource>>> {
        Ok(None)
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn DataSource>>> {
        let mut source = self.clone();
        let mut told = Vec::with_capacity(filters.len());
        for expr in &filters {
            let condition = Condition::of(expr, &self.columns);
            told.push(if condition.is_some() { PushedDown::Yes } else { PushedDown::No });
            source.conditions.extend(condition);
        }
        let changed = source.conditions.len() > self.conditions.len();
        let told = FilterPushdownPropagation::with_parent_pushdown_result(told);
        Ok(if changed { told.with_updated_node(Arc::new(source)) } else { told })
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }
}
