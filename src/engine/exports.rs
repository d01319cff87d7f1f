//! Exports: the texts of a statement become an order, which runs over the store as it is now or waits as a request.

use std::sync::Arc;

use chrono_tz::Tz;

use crate::engine::Engine;
use crate::error::Error;
use crate::error::Result;
use crate::export::Destination;
use crate::export::ExportJob;
use crate::export::ExportLimits;
use crate::export::ExportOrder;
use crate::export::ExportProgress;
use crate::export::ExportReport;
use crate::export::ExportRequest;
use crate::export::Exports;
use crate::export::NoProgress;
use crate::export::Target;
use crate::sql::ExportEvents;
use crate::time::Micros;
use crate::time::TimeRange;
use crate::time::parse_instant;

/// The options of the statement; `limits` asks for those of the published interface.
const OPTIONS: [&str; 9] = [
    "endpoint",
    "enrich_with_moments_info",
    "external_id",
    "gzip_level",
    "limits",
    "region",
    "request_id",
    "role_arn",
    "rows_per_file",
];

impl Engine {
    /// Runs an export statement without telling how far it is; a line about what was written.
    pub(crate) async fn export_statement(&self, statement: &ExportEvents) -> Result<String> {
        Ok(self.export(statement, Arc::new(NoProgress)).await?.message)
    }

    /// The requests for exports: submitted, worked on, told and cancelled.
    pub fn exports(&self) -> &Exports {
        &self.inner.exports
    }

    /// Writes the events of a range as gzip JSON lines, all or nothing visible; at once, without a request.
    ///
    /// # Errors
    /// `Invalid` and `NotFound` for what the statement says; `Conflict` when the request id was used for other data;
    /// `Unavailable` when the target cannot be written.
    pub async fn export(
        &self,
        statement: &ExportEvents,
        progress: Arc<dyn ExportProgress>,
    ) -> Result<ExportReport> {
        let (order, limits) = self.export_order(statement)?;
        // In this order: a snapshot that is taken later has all of these.
        let seen = crate::export::seq_seen(self.storage()).await?;
        let snapshot = self.storage().snapshot().await?;
        for pattern in &order.definitions {
            snapshot.registry.matching(pattern)?;
        }
        let request = ExportRequest {
            definitions: order.definitions.clone(),
            request_id: order.request_id.clone(),
            enrich_moments: order.enrich_moments,
            level: order.level,
            limits: ExportLimits { rows_per_file: order.rows_per_file, ..limits },
            ..ExportRequest::new(order.range())
        };
        crate::export::run(ExportJob {
            snapshot,
            lake: self.storage().object_store(),
            target: Target::open(&order.destination).await?,
            request,
            seen,
            done: Vec::new(),
            journal: None,
            spill: self.storage().layout().spill(),
            threads: self.config().thread_count(),
            progress,
        })
        .await
    }

    /// What a statement asks for, and the limits that it wants to keep.
    pub fn export_order(&self, statement: &ExportEvents) -> Result<(ExportOrder, ExportLimits)> {
        let zone = self.config().zone;
        let range = TimeRange { start: moment(&statement.from, zone)?, end: moment(&statement.to, zone)? };
        let mut order = ExportOrder::new(Destination::new(&statement.into), range);
        order.definitions.clone_from(&statement.events);
        let mut limits = ExportLimits::default();
        for (name, value) in &statement.options {
            match name.as_str() {
                "endpoint" => order.destination.endpoint = Some(value.clone()),
                "enrich_with_moments_info" => order.enrich_moments = flag(name, value)?,
                "external_id" => order.destination.external_id = Some(value.clone()),
                "gzip_level" => order.level = level(value)?,
                "limits" if flag(name, value)? => limits = ExportLimits::published(),
                "limits" => {}
                "region" => order.destination.region = Some(value.clone()),
                "request_id" => order.request_id = Some(value.clone()),
                "role_arn" => order.destination.role_arn = Some(value.clone()),
                "rows_per_file" => order.rows_per_file = rows(value)?,
                other => {
                    let hint = crate::error::did_you_mean(other, OPTIONS);
                    return Err(Error::invalid(format!(
                        "an export has no option \"{other}\"{hint}; the options are {}",
                        OPTIONS.join(", ")
                    )));
                }
            }
        }
        Ok((order, limits))
    }
}

/// A time as people type it; a day alone is its first moment, in UTC unless a zone is set.
pub(crate) fn moment(text: &str, zone: Option<Tz>) -> Result<Micros> {
    parse_instant(text, zone).map_err(|fault| Error::invalid(format!("the time \"{text}\": {fault}")))
}

fn flag(name: &str, value: &str) -> Result<bool> {
    value
        .to_ascii_lowercase()
        .parse()
        .map_err(|_| Error::invalid(format!("the option \"{name}\" is true or false, found \"{value}\"")))
}

pub(crate) fn rows(value: &str) -> Result<usize> {
    value.parse().ok().filter(|rows| *rows > 0).ok_or_else(|| {
        Error::invalid(format!("a file of an export holds at least one row, found \"{value}\""))
    })
}

pub(crate) fn level(value: &str) -> Result<u32> {
    value
        .parse()
        .ok()
        .filter(|level| *level <= 9)
        .ok_or_else(|| Error::invalid(format!("the gzip level is 0 to 9, found \"{value}\"")))
}
