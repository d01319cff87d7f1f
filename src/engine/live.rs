//! What the doors for events ask beside `ingest`: what was stored under an id.

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::datatypes::Int64Type;
use arrow::datatypes::TimeUnit;
use arrow::datatypes::TimestampMicrosecondType;

use crate::engine::Engine;
use crate::error::Context;
use crate::error::Result;
use crate::ids::PersonId;
use crate::quote::literal;
use crate::time::Micros;

/// An event as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    pub person: PersonId,
    pub occurred: Micros,
    /// A JSON object.
    pub properties: String,
}

impl Engine {
    /// The event of a definition that has this id.
    pub async fn stored_event(&self, definition: &str, event_id: &str) -> Result<Option<StoredEvent>> {
        let sql = format!(
            "SELECT personId, occurredTime, properties FROM events WHERE definitionId = {} AND eventId = {}",
            literal(definition),
            literal(event_id)
        );
        let rows = self.apart().session().await?.run(&sql).await?.collect().await?;
        let Some(batch) = rows.into_iter().find(|batch| batch.num_rows() > 0) else { return Ok(None) };
        let doing = || "could not read a stored event".to_owned();
        let as_type = |at: usize, kind: DataType| cast(batch.column(at), &kind).internal(doing);
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let (persons, times) = (as_type(0, DataType::Int64)?, as_type(1, time)?);
        let properties = as_type(2, DataType::Utf8)?;
        Ok(Some(StoredEvent {
            person: PersonId(persons.as_primitive::<Int64Type>().value(0)),
            occurred: Micros(times.as_primitive::<TimestampMicrosecondType>().value(0)),
            properties: properties.as_string::<i32>().value(0).to_owned(),
        }))
    }
}
