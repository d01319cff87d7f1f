//! `EventBatch`: checked events of one definition as Arrow columns; what ingest hands to storage.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use crate::schema::Definition;

/// Events of one definition, in the order in which they came. Only validation makes one.
#[derive(Clone, Debug)]
pub struct EventBatch {
    pub definition: Arc<Definition>,
    /// In the definition's file schema (`Columns::file_schema`), `seq` included.
    pub rows: RecordBatch,
}
