//! How long it took, by how many: the bars of a histogram, exact to the microsecond, and the table of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::BooleanArray;
use arrow::array::Date32Array;
use arrow::array::Float64Array;
use arrow::array::Int64Array;
use arrow::array::StringViewArray;
use arrow::record_batch::RecordBatch;

use crate::analysis::funnel::answer::cells;
use crate::analysis::funnel::answer::count;
use crate::analysis::funnel::answer::percent;
use crate::analysis::funnel::answer::seconds;
use crate::analysis::funnel::question::FunnelQuestion;
use crate::analysis::funnel::question::Part;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Where bars start when nothing is said: people tell seconds apart where it took seconds, and days where it took days.
const LADDER: [i64; 22] = [
    0,
    SECOND,
    5 * SECOND,
    15 * SECOND,
    30 * SECOND,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    20 * MINUTE,
    40 * MINUTE,
    HOUR,
    2 * HOUR,
    4 * HOUR,
    8 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    4 * DAY,
    7 * DAY,
    14 * DAY,
    30 * DAY,
];

/// More bars than that tell nobody anything.
const MOST: i64 = 10_000;

/// What a time is written in.
const UNITS: [(i64, &str); 6] =
    [(DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s"), (1_000, "ms"), (1, "µs")];

/// The bars of a histogram, numbered from 0: each holds its start and not its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Bars {
    #[default]
    Ladder,
    Every(i64),
}

impl Bars {
    pub(crate) fn of(every: Option<i64>) -> Result<Self> {
        match every {
            None => Ok(Self::Ladder),
            Some(every) if every > 0 => Ok(Self::Every(every)),
            Some(_) => Err(Error::invalid("a bar of a histogram is for some time, such as EVERY 10 MINUTES")),
        }
    }

    /// The number of the bar that a time belongs to.
    fn bar(self, took: i64) -> i64 {
        match self {
            Self::Ladder => count(LADDER.partition_point(|start| *start <= took) as u64) - 1,
            Self::Every(every) => took.div_euclid(every),
        }
    }

    /// Where a bar starts and where it ends; the last of the ladder does not.
    fn edges(self, bar: i64) -> (i64, Option<i64>) {
        match self {
            Self::Ladder => {
                let start = |bar: i64| usize::try_from(bar).ok().and_then(|bar| LADDER.get(bar)).copied();
                (start(bar).unwrap_or_default(), start(bar + 1))
            }
            Self::Every(every) => (bar.saturating_mul(every), Some((bar + 1).saturating_mul(every))),
        }
    }

    fn said(self, bar: i64) -> String {
        match self.edges(bar) {
            (start, Some(end)) => format!("{} to {}", said(start), said(end)),
            (start, None) => format!("{} or more", said(start)),
        }
    }
}

fn said(micros: i64) -> String {
    let unit = UNITS.iter().find(|(unit, _)| micros % unit == 0);
    match unit {
        _ if micros == 0 => "0".to_owned(),
        Some((unit, name)) => format!("{} {name}", micros / unit),
        None => format!("{micros} µs"),
    }
}

/// How many took how long to the step: all bars from the first that has somebody to the last.
pub(crate) fn histogram(question: &FunnelQuestion, parts: Vec<Part>) -> Result<RecordBatch> {
    let (bars, step) = (question.read.bars, question.request.timed_step() - 1);
    let mut counted = Vec::new();
    for (key, cell) in cells(question, parts) {
        let mut counts: BTreeMap<i64, u64> = BTreeMap::new();
        for took in &cell.took[step] {
            *counts.entry(bars.bar(*took)).or_default() += 1;
        }
        counted.push((key, cell.took[step].len() as u64, counts));
    }
    let all = || counted.iter().flat_map(|(_, _, counts)| counts.keys().copied());
    let (first, last) = (all().min().unwrap_or(0), all().max().unwrap_or(-1));
    if last - first >= MOST {
        let message = format!(
            "the histogram would have {} bars; make each wider with EVERY, or leave EVERY out",
            last - first + 1
        );
        return Err(Error::invalid(message));
    }
    let rows = || counted.iter().flat_map(|cell| (first..=last).map(move |bar| (cell, bar)));
    let here = |counts: &BTreeMap<i64, u64>, bar: i64| counts.get(&bar).copied().unwrap_or(0);
    let mut columns: Vec<ArrayRef> = Vec::new();
    if question.request.per.is_some() {
        let days = rows().map(|(((bucket, _), ..), _)| question.local_day(*bucket));
        columns.push(Arc::new(days.collect::<Vec<_>>().into_iter().map(Some).collect::<Date32Array>()));
        let complete = rows().map(|(((bucket, _), ..), _)| Some(question.is_complete(*bucket)));
        columns.push(Arc::new(complete.collect::<BooleanArray>()));
    }
    if question.request.by.is_some() {
        let values = rows().map(|(((_, value), ..), _)| value.as_deref());
        columns.push(Arc::new(values.collect::<StringViewArray>()));
    }
    let spans = rows().map(|(_, bar)| Some(bars.said(bar)));
    columns.push(Arc::new(spans.collect::<StringViewArray>()));
    let starts = rows().map(|(_, bar)| Some(seconds(bars.edges(bar).0)));
    columns.push(Arc::new(starts.collect::<Float64Array>()));
    let ends = rows().map(|(_, bar)| bars.edges(bar).1.map(seconds));
    columns.push(Arc::new(ends.collect::<Float64Array>()));
    let counts = rows().map(|((_, _, counts), bar)| Some(count(here(counts, bar))));
    columns.push(Arc::new(counts.collect::<Int64Array>()));
    let shares = rows().map(|((_, whole, counts), bar)| percent(here(counts, bar), *whole));
    columns.push(Arc::new(shares.collect::<Float64Array>()));
    let schema = Arc::clone(&question.schema);
    RecordBatch::try_new(schema, columns).internal(|| "could not build the histogram of a funnel".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_holds_its_start_and_not_its_end_and_bars_follow_each_other() {
        for bars in [Bars::Ladder, Bars::Every(7 * SECOND), Bars::Every(1)] {
            for took in
                (0..200).chain((0..4_000).map(|at| at * 900_000_007)).chain(LADDER).chain([i64::MAX / 2])
            {
                let bar = bars.bar(took);
                let (start, end) = bars.edges(bar);
                assert!(start <= took && end.is_none_or(|end| took < end), "{bars:?} {took}");
                assert!(end.is_none_or(|end| bars.edges(bar + 1).0 == end), "{bars:?} {took}");
            }
        }
        assert!(LADDER.is_sorted());
    }

    #[test]
    fn a_bar_says_what_it_is_for() {
        let first = |bars: Bars| (0..3).map(|bar| bars.said(bar)).collect::<Vec<_>>();
        assert_eq!(first(Bars::Ladder), ["0 to 1 s", "1 s to 5 s", "5 s to 15 s"]);
        assert_eq!(first(Bars::Every(90 * MINUTE)), ["0 to 90 min", "90 min to 3 h", "3 h to 270 min"]);
        assert_eq!(first(Bars::Every(1_500)), ["0 to 1500 µs", "1500 µs to 3 ms", "3 ms to 4500 µs"]);
        assert_eq!(Bars::Ladder.said(21), "30 d or more");
        assert!(Bars::of(Some(0)).unwrap_err().to_string().contains("EVERY 10 MINUTES"));
    }
}
