//! One JSON value into one checked value: strict types, rules, and what is said when they do not fit.

use std::borrow::Cow;

use crate::ingest::column::Slot;
use crate::ingest::json::JsonFault;
use crate::ingest::json::Kind;
use crate::ingest::json::Scanner;
use crate::ingest::json::What;
use crate::ingest::number::DecimalFault;
use crate::ingest::plan::FieldPlan;
use crate::ingest::plan::Plan;
use crate::ingest::plan::PropertyPlan;
use crate::ingest::report::Code;
use crate::ingest::report::Refusal;
use crate::schema::PropertyType;
use crate::schema::Rule;
use crate::time::Micros;
use crate::time::TimeFault;
use crate::time::Zone;
use crate::time::parse_day_first;
use crate::time::parse_instant;
use crate::value::ScalarType;

type Checked<T> = Result<T, Box<Refusal>>;

/// The most characters of a value that a message shows.
const SHOWN_CHARS: usize = 60;

/// A fault of the JSON itself as a refusal.
#[cold]
pub(crate) fn broken(fault: JsonFault) -> Box<Refusal> {
    let code = if fault.what == What::LoneSurrogate { Code::LoneSurrogate } else { Code::InvalidJson };
    let mut refusal = Refusal::new(code, format!("byte {}: {}", fault.at + 1, fault.what.reason()));
    if let What::Expected(expected) = fault.what {
        refusal.expected = Some(expected.to_owned());
    }
    refusal
}

/// The value that stands next, with its type, shortened; reads over it.
#[cold]
pub(crate) fn shown(scanner: &mut Scanner<'_>) -> Checked<String> {
    let kind = scanner.kind().map_err(broken)?;
    let text = scanner.skip().map_err(broken)?;
    Ok(match kind {
        Kind::Null | Kind::Boolean => shorten(text),
        Kind::Number => format!("the number {}", shorten(text)),
        Kind::Text => format!("the string {}", shorten(text)),
        Kind::Array | Kind::Object => format!("{} {}", kind.name(), shorten(text)),
    })
}

/// A text cut for a message.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What a time is refused for.
pub(crate) fn time_code(fault: TimeFault) -> Code {
    match fault {
        TimeFault::Form | TimeFault::NoSuchDate | TimeFault::NoSuchTime => Code::InvalidTime,
        TimeFault::NoOffset => Code::TimeWithoutOffset,
        TimeFault::OutOfRange => Code::TimeOutOfRange,
        TimeFault::Seconds => Code::SecondsForMilliseconds,
    }
}

/// How values are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Values {
    pub zone: Option<Zone>,
}

/// Where a value belongs, for messages.
#[derive(Clone, Copy, Debug)]
struct Place<'p> {
    plan: &'p Plan,
    property: &'p PropertyPlan,
    /// The number of the object in the list, from 1, and its field.
    field: Option<(usize, &'p FieldPlan)>,
}

impl Place<'_> {
    /// The name of the property, or of the field in the list's object: `seats[2].price`.
    fn name(&self) -> String {
        match self.field {
            Some((number, field)) => format!("{}[{number}].{}", self.property.name, field.name),
            None => self.property.name.clone(),
        }
    }

    #[cold]
    fn refuse(&self, code: Code, expected: &str, found: &str, why: &str) -> Box<Refusal> {
        let name = self.name();
        let message = format!(
            "property \"{name}\" of \"{}\" must be {expected}, found {found}{why}",
            self.plan.definition.id
        );
        Refusal::new(code, message).about(&name).because(expected, found)
    }
}

impl Values {
    /// Reads the value of one property. The fields of a list's objects are appended to `items`, object by object.
    #[inline]
    pub(crate) fn property<'a>(
        &self,
        scanner: &mut Scanner<'a>,
        plan: &Plan,
        property: &PropertyPlan,
        items: &mut Vec<Slot<'a>>,
    ) -> Checked<Slot<'a>> {
        let place = Place { plan, property, field: None };
        match &property.kind {
            PropertyType::Scalar(kind) => {
                let slot = self.scalar(scanner, *kind, place)?;
                if property.rules.is_empty() { Ok(slot) } else { obey(slot, place) }
            }
            PropertyType::List(_) => self.list(scanner, place, items),
        }
    }

    #[inline]
    fn scalar<'a>(&self, scanner: &mut Scanner<'a>, kind: ScalarType, place: Place<'_>) -> Checked<Slot<'a>> {
        let found = scanner.kind().map_err(broken)?;
        match (kind, found) {
            (_, Kind::Null) => scanner.null().map(|()| Slot::Null).map_err(broken),
            (ScalarType::String, Kind::Text) => scanner.text().map(Slot::Text).map_err(broken),
            (ScalarType::Boolean, Kind::Boolean) => scanner.boolean().map(Slot::Boolean).map_err(broken),
            (ScalarType::Numeric, Kind::Number) => {
                let number = scanner.number().map_err(broken)?;
                number.to_i64().map(Slot::Integer).ok_or_else(|| {
                    let code = if number.plain { Code::NumberOutOfRange } else { Code::WrongType };
                    place.refuse(code, kind.expected(), &format!("the number {}", shorten(number.text)), "")
                })
            }
            (ScalarType::Decimal, Kind::Number) => {
                let number = scanner.number().map_err(broken)?;
                number.to_f64().map(Slot::Decimal).map_err(|fault| {
                    let found = format!("the number {}", shorten(number.text));
                    match fault {
                        DecimalFault::Inexact => {
                            let why = ", which 64 bits of floating point cannot hold exactly; a Numeric property can, or write it with a point to have it rounded";
                            place.refuse(Code::InexactNumber, kind.expected(), &found, why)
                        }
                        DecimalFault::NotFinite => {
                            place.refuse(Code::NumberOutOfRange, kind.expected(), &found, ", which is too great")
                        }
                    }
                })
            }
            (ScalarType::DateTime, Kind::Text) => {
                let text = scanner.text().map_err(broken)?;
                self.time(&text, place.field.is_none() && place.property.day_first).map(Slot::Time).map_err(
                    |fault| {
                        let found = format!("the string \"{}\"", shorten(&text));
                        place.refuse(time_code(fault), kind.expected(), &found, &format!(": {fault}"))
                    },
                )
            }
            _ => {
                let found = shown(scanner)?;
                Err(place.refuse(Code::WrongType, kind.expected(), &found, ""))
            }
        }
    }

    fn time(&self, text: &str, day_first: bool) -> Result<Micros, TimeFault> {
        if day_first && text.as_bytes().get(2) == Some(&b'/') {
            return parse_day_first(text);
        }
        parse_instant(text, self.zone)
    }

    fn list<'a>(
        &self,
        scanner: &mut Scanner<'a>,
        place: Place<'_>,
        items: &mut Vec<Slot<'a>>,
    ) -> Checked<Slot<'a>> {
        const EXPECTED: &str = "an array of objects";
        match scanner.kind().map_err(broken)? {
            Kind::Null => return scanner.null().map(|()| Slot::Null).map_err(broken),
            Kind::Array => scanner.array().map_err(broken)?,
            _ => {
                let found = shown(scanner)?;
                return Err(place.refuse(Code::WrongType, EXPECTED, &found, ""));
            }
        }
        let (mut first, mut count) = (true, 0);
        while scanner.element(&mut first).map_err(broken)? {
            count += 1;
            if scanner.kind().map_err(broken)? != Kind::Object {
                let found = format!("{} as item {count}", shown(scanner)?);
                return Err(place.refuse(Code::WrongType, EXPECTED, &found, ""));
            }
            self.object(scanner, place, count, items)?;
        }
        Ok(Slot::List(count))
    }

    fn object<'a>(
        &self,
        scanner: &mut Scanner<'a>,
        place: Place<'_>,
        number: usize,
        items: &mut Vec<Slot<'a>>,
    ) -> Checked<()> {
        let fields = &place.property.fields;
        let start = items.len();
        items.resize_with(start + fields.len(), Slot::default);
        // A List has at most 128 fields.
        let mut seen: u128 = 0;
        let (mut first, mut next) = (true, 0);
        scanner.object().map_err(broken)?;
        while let Some(key) = scanner.key(&mut first).map_err(broken)? {
            let guess = fields.get(next).filter(|field| field.name == *key).map(|_| next);
            let Some(at) = guess.or_else(|| fields.iter().position(|field| field.name == *key)) else {
                return Err(extra_key(place, number, &key));
            };
            let bit = 1u128.checked_shl(u32::try_from(at).unwrap_or(u32::MAX)).unwrap_or_default();
            let place = Place { field: Some((number, &fields[at])), ..place };
            if seen & bit != 0 {
                return Err(twice(&place.name()));
            }
            seen |= bit;
            items[start + at] = self.scalar(scanner, fields[at].kind, place)?;
            next = at + 1;
        }
        Ok(())
    }
}

/// A key that comes twice in one object.
#[cold]
pub(crate) fn twice(key: &str) -> Box<Refusal> {
    Refusal::new(Code::DuplicateKey, format!("\"{key}\" is given twice")).about(key)
}

#[cold]
fn extra_key(place: Place<'_>, number: usize, key: &str) -> Box<Refusal> {
    let names = || place.property.fields.iter().map(|field| field.name.as_str());
    let hint = match names().find(|name| name.eq_ignore_ascii_case(key)) {
        Some(name) => format!("; it differs only by case from \"{name}\""),
        None => crate::error::did_you_mean(key, names()),
    };
    let list = &place.property.name;
    let message = format!(
        "the objects of \"{list}\" of \"{}\" have no field \"{key}\"{hint}",
        place.plan.definition.id
    );
    Refusal::new(Code::UnknownProperty, message).about(&format!("{list}[{number}].{key}"))
}

/// Holds a text to the rules of its property.
fn obey<'a>(slot: Slot<'a>, place: Place<'_>) -> Checked<Slot<'a>> {
    let Slot::Text(mut text) = slot else { return Ok(slot) };
    for rule in &place.property.rules {
        match rule {
            Rule::CutAt(limit) => text = cut(text, *limit),
            Rule::StartsWith(start) if !text.starts_with(start) => {
                let expected = format!("a string that starts with \"{start}\"");
                let found = format!("the string \"{}\"", shorten(&text));
                return Err(place.refuse(Code::RuleBroken, &expected, &found, ""));
            }
            Rule::OneOf(choices) if !choices.iter().any(|choice| *choice == *text) => {
                let expected = format!("one of \"{}\"", choices.join("\", \""));
                let hint = crate::error::did_you_mean(&text, choices.iter().map(String::as_str));
                let found = format!("the string \"{}\"", shorten(&text));
                return Err(place.refuse(Code::RuleBroken, &expected, &found, &hint));
            }
            Rule::StartsWith(_) | Rule::OneOf(_) | Rule::DayFirst => {}
        }
    }
    Ok(Slot::Text(text))
}

/// The first so many code points of a text.
fn cut(text: Cow<'_, str>, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit {
        return text;
    }
    let Some((end, _)) = text.char_indices().nth(limit) else { return text };
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
        Cow::Owned(mut text) => {
            text.truncate(end);
            Cow::Owned(text)
        }
    }
}
