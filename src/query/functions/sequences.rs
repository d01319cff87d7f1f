//! `window_funnel`, `sequence_match` and `sequence_count`: what a group's events amount to in order of time, for those
//! who write SQL. The thinking is in [`crate::sequence`].

use std::sync::Arc;

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::FieldRef;
use arrow::datatypes::Int64Type;
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::common::DataFusionError;
use datafusion::common::Result;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Accumulator;
use datafusion::logical_expr::AggregateUDFImpl;
use datafusion::logical_expr::DocSection;
use datafusion::logical_expr::Documentation;
use datafusion::logical_expr::Signature;
use datafusion::logical_expr::Volatility;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::function::StateFieldsArgs;
use datafusion::logical_expr::utils::format_state_name;
use datafusion::physical_expr::expressions::Literal;

use crate::error::Error;
use crate::error::did_you_mean;
use crate::query::layout::time_type;
use crate::sequence::Funnel;
use crate::sequence::Hit;
use crate::sequence::MOST_STEPS;
use crate::sequence::Pattern;
use crate::sequence::Rules;
use crate::sequence::clickhouse;
use crate::sequence::clickhouse::Modes;
use crate::time::parse_duration;

/// Which of the functions it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    WindowFunnel,
    Match,
    Count,
}

/// One of the functions.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sequence {
    kind: Kind,
    signature: Signature,
    documentation: Documentation,
}

impl Sequence {
    pub(crate) fn new(kind: Kind) -> Self {
        let signature = Signature::user_defined(Volatility::Immutable);
        Self { kind, signature, documentation: documentation(kind) }
    }
}

const MODES: [&str; 6] =
    ["clickhouse", "strict_deduplication", "strict_order", "allow_reentry", "strict_increase", "strict_once"];

fn documentation(kind: Kind) -> Documentation {
    let section = DocSection { include: true, label: "Events", description: None };
    let time = "When the event occurred.";
    let condition = "What an event must meet to be this step; NULL is not met. As many as there are steps.";
    match kind {
        Kind::WindowFunnel => Documentation::builder(
            section,
            "How many of the conditions, one after the other, different events of the group meet within the window from \
             the first. Modes count as ClickHouse's windowFunnel does, peculiarities included: 'clickhouse' (its \
             default), 'strict_deduplication', 'strict_order', 'allow_reentry', 'strict_increase', 'strict_once'.",
            "window_funnel(window, [mode, …] time, condition, …)",
        )
        .with_argument("window", "Such as '7 days', or a number of seconds; with whole numbers as times, in their unit.")
        .with_argument("mode", "None, or one or more of ClickHouse's.")
        .with_argument("time", time)
        .with_argument("condition", condition)
        .with_sql_example(
            "SELECT level, COUNT(*) FROM (SELECT window_funnel('7 days', occurredTime, definitionId = 'productView', \
             definitionId = 'purchase') AS level FROM events GROUP BY personId) GROUP BY level",
        ),
        Kind::Match | Kind::Count => {
            let (said, syntax) = if kind == Kind::Match {
                ("Whether the events of the group match the pattern.", "sequence_match(pattern, time, condition, …)")
            } else {
                (
                    "How often the events of the group match the pattern, one match after the other.",
                    "sequence_count(pattern, time, condition, …)",
                )
            };
            Documentation::builder(
                section,
                format!(
                    "{said} Only events that meet a condition are looked at; those of one instant come in the order of \
                     their conditions."
                ),
                syntax,
            )
            .with_argument(
                "pattern",
                "(?1) is an event that meets condition 1, . any event, .* any number of them, (?t<=5) the seconds since \
                 the condition before.",
            )
            .with_argument("time", time)
            .with_argument("condition", condition)
            .with_sql_example(
                "SELECT COUNT(*) FROM (SELECT sequence_match('(?1).*(?t<=3600)(?2)', occurredTime, definitionId = \
                 'search', definitionId = 'purchase') AS hit FROM events GROUP BY personId) WHERE hit",
            )
        }
    }
    .build()
}

pub(crate) fn wrong(message: impl Into<String>) -> DataFusionError {
    DataFusionError::External(Box::new(Error::invalid(message)))
}

pub(crate) fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// What a time is brought to: a time of events, or a whole number; nothing for what is neither.
pub(crate) fn time_kind(given: &DataType) -> Option<DataType> {
    match given {
        DataType::Timestamp(_, _) | DataType::Date32 => Some(time_type()),
        kind if kind.is_integer() => Some(DataType::Int64),
        _ => None,
    }
}

/// Where the time is among the arguments: behind the window or pattern, and the modes.
fn time_at(kinds: &[DataType]) -> usize {
    1 + kinds.iter().skip(1).take_while(|kind| is_text(kind)).count()
}

impl AggregateUDFImpl for Sequence {
    fn name(&self) -> &str {
        match self.kind {
            Kind::WindowFunnel => "window_funnel",
            Kind::Match => "sequence_match",
            Kind::Count => "sequence_count",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let syntax = self.documentation.syntax_example.clone();
        let time = time_at(given);
        if given.len() < time + 2 || (self.kind != Kind::WindowFunnel && (time != 1 || !is_text(&given[0]))) {
            return Err(wrong(format!("write {syntax}")));
        }
        if given.len() - time - 1 > MOST_STEPS {
            return Err(wrong(format!("{} takes at most {MOST_STEPS} conditions", self.name())));
        }
        let kinds = given.iter().enumerate().map(|(at, kind)| {
            if at == 0 && !is_text(kind) {
                Ok(DataType::Int64)
            } else if at < time {
                Ok(DataType::Utf8View)
            } else if at == time {
                time_kind(kind).ok_or_else(|| {
                    wrong(format!("the time of {} is a time or a whole number; write {syntax}", self.name()))
                })
            } else {
                match kind {
                    DataType::Boolean | DataType::Null => Ok(DataType::Boolean),
                    _ => Err(wrong(format!(
                        "the conditions of {} are true or false; write {syntax}",
                        self.name()
                    ))),
                }
            }
        });
        kinds.collect()
    }

    fn return_type(&self, _given: &[DataType]) -> Result<DataType> {
        Ok(if self.kind == Kind::Match { DataType::Boolean } else { DataType::Int64 })
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn default_value(&self, _kind: &DataType) -> Result<ScalarValue> {
        Ok(self.answer(0))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let name = format_state_name(args.name, "events");
        Ok(vec![Arc::new(Field::new(name, DataType::Binary, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let kinds: Vec<DataType> = args.expr_fields.iter().map(|field| field.data_type().clone()).collect();
        let time = time_at(&kinds);
        let steps = kinds.len() - time - 1;
        let constant = |at: usize| args.exprs[at].downcast_ref::<Literal>().map(Literal::value);
        let text = |at: usize| constant(at).and_then(|value| value.try_as_str().flatten());
        let work = match self.kind {
            Kind::WindowFunnel => {
                let is_time = kinds[time] != DataType::Int64;
                let window = match (text(0), constant(0)) {
                    (Some(words), _) if is_time => {
                        parse_duration(words).map_err(|error| wrong(error.to_string()))?
                    }
                    (None, Some(ScalarValue::Int64(Some(number)))) if *number >= 0 => {
                        number.saturating_mul(if is_time { 1_000_000 } else { 1 })
                    }
                    _ => {
                        let message = "the window is a constant such as '7 days', or a number of seconds; it is not negative";
                        return Err(wrong(message));
                    }
                };
                let names = (1..time).map(|at| text(at).ok_or_else(|| wrong("a mode is a constant text")));
                let modes = modes(&names.collect::<Result<Vec<_>>>()?)?;
                Work::Funnel { window, modes }
            }
            Kind::Match | Kind::Count => {
                let pattern = text(0).ok_or_else(|| wrong("the pattern is a constant text"))?;
                let pattern = Pattern::parse(pattern, steps)
                    .map_err(|error| DataFusionError::External(Box::new(error)))?;
                Work::Pattern(pattern)
            }
        };
        Ok(Box::new(Events { kind: self.kind, work, time, steps, hits: Vec::new() }))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

impl Sequence {
    fn answer(&self, number: u64) -> ScalarValue {
        answer(self.kind, number)
    }
}

fn answer(kind: Kind, number: u64) -> ScalarValue {
    match kind {
        Kind::Match => ScalarValue::Boolean(Some(number > 0)),
        Kind::WindowFunnel | Kind::Count => ScalarValue::Int64(i64::try_from(number).ok()),
    }
}

/// The modes of these names; none when there are none.
fn modes(names: &[&str]) -> Result<Option<Modes>> {
    let mut modes = Modes::default();
    for name in names {
        match *name {
            "clickhouse" | "default" => {}
            "strict_deduplication" | "strict" => modes.deduplication = true,
            "strict_order" => modes.order = true,
            "allow_reentry" => modes.reentry = true,
            "strict_increase" => modes.increase = true,
            "strict_once" => modes.once = true,
            other => {
                let hint = did_you_mean(other, MODES);
                return Err(wrong(format!(
                    "no mode is called \"{other}\"{hint}; the modes are {}",
                    MODES.join(", ")
                )));
            }
        }
    }
    if modes.reentry && !modes.order {
        return Err(wrong("'allow_reentry' goes with 'strict_order' only"));
    }
    Ok((!names.is_empty()).then_some(modes))
}

#[derive(Debug)]
enum Work {
    Funnel { window: i64, modes: Option<Modes> },
    Pattern(Pattern),
}

/// The events of one group.
#[derive(Debug)]
struct Events {
    kind: Kind,
    work: Work,
    time: usize,
    steps: usize,
    hits: Vec<Hit>,
}

impl Events {
    /// Only where nothing may lie between does an event matter that meets no condition.
    fn needs_strangers(&self) -> bool {
        matches!(self.work, Work::Funnel { modes: Some(modes), .. } if modes.order)
    }
}

impl Accumulator for Events {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let times = &values[self.time];
        let at: &[i64] = match times.data_type() {
            DataType::Int64 => times.as_primitive::<Int64Type>().values(),
            _ => times.as_primitive::<TimestampMicrosecondType>().values(),
        };
        let conditions: Vec<_> = values[self.time + 1..].iter().map(|one| one.as_boolean()).collect();
        let keeps_all = self.needs_strangers();
        for (row, time) in at.iter().enumerate().filter(|(row, _)| times.is_valid(*row)) {
            let met = conditions.iter().enumerate().filter(|(_, one)| one.is_valid(row) && one.value(row));
            let steps = met.fold(0, |bits, (step, _)| bits | 1_u64 << step);
            if steps != 0 || keeps_all {
                self.hits.push(Hit { time: *time, steps, excludes: 0 });
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for bytes in states[0].as_binary::<i32>().iter().flatten() {
            for one in bytes.chunks_exact(16) {
                let (time, steps) = one.split_at(8);
                let number =
                    |bytes: &[u8]| bytes.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
                self.hits.push(Hit { time: number(time).cast_signed(), steps: number(steps), excludes: 0 });
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut bytes = Vec::with_capacity(self.hits.len() * 16);
        for hit in &self.hits {
            bytes.extend(hit.time.to_le_bytes());
            bytes.extend(hit.steps.to_le_bytes());
        }
        Ok(vec![ScalarValue::Binary(Some(bytes))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        // Whatever the order of rows and parts was: by time, and in one instant by condition.
        self.hits.sort_unstable_by_key(|hit| (hit.time, hit.steps.trailing_zeros(), hit.steps));
        let number = match &self.work {
            Work::Funnel { window, modes: None } => {
                Funnel::new(Rules::of(self.steps, Some(*window))).reached(&self.hits).level as u64
            }
            Work::Funnel { window, modes: Some(modes) } => {
                clickhouse::window_funnel(*modes, self.steps, *window, &self.hits) as u64
            }
            Work::Pattern(pattern) => {
                let most = if self.kind == Kind::Match { 1 } else { u64::MAX };
                pattern.count(&self.hits, most)
            }
        };
        Ok(answer(self.kind, number))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.hits.capacity() * size_of::<Hit>()
    }
}
