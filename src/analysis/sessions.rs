//! Sessions: events of one person without a long pause between them; how many, how long, and where they begin and end.

use std::collections::BTreeMap;
use std::collections::HashMap;

use arrow::array::RecordBatch;
use serde::Deserialize;
use serde::Serialize;

use crate::analysis::events::Events;
use crate::analysis::events::heading;
use crate::analysis::ground::Ground;
use crate::analysis::ground::ScopeWords;
use crate::analysis::history::Hit;
use crate::analysis::history::Values;
use crate::analysis::history::Wanted;
use crate::analysis::history::hits;
use crate::analysis::segment::Span;
use crate::analysis::segment::SpanUnit;
use crate::analysis::table::Table;
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

/// One visit of one person.
#[derive(Clone, Copy, Debug)]
struct Session {
    first: Hit,
    last: Hit,
    events: usize,
}

pub(crate) async fn answer(request: &SessionsRequest, ground: &Ground<'_>) -> Result<RecordBatch> {
    let scope = ground.scope(ScopeWords {
        from: request.from.as_deref(),
        to: request.to.as_deref(),
        as_of: request.as_of.as_deref(),
        zone: request.zone.as_deref(),
        segment: request.segment.as_deref(),
    })?;
    let limit = request.pause.unwrap_or(Span { count: 30, unit: SpanUnit::Minutes }).micros();
    let mut values = Values::new();
    let value = request.entry.as_deref().or(request.exit.as_deref());
    // Where a session begins and ends is only known from what lies around the range.
    let wanted = Wanted { events: &request.events, from: None, to: scope.until, value };
    let all = hits(ground, &scope, wanted, &mut values).await?;
    let mut found = Vec::new();
    for of_person in all.chunk_by(|one, next| one.person == next.person) {
        let times: Vec<i64> = of_person.iter().map(|hit| hit.at).collect();
        for range in sessions(&times, limit) {
            let (first, last) = (of_person[range.start], of_person[range.end - 1]);
            let begins = Micros(first.at);
            let in_range =
                scope.from.is_none_or(|from| from <= begins) && scope.to.is_none_or(|to| begins < to);
            if in_range {
                found.push(Session { first, last, events: range.len() });
            }
        }
    }
    match (&request.entry, &request.exit) {
        (None, None) => numbers(request, Periods::new(request.per, scope.zone), &found),
        (Some(entry), _) => {
            pages(&heading(entry), request.top, &found, |session| values.text(session.first.value))
        }
        (None, Some(exit)) => {
            pages(&heading(exit), request.top, &found, |session| values.text(session.last.value))
        }
    }
}

fn seconds(session: &Session) -> f64 {
    (session.last.at - session.first.at) as f64 / 1e6
}

/// A row a period in which sessions begin.
fn numbers(request: &SessionsRequest, mut periods: Periods, found: &[Session]) -> Result<RecordBatch> {
    let mut by_period: BTreeMap<i64, Vec<&Session>> = BTreeMap::new();
    for session in found {
        by_period.entry(periods.index(Micros(session.first.at))).or_default().push(session);
    }
    let persons = |sessions: &Vec<&Session>| {
        let mut persons: Vec<i64> = sessions.iter().map(|session| session.first.person).collect();
        persons.dedup();
        i64::try_from(persons.len()).ok()
    };
    let events = |sessions: &Vec<&Session>| sessions.iter().map(|session| session.events).sum::<usize>();
    let mean =
        |sum: f64, sessions: &Vec<&Session>| Some((sum / sessions.len() as f64 * 100.0).round() / 100.0);
    let median = |sessions: &Vec<&Session>| {
        let mut lengths: Vec<f64> = sessions.iter().map(|session| seconds(session)).collect();
        lengths.sort_unstable_by(f64::total_cmp);
        let (low, high) = (lengths[(lengths.len() - 1) / 2], lengths[lengths.len() / 2]);
        Some((low + high) / 2.0)
    };
    let bounced = |sessions: &Vec<&Session>| sessions.iter().filter(|session| session.events == 1).count();
    Table::default()
        .days(request.per.name(), by_period.keys().map(|period| Some(request.per.first_day(*period))))
        .numbers("sessions", by_period.values().map(|sessions| i64::try_from(sessions.len()).ok()))
        .numbers("persons", by_period.values().map(persons))
        .numbers("events", by_period.values().map(|sessions| i64::try_from(events(sessions)).ok()))
        .decimals(
            "events_a_session",
            by_period.values().map(|sessions| mean(events(sessions) as f64, sessions)),
        )
        .decimals(
            "average_seconds",
            by_period
                .values()
                .map(|sessions| mean(sessions.iter().map(|session| seconds(session)).sum(), sessions)),
        )
        .decimals("median_seconds", by_period.values().map(median))
        .numbers("of_one_event", by_period.values().map(|sessions| i64::try_from(bounced(sessions)).ok()))
        .batch()
}

/// The most frequent values at one end of the sessions; NULL is one of them.
fn pages<'a>(
    name: &str,
    top: Option<usize>,
    found: &'a [Session],
    value: impl Fn(&'a Session) -> Option<&'a str>,
) -> Result<RecordBatch> {
    let mut counts: HashMap<Option<&str>, i64> = HashMap::new();
    for session in found {
        *counts.entry(value(session)).or_default() += 1;
    }
    let mut counts: Vec<(Option<&str>, i64)> = counts.into_iter().collect();
    counts.sort_unstable_by(|one, other| (other.1, one.0).cmp(&(one.1, other.0)));
    let rest: i64 = counts.iter().skip(top.unwrap_or(10)).map(|one| one.1).sum();
    counts.truncate(top.unwrap_or(10));
    if rest > 0 {
        counts.push((Some("(other)"), rest));
    }
    let share = |sessions: i64| format!("{:.1}%", 100.0 * sessions as f64 / found.len() as f64);
    Table::default()
        .texts(name, counts.iter().map(|one| one.0))
        .numbers("sessions", counts.iter().map(|one| Some(one.1)))
        .texts("share", counts.iter().map(|one| Some(share(one.1))))
        .batch()
}
