//! Who came back, and when: one person's starts and returns to the periods in which the person returned.
//!
//! A return is another event than the start and not earlier than it. A period is counted on the calendar of a zone
//! (the difference of two dates) or rolls from the start (a whole number of hours).

use crate::time::Micros;
use crate::time::periods::Periods;

/// An event of one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) at: i64,
    /// What tells two events of the same time apart.
    pub(crate) seq: i64,
    /// A value to break down by; equal numbers are equal values.
    pub(crate) value: u32,
}

/// What a return in a period means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cells {
    /// In exactly that period, from 0 up to and with this one.
    On(usize),
    /// In that period or any later one.
    OnOrAfter(usize),
    /// Anywhere from one edge up to, and without, the next.
    Brackets(Vec<i64>),
}

impl Cells {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::On(last) | Self::OnOrAfter(last) => last + 1,
            Self::Brackets(edges) => edges.len().saturating_sub(1),
        }
    }

    /// The periods that belong to a cell: the first, and the one after the last.
    pub(crate) fn bounds(&self, cell: usize) -> (i64, i64) {
        match self {
            Self::On(_) | Self::OnOrAfter(_) => (cell as i64, cell as i64 + 1),
            Self::Brackets(edges) => (edges[cell], edges[cell + 1]),
        }
    }

    /// Marks the cells that a return after so many whole periods falls into.
    pub(crate) fn mark(&self, period: i64, reached: &mut [bool]) {
        match self {
            Self::On(_) => {
                if let Some(cell) = usize::try_from(period).ok().and_then(|at| reached.get_mut(at)) {
                    *cell = true;
                }
            }
            Self::OnOrAfter(last) => {
                let upto = usize::try_from(period).map_or(0, |period| period.min(*last) + 1);
                reached[..upto].fill(true);
            }
            Self::Brackets(edges) => {
                let after = edges.partition_point(|edge| *edge <= period);
                if after > 0
                    && let Some(cell) = reached.get_mut(after - 1)
                {
                    *cell = true;
                }
            }
        }
    }
}

/// The rules of one question.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) cells: Cells,
    /// Periods roll from the start instead of following the calendar.
    pub(crate) rolling: bool,
    /// Starts count from here, up to and without `to`; returns may come later.
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// A return must have the start's value.
    pub(crate) same_value: bool,
}

impl Rules {
    /// How many whole periods lie between a start and a return that is not earlier.
    fn period_of(&self, start: i64, back: i64, periods: &mut Periods) -> i64 {
        if self.rolling {
            (back - start).div_euclid(periods.period.rolling())
        } else {
            // Where clocks go back over midnight, a later moment may have the date before.
            (periods.index(Micros(back)) - periods.index(Micros(start))).max(0)
        }
    }

    /// Whether all that can ever fall into a cell has had its time at `as_of`, for everybody who started in the
    /// cohort.
    pub(crate) fn is_complete(&self, cohort: i64, cell: usize, as_of: i64, periods: &Periods) -> bool {
        let (_, end) = self.cells.bounds(cell);
        let closed = if self.rolling {
            let last = periods.start(cohort + 1).0.min(self.to);
            last.saturating_add(end.saturating_mul(periods.period.rolling()))
        } else {
            periods.start(cohort + end).0
        };
        closed <= as_of
    }
}

/// Visits each cohort that a person belongs to, once, with the start and the cells in which the person came back.
///
/// `starts` and `returns` are in order of time and then of `seq`. Of several starts in one cohort the first counts.
pub(crate) fn visit_cohorts(
    rules: &Rules,
    periods: &mut Periods,
    starts: &[Moment],
    returns: &[Moment],
    mut visit: impl FnMut(i64, Moment, &[bool]),
) {
    let mut seen: Vec<i64> = Vec::new();
    let mut reached = vec![false; rules.cells.len()];
    for start in starts.iter().filter(|start| rules.from <= start.at && start.at < rules.to) {
        let cohort = periods.index(Micros(start.at));
        if seen.contains(&cohort) {
            continue;
        }
        seen.push(cohort);
        reached.fill(false);
        let first = returns.partition_point(|back| back.at < start.at);
        for back in &returns[first..] {
            let other = back.seq != start.seq;
            if other && (!rules.same_value || back.value == start.value) {
                rules.cells.mark(rules.period_of(start.at, back.at, periods), &mut reached);
            }
        }
        visit(cohort, *start, &reached);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::Period;
    use crate::time::parse_instant;
    use crate::time::parse_zone;
    use crate::time::zones;

    fn at(text: &str) -> i64 {
        parse_instant(text, None).unwrap().0
    }

    fn moment(at: i64, seq: i64) -> Moment {
        Moment { at, seq, value: 0 }
    }

    fn rules(cells: Cells, rolling: bool) -> Rules {
        Rules { cells, rolling, from: i64::MIN, to: i64::MAX, same_value: false }
    }

    /// The cohorts of a person with their cells.
    fn cohorts(
        rules: &Rules,
        period: Period,
        zone: &str,
        starts: &[Moment],
        returns: &[Moment],
    ) -> Vec<(String, Vec<bool>)> {
        let mut periods = Periods::new(period, parse_zone(zone).unwrap());
        let mut found = Vec::new();
        visit_cohorts(rules, &mut periods, starts, returns, |cohort, _, reached| {
            found.push((period.first_day(cohort).to_string(), reached.to_vec()));
        });
        found
    }

    #[test]
    fn a_late_evening_and_the_next_morning_are_a_day_apart_on_the_calendar_only() {
        let (start, back) =
            ([moment(at("2026-06-01T20:00:00Z"), 1)], [moment(at("2026-06-02T06:00:00Z"), 2)]);
        let on = Cells::On(1);
        let calendar = cohorts(&rules(on.clone(), false), Period::Day, "UTC", &start, &back);
        assert_eq!(calendar, [("2026-06-01".to_owned(), vec![false, true])]);
        let rolling = cohorts(&rules(on.clone(), true), Period::Day, "UTC", &start, &back);
        assert_eq!(rolling, [("2026-06-01".to_owned(), vec![true, false])]);
        // No flooring to hours: 23 h and 1 min later is the same rolling day.
        let (start, back) =
            ([moment(at("2026-06-01T17:59:00Z"), 1)], [moment(at("2026-06-02T17:00:00Z"), 2)]);
        let rolling = cohorts(&rules(on, true), Period::Day, "UTC", &start, &back);
        assert_eq!(rolling[0].1, [true, false]);
    }

    #[test]
    fn br14_a_return_before_the_start_is_none() {
        let (start, back) =
            ([moment(at("2026-06-02T12:00:00Z"), 1)], [moment(at("2026-06-01T12:00:00Z"), 2)]);
        for rolling in [false, true] {
            let found = cohorts(&rules(Cells::OnOrAfter(3), rolling), Period::Day, "UTC", &start, &back);
            assert_eq!(found[0].1, [false; 4]);
        }
        // Nor earlier on the same day; and the event that starts is no return.
        let back = [moment(at("2026-06-02T11:59:59Z"), 2), start[0]];
        assert_eq!(cohorts(&rules(Cells::On(0), false), Period::Day, "UTC", &start, &back)[0].1, [false]);
        // Another event at the same moment is one.
        let back = [start[0], moment(start[0].at, 2)];
        assert_eq!(cohorts(&rules(Cells::On(0), false), Period::Day, "UTC", &start, &back)[0].1, [true]);
    }

    #[test]
    fn one_return_is_day_two_of_one_start_and_day_one_of_another() {
        let starts = [moment(at("2026-06-01T12:00:00Z"), 1), moment(at("2026-06-02T12:00:00Z"), 2)];
        let back = [moment(at("2026-06-03T12:00:00Z"), 3)];
        let found = cohorts(&rules(Cells::On(2), false), Period::Day, "UTC", &starts, &back);
        assert_eq!(found[0], ("2026-06-01".to_owned(), vec![false, false, true]));
        assert_eq!(found[1], ("2026-06-02".to_owned(), vec![false, true, false]));
    }

    #[test]
    fn brackets_are_half_open() {
        let start = [moment(at("2026-06-01T12:00:00Z"), 1)];
        let cells = Cells::Brackets(vec![1, 4, 8]);
        let on_day = |day: u32| {
            let back = [moment(at(&format!("2026-06-{:02}T12:00:00Z", 1 + day)), 2)];
            cohorts(&rules(cells.clone(), false), Period::Day, "UTC", &start, &back)[0].1.clone()
        };
        assert_eq!(on_day(0), [false, false]);
        assert_eq!(on_day(1), [true, false]);
        assert_eq!(on_day(3), [true, false]);
        assert_eq!(on_day(4), [false, true]);
        assert_eq!(on_day(7), [false, true]);
        assert_eq!(on_day(8), [false, false]);
    }

    #[test]
    fn br27_a_day_of_25_hours_is_one_day() {
        // 2024-10-27 in Berlin has 25 hours: 24 hours after its first moment it is still the same date.
        let start = [moment(at("2024-10-26T22:00:00Z"), 1)];
        let back = [moment(at("2024-10-27T22:30:00Z"), 2)];
        let found = cohorts(&rules(Cells::On(1), false), Period::Day, "Europe/Berlin", &start, &back);
        assert_eq!(found, [("2024-10-27".to_owned(), vec![true, false])]);
        let found = cohorts(&rules(Cells::On(1), true), Period::Day, "Europe/Berlin", &start, &back);
        assert_eq!(found[0].1, [false, true]);
    }

    #[test]
    fn a_cell_is_complete_when_its_time_is_over_for_all_of_the_cohort() {
        let periods = Periods::new(Period::Day, parse_zone("Africa/Cairo").unwrap());
        let mut days = periods.clone();
        let cohort = days.index(Micros(at("2025-04-24T12:00:00Z")));
        // Day 1 is 25 April, which ends at 21:00Z.
        let calendar = rules(Cells::On(3), false);
        assert!(!calendar.is_complete(cohort, 1, at("2025-04-25T20:59:59Z"), &periods));
        assert!(calendar.is_complete(cohort, 1, at("2025-04-25T21:00:00Z"), &periods));
        // Rolling, the last person of the 24th may start at 21:59:59Z, and day 1 ends 48 hours later.
        let rolling = rules(Cells::On(3), true);
        assert!(!rolling.is_complete(cohort, 1, at("2025-04-26T21:59:59Z"), &periods));
        assert!(rolling.is_complete(cohort, 1, at("2025-04-26T22:00:00Z"), &periods));
    }

    /// The words of the definition, one by one: no order, no search, no memory.
    fn twin(
        rules: &Rules,
        period: Period,
        zone: crate::time::Zone,
        starts: &[Moment],
        returns: &[Moment],
    ) -> Vec<(i64, Vec<bool>)> {
        let date = |at: i64| zones::local_day(Micros(at), zone).unwrap();
        let number = |at: i64| period.of_day(date(at));
        let mut found: Vec<(i64, Moment)> = Vec::new();
        for start in starts {
            let in_range = start.at >= rules.from && start.at < rules.to;
            let earlier = |one: &&Moment| {
                one.at >= rules.from
                    && (one.at, one.seq) < (start.at, start.seq)
                    && number(one.at) == number(start.at)
            };
            if in_range && !starts.iter().any(|one| earlier(&one)) {
                found.push((number(start.at), *start));
            }
        }
        let after = |start: &Moment, back: &Moment| match rules.rolling {
            true => (back.at - start.at) / period.rolling(),
            false => (number(back.at) - number(start.at)).max(0),
        };
        let counts = |start: &Moment, back: &Moment, cell: usize| {
            let fits = back.at >= start.at
                && back.seq != start.seq
                && (!rules.same_value || back.value == start.value);
            let k = after(start, back);
            fits && match &rules.cells {
                Cells::On(_) => k == cell as i64,
                Cells::OnOrAfter(_) => k >= cell as i64,
                Cells::Brackets(edges) => edges[cell] <= k && k < edges[cell + 1],
            }
        };
        found
            .into_iter()
            .map(|(cohort, start)| {
                let cell = |cell| returns.iter().any(|back| counts(&start, back, cell));
                (cohort, (0..rules.cells.len()).map(cell).collect())
            })
            .collect()
    }

    /// Around the nights on which clocks of these zones change, in steps that make ties likely.
    fn moments(count: usize, first_seq: i64) -> impl Strategy<Value = Vec<Moment>> {
        // 2024-10-20 to 2024-11-12.
        let one = (0i64..550, 0u32..2)
            .prop_map(|(hour, value)| (1_729_382_400 + hour * 3_600 - 1_800 * (hour % 2), value));
        prop::collection::vec(one, 0..count).prop_map(move |mut all| {
            all.sort_unstable();
            let numbered = (first_seq..).zip(all);
            numbered.map(|(seq, (second, value))| Moment { at: second * 1_000_000, seq, value }).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn it_agrees_with_the_words_of_the_definition(
            starts in moments(7, 0),
            mut returns in moments(9, 4),
            (which, rolling, same_value) in (0usize..3, any::<bool>(), any::<bool>()),
            (unit, zone) in (0usize..3, 0usize..3),
            (from, length) in (0i64..24, 1i64..24),
        ) {
            let cells = [Cells::On(5), Cells::OnOrAfter(5), Cells::Brackets(vec![0, 1, 3, 9])][which].clone();
            let period = [Period::Day, Period::Week, Period::Month][unit];
            let zone = parse_zone(["Europe/Berlin", "America/Havana", "UTC"][zone]).unwrap();
            let from = (1_729_382_400 + from * 86_400) * 1_000_000;
            let rules = Rules { cells, rolling, from, to: from + length * 86_400_000_000, same_value };
            // Some events start and return at once.
            returns.extend(starts.iter().copied().filter(|one| one.seq % 2 == 0));
            returns.sort_by_key(|one| (one.at, one.seq));
            let mut periods = Periods::new(period, zone);
            let mut found = Vec::new();
            visit_cohorts(&rules, &mut periods, &starts, &returns, |cohort, _, reached| {
                found.push((cohort, reached.to_vec()));
            });
            prop_assert_eq!(&found, &twin(&rules, period, zone, &starts, &returns));
            for (_, reached) in &found {
                if matches!(rules.cells, Cells::OnOrAfter(_)) {
                    prop_assert!(reached.is_sorted_by(|one, next| one >= next), "unbounded retention rises");
                }
            }
        }
    }
}
