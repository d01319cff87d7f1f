//! What is kept of the events behind an aggregate: for each day the tally of each person, and near the ends of the stretch
//! of time the events themselves.
//!
//! Each block says which files it was read from. Files never change, so a block is right for as long as all of them are in
//! the snapshot; when one is gone (compaction, forgetting, retention) the others of the block are read again.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::mem;
use std::sync::Arc;

use arrow::array::Array;
use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::datatypes::Float64Type;
use arrow::datatypes::Int64Type;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;
use futures::StreamExt;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use crate::analysis::attributes::Over;
use crate::analysis::attributes::stretch::Moves;
use crate::analysis::attributes::stretch::Stretch;
use crate::analysis::attributes::stretch::pieces;
use crate::analysis::events::Events;
use crate::analysis::events::in_condition;
use crate::error::Context;
use crate::error::Result;
use crate::ids::PersonId;
use crate::person::Aliases;
use crate::quote::quoted;
use crate::sequence::tally::Dated;
use crate::sequence::tally::Decimal;
use crate::sequence::tally::Plan;
use crate::sequence::tally::Scalar;
use crate::sequence::tally::Tally;
use crate::storage::People;
use crate::storage::snapshot::DataFile;
use crate::storage::snapshot::Snapshot;
use crate::storage::snapshot::TableFiles;
use crate::time::Day;
use crate::time::Micros;
use crate::time::Zone;

/// Days older than this are put together, if no end of the stretch will ever come there again.
const SETTLED_AFTER: i32 = 40;
/// So many of them, by their number.
const SETTLED_TOGETHER: i32 = 32;

/// Which events count, and what is made of them.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) plan: Plan,
    pub(crate) events: Events,
    pub(crate) property: Option<String>,
}

/// What is known of the events.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    paths: Vec<String>,
    first: Day,
    last: Day,
    held: Held,
}

#[derive(Debug)]
enum Held {
    Events(Vec<(i64, Dated)>),
    Pieces(Vec<Piece>),
}

/// A piece of time that is all in the stretch or all out.
#[derive(Debug)]
struct Piece {
    start: i64,
    end: i64,
    tallies: HashMap<i64, Tally>,
}

impl Block {
    fn start(&self) -> i64 {
        self.first.start().0
    }

    fn end(&self) -> i64 {
        Day(self.last.0 + 1).start().0
    }

    fn add(&mut self, plan: Plan, person: i64, event: Dated) {
        match &mut self.held {
            Held::Events(events) => events.push((person, event)),
            Held::Pieces(pieces) => {
                if let Some(piece) =
                    pieces.iter_mut().find(|piece| piece.start <= event.at && event.at < piece.end)
                {
                    put(plan, &mut piece.tallies, person, Tally::of(plan, event));
                }
            }
        }
    }

    /// Whether it is held in the way that the stretch needs.
    fn fits(&self, stretch: &Stretch) -> bool {
        match &self.held {
            Held::Events(_) => true,
            Held::Pieces(pieces) => !pieces.iter().any(|piece| stretch.cuts(piece.start, piece.end)),
        }
    }
}

fn put(plan: Plan, tallies: &mut HashMap<i64, Tally>, person: i64, tally: Tally) {
    match tallies.entry(person) {
        Entry::Occupied(mut known) => known.get_mut().merge(plan, tally),
        Entry::Vacant(place) => {
            place.insert(tally);
        }
    }
}

/// An empty block of one day.
fn block(day: Day, stretch: &Stretch, zone: Zone) -> Block {
    let pieces = pieces(day, zone);
    let held = if pieces.iter().any(|(start, end)| stretch.cuts(*start, *end)) {
        Held::Events(Vec::new())
    } else {
        let empty = |(start, end)| Piece { start, end, tallies: HashMap::new() };
        Held::Pieces(pieces.into_iter().map(empty).collect())
    };
    Block { paths: Vec::new(), first: day, last: day, held }
}

impl Kept {
    /// Brings what is kept in line with the files of the snapshot and with the time; says how many files were read.
    pub(crate) async fn catch_up(
        &mut self,
        wanted: &Wanted,
        stretch: &Stretch,
        over: &Over<'_>,
    ) -> Result<usize> {
        let table = over.snapshot.tables.get(&wanted.events.event);
        let files = table.map(|table| table.files.as_slice()).unwrap_or_default();
        let ends = |day: Day| (day.start().0, Day(day.0 + 1).start().0);
        let counts = |file: &&DataFile| {
            let (start, end) = ends(file.day);
            stretch.touches(start, end)
        };
        let there: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
        self.blocks.retain(|block| {
            stretch.touches(block.start(), block.end())
                && block.fits(stretch)
                && block.paths.iter().all(|path| there.contains(path.as_str()))
        });
        for known in &mut self.blocks {
            let Held::Events(events) = &mut known.held else { continue };
            // An end was in this day and has moved on.
            let mut next = block(known.first, stretch, over.zone);
            if matches!(next.held, Held::Pieces(_)) {
                for (person, event) in mem::take(events) {
                    next.add(wanted.plan, person, event);
                }
                known.held = next.held;
            }
        }
        let seen: HashSet<&str> =
            self.blocks.iter().flat_map(|block| &block.paths).map(String::as_str).collect();
        let unread: Vec<DataFile> =
            files.iter().filter(counts).filter(|file| !seen.contains(file.path.as_str())).cloned().collect();
        let read = unread.len();
        if let (false, Some(table)) = (unread.is_empty(), table) {
            let new = read_files(wanted, stretch, over, table, unread).await?;
            self.blocks.extend(new);
        }
        self.settle(wanted.plan, stretch, over.now);
        Ok(read)
    }

    /// Old days become one, so that what is kept does not grow with every day.
    fn settle(&mut self, plan: Plan, stretch: &Stretch, now: Micros) {
        if stretch.starts != Moves::Never {
            return;
        }
        let old = Day::of(now).0 - SETTLED_AFTER;
        let mut groups: BTreeMap<i32, Vec<Block>> = BTreeMap::new();
        let mut others = Vec::new();
        for block in mem::take(&mut self.blocks) {
            let is_settled = matches!(block.held, Held::Pieces(_))
                && block.last.0 < old
                && stretch.covers(block.start(), block.end());
            if is_settled {
                groups.entry(block.first.0.div_euclid(SETTLED_TOGETHER)).or_default().push(block);
            } else {
                others.push(block);
            }
        }
        for mut group in groups.into_values() {
            let Some(mut whole) = group.pop() else { continue };
            if !group.is_empty() {
                let mut tallies = HashMap::new();
                for block in std::iter::once(&mut whole).chain(&mut group) {
                    let Held::Pieces(pieces) = &mut block.held else { continue };
                    for piece in pieces {
                        for (person, tally) in mem::take(&mut piece.tallies) {
                            put(plan, &mut tallies, person, tally);
                        }
                    }
                }
                for block in group {
                    whole.paths.extend(block.paths);
                    whole.first = whole.first.min(block.first);
                    whole.last = whole.last.max(block.last);
                }
                let (start, end) = (whole.start(), whole.end());
                whole.held = Held::Pieces(vec![Piece { start, end, tallies }]);
            }
            others.push(whole);
        }
        self.blocks = others;
    }

    /// What the events of each person amount to, after what was merged by then is put together.
    pub(crate) fn tallies(&self, plan: Plan, stretch: &Stretch, over: &Over<'_>) -> HashMap<i64, Tally> {
        let persons = &over.snapshot.persons;
        let mut all = HashMap::new();
        let mut add = |person: i64, tally: Tally| {
            put(plan, &mut all, persons.resolve(PersonId(person)).0, tally);
        };
        for block in &self.blocks {
            match &block.held {
                Held::Events(events) => {
                    for (person, event) in events.iter().filter(|(_, event)| stretch.contains(event.at)) {
                        add(*person, Tally::of(plan, event.clone()));
                    }
                }
                Held::Pieces(pieces) => {
                    let inside = pieces.iter().filter(|piece| stretch.covers(piece.start, piece.end));
                    for (person, tally) in inside.flat_map(|piece| &piece.tallies) {
                        add(*person, tally.clone());
                    }
                }
            }
        }
        all
    }

    /// Until when the tallies stay the same, if no file comes or goes.
    pub(crate) fn until(&self, stretch: &Stretch, over: &Over<'_>) -> i64 {
        let mut until = stretch.next_jump(over.now, over.zone);
        for edge in stretch.steady_edges() {
            // An end comes into another day, or passes an event of this one.
            let day = Day::of(Micros(edge));
            let mut next = pieces(day, over.zone)
                .into_iter()
                .map(|(_, end)| end)
                .find(|end| *end > edge)
                .unwrap_or(edge + 1);
            for block in self.blocks.iter().filter(|block| block.first <= day && day <= block.last) {
                if let Held::Events(events) = &block.held {
                    let later = events.iter().map(|(_, event)| event.at + 1).filter(|at| *at > edge);
                    next = next.min(later.min().unwrap_or(next));
                }
            }
            until = until.min(over.now.0.saturating_add(next - edge));
        }
        until
    }
}

/// The files as blocks, one a day.
async fn read_files(
    wanted: &Wanted,
    stretch: &Stretch,
    over: &Over<'_>,
    table: &TableFiles,
    files: Vec<DataFile>,
) -> Result<Vec<Block>> {
    let mut blocks: BTreeMap<Day, Block> = BTreeMap::new();
    for file in &files {
        let block = blocks.entry(file.day).or_insert_with(|| block(file.day, stretch, over.zone));
        block.paths.push(file.path.clone());
    }
    let table = TableFiles { definition: Arc::clone(&table.definition), files };
    let snapshot = Arc::new(Snapshot {
        registry: Arc::clone(&over.snapshot.registry),
        persons: Arc::new(over.snapshot.persons.merged_as(Aliases::default())),
        people: People::default(),
        tables: BTreeMap::from([(wanted.events.event.clone(), Arc::new(table))]),
        index: Arc::clone(&over.snapshot.index),
    });
    let session = (over.open)(snapshot)?;
    let said = |error| in_condition(wanted.events.said(), error);
    let mut rows = session.ask(&select(wanted)?).await.map_err(said)?;
    while let Some(batch) = rows.next().await {
        take(wanted.plan, &batch.map_err(said)?, &mut blocks)?;
    }
    Ok(blocks.into_values().collect())
}

/// The question for the events: person, time, number and value.
pub(crate) fn select(wanted: &Wanted) -> Result<String> {
    let value = wanted.property.as_ref().map(|name| format!(", {} AS \"value\"", quoted(name)));
    let filter = wanted.events.condition()?.map(|condition| format!(" WHERE {condition}"));
    Ok(format!(
        "SELECT \"personId\", \"occurredTime\", \"seq\"{} FROM {}{}",
        value.unwrap_or_default(),
        wanted.events.table(),
        filter.unwrap_or_default()
    ))
}

fn take(plan: Plan, batch: &RecordBatch, blocks: &mut BTreeMap<Day, Block>) -> Result<()> {
    let persons = batch.column(0).as_primitive::<Int64Type>();
    let times = batch.column(1).as_primitive::<TimestampMicrosecondType>();
    let seqs = batch.column(2).as_primitive::<Int64Type>();
    let values = match batch.columns().get(3) {
        Some(column) => scalars(column)?,
        None => vec![None; batch.num_rows()],
    };
    for (row, value) in values.into_iter().enumerate() {
        let event = Dated { at: times.value(row), seq: seqs.value(row), value };
        if let Some(block) = blocks.get_mut(&Day::of(Micros(event.at))) {
            block.add(plan, persons.value(row), event);
        }
    }
    Ok(())
}

fn scalars(column: &Arc<dyn Array>) -> Result<Vec<Option<Scalar>>> {
    Ok(match column.data_type() {
        DataType::Int64 => {
            let numbers = column.as_primitive::<Int64Type>();
            numbers.iter().map(|one| one.map(|one| Scalar::Whole(one.into()))).collect()
        }
        DataType::Float64 => {
            let numbers = column.as_primitive::<Float64Type>();
            numbers.iter().map(|one| one.map(|one| Scalar::Decimal(Decimal::new(one)))).collect()
        }
        DataType::Boolean => column.as_boolean().iter().map(|one| one.map(Scalar::Truth)).collect(),
        DataType::Timestamp(..) => {
            let times = column.as_primitive::<TimestampMicrosecondType>();
            times.iter().map(|one| one.map(Scalar::Moment)).collect()
        }
        _ => {
            let texts = cast(column, &DataType::Utf8)
                .internal(|| "could not read the values of a property as texts".to_owned())?;
            let texts = texts.as_string::<i32>();
            // Many events have the value of the one before.
            let mut last: Option<Arc<str>> = None;
            let mut shared = |text: &str| -> Arc<str> {
                let known = last.take().filter(|known| known.as_ref() == text);
                let shared = known.unwrap_or_else(|| text.into());
                last = Some(Arc::clone(&shared));
                shared
            };
            texts.iter().map(|one| one.map(|one| Scalar::Text(shared(one)))).collect()
        }
    })
}
