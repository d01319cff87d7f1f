//! What came after a chain of events that follow each other directly, or before it.

/// Where a chain begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Base {
    /// At the first event of all.
    Head,
    /// At the last event of all.
    Tail,
    /// At the first event that meets the first condition.
    #[default]
    FirstMatch,
    /// At the last one that does.
    LastMatch,
}

/// A chain, and in which direction it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    pub backward: bool,
    pub base: Base,
    /// The chain's events meet conditions 0, 1, 2, … one after the other.
    pub conditions: usize,
}

impl Next {
    /// The place of the event behind the chain (before it, when it goes backward), among events in order of time that
    /// are given by the conditions that each meets, as bits. None when the chain is broken or nothing follows.
    pub fn place(self, events: &[u64]) -> Option<usize> {
        let starts = |met: &u64| met & 1 != 0;
        let base = match self.base {
            Base::Head => Some(0),
            Base::Tail => events.len().checked_sub(1),
            Base::FirstMatch => events.iter().position(starts),
            Base::LastMatch => events.iter().rposition(starts),
        }?;
        let at = |step: usize| if self.backward { base.checked_sub(step) } else { base.checked_add(step) };
        let follows =
            |step: usize| at(step).and_then(|at| events.get(at)).is_some_and(|met| met >> step & 1 != 0);
        (0..self.conditions).all(follows).then_some(())?;
        at(self.conditions).filter(|at| *at < events.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages by their first letter; what came next, by the letters that a chain has.
    fn next(backward: bool, base: Base, chain: &str, pages: &str) -> Option<char> {
        let met = |page: char| {
            let fits = chain.chars().enumerate().filter(|(_, one)| *one == page);
            fits.fold(0, |bits, (at, _)| bits | 1 << at)
        };
        let events: Vec<u64> = pages.chars().map(met).collect();
        let place = Next { backward, base, conditions: chain.len() }.place(&events)?;
        pages.chars().nth(place)
    }

    #[test]
    fn a_chain_follows_its_base_without_a_gap() {
        let persons = ["HGE", "HHGB", "GHGB"];
        let all = |backward, base, chain: &str| persons.map(|pages| next(backward, base, chain, pages));
        assert_eq!(all(false, Base::Head, "HG"), [Some('E'), None, None]);
        assert_eq!(all(true, Base::Tail, "BG"), [None, Some('H'), Some('H')]);
        assert_eq!(all(false, Base::FirstMatch, "G"), [Some('E'), Some('B'), Some('H')]);
        assert_eq!(all(false, Base::FirstMatch, "GH"), [None, None, Some('G')]);
        assert_eq!(all(true, Base::LastMatch, "G"), [Some('H'); 3]);
        assert_eq!(all(true, Base::LastMatch, "GH"), [None, Some('H'), Some('G')]);
    }

    #[test]
    fn nothing_comes_from_nothing() {
        for base in [Base::Head, Base::Tail, Base::FirstMatch, Base::LastMatch] {
            for backward in [false, true] {
                assert_eq!(next(backward, base, "A", ""), None);
                assert_eq!(next(backward, base, "A", "A"), None);
                assert_eq!(next(backward, base, "AA", "A"), None);
                assert_eq!(next(backward, base, "A", "BB"), None);
            }
        }
    }
}
