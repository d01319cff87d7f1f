//! Parameters of prepared statements, put into the text as literals: so they work in every statement, ours too.

use pgwire::api::Type;

use crate::quote::literal;
use crate::time::Day;
use crate::time::Micros;

/// Microseconds and days from 1970 to 2000, where Postgres counts from.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
const EPOCH_DAYS: i32 = 10_957;

/// A value that a client gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parameter {
    Null,
    /// Digits, with a sign, a point, an exponent perhaps, and nothing else.
    Number(String),
    Boolean(bool),
    Text(String),
}

impl Parameter {
    /// Reads what the wire brings.
    pub(crate) fn read(bytes: Option<&[u8]>, kind: &Type, binary: bool) -> Result<Self, String> {
        let Some(bytes) = bytes else { return Ok(Self::Null) };
        if binary { Self::of_binary(bytes, kind) } else { Self::of_text(utf8(bytes)?, kind) }
    }

    fn of_text(text: &str, kind: &Type) -> Result<Self, String> {
        let numbers =
            [Type::INT2, Type::INT4, Type::INT8, Type::FLOAT4, Type::FLOAT8, Type::NUMERIC, Type::OID];
        if numbers.contains(kind) {
            let plain = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
            return match text.parse::<f64>() {
                Ok(_) if text.chars().all(plain) => Ok(Self::Number(text.to_owned())),
                _ => Err(format!("\"{}\" is no number", text.escape_debug())),
            };
        }
        if *kind == Type::BOOL {
            return match text {
                "t" | "true" | "on" | "1" => Ok(Self::Boolean(true)),
                "f" | "false" | "off" | "0" => Ok(Self::Boolean(false)),
                other => Err(format!("\"{}\" is no boolean", other.escape_debug())),
            };
        }
        Ok(Self::Text(text.to_owned()))
    }

    fn of_binary(bytes: &[u8], kind: &Type) -> Result<Self, String> {
        let whole = |bytes: &[u8]| -> Option<i64> {
            Some(match bytes.len() {
                2 => i16::from_be_bytes(bytes.try_into().ok()?).into(),
                4 => i32::from_be_bytes(bytes.try_into().ok()?).into(),
                8 => i64::from_be_bytes(bytes.try_into().ok()?),
                _ => return None,
            })
        };
        let read = match *kind {
            Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => {
                whole(bytes).map(|number| Self::Number(number.to_string()))
            }
            Type::FLOAT4 => bytes
                .try_into()
                .ok()
                .map(f32::from_be_bytes)
                .filter(|n| n.is_finite())
                .map(|n| Self::Number(format!("{n:?}"))),
            Type::FLOAT8 => bytes
                .try_into()
                .ok()
                .map(f64::from_be_bytes)
                .filter(|n| n.is_finite())
                .map(|n| Self::Number(format!("{n:?}"))),
            Type::BOOL => bytes.first().map(|byte| Self::Boolean(*byte != 0)),
            Type::TIMESTAMP | Type::TIMESTAMPTZ => {
                let moment = whole(bytes).and_then(|micros| micros.checked_add(EPOCH_MICROS));
                moment.map(|micros| Self::Text(Micros(micros).iso_micros().as_str().to_owned()))
            }
            Type::DATE => {
                let day = bytes.try_into().ok().map(i32::from_be_bytes);
                let day = day.and_then(|days| days.checked_add(EPOCH_DAYS));
                day.map(|days| Self::Text(Day(days).iso().as_str().to_owned()))
            }
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::JSON => {
                return utf8(bytes).map(|text| Self::Text(text.to_owned()));
            }
            _ => {
                return Err(format!(
                    "parameters of the type {kind} are not taken in binary; send them as text"
                ));
            }
        };
        read.ok_or_else(|| format!("{} bytes are no {kind}", bytes.len()))
    }

    fn literal(&self) -> String {
        match self {
            Self::Null => "NULL".to_owned(),
            // A sign must not meet one that stands before it: two make a comment.
            Self::Number(number) if number.starts_with(['-', '+']) => format!("({number})"),
            Self::Number(number) => number.clone(),
            Self::Boolean(value) => if *value { "TRUE" } else { "FALSE" }.to_owned(),
            Self::Text(text) => literal(text),
        }
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| format!("byte {}: not UTF-8", error.valid_up_to() + 1))
}

/// How many parameters a text has: the highest number.
pub(crate) fn count(text: &str) -> usize {
    let numbers = pieces(text).filter_map(|piece| match piece {
        Piece::Parameter(number) => Some(number),
        Piece::Text(_) => None,
    });
    numbers.max().unwrap_or(0)
}

/// The text with `$1`, `$2` … replaced, where they are parameters: not in strings, names and comments.
pub(crate) fn fill_in(text: &str, given: &[Parameter]) -> Result<String, String> {
    let mut out = String::with_capacity(text.len() + 16 * given.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Parameter(number) => {
                let parameter = number.checked_sub(1).and_then(|at| given.get(at));
                let parameter = parameter.ok_or_else(|| format!("there is no value for ${number}"))?;
                out.push_str(&parameter.literal());
            }
        }
    }
    Ok(out)
}

#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Parameter(usize),
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some((number, after)) = parameter(rest) {
            rest = after;
            return Some(Piece::Parameter(number));
        }
        let end = plain_end(rest);
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(Piece::Text(piece))
    })
}

fn parameter(text: &str) -> Option<(usize, &str)> {
    let digits = text.strip_prefix('$')?;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    Some((digits[..end].parse().ok()?, &digits[end..]))
}

/// Where the next parameter may stand; at least one character on.
fn plain_end(text: &str) -> usize {
    let until =
        |start: usize, end: &str| text[start..].find(end).map_or(text.len(), |at| start + at + end.len());
    match text.chars().next() {
        // A doubled quote ends one string and begins the next, which comes to the same.
        Some('\'') => until(1, "'"),
        Some('"') => until(1, "\""),
        Some('-') if text.starts_with("--") => until(2, "\n"),
        Some('/') if text.starts_with("/*") => until(2, "*/"),
        Some(first) => {
            let start = first.len_utf8();
            let stop = ['\'', '"', '-', '/', '$'];
            text[start..].find(stop).map_or(text.len(), |at| start + at)
        }
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_filled_in_where_they_are_parameters() {
        let text = "SELECT $1, '$1 ''$2''', \"$1\" -- $1\n, /* $2 */ a - $2, $11$1";
        let mut given = vec![Parameter::Null; 11];
        given[0] = Parameter::Text("it's".to_owned());
        given[1] = Parameter::Number("-5".to_owned());
        given[10] = Parameter::Boolean(true);
        assert_eq!(count(text), 11);
        assert_eq!(
            fill_in(text, &given).unwrap(),
            "SELECT 'it''s', '$1 ''$2''', \"$1\" -- $1\n, /* $2 */ a - (-5), TRUE'it''s'"
        );
        assert!(fill_in("SELECT $3", &given[..2]).is_err() && fill_in("SELECT $0", &given).is_err());
        assert_eq!(fill_in("SELECT '$1", &given).unwrap(), "SELECT '$1");
        assert_eq!(count("SELECT $tag, 'é$1'"), 0);
    }

    #[test]
    fn values_are_read_in_text_and_in_binary() {
        let text = |value: &str, kind: Type| Parameter::read(Some(value.as_bytes()), &kind, false);
        assert_eq!(text("17", Type::INT8), Ok(Parameter::Number("17".to_owned())));
        assert_eq!(text("t", Type::BOOL), Ok(Parameter::Boolean(true)));
        assert_eq!(text("17", Type::UNKNOWN), Ok(Parameter::Text("17".to_owned())));
        for wrong in ["1; DROP", "NaN", "inf", "", "0x1"] {
            assert!(text(wrong, Type::INT8).is_err(), "{wrong}");
        }
        let binary = |bytes: &[u8], kind: Type| Parameter::read(Some(bytes), &kind, true);
        assert_eq!(binary(&(-2_i32).to_be_bytes(), Type::INT4), Ok(Parameter::Number("-2".to_owned())));
        assert_eq!(binary(&1.5_f64.to_be_bytes(), Type::FLOAT8), Ok(Parameter::Number("1.5".to_owned())));
        let moment = Parameter::Text("2000-01-01T00:00:01.000000Z".to_owned());
        assert_eq!(binary(&1_000_000_i64.to_be_bytes(), Type::TIMESTAMPTZ), Ok(moment));
        assert_eq!(binary(&1_i32.to_be_bytes(), Type::DATE), Ok(Parameter::Text("2000-01-02".to_owned())));
        assert!(binary(&[1, 2, 3], Type::INT4).is_err() && binary(&[0xff], Type::TEXT).is_err());
        assert_eq!(Parameter::read(None, &Type::INT4, true), Ok(Parameter::Null));
    }
}
