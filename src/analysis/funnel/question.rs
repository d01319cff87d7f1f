//! What a funnel does with one person: how far, by which events, into which cell of the answer.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::Array;
use arrow::array::AsArray;
use arrow::array::StringViewArray;
use arrow::array::UInt64Array;
use arrow::datatypes::Int64Type;
use arrow::datatypes::SchemaRef;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::datatypes::UInt64Type;
use arrow::record_batch::RecordBatch;
use hashbrown::HashMap;

use crate::analysis::funnel::Counting;
use crate::analysis::funnel::FunnelRequest;
use crate::analysis::funnel::Of;
use crate::analysis::funnel::Per;
use crate::analysis::funnel::answer;
use crate::analysis::funnel::request::Read;
use crate::analysis::hits::FIRST_EXTRA;
use crate::analysis::hits::PERSON;
use crate::analysis::hits::TIME;
use crate::analysis::persons::Question;
use crate::error::Result;
use crate::sequence::Funnel;
use crate::sequence::Hit;
use crate::sequence::Order;
use crate::sequence::Reached;
use crate::time::Micros;
use crate::time::zones::Width;
use crate::time::zones::bucket_start;

/// Where the columns beside person, time and steps are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Places {
    /// What must be the same in all steps; NULL is nothing's.
    pub(crate) held: Option<usize>,
    pub(crate) value: Option<usize>,
    pub(crate) excludes: Option<usize>,
}

#[derive(Debug)]
pub(crate) struct FunnelQuestion {
    pub(crate) request: FunnelRequest,
    pub(crate) read: Read,
    pub(crate) places: Places,
    pub(crate) schema: SchemaRef,
}

/// The number of a text; NULL has one of its own.
pub(crate) type Code = u32;
pub(crate) const NULL: Code = Code::MAX;

/// Texts by number, and numbers by text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    codes: HashMap<String, Code>,
    texts: Vec<String>,
}

impl Words {
    pub(crate) fn code(&mut self, text: &str) -> Code {
        if let Some(code) = self.codes.get(text) {
            return *code;
        }
        // So many different texts do not fit in memory; the last number stands for NULL.
        let code = Code::try_from(self.texts.len()).unwrap_or(NULL);
        self.texts.push(text.to_owned());
        self.codes.insert(text.to_owned(), code);
        code
    }

    /// Takes in the texts of others; says which number each of those has here.
    pub(crate) fn unite(&mut self, others: &Self) -> Vec<Code> {
        others.texts.iter().map(|text| self.code(text)).collect()
    }

    pub(crate) fn text(&self, code: Code) -> Option<&str> {
        self.texts.get(code as usize).map(String::as_str)
    }
}

/// What counts together: the start of the bucket of time, and the value of the breakdown.
pub(crate) type Key = (i64, Code);

/// Counts of one cell. Steps are counted from 0, levels by how many steps were reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    pub(crate) reached: Vec<u64>,
    /// Of those that got so far and no further: who may still go on, and who may not.
    pub(crate) open: Vec<u64>,
    pub(crate) dropped: Vec<u64>,
    /// How long it took from the first step to each, in microseconds.
    pub(crate) took: Vec<Vec<i64>>,
}

impl Cell {
    pub(crate) fn new(steps: usize) -> Self {
        let zeros = vec![0; steps + 1];
        Self { reached: vec![0; steps], open: zeros.clone(), dropped: zeros, took: vec![Vec::new(); steps] }
    }

    pub(crate) fn add(&mut self, mut other: Self) {
        let add = |ours: &mut Vec<u64>, theirs: Vec<u64>| {
            ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| *ours += theirs);
        };
        add(&mut self.reached, other.reached);
        add(&mut self.open, other.open);
        add(&mut self.dropped, other.dropped);
        for (ours, theirs) in self.took.iter_mut().zip(&mut other.took) {
            ours.append(theirs);
        }
    }
}

/// One person, or one attempt or session of one.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) person: i64,
    pub(crate) key: Key,
    pub(crate) level: usize,
    pub(crate) state: State,
    pub(crate) entered: i64,
    pub(crate) last: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Converted,
    InProgress,
    Dropped,
}

/// What one thread has found.
#[derive(Debug)]
pub(crate) struct Part {
    funnel: Funnel,
    pub(crate) words: Words,
    pub(crate) cells: HashMap<Key, Cell>,
    pub(crate) listed: Vec<Listed>,
    times: usize,
    hits: Vec<Hit>,
    values: Vec<Code>,
    buckets: HashMap<i64, i64>,
    chain: Vec<Option<usize>>,
    when: Vec<Option<i64>>,
}

/// The columns of a batch.
struct Columns<'a> {
    person: &'a [i64],
    time: &'a [i64],
    steps: &'a UInt64Array,
    excludes: Option<&'a UInt64Array>,
    held: Option<&'a StringViewArray>,
    value: Option<&'a StringViewArray>,
}

impl Question for FunnelQuestion {
    type Part = Part;

    fn name(&self) -> &'static str {
        "SortedFunnelExec"
    }

    fn said(&self) -> String {
        let within = self.request.within.as_deref().map(|one| format!(", within {one}")).unwrap_or_default();
        format!("steps={}{within}", self.request.steps.len())
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn part(&self) -> Part {
        Part {
            funnel: Funnel::new(self.read.rules.clone()),
            words: Words::default(),
            cells: HashMap::new(),
            listed: Vec::new(),
            times: 0,
            hits: Vec::new(),
            values: Vec::new(),
            buckets: HashMap::new(),
            chain: Vec::new(),
            when: Vec::new(),
        }
    }

    fn take(&self, part: &mut Part, rows: &RecordBatch, persons: &[Range<usize>]) -> Result<()> {
        let numbers = |at: usize| rows.column(at).as_primitive::<UInt64Type>();
        let texts = |at: usize| rows.column(at).as_string_view();
        let columns = Columns {
            person: rows.column(PERSON).as_primitive::<Int64Type>().values(),
            time: rows.column(TIME).as_primitive::<TimestampMicrosecondType>().values(),
            steps: numbers(FIRST_EXTRA),
            excludes: self.places.excludes.map(numbers),
            held: self.places.held.map(texts),
            value: self.places.value.map(texts),
        };
        for one in persons {
            match columns.held {
                None => self.whole(part, &columns, one.clone()),
                Some(held) => self.held(part, &columns, held, one.clone()),
            }
        }
        Ok(())
    }

    fn bytes(&self, part: &Part) -> usize {
        part.times * size_of::<i64>()
            + part.listed.capacity() * size_of::<Listed>()
            + part.cells.len() * (self.request.steps.len() * 48 + 128)
            + part.words.texts.len() * 96
    }

    fn answer(&self, parts: Vec<Part>) -> Result<RecordBatch> {
        answer::table(self, parts)
    }
}

impl FunnelQuestion {
    /// All events of a person together.
    fn whole(&self, part: &mut Part, columns: &Columns<'_>, rows: Range<usize>) {
        let person = columns.person[rows.start];
        let (mut hits, mut values) = (std::mem::take(&mut part.hits), std::mem::take(&mut part.values));
        hits.clear();
        values.clear();
        for row in rows {
            hits.push(hit(columns, row));
            if let Some(value) = columns.value {
                values.push(code(&mut part.words, value, row));
            }
        }
        self.unit(part, person, &hits, &values);
        (part.hits, part.values) = (hits, values);
    }

    /// The events of a person apart by what must be the same in all steps. What has no such value fits no step; an
    /// excluded event without one counts everywhere.
    fn held(&self, part: &mut Part, columns: &Columns<'_>, held: &StringViewArray, rows: Range<usize>) {
        let person = columns.person[rows.start];
        let mut order: Vec<&str> = Vec::new();
        let mut units: HashMap<&str, (Vec<Hit>, Vec<Code>)> = HashMap::new();
        for row in rows.clone().filter(|row| held.is_valid(*row)) {
            units.entry(held.value(row)).or_insert_with(|| {
                order.push(held.value(row));
                (Vec::new(), Vec::new())
            });
        }
        for row in rows {
            let hit = hit(columns, row);
            let value = columns.value.map(|value| code(&mut part.words, value, row));
            if held.is_valid(row) {
                if let Some((hits, values)) = units.get_mut(held.value(row)) {
                    hits.push(hit);
                    values.extend(value);
                }
            } else if hit.excludes != 0 {
                for (hits, values) in units.values_mut() {
                    hits.push(Hit { steps: 0, ..hit });
                    values.extend(value);
                }
            }
        }
        if self.request.counting == Counting::Sessions {
            for one in &order {
                let (hits, values) = &units[one];
                self.unit(part, person, hits, values);
            }
            return;
        }
        // The person comes as far as the best of them does; of equals the one completed first, then started last.
        let ranked = order.iter().map(|one| {
            let reached = part.funnel.reached(&units[one].0);
            ((std::cmp::Reverse(reached.level), reached.last, std::cmp::Reverse(reached.first)), *one)
        });
        let best = ranked.min();
        if self.request.counting == Counting::Totals {
            for one in &order {
                let (hits, values) = &units[one];
                self.unit(part, person, hits, values);
            }
        } else if let Some((_, best)) = best {
            let (hits, values) = &units[best];
            self.unit(part, person, hits, values);
        }
    }

    /// One person, or one session of one.
    pub(crate) fn unit(&self, part: &mut Part, person: i64, hits: &[Hit], values: &[Code]) {
        if self.request.counting == Counting::Totals {
            for attempt in part.funnel.attempts(hits) {
                let values = values.get(attempt.from..).unwrap_or_default();
                self.note(part, person, &hits[attempt.from..], values, &attempt.reached);
            }
        } else {
            let reached = part.funnel.reached(hits);
            self.note(part, person, hits, values, &reached);
        }
    }

    fn note(&self, part: &mut Part, person: i64, hits: &[Hit], values: &[Code], reached: &Reached) {
        if reached.level == 0 || reached.dropped {
            return;
        }
        let (mut chain, mut times) = (std::mem::take(&mut part.chain), std::mem::take(&mut part.when));
        part.funnel.chain(hits, reached, &mut chain);
        times.clear();
        times.extend(chain.iter().map(|one| one.map(|at| hits[at].time)));
        if self.read.rules.order == Order::Any {
            // Steps are counted as they come.
            times.sort_unstable_by_key(|time| time.unwrap_or(i64::MAX));
        }
        let entered = times.first().copied().flatten().unwrap_or(reached.first);
        let key = (self.bucket(part, entered), self.value(&chain, hits, values));
        self.count(part, person, key, reached, &times, entered);
        (part.chain, part.when) = (chain, times);
    }

    fn count(
        &self,
        part: &mut Part,
        person: i64,
        key: Key,
        reached: &Reached,
        times: &[Option<i64>],
        entered: i64,
    ) {
        let steps = self.request.steps.len();
        let state = if reached.level == steps {
            State::Converted
        } else if reached.open_until.is_some_and(|until| until >= self.read.now.0) {
            State::InProgress
        } else {
            State::Dropped
        };
        if self.request.listing.is_some() {
            let last = times.iter().flatten().max().copied().unwrap_or(entered);
            part.listed.push(Listed { person, key, level: reached.level, state, entered, last });
            return;
        }
        let cell = part.cells.entry(key).or_insert_with(|| Cell::new(steps));
        for (step, time) in times.iter().enumerate() {
            // A time is later by order; only a tolerance lets it be earlier by a moment.
            let Some(time) = time else { continue };
            cell.reached[step] += 1;
            if step > 0 {
                cell.took[step].push(time.saturating_sub(entered).max(0));
                part.times += 1;
            }
        }
        match state {
            State::InProgress => cell.open[reached.level] += 1,
            State::Dropped => cell.dropped[reached.level] += 1,
            State::Converted => {}
        }
    }

    /// The start of the bucket of time in which a person enters.
    fn bucket(&self, part: &mut Part, entered: i64) -> i64 {
        let Some(per) = self.request.per else { return 0 };
        // The bucket of an hour is asked for once: zones move by quarters of an hour and never within one.
        let slot = entered.div_euclid(900_000_000);
        *part.buckets.entry(slot).or_insert_with(|| {
            bucket_start(Micros(entered), width(per), self.read.zone).map_or(entered, |start| start.0)
        })
    }

    fn value(&self, chain: &[Option<usize>], hits: &[Hit], values: &[Code]) -> Code {
        let Some(by) = &self.request.by else { return NULL };
        let of = |at: &Option<usize>| at.and_then(|at| values.get(at)).copied().unwrap_or(NULL);
        if let Of::Step(step) = by.of {
            return chain.get(step - 1).map_or(NULL, of);
        }
        let mut places = chain.to_vec();
        if self.read.rules.order == Order::Any {
            places.sort_unstable_by_key(|one| one.map_or(i64::MAX, |at| hits[at].time));
        }
        match by.of {
            Of::Step(step) => places.get(step - 1).map_or(NULL, of),
            Of::First => places.iter().map(of).find(|one| *one != NULL).unwrap_or(NULL),
            Of::Last => places.iter().rev().map(of).find(|one| *one != NULL).unwrap_or(NULL),
            Of::Person | Of::Segment => values.first().copied().unwrap_or(NULL),
        }
    }
}

pub(crate) fn width(per: Per) -> Width {
    match per {
        Per::Day => Width::Day,
        Per::Week => Width::Week,
        Per::Month => Width::Month,
    }
}

fn hit(columns: &Columns<'_>, row: usize) -> Hit {
    let excludes = columns.excludes.map_or(0, |excludes| excludes.value(row));
    Hit { time: columns.time[row], steps: columns.steps.value(row), excludes }
}

pub(crate) fn code(words: &mut Words, values: &StringViewArray, row: usize) -> Code {
    if values.is_valid(row) { words.code(values.value(row)) } else { NULL }
}
