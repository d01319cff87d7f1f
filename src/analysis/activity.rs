//! Lifecycle and stickiness: in which periods persons are active, and what follows from it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use datafusion::physical_plan::ExecutionPlan;
use serde::Deserialize;
use serde::Serialize;

use crate::analysis::Analysis;
use crate::analysis::answers::AnswerExec;
use crate::analysis::days;
use crate::analysis::events::Events;
use crate::analysis::ground::Ground;
use crate::analysis::ground::Scope;
use crate::analysis::ground::words_of;
use crate::analysis::table::Table;
use crate::analysis::values::Values;
use crate::analysis::walk::Event;
use crate::analysis::walk::Walk;
use crate::analysis::walk::WalkExec;
use crate::analysis::wanted::Kind;
use crate::analysis::wanted::Wanted;
use crate::error::Error;
use crate::error::Result;
use crate::sequence::lifecycle::State;
use crate::sequence::lifecycle::visit_states;
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

/// Which of the two questions is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Lifecycle,
    Stickiness,
}

/// The question with everything looked up.
#[derive(Debug)]
struct Activity {
    request: ActivityRequest,
    asked: Asked,
    scope: Scope,
    schema: SchemaRef,
}

/// What one thread has found.
#[derive(Debug)]
struct Part {
    periods: Periods,
    active: Vec<i64>,
    /// New, returning, resurrecting and dormant persons of each period.
    states: BTreeMap<i64, [i64; 4]>,
    /// The first and the last period with events.
    bounds: Option<(i64, i64)>,
    /// Persons who were active in so many periods.
    exactly: BTreeMap<usize, i64>,
}

/// The columns of the answer.
pub(crate) fn schema(request: &ActivityRequest, asked: Asked) -> Result<SchemaRef> {
    let schema = Arc::new(Schema::empty());
    let activity = Activity { request: request.clone(), asked, scope: Scope::open(), schema };
    Ok(activity.answer(Vec::new(), &mut Values::default())?.schema())
}

pub(crate) async fn plan(
    request: &ActivityRequest,
    asked: Asked,
    ground: &Ground,
    schema: SchemaRef,
) -> Result<Arc<dyn ExecutionPlan>> {
    let scope = request.scope(ground)?;
    if days::are_whole(&request.events, &scope) {
        let request = request.clone();
        let question = match asked {
            Asked::Lifecycle => Analysis::Lifecycle(request),
            Asked::Stickiness => Analysis::Stickiness(request),
        };
        return Ok(Arc::new(AnswerExec::new(question, ground.clone(), schema)));
    }
    walk(request, asked, ground, scope, schema).await
}

/// The answer from indexes, where they can tell; else the walk's.
pub(crate) async fn answer(request: &ActivityRequest, asked: Asked, ground: &Ground) -> Result<RecordBatch> {
    let (scope, schema) = (request.scope(ground)?, schema(request, asked)?);
    let wanted = days::Asked {
        event: &request.events.event,
        days: days::days_of(seen_from(asked, &scope), scope.end()),
        starts: days::days_of(None, None),
    };
    if let Some(active) = days::active(wanted, |day| request.per.of_day(day), ground).await? {
        let activity = Activity { request: request.clone(), asked, scope, schema };
        let mut part = activity.part();
        for alike in active.iter() {
            part.active.clear();
            part.active.extend(alike.periods());
            part.count(asked, alike.persons);
        }
        return activity.answer(vec![part], &mut Values::default());
    }
    let plan = Box::pin(walk(request, asked, ground, scope, schema)).await?;
    ground.answer_of(plan).await
}

/// From when events are looked at: who is new is known from all of history.
fn seen_from(asked: Asked, scope: &Scope) -> Option<Micros> {
    scope.from.filter(|_| asked == Asked::Stickiness)
}

async fn walk(
    request: &ActivityRequest,
    asked: Asked,
    ground: &Ground,
    scope: Scope,
    schema: SchemaRef,
) -> Result<Arc<dyn ExecutionPlan>> {
    let from = seen_from(asked, &scope);
    let kinds = vec![Kind { events: &request.events, from, to: scope.end(), value: None }];
    let only = ground.chosen(&scope).await?;
    let planned = Wanted { kinds, only }.plan(ground).await?;
    let activity = Activity { request: request.clone(), asked, scope, schema };
    Ok(Arc::new(WalkExec::new(Arc::new(activity), planned)))
}

impl ActivityRequest {
    fn scope(&self, ground: &Ground) -> Result<Scope> {
        ground.scope(words_of!(self))
    }
}

impl Part {
    /// Counts persons who were active in the periods that stand in `active`, rising.
    fn count(&mut self, asked: Asked, persons: i64) {
        let Self { active, states, bounds, exactly, .. } = self;
        let (Some(first), Some(last)) = (active.first(), active.last()) else { return };
        let known = bounds.get_or_insert((*first, *last));
        *known = (known.0.min(*first), known.1.max(*last));
        match asked {
            Asked::Stickiness => *exactly.entry(active.len()).or_default() += persons,
            Asked::Lifecycle => visit_states(active, |period, state| {
                let at = match state {
                    State::New => 0,
                    State::Returning => 1,
                    State::Resurrecting => 2,
                    State::Dormant => 3,
                };
                states.entry(period).or_default()[at] += persons;
            }),
        }
    }
}

impl Walk for Activity {
    type Part = Part;

    fn name(&self) -> &'static str {
        match self.asked {
            Asked::Lifecycle => "LifecycleExec",
            Asked::Stickiness => "StickinessExec",
        }
    }

    fn said(&self) -> String {
        format!("{}, per {}", self.request.events.said(), self.request.per.name())
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn part(&self) -> Part {
        Part {
            periods: Periods::new(self.request.per, self.scope.zone),
            active: Vec::new(),
            states: BTreeMap::new(),
            bounds: None,
            exactly: BTreeMap::new(),
        }
    }

    fn person(&self, part: &mut Part, _person: i64, events: &[Event]) {
        let Part { periods, active, .. } = part;
        active.clear();
        for event in events {
            let period = periods.index(Micros(event.at));
            if active.last() != Some(&period) {
                active.push(period);
            }
        }
        // Where clocks go back over midnight, a later moment may have the date before.
        active.sort_unstable();
        active.dedup();
        part.count(self.asked, 1);
    }

    fn bytes(&self, part: &Part) -> usize {
        (part.states.len() + part.exactly.len()) * 64
    }

    fn answer(&self, parts: Vec<Part>, _values: &mut Values) -> Result<RecordBatch> {
        match self.asked {
            Asked::Lifecycle => self.lifecycle(&parts),
            Asked::Stickiness => self.stickiness(&parts),
        }
    }
}

const MOST_PERIODS: i64 = 100_000;

impl Activity {
    /// How many persons are new, return, come back and fall silent in each period.
    fn lifecycle(&self, parts: &[Part]) -> Result<RecordBatch> {
        let (scope, per) = (&self.scope, self.request.per);
        let mut periods = Periods::new(per, scope.zone);
        let bounds = || parts.iter().filter_map(|part| part.bounds);
        let first = scope.from.map(|from| periods.index(from)).or(bounds().map(|one| one.0).min());
        let end = scope.end().map(|end| periods.index(Micros(end.0 - 1)));
        let last = end.or(bounds().map(|one| one.1).max());
        let mut counts: BTreeMap<i64, [i64; 4]> = BTreeMap::new();
        if let (Some(first), Some(last)) = (first, last) {
            if last - first > MOST_PERIODS {
                return Err(Error::invalid(format!(
                    "there are more than {MOST_PERIODS} periods; take longer ones (PER …) or a shorter range"
                )));
            }
            counts.extend((first..=last).map(|period| (period, [0; 4])));
        }
        for (period, states) in parts.iter().flat_map(|part| &part.states) {
            if let Some(counts) = counts.get_mut(period) {
                counts.iter_mut().zip(states).for_each(|(sum, more)| *sum += more);
            }
        }
        let column = |at: usize| counts.values().map(move |counts| Some(counts[at]));
        let complete = |period: &i64| periods.start(period + 1) <= scope.as_of;
        Table::default()
            .days(per.name(), counts.keys().map(|period| Some(per.first_day(*period))))
            .numbers("new", column(0))
            .numbers("returning", column(1))
            .numbers("resurrecting", column(2))
            .numbers("dormant", column(3))
            .flags("complete", counts.keys().map(complete))
            .batch()
    }

    /// How many persons were active in exactly, and in at least, so many periods of the range.
    fn stickiness(&self, parts: &[Part]) -> Result<RecordBatch> {
        let mut exactly: BTreeMap<usize, i64> = BTreeMap::new();
        for (periods, persons) in parts.iter().flat_map(|part| &part.exactly) {
            *exactly.entry(*periods).or_default() += persons;
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
        let share = |at_least: i64| format!("{:.1}%", 100.0 * at_least as f64 / all as f64);
        Table::default()
            .numbers(
                format!("{}s", self.request.per.name()),
                rows.iter().map(|row| i64::try_from(row.0).ok()),
            )
            .numbers("persons", rows.iter().map(|row| Some(row.1)))
            .numbers("persons_at_least", rows.iter().map(|row| Some(row.2)))
            .texts("share_at_least", rows.iter().map(|row| Some(share(row.2))))
            .batch()
    }
}
