//! Where those knock who throw bytes at the readers of the log: `fuzz/`, and the tests below. Each function panics when a
//! promise is broken.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Error;
use crate::error::Result;
use crate::schema::Definition;
use crate::storage::record::LoggedGroup;
use crate::storage::wal::Disk;
use crate::storage::wal::Wal;

/// A log whose only segment holds these bytes is opened or refused. One that is opened goes on: what it had and what is
/// added is there when it is opened again.
pub fn replay(bytes: &[u8]) {
    let folder = std::env::temp_dir().join(format!("milepost-probe-{}", uuid::Uuid::new_v4().simple()));
    let done = replay_in(&folder, bytes);
    // What stays is litter in a folder for that.
    let _ = fs::remove_dir_all(&folder);
    if let Some(broken) = done {
        panic!("{broken}");
    }
}

/// What is wrong, if anything is.
fn replay_in(folder: &Path, bytes: &[u8]) -> Option<String> {
    let segment: PathBuf = folder.join(format!("{:020}.log", 1));
    if let Err(error) = fs::create_dir_all(folder).and_then(|()| fs::write(&segment, bytes)) {
        return Some(format!("the place for the log cannot be made: {error}"));
    }
    // Damage before the end is told, and nothing is lost by it.
    let Ok((mut wal, mut found)) = open(folder) else {
        let kept = fs::read(&segment).ok();
        return (kept.as_deref() != Some(bytes)).then(|| "a log that was refused was changed".to_owned());
    };
    let added = wal.append(b"more");
    found.push(b"more".to_vec());
    drop(wal);
    match (added, open(folder)) {
        (Ok(number), Ok((_, again))) if number == found.len() as u64 && again == found => None,
        (added, again) => Some(format!("{found:?} and {added:?} became {:?}", again.map(|(_, found)| found))),
    }
}

fn open(folder: &Path) -> Result<(Wal, Vec<Vec<u8>>)> {
    let mut found = Vec::new();
    let wal = Wal::open(folder, Arc::new(Disk), u64::MAX, 0, |_, payload| {
        found.push(payload.to_vec());
        Ok(())
    })?;
    Ok((wal, found))
}

/// A record of the log that holds these bytes is read or refused; what is read says the same when it is written and read
/// again. A record with events is refused here: the stream in it is for Arrow's reader, which panics at bytes that nobody
/// wrote, and behind the checksum of a frame there are none.
pub fn record(bytes: &[u8]) {
    let Ok(group) = LoggedGroup::decode(bytes, definition) else { return };
    let Ok(written) = group.encode() else { panic!("what was read of a record cannot be written") };
    match LoggedGroup::decode(&written, definition) {
        Ok(again) => assert_eq!(format!("{again:?}"), format!("{group:?}")),
        Err(error) => panic!("what was written of a record cannot be read: {error}"),
    }
}

fn definition(id: &str) -> Result<Arc<Definition>> {
    Err(Error::internal(format!("the events of \"{id}\" are not read here")))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::ids::PersonId;
    use crate::person::Person;
    use crate::storage::catalog::RejectedRow;
    use crate::storage::wal::frame_of;
    use crate::storage::wal::head_of;
    use crate::time::Micros;

    fn group() -> LoggedGroup {
        let person = Person { id: PersonId(3), external_id: Some("x".to_owned()), created: Micros(-5) };
        LoggedGroup {
            ids: vec![(1, 2), (3, 4)],
            persons: vec![(person, Vec::new())],
            rejected: vec![RejectedRow {
                raw: b"{".to_vec(),
                code: "c".to_owned(),
                ..RejectedRow::default()
            }],
            last_seq: 9,
            ..LoggedGroup::default()
        }
    }

    /// A log of these records.
    fn log(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = head_of(1).to_vec();
        for (number, payload) in (1..).zip(payloads) {
            frame_of(number, payload, &mut bytes);
        }
        bytes
    }

    /// Some bytes changed, removed and added.
    fn mangled(mut bytes: Vec<u8>, changes: &[(prop::sample::Index, u8, u8)]) -> Vec<u8> {
        for (place, how, byte) in changes {
            let at = place.index(bytes.len().max(1));
            match how % 4 {
                0 if at < bytes.len() => bytes[at] ^= byte,
                1 => bytes.truncate(at),
                2 => bytes.insert(at.min(bytes.len()), *byte),
                _ if at < bytes.len() => drop(bytes.remove(at)),
                _ => {}
            }
        }
        bytes
    }

    fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, u8)>> {
        vec((any::<prop::sample::Index>(), any::<u8>(), any::<u8>()), 0..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_a_log_or_none(bytes in vec(any::<u8>(), 0..200)) {
            replay(&bytes);
        }

        #[test]
        fn a_mangled_log_is_read_or_refused(payloads in vec(vec(any::<u8>(), 0..30), 0..5), how in changes()) {
            replay(&mangled(log(&payloads), &how));
        }

        #[test]
        fn any_bytes_are_a_record_or_none(bytes in vec(any::<u8>(), 0..200)) {
            record(&bytes);
            let mut known = vec![1];
            known.extend(bytes);
            record(&known);
        }

        #[test]
        fn a_mangled_record_is_read_or_refused(how in changes()) {
            record(&mangled(group().encode().unwrap(), &how));
        }
    }
}
