//! `Queries`, what all queries share, and `Session`, in which one person asks about one snapshot.

use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::task::Poll;

use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow::record_batch::RecordBatchOptions;
use datafusion::catalog::CatalogProviderList;
use datafusion::catalog::MemoryCatalogProviderList;
use datafusion::catalog::TableFunctionImpl;
use datafusion::datasource::physical_plan::FileGroup;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::SessionState;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::TaskContext;
use datafusion::execution::disk_manager::DiskManagerBuilder;
use datafusion::execution::disk_manager::DiskManagerMode;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::memory_pool::TrackConsumersPool;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::registry::FunctionRegistry;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::DdlStatement;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::Optimizer;
use datafusion::optimizer::OptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::displayable;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionConfig;
use datafusion::prelude::SessionContext;
use futures::Stream;
use futures::StreamExt;
use object_store::ObjectStore;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::query::active::Active;
use crate::query::asked;
use crate::query::catalog::CATALOG;
use crate::query::catalog::LakeCatalog;
use crate::query::catalog::MAIN;
use crate::query::computed::ComputedColumns;
use crate::query::failure::Known;
use crate::query::failure::translate;
use crate::query::functions;
use crate::query::hot::HotColumns;
use crate::query::indexed::Indexed;
use crate::query::names;
use crate::query::names::FunctionHelp;
use crate::query::names::Names;
use crate::query::rules::DayRule;
use crate::query::rules::UniquesRule;
use crate::query::scan::Lake;
use crate::query::segments::Segments;
use crate::query::statement::permit;
use crate::query::statement::permit_plan;
use crate::query::system::SystemTable;
use crate::query::uniques::UniquePersonsExec;
use crate::query::wording::heading;
use crate::storage::snapshot::Snapshot;

/// The url under which scans find the lake's object store; paths in it are those of `DataFile`.
const LAKE_URL: &str = "milepost://lake";

const MIB: usize = 1 << 20;

/// What queries may use.
#[derive(Clone, Debug)]
pub struct QueryConfig {
    /// The memory of all queries together, in bytes. Beyond it sorts, joins and groups go to disk.
    pub memory_bytes: usize,
    /// In how many parts a query is worked on.
    pub threads: usize,
    /// Where what does not fit in memory goes; made when it is not there.
    pub spill_dir: PathBuf,
}

/// What all queries share: memory, spill files, cached footers, functions. Made once.
#[derive(Clone)]
pub struct Queries {
    base: Arc<SessionState>,
    pub(crate) hot: Arc<HotColumns>,
    url: ObjectStoreUrl,
}

impl fmt::Debug for Queries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queries").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Queries {
    /// Fails when the spill directory cannot be made.
    pub fn new(config: QueryConfig) -> Result<Self> {
        let url = ObjectStoreUrl::parse(LAKE_URL).internal(|| "could not name the lake".to_owned())?;
        let runtime = runtime(&config)?;
        let mut state = SessionStateBuilder::new_with_default_features()
            .with_config(session_config(&config))
            .with_runtime_env(Arc::new(runtime))
            .with_optimizer_rules(optimizer_rules())
            .build();
        let described = || "could not make the SQL functions".to_owned();
        for function in functions::scalars() {
            state.register_udf(function).internal(described)?;
        }
        for function in functions::aggregates() {
            state.register_udaf(function).internal(described)?;
        }
        for function in functions::windows() {
            state.register_udwf(function).internal(described)?;
        }
        Ok(Self { base: Arc::new(state), hot: Arc::new(HotColumns::new(hot_bytes(&config))), url })
    }

    /// The same with a table function more; analyses, which lie above, are such.
    pub fn with_table_function(self, name: &str, function: Arc<dyn TableFunctionImpl>) -> Result<Self> {
        let mut state = self.base.as_ref().clone();
        state.register_udtf(name, function);
        Ok(Self { base: Arc::new(state), ..self })
    }

    /// A session over a snapshot, whose files are in `store`, with `system` as the tables `system.*`.
    pub fn session(
        &self,
        snapshot: Arc<Snapshot>,
        store: Arc<dyn ObjectStore>,
        system: &[Arc<dyn SystemTable>],
    ) -> Result<Session> {
        self.session_with(snapshot, store, system, None, None)
    }

    /// The same with the tables `segments.*`, and computed attributes as columns of `persons`.
    pub fn session_with(
        &self,
        snapshot: Arc<Snapshot>,
        store: Arc<dyn ObjectStore>,
        system: &[Arc<dyn SystemTable>],
        segments: Option<Arc<dyn Segments>>,
        computed: Option<Arc<dyn ComputedColumns>>,
    ) -> Result<Session> {
        self.base.runtime_env().register_object_store(self.url.as_ref(), store);
        let shared = Shared { url: self.url.clone(), hot: Arc::clone(&self.hot) };
        let from_above = FromAbove { segments, computed };
        Ok(Session::new(self.base.as_ref().clone(), shared, snapshot, system, from_above))
    }
}

/// DataFusion's rules with ours behind the one that folds constants: before it days are not recognised, and after
/// others an aggregate of different persons has become two.
fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    let folds = rules.iter().position(|rule| rule.name() == "simplify_expressions");
    let at = folds.map_or(0, |at| at + 1);
    rules.insert(at, Arc::new(UniquesRule));
    rules.insert(at, Arc::new(DayRule));
    rules
}

fn runtime(config: &QueryConfig) -> Result<RuntimeEnv> {
    // The five greediest operators are named when memory runs out.
    let named = NonZeroUsize::new(5).unwrap_or(NonZeroUsize::MIN);
    let pool = TrackConsumersPool::new(FairSpillPool::new(config.memory_bytes - hot_bytes(config)), named);
    let disk =
        DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![config.spill_dir.clone()]));
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_disk_manager_builder(disk)
        .with_metadata_cache_limit((config.memory_bytes / 16).clamp(16 * MIB, 256 * MIB))
        .build()
        .unavailable(|| format!("could not use \"{}\" for spill files", config.spill_dir.display()))
}

/// How much of the memory decoded columns may take.
fn hot_bytes(config: &QueryConfig) -> usize {
    (config.memory_bytes / 8).min(1024 * MIB)
}

fn session_config(config: &QueryConfig) -> SessionConfig {
    let threads = config.threads.max(1);
    let mut session = SessionConfig::new()
        .with_target_partitions(threads)
        .with_default_catalog_and_schema(CATALOG, MAIN)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true);
    let options = session.options_mut();
    options.sql_parser.enable_ident_normalization = false;
    options.sql_parser.collect_spans = true;
    options.execution.time_zone = Some("UTC".to_owned());
    options.execution.parquet.pushdown_filters = true;
    options.execution.parquet.reorder_filters = true;
    options.execution.parquet.enable_page_index = true;
    options.execution.parquet.bloom_filter_on_read = true;
    // What a sort keeps free to merge its spilled parts; the default is too much for a small pool.
    let merge = config.memory_bytes / (16 * threads);
    options.execution.sort_spill_reservation_bytes = merge.clamp(64 * 1024, 10 * MIB);
    session
}

/// Where sessions find the lake, and what is in memory of it.
#[derive(Clone)]
struct Shared {
    url: ObjectStoreUrl,
    hot: Arc<HotColumns>,
}

/// What a session shows that upper floors know.
#[derive(Clone)]
struct FromAbove {
    segments: Option<Arc<dyn Segments>>,
    computed: Option<Arc<dyn ComputedColumns>>,
}

/// One person's questions about one snapshot, with the settings and views made on the way.
pub struct Session {
    context: SessionContext,
    catalog: Arc<LakeCatalog>,
    lake: Arc<Lake>,
    shared: Shared,
    system: Vec<Arc<dyn SystemTable>>,
    from_above: FromAbove,
    /// The statements that made and dropped views, to make them again over another snapshot.
    views: Mutex<Vec<String>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("catalog", &self.catalog).finish_non_exhaustive()
    }
}

impl Session {
    fn new(
        mut state: SessionState,
        shared: Shared,
        snapshot: Arc<Snapshot>,
        system: &[Arc<dyn SystemTable>],
        from_above: FromAbove,
    ) -> Self {
        let lake = Arc::new(Lake { snapshot, url: shared.url.clone(), hot: Arc::clone(&shared.hot) });
        let catalog = Arc::new(LakeCatalog::new(
            Arc::clone(&lake),
            system,
            from_above.segments.clone(),
            from_above.computed.clone(),
        ));
        let list = MemoryCatalogProviderList::new();
        list.register_catalog(CATALOG.to_owned(), Arc::clone(&catalog) as _);
        state.register_catalog_list(Arc::new(list));
        Self {
            context: SessionContext::new_with_state(state),
            catalog,
            lake,
            shared,
            system: system.to_vec(),
            from_above,
            views: Mutex::default(),
        }
    }

    /// The same session over another snapshot: settings stay, and views see the new events. A view that the snapshot
    /// cannot answer any more is gone.
    pub async fn at(&self, snapshot: Arc<Snapshot>) -> Result<Self> {
        let next = Self::new(
            self.context.state(),
            self.shared.clone(),
            snapshot,
            &self.system,
            self.from_above.clone(),
        );
        let views = self.views.lock().map_err(|_| half_changed())?.clone();
        for statement in views {
            if let Ok(plan) = next.plan(&statement).await {
                let made = next.context.execute_logical_plan(plan).await;
                if made.is_ok() {
                    next.views.lock().map_err(|_| half_changed())?.push(statement);
                }
            }
        }
        Ok(next)
    }

    /// The plan of one statement, not yet optimized. Refuses statements that a session does not run.
    pub async fn plan(&self, sql: &str) -> Result<LogicalPlan> {
        let state = self.context.state();
        let dialect = state.config_options().sql_parser.dialect;
        let statement = state.sql_to_statement(sql, &dialect).map_err(|error| self.failure(error))?;
        permit(&statement)?;
        let plan = state.statement_to_plan(statement).await.map_err(|error| self.failure(error))?;
        permit_plan(&plan)?;
        Ok(plan)
    }

    /// Runs one statement; the rows come as they are found. Dropping them stops the query.
    pub async fn run(&self, sql: &str) -> Result<Rows> {
        let plan = self.plan(sql).await?;
        let is_view =
            matches!(&plan, LogicalPlan::Ddl(DdlStatement::CreateView(_) | DdlStatement::DropView(_)));
        let rows = self.run_plan(plan).await?;
        if is_view {
            self.views.lock().map_err(|_| half_changed())?.push(sql.to_owned());
        }
        Ok(rows)
    }

    /// The rows of a question that a program wrote.
    pub(crate) async fn ask(&self, sql: &str) -> Result<Rows> {
        asked::ask(&self.context.state(), sql).await
    }

    /// Tables, functions, settings and limits, for whoever plans a question of several parts.
    pub(crate) fn state(&self) -> SessionState {
        self.context.state()
    }

    /// Runs a plan over tables of this session.
    pub async fn run_plan(&self, plan: LogicalPlan) -> Result<Rows> {
        let frame = self.context.execute_logical_plan(plan).await.map_err(|error| self.failure(error))?;
        let task = Arc::new(frame.task_ctx());
        let plan = frame.create_physical_plan().await.map_err(|error| self.failure(error))?;
        Rows::of_plan(plan, task).map_err(|error| self.failure(error))
    }

    /// How a question would be answered, as an indented tree of operators.
    pub async fn explain(&self, sql: &str) -> Result<String> {
        let plan = self.plan(sql).await?;
        let state = self.context.state();
        let plan = state.create_physical_plan(&plan).await.map_err(|error| self.failure(error))?;
        Ok(displayable(plan.as_ref()).indent(false).to_string())
    }

    /// Who did what on which day, without reading rows.
    pub fn active(&self) -> Result<Active> {
        let indexed = Indexed::new(Arc::clone(&self.lake), &self.context.runtime_env());
        let threads = self.context.state().config().target_partitions();
        Ok(Active::new(indexed.map_err(|error| self.failure(error))?, threads))
    }

    fn failure(&self, error: datafusion::common::DataFusionError) -> Error {
        translate(error, || Known { tables: self.catalog.tables(), functions: self.functions() })
    }

    fn functions(&self) -> Vec<String> {
        names::functions(&self.context.state())
    }

    /// What may be written in SQL here, for completion: tables with their columns, functions, keywords.
    pub async fn names(&self) -> Names {
        let (state, catalog) = (self.context.state(), Arc::clone(&self.catalog));
        Names::of(&state, catalog.as_ref()).await
    }

    /// What a function does and how it is called, by its name in any case.
    pub fn function(&self, name: &str) -> Result<FunctionHelp> {
        names::help(&self.context.state(), name)
    }
}

fn half_changed() -> Error {
    Error::internal("the views of the session were left half changed")
}

/// The answer to a statement: batches with one schema, as they are found. Dropping it stops the query.
pub struct Rows {
    stream: SendableRecordBatchStream,
    plan: Arc<dyn ExecutionPlan>,
    /// The stream's schema, with the columns named as people would.
    schema: SchemaRef,
    renamed: bool,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Rows {
    pub(crate) fn of_plan(
        plan: Arc<dyn ExecutionPlan>,
        task: Arc<TaskContext>,
    ) -> datafusion::common::Result<Self> {
        Ok(Self::new(execute_stream(Arc::clone(&plan), task)?, plan))
    }

    fn new(stream: SendableRecordBatchStream, plan: Arc<dyn ExecutionPlan>) -> Self {
        let schema = with_headings(stream.schema());
        let renamed = schema != stream.schema();
        Self { stream, plan, schema, renamed }
    }

    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// How many files of the lake have been read, and of how many, for showing how far the query is.
    pub fn progress(&self) -> Progress {
        let mut progress = Progress::default();
        progress.add(self.plan.as_ref());
        progress
    }

    /// All rows at once; for answers that are known to be small.
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }
}

/// How far a query is, in files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub done: usize,
    pub of: usize,
}

impl Progress {
    fn add(&mut self, plan: &dyn ExecutionPlan) {
        let scan = plan.downcast_ref::<DataSourceExec>();
        if let Some(config) = scan.and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>()) {
            let of = config.file_groups.iter().map(FileGroup::len).sum::<usize>();
            let processed = plan.metrics().and_then(|metrics| metrics.sum_by_name("files_processed"));
            self.of += of;
            self.done += processed.map_or(0, |files| files.as_usize()).min(of);
        } else if let Some(counting) = plan.downcast_ref::<UniquePersonsExec>() {
            let (done, of) = counting.files_read();
            self.of += of;
            self.done += done;
        }
        plan.children().into_iter().for_each(|child| self.add(child.as_ref()));
    }
}

impl Stream for Rows {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.stream.poll_next_unpin(context);
        polled.map(|next| {
            next.map(|batch| {
                let batch = batch.map_err(|error| translate(error, Known::default))?;
                if !self.renamed {
                    return Ok(batch);
                }
                let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
                RecordBatch::try_new_with_options(self.schema(), batch.columns().to_vec(), &rows)
                    .internal(|| "could not name the columns of the answer".to_owned())
            })
        })
    }
}

/// Columns that nobody has named are called by their expressions; those are spelled as in SQL, unless two columns
/// would then have one name.
fn with_headings(schema: SchemaRef) -> SchemaRef {
    let named = schema.fields().iter().map(|field| heading(field.name()));
    let names: HashSet<String> = named.clone().collect();
    if names.len() < schema.fields().len() {
        return schema;
    }
    let fields =
        schema.fields().iter().zip(named).map(|(field, name)| field.as_ref().clone().with_name(name));
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()))
}
