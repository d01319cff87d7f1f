//! Sessions: events of one person without a long pause between them; how many, how long, and where they begin and end.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use datafusion::physical_plan::ExecutionPlan;
use serde::Deserialize;
use serde::Serialize;

use crate::analysis::events::Events;
use crate::analysis::events::heading;
use crate::analysis::ground::Ground;
use crate::analysis::ground::Scope;
use crate::analysis::ground::words_of;
use crate::analysis::segment::Span;
use crate::analysis::segment::SpanUnit;
use crate::analysis::table::Table;
use crate::analysis::values::Values;
use crate::analysis::walk::Event;
use crate::analysis::walk::Walk;
use crate::analysis::walk::WalkExec;
use crate::analysis::wanted::Kind;
use crate::analysis::wanted::Wanted;
use crate::error::Result;
use crate::sequence::sessions::sessions;
use crate::time::Micros;
use crate::time::Period;
use crate::time::periods::Periods;

/// What is asked about sessions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionsRequest {
    pub events: Events,
    /// A longer pause parts two sessions; 30 minutes when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Span>,
    #[serde(default)]
    pub per: Period,
    /// Instead of numbers a period: the most frequent values of this expression at the first event of a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// The same at the last event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<String>,
    /// How many values; 10 when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top: Option<usize>,
    /// Sessions that begin from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Sessions that begin before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<String>,
}

/// The question with everything looked up.
#[derive(Debug)]
struct Sessions {
    request: SessionsRequest,
    scope: Scope,
    schema: SchemaRef,
}

/// The sessions that begin in one period.
#[derive(Debug, Default)]
struct Begun {
    persons: i64,
    events: usize,
    of_one_event: i64,
    /// How long each took, in microseconds.
    lengths: Vec<i64>,
}

/// What one thread has found.
#[derive(Debug)]
struct Part {
    periods: Periods,
    times: Vec<i64>,
    begun: BTreeMap<i64, Begun>,
    lengths: usize,
    /// How many sessions begin (or end) with each value.
    values: HashMap<u32, i64>,
}

/// The columns of the answer.
pub(crate) fn schema(request: &SessionsRequest) -> Result<SchemaRef> {
    let sessions =
        Sessions { request: request.clone(), scope: Scope::open(), schema: Arc::new(Schema::empty()) };
    Ok(sessions.answer(Vec::new(), &mut Values::default())?.schema())
}

pub(crate) async fn plan(
    request: &SessionsRequest,
    ground: &Ground,
    schema: SchemaRef,
) -> Result<Arc<dyn ExecutionPlan>> {
    let scope = ground.scope(words_of!(request))?;
    let value = request.entry.as_deref().or(request.exit.as_deref());
    // Where a session begins and ends is only known from what lies around the range.
    let kinds = vec![Kind { events: &request.events, from: None, to: scope.until, value }];
    let only = ground.chosen(&scope).await?;
    let planned = Wanted { kinds, only }.plan(ground).await?;
    let sessions = Sessions { request: request.clone(), scope, schema };
    Ok(Arc::new(WalkExec::new(Arc::new(sessions), planned)))
}

impl Sessions {
    fn pause(&self) -> Span {
        self.request.pause.unwrap_or(Span { count: 30, unit: SpanUnit::Minutes })
    }
}

impl Walk for Sessions {
    type Part = Part;

    fn name(&self) -> &'static str {
        "SessionsExec"
    }

    fn said(&self) -> String {
        format!("of {}, per {}", self.request.events.said(), self.request.per.name())
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn part(&self) -> Part {
        Part {
            periods: Periods::new(self.request.per, self.scope.zone),
            times: Vec::new(),
            begun: BTreeMap::new(),
            lengths: 0,
            values: HashMap::new(),
        }
    }

    fn person(&self, part: &mut Part, _person: i64, events: &[Event]) {
        let scope = &self.scope;
        part.times.clear();
        part.times.extend(events.iter().map(|event| event.at));
        let mut last_period = None;
        for range in sessions(&part.times, self.pause().micros()) {
            let (first, last) = (&events[range.start], &events[range.end - 1]);
            let begins = Micros(first.at);
            if scope.from.is_some_and(|from| begins < from) || scope.to.is_some_and(|to| to <= begins) {
                continue;
            }
            if self.request.entry.is_some() || self.request.exit.is_some() {
                let value = if self.request.entry.is_some() { first.value } else { last.value };
                *part.values.entry(value).or_default() += 1;
                continue;
            }
            let period = part.periods.index(begins);
            let begun = part.begun.entry(period).or_default();
            begun.persons += i64::from(last_period != Some(period));
            begun.events += range.len();
            begun.of_one_event += i64::from(range.len() == 1);
            begun.lengths.push(last.at - first.at);
            part.lengths += 1;
            last_period = Some(period);
        }
    }

    fn bytes(&self, part: &Part) -> usize {
        part.begun.len() * 160 + part.lengths * size_of::<i64>() * 3 / 2 + part.values.len() * 32
    }

    fn answer(&self, parts: Vec<Part>, values: &mut Values) -> Result<RecordBatch> {
        match (&self.request.entry, &self.request.exit) {
            (None, None) => self.numbers(parts),
            (Some(name), _) | (None, Some(name)) => self.pages(&heading(name), &parts, values),
        }
    }
}

impl Sessions {
    /// A row a period in which sessions begin.
    fn numbers(&self, parts: Vec<Part>) -> Result<RecordBatch> {
        let mut by_period: BTreeMap<i64, Begun> = BTreeMap::new();
        for (period, mut more) in parts.into_iter().flat_map(|part| part.begun) {
            let begun = by_period.entry(period).or_default();
            begun.persons += more.persons;
            begun.events += more.events;
            begun.of_one_event += more.of_one_event;
            begun.lengths.append(&mut more.lengths);
        }
        by_period.values_mut().for_each(|begun| begun.lengths.sort_unstable());
        let mean = |sum: f64, begun: &Begun| Some((sum / begun.lengths.len() as f64 * 100.0).round() / 100.0);
        let seconds =
            |begun: &Begun| begun.lengths.iter().map(|length| i128::from(*length)).sum::<i128>() as f64 / 1e6;
        let median = |begun: &Begun| {
            let lengths = &begun.lengths;
            let (low, high) = (lengths[(lengths.len() - 1) / 2], lengths[lengths.len() / 2]);
            Some((low as f64 + high as f64) / 2e6)
        };
        let per = self.request.per;
        let found = || by_period.values();
        Table::default()
            .days(per.name(), by_period.keys().map(|period| Some(per.first_day(*period))))
            .numbers("sessions", found().map(|begun| i64::try_from(begun.lengths.len()).ok()))
            .numbers("persons", found().map(|begun| Some(begun.persons)))
            .numbers("events", found().map(|begun| i64::try_from(begun.events).ok()))
            .decimals("events_a_session", found().map(|begun| mean(begun.events as f64, begun)))
            .decimals("average_seconds", found().map(|begun| mean(seconds(begun), begun)))
            .decimals("median_seconds", found().map(median))
            .numbers("of_one_event", found().map(|begun| Some(begun.of_one_event)))
            .batch()
    }

    /// The most frequent values at one end of the sessions; NULL is one of them.
    fn pages(&self, name: &str, parts: &[Part], values: &Values) -> Result<RecordBatch> {
        let mut counts: HashMap<u32, i64> = HashMap::new();
        for (value, sessions) in parts.iter().flat_map(|part| &part.values) {
            *counts.entry(*value).or_default() += sessions;
        }
        let all: i64 = counts.values().sum();
        let mut counts: Vec<(Option<&str>, i64)> =
            counts.into_iter().map(|(value, sessions)| (values.text(value), sessions)).collect();
        counts.sort_unstable_by(|one, other| (other.1, one.0).cmp(&(one.1, other.0)));
        let top = self.request.top.unwrap_or(10);
        let rest: i64 = counts.iter().skip(top).map(|one| one.1).sum();
        counts.truncate(top);
        if rest > 0 {
            counts.push((Some("(other)"), rest));
        }
        let share = |sessions: i64| format!("{:.1}%", 100.0 * sessions as f64 / all as f64);
        Table::default()
            .texts(name, counts.iter().map(|one| one.0))
            .numbers("sessions", counts.iter().map(|one| Some(one.1)))
            .texts("share", counts.iter().map(|one| Some(share(one.1))))
            .batch()
    }
}
