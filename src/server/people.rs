//! `/people/2/persons` and its kin: one person at a time, lists of them, and what belongs to them all.

mod attributes;
mod many;
mod tags;
mod upsert;

pub(crate) use attributes::append;
pub(crate) use attributes::create as create_attribute;
pub(crate) use attributes::get as get_attribute;
pub(crate) use attributes::list as list_attributes;
pub(crate) use attributes::remove as remove_attribute;
pub(crate) use many::create_many;
pub(crate) use many::match_many;
pub(crate) use many::remove_many;
pub(crate) use many::update_many;
pub(crate) use tags::add as add_tag;
pub(crate) use tags::get as get_tag;
pub(crate) use tags::list as list_tags;
pub(crate) use tags::remove as remove_tag;
pub(crate) use tags::tag_persons;
pub(crate) use tags::untag_persons;
pub(crate) use upsert::merge;
pub(crate) use upsert::upsert_patch;
pub(crate) use upsert::upsert_put;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::Uri;
use axum::response::Response;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::engine::PersonForm;
use crate::engine::PersonOp;
use crate::engine::PersonsPage;
use crate::engine::Scope;
use crate::engine::Verdict;
use crate::person::Contact;
use crate::person::Fault as PersonFault;
use crate::person::FaultCode;
use crate::person::Identifier;
use crate::person::IdentifierType;
use crate::person::Mode;
use crate::person::PersonWrite;
use crate::person::contacts;
use crate::server::access::Caller;
use crate::server::app::App;
use crate::server::body;
use crate::server::fault::Cause;
use crate::server::fault::Fault;
use crate::server::params::Params;
use crate::server::rates::Published;
use crate::server::rows::invalid;
use crate::server::watch::audit;

/// Who writes, as profiles say it.
const ORIGIN: &str = "API";
const LISTED: usize = 20;
const LISTED_MOST: usize = 1000;

/// One person, or a page of all.
pub(crate) async fn get(State(app): State<App>, caller: Caller, uri: Uri) -> Result<Response, Fault> {
    caller.may(&[Scope::Query])?;
    app.published(Published::PERSONS, &caller)?;
    let params = Params::of(uri.query());
    if params.get("identifier").is_some() {
        let who = asked(&params)?;
        let found = app.engine.find_person(&who)?.ok_or_else(|| nobody(&who))?;
        let told = app.engine.people_json(&[found.id], PersonForm::ByChannel).await?;
        return Ok(body::json(StatusCode::OK, told.first().unwrap_or(&Value::Null)));
    }
    let limit = params.number("limit")?.unwrap_or(LISTED);
    let page = params.number("page")?.unwrap_or(1);
    if !(1..=LISTED_MOST).contains(&limit) {
        return Err(invalid("limit", format!("\"limit\" must be 1 to {LISTED_MOST}, found {limit}")));
    }
    if page == 0 {
        return Err(invalid("page", "pages count from 1".to_owned()));
    }
    let filter = params.get("filter").map(|text| {
        serde_json::from_str(text)
            .map_err(|error| invalid("filter", format!("the filter is no JSON: {error}")))
    });
    let wanted = PersonsPage {
        filter: filter.transpose()?,
        order: params.get("orderBy").map(order).transpose()?,
        skip: limit.saturating_mul(page - 1),
        take: limit,
        count: params.flag("includeTotalCount")?,
    };
    let listed = app.engine.list_persons(&wanted).await;
    let (ids, total) = listed.map_err(|error| match Fault::from(error) {
        fault if fault.cause == Cause::NotFound => Fault { cause: Cause::Invalid, ..fault }.of("filter"),
        fault => fault,
    })?;
    let persons = app.engine.people_json(&ids, PersonForm::ByChannel).await?;
    let mut told = json!({"limit": limit, "page": page});
    if let Some(by) = params.get("orderBy") {
        told["orderBy"] = by.into();
    }
    if let Some(total) = total {
        told["totalCount"] = total.into();
    }
    told["persons"] = persons.into();
    Ok(body::json(StatusCode::OK, &told))
}

/// `lastName`, `createdAt desc`, `createdAt:DESC`.
fn order(text: &str) -> Result<(String, bool), Fault> {
    let (key, direction) = text.split_once([' ', ',', ':']).unwrap_or((text, "asc"));
    let column = match key {
        "firstName" | "lastName" => key,
        "createdAt" => "createdTime",
        "modifiedAt" => "modifiedTime",
        other => {
            let known = "firstName, lastName, createdAt, modifiedAt";
            let message = format!("\"orderBy\" must be one of {known}, found \"{}\"", other.escape_debug());
            return Err(invalid("orderBy", message));
        }
    };
    match direction.trim().to_ascii_lowercase().as_str() {
        "asc" => Ok((column.to_owned(), false)),
        "desc" => Ok((column.to_owned(), true)),
        other => {
            Err(invalid("orderBy", format!("an order is asc or desc, found \"{}\"", other.escape_debug())))
        }
    }
}

pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    app.managed(Published::NEW_PERSON, &caller)?;
    let write = person(&read(&app, &headers, body).await?)?;
    one(&app, &caller, PersonOp::Create(write)).await
}

pub(crate) async fn replace(
    State(app): State<App>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    write(&app, &caller, &uri, &headers, body, Mode::Replace).await
}

pub(crate) async fn update(
    State(app): State<App>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    write(&app, &caller, &uri, &headers, body, Mode::Update).await
}

async fn write(
    app: &App,
    caller: &Caller,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
    mode: Mode,
) -> Result<Response, Fault> {
    app.managed(Published::PERSONS, caller)?;
    let who = asked(&Params::of(uri.query()))?;
    let write = person(&read(app, headers, body).await?)?;
    one(app, caller, PersonOp::Write { who, write, mode }).await
}

pub(crate) async fn remove(State(app): State<App>, caller: Caller, uri: Uri) -> Result<StatusCode, Fault> {
    app.managed(Published::PERSONS, &caller)?;
    let who = asked(&Params::of(uri.query()))?;
    done(&app, &caller, PersonOp::Delete { who }).await.map(|_| StatusCode::NO_CONTENT)
}

pub(crate) async fn replace_contacts(
    State(app): State<App>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    let (who, contacts) = contact(&app, &caller, &uri, &headers, body).await?;
    one(&app, &caller, PersonOp::ReplaceContacts { who, contacts }).await
}

pub(crate) async fn add_contacts(
    State(app): State<App>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    let (who, contacts) = contact(&app, &caller, &uri, &headers, body).await?;
    one(&app, &caller, PersonOp::AddContacts { who, contacts }).await
}

pub(crate) async fn remove_contacts(
    State(app): State<App>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    let (who, contacts) = contact(&app, &caller, &uri, &headers, body).await?;
    one(&app, &caller, PersonOp::RemoveContacts { who, contacts }).await
}

/// Whose contacts, and which: `{"email": […], "phone": […]}`, also within `contactInformation`.
async fn contact(
    app: &App,
    caller: &Caller,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Identifier, Vec<Contact>), Fault> {
    app.managed(Published::PERSONS, caller)?;
    let who = asked(&Params::of(uri.query()))?;
    let given = read(app, headers, body).await?;
    let given = given.get("contactInformation").unwrap_or(&given);
    let found = contacts(given).map_err(|faults| faulty(&faults))?.unwrap_or_default();
    if let Some(other) =
        found.iter().find(|one| !matches!(one.kind, IdentifierType::Email | IdentifierType::Phone))
    {
        return Err(invalid(
            "contactInformation",
            format!("emails and phones are written here, found {}", other.kind),
        ));
    }
    Ok((who, found))
}

/// Does one write and answers the person.
async fn one(app: &App, caller: &Caller, op: PersonOp) -> Result<Response, Fault> {
    let verdict = done(app, caller, op).await?;
    let ids: Vec<_> = verdict.person().into_iter().collect();
    let told = app.engine.people_json(&ids, PersonForm::ByChannel).await?;
    Ok(body::json(StatusCode::OK, told.first().unwrap_or(&Value::Null)))
}

async fn done(app: &App, caller: &Caller, op: PersonOp) -> Result<Verdict, Fault> {
    let verdict = app.engine.write_people(vec![op], ORIGIN).await?.into_iter().next();
    match verdict {
        Some(Verdict::Refused(faults)) => Err(faulty(&faults)),
        Some(verdict) => {
            let person = verdict.person().map(|id| id.to_string()).unwrap_or_default();
            audit(caller, verdict.name(), &format!("person {person}"));
            Ok(verdict)
        }
        None => Err(Fault::new(Cause::Internal, "a write has no verdict")),
    }
}

/// A body of JSON.
async fn read(app: &App, headers: &HeaderMap, body: Body) -> Result<Value, Fault> {
    body::expect_json(headers)?;
    let bytes = body::whole(&app.room, headers, body, app.settings.request_bytes).await?;
    serde_json::from_str(body::text(&bytes)?)
        .map_err(|error| Fault::invalid(format!("the body is not JSON: {error}")))
}

fn person(value: &Value) -> Result<PersonWrite, Fault> {
    PersonWrite::from_json(value).map_err(|faults| faulty(&faults))
}

/// The person that the URL names.
fn asked(params: &Params) -> Result<Identifier, Fault> {
    let id = params.get("identifier");
    let id = id.ok_or_else(|| {
        invalid("identifier", "the parameter \"identifier\" says whom it is about".to_owned())
    })?;
    identifier(id, params.get("type").unwrap_or("ID"), params.get("sender").unwrap_or_default())
}

fn identifier(id: &str, kind: &str, sender: &str) -> Result<Identifier, Fault> {
    let kind: IdentifierType =
        kind.parse().map_err(|error: crate::error::Error| invalid("type", error.message().to_owned()))?;
    if kind.needs_sender() && sender.is_empty() {
        return Err(invalid("sender", format!("an identifier of the type {kind} needs its sender")));
    }
    Ok(Identifier { kind, id: id.to_owned(), sender: sender.to_owned() })
}

/// The same in JSON: `{"identifier", "type", "sender"}`.
fn identity(value: &Value) -> Result<Identifier, Fault> {
    let text = |name: &str| match value.get(name) {
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        // Ids of persons are numbers in answers.
        Some(Value::Number(_)) | None | Some(Value::Null) => Ok(None),
        Some(other) => Err(invalid(name, format!("\"{name}\" is a string, found {other}"))),
    };
    let number = value.get("identifier").and_then(Value::as_i64).map(|id| id.to_string());
    let id = match (text("identifier")?, &number) {
        (Some(id), _) => id,
        (None, Some(id)) => id,
        (None, None) => return Err(invalid("identifier", "\"identifier\" is missing".to_owned())),
    };
    identifier(id, text("type")?.unwrap_or("ID"), text("sender")?.unwrap_or_default())
}

fn nobody(who: &Identifier) -> Fault {
    Fault::not_found(format!("nobody is known by the {} \"{}\"", who.kind, who.id.escape_debug()))
}

/// What is wrong with one person.
fn faulty(faults: &[PersonFault]) -> Fault {
    let cause = faults.first().map_or(Cause::Internal, |fault| match fault.code {
        FaultCode::Invalid | FaultCode::Missing => Cause::Invalid,
        FaultCode::Taken => Cause::Conflict,
        FaultCode::NotFound => Cause::NotFound,
    });
    let message = faults.first().map_or("refused", |fault| fault.message.as_str());
    let mut errors = Map::new();
    for fault in faults {
        let told = errors.entry(&fault.property).or_insert_with(|| json!([]));
        if let Value::Array(told) = told {
            told.push(fault.message.clone().into());
        }
    }
    Fault { errors: Some(Box::new(errors.into())), ..Fault::new(cause, message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_named_in_the_url_or_in_json() {
        let url = asked(&Params::of(Some("identifier=a%40b.example&type=EMAIL"))).unwrap();
        assert_eq!(url, identity(&json!({"identifier": "a@b.example", "type": "EMAIL"})).unwrap());
        assert_eq!(identity(&json!({"identifier": 7})).unwrap().kind, IdentifierType::Id);
        assert!(asked(&Params::of(Some("identifier=r&type=PUSH"))).unwrap_err().message.contains("sender"));
        for wrong in
            [json!({}), json!({"identifier": []}), json!({"identifier": "a", "type": "FAX"}), json!(7)]
        {
            assert!(identity(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn orders_are_read_in_all_their_spellings() {
        for text in ["createdAt desc", "createdAt:DESC", "createdAt,desc"] {
            assert_eq!(order(text).unwrap(), ("createdTime".to_owned(), true), "{text}");
        }
        assert_eq!(order("lastName").unwrap(), ("lastName".to_owned(), false));
        assert!(order("city").is_err() && order("lastName up").is_err());
    }

    #[test]
    fn the_first_fault_of_a_person_decides_the_status() {
        let fault = |code| PersonFault { code, property: "externalId".to_owned(), message: "m".to_owned() };
        assert_eq!(faulty(&[fault(FaultCode::Taken)]).cause, Cause::Conflict);
        assert_eq!(faulty(&[fault(FaultCode::NotFound)]).cause, Cause::NotFound);
        let told = faulty(&[fault(FaultCode::Invalid), fault(FaultCode::Missing)]);
        assert_eq!(*told.errors.unwrap(), json!({"externalId": ["m", "m"]}));
    }
}
