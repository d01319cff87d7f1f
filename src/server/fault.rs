//! What a caller is told when something goes wrong: one table of causes, and the envelopes in which the families of
//! endpoints have always told them.

use std::fmt;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use serde_json::Value;
use serde_json::json;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Place;

/// The groups of endpoints that have an envelope of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// `requestError.serviceException`: definitions, single events, exports, persons, mobile.
    People,
    /// RFC 9110 problem details for what is wrong in a batch, else as `People`.
    Batch,
    /// `code` and `message`: writes of many persons.
    Persons,
    /// As `People`, with the codes that apps know.
    Mobile,
    /// `errorCode` and `errorMessage`: devices, for back ends.
    Push,
    /// `errorCode` with `violations` and `resources`.
    Segments,
    /// Ours: `error.code`, `error.message`, `error.requestId`.
    Own,
}

impl Family {
    /// The family of a path.
    pub(crate) fn of(path: &str) -> Self {
        const PATHS: [(&str, Family); 7] = [
            ("/people/3/events", Family::Batch),
            ("/people/3/persons", Family::Persons),
            ("/people/3/segments", Family::Segments),
            ("/people/2/contactInformation/push/", Family::Push),
            ("/people/", Family::People),
            ("/peopleevents/", Family::People),
            ("/mobile/", Family::Mobile),
        ];
        PATHS.iter().find(|(start, _)| path.starts_with(start)).map_or(Self::Own, |(_, family)| *family)
    }
}

/// Why a request was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Invalid,
    Unauthorized,
    Forbidden,
    NotFound,
    Method,
    Timeout,
    Conflict,
    TooLarge,
    MediaType,
    TooMany,
    Internal,
    Unavailable,
    Exhausted,
}

/// Each cause: its status, our word for it, the People API's, and that of segments.
const CAUSES: [(Cause, u16, &str, &str, &str); 13] = [
    (Cause::Invalid, 400, "invalid", "BAD_REQUEST", "E400"),
    (Cause::Unauthorized, 401, "unauthorized", "UNAUTHORIZED", "E401"),
    (Cause::Forbidden, 403, "forbidden", "FORBIDDEN", "E403"),
    (Cause::NotFound, 404, "not_found", "NOT_FOUND", "E404"),
    (Cause::Method, 405, "method_not_allowed", "BAD_REQUEST", "E400"),
    (Cause::Timeout, 408, "timeout", "BAD_REQUEST", "E400"),
    (Cause::Conflict, 409, "conflict", "CONFLICT", "E409"),
    (Cause::TooLarge, 413, "too_large", "BAD_REQUEST", "E400"),
    (Cause::MediaType, 415, "unsupported_media_type", "BAD_REQUEST", "E400"),
    (Cause::TooMany, 429, "too_many_requests", "TOO_MANY_REQUESTS", "E429"),
    (Cause::Internal, 500, "internal", "GENERAL_ERROR", "E500"),
    (Cause::Unavailable, 503, "unavailable", "GENERAL_ERROR", "E500"),
    (Cause::Exhausted, 503, "exhausted", "GENERAL_ERROR", "E500"),
];

impl Cause {
    fn row(self) -> &'static (Self, u16, &'static str, &'static str, &'static str) {
        CAUSES.iter().find(|row| row.0 == self).unwrap_or(&CAUSES[10])
    }

    /// Our word for it.
    pub(crate) fn code(self) -> &'static str {
        self.row().2
    }

    pub(crate) fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().1).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// A request that was not done. It becomes a body when the path is known whose family decides its shape.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) cause: Cause,
    pub(crate) message: String,
    pub(crate) place: Option<Place>,
    /// Seconds after which to try again.
    pub(crate) retry_after: Option<u64>,
    /// What the caller is not told: the cause with its paths, for the log.
    pub(crate) inside: Option<String>,
    /// The `errors` of a batch, or the `validationErrors` of one event.
    pub(crate) errors: Option<Box<Value>>,
    /// The status, where a family has its own for this cause.
    pub(crate) status: Option<StatusCode>,
}

impl Fault {
    pub(crate) fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self {
            cause,
            message: message.into(),
            place: None,
            retry_after: None,
            inside: None,
            errors: None,
            status: None,
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Cause::Invalid, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Cause::NotFound, message)
    }

    /// What a batch is refused for.
    pub(crate) fn batch(items: Vec<Value>) -> Self {
        let errors = Some(Box::new(Value::Array(items)));
        Self { errors, ..Self::invalid("One or more validation errors occurred.") }
    }

    /// The same, of one property.
    pub(crate) fn of(self, property: &str) -> Self {
        let message = self.message.clone();
        Self { errors: Some(Box::new(json!({property: [message]}))), ..self }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status.unwrap_or_else(|| self.cause.status())
    }

    /// The body, in the shape of a family.
    pub(crate) fn body(&self, family: Family, request: &str) -> Value {
        let (_, _, own, people, segments) = *self.cause.row();
        match family {
            Family::Batch if self.cause == Cause::Invalid => json!({
                "type": "https://tools.ietf.org/html/rfc9110#section-15.5.1",
                "title": "One or more validation errors occurred.",
                "status": 400,
                "traceId": request,
                "errors": self.errors.as_deref().cloned().unwrap_or_else(|| {
                    json!([{"index": -1, "code": 400_500, "message": self.message}])
                }),
            }),
            Family::Persons if self.persons_code().is_some() => {
                json!({"code": self.persons_code(), "message": self.message})
            }
            Family::Push => {
                let code = self.errors.as_deref().and_then(Value::as_u64);
                let code = code.unwrap_or_else(|| self.status().as_u16().into());
                json!({"errorCode": code, "errorMessage": self.message})
            }
            Family::People | Family::Batch | Family::Persons | Family::Mobile => {
                let code = self.errors.as_deref().and_then(Value::as_str);
                let mut told = json!({"messageId": code.unwrap_or(people), "text": self.message});
                if let Some(errors) = self.errors.as_ref().filter(|_| code.is_none()) {
                    told["validationErrors"] = Value::clone(errors);
                }
                json!({"requestError": {"serviceException": told}})
            }
            Family::Segments => json!({
                "errorCode": segments,
                "description": self.message,
                "action": self.action(),
                "violations": self.violations(),
                "resources": [],
            }),
            Family::Own => {
                let mut error = json!({"code": own, "message": self.message, "requestId": request});
                if let Some(place) = self.place {
                    error["line"] = place.line.into();
                    error["column"] = place.column.into();
                }
                json!({"error": error})
            }
        }
    }

    /// The code for writes of many persons, where one is published.
    fn persons_code(&self) -> Option<u64> {
        match self.cause {
            Cause::Invalid => Some(self.errors.as_deref().and_then(Value::as_u64).unwrap_or(400_100)),
            Cause::NotFound => Some(404_100),
            Cause::Method => Some(405_100),
            Cause::Conflict => Some(409_100),
            Cause::Internal => Some(500_100),
            _ => None,
        }
    }

    /// What is wrong with which property, as segments tell it.
    fn violations(&self) -> Vec<Value> {
        let errors = self.errors.as_deref().and_then(Value::as_object);
        let each = errors.into_iter().flatten();
        each.map(|(property, told)| json!({"property": property, "violation": told[0]})).collect()
    }

    fn action(&self) -> &'static str {
        match self.cause {
            Cause::Unauthorized => "Send a key in the Authorization header.",
            Cause::Forbidden => "Use a key with another scope.",
            Cause::TooMany | Cause::Timeout | Cause::Unavailable | Cause::Exhausted => "Try again later.",
            Cause::Internal => "Look into the server's log.",
            _ => "Mend the request.",
        }
    }

    /// The whole response.
    pub(crate) fn render(&self, family: Family, request: &str) -> Response {
        let mut response = Response::new(Body::from(self.body(family, request).to_string()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        let problem = family == Family::Batch && self.cause == Cause::Invalid;
        let kind = if problem { "application/problem+json" } else { "application/json" };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.cause == Cause::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer, App"));
        }
        if matches!(self.cause, Cause::TooLarge | Cause::Timeout) {
            // What is left of the body is not read.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// What the engine says, without what only the owner of the machine should read.
impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let (cause, told) = match error.kind() {
            Kind::Invalid => (Cause::Invalid, None),
            Kind::NotFound => (Cause::NotFound, None),
            Kind::Conflict => (Cause::Conflict, None),
            Kind::Exhausted => (Cause::Exhausted, None),
            Kind::TooMany => (Cause::TooMany, None),
            Kind::Unavailable | Kind::Cancelled => {
                (Cause::Unavailable, Some("the server cannot do this now; its log says why"))
            }
            Kind::Internal => (Cause::Internal, Some("a fault of the server's own; its log says more")),
        };
        let full = error.to_string();
        let told = told.map_or_else(|| without_paths(&full), str::to_owned);
        Self {
            place: error.place(),
            inside: (told != full).then_some(full),
            retry_after: (cause == Cause::Unavailable).then_some(1),
            ..Self::new(cause, told)
        }
    }
}

/// The text without absolute paths of this machine, which stand in quotes in our messages.
pub(crate) fn without_paths(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, part) in text.split('"').enumerate() {
        out.push_str(if at > 0 { "\"" } else { "" });
        let path = at % 2 == 1 && part.starts_with('/') && part.len() > 1;
        out.push_str(if path { "…" } else { part });
    }
    out
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.inside.as_deref().unwrap_or(&self.message))
    }
}

/// A response that only carries the fault; `watch` writes its body.
impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_has_its_envelope() {
        let fault = Fault::not_found("no event is called \"a\"");
        let people = fault.body(Family::of("/peopleevents/2/definitions/a"), "r1");
        assert_eq!(people["requestError"]["serviceException"]["messageId"], "NOT_FOUND");
        let own = fault.body(Family::of("/v1/sql"), "r1");
        assert_eq!(own["error"]["code"], "not_found");
        assert_eq!(own["error"]["requestId"], "r1");
        let segments = fault.body(Family::of("/people/3/segments/1"), "r1");
        assert_eq!(segments["errorCode"], "E404");
        assert_eq!(segments.as_object().unwrap().len(), 5);
        let batch = Fault::invalid("no array").body(Family::of("/people/3/events"), "r1");
        assert_eq!((&batch["status"], &batch["traceId"]), (&json!(400), &json!("r1")));
        assert_eq!(batch["errors"][0]["code"], 400_500);
        let barred = Fault::new(Cause::Forbidden, "x").body(Family::Batch, "r1");
        assert_eq!(barred["requestError"]["serviceException"]["messageId"], "FORBIDDEN");
    }

    #[test]
    fn every_cause_is_in_the_table_once() {
        for (cause, status, ..) in CAUSES {
            assert_eq!(cause.status().as_u16(), status);
        }
    }

    #[test]
    fn an_error_of_the_engine_loses_its_paths() {
        let fault = Fault::from(Error::unavailable("could not write \"/srv/data/lake/a\""));
        assert!(!fault.message.contains("/srv"), "{}", fault.message);
        assert!(fault.to_string().contains("/srv/data"), "the log has it");
        let fault = Fault::from(Error::invalid("no folder \"/srv/x\" for \"a/b\""));
        assert_eq!(fault.message, "no folder \"…\" for \"a/b\"");
    }
}
