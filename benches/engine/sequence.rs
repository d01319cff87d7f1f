//! What one person's events amount to: persons as most are, and the busy one who breaks other engines.

use criterion::Criterion;
use milepost::sequence::Funnel;
use milepost::sequence::Hit;
use milepost::sequence::Order;
use milepost::sequence::Rules;

/// A name, the rules, the events, and the level that is right.
type Case = (&'static str, Rules, Vec<Hit>, usize);

fn hit(time: i64, step: i64) -> Hit {
    Hit { time, steps: 1 << step, excludes: 0 }
}

fn cases() -> Vec<Case> {
    let rules = |steps| Rules::of(steps, Some(1_000_000));
    // 200 of each of three steps, one after the other, and the fourth never.
    let busy: Vec<Hit> = (0..600).map(|at| hit(at, at / 200)).collect();
    // The same in turns, so that each of them starts and goes on.
    let turns: Vec<Hit> = (0..600).map(|at| hit(at, at % 3)).collect();
    // 15 of each of four steps at one instant.
    let tied: Vec<Hit> = (0..60).map(|at| hit(5, at % 4)).collect();
    let usual: Vec<Hit> = (0..12).map(|at| hit(at * 70_000, at * 7 % 3)).collect();
    let mut anchored = Rules { order: Order::Any, ..rules(4) };
    anchored.steps[0].anchored = true;
    vec![
        ("usual", rules(3), usual, 3),
        ("busy", rules(4), busy, 3),
        ("busy_in_turns", rules(4), turns.clone(), 3),
        ("tied", rules(4), tied, 4),
        ("busy_any_order", Rules { order: Order::Any, ..rules(4) }, turns.clone(), 3),
        ("busy_anchored", anchored, turns, 3),
    ]
}

pub(crate) fn run(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sequence");
    for (name, rules, hits, level) in cases() {
        let mut funnel = Funnel::new(rules);
        assert_eq!(funnel.reached(&hits).level, level, "{name}");
        let mut chain = Vec::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let reached = funnel.reached(&hits);
                funnel.chain(&hits, &reached, &mut chain);
                reached
            });
        });
    }
    group.finish();
}
