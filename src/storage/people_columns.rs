//! The columns of the table of persons: their types, and how profiles become them.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::Int64Array;
use arrow::array::ListBuilder;
use arrow::array::StringArray;
use arrow::array::StringBuilder;
use arrow::array::TimestampMicrosecondArray;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Fields;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use arrow::datatypes::TimeUnit;
use serde_json::Map;
use serde_json::Value;

use crate::error::Context;
use crate::error::Result;
use crate::person::ATTRIBUTES;
use crate::person::CustomAttribute;
use crate::person::CustomAttributes;
use crate::person::CustomType;
use crate::person::IdentifierType;
use crate::person::Profile;
use crate::schema::EXTERNAL_PERSON_ID;
use crate::schema::PERSON_ID;

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The columns: those that every person has, then the custom attributes by name.
pub(crate) fn schema(attributes: &CustomAttributes) -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8View, true);
    let texts = |name: &str| Field::new_list(name, Field::new("item", DataType::Utf8, true), false);
    let mut fields = vec![
        Field::new(PERSON_ID, DataType::Int64, false),
        Field::new(EXTERNAL_PERSON_ID, DataType::Utf8View, true),
        Field::new("type", DataType::Utf8View, false),
    ];
    fields.extend(ATTRIBUTES.iter().map(|(_, name, _)| text(name)));
    fields.extend([texts("tags"), texts("emails"), texts("phones"), texts("pushRegistrations")]);
    fields.push(Field::new("origin", DataType::Utf8View, false));
    fields.push(Field::new("createdTime", time(), false));
    fields.push(Field::new("modifiedTime", time(), false));
    let own: Vec<Field> = attributes
        .iter()
        .map(|one| {
            let taken = fields.iter().any(|field| field.name().eq_ignore_ascii_case(&one.name));
            let name = if taken { format!("custom_{}", one.name) } else { one.name.clone() };
            let shown_as = match type_of(one) {
                DataType::Utf8 => DataType::Utf8View,
                other => other,
            };
            Field::new(name, shown_as, true)
        })
        .collect();
    fields.extend(own);
    Arc::new(Schema::new(fields))
}

fn type_of(attribute: &CustomAttribute) -> DataType {
    match attribute.data_type {
        CustomType::ListOfObjects => {
            let fields =
                attribute.object_schema.iter().map(|(name, kind)| Field::new(name, scalar(*kind), true));
            let item = Field::new("item", DataType::Struct(fields.collect::<Fields>()), true);
            DataType::List(Arc::new(item))
        }
        kind => scalar(kind),
    }
}

fn scalar(kind: CustomType) -> DataType {
    match kind {
        CustomType::String | CustomType::ListOfObjects => DataType::Utf8,
        CustomType::Decimal => DataType::Float64,
        CustomType::Integer => DataType::Int64,
        CustomType::Boolean => DataType::Boolean,
        CustomType::Date => DataType::Date32,
        CustomType::DateTime => time(),
    }
}

/// The columns of [`schema`] for these persons; texts as plain ones, as they are kept.
pub(crate) fn columns(profiles: &[Profile], attributes: &CustomAttributes) -> Result<Vec<ArrayRef>> {
    let times = |of: fn(&Profile) -> i64| -> ArrayRef {
        let times: TimestampMicrosecondArray = profiles.iter().map(|one| Some(of(one))).collect();
        Arc::new(times.with_timezone("UTC"))
    };
    let contacts = |kind: IdentifierType| {
        texts(profiles, |one| {
            one.contacts.iter().filter(|one| one.kind == kind).map(|one| one.id.as_str()).collect()
        })
    };
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(profiles.iter().map(|one| Some(one.id.0)).collect::<Int64Array>()),
        Arc::new(profiles.iter().map(|one| one.external_id.as_deref()).collect::<StringArray>()),
        Arc::new(profiles.iter().map(|one| Some(one.kind.name())).collect::<StringArray>()),
    ];
    for (attribute, ..) in &ATTRIBUTES {
        let values = profiles.iter().map(|one| one.attributes.get(attribute).map(String::as_str));
        columns.push(Arc::new(values.collect::<StringArray>()));
    }
    columns.push(texts(profiles, |one| one.tags.iter().map(String::as_str).collect()));
    columns.extend([IdentifierType::Email, IdentifierType::Phone, IdentifierType::Push].map(contacts));
    columns.push(Arc::new(profiles.iter().map(|one| Some(one.origin.as_str())).collect::<StringArray>()));
    columns.push(times(|one| one.created.0));
    columns.push(times(|one| one.modified.0));
    columns.extend(custom(profiles, attributes)?);
    Ok(columns)
}

fn texts<'a>(profiles: &'a [Profile], of: impl Fn(&'a Profile) -> Vec<&'a str>) -> ArrayRef {
    let mut list = ListBuilder::new(StringBuilder::new());
    for profile in profiles {
        for text in of(profile) {
            list.values().append_value(text);
        }
        list.append(true);
    }
    Arc::new(list.finish())
}

/// The columns of custom attributes: their values are JSON, which Arrow reads by the types of the columns.
fn custom(profiles: &[Profile], attributes: &CustomAttributes) -> Result<Vec<ArrayRef>> {
    let fields: Fields = attributes.iter().map(|one| Field::new(&one.name, type_of(one), true)).collect();
    if fields.is_empty() {
        return Ok(Vec::new());
    }
    let doing = || "could not put the custom attributes together".to_owned();
    let schema = Arc::new(Schema::new(fields.clone()));
    let rows: Vec<Map<String, Value>> = profiles
        .iter()
        .map(|one| {
            let named = attributes.iter().map(|attribute| &attribute.name);
            named.filter_map(|name| Some((name.clone(), one.custom.get(name)?.clone()))).collect()
        })
        .collect();
    let mut decoder = arrow::json::ReaderBuilder::new(schema)
        .with_batch_size(profiles.len().max(1))
        .build_decoder()
        .internal(doing)?;
    decoder.serialize(&rows).internal(doing)?;
    let batch = decoder.flush().internal(doing)?;
    let batch = batch.map(|batch| batch.columns().to_vec());
    Ok(batch.unwrap_or_else(|| {
        fields.iter().map(|field| arrow::array::new_null_array(field.data_type(), profiles.len())).collect()
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::Array;
    use arrow::record_batch::RecordBatch;
    use serde_json::json;

    use super::*;
    use crate::ids::PersonId;
    use crate::person::Attribute;
    use crate::storage::kept_columns::KeptColumns;
    use crate::time::Micros;

    #[test]
    fn every_type_of_attribute_becomes_a_column_of_its_type() {
        let objects =
            BTreeMap::from([("sku".to_owned(), CustomType::String), ("n".to_owned(), CustomType::Integer)]);
        let of = |name: &str, kind| CustomAttribute::new(name, kind, BTreeMap::new()).unwrap();
        let attributes: CustomAttributes = [
            of("a", CustomType::String),
            of("b", CustomType::Decimal),
            of("c", CustomType::Integer),
            of("city", CustomType::Boolean),
            of("d", CustomType::Date),
            of("e", CustomType::DateTime),
            CustomAttribute::new("f", CustomType::ListOfObjects, objects).unwrap(),
        ]
        .into_iter()
        .collect();
        let mut ana = Profile::new(PersonId(1), Micros(0));
        ana.attributes.insert(Attribute::City, "Pula".to_owned());
        ana.tags.insert("vip".to_owned());
        ana.custom = [
            ("a", json!("x")),
            ("b", json!(1.5)),
            ("c", json!(9_223_372_036_854_775_807_i64)),
            ("city", json!(true)),
            ("d", json!("2024-02-29")),
            ("e", json!("2024-02-29T10:00:00.000001Z")),
            ("f", json!([{"sku": "s", "n": 2}, {"n": 3}])),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        let nobody = Profile::new(PersonId(2), Micros(0));
        let schema = schema(&attributes);
        let kept = KeptColumns::of(columns(&[ana, nobody], &attributes).unwrap()).unwrap();
        let shown = schema
            .fields()
            .iter()
            .enumerate()
            .map(|(place, field)| kept.column(place, field.data_type(), None));
        let rows = RecordBatch::try_new(Arc::clone(&schema), shown.map(Result::unwrap).collect()).unwrap();
        let shown =
            arrow::util::pretty::pretty_format_batches(std::slice::from_ref(&rows)).unwrap().to_string();
        for part in [
            "9223372036854775807",
            "2024-02-29",
            "2024-02-29T10:00:00.000001Z",
            "[{n: 2, sku: s}, {n: 3, sku: }]",
        ] {
            assert!(shown.contains(part), "{part} {shown}");
        }
        assert_eq!(rows.num_rows(), 2);
        assert!(rows.column_by_name("custom_city").is_some());
        assert_eq!(rows.column_by_name("a").unwrap().null_count(), 1);
    }
}
