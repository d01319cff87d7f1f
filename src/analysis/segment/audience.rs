//! Segments as the published interface writes them: a query on attributes and clauses on events, to a [`Condition`].

use serde::Deserialize;

use crate::analysis::events::Events;
use crate::analysis::ground::timestamp;
use crate::analysis::segment::attributes;
use crate::analysis::segment::condition::Amount;
use crate::analysis::segment::condition::Condition;
use crate::analysis::segment::condition::Did;
use crate::analysis::segment::condition::Occurrence;
use crate::analysis::segment::condition::Span;
use crate::analysis::segment::condition::SpanUnit;
use crate::analysis::segment::condition::Window;
use crate::error::Error;
use crate::error::Result;
use crate::error::did_you_mean;
use crate::quote::literal;
use crate::quote::quoted;
use crate::schema::Columns;
use crate::schema::PropertyType;
use crate::schema::Registry;
use crate::time::Micros;
use crate::time::parse_instant;
use crate::value::ScalarType;

/// A segment in the form of the published interface.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Audience {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    query: Option<serde_json::Value>,
    #[serde(default)]
    events: Vec<Clause>,
}

/// A clause on the events of one definition.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Clause {
    definition_id: String,
    #[serde(default)]
    occurrence_condition: Option<Times>,
    timeline_condition: Timeline,
    #[serde(default)]
    payload_conditions: Vec<Payload>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Times {
    operation: Operation,
    times: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Operation {
    Is,
    LessThan,
    LessOrEqual,
    GreaterOrEqual,
    GreaterThan,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Timeline {
    occurred: Occurred,
    operator: When,
    #[serde(default)]
    start: Option<i64>,
    #[serde(default)]
    end: Option<i64>,
    #[serde(default)]
    units: Option<Units>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Occurred {
    All,
    First,
    Last,
    Not,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum When {
    Empty,
    After,
    Before,
    Between,
    AfterAbs,
    BeforeAbs,
    BetweenAbs,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Units {
    Days,
    Hours,
    Minutes,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    attribute: String,
    operator: Compare,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Compare {
    #[serde(rename = "EQ")]
    Equal,
    #[serde(rename = "NE")]
    Different,
    #[serde(rename = "LT")]
    Less,
    #[serde(rename = "LTE")]
    AtMost,
    #[serde(rename = "GT")]
    Greater,
    #[serde(rename = "GTE")]
    AtLeast,
    #[serde(rename = "SW")]
    StartsWith,
    #[serde(rename = "EW")]
    EndsWith,
    #[serde(rename = "CON")]
    Contains,
}

impl Audience {
    pub fn from_json(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| Error::invalid(format!("this is no segment: {error}")))
    }

    /// Who is meant: everybody for whom the query and all clauses hold.
    pub fn condition(&self, registry: &Registry) -> Result<Condition> {
        let mut parts = Vec::new();
        if let Some(query) = &self.query {
            parts.push(Condition::Persons(attributes::sql(query)?));
        }
        for clause in &self.events {
            parts.push(clause.condition(registry)?);
        }
        match parts.len() {
            0 => Err(Error::invalid("a segment has a query, events or both")),
            1 => Ok(parts.remove(0)),
            _ => Ok(Condition::And(parts)),
        }
    }
}

impl Clause {
    fn condition(&self, registry: &Registry) -> Result<Condition> {
        let filters: Result<Vec<String>> =
            self.payload_conditions.iter().map(|one| one.sql(&self.definition_id, registry)).collect();
        let filters = filters?;
        let events = Events {
            event: self.definition_id.clone(),
            filter: (!filters.is_empty()).then(|| filters.join(" AND ")),
        };
        let time = self.timeline_condition.window()?;
        let did = |times, occurrence| {
            Condition::Did(Box::new(Did {
                events: events.clone(),
                times,
                occurrence,
                time: time.clone(),
                ..Did::default()
            }))
        };
        let times = self.occurrence_condition.as_ref().map(Times::amount).transpose()?;
        let occurrence = match self.timeline_condition.occurred {
            Occurred::Not => return Ok(Condition::Not(Box::new(did(None, Occurrence::Any)))),
            Occurred::All => return Ok(did(times, Occurrence::Any)),
            Occurred::First => Occurrence::First,
            Occurred::Last => Occurrence::Last,
        };
        let one = did(None, occurrence);
        Ok(match times {
            Some(times) => Condition::And(vec![one, did(Some(times), Occurrence::Any)]),
            None => one,
        })
    }
}

impl Times {
    fn amount(&self) -> Result<Amount> {
        Ok(match self.operation {
            Operation::Is => Amount::Exactly(self.times),
            Operation::LessThan => {
                let most = self.times.checked_sub(1);
                Amount::AtMost(most.ok_or_else(|| Error::invalid("nothing happens LESS_THAN 0 times"))?)
            }
            Operation::LessOrEqual => Amount::AtMost(self.times),
            Operation::GreaterOrEqual => Amount::AtLeast(self.times),
            Operation::GreaterThan => Amount::AtLeast(self.times.saturating_add(1)),
        })
    }
}

impl Timeline {
    fn window(&self) -> Result<Window> {
        let missing =
            |what: &str| Error::invalid(format!("a timelineCondition with {:?} needs {what}", self.operator));
        let start = || self.start.ok_or_else(|| missing("start"));
        let end = || self.end.ok_or_else(|| missing("end"));
        let span = |count: i64| {
            let unit = match self.units.ok_or_else(|| missing("units"))? {
                Units::Days => SpanUnit::Days,
                Units::Hours => SpanUnit::Hours,
                Units::Minutes => SpanUnit::Minutes,
            };
            let count =
                u32::try_from(count).map_err(|_| Error::invalid("start and end are whole numbers from 0"))?;
            Ok::<_, Error>(Span { count, unit })
        };
        let moment = |seconds: i64| Some(Micros(seconds.saturating_mul(1_000_000)).to_string());
        Ok(match self.operator {
            When::Empty => Window::Ever,
            When::After => Window::Last(span(start()?)?),
            When::Before => Window::BeforeLast(span(start()?)?),
            When::Between => {
                Window::Ago { from: span(start()?.max(end()?))?, to: span(start()?.min(end()?))? }
            }
            When::AfterAbs => Window::Absolute { from: moment(start()?), to: None },
            When::BeforeAbs => Window::Absolute { from: None, to: moment(start()?) },
            When::BetweenAbs => Window::Absolute { from: moment(start()?), to: moment(end()?) },
        })
    }
}

impl Payload {
    /// The condition in SQL: the text of the value is read by the property's type, never compared as text with it.
    fn sql(&self, definition: &str, registry: &Registry) -> Result<String> {
        let found = registry.find(definition).ok_or_else(|| {
            let hint = did_you_mean(definition, registry.iter().map(|one| one.id.as_str()));
            Error::not_found(format!("no event is called \"{definition}\"{hint}"))
        })?;
        let (name, field) = match self.attribute.split_once('.') {
            Some((name, field)) if found.properties.iter().all(|one| one.name != self.attribute) => {
                (name, Some(field))
            }
            _ => (self.attribute.as_str(), None),
        };
        let columns = Columns::of(found);
        let place = found.properties.iter().position(|one| one.name == name).ok_or_else(|| {
            let hint = did_you_mean(name, found.properties.iter().map(|one| one.name.as_str()));
            Error::not_found(format!("{definition} has no property \"{name}\"{hint}"))
        })?;
        let column = quoted(&columns.properties()[place].sql);
        match (&found.properties[place].kind, field) {
            (PropertyType::Scalar(kind), None) => self.compare(&column, *kind),
            (PropertyType::List(fields), Some(field)) => {
                let known = fields.iter().find(|one| one.name == field).ok_or_else(|| {
                    let hint = did_you_mean(field, fields.iter().map(|one| one.name.as_str()));
                    Error::not_found(format!("the list {name} has no field \"{field}\"{hint}"))
                })?;
                Ok(format!("any({})", self.compare(&format!("{column}.{}", quoted(field)), known.kind)?))
            }
            (PropertyType::List(fields), None) => Err(Error::invalid(format!(
                "{name} is a list; name a field of its entries, such as \"{name}.{}\"",
                fields.first().map_or("field", |one| one.name.as_str())
            ))),
            (PropertyType::Scalar(_), Some(_)) => {
                Err(Error::not_found(format!("{definition} has no property \"{}\"", self.attribute)))
            }
        }
    }

    fn compare(&self, column: &str, kind: ScalarType) -> Result<String> {
        let text = &self.value;
        let wrong = || {
            Error::invalid(format!(
                "{} is of type {kind}, and \"{text}\" is not {}",
                self.attribute,
                kind.expected()
            ))
        };
        let value = match kind {
            ScalarType::String => literal(text),
            ScalarType::Boolean => text.parse::<bool>().map_err(|_| wrong())?.to_string(),
            ScalarType::Numeric => text.parse::<i64>().map_err(|_| wrong())?.to_string(),
            ScalarType::Decimal => {
                let number: f64 = text.parse().map_err(|_| wrong())?;
                format!("{:?}", Some(number).filter(|number| number.is_finite()).ok_or_else(wrong)?)
            }
            ScalarType::DateTime => timestamp(parse_instant(text, None).map_err(|_| wrong())?),
        };
        let sign = match self.operator {
            Compare::Equal => "=",
            Compare::Different => "<>",
            Compare::Less => "<",
            Compare::AtMost => "<=",
            Compare::Greater => ">",
            Compare::AtLeast => ">=",
            Compare::StartsWith | Compare::EndsWith | Compare::Contains if kind != ScalarType::String => {
                return Err(Error::invalid(format!(
                    "{} is of type {kind}; only texts start, end or contain",
                    self.attribute
                )));
            }
            Compare::StartsWith => return Ok(format!("starts_with({column}, {value})")),
            Compare::EndsWith => return Ok(format!("ends_with({column}, {value})")),
            Compare::Contains => return Ok(format!("strpos({column}, {value}) > 0")),
        };
        Ok(format!("{column} {sign} {value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Definition;
    use crate::schema::Field;
    use crate::schema::Property;

    fn registry() -> Registry {
        let properties = vec![
            Property::scalar("price", ScalarType::Decimal),
            Property::scalar("path", ScalarType::String),
            Property::scalar("at", ScalarType::DateTime),
            Property::new(
                "seats",
                PropertyType::List(vec![Field { name: "row".to_owned(), kind: ScalarType::Numeric }]),
            ),
        ];
        Registry::new([Definition::external("itemPurchased".parse().unwrap(), "Item purchased", properties)])
    }

    fn condition(text: &str) -> Result<Condition> {
        Audience::from_json(text)?.condition(&registry())
    }

    #[test]
    fn the_published_example_is_read() {
        let found = condition(
            r##"{"name":"Active buyers","query":{"#and":[{"country":"Norway"}]},
             "events":[
              {"definitionId":"itemPurchased","occurrenceCondition":{"operation":"GREATER_OR_EQUAL","times":2},
               "timelineCondition":{"occurred":"ALL","operator":"AFTER","start":30,"units":"DAYS"},
               "payloadConditions":[{"attribute":"price","operator":"GTE","value":"100"}]},
              {"definitionId":"pageView","timelineCondition":{"occurred":"NOT","operator":"BETWEEN_ABS","start":1735689600,"end":1738368000}}]}"##,
        );
        let expected: Condition = serde_json::from_str(
            r#"{"and": [
                {"persons": "(\"country\" = 'Norway')"},
                {"did": {"events": {"event": "itemPurchased", "where": "\"price\" >= 100.0"}, "times": {"at_least": 2},
                         "time": {"last": {"count": 30, "unit": "days"}}}},
                {"not": {"did": {"events": {"event": "pageView"},
                    "time": {"absolute": {"from": "2025-01-01T00:00:00.000000Z", "to": "2025-02-01T00:00:00.000000Z"}}}}}
            ]}"#,
        )
        .unwrap();
        assert_eq!(found.unwrap(), expected);
    }

    #[test]
    fn values_are_read_by_the_type_of_the_property() {
        let with = |attribute: &str, operator: &str, value: &str| {
            condition(&format!(
                r#"{{"events": [{{"definitionId": "itemPurchased", "timelineCondition": {{"occurred": "ALL", "operator": "EMPTY"}},
                   "payloadConditions": [{{"attribute": "{attribute}", "operator": "{operator}", "value": "{value}"}}]}}]}}"#
            ))
        };
        let filter = |attribute: &str, operator: &str, value: &str| {
            let Condition::Did(did) = with(attribute, operator, value).unwrap() else { panic!() };
            did.events.filter.unwrap()
        };
        assert_eq!(filter("path", "SW", "/it's"), "starts_with(\"path\", '/it''s')");
        assert_eq!(filter("at", "LT", "2026-06-01"), "\"at\" < TIMESTAMP '2026-06-01T00:00:00.000000Z'");
        assert_eq!(filter("seats.row", "EQ", "7"), "any(\"seats\".\"row\" = 7)");
        for (attribute, operator, value, said) in [
            ("price", "GT", "dear", "is not a number"),
            ("price", "CON", "1", "only texts"),
            ("seats", "EQ", "1", "seats.row"),
            ("prise", "EQ", "1", "did you mean \\\"price\\\""),
            ("path.x", "EQ", "1", "no property"),
        ] {
            let fault = with(attribute, operator, value).unwrap_err().to_string();
            assert!(fault.contains(&said.replace("\\\"", "\"")), "{fault}");
        }
    }

    #[test]
    fn what_is_no_segment_is_refused() {
        for wrong in [
            "{}",
            r#"{"events": [{"definitionId": "a"}]}"#,
            r#"{"events": [{"definitionId": "a", "timelineCondition": {"occurred": "ALL", "operator": "AFTER", "start": 3}}]}"#,
            r#"{"events": [{"definitionId": "a", "timelineCondition": {"occurred": "SOME", "operator": "EMPTY"}}]}"#,
        ] {
            assert!(condition(wrong).is_err(), "{wrong}");
        }
    }
}
