//! Whose a device is: a lead's that nobody knows, until somebody says who it is.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::Uri;
use axum::response::Response;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::engine::PersonOp;
use crate::engine::Personalize;
use crate::engine::Scope;
use crate::engine::Verdict;
use crate::person::Contact;
use crate::person::Fault as PersonFault;
use crate::person::FaultCode;
use crate::person::IdentifierType;
use crate::person::PersonKind;
use crate::person::PersonWrite;
use crate::server::access::Caller;
use crate::server::app::App;
use crate::server::body;
use crate::server::definitions::Named;
use crate::server::fault::Fault;
use crate::server::mobile::BODY_BYTES;
use crate::server::mobile::coded;
use crate::server::mobile::device;
use crate::server::params::Params;
use crate::server::watch::audit;

const ORIGIN: &str = "PUSH";

/// Says whose device it is.
pub(crate) async fn personalize(
    State(app): State<App>,
    caller: Caller,
    id: Named,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    caller.may(&[Scope::Web, Scope::Ingest])?;
    let device = device(id, caller.name())?;
    let bytes = body::whole(&app.room, &headers, body, BODY_BYTES.min(app.settings.request_bytes)).await?;
    belongs(&app, &caller, device, &uri, body::text(&bytes)?).await
}

pub(crate) async fn depersonalize(
    State(app): State<App>,
    caller: Caller,
    id: Named,
) -> Result<Response, Fault> {
    caller.may(&[Scope::Web, Scope::Ingest])?;
    let device = device(id, caller.name())?;
    let verdict = app.engine.depersonalize(device).await?;
    told(&app, &caller, verdict, "NO_REGISTRATION")
}

/// The same for back ends: whose app it is stands in the header `AppCode`.
pub(crate) async fn personalize_push(
    State(app): State<App>,
    caller: Caller,
    id: Named,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    caller.may(&[Scope::Manage])?;
    let device = registered(&app, id, &headers)?;
    let bytes = body::whole(&app.room, &headers, body, BODY_BYTES.min(app.settings.request_bytes)).await?;
    belongs(&app, &caller, device, &uri, body::text(&bytes)?).await
}

pub(crate) async fn depersonalize_push(
    State(app): State<App>,
    caller: Caller,
    id: Named,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    caller.may(&[Scope::Manage])?;
    let verdict = app.engine.depersonalize(registered(&app, id, &headers)?).await?;
    told(&app, &caller, verdict, "NO_REGISTRATION")
}

/// A registration that somebody has, by the header.
fn registered(app: &App, id: Named, headers: &HeaderMap) -> Result<Contact, Fault> {
    let numbered = |code: u64, message: &str, status: StatusCode| Fault {
        errors: Some(Box::new(code.into())),
        status: Some(status),
        ..Fault::invalid(message)
    };
    let code = headers.get("AppCode").and_then(|value| value.to_str().ok()).filter(|code| !code.is_empty());
    let code = code.ok_or_else(|| numbered(48_001, "Application code missing", StatusCode::BAD_REQUEST))?;
    let device = device(id, code)?;
    match app.engine.match_persons(&[device.identifier()])?.pop().flatten() {
        Some(_) => Ok(device),
        None => Err(numbered(48_013, "Registration not found", StatusCode::NOT_FOUND)),
    }
}

async fn belongs(
    app: &App,
    caller: &Caller,
    device: Contact,
    uri: &Uri,
    text: &str,
) -> Result<Response, Fault> {
    let params = Params::of(uri.query());
    let how = Personalize {
        force_depersonalize: params.flag("forceDepersonalize")?,
        keep_as_lead: params.flag("keepAsLead")?,
    };
    let primary = params.flag("setDeviceAsPrimary")?;
    let said = serde_json::from_str(text)
        .map_err(|error| coded("REQUEST_FORMAT_INVALID", format!("the body is no JSON: {error}")))?;
    let write = identity(&said)?;
    let verdict = app.engine.personalize(Contact { primary, ..device }, write, how).await?;
    told(app, caller, verdict, "PERSONALIZATION_IMPOSSIBLE")
}

/// Who is meant, and what is known: `userIdentity` and `userAttributes` as apps send them, or a person in JSON.
fn identity(said: &Value) -> Result<PersonWrite, Fault> {
    let Value::Object(fields) = said else {
        return Err(coded(
            "REQUEST_FORMAT_INVALID",
            "the body must be an object with a userIdentity".to_owned(),
        ));
    };
    let mut person = match fields.get("userAttributes") {
        Some(Value::Object(attributes)) => attributes.clone(),
        _ if fields.contains_key("userIdentity") => Map::new(),
        _ => fields.clone(),
    };
    if let Some(identity) = fields.get("userIdentity") {
        if let Some(id) = identity.get("externalUserId").filter(|id| !id.is_null()) {
            person.insert("externalId".to_owned(), id.clone());
        }
        let contacts: Map<String, Value> = [("emails", "email"), ("phones", "phone")]
            .into_iter()
            .filter_map(|(from, to)| Some((to.to_owned(), identity.get(from)?.clone())))
            .collect();
        person.insert("contactInformation".to_owned(), contacts.into());
    }
    let write = PersonWrite::from_json(&person.into()).map_err(|faults| person_fault(&faults))?;
    // Told before anything is taken from anybody.
    for contact in write.contacts.iter().flatten() {
        contact.check().map_err(|message| match contact.kind {
            IdentifierType::Email => coded("EMAIL_INVALID", message),
            IdentifierType::Phone => coded("PHONE_INVALID", message),
            _ => coded("USER_IDENTITY_INVALID", message),
        })?;
    }
    if write.external_id.iter().flatten().next().is_none() && write.contacts.iter().flatten().next().is_none()
    {
        let message = "a device is personalized by phones, emails or an externalUserId";
        return Err(coded("USER_IDENTITY_INVALID", message.to_owned()));
    }
    Ok(write)
}

fn told(app: &App, caller: &Caller, verdict: Verdict, impossible: &str) -> Result<Response, Fault> {
    match verdict {
        Verdict::Refused(faults) if faults.iter().any(|one| one.code == FaultCode::Taken) => {
            let ambiguous = faults.iter().any(|one| one.property == "identifier");
            let code = if ambiguous { "AMBIGUOUS_PERSONALIZE_CANDIDATES" } else { impossible };
            let message = faults.first().map(|one| one.message.clone()).unwrap_or_default();
            Err(coded(code, message))
        }
        Verdict::Refused(faults) if faults.iter().any(|one| one.code == FaultCode::NotFound) => {
            let message = faults.first().map(|one| one.message.clone()).unwrap_or_default();
            Err(coded("NO_REGISTRATION", message))
        }
        Verdict::Refused(faults) => Err(person_fault(&faults)),
        verdict => {
            let ids: Vec<_> = verdict.person().into_iter().collect();
            let person = ids.first().map(ToString::to_string).unwrap_or_default();
            audit(caller, "personalize a device", &format!("person {person}"));
            let profile = app.engine.profiles(&ids)?.into_iter().flatten().next();
            Ok(body::json(StatusCode::OK, &profile.map_or_else(|| json!({}), |one| one.to_json())))
        }
    }
}

/// The words of apps for what is wrong with a person.
fn person_fault(faults: &[PersonFault]) -> Fault {
    let first = faults.first();
    let message = first.map(|one| one.message.clone()).unwrap_or_default();
    let code = match first {
        Some(one) if one.message.contains("email") => "EMAIL_INVALID",
        Some(one) if one.message.contains("phone") => "PHONE_INVALID",
        Some(one) if one.property.starts_with("contactInformation") => "USER_IDENTITY_INVALID",
        _ => "9",
    };
    coded(code, message)
}

/// Makes sure that somebody has the device: until it is personalized, a lead.
pub(super) async fn known(app: &App, device: &Contact) -> Result<(), Fault> {
    let owner = || Ok::<_, Fault>(app.engine.match_persons(&[device.identifier()])?.pop().flatten());
    if owner()?.is_some() {
        return Ok(());
    }
    let lead = PersonWrite {
        kind: Some(PersonKind::Lead),
        contacts: Some(vec![device.clone()]),
        ..PersonWrite::default()
    };
    let made = app.engine.write_people(vec![PersonOp::Create(lead)], ORIGIN).await?;
    match made.into_iter().next() {
        // Another request of the same device was faster.
        Some(Verdict::Refused(faults)) if owner()?.is_none() => Err(person_fault(&faults)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_meant_is_read_as_apps_say_it_and_as_a_person() {
        let app = json!({"userIdentity": {"emails": [{"address": "a@b.example"}], "phones": [{"number": "385911"}],
            "externalUserId": "crm-1"}, "userAttributes": {"firstName": "Ana"}});
        let person = json!({"externalId": "crm-1", "firstName": "Ana",
            "contactInformation": {"email": [{"address": "a@b.example"}], "phone": [{"number": "385911"}]}});
        assert_eq!(identity(&app).unwrap(), identity(&person).unwrap());
        let code = |said: Value| identity(&said).unwrap_err().errors.unwrap();
        assert_eq!(*code(json!({"userIdentity": {}})), "USER_IDENTITY_INVALID");
        assert_eq!(*code(json!([])), "REQUEST_FORMAT_INVALID");
    }
}
