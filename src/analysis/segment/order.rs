//! Who did things in an order: a walk over the events of the steps, and of what must not follow.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::StreamExt;

use crate::analysis::bits::Bits;
use crate::analysis::events::Events;
use crate::analysis::ground::Ground;
use crate::analysis::segment::Steps;
use crate::analysis::segment::table;
use crate::analysis::values::Values;
use crate::analysis::walk::Event;
use crate::analysis::walk::Walk;
use crate::analysis::walk::WalkExec;
use crate::analysis::wanted::Kind;
use crate::analysis::wanted::Wanted;
use crate::error::Error;
use crate::error::Result;
use crate::query::run;
use crate::sequence::steps::Fit;
use crate::sequence::steps::Order;
use crate::sequence::steps::has_chain;
use crate::sequence::steps::has_repeated;
use crate::time::Micros;

const MOST_STEPS: usize = 63;

/// The persons who took the steps in a range of time; only those among `of` matter.
pub(super) async fn persons(
    ground: &Ground,
    as_of: Micros,
    steps: &Steps,
    range: (Option<Micros>, Micros),
    of: Option<&Bits>,
) -> Result<Bits> {
    if steps.steps.is_empty() || steps.steps.len() > MOST_STEPS {
        let many = steps.steps.len();
        return Err(Error::invalid(format!("a sequence has 1 to {MOST_STEPS} steps, not {many}")));
    }
    // Equal steps are one kind of events.
    let mut kinds: Vec<&Events> = Vec::new();
    let mut fits: Vec<u64> = Vec::new();
    for (step, events) in steps.steps.iter().enumerate() {
        match kinds.iter().position(|kind| *kind == events) {
            Some(kind) => fits[kind] |= 1 << step,
            None => {
                kinds.push(events);
                fits.push(1 << step);
            }
        }
    }
    let mut wanted: Vec<Kind<'_>> = kinds
        .into_iter()
        .map(|events| Kind { events, from: range.0, to: Some(range.1), value: None })
        .collect();
    if let Some(events) = &steps.not_followed_by {
        wanted.push(Kind { events, from: range.0, to: Some(as_of), value: None });
    }
    let only = of.map(|of| Arc::new(of.clone()));
    let planned = Wanted { kinds: wanted, only }.plan(ground).await?;
    let order = Order { steps: steps.steps.len(), window: steps.within.micros(), as_of: as_of.0 };
    let forbids = steps.not_followed_by.is_some();
    let walk = InOrder { order, fits, forbids, schema: table(&Bits::default())?.schema() };
    let mut rows = run(&ground.state, Arc::new(WalkExec::new(Arc::new(walk), planned)))?;
    let mut found = Bits::default();
    while let Some(batch) = rows.next().await.transpose()? {
        batch.column(0).as_primitive::<Int64Type>().values().iter().for_each(|person| found.insert(*person));
    }
    Ok(found)
}

/// Steps in an order.
#[derive(Debug)]
struct InOrder {
    order: Order,
    /// The steps that events of each kind fit.
    fits: Vec<u64>,
    /// Whether the kind behind those must not follow.
    forbids: bool,
    schema: SchemaRef,
}

/// What one thread has found.
#[derive(Debug, Default)]
struct Part {
    found: Bits,
    fits: Vec<Fit>,
    times: Vec<i64>,
    forbidden: Vec<i64>,
}

impl Walk for InOrder {
    type Part = Part;

    fn name(&self) -> &'static str {
        "SequenceExec"
    }

    fn said(&self) -> String {
        format!("{} steps", self.order.steps)
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn part(&self) -> Part {
        Part::default()
    }

    fn person(&self, part: &mut Part, person: i64, events: &[Event]) {
        if events.len() < self.order.steps {
            return;
        }
        let step_kinds = (1_u64 << self.fits.len()) - 1;
        let forbidden = self.forbids.then(|| {
            part.forbidden.clear();
            let follows = events.iter().filter(|event| event.marks & !step_kinds != 0);
            part.forbidden.extend(follows.map(|event| event.at));
            part.forbidden.as_slice()
        });
        let holds = if self.fits.len() == 1 {
            part.times.clear();
            part.times.extend(events.iter().filter(|event| event.marks & 1 != 0).map(|event| event.at));
            has_repeated(self.order, &part.times, forbidden)
        } else {
            part.fits.clear();
            for event in events.iter().filter(|event| event.marks & step_kinds != 0) {
                let kinds = self.fits.iter().enumerate().filter(|(kind, _)| event.marks >> kind & 1 == 1);
                let steps = kinds.fold(0, |steps, (_, fits)| steps | fits);
                part.fits.push(Fit { at: event.at, steps });
            }
            has_chain(self.order, &part.fits, forbidden)
        };
        if holds {
            part.found.insert(person);
        }
    }

    fn bytes(&self, part: &Part) -> usize {
        part.found.bytes()
    }

    fn answer(&self, parts: Vec<Part>, _values: &mut Values) -> Result<RecordBatch> {
        let mut all = Bits::default();
        parts.iter().for_each(|part| all.unite(&part.found));
        table(&all)
    }
}
