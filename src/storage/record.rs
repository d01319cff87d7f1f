//! What a record of the log says, and its bytes: events as they were decided, with the persons and refusals that came
//! with them. Whoever replays it decides nothing again.
//!
//! ```text
//! record:  kind:u8 (1) | last_seq:i64 | section…
//! section: tag:u8 | length:u32 | bytes
//!   1  persons: JSON [[id, externalId or null, created, [[type, id, sender]…]]…]
//!   2  one refused row: length:u32 | JSON [source, row, definition, property, expected, found, code, message, at] | raw
//!   3  event ids: 24 bytes each, the key in two halves and the fingerprint
//!   4  events of one definition: length:u16 | its id | an Arrow IPC stream in its file schema
//! ```
//! Integers are little-endian.

use std::sync::Arc;

use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::Deserialize;
use serde::Serialize;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::ids::PersonId;
use crate::person::Identifier;
use crate::person::Person;
use crate::schema::Definition;
use crate::schema::EventBatch;
use crate::storage::catalog::RejectedRow;
use crate::time::Micros;

const EVENTS: u8 = 1;

const PERSONS_TAG: u8 = 1;
const REJECTED_TAG: u8 = 2;
const IDS_TAG: u8 = 3;
const TABLE_TAG: u8 = 4;

const ID_BYTES: usize = 24;

/// Events that were decided together: what becomes one record.
#[derive(Clone, Debug, Default)]
pub struct LoggedGroup {
    /// With `personId` and `seq`.
    pub events: Vec<EventBatch>,
    /// The key and the fingerprint of each event's id.
    pub ids: Vec<(u128, u64)>,
    /// New persons, or known ones with new identifiers.
    pub persons: Vec<(Person, Vec<Identifier>)>,
    pub rejected: Vec<RejectedRow>,
    /// The sequence number of the last event so far.
    pub last_seq: i64,
}

#[derive(Serialize, Deserialize)]
struct PersonText(i64, Option<String>, i64, Vec<(String, String, String)>);

#[derive(Serialize, Deserialize)]
struct RejectedText(
    String,
    u64,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    String,
    String,
    i64,
);

impl LoggedGroup {
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.persons.is_empty() && self.rejected.is_empty()
    }

    /// The bytes of the record.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let doing = || "could not write events as a record of the log".to_owned();
        let mut out = vec![EVENTS];
        out.extend_from_slice(&self.last_seq.to_le_bytes());
        if !self.persons.is_empty() {
            let persons: Vec<PersonText> = self.persons.iter().map(person_text).collect();
            section(&mut out, PERSONS_TAG, |out| serde_json::to_writer(out, &persons).internal(doing))?;
        }
        for row in &self.rejected {
            let head = serde_json::to_vec(&rejected_text(row)).internal(doing)?;
            section(&mut out, REJECTED_TAG, |out| {
                out.extend_from_slice(&length(head.len())?.to_le_bytes());
                out.extend_from_slice(&head);
                out.extend_from_slice(&row.raw);
                Ok(())
            })?;
        }
        if !self.ids.is_empty() {
            section(&mut out, IDS_TAG, |out| {
                for (key, fingerprint) in &self.ids {
                    out.extend_from_slice(&key.to_le_bytes());
                    out.extend_from_slice(&fingerprint.to_le_bytes());
                }
                Ok(())
            })?;
        }
        for EventBatch { definition, rows } in &self.events {
            let id = definition.id.as_str();
            section(&mut out, TABLE_TAG, |out| {
                let length = u16::try_from(id.len()).internal(doing)?;
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(id.as_bytes());
                let mut writer = StreamWriter::try_new(out, rows.schema_ref()).internal(doing)?;
                writer.write(rows).internal(doing)?;
                writer.finish().internal(doing)
            })?;
        }
        Ok(out)
    }

    /// What a record says; `definition` knows the definitions.
    ///
    /// # Errors
    /// `Internal` when it says what this program cannot read.
    pub(crate) fn decode(bytes: &[u8], definition: impl Fn(&str) -> Result<Arc<Definition>>) -> Result<Self> {
        let mut rest = Reader(bytes);
        match rest.take(1)? {
            [EVENTS] => {}
            _ => {
                return Err(Error::internal(
                    "a record of the log is of a kind that this program does not know",
                ));
            }
        }
        let mut group = Self { last_seq: i64::from_le_bytes(rest.array()?), ..Self::default() };
        while !rest.0.is_empty() {
            let tag = rest.take(1)?[0];
            let length = u32::from_le_bytes(rest.array()?);
            let mut section = Reader(rest.take(length as usize)?);
            match tag {
                PERSONS_TAG => {
                    let persons: Vec<PersonText> = serde_json::from_slice(section.0).internal(unreadable)?;
                    group.persons = persons.into_iter().map(person).collect::<Result<_>>()?;
                }
                REJECTED_TAG => {
                    let length = u32::from_le_bytes(section.array()?);
                    let head = serde_json::from_slice(section.take(length as usize)?).internal(unreadable)?;
                    group.rejected.push(rejected(head, section.0));
                }
                IDS_TAG => group.ids = section.0.chunks_exact(ID_BYTES).map(id).collect::<Result<_>>()?,
                TABLE_TAG => {
                    let length = u16::from_le_bytes(section.array()?);
                    let id = std::str::from_utf8(section.take(usize::from(length))?).internal(unreadable)?;
                    let definition = definition(id)?;
                    for rows in StreamReader::try_new(section.0, None).internal(unreadable)? {
                        let rows = rows.internal(unreadable)?;
                        group.events.push(EventBatch { definition: Arc::clone(&definition), rows });
                    }
                }
                _ => {
                    return Err(Error::internal(
                        "a record of the log has a part that this program does not know",
                    ));
                }
            }
        }
        Ok(group)
    }
}

fn unreadable() -> String {
    "a record of the log cannot be read, although its checksum is right".to_owned()
}

fn length(bytes: usize) -> Result<u32> {
    u32::try_from(bytes).internal(|| "a part of a record of the log is too large".to_owned())
}

/// Adds a section whose bytes `fill` writes.
fn section(out: &mut Vec<u8>, tag: u8, fill: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
    out.push(tag);
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    fill(out)?;
    let length = length(out.len() - at - 4)?;
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

fn person_text((person, identifiers): &(Person, Vec<Identifier>)) -> PersonText {
    let identifiers =
        identifiers.iter().map(|one| (one.kind.name().to_owned(), one.id.clone(), one.sender.clone()));
    PersonText(person.id.0, person.external_id.clone(), person.created.0, identifiers.collect())
}

fn person(text: PersonText) -> Result<(Person, Vec<Identifier>)> {
    let PersonText(id, external_id, created, identifiers) = text;
    let identifiers =
        identifiers.into_iter().map(|(kind, id, sender)| Ok(Identifier { kind: kind.parse()?, id, sender }));
    let identifiers = identifiers.collect::<Result<_>>()?;
    Ok((Person { id: PersonId(id), external_id, created: Micros(created) }, identifiers))
}

fn rejected_text(row: &RejectedRow) -> RejectedText {
    RejectedText(
        row.source.clone(),
        row.row,
        row.definition.clone(),
        row.property.clone(),
        row.expected.clone(),
        row.found.clone(),
        row.code.clone(),
        row.message.clone(),
        row.at.0,
    )
}

fn rejected(text: RejectedText, raw: &[u8]) -> RejectedRow {
    let RejectedText(source, row, definition, property, expected, found, code, message, at) = text;
    RejectedRow {
        id: 0,
        source,
        row,
        definition,
        property,
        expected,
        found,
        code,
        message,
        raw: raw.to_vec(),
        at: Micros(at),
    }
}

fn id(bytes: &[u8]) -> Result<(u128, u64)> {
    let mut rest = Reader(bytes);
    Ok((u128::from_le_bytes(rest.array()?), u64::from_le_bytes(rest.array()?)))
}

/// Bytes that are read from their beginning.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.0.split_at_checked(count) else {
            return Err(Error::internal(unreadable()));
        };
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::DataType;
    use arrow::datatypes::Field;
    use arrow::datatypes::Schema;
    use arrow::record_batch::RecordBatch;

    use super::*;
    use crate::person::IdentifierType;

    fn group() -> LoggedGroup {
        let definition = Arc::new(Definition::external("cart".parse().unwrap(), "Cart", Vec::new()));
        let schema = Arc::new(Schema::new(vec![Field::new("seq", DataType::Int64, false)]));
        let rows = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![7, 9]))]).unwrap();
        let phone = Identifier { kind: IdentifierType::Phone, id: "+385".to_owned(), sender: String::new() };
        let named = Person { id: PersonId(3), external_id: Some("x\"y".to_owned()), created: Micros(-5) };
        let other = Person { id: PersonId(4), external_id: None, created: Micros(6) };
        LoggedGroup {
            events: vec![EventBatch { definition, rows }],
            ids: vec![(u128::MAX - 1, 5), (7, u64::MAX)],
            persons: vec![(named, Vec::new()), (other, vec![phone])],
            rejected: vec![RejectedRow {
                source: "a".to_owned(),
                row: 8,
                found: Some("f".to_owned()),
                code: "wrong_type".to_owned(),
                message: "m".to_owned(),
                raw: vec![0, 255, b'"'],
                at: Micros(9),
                ..RejectedRow::default()
            }],
            last_seq: 9,
        }
    }

    #[test]
    fn a_record_says_what_was_put_into_it() {
        let group = group();
        let bytes = group.encode().unwrap();
        let cart = Arc::clone(&group.events[0].definition);
        let read = LoggedGroup::decode(&bytes, |id| {
            assert_eq!(id, "cart");
            Ok(Arc::clone(&cart))
        })
        .unwrap();
        assert_eq!(format!("{read:?}"), format!("{group:?}"));
        // Whatever its end, bytes that are no record are an error and nothing worse.
        for end in 0..bytes.len() {
            let _ = LoggedGroup::decode(&bytes[..end], |_| Ok(Arc::clone(&cart)));
        }
        assert!(LoggedGroup::decode(&bytes[..bytes.len() - 1], |_| Ok(Arc::clone(&cart))).is_err());
    }
}
