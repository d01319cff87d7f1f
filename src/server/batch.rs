//! `POST /people/3/events`: up to 5,000 events, all or none; what is wrong is told with the published codes.

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use serde_json::Value;
use serde_json::json;

use crate::engine::Engine;
use crate::engine::Fate;
use crate::engine::IngestBatch;
use crate::engine::IngestOptions;
use crate::engine::Scope;
use crate::ids::is_event_id;
use crate::ids::is_identifier;
use crate::ingest::Code;
use crate::ingest::Refusal;
use crate::ingest::json::Kind;
use crate::ingest::json::Scanner;
use crate::person::IdentifierType;
use crate::server::access::Caller;
use crate::server::app::App;
use crate::server::body;
use crate::server::fault::Cause;
use crate::server::fault::Fault;
use crate::server::rows::Line;
use crate::server::rows::broken;
use crate::server::rows::push_line;
use crate::server::single::EVENT_BYTES;
use crate::time::Clock;
use crate::time::Micros;
use crate::time::SystemClock;
use crate::time::parse_instant;

const ITEMS: usize = 5_000;
const BATCH_BYTES: u64 = 15_728_640;
/// How far back an event may lie: 30 days.
const BACK: i64 = 30 * 86_400_000_000;

const NO_ARRAY: u32 = 400_500;
const WRONG_EVENT: u32 = 400_501;
const EMPTY: u32 = 400_502;
const TOO_MANY: u32 = 400_503;
const WRONG_ITEM: u32 = 400_504;
const NO_PERSON: u32 = 400_505;
const STANDARD: u32 = 400_506;

pub(crate) async fn send(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Fault> {
    caller.may(&[Scope::Ingest])?;
    let rate = app.settings.batch_rate;
    app.rates.take("batch", caller.name(), rate, rate)?;
    body::expect_json(&headers)?;
    let bytes = body::whole(&app.room, &headers, body, BATCH_BYTES.min(app.settings.request_bytes)).await?;
    let engine = app.engine.clone();
    // Reading thousands of events is work for a thread that nobody else waits for.
    let reading = tokio::task::spawn_blocking(move || read(&engine, body::text(&bytes)?, SystemClock.now()));
    let lines = reading.await.map_err(|_| Fault::new(Cause::Internal, "reading the batch broke off"))??;
    let options = IngestOptions { all_or_none: true, ..IngestOptions::default() };
    let report = app.engine.ingest(IngestBatch::lines(lines), options).await?;
    app.metrics.ingested("batch", &report);
    // An id that is there already is what a repeated batch has.
    let refused = report.rows.iter().filter_map(|row| match &row.fate {
        Fate::Refused(refusal) if refusal.code != Code::EventConflict => Some((row.row, refusal.as_ref())),
        _ => None,
    });
    let errors: Vec<_> = refused.map(|(row, refusal)| of_refusal(row, refusal)).collect();
    if errors.is_empty() { Ok(StatusCode::ACCEPTED) } else { Err(Fault::batch(errors)) }
}

fn error(index: i64, code: u32, message: impl Into<String>) -> Value {
    json!({"index": index, "code": code, "message": message.into()})
}

fn whole(code: u32, message: impl Into<String>) -> Fault {
    Fault::batch(vec![error(-1, code, message)])
}

/// Reads the items by themselves, to one line each; all that is wrong with any of them is told at once.
fn read(engine: &Engine, text: &str, now: Micros) -> Result<Vec<u8>, Fault> {
    const NEEDED: &str = "Request body must be a non-null array.";
    if text.trim().is_empty() {
        return Err(whole(NO_ARRAY, NEEDED));
    }
    let not_json = |fault| whole(NO_ARRAY, format!("{NEEDED} Details: {}", broken(fault).message));
    let mut scanner = Scanner::new(text, false);
    if scanner.kind().map_err(not_json)? != Kind::Array {
        return Err(whole(NO_ARRAY, NEEDED));
    }
    scanner.array().map_err(not_json)?;
    let (mut first, mut items) = (true, Vec::new());
    while scanner.element(&mut first).map_err(not_json)? {
        items.push(scanner.skip().map_err(not_json)?);
        if items.len() > ITEMS {
            return Err(whole(TOO_MANY, format!("Request body must have at most {ITEMS} items.")));
        }
    }
    scanner.end().map_err(not_json)?;
    if items.is_empty() {
        return Err(whole(EMPTY, "Request body must have at least one item."));
    }
    let registry = engine.registry();
    let (mut lines, mut errors) = (Vec::with_capacity(text.len() + items.len()), Vec::new());
    for (index, text) in (0..).zip(items) {
        let item = Item::read(text, now);
        if !item.wrong.is_empty() {
            errors.push(json!({
                "index": index,
                "code": WRONG_ITEM,
                "message": "One or more batch items contain invalid properties.",
                "details": item.wrong,
            }));
            continue;
        }
        if registry.find(&item.definition).is_some_and(|one| one.category.is_standard()) {
            let message =
                format!("\"{}\" is a standard event; only custom events may be posted.", item.definition);
            errors.push(error(index, STANDARD, message));
            continue;
        }
        item.write(&mut lines);
    }
    if errors.is_empty() { Ok(lines) } else { Err(Fault::batch(errors)) }
}

/// What the engine refuses, in the codes of a batch. `row` counts from 1.
fn of_refusal(row: u64, refusal: &Refusal) -> Value {
    let index = i64::try_from(row).unwrap_or(i64::MAX) - 1;
    match refusal.code {
        Code::UnknownPerson | Code::PersonContradiction => {
            error(index, NO_PERSON, format!("Person with such identifier doesn't exist. {}", refusal.message))
        }
        Code::InvalidEventId | Code::InvalidPerson | Code::MissingPerson | Code::RowTooLarge => {
            let property = refusal.property.as_deref().unwrap_or("properties");
            json!({
                "index": index,
                "code": WRONG_ITEM,
                "message": "One or more batch items contain invalid properties.",
                "details": [detail(property, &refusal.message)],
            })
        }
        _ => error(-1, WRONG_EVENT, format!("Invalid event. Details: item {index}: {}", refusal.message)),
    }
}

fn detail(property: &str, message: &str) -> Value {
    json!({"property": property, "message": message})
}

/// What an item may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Definition,
    EventId,
    Occurred,
    Properties,
    Identifier,
    Id,
    Kind,
    Sender,
}

impl Field {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Definition, "definitionId"),
        (Self::EventId, "eventId"),
        (Self::Identifier, "identifier"),
        (Self::Occurred, "occurredTime"),
        (Self::Properties, "properties"),
        (Self::Id, "identifier.id"),
        (Self::Kind, "identifier.type"),
        (Self::Sender, "identifier.sender"),
    ];

    /// The field that a key means, in the item itself or in its identifier.
    fn of(prefix: &str, key: &str) -> Option<(Self, &'static str)> {
        let named = |(_, name): &&(Self, &'static str)| {
            name.strip_prefix(prefix).is_some_and(|rest| rest == key)
                && (!prefix.is_empty() || !key.contains('.'))
        };
        Self::ALL.iter().find(named).copied()
    }

    fn is_text(self) -> bool {
        !matches!(self, Self::Properties | Self::Identifier)
    }
}

/// Fields, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fields(u8);

impl Fields {
    /// Adds one; says whether it was there already.
    fn add(&mut self, field: Field) -> bool {
        let before = self.0;
        self.0 |= 1 << field as u8;
        self.0 == before
    }

    fn has(self, field: Field) -> bool {
        self.0 & (1 << field as u8) != 0
    }
}

/// One item as far as it can be read without a definition.
#[derive(Debug, Default)]
struct Item<'a> {
    text: &'a str,
    definition: Cow<'a, str>,
    event_id: Option<Cow<'a, str>>,
    occurred: Micros,
    kind: Cow<'a, str>,
    id: Cow<'a, str>,
    sender: Cow<'a, str>,
    properties: &'a str,
    seen: Fields,
    /// Those of them that are not null.
    given: Fields,
    /// It must be written anew: what it says is not what is stored.
    changed: bool,
    /// The `details` of what is wrong with it.
    wrong: Vec<Value>,
}

impl<'a> Item<'a> {
    fn read(text: &'a str, now: Micros) -> Self {
        let mut item = Self { text, properties: "null", ..Self::default() };
        if text.len() as u64 > EVENT_BYTES {
            item.say("", &format!("Must have at most {EVENT_BYTES} bytes, found {}.", text.len()));
            return item;
        }
        item.fields(text, "");
        for (field, name) in Field::ALL {
            let needed = matches!(field, Field::Definition | Field::Identifier | Field::Occurred);
            if needed && !item.given.has(field) {
                item.say(name, "Must not be null.");
            }
        }
        if item.wrong.is_empty() {
            item.judge(now);
        }
        item
    }

    fn say(&mut self, property: &str, message: &str) {
        self.wrong.push(detail(property, message));
    }

    /// Reads the fields of the item, or of its identifier.
    fn fields(&mut self, text: &'a str, prefix: &str) {
        let mut scanner = Scanner::new(text, false);
        if !matches!(scanner.kind(), Ok(Kind::Object)) || scanner.object().is_err() {
            return self.say(prefix.trim_end_matches('.'), "Must be an object.");
        }
        let mut first = true;
        // The text was read over once already, so nothing of it is broken.
        while let Ok(Some(key)) = scanner.key(&mut first) {
            let Ok(kind) = scanner.kind() else { return };
            let Some((field, name)) = Field::of(prefix, &key) else {
                self.say(&format!("{prefix}{key}"), "Unknown property.");
                if scanner.skip().is_err() {
                    return;
                }
                continue;
            };
            if self.seen.add(field) {
                self.say(name, "Must be given once.");
            }
            if kind == Kind::Null {
                self.changed = true;
            } else {
                self.given.add(field);
            }
            if field.is_text() && kind == Kind::Text {
                let Ok(value) = scanner.text() else { return };
                match field {
                    Field::Definition => self.definition = value,
                    Field::EventId => self.event_id = Some(value),
                    Field::Occurred => match parse_instant(&value, None) {
                        Ok(moment) => self.occurred = moment,
                        Err(fault) => self.say(name, &format!("Must be an ISO 8601 time: {fault}.")),
                    },
                    Field::Id => self.id = value,
                    Field::Kind => self.kind = value,
                    _ => self.sender = value,
                }
                continue;
            }
            let Ok(value) = scanner.skip() else { return };
            match (field, kind) {
                (_, Kind::Null) => {}
                (Field::Identifier, _) => self.fields(value, "identifier."),
                (Field::Properties, Kind::Object) => self.properties = value,
                (Field::Properties, _) => self.say(name, "Must be an object or null."),
                _ => self.say(name, "Must be a string."),
            }
        }
    }

    /// Adds the item as the line that the engine takes: as it stands, if that is what it is.
    fn write(&self, lines: &mut Vec<u8>) {
        if !self.changed {
            return push_line(self.text, lines);
        }
        let line = Line {
            definition: &self.definition,
            event_id: self.event_id.as_deref(),
            session_id: None,
            person: (&self.kind, &self.id, &self.sender),
            occurred: self.occurred,
            properties: self.properties,
        };
        line.write(lines);
    }

    /// What can be said of the values without asking anybody.
    fn judge(&mut self, now: Micros) {
        if self.event_id.as_deref().is_some_and(|id| !is_event_id(id)) {
            self.say("eventId", "Must have 1 to 36 of A-Z, a-z, 0-9, _ and -.");
        }
        if self.id.is_empty() {
            self.say("identifier.id", "Must not be empty.");
        } else if !is_identifier(&self.id) {
            self.say("identifier.id", "Must have at most 256 characters, none of them a control character.");
        }
        match self.kind.parse::<IdentifierType>() {
            Err(error) => {
                let message = if self.kind.is_empty() { "Must not be null." } else { error.message() };
                self.say("identifier.type", message);
            }
            Ok(kind) if kind.needs_sender() && self.sender.is_empty() => {
                self.say("identifier.sender", "Must not be empty for this type.");
            }
            Ok(kind) if !kind.needs_sender() && self.given.has(Field::Sender) => {
                self.sender = Cow::Borrowed("");
                self.changed = true;
            }
            Ok(_) => {}
        }
        if self.occurred.0 < now.0 - BACK {
            self.say("occurredTime", "Must not be more than 30 days ago.");
        }
        if self.occurred > now {
            self.occurred = now;
            self.changed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = Micros(1_750_000_000_000_000);

    fn wrong(text: &str) -> Vec<String> {
        let item = Item::read(text, NOW);
        item.wrong.iter().map(|one| one["property"].as_str().unwrap().to_owned()).collect()
    }

    fn item(extra: &str) -> String {
        format!(
            r#"{{"definitionId":"a","occurredTime":"2025-06-15T10:00:00Z","identifier":{{"id":"x","type":"EMAIL"}}{extra}}}"#
        )
    }

    #[test]
    fn an_item_is_judged_field_by_field() {
        assert_eq!(wrong(&item("")), Vec::<String>::new());
        assert_eq!(wrong("{}"), ["definitionId", "identifier", "occurredTime"]);
        assert_eq!(wrong(&item(r#","eventId":"a b""#)), ["eventId"]);
        assert_eq!(wrong(&item(r#","eventId":7"#)), ["eventId"]);
        assert_eq!(wrong(&item(r#","color":7"#)), ["color"]);
        assert_eq!(wrong(&item(r#","properties":[]"#)), ["properties"]);
        assert_eq!(wrong(&item(r#","definitionId":"a""#)), ["definitionId"]);
        assert_eq!(wrong("7"), ["", "definitionId", "identifier", "occurredTime"]);
        let with = |identifier: &str| {
            wrong(&format!(
                r#"{{"definitionId":"a","occurredTime":"2025-06-15T10:00:00Z","identifier":{identifier}}}"#
            ))
        };
        assert_eq!(with(r#"{"id":"","type":"EMAIL"}"#), ["identifier.id"]);
        assert_eq!(with(r#"{"id":"a","type":"FAX"}"#), ["identifier.type"]);
        assert_eq!(with(r#"{"id":"a","type":"PUSH"}"#), ["identifier.sender"]);
        assert_eq!(with(r#"{"id":"a"}"#), ["identifier.type"]);
        assert_eq!(with("null"), ["identifier"]);
    }

    #[test]
    fn an_item_is_passed_on_as_it_stands_unless_something_else_is_stored() {
        let line = |text: &str| {
            let item = Item::read(text, NOW);
            assert_eq!(item.wrong, Vec::<Value>::new(), "{text}");
            let mut lines = Vec::new();
            item.write(&mut lines);
            String::from_utf8(lines).unwrap()
        };
        let plain = item(r#","eventId":"e","properties":{"a":[1,{"b":"c"}]}"#);
        assert_eq!(line(&plain), format!("{plain}\n"));
        assert_eq!(
            line(&item(",\n\t\"eventId\":\"e\"\r\n")),
            format!("{}\n", item(", \t\"eventId\":\"e\"  "))
        );
        let anew = |extra: &str, time: &str| {
            format!(
                r#"{{"definitionId":"a"{extra},"identifier":{{"type":"EMAIL","id":"x"}},"occurredTime":"{time}","properties":null}}"#
            ) + "\n"
        };
        let given = "2025-06-15T10:00:00.000000Z";
        assert_eq!(line(&item(r#","eventId":null,"properties":null"#)), anew("", given));
        let later = item(r#","eventId":"e\"""#).replace("e\\\"", "e").replace("2025", "2035");
        assert_eq!(line(&later), anew(r#","eventId":"e""#, &NOW.iso_micros().to_string()));
        let with_sender = item("").replace("\"EMAIL\"", "\"EMAIL\",\"sender\":\"s\"");
        assert_eq!(line(&with_sender), anew("", given));
        assert_eq!(wrong(&item(r#","identifier.id":"x""#)), ["identifier.id"], "no path is a key");
    }

    #[test]
    fn times_far_back_are_refused_and_those_to_come_are_now() {
        let at = |time: &str| {
            let text = item("").replace("2025-06-15T10:00:00Z", time);
            let item = Item::read(&text, NOW);
            (item.wrong.len(), item.occurred)
        };
        assert_eq!(at("2025-07-15T10:00:00Z"), (0, NOW));
        assert_eq!(at("2025-06-15T10:00:00Z").0, 0);
        assert_eq!(at("2025-05-16T15:06:40.000Z").0, 0, "exactly 30 days");
        assert_eq!(at("2025-05-16T15:06:39.999Z").0, 1);
        assert_eq!(at("soon").0, 1);
        assert_eq!(at("2025-06-15T10:00:00").0, 1, "no offset");
    }
}
