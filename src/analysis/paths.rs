//! Paths: what persons do next after an event, or did before one, as a tree of the most frequent steps.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use serde::Deserialize;
use serde::Serialize;

use crate::analysis::events::Events;
use crate::analysis::ground::Ground;
use crate::analysis::ground::ScopeWords;
use crate::analysis::history::Hit;
use crate::analysis::history::Values;
use crate::analysis::history::Wanted;
use crate::analysis::history::first_hits;
use crate::analysis::history::hits;
use crate::analysis::history::take_person;
use crate::analysis::segment::Span;
use crate::analysis::segment::SpanUnit;
use crate::analysis::table::Table;
use crate::error::Error;
use crate::error::Result;
use crate::quote::literal;
use crate::sequence::paths::Reach;
use crate::sequence::paths::Step;
use crate::sequence::paths::Stop;
use crate::sequence::paths::path;

/// What is asked about paths.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathsRequest {
    /// The event at which every path begins or, with `to_it`, ends: the first one of each person in the range.
    pub anchor: Events,
    #[serde(default)]
    pub to_it: bool,
    /// 3 when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// The events that are steps; all when none are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub through: Vec<Events>,
    /// What a step is called, as an expression in SQL on the events of `through`; its definition when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// How far from the anchor steps may lie; a day when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
    /// How many branches a step has before the others share one; 5 when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top: Option<usize>,
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

/// The most steps: a tree that is wider than a screen says nothing.
const MOST_STEPS: usize = 20;

/// A node of the tree: how many persons came here, after how long, and where they went.
#[derive(Debug, Default)]
struct Node {
    times: Vec<i64>,
    next: BTreeMap<u32, Node>,
}

impl Node {
    fn add(&mut self, steps: &[Step]) {
        if let [step, rest @ ..] = steps {
            let node = self.next.entry(step.label).or_default();
            node.times.push(step.after);
            node.add(rest);
        }
    }
}

/// A line of the answer.
struct Line {
    step: i64,
    tree: String,
    path: String,
    persons: usize,
    of_before: usize,
    times: Vec<i64>,
}

pub(crate) async fn answer(request: &PathsRequest, ground: &Ground<'_>) -> Result<RecordBatch> {
    let steps = request.steps.unwrap_or(3);
    if !(1..=MOST_STEPS).contains(&steps) {
        return Err(Error::invalid(format!("a path has 1 to {MOST_STEPS} steps, not {steps}")));
    }
    if request.by.is_some() && request.through.is_empty() {
        return Err(Error::invalid("BY needs THROUGH: the events that have what it names"));
    }
    let scope = ground.scope(ScopeWords {
        from: request.from.as_deref(),
        to: request.to.as_deref(),
        as_of: request.as_of.as_deref(),
        zone: request.zone.as_deref(),
        segment: request.segment.as_deref(),
    })?;
    let reach =
        Reach { steps, window: request.within.unwrap_or(Span { count: 1, unit: SpanUnit::Days }).micros() };
    let mut values = Values::new();
    let wanted = Wanted { events: &request.anchor, from: scope.from, to: scope.end(), value: None };
    let mut anchors = first_hits(ground, &scope, wanted, &mut values).await?;
    if request.by.is_none() {
        let label = values.number(Some(&request.anchor.event));
        anchors.iter_mut().for_each(|hit| hit.value = label);
    }
    let stops = stops(request, ground, &scope, &mut values).await?;
    let mut root = Node::default();
    let mut left = stops.as_slice();
    for anchor in &anchors {
        let of_person = take_person(&mut left, anchor.person);
        let place = of_person.partition_point(|hit| (hit.at, hit.seq) <= (anchor.at, anchor.seq));
        let stop = |hit: &Hit| Stop { at: hit.at, label: hit.value };
        let found = if request.to_it {
            let before = of_person[..place].iter().rev().filter(|hit| hit.seq != anchor.seq);
            path(reach, stop(anchor), before.map(stop))
        } else {
            path(reach, stop(anchor), of_person[place..].iter().map(stop))
        };
        root.times.push(0);
        root.add(&found);
    }
    let mut lines = Vec::new();
    let name = request.anchor.said().to_owned();
    lines.push(Line {
        step: 0,
        tree: name.clone(),
        path: name.clone(),
        persons: root.times.len(),
        of_before: root.times.len(),
        times: Vec::new(),
    });
    let drawing = Drawing { request, values: &values, steps };
    drawing.branches(root, 1, "", &name, &mut lines);
    table(&lines)
}

/// All events that may be steps, in order, with what they are called.
async fn stops(
    request: &PathsRequest,
    ground: &Ground<'_>,
    scope: &crate::analysis::ground::Scope,
    values: &mut Values,
) -> Result<Vec<Hit>> {
    let any = [Events::of("*")];
    let through = if request.through.is_empty() { &any[..] } else { &request.through };
    let mut stops = Vec::new();
    for events in through {
        let name = if events.event == "*" { "\"definitionId\"".to_owned() } else { literal(&events.event) };
        let value = request.by.clone().unwrap_or(name);
        let wanted = Wanted { events, from: None, to: scope.until, value: Some(&value) };
        stops.extend(hits(ground, scope, wanted, values).await?);
    }
    stops.sort_unstable();
    stops.dedup_by_key(|hit| (hit.person, hit.at, hit.seq));
    Ok(stops)
}

struct Drawing<'a> {
    request: &'a PathsRequest,
    values: &'a Values,
    steps: usize,
}

impl Drawing<'_> {
    /// The branches of a node: the most frequent ones, what is left, and those who stopped here.
    fn branches(&self, node: Node, step: usize, indent: &str, path: &str, lines: &mut Vec<Line>) {
        if step > self.steps {
            return;
        }
        let here = node.times.len();
        let went_on: usize = node.next.values().map(|next| next.times.len()).sum();
        let mut next: Vec<(String, Node)> = node
            .next
            .into_iter()
            .map(|(label, node)| (self.values.text(label).unwrap_or("(none)").to_owned(), node))
            .collect();
        next.sort_by(|one, other| (other.1.times.len(), &one.0).cmp(&(one.1.times.len(), &other.0)));
        let top = self.request.top.unwrap_or(5).min(next.len());
        let mut others = Node::default();
        for (_, node) in next.drain(top..) {
            others.times.extend(node.times);
        }
        let mut branches: Vec<(String, Node)> = next;
        if !others.times.is_empty() {
            branches.push(("(other)".to_owned(), others));
        }
        if here > went_on {
            let name = if self.request.to_it { "(begins)" } else { "(ends)" };
            branches.push((name.to_owned(), Node { times: vec![0; here - went_on], next: BTreeMap::new() }));
        }
        let count = branches.len();
        for (place, (name, node)) in branches.into_iter().enumerate() {
            let (corner, bar) = if place + 1 == count { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            let path =
                if self.request.to_it { format!("{name} > {path}") } else { format!("{path} > {name}") };
            let stops = matches!(name.as_str(), "(ends)" | "(begins)");
            let leaf = stops || name == "(other)";
            lines.push(Line {
                step: i64::try_from(step).unwrap_or_default(),
                tree: format!("{indent}{corner}{name}"),
                path: path.clone(),
                persons: node.times.len(),
                of_before: here,
                times: if stops { Vec::new() } else { node.times.clone() },
            });
            if !leaf {
                self.branches(node, step + 1, &format!("{indent}{bar}"), &path, lines);
            }
        }
    }
}

fn table(lines: &[Line]) -> Result<RecordBatch> {
    let share = |line: &Line| {
        (line.of_before > 0).then(|| format!("{:.1}%", 100.0 * line.persons as f64 / line.of_before as f64))
    };
    let median = |line: &Line| {
        let mut times = line.times.clone();
        times.sort_unstable();
        let middle = times.len() / 2;
        let (low, high) = (*times.get(times.len().checked_sub(1)? / 2)?, *times.get(middle)?);
        Some((low + high) as f64 / 2e6)
    };
    Table::default()
        .numbers("step", lines.iter().map(|line| Some(line.step)))
        .texts("tree", lines.iter().map(|line| Some(&line.tree)))
        .numbers("persons", lines.iter().map(|line| i64::try_from(line.persons).ok()))
        .texts("of_step_before", lines.iter().map(share))
        .decimals("median_seconds", lines.iter().map(median))
        .texts("path", lines.iter().map(|line| Some(&line.path)))
        .batch()
}
