//! The table that answers a funnel: counts, rates and times by step, or the persons themselves.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::BooleanArray;
use arrow::array::Date32Array;
use arrow::array::Float64Array;
use arrow::array::Int64Array;
use arrow::array::StringViewArray;
use arrow::array::TimestampMicrosecondArray;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use arrow::datatypes::TimeUnit;
use arrow::record_batch::RecordBatch;

use crate::analysis::funnel::Counting;
use crate::analysis::funnel::FunnelRequest;
use crate::analysis::funnel::Listing;
use crate::analysis::funnel::Of;
use crate::analysis::funnel::Per;
use crate::analysis::funnel::histogram::histogram;
use crate::analysis::funnel::question::Cell;
use crate::analysis::funnel::question::FunnelQuestion;
use crate::analysis::funnel::question::Listed;
use crate::analysis::funnel::question::Part;
use crate::analysis::funnel::question::State;
use crate::error::Context;
use crate::error::Result;
use crate::schema::PERSON_ID;
use crate::time::MICROS_PER_DAY;
use crate::time::Micros;
use crate::time::zones::local_day;

const SHARES: [(&str, f64); 3] = [("median_seconds", 0.5), ("p10_seconds", 0.1), ("p90_seconds", 0.9)];

/// What is counted is called.
fn counted(counting: Counting) -> &'static str {
    match counting {
        Counting::Uniques => "persons",
        Counting::Totals => "attempts",
        Counting::Sessions => "sessions",
    }
}

fn per_name(per: Per) -> &'static str {
    match per {
        Per::Day => "day",
        Per::Week => "week",
        Per::Month => "month",
    }
}

fn moment() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The columns of the answer, which the request alone decides.
pub(crate) fn schema(request: &FunnelRequest) -> SchemaRef {
    let mut fields: Vec<Field> = Vec::new();
    let mut field = |name: &str, kind: DataType, nullable: bool| {
        let taken = fields.iter().any(|one| one.name() == name);
        let name = if taken { format!("{name}_of_chain") } else { name.to_owned() };
        fields.push(Field::new(name, kind, nullable));
    };
    let listing = request.listing.is_some();
    if listing {
        field(PERSON_ID, DataType::Int64, false);
    }
    if let Some(per) = request.per {
        field(per_name(per), DataType::Date32, false);
        if !listing {
            field("complete", DataType::Boolean, false);
        }
    }
    // The names of the columns behind it stay what they are.
    let fixed = [
        "step",
        "event",
        "percent",
        "dropped",
        "in_progress",
        "state",
        "entered",
        "reached",
        "seconds",
        "took",
        "from_seconds",
        "to_seconds",
    ];
    if let Some(by) = &request.by {
        let property = if by.of == Of::Segment { "segment" } else { &by.property };
        let is_fixed = fixed.contains(&property) || property == counted(request.counting);
        let name = if is_fixed { format!("{property}_of_chain") } else { property.to_owned() };
        field(&name, DataType::Utf8View, true);
    }
    if request.histogram.is_some() {
        field("took", DataType::Utf8View, false);
        field("from_seconds", DataType::Float64, false);
        field("to_seconds", DataType::Float64, true);
        field(counted(request.counting), DataType::Int64, false);
        field("percent", DataType::Float64, true);
        return Arc::new(Schema::new(fields));
    }
    if listing {
        field("step", DataType::Int64, false);
        field("state", DataType::Utf8View, false);
        field("entered", moment(), false);
        field("reached", moment(), false);
        field("seconds", DataType::Float64, false);
    } else {
        field("step", DataType::Int64, false);
        field("event", DataType::Utf8View, false);
        field(counted(request.counting), DataType::Int64, false);
        field("percent", DataType::Float64, true);
        field("step_percent", DataType::Float64, true);
        field("dropped", DataType::Int64, false);
        field("in_progress", DataType::Int64, false);
        field("avg_seconds", DataType::Float64, true);
        for (name, _) in SHARES {
            field(name, DataType::Float64, true);
        }
    }
    Arc::new(Schema::new(fields))
}

pub(crate) fn table(question: &FunnelQuestion, parts: Vec<Part>) -> Result<RecordBatch> {
    match question.request.listing {
        Some(listing) => persons(question, parts, listing),
        None if question.request.histogram.is_some() => histogram(question, parts),
        None => steps(question, parts),
    }
}

/// Ordered by bucket, then by value: the greatest first, NULL as any other value.
pub(crate) type Cells = Vec<((i64, Option<String>), Cell)>;

pub(crate) fn cells(question: &FunnelQuestion, parts: Vec<Part>) -> Cells {
    let mut cells: BTreeMap<(i64, Option<String>), Cell> = BTreeMap::new();
    let steps = question.request.steps.len();
    for part in parts {
        for ((bucket, value), cell) in part.cells {
            let value = part.words.text(value).map(str::to_owned);
            cells.entry((bucket, value)).or_insert_with(|| Cell::new(steps)).add(cell);
        }
    }
    if cells.is_empty() && question.request.per.is_none() && question.request.by.is_none() {
        cells.insert((0, None), Cell::new(steps));
    }
    let mut cells: Cells = cells.into_iter().collect();
    cells.sort_by(|((one, left), a), ((other, right), b)| {
        let key = |bucket: &i64, cell: &Cell| (*bucket, Reverse(cell.reached[0]));
        key(one, a).cmp(&key(other, b)).then_with(|| (left.is_none(), left).cmp(&(right.is_none(), right)))
    });
    cells
}

pub(crate) fn percent(part: u64, whole: u64) -> Option<f64> {
    // Two digits: the counts beside them are exact.
    #[expect(clippy::cast_precision_loss, reason = "of counts far below 2^53")]
    (whole > 0).then(|| (part as f64 * 10_000.0 / whole as f64).round() / 100.0)
}

#[expect(clippy::cast_precision_loss, reason = "a microsecond more or less in 285 years")]
pub(crate) fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

fn average(took: &[i64]) -> Option<f64> {
    let sum: i128 = took.iter().map(|one| i128::from(*one)).sum();
    let mean = sum.checked_div(took.len() as i128)?;
    Some(seconds(i64::try_from(mean).unwrap_or(i64::MAX)))
}

/// The value below which a share of the sorted ones lies, between the two nearest in proportion.
fn percentile(sorted: &[i64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    #[expect(clippy::cast_precision_loss, reason = "of counts far below 2^53")]
    let place = share * last as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and the last place"
    )]
    let below = (place.floor() as usize).min(last);
    let above = (below + 1).min(last);
    #[expect(clippy::cast_precision_loss, reason = "a microsecond more or less in 285 years")]
    let (low, more) = (sorted[below] as f64, sorted[above].saturating_sub(sorted[below]) as f64);
    Some((low + more * place.fract()).round() / 1e6)
}

pub(crate) fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn steps(question: &FunnelQuestion, parts: Vec<Part>) -> Result<RecordBatch> {
    let request = &question.request;
    let labels = request.labels();
    let mut rows = Rows::default();
    for ((bucket, value), mut cell) in cells(question, parts) {
        cell.took.iter_mut().for_each(|took| took.sort_unstable());
        // The step before that is not optional.
        let mut before = cell.reached[0];
        for (step, label) in labels.iter().enumerate() {
            let (reached, took) = (cell.reached[step], &cell.took[step]);
            rows.buckets.push(question.local_day(bucket));
            rows.complete.push(question.is_complete(bucket));
            rows.values.push(value.clone());
            rows.steps.push(count(step as u64 + 1));
            rows.labels.push(label.clone());
            rows.counts.push(count(reached));
            rows.percents.push(percent(reached, cell.reached[0]));
            rows.step_percents.push(percent(reached, before));
            rows.dropped.push(count(cell.dropped[step + 1]));
            rows.open.push(count(cell.open[step + 1]));
            rows.averages.push(average(took));
            for (at, (_, share)) in SHARES.iter().enumerate() {
                rows.shares[at].push(percentile(took, *share));
            }
            if !request.steps[step].optional {
                before = reached;
            }
        }
    }
    rows.batch(question)
}

/// The answer column by column.
#[derive(Default)]
struct Rows {
    buckets: Vec<i32>,
    complete: Vec<bool>,
    values: Vec<Option<String>>,
    steps: Vec<i64>,
    labels: Vec<String>,
    counts: Vec<i64>,
    percents: Vec<Option<f64>>,
    step_percents: Vec<Option<f64>>,
    dropped: Vec<i64>,
    open: Vec<i64>,
    averages: Vec<Option<f64>>,
    shares: [Vec<Option<f64>>; 3],
}

impl Rows {
    fn batch(self, question: &FunnelQuestion) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = Vec::new();
        if question.request.per.is_some() {
            columns.push(Arc::new(Date32Array::from(self.buckets)));
            columns.push(Arc::new(BooleanArray::from(self.complete)));
        }
        if question.request.by.is_some() {
            columns.push(Arc::new(self.values.into_iter().collect::<StringViewArray>()));
        }
        columns.push(Arc::new(Int64Array::from(self.steps)));
        columns.push(Arc::new(self.labels.into_iter().map(Some).collect::<StringViewArray>()));
        columns.push(Arc::new(Int64Array::from(self.counts)));
        columns.push(Arc::new(Float64Array::from(self.percents)));
        columns.push(Arc::new(Float64Array::from(self.step_percents)));
        columns.push(Arc::new(Int64Array::from(self.dropped)));
        columns.push(Arc::new(Int64Array::from(self.open)));
        columns.push(Arc::new(Float64Array::from(self.averages)));
        for share in self.shares {
            columns.push(Arc::new(Float64Array::from(share)));
        }
        let schema = Arc::clone(&question.schema);
        RecordBatch::try_new(schema, columns).internal(|| "could not build the answer of a funnel".to_owned())
    }
}

impl FunnelQuestion {
    /// The day on which a bucket starts, as the calendar of the zone has it.
    pub(crate) fn local_day(&self, bucket: i64) -> i32 {
        local_day(Micros(bucket), self.read.zone).map_or(0, |day| day.0)
    }

    /// Whether all who entered in the bucket have had their whole window.
    pub(crate) fn is_complete(&self, bucket: i64) -> bool {
        let Some(per) = self.request.per else { return true };
        let days = match per {
            Per::Day => 1,
            Per::Week => 7,
            Per::Month => 31,
        };
        // The next bucket starts an hour or two around so many days later, or some days before that.
        let later = bucket.saturating_add(days * MICROS_PER_DAY + MICROS_PER_DAY / 2);
        let width = crate::analysis::funnel::question::width(per);
        let next = crate::time::zones::bucket_start(Micros(later), width, self.read.zone)
            .map_or(later, |start| start.0);
        let window = self.read.rules.window;
        window.is_some_and(|window| next.saturating_add(window) <= self.read.now.0)
    }
}

/// The persons of a cell. `reached k` are as many as the table counts at step k.
fn persons(question: &FunnelQuestion, parts: Vec<Part>, listing: Listing) -> Result<RecordBatch> {
    let keeps = |one: &Listed| match listing {
        Listing::Persons => true,
        Listing::Reached(step) => one.level >= step,
        Listing::DroppedAfter(step) => one.level == step && one.state == State::Dropped,
        Listing::InProgressAfter(step) => one.level == step && one.state == State::InProgress,
    };
    let mut rows: Vec<(Listed, Option<String>)> = Vec::new();
    for part in parts {
        let kept = part.listed.into_iter().filter(keeps);
        rows.extend(kept.map(|one| {
            let value = part.words.text(one.key.1).map(str::to_owned);
            (one, value)
        }));
    }
    rows.sort_by_key(|(one, _)| (one.person, one.entered, one.last));
    let state = |state: State| match state {
        State::Converted => "converted",
        State::InProgress => "in progress",
        State::Dropped => "dropped",
    };
    let moments = |of: &dyn Fn(&Listed) -> i64| -> ArrayRef {
        let times: TimestampMicrosecondArray = rows.iter().map(|(one, _)| Some(of(one))).collect();
        Arc::new(times.with_timezone("UTC"))
    };
    let mut columns: Vec<ArrayRef> =
        vec![Arc::new(rows.iter().map(|(one, _)| Some(one.person)).collect::<Int64Array>())];
    if question.request.per.is_some() {
        let days = rows.iter().map(|(one, _)| Some(question.local_day(one.key.0)));
        columns.push(Arc::new(days.collect::<Date32Array>()));
    }
    if question.request.by.is_some() {
        columns.push(Arc::new(rows.iter().map(|(_, value)| value.as_deref()).collect::<StringViewArray>()));
    }
    let levels = rows.iter().map(|(one, _)| Some(count(one.level as u64)));
    columns.push(Arc::new(levels.collect::<Int64Array>()));
    let states = rows.iter().map(|(one, _)| Some(state(one.state)));
    columns.push(Arc::new(states.collect::<StringViewArray>()));
    columns.push(moments(&|one| one.entered));
    columns.push(moments(&|one| one.last));
    let took = rows.iter().map(|(one, _)| Some(seconds(one.last.saturating_sub(one.entered))));
    columns.push(Arc::new(took.collect::<Float64Array>()));
    let schema = Arc::clone(&question.schema);
    RecordBatch::try_new(schema, columns).internal(|| "could not list the persons of a funnel".to_owned())
}
