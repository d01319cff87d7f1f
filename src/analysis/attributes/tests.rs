//! Attributes of random histories: events on time and late, merges and their undoing, forgetting, compaction and a clock
//! that jumps, after each of which the values are those that the words of the definition give over all events.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::Int64Array;
use arrow::datatypes::Decimal128Type;
use arrow::datatypes::Float64Type;
use arrow::datatypes::Int64Type;
use proptest::prelude::*;

use crate::analysis::attributes::AggregatePeriod;
use crate::analysis::attributes::AggregateRequest;
use crate::analysis::attributes::Computation;
use crate::analysis::attributes::ComputedState;
use crate::analysis::attributes::End;
use crate::analysis::attributes::Function;
use crate::analysis::attributes::Over;
use crate::analysis::attributes::ScoreRule;
use crate::analysis::events::Events;
use crate::analysis::segment::Amount;
use crate::analysis::segment::Condition;
use crate::analysis::segment::Did;
use crate::analysis::segment::Span;
use crate::analysis::segment::SpanUnit;
use crate::analysis::segment::Window;
use crate::ids::PersonId;
use crate::query::ComputedKind;
use crate::query::Queries;
use crate::query::testing::TestLake;
use crate::query::testing::queries_of;
use crate::schema::Property;
use crate::sequence::tally::Dated;
use crate::sequence::tally::Plan;
use crate::sequence::tally::Scalar;
use crate::sequence::tally::spelled_out;
use crate::time::Day;
use crate::time::MICROS_PER_DAY;
use crate::time::Micros;
use crate::time::Zone;
use crate::time::parse_zone;
use crate::time::zones;
use crate::value::ScalarType;

/// 2026-03-20: clocks go forward in Europe on the 29th.
const FIRST: i64 = 20_532;
const PERSONS: i64 = 5;
const HOUR: i64 = 3_600_000_000;

/// What happens to a store.
#[derive(Clone, Debug)]
enum Step {
    /// A file with these events: person, hour from the start, price.
    Write(Vec<(i64, i64, Option<i64>)>),
    Merge(i64, i64),
    Unmerge,
    Forget(i64),
    /// The files of a day become one.
    Compact(i64),
    /// The clock goes to this hour, forwards or back.
    Clock(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let event = (1..=PERSONS, 0i64..30 * 24, prop::option::of(-3i64..4));
    let step = prop_oneof![
        4 => prop::collection::vec(event, 1..6).prop_map(Step::Write),
        1 => (1..=PERSONS, 1..=PERSONS).prop_map(|(from, into)| Step::Merge(from, into)),
        1 => Just(Step::Unmerge),
        1 => (1..=PERSONS).prop_map(Step::Forget),
        1 => (0i64..30).prop_map(Step::Compact),
        4 => (0i64..30 * 24).prop_map(Step::Clock),
    ];
    prop::collection::vec(step, 1..14)
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Event {
    person: i64,
    at: i64,
    seq: i64,
    price: Option<i64>,
}

/// A store, and beside it all events in a list.
struct World {
    lake: TestLake,
    events: Vec<Event>,
    merges: Vec<(i64, i64)>,
    now: Micros,
}

impl World {
    fn new() -> Self {
        let mut lake = TestLake::new();
        (1..=PERSONS).for_each(|person| lake.person(person, None));
        lake.define("buy", vec![Property::scalar("price", ScalarType::Numeric)]);
        let now = Micros(FIRST * MICROS_PER_DAY + 10 * MICROS_PER_DAY + 7 * HOUR);
        Self { lake, events: Vec::new(), merges: Vec::new(), now }
    }

    /// Writes a day anew, or adds to it.
    async fn put(&mut self, day: i64, mut events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let start = day * MICROS_PER_DAY;
        let rows: Vec<(i64, i64, i64)> =
            events.iter().map(|one| (one.person, one.at - start, one.at)).collect();
        let prices: Int64Array = events.iter().map(|one| one.price).collect();
        let first = self.lake.next_seq();
        for (event, seq) in events.iter_mut().zip(first..) {
            event.seq = seq;
        }
        let day = Day(i32::try_from(day).unwrap());
        self.lake.write_exactly("buy", day, &rows, vec![Arc::new(prices) as ArrayRef]).await;
        self.events.extend(events);
    }

    async fn again(&mut self, day: i64, keep: impl Fn(&Event) -> bool) {
        let of_day = |one: &Event| one.at.div_euclid(MICROS_PER_DAY) == day;
        let kept: Vec<Event> = self.events.iter().filter(|one| of_day(one) && keep(one)).copied().collect();
        self.events.retain(|one| !of_day(one));
        self.lake.clear("buy", Day(i32::try_from(day).unwrap()));
        self.put(day, kept).await;
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Write(events) => {
                let mut days: BTreeMap<i64, Vec<Event>> = BTreeMap::new();
                for (person, hour, price) in events {
                    let at = FIRST * MICROS_PER_DAY + hour * HOUR;
                    let event = Event { person: *person, at, seq: 0, price: *price };
                    days.entry(at.div_euclid(MICROS_PER_DAY)).or_default().push(event);
                }
                for (day, events) in days {
                    self.put(day, events).await;
                }
            }
            Step::Merge(from, into) => {
                let (from, into) = (self.resolve(*from), self.resolve(*into));
                if from != into {
                    self.merges.push((from, into));
                    self.lake.merge(from, into);
                }
            }
            Step::Unmerge => {
                if self.merges.pop().is_some() {
                    self.lake.merges_are(&self.merges);
                }
            }
            Step::Forget(person) => {
                let days: BTreeSet<i64> = self
                    .events
                    .iter()
                    .filter(|one| one.person == *person)
                    .map(|one| one.at.div_euclid(MICROS_PER_DAY))
                    .collect();
                for day in days {
                    self.again(day, |one| one.person != *person).await;
                }
            }
            Step::Compact(day) => self.again(FIRST + day, |_| true).await,
            Step::Clock(hour) => self.now = Micros(FIRST * MICROS_PER_DAY + hour * HOUR),
        }
    }

    fn resolve(&self, person: i64) -> i64 {
        let mut at = person;
        while let Some((_, into)) = self.merges.iter().find(|(from, _)| *from == at) {
            at = *into;
        }
        at
    }

    fn of_person(&self, person: i64, counts: impl Fn(i64) -> bool) -> Vec<Dated> {
        let theirs = self.events.iter().filter(|one| self.resolve(one.person) == person && counts(one.at));
        let dated = |one: &Event| Dated {
            at: one.at,
            seq: one.seq,
            value: one.price.map(|price| Scalar::Whole(price.into())),
        };
        theirs.map(dated).collect()
    }

    /// The values of the persons that stand for themselves, and that they hold until they say.
    async fn values(
        &self,
        queries: &Queries,
        state: &mut ComputedState,
        of: &Computation,
        kind: ComputedKind,
        zone: Zone,
    ) -> (BTreeMap<i64, Option<Scalar>>, Micros) {
        let snapshot = self.lake.snapshot();
        let open = |snapshot| queries.session(snapshot, self.lake.store(), &[]);
        let over = Over { open: &open, snapshot: &snapshot, now: self.now, zone };
        let computed = state.values(of, kind, &over).await.unwrap();
        let roots: Vec<i64> = (1..=PERSONS).filter(|person| self.resolve(*person) == *person).collect();
        let column = computed.column.of(&roots).unwrap();
        let at = |row: usize| -> Option<Scalar> {
            if column.is_null(row) {
                return None;
            }
            Some(match kind {
                ComputedKind::IntegerSum => Scalar::Whole(column.as_primitive::<Decimal128Type>().value(row)),
                ComputedKind::Decimal => Scalar::Decimal(crate::sequence::tally::Decimal::new(
                    column.as_primitive::<Float64Type>().value(row),
                )),
                ComputedKind::Boolean => Scalar::Truth(column.as_boolean().value(row)),
                _ => Scalar::Whole(column.as_primitive::<Int64Type>().value(row).into()),
            })
        };
        assert!(computed.until > self.now, "{:?} is no later than {:?}", computed.until, self.now);
        (roots.iter().enumerate().map(|(row, person)| (*person, at(row))).collect(), computed.until)
    }
}

fn kind_of(function: Function) -> ComputedKind {
    match function {
        Function::Sum => ComputedKind::IntegerSum,
        Function::Average => ComputedKind::Decimal,
        Function::Exists => ComputedKind::Boolean,
        _ => ComputedKind::Integer,
    }
}

/// The period in words of its own: local days of the zone, found one event at a time.
fn counts(period: &AggregatePeriod, now: i64, zone: Zone, at: i64) -> bool {
    let day = |at: i64| zones::local_day(Micros(at), zone).unwrap().0;
    let is_past = at < now;
    match period {
        AggregatePeriod::Lifetime => is_past,
        AggregatePeriod::LastDays(days) => {
            let ago = day(now) - day(at);
            ago >= 1 && ago <= i32::try_from(*days).unwrap()
        }
        AggregatePeriod::Last24Hours => is_past && at >= now - 24 * HOUR,
        AggregatePeriod::Since(_) => is_past && day(at) >= i32::try_from(FIRST).unwrap() + 8,
        AggregatePeriod::DaysBeforeToday(days) => {
            is_past && day(now) - day(at) <= i32::try_from(*days).unwrap()
        }
    }
}

fn zones_of_tests() -> impl Strategy<Value = Zone> {
    let names = ["UTC", "Europe/Zagreb", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"];
    prop::sample::select(names.to_vec()).prop_map(|name| parse_zone(name).unwrap())
}

fn requests() -> impl Strategy<Value = AggregateRequest> {
    let functions = prop::sample::select(vec![
        Function::Count,
        Function::Exists,
        Function::Sum,
        Function::Min,
        Function::Max,
        Function::Average,
        Function::CountDistinct,
        Function::First,
        Function::Last,
        Function::MostCommon,
    ]);
    let periods = prop::sample::select(vec![
        AggregatePeriod::Lifetime,
        AggregatePeriod::LastDays(7),
        AggregatePeriod::LastDays(14),
        AggregatePeriod::Last24Hours,
        AggregatePeriod::Since("2026-03-28".to_owned()),
        AggregatePeriod::DaysBeforeToday(0),
        AggregatePeriod::DaysBeforeToday(3),
    ]);
    let ends = prop::option::of(prop::sample::select(vec![End::First, End::Last]));
    (functions, periods, ends, any::<bool>()).prop_map(|(function, period, without, cheap)| {
        AggregateRequest {
            function,
            event: "buy".to_owned(),
            property: (!matches!(function, Function::Count | Function::Exists)).then(|| "price".to_owned()),
            filter: cheap.then(|| "price < 2".to_owned()),
            without,
            period,
        }
    })
}

fn rules() -> impl Strategy<Value = ScoreRule> {
    let span = |count| Span { count, unit: SpanUnit::Hours };
    let windows = prop_oneof![
        Just(Window::Ever),
        (1u32..200).prop_map(move |hours| Window::Last(span(hours))),
        (1u32..200).prop_map(move |hours| Window::BeforeLast(span(hours))),
        (1u32..100, 1u32..100)
            .prop_map(move |(to, more)| Window::Ago { from: span(to + more), to: span(to) }),
        (1u32..9).prop_map(Window::LastDays),
    ];
    let amounts = prop_oneof![
        Just(None),
        (0u64..4).prop_map(|count| Some(Amount::AtLeast(count))),
        (0u64..4).prop_map(|count| Some(Amount::Exactly(count))),
        (0u64..4).prop_map(|count| Some(Amount::AtMost(count))),
    ];
    (windows, amounts, any::<bool>(), -5i32..6).prop_map(|(time, times, negated, points)| {
        let did = Did { events: Events::of("buy"), times, time, ..Did::default() };
        let did = Condition::Did(Box::new(did));
        ScoreRule { points, when: if negated { Condition::Not(Box::new(did)) } else { did } }
    })
}

fn in_window(window: &Window, now: i64, zone: Zone, at: i64) -> bool {
    let ago = |span: &Span| now - i64::from(span.count) * HOUR;
    let day = |at: i64| zones::local_day(Micros(at), zone).unwrap().0;
    match window {
        Window::Ever => at < now,
        Window::Last(span) => at < now && at >= ago(span),
        Window::BeforeLast(span) => at < ago(span),
        Window::Ago { from, to } => at >= ago(from) && at < ago(to),
        Window::LastDays(days) => (1..=i32::try_from(*days).unwrap()).contains(&(day(now) - day(at))),
        Window::Absolute { .. } => false,
    }
}

fn points(world: &World, rules: &[ScoreRule], person: i64, zone: Zone) -> i128 {
    let holds = |rule: &Condition| {
        let (did, negated) = match rule {
            Condition::Not(inner) => (inner.as_ref(), true),
            other => (other, false),
        };
        let Condition::Did(did) = did else { panic!("no other rules are made") };
        let count = world.of_person(person, |at| in_window(&did.time, world.now.0, zone, at)).len() as u64;
        let held = match did.times {
            None => count > 0,
            Some(Amount::AtLeast(least)) => count >= least,
            Some(Amount::Exactly(exact)) => count == exact,
            Some(Amount::AtMost(most)) => count <= most,
            Some(Amount::Between(..)) => false,
        };
        held != negated
    };
    rules.iter().filter(|rule| holds(&rule.when)).map(|rule| i128::from(rule.points)).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn an_aggregate_kept_is_one_recomputed(steps in steps(), request in requests(), zone in zones_of_tests()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let queries = queries_of(256 << 20, 1);
            let plan = Plan { function: request.function, without: request.without };
            let kind = kind_of(request.function);
            let of = Computation::Aggregate(request.clone());
            let mut world = World::new();
            let mut state = ComputedState::default();
            for step in &steps {
                world.take(step).await;
                let (found, until) = world.values(&queries, &mut state, &of, kind, zone).await;
                // The last moment that they are promised for, too.
                let last = until.0.saturating_sub(1).min(world.now.0 + 60 * MICROS_PER_DAY);
                for now in [world.now.0, last] {
                    let expected = |person: i64| {
                        let events = world.of_person(person, |at| counts(&request.period, now, zone, at));
                        let events = events.into_iter().filter(|one| {
                            request.filter.is_none()
                                || matches!(one.value, Some(Scalar::Whole(price)) if price < 2)
                        });
                        spelled_out(plan, &events.collect::<Vec<_>>())
                    };
                    for (person, value) in &found {
                        prop_assert_eq!(
                            value, &expected(*person), "person {} at {:?} after {:?}", person, Micros(now), step
                        );
                    }
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_score_kept_is_one_recomputed(
        steps in steps(),
        rules in prop::collection::vec(rules(), 1..4),
        zone in zones_of_tests(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let queries = queries_of(256 << 20, 1);
            let of = Computation::Score(rules.clone());
            let mut world = World::new();
            let mut state = ComputedState::default();
            for step in &steps {
                world.take(step).await;
                let (found, until) =
                    world.values(&queries, &mut state, &of, ComputedKind::Integer, zone).await;
                for (person, value) in &found {
                    let expected = Some(Scalar::Whole(points(&world, &rules, *person, zone)));
                    prop_assert_eq!(value, &expected, "person {} after {:?}", person, step);
                }
                let here = world.now;
                world.now = Micros(until.0.saturating_sub(1).min(here.0 + 60 * MICROS_PER_DAY));
                for (person, value) in &found {
                    let expected = Some(Scalar::Whole(points(&world, &rules, *person, zone)));
                    prop_assert_eq!(value, &expected, "person {} at the end after {:?}", person, step);
                }
                world.now = here;
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn what_was_read_is_not_read_again() {
    use crate::analysis::attributes::kept::Kept;
    use crate::analysis::attributes::stretch::Stretch;

    let queries = queries_of(256 << 20, 1);
    let mut world = World::new();
    let request = AggregateRequest {
        function: Function::Count,
        event: "buy".to_owned(),
        property: None,
        filter: None,
        without: None,
        period: AggregatePeriod::Lifetime,
    };
    let mut kept = Kept::default();
    let mut read = Vec::new();
    let script = [
        Step::Write((0..9).map(|day| (1, day * 24, None)).collect()),
        Step::Merge(2, 1),
        Step::Write(vec![(2, 5, None)]),
        Step::Clock(200 * 24),
        Step::Unmerge,
        Step::Write(vec![(3, 2, None)]),
        Step::Compact(0),
    ];
    for step in &script {
        world.take(step).await;
        let snapshot = world.lake.snapshot();
        let open = |snapshot| queries.session(snapshot, world.lake.store(), &[]);
        let over = Over { open: &open, snapshot: &snapshot, now: world.now, zone: Zone::UTC };
        let stretch = Stretch::of_period(&request.period, world.now, Zone::UTC).unwrap();
        read.push(kept.catch_up(&request.wanted(), &stretch, &over).await.unwrap());
    }
    // Nine days; a late event; old days are put together; a late event; and what was put together is read again.
    assert_eq!(read, [9, 0, 1, 0, 0, 1, 9]);
    assert_eq!(PersonId(1), world.lake.snapshot().persons.resolve(PersonId(1)));
}
