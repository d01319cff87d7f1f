//! `/mobile/1/appinstance/{pushRegistrationId}`: what apps send: their own events, sessions, and whose device it is. The
//! application that knows a registration is called as its key is.

mod devices;

pub(crate) use devices::depersonalize;
pub(crate) use devices::depersonalize_push;
pub(crate) use devices::personalize;
pub(crate) use devices::personalize_push;

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::Uri;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use sha2::Digest;
use sha2::Sha256;

use crate::engine::Fate;
use crate::engine::IngestBatch;
use crate::engine::IngestOptions;
use crate::engine::Scope;
use crate::ids::is_identifier;
use crate::ingest::Code;
use crate::person::Contact;
use crate::person::IdentifierType;
use crate::schema::Registry;
use crate::server::access::Caller;
use crate::server::app::App;
use crate::server::body;
use crate::server::definitions::Named;
use crate::server::definitions::named;
use crate::server::fault::Fault;
use crate::server::mobile::devices::known;
use crate::server::params::Params;
use crate::server::rows::Line;
use crate::time::Clock;
use crate::time::Micros;
use crate::time::SystemClock;
use crate::time::parse_instant;

/// An app sends what has gathered since it was online.
const BODY_BYTES: u64 = 4 << 20;
const EVENTS: usize = 5_000;
/// How long an event may wait on a device: 30 days, as in batches.
const BACK: i64 = 30 * 86_400_000_000;

#[derive(Debug, Deserialize)]
struct Sent {
    events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    definition_id: String,
    date: String,
    #[serde(default)]
    properties: Option<Map<String, Value>>,
}

/// Events of the app's own. With `validate=true` all are stored or none, and what is wrong is told; else what is wrong
/// is passed over.
pub(crate) async fn events(
    State(app): State<App>,
    caller: Caller,
    id: Named,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    caller.may(&[Scope::Web, Scope::Ingest])?;
    let device = device(id, caller.name())?;
    let validate = Params::of(uri.query()).flag("validate")?;
    let bytes = body::whole(&app.room, &headers, body, BODY_BYTES.min(app.settings.request_bytes)).await?;
    let sent: Result<Sent, _> = serde_json::from_str(body::text(&bytes)?);
    let sent = match sent {
        Ok(sent) if sent.events.len() <= EVENTS => sent,
        Ok(_) if validate => {
            return Err(coded("REQUEST_FORMAT_INVALID", format!("at most {EVENTS} events are sent at once")));
        }
        Err(error) if validate => {
            return Err(coded("REQUEST_FORMAT_INVALID", format!("the body has no events: {error}")));
        }
        _ => return Ok(body::json(StatusCode::OK, &json!({}))),
    };
    let now = SystemClock.now();
    let (registry, mut rows, mut seen) = (app.engine.registry(), Vec::new(), BTreeMap::new());
    for event in &sent.events {
        match row(event, &registry, &device, now, &mut seen) {
            Ok(row) => rows.extend(row),
            Err(message) if validate => return Err(invalid(message)),
            Err(_) => {}
        }
    }
    known(&app, &device).await?;
    store(&app, rows, validate).await
}

async fn store(app: &App, rows: Vec<u8>, validate: bool) -> Result<Response, Fault> {
    if !rows.is_empty() {
        let options = IngestOptions { all_or_none: validate, ..IngestOptions::default() };
        let report = app.engine.ingest(IngestBatch::lines(rows), options).await?;
        app.metrics.ingested("mobile", &report);
        let wrong = report.rows.into_iter().find_map(|row| match row.fate {
            Fate::Refused(refusal) if refusal.code != Code::EventConflict => Some(refusal.message),
            _ => None,
        });
        if let Some(message) = wrong.filter(|_| validate) {
            return Err(invalid(message));
        }
    }
    Ok(body::json(StatusCode::OK, &json!({})))
}

/// The row of an event, or what is wrong with it. Sent again, it has the same id.
fn row(
    event: &Event,
    registry: &Registry,
    device: &Contact,
    now: Micros,
    seen: &mut BTreeMap<String, u32>,
) -> Result<Vec<u8>, String> {
    let found = registry.get(&event.definition_id).map_err(|error| error.message().to_owned())?;
    if found.category.is_standard() {
        return Err(format!("\"{}\" is a standard event; apps send events of their own", found.id));
    }
    let date = parse_instant(&event.date, None).map_err(|fault| {
        format!("the date looks like 2025-04-17T09:12:44Z, found \"{}\": {fault}", event.date)
    })?;
    if date.0 < now.0 - BACK {
        return Err(format!("the date {} is more than 30 days ago", event.date));
    }
    let properties = event
        .properties
        .as_ref()
        .map_or_else(|| "null".to_owned(), |map| Value::from(map.clone()).to_string());
    let same =
        format!("{}\n{}\n{}\n{}\n{properties}", device.sender, device.id, event.definition_id, event.date);
    let nth = seen.entry(same.clone()).or_default();
    *nth += 1;
    let mut out = Vec::new();
    let line = Line {
        definition: &event.definition_id,
        event_id: Some(&event_id(&format!("{same}\n{nth}"))),
        session_id: None,
        person: (device.kind.name(), &device.id, &device.sender),
        occurred: date.min(now),
        properties: &properties,
    };
    line.write(&mut out);
    Ok(out)
}

/// An id that follows from what an event says.
fn event_id(said: &str) -> String {
    let digest = Sha256::digest(said.as_bytes());
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("app-{hex}")
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sessions {
    #[serde(default)]
    session_starts: Vec<String>,
    #[serde(default)]
    session_bounds: BTreeMap<String, String>,
}

/// Sessions that began, and those that have ended.
pub(crate) async fn sessions(
    State(app): State<App>,
    caller: Caller,
    id: Named,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    caller.may(&[Scope::Web, Scope::Ingest])?;
    let device = device(id, caller.name())?;
    let bytes = body::whole(&app.room, &headers, body, BODY_BYTES.min(app.settings.request_bytes)).await?;
    let sent: Sessions = serde_json::from_str(body::text(&bytes)?)
        .map_err(|error| coded("REQUEST_FORMAT_INVALID", format!("the body has no sessions: {error}")))?;
    let mut rows = Vec::new();
    let registry = app.engine.registry();
    let enabled = |id: &str| registry.find(id).is_some_and(|one| one.enabled);
    let now = SystemClock.now();
    let moment = |text: &str| {
        let read = parse_instant(text, None);
        read.map_err(|fault| {
            invalid(format!("a session's time looks like 2025-04-17T09:00:00Z, found \"{text}\": {fault}"))
        })
    };
    let mut starts: Vec<&str> =
        sent.session_starts.iter().chain(sent.session_bounds.keys()).map(String::as_str).collect();
    starts.sort_unstable();
    starts.dedup();
    for start in starts {
        let at = moment(start)?.min(now);
        let session = event_id(&format!("session\n{}\n{}\n{}", device.sender, device.id, at.0));
        let mut put = |definition: &str, at: Micros, properties: Value| {
            if enabled(definition) && at.0 >= now.0 - BACK {
                let line = Line {
                    definition,
                    event_id: Some(&event_id(&format!("{definition}\n{session}"))),
                    session_id: Some(&session),
                    person: (device.kind.name(), &device.id, &device.sender),
                    occurred: at,
                    properties: &properties.to_string(),
                };
                line.write(&mut rows);
            }
        };
        let started = json!({"sessionId": session, "sessionStart": at.to_string(), "sessionType": "Mobile"});
        put("sessionStarted", at, started);
        if let Some(end) = sent.session_bounds.get(start) {
            let end = moment(end)?.min(now);
            let seconds = (end.0 - at.0).max(0) / 1_000_000;
            let ended = json!({"sessionId": session, "sessionEnd": end.to_string(), "sessionLength": seconds,
                "sessionType": "Mobile"});
            put("sessionEnded", end.max(at), ended);
        }
    }
    known(&app, &device).await?;
    store(&app, rows, false).await
}

fn coded(code: &str, message: String) -> Fault {
    Fault { errors: Some(Box::new(code.into())), ..Fault::invalid(message) }
}

/// `9` is what apps know as an invalid value.
fn invalid(message: String) -> Fault {
    coded("9", message)
}

/// The registration of a device with an application.
fn device(id: Named, application: &str) -> Result<Contact, Fault> {
    let id = named(id)?;
    if !is_identifier(&id) || !is_identifier(application) {
        return Err(coded("NO_REGISTRATION", "a registration has 1 to 256 characters".to_owned()));
    }
    Ok(Contact { kind: IdentifierType::Push, id, sender: application.to_owned(), primary: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_is_sent_again_has_the_id_that_it_had() {
        assert_eq!(event_id("a"), event_id("a"));
        assert_ne!(event_id("a"), event_id("b"));
        assert!(crate::ids::is_event_id(&event_id("a")));
    }
}
