use proptest::prelude::*;
use serde_json::Map;
use serde_json::Value;

use super::*;

/// The value that follows, as serde_json would hold it; none for what only serde_json refuses (a number that no float
/// reaches).
fn value(scanner: &mut Scanner<'_>) -> Scanned<Option<Value>> {
    Ok(Some(match scanner.kind()? {
        Kind::Null => scanner.null().map(|()| Value::Null)?,
        Kind::Boolean => Value::Bool(scanner.boolean()?),
        Kind::Text => Value::String(scanner.text()?.into_owned()),
        Kind::Number => {
            let number = scanner.number()?;
            match (number.plain, number.text.parse::<u64>(), number.to_i64()) {
                (true, Ok(value), _) => Value::from(value),
                (true, _, Some(value)) if number.text != "-0" => Value::from(value),
                _ => match number.text.parse::<f64>() {
                    Ok(value) if value.is_finite() => Value::from(value),
                    _ => return Ok(None),
                },
            }
        }
        Kind::Array => {
            let (mut items, mut first, mut odd) = (Vec::new(), true, false);
            scanner.array()?;
            while scanner.element(&mut first)? {
                match value(scanner)? {
                    Some(item) => items.push(item),
                    None => odd = true,
                }
            }
            if odd {
                return Ok(None);
            }
            Value::Array(items)
        }
        Kind::Object => {
            let (mut fields, mut first, mut odd) = (Map::new(), true, false);
            scanner.object()?;
            while let Some(key) = scanner.key(&mut first)? {
                match value(scanner)? {
                    Some(field) => drop(fields.insert(key.into_owned(), field)),
                    None => odd = true,
                }
            }
            if odd {
                return Ok(None);
            }
            Value::Object(fields)
        }
    }))
}

fn parse(text: &str) -> Scanned<Option<Value>> {
    let mut scanner = Scanner::new(text, false);
    let parsed = value(&mut scanner)?;
    scanner.end()?;
    Ok(parsed)
}

/// Equal but for the last digits of a float, which serde_json does not always round correctly.
fn alike(ours: &Value, twin: &Value) -> bool {
    match (ours, twin) {
        (Value::Array(ours), Value::Array(twin)) => {
            ours.len() == twin.len() && ours.iter().zip(twin).all(|(ours, twin)| alike(ours, twin))
        }
        (Value::Object(ours), Value::Object(twin)) => {
            let found = |(key, ours)| twin.get(key).is_some_and(|twin| alike(ours, twin));
            ours.len() == twin.len() && ours.iter().all(found)
        }
        (Value::Number(ours), Value::Number(twin)) if ours.is_f64() && twin.is_f64() => {
            let (ours, twin) = (ours.as_f64().unwrap(), twin.as_f64().unwrap());
            (ours - twin).abs() <= ours.abs() * 1e-14 + 1e-320
        }
        _ => ours == twin,
    }
}

fn agrees(text: &str) -> Result<(), TestCaseError> {
    let twin = serde_json::from_str::<Value>(text);
    match parse(text) {
        Ok(Some(parsed)) => {
            let same = twin.as_ref().is_ok_and(|twin| alike(&parsed, twin));
            prop_assert!(same, "{}: {:?} and {:?}", text, parsed, twin);
        }
        Ok(None) => prop_assert!(twin.is_err(), "{}", text),
        Err(fault) => {
            prop_assert!(twin.is_err(), "{} at {}: {}", fault.what.reason(), fault.at, text);
            prop_assert!(fault.at <= text.len());
        }
    }
    let mut scanner = Scanner::new(text, false);
    let skipped = scanner.skip().and_then(|_| scanner.end());
    prop_assert_eq!(skipped, parse(text).map(|_| ()), "skipping is as strict as reading");
    Ok(())
}

fn text_of(json: &str) -> Scanned<String> {
    Scanner::new(json, false).text().map(Cow::into_owned)
}

fn fault(json: &str) -> (usize, What) {
    let fault = parse(json).unwrap_err();
    (fault.at, fault.what)
}

#[test]
fn br22_a_nul_in_a_string_is_a_character() {
    assert_eq!(text_of(r#""a\u0000b""#).as_deref(), Ok("a\0b"));
}

#[test]
fn br23_a_pair_is_one_character_and_a_half_is_refused_with_its_place() {
    assert_eq!(text_of(r#""\ud83d\ude00""#).as_deref(), Ok("😀"));
    assert_eq!(fault(r#""x\ud83d""#), (2, What::LoneSurrogate));
    assert_eq!(fault(r#""\ude00\ud83d""#), (1, What::LoneSurrogate));
    assert_eq!(fault(r#"{"a":"\ud83dA"}"#), (6, What::LoneSurrogate));
    let lenient = |json| Scanner::new(json, true).text().map(Cow::into_owned);
    assert_eq!(lenient(r#""x\ud83d""#).as_deref(), Ok("x\u{fffd}"));
    assert_eq!(lenient(r#""\ud83d\ud83d\ude00\ude00""#).as_deref(), Ok("\u{fffd}😀\u{fffd}"));
}

#[test]
fn every_fault_has_its_byte() {
    assert_eq!(fault(""), (0, What::Expected("a value")));
    assert_eq!(fault("{\"a\":1,}"), (7, What::Expected("a key")));
    assert_eq!(fault("{\"a\" 1}"), (5, What::Expected("\":\"")));
    assert_eq!(fault("{a:1}"), (1, What::Expected("a key or \"}\"")));
    assert_eq!(fault("[1 2]"), (3, What::Expected("\",\" or \"]\"")));
    assert_eq!(fault("[1,]"), (3, What::Expected("a value")));
    assert_eq!(fault("\"a\nb\""), (2, What::Control));
    assert_eq!(fault("\"a\\x\""), (2, What::Escape));
    assert_eq!(fault("\"abcdefgh"), (9, What::Expected("the end of the string")));
    assert_eq!(fault("nul"), (0, What::Expected("null")));
    assert_eq!(fault("-"), (1, What::Expected("a digit")));
    assert_eq!(fault("01"), (1, What::Expected("no digit after a leading zero")));
    assert_eq!(fault("1.e1"), (2, What::Expected("a digit after the point")));
    assert_eq!(fault("1e+"), (3, What::Expected("a digit in the exponent")));
    assert_eq!(fault("1 1"), (2, What::Trailing));
    assert_eq!(fault("\u{feff}1"), (0, What::Expected("a value")));
}

#[test]
fn nesting_stops_at_the_limit() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(parse(&nested(64)).is_ok());
    assert_eq!(fault(&nested(65)), (64, What::TooDeep));
}

#[test]
fn a_special_byte_is_found_at_every_distance() {
    for special in [b'"', b'\\', 0, 0x1f, b'\n'] {
        for length in 0..40 {
            let mut bytes = vec![b'a'; length];
            bytes.extend([special, b'"', 0x1f]);
            assert_eq!(plain_end(&bytes, 0), length);
            bytes[..length].fill(0xff);
            assert_eq!(plain_end(&bytes, 0), length);
            bytes[..length].fill(b'!');
            assert_eq!(plain_end(&bytes, 0), length);
        }
    }
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |value| value.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[a-z\"\\\\\n\u{0}😀]{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[a-z\"é]{0,10}", inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn documents_read_as_serde_json_reads_them(value in document(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let text = text.unwrap();
        prop_assert_eq!(parse(&text).unwrap().unwrap(), value, "what was written comes back digit for digit");
        agrees(&text)?;
    }

    #[test]
    fn damaged_documents_are_refused_alike(value in document(), at in any::<prop::sample::Index>(), put in "[\\[\\]{}:,\"\\\\0-9eE+.a-z\u{1} -]{0,2}", cut in 0usize..3) {
        let text = serde_json::to_string(&value).unwrap();
        let letters: Vec<char> = text.chars().collect();
        let at = at.index(letters.len() + 1);
        let end = (at + cut).min(letters.len());
        let damaged: String = letters[..at].iter().copied().chain(put.chars()).chain(letters[end..].iter().copied()).collect();
        agrees(&damaged)?;
    }

    #[test]
    fn odd_texts_are_refused_alike(text in "[\\[\\]{}:,\"\\\\0-9eE+.tfnu \t-]{0,12}") {
        agrees(&text)?;
    }

    #[test]
    fn escapes_are_decoded_alike(inner in "(\\\\u[0-9a-fA-FdD]{3,4}|\\\\[\"\\\\/bfnrtux]|[a-zé😀]){0,8}") {
        agrees(&format!("\"{inner}\""))?;
    }

    #[test]
    fn numbers_are_read_alike(text in "-?[0-9]{0,25}(\\.[0-9]{0,25})?([eE][+-]?[0-9]{0,3})?") {
        agrees(&text)?;
    }
}
