//! Questions about what persons do over time: one typed request each, which a statement, JSON and a program share.
//!
//! A request is turned into plain SQL for what SQL does well (conditions, pruning, groups) and into one of the
//! algorithms of `sequence` for what it does not: order. An answer is a table, and may stand wherever one may.

mod activity;
mod answers;
pub mod attributes;
mod bits;
mod days;
mod events;
mod funnel;
mod gather;
mod ground;
mod hits;
mod indexed;
mod paths;
mod persons;
mod retention;
pub mod segment;
mod sessions;
mod table;
#[cfg(test)]
mod tests;
mod trend;
mod values;
mod walk;
mod wanted;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::physical_plan::ExecutionPlan;
use serde::Deserialize;
use serde::Serialize;

use crate::analysis::activity::Asked;
use crate::analysis::answers::AnalysisFunction;
use crate::analysis::answers::AnswerExec;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::query::Queries;
use crate::time::Zone;

pub use activity::ActivityRequest;
pub use events::Events;
pub(crate) use events::any_token;
pub(crate) use events::is_any;
pub use funnel::By;
pub use funnel::Counting;
pub use funnel::Excluding;
pub use funnel::FunnelEntry;
pub use funnel::FunnelOrder;
pub use funnel::FunnelRequest;
pub use funnel::FunnelStep;
pub use funnel::FunnelTies;
pub use funnel::Histogram;
pub use funnel::Listing;
pub use funnel::Of;
pub use funnel::Per;
pub use funnel::Picked;
pub use ground::Ground;
pub use paths::PathsRequest;
pub use retention::CellOf;
pub use retention::Entry;
pub use retention::RetentionRequest;
pub use retention::Shape;
pub use sessions::SessionsRequest;
pub use trend::Measure;
pub use trend::Named;
pub use trend::Series;
pub use trend::TrendRequest;

/// A question, whoever asks it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Analysis {
    Retention(RetentionRequest),
    Trend(TrendRequest),
    Persons(segment::PersonsRequest),
    Overlap(segment::OverlapRequest),
    Lifecycle(ActivityRequest),
    Stickiness(ActivityRequest),
    Sessions(SessionsRequest),
    Paths(PathsRequest),
}

impl Analysis {
    /// The question that a JSON text asks: an object with `kind` and the fields of that request.
    pub fn from_json(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| {
            let place = crate::error::Place { line: error.line() as u64, column: error.column() as u64 };
            let fault = Error::invalid(format!("this is no question: {error}"));
            if place.line == 0 { fault } else { fault.at(place) }
        })
    }

    /// The question as JSON, for the table function.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).internal(|| "could not write a question as JSON".to_owned())
    }

    /// What kind of question it is, in a word.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Retention(_) => "retention",
            Self::Trend(_) => "trend",
            Self::Persons(_) => "persons",
            Self::Overlap(_) => "overlap",
            Self::Lifecycle(_) => "lifecycle",
            Self::Stickiness(_) => "stickiness",
            Self::Sessions(_) => "sessions",
            Self::Paths(_) => "paths",
        }
    }

    /// The columns of the answer, which no event changes.
    pub(crate) fn schema(&self) -> Result<SchemaRef> {
        match self {
            Self::Retention(request) => retention::schema(request),
            Self::Trend(request) => trend::schema(request),
            Self::Persons(_) => segment::schema(),
            Self::Overlap(_) => segment::overlap_schema(),
            Self::Lifecycle(request) => activity::schema(request, Asked::Lifecycle),
            Self::Stickiness(request) => activity::schema(request, Asked::Stickiness),
            Self::Sessions(request) => sessions::schema(request),
            Self::Paths(request) => paths::schema(request),
        }
    }

    /// What answers it.
    async fn plan(&self, ground: &Ground, schema: SchemaRef) -> Result<Arc<dyn ExecutionPlan>> {
        match self {
            Self::Retention(request) => retention::plan(request, ground, schema).await,
            Self::Lifecycle(request) => activity::plan(request, Asked::Lifecycle, ground, schema).await,
            Self::Stickiness(request) => activity::plan(request, Asked::Stickiness, ground, schema).await,
            Self::Sessions(request) => sessions::plan(request, ground, schema).await,
            Self::Paths(request) => paths::plan(request, ground, schema).await,
            Self::Trend(_) | Self::Persons(_) | Self::Overlap(_) => {
                Ok(Arc::new(AnswerExec::new(self.clone(), ground.clone(), schema)))
            }
        }
    }

    /// The answer itself, of those that are several questions of SQL.
    async fn answer(&self, ground: &Ground) -> Result<RecordBatch> {
        match self {
            Self::Retention(request) => retention::answer(request, ground).await,
            Self::Lifecycle(request) => activity::answer(request, Asked::Lifecycle, ground).await,
            Self::Stickiness(request) => activity::answer(request, Asked::Stickiness, ground).await,
            Self::Trend(request) => trend::answer(request, ground).await,
            Self::Persons(request) => segment::answer(request, ground).await,
            Self::Overlap(request) => segment::overlap(request, ground).await,
            _ => Err(Error::internal(format!("a {} is answered by its plan", self.kind()))),
        }
    }
}

/// Makes those known to SQL that are table functions.
pub fn register(queries: Queries) -> Result<Queries> {
    register_in(queries, Zone::UTC)
}

/// The same where days are those of a zone.
pub fn register_in(queries: Queries, zone: Zone) -> Result<Queries> {
    let queries = queries.with_table_function(answers::FUNCTION, Arc::new(AnalysisFunction { zone }))?;
    queries.with_table_function(funnel::FUNCTION, Arc::new(funnel::FunnelFunction))
}
