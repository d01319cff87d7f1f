//! Our SQL functions: what plain SQL lacks for events, and what it gets wrong.

mod days;
pub(crate) mod external;
pub(crate) mod json_text;
mod next_event;
mod percentile;
mod sequences;
mod sessionize;
mod sum;
pub(crate) mod unique_persons;

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::buffer::NullBuffer;
use datafusion::logical_expr::AggregateUDF;
use datafusion::logical_expr::ScalarUDF;
use datafusion::logical_expr::WindowUDF;

use crate::query::functions::days::Kind;
use crate::query::functions::days::ZoneFunction;
use crate::query::functions::next_event::NextEvent;
use crate::query::functions::percentile::PercentileCont;
use crate::query::functions::sequences::Sequence;
use crate::query::functions::sessionize::Sessionize;
use crate::query::functions::sum::ExactSum;
use crate::query::functions::unique_persons::UniquePersons;

/// The rows that an aggregate counts: those that are not null and pass its filter. `None` is all of them.
fn counted(nulls: Option<&NullBuffer>, filter: Option<&BooleanArray>) -> Option<NullBuffer> {
    let kept = filter.map(|filter| NullBuffer::from_iter(filter.iter().map(|keep| keep.unwrap_or(false))));
    NullBuffer::union(nulls, kept.as_ref())
}

/// The functions of one row that a session has besides DataFusion's.
pub(crate) fn scalars() -> Vec<Arc<ScalarUDF>> {
    let kinds = [Kind::LocalDay, Kind::DayStart, Kind::TimeBucket];
    kinds.into_iter().map(|kind| Arc::new(ScalarUDF::from(ZoneFunction::new(kind)))).collect()
}

/// The functions of many rows; some take the place of DataFusion's of the same name.
pub(crate) fn aggregates() -> Vec<Arc<AggregateUDF>> {
    vec![
        Arc::new(AggregateUDF::from(ExactSum::new())),
        Arc::new(AggregateUDF::from(PercentileCont::new())),
        unique_persons(),
        Arc::new(AggregateUDF::from(Sequence::new(sequences::Kind::WindowFunnel))),
        Arc::new(AggregateUDF::from(Sequence::new(sequences::Kind::Match))),
        Arc::new(AggregateUDF::from(Sequence::new(sequences::Kind::Count))),
        Arc::new(AggregateUDF::from(NextEvent::new())),
    ]
}

/// The functions over windows of rows.
pub(crate) fn windows() -> Vec<Arc<WindowUDF>> {
    vec![Arc::new(WindowUDF::from(Sessionize::new()))]
}

pub(crate) fn unique_persons() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(UniquePersons::new()))
}
