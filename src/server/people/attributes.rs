//! `/people/2/customAttributes`: which attributes users have added to persons, and lists that grow by items.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::Uri;
use axum::response::Response;
use serde_json::Value;
use serde_json::json;

use crate::engine::PersonForm;
use crate::engine::Scope;
use crate::engine::Verdict;
use crate::person::CustomAttribute;
use crate::server::access::Caller;
use crate::server::app::App;
use crate::server::body;
use crate::server::definitions::Named;
use crate::server::definitions::named;
use crate::server::fault::Cause;
use crate::server::fault::Fault;
use crate::server::params::Params;
use crate::server::people::ORIGIN;
use crate::server::people::asked;
use crate::server::people::faulty;
use crate::server::people::read;
use crate::server::rates::Published;
use crate::server::watch::audit;

pub(crate) async fn list(State(app): State<App>, caller: Caller) -> Result<Response, Fault> {
    caller.may(&[Scope::Query])?;
    app.published(Published::PERSONS, &caller)?;
    let all = app.engine.custom_attributes();
    let all: Vec<Value> = all.iter().map(shown).collect();
    Ok(body::json(StatusCode::OK, &json!({"customAttributes": all})))
}

pub(crate) async fn get(State(app): State<App>, caller: Caller, name: Named) -> Result<Response, Fault> {
    caller.may(&[Scope::Query])?;
    app.published(Published::PERSONS, &caller)?;
    let name = named(name)?;
    let all = app.engine.custom_attributes();
    let found = all.get(&name);
    let found = found.ok_or_else(|| {
        Fault::not_found(format!("there is no custom attribute \"{}\"", name.escape_debug()))
    })?;
    Ok(body::json(StatusCode::OK, &shown(found)))
}

pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    app.managed(Published::PERSONS, &caller)?;
    let value = read(&app, &headers, body).await?;
    let said: CustomAttribute = serde_json::from_value(value)
        .map_err(|error| Fault::invalid(format!("the body must be {{\"name\", \"dataType\"}}: {error}")))?;
    let attribute = CustomAttribute::new(&said.name, said.data_type, said.object_schema)?;
    if app.engine.custom_attributes().get(&attribute.name).is_some() {
        let message = format!("there is a custom attribute \"{}\" already", attribute.name);
        return Err(Fault::new(Cause::Conflict, message));
    }
    app.engine.add_custom_attribute(attribute.clone()).await?;
    audit(&caller, "create attribute", &attribute.name);
    Ok(body::json(StatusCode::CREATED, &shown(&attribute)))
}

pub(crate) async fn remove(State(app): State<App>, caller: Caller, name: Named) -> Result<StatusCode, Fault> {
    app.managed(Published::PERSONS, &caller)?;
    let name = named(name)?;
    app.engine.remove_custom_attribute(&name).await?;
    audit(&caller, "remove attribute", &name);
    Ok(StatusCode::NO_CONTENT)
}

/// Adds an object or several to a list of the person that the URL names.
pub(crate) async fn append(
    State(app): State<App>,
    caller: Caller,
    name: Named,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    app.managed(Published::PERSONS, &caller)?;
    let name = named(name)?;
    let who = asked(&Params::of(uri.query()))?;
    let items = match read(&app, &headers, body).await? {
        Value::Array(items) => items,
        Value::Object(fields) => vec![Value::Object(fields)],
        other => {
            return Err(Fault::invalid(format!(
                "the body must be an object or an array of them, found {other}"
            )));
        }
    };
    match app.engine.append_to_list(who, &name, items, ORIGIN).await? {
        Verdict::Refused(faults) => Err(faulty(&faults)),
        verdict => {
            let ids: Vec<_> = verdict.person().into_iter().collect();
            let told = app.engine.people_json(&ids, PersonForm::ByChannel).await?;
            Ok(body::json(StatusCode::OK, told.first().unwrap_or(&Value::Null)))
        }
    }
}

fn shown(attribute: &CustomAttribute) -> Value {
    let mut told = json!({"name": attribute.name, "dataType": attribute.data_type.name()});
    if !attribute.object_schema.is_empty() {
        let fields = attribute.object_schema.iter();
        told["objectSchema"] = fields.map(|(name, kind)| (name.clone(), Value::from(kind.name()))).collect();
    }
    told
}
