//! The `system` tables: what was refused, what was imported, which files there are, which settings hold.

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::array::Int64Array;
use arrow::array::StringViewArray;
use arrow::array::TimestampMicrosecondArray;
use arrow::array::UInt64Array;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use arrow::datatypes::TimeUnit;
use arrow::record_batch::RecordBatch;

use crate::engine::Config;
use crate::engine::exports_table::ExportsTable;
use crate::engine::exports_table::SchedulesTable;
use crate::engine::membership::MembersTable;
use crate::error::Context;
use crate::error::Result;
use crate::query::SystemTable;
use crate::storage::Storage;
use crate::storage::catalog::RejectedRow;

pub(crate) fn tables(storage: &Arc<Storage>, config: &Config) -> Vec<Arc<dyn SystemTable>> {
    vec![
        Arc::new(Rejected(Arc::clone(storage))),
        Arc::new(Sources(Arc::clone(storage))),
        Arc::new(ExportsTable(Arc::clone(storage))),
        Arc::new(SchedulesTable(Arc::clone(storage))),
        Arc::new(Settings(config.clone())),
        Arc::new(Merges(Arc::clone(storage))),
        Arc::new(MembersTable(Arc::clone(storage))),
    ]
}

pub(crate) fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(
        fields.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect::<Vec<_>>(),
    ))
}

pub(crate) fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

pub(crate) fn text(values: impl IntoIterator<Item = Option<String>>) -> Arc<StringViewArray> {
    Arc::new(values.into_iter().collect())
}

/// `system.rejected`: the quarantine.
#[derive(Debug)]
struct Rejected(Arc<Storage>);

impl SystemTable for Rejected {
    fn name(&self) -> &'static str {
        "rejected"
    }

    fn schema(&self) -> SchemaRef {
        schema(&[
            ("id", DataType::Int64),
            ("source", DataType::Utf8View),
            ("row", DataType::UInt64),
            ("definition", DataType::Utf8View),
            ("property", DataType::Utf8View),
            ("expected", DataType::Utf8View),
            ("found", DataType::Utf8View),
            ("code", DataType::Utf8View),
            ("message", DataType::Utf8View),
            ("raw", DataType::Utf8View),
            ("at", time()),
        ])
    }

    fn rows(&self) -> Result<RecordBatch> {
        let mut rows = Vec::new();
        loop {
            let after = rows.last().map_or(0, |row: &RejectedRow| row.id);
            let mut page = self.0.catalog().rejected(after, usize::MAX)?;
            if page.is_empty() {
                break;
            }
            rows.append(&mut page);
        }
        let columns: Vec<Arc<dyn arrow::array::Array>> = vec![
            Arc::new(rows.iter().map(|one| Some(one.id)).collect::<Int64Array>()),
            text(rows.iter().map(|one| Some(one.source.clone()))),
            Arc::new(rows.iter().map(|one| Some(one.row)).collect::<UInt64Array>()),
            text(rows.iter().map(|one| one.definition.clone())),
            text(rows.iter().map(|one| one.property.clone())),
            text(rows.iter().map(|one| one.expected.clone())),
            text(rows.iter().map(|one| one.found.clone())),
            text(rows.iter().map(|one| Some(one.code.clone()))),
            text(rows.iter().map(|one| Some(one.message.clone()))),
            text(rows.iter().map(|one| Some(String::from_utf8_lossy(&one.raw).into_owned()))),
            Arc::new(
                rows.iter()
                    .map(|one| Some(one.at.0))
                    .collect::<TimestampMicrosecondArray>()
                    .with_timezone("UTC"),
            ),
        ];
        RecordBatch::try_new(self.schema(), columns).internal(|| "could not show system.rejected".to_owned())
    }
}

/// `system.sources`: what was imported, and how far.
#[derive(Debug)]
struct Sources(Arc<Storage>);

impl SystemTable for Sources {
    fn name(&self) -> &'static str {
        "sources"
    }

    fn schema(&self) -> SchemaRef {
        schema(&[
            ("name", DataType::Utf8View),
            ("rows", DataType::UInt64),
            ("bytes", DataType::UInt64),
            ("stored", DataType::UInt64),
            ("refused", DataType::UInt64),
            ("duplicates", DataType::UInt64),
            ("finished", DataType::Boolean),
            ("finished_at", time()),
        ])
    }

    fn rows(&self) -> Result<RecordBatch> {
        let rows = self.0.catalog().sources()?;
        let columns: Vec<Arc<dyn arrow::array::Array>> = vec![
            text(rows.iter().map(|one| Some(one.name.clone()))),
            Arc::new(rows.iter().map(|one| Some(one.rows)).collect::<UInt64Array>()),
            Arc::new(rows.iter().map(|one| Some(one.bytes)).collect::<UInt64Array>()),
            Arc::new(rows.iter().map(|one| Some(one.stored)).collect::<UInt64Array>()),
            Arc::new(rows.iter().map(|one| Some(one.refused)).collect::<UInt64Array>()),
            Arc::new(rows.iter().map(|one| Some(one.duplicate)).collect::<UInt64Array>()),
            Arc::new(rows.iter().map(|one| Some(one.finished)).collect::<BooleanArray>()),
            Arc::new(
                rows.iter()
                    .map(|one| one.finished_at.map(|at| at.0))
                    .collect::<TimestampMicrosecondArray>()
                    .with_timezone("UTC"),
            ),
        ];
        RecordBatch::try_new(self.schema(), columns).internal(|| "could not show system.sources".to_owned())
    }
}

/// `system.merges`: who was merged into whom, and what was undone.
#[derive(Debug)]
struct Merges(Arc<Storage>);

impl SystemTable for Merges {
    fn name(&self) -> &'static str {
        "merges"
    }

    fn schema(&self) -> SchemaRef {
        schema(&[
            ("number", DataType::Int64),
            ("personId", DataType::Int64),
            ("mergedInto", DataType::Int64),
            ("at", time()),
            ("origin", DataType::Utf8View),
            ("undone_at", time()),
        ])
    }

    fn rows(&self) -> Result<RecordBatch> {
        let rows = self.0.merges()?;
        let times = |times: Vec<Option<i64>>| -> Arc<dyn arrow::array::Array> {
            Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))
        };
        let columns: Vec<Arc<dyn arrow::array::Array>> = vec![
            Arc::new(rows.iter().map(|one| Some(one.number)).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|one| Some(one.from.0)).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|one| Some(one.into.0)).collect::<Int64Array>()),
            times(rows.iter().map(|one| Some(one.at.0)).collect()),
            text(rows.iter().map(|one| Some(one.origin.clone()))),
            times(rows.iter().map(|one| one.undone.map(|at| at.0)).collect()),
        ];
        RecordBatch::try_new(self.schema(), columns).internal(|| "could not show system.merges".to_owned())
    }
}

/// `system.settings`: what this process was opened with.
#[derive(Debug)]
struct Settings(Config);

impl SystemTable for Settings {
    fn name(&self) -> &'static str {
        "settings"
    }

    fn schema(&self) -> SchemaRef {
        schema(&[("name", DataType::Utf8View), ("value", DataType::Utf8View)])
    }

    fn rows(&self) -> Result<RecordBatch> {
        let config = &self.0;
        let rows = [
            ("data", Some(config.data.display().to_string())),
            ("read_only", Some(config.read_only.to_string())),
            ("memory", Some(config.memory_bytes().to_string())),
            ("threads", Some(config.thread_count().to_string())),
            ("zone", config.zone.map(|zone| zone.to_string())),
            ("version", Some(env!("CARGO_PKG_VERSION").to_owned())),
        ];
        let columns: Vec<Arc<dyn arrow::array::Array>> = vec![
            text(rows.iter().map(|(name, _)| Some((*name).to_owned()))),
            text(rows.iter().map(|(_, value)| value.clone())),
        ];
        RecordBatch::try_new(self.schema(), columns).internal(|| "could not show system.settings".to_owned())
    }
}
