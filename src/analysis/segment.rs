//! Segments: sets of persons by what they are and what they did, put together from sets that SQL and `sequence` find.

mod attributes;
mod audience;
mod bare;
mod condition;
mod counts;
mod order;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::future::BoxFuture;
use roaring::RoaringTreemap;
use serde::Deserialize;
use serde::Serialize;

use crate::analysis::bits::Bits;
use crate::analysis::events::Events;
use crate::analysis::events::condition as checked;
use crate::analysis::events::in_condition;
use crate::analysis::ground::Ground;
use crate::analysis::ground::Scope;
use crate::analysis::ground::ScopeWords;
use crate::analysis::ground::moment;
use crate::analysis::ground::timestamp;
use crate::analysis::segment::counts::Counted;
use crate::analysis::table::Table;
use crate::error::Error;
use crate::error::Result;
use crate::quote::literal;
use crate::quote::quoted;
use crate::time::Day;
use crate::time::Micros;
use crate::time::Zone;
use crate::time::zones;

pub use audience::Audience;
pub use condition::Aggregate;
pub use condition::Amount;
pub use condition::Change;
pub use condition::Comparison;
pub use condition::Condition;
pub use condition::Did;
pub use condition::Occurrence;
pub use condition::Span;
pub use condition::SpanUnit;
pub use condition::Steps;
pub use condition::Total;
pub use condition::Window;

/// The persons for whom a condition holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonsRequest {
    pub condition: Condition,
    /// The moment as of which it holds; now when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// How far segments cover each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverlapRequest {
    pub segments: Vec<String>,
}

/// The columns of the persons of a condition.
pub(crate) fn schema() -> Result<SchemaRef> {
    Ok(table(&Bits::default())?.schema())
}

pub(crate) async fn answer(request: &PersonsRequest, ground: &Ground) -> Result<RecordBatch> {
    table(&who(request, ground).await?)
}

fn table(persons: &Bits) -> Result<RecordBatch> {
    Table::default().numbers("personId", persons.iter().map(Some)).batch()
}

/// The columns of an overlap.
pub(crate) fn overlap_schema() -> Result<SchemaRef> {
    Ok(overlaps(&[])?.schema())
}

/// Every pair of segments, and each with itself: how many persons, and how many are in both.
pub(crate) async fn overlap(request: &OverlapRequest, ground: &Ground) -> Result<RecordBatch> {
    let mut sets = Vec::new();
    for name in &request.segments {
        let sql = format!("SELECT \"personId\" FROM segments.{}", quoted(name));
        sets.push((name.clone(), ground.persons_of(&sql).await.map_err(|error| in_condition(name, error))?));
    }
    overlaps(&sets)
}

fn overlaps(sets: &[(String, Bits)]) -> Result<RecordBatch> {
    let pairs = || (0..sets.len()).flat_map(|one| (one..sets.len()).map(move |other| (one, other)));
    let size = |set: usize| i64::try_from(sets[set].1.len()).ok();
    let both = |one: usize, other: usize| sets[one].1.common(&sets[other].1);
    let share = |(one, other): (usize, usize)| {
        let least = sets[one].1.len().min(sets[other].1.len());
        (least > 0).then(|| both(one, other) as f64 / least as f64)
    };
    Table::default()
        .texts("segment", pairs().map(|(one, _)| Some(&sets[one].0)))
        .texts("other", pairs().map(|(_, other)| Some(&sets[other].0)))
        .numbers("persons", pairs().map(|(one, _)| size(one)))
        .numbers("other_persons", pairs().map(|(_, other)| size(other)))
        .numbers("both", pairs().map(|(one, other)| i64::try_from(both(one, other)).ok()))
        .decimals("share_of_smaller", pairs().map(share))
        .batch()
}

/// A query on attributes in the published form, as a condition in SQL on `persons` at a moment.
pub fn persons_where(query: &serde_json::Value, now: Micros) -> Result<String> {
    Ok(attributes::sql(query)?.replace(attributes::AS_OF, &timestamp(now)))
}

/// The persons for whom the request's condition holds.
pub async fn members(request: &PersonsRequest, ground: &Ground) -> Result<RoaringTreemap> {
    Ok(who(request, ground).await?.iter().filter_map(|person| u64::try_from(person).ok()).collect())
}

async fn who(request: &PersonsRequest, ground: &Ground) -> Result<Bits> {
    let words = ScopeWords {
        as_of: request.as_of.as_deref(),
        zone: request.zone.as_deref(),
        ..ScopeWords::default()
    };
    let scope = ground.scope(words)?;
    let mut asked = Asked { ground, scope, known: Bits::default() };
    asked.known = asked.all_persons().await?;
    let mut found = asked.holds(&request.condition, None).await?;
    found.intersect(&asked.known);
    Ok(found)
}

/// One evaluation.
struct Asked<'a> {
    ground: &'a Ground,
    scope: Scope,
    /// Everybody who is known as of the moment asked about.
    known: Bits,
}

impl Asked<'_> {
    async fn all_persons(&self) -> Result<Bits> {
        let now = self.ground.persons_of("SELECT \"personId\" FROM persons").await?;
        let Some(until) = self.scope.until else { return Ok(now) };
        let at = timestamp(until);
        let known = format!("SELECT \"personId\" FROM persons WHERE \"createdTime\" < {at}");
        let any = Events { event: "*".to_owned(), filter: None };
        let mut then = self.ground.persons_of(&known).await?;
        then.unite(&self.events(&any, (None, Some(until))).persons().await?);
        then.intersect(&now);
        Ok(then)
    }

    /// For whom it holds. Whoever is not among `of` (all, where that is left out) does not matter.
    fn holds<'b>(&'b self, condition: &'b Condition, of: Option<&'b Bits>) -> BoxFuture<'b, Result<Bits>> {
        Box::pin(async move {
            Ok(match condition {
                Condition::And(all) => {
                    // Orders of events are looked for last, and only among those whom the rest leaves.
                    let (late, early): (Vec<_>, Vec<_>) = all.iter().partition(|one| one.has_order());
                    let mut set = of.cloned();
                    for one in early.into_iter().chain(late) {
                        let next = self.holds(one, set.as_ref()).await?;
                        set = Some(match set {
                            None => next,
                            Some(mut set) => {
                                set.intersect(&next);
                                set
                            }
                        });
                    }
                    set.unwrap_or_else(|| self.known.clone())
                }
                Condition::Or(any) => {
                    let mut set = Bits::default();
                    for one in any {
                        set.unite(&self.holds(one, of).await?);
                    }
                    set
                }
                Condition::Not(inner) => self.without(&self.holds(inner, of).await?),
                Condition::Persons(text) => {
                    let said = |error| in_condition("persons", error);
                    let text = checked(text).map_err(said)?;
                    let text = text.replace(attributes::AS_OF, &timestamp(self.scope.as_of));
                    let sql = format!("SELECT \"personId\" FROM persons WHERE {text}");
                    self.ground.persons_of(&sql).await.map_err(said)?
                }
                Condition::Did(did) => self.did(did).await?,
                Condition::Sequence(steps) => self.sequence(steps, of).await?,
                Condition::Stopped(change) => self.holds(&change.stopped()?, of).await?,
                Condition::CameBack(change) => self.holds(&change.came_back()?, of).await?,
                Condition::Segment(name) => {
                    let sql = format!("SELECT \"personId\" FROM segments.{}", quoted(name));
                    self.ground.persons_of(&sql).await.map_err(|error| in_condition(name, error))?
                }
            })
        })
    }

    fn without(&self, set: &Bits) -> Bits {
        let mut others = self.known.clone();
        others.subtract(set);
        others
    }

    async fn did(&self, did: &Did) -> Result<Bits> {
        let said = |error| in_condition(did.events.said(), error);
        let (from, to) = self.range(&did.time)?;
        if did.occurrence != Occurrence::Any {
            if did.times.is_some() || did.days.is_some() || did.total.is_some() {
                return Err(Error::invalid(
                    "the first or last time is one event: it has no number of times, days or total",
                ));
            }
            let did_it = |from, to| async move { self.events(&did.events, (from, Some(to))).persons().await };
            // The first lies in the window for whoever did it before its end and not before its start; so does the last
            // for whoever did it from its start on and not from its end on.
            let (mut some, others) = match did.occurrence {
                Occurrence::First => (did_it(None, to).await, from.map(|from| did_it(None, from))),
                _ => {
                    let since_end = (to < self.scope.as_of).then(|| did_it(Some(to), self.scope.as_of));
                    (did_it(from, self.scope.as_of).await, since_end)
                }
            };
            if let (Ok(some), Some(others)) = (&mut some, others) {
                some.subtract(&others.await.map_err(said)?);
            }
            return some.map_err(said);
        }
        let range = (from, Some(to));
        if did.days.is_none() && did.total.is_none() {
            let all = self.events(&did.events, range);
            let Some(times) = did.times.filter(|times| *times != Amount::AtLeast(1)) else {
                return all.persons().await.map_err(said);
            };
            // Whoever never did it is not counted: ask for the others, and take them away from everybody.
            let none = times.includes(0);
            let found = all.times(|count| times.includes(count) != none).await.map_err(said)?;
            return Ok(if none { self.without(&found) } else { found });
        }
        let zone = literal(self.scope.zone.name());
        let dates = format!("COUNT(DISTINCT local_day(\"occurredTime\", {zone}))");
        if let Some(days) =
            did.days.filter(|days| days.includes(0) && did.times.is_none() && did.total.is_none())
        {
            let sql = self.scope.select("\"personId\"", &did.events, range, None)?;
            let sql = format!("{sql} GROUP BY 1 HAVING {}", days.sql(&dates, true));
            return Ok(self.without(&self.ground.persons_of(&sql).await.map_err(said)?));
        }
        let mut having = Vec::new();
        having.extend(did.times.map(|times| times.sql("COUNT(*)", false)));
        having.extend(did.days.map(|days| days.sql(&dates, false)));
        if let Some(total) = &did.total {
            let value = checked(&total.value).map_err(said)?;
            let aggregate = match total.of {
                Aggregate::Sum => format!("SUM({value})"),
                Aggregate::Avg => format!("AVG({value})"),
                Aggregate::Min => format!("MIN({value})"),
                Aggregate::Max => format!("MAX({value})"),
                Aggregate::Distinct => format!("COUNT(DISTINCT {value})"),
            };
            having.push(format!("CAST({aggregate} AS DOUBLE) {} {:?}", total.is.sign(), total.number));
        }
        let sql = self.scope.select("\"personId\"", &did.events, range, None)?;
        let sql = format!("{sql} GROUP BY 1 HAVING {}", having.join(" AND "));
        self.ground.persons_of(&sql).await.map_err(said)
    }

    fn events<'b>(&'b self, events: &'b Events, range: (Option<Micros>, Option<Micros>)) -> Counted<'b> {
        Counted { ground: self.ground, scope: &self.scope, events, range }
    }

    async fn sequence(&self, steps: &Steps, of: Option<&Bits>) -> Result<Bits> {
        let range = self.range(&steps.time)?;
        order::persons(self.ground, self.scope.as_of, steps, range, of).await
    }

    fn range(&self, window: &Window) -> Result<(Option<Micros>, Micros)> {
        range(window, self.scope.as_of, self.scope.zone)
    }
}

/// From when up to, and without, when; nothing lies behind the present.
pub(crate) fn range(window: &Window, as_of: Micros, zone: Zone) -> Result<(Option<Micros>, Micros)> {
    let ago = |span: &Span| Micros(as_of.0.saturating_sub(span.micros()));
    let (from, to) = match window {
        Window::Ever => (None, as_of),
        Window::Last(span) => (Some(ago(span)), as_of),
        Window::LastDays(days) => {
            let outside = || Error::invalid("the days lie outside of the years of the calendar");
            let today = zones::local_day(as_of, zone).ok_or_else(outside)?;
            let first = today.0.checked_sub_unsigned(*days).ok_or_else(outside)?;
            let start = |day| zones::day_start(day, zone).ok_or_else(outside);
            (Some(start(Day(first))?), start(today)?)
        }
        Window::BeforeLast(span) => (None, ago(span)),
        Window::Ago { from, to } if from.micros() > to.micros() => (Some(ago(from)), ago(to)),
        Window::Ago { .. } => {
            return Err(Error::invalid(
                "BETWEEN … AND … AGO starts longer ago than it ends, such as BETWEEN 60 AND 30 DAYS AGO",
            ));
        }
        Window::Absolute { from, to } => {
            let at = |name, text: &Option<String>| {
                text.as_deref().map(|text| moment(name, text, zone)).transpose()
            };
            (at("the start", from)?, at("the end", to)?.unwrap_or(as_of))
        }
    };
    Ok((from, to.min(as_of)))
}

impl Condition {
    /// Whether it looks at the order of events.
    fn has_order(&self) -> bool {
        match self {
            Self::And(all) | Self::Or(all) => all.iter().any(Self::has_order),
            Self::Not(inner) => inner.has_order(),
            Self::Sequence(_) => true,
            _ => false,
        }
    }

    /// The names of the segments that it refers to.
    pub fn segments(&self) -> Vec<&str> {
        match self {
            Self::And(all) | Self::Or(all) => all.iter().flat_map(Self::segments).collect(),
            Self::Not(inner) => inner.segments(),
            Self::Segment(name) => vec![name],
            Self::Persons(_) | Self::Did(_) | Self::Sequence(_) | Self::Stopped(_) | Self::CameBack(_) => {
                Vec::new()
            }
        }
    }

    /// Whether it asks for an attribute of persons.
    pub fn asks_for(&self, attribute: &str) -> bool {
        match self {
            Self::And(all) | Self::Or(all) => all.iter().any(|one| one.asks_for(attribute)),
            Self::Not(inner) => inner.asks_for(attribute),
            Self::Persons(text) => crate::analysis::attributes::names_in(text, attribute),
            _ => false,
        }
    }

    /// That a person did something, at least once and ever.
    pub fn did(events: Events) -> Self {
        Self::Did(Box::new(Did { events, ..Did::default() }))
    }
}

#[cfg(test)]
mod tests;
