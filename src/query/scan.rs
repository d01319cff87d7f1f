//! From files and SQL columns to a DataFusion scan: names, order, statistics and groups of files are decided here.

use std::sync::Arc;

use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::FieldRef;
use arrow::datatypes::Schema;
use datafusion::catalog::Session;
use datafusion::common::ColumnStatistics;
use datafusion::common::DFSchema;
use datafusion::common::DataFusionError;
use datafusion::common::Result;
use datafusion::common::ScalarValue;
use datafusion::common::Statistics;
use datafusion::common::config::TableParquetOptions;
use datafusion::common::stats::Precision;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileGroup;
use datafusion::datasource::physical_plan::FileScanConfigBuilder;
use datafusion::datasource::physical_plan::FileSource;
use datafusion::datasource::physical_plan::ParquetSource;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::ParquetFileReaderFactory;
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::ScalarUDF;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_expr::LexOrdering;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::ProjectionExpr;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;

use crate::query::files::Extent;
use crate::query::files::LakeFile;
use crate::query::files::extent;
use crate::query::functions::external::ExternalPersonId;
use crate::query::functions::json_text::PropertiesJson;
use crate::query::hot::HotColumns;
use crate::query::layout::DEFINITION_ID;
use crate::query::layout::Origin;
use crate::query::layout::SqlColumn;
use crate::query::layout::shown;
use crate::query::layout::time_type;
use crate::query::merged::Resolved;
use crate::query::millis::MillisAdapters;
use crate::query::source::LakeSource;
use crate::query::whole::Whole;
use crate::schema::Columns;
use crate::schema::DAY;
use crate::schema::OCCURRED_TIME;
use crate::schema::PERSON_ID;
use crate::schema::SEQ;
use crate::storage::snapshot::DataFile;
use crate::storage::snapshot::Snapshot;

/// What a text takes in memory, by and large, in bytes.
const TEXT_WIDTH: usize = 48;

/// What every table of a session reads from.
#[derive(Debug)]
pub(crate) struct Lake {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) url: ObjectStoreUrl,
    /// Decoded columns of files that were asked for before.
    pub(crate) hot: Arc<HotColumns>,
}

/// A scan that is about to be planned.
pub(crate) struct Scan<'a> {
    pub(crate) lake: &'a Lake,
    /// What is left to read, and of how much.
    pub(crate) files: Vec<LakeFile>,
    pub(crate) of: Extent,
    /// The SQL columns that are asked for, in order.
    pub(crate) columns: Vec<&'a SqlColumn>,
    /// The properties that the column `properties` shows; none otherwise.
    pub(crate) properties: Option<&'a Columns>,
    /// What rows must meet: conditions on `personId`, `occurredTime`, `day` and `definitionId`.
    pub(crate) conditions: Vec<Expr>,
    pub(crate) limit: Option<usize>,
    /// In how many parts to read, at most.
    pub(crate) partitions: usize,
}

impl Scan<'_> {
    pub(crate) fn plan(self, state: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        if self.files.is_empty() {
            let fields: Vec<FieldRef> = self.columns.iter().map(|one| Arc::clone(&one.field)).collect();
            return Ok(Arc::new(EmptyExec::new(Arc::new(Schema::new(fields)))));
        }
        let table = self.table_schema();
        let schema = Arc::clone(table.table_schema());
        let projection = self.projection(&schema, state)?;
        let kept = extent(&self.files);

        let store = state.runtime_env().object_store(&self.lake.url)?;
        let cache = state.runtime_env().cache_manager.get_file_metadata_cache();
        let options = &state.config_options().execution.parquet;
        let files: Arc<dyn ParquetFileReaderFactory> =
            Arc::new(CachedParquetFileReaderFactory::new(store, cache));
        let whole =
            Whole { hot: Arc::clone(&self.lake.hot), files: Arc::clone(&files), fill: self.fills(&table) };
        let mut parquet = ParquetSource::new(table)
            .with_table_parquet_options(TableParquetOptions { global: options.clone(), ..Default::default() })
            .with_parquet_file_reader_factory(files);
        if let Some(condition) = conjunction(self.conditions.iter().cloned()) {
            let df_schema = DFSchema::try_from(Arc::clone(&schema))?;
            let condition = state.create_physical_expr(condition, &df_schema)?;
            parquet = parquet.with_predicate(condition).with_pushdown_filters(true);
        }
        let held = Arc::clone(&self.lake.snapshot);
        let source = LakeSource::new(Arc::new(parquet), whole, kept, self.of, held);
        let source: Arc<dyn FileSource> = Arc::new(source);
        let source = source.try_pushdown_projection(&projection)?.unwrap_or(source);

        // With a file to itself each group keeps the order of its file.
        let sorted = self.files.len() <= self.partitions;
        let order = if sorted { file_order(&schema).into_iter().collect() } else { Vec::new() };
        let config = FileScanConfigBuilder::new(self.lake.url.clone(), source)
            .with_file_groups(self.groups(&schema))
            .with_statistics(statistics_of(self.files.iter().map(LakeFile::file), &schema))
            .with_output_ordering(order)
            .with_limit(self.limit)
            .with_expr_adapter(Some(Arc::new(MillisAdapters)))
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// Whether what is read is worth keeping in memory: it is all read, unless there is a limit, and it is not more
    /// than half of what can be kept.
    fn fills(&self, table: &TableSchema) -> bool {
        let rows: u64 = self.files.iter().map(|one| one.file().rows).sum();
        let widths = table.file_schema().fields().iter().map(|field| field.data_type().primitive_width());
        let width: usize = widths.map(|width| width.unwrap_or(TEXT_WIDTH)).sum();
        let bytes = usize::try_from(rows).unwrap_or(usize::MAX).saturating_mul(width);
        self.limit.is_none() && self.lake.hot.welcomes(bytes)
    }

    /// The columns of the files that are needed and no others, then those of the path.
    fn table_schema(&self) -> TableSchema {
        let mut file: Vec<FieldRef> = Vec::new();
        let mut want = |name: &str, kind: DataType, nullable: bool| {
            if !file.iter().any(|field| field.name() == name) {
                file.push(Arc::new(Field::new(name, kind, nullable)));
            }
        };
        for column in &self.columns {
            match &column.origin {
                Origin::File(name) => {
                    want(name, column.field.data_type().clone(), column.field.is_nullable());
                }
                Origin::ExternalPersonId => want(PERSON_ID, DataType::Int64, false),
                Origin::Properties => {
                    for one in self.properties.iter().flat_map(|columns| columns.properties()) {
                        want(&one.file, shown(&one.data_type), true);
                    }
                }
                Origin::Path => {}
            }
        }
        for column in self.conditions.iter().flat_map(Expr::column_refs) {
            match column.name.as_str() {
                PERSON_ID => want(PERSON_ID, DataType::Int64, false),
                OCCURRED_TIME => want(OCCURRED_TIME, time_type(), false),
                _ => {}
            }
        }
        let path: Vec<FieldRef> = vec![
            Arc::new(Field::new(DAY, DataType::Date32, false)),
            Arc::new(Field::new(DEFINITION_ID, DataType::Utf8View, false)),
        ];
        TableSchema::builder(Arc::new(Schema::new(file))).with_table_partition_cols(path).build()
    }

    fn projection(&self, schema: &Schema, state: &dyn Session) -> Result<ProjectionExprs> {
        let stored = |name: &str| -> Result<Arc<dyn PhysicalExpr>> {
            Ok(Arc::new(Column::new(name, schema.index_of(name)?)))
        };
        let call = |function: ScalarUDF, arguments, column: &SqlColumn| -> Arc<dyn PhysicalExpr> {
            let config = Arc::new(state.config_options().clone());
            let field = Arc::clone(&column.field);
            let name = function.name().to_owned();
            Arc::new(ScalarFunctionExpr::new(&name, Arc::new(function), arguments, field, config))
        };
        let expressions = self.columns.iter().map(|column| {
            let expression = match &column.origin {
                Origin::File(name)
                    if name == PERSON_ID && !self.lake.snapshot.persons.aliases().is_empty() =>
                {
                    let aliases = Arc::clone(self.lake.snapshot.persons.aliases());
                    call(ScalarUDF::from(Resolved::new(aliases)), vec![stored(PERSON_ID)?], column)
                }
                Origin::File(name) => stored(name)?,
                Origin::Path => stored(column.name())?,
                Origin::ExternalPersonId => {
                    let persons = self.lake.snapshot.persons.external_ids();
                    let persons = persons.map_err(|error| DataFusionError::External(Box::new(error)))?;
                    call(
                        ScalarUDF::from(ExternalPersonId::new(Arc::clone(persons))),
                        vec![stored(PERSON_ID)?],
                        column,
                    )
                }
                Origin::Properties => {
                    let properties = self.properties.map(Columns::properties).unwrap_or_default();
                    let arguments = properties.iter().map(|one| stored(&one.file)).collect::<Result<_>>()?;
                    let names = properties.iter().map(|one| one.sql.as_str());
                    call(ScalarUDF::from(PropertiesJson::new(names)), arguments, column)
                }
            };
            Ok(ProjectionExpr::new(expression, column.name()))
        });
        Ok(ProjectionExprs::new(expressions.collect::<Result<Vec<_>>>()?))
    }

    /// The files in at most `partitions` groups of about as many rows, each in the order of days.
    fn groups(&self, schema: &Schema) -> Vec<FileGroup> {
        let all: u64 = self.files.iter().map(|one| one.file().rows).sum();
        let groups = self.partitions.clamp(1, self.files.len());
        let share = all.div_ceil(groups as u64).max(1);
        let mut grouped: Vec<Vec<PartitionedFile>> = vec![Vec::new(); groups];
        let mut before = 0;
        let alone = self.files.len() <= groups;
        for (at, one) in self.files.iter().enumerate() {
            let by_rows = usize::try_from((before + one.file().rows / 2) / share).unwrap_or(groups);
            let group = if alone { at } else { by_rows.min(groups - 1) };
            before += one.file().rows;
            grouped[group].push(partitioned_file(one, schema));
        }
        grouped.into_iter().filter(|files| !files.is_empty()).map(FileGroup::new).collect()
    }
}

/// A file with the values of its path and what is known of its columns.
pub(crate) fn partitioned_file(one: &LakeFile, schema: &Schema) -> PartitionedFile {
    let file = one.file();
    let mut statistics = statistics_of(std::iter::once(file), schema);
    // The two columns of the path are added from the values.
    statistics.column_statistics.truncate(schema.fields().len().saturating_sub(2));
    PartitionedFile::new(file.path.clone(), file.bytes)
        .with_partition_values(vec![
            ScalarValue::Date32(Some(file.day.0)),
            ScalarValue::Utf8View(Some(one.definition().to_owned())),
        ])
        .with_statistics(Arc::new(statistics))
}

/// What is known of these files together: rows exactly, and the bounds of persons, times and days.
fn statistics_of<'a>(files: impl Iterator<Item = &'a DataFile> + Clone, schema: &Schema) -> Statistics {
    let rows: u64 = files.clone().map(|one| one.rows).sum();
    let mut statistics = Statistics::new_unknown(schema);
    statistics.num_rows = Precision::Exact(usize::try_from(rows).unwrap_or(usize::MAX));
    for (field, known) in schema.fields().iter().zip(&mut statistics.column_statistics) {
        let bounds = match field.name().as_str() {
            PERSON_ID => bounds(files.clone().map(|one| one.persons))
                .map(|(low, high)| (ScalarValue::Int64(Some(low)), ScalarValue::Int64(Some(high)))),
            OCCURRED_TIME => bounds(files.clone().map(|one| one.times)).map(|(low, high)| {
                let time = |at: i64| ScalarValue::TimestampMicrosecond(Some(at), Some("UTC".into()));
                (time(low.0), time(high.0))
            }),
            DAY => bounds(files.clone().map(|one| (one.day, one.day)))
                .map(|(low, high)| (ScalarValue::Date32(Some(low.0)), ScalarValue::Date32(Some(high.0)))),
            _ => None,
        };
        if let Some((low, high)) = bounds {
            *known = ColumnStatistics::new_unknown();
            known.min_value = Precision::Exact(low);
            known.max_value = Precision::Exact(high);
        }
        if !field.is_nullable() {
            known.null_count = Precision::Exact(0);
        }
    }
    statistics
}

fn bounds<T: Ord>(each: impl Iterator<Item = (T, T)>) -> Option<(T, T)> {
    each.reduce(|(low, high), (other_low, other_high)| (low.min(other_low), high.max(other_high)))
}

/// The order of rows in a file, as far as the columns are read.
fn file_order(schema: &Schema) -> Option<LexOrdering> {
    let columns = [PERSON_ID, OCCURRED_TIME, SEQ].into_iter().map_while(|name| {
        let index = schema.index_of(name).ok()?;
        Some(PhysicalSortExpr::new_default(Arc::new(Column::new(name, index))))
    });
    LexOrdering::new(columns)
}
