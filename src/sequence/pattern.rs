//! Patterns over a person's events, such as `(?1).*(?t<=5)(?2)`: an automaton that reads each event once.
//!
//! `(?N)` is an event that fits condition N, `.` any recorded event, `.*` any number of them, and `(?t<=5)` says how long
//! after the condition matched before the next one must be matched, in seconds. Time gates are part of the automaton's
//! state, so there is no backtracking and nothing to give up.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::error::Result;
use crate::sequence::Hit;

/// A pattern that has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
    /// Whether the time of a match matters later; else it is forgotten, and there is one state for each part.
    gated: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// An event that fits a condition, counted from 0, and how long after the match before it.
    Condition {
        at: usize,
        gates: Vec<Gate>,
    },
    One,
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gate {
    compares: Compares,
    seconds: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compares {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
}

impl Gate {
    fn holds(self, micros: i64) -> bool {
        let limit = self.seconds.saturating_mul(1_000_000);
        match self.compares {
            Compares::Less => micros < limit,
            Compares::LessOrEqual => micros <= limit,
            Compares::Greater => micros > limit,
            Compares::GreaterOrEqual => micros >= limit,
            Compares::Equal => micros == limit,
        }
    }
}

/// A place in the pattern, and when the last condition was matched.
type State = (usize, Option<i64>);

impl Pattern {
    /// Reads a pattern over so many conditions.
    pub fn parse(text: &str, conditions: usize) -> Result<Self> {
        let wrong = |said: String| Error::invalid(format!("the pattern \"{text}\" {said}"));
        let mut parts = Vec::new();
        let mut gates = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix(".*") {
                parts.push(Part::Any);
                rest = after;
            } else if let Some(after) = rest.strip_prefix('.') {
                parts.push(Part::One);
                rest = after;
            } else if let Some((inner, after)) = rest.strip_prefix("(?").and_then(|one| one.split_once(')')) {
                if let Some(gate) = inner.strip_prefix('t') {
                    gates.push(read_gate(gate).ok_or_else(|| {
                        wrong(format!(
                            "has a time that cannot be read: \"(?t{gate})\"; write (?t<=5), in seconds"
                        ))
                    })?);
                } else {
                    let number: usize =
                        inner.parse().ok().filter(|number| (1..=conditions).contains(number)).ok_or_else(
                            || {
                                wrong(format!(
                                    "names condition \"{inner}\"; there are conditions 1 to {conditions}"
                                ))
                            },
                        )?;
                    parts.push(Part::Condition { at: number - 1, gates: std::mem::take(&mut gates) });
                }
                rest = after;
            } else {
                return Err(wrong(format!(
                    "cannot be read from \"{rest}\" on; it is made of (?1), (?t<=5), . and .*"
                )));
            }
        }
        if !gates.is_empty() {
            return Err(wrong("ends with a time; a condition must follow it".to_owned()));
        }
        if parts.is_empty() {
            return Err(Error::invalid("the pattern is empty; write for example (?1).*(?2)"));
        }
        let has_gates = |part: &Part| matches!(part, Part::Condition { gates, .. } if !gates.is_empty());
        let gated = parts.iter().any(has_gates);
        Ok(Self { parts, gated })
    }

    /// How often the pattern is found, one after the other; stops at `most`. Events come in order, and each fits at least
    /// one condition.
    pub fn count(&self, hits: &[Hit], most: u64) -> u64 {
        let mut found = 0;
        let mut states: BTreeSet<State> = BTreeSet::new();
        if most == 0 {
            return 0;
        }
        for hit in hits {
            self.enter(&mut states, (0, None));
            let mut next = BTreeSet::new();
            for (at, last) in &states {
                match self.parts.get(*at) {
                    Some(Part::Any) => self.enter(&mut next, (*at, *last)),
                    Some(Part::One) => self.enter(&mut next, (at + 1, *last)),
                    Some(Part::Condition { at: condition, gates }) => {
                        let since = last.map_or(0, |last| hit.time.saturating_sub(last));
                        let in_time = last.is_none() || gates.iter().all(|gate| gate.holds(since));
                        if hit.steps >> condition & 1 != 0 && in_time {
                            self.enter(&mut next, (at + 1, self.gated.then_some(hit.time)));
                        }
                    }
                    None => {}
                }
            }
            states = next;
            if states.iter().any(|(at, _)| *at == self.parts.len()) {
                found += 1;
                if found == most {
                    break;
                }
                // The next one starts behind the end of this.
                states.clear();
            }
        }
        found
    }

    /// Adds a state, and those that it is without reading an event.
    fn enter(&self, states: &mut BTreeSet<State>, state: State) {
        states.insert(state);
        if self.parts.get(state.0) == Some(&Part::Any) {
            self.enter(states, (state.0 + 1, state.1));
        }
    }
}

fn read_gate(text: &str) -> Option<Gate> {
    let signs = [
        ("<=", Compares::LessOrEqual),
        (">=", Compares::GreaterOrEqual),
        ("==", Compares::Equal),
        ("<", Compares::Less),
        (">", Compares::Greater),
    ];
    let (sign, compares) = signs.into_iter().find(|(sign, _)| text.starts_with(sign))?;
    let seconds = text[sign.len()..].trim().parse().ok()?;
    Some(Gate { compares, seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(pattern: &str, events: &str) -> u64 {
        let hits: Vec<Hit> = events
            .split(' ')
            .map(|event| {
                let (kind, time) = event.split_at(1);
                let bit = "ABC".find(kind).unwrap();
                let time: i64 = time.parse().unwrap();
                Hit { time: time * 1_000_000, steps: 1 << bit, excludes: 0 }
            })
            .collect();
        Pattern::parse(pattern, 3).unwrap().count(&hits, u64::MAX)
    }

    #[test]
    fn events_that_are_conditions_stand_between() {
        assert_eq!(count("(?1)(?2)", "A0 C1 B2"), 0);
        assert_eq!(count("(?1).*(?2)", "A0 C1 B2"), 1);
        assert_eq!(count("(?1).(?2)", "A0 C1 B2"), 1);
        assert_eq!(count("(?1)(?2)", "B0 A0"), 0);
        assert_eq!(count("(?1)(?1)", "A0"), 0);
    }

    #[test]
    fn a_time_is_since_the_condition_before() {
        assert_eq!(count("(?1)(?t<=5).*(?2)(?t<=5).*(?3)", "A0 B4 C8"), 1);
        assert_eq!(count("(?1).*(?t<=5)(?2)", "A0 B5"), 1);
        assert_eq!(count("(?1).*(?t<5)(?2)", "A0 B5"), 0);
        assert_eq!(count("(?1).*(?t>=2)(?t<=3)(?2)", "A0 B1 B4"), 0);
        assert_eq!(count("(?1).*(?t<=5)(?2)", "A0 A9 B10"), 1);
        assert_eq!(count("(?1).*(?t==10)(?2)", "A0 A9 B10"), 1);
    }

    #[test]
    fn matches_do_not_overlap() {
        assert_eq!(count("(?1).*(?2)", "A0 B1 A2 B3"), 2);
        assert_eq!(count("(?1).*(?2)", "A0 A1 B2"), 1);
        assert_eq!(count("(?1)", "A0 A1 B2"), 2);
    }

    #[test]
    fn many_events_and_loose_patterns_are_no_trouble() {
        let hits: Vec<Hit> =
            (0..20_000).map(|at| Hit { time: at * 1_000_000, steps: 1, excludes: 0 }).collect();
        let pattern = Pattern::parse(".*.*(?1).*(?1).*.*(?2)", 2).unwrap();
        assert_eq!(pattern.count(&hits, u64::MAX), 0);
        assert_eq!(Pattern::parse("(?1)(?1).*", 2).unwrap().count(&hits, 1), 1);
    }

    #[test]
    fn a_pattern_that_cannot_be_read_says_where() {
        for (text, said) in [
            ("(?4)", "conditions 1 to 3"),
            ("(?1)x", "from \"x\" on"),
            ("(?1)(?t~5)(?2)", "(?t<=5)"),
            ("(?1)(?t<5)", "must follow"),
            ("", "empty"),
        ] {
            let error = Pattern::parse(text, 3).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
