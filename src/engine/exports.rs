//! `EXPORT EVENTS`: the texts of the statement become a request, which runs over the store as it is now.

use std::sync::Arc;

use chrono_tz::Tz;

use crate::engine::Engine;
use crate::error::Error;
use crate::error::Result;
use crate::export::ExportLimits;
use crate::export::ExportProgress;
use crate::export::ExportReport;
use crate::export::ExportRequest;
use crate::export::NoProgress;
use crate::export::Target;
use crate::sql::ExportEvents;
use crate::time::Micros;
use crate::time::TimeRange;
use crate::time::parse_instant;

/// The options of the statement; `limits` asks for those of the published interface.
const OPTIONS: [&str; 5] = ["enrich_with_moments_info", "gzip_level", "limits", "region", "request_id"];

impl Engine {
    /// Runs an export statement without telling how far it is; a line about what was written.
    pub(crate) async fn export_statement(&self, statement: &ExportEvents) -> Result<String> {
        Ok(self.export(statement, Arc::new(NoProgress)).await?.message)
    }

    /// Writes the events of a range as gzip JSON lines, all or nothing visible.
    ///
    /// # Errors
    /// `Invalid` and `NotFound` for what the statement says; `Conflict` when the request id was used for other data;
    /// `Unavailable` when the target cannot be written.
    pub async fn export(
        &self,
        statement: &ExportEvents,
        progress: Arc<dyn ExportProgress>,
    ) -> Result<ExportReport> {
        let zone = self.config().zone;
        let range = TimeRange { start: moment(&statement.from, zone)?, end: moment(&statement.to, zone)? };
        let mut request =
            ExportRequest { definitions: statement.events.clone(), ..ExportRequest::new(range) };
        let mut region = None;
        for (name, value) in &statement.options {
            match name.as_str() {
                "enrich_with_moments_info" => request.enrich_moments = flag(name, value)?,
                "gzip_level" => request.level = level(value)?,
                "limits" if flag(name, value)? => request.limits = ExportLimits::published(),
                "limits" => {}
                "region" => region = Some(value.as_str()),
                "request_id" => request.request_id = Some(value.clone()),
                other => {
                    let hint = crate::error::did_you_mean(other, OPTIONS);
                    return Err(Error::invalid(format!(
                        "an export has no option \"{other}\"{hint}; the options are {}",
                        OPTIONS.join(", ")
                    )));
                }
            }
        }
        let snapshot = self.storage().snapshot().await?;
        for pattern in &request.definitions {
            snapshot.registry.matching(pattern)?;
        }
        let target = Target::open(&statement.into, region)?;
        let lake = self.storage().object_store();
        let threads = self.config().thread_count();
        crate::export::run(&snapshot, lake, target.store, &target.prefix, request, threads, progress).await
    }
}

/// A time as people type it; a day alone is its first moment, in UTC unless a zone is set.
fn moment(text: &str, zone: Option<Tz>) -> Result<Micros> {
    parse_instant(text, zone).map_err(|fault| Error::invalid(format!("the time \"{text}\": {fault}")))
}

fn flag(name: &str, value: &str) -> Result<bool> {
    value
        .to_ascii_lowercase()
        .parse()
        .map_err(|_| Error::invalid(format!("the option \"{name}\" is true or false, found \"{value}\"")))
}

fn level(value: &str) -> Result<u32> {
    value
        .parse()
        .ok()
        .filter(|level| *level <= 9)
        .ok_or_else(|| Error::invalid(format!("the gzip level is 0 to 9, found \"{value}\"")))
}
