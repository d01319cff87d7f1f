//! The corners of funnels, each by its case in the literature, and every algorithm against its slow twin.

#![expect(clippy::cast_possible_truncation, reason = "of numbers far below any bound")]

use crate::sequence::Attempt;
use crate::sequence::Entry;
use crate::sequence::Exclusion;
use crate::sequence::Funnel;
use crate::sequence::Hit;
use crate::sequence::Order;
use crate::sequence::Reached;
use crate::sequence::Rules;
use crate::sequence::Step;
use crate::sequence::Ties;
use crate::sequence::oracle::truth;

/// `A0 B5` as events of the steps `["A", "B"]`; a step `AC` takes both, and `X` is the first exclusion.
fn hits(events: &str, steps: &[&str]) -> Vec<Hit> {
    let mut hits: Vec<Hit> = events
        .split(' ')
        .map(|event| {
            let (kind, time) = event.split_at(1);
            let fits = steps.iter().enumerate().filter(|(_, step)| step.contains(kind));
            let steps = fits.fold(0, |bits, (step, _)| bits | 1 << step);
            Hit { time: time.parse().unwrap(), steps, excludes: u64::from(kind == "X") }
        })
        .collect();
    hits.sort_by_key(|hit| hit.time);
    hits
}

fn level(rules: &Rules, hits: &[Hit]) -> usize {
    Funnel::new(rules.clone()).reached(hits).level
}

/// Case, steps, window, and the levels: with ties in any order and in strict order.
const CASES: [(&str, &str, i64, usize, usize); 35] = [
    ("A0 B0", "A,B", 10, 2, 1),
    ("B0 A0", "A,B", 10, 2, 1),
    ("A0", "A,A", 10, 1, 1),
    ("A0 A0", "A,A", 10, 2, 1),
    ("A0 A5", "A,A", 10, 2, 2),
    ("A0 A100", "A,A", 50, 1, 1),
    ("B0", "AB,B", 10, 1, 1),
    ("B0 B3", "AB,B", 10, 2, 2),
    ("A0 B6 C12", "A,B,C", 10, 2, 2),
    ("A0 B10", "A,B", 10, 2, 2),
    ("A0 B11", "A,B", 10, 1, 1),
    ("A0 A5 B12", "A,B", 10, 2, 2),
    ("A0 B1 A2 C3", "A,B,C", 10, 3, 3),
    ("A0 B1 A9 B10 C12", "A,B,C", 10, 3, 3),
    ("A0 A1 B1", "A,B", 10, 2, 2),
    ("A0 B1 C2 B3 D4", "A,B,C,D", 10, 4, 4),
    ("A0 B1 D2 C3", "A,B,C", 10, 3, 3),
    ("A0 A1 B2", "A,B", 10, 2, 2),
    ("i0 s5 l10 i15 s20 i25 s30 l35 e40", "i,s,l,e", 60, 4, 4),
    ("a0 b600 d1800 b2400", "a,b,c,d", 1800, 2, 2),
    ("p1 q2 r2 s2 q3 r3 s3 q4 r4 s4", "p,q,r,s", 100_000, 4, 4),
    ("o1 v10 v10 v11", "o,v,v", 100, 3, 3),
    ("o1 v10 v10", "o,v,v", 100, 3, 2),
    ("A100 A100 A300", "A,A,A", 100_000, 3, 2),
    ("B0 A1 B2", "A,B", 10, 2, 2),
    ("A0 X1 B2", "A,B", 10, 2, 2),
    ("C0", "A,B", 10, 0, 0),
    ("B0", "A,B", 10, 0, 0),
    ("A0 B1 C2 A3", "A,B,C", 10, 3, 3),
    ("A0 B0", "A,B", 0, 2, 1),
    ("A0 C0", "AC,A", 10, 2, 1),
    ("C0 A0", "AC,A", 10, 2, 1),
    ("A0 X1 A2 B3", "A,B", 10, 2, 2),
    ("A0 C1 B2 C3", "A,B,C", 10, 3, 3),
    ("A0 B8 A9 C12", "A,B,C", 10, 2, 2),
];

#[test]
fn the_table_of_corners_holds() {
    for (number, (events, steps, window, any, strict)) in CASES.into_iter().enumerate() {
        let steps: Vec<&str> = steps.split(',').collect();
        let hits = hits(events, &steps);
        let rules = Rules::of(steps.len(), Some(window));
        assert_eq!(level(&rules, &hits), any, "C{:02} {events}", number + 1);
        let rules = Rules { ties: Ties::Strict, ..rules };
        assert_eq!(level(&rules, &hits), strict, "C{:02} strict {events}", number + 1);
    }
}

#[test]
fn br01_one_event_is_never_two_steps() {
    let rules = |window| Rules::of(2, Some(window));
    assert_eq!(level(&rules(50), &hits("A100 A200", &["A", "A"])), 1);
    assert_eq!(level(&rules(50), &hits("A100", &["A", "A"])), 1);
    assert_eq!(level(&rules(100), &hits("A100 A200", &["A", "A"])), 2);
}

#[test]
fn br02_later_only_keeps_chains_that_are_in_order() {
    let strict = |steps, window| Rules { ties: Ties::Strict, ..Rules::of(steps, Some(window)) };
    assert_eq!(level(&strict(2, 10), &hits("A0 A5", &["A", "A"])), 2);
    assert_eq!(level(&strict(2, 10), &hits("A0 A1 B1", &["A", "B"])), 2);
    let thrice = hits("P1 Q2 R2 S2 Q3 R3 S3 Q4 R4 S4", &["P", "Q", "R", "S"]);
    assert_eq!(level(&strict(4, 100_000), &thrice), 4);
}

#[test]
fn br05_a_repeated_step_is_not_blocked_by_a_tie() {
    let steps = ["o", "v", "v"];
    let rules = Rules::of(3, Some(100));
    let strict = Rules { ties: Ties::Strict, ..rules.clone() };
    assert_eq!(level(&rules, &hits("o1 v10 v10 v11", &steps)), 3);
    assert_eq!(level(&rules, &hits("o1 v10 v10", &steps)), 3);
    assert_eq!(level(&strict, &hits("o1 v10 v10", &steps)), 2);
}

#[test]
fn br06_a_busy_person_costs_no_more_than_his_events() {
    let rules = Rules::of(4, Some(1_000_000));
    let tied: Vec<Hit> = (0..60).map(|at| Hit { time: 5, steps: 1 << (at % 4), excludes: 0 }).collect();
    assert_eq!(level(&rules, &tied), 4);
    let each: Vec<Hit> = (0..600).map(|at| Hit { time: at, steps: 1 << (at / 200), excludes: 0 }).collect();
    assert_eq!(level(&rules, &each), 3);
    // What took a peer minutes: many more, so that anything but a linear walk would be felt here.
    let many: Vec<Hit> =
        (0..60_000).map(|at| Hit { time: at, steps: 1 << (at / 20_000), excludes: 0 }).collect();
    assert_eq!(level(&rules, &many), 3);
}

#[test]
fn br07_more_than_32_steps_count() {
    let each: Vec<Hit> = (0..33).map(|at| Hit { time: at as i64 + 1, steps: 1 << at, excludes: 0 }).collect();
    assert_eq!(level(&Rules::of(33, Some(100)), &each), 33);
    assert_eq!(level(&Rules::of(64, None), &each), 33);
}

#[test]
fn br41_br45_times_and_windows_are_ordinary_numbers() {
    let pair = |first, second| {
        [Hit { time: first, steps: 1, excludes: 0 }, Hit { time: second, steps: 2, excludes: 0 }]
    };
    assert_eq!(level(&Rules::of(2, Some(10)), &pair(0, 1)), 2);
    assert_eq!(level(&Rules::of(2, Some(10)), &pair(-5, 0)), 2);
    assert_eq!(level(&Rules::of(2, Some(i64::MAX)), &pair(5, 6)), 2);
    assert_eq!(level(&Rules::of(2, Some(i64::MAX)), &pair(i64::MIN, i64::MAX)), 2);
    assert_eq!(level(&Rules::of(2, Some(10)), &pair(i64::MAX - 1, i64::MAX)), 2);
}

#[test]
fn br42_an_exclusion_counts_strictly_between() {
    let cases = [
        ("A0 X1 B2", 1, true),
        ("X0 A1 B2", 2, false),
        ("A0 B1 X2", 2, false),
        ("A0 X1 A2 B3", 2, false),
        ("A0 X1", 1, true),
        ("A0 X20", 1, false),
        ("A0 X0 B1", 2, false),
        ("A0 X1 B1", 2, false),
    ];
    let mut rules = Rules::of(2, Some(10));
    rules.exclusions = vec![Exclusion { from: 0, to: 1 }];
    let drops = Rules { drop_person: true, ..rules.clone() };
    for (events, level, dropped) in cases {
        let hits = hits(events, &["A", "B"]);
        let reached = Funnel::new(rules.clone()).reached(&hits);
        assert_eq!((reached.level, reached.dropped), (level, false), "{events}");
        assert_eq!(Funnel::new(drops.clone()).reached(&hits).dropped, dropped, "{events}");
    }
}

#[test]
fn strict_order_starts_over_and_does_not_end() {
    let strict = |steps, window| Rules { order: Order::Strict, ..Rules::of(steps, Some(window)) };
    assert_eq!(level(&strict(2, 10), &hits("A0 X1 B2", &["A", "B"])), 1);
    assert_eq!(level(&strict(2, 10), &hits("A0 X1 A2 B3", &["A", "B"])), 2);
    assert_eq!(level(&strict(3, 10), &hits("A0 B1 A2 C3", &["A", "B", "C"])), 2);
    assert_eq!(level(&strict(3, 10), &hits("A0 B1 C1", &["A", "B", "C"])), 3);
    assert_eq!(level(&strict(2, 10), &hits("C0 A0", &["AC", "A"])), 2);
}

#[test]
fn a_person_in_any_order_did_so_many() {
    let any = Rules { order: Order::Any, ..Rules::of(2, Some(10)) };
    assert_eq!(level(&any, &hits("B0 A5", &["A", "B"])), 2);
    assert_eq!(level(&any, &hits("A0", &["A", "B"])), 1);
    assert_eq!(level(&any, &hits("B0 A11", &["A", "B"])), 1);
    assert_eq!(level(&any, &hits("A0 A0", &["A", "AB"])), 2);
}

#[test]
fn the_reported_chain_is_completed_first_and_starts_last() {
    let rules = Rules::of(3, Some(100));
    let hits = hits("A0 A5 B6 B7 C8 C9", &["A", "B", "C"]);
    let mut funnel = Funnel::new(rules);
    let reached = funnel.reached(&hits);
    assert_eq!((reached.level, reached.first, reached.last), (3, 5, 8));
    let mut chain = Vec::new();
    funnel.chain(&hits, &reached, &mut chain);
    assert_eq!(chain, [Some(1), Some(2), Some(4)]);
}

#[test]
fn attempts_follow_each_other_and_never_share_events() {
    let mut funnel = Funnel::new(Rules::of(2, Some(10)));
    let hits = hits("A0 A1 B2 A3 B20 A30 B31", &["A", "B"]);
    let attempts: Vec<(usize, i64)> =
        funnel.attempts(&hits).iter().map(|one| (one.reached.level, one.reached.first)).collect();
    assert_eq!(attempts, [(2, 0), (1, 3), (2, 30)]);
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Few events close together, many of them tied, some fitting several steps.
    fn hits(&mut self, most: u64, steps: u64, exclusions: bool) -> Vec<Hit> {
        let count = self.below(most + 1);
        let span = 1 + self.below(12);
        let mut hits: Vec<Hit> = (0..count)
            .map(|_| {
                let mut bits = 1 << self.below(steps);
                if self.one_in(4) {
                    bits |= 1 << self.below(steps);
                }
                let excludes = if exclusions && self.one_in(4) { 1 + self.below(3) } else { 0 };
                let steps = if (excludes > 0 && self.one_in(2)) || self.one_in(12) { 0 } else { bits };
                Hit { time: self.below(span) as i64 - 3, steps, excludes }
            })
            .collect();
        hits.sort_by_key(|hit| hit.time);
        hits
    }

    fn rules(&mut self, steps: u64) -> Rules {
        let window = if self.one_in(6) { None } else { Some(self.below(9) as i64) };
        let mut rules = Rules::of(steps as usize, window);
        if self.one_in(3) {
            rules.ties = Ties::Strict;
        }
        if self.one_in(4) {
            rules.entry = Entry::First;
        }
        if self.one_in(4) {
            rules.starts = (self.below(4) as i64 - 3, self.below(6) as i64);
        }
        if self.one_in(6) {
            rules.tolerance = 1 + self.below(3) as i64;
        }
        rules
    }
}

fn holds(rules: &Rules, hits: &[Hit]) {
    let mut funnel = Funnel::new(rules.clone());
    let reached = funnel.reached(hits);
    let right = truth(rules, hits);
    let said = format!("{rules:?}\n{hits:?}\n{reached:?}\n{right:?}");
    assert_eq!(reached.level, right.level, "{said}");
    assert_eq!(reached.dropped, right.dropped, "{said}");
    assert_eq!(reached.open_until, right.open_until, "{said}");
    let mut chain = vec![Some(77)];
    funnel.chain(hits, &reached, &mut chain);
    let mut used: Vec<usize> = chain.iter().flatten().copied().collect();
    let times: Vec<Option<i64>> =
        chain.iter().map(|one| one.map(|at| rules.instant(hits[at].time))).collect();
    if rules.order == Order::Any {
        let sorted = |times: &[Option<i64>]| {
            let mut times: Vec<i64> = times.iter().flatten().copied().collect();
            times.sort_unstable();
            times
        };
        assert_eq!(sorted(&times), sorted(&right.times), "{said}");
    } else {
        assert_eq!(times, right.times, "{said}");
    }
    assert!(chain.iter().enumerate().all(|(step, at)| at.is_none_or(|at| hits[at].steps >> step & 1 != 0)));
    used.sort_unstable();
    used.dedup();
    assert_eq!(used.len(), chain.iter().flatten().count(), "an event was used twice\n{said}");
}

#[test]
fn a_hundred_thousand_random_persons_agree_with_the_slow_twin() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..60_000 {
        let steps = 1 + dice.below(4);
        let rules = dice.rules(steps);
        holds(&rules, &dice.hits(6, steps, false));
    }
    for _ in 0..20_000 {
        let steps = 1 + dice.below(3);
        let rules = Rules { order: Order::Strict, ..dice.rules(steps) };
        holds(&rules, &dice.hits(5, steps, false));
    }
    for _ in 0..20_000 {
        let steps = 1 + dice.below(3);
        let rules = Rules { order: Order::Any, ties: Ties::Any, entry: Entry::Any, ..dice.rules(steps) };
        holds(&rules, &dice.hits(6, steps, false));
    }
}

#[test]
fn anchors_among_free_steps_agree_with_the_slow_twin() {
    let mut dice = Dice(0x51ed_270b_7f4a_7c15);
    for _ in 0..40_000 {
        let steps = 2 + dice.below(3);
        let mut rules = Rules { order: Order::Any, ties: Ties::Any, entry: Entry::Any, ..dice.rules(steps) };
        for step in &mut rules.steps {
            step.anchored = dice.one_in(2);
        }
        holds(&rules, &dice.hits(6, steps, false));
    }
}

#[test]
fn all_anchors_are_steps_in_order_and_none_are_any_order() {
    let mut dice = Dice(0x1234_5678_9abc_def1);
    for _ in 0..5_000 {
        let steps = 1 + dice.below(4);
        let ordered = Rules { ties: Ties::Any, entry: Entry::Any, ..dice.rules(steps) };
        let hits = dice.hits(12, steps, false);
        let mut anchored = Rules { order: Order::Any, ..ordered.clone() };
        anchored.steps.iter_mut().for_each(|step| step.anchored = true);
        let (one, other) =
            (Funnel::new(ordered).reached(&hits), Funnel::new(anchored.clone()).reached(&hits));
        assert_eq!(one, other, "{anchored:?} {hits:?}");
    }
}

#[test]
fn an_anchor_keeps_its_place_and_what_lies_between_two_does_not() {
    let anchored = |anchors: &[usize]| {
        let mut rules = Rules { order: Order::Any, ..Rules::of(4, Some(10)) };
        anchors.iter().for_each(|at| rules.steps[*at].anchored = true);
        rules
    };
    let steps = ["A", "B", "C", "D"];
    let level_of = |anchors: &[usize], events: &str| level(&anchored(anchors), &hits(events, &steps));
    assert_eq!(level_of(&[0, 3], "A0 C1 B2 D3"), 4);
    assert_eq!(level_of(&[0, 3], "A0 D1 C2 B3"), 3);
    assert_eq!(level_of(&[0, 3], "B0 A1 C2 D3"), 2);
    assert_eq!(level_of(&[3], "B0 C1 A2 D3"), 4);
    assert_eq!(level_of(&[3], "D0 B1 C2 A3"), 3);
    assert_eq!(level_of(&[], "D0 B1 C2 A3"), 4);
    // One instant may be used in either order; a busy person costs no more than the events.
    assert_eq!(level_of(&[0, 3], "D0 C0 B0 A0"), 4);
    let each: Vec<Hit> =
        (0..60_000).map(|at| Hit { time: at, steps: 1 << (at / 20_000), excludes: 0 }).collect();
    let rules = Rules { window: None, ..anchored(&[0]) };
    assert_eq!(level(&rules, &each), 3);
}

#[test]
fn exclusions_limits_and_optional_steps_agree_with_the_slow_twin() {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    for _ in 0..60_000 {
        let steps = 2 + dice.below(3);
        let mut rules = dice.rules(steps);
        for at in 1..steps as usize {
            let optional = dice.one_in(4);
            let limit = dice.one_in(3).then(|| dice.below(5) as i64);
            rules.steps[at] = Step { optional, limit, anchored: false };
        }
        for _ in 0..dice.below(3) {
            let from = dice.below(steps - 1) as usize;
            let to = from + 1 + dice.below(steps - from as u64 - 1) as usize;
            if !rules.steps[from].optional && !rules.steps[to].optional {
                rules.exclusions.push(Exclusion { from, to });
            }
        }
        rules.drop_person = dice.one_in(3);
        let hits = dice.hits(6, steps, !rules.exclusions.is_empty());
        holds(&rules, &hits);
    }
}

/// Rules and events of the plain kind, for laws that hold between answers.
fn plain(dice: &mut Dice) -> (Rules, Vec<Hit>) {
    let steps = 1 + dice.below(4);
    let mut rules = dice.rules(steps);
    rules.entry = Entry::Any;
    rules.tolerance = 0;
    let hits = dice.hits(12, steps, false);
    (rules, hits)
}

#[test]
fn a_longer_window_a_further_event_and_another_order_of_rows_take_nothing_away() {
    let mut dice = Dice(77);
    for _ in 0..5_000 {
        let (rules, events) = plain(&mut dice);
        let before = level(&rules, &events);
        if let Some(window) = rules.window {
            let longer = Rules { window: Some(window + 1 + dice.below(5) as i64), ..rules.clone() };
            assert!(level(&longer, &events) >= before);
        }
        let mut more = events.clone();
        more.push(Hit { time: dice.below(9) as i64, steps: 0, excludes: 0 });
        more.sort_by_key(|hit| hit.time);
        assert_eq!(level(&rules, &more), before);
        if !events.is_empty() {
            let mut fewer = events.clone();
            fewer.remove(dice.below(events.len() as u64) as usize);
            assert!(level(&rules, &fewer) <= before);
        }
        // Another order of rows: only those of one instant may change places.
        let mut shuffled = events.clone();
        shuffled.reverse();
        shuffled.sort_by_key(|hit| hit.time);
        let (one, other) =
            (Funnel::new(rules.clone()).reached(&events), Funnel::new(rules).reached(&shuffled));
        assert_eq!(one, other);
    }
}

#[test]
fn a_shift_of_all_times_changes_no_level() {
    let mut dice = Dice(4711);
    for _ in 0..5_000 {
        let (mut rules, events) = plain(&mut dice);
        let before = Funnel::new(rules.clone()).reached(&events);
        let by = dice.below(2_000) as i64 - 1_000;
        let moved: Vec<Hit> = events.iter().map(|hit| Hit { time: hit.time + by, ..*hit }).collect();
        rules.starts = (rules.starts.0.saturating_add(by), rules.starts.1.saturating_add(by));
        let after = Funnel::new(rules).reached(&moved);
        assert_eq!(after.level, before.level);
        if before.level > 0 {
            let shifted = |one: &Reached| (one.first - by, one.last - by);
            assert_eq!(shifted(&after), (before.first, before.last));
        }
    }
}

#[test]
fn attempts_agree_with_asking_again_after_each() {
    let mut dice = Dice(99);
    for _ in 0..5_000 {
        let (rules, events) = plain(&mut dice);
        let once = Rules { entry: Entry::First, ..rules.clone() };
        let (mut right, mut rest) = (Vec::new(), events.as_slice());
        loop {
            let one = truth(&once, rest);
            if one.level == 0 {
                break;
            }
            let first = one.times[0].unwrap();
            right.push((one.level, first));
            let over = if one.level == rules.steps.len() {
                one.times.iter().flatten().max().copied()
            } else {
                rules.window.map(|window| first + window)
            };
            let Some(over) = over else { break };
            rest = &rest[rest.iter().take_while(|hit| hit.time <= over).count()..];
        }
        let attempts: Vec<Attempt> = Funnel::new(rules).attempts(&events);
        let found: Vec<_> = attempts.iter().map(|one| (one.reached.level, one.reached.first)).collect();
        assert_eq!(found, right);
    }
}
