//! `GET /v1/tail`: events as they become safe, as server-sent events, for as long as somebody listens.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::Uri;
use axum::http::header;
use axum::response::Response;
use bytes::Bytes;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use tokio::time::Instant;

use crate::engine::Scope;
use crate::engine::Tailed;
use crate::engine::TailedEvent;
use crate::engine::Watcher;
use crate::server::access::Caller;
use crate::server::app::App;
use crate::server::fault::Fault;
use crate::server::params::Params;

/// How often to see whether the server is about to end.
const LOOK: Duration = Duration::from_millis(500);
/// How often to say that the line is alive.
const ALIVE: Duration = Duration::from_secs(15);
/// What a row says of itself rather than of what happened.
const FRAME: [&str; 9] = [
    "definitionId",
    "eventId",
    "sessionId",
    "personId",
    "externalPersonId",
    "identifier",
    "occurredTime",
    "occuredTime",
    "properties",
];

pub(crate) async fn watch(State(app): State<App>, caller: Caller, uri: Uri) -> Result<Response, Fault> {
    caller.may(&[Scope::Query])?;
    let params = Params::of(uri.query()).known(&["definitionId"])?;
    let wanted: Vec<String> = params
        .all("definitionId")
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|id| !id.is_empty())
        .map(str::to_owned)
        .collect();
    let registry = app.engine.registry();
    for id in &wanted {
        registry.get(id).map_err(|error| Fault { status: None, ..Fault::from(error) })?;
    }
    let watching = Watching { watcher: app.engine.watch(), app, wanted, said: Instant::now() };
    let begun = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b": watching\n\n"))]);
    let events = futures::stream::unfold(watching, |mut watching| async {
        let part = watching.next().await?;
        Some((Ok(part), watching))
    });
    let mut response = Response::new(Body::from_stream(futures::StreamExt::chain(begun, events)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// One who listens.
struct Watching {
    watcher: Watcher,
    app: App,
    /// Definitions; all when there is none.
    wanted: Vec<String>,
    said: Instant,
}

impl Watching {
    /// The next bytes; none when the server is about to end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.app.stopping() {
                return None;
            }
            let told = match tokio::time::timeout(LOOK, self.watcher.next()).await {
                Ok(None) => return None,
                Ok(Some(Tailed::Missed(count))) => Some(missed(count)),
                Ok(Some(Tailed::Event(event))) => shown(&event, &self.wanted),
                Err(_) if self.said.elapsed() >= ALIVE => Some(": alive\n\n".to_owned()),
                Err(_) => None,
            };
            if let Some(told) = told {
                self.said = Instant::now();
                return Some(told.into());
            }
        }
    }
}

fn missed(count: u64) -> String {
    format!("event: missed\ndata: {}\n\n", json!({"missed": count}))
}

/// The event, if it is one that is wanted.
fn shown(event: &TailedEvent, wanted: &[String]) -> Option<String> {
    let row: Map<String, Value> = serde_json::from_slice(&event.row).unwrap_or_default();
    let definition = row.get("definitionId").and_then(Value::as_str);
    if !wanted.is_empty() && !definition.is_some_and(|id| wanted.iter().any(|one| one == id)) {
        return None;
    }
    // Properties may stand among the rest, as in the files of an export.
    let properties = match row.get("properties") {
        Some(properties) => properties.clone(),
        None => {
            let flat = row.iter().filter(|(key, _)| !FRAME.contains(&key.as_str()));
            flat.map(|(key, value)| (key.clone(), value.clone())).collect()
        }
    };
    let told = json!({
        "seq": event.seq,
        "definitionId": definition,
        "eventId": event.event_id,
        "personId": event.person.0,
        "occurredTime": row.get("occurredTime").or_else(|| row.get("occuredTime")),
        "properties": properties,
    });
    Some(format!("id: {}\ndata: {told}\n\n", event.seq))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PersonId;

    fn event(row: &'static str) -> TailedEvent {
        TailedEvent { seq: 7, event_id: "e".to_owned(), person: PersonId(3), row: row.into() }
    }

    #[test]
    fn an_event_is_told_on_one_line_in_one_shape() {
        let nested = event(r#"{"definitionId":"d","occurredTime":"t","properties":{"a":"x\ny"}}"#);
        let told = shown(&nested, &[]).unwrap();
        assert_eq!(told.matches('\n').count(), 3, "{told}");
        assert!(told.starts_with("id: 7\ndata: {\"seq\":7,\"definitionId\":\"d\""), "{told}");
        let flat = event(r#"{"definitionId":"d","occuredTime":"t","a":"x\ny","personId":"3"}"#);
        assert_eq!(shown(&flat, &["d".to_owned()]).unwrap(), told);
        assert_eq!(shown(&flat, &["other".to_owned()]), None);
        assert_eq!(missed(3), "event: missed\ndata: {\"missed\":3}\n\n");
    }
}
