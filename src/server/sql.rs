//! `POST /v1/sql`: one statement in, rows out as they are found; they stop when nobody reads them.

use std::io;
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use arrow::record_batch::RecordBatch;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::Uri;
use axum::http::header;
use axum::response::Response;
use bytes::Bytes;
use futures::Stream;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::engine::Answer;
use crate::engine::RowFormat;
use crate::engine::RowWriter;
use crate::engine::Rows;
use crate::engine::Scope;
use crate::error::Error;
use crate::error::did_you_mean;
use crate::server::access::Caller;
use crate::server::app::App;
use crate::server::body;
use crate::server::fault::Cause;
use crate::server::fault::Fault;
use crate::server::params::Params;
use crate::server::watch::audit;
use crate::sql::SegmentStatement;
use crate::sql::Statement;
use crate::sql::StatementKind;

/// A question in JSON; as plain text it needs no frame.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    sql: String,
    format: Option<String>,
}

const FORMATS: [(&str, RowFormat, &str); 4] = [
    ("ndjson", RowFormat::Ndjson, "application/x-ndjson"),
    ("json", RowFormat::Json, "application/json"),
    ("csv", RowFormat::Csv, "text/csv"),
    ("arrow", RowFormat::Arrow, "application/vnd.apache.arrow.stream"),
];

/// The handler.
pub(crate) async fn ask(
    State(app): State<App>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    let params = Params::of(uri.query()).known(&["format"])?;
    let body = tokio::time::timeout(
        app.settings.request_time,
        body::whole(&app.room, &headers, body, app.settings.request_bytes),
    );
    let body = body.await.map_err(|_| Fault::new(Cause::Timeout, "the question took too long to come"))??;
    let text = body::text(&body)?;
    let question = if body::media_type(&headers) == "application/json" {
        serde_json::from_str(text)
            .map_err(|error| Fault::invalid(format!("the body must be {{\"sql\": \"SELECT …\"}}: {error}")))?
    } else {
        Question { sql: text.to_owned(), format: None }
    };
    let format = format(params.get("format").or(question.format.as_deref()), &headers)?;
    let engine = app.engine.apart();
    let statements = engine.parse(&question.sql).map_err(of_question)?;
    let [statement] = statements.as_slice() else {
        return Err(Fault::invalid(format!(
            "one statement at a time is answered, found {}",
            statements.len()
        )));
    };
    caller.may(&[needed(statement)])?;
    if let StatementKind::Segment(segment) = &statement.kind
        && let Some(path) = segment.file()
    {
        return Err(Fault::invalid(format!(
            "\"{path}\" would be a file of the server, which reads none of them; name the persons in the statement: \
             CREATE SEGMENT … AS LIST ('…', '…')"
        )));
    }
    let deadline = Instant::now() + app.settings.query_time;
    let turn = timeout_at(deadline, Arc::clone(&app.queries).acquire_owned()).await;
    let Ok(Ok(turn)) = turn else { return Err(too_many()) };
    let changes = needed(statement) == Scope::Manage;
    let changing = if changes { Some(app.changing.lock().await) } else { None };
    let asked = statement.clone();
    let work = async move { engine.execute(&asked).await.map(Answer::ahead) };
    let answer = timeout_at(deadline, app.asking.run(work));
    let answer = answer.await.map_err(|_| too_long(&app))??.map_err(of_question)?;
    drop(changing);
    if needed(statement) != Scope::Query {
        audit(&caller, "sql", statement.text.trim());
    }
    match answer {
        Answer::Done(line) => Ok(body::json(StatusCode::OK, &json!({"done": line}))),
        Answer::Rows(rows) => stream(&app, Asked { format, deadline, turn }, rows).await,
    }
}

/// What a statement needs: reading is for whoever may ask.
pub(crate) fn needed(statement: &Statement) -> Scope {
    match &statement.kind {
        StatementKind::Plain
        | StatementKind::ShowEvents { .. }
        | StatementKind::ShowTemplates
        | StatementKind::Question(_)
        | StatementKind::Describe { .. } => Scope::Query,
        StatementKind::Segment(segment) if matches!(**segment, SegmentStatement::Show) => Scope::Query,
        // A folder is one of this machine's.
        StatementKind::ExportEvents(export) if crate::export::is_bucket(&export.into) => Scope::Export,
        _ => Scope::Manage,
    }
}

/// A question that names what is not there is a wrong question, not a wrong address.
pub(crate) fn of_question(error: Error) -> Fault {
    let fault = Fault::from(error);
    let status = (fault.cause == Cause::NotFound).then_some(StatusCode::BAD_REQUEST);
    Fault { status, ..fault }
}

fn too_long(app: &App) -> Fault {
    let seconds = app.settings.query_time.as_secs();
    Fault::new(Cause::Timeout, format!("the question took longer than {seconds} s, so it was stopped"))
}

/// No turn came in time.
pub(crate) fn too_many() -> Fault {
    let message = "too many questions are being answered; try again later";
    Fault { retry_after: Some(1), ..Fault::new(Cause::Unavailable, message) }
}

/// The format that is asked for by name, else by the `Accept` header, else lines of JSON.
pub(crate) fn format(named: Option<&str>, headers: &HeaderMap) -> Result<RowFormat, Fault> {
    if let Some(name) = named {
        let found = FORMATS.iter().find(|(known, ..)| *known == name);
        return found.map(|(_, format, _)| *format).ok_or_else(|| {
            let names = FORMATS.map(|(name, ..)| name);
            let hint = did_you_mean(name, names);
            Fault::invalid(format!(
                "no format is called \"{}\"; the formats are {}{hint}",
                name.escape_debug(),
                names.join(", ")
            ))
        });
    }
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let wanted = accepted.split(',').find_map(|part| {
        let media = part.split(';').next().unwrap_or_default().trim();
        FORMATS.iter().find(|(.., known)| *known == media)
    });
    Ok(wanted.map_or(RowFormat::Ndjson, |(_, format, _)| *format))
}

/// How the rows go out.
pub(crate) struct Asked {
    pub(crate) format: RowFormat,
    pub(crate) deadline: Instant,
    pub(crate) turn: OwnedSemaphorePermit,
}

/// An answer on its way.
struct Sending {
    app: App,
    rows: Rows,
    writer: Option<Box<dyn RowWriter>>,
    written: Written,
    deadline: Instant,
    _turn: OwnedSemaphorePermit,
}

/// Bytes that the writer has written and nobody has sent yet.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn take(&self) -> Bytes {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts to send: what goes wrong before the first rows still has a status of its own.
pub(crate) async fn stream(app: &App, asked: Asked, mut rows: Rows) -> Result<Response, Fault> {
    let written = Written::default();
    let writer = asked.format.writer(&rows.schema(), Box::new(written.clone()))?;
    let first = timeout_at(asked.deadline, rows.next()).await.map_err(|_| too_long(app))?;
    let first = first.transpose().map_err(of_question)?;
    app.metrics.queries.add(1);
    let mut sending = Sending {
        app: app.clone(),
        rows,
        writer: Some(writer),
        written,
        deadline: asked.deadline,
        _turn: asked.turn,
    };
    let head = sending.put(first)?;
    let rest: Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>> =
        Box::pin(futures::stream::unfold(sending, |mut sending| async {
            sending.writer.as_ref()?;
            let next = sending.next().await;
            if let Err(error) = &next {
                // The reader sees the answer break off; it was not whole.
                tracing::warn!("an answer broke off: {error}");
                sending.writer = None;
            }
            Some((next, sending))
        }));
    let all = futures::stream::once(std::future::ready(Ok(head))).chain(rest);
    Ok(of_media(asked.format, Body::from_stream(all)))
}

/// Few rows in one piece.
pub(crate) async fn whole(format: RowFormat, rows: Rows) -> Result<Response, Fault> {
    let written = Written::default();
    let mut writer = format.writer(&rows.schema(), Box::new(written.clone()))?;
    for batch in rows.collect().await? {
        writer.write(&batch)?;
    }
    writer.finish()?;
    drop(writer);
    Ok(of_media(format, Body::from(written.take())))
}

fn of_media(format: RowFormat, body: Body) -> Response {
    let media = FORMATS.iter().find(|(_, known, _)| *known == format);
    let media = media.map_or("application/octet-stream", |(.., media)| *media);
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

impl Sending {
    async fn next(&mut self) -> Result<Bytes, Error> {
        match timeout_at(self.deadline, self.rows.next()).await {
            Ok(batch) => {
                let batch = batch.transpose()?;
                self.put(batch)
            }
            Err(_) => Err(Error::cancelled("the question took too long")),
        }
    }

    /// The bytes of a batch, or of the end.
    fn put(&mut self, batch: Option<RecordBatch>) -> Result<Bytes, Error> {
        if let (Some(writer), Some(batch)) = (&mut self.writer, &batch) {
            writer.write(batch)?;
            self.app.metrics.rows.add(batch.num_rows() as u64);
        } else if let Some(mut writer) = self.writer.take() {
            writer.finish()?;
        }
        Ok(self.written.take())
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.app.metrics.queries.add(-1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(value: &'static str) -> RowFormat {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(value))]);
        format(None, &headers).unwrap()
    }

    #[test]
    fn the_format_is_found_by_name_or_by_what_is_accepted() {
        assert_eq!(accepting("*/*"), RowFormat::Ndjson);
        assert_eq!(accepting("text/html, text/csv;q=0.9"), RowFormat::Csv);
        assert_eq!(accepting("application/vnd.apache.arrow.stream"), RowFormat::Arrow);
        assert_eq!(format(Some("csv"), &HeaderMap::new()).unwrap(), RowFormat::Csv);
        let fault = format(Some("cvs"), &HeaderMap::new()).unwrap_err();
        assert!(fault.message.ends_with("did you mean \"csv\"?"), "{}", fault.message);
    }

    #[test]
    fn reading_needs_less_than_changing() {
        let scope = |text: &str| needed(&crate::sql::parse(text).unwrap()[0]);
        assert_eq!(scope("SELECT 1"), Scope::Query);
        assert_eq!(scope("SHOW EVENTS"), Scope::Query);
        let asked = "RETENTION pageView THEN pageView PER WEEK FOR 2 FROM '2026-06-01'";
        assert_eq!(scope(asked), Scope::Query);
        assert_eq!(scope("ENABLE EVENT pageView"), Scope::Manage);
        assert_eq!(scope("EXPORT EVENTS FROM '2026-06-01' TO '2026-06-02' INTO '/tmp'"), Scope::Manage);
        assert_eq!(
            scope("EXPORT EVENTS FROM '2026-06-01' TO '2026-06-02' INTO 's3://acme/b/'"),
            Scope::Export
        );
    }
}
