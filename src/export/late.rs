//! How many events of a range came after it was exported: two columns of the few row groups that can hold any.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::datatypes::TimestampMicrosecondType;
use futures::TryStreamExt;
use object_store::ObjectStore;

use crate::error::Result;
use crate::export::day::greatest_seq;
use crate::export::lake;
use crate::export::plan::ExportRequest;
use crate::export::plan::Plan;
use crate::schema::OCCURRED_TIME;
use crate::schema::SEQ;
use crate::storage::snapshot::Snapshot;
use crate::time::Micros;
use crate::time::TimeRange;

/// The files that can hold events of an export's range.
pub(crate) fn files(snapshot: &Snapshot, request: &ExportRequest) -> Result<Vec<String>> {
    let plan = Plan::of(snapshot, request, request.range.start)?;
    let files = plan.days.into_iter().flat_map(|day| day.files);
    Ok(files.map(|planned| planned.file.path).collect())
}

/// The events of a file that lie in the range and have numbers above `seen`, up to `upto`.
pub(crate) async fn count(
    lake: Arc<dyn ObjectStore>,
    path: String,
    range: TimeRange,
    seen: i64,
    upto: i64,
) -> Result<u64> {
    let builder = lake::open(lake, &path).await?;
    let groups = builder.metadata().row_groups().iter().enumerate();
    let newer = groups.filter(|(_, group)| greatest_seq(group).is_none_or(|greatest| greatest > seen));
    let newer: Vec<usize> = newer.map(|(nth, _)| nth).collect();
    if newer.is_empty() {
        return Ok(0);
    }
    let mut rows = lake::rows(builder.with_row_groups(newer), &path, &[OCCURRED_TIME, SEQ])?;
    let mut late = 0;
    while let Some(batch) = rows.try_next().await? {
        let times = batch
            .column_by_name(OCCURRED_TIME)
            .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        let seqs = batch.column_by_name(SEQ).and_then(|column| column.as_primitive_opt::<Int64Type>());
        let (Some(times), Some(seqs)) = (times, seqs) else { continue };
        let pairs = times.values().iter().zip(seqs.values());
        late += pairs
            .filter(|(time, seq)| range.contains(Micros(**time)) && **seq > seen && **seq <= upto)
            .count();
    }
    Ok(u64::try_from(late).unwrap_or(u64::MAX))
}
