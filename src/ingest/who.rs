//! Who did it, as rows say it: our own id, an external id, or an identifier of some kind.

use std::borrow::Cow;

use crate::ids::PersonId;
use crate::ingest::json::Kind;
use crate::ingest::json::Scanner;
use crate::ingest::keys::bad_id;
use crate::ingest::keys::fits;
use crate::ingest::keys::identifier_rule;
use crate::ingest::keys::optional_text;
use crate::ingest::keys::required_text;
use crate::ingest::keys::wrong;
use crate::ingest::report::Code;
use crate::ingest::report::Refusal;
use crate::ingest::validate::broken;
use crate::ingest::validate::twice;
use crate::person::IdentifierType;

type Checked<T> = Result<T, Box<Refusal>>;

/// The greatest `personId` that is taken: every reader of JSON holds it exactly.
pub const PERSON_ID_LIMIT: i64 = (1 << 53) - 1;

/// Who did it, as the row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who<'a> {
    /// By our own id; with the external id that the person has, if the row gives it too.
    Id(PersonId, Option<Cow<'a, str>>),
    /// By an identifier; the sender is empty for the kinds that need none.
    Named(IdentifierType, Cow<'a, str>, Cow<'a, str>),
}

impl<'a> Who<'a> {
    /// The person from the three ways in which a row may give one; exactly one way, but an own id and an external id
    /// may stand together.
    pub(crate) fn of(
        id: Option<PersonId>,
        external: Option<Cow<'a, str>>,
        identifier: Option<GivenIdentifier<'a>>,
    ) -> Checked<Self> {
        if let Some(id) = external.as_deref().filter(|id| !fits(id)) {
            return Err(bad_id(Code::InvalidPerson, "externalPersonId", &identifier_rule(), id));
        }
        Ok(match (id, external, identifier) {
            (None, None, None) => {
                let message = "a row needs its person: \"personId\", \"externalPersonId\" or \"identifier\"";
                return Err(Refusal::new(Code::MissingPerson, message));
            }
            (Some(id), external, None) => Self::Id(id, external),
            (None, Some(external), None) => {
                Self::Named(IdentifierType::ExternalId, external, Cow::Borrowed(""))
            }
            (None, None, Some((IdentifierType::Id, id, _))) => {
                Self::Id(parse_person_id("identifier.id", &id)?, None)
            }
            (None, None, Some((kind, id, sender))) => Self::Named(kind, id, sender),
            (_, _, Some(_)) => {
                let message = "the person is given twice: \"identifier\" stands beside \"personId\" or \"externalPersonId\"";
                return Err(Refusal::new(Code::InvalidPerson, message).about("identifier"));
            }
        })
    }
}

/// A `personId`: digits, in a string or not; or null.
pub(crate) fn person_id(scanner: &mut Scanner<'_>, key: &str) -> Checked<Option<PersonId>> {
    match scanner.kind().map_err(broken)? {
        Kind::Null => scanner.null().map(|()| None).map_err(broken),
        Kind::Text => parse_person_id(key, &scanner.text().map_err(broken)?).map(Some),
        Kind::Number => parse_person_id(key, scanner.number().map_err(broken)?.text).map(Some),
        _ => Err(wrong(scanner, key, "an integer, or its digits in a string")?),
    }
}

/// Digits without a sign and without leading zeros, so that one person has one spelling.
fn parse_person_id(key: &str, digits: &str) -> Checked<PersonId> {
    let plain = !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse() {
        Ok(id @ 1..=PERSON_ID_LIMIT) if plain => Ok(PersonId(id)),
        _ => {
            Err(bad_id(Code::InvalidPerson, key, &format!("an integer from 1 to {PERSON_ID_LIMIT}"), digits))
        }
    }
}

/// Kind, id and sender.
pub(crate) type GivenIdentifier<'a> = (IdentifierType, Cow<'a, str>, Cow<'a, str>);

/// `{"id": …, "type": …, "sender": …}`. The sender must be given for the kinds that need one and is passed over for
/// the others.
pub(crate) fn identifier<'a>(scanner: &mut Scanner<'a>) -> Checked<Option<GivenIdentifier<'a>>> {
    match scanner.kind().map_err(broken)? {
        Kind::Null => return scanner.null().map(|()| None).map_err(broken),
        Kind::Object => scanner.object().map_err(broken)?,
        _ => return Err(wrong(scanner, "identifier", "an object or null")?),
    }
    let (mut id, mut kind, mut sender) = (None, None, None);
    let (mut first, mut seen) = (true, 0u8);
    while let Some(key) = scanner.key(&mut first).map_err(broken)? {
        let (bit, name) = match &*key {
            "id" => (1, "identifier.id"),
            "type" => (2, "identifier.type"),
            "sender" => (4, "identifier.sender"),
            _ => {
                let message =
                    format!("\"identifier\" has no field \"{key}\"; it has \"id\", \"type\" and \"sender\"");
                return Err(Refusal::new(Code::UnknownKey, message).about(&format!("identifier.{key}")));
            }
        };
        if seen & bit != 0 {
            return Err(twice(name));
        }
        seen |= bit;
        match bit {
            1 => id = Some(required_text(scanner, name)?),
            2 => {
                let text = required_text(scanner, name)?;
                let parsed = text.parse::<IdentifierType>();
                kind = Some(
                    parsed.map_err(|error| Refusal::new(Code::InvalidPerson, error.message()).about(name))?,
                );
            }
            _ => sender = optional_text(scanner, name)?,
        }
    }
    let incomplete = |name: &str| {
        Refusal::new(Code::InvalidPerson, format!("\"identifier\" needs \"{name}\""))
            .about(&format!("identifier.{name}"))
    };
    let id = id.ok_or_else(|| incomplete("id"))?;
    let kind = kind.ok_or_else(|| incomplete("type"))?;
    if !fits(&id) {
        return Err(bad_id(Code::InvalidPerson, "identifier.id", &identifier_rule(), &id));
    }
    if !kind.needs_sender() {
        return Ok(Some((kind, id, Cow::Borrowed(""))));
    }
    let sender = sender.ok_or_else(|| incomplete("sender"))?;
    if !fits(&sender) {
        return Err(bad_id(Code::InvalidPerson, "identifier.sender", &identifier_rule(), &sender));
    }
    Ok(Some((kind, id, sender)))
}
