//! Events as the published endpoints give them, as the rows that the engine takes, and what its refusals mean to a caller.

use std::borrow::Cow;
use std::io::Write;

use memchr::memchr2;
use serde_json::json;

use crate::error::did_you_mean;
use crate::ingest::Code;
use crate::ingest::Refusal;
use crate::ingest::json::JsonFault;
use crate::ingest::json::Kind;
use crate::ingest::json::Scanner;
use crate::server::fault::Cause;
use crate::server::fault::Fault;
use crate::time::Micros;

/// What an event says, as the body of a single send has it.
#[derive(Debug, Default)]
pub(crate) struct Said<'a> {
    pub(crate) event_id: Option<Cow<'a, str>>,
    /// JSON: an object, or null; nothing when it is not given.
    pub(crate) properties: Option<&'a str>,
    pub(crate) session_id: Option<Cow<'a, str>>,
    /// Of the older form, whose plug-ins repeat in the body what stands in the path.
    pub(crate) definition_id: Option<Cow<'a, str>>,
    pub(crate) identifier_type: Option<Cow<'a, str>>,
}

impl<'a> Said<'a> {
    /// Reads a body whose keys are among `known`.
    pub(crate) fn read(text: &'a str, known: &[&str]) -> Result<Self, Fault> {
        if text.trim().is_empty() {
            return Err(Fault::invalid("a body is needed; {} is an event without properties"));
        }
        let mut scanner = Scanner::new(text, false);
        if scanner.kind().map_err(broken)? != Kind::Object {
            return Err(Fault::invalid("the body must be a JSON object; {} is an event without properties"));
        }
        scanner.object().map_err(broken)?;
        let mut said = Self::default();
        let (mut first, mut seen) = (true, Vec::new());
        while let Some(key) = scanner.key(&mut first).map_err(broken)? {
            if !known.contains(&&*key) {
                let hint = did_you_mean(&key, known.iter().copied());
                return Err(invalid(&key, format!("unknown key \"{key}\"{hint}")));
            }
            if seen.contains(&key) {
                return Err(invalid(&key, format!("the key \"{key}\" is given twice")));
            }
            match &*key {
                "properties" => {
                    let kind = scanner.kind().map_err(broken)?;
                    if !matches!(kind, Kind::Object | Kind::Null) {
                        let message =
                            format!("\"properties\" must be an object or null, found {}", kind.name());
                        return Err(invalid(&key, message));
                    }
                    said.properties = Some(scanner.skip().map_err(broken)?);
                }
                name => {
                    let value = text_or_null(&mut scanner, name)?;
                    match name {
                        "eventId" => said.event_id = value,
                        "sessionId" => said.session_id = value,
                        "definitionId" => said.definition_id = value,
                        _ => said.identifier_type = value,
                    }
                }
            }
            seen.push(key);
        }
        scanner.end().map_err(broken)?;
        Ok(said)
    }
}

fn text_or_null<'a>(scanner: &mut Scanner<'a>, key: &str) -> Result<Option<Cow<'a, str>>, Fault> {
    match scanner.kind().map_err(broken)? {
        Kind::Null => scanner.null().map(|()| None).map_err(broken),
        Kind::Text => scanner.text().map(Some).map_err(broken),
        other => Err(invalid(key, format!("\"{key}\" must be a string or null, found {}", other.name()))),
    }
}

/// A body that is no JSON, with the byte where that shows.
pub(crate) fn broken(fault: JsonFault) -> Fault {
    Fault::invalid(format!("the body is not JSON: at byte {}: {}", fault.at + 1, fault.what.reason()))
}

/// What is wrong with one property of the request.
pub(crate) fn invalid(property: &str, message: String) -> Fault {
    let errors = json!({property: [message]});
    Fault { errors: Some(Box::new(errors)), ..Fault::invalid(message) }
}

/// A row for the engine.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) definition: &'a str,
    pub(crate) event_id: Option<&'a str>,
    pub(crate) session_id: Option<&'a str>,
    /// Type, id and sender; the sender is empty where none is needed.
    pub(crate) person: (&'a str, &'a str, &'a str),
    pub(crate) occurred: Micros,
    /// JSON as it came.
    pub(crate) properties: &'a str,
}

impl Line<'_> {
    /// Adds the row and its line end.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let (kind, id, sender) = self.person;
        let texts = [
            ("{\"definitionId\":", Some(self.definition)),
            (",\"eventId\":", self.event_id),
            (",\"sessionId\":", self.session_id),
            (",\"identifier\":{\"type\":", Some(kind)),
            (",\"id\":", Some(id)),
            (",\"sender\":", Some(sender).filter(|sender| !sender.is_empty())),
        ];
        for (before, text) in texts {
            if let Some(text) = text {
                out.extend_from_slice(before.as_bytes());
                // Writing to memory cannot fail.
                let _ = serde_json::to_writer(&mut *out, text);
            }
        }
        let _ = write!(out, "}},\"occurredTime\":\"{}\",\"properties\":", self.occurred.iso_micros());
        push_json(self.properties, out);
        out.extend_from_slice(b"}\n");
    }
}

/// Adds JSON as one line. A line end in JSON is mere space: inside of strings none stands bare.
pub(crate) fn push_line(json: &str, out: &mut Vec<u8>) {
    push_json(json, out);
    out.push(b'\n');
}

fn push_json(json: &str, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(json.as_bytes());
    if memchr2(b'\n', b'\r', json.as_bytes()).is_some() {
        let ends = out[start..].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r'));
        ends.for_each(|byte| *byte = b' ');
    }
}

/// What a refusal of the engine is to whoever sent one event.
pub(crate) fn refused(refusal: &Refusal) -> Fault {
    match refusal.code {
        Code::UnknownPerson
        | Code::PersonContradiction
        | Code::UnknownDefinition
        | Code::TemplateDefinition => Fault::not_found(refusal.message.clone()),
        Code::EventConflict => Fault::new(Cause::Conflict, refusal.message.clone()),
        _ => invalid(refusal.property.as_deref().unwrap_or("properties"), refusal.message.clone()),
    }
}

/// `yyyy-MM-dd'T'HH:mm:ss.SSSSSSS'Z'`: seven digits, as the published answers have them.
pub(crate) fn seven_digits(moment: Micros) -> String {
    format!("{}0Z", moment.iso_micros().as_str().trim_end_matches('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 2] = ["eventId", "properties"];

    fn refusal(text: &str) -> String {
        Said::read(text, &KNOWN).unwrap_err().message
    }

    #[test]
    fn empty_null_and_absent_properties_are_told_from_an_absent_body() {
        assert_eq!(Said::read("{}", &KNOWN).unwrap().properties, None);
        assert_eq!(Said::read(r#"{"properties":null}"#, &KNOWN).unwrap().properties, Some("null"));
        assert_eq!(Said::read(r#" {"properties": {} } "#, &KNOWN).unwrap().properties, Some("{}"));
        for wrong in ["", "  \n", "null", "[]", "\"x\"", "7"] {
            assert!(refusal(wrong).contains("is an event without properties"), "{wrong}");
        }
        assert!(refusal("{").starts_with("the body is not JSON: at byte 2"));
        assert!(refusal("{} {}").contains("something follows"));
        assert!(refusal(r#"{"properties":[]}"#).contains("an object or null, found an array"));
        assert!(refusal(r#"{"eventId":7}"#).contains("a string or null, found a number"));
        assert!(refusal(r#"{"eventid":"a"}"#).ends_with("did you mean \"eventId\"?"));
        assert!(refusal(r#"{"eventId":"a","eventId":"a"}"#).contains("given twice"));
    }

    #[test]
    fn a_row_is_one_line_whatever_the_body_looks_like() {
        let mut out = Vec::new();
        let line = Line {
            definition: "a",
            event_id: Some("e\"1"),
            session_id: None,
            person: ("PUSH", "r", "app"),
            occurred: Micros(0),
            properties: "{\n\"x\":\r\n1}",
        };
        line.write(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            concat!(
                r#"{"definitionId":"a","eventId":"e\"1","identifier":{"type":"PUSH","id":"r","sender":"app"},"#,
                r#""occurredTime":"1970-01-01T00:00:00.000000Z","properties":{ "x":  1}}"#,
                "\n"
            )
        );
    }

    #[test]
    fn times_are_answered_with_seven_digits() {
        assert_eq!(seven_digits(Micros(1_744_881_164_183_000)), "2025-04-17T09:12:44.1830000Z");
    }
}
