//! Scores: points for each rule that holds of a person. Rules about events are counted as aggregates are; rules about
//! attributes are asked of `persons`.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use futures::StreamExt;
use futures::future::BoxFuture;
use roaring::RoaringTreemap;

use crate::analysis::attributes::Computed;
use crate::analysis::attributes::Over;
use crate::analysis::attributes::ScoreRule;
use crate::analysis::attributes::column::column;
use crate::analysis::attributes::kept::Kept;
use crate::analysis::attributes::kept::Wanted;
use crate::analysis::attributes::stretch::Stretch;
use crate::analysis::events::condition;
use crate::analysis::events::in_condition;
use crate::analysis::segment::Amount;
use crate::analysis::segment::Condition;
use crate::analysis::segment::Did;
use crate::analysis::segment::Occurrence;
use crate::error::Error;
use crate::error::Result;
use crate::query::ComputedKind;
use crate::sequence::tally::Function;
use crate::sequence::tally::Plan;
use crate::sequence::tally::Scalar;
use crate::time::Micros;

const COUNT: Plan = Plan { function: Function::Count, without: None };

/// The events that a rule counts.
pub(crate) fn wanted(did: &Did) -> Wanted {
    Wanted { plan: COUNT, events: did.events.clone(), property: None }
}

/// All conditions on events and on attributes of a rule; an error for what a rule may not ask.
pub(crate) fn parts(rule: &Condition) -> Result<(Vec<&Did>, Vec<&str>)> {
    let (mut dids, mut texts) = (Vec::new(), Vec::new());
    let mut left = vec![rule];
    while let Some(one) = left.pop() {
        match one {
            Condition::And(all) | Condition::Or(all) => left.extend(all.iter().rev()),
            Condition::Not(inner) => left.push(inner),
            Condition::Persons(text) => texts.push(text.as_str()),
            Condition::Did(did) => {
                if did.days.is_some() || did.total.is_some() || did.occurrence != Occurrence::Any {
                    return Err(Error::invalid(
                        "a rule of a score asks how often somebody did something and when, not on how many days, how \
                         much in all, or for the first or last time; compute an attribute of that and ask for it",
                    ));
                }
                if did.events.event == "*" {
                    return Err(Error::invalid("a rule of a score names the event that it is about"));
                }
                dids.push(did.as_ref());
            }
            Condition::Sequence(_)
            | Condition::Stopped(_)
            | Condition::CameBack(_)
            | Condition::Segment(_) => {
                return Err(Error::invalid(
                    "a rule of a score is about attributes and DID; SEQUENCE, STOPPED, CAME BACK and IN SEGMENT are \
                     for segments",
                ));
            }
        }
    }
    Ok((dids, texts))
}

/// One evaluation.
struct Asked<'a> {
    over: &'a Over<'a>,
    known: RoaringTreemap,
    kept: std::slice::IterMut<'a, Kept>,
    until: i64,
}

pub(crate) async fn values(rules: &[ScoreRule], kept: &mut Vec<Kept>, over: &Over<'_>) -> Result<Computed> {
    let mut events = 0;
    for rule in rules {
        events += parts(&rule.when)?.0.len();
    }
    kept.resize_with(events, Kept::default);
    let persons = over.snapshot.persons.all()?;
    let ids = persons.iter().filter_map(|person| u64::try_from(person.id.0).ok());
    let known: RoaringTreemap = ids.collect();
    let mut asked = Asked { over, known, kept: kept.iter_mut(), until: i64::MAX };
    let mut points: hashbrown::HashMap<u64, i64> = hashbrown::HashMap::new();
    for rule in rules {
        for person in asked.holds(&rule.when).await? {
            *points.entry(person).or_default() += i64::from(rule.points);
        }
    }
    let until = Micros(asked.until);
    let mut values: Vec<(i64, Option<Scalar>)> = points
        .into_iter()
        .filter_map(|(person, points)| {
            Some((i64::try_from(person).ok()?, Some(Scalar::Whole(points.into()))))
        })
        .collect();
    values.sort_unstable_by_key(|(person, _)| *person);
    let column = column(values, Some(Scalar::Whole(0)), ComputedKind::Integer)?;
    Ok(Computed { column: Arc::new(column), until })
}

impl Asked<'_> {
    fn holds<'b>(&'b mut self, rule: &'b Condition) -> BoxFuture<'b, Result<RoaringTreemap>> {
        Box::pin(async move {
            Ok(match rule {
                Condition::And(all) => {
                    let mut set = self.known.clone();
                    for one in all {
                        set &= self.holds(one).await?;
                    }
                    set
                }
                Condition::Or(any) => {
                    let mut set = RoaringTreemap::new();
                    for one in any {
                        set |= self.holds(one).await?;
                    }
                    set
                }
                Condition::Not(inner) => {
                    let set = self.holds(inner).await?;
                    &self.known - set
                }
                Condition::Persons(text) => self.persons(text).await?,
                Condition::Did(did) => self.did(did).await?,
                _ => return Err(Error::internal("a rule of a score was not checked")),
            })
        })
    }

    async fn persons(&mut self, text: &str) -> Result<RoaringTreemap> {
        let said = |error| in_condition("persons", error);
        let text = condition(text).map_err(said)?;
        let session = (self.over.open)(Arc::clone(self.over.snapshot))?;
        let sql = format!("SELECT \"personId\" FROM persons WHERE {text}");
        let mut rows = session.ask(&sql).await.map_err(said)?;
        let mut set = RoaringTreemap::new();
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(said)?;
            let ids = batch.column(0).as_primitive::<Int64Type>().values();
            set.extend(ids.iter().filter_map(|id| u64::try_from(*id).ok()));
        }
        // An attribute may be computed, and change with time.
        self.until = self.until.min(self.over.now.0 + 1);
        Ok(set)
    }

    async fn did(&mut self, did: &Did) -> Result<RoaringTreemap> {
        let kept = self.kept.next().ok_or_else(|| Error::internal("a rule of a score has no state"))?;
        let stretch = Stretch::of_window(&did.time, self.over.now, self.over.zone)?;
        kept.catch_up(&wanted(did), &stretch, self.over).await?;
        self.until = self.until.min(kept.until(&stretch, self.over));
        let amount = did.times.unwrap_or(Amount::AtLeast(1));
        let counts = kept.tallies(COUNT, &stretch, self.over);
        let those = |meant: bool| -> RoaringTreemap {
            let of = counts.iter().filter(|(_, tally)| {
                let count = match tally.value(COUNT) {
                    Some(Scalar::Whole(count)) => count,
                    _ => 0,
                };
                amount.includes(u64::try_from(count).unwrap_or(u64::MAX)) == meant
            });
            of.filter_map(|(person, _)| u64::try_from(*person).ok()).collect()
        };
        // Whoever never did it is in no tally.
        Ok(if amount.includes(0) { &self.known - those(false) } else { those(true) & &self.known })
    }
}
