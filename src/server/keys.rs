//! `/v1/keys`: make, list and revoke keys, for `milepost key` while the server has the store.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::Uri;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use crate::engine::Scope;
use crate::error::Result as EngineResult;
use crate::server::access::Caller;
use crate::server::app::App;
use crate::server::body;
use crate::server::definitions::Named;
use crate::server::definitions::named;
use crate::server::fault::Fault;
use crate::server::params::Params;
use crate::server::sql;
use crate::server::watch::audit;

/// A key to make.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: String,
    scopes: Vec<String>,
}

pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    caller.may(&[Scope::Manage])?;
    let bytes = body::whole(&app.room, &headers, body, app.settings.request_bytes).await?;
    let wanted: Wanted = serde_json::from_slice(&bytes).map_err(|error| {
        Fault::invalid(format!("the body must be {{\"name\": \"…\", \"scopes\": [\"…\"]}}: {error}"))
    })?;
    let scopes = wanted.scopes.iter().map(|scope| scope.parse()).collect::<EngineResult<Vec<Scope>>>()?;
    let secret = app.engine.create_key(&wanted.name, &scopes)?;
    audit(&caller, "create key", &wanted.name);
    Ok(body::json(StatusCode::CREATED, &json!({"name": wanted.name, "key": secret})))
}

pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    caller.may(&[Scope::Manage])?;
    let params = Params::of(uri.query()).known(&["format"])?;
    let format = sql::format(params.get("format").or(Some("json")), &headers)?;
    sql::whole(format, app.engine.keys()?).await
}

pub(crate) async fn revoke(State(app): State<App>, caller: Caller, name: Named) -> Result<StatusCode, Fault> {
    caller.may(&[Scope::Manage])?;
    let name = named(name)?;
    app.engine.revoke_key(&name)?;
    audit(&caller, "revoke key", &name);
    Ok(StatusCode::NO_CONTENT)
}
