//! Lifecycle and stickiness: in which periods persons are active, and what follows from it.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::array::RecordBatch;
use arrow::datatypes::Date32Type;
use arrow::datatypes::Int64Type;
use futures::StreamExt;
use serde::Deserialize;
use serde::Serialize;

use crate::analysis::events::Events;
use crate::analysis::events::in_condition;
use crate::analysis::ground::Ground;
use crate::analysis::ground::Scope;
use crate::analysis::ground::ScopeWords;
use crate::analysis::history::select;
use crate::analysis::table::Table;
use crate::error::Error;
use crate::error::Result;
use crate::quote::literal;
use crate::sequence::lifecycle::State;
use crate::sequence::lifecycle::visit_states;
use crate::time::Day;
use crate::time::Micros;
use crate::time::Period;
use crate::time::periods::Periods;

/// What is asked about the periods in which persons did something.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivityRequest {
    pub events: Events,
    #[serde(default)]
    pub per: Period,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<String>,
}

impl ActivityRequest {
    fn scope(&self, ground: &Ground<'_>) -> Result<Scope> {
        ground.scope(ScopeWords {
            from: self.from.as_deref(),
            to: self.to.as_deref(),
            as_of: self.as_of.as_deref(),
            zone: self.zone.as_deref(),
            segment: self.segment.as_deref(),
        })
    }

    /// Person and number of each period in which the person was active, in order.
    async fn active(
        &self,
        ground: &Ground<'_>,
        scope: &Scope,
        from: Option<Micros>,
    ) -> Result<Vec<(i64, i64)>> {
        let zone = literal(scope.zone.name());
        let columns = format!("DISTINCT \"personId\", local_day(\"occurredTime\", {zone}) AS \"date\"");
        let sql = select(&columns, &self.events, (from, scope.end()), scope, None)?;
        let said = |error| in_condition(self.events.said(), error);
        let mut rows = ground.session.ask(&sql).await.map_err(said)?;
        let mut active = Vec::new();
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(said)?;
            let persons = batch.column(0).as_primitive::<Int64Type>().values();
            let days = batch.column(1).as_primitive::<Date32Type>().values();
            active
                .extend(persons.iter().zip(days).map(|(person, day)| (*person, self.per.of_day(Day(*day)))));
        }
        active.sort_unstable();
        active.dedup();
        Ok(active)
    }
}

/// How many persons are new, return, come back and fall silent in each period.
pub(crate) async fn lifecycle(request: &ActivityRequest, ground: &Ground<'_>) -> Result<RecordBatch> {
    let scope = request.scope(ground)?;
    let mut periods = Periods::new(request.per, scope.zone);
    // Who is new is known from all of history.
    let active = request.active(ground, &scope, None).await?;
    let first = scope.from.map(|from| periods.index(from)).or(active.iter().map(|one| one.1).min());
    let last =
        scope.end().map(|end| periods.index(Micros(end.0 - 1))).or(active.iter().map(|one| one.1).max());
    let mut counts: BTreeMap<i64, [i64; 4]> = BTreeMap::new();
    if let (Some(first), Some(last)) = (first, last) {
        if last - first > MOST_PERIODS {
            return Err(Error::invalid(format!(
                "there are more than {MOST_PERIODS} periods; take longer ones (PER …) or a shorter range"
            )));
        }
        counts.extend((first..=last).map(|period| (period, [0; 4])));
    }
    for of_person in active.chunk_by(|one, next| one.0 == next.0) {
        let of_person: Vec<i64> = of_person.iter().map(|one| one.1).collect();
        visit_states(&of_person, |period, state| {
            let at = match state {
                State::New => 0,
                State::Returning => 1,
                State::Resurrecting => 2,
                State::Dormant => 3,
            };
            if let Some(counts) = counts.get_mut(&period) {
                counts[at] += 1;
            }
        });
    }
    let column = |at: usize| counts.values().map(move |counts| Some(counts[at]));
    let complete = |period: &i64| periods.start(period + 1) <= scope.as_of;
    Table::default()
        .days(request.per.name(), counts.keys().map(|period| Some(request.per.first_day(*period))))
        .numbers("new", column(0))
        .numbers("returning", column(1))
        .numbers("resurrecting", column(2))
        .numbers("dormant", column(3))
        .flags("complete", counts.keys().map(complete))
        .batch()
}

const MOST_PERIODS: i64 = 100_000;

/// How many persons were active in exactly, and in at least, so many periods of the range.
pub(crate) async fn stickiness(request: &ActivityRequest, ground: &Ground<'_>) -> Result<RecordBatch> {
    let scope = request.scope(ground)?;
    let active = request.active(ground, &scope, scope.from).await?;
    let mut exactly: BTreeMap<usize, i64> = BTreeMap::new();
    for of_person in active.chunk_by(|one, next| one.0 == next.0) {
        *exactly.entry(of_person.len()).or_default() += 1;
    }
    let most = exactly.keys().next_back().copied().unwrap_or_default();
    let all: i64 = exactly.values().sum();
    let mut at_least = all;
    let mut rows = Vec::with_capacity(most);
    for periods in 1..=most {
        let persons = exactly.get(&periods).copied().unwrap_or_default();
        rows.push((periods, persons, at_least));
        at_least -= persons;
    }
    Table::default()
        .numbers(format!("{}s", request.per.name()), rows.iter().map(|row| i64::try_from(row.0).ok()))
        .numbers("persons", rows.iter().map(|row| Some(row.1)))
        .numbers("persons_at_least", rows.iter().map(|row| Some(row.2)))
        .texts(
            "share_at_least",
            rows.iter().map(|row| Some(format!("{:.1}%", 100.0 * row.2 as f64 / all as f64))),
        )
        .batch()
}
