//! The query language on attributes of persons (`{"#gte": {"points": 100}}`), to a condition in SQL on `persons`.

use serde_json::Map;
use serde_json::Value;

use crate::error::Error;
use crate::error::Result;
use crate::error::did_you_mean;
use crate::quote::literal;
use crate::quote::quoted;

/// What a custom attribute's key starts with.
const CUSTOM: &str = "data\u{1}";

/// The moment as of which a condition is asked, in its SQL.
pub(crate) const AS_OF: &str = "as_of()";

/// What an operator may be compared to, for a hint.
const OPERATORS: [&str; 19] = [
    "#and",
    "#or",
    "#eq",
    "#ne",
    "#lt",
    "#lte",
    "#gt",
    "#gte",
    "#in",
    "#notIn",
    "#startsWith",
    "#endsWith",
    "#contains",
    "#notContain",
    "#exist",
    "#exists",
    "#notExist",
    "#any",
    "#all",
];

/// The condition of a query on the columns of `persons`.
pub(crate) fn sql(query: &Value) -> Result<String> {
    clause(query, &|name| Ok(column(name)))
}

/// Where an attribute is found: in a column, or in the entry of a list.
type Place<'a> = &'a dyn Fn(&str) -> Result<String>;

fn clause(query: &Value, place: Place<'_>) -> Result<String> {
    let Value::Object(parts) = query else {
        return Err(Error::invalid(format!(
            "a query is an object such as {{\"city\": \"Oslo\"}}, found {query}"
        )));
    };
    let parts: Result<Vec<String>> = parts.iter().map(|(key, value)| part(key, value, place)).collect();
    joined(parts?, "AND")
}

/// The parts in parentheses, joined by a word; nothing at all is everybody.
fn joined(parts: Vec<String>, word: &str) -> Result<String> {
    if parts.is_empty() {
        return Ok("TRUE".to_owned());
    }
    if parts.len() == 1 {
        Ok(parts[0].clone())
    } else {
        Ok(format!("({})", parts.join(&format!(" {word} "))))
    }
}

fn part(key: &str, value: &Value, place: Place<'_>) -> Result<String> {
    let Some(operator) = key.strip_prefix('#') else {
        return compare("eq", key, value, place);
    };
    match operator {
        "and" | "or" => {
            let Value::Array(all) = value else {
                return Err(Error::invalid(format!("{key} has a list of queries, found {value}")));
            };
            let parts: Result<Vec<String>> = all.iter().map(|one| clause(one, place)).collect();
            let word = if operator == "and" { "AND" } else { "OR" };
            Ok(format!("({})", parts?.join(&format!(" {word} "))))
        }
        "exist" | "exists" | "notExist" => exists(operator == "notExist", value, place),
        "any" | "all" => list(operator == "all", object(key, value)?, place),
        "eq" | "ne" | "lt" | "lte" | "gt" | "gte" | "in" | "notIn" | "startsWith" | "endsWith"
        | "contains" | "notContain" => {
            let parts: Result<Vec<String>> = object(key, value)?
                .iter()
                .map(|(name, value)| compare(operator, name, value, place))
                .collect();
            joined(parts?, "AND")
        }
        _ => {
            let hint = did_you_mean(key, OPERATORS);
            Err(Error::invalid(format!("no operator is called \"{key}\"{hint}")))
        }
    }
}

fn object<'a>(key: &str, value: &'a Value) -> Result<&'a Map<String, Value>> {
    value
        .as_object()
        .ok_or_else(|| Error::invalid(format!("{key} has an object with an attribute, found {value}")))
}

/// The column of `persons` that holds an attribute.
fn column(name: &str) -> String {
    let name = name.strip_prefix(CUSTOM).unwrap_or(name);
    quoted(match name {
        "id" => "personId",
        "externalId" => "externalPersonId",
        "createdAt" => "createdTime",
        "modifiedAt" => "modifiedTime",
        "email" => "emails",
        "phone" => "phones",
        other => other,
    })
}

/// Attributes with several texts.
fn is_many(name: &str) -> bool {
    matches!(name, "tags" | "email" | "emails" | "phone" | "phones")
}

fn compare(operator: &str, name: &str, value: &Value, place: Place<'_>) -> Result<String> {
    let found = place(name)?;
    let one = |value: &Value| scalar(name, value);
    if is_many(name) {
        return Ok(match operator {
            "contains" | "eq" => format!("array_has({found}, {})", one(value)?),
            "notContain" | "ne" => format!("NOT COALESCE(array_has({found}, {}), FALSE)", one(value)?),
            _ => {
                return Err(Error::invalid(format!(
                    "{name} are compared by #contains and #notContain, not by #{operator}"
                )));
            }
        });
    }
    if let Some(relative) = value.as_object().and_then(|object| object.get("#relNow")) {
        return relative_to_now(operator, name, &found, relative);
    }
    Ok(match operator {
        "eq" if value.is_null() => format!("{found} IS NULL"),
        "ne" if value.is_null() => format!("{found} IS NOT NULL"),
        "eq" => format!("{found} = {}", one(value)?),
        "ne" => format!("{found} IS DISTINCT FROM {}", one(value)?),
        "lt" => format!("{found} < {}", one(value)?),
        "lte" => format!("{found} <= {}", one(value)?),
        "gt" => format!("{found} > {}", one(value)?),
        "gte" => format!("{found} >= {}", one(value)?),
        "startsWith" => format!("starts_with({found}, {})", one(value)?),
        "endsWith" => format!("ends_with({found}, {})", one(value)?),
        "contains" => format!("strpos({found}, {}) > 0", one(value)?),
        "notContain" => format!("COALESCE(strpos({found}, {}) = 0, TRUE)", one(value)?),
        _ => {
            let Value::Array(all) = value else {
                return Err(Error::invalid(format!("#{operator} has a list of values, found {value}")));
            };
            let values: Result<Vec<String>> = all.iter().map(one).collect();
            let (values, negated) = (values?, operator == "notIn");
            match (values.is_empty(), negated) {
                (true, negated) => negated.to_string().to_uppercase(),
                (false, false) => format!("{found} IN ({})", values.join(", ")),
                (false, true) => format!("COALESCE({found} NOT IN ({}), TRUE)", values.join(", ")),
            }
        }
    })
}

/// A text, a number or a truth as SQL writes it.
fn scalar(name: &str, value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(literal(text)),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string().to_uppercase()),
        _ => Err(Error::invalid(format!(
            "{name} is compared with a text, a number, true or false, found {value}"
        ))),
    }
}

/// `"attribute"`, `["attribute", …]` or `{"attribute": …}`.
fn exists(negated: bool, value: &Value, place: Place<'_>) -> Result<String> {
    let names: Vec<&str> = match value {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        Value::Object(names) => names.keys().map(String::as_str).collect(),
        _ => Vec::new(),
    };
    if names.is_empty() {
        return Err(Error::invalid(format!("#exist and #notExist name an attribute, found {value}")));
    }
    let not = if negated { "" } else { " NOT" };
    let parts: Result<Vec<String>> = names
        .into_iter()
        .map(|name| {
            let found = place(name)?;
            Ok(match (is_many(name), negated) {
                (true, true) => format!("COALESCE(cardinality({found}), 0) = 0"),
                (true, false) => format!("COALESCE(cardinality({found}), 0) > 0"),
                (false, _) => format!("{found} IS{not} NULL"),
            })
        })
        .collect();
    joined(parts?, "AND")
}

/// `{"list": {clause on the fields of an entry}}`
fn list(all: bool, lists: &Map<String, Value>, place: Place<'_>) -> Result<String> {
    let parts: Result<Vec<String>> = lists
        .iter()
        .map(|(name, inner)| {
            let found = place(name)?;
            let inner = clause(inner, &|field| Ok(format!("_entry[{}]", literal(field))))?;
            Ok(if all {
                // Every entry: there is one, and none for which it does not hold.
                format!(
                    "COALESCE(cardinality({found}) > 0 AND NOT array_any_match({found}, _entry -> NOT COALESCE({inner}, FALSE)), FALSE)"
                )
            } else {
                format!("COALESCE(array_any_match({found}, _entry -> {inner}), FALSE)")
            })
        })
        .collect();
    joined(parts?, "AND")
}

/// A date compared with now and some time: `P-1D` is a day ago.
fn relative_to_now(operator: &str, name: &str, found: &str, relative: &Value) -> Result<String> {
    let text = relative.as_str().unwrap_or_default();
    let interval = interval(text).ok_or_else(|| {
        Error::invalid(format!(
            "{name} is compared with now and a duration such as \"P-1D\" or \"P2W\", found {relative}"
        ))
    })?;
    let at = format!("({AS_OF} + INTERVAL '{interval}')");
    match operator {
        "lt" => Ok(format!("{found} < {at}")),
        "gt" => Ok(format!("{found} > {at}")),
        "eq" => Ok(format!("CAST({found} AS DATE) = CAST({at} AS DATE)")),
        _ => Err(Error::invalid(format!("#relNow goes with #eq, #lt and #gt, not with #{operator}"))),
    }
}

/// `P-1D` as `-1 days`.
fn interval(text: &str) -> Option<String> {
    let rest = text.strip_prefix('P')?;
    let (rest, is_time) = rest.strip_prefix('T').map_or((rest, false), |rest| (rest, true));
    let unit = rest.chars().last()?;
    let count: i64 = rest.get(..rest.len() - unit.len_utf8())?.parse().ok()?;
    let unit = match (unit, is_time) {
        ('D', false) => "days",
        ('W', false) => "weeks",
        ('M', false) => "months",
        ('Y', false) => "years",
        ('H', true) => "hours",
        ('M', true) => "minutes",
        ('S', true) => "seconds",
        _ => return None,
    };
    Some(format!("{count} {unit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String> {
        sql(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn every_operator_has_its_sql() {
        for (query, expected) in [
            (
                r##"{"#and":[{"country":"Norway"},{"#gte":{"data\u0001points":100}},{"#contains":{"tags":"vip"}}]}"##,
                "(\"country\" = 'Norway' AND \"points\" >= 100 AND array_has(\"tags\", 'vip'))",
            ),
            (
                r##"{"#or":[{"a":"it's"},{"b":true,"c":null}]}"##,
                "(\"a\" = 'it''s' OR (\"b\" = TRUE AND \"c\" IS NULL))",
            ),
            (r##"{"#ne":{"city":"Oslo"}}"##, "\"city\" IS DISTINCT FROM 'Oslo'"),
            (r##"{"#in":{"city":["a","b"]}}"##, "\"city\" IN ('a', 'b')"),
            (r##"{"#notIn":{"city":[]}}"##, "TRUE"),
            (r##"{"#startsWith":{"city":"O"}}"##, "starts_with(\"city\", 'O')"),
            (r##"{"#notContain":{"tags":"vip"}}"##, "NOT COALESCE(array_has(\"tags\", 'vip'), FALSE)"),
            (r##"{"#notExist":"city"}"##, "\"city\" IS NULL"),
            (r##"{"#exists":{"email":true}}"##, "COALESCE(cardinality(\"emails\"), 0) > 0"),
            (
                r##"{"#any":{"data\u0001wishes":{"#gt":{"price":10}}}}"##,
                "COALESCE(array_any_match(\"wishes\", _entry -> _entry['price'] > 10), FALSE)",
            ),
            (
                r##"{"#gt":{"birthDate":{"#relNow":"P-1D"}}}"##,
                "\"birthDate\" > (as_of() + INTERVAL '-1 days')",
            ),
            (
                r##"{"#eq":{"at":{"#relNow":"PT2H"}}}"##,
                "CAST(\"at\" AS DATE) = CAST((as_of() + INTERVAL '2 hours') AS DATE)",
            ),
        ] {
            assert_eq!(read(query).unwrap(), expected, "{query}");
        }
    }

    #[test]
    fn what_is_no_query_is_refused() {
        for (query, said) in [
            (r##"[]"##, "a query is an object"),
            (r##"{"#gtee":{"a":1}}"##, "did you mean \"#gte\"?"),
            (r##"{"#gte":1}"##, "an object with an attribute"),
            (r##"{"a":[1]}"##, "a text, a number"),
            (r##"{"#gt":{"tags":"a"}}"##, "#contains"),
            (r##"{"#gt":{"a":{"#relNow":"tomorrow"}}}"##, "P-1D"),
            (r##"{"#and":{}}"##, "a list of queries"),
        ] {
            let fault = read(query).unwrap_err().to_string();
            assert!(fault.contains(said), "{query}: {fault}");
        }
    }
}
