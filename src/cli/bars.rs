//! Bars beside a funnel: how many are left at each step, or how many took how long, for the eye.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::RecordBatch;
use arrow::array::StringArray;
use arrow::compute::max;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Float64Type;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;

use crate::error::Context;
use crate::error::Result;

/// How wide all of them are.
const WIDTH: usize = 20;

/// The column that holds the share of the first step.
const SHARE: &str = "percent";

/// The column that only a histogram has: its longest bar is the greatest share, for all of them may be small.
const TOOK: &str = "took";

/// The columns of an answer with bars behind them; none for one without shares.
pub(crate) fn schema(schema: &SchemaRef) -> Option<SchemaRef> {
    let share = schema.field_with_name(SHARE).ok()?;
    if *share.data_type() != DataType::Float64 {
        return None;
    }
    let name = if schema.field_with_name(TOOK).is_ok() { "of_greatest" } else { "of_first" };
    let bars = Field::new(name, DataType::Utf8, true);
    let fields = schema.fields().iter().cloned().chain([Arc::new(bars)]);
    Some(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// The rows with their bars.
pub(crate) fn rows(schema: &SchemaRef, rows: &RecordBatch) -> Result<RecordBatch> {
    let failed = || "could not draw the bars".to_owned();
    let shares = rows.column_by_name(SHARE).and_then(|column| column.as_primitive_opt::<Float64Type>());
    let is_histogram = rows.column_by_name(TOOK).is_some();
    let whole = shares.filter(|_| is_histogram).and_then(max).filter(|greatest| *greatest > 0.0);
    let whole = whole.unwrap_or(100.0);
    let bars: StringArray = match shares {
        Some(shares) => shares.iter().map(|share| share.map(|share| bar(share / whole))).collect(),
        None => (0..rows.num_rows()).map(|_| None::<&str>).collect(),
    };
    let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
    columns.push(Arc::new(bars));
    RecordBatch::try_new(Arc::clone(schema), columns).internal(failed)
}

fn bar(share: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the width")]
    let eighths = (share.clamp(0.0, 1.0) * (WIDTH * 8) as f64).round() as usize;
    let part = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    format!("{}{part}", "█".repeat(eighths / 8))
}

#[cfg(test)]
mod tests {
    use arrow::array::Float64Array;

    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        let shares: ArrayRef = Arc::new(Float64Array::from(vec![Some(100.0), Some(50.0), Some(1.25), None]));
        let answer = RecordBatch::try_from_iter([(SHARE, shares)]).unwrap();
        let wide = schema(&answer.schema()).unwrap();
        let drawn = rows(&wide, &answer).unwrap();
        let bars: Vec<_> = drawn.column(1).as_string::<i32>().iter().collect();
        assert_eq!(bars[0].unwrap().chars().count(), WIDTH);
        assert_eq!(bars[1].unwrap(), "█".repeat(WIDTH / 2));
        assert_eq!((bars[2], bars[3]), (Some("▎"), None));
        assert!(schema(&answer.project(&[]).unwrap().schema()).is_none());
    }

    #[test]
    fn the_greatest_bar_of_a_histogram_is_the_longest() {
        let shares: ArrayRef = Arc::new(Float64Array::from(vec![Some(5.0), Some(20.0), Some(0.0)]));
        let took: ArrayRef = Arc::new(StringArray::from(vec!["0 to 1 s", "1 s to 5 s", "5 s to 15 s"]));
        let answer = RecordBatch::try_from_iter([(TOOK, took), (SHARE, shares)]).unwrap();
        let wide = schema(&answer.schema()).unwrap();
        assert_eq!(wide.field(2).name(), "of_greatest");
        let drawn = rows(&wide, &answer).unwrap();
        let bars: Vec<_> = drawn.column(2).as_string::<i32>().iter().flatten().collect();
        assert_eq!(bars, ["█".repeat(WIDTH / 4), "█".repeat(WIDTH), String::new()]);
    }
}
