//! Segments: sets of persons by what they are and what they did, put together from sets that SQL and `sequence` find.

mod attributes;
mod audience;
mod condition;

use arrow::array::AsArray;
use arrow::array::RecordBatch;
use arrow::datatypes::Int64Type;
use futures::StreamExt;
use futures::future::BoxFuture;
use roaring::RoaringTreemap;
use serde::Deserialize;
use serde::Serialize;

use crate::analysis::events::Events;
use crate::analysis::events::condition as checked;
use crate::analysis::events::in_condition;
use crate::analysis::ground::Ground;
use crate::analysis::ground::Scope;
use crate::analysis::ground::ScopeWords;
use crate::analysis::ground::moment;
use crate::analysis::ground::timestamp;
use crate::analysis::history::Values;
use crate::analysis::history::Wanted;
use crate::analysis::history::each_hit;
use crate::analysis::history::select;
use crate::analysis::table::Table;
use crate::error::Error;
use crate::error::Result;
use crate::quote::literal;
use crate::quote::quoted;
use crate::sequence::steps::Fit;
use crate::sequence::steps::Order;
use crate::sequence::steps::has_chain;
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

pub(crate) async fn answer(request: &PersonsRequest, ground: &Ground<'_>) -> Result<RecordBatch> {
    let persons = members(request, ground).await?;
    Table::default().numbers("personId", persons.iter().map(|person| i64::try_from(person).ok())).batch()
}

/// Every pair of segments, and each with itself: how many persons, and how many are in both.
pub(crate) async fn overlap(request: &OverlapRequest, ground: &Ground<'_>) -> Result<RecordBatch> {
    let mut sets = Vec::new();
    for name in &request.segments {
        let sql = format!("SELECT \"personId\" FROM segments.{}", quoted(name));
        sets.push((name, found(ground, &sql, name).await?));
    }
    let pairs = || (0..sets.len()).flat_map(|one| (one..sets.len()).map(move |other| (one, other)));
    let size = |set: usize| i64::try_from(sets[set].1.len()).ok();
    let both = |one: usize, other: usize| sets[one].1.intersection_len(&sets[other].1);
    let share = |(one, other): (usize, usize)| {
        let least = sets[one].1.len().min(sets[other].1.len());
        (least > 0).then(|| both(one, other) as f64 / least as f64)
    };
    Table::default()
        .texts("segment", pairs().map(|(one, _)| Some(sets[one].0)))
        .texts("other", pairs().map(|(_, other)| Some(sets[other].0)))
        .numbers("persons", pairs().map(|(one, _)| size(one)))
        .numbers("other_persons", pairs().map(|(_, other)| size(other)))
        .numbers("both", pairs().map(|(one, other)| i64::try_from(both(one, other)).ok()))
        .decimals("share_of_smaller", pairs().map(share))
        .batch()
}

/// The persons for whom the request's condition holds.
pub async fn members(request: &PersonsRequest, ground: &Ground<'_>) -> Result<RoaringTreemap> {
    let words = ScopeWords {
        as_of: request.as_of.as_deref(),
        zone: request.zone.as_deref(),
        ..ScopeWords::default()
    };
    let scope = ground.scope(words)?;
    let mut asked = Asked { ground, scope, known: RoaringTreemap::new() };
    asked.known = asked.all_persons().await?;
    Ok(asked.holds(&request.condition).await? & &asked.known)
}

/// One evaluation.
struct Asked<'a> {
    ground: &'a Ground<'a>,
    scope: Scope,
    /// Everybody who is known as of the moment asked about.
    known: RoaringTreemap,
}

impl Asked<'_> {
    async fn all_persons(&self) -> Result<RoaringTreemap> {
        let Some(until) = self.scope.until else {
            return found(self.ground, "SELECT \"personId\" FROM persons", "persons").await;
        };
        let at = timestamp(until);
        let known = format!("SELECT \"personId\" FROM persons WHERE \"createdTime\" < {at}");
        let seen = format!("SELECT DISTINCT \"personId\" FROM events WHERE \"occurredTime\" < {at}");
        let now = found(self.ground, "SELECT \"personId\" FROM persons", "persons").await?;
        let then = found(self.ground, &known, "persons").await? | found(self.ground, &seen, "events").await?;
        Ok(then & now)
    }

    fn holds<'b>(&'b self, condition: &'b Condition) -> BoxFuture<'b, Result<RoaringTreemap>> {
        Box::pin(async move {
            Ok(match condition {
                Condition::And(all) => {
                    let mut set: Option<RoaringTreemap> = None;
                    for one in all {
                        let next = self.holds(one).await?;
                        set = Some(set.map_or_else(|| next.clone(), |set| set & &next));
                    }
                    set.unwrap_or_else(|| self.known.clone())
                }
                Condition::Or(any) => {
                    let mut set = RoaringTreemap::new();
                    for one in any {
                        set |= self.holds(one).await?;
                    }
                    set
                }
                Condition::Not(inner) => &self.known - self.holds(inner).await?,
                Condition::Persons(text) => {
                    let text = checked(text).map_err(|error| in_condition("persons", error))?;
                    let text = text.replace(attributes::AS_OF, &timestamp(self.scope.as_of));
                    let sql = format!("SELECT \"personId\" FROM persons WHERE {text}");
                    found(self.ground, &sql, "persons").await?
                }
                Condition::Did(did) => self.did(did).await?,
                Condition::Sequence(steps) => self.sequence(steps).await?,
                Condition::Stopped(change) => self.holds(&change.stopped()?).await?,
                Condition::CameBack(change) => self.holds(&change.came_back()?).await?,
                Condition::Segment(name) => {
                    let sql = format!("SELECT \"personId\" FROM segments.{}", quoted(name));
                    found(self.ground, &sql, name).await?
                }
            })
        })
    }

    async fn did(&self, did: &Did) -> Result<RoaringTreemap> {
        let (from, to) = self.range(&did.time)?;
        let mut having = Vec::new();
        let mut range = (from, Some(to));
        if did.occurrence != Occurrence::Any {
            if did.times.is_some() || did.days.is_some() || did.total.is_some() {
                return Err(Error::invalid(
                    "the first or last time is one event: it has no number of times, days or total",
                ));
            }
            range = (None, Some(self.scope.as_of));
            let end = if did.occurrence == Occurrence::First { "MIN" } else { "MAX" };
            having.extend(from.map(|from| format!("{end}(\"occurredTime\") >= {}", timestamp(from))));
            having.push(format!("{end}(\"occurredTime\") < {}", timestamp(to)));
        }
        // Whoever never did it is in no group: ask for the others, and take them away from everybody.
        let zone = literal(self.scope.zone.name());
        let dates = format!("COUNT(DISTINCT local_day(\"occurredTime\", {zone}))");
        let counted = match (did.times, did.days, &did.total) {
            (Some(times), None, None) => Some((times, "COUNT(*)")),
            (None, Some(days), None) => Some((days, dates.as_str())),
            _ => None,
        };
        if let Some((amount, count)) = counted.filter(|(amount, _)| amount.includes_none()) {
            let others = amount.sql(count, true);
            let sql = select("\"personId\"", &did.events, range, &self.scope, None)?;
            let set =
                found(self.ground, &format!("{sql} GROUP BY 1 HAVING {others}"), did.events.said()).await?;
            return Ok(&self.known - set);
        }
        having.extend(did.times.map(|times| times.sql("COUNT(*)", false)));
        having.extend(did.days.map(|days| days.sql(&dates, false)));
        if let Some(total) = &did.total {
            let value = checked(&total.value).map_err(|error| in_condition(did.events.said(), error))?;
            let aggregate = match total.of {
                Aggregate::Sum => format!("SUM({value})"),
                Aggregate::Avg => format!("AVG({value})"),
                Aggregate::Min => format!("MIN({value})"),
                Aggregate::Max => format!("MAX({value})"),
                Aggregate::Distinct => format!("COUNT(DISTINCT {value})"),
            };
            having.push(format!("CAST({aggregate} AS DOUBLE) {} {:?}", total.is.sign(), total.number));
        }
        let mut sql =
            format!("{} GROUP BY 1", select("\"personId\"", &did.events, range, &self.scope, None)?);
        if !having.is_empty() {
            sql.push_str(&format!(" HAVING {}", having.join(" AND ")));
        }
        found(self.ground, &sql, did.events.said()).await
    }

    async fn sequence(&self, steps: &Steps) -> Result<RoaringTreemap> {
        if steps.steps.is_empty() || steps.steps.len() > 64 {
            return Err(Error::invalid(format!("a sequence has 1 to 64 steps, not {}", steps.steps.len())));
        }
        let (from, to) = self.range(&steps.time)?;
        // Events in order of person, time and number, with the steps that each fits.
        let mut fits: Vec<(i64, i64, i64, u64)> = Vec::new();
        for (step, events) in steps.steps.iter().enumerate() {
            if steps.steps[..step].contains(events) {
                continue;
            }
            // Equal steps are read once.
            let same = steps.steps.iter().enumerate().filter(|(_, other)| *other == events);
            let these = same.fold(0_u64, |bits, (step, _)| bits | (1 << step));
            let wanted = Wanted { events, from, to: Some(to), value: None };
            each_hit(self.ground, &self.scope, wanted, &mut Values::new(), |hit| {
                fits.push((hit.person, hit.at, hit.seq, these));
            })
            .await?;
        }
        fits.sort_unstable();
        fits.dedup_by(|next, one| {
            let same = (next.0, next.1, next.2) == (one.0, one.1, one.2);
            if same {
                one.3 |= next.3;
            }
            same
        });
        let mut forbidden: Vec<(i64, i64)> = Vec::new();
        if let Some(events) = &steps.not_followed_by {
            let wanted = Wanted { events, from, to: Some(self.scope.as_of), value: None };
            each_hit(self.ground, &self.scope, wanted, &mut Values::new(), |hit| {
                forbidden.push((hit.person, hit.at))
            })
            .await?;
            forbidden.sort_unstable();
        }
        let order =
            Order { steps: steps.steps.len(), window: steps.within.micros(), as_of: self.scope.as_of.0 };
        let mut set = RoaringTreemap::new();
        for of_person in fits.chunk_by(|one, next| one.0 == next.0) {
            let person = of_person[0].0;
            let events: Vec<Fit> = of_person.iter().map(|one| Fit { at: one.1, steps: one.3 }).collect();
            let start = forbidden.partition_point(|one| one.0 < person);
            let end = forbidden.partition_point(|one| one.0 <= person);
            let follows: Vec<i64> = forbidden[start..end].iter().map(|one| one.1).collect();
            if has_chain(order, &events, steps.not_followed_by.as_ref().map(|_| follows.as_slice())) {
                set.insert(number(person));
            }
        }
        Ok(set)
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

/// The persons in the first column of an answer.
async fn found(ground: &Ground<'_>, sql: &str, said: &str) -> Result<RoaringTreemap> {
    let said = |error| in_condition(said, error);
    let mut rows = ground.session.ask(sql).await.map_err(said)?;
    let mut set = RoaringTreemap::new();
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(said)?;
        set.extend(batch.column(0).as_primitive::<Int64Type>().values().iter().map(|person| number(*person)));
    }
    Ok(set)
}

/// A person as a set holds it; ids are never negative.
fn number(person: i64) -> u64 {
    u64::try_from(person).unwrap_or_default()
}

impl Condition {
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
