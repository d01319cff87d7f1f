//! The fingerprint of what an event says, by which a retry is told from a conflict; and the ids that we make.
//!
//! Parts are added up, so the order of keys does not matter, and a NULL adds nothing, so it is the same as a property
//! that is left out. The person is added last, by whoever resolves it. These numbers are kept on disk: they may never
//! change.

use xxhash_rust::xxh3::xxh3_64;
use xxhash_rust::xxh3::xxh3_64_with_seed;
use xxhash_rust::xxh3::xxh3_128;

use crate::ids::PersonId;

const PERSON: u64 = 0x7065_7273_6f6e_4964;
const TIME: u64 = 0x6f63_6375_7272_6564;
const SESSION: u64 = 0x7365_7373_696f_6e49;

/// What tells the values of one property from those of another.
pub(crate) fn seed(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

#[inline]
pub(crate) fn text(seed: u64, text: &str) -> u64 {
    xxh3_64_with_seed(text.as_bytes(), seed)
}

/// Spreads 64 bits over 64 bits, differently for each seed: the halves of a product, folded.
#[inline]
pub(crate) fn bits(seed: u64, bits: u64) -> u64 {
    let product = u128::from(bits ^ 0x9e37_79b9_7f4a_7c15) * u128::from(seed.rotate_left(23) | 1);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves are meant")]
    let folded = (product >> 64) as u64 ^ product as u64;
    folded.wrapping_mul(0xff51_afd7_ed55_8ccd) ^ seed
}

pub(crate) fn integer(seed: u64, integer: i64) -> u64 {
    bits(seed, integer.cast_unsigned())
}

pub(crate) fn time(micros: i64) -> u64 {
    integer(TIME, micros)
}

pub(crate) fn session(id: &str) -> u64 {
    text(SESSION, id)
}

/// The fingerprint of the whole event, once it is known who did it.
pub(crate) fn of_person(payload: u64, person: PersonId) -> u64 {
    payload.wrapping_add(integer(PERSON, person.0))
}

/// The key under which an event id is remembered.
pub(crate) fn event_key(event_id: &str) -> u128 {
    xxh3_128(event_id.as_bytes())
}

/// A source as [`event_id`] wants it.
pub(crate) fn source(name: &str) -> u128 {
    xxh3_128(name.as_bytes())
}

/// The id of an event that has none: 26 digits of base 32 from its source, the row's number and its bytes. So the
/// same import again finds its own events, and two rows that are equal stay two.
pub(crate) fn event_id(source: u128, row: u64, raw: &[u8]) -> [u8; 26] {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let mut parts = [0; 40];
    parts[..16].copy_from_slice(&source.to_le_bytes());
    parts[16..24].copy_from_slice(&row.to_le_bytes());
    parts[24..].copy_from_slice(&xxh3_128(raw).to_le_bytes());
    let mut rest = xxh3_128(&parts);
    let mut id = [0; 26];
    for place in id.iter_mut().rev() {
        *place = DIGITS[usize::try_from(rest & 31).unwrap_or_default()];
        rest >>= 5;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::is_event_id;

    #[test]
    fn made_ids_are_event_ids_and_differ_by_source_row_and_bytes() {
        let id = |name: &str, row, raw: &[u8]| {
            String::from_utf8(event_id(source(name), row, raw).to_vec()).unwrap()
        };
        let one = id("a", 1, b"{}");
        assert!(is_event_id(&one));
        assert_eq!(one, id("a", 1, b"{}"));
        for other in [id("b", 1, b"{}"), id("a", 2, b"{}"), id("a", 1, b"{ }")] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn the_numbers_on_disk_never_change() {
        assert_eq!(
            (
                event_id(source("a"), 1, b"{}"),
                event_key("e1"),
                of_person(time(0).wrapping_add(text(seed("a"), "b")), PersonId(1)),
            ),
            (
                *b"7Z1TRKANS3XVQWM67GTWCV9RK4",
                73_197_682_958_019_994_399_411_606_396_760_812_271,
                16_645_984_359_875_194_114
            )
        );
    }
}
