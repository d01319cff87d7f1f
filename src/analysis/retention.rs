//! Retention: of the persons who started in a period, how many came back after how many periods.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use hashbrown::HashSet;
use serde::Deserialize;
use serde::Serialize;

use crate::analysis::events::Events;
use crate::analysis::events::heading;
use crate::analysis::ground::Ground;
use crate::analysis::ground::Scope;
use crate::analysis::ground::ScopeWords;
use crate::analysis::history::Hit;
use crate::analysis::history::Values;
use crate::analysis::history::Wanted;
use crate::analysis::history::first_hits;
use crate::analysis::history::hits;
use crate::analysis::history::take_person;
use crate::analysis::table::Table;
use crate::error::Error;
use crate::error::Result;
use crate::sequence::retention::Cells;
use crate::sequence::retention::Moment;
use crate::sequence::retention::Rules;
use crate::sequence::retention::visit_cohorts;
use crate::time::Day;
use crate::time::Period;
use crate::time::periods::Periods;

/// Who came back after `start` to do `back`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionRequest {
    pub start: Events,
    #[serde(rename = "return")]
    pub back: Events,
    #[serde(default)]
    pub per: Period,
    /// The last period that is shown, counted from 0; by default 7 days, 8 weeks or 6 months.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub periods: Option<u32>,
    /// Edges in periods: `[1, 4, 8]` are the brackets 1 to 3 and 4 to 7. They take the place of single periods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub brackets: Vec<u32>,
    /// A cell counts returns in its period or any later one.
    #[serde(default)]
    pub on_or_after: bool,
    /// Periods are counted from each start (a month is then 30 days) and not on the calendar.
    #[serde(default)]
    pub rolling: bool,
    #[serde(default)]
    pub entry: Entry,
    /// An expression in SQL, taken at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Only returns with the start's value of `by` count.
    #[serde(default)]
    pub same_value: bool,
    /// Starts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Starts before this; returns may come later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Events from here on are left out, and cells that end later are not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<String>,
    #[serde(default)]
    pub shape: Shape,
    /// Ask for the persons of one cell instead of the numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persons_of: Option<CellOf>,
}

/// Which starts of a person count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// The first start ever that meets the condition.
    #[default]
    FirstTime,
    /// The first event of the kind ever, if it meets the condition.
    FirstEver,
    /// One start in each period: a person may be in many cohorts.
    Recurring,
}

/// How the answer is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// A row a cohort with a column a cell, in percent, and a row with the average; `*` marks what is not complete.
    #[default]
    Triangle,
    /// A row a cell, in numbers.
    Cells,
}

/// One cell of the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellOf {
    /// Any date in the cohort's period.
    pub cohort: String,
    /// The period (the first one of a bracket); all who started when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<u32>,
    /// The value of the breakdown; all values when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl RetentionRequest {
    fn cells(&self) -> Result<Cells> {
        if !self.brackets.is_empty() {
            if self.brackets.len() < 2 || !self.brackets.is_sorted_by(|one, next| one < next) {
                return Err(Error::invalid(
                    "brackets are two or more rising numbers, such as (1, 4, 8) for 1 to 3 and 4 to 7",
                ));
            }
            if self.on_or_after || self.periods.is_some() {
                return Err(Error::invalid(
                    "brackets say which periods belong together; leave out FOR and ON OR AFTER",
                ));
            }
            return Ok(Cells::Brackets(self.brackets.iter().map(|edge| i64::from(*edge)).collect()));
        }
        let default = match self.per {
            Period::Day => 7,
            Period::Week => 8,
            Period::Month => 6,
        };
        let last = self.periods.unwrap_or(default);
        if last > MOST_PERIODS {
            return Err(Error::invalid(format!(
                "a retention shows up to {MOST_PERIODS} periods, not {last}"
            )));
        }
        let last = last as usize;
        Ok(if self.on_or_after { Cells::OnOrAfter(last) } else { Cells::On(last) })
    }
}

const MOST_PERIODS: u32 = 1_000;

/// One cohort of one value of the breakdown.
#[derive(Debug)]
struct Cohort {
    persons: i64,
    returned: Vec<i64>,
    complete: Vec<bool>,
}

/// Cohorts with the numbers of their periods, in order.
type Cohorts = Vec<(i64, Cohort)>;

/// The question with everything looked up.
struct Plan<'a> {
    request: &'a RetentionRequest,
    rules: Rules,
    periods: Periods,
    scope: Scope,
    values: Values,
}

pub(crate) async fn answer(request: &RetentionRequest, ground: &Ground<'_>) -> Result<RecordBatch> {
    if request.same_value && request.by.is_none() {
        return Err(Error::invalid("SAME VALUE needs a BY: the value that the return shares with the start"));
    }
    let words = ScopeWords {
        from: request.from.as_deref(),
        to: request.to.as_deref(),
        as_of: request.as_of.as_deref(),
        zone: request.zone.as_deref(),
        segment: request.segment.as_deref(),
    };
    let scope = ground.scope(words)?;
    let rules = Rules {
        cells: request.cells()?,
        rolling: request.rolling,
        from: scope.from.map_or(i64::MIN, |at| at.0),
        to: scope.end().map_or(i64::MAX, |at| at.0),
        same_value: request.same_value,
    };
    let periods = Periods::new(request.per, scope.zone);
    let mut plan = Plan { request, rules, periods, scope, values: Values::new() };
    let starts = plan.starts(ground).await?;
    let returns = plan.returns(ground, &starts).await?;
    match &request.persons_of {
        Some(cell) => plan.persons_of(cell, &starts, &returns),
        None => plan.numbers(&starts, &returns),
    }
}

impl Plan<'_> {
    async fn starts(&mut self, ground: &Ground<'_>) -> Result<Vec<Hit>> {
        let request = self.request;
        let wanted =
            Wanted { events: &request.start, from: None, to: self.scope.end(), value: request.by.as_deref() };
        match request.entry {
            Entry::Recurring => {
                let wanted = Wanted { from: self.scope.from, ..wanted };
                hits(ground, &self.scope, wanted, &mut self.values).await
            }
            Entry::FirstTime => first_hits(ground, &self.scope, wanted, &mut self.values).await,
            Entry::FirstEver => {
                let any = Events::of(&request.start.event);
                let all = Wanted { events: &any, value: None, ..wanted };
                let first = first_hits(ground, &self.scope, all, &mut self.values).await?;
                let first: HashSet<i64> = first.iter().map(|hit| hit.seq).collect();
                let mut matching = first_hits(ground, &self.scope, wanted, &mut self.values).await?;
                matching.retain(|hit| first.contains(&hit.seq));
                Ok(matching)
            }
        }
    }

    /// Returns of those who started in the range.
    async fn returns(&mut self, ground: &Ground<'_>, starts: &[Hit]) -> Result<Vec<Hit>> {
        let request = self.request;
        let value = if request.same_value { request.by.as_deref() } else { None };
        let wanted = Wanted { events: &request.back, from: self.scope.from, to: self.scope.until, value };
        let rules = &self.rules;
        let in_range = starts.iter().filter(|hit| rules.from <= hit.at && hit.at < rules.to);
        let started: HashSet<i64> = in_range.map(|hit| hit.person).collect();
        let mut found = Vec::new();
        crate::analysis::history::each_hit(ground, &self.scope, wanted, &mut self.values, |hit| {
            if started.contains(&hit.person) {
                found.push(hit);
            }
        })
        .await?;
        found.sort_unstable();
        Ok(found)
    }

    /// Visits every cohort of every person.
    fn visit(&mut self, starts: &[Hit], returns: &[Hit], mut visit: impl FnMut(i64, i64, Moment, &[bool])) {
        let (mut starts, mut returns) = (starts, returns);
        let (mut entries, mut backs) = (Vec::new(), Vec::new());
        while let Some(first) = starts.first() {
            let person = first.person;
            fill(&mut entries, take_person(&mut starts, person));
            fill(&mut backs, take_person(&mut returns, person));
            visit_cohorts(&self.rules, &mut self.periods, &entries, &backs, |cohort, start, reached| {
                visit(person, cohort, start, reached);
            });
        }
    }

    fn numbers(&mut self, starts: &[Hit], returns: &[Hit]) -> Result<RecordBatch> {
        let cells = self.rules.cells.len();
        let mut cohorts: BTreeMap<(u32, i64), Cohort> = BTreeMap::new();
        self.visit(starts, returns, |_, cohort, start, reached| {
            let cohort = cohorts.entry((start.value, cohort)).or_insert_with(|| Cohort {
                persons: 0,
                returned: vec![0; cells],
                complete: Vec::new(),
            });
            cohort.persons += 1;
            for (count, reached) in cohort.returned.iter_mut().zip(reached) {
                *count += i64::from(*reached);
            }
        });
        for ((_, cohort), found) in &mut cohorts {
            let complete = |cell| self.rules.is_complete(*cohort, cell, self.scope.as_of.0, &self.periods);
            found.complete = (0..cells).map(complete).collect();
        }
        // In order of the value's text, where NULL comes last.
        let mut by_value: BTreeMap<(bool, Option<String>), Cohorts> = BTreeMap::new();
        for ((value, cohort), found) in cohorts {
            let text = self.values.text(value).map(str::to_owned);
            by_value.entry((text.is_none(), text)).or_default().push((cohort, found));
        }
        let by_value: Vec<_> = by_value.into_iter().map(|((_, text), cohorts)| (text, cohorts)).collect();
        match self.request.shape {
            Shape::Triangle => self.triangle(&by_value),
            Shape::Cells => self.long(&by_value),
        }
    }

    fn triangle(&self, by_value: &[(Option<String>, Cohorts)]) -> Result<RecordBatch> {
        let width = self.rules.cells.len();
        let mut values: Vec<Option<String>> = Vec::new();
        let mut names: Vec<String> = Vec::new();
        let mut sizes: Vec<Option<i64>> = Vec::new();
        let mut shown: Vec<Vec<Option<String>>> = vec![Vec::new(); width];
        for (value, cohorts) in by_value {
            for (index, cohort) in cohorts {
                values.push(value.clone());
                names.push(self.request.per.first_day(*index).to_string());
                sizes.push(Some(cohort.persons));
                for (cell, column) in shown.iter_mut().enumerate() {
                    let (begins, _) = self.rules.cells.bounds(cell);
                    let begun = self.periods.start(index + begins) < self.scope.as_of;
                    let mark = if cohort.complete[cell] { "" } else { "*" };
                    let rate = percent(cohort.returned[cell], cohort.persons);
                    column.push((begun || cohort.returned[cell] > 0).then(|| format!("{rate}{mark}")));
                }
            }
            values.push(value.clone());
            names.push("average".to_owned());
            sizes.push(Some(cohorts.iter().map(|(_, cohort)| cohort.persons).sum()));
            for (cell, column) in shown.iter_mut().enumerate() {
                let (returned, persons) = weighted(cohorts, cell);
                column.push((persons > 0).then(|| percent(returned, persons)));
            }
        }
        let mut table = Table::default();
        if let Some(by) = &self.request.by {
            table = table.texts(heading(by), values);
        }
        table = table.texts("cohort", names.into_iter().map(Some)).numbers("persons", sizes);
        for (cell, column) in shown.into_iter().enumerate() {
            table = table.texts(self.heading(cell), column);
        }
        table.batch()
    }

    fn heading(&self, cell: usize) -> String {
        let per = self.request.per.name();
        match (&self.rules.cells, self.rules.cells.bounds(cell)) {
            (Cells::OnOrAfter(_), (first, _)) => format!("{per} {first}+"),
            (_, (first, end)) if end == first + 1 => format!("{per} {first}"),
            (_, (first, end)) => format!("{per}s {first}-{}", end - 1),
        }
    }

    fn long(&self, by_value: &[(Option<String>, Cohorts)]) -> Result<RecordBatch> {
        let cells = || {
            by_value.iter().flat_map(|(value, cohorts)| {
                cohorts.iter().flat_map(move |(index, cohort)| {
                    (0..cohort.returned.len()).map(move |cell| (value, *index, cohort, cell))
                })
            })
        };
        let mut table = Table::default();
        if let Some(by) = &self.request.by {
            table = table.texts(heading(by), cells().map(|(value, ..)| value.as_deref()));
        }
        let rate = |cohort: &Cohort, cell: usize| Some(cohort.returned[cell] as f64 / cohort.persons as f64);
        table
            .days("cohort", cells().map(|(_, index, ..)| Some(self.request.per.first_day(index))))
            .numbers("period", cells().map(|(.., cell)| Some(self.rules.cells.bounds(cell).0)))
            .numbers("before_period", cells().map(|(.., cell)| Some(self.rules.cells.bounds(cell).1)))
            .numbers("persons", cells().map(|(_, _, cohort, _)| Some(cohort.persons)))
            .numbers("returned", cells().map(|(_, _, cohort, cell)| Some(cohort.returned[cell])))
            .decimals("rate", cells().map(|(_, _, cohort, cell)| rate(cohort, cell)))
            .flags("complete", cells().map(|(_, _, cohort, cell)| cohort.complete[cell]))
            .batch()
    }

    /// Who is in a cell, with the start that counted.
    fn persons_of(&mut self, cell: &CellOf, starts: &[Hit], returns: &[Hit]) -> Result<RecordBatch> {
        let day: Day = cell.cohort.parse()?;
        let wanted = self.request.per.of_day(day);
        let place = cell.period.map(|period| self.place_of(period)).transpose()?;
        let mut found: Vec<(i64, i64, u32)> = Vec::new();
        self.visit(starts, returns, |person, cohort, start, reached| {
            if cohort == wanted && place.is_none_or(|place| reached[place]) {
                found.push((person, start.at, start.value));
            }
        });
        if let Some(value) = &cell.value {
            found.retain(|(.., number)| self.values.text(*number) == Some(value));
        }
        let mut table = Table::default()
            .numbers("personId", found.iter().map(|one| Some(one.0)))
            .times("started", found.iter().map(|one| Some(one.1)));
        if let Some(by) = &self.request.by {
            table = table.texts(heading(by), found.iter().map(|one| self.values.text(one.2)));
        }
        table.batch()
    }

    fn place_of(&self, period: u32) -> Result<usize> {
        let cells = &self.rules.cells;
        (0..cells.len()).find(|cell| cells.bounds(*cell).0 == i64::from(period)).ok_or_else(|| {
            let known: Vec<String> = (0..cells.len()).map(|cell| cells.bounds(cell).0.to_string()).collect();
            Error::not_found(format!("no cell starts at period {period}; there are {}", known.join(", ")))
        })
    }
}

fn fill(moments: &mut Vec<Moment>, hits: &[Hit]) {
    moments.clear();
    moments.extend(hits.iter().map(|hit| Moment { at: hit.at, seq: hit.seq, value: hit.value }));
}

/// Returned and started over the cohorts in which a cell is complete.
fn weighted(cohorts: &[(i64, Cohort)], cell: usize) -> (i64, i64) {
    let complete = cohorts.iter().filter(|(_, cohort)| cohort.complete[cell]);
    complete.fold((0, 0), |(returned, persons), (_, cohort)| {
        (returned + cohort.returned[cell], persons + cohort.persons)
    })
}

fn percent(part: i64, whole: i64) -> String {
    format!("{:.1}%", 100.0 * part as f64 / whole as f64)
}
