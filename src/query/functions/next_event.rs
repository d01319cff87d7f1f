//! `next_event('forward', 'first_match', time, value, condition, …)`: what a group's events led to, or came from. The
//! thinking is in [`crate::sequence::Next`].

use std::cmp::Reverse;
use std::sync::Arc;

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::FieldRef;
use arrow::datatypes::Int64Type;
use arrow::datatypes::TimestampMicrosecondType;
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

use crate::error::did_you_mean;
use crate::query::functions::sequences::is_text;
use crate::query::functions::sequences::time_kind;
use crate::query::functions::sequences::wrong;
use crate::sequence::Base;
use crate::sequence::MOST_STEPS;
use crate::sequence::Next;

const NAME: &str = "next_event";
const SYNTAX: &str = "next_event([direction, [base,]] time, value, condition, …)";
const WORDS: [&str; 6] = ["forward", "backward", "head", "tail", "first_match", "last_match"];

/// The value of no event.
const NO_TEXT: u32 = u32::MAX;

/// The aggregate function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct NextEvent {
    signature: Signature,
    documentation: Documentation,
}

impl NextEvent {
    pub(crate) fn new() -> Self {
        let section = DocSection { include: true, label: "Events", description: None };
        let documentation = Documentation::builder(
            section,
            "The value of the event that directly follows a chain of events, each of which directly follows the one before \
             and meets the next condition; NULL when the chain is broken or nothing follows it. As ClickHouse's \
             sequenceNextNode, whose base condition is part of the first condition here.",
            SYNTAX,
        )
        .with_argument("direction", "'forward' (when nothing is said), or 'backward': what came before the chain.")
        .with_argument(
            "base",
            "Where the chain begins: at the 'first_match' of the first condition (when nothing is said), at its \
             'last_match', or at the first event of all ('head') or the last ('tail'), which must meet it.",
        )
        .with_argument("time", "When the event occurred. Events of one instant come in the order of their conditions.")
        .with_argument("value", "What is wanted of the event, as text.")
        .with_argument("condition", "What the events of the chain must meet, one after the other.")
        .with_sql_example(
            "SELECT then_came, COUNT(*) FROM (SELECT next_event(occurredTime, definitionId, definitionId = 'search', \
             definitionId = 'productView') AS then_came FROM events GROUP BY personId) GROUP BY then_came",
        )
        .build();
        Self { signature: Signature::user_defined(Volatility::Immutable), documentation }
    }
}

/// Where the time is among the arguments: behind the direction and the base.
fn time_at(kinds: &[DataType]) -> usize {
    kinds.iter().take_while(|kind| is_text(kind)).count()
}

impl AggregateUDFImpl for NextEvent {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let time = time_at(given);
        if time > 2 || given.len() < time + 3 {
            return Err(wrong(format!("write {SYNTAX}")));
        }
        if given.len() - time - 2 > MOST_STEPS {
            return Err(wrong(format!("{NAME} takes at most {MOST_STEPS} conditions")));
        }
        let kinds = given.iter().enumerate().map(|(at, kind)| match at {
            at if at == time => time_kind(kind).ok_or_else(|| {
                wrong(format!("the time of {NAME} is a time or a whole number; write {SYNTAX}"))
            }),
            at if at <= time + 1 => Ok(DataType::Utf8View),
            _ if matches!(kind, DataType::Boolean | DataType::Null) => Ok(DataType::Boolean),
            _ => Err(wrong(format!("the conditions of {NAME} are true or false; write {SYNTAX}"))),
        });
        kinds.collect()
    }

    fn return_type(&self, _given: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let name = format_state_name(args.name, "events");
        Ok(vec![Arc::new(Field::new(name, DataType::Binary, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let kinds: Vec<DataType> = args.expr_fields.iter().map(|field| field.data_type().clone()).collect();
        let time = time_at(&kinds);
        let text = |at: usize| {
            let constant = args.exprs[at].downcast_ref::<Literal>().map(Literal::value);
            constant
                .and_then(|value| value.try_as_str().flatten())
                .ok_or_else(|| wrong(format!("the direction and the base of {NAME} are constant texts")))
        };
        let words = (0..time).map(text).collect::<Result<Vec<_>>>()?;
        let next = read(&words, kinds.len() - time - 2)?;
        Ok(Box::new(Events { next, time, all: Vec::new(), bytes: 0 }))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

/// The words before the time, in whatever order.
fn read(words: &[&str], conditions: usize) -> Result<Next> {
    let mut next = Next { backward: false, base: Base::default(), conditions };
    for word in words {
        match *word {
            "forward" => next.backward = false,
            "backward" => next.backward = true,
            "head" => next.base = Base::Head,
            "tail" => next.base = Base::Tail,
            "first_match" => next.base = Base::FirstMatch,
            "last_match" => next.base = Base::LastMatch,
            other => {
                let hint = did_you_mean(other, WORDS);
                return Err(wrong(format!(
                    "\"{other}\" is no direction and no base{hint}; they are {}",
                    WORDS.join(", ")
                )));
            }
        }
    }
    Ok(next)
}

/// One event: its time, the conditions that it meets as bits, and its value.
type Event = (i64, u64, Option<Box<str>>);

/// The events of one group.
#[derive(Debug)]
struct Events {
    next: Next,
    time: usize,
    all: Vec<Event>,
    /// Of the values.
    bytes: usize,
}

impl Events {
    fn push(&mut self, time: i64, met: u64, value: Option<&str>) {
        self.bytes += value.map_or(0, str::len);
        self.all.push((time, met, value.map(Box::from)));
    }
}

impl Accumulator for Events {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let times = &values[self.time];
        let at: &[i64] = match times.data_type() {
            DataType::Int64 => times.as_primitive::<Int64Type>().values(),
            _ => times.as_primitive::<TimestampMicrosecondType>().values(),
        };
        let texts = values[self.time + 1].as_string_view();
        let conditions: Vec<_> = values[self.time + 2..].iter().map(|one| one.as_boolean()).collect();
        for (row, time) in at.iter().enumerate().filter(|(row, _)| times.is_valid(*row)) {
            let met = conditions.iter().enumerate().filter(|(_, one)| one.is_valid(row) && one.value(row));
            let met = met.fold(0, |bits, (condition, _)| bits | 1_u64 << condition);
            self.push(*time, met, texts.is_valid(row).then(|| texts.value(row)));
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for mut bytes in states[0].as_binary::<i32>().iter().flatten() {
            while let Some((head, rest)) = bytes.split_first_chunk::<20>() {
                let (time, rest_of_head) = head.split_at(8);
                let (met, length) = rest_of_head.split_at(8);
                let number =
                    |bytes: &[u8]| bytes.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
                let length = usize::try_from(number(length)).unwrap_or(usize::MAX);
                let is_null = length == NO_TEXT as usize;
                let (text, after) =
                    rest.split_at_checked(if is_null { 0 } else { length }).unwrap_or((rest, &[]));
                let text = std::str::from_utf8(text).ok().filter(|_| !is_null);
                self.push(number(time).cast_signed(), number(met), text);
                bytes = after;
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut bytes = Vec::with_capacity(self.all.len() * 20 + self.bytes);
        for (time, met, value) in &self.all {
            bytes.extend(time.to_le_bytes());
            bytes.extend(met.to_le_bytes());
            let length = value.as_ref().map_or(Ok(NO_TEXT), |value| u32::try_from(value.len()));
            bytes.extend(length.map_err(|_| wrong(format!("a value of {NAME} is too long")))?.to_le_bytes());
            bytes.extend(value.as_deref().unwrap_or_default().as_bytes());
        }
        Ok(vec![ScalarValue::Binary(Some(bytes))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        // Whatever the order of rows and parts was: by time, and in one instant as the chain wants them.
        if self.next.backward {
            self.all.sort_unstable_by(|one, other| {
                let key = |event: &Event| (event.0, Reverse((event.1.trailing_zeros(), event.1)));
                key(one).cmp(&key(other)).then_with(|| other.2.cmp(&one.2))
            });
        } else {
            self.all.sort_unstable_by(|one, other| {
                let key = |event: &Event| (event.0, event.1.trailing_zeros(), event.1);
                key(one).cmp(&key(other)).then_with(|| one.2.cmp(&other.2))
            });
        }
        let met: Vec<u64> = self.all.iter().map(|event| event.1).collect();
        let found =
            self.next.place(&met).and_then(|at| self.all.get(at)).and_then(|event| event.2.as_deref());
        Ok(ScalarValue::Utf8View(found.map(str::to_owned)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.all.capacity() * size_of::<Event>() + self.bytes
    }
}
