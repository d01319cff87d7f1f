//! What happens to every request: it gets an id, is counted and logged, has its time, and its fault becomes a body.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::extract::MatchedPath;
use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderName;
use axum::http::HeaderValue;
use axum::http::Method;
use axum::http::header;
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::response::Response;
use futures::FutureExt;
use tracing::Instrument;

use crate::server::access::Caller;
use crate::server::app::App;
use crate::server::fault::Cause;
use crate::server::fault::Family;
use crate::server::fault::Fault;
use crate::server::metrics::Gauge;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The most characters of an id that a caller brings.
const ID_CHARS: usize = 64;

/// Routes whose time is their own affair.
const STREAMS: [&str; 4] = ["/v1/sql", "/v1/events", "/v1/tail", "/v1/{kind}"];

/// One more while it lives.
pub(crate) struct Counted<'a>(&'a Gauge);

impl<'a> Counted<'a> {
    pub(crate) fn of(gauge: &'a Gauge) -> Self {
        gauge.add(1);
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}

/// Around every route.
pub(crate) async fn watch(State(app): State<App>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let _running = Counted::of(&app.metrics.running);
    let id = request_id(&request);
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = route.as_deref().unwrap_or("none");
    let span = tracing::info_span!("request", id = %id);
    let answer = async {
        // A fault in one request is the end of that request only.
        let answered = AssertUnwindSafe(next.run(request)).catch_unwind();
        if STREAMS.contains(&route) {
            return answered.await;
        }
        let time = app.settings.request_time;
        tokio::time::timeout(time, answered).await.unwrap_or_else(|_| {
            let message = format!("the request took longer than {} s", time.as_secs());
            Ok(Fault::new(Cause::Timeout, message).into_response())
        })
    };
    let answered = answer.instrument(span.clone()).await;
    let _entered = span.enter();
    let response = answered.unwrap_or_else(|_| {
        Fault::new(Cause::Internal, "a fault of the server's own; its log says more").into_response()
    });
    let mut response = finish(response, &path, &id);
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let took = started.elapsed();
    let status = response.status();
    app.metrics.answered(route, method.as_str(), status.as_u16(), took);
    let millis = took.as_secs_f64() * 1000.0;
    let millis = (millis * 10.0).round() / 10.0;
    // Events come by the ten thousand; those that went well are in the counters.
    if status.is_success() && method == Method::POST && route.ends_with("/events") {
        tracing::debug!(%method, path, status = status.as_u16(), millis, "answered");
    } else {
        tracing::info!(%method, path, status = status.as_u16(), millis, "answered");
    }
    response
}

/// The response with the body that its fault has in the family of its path.
fn finish(mut response: Response, path: &str, id: &str) -> Response {
    let Some(fault) = response.extensions_mut().remove::<Fault>() else { return response };
    match fault.cause {
        Cause::Internal => tracing::error!("{fault}"),
        Cause::Unavailable | Cause::Exhausted => tracing::warn!("{fault}"),
        _ => tracing::debug!("{fault}"),
    }
    let mut rendered = fault.render(Family::of(path), id);
    // What others have put on it stays: which pages may read it, which methods there are.
    for (name, value) in response.headers() {
        if !rendered.headers().contains_key(name) && name != header::CONTENT_LENGTH {
            rendered.headers_mut().append(name.clone(), value.clone());
        }
    }
    rendered
}

/// The caller's own id, if it is one that can stand in a log, else a new one.
fn request_id(request: &Request) -> String {
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let fits = |id: &&str| {
        (1..=ID_CHARS).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    given.filter(fits).map_or_else(|| uuid::Uuid::new_v4().simple().to_string(), str::to_owned)
}

/// No such route.
pub(crate) async fn lost(request: Request) -> Fault {
    Fault::not_found(format!("there is nothing at {}", request.uri().path()))
}

/// A route that does not know the method.
pub(crate) async fn wrong_method(request: Request) -> Fault {
    let message = format!("{} does not take {}", request.uri().path(), request.method());
    Fault::new(Cause::Method, message)
}

/// A line for each change: who, what, to what.
pub(crate) fn audit(caller: &Caller, action: &str, object: &str) {
    tracing::info!(target: "milepost::audit", who = caller.name(), action, object, "changed");
}
