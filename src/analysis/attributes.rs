//! Computed attributes: what a person's events amount to (aggregates), what follows from other attributes (formulas), and
//! points for what holds of a person (scores). Each is a column of `persons`.
//!
//! ```text
//! definition ─ check ─▶ kind of column        state ─ catch up with the files of a snapshot ─ value ─▶ column
//! ```
//! Nothing is written down: a state follows from the files, which never change, so it needs to read only files that it
//! has not seen, and forgets what came from files that are gone. Persons are counted under the ids that their events
//! came with, and put together at the end, so that merges and their undoing cost nothing.

mod check;
mod column;
mod formula;
mod kept;
mod score;
mod stretch;

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use crate::analysis::events::Events;
use crate::analysis::segment::Condition;
use crate::error::Error;
use crate::error::Result;
use crate::query::ComputedColumn;
use crate::query::Session;
use crate::storage::snapshot::Snapshot;
use crate::time::Micros;
use crate::time::Zone;

pub use crate::sequence::tally::End;
pub use crate::sequence::tally::Function;
pub use column::ComputedState;

/// A computed attribute as people define it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct ComputedAttribute {
    pub name: String,
    pub description: String,
    pub of: Computation,
}

/// What an attribute is computed from.
#[derive(Clone, Debug, PartialEq)]
pub enum Computation {
    Aggregate(AggregateRequest),
    /// An expression in SQL over the columns of `persons`; NULL as soon as one of them is.
    Formula(String),
    Score(Vec<ScoreRule>),
}

/// What some events of a person amount to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AggregateRequest {
    pub function: Function,
    pub event: String,
    /// Left out where events are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property: Option<String>,
    /// A condition in SQL on the properties of the event.
    #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// The first or last of the events does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without: Option<End>,
    #[serde(default)]
    pub period: AggregatePeriod,
}

/// Which time the events are of. Days are those of the store's zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AggregatePeriod {
    #[default]
    Lifetime,
    /// The last 7, 14, 30, 60 or 90 days, without today.
    LastDays(u32),
    /// Before now, to the microsecond.
    Last24Hours,
    /// From the start of a date on.
    Since(String),
    /// From the start of a day so many days before today on.
    DaysBeforeToday(u32),
}

/// Points for those for whom a condition holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreRule {
    pub points: i32,
    pub when: Condition,
}

/// The flat form in JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aggregate: Option<AggregateRequest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    formula: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    score: Option<Vec<ScoreRule>>,
}

impl TryFrom<Written> for ComputedAttribute {
    type Error = String;

    fn try_from(written: Written) -> std::result::Result<Self, String> {
        let Written { name, description, aggregate, formula, score } = written;
        let of = match (aggregate, formula, score) {
            (Some(aggregate), None, None) => Computation::Aggregate(aggregate),
            (None, Some(formula), None) => Computation::Formula(formula),
            (None, None, Some(rules)) => Computation::Score(rules),
            _ => {
                return Err(
                    "a computed attribute has one of \"aggregate\", \"formula\" and \"score\"".to_owned()
                );
            }
        };
        Ok(Self { name, description, of })
    }
}

impl From<ComputedAttribute> for Written {
    fn from(one: ComputedAttribute) -> Self {
        let mut written = Self {
            name: one.name,
            description: one.description,
            aggregate: None,
            formula: None,
            score: None,
        };
        match one.of {
            Computation::Aggregate(aggregate) => written.aggregate = Some(aggregate),
            Computation::Formula(formula) => written.formula = Some(formula),
            Computation::Score(rules) => written.score = Some(rules),
        }
        written
    }
}

impl ComputedAttribute {
    /// Reads the JSON form.
    pub fn from_json(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| {
            let place = crate::error::Place { line: error.line() as u64, column: error.column() as u64 };
            let fault = Error::invalid(format!("this is no computed attribute: {error}"));
            if place.line == 0 { fault } else { fault.at(place) }
        })
    }

    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::internal("could not write a computed attribute").with_source(error))
    }

    /// `aggregate`, `formula` or `score`.
    pub fn what(&self) -> &'static str {
        match self.of {
            Computation::Aggregate(_) => "aggregate",
            Computation::Formula(_) => "formula",
            Computation::Score(_) => "score",
        }
    }
}

impl AggregateRequest {
    fn events(&self) -> Events {
        Events { event: self.event.clone(), filter: self.filter.clone() }
    }
}

/// Whether an expression in SQL has a name in it.
pub(crate) fn names_in(text: &str, name: &str) -> bool {
    formula::names(text).is_ok_and(|names| names.contains(name))
}

/// Opens a session over a snapshot.
pub type Opener<'a> = &'a (dyn Fn(Arc<Snapshot>) -> Result<Session> + Send + Sync);

/// What attributes are computed over: a snapshot, the time it is, and the zone of days.
#[derive(Clone, Copy)]
pub struct Over<'a> {
    pub open: Opener<'a>,
    pub snapshot: &'a Arc<Snapshot>,
    pub now: Micros,
    pub zone: Zone,
}

impl fmt::Debug for Over<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Over").field("now", &self.now).field("zone", &self.zone).finish_non_exhaustive()
    }
}

/// The values of an attribute, and until when they are those while the snapshot stays the same.
#[derive(Clone, Debug)]
pub struct Computed {
    pub column: Arc<ComputedColumn>,
    pub until: Micros,
}

#[cfg(test)]
mod tests;
