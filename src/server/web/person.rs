//! Whose the events of a page are: each session of a visitor is a person that whoever the page names takes up; and what a
//! page may say of that person.

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use serde_json::json;

use crate::engine::Scope;
use crate::engine::Verdict;
use crate::person::Contact;
use crate::person::FaultCode;
use crate::person::Identifier;
use crate::person::IdentifierType;
use crate::person::PersonWrite;
use crate::server::app::App;
use crate::server::body;
use crate::server::fault::Cause;
use crate::server::fault::Fault;
use crate::server::web::BODY_BYTES;
use crate::server::web::Sent;
use crate::server::web::who;

/// The session of events that have none.
const NO_SESSION: &str = "none";
/// Who writes, as profiles say it.
const ORIGIN: &str = "WEB_SDK";

/// Who did it: the session of the visitor, which is the person's whom the page has named.
pub(super) async fn of(app: &App, event: &Sent<'_>) -> Result<Identifier, Cow<'static, str>> {
    let named = event.person.map(|text| {
        let value: Value = serde_json::from_str(text).map_err(|error| Cow::Owned(error.to_string()))?;
        matched(&value).map_err(Cow::Owned)
    });
    let named = named.transpose()?;
    let Some(visitor) = event.visitor.as_deref().filter(|id| !id.is_empty()) else {
        return named.ok_or(Cow::Borrowed("an event needs its visitorId or its person"));
    };
    let session = event.session.as_deref().filter(|id| !id.is_empty()).unwrap_or(NO_SESSION);
    session_of(app, visitor, session, named.as_ref()).await.map_err(|fault| Cow::Owned(fault.message))
}

async fn session_of(
    app: &App,
    visitor: &str,
    session: &str,
    named: Option<&Identifier>,
) -> Result<Identifier, Fault> {
    let own = app.engine.visit(visitor, session).await?;
    let own = Identifier { kind: IdentifierType::Id, id: own.to_string(), sender: String::new() };
    if let Some(named) = named {
        let found = app.engine.match_persons(&[own.clone(), named.clone()])?;
        // Said again with each event; done once.
        if found[0] != found[1] || found[1].is_none() {
            done(app.engine.set_person(visitor, session, write(named)).await?)?;
        }
    }
    Ok(own)
}

/// A write that says nothing but who it is about.
fn write(named: &Identifier) -> PersonWrite {
    if named.kind == IdentifierType::ExternalId {
        return PersonWrite { external_id: Some(Some(named.id.clone())), ..PersonWrite::default() };
    }
    let contact =
        Contact { kind: named.kind, id: named.id.clone(), sender: named.sender.clone(), primary: false };
    PersonWrite { contacts: Some(vec![contact]), ..PersonWrite::default() }
}

/// `{"email": …}`, `{"phone": …}`, `{"externalId": …}` or `{"pushRegId": …}`.
pub(super) fn matched(value: &Value) -> Result<Identifier, String> {
    const KINDS: [(&str, IdentifierType); 4] = [
        ("email", IdentifierType::Email),
        ("phone", IdentifierType::Phone),
        ("externalId", IdentifierType::ExternalId),
        ("pushRegId", IdentifierType::Push),
    ];
    let wrong = || "a person is one of email, phone, externalId and pushRegId, with a string".to_owned();
    let object = value.as_object().ok_or_else(wrong)?;
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    let (kind, id) =
        KINDS.into_iter().find_map(|(name, kind)| Some((kind, text(name)?))).ok_or_else(wrong)?;
    Ok(Identifier { kind, id: id.to_owned(), sender: text("sender").unwrap_or_default().to_owned() })
}

/// What a page says of the person that it has named.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    key: Option<String>,
    visitor_id: String,
    session_id: String,
    person: Value,
    #[serde(default)]
    update: Option<Value>,
    #[serde(default)]
    append: Option<Append>,
}

#[derive(Debug, Deserialize)]
struct Append {
    name: String,
    items: Vec<Value>,
}

/// Names the person, and changes it when it is a lead.
pub(crate) async fn person(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    let bytes = body::whole(&app.room, &headers, body, BODY_BYTES.min(app.settings.request_bytes)).await?;
    let said: Said = serde_json::from_str(body::text(&bytes)?)
        .map_err(|error| Fault::invalid(format!("the body must say whom it is about: {error}")))?;
    let caller = who(&app, &headers, said.key.as_deref())?;
    caller.may(&[Scope::Web, Scope::Ingest])?;
    let rate = app.settings.single_rate;
    app.rates.take("web", caller.name(), rate, rate)?;
    let named = matched(&said.person).map_err(Fault::invalid)?;
    let own = session_of(&app, &said.visitor_id, &said.session_id, Some(&named)).await?;
    let mut status = "NOT_MODIFIED";
    if let Some(update) = &said.update {
        let write = PersonWrite::from_json(update).map_err(|faults| {
            Fault::invalid(faults.first().map(|one| one.message.clone()).unwrap_or_default())
        })?;
        status = done(app.engine.update_lead(own.clone(), write, ORIGIN).await?)?;
    }
    if let Some(Append { name, items }) = said.append {
        status = done(app.engine.append_to_lead(own, &name, items, ORIGIN).await?)?;
    }
    Ok(body::json(StatusCode::OK, &json!({"status": status})))
}

fn done(verdict: Verdict) -> Result<&'static str, Fault> {
    match verdict {
        Verdict::Refused(faults) => {
            let first = faults.first();
            let message = first.map(|one| one.message.clone()).unwrap_or_default();
            let cause = match first.map(|one| one.code) {
                Some(FaultCode::Taken) => Cause::Conflict,
                Some(FaultCode::NotFound) => Cause::NotFound,
                _ => Cause::Invalid,
            };
            Err(Fault::new(cause, message))
        }
        verdict => Ok(verdict.name()),
    }
}
