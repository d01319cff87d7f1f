//! Retention: of the persons who started in a period, how many came back after how many periods.

mod days;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::physical_plan::ExecutionPlan;
use hashbrown::HashMap;
use serde::Deserialize;
use serde::Serialize;

use crate::analysis::Analysis;
use crate::analysis::answers::AnswerExec;
use crate::analysis::events::Events;
use crate::analysis::events::heading;
use crate::analysis::ground::Ground;
use crate::analysis::ground::Scope;
use crate::analysis::ground::words_of;
use crate::analysis::table::Table;
use crate::analysis::values::NULL;
use crate::analysis::values::Values;
use crate::analysis::walk::Event;
use crate::analysis::walk::Walk;
use crate::analysis::walk::WalkExec;
use crate::analysis::wanted::Kind;
use crate::analysis::wanted::Wanted;
use crate::error::Error;
use crate::error::Result;
use crate::sequence::retention::Cells;
use crate::sequence::retention::Moment;
use crate::sequence::retention::Rules;
use crate::sequence::retention::visit_cohorts;
use crate::time::Day;
use crate::time::Micros;
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
    fn scope(&self, ground: &Ground) -> Result<Scope> {
        ground.scope(words_of!(self))
    }

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
#[derive(Clone, Debug, Default)]
struct Cohort {
    persons: i64,
    returned: Vec<i64>,
    complete: Vec<bool>,
}

/// Cohorts with the numbers of their periods, in order.
type Cohorts = Vec<(i64, Cohort)>;

/// What an event may be: a start, a return, any event of the start's kind.
const START: u64 = 1;
const BACK: u64 = 2;
const ANY: u64 = 4;

/// The question with everything looked up.
#[derive(Debug)]
struct Retention {
    request: RetentionRequest,
    rules: Rules,
    periods: Periods,
    as_of: Micros,
    /// The cohort and the cell whose persons are asked for.
    listed: Option<(i64, Option<usize>)>,
    schema: SchemaRef,
}

/// What one thread has found.
#[derive(Debug)]
struct Part {
    periods: Periods,
    cohorts: HashMap<(u32, i64), Cohort>,
    listed: Vec<(i64, i64, u32)>,
    starts: Vec<Moment>,
    returns: Vec<Moment>,
}

/// The columns of the answer.
pub(crate) fn schema(request: &RetentionRequest) -> Result<SchemaRef> {
    if request.same_value && request.by.is_none() {
        return Err(Error::invalid("SAME VALUE needs a BY: the value that the return shares with the start"));
    }
    let retention = Retention::new(request, &Scope::open(), Arc::new(Schema::empty()))?;
    Ok(retention.answer(Vec::new(), &mut Values::default())?.schema())
}

pub(crate) async fn plan(
    request: &RetentionRequest,
    ground: &Ground,
    schema: SchemaRef,
) -> Result<Arc<dyn ExecutionPlan>> {
    let scope = request.scope(ground)?;
    if days::answers(request, &scope) {
        let question = Analysis::Retention(request.clone());
        return Ok(Arc::new(AnswerExec::new(question, ground.clone(), schema)));
    }
    walk(request, ground, &scope, schema).await
}

/// The answer from indexes, where they can tell; else the walk's.
pub(crate) async fn answer(request: &RetentionRequest, ground: &Ground) -> Result<RecordBatch> {
    let (scope, schema) = (request.scope(ground)?, schema(request)?);
    let retention = Retention::new(request, &scope, Arc::clone(&schema))?;
    if let Some(cohorts) = days::cohorts(request, &retention.rules, &scope, ground).await? {
        let cohorts = cohorts.into_iter().map(|(period, cohort)| ((NULL, period), cohort)).collect();
        let part = Part { cohorts, ..retention.part() };
        return retention.answer(vec![part], &mut Values::default());
    }
    let plan = Box::pin(walk(request, ground, &scope, schema)).await?;
    ground.answer_of(plan).await
}

async fn walk(
    request: &RetentionRequest,
    ground: &Ground,
    scope: &Scope,
    schema: SchemaRef,
) -> Result<Arc<dyn ExecutionPlan>> {
    let retention = Retention::new(request, scope, schema)?;
    let by = request.by.as_deref();
    let any = Events::of(&request.start.event);
    // Who starts for the first time is known from all of history.
    let from = scope.from.filter(|_| request.entry == Entry::Recurring);
    let start = Kind { events: &request.start, from, to: scope.end(), value: by };
    let value = by.filter(|_| request.same_value);
    let back = Kind { events: &request.back, from: scope.from, to: scope.until, value };
    let mut kinds = vec![start, back];
    if request.entry == Entry::FirstEver {
        kinds.push(Kind { events: &any, from: None, to: scope.end(), value: None });
    }
    let only = ground.chosen(scope).await?;
    let planned = Wanted { kinds, only }.plan(ground).await?;
    Ok(Arc::new(WalkExec::new(Arc::new(retention), planned)))
}

impl Walk for Retention {
    type Part = Part;

    fn name(&self) -> &'static str {
        "RetentionExec"
    }

    fn said(&self) -> String {
        let RetentionRequest { start, back, per, .. } = &self.request;
        format!("{} then {}, per {}", start.said(), back.said(), per.name())
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn part(&self) -> Part {
        Part {
            periods: self.periods.clone(),
            cohorts: HashMap::new(),
            listed: Vec::new(),
            starts: Vec::new(),
            returns: Vec::new(),
        }
    }

    fn person(&self, part: &mut Part, person: i64, events: &[Event]) {
        let Part { periods, cohorts, listed, starts, returns } = part;
        // A place among the person's events tells them apart as well as a number does.
        let moment = |(place, event): (i64, &Event)| Moment { at: event.at, seq: place, value: event.value };
        let of = |mark: u64| (0..).zip(events).filter(move |(_, event)| event.marks & mark != 0);
        starts.clear();
        match self.request.entry {
            Entry::Recurring => starts.extend(of(START).map(moment)),
            Entry::FirstTime => starts.extend(of(START).next().map(moment)),
            Entry::FirstEver => {
                starts.extend(of(ANY).next().filter(|(_, event)| event.marks & START != 0).map(moment));
            }
        }
        if !starts.iter().any(|start| self.rules.from <= start.at && start.at < self.rules.to) {
            return;
        }
        returns.clear();
        returns.extend(of(BACK).map(moment));
        visit_cohorts(&self.rules, periods, starts, returns, |cohort, start, reached| {
            if let Some((wanted, cell)) = self.listed {
                if cohort == wanted && cell.is_none_or(|cell| reached[cell]) {
                    listed.push((person, start.at, start.value));
                }
                return;
            }
            let cohort = cohorts.entry((start.value, cohort)).or_default();
            cohort.persons += 1;
            cohort.returned.resize(reached.len(), 0);
            for (count, reached) in cohort.returned.iter_mut().zip(reached) {
                *count += i64::from(*reached);
            }
        });
    }

    fn bytes(&self, part: &Part) -> usize {
        part.cohorts.len() * (self.rules.cells.len() * 9 + 128)
            + part.listed.capacity() * size_of::<(i64, i64, u32)>()
    }

    fn answer(&self, parts: Vec<Part>, values: &mut Values) -> Result<RecordBatch> {
        if self.listed.is_some() {
            return self.persons(parts, values);
        }
        let mut cohorts: BTreeMap<(u32, i64), Cohort> = BTreeMap::new();
        for (key, found) in parts.into_iter().flat_map(|part| part.cohorts) {
            let cohort = cohorts.entry(key).or_default();
            cohort.persons += found.persons;
            cohort.returned.resize(found.returned.len(), 0);
            cohort.returned.iter_mut().zip(found.returned).for_each(|(sum, more)| *sum += more);
        }
        for ((_, cohort), found) in &mut cohorts {
            let complete = |cell| self.rules.is_complete(*cohort, cell, self.as_of.0, &self.periods);
            found.complete = (0..self.rules.cells.len()).map(complete).collect();
        }
        // In order of the value's text, where NULL comes last.
        let mut by_value: BTreeMap<(bool, Option<String>), Cohorts> = BTreeMap::new();
        for ((value, cohort), found) in cohorts {
            let text = values.text(value).map(str::to_owned);
            by_value.entry((text.is_none(), text)).or_default().push((cohort, found));
        }
        let by_value: Vec<_> = by_value.into_iter().map(|((_, text), cohorts)| (text, cohorts)).collect();
        match self.request.shape {
            Shape::Triangle => self.triangle(&by_value),
            Shape::Cells => self.long(&by_value),
        }
    }
}

impl Retention {
    fn new(request: &RetentionRequest, scope: &Scope, schema: SchemaRef) -> Result<Self> {
        let rules = Rules {
            cells: request.cells()?,
            rolling: request.rolling,
            from: scope.from.map_or(i64::MIN, |at| at.0),
            to: scope.end().map_or(i64::MAX, |at| at.0),
            same_value: request.same_value,
        };
        let listed = match &request.persons_of {
            None => None,
            Some(cell) => {
                let day: Day = cell.cohort.parse()?;
                let place = cell.period.map(|period| place_of(&rules.cells, period)).transpose()?;
                Some((request.per.of_day(day), place))
            }
        };
        let periods = Periods::new(request.per, scope.zone);
        Ok(Self { request: request.clone(), rules, periods, as_of: scope.as_of, listed, schema })
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
                    let begun = self.periods.start(index + begins) < self.as_of;
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
    fn persons(&self, parts: Vec<Part>, values: &Values) -> Result<RecordBatch> {
        let mut found: Vec<(i64, i64, u32)> = parts.into_iter().flat_map(|part| part.listed).collect();
        if let Some(value) = self.request.persons_of.as_ref().and_then(|cell| cell.value.as_deref()) {
            found.retain(|(.., number)| values.text(*number) == Some(value));
        }
        found.sort_unstable();
        let mut table = Table::default()
            .numbers("personId", found.iter().map(|one| Some(one.0)))
            .times("started", found.iter().map(|one| Some(one.1)));
        if let Some(by) = &self.request.by {
            table = table.texts(heading(by), found.iter().map(|one| values.text(one.2)));
        }
        table.batch()
    }
}

fn place_of(cells: &Cells, period: u32) -> Result<usize> {
    (0..cells.len()).find(|cell| cells.bounds(*cell).0 == i64::from(period)).ok_or_else(|| {
        let known: Vec<String> = (0..cells.len()).map(|cell| cells.bounds(cell).0.to_string()).collect();
        Error::not_found(format!("no cell starts at period {period}; there are {}", known.join(", ")))
    })
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
