//! The doors of persons, segments, exports, apps, and those for watching and asking, in a form that is short to write.

use crate::engine::Scope;
use crate::server::openapi::Door;
use crate::server::openapi::JSON;

type Query = &'static [(&'static str, &'static str)];

const WHO: Query = &[("identifier", "string"), ("type", "string"), ("sender", "string")];
const PAGE: Query = &[("page", "integer"), ("size", "integer")];

const ASK: &[Scope] = &[Scope::Query];
const CHANGE: &[Scope] = &[Scope::Manage];
const EXPORT: &[Scope] = &[Scope::Export];
const APP: &[Scope] = &[Scope::Web, Scope::Ingest];

const fn door(
    method: &'static str,
    path: &'static str,
    words: &'static str,
    scopes: &'static [Scope],
) -> Door {
    Door {
        method,
        path,
        words,
        scopes,
        query: &[],
        body: None,
        fine: (200, JSON, None),
        faults: &[400, 401, 403, 429, 500, 503],
    }
}

impl Door {
    const fn query(mut self, query: Query) -> Self {
        self.query = query;
        self
    }

    /// A body of this schema; what a body can be wrong with comes with it.
    const fn body(mut self, schema: &'static str) -> Self {
        self.body = Some((JSON, schema));
        self.faults = &[400, 401, 403, 404, 408, 409, 413, 415, 429, 500, 503];
        self
    }

    const fn fine(mut self, status: u16, schema: Option<&'static str>) -> Self {
        self.fine = (status, JSON, schema);
        self
    }

    const fn media(mut self, media: &'static str) -> Self {
        self.fine.1 = media;
        self
    }

    /// It names something that may not be there.
    const fn lost(mut self) -> Self {
        if self.body.is_none() {
            self.faults = &[400, 401, 403, 404, 409, 429, 500, 503];
        }
        self
    }
}

pub(super) const DOORS: &[Door] = &[
    door("post", "/v1/funnel", "A funnel, as docs/funnels.md says it", ASK)
        .query(&[("format", "string")])
        .body("Asked")
        .media("application/x-ndjson"),
    door("post", "/v1/retention", "Who came back", ASK)
        .query(&[("format", "string")])
        .body("Asked")
        .media("application/x-ndjson"),
    door("post", "/v1/trend", "How often, over time", ASK)
        .query(&[("format", "string")])
        .body("Asked")
        .media("application/x-ndjson"),
    door("post", "/v1/path", "Which way persons went", ASK)
        .query(&[("format", "string")])
        .body("Asked")
        .media("application/x-ndjson"),
    door("post", "/v1/lifecycle", "New, kept, back, and gone", ASK)
        .query(&[("format", "string")])
        .body("Asked")
        .media("application/x-ndjson"),
    door("post", "/v1/segment", "Who meets a condition", ASK)
        .query(&[("format", "string")])
        .body("Asked")
        .media("application/x-ndjson"),
    door("get", "/v1/tail", "Events as they become safe, as server-sent events", ASK)
        .query(&[("definitionId", "string")])
        .lost()
        .media("text/event-stream"),
    door(
        "post",
        "/v1/web/person",
        "Name the person of a page and change a lead; the key stands in the body",
        APP,
    )
    .body("PagePerson"),
    door("post", "/peopleevents/1/export", "Submit an export into a bucket", EXPORT)
        .body("ExportOrder")
        .fine(202, None),
    door("get", "/peopleevents/1/export/definitions", "The ids that an export may name", EXPORT)
        .fine(200, Some("ExportDefinitions")),
    door("get", "/peopleevents/1/export/status/{requestId}", "How an export stands", EXPORT)
        .lost()
        .fine(200, Some("ExportStatus")),
    door("delete", "/peopleevents/1/export/{requestId}", "Cancel an export", EXPORT).lost().fine(202, None),
    door("get", "/people/3/segments", "List segments", ASK)
        .query(&[("page", "integer"), ("size", "integer"), ("sort", "string")])
        .fine(200, Some("Page0")),
    door("post", "/people/3/segments", "Make a segment", CHANGE)
        .body("NewSegment")
        .fine(201, Some("Segment")),
    door("get", "/people/3/segments/{segmentId}", "One segment", ASK).lost().fine(200, Some("Segment")),
    door("put", "/people/3/segments/{segmentId}", "Replace a segment", CHANGE)
        .body("NewSegment")
        .fine(200, Some("Segment")),
    door("delete", "/people/3/segments/{segmentId}", "Drop a segment", CHANGE).lost().fine(204, None),
    door("get", "/people/3/segments/{segmentId}/persons", "Who is in a segment", ASK)
        .query(PAGE)
        .lost()
        .fine(200, Some("Page0")),
    door("get", "/people/2/persons", "One person, or a page of all", ASK)
        .query(&[
            ("identifier", "string"),
            ("type", "string"),
            ("sender", "string"),
            ("limit", "integer"),
            ("page", "integer"),
            ("orderBy", "string"),
            ("includeTotalCount", "boolean"),
            ("filter", "string"),
        ])
        .lost(),
    door("post", "/people/2/persons", "Make a person", CHANGE).body("Person").fine(200, Some("StoredPerson")),
    door("put", "/people/2/persons", "Replace a person", CHANGE)
        .query(WHO)
        .body("Person")
        .fine(200, Some("StoredPerson")),
    door("patch", "/people/2/persons", "Change a person", CHANGE)
        .query(WHO)
        .body("Person")
        .fine(200, Some("StoredPerson")),
    door("delete", "/people/2/persons", "Remove a person", CHANGE).query(WHO).lost().fine(204, None),
    door("put", "/people/2/persons/contactInformation", "Replace emails and phones", CHANGE)
        .query(WHO)
        .body("Contacts")
        .fine(200, Some("StoredPerson")),
    door("patch", "/people/2/persons/contactInformation", "Add emails and phones", CHANGE)
        .query(WHO)
        .body("Contacts")
        .fine(200, Some("StoredPerson")),
    door("delete", "/people/2/persons/contactInformation", "Remove emails and phones", CHANGE)
        .query(WHO)
        .body("Contacts")
        .fine(200, Some("StoredPerson")),
    door("post", "/people/2/persons/batch", "Make up to 1,000 persons", CHANGE)
        .body("People")
        .fine(200, Some("Results")),
    door("patch", "/people/2/persons/batch", "Change up to 1,000 persons", CHANGE)
        .body("People")
        .fine(200, Some("Results")),
    door("delete", "/people/2/persons/batch", "Remove up to 1,000 persons", CHANGE)
        .body("People")
        .fine(200, Some("Results")),
    door("post", "/people/2/persons/match", "Who is meant by identifiers", ASK)
        .body("Identities")
        .fine(200, Some("Results")),
    door("put", "/people/3/persons/upsert", "Replace whoever is meant, or make them", CHANGE)
        .body("Persons")
        .fine(207, Some("Upserted")),
    door("patch", "/people/3/persons/upsert", "Change whoever is meant, or make them", CHANGE)
        .body("Persons")
        .fine(207, Some("Upserted")),
    door("post", "/people/3/persons/merge", "Make one of all who are meant", CHANGE)
        .body("Persons")
        .fine(207, Some("Upserted")),
    door("get", "/people/2/tags", "All tags", ASK),
    door("post", "/people/2/tags", "Make a tag", CHANGE).body("Named").fine(201, Some("Named")),
    door("get", "/people/2/tags/{name}", "One tag", ASK).lost().fine(200, Some("Named")),
    door("delete", "/people/2/tags/{name}", "Remove a tag from everybody", CHANGE).lost().fine(204, None),
    door("patch", "/people/2/tags/{name}/persons", "Tag persons", CHANGE)
        .body("People")
        .fine(200, Some("Results")),
    door("delete", "/people/2/tags/{name}/persons", "Untag persons", CHANGE)
        .body("People")
        .fine(200, Some("Results")),
    door("get", "/people/2/customAttributes", "All custom attributes", ASK),
    door("post", "/people/2/customAttributes", "Add a custom attribute", CHANGE)
        .body("Attribute")
        .fine(201, Some("Attribute")),
    door("get", "/people/2/customAttributes/{name}", "One custom attribute", ASK)
        .lost()
        .fine(200, Some("Attribute")),
    door("delete", "/people/2/customAttributes/{name}", "Remove a custom attribute and its values", CHANGE)
        .lost()
        .fine(204, None),
    door("post", "/people/2/customAttributes/{name}/append", "Add items to a list of a person", CHANGE)
        .query(WHO)
        .body("Items")
        .fine(200, Some("StoredPerson")),
    door(
        "post",
        "/people/2/contactInformation/push/{pushRegistrationId}/personalize",
        "Say whose a device is; the header AppCode says of which application",
        CHANGE,
    )
    .query(&[("forceDepersonalize", "boolean"), ("keepAsLead", "boolean"), ("setDeviceAsPrimary", "boolean")])
    .body("Identity"),
    door(
        "post",
        "/people/2/contactInformation/push/{pushRegistrationId}/depersonalize",
        "Take a device from its person",
        CHANGE,
    )
    .lost(),
    door("post", "/mobile/1/appinstance/{pushRegistrationId}/user/events/custom", "Events of an app", APP)
        .query(&[("validate", "boolean")])
        .body("AppEvents"),
    door("post", "/mobile/1/appinstance/{pushRegistrationId}/user/events/session", "Sessions of an app", APP)
        .body("AppSessions"),
    door("post", "/mobile/1/appinstance/{pushRegistrationId}/personalize", "Say whose the device is", APP)
        .query(&[
            ("forceDepersonalize", "boolean"),
            ("keepAsLead", "boolean"),
            ("setDeviceAsPrimary", "boolean"),
        ])
        .body("Identity"),
    door(
        "post",
        "/mobile/1/appinstance/{pushRegistrationId}/depersonalize",
        "Take the device from its person",
        APP,
    )
    .lost(),
];

/// The shapes of their bodies.
pub(super) fn schemas() -> serde_json::Value {
    let text = || serde_json::json!({"type": "string"});
    let object = || serde_json::json!({"type": "object"});
    let list = || serde_json::json!({"type": "array", "items": {"type": "object"}});
    let with = |name: &str| {
        serde_json::json!({"type": "object", "required": [name], "properties": {name: {
        "type": "array", "minItems": 1, "maxItems": 1000, "items": {"type": "object"}}}})
    };
    serde_json::json!({
        "Asked": object(),
        "PagePerson": {"type": "object", "required": ["visitorId", "sessionId", "person"], "properties": {
            "key": {"type": ["string", "null"]}, "visitorId": text(), "sessionId": text(), "person": object(),
            "update": {"type": ["object", "null"]}, "append": {"type": ["object", "null"], "required": ["name", "items"],
                "properties": {"name": text(), "items": list()}}}},
        "ExportOrder": {"type": "object", "additionalProperties": false,
            "required": ["roleArn", "bucket", "region", "startTime", "endTime"],
            "properties": {"roleArn": text(), "bucket": text(), "region": text(),
                "directoryPath": {"type": ["string", "null"]}, "startTime": text(), "endTime": text(),
                "definitionIdList": {"type": ["array", "null"], "items": text(), "maxItems": 200, "uniqueItems": true},
                "enrichWithMomentsInfo": {"type": ["boolean", "null"]}}},
        "ExportDefinitions": {"type": "object", "required": ["definitionIdList"],
            "properties": {"definitionIdList": {"type": "array", "items": text()}}},
        "ExportStatus": {"type": "object", "required": ["requestId", "status"], "properties": {"requestId": text(),
            "status": {"enum": ["SUBMITTED", "IN_PROGRESS", "COMPLETED_SUCCESSFULLY", "FAILED_AWAITING_RETRY",
                "FAILED_AFTER_MAX_RETRIES", "CANCELLED_BY_CUSTOMER"]}, "message": text()}},
        "Page0": {"type": "object", "required": ["results", "paging"], "properties": {"results": list(), "paging": {
            "type": "object", "required": ["page", "size", "totalPages", "totalResults"]}}},
        "NewSegment": {"type": "object", "additionalProperties": false, "required": ["name"], "properties": {
            "name": text(), "description": {"type": ["string", "null"]}, "query": {"type": ["object", "null"]},
            "events": list(), "id": {}, "createdAt": {}, "modifiedAt": {}}},
        "Segment": {"type": "object", "required": ["id", "name", "description", "query", "events", "createdAt", "modifiedAt"]},
        "Person": object(),
        "StoredPerson": {"type": "object", "required": ["id", "type", "tags", "customAttributes", "contactInformation",
            "createdAt", "modifiedAt"]},
        "Contacts": object(),
        "People": with("people"),
        "Identities": with("identities"),
        "Persons": with("persons"),
        "Results": {"type": "object", "required": ["results"], "properties": {"results": list()}},
        "Upserted": {"type": "object", "required": ["errors", "results"],
            "properties": {"errors": list(), "results": list()}},
        "Named": {"type": "object", "required": ["name"], "properties": {"name": text()}},
        "Attribute": {"type": "object", "additionalProperties": false, "required": ["name", "dataType"], "properties": {
            "name": text(), "dataType": text(), "objectSchema": object()}},
        "Items": {"type": ["array", "object"]},
        "Identity": object(),
        "AppEvents": {"type": "object", "required": ["events"], "properties": {"events": {"type": "array", "items": {
            "type": "object", "required": ["definitionId", "date"], "properties": {"definitionId": text(), "date": text(),
                "properties": {"type": ["object", "null"]}}}}}},
        "AppSessions": {"type": "object", "properties": {"sessionStarts": {"type": "array", "items": text()},
            "sessionBounds": object()}},
    })
}
