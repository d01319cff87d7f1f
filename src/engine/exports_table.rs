//! `system.exports`: every request for an export, how it stands and what it wrote; `system.export_schedules`: what asks
//! for them.

use std::sync::Arc;

use arrow::array::Array;
use arrow::array::TimestampMicrosecondArray;
use arrow::array::UInt64Array;
use arrow::datatypes::DataType;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::engine::system::schema;
use crate::engine::system::text;
use crate::engine::system::time;
use crate::error::Context;
use crate::error::Result;
use crate::export::ExportState;
use crate::export::Exports;
use crate::export::Retries;
use crate::export::ScheduleState;
use crate::export::interval_text;
use crate::query::SystemTable;
use crate::storage::Storage;
use crate::time::Micros;

#[derive(Debug)]
pub(crate) struct ExportsTable(pub(crate) Arc<Storage>);

impl SystemTable for ExportsTable {
    fn name(&self) -> &'static str {
        "exports"
    }

    fn schema(&self) -> SchemaRef {
        schema(&[
            ("request_id", DataType::Utf8View),
            ("status", DataType::Utf8View),
            ("message", DataType::Utf8View),
            ("start_time", time()),
            ("end_time", time()),
            ("definitions", DataType::Utf8View),
            ("destination", DataType::Utf8View),
            ("schedule", DataType::Utf8View),
            ("files", DataType::UInt64),
            ("rows", DataType::UInt64),
            ("bytes", DataType::UInt64),
            ("late", DataType::UInt64),
            ("attempts", DataType::UInt64),
            ("submitted_at", time()),
            ("retry_at", time()),
            ("finished_at", time()),
        ])
    }

    fn rows(&self) -> Result<RecordBatch> {
        let rows = Exports::new(Arc::clone(&self.0), 1, Retries::default()).list()?;
        let texts = |of: fn(&ExportState) -> Option<String>| -> Arc<dyn Array> { text(rows.iter().map(of)) };
        let times = |of: fn(&ExportState) -> Option<Micros>| -> Arc<dyn Array> {
            let micros = rows.iter().map(|row| of(row).map(|moment| moment.0));
            Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        };
        let numbers = |of: fn(&ExportState) -> u64| -> Arc<dyn Array> {
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(of)))
        };
        let columns = vec![
            texts(|row| Some(row.request_id.clone())),
            texts(|row| Some(row.status.to_string())),
            texts(|row| row.message.clone()),
            times(|row| Some(row.order.range().start)),
            times(|row| Some(row.order.range().end)),
            texts(|row| Some(named(&row.order.definitions))),
            texts(|row| Some(row.order.destination.into.clone())),
            texts(|row| row.schedule.clone()),
            numbers(|row| row.files),
            numbers(|row| row.rows),
            numbers(|row| row.bytes),
            numbers(|row| row.late),
            numbers(|row| row.attempts.into()),
            times(|row| Some(row.submitted_at)),
            times(|row| row.retry_at),
            times(|row| row.finished_at),
        ];
        RecordBatch::try_new(self.schema(), columns).internal(|| "could not show system.exports".to_owned())
    }
}

fn named(definitions: &[String]) -> String {
    if definitions.is_empty() { "*".to_owned() } else { definitions.join(", ") }
}

#[derive(Debug)]
pub(crate) struct SchedulesTable(pub(crate) Arc<Storage>);

impl SystemTable for SchedulesTable {
    fn name(&self) -> &'static str {
        "export_schedules"
    }

    fn schema(&self) -> SchemaRef {
        schema(&[
            ("name", DataType::Utf8View),
            ("definitions", DataType::Utf8View),
            ("every", DataType::Utf8View),
            ("grace", DataType::Utf8View),
            ("next_start", time()),
            ("next_due", time()),
            ("destination", DataType::Utf8View),
        ])
    }

    fn rows(&self) -> Result<RecordBatch> {
        let rows = Exports::new(Arc::clone(&self.0), 1, Retries::default()).schedules()?;
        let texts = |of: fn(&ScheduleState) -> String| -> Arc<dyn Array> {
            text(rows.iter().map(|row| Some(of(row))))
        };
        let times = |of: fn(&ScheduleState) -> i64| -> Arc<dyn Array> {
            let micros = rows.iter().map(|row| Some(of(row)));
            Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        };
        let columns = vec![
            texts(|row| row.name.clone()),
            texts(|row| named(&row.order.definitions)),
            texts(|row| interval_text(row.schedule.every)),
            texts(|row| interval_text(row.schedule.grace)),
            times(|row| row.schedule.next.0),
            times(|row| row.schedule.next.0 + row.schedule.every + row.schedule.grace),
            texts(|row| row.order.destination.into.clone()),
        ];
        RecordBatch::try_new(self.schema(), columns)
            .internal(|| "could not show system.export_schedules".to_owned())
    }
}
