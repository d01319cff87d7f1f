//! `Ground`: what a question stands on: the tables of one snapshot, the time it is asked at, and the zone of its days.

use std::fmt;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::common::config::Dialect;
use datafusion::common::runtime::JoinSet;
use datafusion::execution::SessionState;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;

use crate::analysis::bits::Bits;
use crate::analysis::events::Events;
use crate::analysis::gather::All;
use crate::analysis::gather::joined;
use crate::error::Error;
use crate::error::Result;
use crate::query::Rows;
use crate::query::Session;
use crate::query::ask;
use crate::query::failure;
use crate::query::plan_of;
use crate::query::run;
use crate::quote::literal;
use crate::quote::quoted;
use crate::time::Micros;
use crate::time::Zone;
use crate::time::parse_instant;
use crate::time::parse_zone;

/// What every question needs besides itself.
#[derive(Clone)]
pub struct Ground {
    /// The snapshot's tables, with functions and limits.
    pub(crate) state: SessionState,
    pub now: Micros,
    /// The zone of days where the question names none.
    pub zone: Zone,
}

impl fmt::Debug for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ground").field("now", &self.now).field("zone", &self.zone).finish_non_exhaustive()
    }
}

/// The time and the persons that a question is limited to, understood.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) zone: Zone,
    pub(crate) from: Option<Micros>,
    pub(crate) to: Option<Micros>,
    /// The moment as of which the question is asked, and whether events from then on are left out.
    pub(crate) as_of: Micros,
    pub(crate) until: Option<Micros>,
    pub(crate) segment: Option<String>,
}

/// The words of a request that make a [`Scope`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ScopeWords<'a> {
    pub(crate) from: Option<&'a str>,
    pub(crate) to: Option<&'a str>,
    pub(crate) as_of: Option<&'a str>,
    pub(crate) zone: Option<&'a str>,
    pub(crate) segment: Option<&'a str>,
}

/// The [`ScopeWords`] of a request, whose fields have the same names: one struct that all requests flatten would take
/// unknown keys for its own.
macro_rules! words_of {
    ($request:expr) => {
        $crate::analysis::ground::ScopeWords {
            from: $request.from.as_deref(),
            to: $request.to.as_deref(),
            as_of: $request.as_of.as_deref(),
            zone: $request.zone.as_deref(),
            segment: $request.segment.as_deref(),
        }
    };
}

pub(crate) use words_of;

impl Ground {
    pub fn over(session: &Session, now: Micros, zone: Zone) -> Self {
        Self::within(session.state(), now, zone)
    }

    /// Conditions may use functions of functions (`x -> x > 1`), which only one dialect can say.
    pub(crate) fn within(mut state: SessionState, now: Micros, zone: Zone) -> Self {
        state.config_mut().options_mut().sql_parser.dialect = Dialect::DuckDB;
        Self { state, now, zone }
    }

    /// The rows of a question in SQL.
    pub(crate) async fn ask(&self, sql: &str) -> Result<Rows> {
        ask(&self.state, sql).await
    }

    /// The plan of a question in SQL.
    pub(crate) async fn plan(&self, sql: &str) -> Result<Arc<dyn ExecutionPlan>> {
        plan_of(&self.state, sql).await
    }

    /// The answer of a plan that gives one batch.
    pub(crate) async fn answer_of(&self, plan: Arc<dyn ExecutionPlan>) -> Result<RecordBatch> {
        let mut rows = run(&self.state, plan)?;
        let answer = rows.next().await.transpose()?;
        answer.ok_or_else(|| Error::internal("a question had no answer"))
    }

    /// The persons of the scope's segment, if it has one.
    pub(crate) async fn chosen(&self, scope: &Scope) -> Result<Option<Arc<Bits>>> {
        let Some(name) = &scope.segment else { return Ok(None) };
        let sql = format!("SELECT \"personId\" FROM segments.{}", quoted(name));
        Ok(Some(Arc::new(self.persons_of(&sql).await?)))
    }

    /// The persons in the first column of an answer.
    pub(crate) async fn persons_of(&self, sql: &str) -> Result<Bits> {
        let (sets, _held) = self.fold(sql, Bits::default, Bits::insert_first, Bits::bytes).await?;
        Ok(Bits::united(sets))
    }

    /// Reads all rows of an answer on all cores, each part of them into a state of its own; says how much memory each
    /// took.
    pub(crate) async fn fold<S: Send + 'static>(
        &self,
        sql: &str,
        new: impl Fn() -> S,
        take: impl Fn(&mut S, &RecordBatch) + Send + Sync + 'static,
        bytes: impl Fn(&S) -> usize + Send + Sync + 'static,
    ) -> Result<All<S>> {
        let failed = |error| failure(&self.state, error);
        let plan = self.plan(sql).await?;
        let task = self.state.task_ctx();
        let (take, bytes) = (Arc::new(take), Arc::new(bytes));
        let mut running: JoinSet<datafusion::common::Result<(S, MemoryReservation)>> = JoinSet::new();
        for partition in 0..plan.properties().output_partitioning().partition_count() {
            let mut rows = plan.execute(partition, Arc::clone(&task)).map_err(failed)?;
            let memory = MemoryConsumer::new("persons").register(task.memory_pool());
            let (mut state, take, bytes) = (new(), Arc::clone(&take), Arc::clone(&bytes));
            running.spawn(async move {
                while let Some(batch) = rows.next().await.transpose()? {
                    take(&mut state, &batch);
                    memory.try_resize(bytes(&state))?;
                }
                Ok((state, memory))
            });
        }
        joined(running).await.map_err(failed)
    }

    pub(crate) fn scope(&self, words: ScopeWords<'_>) -> Result<Scope> {
        let zone = words.zone.map_or(Ok(self.zone), parse_zone)?;
        let at = |name: &str, text: Option<&str>| text.map(|text| moment(name, text, zone)).transpose();
        let (from, to) = (at("FROM", words.from)?, at("TO", words.to)?);
        if let (Some(from), Some(to)) = (from, to)
            && to <= from
        {
            return Err(Error::invalid(format!(
                "the range is empty: it ends at {to}, not after its start at {from}"
            )));
        }
        let until = at("AS OF", words.as_of)?;
        Ok(Scope {
            zone,
            from,
            to,
            as_of: until.unwrap_or(self.now),
            until,
            segment: words.segment.map(str::to_owned),
        })
    }
}

impl Scope {
    /// Everything, as far as it goes.
    pub(crate) fn open() -> Self {
        Self { zone: Zone::UTC, from: None, to: None, as_of: Micros(i64::MAX), until: None, segment: None }
    }

    /// The end of the range that starts are counted in.
    pub(crate) fn end(&self) -> Option<Micros> {
        match (self.to, self.until) {
            (Some(to), Some(until)) => Some(to.min(until)),
            (to, until) => to.or(until),
        }
    }

    /// The condition that limits rows to the persons asked about.
    fn persons(&self) -> Option<String> {
        Some(format!(
            "\"personId\" IN (SELECT \"personId\" FROM segments.{})",
            quoted(self.segment.as_ref()?)
        ))
    }

    /// `SELECT columns FROM the events WHERE their condition, the time, the persons of the scope and more`.
    pub(crate) fn select(
        &self,
        columns: &str,
        events: &Events,
        range: (Option<Micros>, Option<Micros>),
        more: Option<String>,
    ) -> Result<String> {
        let condition = events.condition()?.map(|condition| format!("({condition})"));
        let parts = [condition, between(range.0, range.1), self.persons(), more];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let filter = if parts.is_empty() { String::new() } else { format!(" WHERE {}", parts.join(" AND ")) };
        Ok(format!("SELECT {columns} FROM {}{filter}", events.table()))
    }
}

/// A moment that a person wrote: a date alone is its midnight in the zone.
pub(crate) fn moment(name: &str, text: &str, zone: Zone) -> Result<Micros> {
    parse_instant(text, Some(zone))
        .map_err(|fault| Error::invalid(format!("{name} is no time: \"{text}\" is {fault}")))
}

/// A moment as SQL writes it.
pub(crate) fn timestamp(at: Micros) -> String {
    format!("TIMESTAMP {}", literal(&at.to_string()))
}

/// The condition that a time lies from one moment up to, and without, another.
fn between(from: Option<Micros>, to: Option<Micros>) -> Option<String> {
    let parts = [
        from.map(|at| format!("\"occurredTime\" >= {}", timestamp(at))),
        to.map(|at| format!("\"occurredTime\" < {}", timestamp(at))),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(" AND "))
}
