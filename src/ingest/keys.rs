//! The values of a row's own keys: texts and ids, and what is said when they do not fit.

use std::borrow::Cow;

use crate::ids::IDENTIFIER_CHARS;
use crate::ids::is_identifier;
use crate::ingest::json::Kind;
use crate::ingest::json::Scanner;
use crate::ingest::report::Code;
use crate::ingest::report::Refusal;
use crate::ingest::validate::broken;
use crate::ingest::validate::shorten;
use crate::ingest::validate::shown;

type Checked<T> = Result<T, Box<Refusal>>;

/// A key whose value has the wrong type; reads over the value.
#[cold]
pub(crate) fn wrong(scanner: &mut Scanner<'_>, key: &str, expected: &str) -> Checked<Box<Refusal>> {
    let found = shown(scanner)?;
    let message = format!("\"{key}\" must be {expected}, found {found}");
    Ok(Refusal::new(Code::WrongType, message).about(key).because(expected, &found))
}

/// An id that has what it may not have.
#[cold]
pub(crate) fn bad_id(code: Code, key: &str, expected: &str, found: &str) -> Box<Refusal> {
    // Quoted as JSON quotes it, so that a control character can be seen.
    let found = format!("the string {}", shorten(&serde_json::Value::from(found).to_string()));
    Refusal::new(code, format!("\"{key}\" must be {expected}, found {found}"))
        .about(key)
        .because(expected, &found)
}

/// What an identifier must be, in words.
pub(crate) fn identifier_rule() -> String {
    format!("1 to {IDENTIFIER_CHARS} characters without control characters")
}

/// [`is_identifier`], with a short way for short ASCII.
#[inline]
pub(crate) fn fits(id: &str) -> bool {
    let short = (1..=IDENTIFIER_CHARS).contains(&id.len());
    (short && id.bytes().all(|byte| (0x20..0x7f).contains(&byte))) || is_identifier(id)
}

/// A text that must be given.
#[inline]
pub(crate) fn required_text<'a>(scanner: &mut Scanner<'a>, key: &str) -> Checked<Cow<'a, str>> {
    match scanner.kind().map_err(broken)? {
        Kind::Text => scanner.text().map_err(broken),
        _ => Err(wrong(scanner, key, "a string")?),
    }
}

/// A text, or null.
#[inline]
pub(crate) fn optional_text<'a>(scanner: &mut Scanner<'a>, key: &str) -> Checked<Option<Cow<'a, str>>> {
    match scanner.kind().map_err(broken)? {
        Kind::Text => scanner.text().map(Some).map_err(broken),
        Kind::Null => scanner.null().map(|()| None).map_err(broken),
        _ => Err(wrong(scanner, key, "a string or null")?),
    }
}
