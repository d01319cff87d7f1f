//! `GET /v1/openapi.json`: what is served, for programs; one table says all doors, and a test knocks at each.

mod more;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::engine::Scope;
use crate::server::app::App;
use crate::server::body;
use crate::server::fault::Family;

/// One door.
struct Door {
    method: &'static str,
    path: &'static str,
    words: &'static str,
    /// Any of these lets in; none is needed where there is none.
    scopes: &'static [Scope],
    /// Parameters of the query, each with its type.
    query: &'static [(&'static str, &'static str)],
    /// What the body must be: a media type and the name of a schema.
    body: Option<(&'static str, &'static str)>,
    /// What comes when all is well, with the schema of its body.
    fine: (u16, &'static str, Option<&'static str>),
    faults: &'static [u16],
}

const JSON: &str = "application/json";

const DOORS: &[Door] = &[
    Door {
        method: "get",
        path: "/healthz",
        words: "The process answers",
        scopes: &[],
        query: &[],
        body: None,
        fine: (200, "text/plain", None),
        faults: &[],
    },
    Door {
        method: "get",
        path: "/readyz",
        words: "The store answers, and the server is not about to end",
        scopes: &[],
        query: &[],
        body: None,
        fine: (200, "text/plain", None),
        faults: &[503],
    },
    Door {
        method: "get",
        path: "/metrics",
        words: "Counters for Prometheus",
        scopes: &[Scope::Query],
        query: &[],
        body: None,
        fine: (200, "text/plain", None),
        faults: &[401, 403],
    },
    Door {
        method: "post",
        path: "/v1/sql",
        words: "One statement; rows as they are found",
        scopes: &[Scope::Query],
        query: &[("format", "string")],
        body: Some((JSON, "Question")),
        fine: (200, "application/x-ndjson", None),
        faults: &[400, 401, 403, 408, 413, 503],
    },
    Door {
        method: "post",
        path: "/v1/events",
        words: "Events in the shapes that an import takes, each with a verdict",
        scopes: &[Scope::Ingest],
        query: &[("createPersons", "boolean"), ("source", "string")],
        body: Some((JSON, "Events")),
        fine: (200, JSON, Some("Verdicts")),
        faults: &[400, 401, 403, 408, 413, 415, 503],
    },
    Door {
        method: "post",
        path: "/v1/web/events",
        words: "What the web SDK sends; the key stands in the body",
        scopes: &[Scope::Web, Scope::Ingest],
        query: &[],
        body: Some((JSON, "Page")),
        fine: (200, JSON, None),
        faults: &[400, 401, 403, 413, 429, 503],
    },
    Door {
        method: "get",
        path: "/v1/keys",
        words: "All keys, without their secrets",
        scopes: &[Scope::Manage],
        query: &[("format", "string")],
        body: None,
        fine: (200, JSON, None),
        faults: &[400, 401, 403],
    },
    Door {
        method: "post",
        path: "/v1/keys",
        words: "Make a key; its secret is answered once",
        scopes: &[Scope::Manage],
        query: &[],
        body: Some((JSON, "NewKey")),
        fine: (201, JSON, None),
        faults: &[400, 401, 403, 409, 413],
    },
    Door {
        method: "delete",
        path: "/v1/keys/{name}",
        words: "End a key at once",
        scopes: &[Scope::Manage],
        query: &[],
        body: None,
        fine: (204, JSON, None),
        faults: &[401, 403, 404],
    },
    Door {
        method: "post",
        path: "/peopleevents/2/persons/{personId}/definitions/{definitionId}/events",
        words: "Send one event of one person",
        scopes: &[Scope::Ingest, Scope::Web],
        query: &[("identifierType", "string"), ("createPerson", "boolean"), ("sender", "string")],
        body: Some((JSON, "Event")),
        fine: (201, JSON, Some("StoredEvent")),
        faults: &[400, 401, 403, 404, 409, 413, 415, 429, 500, 503],
    },
    Door {
        method: "post",
        path: "/peopleevents/1/persons/{personId}/definitions/{definitionId}/events",
        words: "Send one event, in the older form",
        scopes: &[Scope::Ingest, Scope::Web],
        query: &[("personIdentifierType", "string"), ("sender", "string")],
        body: Some((JSON, "OlderEvent")),
        fine: (201, JSON, Some("StoredEvent")),
        faults: &[400, 401, 403, 404, 409, 413, 415, 429, 500, 503],
    },
    Door {
        method: "post",
        path: "/people/3/events",
        words: "Send up to 5,000 events, all or none",
        scopes: &[Scope::Ingest],
        query: &[],
        body: Some((JSON, "Batch")),
        fine: (202, JSON, None),
        faults: &[400, 401, 403, 413, 415, 429, 500, 503],
    },
    Door {
        method: "get",
        path: "/peopleevents/2/definitions",
        words: "List definitions",
        scopes: &[Scope::Query],
        query: &[
            ("offset", "integer"),
            ("limit", "integer"),
            ("orderField", "string"),
            ("orderType", "string"),
            ("category", "string"),
            ("searchText", "string"),
        ],
        body: None,
        fine: (200, JSON, Some("Definitions")),
        faults: &[400, 401, 403, 404],
    },
    Door {
        method: "post",
        path: "/peopleevents/2/definitions",
        words: "Create a definition",
        scopes: &[Scope::Manage],
        query: &[],
        body: Some((JSON, "NewDefinition")),
        fine: (201, JSON, Some("Definition")),
        faults: &[400, 401, 403, 409, 413, 415],
    },
    Door {
        method: "get",
        path: "/peopleevents/2/definitions/{definitionId}",
        words: "One definition",
        scopes: &[Scope::Query],
        query: &[],
        body: None,
        fine: (200, JSON, Some("Definition")),
        faults: &[400, 401, 403, 404],
    },
    Door {
        method: "post",
        path: "/peopleevents/2/definitions/{definitionId}",
        words: "Change a definition: fields are added, never removed",
        scopes: &[Scope::Manage],
        query: &[],
        body: Some((JSON, "NewDefinition")),
        fine: (200, JSON, Some("Definition")),
        faults: &[400, 401, 403, 404, 409, 413, 415],
    },
    Door {
        method: "get",
        path: "/sdk/milepost.js",
        words: "The script for web pages",
        scopes: &[],
        query: &[],
        body: None,
        fine: (200, "text/javascript", None),
        faults: &[],
    },
    Door {
        method: "get",
        path: "/sdk/milepost.d.ts",
        words: "The types of the script",
        scopes: &[],
        query: &[],
        body: None,
        fine: (200, "text/plain", None),
        faults: &[],
    },
    Door {
        method: "get",
        path: "/v1/openapi.json",
        words: "This document",
        scopes: &[],
        query: &[],
        body: None,
        fine: (200, JSON, None),
        faults: &[],
    },
];

pub(crate) async fn document(State(_): State<App>) -> Response {
    body::json(StatusCode::OK, &all())
}

fn doors() -> impl Iterator<Item = &'static Door> {
    DOORS.iter().chain(more::DOORS)
}

fn all() -> Value {
    let mut paths = Map::new();
    for door in doors() {
        let path = paths.entry(door.path).or_insert_with(|| json!({}));
        path[door.method] = operation(door);
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Milepost", "version": env!("CARGO_PKG_VERSION"), "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "securitySchemes": {
                "App": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "App <key>"},
                "Bearer": {"type": "http", "scheme": "bearer"},
                "Basic": {"type": "http", "scheme": "basic", "description": "The key is the password."},
            },
            "schemas": all_schemas(),
        },
    })
}

fn operation(door: &Door) -> Value {
    let mut responses = Map::new();
    let (status, media, schema) = door.fine;
    let content = schema.map_or_else(|| json!({}), |name| json!({"schema": reference(name)}));
    let mut fine = json!({"description": "done"});
    if !matches!(status, 202 | 204) {
        fine["content"] = json!({media: content});
    }
    responses.insert(status.to_string(), fine.clone());
    if schema == Some("Results") {
        fine["description"] = json!("some were not done");
        responses.insert("207".to_owned(), fine);
    }
    for status in door.faults {
        let (media, name) = match Family::of(door.path) {
            Family::Batch if *status == 400 => ("application/problem+json", "Problem"),
            Family::Persons if matches!(*status, 400 | 404 | 409 | 500) => (JSON, "Coded"),
            Family::Push => (JSON, "Numbered"),
            Family::People | Family::Batch | Family::Persons | Family::Mobile => (JSON, "ApiException"),
            Family::Segments => (JSON, "ApiError"),
            Family::Own => (JSON, "Fault"),
        };
        let told = json!({"description": "not done", "content": {media: {"schema": reference(name)}}});
        responses.insert(status.to_string(), told);
    }
    let named = door.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = named
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    parameters.extend(door.query.iter().map(
        |(name, kind)| json!({"name": name, "in": "query", "required": false, "schema": {"type": kind}}),
    ));
    let mut operation = json!({"summary": door.words, "parameters": parameters, "responses": responses});
    if let Some((media, schema)) = door.body {
        operation["requestBody"] =
            json!({"required": true, "content": {media: {"schema": reference(schema)}}});
    }
    if !door.scopes.is_empty() {
        let names: Vec<_> = door.scopes.iter().map(|scope| scope.name()).collect();
        operation["description"] = format!("Needs a key with the scope {}.", names.join(" or ")).into();
        operation["security"] = json!([{"App": []}, {"Bearer": []}, {"Basic": []}]);
    }
    operation
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn all_schemas() -> Value {
    let mut all = schemas();
    if let (Value::Object(all), Value::Object(more)) = (&mut all, more::schemas()) {
        all.extend(more);
    }
    all
}

/// The shapes of bodies.
fn schemas() -> Value {
    let text = || json!({"type": "string"});
    let event_id = || json!({"type": ["string", "null"], "pattern": "^[A-Za-z0-9_-]{1,36}$"});
    let properties = || json!({"type": ["object", "null"]});
    let field = json!({
        "type": "object", "additionalProperties": false, "required": ["name", "type"],
        "properties": {
            "name": {"type": "string", "pattern": "^[a-z_][a-zA-Z0-9_]{0,127}$"},
            "type": {"type": "string"},
            "schema": {"type": ["object", "null"]},
        },
    });
    let fields = json!({"type": ["array", "null"], "items": field, "maxItems": 120});
    json!({
        "Question": {"type": "object", "additionalProperties": false, "required": ["sql"],
            "properties": {"sql": text(), "format": {"type": ["string", "null"]}}},
        "Event": {"type": "object", "additionalProperties": false,
            "properties": {"eventId": event_id(), "properties": properties()}},
        "OlderEvent": {"type": "object", "additionalProperties": false,
            "properties": {"eventId": event_id(), "properties": properties(),
                "definitionId": {"type": ["string", "null"]}, "personIdentifierType": {"type": ["string", "null"]}}},
        "StoredEvent": {"type": "object", "required": ["eventId", "definitionId", "occurredTime", "properties", "metadata"],
            "properties": {"eventId": text(), "definitionId": text(), "occurredTime": text(),
                "properties": properties(), "metadata": {"type": "object"}}},
        "Batch": {"type": "array", "minItems": 1, "maxItems": 5000, "items": {
            "type": "object", "additionalProperties": false,
            "required": ["definitionId", "occurredTime", "identifier"],
            "properties": {"definitionId": text(), "eventId": event_id(), "occurredTime": text(), "properties": properties(),
                "identifier": {"type": "object", "additionalProperties": false, "required": ["id", "type"],
                    "properties": {"id": text(), "type": text(), "sender": {"type": ["string", "null"]}}}}}},
        "Events": {"type": ["array", "object"]},
        "Verdicts": {"type": "object", "required": ["stored", "duplicates", "refused", "events"]},
        "Page": {"type": "object", "properties": {"key": text(), "events": {"type": "array"}}},
        "NewKey": {"type": "object", "additionalProperties": false, "required": ["name", "scopes"],
            "properties": {"name": text(), "scopes": {"type": "array", "items": text()}}},
        "NewDefinition": {"type": "object", "additionalProperties": false,
            "properties": {"definitionId": {"type": ["string", "null"]}, "templateId": {"type": ["string", "null"]},
                "title": {"type": ["string", "null"], "maxLength": 100},
                "description": {"type": ["string", "null"], "maxLength": 2000}, "fields": fields}},
        "Definition": {"type": "object", "required": ["definitionId", "title", "description", "fields",
            "isInternalDefinition", "category", "subcategory"]},
        "Definitions": {"type": "array", "items": reference("Definition"), "minItems": 1},
        "ApiException": {"type": "object", "required": ["requestError"], "properties": {"requestError": {
            "type": "object", "required": ["serviceException"], "properties": {"serviceException": {
                "type": "object", "required": ["messageId", "text"]}}}}},
        "Coded": {"type": "object", "required": ["code", "message"]},
        "Numbered": {"type": "object", "required": ["errorCode", "errorMessage"]},
        "Problem": {"type": "object", "required": ["type", "title", "status", "traceId", "errors"]},
        "ApiError": {"type": "object", "required": ["errorCode", "description", "action", "violations", "resources"]},
        "Fault": {"type": "object", "required": ["error"], "properties": {"error": {
            "type": "object", "required": ["code", "message", "requestId"]}}},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_to_a_schema() {
        let document = all();
        let text = document.to_string();
        let known = document["components"]["schemas"].as_object().unwrap();
        for part in text.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(known.contains_key(name), "{name}");
        }
        let mut paths: Vec<_> = doors().map(|door| (door.path, door.method)).collect();
        paths.sort_unstable();
        let all = paths.len();
        paths.dedup();
        assert_eq!(paths.len(), all, "no door is said twice");
    }
}
