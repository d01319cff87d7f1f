//! Where those knock who throw bytes at the reader of events: `fuzz/`, and the tests below.

use std::sync::LazyLock;

use crate::ingest::checker::CheckOptions;
use crate::ingest::checker::Checker;
use crate::person::Persons;
use crate::schema::Registry;

static CHECKER: LazyLock<Option<Checker>> = LazyLock::new(|| {
    let registry = Registry::load([]).ok()?;
    Some(Checker::new(&registry, CheckOptions::default()))
});

/// Each line of these bytes is an event, a row with its reason for being none, or blank. Panics when a line is lost.
pub fn payload(bytes: &[u8]) {
    let Some(checker) = CHECKER.as_ref() else { panic!("there are no standard definitions") };
    match checker.check_chunk(bytes, "probe", 1, &Persons::default()) {
        Ok(checked) => {
            assert_eq!((checked.events.len() + checked.rejections.len()) as u64, checked.rows);
        }
        Err(error) => panic!("lines are refused one by one, and these all at once: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const LINE: &str = "{\"definitionId\":\"pageView\",\"eventId\":\"e\",\"externalPersonId\":\"p\",\
                        \"occurredTime\":\"2026-06-01T10:00:00Z\",\"properties\":{\"path\":\"/\\u00e9\"}}\n";

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_rows_or_refused(bytes in vec(any::<u8>(), 0..200)) {
            payload(&bytes);
        }

        #[test]
        fn what_looks_like_json_is_rows_or_refused(text in "[\\{\\}\\[\\],:\"a-z0-9\\\\\n .eE+-]{0,120}") {
            payload(text.as_bytes());
        }

        #[test]
        fn a_mangled_event_is_a_row_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
            let mut bytes = LINE.repeat(2).into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if cut {
                bytes.truncate(at);
            }
            payload(&bytes);
        }
    }
}
