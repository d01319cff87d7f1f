//! `POST /v1/events`: events in the shapes that an import takes, each with a verdict; as one body, or as lines that are
//! stored and answered while they come.

use std::pin::Pin;

use axum::body::Body;
use axum::body::BodyDataStream;
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
use serde_json::Value;
use serde_json::json;

use crate::engine::Fate;
use crate::engine::IngestBatch;
use crate::engine::IngestOptions;
use crate::engine::IngestReport;
use crate::engine::Scope;
use crate::ingest::ROW_BYTES_LIMIT;
use crate::ingest::json::Kind;
use crate::ingest::json::Scanner;
use crate::server::access::Caller;
use crate::server::app::App;
use crate::server::body;
use crate::server::body::Packing;
use crate::server::fault::Cause;
use crate::server::fault::Fault;
use crate::server::params::Params;
use crate::server::rows::broken;
use crate::server::rows::push_line;

/// Lines are stored when so many bytes of them are there, or when no more come for the moment.
const TOGETHER: usize = 1 << 20;

pub(crate) async fn send(
    State(app): State<App>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    caller.may(&[Scope::Ingest])?;
    let params = Params::of(uri.query()).known(&["createPersons", "source"])?;
    let options = IngestOptions {
        create_persons: params.get("createPersons").is_none() || params.flag("createPersons")?,
        source: params.get("source").map(str::to_owned),
        ..IngestOptions::default()
    };
    match body::media_type(&headers).as_str() {
        "application/x-ndjson" | "application/jsonl" | "application/x-jsonlines" => {
            stream(app, options, &headers, body)
        }
        media if body::is_json(media) => {
            let whole = body::whole(&app.room, &headers, body, app.settings.request_bytes);
            let bytes = tokio::time::timeout(app.settings.request_time, whole).await;
            let bytes =
                bytes.map_err(|_| Fault::new(Cause::Timeout, "the events took too long to come"))??;
            let lines = lines(body::text(&bytes)?)?;
            let report = app.engine.ingest(IngestBatch::lines(lines), options).await?;
            app.metrics.ingested("own", &report);
            let verdicts: Vec<Value> = report.rows.iter().map(|row| verdict(row.row, &row.fate)).collect();
            let mut answer = summary(&report);
            answer["events"] = verdicts.into();
            Ok(body::json(StatusCode::OK, &answer))
        }
        other => Err(Fault::new(
            Cause::MediaType,
            format!(
                "events come as application/json or application/x-ndjson, not as \"{}\"",
                other.escape_debug()
            ),
        )),
    }
}

/// The events of a JSON array, or of one object, one a line.
fn lines(text: &str) -> Result<Vec<u8>, Fault> {
    let mut scanner = Scanner::new(text, false);
    let mut out = Vec::with_capacity(text.len() + 1);
    match scanner.kind().map_err(broken)? {
        Kind::Array => {
            scanner.array().map_err(broken)?;
            let mut first = true;
            while scanner.element(&mut first).map_err(broken)? {
                push_line(scanner.skip().map_err(broken)?, &mut out);
            }
        }
        Kind::Object => push_line(scanner.skip().map_err(broken)?, &mut out),
        other => {
            let message = format!("the body must be an event or an array of events, found {}", other.name());
            return Err(Fault::invalid(message));
        }
    }
    scanner.end().map_err(broken)?;
    Ok(out)
}

fn summary(report: &IngestReport) -> Value {
    json!({"stored": report.stored, "duplicates": report.duplicates, "refused": report.refused})
}

fn verdict(row: u64, fate: &Fate) -> Value {
    match fate {
        Fate::Stored { event_id, person, seq } => json!({
            "row": row, "verdict": "stored", "eventId": event_id, "personId": person.0.to_string(), "seq": seq,
        }),
        Fate::Duplicate { event_id } => json!({"row": row, "verdict": "duplicate", "eventId": event_id}),
        Fate::Refused(refusal) => {
            let verdict = match refusal.code {
                crate::ingest::Code::EventConflict => "conflict",
                _ => "refused",
            };
            let mut told = json!({"row": row, "verdict": verdict, "code": refusal.code.name(), "message": refusal.message});
            for (key, value) in
                [("property", &refusal.property), ("expected", &refusal.expected), ("found", &refusal.found)]
            {
                if let Some(value) = value {
                    told[key] = value.as_str().into();
                }
            }
            told
        }
    }
}

/// A body of lines while it comes. Nothing more is read before what was read is stored, so a client that is faster
/// than the store waits.
struct Lines {
    app: App,
    options: IngestOptions,
    parts: BodyDataStream,
    /// What came after the last line end.
    rest: Vec<u8>,
    taken: u64,
    total: IngestReport,
    ended: bool,
}

fn stream(app: App, options: IngestOptions, headers: &HeaderMap, body: Body) -> Result<Response, Fault> {
    if Packing::of(headers)? != Packing::Plain {
        let message =
            "lines that are stored while they come are not packed; send them as they are, or an array";
        return Err(Fault::new(Cause::MediaType, message));
    }
    let lines = Lines {
        app,
        options,
        parts: body.into_data_stream(),
        rest: Vec::new(),
        taken: 0,
        total: IngestReport::default(),
        ended: false,
    };
    let answers: Pin<Box<dyn Stream<Item = Result<Bytes, std::convert::Infallible>> + Send>> =
        Box::pin(futures::stream::unfold(lines, |mut lines| async {
            if lines.ended {
                return None;
            }
            let answered = lines.next().await;
            Some((Ok(answered), lines))
        }));
    let mut response = Response::new(Body::from_stream(answers));
    let kind = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

impl Lines {
    /// Stores what comes next; the verdicts, and at the end the sums.
    async fn next(&mut self) -> Bytes {
        let stored = match self.gather().await {
            Ok(lines) => self.store(lines).await,
            Err(fault) => Err(fault),
        };
        let mut out = match stored {
            Ok(out) => out,
            Err(fault) => {
                tracing::warn!("a stream of events broke off: {fault}");
                self.ended = true;
                let error = json!({"error": {"code": fault.cause.code(), "message": fault.message}});
                let mut out = error.to_string();
                out.push('\n');
                return out.into();
            }
        };
        if self.ended {
            out.push_str(&summary(&self.total).to_string());
            out.push('\n');
        }
        out.into()
    }

    /// Whole lines: at least one, as many as are there, about as many as are stored together.
    async fn gather(&mut self) -> Result<Vec<u8>, Fault> {
        loop {
            let part = tokio::time::timeout(self.app.settings.idle_time, self.parts.next()).await;
            match part.map_err(|_| Fault::new(Cause::Timeout, "no events came for too long"))? {
                None => {
                    self.ended = true;
                    return Ok(std::mem::take(&mut self.rest));
                }
                Some(part) => {
                    let part = part.map_err(|_| Fault::invalid("the stream broke off"))?;
                    self.rest.extend_from_slice(&part);
                }
            }
            // What has come already goes along.
            while self.rest.len() < TOGETHER
                && let Some(Some(Ok(part))) = futures::FutureExt::now_or_never(self.parts.next())
            {
                self.rest.extend_from_slice(&part);
            }
            if let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') {
                let rest = self.rest.split_off(end + 1);
                return Ok(std::mem::replace(&mut self.rest, rest));
            }
            if self.rest.len() > ROW_BYTES_LIMIT {
                let message = format!("a line may have {ROW_BYTES_LIMIT} bytes");
                return Err(Fault::new(Cause::TooLarge, message));
            }
        }
    }

    async fn store(&mut self, lines: Vec<u8>) -> Result<String, Fault> {
        let count = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        // Under a name that the client gives, a line is known by its number in the whole stream.
        let options = IngestOptions { first_row: self.taken + 1, ..self.options.clone() };
        let report = self.app.engine.ingest(IngestBatch::lines(lines), options).await?;
        self.app.metrics.ingested("own", &report);
        let mut out = String::new();
        for row in &report.rows {
            out.push_str(&verdict(row.row, &row.fate).to_string());
            out.push('\n');
        }
        self.taken += count;
        self.total.stored += report.stored;
        self.total.duplicates += report.duplicates;
        self.total.refused += report.refused;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_and_one_object_are_lines() {
        assert_eq!(lines("[{\"a\":1},\n {\"b\":\n2}]").unwrap(), b"{\"a\":1}\n{\"b\": 2}\n");
        assert_eq!(lines("{}").unwrap(), b"{}\n");
        assert_eq!(lines("[]").unwrap(), b"");
        for wrong in ["", "7", "null", "[1", "{} {}"] {
            assert!(lines(wrong).is_err(), "{wrong}");
        }
    }
}
