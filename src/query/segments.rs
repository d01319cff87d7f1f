//! The schema `segments`: each segment is a table of its persons, found when a query reads it.

use std::fmt;
use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::SchemaProvider;
use datafusion::catalog::Session;
use datafusion::catalog::TableProvider;
use datafusion::common::DataFusionError;
use datafusion::common::Result;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::TableType;
use datafusion::physical_plan::ExecutionPlan;
use futures::future::BoxFuture;

use crate::schema::PERSON_ID;
use crate::storage::snapshot::Snapshot;

/// Where a session's segments come from.
pub trait Segments: fmt::Debug + Send + Sync {
    fn names(&self) -> Vec<String>;

    fn exists(&self, name: &str) -> bool;

    /// The persons of a segment over a snapshot, in order.
    fn members<'a>(
        &'a self,
        name: &'a str,
        snapshot: &'a Arc<Snapshot>,
    ) -> BoxFuture<'a, crate::error::Result<Vec<i64>>>;
}

/// The schema `segments` of one session.
#[derive(Debug)]
pub(crate) struct SegmentsSchema {
    pub(crate) segments: Arc<dyn Segments>,
    pub(crate) snapshot: Arc<Snapshot>,
}

#[async_trait]
impl SchemaProvider for SegmentsSchema {
    fn table_names(&self) -> Vec<String> {
        self.segments.names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let table = SegmentTable {
            name: name.to_owned(),
            segments: Arc::clone(&self.segments),
            snapshot: Arc::clone(&self.snapshot),
        };
        Ok(self.segments.exists(name).then(|| Arc::new(table) as Arc<dyn TableProvider>))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.segments.exists(name)
    }
}

#[derive(Debug)]
struct SegmentTable {
    name: String,
    segments: Arc<dyn Segments>,
    snapshot: Arc<Snapshot>,
}

#[async_trait]
impl TableProvider for SegmentTable {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new(PERSON_ID, DataType::Int64, false)]))
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
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let members = self.segments.members(&self.name, &self.snapshot).await;
        let members = members.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let rows = RecordBatch::try_new(self.schema(), vec![Arc::new(Int64Array::from(members))])?;
        Ok(MemorySourceConfig::try_new_exec(&[vec![rows]], self.schema(), projection.cloned())?)
    }
}
