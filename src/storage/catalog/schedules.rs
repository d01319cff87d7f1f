//! Schedules of exports, and the step from one interval to the next, which is one transaction with its requests.

use rusqlite::params;

use crate::error::Result;
use crate::storage::catalog::Catalog;
use crate::storage::catalog::exports;
use crate::storage::catalog::exports::ExportRow;
use crate::time::Micros;

/// A schedule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportScheduleRow {
    pub name: String,
    /// What each interval asks for, as JSON.
    pub request: String,
    /// Microseconds.
    pub every: i64,
    pub grace: i64,
    /// Where the next interval starts.
    pub next: Micros,
}

impl Catalog {
    /// Adds a schedule; false when there is one of this name.
    pub fn add_export_schedule(&self, row: &ExportScheduleRow, at: Micros) -> Result<bool> {
        self.write("add a schedule to", |tx| {
            let sql = "INSERT OR IGNORE INTO export_schedules (name, request, every, grace, next, created_at)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let added =
                tx.execute(sql, params![row.name, row.request, row.every, row.grace, row.next.0, at.0])?;
            Ok(added > 0)
        })
    }

    /// Removes a schedule, and nothing that it asked for; false when there is none.
    pub fn drop_export_schedule(&self, name: &str) -> Result<bool> {
        self.write("remove a schedule from", |tx| {
            Ok(tx.execute("DELETE FROM export_schedules WHERE name = ?1", [name])? > 0)
        })
    }

    /// All of them, by name.
    pub fn export_schedules(&self) -> Result<Vec<ExportScheduleRow>> {
        self.read("list schedules in", |tx| {
            let sql = "SELECT name, request, every, grace, next FROM export_schedules ORDER BY name";
            let mut statement = tx.prepare(sql)?;
            let rows = statement.query_map([], |row| {
                Ok(ExportScheduleRow {
                    name: row.get(0)?,
                    request: row.get(1)?,
                    every: row.get(2)?,
                    grace: row.get(3)?,
                    next: Micros(row.get(4)?),
                })
            })?;
            rows.collect()
        })
    }

    /// Moves a schedule on and adds the requests for what it passed over, both or neither. An interval whose request
    /// is there already keeps it: a schedule that was dropped and made again asks for nothing twice.
    pub fn advance_export_schedule(
        &self,
        name: &str,
        from: Micros,
        to: Micros,
        rows: &[ExportRow],
    ) -> Result<()> {
        self.write("move a schedule in", |tx| {
            let sql = "UPDATE export_schedules SET next = ?3 WHERE name = ?1 AND next = ?2";
            if tx.execute(sql, params![name, from.0, to.0])? == 0 {
                return Ok(());
            }
            rows.iter().try_for_each(|row| exports::insert_new(tx, row))
        })
    }

    /// Exports of schedules that are done, end after a moment, and whose late events were not counted up to `seq`.
    pub fn exports_to_count(&self, after: Micros, seq: i64) -> Result<Vec<ExportRow>> {
        self.read("list exports in", |tx| {
            let sql = format!(
                "SELECT {} FROM exports WHERE schedule IS NOT NULL AND status = 'COMPLETED_SUCCESSFULLY'
                     AND end_time > ?1 AND coalesce(counted, seen) < ?2 ORDER BY position",
                exports::COLUMNS
            );
            tx.prepare(&sql)?.query_map(params![after.0, seq], exports::read_row)?.collect()
        })
    }

    /// So many events of an export's range came after it, up to `seq`.
    pub fn put_late(&self, id: &str, late: u64, seq: i64) -> Result<()> {
        self.write("note late events in", |tx| {
            let sql = "UPDATE exports SET late = ?2, counted = ?3 WHERE id = ?1";
            tx.execute(sql, params![id, late, seq]).map(|_| ())
        })
    }
}
