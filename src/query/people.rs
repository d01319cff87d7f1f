//! The tables `persons` and `definitions`: what the snapshot knows besides events.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::BooleanBuilder;
use arrow::array::ListBuilder;
use arrow::array::StringViewArray;
use arrow::array::StringViewBuilder;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::FieldRef;
use arrow::datatypes::Int64Type;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::catalog::Session;
use datafusion::catalog::TableProvider;
use datafusion::common::DataFusionError;
use datafusion::common::Result as DataFusionResult;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::TableProviderFilterPushDown;
use datafusion::logical_expr::TableType;
use datafusion::physical_plan::ExecutionPlan;

use crate::error::Context;
use crate::error::Result;
use crate::query::Planned;
use crate::query::Wanted;
use crate::query::computed::ComputedColumns;
use crate::query::computed::ComputedField;
use crate::query::holding::named_in;
use crate::query::scan_by;
use crate::query::system::SystemTable;
use crate::schema::Definition;
use crate::storage::PeopleChunk;
use crate::storage::snapshot::Snapshot;

/// `persons`: one row for each person, ordered by id; whoever was merged into another has none. Computed attributes are
/// its last columns, and are computed for those who ask for them.
#[derive(Debug)]
pub(crate) struct PersonsTable {
    snapshot: Arc<Snapshot>,
    computed: Option<Arc<dyn ComputedColumns>>,
    fields: Vec<ComputedField>,
}

impl PersonsTable {
    pub(crate) fn new(
        snapshot: Arc<Snapshot>,
        computed: Option<Arc<dyn ComputedColumns>>,
    ) -> DataFusionResult<Self> {
        let fields = computed.as_ref().map_or_else(|| Ok(Vec::new()), |computed| computed.fields());
        let mut fields = fields.map_err(|error| DataFusionError::External(Box::new(error)))?;
        // A stored attribute of that name came later, or by another way.
        let stored = snapshot.people.schema();
        fields.retain(|one| stored.column_with_name(&one.name).is_none());
        Ok(Self { snapshot, computed, fields })
    }

    /// The stored columns and then these computed ones, by their places.
    async fn with_computed(
        &self,
        chunks: Vec<PeopleChunk>,
        places: &[usize],
    ) -> Result<(SchemaRef, Vec<PeopleChunk>)> {
        let stored = self.snapshot.people.schema();
        let mut fields: Vec<FieldRef> = stored.fields().iter().cloned().collect();
        let mut columns = Vec::with_capacity(places.len());
        for place in places {
            let (Some(field), Some(computed)) = (self.fields.get(*place), &self.computed) else { continue };
            columns.push(computed.column(&field.name, &self.snapshot).await?);
            fields.push(field.field());
        }
        let schema = Arc::new(Schema::new(fields));
        let doing = || "could not put the computed attributes together".to_owned();
        let widen = |chunk: PeopleChunk| {
            let mut all = chunk.rows.columns().to_vec();
            let ids = chunk.rows.column(0).as_primitive::<Int64Type>();
            for column in &columns {
                all.push(column.of(ids)?);
            }
            let rows = RecordBatch::try_new(Arc::clone(&schema), all).internal(doing)?;
            Ok(PeopleChunk { rows, ..chunk })
        };
        let chunks = chunks.into_iter().map(widen).collect::<Result<Vec<_>>>()?;
        Ok((schema, chunks))
    }
}

impl PersonsTable {
    fn planned<'a>(&'a self, wanted: Wanted<'a>) -> Planned<'a> {
        Box::pin(async move {
            let snapshot = Arc::clone(&self.snapshot);
            let read = move || snapshot.people.chunks(snapshot.persons.all()?);
            let chunks = tokio::task::spawn_blocking(read).await;
            let chunks = chunks.map_err(|error| DataFusionError::External(Box::new(error)))?;
            let mut chunks = chunks.map_err(|error| DataFusionError::External(Box::new(error)))?;
            if let Some(ids) = wanted.filters.iter().find_map(named_in) {
                chunks.retain(|chunk| ids.iter().any(|id| (chunk.ids.0.0..=chunk.ids.1.0).contains(id)));
            }
            // The stored columns are there; of the computed ones, those that are asked for.
            let stored = self.snapshot.people.schema().fields().len();
            let mut projection: Vec<usize> = match wanted.projection {
                Some(places) => places.clone(),
                None => (0..stored + self.fields.len()).collect(),
            };
            let mut computed = Vec::new();
            for place in projection.iter_mut().filter(|place| **place >= stored) {
                computed.push(*place - stored);
                *place = stored + computed.len() - 1;
            }
            let (schema, chunks) = match computed.is_empty() {
                true => (self.snapshot.people.schema(), chunks),
                false => {
                    let widened = self.with_computed(chunks, &computed).await;
                    widened.map_err(|error| DataFusionError::External(Box::new(error)))?
                }
            };
            let partitions = wanted.state.config().target_partitions().max(1);
            let share = chunks.len().div_ceil(partitions).max(1);
            let parts: Vec<Vec<RecordBatch>> = chunks
                .chunks(share)
                .map(|part| part.iter().map(|chunk| chunk.rows.clone()).collect())
                .collect();
            let parts = if parts.is_empty() { vec![Vec::new()] } else { parts };
            let plan: Arc<dyn ExecutionPlan> =
                MemorySourceConfig::try_new_exec(&parts, schema, Some(projection))?;
            Ok(plan)
        })
    }
}

impl TableProvider for PersonsTable {
    fn schema(&self) -> SchemaRef {
        let stored = self.snapshot.people.schema();
        if self.fields.is_empty() {
            return stored;
        }
        let computed = self.fields.iter().map(ComputedField::field);
        Arc::new(Schema::new(stored.fields().iter().cloned().chain(computed).collect::<Vec<FieldRef>>()))
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    scan_by!(planned);

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(|filter| match named_in(filter) {
                Some(_) => TableProviderFilterPushDown::Inexact,
                None => TableProviderFilterPushDown::Unsupported,
            })
            .collect())
    }
}

/// `definitions`: one row for each definition, templates included, ordered by id.
#[derive(Debug)]
pub(crate) struct DefinitionsTable(pub(crate) Arc<Snapshot>);

impl SystemTable for DefinitionsTable {
    fn name(&self) -> &str {
        "definitions"
    }

    fn schema(&self) -> SchemaRef {
        let text = |name: &str, nullable| Field::new(name, DataType::Utf8View, nullable);
        Arc::new(Schema::new(vec![
            text("id", false),
            text("title", false),
            text("category", false),
            text("subcategory", true),
            Field::new("enabled", DataType::Boolean, false),
            text("template", true),
            text("description", false),
            Field::new_list("properties", text("item", true), false),
        ]))
    }

    fn rows(&self) -> Result<RecordBatch> {
        let all: Vec<&Arc<Definition>> = self.0.registry.iter().collect();
        let text = |of: &dyn Fn(&Definition) -> Option<String>| -> ArrayRef {
            Arc::new(all.iter().map(|one| of(one)).collect::<StringViewArray>())
        };
        let mut enabled = BooleanBuilder::new();
        let mut properties = ListBuilder::new(StringViewBuilder::new());
        for one in &all {
            enabled.append_value(one.enabled);
            for property in &one.properties {
                properties.values().append_value(format!("{} {}", property.name, property.kind.name()));
            }
            properties.append(true);
        }
        let columns = vec![
            text(&|one| Some(one.id.to_string())),
            text(&|one| Some(one.title.clone())),
            text(&|one| Some(one.category.name().to_owned())),
            text(&|one| one.subcategory.clone()),
            Arc::new(enabled.finish()) as ArrayRef,
            text(&|one| one.template.as_ref().map(ToString::to_string)),
            text(&|one| Some(one.description.clone())),
            Arc::new(properties.finish()) as ArrayRef,
        ];
        RecordBatch::try_new(self.schema(), columns).internal(|| "could not list the definitions".to_owned())
    }
}
