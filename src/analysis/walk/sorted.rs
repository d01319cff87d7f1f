//! A walk over rows that are sorted already: the way of events that memory has no room for.

use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::datatypes::SchemaRef;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::datatypes::UInt64Type;
use arrow::record_batch::RecordBatch;

use crate::analysis::hits::PERSON;
use crate::analysis::hits::SEQ_AT;
use crate::analysis::hits::TIME;
use crate::analysis::persons::Question;
use crate::analysis::values::NULL;
use crate::analysis::values::Numbers;
use crate::analysis::values::Values;
use crate::analysis::walk::Event;
use crate::analysis::walk::Walk;
use crate::analysis::walk::buckets::in_order;
use crate::analysis::wanted::MARKS;
use crate::analysis::wanted::Planned;
use crate::analysis::wanted::VALUE;

/// The same walk over rows that are sorted already.
#[derive(Debug)]
pub(super) struct InOrder<W: Walk> {
    pub(super) walk: Arc<W>,
    pub(super) planned: Planned,
    pub(super) values: Arc<Mutex<Values>>,
}

/// What one thread knows, and its way to the values.
pub(super) struct InOrderPart<P> {
    part: P,
    numbers: Numbers,
    values: Vec<u32>,
    events: Vec<Event>,
}

impl<W: Walk> Question for InOrder<W> {
    type Part = InOrderPart<W::Part>;

    fn name(&self) -> &'static str {
        self.walk.name()
    }

    fn said(&self) -> String {
        self.walk.said()
    }

    fn schema(&self) -> SchemaRef {
        self.walk.schema()
    }

    fn part(&self) -> Self::Part {
        let numbers = Numbers::of(&self.values);
        InOrderPart { part: self.walk.part(), numbers, values: Vec::new(), events: Vec::new() }
    }

    fn take(
        &self,
        part: &mut Self::Part,
        rows: &RecordBatch,
        persons: &[Range<usize>],
    ) -> crate::error::Result<()> {
        let ids = rows.column(PERSON).as_primitive::<Int64Type>().values();
        let times = rows.column(TIME).as_primitive::<TimestampMicrosecondType>().values();
        let seqs = rows.column(SEQ_AT).as_primitive::<Int64Type>().values();
        let marks = rows.column(MARKS).as_primitive::<UInt64Type>().values();
        part.values.clear();
        if self.planned.value {
            let values = &mut part.values;
            part.numbers.of_column(rows.column(VALUE).as_string_view(), |number| values.push(number));
        }
        for range in persons {
            let person = ids[range.start];
            if self.planned.only.as_ref().is_some_and(|only| !only.contains(person)) {
                continue;
            }
            part.events.clear();
            part.events.extend(range.clone().map(|row| Event {
                at: times[row],
                seq: seqs[row],
                marks: marks[row],
                value: part.values.get(row).copied().unwrap_or(NULL),
            }));
            self.walk.person(&mut part.part, person, in_order(&mut part.events, self.planned.seq));
        }
        Ok(())
    }

    fn bytes(&self, part: &Self::Part) -> usize {
        self.walk.bytes(&part.part) + part.numbers.bytes()
    }

    fn answer(&self, parts: Vec<Self::Part>) -> crate::error::Result<RecordBatch> {
        let parts = parts.into_iter().map(|one| one.part).collect();
        self.walk.answer(parts, &mut self.values.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
