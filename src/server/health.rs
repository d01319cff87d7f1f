//! `/healthz`, `/readyz` and `/metrics`: what machines ask about the server itself.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;

use crate::engine::Scope;
use crate::server::access::Caller;
use crate::server::app::App;
use crate::server::fault::Cause;
use crate::server::fault::Fault;

/// The process answers.
pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

/// The store answers, and the server is not about to end.
pub(crate) async fn ready(State(app): State<App>) -> Result<&'static str, Fault> {
    if app.stopping() {
        return Err(Fault::new(Cause::Unavailable, "the server is stopping"));
    }
    app.engine.info().await?;
    Ok("ready\n")
}

pub(crate) async fn metrics(State(app): State<App>, caller: Caller) -> Result<Response, Fault> {
    caller.may(&[Scope::Query])?;
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    Ok((StatusCode::OK, kind, app.metrics.text()).into_response())
}
