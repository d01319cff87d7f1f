//! `FunnelRequest`: what a funnel asks, in words; the same behind the statement, the JSON form and the library call.

use serde::Deserialize;
use serde::Serialize;

use crate::analysis::funnel::histogram::Bars;
use crate::error::Error;
use crate::error::Place;
use crate::error::Result;
use crate::sequence::Entry;
use crate::sequence::Exclusion;
use crate::sequence::Order;
use crate::sequence::Rules;
use crate::sequence::Step;
use crate::sequence::Ties;
use crate::time::Clock;
use crate::time::Micros;
use crate::time::SystemClock;
use crate::time::Zone;
use crate::time::parse_duration;
use crate::time::parse_instant;
use crate::time::parse_zone;

/// A funnel. Every part but the steps may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FunnelRequest {
    pub steps: Vec<FunnelStep>,
    /// From the first step to the last, at most, such as `7 days`; none is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
    pub order: FunnelOrder,
    /// In any order: steps, counted from 1, that keep their place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub anchored: Vec<usize>,
    pub entry: FunnelEntry,
    pub ties: FunnelTies,
    /// Times this close count as one; they are rounded down to multiples of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub excluding: Vec<Excluding>,
    /// An excluded event takes the person out altogether, instead of ending the chain.
    pub drop_person: bool,
    /// Properties that must be the same in all steps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holding: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per: Option<Per>,
    /// Only persons of this segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_segment: Option<String>,
    /// When the first step may be: a day or a time, from this one on …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// … and before this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The range holds for all steps, not only for the first.
    pub strict_range: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The moment that counts as now: later events are not seen; none is the clock's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    pub counting: Counting,
    /// How long it took, instead of how many came how far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub histogram: Option<Histogram>,
    /// Persons instead of numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listing: Option<Listing>,
}

/// One step: any of its events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FunnelStep {
    pub any: Vec<Picked>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    pub optional: bool,
    /// After the step before, at most, such as `1 hour`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
}

/// Events of one definition, or those of them that meet a condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Picked {
    pub event: String,
    /// A condition of SQL over the columns of the event.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Where in a statement the event and its condition stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<[u64; 2]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub where_at: Option<[u64; 2]>,
}

/// An event that may not lie between two steps, counted from 1; without them between the first and the last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Excluding {
    pub picked: Picked,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub between: Option<[usize; 2]>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FunnelOrder {
    #[default]
    Ordered,
    Strict,
    Any,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FunnelEntry {
    #[default]
    Any,
    First,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FunnelTies {
    #[default]
    Any,
    Strict,
}

/// A breakdown by a value of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct By {
    pub property: String,
    pub of: Of,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<[u64; 2]>,
}

/// Whose value it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Of {
    /// Of the event of this step, counted from 1.
    Step(usize),
    /// Of the first event of the chain that has one.
    First,
    /// Of the last event of the chain that has one.
    Last,
    /// Of the person, as it is now.
    Person,
    /// Of the segment of this name: its name for those who are in it.
    Segment,
}

impl By {
    /// Whether all events of a person have the same value.
    pub(crate) fn is_of_person(&self) -> bool {
        matches!(self.of, Of::Person | Of::Segment)
    }
}

/// Buckets of the time at which persons enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Per {
    Day,
    Week,
    Month,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Counting {
    /// Each person once.
    #[default]
    Uniques,
    /// Each attempt: after one is over, the person may enter again.
    Totals,
    /// Each session of each person, by `sessionId`.
    Sessions,
}

/// How long it took from the first step to another, by how many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Histogram {
    /// Counted from 1; the last step when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// How much time each bar is for, such as `10 minutes`; longer ones the later when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
}

/// Which persons are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Listing {
    /// All that entered.
    Persons,
    /// Those that reached this step, counted from 1.
    Reached(usize),
    /// Those that reached this step, did not go on, and cannot any more.
    DroppedAfter(usize),
    /// Those that reached this step and may still go on.
    InProgressAfter(usize),
}

/// A request with its words read.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) rules: Rules,
    pub(crate) zone: Zone,
    pub(crate) now: Micros,
    /// What is read of the events: from the one, before the other.
    pub(crate) from: Option<Micros>,
    pub(crate) to: Option<Micros>,
    /// The bars of a histogram.
    pub(crate) bars: Bars,
}

impl FunnelRequest {
    /// The JSON form.
    pub fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| {
            let place = Place { line: error.line() as u64, column: error.column().max(1) as u64 };
            let said = error.to_string();
            let said = said.split(" at line ").next().unwrap_or_default().replace('`', "\"");
            Error::invalid(format!("this is no funnel: {said}")).at(place)
        })
    }

    /// The JSON form that [`FunnelRequest::parse`] reads.
    pub fn to_json(&self) -> Result<String> {
        use crate::error::Context;
        serde_json::to_string(self).internal(|| "could not write a funnel as JSON".to_owned())
    }

    /// Reads words, and refuses what cannot be meant.
    pub(crate) fn read(&self) -> Result<Read> {
        self.check()?;
        let zone = match &self.zone {
            Some(zone) => parse_zone(zone)?,
            None => parse_zone("UTC")?,
        };
        let moment = |text: &Option<String>| text.as_deref().map(|text| parse_moment(text, zone)).transpose();
        let (from, to, as_of) = (moment(&self.from)?, moment(&self.to)?, moment(&self.as_of)?);
        if let (Some(from), Some(to)) = (from, to)
            && to <= from
        {
            return Err(Error::invalid("the range ends before it starts: TO must be later than FROM"));
        }
        let window = self.within.as_deref().map(parse_duration).transpose()?;
        let mut rules = Rules::of(self.steps.len(), window);
        for (step, asked) in rules.steps.iter_mut().zip(&self.steps) {
            let limit = asked.within.as_deref().map(parse_duration).transpose()?;
            *step = Step { optional: asked.optional, limit, anchored: false };
        }
        rules.order = match self.order {
            FunnelOrder::Ordered => Order::Ordered,
            FunnelOrder::Strict => Order::Strict,
            FunnelOrder::Any => Order::Any,
        };
        for step in &self.anchored {
            rules.steps[step - 1].anchored = true;
        }
        rules.entry = match self.entry {
            FunnelEntry::Any => Entry::Any,
            FunnelEntry::First => Entry::First,
        };
        rules.ties = match self.ties {
            FunnelTies::Any => Ties::Any,
            FunnelTies::Strict => Ties::Strict,
        };
        rules.tolerance = self.tolerance.as_deref().map(parse_duration).transpose()?.unwrap_or(0);
        rules.drop_person = self.drop_person;
        let last = self.steps.len() - 1;
        rules.exclusions = self
            .excluding
            .iter()
            .map(|one| {
                let [from, to] = one.between.map_or([0, last], |[from, to]| [from - 1, to - 1]);
                Exclusion { from, to }
            })
            .collect();
        rules.starts = (from.map_or(i64::MIN, |at| at.0), to.map_or(i64::MAX, |at| at.0));
        let now = as_of.unwrap_or_else(|| SystemClock.now());
        // A chain that starts in the range is followed to the end of its window.
        let end = match (to, window) {
            (Some(to), _) if self.strict_range => Some(to),
            (Some(to), Some(window)) => {
                Some(Micros(to.0.saturating_add(window).saturating_add(rules.tolerance)))
            }
            _ => None,
        };
        let seen = as_of.map(|at| Micros(at.0.saturating_add(1)));
        let to = match (end, seen) {
            (Some(end), Some(seen)) => Some(end.min(seen)),
            (end, seen) => end.or(seen),
        };
        let every = self.histogram.as_ref().and_then(|one| one.every.as_deref());
        let bars = Bars::of(every.map(parse_duration).transpose()?)?;
        Ok(Read { rules, zone, now, from, to, bars })
    }

    /// The step that a histogram is of, counted from 1.
    pub(crate) fn timed_step(&self) -> usize {
        self.histogram.as_ref().and_then(|one| one.step).unwrap_or(self.steps.len())
    }

    /// What the steps are called in answers.
    pub(crate) fn labels(&self) -> Vec<String> {
        let label = |step: &FunnelStep| {
            step.label.clone().unwrap_or_else(|| {
                let events: Vec<&str> = step.any.iter().map(|one| one.event.as_str()).collect();
                events.join(" or ")
            })
        };
        if self.order != FunnelOrder::Any {
            return self.steps.iter().map(label).collect();
        }
        // Steps that may come in any order are counted as they come, each run of them between two anchors.
        let is_anchor = |at: usize| self.anchored.contains(&(at + 1));
        let count = self.steps.len();
        let name = |at: usize| {
            if is_anchor(at) {
                return label(&self.steps[at]);
            }
            let before = (0..at).rev().take_while(|one| !is_anchor(*one)).count();
            let after = (at..count).take_while(|one| !is_anchor(*one)).count();
            if before + after == 1 {
                return label(&self.steps[at]);
            }
            if before + after == count {
                return format!("any {} of {count}", before + 1);
            }
            let names: Vec<String> = self.steps[at - before..at + after].iter().map(label).collect();
            format!("any {} of {}", before + 1, names.join(", "))
        };
        (0..count).map(name).collect()
    }
}

/// A day of the zone, or a time; one without an offset is the zone's.
fn parse_moment(text: &str, zone: Zone) -> Result<Micros> {
    parse_instant(text, Some(zone)).map_err(|fault| Error::invalid(format!("the time \"{text}\": {fault}")))
}
