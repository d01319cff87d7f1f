//! Paths: what persons do next after an event, or did before one, as a tree of the most frequent steps.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::physical_plan::ExecutionPlan;
use serde::Deserialize;
use serde::Serialize;

use crate::analysis::events::Events;
use crate::analysis::ground::Ground;
use crate::analysis::ground::words_of;
use crate::analysis::segment::Span;
use crate::analysis::segment::SpanUnit;
use crate::analysis::table::Table;
use crate::analysis::values::NULL;
use crate::analysis::values::Values;
use crate::analysis::walk::Event;
use crate::analysis::walk::Walk;
use crate::analysis::walk::WalkExec;
use crate::analysis::wanted::Kind;
use crate::analysis::wanted::Wanted;
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

/// What an event may be: the anchor, or (any other bit) a step.
const ANCHOR: u64 = 1;

/// The label of an anchor that is no step's.
const NONE: u32 = u32::MAX;

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

    fn unite(&mut self, mut other: Self) {
        self.times.append(&mut other.times);
        for (label, node) in other.next {
            self.next.entry(label).or_default().unite(node);
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

/// The question with everything looked up.
#[derive(Debug)]
struct Paths {
    request: PathsRequest,
    reach: Reach,
    schema: SchemaRef,
}

/// What one thread has found.
#[derive(Debug, Default)]
struct Part {
    root: Node,
    steps: usize,
}

/// The columns of the answer.
pub(crate) fn schema(request: &PathsRequest) -> Result<SchemaRef> {
    let steps = request.steps.unwrap_or(3);
    if !(1..=MOST_STEPS).contains(&steps) {
        return Err(Error::invalid(format!("a path has 1 to {MOST_STEPS} steps, not {steps}")));
    }
    if request.by.is_some() && request.through.is_empty() {
        return Err(Error::invalid("BY needs THROUGH: the events that have what it names"));
    }
    if request.through.len() > MOST_THROUGH {
        let many = request.through.len();
        return Err(Error::invalid(format!("THROUGH names up to {MOST_THROUGH} events, not {many}")));
    }
    Ok(table(&[])?.schema())
}

/// Each kind of event is a bit, and the anchor is one.
const MOST_THROUGH: usize = 63;

pub(crate) async fn plan(
    request: &PathsRequest,
    ground: &Ground,
    schema: SchemaRef,
) -> Result<Arc<dyn ExecutionPlan>> {
    let scope = ground.scope(words_of!(request))?;
    let window = request.within.unwrap_or(Span { count: 1, unit: SpanUnit::Days }).micros();
    let any = [Events::of("*")];
    let through = if request.through.is_empty() { &any[..] } else { &request.through };
    let names: Vec<String> = through
        .iter()
        .map(|events| match &request.by {
            Some(by) => by.clone(),
            None if events.event == "*" => "\"definitionId\"".to_owned(),
            None => literal(&events.event),
        })
        .collect();
    let mut kinds = vec![Kind { events: &request.anchor, from: scope.from, to: scope.end(), value: None }];
    for (events, name) in through.iter().zip(&names) {
        kinds.push(Kind { events, from: None, to: scope.until, value: Some(name) });
    }
    let only = ground.chosen(&scope).await?;
    let planned = Wanted { kinds, only }.plan(ground).await?;
    let reach = Reach { steps: request.steps.unwrap_or(3), window };
    let paths = Paths { request: request.clone(), reach, schema };
    Ok(Arc::new(WalkExec::new(Arc::new(paths), planned)))
}

impl Walk for Paths {
    type Part = Part;

    fn name(&self) -> &'static str {
        "PathsExec"
    }

    fn said(&self) -> String {
        let direction = if self.request.to_it { "to" } else { "from" };
        format!("{direction} {}, {} steps", self.request.anchor.said(), self.reach.steps)
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn part(&self) -> Part {
        Part::default()
    }

    fn person(&self, part: &mut Part, _person: i64, events: &[Event]) {
        let Some(place) = events.iter().position(|event| event.marks & ANCHOR != 0) else { return };
        // Where steps are definitions, more of the anchor's own are part of it.
        let label = match &self.request.by {
            Some(_) => NULL,
            None if self.request.anchor.event == "*" => NONE,
            None => events[place].value,
        };
        let anchor = Stop { at: events[place].at, label };
        let is_step = |event: &&Event| event.marks & !ANCHOR != 0;
        let stop = |event: &Event| Stop { at: event.at, label: event.value };
        let found = if self.request.to_it {
            path(self.reach, anchor, events[..place].iter().rev().filter(is_step).map(stop))
        } else {
            path(self.reach, anchor, events[place + 1..].iter().filter(is_step).map(stop))
        };
        part.steps += found.len() + 1;
        part.root.times.push(0);
        part.root.add(&found);
    }

    fn bytes(&self, part: &Part) -> usize {
        // In the worst case each step is a node of its own.
        part.steps * (size_of::<Node>() + size_of::<i64>())
    }

    fn answer(&self, parts: Vec<Part>, values: &mut Values) -> Result<RecordBatch> {
        let mut root = Node::default();
        parts.into_iter().for_each(|part| root.unite(part.root));
        let name = self.request.anchor.said().to_owned();
        let persons = root.times.len();
        let mut lines = vec![Line {
            step: 0,
            tree: name.clone(),
            path: name.clone(),
            persons,
            of_before: persons,
            times: Vec::new(),
        }];
        let drawing = Drawing { request: &self.request, values, steps: self.reach.steps };
        drawing.branches(root, 1, "", &name, &mut lines);
        table(&lines)
    }
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
