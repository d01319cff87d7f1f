//! Who entered a live segment, and who left it, and when that was seen: noted each time the segment is looked at, which a
//! server does every minute.
//!
//! Who is in a segment is always found anew. What is kept are the differences: a set of those who entered and one of
//! those who left, for each time that something had changed.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use arrow::array::Int64Array;
use arrow::array::TimestampMicrosecondArray;
use arrow::datatypes::DataType;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use hashbrown::HashMap;
use roaring::RoaringTreemap;

use crate::analysis::segment::PersonsRequest;
use crate::analysis::segment::members;
use crate::engine::Engine;
use crate::engine::system::schema;
use crate::engine::system::text;
use crate::engine::system::time;
use crate::error::Context;
use crate::error::Result;
use crate::query::SystemTable;
use crate::storage::Storage;
use crate::storage::catalog::Catalog;
use crate::storage::catalog::SegmentChange;
use crate::time::Micros;

/// What reading a segment notes is at least so far apart: whoever wants every change refreshes.
const BETWEEN: i64 = 60_000_000;

/// How many persons entered live segments, and left them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub segments: u64,
    pub entered: u64,
    pub left: u64,
}

/// Who was in which segment when it was last looked at, by name.
#[derive(Debug, Default)]
pub(super) struct Memberships(Mutex<HashMap<String, Known>>);

/// Who was seen in a segment last.
#[derive(Clone, Debug, Default, PartialEq)]
struct Known {
    members: RoaringTreemap,
    /// When something had changed, and how many changes that makes.
    last: Option<Micros>,
    changes: u64,
}

impl Known {
    fn take(&mut self, name: &str, changes: &[SegmentChange]) -> Result<()> {
        for change in changes {
            self.members |= set(name, &change.entered)?;
            self.members -= set(name, &change.left)?;
            (self.last, self.changes) = (Some(change.at), self.changes + 1);
        }
        Ok(())
    }
}

impl Memberships {
    /// Those of a segment as the catalog has them; only what is new there is read.
    fn of(&self, name: &str, catalog: &Catalog) -> Result<Known> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = all.remove(name).unwrap_or_default();
        let (mut before, mut changes) = catalog.segment_changes_after(name, known.last)?;
        if before != known.changes {
            // It was made anew.
            known = Known::default();
            (before, changes) = catalog.segment_changes_after(name, None)?;
        }
        debug_assert_eq!(before, known.changes, "nothing is before everything");
        known.take(name, &changes)?;
        all.insert(name.to_owned(), known.clone());
        Ok(known)
    }

    fn forget(&self, gone: impl Fn(&str) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|name, _| !gone(name));
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
        let known = self.inner.memberships.of(name, catalog)?;
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

    /// Looks who is in the live segments, and notes who entered and left.
    ///
    /// # Errors
    /// `Invalid` when the directory is open for reading only; whatever a segment's condition fails with.
    pub async fn follow_segments(&self) -> Result<Moved> {
        let live = self.live_segments()?;
        self.inner.memberships.forget(|name| !live.iter().any(|(known, _)| known == name));
        self.look_at(live).await
    }

    /// Notes who is in these segments now.
    pub(super) async fn look_at(&self, live: Vec<(String, PersonsRequest)>) -> Result<Moved> {
        self.storage().writer()?;
        let mut moved = Moved::default();
        if live.is_empty() {
            return Ok(moved);
        }
        let session = self.session().await?;
        for (name, request) in live {
            let set = members(&request, &self.ground(&session)).await?;
            let (entered, left) = self.note_members(&name, &set, true)?;
            moved = Moved {
                segments: moved.segments + 1,
                entered: moved.entered + entered,
                left: moved.left + left,
            };
        }
        Ok(moved)
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

    fn known(changes: &[SegmentChange]) -> Known {
        let mut known = Known::default();
        known.take("x", changes).unwrap();
        known
    }

    proptest! {
        #[test]
        fn stays_are_what_was_seen_each_time(
            looks in prop::collection::vec(prop::collection::btree_set(0_u64..6, 0..6), 0..8),
        ) {
            let mut changes: Vec<SegmentChange> = Vec::new();
            for (at, members) in (1_i64..).zip(&looks) {
                let now: RoaringTreemap = members.iter().copied().collect();
                let before = known(&changes);
                let (entered, left) = (bytes(&(&now - &before.members)).unwrap(), bytes(&(&before.members - &now)).unwrap());
                changes.push(SegmentChange { at: Micros(at), entered, left });
                prop_assert_eq!(&known(&changes).members, &now);
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
