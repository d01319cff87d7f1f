//! The values of a computed attribute as a column, and the state from which the next ones follow.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::BooleanArray;
use arrow::array::Decimal128Array;
use arrow::array::Float64Array;
use arrow::array::Int64Array;
use arrow::array::StringArray;
use arrow::array::TimestampMicrosecondArray;

use crate::analysis::attributes::AggregateRequest;
use crate::analysis::attributes::Computation;
use crate::analysis::attributes::Computed;
use crate::analysis::attributes::Over;
use crate::analysis::attributes::formula;
use crate::analysis::attributes::kept::Kept;
use crate::analysis::attributes::kept::Wanted;
use crate::analysis::attributes::score;
use crate::analysis::attributes::stretch::Stretch;
use crate::error::Context;
use crate::error::Result;
use crate::query::ComputedColumn;
use crate::query::ComputedKind;
use crate::sequence::tally::Plan;
use crate::sequence::tally::Scalar;
use crate::sequence::tally::value_of_none;
use crate::time::Micros;

/// What is kept in memory of one attribute, from one question to the next.
#[derive(Debug, Default)]
pub struct ComputedState {
    /// One for an aggregate, one for each rule about events of a score.
    kept: Vec<Kept>,
}

impl ComputedState {
    /// The values over a snapshot and a time, whatever was asked for before.
    pub async fn values(
        &mut self,
        of: &Computation,
        kind: ComputedKind,
        over: &Over<'_>,
    ) -> Result<Computed> {
        match of {
            Computation::Aggregate(request) => self.aggregate(request, kind, over).await,
            Computation::Formula(text) => formula::values(text, kind, over).await,
            Computation::Score(rules) => score::values(rules, &mut self.kept, over).await,
        }
    }

    async fn aggregate(
        &mut self,
        request: &AggregateRequest,
        kind: ComputedKind,
        over: &Over<'_>,
    ) -> Result<Computed> {
        self.kept.resize_with(1, Kept::default);
        let kept = &mut self.kept[0];
        let wanted = request.wanted();
        let stretch = Stretch::of_period(&request.period, over.now, over.zone)?;
        kept.catch_up(&wanted, &stretch, over).await?;
        let tallies = kept.tallies(wanted.plan, &stretch, over);
        let mut values: Vec<(i64, Option<Scalar>)> =
            tallies.into_iter().map(|(person, tally)| (person, tally.value(wanted.plan))).collect();
        values.sort_unstable_by_key(|(person, _)| *person);
        let none = value_of_none(request.function);
        let column = Arc::new(column(values, none, kind)?);
        Ok(Computed { column, until: Micros(kept.until(&stretch, over)) })
    }
}

impl AggregateRequest {
    pub(crate) fn wanted(&self) -> Wanted {
        Wanted {
            plan: Plan { function: self.function, without: self.without },
            events: self.events(),
            property: self.property.clone(),
        }
    }
}

/// Values in the order of persons, and the value of all others.
pub(crate) fn column(
    values: Vec<(i64, Option<Scalar>)>,
    none: Option<Scalar>,
    kind: ComputedKind,
) -> Result<ComputedColumn> {
    let (persons, mut scalars): (Vec<i64>, Vec<Option<Scalar>>) = values.into_iter().unzip();
    scalars.push(none);
    let whole = |one: Option<Scalar>| match one {
        Some(Scalar::Whole(number)) => Some(number),
        _ => None,
    };
    let moment = |one: Option<Scalar>| match one {
        Some(Scalar::Moment(at)) => Some(at),
        _ => None,
    };
    let doing = || "could not put a computed attribute together".to_owned();
    let values: ArrayRef = match kind {
        ComputedKind::Integer => Arc::new(
            scalars
                .into_iter()
                .map(|one| whole(one).and_then(|one| i64::try_from(one).ok()))
                .collect::<Int64Array>(),
        ),
        ComputedKind::IntegerSum => {
            let numbers: Decimal128Array = scalars.into_iter().map(whole).collect();
            Arc::new(numbers.with_precision_and_scale(38, 0).internal(doing)?)
        }
        ComputedKind::Decimal => {
            let number = |one: Option<Scalar>| match one {
                Some(Scalar::Decimal(number)) => Some(number.number()),
                _ => None,
            };
            Arc::new(scalars.into_iter().map(number).collect::<Float64Array>())
        }
        ComputedKind::String | ComputedKind::Date => {
            let text = |one: &Option<Scalar>| match one {
                Some(Scalar::Text(text)) => Some(Arc::clone(text)),
                _ => None,
            };
            let texts: Vec<Option<Arc<str>>> = scalars.iter().map(text).collect();
            Arc::new(texts.iter().map(Option::as_deref).collect::<StringArray>())
        }
        ComputedKind::Boolean => {
            let truth = |one: Option<Scalar>| match one {
                Some(Scalar::Truth(truth)) => Some(truth),
                _ => None,
            };
            Arc::new(scalars.into_iter().map(truth).collect::<BooleanArray>())
        }
        ComputedKind::DateTime => {
            let times: TimestampMicrosecondArray = scalars.into_iter().map(moment).collect();
            Arc::new(times.with_timezone("UTC"))
        }
    };
    Ok(ComputedColumn { persons, values })
}
