//! `UniquePersonsExec`: events and unique persons by definition and day, from the index of each file, from one column of
//! it, or from nothing.
//!
//! A file holds one day of one definition, sorted by person. So its events are known without opening it, and its
//! unique persons are a number in its index or, where it has none, the runs of equal values in its first column. Files
//! that count together (of one day, or of all days when the day does not matter) are united in a set of bits over the
//! dense person ids.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::Date32Array;
use arrow::array::Int64Array;
use arrow::array::StringViewArray;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow::record_batch::RecordBatchOptions;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::common::internal_err;
use datafusion::common::runtime::JoinSet;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::TableType;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_expr::Partitioning;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::DisplayAs;
use datafusion::physical_plan::DisplayFormatType;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::PlanProperties;
use datafusion::physical_plan::execution_plan::Boundedness;
use datafusion::physical_plan::execution_plan::EmissionType;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::metrics::MetricBuilder;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

use crate::ids::PersonId;
use crate::query::files::Extent;
use crate::query::files::LakeFile;
use crate::query::files::extent;
use crate::query::layout::DEFINITION_ID;
use crate::query::person_set::PersonSet;
use crate::query::persons_column::Footers;
use crate::query::persons_column::for_each_run;
use crate::query::scan::Lake;
use crate::query::scan::partitioned_file;
use crate::schema::DAY;

/// The column with the number of events.
pub(crate) const EVENTS: &str = "events";
/// The column with the number of different persons.
pub(crate) const PERSONS: &str = "persons";

const FILES_READ: &str = "files_read";

/// What is counted, by what.
#[derive(Clone, Debug)]
pub(crate) struct Uniques {
    pub(crate) lake: Arc<Lake>,
    pub(crate) files: Vec<LakeFile>,
    pub(crate) of: Extent,
    pub(crate) by_definition: bool,
    pub(crate) by_day: bool,
    /// Whether unique persons are asked for; events alone need no file.
    pub(crate) persons: bool,
}

impl Uniques {
    fn fields(&self) -> Vec<Field> {
        let mut fields = Vec::new();
        if self.by_definition {
            fields.push(Field::new(DEFINITION_ID, DataType::Utf8View, false));
        }
        if self.by_day {
            fields.push(Field::new(DAY, DataType::Date32, false));
        }
        fields.push(Field::new(EVENTS, DataType::Int64, false));
        if self.persons {
            fields.push(Field::new(PERSONS, DataType::Int64, false));
        }
        fields
    }

    /// The files that count together, and by what.
    fn groups(&self) -> BTreeMap<Key, Vec<LakeFile>> {
        let mut groups: BTreeMap<Key, Vec<LakeFile>> = BTreeMap::new();
        if !self.by_definition && !self.by_day {
            // Without groups there is one answer, also to no files.
            groups.insert(Key::default(), Vec::new());
        }
        for one in &self.files {
            let definition = self.by_definition.then(|| one.definition().to_owned());
            let key = Key { definition, day: self.by_day.then_some(one.file().day.0) };
            groups.entry(key).or_default().push(one.clone());
        }
        groups
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    definition: Option<String>,
    day: Option<i32>,
}

/// [`Uniques`] as a table, which is how an optimizer rule puts it into a plan.
#[derive(Debug)]
pub(crate) struct UniquesTable(pub(crate) Uniques);

#[async_trait]
impl TableProvider for UniquesTable {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.0.fields()))
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let store = state.runtime_env().object_store(&self.0.lake.url)?;
        let cache = state.runtime_env().cache_manager.get_file_metadata_cache();
        let footers = Footers { store, cache };
        let exec: Arc<dyn ExecutionPlan> = Arc::new(UniquePersonsExec::new(self.0.clone(), footers));
        let Some(chosen) = projection else { return Ok(exec) };
        let schema = exec.schema();
        let columns = chosen.iter().map(|at| {
            let name = schema.field(*at).name().clone();
            let column = datafusion::physical_expr::expressions::Column::new(&name, *at);
            (Arc::new(column) as Arc<dyn PhysicalExpr>, name)
        });
        Ok(Arc::new(ProjectionExec::try_new(columns.collect::<Vec<_>>(), exec)?))
    }
}

/// Counts events and unique persons. One partition, one batch, ordered by definition and day.
pub(crate) struct UniquePersonsExec {
    uniques: Uniques,
    footers: Footers,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl fmt::Debug for UniquePersonsExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UniquePersonsExec").field("uniques", &self.uniques).finish_non_exhaustive()
    }
}

impl UniquePersonsExec {
    fn new(uniques: Uniques, footers: Footers) -> Self {
        let schema = Arc::new(Schema::new(uniques.fields()));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self { uniques, footers, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl UniquePersonsExec {
    /// How many files have been read so far, and how many there are to read.
    pub(crate) fn files_read(&self) -> (usize, usize) {
        let of = if self.uniques.persons { self.uniques.files.len() } else { 0 };
        let read = self.metrics.clone_inner().sum_by_name(FILES_READ).map_or(0, |files| files.as_usize());
        (read.min(of), of)
    }
}

impl DisplayAs for UniquePersonsExec {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = extent(&self.uniques.files);
        let of = self.uniques.of;
        let by = [(self.uniques.by_definition, DEFINITION_ID), (self.uniques.by_day, DAY)];
        let by: Vec<&str> = by.into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect();
        let index = &self.uniques.lake.snapshot.index;
        let indexed = self.uniques.files.iter().filter(|one| index.head(one.file()).is_some()).count();
        let reads = match (self.uniques.persons, indexed) {
            (false, _) => "nothing".to_owned(),
            (true, 0) => "personId".to_owned(),
            (true, all) if all == self.uniques.files.len() => "index".to_owned(),
            (true, some) => format!("index of {some}, personId of others"),
        };
        let parts = [
            format!("by=[{}]", by.join(", ")),
            format!("reads={reads}"),
            format!("files={} of {}", kept.files, of.files),
            format!("days={} of {}", kept.days, of.days),
        ];
        match kind {
            DisplayFormatType::TreeRender => f.write_str(&parts.join("\n")),
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "UniquePersonsExec: {}", parts.join(", "))
            }
        }
    }
}

impl ExecutionPlan for UniquePersonsExec {
    fn name(&self) -> &str {
        "UniquePersonsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("unique persons are counted in one partition");
        }
        let schema = self.schema();
        let work = Work {
            uniques: self.uniques.clone(),
            footers: self.footers.clone(),
            metrics: self.metrics.clone(),
            schema: Arc::clone(&schema),
            context,
        };
        let answer = futures::stream::once(Box::pin(work.answer()));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, answer)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// What it takes to answer once.
struct Work {
    uniques: Uniques,
    footers: Footers,
    metrics: ExecutionPlanMetricsSet,
    schema: SchemaRef,
    context: Arc<TaskContext>,
}

/// Files of one group that one task reads.
struct Unit {
    group: usize,
    files: Vec<LakeFile>,
    /// Whether other units have files of the same group, so that a number alone is not enough.
    shared: bool,
}

impl Work {
    async fn answer(self) -> Result<RecordBatch> {
        let groups = self.uniques.groups();
        let persons = if self.uniques.persons {
            Some(self.persons(groups.values().cloned().collect()).await?)
        } else {
            None
        };
        let events: Int64Array = groups
            .values()
            .map(|files| files.iter().map(|one| one.file().rows).sum::<u64>())
            .map(|rows| i64::try_from(rows).ok())
            .collect();
        let mut columns: Vec<ArrayRef> = Vec::new();
        if self.uniques.by_definition {
            let ids = groups.keys().map(|key| key.definition.as_deref());
            columns.push(Arc::new(ids.collect::<StringViewArray>()));
        }
        if self.uniques.by_day {
            columns.push(Arc::new(groups.keys().map(|key| key.day).collect::<Date32Array>()));
        }
        columns.push(Arc::new(events));
        columns.extend(persons.map(|persons| Arc::new(Int64Array::from(persons)) as ArrayRef));
        let rows = MetricBuilder::new(&self.metrics).output_rows(0);
        rows.add(groups.len());
        let options = RecordBatchOptions::new().with_row_count(Some(groups.len()));
        Ok(RecordBatch::try_new_with_options(self.schema, columns, &options)?)
    }

    /// The number of different persons of each group.
    async fn persons(&self, mut groups: Vec<Vec<LakeFile>>) -> Result<Vec<i64>> {
        let tasks = self.context.session_config().target_partitions().max(1);
        let mut counts = vec![0; groups.len()];
        self.count_by_head(&mut groups, &mut counts);
        let mut units = units(&groups, tasks).into_iter();
        let mut reading: JoinSet<Result<(usize, Found)>> = JoinSet::new();
        let mut shared: BTreeMap<usize, Found> = BTreeMap::new();
        loop {
            // Twice as many as threads: one decodes while another waits for the store.
            while reading.len() < 2 * tasks
                && let Some(unit) = units.next()
            {
                reading.spawn(self.read(unit));
            }
            let Some(done) = reading.join_next().await else { break };
            let (group, found) = match done {
                Ok(done) => done?,
                Err(error) => return internal_err!("a task that counts persons stopped: {error}"),
            };
            match found {
                Found::Count(count) => counts[group] = count,
                set @ Found::Set { .. } => match shared.remove(&group) {
                    Some(before) => {
                        shared.insert(group, before.united(set)?);
                    }
                    None => {
                        shared.insert(group, set);
                    }
                },
            }
        }
        for (group, found) in shared {
            counts[group] = found.count();
        }
        Ok(counts)
    }

    /// Counts and empties the groups of one file, of nobody who was merged, whose index says how many persons it has.
    fn count_by_head(&self, groups: &mut [Vec<LakeFile>], counts: &mut [i64]) {
        let snapshot = &self.uniques.lake.snapshot;
        if !snapshot.persons.aliases().is_empty() {
            return;
        }
        let read = MetricBuilder::new(&self.metrics).global_counter(FILES_READ);
        for (files, count) in groups.iter_mut().zip(counts) {
            let [one] = files.as_slice() else { continue };
            if let Some(head) = snapshot.index.head(one.file()) {
                *count = i64::try_from(head.persons).unwrap_or(i64::MAX);
                files.clear();
                read.add(1);
            }
        }
    }

    fn read(&self, unit: Unit) -> impl Future<Output = Result<(usize, Found)>> + Send + use<> {
        let schema = Schema::empty();
        let files = unit
            .files
            .iter()
            .map(|one| (partitioned_file(one, &schema).object_meta, one.file().persons, one.clone()));
        let files: Vec<_> = files.collect();
        let index = Arc::clone(&self.uniques.lake.snapshot.index);
        let footers = self.footers.clone();
        let read = MetricBuilder::new(&self.metrics).global_counter(FILES_READ);
        let memory = MemoryConsumer::new("UniquePersonsExec").register(self.context.memory_pool());
        let aliases = Arc::clone(self.uniques.lake.snapshot.persons.aliases());
        async move {
            if let ([(file, _, one)], false) = (files.as_slice(), unit.shared) {
                let mut count = 0;
                let mut merged = HashSet::new();
                let on = |person| match aliases.is_involved(PersonId(person)) {
                    false => count += 1,
                    true => {
                        merged.insert(aliases.resolve(PersonId(person)));
                    }
                };
                match index.open(one.file()) {
                    Some(sidecar) => sidecar.persons().iter().map(|id| i64::from(*id)).for_each(on),
                    None => for_each_run(&footers, file, on).await?,
                }
                read.add(1);
                let merged = i64::try_from(merged.len()).unwrap_or(i64::MAX);
                return Ok((unit.group, Found::Count(merged.saturating_add(count))));
            }
            let bounds = files.iter().map(|(_, persons, _)| *persons);
            let (low, high) =
                bounds.fold((i64::MAX, i64::MIN), |(low, high), one| (low.min(one.0), high.max(one.1)));
            let (low, high) = match aliases.bounds_of_roots() {
                Some((first, last)) => (low.min(first.0), high.max(last.0)),
                None => (low, high),
            };
            let mut set = PersonSet::between(low, high);
            memory.try_grow(set.bytes())?;
            for (file, _, one) in &files {
                let insert = |person| set.insert(aliases.resolve(PersonId(person)).0);
                match index.open(one.file()) {
                    Some(sidecar) => sidecar.persons().iter().map(|id| i64::from(*id)).for_each(insert),
                    None => for_each_run(&footers, file, insert).await?,
                }
                read.add(1);
                memory.try_resize(set.bytes())?;
            }
            if unit.shared {
                Ok((unit.group, Found::Set { set, memory }))
            } else {
                Ok((unit.group, Found::Count(set.len())))
            }
        }
    }
}

/// What a unit found: the number of persons, or which ones where others must be united with them.
enum Found {
    Count(i64),
    Set { set: PersonSet, memory: MemoryReservation },
}

impl Found {
    fn count(&self) -> i64 {
        match self {
            Self::Count(count) => *count,
            Self::Set { set, .. } => set.len(),
        }
    }

    fn united(self, other: Self) -> Result<Self> {
        let (Self::Set { mut set, memory }, Self::Set { set: more, .. }) = (self, other) else {
            return internal_err!("a number of persons cannot be united with another");
        };
        set.unite(&more);
        memory.try_resize(set.bytes())?;
        Ok(Self::Set { set, memory })
    }
}

/// The work in pieces: a group is one unit, unless it is so big that it would keep the others waiting.
fn units(groups: &[Vec<LakeFile>], tasks: usize) -> Vec<Unit> {
    let rows = |files: &[LakeFile]| files.iter().map(|one| one.file().rows).sum::<u64>();
    let all: u64 = groups.iter().map(|files| rows(files)).sum();
    let share = all.div_ceil(tasks as u64).max(1);
    let mut units = Vec::new();
    for (group, files) in groups.iter().enumerate().filter(|(_, files)| !files.is_empty()) {
        if rows(files) <= share || files.len() == 1 {
            units.push(Unit { group, files: files.clone(), shared: false });
            continue;
        }
        let pieces = files.chunks(files.len().div_ceil(tasks));
        let shared = pieces.len() > 1;
        units.extend(pieces.map(|piece| Unit { group, files: piece.to_vec(), shared }));
    }
    // The big ones first, so that no thread is left with one at the end.
    units.sort_by_key(|unit| std::cmp::Reverse(rows(&unit.files)));
    units
}
