//! What the web SDK talks to: events of visitors and of the persons that pages have named. The key stands in the body,
//! because what a browser sends while a page closes has no headers.

mod agent;
mod person;

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::engine::Fate;
use crate::engine::IngestBatch;
use crate::engine::IngestOptions;
use crate::engine::Scope;
use crate::ids::is_event_id;
use crate::ingest::Code;
use crate::ingest::json::Kind;
use crate::ingest::json::Scanner;
use crate::server::access;
use crate::server::access::Caller;
use crate::server::app::App;
use crate::server::body;
use crate::server::fault::Cause;
use crate::server::fault::Fault;
use crate::server::rows::Line;
use crate::server::rows::broken;
use crate::server::web::agent::agent;
use crate::time::Clock;
use crate::time::Micros;
use crate::time::SystemClock;

pub(crate) use person::person;

const SCRIPT: &str = include_str!("sdk/milepost.js");
const TYPES: &str = include_str!("sdk/milepost.d.ts");

/// A page sends few events at a time.
const BODY_BYTES: u64 = 1 << 20;
const EVENTS: usize = 200;
/// How long an event may wait in a browser: 30 days, as in batches.
const BACK: i64 = 30 * 86_400_000_000;
/// Standard events that pages may send.
const STANDARD: [&str; 3] = ["pageView", "sessionStarted", "sessionEnded"];

pub(crate) async fn script() -> Response {
    static_file("text/javascript; charset=utf-8", SCRIPT)
}

pub(crate) async fn types() -> Response {
    static_file("text/plain; charset=utf-8", TYPES)
}

fn static_file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "public, max-age=3600"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (StatusCode::OK, headers, text).into_response()
}

/// What a browser asks before it sends something; the answer is in the headers that `cors` adds.
pub(crate) async fn preflight() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Around everything here: which pages may send, said as browsers want to hear it.
pub(crate) async fn cors(
    State(app): State<App>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let allowed = origin.as_ref().is_none_or(|origin| {
        app.settings.origins.iter().any(|known| known == "*" || known.as_bytes() == origin.as_bytes())
    });
    let mut response = if !allowed {
        let message = "pages of this site may not send events here; see the setting server.origins";
        Fault::new(Cause::Forbidden, message).into_response()
    } else {
        next.run(request).await
    };
    if let Some(origin) = origin.filter(|_| allowed) {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        let named = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, "POST"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, X-Request-Id"),
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Retry-After, X-Request-Id"),
            (header::ACCESS_CONTROL_MAX_AGE, "86400"),
        ];
        for (name, value) in named {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    response
}

/// One event as the SDK sends it.
#[derive(Debug, Default)]
struct Sent<'a> {
    event_id: Cow<'a, str>,
    definition: Cow<'a, str>,
    /// Milliseconds since 1970, by the clock of the browser.
    time: i64,
    session: Option<Cow<'a, str>>,
    visitor: Option<Cow<'a, str>>,
    person: Option<&'a str>,
    properties: &'a str,
}

/// All that a page sends at once.
#[derive(Debug, Default)]
struct Page<'a> {
    key: Option<Cow<'a, str>>,
    sent: Option<i64>,
    events: Vec<Sent<'a>>,
}

pub(crate) async fn events(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    let bytes = body::whole(&app.room, &headers, body, BODY_BYTES.min(app.settings.request_bytes)).await?;
    let page = Page::read(body::text(&bytes)?)?;
    let caller = who(&app, &headers, page.key.as_deref())?;
    caller.may(&[Scope::Web, Scope::Ingest])?;
    let rate = app.settings.single_rate;
    app.rates.take("web", caller.name(), rate, rate)?;
    let now = SystemClock.now();
    // A browser's clock may be years off; how far shows in when it says that it sent this.
    let skew = page.sent.map_or(0, |sent| now.0 - sent.saturating_mul(1000));
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let registry = app.engine.registry();
    let mut verdicts: Vec<Value> = Vec::with_capacity(page.events.len());
    let (mut rows, mut places) = (Vec::new(), Vec::new());
    for (at, event) in page.events.iter().enumerate() {
        let definition = registry.find(&event.definition);
        let refused = match definition {
            None => Some(format!("no event is defined as \"{}\"", event.definition)),
            Some(one) if one.category.is_standard() && !STANDARD.contains(&one.id.as_str()) => {
                Some(format!("\"{}\" is a standard event that pages may not send", one.id))
            }
            Some(one) if !one.enabled => {
                verdicts.push(json!({"verdict": "disabled"}));
                continue;
            }
            Some(_) if !is_event_id(&event.event_id) => Some("an event needs its eventId".to_owned()),
            Some(_) => None,
        };
        let person = if refused.is_none() { Some(person::of(&app, event).await) } else { None };
        let (refused, person) = match (refused, person) {
            (None, Some(Ok(person))) => (None, Some(person)),
            (None, Some(Err(message))) => (Some(message.into_owned()), None),
            (refused, _) => (refused, None),
        };
        let (Some(person), None) = (person, &refused) else {
            verdicts.push(json!({"verdict": "refused", "message": refused}));
            continue;
        };
        let seen = if STANDARD.contains(&&*event.definition) {
            Cow::Owned(with_agent(event, agent)?)
        } else {
            Cow::Borrowed(event.properties)
        };
        let occurred = event.time.saturating_mul(1000).saturating_add(skew).clamp(now.0 - BACK, now.0);
        let line = Line {
            definition: &event.definition,
            event_id: Some(&event.event_id),
            session_id: event.session.as_deref(),
            person: (person.kind.name(), &person.id, &person.sender),
            occurred: Micros(occurred),
            properties: &seen,
        };
        line.write(&mut rows);
        places.push(at);
        verdicts.push(Value::Null);
    }
    if !rows.is_empty() {
        let report = app.engine.ingest(IngestBatch::lines(rows), IngestOptions::default()).await?;
        app.metrics.ingested("web", &report);
        for (row, at) in report.rows.iter().zip(places) {
            verdicts[at] = match &row.fate {
                Fate::Stored { .. } => json!({"verdict": "stored"}),
                Fate::Duplicate { .. } => json!({"verdict": "duplicate"}),
                // Sent twice, it has a slightly different time.
                Fate::Refused(refusal) if refusal.code == Code::EventConflict => {
                    json!({"verdict": "duplicate"})
                }
                Fate::Refused(refusal) => json!({"verdict": "refused", "message": refusal.message}),
            };
        }
    }
    Ok(body::json(StatusCode::OK, &json!({"events": verdicts})))
}

/// The sender: by the key in the body, else as everywhere.
fn who(app: &App, headers: &HeaderMap, key: Option<&str>) -> Result<Caller, Fault> {
    match key.filter(|key| !key.is_empty()) {
        // Where no key is needed, a page of this machine may have any.
        Some(key) => {
            access::holder(app, key).or_else(|fault| access::caller(app, headers).map_err(|_| fault))
        }
        None => access::caller(app, headers),
    }
}

/// The properties with what the browser's header says of it, where the page has not said it itself.
fn with_agent(event: &Sent<'_>, header: &str) -> Result<String, Fault> {
    let mut properties: Map<String, Value> = match serde_json::from_str(event.properties) {
        Ok(Some(map)) => map,
        Ok(None) => Map::new(),
        Err(error) => return Err(Fault::invalid(format!("the properties are no JSON object: {error}"))),
    };
    let agent = agent(header);
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            properties.entry(name).or_insert(value.into());
        }
    };
    put("deviceType", Some(agent.device.to_owned()));
    if event.definition == "pageView" {
        put("browserName", agent.name);
        put("browserVersion", agent.version);
        put("browserOS", agent.os);
    }
    Ok(Value::Object(properties).to_string())
}

impl<'a> Page<'a> {
    fn read(text: &'a str) -> Result<Self, Fault> {
        let mut scanner = Scanner::new(text, false);
        scanner.object().map_err(broken)?;
        let (mut page, mut first) = (Self::default(), true);
        while let Some(key) = scanner.key(&mut first).map_err(broken)? {
            match &*key {
                "key" => page.key = Some(scanner.text().map_err(broken)?),
                "sentTime" => page.sent = scanner.number().map_err(broken)?.to_i64(),
                "events" => {
                    scanner.array().map_err(broken)?;
                    let mut first = true;
                    while scanner.element(&mut first).map_err(broken)? {
                        page.events.push(Sent::read(&mut scanner)?);
                        if page.events.len() > EVENTS {
                            return Err(Fault::invalid(format!("at most {EVENTS} events are sent at once")));
                        }
                    }
                }
                _ => {
                    scanner.skip().map_err(broken)?;
                }
            }
        }
        scanner.end().map_err(broken)?;
        Ok(page)
    }
}

impl<'a> Sent<'a> {
    fn read(scanner: &mut Scanner<'a>) -> Result<Self, Fault> {
        scanner.object().map_err(broken)?;
        let (mut sent, mut first) = (Self { properties: "null", ..Self::default() }, true);
        while let Some(key) = scanner.key(&mut first).map_err(broken)? {
            let kind = scanner.kind().map_err(broken)?;
            match (&*key, kind) {
                (_, Kind::Null) => scanner.null().map_err(broken)?,
                ("eventId", _) => sent.event_id = scanner.text().map_err(broken)?,
                ("definitionId", _) => sent.definition = scanner.text().map_err(broken)?,
                ("sessionId", _) => sent.session = Some(scanner.text().map_err(broken)?),
                ("visitorId", _) => sent.visitor = Some(scanner.text().map_err(broken)?),
                ("time", _) => sent.time = scanner.number().map_err(broken)?.to_i64().unwrap_or_default(),
                ("person", _) => sent.person = Some(scanner.skip().map_err(broken)?),
                ("properties", _) => sent.properties = scanner.skip().map_err(broken)?,
                _ => {
                    scanner.skip().map_err(broken)?;
                }
            }
        }
        Ok(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::person::IdentifierType;

    #[test]
    fn a_page_is_read_and_its_persons_are_known_in_four_ways() {
        let text = r#"{"key":"k","sentTime":1000,"more":[1],"events":[{"eventId":"e","definitionId":"d","time":900,
            "sessionId":"s","visitorId":"v","person":null,"properties":{"n":12345678901234567890}}]}"#;
        let page = Page::read(text).unwrap();
        let event = &page.events[0];
        assert_eq!((page.key.as_deref(), page.sent, event.time), (Some("k"), Some(1000), 900));
        assert_eq!(event.properties, r#"{"n":12345678901234567890}"#, "as it came");
        assert_eq!((event.visitor.as_deref(), event.session.as_deref()), (Some("v"), Some("s")));
        let of = |text: &str| person::matched(&serde_json::from_str(text).unwrap());
        assert_eq!(of(r#"{"email":"a@b.example"}"#).unwrap().kind, IdentifierType::Email);
        assert_eq!(of(r#"{"pushRegId":"r","sender":"app"}"#).unwrap().sender, "app");
        assert!(of("{}").is_err() && of("[]").is_err() && of(r#"{"email":7}"#).is_err());
        for wrong in ["", "[]", "{\"events\":{}}", "{\"events\":[7]}", "{\"key\":7}"] {
            assert!(Page::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_the_page_says_of_its_browser_counts_more_than_the_header() {
        let sent = Sent {
            definition: "pageView".into(),
            properties: r#"{"browserName":"Mine","pageTitle":"T"}"#,
            ..Sent::default()
        };
        let seen =
            with_agent(&sent, "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0")
                .unwrap();
        let seen: Value = serde_json::from_str(&seen).unwrap();
        let expected = json!({"browserName": "Mine", "pageTitle": "T", "deviceType": "desktop",
            "browserVersion": "127.0", "browserOS": "Linux"});
        assert_eq!(seen, expected);
    }
}
