//! `RowShape`: the keys of one definition's rows, ready to copy, and how a packed row becomes its line of JSON.
//!
//! Most of a line is keys and nulls, which every row of a definition has alike. What is sorted, and waits on the disk where
//! memory is short, is therefore the rest, a fifth of it: the person, and for its name, the session and each place of the shape one number,
//! [`NO_VALUE`], [`LEFT_OUT`], or two more than the bytes of the JSON text that follows. Lines are put together where they
//! are compressed.

use std::ops::Range;

use crate::export::clock::Clock;
use crate::export::json::NULL;
use crate::export::json::write_number;
use crate::export::json::write_text;
use crate::export::moments;
use crate::ids::PersonId;
use crate::schema::Columns;
use crate::schema::Definition;
use crate::schema::PropertyType;
use crate::time::Micros;

/// The fields that every row has, in this order. A property of such a name is written `<definitionId>_<name>`.
const MANDATORY: [&str; 6] =
    ["definitionId", "eventId", "sessionId", "personId", "externalPersonId", "occuredTime"];

/// The keys of one definition's rows, escaped and with their punctuation, and the columns that fill them.
#[derive(Debug)]
pub(crate) struct RowShape {
    /// Which of an export's definitions it is, for those who count.
    nth: usize,
    /// From `{` up to where the event id begins.
    head: Vec<u8>,
    members: Vec<Member>,
    moments: Option<Enriched>,
    /// `,"key":null` for every place behind the mandatory fields, and where each of them starts and the last one ends.
    nulls: Vec<u8>,
    places: Vec<usize>,
}

/// How rows get the Moments fields.
#[derive(Debug)]
pub(crate) struct Enriched {
    /// The members that hold them, by field; they come first among the members.
    pub(crate) own: [Option<usize>; 4],
    /// The member that names the campaign.
    pub(crate) campaign: Option<usize>,
}

#[derive(Debug)]
pub(crate) struct Member {
    /// `,"name":`
    key: Vec<u8>,
    /// The column's name in data files.
    pub(crate) column: String,
    /// `{"name":` or `,"name":` for each field of a List.
    pub(crate) fields: Vec<Vec<u8>>,
}

/// A row that was packed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackedRow<'a> {
    /// To the millisecond.
    pub(crate) time: Micros,
    pub(crate) event_id: &'a [u8],
    pub(crate) packed: &'a [u8],
}

/// The number of a place whose value is null.
const NO_VALUE: u64 = 0;
/// The number of a place that the row does not have, not even as null.
const LEFT_OUT: u64 = 1;

impl RowShape {
    /// With `enrich`, the standard events' own campaign and flow properties are the Moments fields; a property of
    /// such a name in a user's own event says nothing about Moments, and is prefixed to keep the two apart.
    pub(crate) fn of(definition: &Definition, enrich: bool) -> Self {
        let columns = Columns::of(definition);
        let standard = definition.category.is_standard();
        let mut taken: Vec<String> = MANDATORY.iter().map(|&name| name.to_owned()).collect();
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        for (property, column) in definition.properties.iter().zip(columns.properties()) {
            let place = moments::FIELDS.iter().position(|&name| enrich && name == property.name);
            let reserved = MANDATORY.contains(&property.name.as_str()) || (place.is_some() && !standard);
            let mut name =
                if reserved { format!("{}_{}", definition.id, property.name) } else { property.name.clone() };
            // A prefixed name may be the name of another property.
            let others = || definition.properties.iter().filter(|other| other.name != property.name);
            while taken.contains(&name) || (reserved && others().any(|other| other.name == name)) {
                name.push('_');
            }
            let member = Member {
                key: key(b',', &name),
                column: column.file.clone(),
                fields: list_keys(&property.kind),
            };
            taken.push(name);
            match place {
                Some(place) if standard => first.push((place, member)),
                _ => rest.push(member),
            }
        }
        first.sort_by_key(|(place, _)| *place);
        let mut own = [None; 4];
        for (nth, (place, _)) in first.iter().enumerate() {
            own[*place] = Some(nth);
        }
        let mut head = key(b'{', MANDATORY[0]);
        write_text(definition.id.as_str().as_bytes(), &mut head);
        head.extend_from_slice(b",\"eventId\":");
        let members: Vec<Member> = first.into_iter().map(|(_, member)| member).chain(rest).collect();
        let campaign = definition.properties.iter().any(|property| property.name == moments::CAMPAIGN_ID);
        let of_campaign = || members.iter().position(|member| member.key == key(b',', moments::CAMPAIGN_ID));
        let enriched =
            (enrich && standard).then(|| Enriched { own, campaign: campaign.then(of_campaign).flatten() });
        let told = moments::FIELDS.map(|name| key(b',', name));
        let rest = if enriched.is_some() { own.iter().flatten().count() } else { 0 };
        let told = told.iter().filter(|_| enriched.is_some());
        let keys = told.chain(members[rest..].iter().map(|member| &member.key));
        let (mut nulls, mut places) = (Vec::new(), vec![0]);
        for key in keys {
            nulls.extend_from_slice(key);
            nulls.extend_from_slice(NULL);
            places.push(nulls.len());
        }
        Self { nth: 0, head, members, moments: enriched, nulls, places }
    }
}

impl RowShape {
    /// The same as the one of this number.
    pub(crate) fn numbered(self, nth: usize) -> Self {
        Self { nth, ..self }
    }

    pub(crate) fn nth(&self) -> usize {
        self.nth
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(crate) fn moments(&self) -> Option<&Enriched> {
        self.moments.as_ref()
    }

    /// Appends the line of a row and a line feed; `None` if the row is not whole.
    pub(crate) fn write(&self, row: PackedRow<'_>, clock: &mut Clock, out: &mut Vec<u8>) -> Option<()> {
        let mut packed = Packed::of(row.packed);
        let person = PersonId(packed.number()?.cast_signed());
        out.extend_from_slice(&self.head);
        write_text(row.event_id, out);
        out.extend_from_slice(b",\"sessionId\":");
        let (external, session) = (packed.value()?, packed.value()?);
        out.extend_from_slice(session);
        out.extend_from_slice(b",\"personId\":\"");
        write_number(&person.0, out);
        out.extend_from_slice(b"\",\"externalPersonId\":");
        out.extend_from_slice(external);
        out.extend_from_slice(b",\"occuredTime\":\"");
        clock.write(row.time, out);
        out.push(b'"');
        let places = self.places.len() - 1;
        let mut at = 0;
        while at < places {
            match packed.number()? {
                NO_VALUE => {
                    let next = (at + 1 + packed.nulls()).min(places);
                    packed.skip(next - at - 1);
                    out.extend_from_slice(&self.nulls[self.places[at]..self.places[next]]);
                    at = next;
                    continue;
                }
                LEFT_OUT => {}
                number => {
                    out.extend_from_slice(&self.nulls[self.key(at)]);
                    out.extend_from_slice(packed.text(number)?);
                }
            }
            at += 1;
        }
        out.extend_from_slice(b"}\n");
        Some(())
    }

    /// Where the key of a place lies.
    fn key(&self, at: usize) -> Range<usize> {
        self.places[at]..self.places[at + 1] - NULL.len()
    }
}

/// Numbers and texts of a row, as they are read.
#[derive(Debug)]
pub(crate) struct Packed<'a> {
    bytes: &'a [u8],
}

impl<'a> Packed<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The bytes that are left.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What [`pack_number`] wrote.
    pub(crate) fn number(&mut self) -> Option<u64> {
        let (mut number, mut shift) = (0, 0);
        loop {
            let (byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if *byte < 0x80 {
                return Some(number);
            }
            shift += 7;
        }
    }

    /// The text that follows its number.
    fn text(&mut self, number: u64) -> Option<&'a [u8]> {
        let bytes = usize::try_from(number.checked_sub(LEFT_OUT + 1)?).ok()?;
        let (text, rest) = self.bytes.split_at_checked(bytes)?;
        self.bytes = rest;
        Some(text)
    }

    /// A text, or null.
    fn value(&mut self) -> Option<&'a [u8]> {
        match self.number()? {
            NO_VALUE => Some(NULL),
            number => self.text(number),
        }
    }

    /// How many places without a value come next.
    fn nulls(&self) -> usize {
        self.bytes.iter().take_while(|byte| u64::from(**byte) == NO_VALUE).count()
    }

    fn skip(&mut self, bytes: usize) {
        self.bytes = &self.bytes[bytes..];
    }
}

/// Appends a number in as few bytes as it needs, seven bits in each, the lowest first.
pub(crate) fn pack_number(mut number: u64, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

pub(crate) fn pack_null(out: &mut Vec<u8>) {
    pack_number(NO_VALUE, out);
}

pub(crate) fn pack_left_out(out: &mut Vec<u8>) {
    pack_number(LEFT_OUT, out);
}

/// Appends a text that is being written, and its number before it.
pub(crate) fn pack_text(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.push(0);
    write(out);
    let number = LEFT_OUT + 1 + u64::try_from(out.len() - at - 1).unwrap_or(u64::MAX);
    match u8::try_from(number) {
        Ok(short) if short < 0x80 => out[at] = short,
        _ => {
            let mut long = Vec::new();
            pack_number(number, &mut long);
            out.splice(at..=at, long);
        }
    }
}

fn list_keys(kind: &PropertyType) -> Vec<Vec<u8>> {
    match kind {
        PropertyType::Scalar(_) => Vec::new(),
        PropertyType::List(fields) => {
            let before = std::iter::once(b'{').chain(std::iter::repeat(b','));
            fields.iter().zip(before).map(|(field, before)| key(before, &field.name)).collect()
        }
    }
}

fn key(before: u8, name: &str) -> Vec<u8> {
    let mut bytes = vec![before];
    write_text(name.as_bytes(), &mut bytes);
    bytes.push(b':');
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::export::testing::definition;
    use crate::value::ScalarType;

    /// A row that says so much at each place: nothing, null, or a text of some bytes.
    fn packed(person: i64, places: &[Option<Option<usize>>]) -> (Vec<u8>, String) {
        let (mut out, mut line) = (Vec::new(), String::new());
        pack_number(person.cast_unsigned(), &mut out);
        pack_null(&mut out);
        pack_null(&mut out);
        for (nth, place) in places.iter().enumerate() {
            match place {
                None => pack_left_out(&mut out),
                Some(None) => {
                    pack_null(&mut out);
                    line += &format!(",\"p{nth}\":null");
                }
                Some(Some(bytes)) => {
                    let text = "x".repeat(*bytes);
                    pack_text(&mut out, |out| out.extend_from_slice(text.as_bytes()));
                    line += &format!(",\"p{nth}\":{text}");
                }
            }
        }
        (out, line)
    }

    proptest! {
        #[test]
        fn what_is_packed_is_put_together_again_and_what_is_cut_off_is_noticed(
            places in prop::collection::vec(prop::option::weighted(0.8, prop::option::of(prop_oneof![1_usize..130, 16_300_usize..16_400])), 0..12),
            person in any::<i64>(),
        ) {
            let names: Vec<String> = (0..places.len()).map(|nth| format!("p{nth}")).collect();
            let properties: Vec<_> = names.iter().map(|name| (name.as_str(), ScalarType::String)).collect();
            let shape = RowShape::of(&definition("seen", &properties), false);
            let (bytes, rest) = packed(person, &places);
            let write = |bytes: &[u8]| {
                let row = PackedRow { time: Micros(0), event_id: b"e1", packed: bytes };
                let mut out = Vec::new();
                shape.write(row, &mut Clock::default(), &mut out)?;
                Some(String::from_utf8(out).unwrap())
            };
            let head = format!(
                "{{\"definitionId\":\"seen\",\"eventId\":\"e1\",\"sessionId\":null,\"personId\":\"{person}\",\
                 \"externalPersonId\":null,\"occuredTime\":\"1970-01-01T00:00:00.000+0000\""
            );
            prop_assert_eq!(write(&bytes), Some(format!("{head}{rest}}}\n")));
            let cuts = BTreeSet::from([0, bytes.len() / 2, bytes.len() - 1]);
            for cut in cuts {
                prop_assert_eq!(write(&bytes[..cut]), None, "{} of {}", cut, bytes.len());
            }
        }
    }
}
