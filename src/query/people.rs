//! The tables `persons` and `definitions`: what the snapshot knows besides events.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::BooleanBuilder;
use arrow::array::ListBuilder;
use arrow::array::StringViewArray;
use arrow::array::StringViewBuilder;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::catalog::TableProvider;
use datafusion::common::DataFusionError;
use datafusion::common::Result as DataFusionResult;
use datafusion::common::ScalarValue;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::Operator;
use datafusion::logical_expr::TableProviderFilterPushDown;
use datafusion::logical_expr::TableType;
use datafusion::physical_plan::ExecutionPlan;

use crate::error::Context;
use crate::error::Result;
use crate::query::system::SystemTable;
use crate::schema::Definition;
use crate::schema::PERSON_ID;
use crate::storage::snapshot::Snapshot;

/// `persons`: one row for each person, ordered by id; whoever was merged into another has none.
#[derive(Debug)]
pub(crate) struct PersonsTable(pub(crate) Arc<Snapshot>);

#[async_trait]
impl TableProvider for PersonsTable {
    fn schema(&self) -> SchemaRef {
        self.0.people.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let snapshot = Arc::clone(&self.0);
        let read = move || snapshot.people.chunks(&snapshot.persons);
        let chunks = tokio::task::spawn_blocking(read).await;
        let chunks = chunks.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let mut chunks = chunks.map_err(|error| DataFusionError::External(Box::new(error)))?;
        if let Some(ids) = filters.iter().find_map(ids_of) {
            chunks.retain(|chunk| ids.iter().any(|id| (chunk.ids.0.0..=chunk.ids.1.0).contains(id)));
        }
        let partitions = state.config().target_partitions().max(1);
        let share = chunks.len().div_ceil(partitions).max(1);
        let parts: Vec<Vec<RecordBatch>> =
            chunks.chunks(share).map(|part| part.iter().map(|chunk| chunk.rows.clone()).collect()).collect();
        let parts = if parts.is_empty() { vec![Vec::new()] } else { parts };
        let plan = MemorySourceConfig::try_new_exec(&parts, self.schema(), projection.cloned())?;
        Ok(plan)
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(|filter| match ids_of(filter) {
                Some(_) => TableProviderFilterPushDown::Inexact,
                None => TableProviderFilterPushDown::Unsupported,
            })
            .collect())
    }
}

/// The ids that a condition allows, if it is about nothing else.
fn ids_of(condition: &Expr) -> Option<Vec<i64>> {
    let is_id = |expr: &Expr| matches!(expr, Expr::Column(column) if column.name == PERSON_ID);
    let id = |expr: &Expr| match expr {
        Expr::Literal(ScalarValue::Int64(Some(id)), _) => Some(*id),
        _ => None,
    };
    match condition {
        Expr::BinaryExpr(binary) if binary.op == Operator::Eq && is_id(&binary.left) => {
            Some(vec![id(&binary.right)?])
        }
        Expr::InList(list) if !list.negated && is_id(&list.expr) => list.list.iter().map(id).collect(),
        _ => None,
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
