//! `SystemTable`: a trait by which upper floors show their state as a table of the schema `system`.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::catalog::TableProvider;
use datafusion::common::DataFusionError;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::TableType;
use datafusion::physical_plan::ExecutionPlan;

use crate::error::Result;

/// A table `system.<name>`, made anew for each query that reads it.
pub trait SystemTable: fmt::Debug + Send + Sync {
    /// The name without the schema.
    fn name(&self) -> &str;

    fn schema(&self) -> SchemaRef;

    /// The rows as they are now, in [`SystemTable::schema`]. Called on the query's runtime: quick work only.
    fn rows(&self) -> Result<RecordBatch>;
}

/// A [`SystemTable`] as DataFusion reads it.
#[derive(Debug)]
pub(crate) struct SystemProvider(pub(crate) Arc<dyn SystemTable>);

#[async_trait]
impl TableProvider for SystemProvider {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
        let rows = self.0.rows().map_err(|error| DataFusionError::External(Box::new(error)))?;
        let plan = MemorySourceConfig::try_new_exec(&[vec![rows]], self.0.schema(), projection.cloned())?;
        Ok(plan)
    }
}
