//! The column `properties` of `events`: all properties of an event as one JSON object, written as exports write them.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::StringViewBuilder;
use arrow::array::cast::AsArray;
use arrow::datatypes::DataType;
use arrow::datatypes::Float64Type;
use arrow::datatypes::Int64Type;
use arrow::datatypes::TimeUnit;
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::common::Result;
use datafusion::common::exec_err;
use datafusion::logical_expr::ColumnarValue;
use datafusion::logical_expr::ScalarFunctionArgs;
use datafusion::logical_expr::ScalarUDFImpl;
use datafusion::logical_expr::Signature;
use datafusion::logical_expr::Volatility;

use crate::time::Micros;

/// An object of the columns it is given, under the names it was made with. A property that is NULL is left out.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct PropertiesJson {
    /// The names as JSON strings with the colon: `"path":`.
    keys: Vec<String>,
    signature: Signature,
}

impl PropertiesJson {
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let keys = names.into_iter().map(key).collect();
        Self { keys, signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for PropertiesJson {
    fn name(&self) -> &str {
        "properties"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns =
            args.args.iter().map(|one| one.to_array(args.number_rows)).collect::<Result<Vec<_>>>()?;
        let mut texts = StringViewBuilder::with_capacity(args.number_rows);
        let mut text = String::new();
        for row in 0..args.number_rows {
            text.clear();
            write_object(&mut text, &self.keys, &columns, row)?;
            texts.append_value(&text);
        }
        Ok(ColumnarValue::Array(Arc::new(texts.finish())))
    }
}

fn key(name: &str) -> String {
    let mut key = String::new();
    write_text(&mut key, name);
    key.push(':');
    key
}

fn write_object(out: &mut String, keys: &[String], columns: &[ArrayRef], row: usize) -> Result<()> {
    out.push('{');
    let mut first = true;
    for (key, column) in keys.iter().zip(columns) {
        if column.is_null(row) {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        out.push_str(key);
        write_value(out, column, row)?;
    }
    out.push('}');
    Ok(())
}

/// Writes one value that is not NULL: integers exactly, floats by their shortest form that reads back as the same, a
/// time as `2026-06-01T10:00:00.000+0000` (with six digits where milliseconds are not enough).
fn write_value(out: &mut String, column: &ArrayRef, row: usize) -> Result<()> {
    match column.data_type() {
        DataType::Utf8 => write_text(out, column.as_string::<i32>().value(row)),
        DataType::Utf8View => write_text(out, column.as_string_view().value(row)),
        DataType::Boolean => out.push_str(if column.as_boolean().value(row) { "true" } else { "false" }),
        DataType::Int64 => push(out, format_args!("{}", column.as_primitive::<Int64Type>().value(row))),
        DataType::Float64 => write_float(out, column.as_primitive::<Float64Type>().value(row)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            write_time(out, Micros(column.as_primitive::<TimestampMicrosecondType>().value(row)));
        }
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            out.push('[');
            for item in 0..items.len() {
                if item > 0 {
                    out.push(',');
                }
                if items.is_null(item) { out.push_str("null") } else { write_value(out, &items, item)? }
            }
            out.push(']');
        }
        DataType::Struct(fields) => {
            let keys: Vec<String> = fields.iter().map(|field| key(field.name())).collect();
            write_object(out, &keys, column.as_struct().columns(), row)?;
        }
        other => return exec_err!("a property of type {other} has no form in JSON"),
    }
    Ok(())
}

fn push(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    let _ = out.write_fmt(arguments);
}

/// JSON's escapes and no others: text outside ASCII stays as it is.
fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => push(out, format_args!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn write_float(out: &mut String, value: f64) {
    match serde_json::Number::from_f64(value) {
        Some(number) => push(out, format_args!("{number}")),
        None => out.push_str("null"),
    }
}

fn write_time(out: &mut String, time: Micros) {
    out.push('"');
    if time.0.rem_euclid(1_000) == 0 {
        out.push_str(time.export_form().as_str());
    } else {
        out.push_str(time.iso_micros().as_str().trim_end_matches('Z'));
        out.push_str("+0000");
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use arrow::array::BooleanArray;
    use arrow::array::Float64Array;
    use arrow::array::Int64Array;
    use arrow::array::ListArray;
    use arrow::array::StringArray;
    use arrow::array::StructArray;
    use arrow::array::TimestampMicrosecondArray;
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::Field;

    use super::*;

    fn object(columns: Vec<(&str, ArrayRef)>) -> String {
        let keys: Vec<String> = columns.iter().map(|(name, _)| key(name)).collect();
        let arrays: Vec<ArrayRef> = columns.into_iter().map(|(_, array)| array).collect();
        let mut out = String::new();
        write_object(&mut out, &keys, &arrays, 0).unwrap();
        out
    }

    #[test]
    fn every_type_has_its_form_and_null_is_left_out() {
        let text = object(vec![
            ("a\"b", Arc::new(StringArray::from(vec!["x\u{1}\n\\žena"]))),
            ("gone", Arc::new(Int64Array::from(vec![None]))),
            ("big", Arc::new(Int64Array::from(vec![i64::MAX]))),
            ("price", Arc::new(Float64Array::from(vec![19.99]))),
            ("whole", Arc::new(Float64Array::from(vec![5.0]))),
            ("yes", Arc::new(BooleanArray::from(vec![true]))),
            ("at", Arc::new(TimestampMicrosecondArray::from(vec![-1_000]).with_timezone("UTC"))),
            ("fine", Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC"))),
        ]);
        assert_eq!(
            text,
            "{\"a\\\"b\":\"x\\u0001\\n\\\\žena\",\"big\":9223372036854775807,\"price\":19.99,\"whole\":5.0,\
             \"yes\":true,\"at\":\"1969-12-31T23:59:59.999+0000\",\"fine\":\"1970-01-01T00:00:00.000001+0000\"}"
        );
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }

    #[test]
    fn a_list_is_an_array_of_objects() {
        let row: ArrayRef = Arc::new(StringArray::from(vec![Some("C"), None]));
        let seats = StructArray::from(vec![(Arc::new(Field::new("row", DataType::Utf8, true)), row)]);
        let element = Arc::new(Field::new("element", seats.data_type().clone(), true));
        let list = ListArray::new(element, OffsetBuffer::from_lengths([2]), Arc::new(seats), None);
        assert_eq!(object(vec![("seats", Arc::new(list))]), "{\"seats\":[{\"row\":\"C\"},{}]}");
    }
}
