//! `/people/2/tags`: which tags there are, and who has them.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;
use serde_json::json;

use crate::engine::PersonOp;
use crate::engine::Scope;
use crate::error::did_you_mean;
use crate::server::access::Caller;
use crate::server::app::App;
use crate::server::body;
use crate::server::definitions::Named;
use crate::server::definitions::named;
use crate::server::fault::Cause;
use crate::server::fault::Fault;
use crate::server::people::identity;
use crate::server::people::many::About;
use crate::server::people::many::answer;
use crate::server::people::many::items;
use crate::server::people::read;
use crate::server::rates::Published;
use crate::server::rows::invalid;
use crate::server::watch::audit;

pub(crate) async fn list(State(app): State<App>, caller: Caller) -> Result<Response, Fault> {
    caller.may(&[Scope::Query])?;
    app.published(Published::PERSONS, &caller)?;
    let tags: Vec<Value> = app.engine.tags()?.into_iter().map(|name| json!({"name": name})).collect();
    Ok(body::json(StatusCode::OK, &json!({"tags": tags})))
}

pub(crate) async fn add(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    app.managed(Published::PERSONS, &caller)?;
    let value = read(&app, &headers, body).await?;
    let name = value.get("name").and_then(Value::as_str);
    let name = name.ok_or_else(|| invalid("name", "a tag needs a name that is a string".to_owned()))?;
    if !app.engine.add_tag(name).await? {
        return Err(Fault::new(Cause::Conflict, format!("there is a tag \"{name}\" already")));
    }
    audit(&caller, "create tag", name);
    Ok(body::json(StatusCode::CREATED, &json!({"name": name})))
}

pub(crate) async fn get(State(app): State<App>, caller: Caller, name: Named) -> Result<Response, Fault> {
    caller.may(&[Scope::Query])?;
    app.published(Published::PERSONS, &caller)?;
    let name = named(name)?;
    let tags = app.engine.tags()?;
    if !tags.contains(&name) {
        let hint = did_you_mean(&name, tags.iter().map(String::as_str));
        return Err(Fault::not_found(format!("there is no tag \"{}\"{hint}", name.escape_debug())));
    }
    Ok(body::json(StatusCode::OK, &json!({"name": name})))
}

pub(crate) async fn remove(State(app): State<App>, caller: Caller, name: Named) -> Result<StatusCode, Fault> {
    app.managed(Published::PERSONS, &caller)?;
    let name = named(name)?;
    app.engine.remove_tag(&name).await?;
    audit(&caller, "remove tag", &name);
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn tag_persons(
    State(app): State<App>,
    caller: Caller,
    name: Named,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    let tag = named(name)?;
    let items = items(&app, &caller, &headers, body, &["persons", "people"]).await?;
    let op = |item: &Value| identity(item).map(|who| PersonOp::Tag { who, tag: tag.clone() });
    let ops = items.iter().map(|item| (About::Query(item.clone()), op(item))).collect();
    answer(&app, &caller, ops).await
}

pub(crate) async fn untag_persons(
    State(app): State<App>,
    caller: Caller,
    name: Named,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    let tag = named(name)?;
    let items = items(&app, &caller, &headers, body, &["persons", "people"]).await?;
    let op = |item: &Value| identity(item).map(|who| PersonOp::Untag { who, tag: tag.clone() });
    let ops = items.iter().map(|item| (About::Query(item.clone()), op(item))).collect();
    answer(&app, &caller, ops).await
}
