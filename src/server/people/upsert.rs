//! `/people/3/persons`: writes of whoever is meant by any identifier, and merges; always 207, with what came of each.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;
use serde_json::json;

use crate::engine::PERSONS_OF_A_BATCH;
use crate::engine::PersonOp;
use crate::engine::Verdict;
use crate::person::Contact;
use crate::person::Fault as PersonFault;
use crate::person::FaultCode;
use crate::person::Identifier;
use crate::person::IdentifierType;
use crate::person::Mode;
use crate::person::PersonWrite;
use crate::server::access::Caller;
use crate::server::app::App;
use crate::server::body;
use crate::server::fault::Fault;
use crate::server::people::ORIGIN;
use crate::server::rates::Published;
use crate::server::watch::audit;

const INVALID: u64 = 400_100;
const MALFORMED: u64 = 400_103;
const MISSING: u64 = 400_104;
const NOT_FOUND: u64 = 404_100;
const TAKEN: u64 = 409_100;

/// Replaces whole persons.
pub(crate) async fn upsert_put(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    write(&app, &caller, &headers, body, |_, write| Ok(PersonOp::Upsert { write, mode: Mode::Replace })).await
}

/// Changes what is said.
pub(crate) async fn upsert_patch(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    write(&app, &caller, &headers, body, |_, write| Ok(PersonOp::Upsert { write, mode: Mode::Update })).await
}

/// Makes one of all persons whom an item's identifiers lead to; what it says overrides what was stored.
pub(crate) async fn merge(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    write(&app, &caller, &headers, body, |app, write| {
        let named = named(&write);
        let found = app.engine.match_persons(&named)?;
        let who: Vec<Identifier> =
            named.into_iter().zip(found).filter_map(|(one, id)| id.map(|_| one)).collect();
        Ok(if who.is_empty() { PersonOp::Create(write) } else { PersonOp::Merge { who, write: Some(write) } })
    })
    .await
}

/// The identifiers that a write says.
fn named(write: &PersonWrite) -> Vec<Identifier> {
    let external = write.external_id.iter().flatten().map(|id| Identifier {
        kind: IdentifierType::ExternalId,
        id: id.clone(),
        sender: String::new(),
    });
    external.chain(write.contacts.iter().flatten().map(Contact::identifier)).collect()
}

async fn write(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
    op: impl Fn(&App, PersonWrite) -> Result<PersonOp, Fault>,
) -> Result<Response, Fault> {
    app.managed(Published::PERSONS, caller)?;
    body::expect_json(headers)?;
    let bytes = body::whole(&app.room, headers, body, app.settings.request_bytes).await?;
    let persons = read(body::text(&bytes)?)?;
    let (mut ops, mut places, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for (at, person) in persons.iter().enumerate() {
        let read = PersonWrite::from_json(person).and_then(|write| match named(&write).is_empty() {
            true => Err(vec![PersonFault {
                code: FaultCode::Missing,
                property: "contactInformation".to_owned(),
                message: "a person is found by its externalId or its contact information; give one of them"
                    .to_owned(),
            }]),
            false => Ok(write),
        });
        match read {
            Ok(write) => {
                ops.push(op(app, write)?);
                places.push(at);
            }
            Err(faults) => errors.push((at, faults)),
        }
    }
    let count = ops.len();
    let verdicts = app.engine.write_people(ops, ORIGIN).await?;
    audit(caller, "write persons", &format!("{count} persons"));
    let mut results = Vec::new();
    for (at, verdict) in places.into_iter().zip(verdicts) {
        match verdict {
            Verdict::Refused(faults) => errors.push((at, faults)),
            done => results.push(json!({
                "index": at,
                "status": done.name(),
                "id": done.person().map(|id| id.0),
            })),
        }
    }
    errors.sort_by_key(|(at, _)| *at);
    let errors: Vec<Value> = errors.iter().map(|(at, faults)| error(*at, faults)).collect();
    Ok(body::json(StatusCode::MULTI_STATUS, &json!({"errors": errors, "results": results})))
}

/// The persons of a body: `{"persons": […]}`, or the array alone.
fn read(text: &str) -> Result<Vec<Value>, Fault> {
    let coded =
        |code: u64, message: String| Fault { errors: Some(Box::new(code.into())), ..Fault::invalid(message) };
    let value: Value =
        serde_json::from_str(text).map_err(|error| coded(MALFORMED, format!("Malformed JSON: {error}")))?;
    let persons = match value {
        Value::Array(persons) => persons,
        Value::Object(mut fields) => match fields.remove("persons") {
            Some(Value::Array(persons)) => persons,
            Some(_) => return Err(coded(INVALID, "\"persons\" must be an array".to_owned())),
            None => return Err(coded(MISSING, "\"persons\" is missing".to_owned())),
        },
        _ => return Err(coded(MISSING, "the body must be an object with \"persons\"".to_owned())),
    };
    if persons.is_empty() || persons.len() > PERSONS_OF_A_BATCH {
        let message = format!("a request has 1 to {PERSONS_OF_A_BATCH} persons, found {}", persons.len());
        return Err(coded(INVALID, message));
    }
    Ok(persons)
}

/// All that is wrong with one person; the code is that of the first.
fn error(at: usize, faults: &[PersonFault]) -> Value {
    let code = faults.first().map_or(INVALID, |fault| match fault.code {
        FaultCode::Invalid => INVALID,
        FaultCode::Missing => MISSING,
        FaultCode::NotFound => NOT_FOUND,
        FaultCode::Taken => TAKEN,
    });
    let message = faults.first().map_or("", |fault| fault.message.as_str());
    let details: Vec<Value> = faults
        .iter()
        .map(|fault| {
            let dot = if fault.property.is_empty() { "" } else { "." };
            json!({"property": format!("persons[{at}]{dot}{}", fault.property), "message": fault.message})
        })
        .collect();
    json!({"code": code, "message": message, "details": details, "index": at})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_the_whole_has_its_code() {
        let code = |text: &str| read(text).unwrap_err().errors.unwrap().as_u64().unwrap();
        assert_eq!((code("{"), code("{}"), code("[]")), (MALFORMED, MISSING, INVALID));
        assert_eq!((code("{\"persons\":{}}"), code("7")), (INVALID, MISSING));
        assert_eq!(read("{\"persons\":[{}]}").unwrap().len(), 1);
    }

    #[test]
    fn a_fault_is_told_with_its_place_among_the_persons() {
        let fault = PersonFault {
            code: FaultCode::Invalid,
            property: "contactInformation[0].identifier".to_owned(),
            message: "m".to_owned(),
        };
        let told = error(1, &[fault]);
        assert_eq!(told["details"][0]["property"], "persons[1].contactInformation[0].identifier");
        assert_eq!((told["code"].as_u64(), told["index"].as_u64()), (Some(INVALID), Some(1)));
    }
}
