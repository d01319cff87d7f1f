//! A slow, obviously right checker over serde_json's tree, and random rows on which both must agree.

use arrow::array::Array;
use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use arrow::datatypes::Int64Type;
use arrow::datatypes::TimestampMicrosecondType;
use proptest::prelude::*;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::ingest::checker::tests::check_as;
use crate::ingest::checker::tests::definition;
use crate::schema::Field;
use crate::schema::Property;
use crate::schema::PropertyType;
use crate::time::Micros;
use crate::time::parse_instant;
use crate::value::ScalarType;

/// A value as its column would give it back: times as microseconds.
fn scalar(kind: ScalarType, value: &Value) -> Option<Value> {
    if value.is_null() {
        return Some(Value::Null);
    }
    match kind {
        ScalarType::String => value.as_str().map(Value::from),
        ScalarType::Boolean => value.as_bool().map(Value::from),
        ScalarType::DateTime => {
            value.as_str().and_then(|text| parse_instant(text, None).ok()).map(|Micros(at)| at.into())
        }
        ScalarType::Numeric => match (value.as_i64(), value.as_f64()) {
            (Some(integer), _) => Some(integer.into()),
            #[expect(clippy::cast_possible_truncation, reason = "a small float with no fraction")]
            (None, Some(float)) if value.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => {
                Some((float as i64).into())
            }
            _ => None,
        },
        ScalarType::Decimal => {
            let float = value.as_f64()?;
            let digits = value.to_string();
            (value.is_f64() || format!("{float:.0}") == digits).then(|| float.into())
        }
    }
}

fn object(fields: &[Field], value: &Value) -> Option<Value> {
    let given = value.as_object()?;
    if given.keys().any(|key| !fields.iter().any(|field| field.name == *key)) {
        return None;
    }
    let read = |field: &Field| {
        let value = scalar(field.kind, given.get(&field.name).unwrap_or(&Value::Null))?;
        Some((field.name.clone(), value))
    };
    fields.iter().map(read).collect::<Option<Map<_, _>>>().map(Value::Object)
}

/// The properties of a row in the order of the definition; none if the row is refused.
fn twin(definition: &Definition, properties: &Map<String, Value>) -> Option<Vec<Value>> {
    if properties.keys().any(|key| definition.property(key).is_none()) {
        return None;
    }
    let read = |property: &Property| {
        let value = properties.get(&property.name).unwrap_or(&Value::Null);
        if value.is_null() {
            return (!property.required).then_some(Value::Null);
        }
        match &property.kind {
            PropertyType::Scalar(kind) => scalar(*kind, value),
            PropertyType::List(fields) => value
                .as_array()?
                .iter()
                .map(|item| object(fields, item))
                .collect::<Option<Vec<_>>>()
                .map(Value::Array),
        }
    };
    definition.properties.iter().map(read).collect()
}

fn read_back(array: &dyn Array, at: usize) -> Value {
    if array.is_null(at) {
        return Value::Null;
    }
    if let Some(array) = array.as_string_opt::<i32>() {
        array.value(at).into()
    } else if let Some(array) = array.as_boolean_opt() {
        array.value(at).into()
    } else if let Some(array) = array.as_primitive_opt::<Int64Type>() {
        array.value(at).into()
    } else if let Some(array) = array.as_primitive_opt::<Float64Type>() {
        array.value(at).into()
    } else if let Some(array) = array.as_primitive_opt::<TimestampMicrosecondType>() {
        array.value(at).into()
    } else if let Some(array) = array.as_list_opt::<i32>() {
        let objects = array.value(at);
        (0..objects.len()).map(|at| read_back(&objects, at)).collect::<Vec<_>>().into()
    } else {
        let objects = array.as_struct();
        let fields = objects.fields().iter().zip(objects.columns());
        Value::Object(fields.map(|(field, column)| (field.name().clone(), read_back(column, at))).collect())
    }
}

const NAMES: [&str; 8] = ["a", "b", "A", "list", "aé", "eventId", "x_y", "sale_eventId"];

fn kind() -> impl Strategy<Value = ScalarType> {
    prop::sample::select(ScalarType::ALL.to_vec())
}

fn a_definition() -> impl Strategy<Value = Definition> {
    let fields = prop::collection::vec(kind(), 1..4).prop_map(|kinds| {
        let named = kinds.into_iter().zip(["a", "b", "c"]);
        named.map(|(kind, name)| Field { name: name.to_owned(), kind }).collect::<Vec<_>>()
    });
    let names = prop::sample::subsequence(NAMES.to_vec(), 0..6);
    (names, prop::collection::vec((kind(), any::<u8>()), 8), fields).prop_map(|(names, kinds, fields)| {
        let property = |(name, (kind, odds)): (&str, (ScalarType, u8))| {
            let kind =
                if name == "list" { PropertyType::List(fields.clone()) } else { PropertyType::Scalar(kind) };
            Property { required: odds < 20, ..Property::new(name, kind) }
        };
        definition("sale", names.into_iter().zip(kinds).map(property).collect())
    })
}

fn a_scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => Just(Value::Null),
        2 => any::<bool>().prop_map(Value::from),
        2 => (-100i64..100).prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        2 => (-100i64..100).prop_map(|number| json!(f64::from(i32::try_from(number).unwrap()) / 4.0)),
        2 => "[a-z\"\\\\\u{0}\néß😀]{0,12}".prop_map(Value::from),
        2 => (-90_000_000_000_000_000i64..90_000_000_000_000_000)
            .prop_map(|at| Micros(at).iso_micros().to_string().into()),
        1 => prop::sample::select(vec!["2024-02-29", "2024-02-30", "42", "true", ""]).prop_map(Value::from),
    ]
}

/// A value that often fits, so that whole rows are taken often enough.
fn fitting(kind: ScalarType) -> BoxedStrategy<Value> {
    let right = a_scalar().prop_filter("of the type", move |value| scalar(kind, value).is_some());
    prop_oneof![12 => right, 1 => a_scalar()].boxed()
}

fn a_row(definition: &Definition) -> BoxedStrategy<Map<String, Value>> {
    let values = definition.properties.iter().map(|property| {
        let value = match &property.kind {
            PropertyType::Scalar(kind) => fitting(*kind),
            PropertyType::List(fields) => {
                let fields = fields.iter().map(|field| {
                    (Just(field.name.clone()), prop::option::weighted(0.8, fitting(field.kind)))
                });
                let object = fields.collect::<Vec<_>>().prop_shuffle().prop_map(|fields| {
                    let given = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
                    Value::Object(given.collect())
                });
                let item = prop_oneof![12 => object, 1 => a_scalar()];
                prop::collection::vec(item, 0..4).prop_map(Value::Array).boxed()
            }
        };
        (Just(property.name.clone()), prop::option::weighted(0.8, value))
    });
    let odd = prop::option::weighted(0.1, (prop::sample::select(NAMES.to_vec()), a_scalar()));
    (values.collect::<Vec<_>>().prop_shuffle(), odd)
        .prop_map(|(values, odd)| {
            let given = values.into_iter().filter_map(|(name, value)| Some((name, value?)));
            let odd = odd.map(|(name, value)| (name.to_owned(), value));
            given.chain(odd).collect()
        })
        .boxed()
}

fn definition_and_rows() -> impl Strategy<Value = (Definition, Vec<Map<String, Value>>)> {
    a_definition().prop_flat_map(|definition| {
        let rows = prop::collection::vec(a_row(&definition), 1..8);
        (Just(definition), rows)
    })
}

proptest! {
    #[test]
    fn the_checker_agrees_with_its_slow_twin((definition, rows) in definition_and_rows(), late in any::<bool>()) {
        let line = |properties: &Map<String, Value>| {
            let mut row = json!({"definitionId": "sale", "personId": 1, "occurredTime": 0, "properties": properties});
            if late {
                let id = row.as_object_mut().unwrap().remove("definitionId").unwrap();
                row["definitionId"] = id;
            }
            format!("{row}\n")
        };
        let lines: String = rows.iter().map(line).collect();
        let checked = check_as(vec![definition.clone()], CheckOptions::default(), lines.as_bytes());
        let expected: Vec<_> = rows.iter().map(|row| twin(&definition, row)).collect();
        let refused: Vec<u64> = checked.rejections.iter().map(|rejection| rejection.row).collect();
        let should: Vec<u64> = (1..).zip(&expected).filter(|(_, row)| row.is_none()).map(|(at, _)| at).collect();
        prop_assert_eq!(refused, should, "{} {:?}", lines, checked.rejections);
        for (at, row) in expected.iter().flatten().enumerate() {
            let columns = &checked.tables[0].columns[3..];
            let found: Vec<Value> = columns.iter().map(|column| read_back(column, at)).collect();
            prop_assert_eq!(&found, row, "{}", lines);
        }
    }

    #[test]
    fn flat_rows_are_the_same_as_nested_ones((definition, rows) in definition_and_rows()) {
        let line = |properties: &Map<String, Value>, flat: bool| {
            let mut row = json!({"definitionId": "sale", "personId": 1, "occurredTime": 0, "eventId": "e"});
            if flat {
                let named = |name: &String| if name == "eventId" { "sale_eventId".to_owned() } else { name.clone() };
                row.as_object_mut().unwrap().extend(properties.iter().map(|(name, value)| (named(name), value.clone())));
            } else {
                row["properties"] = properties.clone().into();
            }
            format!("{row}\n")
        };
        // A flat key that two properties want is a matter of its own.
        prop_assume!(definition.property("sale_eventId").is_none());
        prop_assume!(rows.iter().all(|row| !row.contains_key("sale_eventId")));
        let check = |flat| {
            let lines: String = rows.iter().map(|row| line(row, flat)).collect();
            let checked = check_as(vec![definition.clone()], CheckOptions::default(), lines.as_bytes());
            let payloads: Vec<u64> = checked.events.iter().map(|event| event.payload).collect();
            let refused: Vec<u64> = checked.rejections.iter().map(|rejection| rejection.row).collect();
            (payloads, refused)
        };
        prop_assert_eq!(check(false), check(true));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let checked = check_as(vec![definition("sale", vec![])], CheckOptions::default(), &bytes);
        prop_assert_eq!(checked.rejections.len() as u64, checked.rows);
    }
}
