//! `Condition`: what makes a person a member of a segment, in any nesting of AND, OR and NOT.

use serde::Deserialize;
use serde::Serialize;

use crate::analysis::events::Events;
use crate::error::Error;
use crate::error::Result;
use crate::time::MICROS_PER_DAY;

/// What holds for a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Condition {
    And(Vec<Condition>),
    Or(Vec<Condition>),
    /// All known persons for whom it does not hold.
    Not(Box<Condition>),
    /// A condition in SQL on the columns of `persons`.
    Persons(String),
    Did(Box<Did>),
    Sequence(Box<Steps>),
    /// Did it in the span before the last one, and not in the last.
    Stopped(Box<Change>),
    /// Did it in the last span, not in the one before, and ever before that.
    CameBack(Box<Change>),
    /// A member of another segment.
    Segment(String),
}

/// Did something: so often, so much, on so many days, at that time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Did {
    pub events: Events,
    /// How many times; at least once when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<Amount>,
    /// On how many different days of the zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<Amount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Total>,
    #[serde(default)]
    pub occurrence: Occurrence,
    #[serde(default)]
    pub time: Window,
}

/// How many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Amount {
    AtLeast(u64),
    Exactly(u64),
    AtMost(u64),
    /// Both ends belong to it.
    Between(u64, u64),
}

/// An aggregate of a property, compared with a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Total {
    pub of: Aggregate,
    /// An expression in SQL.
    pub value: String,
    pub is: Comparison,
    pub number: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    Sum,
    Avg,
    Min,
    Max,
    Distinct,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    #[serde(rename = "<")]
    Less,
    #[serde(rename = "<=")]
    AtMost,
    #[serde(rename = "=")]
    Equal,
    #[serde(rename = "<>")]
    Different,
    #[serde(rename = ">=")]
    AtLeast,
    #[serde(rename = ">")]
    Greater,
}

/// Which of a person's events must lie in the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Occurrence {
    /// Those that are counted.
    #[default]
    Any,
    /// The first of all history.
    First,
    /// The last of all history.
    Last,
}

/// When; the present is the moment as of which a segment is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    #[default]
    Ever,
    /// The last so long.
    Last(Span),
    /// The last so many whole days of the zone, without today.
    LastDays(u32),
    /// Longer ago.
    BeforeLast(Span),
    /// From the greater to the smaller number of units ago.
    Ago { from: Span, to: Span },
    /// From a time up to, and without, another; either may be left out.
    Absolute {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
    },
}

/// A length of time; days are 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub count: u32,
    pub unit: SpanUnit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanUnit {
    Minutes,
    Hours,
    Days,
    Weeks,
}

impl Span {
    pub(crate) fn micros(self) -> i64 {
        let unit = match self.unit {
            SpanUnit::Minutes => 60_000_000,
            SpanUnit::Hours => 3_600_000_000,
            SpanUnit::Days => MICROS_PER_DAY,
            SpanUnit::Weeks => 7 * MICROS_PER_DAY,
        };
        i64::from(self.count) * unit
    }
}

/// Steps in this order within some time, and what must not follow within the same time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Steps {
    pub steps: Vec<Events>,
    /// From the first step to the last, and from the last one on for what must not follow.
    pub within: Span,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_followed_by: Option<Events>,
    /// When the steps happened.
    #[serde(default)]
    pub time: Window,
}

/// Something that a person used to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    pub events: Events,
    pub span: Span,
}

impl Amount {
    /// Whether so many are meant; those who never did it have 0.
    pub(crate) fn includes(self, count: u64) -> bool {
        match self {
            Self::AtLeast(least) => least <= count,
            Self::Exactly(exact) => exact == count,
            Self::AtMost(most) => count <= most,
            Self::Between(least, most) => least <= count && count <= most,
        }
    }

    /// The condition in SQL on a count; the one of those who are *not* meant when `negated`.
    pub(crate) fn sql(self, count: &str, negated: bool) -> String {
        let sql = match self {
            Self::AtLeast(least) => format!("{count} >= {least}"),
            Self::Exactly(exact) => format!("{count} = {exact}"),
            Self::AtMost(most) => format!("{count} <= {most}"),
            Self::Between(least, most) => format!("{count} BETWEEN {least} AND {most}"),
        };
        if negated { format!("NOT ({sql})") } else { sql }
    }
}

impl Comparison {
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Equal => "=",
            Self::Different => "<>",
            Self::AtLeast => ">=",
            Self::Greater => ">",
        }
    }
}

impl Change {
    fn did(&self, time: Window) -> Condition {
        Condition::Did(Box::new(Did { events: self.events.clone(), time, ..Did::default() }))
    }

    fn twice(&self) -> Result<Span> {
        let count = self.span.count.checked_mul(2).filter(|count| *count > 0);
        let count = count.ok_or_else(|| Error::invalid("the time is a number from 1"))?;
        Ok(Span { count, unit: self.span.unit })
    }

    /// Did it in the span before the last, and not in the last.
    pub(crate) fn stopped(&self) -> Result<Condition> {
        let before = self.did(Window::Ago { from: self.twice()?, to: self.span });
        let not_now = Condition::Not(Box::new(self.did(Window::Last(self.span))));
        Ok(Condition::And(vec![before, not_now]))
    }

    /// Did it in the last span, not in the one before, and ever before that.
    pub(crate) fn came_back(&self) -> Result<Condition> {
        let not_before =
            Condition::Not(Box::new(self.did(Window::Ago { from: self.twice()?, to: self.span })));
        let once = self.did(Window::BeforeLast(self.twice()?));
        Ok(Condition::And(vec![self.did(Window::Last(self.span)), not_before, once]))
    }
}
