//! Schedules at work: what falls due becomes requests, and what came too late for them is counted.

use std::sync::Arc;

use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::export::late;
use crate::export::order::ExportOrder;
use crate::export::order::ExportRules;
use crate::export::plan::digits;
use crate::export::schedule::MOST_AT_ONCE;
use crate::export::schedule::Schedule;
use crate::export::service::Exports;
use crate::export::service::order_of;
use crate::export::service::seq_seen;
use crate::export::state::ExportStatus;
use crate::storage::catalog::ExportRow;
use crate::storage::catalog::ExportScheduleRow;
use crate::time::Micros;

/// Late events are counted for exports whose range ended no longer ago than this.
const LOOKS_BACK: i64 = 7 * 24 * 3_600_000_000;
const NAME_CHARS: usize = 40;

/// A schedule, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleState {
    pub name: String,
    /// What each interval asks for; its range says nothing.
    pub order: ExportOrder,
    pub schedule: Schedule,
}

impl Exports {
    /// Makes a schedule. It asks for its first interval once that is over; those in the past at once.
    ///
    /// # Errors
    /// `Conflict` when there is one of this name.
    pub fn create_schedule(&self, name: &str, order: ExportOrder, schedule: Schedule) -> Result<()> {
        let storage = self.storage();
        storage.writer()?;
        let fine = (1..=NAME_CHARS).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if !fine {
            return Err(Error::invalid(format!(
                "a schedule's name starts the names of its files: 1 to {NAME_CHARS} of A-Z a-z 0-9 _ -, found \"{name}\""
            )));
        }
        if order.request_id.is_some() {
            return Err(Error::invalid("a schedule makes the ids of its requests; leave request_id out"));
        }
        let first = schedule.next;
        let order = ExportOrder { start: first.0, end: first.0 + schedule.every, ..order };
        ExportRules::unlimited().check(&order, storage.now())?;
        self.check_definitions(&order, &ExportRules::unlimited())?;
        let order = ExportOrder { destination: order.destination.absolute()?, ..order };
        let row = ExportScheduleRow {
            name: name.to_owned(),
            request: serde_json::to_string(&order)
                .internal(|| "could not write down a schedule".to_owned())?,
            every: schedule.every,
            grace: schedule.grace,
            next: first,
        };
        if storage.catalog().add_export_schedule(&row, storage.now())? {
            return Ok(());
        }
        Err(Error::conflict(format!(
            "there is a schedule \"{name}\" already; DROP EXPORT SCHEDULE {name} removes it"
        )))
    }

    /// Removes a schedule; what it asked for goes on.
    ///
    /// # Errors
    /// `NotFound` when there is none of this name.
    pub fn drop_schedule(&self, name: &str) -> Result<()> {
        self.storage().writer()?;
        if self.storage().catalog().drop_export_schedule(name)? {
            return Ok(());
        }
        let schedules = self.storage().catalog().export_schedules()?;
        let hint = crate::error::did_you_mean(name, schedules.iter().map(|one| one.name.as_str()));
        Err(Error::not_found(format!("there is no schedule \"{name}\"{hint}")))
    }

    /// All schedules, by name.
    pub fn schedules(&self) -> Result<Vec<ScheduleState>> {
        self.storage().catalog().export_schedules()?.into_iter().map(state).collect()
    }

    /// Makes requests of the intervals that are due; how many, and when the next will be.
    pub(crate) fn queue_due(&self) -> Result<(usize, Option<Micros>)> {
        let now = self.storage().now();
        let (mut queued, mut next) = (0, None::<Micros>);
        for row in self.storage().catalog().export_schedules()? {
            let ScheduleState { name, order, schedule } = state(row)?;
            loop {
                let (due, after) = schedule_from(&self.schedules()?, &name).unwrap_or(schedule).due(now);
                let rows: Vec<ExportRow> = due
                    .iter()
                    .map(|range| {
                        let order = ExportOrder { start: range.start.0, end: range.end.0, ..order.clone() };
                        Ok(ExportRow {
                            id: format!("{name}-{}", digits(range.start.0.div_euclid(1_000))),
                            schedule: Some(name.clone()),
                            request: serde_json::to_string(&order)
                                .internal(|| "could not write down an export".to_owned())?,
                            start: range.start,
                            end: range.end,
                            status: ExportStatus::Submitted.as_str().to_owned(),
                            submitted_at: now,
                            ..ExportRow::default()
                        })
                    })
                    .collect::<Result<_>>()?;
                if let Some(first) = due.first() {
                    self.storage().catalog().advance_export_schedule(
                        &name,
                        first.start,
                        after.next,
                        &rows,
                    )?;
                }
                queued += rows.len();
                if rows.len() < MOST_AT_ONCE {
                    let at = Micros(after.next.0.saturating_add(after.every).saturating_add(after.grace));
                    next = next.into_iter().chain([at]).min();
                    break;
                }
            }
        }
        Ok((queued, next))
    }

    /// Counts the events that came too late for the exports of schedules, where there can be new ones.
    pub(crate) async fn count_late(&self) -> Result<()> {
        let storage = self.storage();
        let Some(seq) = seq_seen(storage).await? else { return Ok(()) };
        let after = Micros(storage.now().0 - LOOKS_BACK);
        let rows = storage.catalog().exports_to_count(after, seq)?;
        if rows.is_empty() {
            return Ok(());
        }
        let (snapshot, lake) = (storage.snapshot().await?, storage.object_store());
        for row in rows {
            let request = order_of(&row)?.request(&row.id, None);
            let files = late::files(&snapshot, &request)?;
            let seen = row.seen.unwrap_or(i64::MAX);
            let count = |path: String| late::count(Arc::clone(&lake), path, request.range, seen, seq);
            let counts: Vec<u64> = stream::iter(files).map(count).buffered(4).try_collect().await?;
            storage.catalog().put_late(&row.id, counts.iter().sum(), seq)?;
        }
        Ok(())
    }
}

/// Where a schedule stands now.
fn schedule_from(schedules: &[ScheduleState], name: &str) -> Option<Schedule> {
    schedules.iter().find(|one| one.name == name).map(|one| one.schedule)
}

fn state(row: ExportScheduleRow) -> Result<ScheduleState> {
    let order = serde_json::from_str(&row.request)
        .internal(|| format!("the catalog holds a schedule \"{}\" that cannot be read", row.name))?;
    let schedule = Schedule { every: row.every, grace: row.grace, next: row.next };
    Ok(ScheduleState { name: row.name, order, schedule })
}
