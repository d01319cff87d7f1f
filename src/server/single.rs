//! One event of one person: `/peopleevents/2/persons/{personId}/definitions/{definitionId}/events`, and its older form.

use axum::body::Body;
use axum::extract::Path;
use axum::extract::State;
use axum::extract::rejection::PathRejection;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::Uri;
use axum::http::header;
use axum::response::Response;
use serde_json::Value;

use crate::engine::Fate;
use crate::engine::IngestBatch;
use crate::engine::IngestOptions;
use crate::engine::Scope;
use crate::engine::StoredEvent;
use crate::ingest::Code;
use crate::person::Identifier;
use crate::person::IdentifierType;
use crate::server::access::Caller;
use crate::server::app::App;
use crate::server::body;
use crate::server::definitions::named;
use crate::server::fault::Cause;
use crate::server::fault::Fault;
use crate::server::params::Params;
use crate::server::rows::Line;
use crate::server::rows::Said;
use crate::server::rows::invalid;
use crate::server::rows::refused;
use crate::server::rows::seven_digits;
use crate::time::Clock;
use crate::time::SystemClock;

/// The most bytes of one event; published for batches only.
pub(crate) const EVENT_BYTES: u64 = 512_000;

type Parts = Result<Path<(String, String)>, PathRejection>;

pub(crate) async fn send(
    State(app): State<App>,
    caller: Caller,
    parts: Parts,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    let (bytes, person, definition) = begin(&app, &caller, parts, &headers, body).await?;
    let params = Params::of(uri.query());
    let said = Said::read(body::text(&bytes)?, &["eventId", "properties"])?;
    let kind = kind(params.get("identifierType").unwrap_or("ID"), "identifierType")?;
    let sender = params.get("sender").unwrap_or_default().to_owned();
    let who = Identifier { kind, id: person, sender };
    store(&app, &definition, &who, &said, params.flag("createPerson")?).await
}

/// The older form: the kind of identifier may stand in the URL or the body, or be seen from the identifier.
pub(crate) async fn send_v1(
    State(app): State<App>,
    caller: Caller,
    parts: Parts,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    let (bytes, person, definition) = begin(&app, &caller, parts, &headers, body).await?;
    let params = Params::of(uri.query());
    let known = ["eventId", "properties", "definitionId", "personIdentifierType"];
    let said = Said::read(body::text(&bytes)?, &known)?;
    if let Some(other) = said.definition_id.as_deref().filter(|id| *id != definition) {
        let message = format!("the body says the definition \"{other}\", the path \"{definition}\"");
        return Err(invalid("definitionId", message));
    }
    let given = params.get("personIdentifierType").or(said.identifier_type.as_deref());
    let kind = match given {
        Some(name) => kind(name, "personIdentifierType")?,
        None if person.contains('@') => IdentifierType::Email,
        None if person.trim_start_matches('+').bytes().all(|byte| byte.is_ascii_digit()) => {
            IdentifierType::Phone
        }
        None => IdentifierType::Push,
    };
    let sender = params.get("sender").unwrap_or_default().to_owned();
    store(&app, &definition, &Identifier { kind, id: person, sender }, &said, false).await
}

/// What both forms check first; the body, the person and the definition.
async fn begin(
    app: &App,
    caller: &Caller,
    parts: Parts,
    headers: &HeaderMap,
    body: Body,
) -> Result<(body::Whole, String, String), Fault> {
    caller.may(&[Scope::Ingest, Scope::Web])?;
    let rate = app.settings.single_rate;
    app.rates.take("single", caller.name(), rate, rate)?;
    let (person, definition) = named(parts)?;
    body::expect_json(headers)?;
    let bytes = body::whole(&app.room, headers, body, EVENT_BYTES.min(app.settings.request_bytes)).await?;
    Ok((bytes, person, definition))
}

fn kind(name: &str, parameter: &str) -> Result<IdentifierType, Fault> {
    name.parse().map_err(|error: crate::error::Error| invalid(parameter, error.message().to_owned()))
}

async fn store(
    app: &App,
    definition: &str,
    who: &Identifier,
    said: &Said<'_>,
    create: bool,
) -> Result<Response, Fault> {
    let registry = app.engine.registry();
    let found = registry.get(definition)?;
    if found.category.is_standard() {
        return Err(Fault::new(
            Cause::Forbidden,
            format!("\"{definition}\" is a standard event; only events of your own may be sent here"),
        ));
    }
    let now = SystemClock.now();
    let mut row = Vec::new();
    let line = Line {
        definition,
        event_id: said.event_id.as_deref(),
        session_id: said.session_id.as_deref(),
        person: (who.kind.name(), &who.id, &who.sender),
        occurred: now,
        properties: said.properties.unwrap_or("null"),
    };
    line.write(&mut row);
    let options =
        IngestOptions { create_persons: create && who.kind.may_create(), ..IngestOptions::default() };
    let report = app.engine.ingest(IngestBatch::lines(row), options).await?;
    app.metrics.ingested("single", &report);
    let fate = report.rows.into_iter().next().map(|row| row.fate);
    match fate {
        Some(Fate::Stored { event_id, .. }) => {
            Ok(created(&event_id, definition, &seven_digits(now), said.properties.unwrap_or("{}")))
        }
        Some(Fate::Duplicate { event_id }) => again(app, &event_id, definition, who).await?.ok_or_else(lost),
        Some(Fate::Refused(refusal)) if refusal.code == Code::EventConflict => {
            // Sent again later, an event has another time: it is the same all the same.
            let event_id = said.event_id.as_deref().unwrap_or_default();
            again(app, event_id, definition, who).await?.ok_or_else(|| {
                Fault::new(
                    Cause::Conflict,
                    format!("the eventId \"{event_id}\" is that of an event of another person or definition"),
                )
            })
        }
        Some(Fate::Refused(refusal)) => Err(refused(&refusal)),
        None => Err(lost()),
    }
}

fn lost() -> Fault {
    Fault::new(Cause::Internal, "the event was taken and is not to be found")
}

/// The event as it was stored the first time, if it is of this person and definition.
async fn again(
    app: &App,
    event_id: &str,
    definition: &str,
    who: &Identifier,
) -> Result<Option<Response>, Fault> {
    let found = app.engine.stored_event(definition, event_id).await?;
    let person = app.engine.match_persons(std::slice::from_ref(who))?.pop().flatten();
    Ok(found.filter(|event| Some(event.person) == person).map(
        |StoredEvent { occurred, properties, .. }| {
            created(event_id, definition, &seven_digits(occurred), &properties)
        },
    ))
}

fn created(event_id: &str, definition: &str, occurred: &str, properties: &str) -> Response {
    let quoted = |text: &str| Value::from(text).to_string();
    let body = format!(
        "{{\"eventId\":{},\"definitionId\":{},\"occurredTime\":\"{occurred}\",\"properties\":{properties},\
         \"metadata\":{{\"source\":\"API\"}}}}",
        quoted(event_id),
        quoted(definition),
    );
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
