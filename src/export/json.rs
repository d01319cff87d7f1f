//! The values of events as JSON, written straight from Arrow columns: the published row format of export files.
//!
//! A [`Part`] holds some events of one definition with every column resolved to its type, and packs each as its
//! [`RowShape`] says. No value is held as a tree and nothing is allocated per row. Numbers keep every digit: integers
//! as they are, floating point in the shortest form that reads back to the same number.

use std::sync::Arc;

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::BooleanArray;
use arrow::array::Float64Array;
use arrow::array::Int64Array;
use arrow::array::ListArray;
use arrow::array::RecordBatch;
use arrow::array::StringViewArray;
use arrow::array::TimestampMicrosecondArray;
use arrow::datatypes::DataType;
use arrow::datatypes::Float64Type;
use arrow::datatypes::Int64Type;
use arrow::datatypes::TimeUnit;
use arrow::datatypes::TimestampMicrosecondType;

use crate::error::Error;
use crate::error::Result;
use crate::export::moments;
use crate::export::moments::Flows;
use crate::export::shape::Enriched;
use crate::export::shape::RowShape;
use crate::export::shape::pack_left_out;
use crate::export::shape::pack_null;
use crate::export::shape::pack_number;
use crate::export::shape::pack_text;
use crate::ids::PersonId;
use crate::person::ExternalIds;
use crate::schema::EVENT_ID;
use crate::schema::OCCURRED_TIME;
use crate::schema::PERSON_ID;
use crate::schema::SEQ;
use crate::schema::SESSION_ID;
use crate::time::Micros;

/// Some events of one definition, as a data file has them.
#[derive(Debug)]
pub(crate) struct Part {
    shape: Arc<RowShape>,
    event_ids: StringViewArray,
    session_ids: StringViewArray,
    person_ids: Int64Array,
    times: TimestampMicrosecondArray,
    seqs: Int64Array,
    /// One for each member of the shape.
    values: Vec<Values>,
}

/// A property's column, resolved to its type.
#[derive(Debug)]
enum Values {
    /// The file is older than the property.
    Absent,
    Text(StringViewArray),
    Boolean(BooleanArray),
    Time(TimestampMicrosecondArray),
    Integer(Int64Array),
    Number(Float64Array),
    List(ListArray, Vec<Values>),
}

impl Part {
    /// Fails with `Internal` when the file lacks a system column or a column has a type that we never write.
    pub(crate) fn of(shape: &Arc<RowShape>, batch: &RecordBatch) -> Result<Self> {
        let column = |name: &str| {
            batch.column_by_name(name).ok_or_else(|| {
                Error::internal(format!("a data file has no column \"{name}\"; the file is not ours"))
            })
        };
        let values = shape.members().iter().map(|member| match batch.column_by_name(&member.column) {
            Some(array) => Values::of(&member.column, array),
            None => Ok(Values::Absent),
        });
        Ok(Self {
            shape: Arc::clone(shape),
            event_ids: text(EVENT_ID, column(EVENT_ID)?)?,
            session_ids: text(SESSION_ID, column(SESSION_ID)?)?,
            person_ids: integers(PERSON_ID, column(PERSON_ID)?)?,
            times: column(OCCURRED_TIME)?
                .as_primitive_opt::<TimestampMicrosecondType>()
                .cloned()
                .ok_or_else(|| unexpected(OCCURRED_TIME, column(OCCURRED_TIME).ok()))?,
            seqs: integers(SEQ, column(SEQ)?)?,
            values: values.collect::<Result<_>>()?,
        })
    }

    pub(crate) fn rows(&self) -> usize {
        self.event_ids.len()
    }

    #[cfg(test)]
    pub(crate) fn shape(&self) -> &RowShape {
        &self.shape
    }

    pub(crate) fn nth(&self) -> usize {
        self.shape.nth()
    }

    pub(crate) fn time(&self, row: usize) -> Micros {
        Micros(self.times.value(row))
    }

    pub(crate) fn event_id(&self, row: usize) -> &str {
        self.event_ids.value(row)
    }

    pub(crate) fn seq(&self, row: usize) -> i64 {
        self.seqs.value(row)
    }

    /// Appends one event as its shape packs it, but for its id and its time.
    pub(crate) fn pack(&self, row: usize, persons: &ExternalIds, flows: &Flows, out: &mut Vec<u8>) {
        let person = persons.resolve(PersonId(self.person_ids.value(row)));
        pack_number(person.0.cast_unsigned(), out);
        // Rows of a file lie by person, so their names are near each other; by time they are anywhere.
        match persons.get(person) {
            Some(external) => pack_text(out, |out| write_text(external.as_bytes(), out)),
            None => pack_null(out),
        }
        match self.session_ids.is_valid(row) {
            true => pack_text(out, |out| write_text(self.session_ids.value(row).as_bytes(), out)),
            false => pack_null(out),
        }
        let mut rest = 0;
        if let Some(enriched) = self.shape.moments() {
            self.pack_moments(row, person, enriched, flows, out);
            rest = enriched.own.iter().flatten().count();
        }
        for (member, values) in self.shape.members().iter().zip(&self.values).skip(rest) {
            values.pack(row, &member.fields, out);
        }
    }

    /// The event's own values first, then what its person's flow tells; a field that is neither is left out.
    fn pack_moments(
        &self,
        row: usize,
        person: PersonId,
        enriched: &Enriched,
        flows: &Flows,
        out: &mut Vec<u8>,
    ) {
        let campaign = enriched.campaign.and_then(|nth| match &self.values[nth] {
            Values::Text(ids) if ids.is_valid(row) => Some(ids.value(row)),
            _ => None,
        });
        let told = campaign.and_then(|id| flows.last(person, id, self.time(row)));
        for (nth, own) in enriched.own.iter().enumerate() {
            let start = told.and_then(|told| told.start).filter(|_| nth == moments::START);
            let text = told.and_then(|told| told.texts[nth].as_deref());
            match own {
                Some(own) if self.values[*own].is_valid(row) || (text.is_none() && start.is_none()) => {
                    self.values[*own].pack(row, &[], out);
                }
                _ => match (text, start) {
                    (Some(text), _) => pack_text(out, |out| write_text(text.as_bytes(), out)),
                    (None, Some(start)) => pack_text(out, |out| write_time(start, out)),
                    (None, None) => pack_left_out(out),
                },
            }
        }
    }
}

impl Values {
    fn of(name: &str, array: &ArrayRef) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::Utf8View => Self::Text(text(name, array)?),
            DataType::Boolean => Self::Boolean(array.as_boolean().clone()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Self::Time(array.as_primitive::<TimestampMicrosecondType>().clone())
            }
            DataType::Int64 => Self::Integer(integers(name, array)?),
            DataType::Float64 => Self::Number(array.as_primitive::<Float64Type>().clone()),
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                let fields = list.values().as_struct_opt().ok_or_else(|| unexpected(name, Some(array)))?;
                let fields = fields.columns().iter().map(|field| Self::of(name, field));
                Self::List(list.clone(), fields.collect::<Result<_>>()?)
            }
            _ => return Err(unexpected(name, Some(array))),
        })
    }

    fn is_valid(&self, row: usize) -> bool {
        match self {
            Self::Absent => false,
            Self::Text(array) => array.is_valid(row),
            Self::Boolean(array) => array.is_valid(row),
            Self::Time(array) => array.is_valid(row),
            Self::Integer(array) => array.is_valid(row),
            Self::Number(array) => array.is_valid(row),
            Self::List(array, _) => array.is_valid(row),
        }
    }

    fn pack(&self, row: usize, fields: &[Vec<u8>], out: &mut Vec<u8>) {
        match self.is_valid(row) {
            true => pack_text(out, |out| self.write(row, fields, out)),
            false => pack_null(out),
        }
    }

    fn write(&self, row: usize, fields: &[Vec<u8>], out: &mut Vec<u8>) {
        match self {
            Self::Text(array) if array.is_valid(row) => write_text(array.value(row).as_bytes(), out),
            Self::Boolean(array) if array.is_valid(row) => {
                out.extend_from_slice(if array.value(row) { b"true" } else { b"false" });
            }
            Self::Time(array) if array.is_valid(row) => write_time(Micros(array.value(row)), out),
            Self::Integer(array) if array.is_valid(row) => write_number(&array.value(row), out),
            Self::Number(array) if array.is_valid(row) => write_number(&array.value(row), out),
            Self::List(array, columns) if array.is_valid(row) => write_list(array, columns, row, fields, out),
            _ => out.extend_from_slice(NULL),
        }
    }
}

fn write_list(array: &ListArray, columns: &[Values], row: usize, fields: &[Vec<u8>], out: &mut Vec<u8>) {
    let offsets = array.value_offsets();
    let items = usize::try_from(offsets[row]).unwrap_or(0)..usize::try_from(offsets[row + 1]).unwrap_or(0);
    out.push(b'[');
    for (nth, item) in items.enumerate() {
        if nth > 0 {
            out.push(b',');
        }
        if array.values().is_null(item) {
            out.extend_from_slice(NULL);
            continue;
        }
        for (at, key) in fields.iter().enumerate() {
            out.extend_from_slice(key);
            match columns.get(at) {
                Some(values) => values.write(item, &[], out),
                None => out.extend_from_slice(NULL),
            }
        }
        out.extend_from_slice(if fields.is_empty() { b"{}" } else { b"}" });
    }
    out.push(b']');
}

fn text(name: &str, array: &ArrayRef) -> Result<StringViewArray> {
    array.as_string_view_opt().cloned().ok_or_else(|| unexpected(name, Some(array)))
}

fn integers(name: &str, array: &ArrayRef) -> Result<Int64Array> {
    array.as_primitive_opt::<Int64Type>().cloned().ok_or_else(|| unexpected(name, Some(array)))
}

fn unexpected(name: &str, array: Option<&ArrayRef>) -> Error {
    let found = array.map(|array| array.data_type().to_string()).unwrap_or_default();
    Error::internal(format!("column \"{name}\" of a data file has the type {found}, which we never write"))
}

pub(crate) const NULL: &[u8] = b"null";

/// Milliseconds, or microseconds where there are any: what comes in goes out.
fn write_time(time: Micros, out: &mut Vec<u8>) {
    out.push(b'"');
    if time.0.rem_euclid(1_000) == 0 {
        out.extend_from_slice(time.export_form().as_bytes());
    } else {
        let stamp = time.iso_micros();
        out.extend_from_slice(stamp.as_bytes().strip_suffix(b"Z").unwrap_or(stamp.as_bytes()));
        out.extend_from_slice(b"+0000");
    }
    out.push(b'"');
}

/// An integer or a floating point number; what JSON cannot write becomes null.
pub(crate) fn write_number(number: &impl serde::Serialize, out: &mut Vec<u8>) {
    // Writing into a vector cannot fail, and a plain number is always serialisable.
    let _ = serde_json::to_writer(out, number);
}

/// A text in quotes. Only what must be escaped is: quotes, backslashes and control characters.
pub(crate) fn write_text(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut clean = 0;
    let mut at = 0;
    while let Some(found) = next_to_escape(bytes, at) {
        out.extend_from_slice(&bytes[clean..found]);
        write_escape(bytes[found], out);
        at = found + 1;
        clean = at;
    }
    out.extend_from_slice(&bytes[clean..]);
    out.push(b'"');
}

fn must_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// The place of the next byte that must be escaped, from `at`; eight bytes at a time where there are eight.
fn next_to_escape(bytes: &[u8], mut at: usize) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // Not zero exactly when some byte of the word is below the bound. Which byte that is, a borrow may blur.
    let below = |word: u64, bound: u64| word.wrapping_sub(ONES * bound) & !word & HIGHS;
    while let Some(word) = bytes[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        let hits = below(word, 0x20) | quote | backslash;
        if hits != 0 {
            break;
        }
        at += 8;
    }
    bytes[at..].iter().position(|&byte| must_escape(byte)).map(|offset| at + offset)
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 0xf)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests;
