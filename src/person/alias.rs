//! `Aliases`: which persons are one person after merges, kept so that resolving an id costs one bit in most cases.
//!
//! Events keep the id that they were stored with; whoever reads them asks [`Aliases::resolve`] before sorting or
//! counting. So a merge shows at once, rewrites nothing, and can be undone.

use hashbrown::HashMap;
use hashbrown::HashSet;

use crate::ids::PersonId;

/// Merged persons, the external ids that they are shown with, and persons that were deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aliases {
    /// Every merged person to the one that stands for it; never a chain.
    roots: HashMap<i64, i64>,
    /// The other way round: whom a person stands for, in the order of ids.
    members: HashMap<i64, Vec<i64>>,
    /// One bit for each id that is merged into another or stands for others, from `first` on.
    bits: Vec<u64>,
    first: i64,
    /// External ids of persons that stand for others, where they are not their own.
    shown: HashMap<i64, Option<Box<str>>>,
    deleted: HashSet<i64>,
}

/// Ids further apart than this are looked up without the bits (8 MiB of them).
const WIDEST: u64 = 1 << 26;

impl Aliases {
    /// The aliases that follow from single merges, `(from, into)` in any order. Chains are followed to their end; in a
    /// circle, which no merge makes, the least id stands for the others.
    pub fn of(edges: impl IntoIterator<Item = (PersonId, PersonId)>) -> Self {
        let edges: HashMap<i64, i64> = edges.into_iter().map(|(from, into)| (from.0, into.0)).collect();
        let mut aliases = Self::default();
        for from in edges.keys() {
            let (mut path, mut at) = (vec![*from], *from);
            while let Some(next) = edges.get(&at) {
                if path.contains(next) {
                    at = path.iter().copied().min().unwrap_or(at);
                    break;
                }
                path.push(*next);
                at = *next;
            }
            if at != *from {
                aliases.roots.insert(*from, at);
                aliases.members.entry(at).or_default().push(*from);
            }
        }
        aliases.members.values_mut().for_each(|ids| ids.sort_unstable());
        aliases.mark();
        aliases
    }

    /// The person that an id stands for: the id itself unless it was merged into another.
    pub fn resolve(&self, id: PersonId) -> PersonId {
        if !self.may_be_involved(id.0) {
            return id;
        }
        PersonId(self.roots.get(&id.0).copied().unwrap_or(id.0))
    }

    fn may_be_involved(&self, id: i64) -> bool {
        if self.bits.is_empty() {
            return !self.roots.is_empty();
        }
        let Some(at) = id.checked_sub(self.first).and_then(|at| usize::try_from(at).ok()) else {
            return false;
        };
        self.bits.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// Whether nobody is merged.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// How many persons are merged into others.
    pub fn len(&self) -> usize {
        self.roots.len()
    }

    /// Every merged person with the one that stands for it, in no promised order.
    pub fn iter(&self) -> impl Iterator<Item = (PersonId, PersonId)> {
        self.roots.iter().map(|(from, root)| (PersonId(*from), PersonId(*root)))
    }

    /// The ids under which events of a person may be stored: its own, and those that were merged into it.
    pub fn members(&self, root: PersonId) -> Vec<PersonId> {
        let merged = self.members.get(&root.0).map(Vec::as_slice).unwrap_or_default();
        std::iter::once(root.0).chain(merged.iter().copied()).map(PersonId).collect()
    }

    /// Whether an id was merged into another, or others into it.
    pub fn is_involved(&self, id: PersonId) -> bool {
        self.may_be_involved(id.0) && (self.roots.contains_key(&id.0) || self.members.contains_key(&id.0))
    }

    /// Whoever stands for another than in other aliases, or is shown or deleted otherwise.
    pub(crate) fn differing_from(&self, other: &Self) -> Vec<PersonId> {
        fn missing<V: PartialEq>(one: &HashMap<i64, V>, other: &HashMap<i64, V>) -> Vec<i64> {
            one.iter().filter(|(id, value)| other.get(*id) != Some(*value)).map(|(id, _)| *id).collect()
        }
        let mut ids = missing(&self.roots, &other.roots);
        ids.extend(missing(&other.roots, &self.roots));
        ids.extend(missing(&self.shown, &other.shown));
        ids.extend(missing(&other.shown, &self.shown));
        ids.extend(self.deleted.symmetric_difference(&other.deleted));
        // Whoever stood for them shows something else too.
        let roots: Vec<i64> = ids.iter().filter_map(|id| other.roots.get(id)).copied().collect();
        ids.extend(roots);
        ids.into_iter().map(PersonId).collect()
    }

    /// The least and the greatest id of those who stand for others.
    pub fn bounds_of_roots(&self) -> Option<(PersonId, PersonId)> {
        let (low, high) = (self.members.keys().min()?, self.members.keys().max()?);
        Some((PersonId(*low), PersonId(*high)))
    }

    /// Merges a person and whom it stands for into another; both must stand for themselves.
    pub(crate) fn merge(&mut self, from: PersonId, into: PersonId) {
        let (from, into) = (self.resolve(from).0, self.resolve(into).0);
        if from == into {
            return;
        }
        let mut moved = self.members.remove(&from).unwrap_or_default();
        moved.push(from);
        for id in &moved {
            self.roots.insert(*id, into);
        }
        let members = self.members.entry(into).or_default();
        members.append(&mut moved);
        members.sort_unstable();
        self.shown.remove(&from);
        if !(self.mark_one(from) && self.mark_one(into)) {
            self.mark();
        }
    }

    /// Takes other aliases and keeps what is known beside them.
    pub(crate) fn replace(&mut self, aliases: Self) {
        let Self { roots, members, bits, first, .. } = aliases;
        (self.roots, self.members, self.bits, self.first) = (roots, members, bits, first);
        let members = &self.members;
        self.shown.retain(|id, _| members.contains_key(id));
    }

    /// The external id that a person who stands for others is shown with, where it is not its own.
    pub(crate) fn shown(&self, root: PersonId) -> Option<Option<&str>> {
        self.shown.get(&root.0).map(|name| name.as_deref())
    }

    pub(crate) fn show(&mut self, root: PersonId, external_id: Option<&str>) {
        self.shown.insert(root.0, external_id.map(Into::into));
    }

    pub(crate) fn show_own(&mut self, root: PersonId) {
        self.shown.remove(&root.0);
    }

    pub(crate) fn delete(&mut self, id: PersonId) -> bool {
        self.deleted.insert(id.0)
    }

    /// Somebody gave the id again.
    pub(crate) fn undelete(&mut self, id: PersonId) {
        self.deleted.remove(&id.0);
    }

    pub(crate) fn is_deleted(&self, id: PersonId) -> bool {
        !self.deleted.is_empty() && self.deleted.contains(&id.0)
    }

    /// Sets the bit of an id, if there is room for it.
    fn mark_one(&mut self, id: i64) -> bool {
        let at = id.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        match at.filter(|at| at / 64 < self.bits.len()) {
            Some(at) => {
                self.bits[at / 64] |= 1 << (at % 64);
                true
            }
            None => false,
        }
    }

    fn mark(&mut self) {
        self.bits.clear();
        let involved = || self.roots.keys().chain(self.members.keys()).copied();
        let (Some(low), Some(high)) = (involved().min(), involved().max()) else { return };
        // Room above, so that the next merges need not begin anew.
        let ids = high.abs_diff(low).saturating_add(1).saturating_mul(2).max(4_096);
        let Some(words) = (ids <= WIDEST).then(|| usize::try_from(ids.div_ceil(64)).ok()).flatten() else {
            return;
        };
        let ids: Vec<i64> = involved().collect();
        self.first = low;
        self.bits = vec![0; words];
        for id in ids {
            self.mark_one(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn ids(ids: &[i64]) -> Vec<PersonId> {
        ids.iter().map(|id| PersonId(*id)).collect()
    }

    #[test]
    fn a_chain_ends_at_its_last_person_and_a_circle_at_its_least() {
        let edge = |from, into| (PersonId(from), PersonId(into));
        let aliases = Aliases::of([edge(3, 2), edge(2, 1), edge(9, 8), edge(8, 9), edge(4, 2)]);
        assert_eq!(aliases.resolve(PersonId(3)), PersonId(1));
        assert_eq!(aliases.resolve(PersonId(9)), PersonId(8));
        assert_eq!(aliases.resolve(PersonId(8)), PersonId(8));
        assert_eq!(aliases.resolve(PersonId(77)), PersonId(77));
        assert_eq!(aliases.members(PersonId(1)), ids(&[1, 2, 3, 4]));
        assert_eq!(aliases.len(), 4);
    }

    #[test]
    fn ids_far_apart_are_resolved_too() {
        let aliases = Aliases::of([(PersonId(i64::MAX), PersonId(2)), (PersonId(5), PersonId(2))]);
        assert_eq!(aliases.resolve(PersonId(i64::MAX)), PersonId(2));
        assert_eq!(aliases.resolve(PersonId(6)), PersonId(6));
    }

    proptest! {
        /// Against sets that are united: whoever was merged, in whatever order, is one.
        #[test]
        fn merging_one_by_one_is_the_same_as_all_at_once(pairs in prop::collection::vec((1_i64..40, 1_i64..40), 0..60)) {
            let mut aliases = Aliases::default();
            let mut edges = Vec::new();
            let mut sets: BTreeMap<i64, BTreeSet<i64>> = (1..40).map(|id| (id, BTreeSet::from([id]))).collect();
            for (one, other) in pairs {
                let (one, other) = (aliases.resolve(PersonId(one)), aliases.resolve(PersonId(other)));
                let (into, from) = (one.min(other), one.max(other));
                if into == from { continue; }
                aliases.merge(from, into);
                edges.push((from, into));
                let moved = sets.remove(&from.0).unwrap();
                sets.get_mut(&into.0).unwrap().extend(moved);
            }
            let at_once = Aliases::of(edges);
            for (root, set) in &sets {
                let set: Vec<PersonId> = set.iter().map(|id| PersonId(*id)).collect();
                prop_assert_eq!(&aliases.members(PersonId(*root)), &set);
                prop_assert_eq!(&at_once.members(PersonId(*root)), &set);
                for id in set {
                    prop_assert_eq!(aliases.resolve(id), PersonId(*root));
                    prop_assert_eq!(at_once.resolve(id), PersonId(*root));
                }
            }
        }
    }
}
