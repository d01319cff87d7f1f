//! Up to a thousand persons at once in the second version's form: each write has a status of its own.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;
use serde_json::json;

use crate::engine::PERSONS_OF_A_BATCH;
use crate::engine::PersonOp;
use crate::engine::Scope;
use crate::engine::Verdict;
use crate::person::Mode;
use crate::server::access::Caller;
use crate::server::app::App;
use crate::server::body;
use crate::server::fault::Fault;
use crate::server::people::ORIGIN;
use crate::server::people::faulty;
use crate::server::people::identity;
use crate::server::people::person;
use crate::server::people::read;
use crate::server::rates::Published;
use crate::server::watch::audit;

/// How an answer says which item it is about.
#[derive(Clone, Debug)]
pub(super) enum About {
    Index(usize),
    Query(Value),
}

/// One item: what to do, or why not.
pub(super) type Item = (About, Result<PersonOp, Fault>);

pub(crate) async fn create_many(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    let items = items(&app, &caller, &headers, body, &["people", "persons"]).await?;
    let each = items.iter().enumerate();
    let ops = each.map(|(at, item)| (About::Index(at), person(item).map(PersonOp::Create))).collect();
    answer(&app, &caller, ops).await
}

pub(crate) async fn update_many(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    let items = items(&app, &caller, &headers, body, &["people", "persons"]).await?;
    let op = |item: &Value| {
        let who = identity(query_of(item))?;
        let update = item.get("update").ok_or_else(|| Fault::invalid("an item has a query and an update"))?;
        Ok(PersonOp::Write { who, write: person(update)?, mode: Mode::Update })
    };
    let ops = items.iter().map(|item| (About::Query(query_of(item).clone()), op(item))).collect();
    answer(&app, &caller, ops).await
}

pub(crate) async fn remove_many(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    let items = items(&app, &caller, &headers, body, &["people", "persons", "queries"]).await?;
    let op = |item: &Value| identity(query_of(item)).map(|who| PersonOp::Delete { who });
    let ops = items.iter().map(|item| (About::Query(query_of(item).clone()), op(item))).collect();
    answer(&app, &caller, ops).await
}

/// Who is meant by each identifier; null where it is nobody.
pub(crate) async fn match_many(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    caller.may(&[Scope::Query])?;
    app.published(Published::MATCH, &caller)?;
    let value = read(&app, &headers, body).await?;
    let given = array(value, &["identities", "people", "persons"])?;
    let who = given.iter().map(identity).collect::<Result<Vec<_>, _>>()?;
    let found = app.engine.match_persons(&who)?;
    let results: Vec<Value> = given
        .iter()
        .zip(found)
        .map(|(given, id)| json!({"identity": given, "personId": id.map(|id| id.0)}))
        .collect();
    Ok(body::json(StatusCode::OK, &json!({"results": results})))
}

/// Whom an item is about: it may say so itself or in its `query`.
fn query_of(item: &Value) -> &Value {
    item.get("query").unwrap_or(item)
}

pub(super) async fn items(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
    names: &[&str],
) -> Result<Vec<Value>, Fault> {
    app.managed(Published::PERSONS, caller)?;
    array(read(app, headers, body).await?, names)
}

/// The items of a body: a bare array, or an object with one under one of these names.
fn array(value: Value, names: &[&str]) -> Result<Vec<Value>, Fault> {
    let found = match value {
        Value::Array(items) => Some(items),
        Value::Object(mut fields) => names.iter().find_map(|name| match fields.remove(*name) {
            Some(Value::Array(items)) => Some(items),
            _ => None,
        }),
        _ => None,
    };
    let items = found.ok_or_else(|| {
        Fault::invalid(format!("the body must be an array, or an object with \"{}\"", names[0]))
    })?;
    if items.is_empty() || items.len() > PERSONS_OF_A_BATCH {
        let message = format!("a batch has 1 to {PERSONS_OF_A_BATCH} persons, found {}", items.len());
        return Err(Fault::invalid(message));
    }
    Ok(items)
}

/// What came of each item whose form was right, in the order of the items.
pub(super) async fn verdicts(
    app: &App,
    caller: &Caller,
    ops: Vec<Result<PersonOp, Fault>>,
) -> Result<Vec<Result<Verdict, Fault>>, Fault> {
    let mut right = Vec::new();
    let mut told: Vec<Option<Fault>> = Vec::with_capacity(ops.len());
    for op in ops {
        match op {
            Ok(op) => {
                right.push(op);
                told.push(None);
            }
            Err(fault) => told.push(Some(fault)),
        }
    }
    let count = right.len();
    let mut done = app.engine.write_people(right, ORIGIN).await?.into_iter();
    audit(caller, "write persons", &format!("{count} persons"));
    let lost = || Fault::invalid("a write has no verdict");
    let each = told.into_iter().map(|fault| match fault {
        Some(fault) => Err(fault),
        None => match done.next().ok_or_else(lost)? {
            Verdict::Refused(faults) => Err(faulty(&faults)),
            verdict => Ok(verdict),
        },
    });
    Ok(each.collect())
}

pub(super) async fn answer(app: &App, caller: &Caller, items: Vec<Item>) -> Result<Response, Fault> {
    let (about, ops): (Vec<_>, Vec<_>) = items.into_iter().unzip();
    let verdicts = verdicts(app, caller, ops).await?;
    let whole = verdicts.iter().all(Result::is_ok);
    let results: Vec<Value> = about
        .into_iter()
        .zip(verdicts)
        .map(|(about, verdict)| {
            let mut told = match about {
                About::Index(at) => json!({"index": at}),
                About::Query(query) => json!({"query": query}),
            };
            match verdict {
                Ok(verdict) => {
                    told["status"] = 200.into();
                    told["id"] = verdict.person().map(|id| id.0).into();
                }
                Err(fault) => {
                    told["status"] = fault.status().as_u16().into();
                    told["errors"] = messages(&fault);
                }
            }
            told
        })
        .collect();
    let status = if whole { StatusCode::OK } else { StatusCode::MULTI_STATUS };
    Ok(body::json(status, &json!({"results": results})))
}

/// All that is wrong, one message each.
fn messages(fault: &Fault) -> Value {
    let all = fault.errors.as_deref().and_then(Value::as_object).into_iter().flatten();
    let mut told: Vec<Value> = all
        .flat_map(|(_, messages)| messages.as_array().into_iter().flatten())
        .map(|message| json!({"message": message}))
        .collect();
    if told.is_empty() {
        told.push(json!({"message": fault.message}));
    }
    told.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_an_array_in_or_without_an_object() {
        assert_eq!(array(json!([1]), &["people"]).unwrap(), [json!(1)]);
        assert_eq!(array(json!({"persons": [1, 2]}), &["people", "persons"]).unwrap().len(), 2);
        let many = Value::Array(vec![json!({}); PERSONS_OF_A_BATCH + 1]);
        for wrong in [json!([]), json!({}), json!({"people": {}}), json!("a"), many] {
            assert!(array(wrong, &["people"]).is_err());
        }
    }
}
