//! One value as text for people or as JSON: numbers exact, times in ISO form with their zone, lists and structs as JSON.

use std::fmt::Write;

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::util::display::ArrayFormatter;
use arrow::util::display::FormatOptions;

use crate::error::Context;
use crate::error::Result;

/// The columns of a batch, ready to be asked for their cells.
#[derive(Debug)]
pub(crate) struct Cells {
    arrays: Vec<ArrayRef>,
}

impl Cells {
    /// Unfolds dictionaries, so that below there are plain values only.
    pub(crate) fn of(batch: &RecordBatch) -> Result<Self> {
        let arrays = batch.columns().iter().map(|array| match array.data_type() {
            DataType::Dictionary(_, value) => {
                cast(array, value).internal(|| "could not unfold a dictionary".to_owned())
            }
            _ => Ok(ArrayRef::clone(array)),
        });
        Ok(Self { arrays: arrays.collect::<Result<_>>()? })
    }

    pub(crate) fn columns(&self) -> Result<Vec<Column<'_>>> {
        self.arrays.iter().map(|array| Column::of(array.as_ref())).collect()
    }
}

/// Whether values of this type are read from right to left: people compare them by their last digit.
pub(crate) fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric() || matches!(data_type, DataType::Dictionary(_, value) if value.is_numeric())
}

/// One column, seen once per batch so that a cell costs no look at its type.
pub(crate) struct Column<'a> {
    array: &'a dyn Array,
    form: Form<'a>,
}

enum Form<'a> {
    Null,
    Text(Box<dyn Fn(usize) -> &'a str + 'a>),
    /// Numbers and booleans: the same in JSON as for people.
    Bare(ArrayFormatter<'a>),
    /// Floats: JSON has no word for NaN and the infinities.
    Float(ArrayFormatter<'a>),
    /// Dates, times, bytes and the rest: text, so quoted in JSON.
    Quoted(ArrayFormatter<'a>),
    List(Range<'a>, Box<Column<'a>>),
    Struct(Vec<(String, Column<'a>)>),
    /// Keys and values of the entries.
    Map(Range<'a>, Box<Column<'a>>, Box<Column<'a>>),
}

/// The items of a row's list among all items.
type Range<'a> = Box<dyn Fn(usize) -> std::ops::Range<usize> + 'a>;

impl<'a> Column<'a> {
    pub(crate) fn of(array: &'a dyn Array) -> Result<Self> {
        let formatter = || {
            ArrayFormatter::try_new(array, &FormatOptions::new().with_display_error(true))
                .internal(|| format!("cannot show values of type {}", array.data_type()))
        };
        let form = match array.data_type() {
            DataType::Null => Form::Null,
            DataType::Utf8 => {
                let array = array.as_string::<i32>();
                Form::Text(Box::new(|row| array.value(row)))
            }
            DataType::LargeUtf8 => {
                let array = array.as_string::<i64>();
                Form::Text(Box::new(|row| array.value(row)))
            }
            DataType::Utf8View => {
                let array = array.as_string_view();
                Form::Text(Box::new(|row| array.value(row)))
            }
            DataType::Boolean => Form::Bare(formatter()?),
            other if other.is_floating() => Form::Float(formatter()?),
            other if other.is_numeric() => Form::Bare(formatter()?),
            DataType::List(_) => {
                let array = array.as_list::<i32>();
                let range = offsets(array.value_offsets());
                Form::List(range, Box::new(Self::of(array.values().as_ref())?))
            }
            DataType::FixedSizeList(_, size) => {
                let array = array.as_fixed_size_list();
                let size = usize::try_from(*size).unwrap_or(0);
                let values = Box::new(Self::of(array.values().as_ref())?);
                Form::List(Box::new(move |row| row * size..(row + 1) * size), values)
            }
            DataType::Struct(fields) => {
                let array = array.as_struct();
                let columns = fields
                    .iter()
                    .zip(array.columns())
                    .map(|(field, column)| Ok((field.name().clone(), Self::of(column.as_ref())?)));
                Form::Struct(columns.collect::<Result<_>>()?)
            }
            DataType::Map(_, _) => {
                let array = array.as_map();
                let range = offsets(array.value_offsets());
                let keys = Box::new(Self::of(array.keys().as_ref())?);
                Form::Map(range, keys, Box::new(Self::of(array.values().as_ref())?))
            }
            _ => Form::Quoted(formatter()?),
        };
        Ok(Self { array, form })
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        matches!(self.form, Form::Null) || self.array.is_null(row)
    }

    /// Adds the value as people read it; nothing for a NULL.
    pub(crate) fn text(&self, row: usize, out: &mut String) {
        if self.is_null(row) {
            return;
        }
        match &self.form {
            Form::Null => {}
            Form::Text(value) => out.push_str(value(row)),
            Form::Bare(formatter) | Form::Float(formatter) | Form::Quoted(formatter) => {
                put(formatter, row, out);
            }
            Form::List(..) | Form::Struct(_) | Form::Map(..) => self.json(row, out),
        }
    }

    /// Adds the value as JSON.
    pub(crate) fn json(&self, row: usize, out: &mut String) {
        if self.is_null(row) {
            out.push_str("null");
            return;
        }
        match &self.form {
            Form::Null => out.push_str("null"),
            Form::Text(value) => quote(value(row), out),
            Form::Bare(formatter) => put(formatter, row, out),
            Form::Float(formatter) => {
                let start = out.len();
                put(formatter, row, out);
                if !out.ends_with(|last: char| last.is_ascii_digit()) {
                    out.truncate(start);
                    out.push_str("null");
                }
            }
            Form::Quoted(formatter) => {
                let mut text = String::new();
                put(formatter, row, &mut text);
                quote(&text, out);
            }
            Form::List(range, items) => {
                out.push('[');
                for (place, item) in range(row).enumerate() {
                    out.push_str(if place > 0 { "," } else { "" });
                    items.json(item, out);
                }
                out.push(']');
            }
            Form::Struct(columns) => {
                object(columns.iter().map(|(name, column)| (name.as_str(), column)), row, out);
            }
            Form::Map(range, keys, values) => {
                out.push('{');
                for (place, item) in range(row).enumerate() {
                    out.push_str(if place > 0 { "," } else { "" });
                    let mut key = String::new();
                    keys.text(item, &mut key);
                    quote(&key, out);
                    out.push(':');
                    values.json(item, out);
                }
                out.push('}');
            }
        }
    }
}

/// Where the items of each row begin and end; Arrow's offsets are never negative.
fn offsets(offsets: &[i32]) -> Range<'_> {
    let at = |row: usize| usize::try_from(offsets[row]).unwrap_or(0);
    Box::new(move |row| at(row)..at(row + 1))
}

/// Adds one row as a JSON object, in the order of the columns.
pub(crate) fn object<'a, 'b: 'a>(
    columns: impl IntoIterator<Item = (&'a str, &'a Column<'b>)>,
    row: usize,
    out: &mut String,
) {
    out.push('{');
    for (place, (name, column)) in columns.into_iter().enumerate() {
        out.push_str(if place > 0 { "," } else { "" });
        quote(name, out);
        out.push(':');
        column.json(row, out);
    }
    out.push('}');
}

/// A formatter that shows its errors never fails to write to a `String`.
fn put(formatter: &ArrayFormatter<'_>, row: usize, out: &mut String) {
    if write!(out, "{}", formatter.value(row)).is_err() {
        out.push('?');
    }
}

/// A JSON string.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=0x1f => "",
            _ => continue,
        };
        out.push_str(&text[from..at]);
        if escape.is_empty() {
            out.push_str(&format!("\\u{byte:04x}"));
        } else {
            out.push_str(escape);
        }
        from = at + 1;
    }
    out.push_str(&text[from..]);
    out.push('"');
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use arrow::array::Decimal128Array;
    use arrow::array::DictionaryArray;
    use arrow::array::Float64Array;
    use arrow::array::Int64Array;
    use arrow::array::ListArray;
    use arrow::array::StringArray;
    use arrow::array::StructArray;
    use arrow::array::TimestampMicrosecondArray;
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::Field;
    use arrow::datatypes::Int32Type;

    use super::*;

    fn both(array: &dyn Array, row: usize) -> (String, String) {
        let column = Column::of(array).unwrap();
        let (mut text, mut json) = (String::new(), String::new());
        column.text(row, &mut text);
        column.json(row, &mut json);
        (text, json)
    }

    fn same(text: &str) -> (String, String) {
        (text.to_owned(), text.to_owned())
    }

    #[test]
    fn integers_and_decimals_stay_exact() {
        assert_eq!(both(&Int64Array::from(vec![i64::MAX]), 0), same("9223372036854775807"));
        let sums = Decimal128Array::from(vec![170_141_183_460_469_231_731_687_303_715_884_105_727_i128 / 10]);
        let sums = sums.with_precision_and_scale(38, 0).unwrap();
        assert_eq!(both(&sums, 0), same("17014118346046923173168730371588410572"));
    }

    #[test]
    fn a_float_that_json_cannot_say_is_null_there() {
        let floats = Float64Array::from(vec![19.99, f64::NAN, f64::NEG_INFINITY]);
        assert_eq!(both(&floats, 0), same("19.99"));
        assert_eq!(both(&floats, 1).1, "null");
        assert_eq!(both(&floats, 2).1, "null");
    }

    #[test]
    fn times_are_iso_with_their_zone() {
        let utc = TimestampMicrosecondArray::from(vec![1_780_315_200_000_000, -1]).with_timezone("UTC");
        assert_eq!(both(&utc, 0).0, "2026-06-01T12:00:00Z");
        assert_eq!(both(&utc, 1).1, "\"1969-12-31T23:59:59.999999Z\"");
        let zagreb =
            TimestampMicrosecondArray::from(vec![1_780_315_200_000_000]).with_timezone("Europe/Zagreb");
        assert_eq!(both(&zagreb, 0).0, "2026-06-01T14:00:00+02:00");
    }

    #[test]
    fn text_is_escaped_in_json_and_left_alone_for_people() {
        let texts = StringArray::from(vec![Some("a\"\\\n\u{1}é"), Some(""), None]);
        assert_eq!(both(&texts, 0), ("a\"\\\n\u{1}é".to_owned(), "\"a\\\"\\\\\\n\\u0001é\"".to_owned()));
        assert_eq!(both(&texts, 1), (String::new(), "\"\"".to_owned()));
        assert_eq!(both(&texts, 2), (String::new(), "null".to_owned()));
    }

    #[test]
    fn lists_of_structs_are_json_in_both() {
        let rows = StringArray::from(vec![Some("A"), None, Some("C")]);
        let prices = Float64Array::from(vec![Some(1.5), Some(2.0), None]);
        let seats = StructArray::from(vec![
            (Arc::new(Field::new("row", DataType::Utf8, true)), Arc::new(rows) as ArrayRef),
            (Arc::new(Field::new("price", DataType::Float64, true)), Arc::new(prices) as ArrayRef),
        ]);
        let item = Arc::new(Field::new("element", seats.data_type().clone(), true));
        let offsets = OffsetBuffer::from_lengths([2, 0, 1]);
        let lists = ListArray::new(item, offsets, Arc::new(seats), None);
        assert_eq!(both(&lists, 0), same(r#"[{"row":"A","price":1.5},{"row":null,"price":2.0}]"#));
        assert_eq!(both(&lists, 1), same("[]"));
        assert_eq!(both(&lists.slice(2, 1), 0), same(r#"[{"row":"C","price":null}]"#));
    }

    #[test]
    fn a_dictionary_shows_its_values() {
        let days: DictionaryArray<Int32Type> = vec![Some("b"), None, Some("b")].into_iter().collect();
        let batch = RecordBatch::try_from_iter([("day", Arc::new(days) as ArrayRef)]).unwrap();
        let cells = Cells::of(&batch).unwrap();
        let columns = cells.columns().unwrap();
        let mut json = String::new();
        object([("day", &columns[0])], 2, &mut json);
        assert_eq!(json, r#"{"day":"b"}"#);
        assert!(columns[0].is_null(1));
    }
}
