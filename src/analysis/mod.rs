//! Questions about what persons do over time: one typed request each, which a statement, JSON and a program share.
//!
//! A request is turned into plain SQL for what SQL does well (conditions, pruning, groups) and into one of the
//! algorithms of `sequence` for what it does not: order. An answer is a table.

mod activity;
pub mod attributes;
mod events;
mod funnel;
mod ground;
mod history;
mod hits;
mod paths;
mod persons;
mod retention;
pub mod segment;
mod sessions;
mod table;
mod trend;

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use serde::Deserialize;
use serde::Serialize;

use crate::error::Error;
use crate::error::Result;
use crate::query::Queries;

pub use activity::ActivityRequest;
pub use events::Events;
pub use funnel::By;
pub use funnel::Counting;
pub use funnel::Excluding;
pub use funnel::FunnelEntry;
pub use funnel::FunnelOrder;
pub use funnel::FunnelRequest;
pub use funnel::FunnelStep;
pub use funnel::FunnelTies;
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

    /// The answer over the events that a session sees.
    pub async fn answer(&self, ground: &Ground<'_>) -> Result<RecordBatch> {
        match self {
            Self::Retention(request) => retention::answer(request, ground).await,
            Self::Trend(request) => trend::answer(request, ground).await,
            Self::Persons(request) => segment::answer(request, ground).await,
            Self::Overlap(request) => segment::overlap(request, ground).await,
            Self::Lifecycle(request) => activity::lifecycle(request, ground).await,
            Self::Stickiness(request) => activity::stickiness(request, ground).await,
            Self::Sessions(request) => sessions::answer(request, ground).await,
            Self::Paths(request) => paths::answer(request, ground).await,
        }
    }
}

/// Makes those known to SQL that are table functions.
pub fn register(queries: Queries) -> Result<Queries> {
    queries.with_table_function(funnel::FUNCTION, Arc::new(funnel::FunnelFunction))
}
