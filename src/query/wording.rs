//! DataFusion's sentences in our words: our names for types, the cure where there is one, and no Rust in them.

use crate::quote::literal;

/// What to write instead of an Arrow type.
const TYPES: [(&str, &str); 18] = [
    ("Boolean", "Boolean"),
    ("Date32", "Date"),
    ("Decimal128", "Decimal"),
    ("Decimal256", "Decimal"),
    ("Float32", "Decimal"),
    ("Float64", "Decimal"),
    ("Int8", "Numeric"),
    ("Int16", "Numeric"),
    ("Int32", "Numeric"),
    ("Int64", "Numeric"),
    ("Interval", "Interval"),
    ("LargeUtf8", "String"),
    ("Timestamp", "DateTime"),
    ("UInt8", "Numeric"),
    ("UInt32", "Numeric"),
    ("UInt64", "Numeric"),
    ("Utf8", "String"),
    ("Utf8View", "String"),
];

/// Types that carry something in parentheses which says more about the type; behind others stands a value.
const WITH_DETAILS: [&str; 4] = ["Decimal128", "Decimal256", "Interval", "Timestamp"];

const PREFIXES: [&str; 12] = [
    "Error during planning: ",
    "Execution error: ",
    "Arrow error: ",
    "SQL error: ",
    "sql parser error: ",
    "Invalid argument error: ",
    "Compute error: ",
    "Cast error: ",
    "Parser error: ",
    "This feature is not implemented: ",
    "Invalid or Unsupported Configuration: ",
    "Internal error: ",
];

/// A foreign message in our manner: without the prefix that names its origin, on one line, starting small.
pub(crate) fn plain(text: &str) -> String {
    let mut text = text.trim();
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest;
    }
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = match reworded(&line) {
        Some(ours) => ours,
        None => types(without_rust(&line).trim_end_matches('.')),
    };
    let mut letters = line.chars();
    let second_is_lower = line.chars().nth(1).is_some_and(char::is_lowercase);
    let is_type = TYPES.iter().any(|(_, ours)| line.starts_with(ours));
    match letters.next() {
        Some(first) if second_is_lower && !is_type => format!("{}{}", first.to_lowercase(), letters.as_str()),
        _ => line,
    }
}

/// The messages that people meet every day.
fn reworded(line: &str) -> Option<String> {
    if line.eq_ignore_ascii_case("divide by zero error") {
        return Some("division by zero; NULLIF(divisor, 0) makes such an answer NULL".to_owned());
    }
    if let Some(rest) = line.split_once("No function matches the given name and argument types '") {
        return Some(unfit(rest.0, rest.1));
    }
    if line.starts_with("array_any_match lambda must return boolean") {
        return Some(
            "any(…) holds a condition, and this is no condition: it is neither true nor false".to_owned(),
        );
    }
    if line.contains("must be in GROUP BY or an aggregate function") {
        let name = line.split('"').nth(1)?;
        let name = name.rsplit('.').next().unwrap_or(name);
        return Some(format!(
            "\"{name}\" is neither grouped nor in an aggregate: add it to GROUP BY, or write MAX({name}) or another \
             aggregate of it"
        ));
    }
    if line.starts_with("Dot access not supported for non-string expr") {
        let field = line.split('"').nth(1).unwrap_or("field");
        return Some(format!("behind an index a field is written in brackets, as in seats[1]['{field}']"));
    }
    if line.contains("OuterReferenceColumn(") {
        return Some(
            "here FROM cannot use the columns of a table beside it; for a List, write UNNEST in the SELECT of a \
             subquery: SELECT seat['price'] FROM (SELECT UNNEST(seats) AS seat FROM …)"
                .to_owned(),
        );
    }
    if let Some(parts) = line.split_once("ompound identifier: [").map(|(_, parts)| parts) {
        let parts: Vec<_> = parts.split('"').skip(1).step_by(2).collect();
        return Some(format!("nothing is called \"{}\": the name has too many parts", parts.join(".")));
    }
    if let Some(types_of) = between(line, "Cannot coerce arithmetic expression ", " to valid types") {
        return Some(format!("{} cannot be computed; CAST one of them to a type that fits", types(types_of)));
    }
    if let Some(rest) = line.strip_prefix("Failed to coerce types ")
        && let Some((alike, _)) = rest.split_once(" in BETWEEN expression")
        && let Some((one, other)) = alike.split_once(" and ")
    {
        return Some(format!(
            "BETWEEN cannot compare {} with {}; where it is about the time of events, it stands before their WHERE",
            types(one),
            types(other)
        ));
    }
    if let Some((text, kind)) =
        between(line, "Cannot cast string '", " type").and_then(|rest| rest.rsplit_once("' to value of "))
    {
        return Some(format!("'{text}' is not a {}; TRY_CAST makes such values NULL", types(kind)));
    }
    None
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.strip_prefix(before)?.trim_end_matches('.').strip_suffix(after)
}

/// A function that does not take what it was given. `rest` begins with the call.
fn unfit(reason: &str, rest: &str) -> String {
    if let Some((_, own)) = reason.split_once("coercion failed with: ") {
        let own = PREFIXES.iter().find_map(|prefix| own.strip_prefix(prefix)).unwrap_or(own);
        return types(own.trim().trim_end_matches('.'));
    }
    let call = rest.split('\'').next().unwrap_or_default();
    let (name, given) = call.split_once('(').unwrap_or((call, ")"));
    let mut forms: Vec<String> = Vec::new();
    let candidates = rest.split_once("Candidate functions: ").map_or("", |(_, candidates)| candidates);
    for form in candidates.split_inclusive(')') {
        let form = types(form.trim());
        if !form.is_empty() && !forms.contains(&form) {
            forms.push(form);
        }
    }
    let given = types(&format!("({given}"));
    let mut text = match given.as_str() {
        "()" => format!("{name} needs arguments"),
        given => format!("{name} does not take {given}"),
    };
    if !forms.is_empty() {
        text.push_str(&format!("; it is written {}", forms.join(" or ")));
    }
    text
}

/// Cuts where a Rust value begins, such as `Ident { value: `, for nobody but us can read it.
fn without_rust(line: &str) -> String {
    let Some(brace) = line.match_indices(" { ").map(|(place, _)| place).find(|place| {
        let word = line[..*place].rsplit(|letter: char| !letter.is_ascii_alphanumeric()).next();
        let field = line[place + 3..].split(|letter: char| !(letter.is_ascii_lowercase() || letter == '_'));
        let is_field = field
            .clone()
            .next()
            .is_some_and(|field| !field.is_empty() && line[place + 3 + field.len()..].starts_with(": "));
        is_field && word.is_some_and(|word| word.starts_with(|first: char| first.is_ascii_uppercase()))
    }) else {
        return line.to_owned();
    };
    let value = line[..brace].rfind(' ').unwrap_or(0);
    let said = line[..value].trim_end_matches([' ', ':', ',']);
    if said.is_empty() { "this is not supported here".to_owned() } else { said.to_owned() }
}

/// The text with our names for Arrow's types, and values as SQL writes them: `Int64(1)` is `1`.
pub(crate) fn types(text: &str) -> String {
    reread(text, true)
}

/// The name of a column that nobody has named, with its values as SQL writes them; other names stay as they are.
pub(crate) fn heading(name: &str) -> String {
    reread(name, false)
}

fn reread(text: &str, bare_types: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if !first.is_ascii_alphabetic() {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        let Some((_, ours)) = TYPES.iter().find(|(arrow, _)| *arrow == word) else {
            out.push_str(word);
            continue;
        };
        match parenthesis(after) {
            None if bare_types => out.push_str(ours),
            None => out.push_str(word),
            Some(_) if WITH_DETAILS.contains(&word) && !bare_types => out.push_str(word),
            Some(inner) if WITH_DETAILS.contains(&word) => {
                out.push_str(ours);
                rest = &after[inner.len() + 2..];
            }
            Some(inner) => {
                out.push_str(&value(inner));
                rest = &after[inner.len() + 2..];
            }
        }
    }
    out
}

/// What stands in the parentheses at the beginning; a quoted text may hold some of its own.
fn parenthesis(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('(')?;
    let mut quoted = false;
    let end = inner.find(|letter| {
        quoted ^= letter == '"';
        letter == ')' && !quoted
    })?;
    Some(&inner[..end])
}

fn value(inner: &str) -> String {
    match inner.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(text) => literal(text),
        None => inner.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_our_names_and_values_are_as_sql_writes_them() {
        assert_eq!(types("Utf8View + Int64"), "String + Numeric");
        assert_eq!(types("Timestamp(µs, \"UTC\") - Utf8"), "DateTime - String");
        assert_eq!(types("f(Utf8(\"1 (hour)\"), Int64(1), Int64Array)"), "f('1 (hour)', 1, Int64Array)");
        assert_eq!(types("Int64("), "Numeric(");
    }

    #[test]
    fn a_heading_has_values_as_sql_writes_them_and_keeps_its_words() {
        assert_eq!(heading("round(sum(x) / Int64(2),Int64(1))"), "round(sum(x) / 2,1)");
        assert_eq!(heading("time_bucket(Utf8(\"1 hour\"),t)"), "time_bucket('1 hour',t)");
        assert_eq!(heading("Boolean or Date32"), "Boolean or Date32");
        assert_eq!(heading("größe Timestamp(1)"), "größe Timestamp(1)");
    }

    #[test]
    fn a_rust_value_is_cut_and_braces_of_people_stay() {
        let leak = "No such thing: Identifier(Ident { value: \"price\", quote_style: None })";
        assert_eq!(plain(leak), "no such thing");
        assert_eq!(plain("Ident { value: 1 }"), "this is not supported here");
        assert_eq!(plain("'Ab { c' is no number"), "'Ab { c' is no number");
        assert_eq!(plain("bad text { \"a\": 1 }"), "bad text { \"a\": 1 }");
    }

    #[test]
    fn a_function_says_what_it_takes_once() {
        let text = "Internal error: Function 'sum' failed to match any signature, errors: many. This issue was likely \
                    caused by a bug in DataFusion's code. No function matches the given name and argument types \
                    'sum(Utf8View)'. You might need to add explicit type casts.\n\tCandidate functions:\n\t\
                    sum(Int64)\n\tsum(UInt64)\n\tsum(Float64)";
        assert_eq!(plain(text), "sum does not take (String); it is written sum(Numeric) or sum(Decimal)");
    }
}
