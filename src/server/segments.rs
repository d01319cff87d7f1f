//! `/people/3/segments`: segments made, changed and dropped in the published form, and who is in them.

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
use crate::engine::SegmentInfo;
use crate::error::Error;
use crate::error::did_you_mean;
use crate::server::access::Caller;
use crate::server::app::App;
use crate::server::body;
use crate::server::definitions::Named;
use crate::server::definitions::named;
use crate::server::fault::Cause;
use crate::server::fault::Fault;
use crate::server::params::Params;
use crate::server::rates::Published;
use crate::server::watch::audit;
use crate::time::Micros;

const SIZE: usize = 20;
const SIZE_MOST: usize = 1000;
/// What a body may say; the last three are repeated from an answer.
const KEYS: [&str; 7] = ["name", "description", "query", "events", "id", "createdAt", "modifiedAt"];

pub(crate) async fn list(State(app): State<App>, caller: Caller, uri: Uri) -> Result<Response, Fault> {
    caller.may(&[Scope::Query])?;
    app.published(Published::SEGMENTS, &caller)?;
    let params = Params::of(uri.query());
    let page = Page::of(&params)?;
    let mut all = app.engine.segments()?;
    let (key, down) = order(params.get("sort").unwrap_or("name"))?;
    match key {
        "id" => all.sort_by_key(|one| one.id),
        "createdAt" => all.sort_by_key(|one| (one.created, one.id)),
        "modifiedAt" => all.sort_by_key(|one| (one.modified, one.id)),
        _ => all.sort_by(|one, other| one.name.cmp(&other.name)),
    }
    if down {
        all.reverse();
    }
    let total = all.len();
    let shown = all.iter().skip(page.start()).take(page.size).map(shown).collect();
    Ok(body::json(StatusCode::OK, &page.envelope(shown, total)))
}

pub(crate) async fn get(State(app): State<App>, caller: Caller, id: Named) -> Result<Response, Fault> {
    caller.may(&[Scope::Query])?;
    app.published(Published::SEGMENT, &caller)?;
    let segment = app.engine.segment_of_id(number(id)?)?;
    Ok(body::json(StatusCode::OK, &shown(&segment)))
}

pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    app.managed(Published::SEGMENTS, &caller)?;
    let (text, name) = read(&app, &headers, body).await?;
    let _changing = app.changing.lock().await;
    app.engine.create_segment_json(&text, false).await.map_err(refused)?;
    audit(&caller, "create segment", &name);
    Ok(body::json(StatusCode::CREATED, &shown(&app.engine.segment_of_name(&name)?)))
}

pub(crate) async fn replace(
    State(app): State<App>,
    caller: Caller,
    id: Named,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    app.managed(Published::SEGMENTS, &caller)?;
    let id = number(id)?;
    let (text, name) = read(&app, &headers, body).await?;
    let _changing = app.changing.lock().await;
    app.engine.segment_of_id(id)?;
    app.engine.replace_segment_json(id, &text).await.map_err(refused)?;
    audit(&caller, "replace segment", &name);
    Ok(body::json(StatusCode::OK, &shown(&app.engine.segment_of_id(id)?)))
}

pub(crate) async fn remove(State(app): State<App>, caller: Caller, id: Named) -> Result<StatusCode, Fault> {
    app.managed(Published::SEGMENTS, &caller)?;
    let segment = app.engine.segment_of_id(number(id)?)?;
    let _changing = app.changing.lock().await;
    app.engine.remove_segment(&segment.name).map_err(in_use)?;
    audit(&caller, "drop segment", &segment.name);
    Ok(StatusCode::NO_CONTENT)
}

/// Who is in it now, in the order of their ids.
pub(crate) async fn persons(
    State(app): State<App>,
    caller: Caller,
    id: Named,
    uri: Uri,
) -> Result<Response, Fault> {
    caller.may(&[Scope::Query])?;
    app.published(Published::SEGMENTS, &caller)?;
    let page = Page::of(&Params::of(uri.query()))?;
    let segment = app.engine.segment_of_id(number(id)?)?;
    let (ids, total) = app.engine.persons_of_segment(&segment.name, page.start(), page.size).await?;
    let persons = app.engine.people_json(&ids, PersonForm::Flat).await?;
    Ok(body::json(StatusCode::OK, &page.envelope(persons, total)))
}

/// A body whose form is right, and the name in it.
async fn read(app: &App, headers: &HeaderMap, body: Body) -> Result<(String, String), Fault> {
    body::expect_json(headers)?;
    let bytes = body::whole(&app.room, headers, body, app.settings.request_bytes).await?;
    let text = body::text(&bytes)?;
    let value: Value = serde_json::from_str(text)
        .map_err(|error| Fault::invalid(format!("the body must be a segment in JSON: {error}")))?;
    let name = check(&value)?;
    Ok((text.to_owned(), name))
}

fn check(value: &Value) -> Result<String, Fault> {
    let Value::Object(fields) = value else {
        return Err(Fault::invalid("the body must be an object with a name and a query, events or both"));
    };
    if let Some(unknown) = fields.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let hint = did_you_mean(unknown, KEYS);
        return Err(Fault::invalid(format!("a segment has no \"{unknown}\"{hint}")).of(unknown));
    }
    match fields.get("name") {
        Some(Value::String(name)) if !name.trim().is_empty() => Ok(name.clone()),
        _ => Err(Fault::invalid("a segment needs a name that is a string").of("name")),
    }
}

/// What is wrong with a segment is wrong with the request, whatever it names.
fn refused(error: Error) -> Fault {
    let fault = Fault::from(error);
    match fault.cause {
        Cause::Conflict => Fault { cause: Cause::Invalid, ..fault }.of("name"),
        Cause::NotFound => Fault { cause: Cause::Invalid, ..fault },
        _ => fault,
    }
}

fn in_use(error: Error) -> Fault {
    let fault = Fault::from(error);
    if fault.cause == Cause::Conflict { Fault { cause: Cause::Invalid, ..fault } } else { fault }
}

fn number(id: Named) -> Result<i64, Fault> {
    let id = named(id)?;
    id.parse().map_err(|_| {
        Fault::invalid(format!("the id of a segment is a number, found \"{}\"", id.escape_debug()))
            .of("segmentId")
    })
}

/// `name`, `name,DESC`.
fn order(sort: &str) -> Result<(&str, bool), Fault> {
    let (key, direction) = sort.split_once(',').unwrap_or((sort, "ASC"));
    let known = ["id", "name", "createdAt", "modifiedAt"];
    if !known.contains(&key) {
        let message =
            format!("\"sort\" must be one of {}, found \"{}\"", known.join(", "), key.escape_debug());
        return Err(Fault::invalid(message).of("sort"));
    }
    match direction.to_ascii_uppercase().as_str() {
        "ASC" => Ok((key, false)),
        "DESC" => Ok((key, true)),
        _ => Err(Fault::invalid(format!("an order is ASC or DESC, found \"{}\"", direction.escape_debug()))
            .of("sort")),
    }
}

fn shown(segment: &SegmentInfo) -> Value {
    let mut told = json!({
        "id": segment.id,
        "name": segment.name,
        "description": segment.description,
        "query": Value::Null,
        "events": [],
        "createdAt": seconds(segment.created),
        "modifiedAt": seconds(segment.modified),
    });
    match serde_json::from_str::<Value>(&segment.said) {
        Ok(Value::Object(said)) => {
            for key in ["query", "events"] {
                if let Some(value) = said.get(key).filter(|value| !value.is_null()) {
                    told[key] = value.clone();
                }
            }
        }
        // Made by a statement, which says more than the published form can.
        _ => told["statement"] = segment.said.clone().into(),
    }
    told
}

/// `yyyy-MM-dd'T'HH:mm:ss`, as persons have it.
fn seconds(at: Micros) -> String {
    at.iso_millis().to_string().chars().take(19).collect()
}

/// Pages that count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Page {
    page: usize,
    size: usize,
}

impl Page {
    fn of(params: &Params) -> Result<Self, Fault> {
        let size = params.number("size")?.unwrap_or(SIZE);
        if !(1..=SIZE_MOST).contains(&size) {
            let message = format!("\"size\" must be 1 to {SIZE_MOST}, found {size}");
            return Err(Fault::invalid(message).of("size"));
        }
        Ok(Self { page: params.number("page")?.unwrap_or(0), size })
    }

    fn start(self) -> usize {
        self.page.saturating_mul(self.size)
    }

    fn envelope(self, results: Vec<Value>, total: usize) -> Value {
        let pages = total.div_ceil(self.size);
        let paging =
            json!({"page": self.page, "size": self.size, "totalPages": pages, "totalResults": total});
        json!({"results": results, "paging": paging})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_count_from_zero_and_orders_are_read() {
        let page = Page::of(&Params::of(Some("page=2&size=10"))).unwrap();
        assert_eq!(
            (page.start(), page.envelope(Vec::new(), 21)["paging"]["totalPages"].clone()),
            (20, json!(3))
        );
        assert_eq!(Page::of(&Params::of(None)).unwrap(), Page { page: 0, size: SIZE });
        for wrong in ["size=0", "size=1001", "page=-1", "page=x"] {
            assert!(Page::of(&Params::of(Some(wrong))).is_err(), "{wrong}");
        }
        assert_eq!(order("name,DESC").unwrap(), ("name", true));
        assert_eq!(order("id").unwrap(), ("id", false));
        assert!(order("name,UP").is_err() && order("size").is_err());
    }

    #[test]
    fn a_body_needs_a_name_and_nothing_unknown() {
        assert_eq!(check(&json!({"name": "a", "query": {}})).unwrap(), "a");
        for wrong in [
            json!([]),
            json!({}),
            json!({"name": 7}),
            json!({"name": " "}),
            json!({"name": "a", "event": []}),
        ] {
            assert!(check(&wrong).is_err(), "{wrong}");
        }
    }
}
