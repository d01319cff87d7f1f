//! `ExternalIds`: which external id each person is shown with, and nothing else, for those who write events out.
//!
//! `Persons` answers that too, but holds every identifier with the way back from it: a hundred bytes a person and more.
//! Here a person costs its text and four bytes.

use std::sync::Arc;

use crate::ids::PersonId;
use crate::person::Aliases;
use crate::person::Persons;

/// The external ids of all persons, merges followed.
#[derive(Clone, Debug)]
pub enum ExternalIds {
    /// Of persons that are in memory anyway.
    Of(Arc<Persons>),
    /// Read for this alone.
    Packed(Box<Packed>),
}

/// The texts one behind the other, in the order of person ids.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    aliases: Aliases,
    first: i64,
    /// The ids, unless each follows the one before it.
    ids: Option<Vec<i64>>,
    /// The persons at places from a multiple of [`BLOCK`] on; the last may have room for more.
    blocks: Vec<Block>,
    count: usize,
}

/// Persons of a block: no text moves when others come.
const BLOCK: usize = 1 << 16;

#[derive(Clone, Debug, Default)]
struct Block {
    /// Where each text ends. No external id is empty, so an empty text is none.
    ends: Vec<u32>,
    text: String,
}

impl Packed {
    /// Empty, for persons that are merged as these aliases say.
    pub(crate) fn new(aliases: Aliases) -> Self {
        Self { aliases, ..Self::default() }
    }

    /// The next person, in ascending order of ids: its own external id, or that which it is `shown` with in place of it
    /// because it stands for others. Nobody shows the id of a person who is no more.
    pub(crate) fn push(&mut self, id: PersonId, own: Option<&str>, shown: Option<Option<&str>>) {
        let external = match shown {
            Some(shown) if self.aliases.is_involved(id) => shown,
            _ => own,
        };
        let count = self.count;
        if count == 0 {
            self.first = id.0;
        } else if self.ids.is_none() && self.nth(count) != id.0 {
            self.ids = Some((0..count).map(|nth| self.nth(nth)).collect());
        }
        if let Some(ids) = &mut self.ids {
            ids.push(id.0);
        }
        if count.is_multiple_of(BLOCK) {
            if let Some(full) = self.blocks.last_mut() {
                full.text.shrink_to_fit();
            }
            self.blocks.push(Block { ends: Vec::with_capacity(BLOCK), text: String::new() });
        }
        self.count += 1;
        if let Some(block) = self.blocks.last_mut() {
            block.text.push_str(external.unwrap_or_default());
            // An external id has some hundred bytes at most.
            block.ends.push(u32::try_from(block.text.len()).unwrap_or(u32::MAX));
        }
    }

    /// The id at a place, while they follow one another.
    fn nth(&self, place: usize) -> i64 {
        self.first.saturating_add(i64::try_from(place).unwrap_or(i64::MAX))
    }

    fn get(&self, id: i64) -> Option<&str> {
        let place = match &self.ids {
            Some(ids) => ids.binary_search(&id).ok()?,
            None => usize::try_from(id.checked_sub(self.first)?).ok()?,
        };
        let (block, place) = (self.blocks.get(place / BLOCK)?, place % BLOCK);
        let end = *block.ends.get(place)?;
        let start = place.checked_sub(1).map_or(0, |before| block.ends[before]);
        block.text.get(start as usize..end as usize).filter(|text| !text.is_empty())
    }
}

impl ExternalIds {
    /// The person that an id stands for.
    pub fn resolve(&self, id: PersonId) -> PersonId {
        match self {
            Self::Of(persons) => persons.resolve(id),
            Self::Packed(packed) => packed.aliases.resolve(id),
        }
    }

    /// The external id that a person is shown with, if it has one; of a merged person, that of the one that stands
    /// for it.
    pub fn get(&self, id: PersonId) -> Option<&str> {
        match self {
            Self::Of(persons) => persons.external_id(id),
            Self::Packed(packed) => packed.get(packed.aliases.resolve(id).0),
        }
    }
}

impl Default for ExternalIds {
    fn default() -> Self {
        Self::from(Packed::default())
    }
}

impl From<Packed> for ExternalIds {
    fn from(packed: Packed) -> Self {
        Self::Packed(Box::new(packed))
    }
}

impl From<Persons> for ExternalIds {
    fn from(persons: Persons) -> Self {
        Self::Of(Arc::new(persons))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::time::Micros;

    #[test]
    fn texts_are_found_by_id_with_and_without_gaps() {
        for gap in [1, 7] {
            let mut packed = Packed::new(Aliases::default());
            for nth in 0..100_i64 {
                let name = format!("é-{nth}");
                packed.push(PersonId(5 + nth * gap), (nth % 3 != 0).then_some(name.as_str()), None);
            }
            let ids = ExternalIds::from(packed);
            assert_eq!(ids.get(PersonId(5 + gap)), Some("é-1"), "gap {gap}");
            assert_eq!(ids.get(PersonId(5 + 98 * gap)), Some("é-98"));
            assert_eq!(ids.get(PersonId(5)), None, "a person without one");
            for outside in [i64::MIN, 4, 5 + 100 * gap, i64::MAX] {
                assert_eq!(ids.get(PersonId(outside)), None, "{outside}");
            }
        }
        assert_eq!(ExternalIds::default().get(PersonId(1)), None);
    }

    #[test]
    fn a_block_begins_where_another_ends() {
        let mut packed = Packed::new(Aliases::default());
        let last = 2 * BLOCK as i64 + 3;
        for id in 1..=last {
            packed.push(PersonId(id), Some(&id.to_string()), None);
        }
        let ids = ExternalIds::from(packed);
        let edge = BLOCK as i64;
        for id in [1, 2, edge - 1, edge, edge + 1, edge + 2, 2 * edge, 2 * edge + 1, last] {
            assert_eq!(ids.get(PersonId(id)), Some(id.to_string().as_str()));
        }
        assert_eq!(ids.get(PersonId(last + 1)), None);
    }

    proptest! {
        /// Against the index of persons with everything in it.
        #[test]
        fn they_are_those_of_the_whole_index(
            people in prop::collection::btree_map(1_i64..60, prop::option::of("[a-zé]{1,4}"), 0..40),
            merges in prop::collection::vec((1_i64..60, 1_i64..60), 0..12),
            shown in prop::collection::btree_map(1_i64..60, prop::option::of("[A-Z]{1,3}"), 0..12),
            deleted in prop::collection::btree_set(1_i64..60, 0..6),
        ) {
            let aliases = Aliases::of(merges.into_iter().map(|(one, other)| (PersonId(one.max(other)), PersonId(one.min(other)))));
            let mut persons = Persons::default();
            let mut packed = Packed::new(aliases.clone());
            // As the catalog writes it: whoever is no more stands for nobody and has no name to show.
            let gone: BTreeSet<i64> =
                deleted.into_iter().filter(|id| !aliases.is_involved(PersonId(*id))).collect();
            for (id, own) in &people {
                persons.put(PersonId(*id), own.as_deref(), Micros(0));
                if gone.contains(id) {
                    persons.delete(PersonId(*id));
                }
            }
            persons.aliases_mut().replace(aliases);
            for (id, name) in &shown {
                if persons.aliases().members(PersonId(*id)).len() > 1 {
                    persons.aliases_mut().show(PersonId(*id), name.as_deref());
                }
            }
            for (id, own) in &people {
                let own = own.as_deref().filter(|_| !gone.contains(id));
                packed.push(PersonId(*id), own, shown.get(id).map(Option::as_deref));
            }
            let (packed, whole) = (ExternalIds::from(packed), ExternalIds::from(persons));
            for id in 0..61 {
                prop_assert_eq!(packed.resolve(PersonId(id)), whole.resolve(PersonId(id)));
                if people.contains_key(&whole.resolve(PersonId(id)).0) {
                    prop_assert_eq!(packed.get(PersonId(id)), whole.get(PersonId(id)), "{}", id);
                }
            }
        }
    }
}
