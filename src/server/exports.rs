//! `/peopleevents/1/export`: events into a bucket, as requests that are submitted, told and cancelled; and the task that
//! works on them, on schedules too, while the server runs.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::engine::Scope;
use crate::error::Error;
use crate::error::Kind;
use crate::export::ExportOrder;
use crate::export::ExportRules;
use crate::export::NoProgress;
use crate::server::access::Caller;
use crate::server::app::App;
use crate::server::body;
use crate::server::definitions::Named;
use crate::server::definitions::named;
use crate::server::fault::Fault;
use crate::server::fault::without_paths;
use crate::server::listen::stopped;
use crate::server::rates::Published;
use crate::server::watch::audit;
use crate::time::Micros;

/// An order is a few names and times.
const ORDER_BYTES: u64 = 1 << 20;
/// Schedules and requests that came by statements are seen after so long at most.
const LOOK: Duration = Duration::from_secs(20);

pub(crate) async fn submit(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    caller.may(&[Scope::Export])?;
    app.published(Published::EXPORT, &caller)?;
    body::expect_json(&headers)?;
    let bytes = body::whole(&app.room, &headers, body, ORDER_BYTES.min(app.settings.request_bytes)).await?;
    let order = ExportOrder::from_json(body::text(&bytes)?.as_bytes())?;
    let id = app.engine.exports().submit(order, &ExportRules::published()).map_err(refused)?;
    audit(&caller, "submit export", &id);
    app.due.notify_one();
    Ok(body::json(StatusCode::ACCEPTED, &json!({"requestId": id})))
}

pub(crate) async fn status(State(app): State<App>, caller: Caller, id: Named) -> Result<Response, Fault> {
    caller.may(&[Scope::Export])?;
    app.published(Published::EXPORT, &caller)?;
    let state = app.engine.exports().status(&named(id)?).map_err(refused)?;
    let mut told = json!({"requestId": state.request_id, "status": state.status.as_str()});
    if let Some(message) = state.message {
        // The cause of a failure may name files of this machine; all of it is in `system.exports`.
        told["message"] = without_paths(&message).into();
    }
    Ok(body::json(StatusCode::OK, &told))
}

pub(crate) async fn cancel(State(app): State<App>, caller: Caller, id: Named) -> Result<StatusCode, Fault> {
    caller.may(&[Scope::Export])?;
    app.published(Published::CANCEL, &caller)?;
    let id = named(id)?;
    app.engine.exports().cancel(&id).map_err(refused)?;
    audit(&caller, "cancel export", &id);
    Ok(StatusCode::ACCEPTED)
}

/// The ids that an order may name.
pub(crate) async fn definitions(State(app): State<App>, caller: Caller) -> Result<Response, Fault> {
    caller.may(&[Scope::Export])?;
    app.published(Published::EXPORT, &caller)?;
    let registry = app.engine.registry();
    let mut ids: Vec<&str> = registry.iter().map(|one| one.id.as_str()).collect();
    ids.sort_unstable();
    Ok(body::json(StatusCode::OK, &json!({"definitionIdList": ids})))
}

/// Too much in progress is worth another try in a minute, and flags of the command line are no cure.
fn refused(error: Error) -> Fault {
    let kind = error.kind();
    let fault = Fault::from(error);
    let message = without_flags(&fault.message).to_owned();
    let retry_after = if kind == Kind::TooMany { Some(60) } else { fault.retry_after };
    Fault { retry_after, message, ..fault }
}

fn without_flags(message: &str) -> &str {
    let cures = [", or lift the limit", "; lift the limit", "; milepost export"];
    cures.iter().filter_map(|cure| message.find(cure)).min().map_or(message, |at| &message[..at])
}

/// Works on what is due until told to stop. An attempt that is under way then gets as long as requests do; one that is
/// cut off is taken up again by the next server.
pub(crate) async fn work(app: App, mut stop: watch::Receiver<bool>) {
    if app.engine.config().read_only {
        return;
    }
    loop {
        let mut work = std::pin::pin!(app.engine.exports().run_due(Arc::new(NoProgress)));
        let done = tokio::select! {
            done = work.as_mut() => Some(done),
            () = stopped(&mut stop) => None,
        };
        let next = match done {
            None => {
                if tokio::time::timeout(app.settings.shutdown_time, work).await.is_err() {
                    tracing::warn!("an export is cut off; the next server goes on with it");
                }
                return;
            }
            Some(Ok((attempts, next))) => {
                if attempts > 0 {
                    tracing::info!(attempts, "worked on exports");
                }
                next
            }
            Some(Err(error)) => {
                tracing::warn!("exports could not be worked on: {error}");
                None
            }
        };
        let until = Instant::now() + pause(next, app.engine.now());
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            () = app.due.notified() => {}
            () = stopped(&mut stop) => return,
        }
    }
}

/// How long to wait for what is due then.
fn pause(next: Option<Micros>, now: Micros) -> Duration {
    let wait = next.map_or(LOOK, |at| Duration::from_micros(u64::try_from(at.0 - now.0).unwrap_or(0)));
    // Never in a circle without a breath: what is due now and was not done may be in another's hands.
    wait.clamp(Duration::from_millis(200), LOOK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::fault::Cause;

    #[test]
    fn flags_of_the_command_line_are_no_cure_over_http() {
        let told = "80 hours of export are in progress and at most 72 may be; wait until some are done, or lift the limit \
                    with --unlimited";
        assert!(without_flags(told).ends_with("wait until some are done"));
        assert_eq!(
            without_flags("there is no export \"a\"; milepost export list shows all"),
            "there is no export \"a\""
        );
        assert_eq!(without_flags("plain"), "plain");
        let fault = refused(Error::new(Kind::TooMany, told));
        assert_eq!((fault.cause, fault.status()), (Cause::TooMany, StatusCode::TOO_MANY_REQUESTS));
    }

    #[test]
    fn what_is_due_is_waited_for_and_never_longer_than_a_look() {
        let second = 1_000_000;
        assert_eq!(pause(None, Micros(0)), LOOK);
        assert_eq!(pause(Some(Micros(3 * second)), Micros(0)), Duration::from_secs(3));
        assert_eq!(pause(Some(Micros(300 * second)), Micros(0)), LOOK);
        assert_eq!(pause(Some(Micros(0)), Micros(second)), Duration::from_millis(200));
    }
}
