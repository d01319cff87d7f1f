//! Trends: measures of events over time, several at once, with what is computed from them.

mod buckets;
mod formula;
mod series;

use std::collections::BTreeMap;
use std::collections::HashMap;

use arrow::array::Array;
use arrow::array::AsArray;
use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::datatypes::Float64Type;
use arrow::datatypes::SchemaRef;
use arrow::datatypes::TimestampMicrosecondType;
use chrono::DateTime;
use futures::StreamExt;
use serde::Deserialize;
use serde::Serialize;

use crate::analysis::days;
use crate::analysis::events::condition;
use crate::analysis::events::heading;
use crate::analysis::events::in_condition;
use crate::analysis::ground::Ground;
use crate::analysis::ground::Scope;
use crate::analysis::ground::words_of;
use crate::analysis::table::Table;
use crate::analysis::trend::buckets::buckets;
use crate::analysis::trend::buckets::end_of;
use crate::analysis::trend::formula::Formula;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::quote::literal;
use crate::time::Day;
use crate::time::Micros;
use crate::time::Zone;
use crate::time::zones;
use crate::time::zones::Width;

pub use series::Measure;
pub use series::Series;

/// Measures over time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrendRequest {
    pub series: Vec<Series>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formulas: Vec<Named>,
    /// `15 minutes`, `hour`, `day`, `week`, `month`, …; a day when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<String>,
    /// An expression in SQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The values with the greatest totals of the first series have rows of their own, the others share one. 10 when it
    /// is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top: Option<usize>,
    /// The average of so many buckets up to each one, beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<usize>,
    /// The same range before, beside it.
    #[serde(default)]
    pub compare: bool,
    /// Everything since the start of the range.
    #[serde(default)]
    pub cumulative: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<String>,
}

/// A formula between series, and what its column is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    pub formula: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A value of the breakdown: one of the top, or what is left.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Slice {
    Value(Option<String>),
    Other,
}

/// What one query found: the value of a slice in a bucket.
type Points = HashMap<(Slice, i64), Option<f64>>;

/// A line of the answer: a value for each bucket.
type Line = Vec<Option<f64>>;

const OTHER: &str = "(other)";

/// The columns of the answer.
pub(crate) fn schema(request: &TrendRequest) -> Result<SchemaRef> {
    let before = request.compare.then(BTreeMap::new);
    Ok(Chart::new(request)?.table(Zone::UTC, &[], &[], &BTreeMap::new(), before.as_ref())?.schema())
}

pub(crate) async fn answer(request: &TrendRequest, ground: &Ground) -> Result<RecordBatch> {
    let scope = ground.scope(words_of!(request))?;
    Trend { request, ground, scope, chart: Chart::new(request)? }.answer().await
}

/// What is drawn.
struct Chart<'a> {
    request: &'a TrendRequest,
    width: Width,
    formulas: Vec<Formula>,
    names: Vec<String>,
}

struct Trend<'a> {
    request: &'a TrendRequest,
    ground: &'a Ground,
    scope: Scope,
    chart: Chart<'a>,
}

impl Trend<'_> {
    async fn answer(&self) -> Result<RecordBatch> {
        let top = self.top().await?;
        let range = (self.scope.from, self.scope.end());
        let found = self.points(range, top.as_deref()).await?;
        let Some(starts) = self.starts(range, &found)? else {
            let none = BTreeMap::new();
            let before = self.request.compare.then_some(&none);
            return self.chart.table(self.scope.zone, &[], &[], &none, before);
        };
        let slices = slices(&found, top.as_deref());
        let lines = self.chart.lines(&found, &slices, &starts);
        let before = if self.request.compare {
            let (starts, range) = self.before(&starts, range)?;
            let found = self.points(range, top.as_deref()).await?;
            Some(self.chart.lines(&found, &slices, &starts))
        } else {
            None
        };
        self.chart.table(self.scope.zone, &starts, &slices, &lines, before.as_ref())
    }

    /// The expression that the answer is broken down by, in SQL.
    fn by(&self) -> Result<Option<String>> {
        let by = self.request.by.as_deref().map(condition).transpose()?;
        Ok(by.map(|by| format!("CAST({by} AS VARCHAR)")))
    }

    /// The values with the greatest totals of the first series in the range, greatest first.
    async fn top(&self) -> Result<Option<Vec<String>>> {
        let Some(by) = self.by()? else { return Ok(None) };
        let series = &self.request.series[0];
        let columns = format!("{by} AS \"slice\", {} AS \"total\"", series.aggregate()?);
        let range = (self.scope.from, self.scope.end());
        let sql = self.scope.select(&columns, &series.events, range, Some(format!("{by} IS NOT NULL")))?;
        let limit = self.request.top.unwrap_or(10);
        let sql = format!("{sql} GROUP BY 1 ORDER BY 2 DESC NULLS LAST, 1 LIMIT {limit}");
        let mut top = Vec::new();
        let said = |error| in_condition(series.events.said(), error);
        let mut rows = self.ground.ask(&sql).await.map_err(said)?;
        while let Some(batch) = rows.next().await {
            let texts = texts(batch.map_err(said)?.column(0))?;
            top.extend(texts.into_iter().flatten());
        }
        Ok(Some(top))
    }

    /// The points of every series.
    async fn points(
        &self,
        range: (Option<Micros>, Option<Micros>),
        top: Option<&[String]>,
    ) -> Result<Vec<Points>> {
        let mut all = Vec::new();
        for series in &self.request.series {
            if let Some(points) = self.persons_by_days(series, range).await? {
                all.push(points);
                continue;
            }
            let sql = self.query(series, range, top)?;
            let said = |error| in_condition(series.events.said(), error);
            let mut rows = self.ground.ask(&sql).await.map_err(said)?;
            let mut points = Points::new();
            while let Some(batch) = rows.next().await {
                let batch = batch.map_err(said)?;
                let starts = batch.column(0).as_primitive::<TimestampMicrosecondType>();
                let values = batch.column(1).as_primitive::<Float64Type>();
                let slices = match batch.columns().get(2) {
                    Some(column) => texts(column)?,
                    None => vec![None; batch.num_rows()],
                };
                let others = batch.columns().get(3).map(|column| column.as_boolean());
                for (row, slice) in slices.into_iter().enumerate() {
                    let other = others.is_some_and(|others| others.value(row));
                    let slice = if other { Slice::Other } else { Slice::Value(slice) };
                    let value = values.is_valid(row).then(|| values.value(row));
                    points.insert((slice, starts.value(row)), value);
                }
            }
            all.push(points);
        }
        Ok(all)
    }

    /// Persons of buckets of whole days, from the indexes beside the files; none where they cannot tell.
    async fn persons_by_days(
        &self,
        series: &Series,
        (from, to): (Option<Micros>, Option<Micros>),
    ) -> Result<Option<Points>> {
        let scope = Scope { from, to, ..self.scope.clone() };
        let of_days = !matches!(self.chart.width, Width::Minutes(_) | Width::Hours(_));
        let is_plain = series.measure == Measure::Persons && self.request.by.is_none();
        if !is_plain || !of_days || !days::are_whole(&series.events, &scope) {
            return Ok(None);
        }
        let start = |day: Day| {
            let start = zones::bucket_start(day.start(), self.chart.width, scope.zone);
            start.unwrap_or(day.start()).0
        };
        let every = days::days_of(None, None);
        let asked = days::Asked { event: &series.events.event, days: days::days_of(from, to), starts: every };
        let Some(active) = days::active(asked, start, self.ground).await? else { return Ok(None) };
        // Persons count in the bucket of their first event, so that a running sum counts each once.
        let buckets = if self.request.cumulative { 1 } else { usize::MAX };
        let mut points = Points::new();
        for alike in active.iter() {
            for start in alike.periods().take(buckets) {
                let point = points.entry((Slice::Value(None), start)).or_insert(Some(0.0));
                *point = point.map(|sum| sum + alike.persons as f64);
            }
        }
        Ok(Some(points))
    }

    /// One row a bucket and slice: start, value, slice, whether it is the others.
    fn query(
        &self,
        series: &Series,
        range: (Option<Micros>, Option<Micros>),
        top: Option<&[String]>,
    ) -> Result<String> {
        let width = literal(self.request.per.as_deref().unwrap_or("day"));
        let zone = literal(self.scope.zone.name());
        let start = format!("time_bucket({width}, \"occurredTime\", {zone})");
        let slices = match (self.by()?, top) {
            (Some(by), Some(top)) => {
                let known: Vec<String> = top.iter().map(|value| literal(value)).collect();
                let is_other = if known.is_empty() {
                    format!("{by} IS NOT NULL")
                } else {
                    format!("COALESCE({by} NOT IN ({}), FALSE)", known.join(", "))
                };
                Some((format!("CASE WHEN {is_other} THEN NULL ELSE {by} END"), is_other))
            }
            _ => None,
        };
        if self.request.cumulative && series.measure == Measure::Persons {
            // Persons count in the bucket of their first event, so that a running sum counts each once.
            let (columns, group) = match &slices {
                Some((slice, other)) => (format!(", {slice} AS \"slice\", {other} AS \"other\""), ", 3, 4"),
                None => (String::new(), ""),
            };
            let inner = format!("\"personId\" AS \"who\", MIN({start}) AS \"start\"{columns}");
            let inner = self.scope.select(&inner, &series.events, range, None)?;
            let outer = if slices.is_some() { ", \"slice\", \"other\"" } else { "" };
            return Ok(format!(
                "SELECT \"start\", CAST(COUNT(*) AS DOUBLE){outer} FROM ({inner} GROUP BY 1{group}) GROUP BY 1{}",
                if slices.is_some() { ", 3, 4" } else { "" }
            ));
        }
        let (columns, group) = match slices {
            Some((slice, other)) => (format!(", {slice} AS \"slice\", {other} AS \"other\""), ", 3, 4"),
            None => (String::new(), ""),
        };
        let columns = format!("{start} AS \"start\", {} AS \"value\"{columns}", series.aggregate()?);
        Ok(format!("{} GROUP BY 1{group}", self.scope.select(&columns, &series.events, range, None)?))
    }

    /// All buckets of the range; where it is open, from the first event or up to the last.
    fn starts(
        &self,
        range: (Option<Micros>, Option<Micros>),
        found: &[Points],
    ) -> Result<Option<Vec<Micros>>> {
        let starts = || found.iter().flat_map(|points| points.keys().map(|(_, start)| *start));
        let from = range.0.or(starts().min().map(Micros));
        let to = range.1.or(starts().max().map(|start| Micros(start + 1)));
        match (from, to) {
            (Some(from), Some(to)) => buckets(from, to, self.chart.width, self.scope.zone).map(Some),
            _ => Ok(None),
        }
    }

    /// As many buckets before the first one, and the range that they cover.
    #[expect(clippy::type_complexity, reason = "a range of two ends that may be open")]
    fn before(
        &self,
        starts: &[Micros],
        range: (Option<Micros>, Option<Micros>),
    ) -> Result<(Vec<Micros>, (Option<Micros>, Option<Micros>))> {
        let Some(first) = starts.first() else { return Ok((Vec::new(), range)) };
        // The bucket before one holds the moment before its start.
        let mut earlier = Vec::with_capacity(starts.len());
        let mut at = *first;
        for _ in starts {
            let start = zones::bucket_start(Micros(at.0 - 1), self.chart.width, self.scope.zone);
            at = start.ok_or_else(|| {
                Error::invalid("the period before lies outside of the years of the calendar")
            })?;
            earlier.push(at);
        }
        earlier.reverse();
        // A range that ends within a bucket is compared with as much of the one before.
        let into = |last: Micros| range.1.map_or(i64::MAX, |to| to.0.saturating_sub(last.0));
        let last = starts.last().copied().unwrap_or(*first);
        let earlier_last = earlier.last().copied().unwrap_or(*first);
        let whole = end_of(last, self.chart.width, self.scope.zone)?.0 - last.0 <= into(last);
        let end = if whole { *first } else { Micros((earlier_last.0 + into(last)).min(first.0)) };
        let from = range.0.map_or(earlier[0], |from| Micros(earlier[0].0 + (from.0 - first.0).max(0)));
        Ok((earlier, (Some(from), Some(end))))
    }
}

impl<'a> Chart<'a> {
    fn new(request: &'a TrendRequest) -> Result<Self> {
        if request.series.is_empty() {
            return Err(Error::invalid("a trend needs at least one series"));
        }
        let sums = [Measure::Count, Measure::Persons, Measure::Sum];
        if request.cumulative && request.series.iter().any(|one| !sums.contains(&one.measure)) {
            return Err(Error::invalid(
                "CUMULATIVE is for counts, persons and sums; leave the other series out",
            ));
        }
        let width = Width::parse(request.per.as_deref().unwrap_or("day"))?;
        let names: Vec<String> = request.series.iter().map(Series::heading).collect();
        let formulas = request.formulas.iter().map(|one| Formula::parse(&one.formula, &names));
        Ok(Self { request, width, formulas: formulas.collect::<Result<_>>()?, names })
    }

    /// Every column of every slice.
    fn lines(&self, found: &[Points], slices: &[Slice], starts: &[Micros]) -> BTreeMap<(usize, usize), Line> {
        let mut lines = BTreeMap::new();
        for (place, slice) in slices.iter().enumerate() {
            for (at, (series, points)) in self.request.series.iter().zip(found).enumerate() {
                let empty = series.is_zero_without_events().then_some(0.0);
                let mut line: Line = starts
                    .iter()
                    .map(|start| points.get(&(slice.clone(), start.0)).copied().unwrap_or(empty).or(empty))
                    .collect();
                if self.request.cumulative {
                    let mut sum = 0.0;
                    line.iter_mut().for_each(|value| {
                        sum += value.unwrap_or_default();
                        *value = Some(sum);
                    });
                }
                lines.insert((place, at), line);
            }
            for (at, formula) in self.formulas.iter().enumerate() {
                let value = |bucket: usize| formula.value(&|series| lines[&(place, series)][bucket]);
                let line: Line = (0..starts.len()).map(value).collect();
                lines.insert((place, self.names.len() + at), line);
            }
        }
        lines
    }

    /// Rows in order of bucket, then slice.
    fn table(
        &self,
        zone: Zone,
        starts: &[Micros],
        slices: &[Slice],
        lines: &BTreeMap<(usize, usize), Line>,
        before: Option<&BTreeMap<(usize, usize), Line>>,
    ) -> Result<RecordBatch> {
        let rows =
            || (0..starts.len()).flat_map(|bucket| (0..slices.len()).map(move |slice| (bucket, slice)));
        let mut table = Table::default();
        table = match self.width {
            Width::Minutes(_) | Width::Hours(_) => {
                let local = rows().map(|(bucket, _)| Some(local_text(starts[bucket], zone)));
                table.times("start", rows().map(|(bucket, _)| Some(starts[bucket].0))).texts("local", local)
            }
            _ => {
                let name = self
                    .request
                    .per
                    .as_deref()
                    .unwrap_or("day")
                    .trim()
                    .trim_start_matches("1 ")
                    .to_lowercase();
                table.days(name, rows().map(|(bucket, _)| zones::local_day(starts[bucket], zone)))
            }
        };
        if let Some(by) = &self.request.by {
            let value = |(_, slice): (usize, usize)| match &slices[slice] {
                Slice::Value(value) => value.clone(),
                Slice::Other => Some(OTHER.to_owned()),
            };
            table = table.texts(heading(by), rows().map(value));
        }
        let formula_names =
            self.request.formulas.iter().map(|one| one.name.clone().unwrap_or_else(|| one.formula.clone()));
        for (at, name) in self.names.iter().cloned().chain(formula_names).enumerate() {
            let whole = self.request.series.get(at).is_some_and(Series::is_whole);
            let column = |lines: &BTreeMap<(usize, usize), Line>| -> Line {
                rows().map(|(bucket, slice)| lines[&(slice, at)][bucket]).collect()
            };
            table = add(table, name.clone(), column(lines), whole);
            if let Some(before) = before {
                table = add(table, format!("{name} before"), column(before), whole);
            }
            if let Some(of) = self.request.moving {
                let averages: Vec<Line> =
                    (0..slices.len()).map(|slice| moving(&lines[&(slice, at)], of)).collect();
                let column = rows().map(|(bucket, slice)| rounded(averages[slice][bucket]));
                table = table.decimals(format!("{name}, average of {of}"), column);
            }
        }
        table.batch()
    }
}

/// Twelve digits: the last ones of a sum of decimals depend on the order in which they were added.
fn rounded(value: Option<f64>) -> Option<f64> {
    value.map(|value| format!("{value:.11e}").parse().unwrap_or(value))
}

fn add(table: Table, name: String, values: Line, whole: bool) -> Table {
    if !whole {
        return table.decimals(name, values.into_iter().map(rounded));
    }
    #[expect(clippy::cast_possible_truncation, reason = "counts of events, which are far below 2^53")]
    let whole = |value: f64| value as i64;
    table.numbers(name, values.into_iter().map(|value| value.map(whole)))
}

/// The slices that have rows: the top in its order, then NULL, then the others; one of all where nothing is broken down.
fn slices(found: &[Points], top: Option<&[String]>) -> Vec<Slice> {
    let Some(top) = top else { return vec![Slice::Value(None)] };
    let mut slices: Vec<Slice> = top.iter().map(|value| Slice::Value(Some(value.clone()))).collect();
    for rest in [Slice::Value(None), Slice::Other] {
        if found.iter().any(|points| points.keys().any(|(slice, _)| *slice == rest)) {
            slices.push(rest);
        }
    }
    slices
}

/// The averages of `of` values up to each one; none where there are fewer.
fn moving(line: &Line, of: usize) -> Line {
    let average = |end: usize| {
        let start = (end + 1).checked_sub(of.max(1))?;
        let values: Option<Vec<f64>> = line[start..=end].iter().copied().collect();
        values.map(|values| values.iter().sum::<f64>() / values.len() as f64)
    };
    (0..line.len()).map(average).collect()
}

fn texts(column: &dyn Array) -> Result<Vec<Option<String>>> {
    let texts = cast(column, &DataType::Utf8).internal(|| "could not read values as texts".to_owned())?;
    Ok(texts.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect())
}

/// A moment as clocks of the zone show it, with the offset that tells two equal hours apart.
fn local_text(at: Micros, zone: Zone) -> String {
    let moment = DateTime::from_timestamp_micros(at.0).map(|moment| moment.with_timezone(&zone));
    moment.map_or_else(|| at.to_string(), |moment| moment.format("%Y-%m-%dT%H:%M%:z").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moving_average_needs_all_of_its_values() {
        let line = vec![Some(1.0), Some(3.0), Some(5.0), None, Some(1.0)];
        assert_eq!(moving(&line, 2), [None, Some(2.0), Some(4.0), None, None]);
        assert_eq!(moving(&line, 1), line);
    }

    #[test]
    fn decimals_have_twelve_digits() {
        assert_eq!(rounded(Some(1_071_805.469_999_959_5)), Some(1_071_805.47));
        assert_eq!(rounded(Some(-0.1)), Some(-0.1));
        assert_eq!(rounded(Some(0.0)), Some(0.0));
        assert_eq!(rounded(None), None);
    }

    #[test]
    fn an_hour_that_is_shown_twice_has_two_names() {
        let berlin = crate::time::parse_zone("Europe/Berlin").unwrap();
        let at = |text: &str| local_text(crate::time::parse_instant(text, None).unwrap(), berlin);
        assert_eq!(at("2024-10-27T00:00:00Z"), "2024-10-27T02:00+02:00");
        assert_eq!(at("2024-10-27T01:00:00Z"), "2024-10-27T02:00+01:00");
    }
}
