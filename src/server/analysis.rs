//! `POST /v1/{kind}`: the questions of `analysis` as JSON, such as `/v1/retention` and `/v1/trend`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::Uri;
use axum::response::Response;
use serde_json::Map;
use serde_json::Value;
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::engine::Rows;
use crate::engine::Scope;
use crate::server::access::Caller;
use crate::server::app::App;
use crate::server::body;
use crate::server::definitions::Named;
use crate::server::definitions::named;
use crate::server::fault::Cause;
use crate::server::fault::Fault;
use crate::server::params::Params;
use crate::server::sql;
use crate::server::sql::Asked;

/// Kinds as URLs spell them, with what questions call them.
const KINDS: [(&str, &str); 6] = [
    ("funnel", "funnel"),
    ("retention", "retention"),
    ("trend", "trend"),
    ("path", "paths"),
    ("lifecycle", "lifecycle"),
    ("segment", "segment"),
];

pub(crate) async fn ask(
    State(app): State<App>,
    caller: Caller,
    kind: Named,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    let kind = named(kind)?;
    let Some((_, name)) = KINDS.iter().find(|(known, _)| *known == kind) else {
        return Err(Fault::not_found(format!("there is nothing at {}", uri.path())));
    };
    caller.may(&[Scope::Query])?;
    let params = Params::of(uri.query()).known(&["format"])?;
    let bytes = body::whole(&app.room, &headers, body, app.settings.request_bytes).await?;
    let question: Map<String, Value> = serde_json::from_str(body::text(&bytes)?)
        .map_err(|error| Fault::invalid(format!("the question must be a JSON object: {error}")))?;
    let mut whole = Map::from_iter([("kind".to_owned(), Value::from(*name))]);
    whole.extend(question.into_iter().filter(|(key, _)| key != "kind"));
    let format = sql::format(params.get("format"), &headers)?;
    let deadline = Instant::now() + app.settings.query_time;
    let turn = timeout_at(deadline, Arc::clone(&app.queries).acquire_owned()).await;
    let Ok(Ok(turn)) = turn else { return Err(sql::too_many()) };
    let text = Value::Object(whole).to_string();
    let engine = app.engine.apart();
    let work = async move { engine.analyse_json(&text).await.map(Rows::ahead) };
    let rows = timeout_at(deadline, app.asking.run(work)).await;
    let rows =
        rows.map_err(|_| Fault::new(Cause::Timeout, "the question took too long, so it was stopped"))??;
    // The place is one in our text, not in the caller's.
    let rows = rows.map_err(|error| Fault { place: None, ..sql::of_question(error) })?;
    sql::stream(&app, Asked { format, deadline, turn }, rows).await
}
