//! Segments of random histories, against the words of their conditions taken one by one.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::Float64Array;
use proptest::prelude::*;

use crate::analysis::Events;
use crate::analysis::Ground;
use crate::analysis::segment::Aggregate;
use crate::analysis::segment::Amount;
use crate::analysis::segment::Change;
use crate::analysis::segment::Comparison;
use crate::analysis::segment::Condition;
use crate::analysis::segment::Did;
use crate::analysis::segment::Occurrence;
use crate::analysis::segment::PersonsRequest;
use crate::analysis::segment::Span;
use crate::analysis::segment::SpanUnit;
use crate::analysis::segment::Total;
use crate::analysis::segment::Window;
use crate::analysis::segment::members;
use crate::query::testing::TestLake;
use crate::schema::Property;
use crate::time::Day;
use crate::time::MICROS_PER_DAY;
use crate::time::Micros;
use crate::time::Zone;
use crate::value::ScalarType;

const FIRST_DAY: i32 = 20_605;
const PERSONS: i64 = 5;
/// Noon of the sixth day.
const AS_OF: i64 = FIRST_DAY as i64 * MICROS_PER_DAY + 5 * MICROS_PER_DAY + MICROS_PER_DAY / 2;

/// An event: person, whether it is a `buy`, day, hour, price if it has one.
type Event = (i64, bool, i32, i64, Option<i32>);

fn time_of(event: &Event) -> i64 {
    i64::from(FIRST_DAY + event.2) * MICROS_PER_DAY + event.3 * 3_600_000_000
}

async fn lake(events: &[Event]) -> TestLake {
    let mut lake = TestLake::new();
    (1..=PERSONS).for_each(|person| lake.person(person, None));
    let mut number = 0;
    for buys in [false, true] {
        let id = if buys { "buy" } else { "view" };
        lake.define(id, vec![Property::scalar("price", ScalarType::Decimal)]);
        for day in 0..9 {
            let of_day: Vec<&Event> = events.iter().filter(|one| one.1 == buys && one.2 == day).collect();
            if of_day.is_empty() {
                continue;
            }
            let rows: Vec<(i64, i64, i64)> = of_day
                .iter()
                .map(|one| {
                    number += 1;
                    (one.0, one.3 * 3_600, number)
                })
                .collect();
            let prices: Float64Array = of_day.iter().map(|one| one.4.map(f64::from)).collect();
            lake.write(id, Day(FIRST_DAY + day), &rows, vec![Arc::new(prices) as ArrayRef]).await;
        }
    }
    lake
}

fn span(count: u32) -> Span {
    Span { count, unit: SpanUnit::Days }
}

fn windows() -> impl Strategy<Value = Window> {
    prop_oneof![
        Just(Window::Ever),
        (0u32..6).prop_map(|days| Window::Last(span(days))),
        (0u32..6).prop_map(Window::LastDays),
        (0u32..6).prop_map(|days| Window::BeforeLast(span(days))),
        (0u32..3, 1u32..4).prop_map(|(to, more)| Window::Ago { from: span(to + more), to: span(to) }),
        Just(Window::Absolute { from: Some("2026-06-03".to_owned()), to: Some("2026-06-05".to_owned()) }),
    ]
}

fn amounts() -> impl Strategy<Value = Amount> {
    prop_oneof![
        (0u64..4).prop_map(Amount::AtLeast),
        (0u64..4).prop_map(Amount::Exactly),
        (0u64..4).prop_map(Amount::AtMost),
        (0u64..3, 0u64..3).prop_map(|(least, more)| Amount::Between(least, least + more)),
    ]
}

fn dids() -> impl Strategy<Value = Condition> {
    let which = (any::<bool>(), any::<bool>(), 0usize..5);
    (which, windows(), amounts(), 0i32..8).prop_map(|((buys, cheap, what), time, amount, number)| {
        let mut events = Events::of(if buys { "buy" } else { "view" });
        events.filter = cheap.then(|| "price < 3".to_owned());
        let mut did = Did { events, time, ..Did::default() };
        match what {
            0 => {}
            1 => did.times = Some(amount),
            2 => did.days = Some(amount),
            3 => did.occurrence = if number < 4 { Occurrence::First } else { Occurrence::Last },
            _ => {
                let of = [Aggregate::Sum, Aggregate::Avg, Aggregate::Max, Aggregate::Distinct]
                    [usize::try_from(number).unwrap() % 4];
                let is = if number < 4 { Comparison::AtLeast } else { Comparison::Less };
                did.total = Some(Total { of, value: "price".to_owned(), is, number: f64::from(number) });
            }
        }
        Condition::Did(Box::new(did))
    })
}

fn conditions() -> impl Strategy<Value = Condition> {
    let change = (any::<bool>(), any::<bool>(), 1u32..3).prop_map(|(buys, back, days)| {
        let change =
            Box::new(Change { events: Events::of(if buys { "buy" } else { "view" }), span: span(days) });
        if back { Condition::CameBack(change) } else { Condition::Stopped(change) }
    });
    prop_oneof![4 => dids(), 1 => change].prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Condition::And),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Condition::Or),
            inner.prop_map(|inner| Condition::Not(Box::new(inner))),
        ]
    })
}

/// Whether a moment is in a window, said in days before noon of the sixth day.
fn is_in(window: &Window, at: i64) -> bool {
    let ago = AS_OF - at;
    let days = |span: &Span| i64::from(span.count) * MICROS_PER_DAY;
    let date = at.div_euclid(MICROS_PER_DAY) - i64::from(FIRST_DAY);
    ago > 0
        && match window {
            Window::Ever => true,
            Window::Last(span) => ago <= days(span),
            Window::LastDays(count) => date < 5 && date >= 5 - i64::from(*count),
            Window::BeforeLast(span) => ago > days(span),
            Window::Ago { from, to } => ago <= days(from) && ago > days(to),
            Window::Absolute { .. } => (2..4).contains(&date),
        }
}

fn fits(amount: Amount, count: usize) -> bool {
    let count = count as u64;
    match amount {
        Amount::AtLeast(least) => count >= least,
        Amount::Exactly(exact) => count == exact,
        Amount::AtMost(most) => count <= most,
        Amount::Between(least, most) => least <= count && count <= most,
    }
}

fn holds(condition: &Condition, events: &[Event], person: i64) -> bool {
    let mine = |name: &str, cheap: bool| -> Vec<Event> {
        let mut mine: Vec<Event> = events
            .iter()
            .filter(|one| one.0 == person && one.1 == (name == "buy") && time_of(one) < AS_OF)
            .filter(|one| !cheap || one.4.is_some_and(|price| price < 3))
            .copied()
            .collect();
        mine.sort_by_key(time_of);
        mine
    };
    match condition {
        Condition::And(all) => all.iter().all(|one| holds(one, events, person)),
        Condition::Or(any) => any.iter().any(|one| holds(one, events, person)),
        Condition::Not(inner) => !holds(inner, events, person),
        Condition::Stopped(change) => {
            let mine = mine(&change.events.event, false);
            let days = i64::from(change.span.count) * MICROS_PER_DAY;
            let ago = |one: &Event| AS_OF - time_of(one);
            mine.iter().any(|one| ago(one) > days && ago(one) <= 2 * days)
                && mine.iter().all(|one| ago(one) > days)
        }
        Condition::CameBack(change) => {
            let mine = mine(&change.events.event, false);
            let days = i64::from(change.span.count) * MICROS_PER_DAY;
            let ago = |one: &Event| AS_OF - time_of(one);
            mine.iter().any(|one| ago(one) <= days)
                && !mine.iter().any(|one| ago(one) > days && ago(one) <= 2 * days)
                && mine.iter().any(|one| ago(one) > 2 * days)
        }
        Condition::Did(did) => {
            let all = mine(&did.events.event, did.events.filter.is_some());
            let inside: Vec<&Event> = all.iter().filter(|one| is_in(&did.time, time_of(one))).collect();
            let prices: Vec<f64> = inside.iter().filter_map(|one| one.4.map(f64::from)).collect();
            match (did.occurrence, did.times, did.days, &did.total) {
                (Occurrence::First, ..) => all.first().is_some_and(|one| is_in(&did.time, time_of(one))),
                (Occurrence::Last, ..) => all.last().is_some_and(|one| is_in(&did.time, time_of(one))),
                (_, Some(times), ..) => fits(times, inside.len()),
                (_, _, Some(days), _) => {
                    let different: BTreeSet<i32> = inside.iter().map(|one| one.2).collect();
                    fits(days, different.len())
                }
                (.., Some(total)) => {
                    let sum: f64 = prices.iter().sum();
                    let different = prices.iter().map(|price| price.to_bits()).collect::<BTreeSet<_>>().len();
                    let value = match total.of {
                        Aggregate::Sum => (!prices.is_empty()).then_some(sum),
                        Aggregate::Avg => (!prices.is_empty()).then_some(sum / prices.len() as f64),
                        Aggregate::Max => prices.iter().copied().reduce(f64::max),
                        Aggregate::Min => prices.iter().copied().reduce(f64::min),
                        Aggregate::Distinct => (!inside.is_empty()).then_some(different as f64),
                    };
                    value.is_some_and(|value| match total.is {
                        Comparison::AtLeast => value >= total.number,
                        _ => value < total.number,
                    })
                }
                _ => !inside.is_empty(),
            }
        }
        Condition::Persons(_) | Condition::Sequence(_) | Condition::Segment(_) => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn a_segment_is_who_its_words_say(
        events in prop::collection::vec((1..=PERSONS, any::<bool>(), 0i32..8, 0i64..24, prop::option::of(0i32..6)), 0..24),
        conditions in prop::collection::vec(conditions(), 6),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let answers: Vec<BTreeSet<i64>> = runtime.block_on(async {
            let session = lake(&events).await.session();
            let ground = Ground::over(&session, Micros(AS_OF), Zone::UTC);
            let mut answers = Vec::new();
            for condition in &conditions {
                let request = PersonsRequest { condition: condition.clone(), as_of: None, zone: None };
                let found = members(&request, &ground).await.unwrap();
                answers.push(found.iter().map(|person| person as i64).collect());
            }
            answers
        });
        for (condition, found) in conditions.iter().zip(answers) {
            let twin: BTreeSet<i64> = (1..=PERSONS).filter(|person| holds(condition, &events, *person)).collect();
            prop_assert_eq!(found, twin, "{:?}", condition);
        }
    }
}
