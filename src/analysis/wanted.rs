//! `Wanted`: which kinds of events a question needs, as one plan that says of each event which kinds it is of.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::lit;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_plan::ExecutionPlan;

use crate::analysis::bits::Bits;
use crate::analysis::events::Events;
use crate::analysis::events::condition;
use crate::analysis::events::in_condition;
use crate::analysis::ground::Ground;
use crate::analysis::hits::FIRST_EXTRA;
use crate::analysis::hits::Hits;
use crate::analysis::hits::Source;
use crate::analysis::hits::marks;
use crate::analysis::indexed;
use crate::analysis::indexed::IndexedEvents;
use crate::error::Result;
use crate::query::NamedTable;
use crate::query::failure;
use crate::query::in_range;
use crate::time::Micros;

/// Where the marks of an event are among the columns of the plan, and its value.
pub(crate) const MARKS: usize = FIRST_EXTRA;
pub(crate) const VALUE: usize = FIRST_EXTRA + 1;

/// Events of one kind: its place among the kinds is its bit in the marks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind<'a> {
    pub(crate) events: &'a Events,
    pub(crate) from: Option<Micros>,
    pub(crate) to: Option<Micros>,
    /// An expression in SQL whose text is the event's value.
    pub(crate) value: Option<&'a str>,
}

/// All that a question reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted<'a> {
    pub(crate) kinds: Vec<Kind<'a>>,
    /// Persons whom the question is about; all when it is left out.
    pub(crate) only: Option<Arc<Bits>>,
}

/// A plan of events, and what is known of its columns.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) hits: Arc<dyn ExecutionPlan>,
    pub(crate) kinds: usize,
    /// Whether `seq` is read: it tells events of one instant apart.
    pub(crate) seq: bool,
    pub(crate) value: bool,
    pub(crate) only: Option<Arc<Bits>>,
    /// The same events from the indexes beside the files, where those say enough.
    pub(crate) indexed: Option<Arc<IndexedEvents>>,
}

impl Wanted<'_> {
    pub(crate) async fn plan(&self, ground: &Ground) -> Result<Planned> {
        let mut tables: Vec<&str> = self.kinds.iter().map(|kind| kind.events.event.as_str()).collect();
        tables.sort_unstable();
        tables.dedup();
        let value = self.kinds.iter().any(|kind| kind.value.is_some());
        let range = self.range();
        let mut sources = Vec::new();
        for table in &tables {
            sources.push(self.source(ground, table, range, value).await?);
        }
        let mut columns = vec![("marks".to_owned(), DataType::UInt64)];
        if value {
            columns.push(("value".to_owned(), DataType::Utf8View));
        }
        // Events of one table come once each; of several, one may come twice and is known by its number.
        let seq = value || tables.len() > 1;
        let hits = Hits { sources, columns, from: range.0, to: range.1, seq, persons: None };
        let plan = hits.logical().map_err(|error| failure(&ground.state, error))?;
        let plan = Box::pin(ground.state.create_physical_plan(&plan)).await;
        let hits = plan.map_err(|error| failure(&ground.state, error))?;
        let indexed = indexed::plan(&ground.state, &self.kinds).await?.map(Arc::new);
        Ok(Planned { hits, kinds: self.kinds.len(), seq, value, only: self.only.clone(), indexed })
    }

    /// From when up to when any kind is looked for.
    fn range(&self) -> (Option<Micros>, Option<Micros>) {
        let from: Option<Vec<Micros>> = self.kinds.iter().map(|kind| kind.from).collect();
        let to: Option<Vec<Micros>> = self.kinds.iter().map(|kind| kind.to).collect();
        (from.and_then(|all| all.into_iter().min()), to.and_then(|all| all.into_iter().max()))
    }

    async fn source(
        &self,
        ground: &Ground,
        name: &str,
        range: (Option<Micros>, Option<Micros>),
        with_value: bool,
    ) -> Result<Source> {
        let state = &ground.state;
        let table = NamedTable::events(state, if name == "*" { "events" } else { name }).await?;
        let mut marked: Vec<(u32, Option<Expr>)> = Vec::new();
        let mut value = None;
        for (bit, kind) in (0_u32..).zip(&self.kinds).filter(|(_, kind)| kind.events.event == name) {
            let said = |error| in_condition(kind.events.said(), error);
            // What all kinds share is asked of the whole plan.
            let mut all =
                in_range(kind.from.filter(|_| kind.from != range.0), kind.to.filter(|_| kind.to != range.1));
            if let Some(filter) = kind.events.condition()? {
                all.push(table.condition(state, &filter).map_err(said)?);
            }
            marked.push((bit, conjunction(all)));
            if let Some(text) = kind.value.filter(|_| value.is_none()) {
                value = Some(table.expression(state, &condition(text).map_err(said)?).map_err(said)?);
            }
        }
        let (number, filter) = marks(&marked).map_err(|error| failure(state, error))?;
        let mut columns = vec![number];
        if with_value {
            columns.push(value.unwrap_or_else(|| lit(ScalarValue::Utf8View(None))));
        }
        Ok(Source { table, filter, columns })
    }
}
