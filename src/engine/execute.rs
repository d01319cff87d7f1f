//! One `match` over statements: which layer answers.

use arrow::record_batch::RecordBatch;
use futures::FutureExt;
use futures::TryFutureExt;
use futures::future::BoxFuture;

use crate::analysis::FunnelRequest;
use crate::engine::Answer;
use crate::engine::Engine;
use crate::engine::Rows;
use crate::engine::answer::Table;
use crate::engine::show;
use crate::error::Error;
use crate::error::Result;
use crate::error::did_you_mean;
use crate::quote::literal;
use crate::sql::AlterEvent;
use crate::sql::Change;
use crate::sql::Statement;
use crate::sql::StatementKind;
use crate::sql::spelled;
use crate::time::Day;

impl Engine {
    /// Runs one statement. An error's place is counted in the text that the statement was parsed from.
    ///
    /// Boxed, so that the compiler can tell that it may move between threads.
    pub fn execute<'a>(&'a self, statement: &'a Statement) -> BoxFuture<'a, Result<Answer>> {
        let placed = |error: Error| match error.place() {
            Some(place) => error.at(place.within(statement.place)),
            None => error,
        };
        self.answer(statement).map_err(placed).boxed()
    }

    async fn answer(&self, statement: &Statement) -> Result<Answer> {
        Ok(match &statement.kind {
            StatementKind::Plain => Answer::Rows(self.ask(&statement.text).await?),
            StatementKind::CreateEvent(create) => Answer::Done(self.create_event(create)?),
            StatementKind::AlterEvent(AlterEvent { id, change: Change::Retention(retention) }) => {
                Answer::Done(self.set_retention(id, retention.as_deref()).await?)
            }
            StatementKind::AlterEvent(alter) => Answer::Done(self.alter_event(alter)?),
            StatementKind::SwitchEvents { patterns, enabled } => {
                Answer::Done(self.switch_events(patterns, *enabled)?)
            }
            StatementKind::ShowEvents { like } => {
                rows(show::definitions(&self.definitions_like(like.as_deref()))?)
            }
            StatementKind::ShowTemplates => rows(show::definitions(self.storage().registry().templates())?),
            StatementKind::Describe { name } => self.describe(name).await?,
            StatementKind::Segment(segment) => self.segment_statement(segment, &statement.text).await?,
            StatementKind::Computed(one) => self.computed_statement(one, &statement.text).await?,
            StatementKind::Question(question) => Answer::Rows(self.analyse(question).await?),
            StatementKind::People(statement) => self.people_statement(statement).await?,
            StatementKind::ExportEvents(export) => Answer::Done(self.export_statement(export).await?),
            StatementKind::ExportQuery(export) => {
                Answer::Done(Box::pin(self.export_query_statement(export)).await?)
            }
            StatementKind::CreateExportSchedule(create) => Answer::Done(self.create_schedule(create)?),
            StatementKind::DropExportSchedule { name } => Answer::Done(self.drop_schedule(name)?),
            StatementKind::ShowRetention => rows(self.retention_table()?),
            StatementKind::ForgetPerson { kind, id } => {
                Answer::Done(self.forget_person(kind.as_deref(), id).await?)
            }
            StatementKind::Backup { into } => Answer::Done(self.backup(into).await?),
            StatementKind::Verify => rows(self.verify_table().await?),
        })
    }

    /// Plain SQL over the store as it is now.
    pub(crate) async fn ask(&self, sql: &str) -> Result<Rows> {
        let sql = crate::sql::expand(sql)?;
        if let Some(past) = crate::sql::past(&sql)? {
            return Box::pin(self.ask_past(&past)).await;
        }
        let rows = self.session().await?.run(&sql).await?;
        Ok(Rows::new(rows.schema(), rows))
    }

    /// A funnel over the store as it is now: the statement's and the JSON form's library call.
    pub async fn funnel(&self, request: &FunnelRequest) -> Result<Rows> {
        self.ask(&format!("SELECT * FROM funnel({})", literal(&request.to_json()?))).await
    }

    /// An event with its properties; any other table as the query layer sees it.
    async fn describe(&self, name: &str) -> Result<Answer> {
        if let Some(definition) = self.storage().registry().find(name) {
            return Ok(rows(show::columns(definition)?));
        }
        let tables = self.names().await?.tables;
        let Some((_, columns)) = tables.iter().find(|(table, _)| table == name) else {
            let hint = did_you_mean(name, tables.iter().map(|(table, _)| table.as_str()));
            return Err(Error::not_found(format!("no event and no table is called \"{name}\"{hint}")));
        };
        let table = Table::default()
            .texts("column", columns.iter().map(|(column, _)| Some(column)))
            .texts("type", columns.iter().map(|(_, kind)| Some(kind)))
            .texts("in_sql", columns.iter().map(|(column, _)| Some(spelled(column))));
        Ok(rows(table.batch()?))
    }

    /// One row for each definition that has events: days, files, rows, bytes; and the bytes of the indexes beside them.
    pub async fn info(&self) -> Result<Rows> {
        let totals = self.storage().totals().await?;
        let day = |day: Day| Some(day.to_string());
        let batch = Table::default()
            .texts("definition", totals.iter().map(|one| Some(&one.definition)))
            .numbers("days", totals.iter().map(|one| one.days))
            .texts("first_day", totals.iter().map(|one| day(one.first_day)))
            .texts("last_day", totals.iter().map(|one| day(one.last_day)))
            .numbers("files", totals.iter().map(|one| one.files))
            .numbers("rows", totals.iter().map(|one| one.rows))
            .numbers("bytes", totals.iter().map(|one| one.bytes))
            .numbers("index_of_persons", totals.iter().map(|one| one.indexed.persons_bytes))
            .numbers("index_of_events", totals.iter().map(|one| one.indexed.events_bytes))
            .batch()?;
        Ok(Rows::of(batch))
    }
}

fn rows(batch: RecordBatch) -> Answer {
    Answer::Rows(Rows::of(batch))
}
