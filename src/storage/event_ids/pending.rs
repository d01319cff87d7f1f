//! `Pending`: the event ids of the batch that is being gathered, in memory.
//!
//! Cut by the first byte of the key into shards that come in the order of the keys: each is sorted by itself when the
//! batch is sealed, and none is so large that growing it needs much memory at once.

use hashbrown::HashTable;

use crate::storage::event_ids::entry::Entry;

const SHARDS: usize = 256;

#[derive(Debug, Default)]
struct Shard {
    entries: Vec<Entry>,
    /// Positions of entries; keys are hashes already.
    places: HashTable<u32>,
}

#[derive(Debug)]
pub(crate) struct Pending {
    shards: Vec<Shard>,
    count: usize,
}

impl Default for Pending {
    fn default() -> Self {
        Self { shards: std::iter::repeat_with(Shard::default).take(SHARDS).collect(), count: 0 }
    }
}

impl Pending {
    /// Empty, with room for about so many.
    pub(crate) fn with_room_for(count: usize) -> Self {
        // Hashes spread evenly: a shard has rarely an eighth more than its share.
        let each = count / SHARDS + count / SHARDS / 8;
        let shard = || Shard { entries: Vec::with_capacity(each), places: HashTable::with_capacity(each) };
        Self { shards: std::iter::repeat_with(shard).take(SHARDS).collect(), count: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The fingerprint under a key.
    pub(crate) fn find(&self, wanted: Entry) -> Option<u64> {
        let shard = &self.shards[shard_of(wanted)];
        let place =
            shard.places.find(wanted.low, |&place| shard.entries[place as usize].key() == wanted.key())?;
        Some(shard.entries[*place as usize].fingerprint)
    }

    /// Adds an entry whose key is not there.
    pub(crate) fn insert(&mut self, entry: Entry) {
        let Shard { entries, places } = &mut self.shards[shard_of(entry)];
        let place = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        debug_assert!(place < u32::MAX, "a batch has at most some million events");
        entries.push(entry);
        places.insert_unique(entry.low, place, |&other| entries[other as usize].low);
        self.count += 1;
    }

    /// Forgets the entry of a key.
    pub(crate) fn remove(&mut self, wanted: Entry) {
        let Shard { entries, places } = &mut self.shards[shard_of(wanted)];
        let found = places.find_entry(wanted.low, |&place| entries[place as usize].key() == wanted.key());
        let Ok(found) = found else { return };
        let (place, _) = found.remove();
        entries.swap_remove(place as usize);
        // The last entry has moved there.
        if let Some(moved) = entries.get(place as usize) {
            let was = entries.len();
            if let Some(known) = places.find_mut(moved.low, |&other| other as usize == was) {
                *known = place;
            }
        }
        self.count -= 1;
    }

    /// All entries, in no promised order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Entry> + '_ {
        self.shards.iter().flat_map(|shard| shard.entries.iter().copied())
    }

    /// All entries in the order of their keys, shard by shard; the memory of a shard is free when it has been taken.
    pub(crate) fn into_sorted(self) -> impl Iterator<Item = Entry> {
        self.shards.into_iter().flat_map(|Shard { mut entries, places }| {
            drop(places);
            entries.sort_unstable();
            entries
        })
    }
}

fn shard_of(entry: Entry) -> usize {
    (entry.high >> 56) as usize
}
