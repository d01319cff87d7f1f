//! Schedules of exports and exports of queries: from the texts of their statements.

use std::sync::Arc;

use crate::engine::Engine;
use crate::engine::exports::level;
use crate::engine::exports::moment;
use crate::engine::exports::rows;
use crate::error::Error;
use crate::error::Result;
use crate::export::Destination;
use crate::export::ExportProgress;
use crate::export::RowFormat;
use crate::export::RowsJob;
use crate::export::RowsReport;
use crate::export::Schedule;
use crate::export::Target;
use crate::export::interval_text;
use crate::export::parse_interval;
use crate::sql::CreateExportSchedule;
use crate::sql::ExportEvents;
use crate::sql::ExportQuery;

/// The options of the export of a query.
const OPTIONS: [&str; 8] =
    ["endpoint", "external_id", "format", "gzip_level", "region", "request_id", "role_arn", "rows_per_file"];
/// Rows of one file of a query, unless it is told otherwise.
const ROWS: usize = 1_000_000;

impl Engine {
    /// A line about the schedule that was made.
    pub(crate) fn create_schedule(&self, create: &CreateExportSchedule) -> Result<String> {
        let every = parse_interval(&create.every.0, &create.every.1)?;
        let grace = create.grace.as_ref().map_or(Ok(0), |(number, unit)| match number.as_str() {
            "0" => Ok(0),
            _ => parse_interval(number, unit),
        })?;
        let first = match &create.from {
            Some(text) => moment(text, self.config().zone)?,
            None => Schedule::border(every, self.now()),
        };
        // Any range will do: each interval has its own.
        let statement = ExportEvents {
            events: create.events.clone(),
            from: "1970-01-01T00:00:00Z".to_owned(),
            to: "1970-01-01T00:00:01Z".to_owned(),
            into: create.into.clone(),
            options: create.options.clone(),
        };
        let (order, _) = self.export_order(&statement)?;
        self.exports().create_schedule(&create.name, order, Schedule { every, grace, next: first })?;
        Ok(format!(
            "schedule \"{}\": every {} from {} on; milepost export run-due works on it",
            create.name,
            interval_text(every),
            first.iso_millis()
        ))
    }

    pub(crate) fn drop_schedule(&self, name: &str) -> Result<String> {
        self.exports().drop_schedule(name)?;
        Ok(format!("schedule \"{name}\" dropped; what it asked for goes on"))
    }

    /// Writes the answer of a query as files.
    ///
    /// # Errors
    /// What is wrong with the query or the options; `Conflict` when the request id was used for another export.
    pub async fn export_query(
        &self,
        export: &ExportQuery,
        progress: Arc<dyn ExportProgress>,
    ) -> Result<RowsReport> {
        let mut destination = Destination::new(&export.into);
        let (mut request_id, mut format, mut rows_per_file, mut gzip) = (None, RowFormat::default(), ROWS, 6);
        for (name, value) in &export.options {
            match name.as_str() {
                "endpoint" => destination.endpoint = Some(value.clone()),
                "external_id" => destination.external_id = Some(value.clone()),
                "format" => format = value.parse()?,
                "gzip_level" => gzip = level(value)?,
                "region" => destination.region = Some(value.clone()),
                "request_id" => request_id = Some(value.clone()),
                "role_arn" => destination.role_arn = Some(value.clone()),
                "rows_per_file" => rows_per_file = rows(value)?,
                other => {
                    let hint = crate::error::did_you_mean(other, OPTIONS);
                    return Err(Error::invalid(format!(
                        "the export of a query has no option \"{other}\"{hint}; the options are {}",
                        OPTIONS.join(", ")
                    )));
                }
            }
        }
        let job = RowsJob {
            target: Target::open(&destination).await?,
            request_id,
            query: export.query.trim().trim_end_matches(';').to_owned(),
            format,
            rows_per_file,
            level: gzip,
            threads: self.config().thread_count(),
            progress,
        };
        if let Some(report) = crate::export::complete(&job).await? {
            return Ok(report);
        }
        let answer = self.ask(&job.query).await?;
        let schema = answer.schema();
        crate::export::run_rows(job, schema, answer).await
    }

    /// A line about what was written.
    pub(crate) async fn export_query_statement(&self, export: &ExportQuery) -> Result<String> {
        Ok(self.export_query(export, Arc::new(crate::export::NoProgress)).await?.to_string())
    }
}
