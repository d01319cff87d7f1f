//! Who entered a live segment, and who left it, and when that was seen: noted each time the segment is looked at.
//!
//! Who is in a segment is always found anew. What is kept are the differences: a set of those who entered and one of
//! those who left, for each time that something had changed.

use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::array::TimestampMicrosecondArray;
use arrow::datatypes::DataType;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use hashbrown::HashMap;
use roaring::RoaringTreemap;

use crate::engine::Engine;
use crate::engine::system::schema;
use crate::engine::system::text;
use crate::engine::system::time;
use crate::error::Context;
use crate::error::Result;
use crate::query::SystemTable;
use crate::storage::Storage;
use crate::storage::catalog::SegmentChange;
use crate::time::Micros;

/// What reading a segment notes is at least so far apart: whoever wants every change refreshes.
const BETWEEN: i64 = 60_000_000;

/// Everybody who was ever seen in a segment.
#[derive(Clone, Debug, Default, PartialEq)]
struct Known {
    members: RoaringTreemap,
    last: Option<Micros>,
}

impl Known {
    fn of(name: &str, changes: &[SegmentChange]) -> Result<Self> {
        let mut known = Self::default();
        for change in changes {
            known.members |= set(name, &change.entered)?;
            known.members -= set(name, &change.left)?;
            known.last = Some(change.at);
        }
        Ok(known)
    }
}

/// Since when, and until when, somebody was a member; one stay after the other.
type Stays = Vec<(u64, Micros, Option<Micros>)>;

fn stays(name: &str, changes: &[SegmentChange]) -> Result<Stays> {
    let mut open: HashMap<u64, usize> = HashMap::new();
    let mut stays: Stays = Vec::new();
    for change in changes {
        for person in set(name, &change.left)? {
            if let Some(stay) = open.remove(&person) {
                stays[stay].2 = Some(change.at);
            }
        }
        for person in set(name, &change.entered)? {
            open.insert(person, stays.len());
            stays.push((person, change.at, None));
        }
    }
    stays.sort_unstable();
    Ok(stays)
}

fn set(name: &str, bytes: &[u8]) -> Result<RoaringTreemap> {
    RoaringTreemap::deserialize_from(bytes)
        .internal(|| format!("the persons who entered or left the segment \"{name}\" are damaged"))
}

fn bytes(set: &RoaringTreemap) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    set.serialize_into(&mut bytes).internal(|| "could not keep the persons of a segment".to_owned())?;
    Ok(bytes)
}

impl Engine {
    /// Notes who is in a live segment now; says how many entered and left since it was noted before. Without `always`,
    /// what was noted a moment ago stands.
    pub(crate) fn note_members(&self, name: &str, now: &RoaringTreemap, always: bool) -> Result<(u64, u64)> {
        if self.config().read_only {
            return Ok((0, 0));
        }
        let catalog = self.storage().catalog();
        let known = Known::of(name, &catalog.segment_changes(name)?)?;
        let at = self.now();
        if !always && known.last.is_some_and(|last| at.0 - last.0 < BETWEEN) {
            return Ok((0, 0));
        }
        let (entered, left) = (now - &known.members, &known.members - now);
        if !entered.is_empty() || !left.is_empty() {
            let change = SegmentChange { at, entered: bytes(&entered)?, left: bytes(&left)? };
            catalog.put_segment_change(name, known.last, &change)?;
        }
        Ok((entered.len(), left.len()))
    }
}

/// `system.segment_members`: every stay of a person in a live segment.
#[derive(Debug)]
pub(crate) struct MembersTable(pub(crate) Arc<Storage>);

impl SystemTable for MembersTable {
    fn name(&self) -> &'static str {
        "segment_members"
    }

    fn schema(&self) -> SchemaRef {
        let columns = [
            ("segment", DataType::Utf8View),
            ("personId", DataType::Int64),
            ("entered", time()),
            ("left", time()),
        ];
        schema(&columns)
    }

    fn rows(&self) -> Result<RecordBatch> {
        let (mut names, mut persons, mut entered, mut left) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for row in self.0.catalog().segments()? {
            for (person, from, until) in stays(&row.name, &self.0.catalog().segment_changes(&row.name)?)? {
                names.push(Some(row.name.clone()));
                persons.push(i64::try_from(person).ok());
                entered.push(Some(from.0));
                left.push(until.map(|until| until.0));
            }
        }
        let times = |times: Vec<Option<i64>>| TimestampMicrosecondArray::from(times).with_timezone("UTC");
        let columns: Vec<Arc<dyn arrow::array::Array>> = vec![
            text(names),
            Arc::new(Int64Array::from(persons)),
            Arc::new(times(entered)),
            Arc::new(times(left)),
        ];
        RecordBatch::try_new(self.schema(), columns)
            .internal(|| "could not show system.segment_members".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn stays_are_what_was_seen_each_time(
            looks in prop::collection::vec(prop::collection::btree_set(0_u64..6, 0..6), 0..8),
        ) {
            let mut changes: Vec<SegmentChange> = Vec::new();
            for (at, members) in (1_i64..).zip(&looks) {
                let now: RoaringTreemap = members.iter().copied().collect();
                let known = Known::of("x", &changes).unwrap();
                let (entered, left) = (bytes(&(&now - &known.members)).unwrap(), bytes(&(&known.members - &now)).unwrap());
                changes.push(SegmentChange { at: Micros(at), entered, left });
                prop_assert_eq!(&Known::of("x", &changes).unwrap().members, &now);
            }
            let stays = stays("x", &changes).unwrap();
            for (at, members) in (1_i64..).zip(&looks) {
                let inside = |(_, from, until): &&(u64, Micros, Option<Micros>)| {
                    from.0 <= at && until.is_none_or(|until| at < until.0)
                };
                let then: BTreeSet<u64> = stays.iter().filter(inside).map(|stay| stay.0).collect();
                prop_assert_eq!(&then, members);
            }
        }
    }
}
