//! `sessionize(gap, time) OVER (PARTITION BY personId ORDER BY time)`: which session of the person an event belongs to.
//!
//! A new session begins when more than the gap has passed since the event before; exactly the gap does not split, and
//! neither does midnight.

use std::sync::Arc;

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::Int64Array;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::FieldRef;
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::common::DataFusionError;
use datafusion::common::Result;
use datafusion::logical_expr::DocSection;
use datafusion::logical_expr::Documentation;
use datafusion::logical_expr::PartitionEvaluator;
use datafusion::logical_expr::Signature;
use datafusion::logical_expr::Volatility;
use datafusion::logical_expr::WindowUDFImpl;
use datafusion::logical_expr::function::PartitionEvaluatorArgs;
use datafusion::logical_expr::function::WindowUDFFieldArgs;

use crate::error::Error;
use crate::query::layout::time_type;
use crate::time::parse_duration;

/// The window function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sessionize {
    signature: Signature,
    documentation: Documentation,
}

impl Sessionize {
    pub(crate) fn new() -> Self {
        let section = DocSection { include: true, label: "Events", description: None };
        let documentation = Documentation::builder(
            section,
            "The number of the session that an event belongs to, from 1: a new one begins when more than the gap has \
             passed since the event before. PARTITION BY the person and ORDER BY the time.",
            "sessionize(gap, time) OVER (PARTITION BY personId ORDER BY time)",
        )
        .with_argument("gap", "Such as '30 minutes'; a constant.")
        .with_argument("time", "When the event occurred.")
        .with_sql_example(
            "SELECT personId, sessionize('30 minutes', occurredTime) OVER (PARTITION BY personId ORDER BY occurredTime) \
             AS session FROM events",
        )
        .build();
        let kinds = vec![DataType::Utf8View, time_type()];
        Self { signature: Signature::exact(kinds, Volatility::Immutable), documentation }
    }
}

impl WindowUDFImpl for Sessionize {
    fn name(&self) -> &str {
        "sessionize"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(&self, _args: PartitionEvaluatorArgs<'_>) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Sessions))
    }

    fn field(&self, args: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), DataType::Int64, true)))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

#[derive(Debug)]
struct Sessions;

impl PartitionEvaluator for Sessions {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        if rows == 0 {
            return Ok(Arc::new(Int64Array::from(Vec::<i64>::new())));
        }
        let gaps = values[0].as_string_view();
        let wrong = |error: Error| DataFusionError::External(Box::new(error));
        if gaps.null_count() > 0 || gaps.iter().any(|gap| gap != Some(gaps.value(0))) {
            return Err(wrong(Error::invalid("the gap of sessionize is a constant such as '30 minutes'")));
        }
        let gap = parse_duration(gaps.value(0)).map_err(wrong)?;
        let times = values[1].as_primitive::<TimestampMicrosecondType>();
        let (mut session, mut before) = (1, None);
        let numbers = times.iter().map(|time| {
            let time: i64 = time?;
            if before.is_some_and(|before: i64| time.saturating_sub(before) > gap) {
                session += 1;
            }
            before = Some(time);
            Some(session)
        });
        Ok(Arc::new(numbers.collect::<Int64Array>()))
    }
}
