//! Chunks of JSON lines to checked columns: pure thinking, for as many threads as there are.
//!
//! What a chunk alone cannot decide is left open in [`Checked`] and decided by the sequencer, in the order of the
//! input: persons that were not known when the chunk was checked, duplicates, and `seq`.

use std::str::from_utf8;
use std::sync::Arc;

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::StringBuilder;
use arrow::array::TimestampMicrosecondBuilder;
use arrow::datatypes::SchemaRef;
use hashbrown::HashMap;
use memchr::memchr;

use crate::error::Result;
use crate::ids::PersonId;
use crate::ingest::column::ColumnBuilder;
use crate::ingest::column::Slot;
use crate::ingest::fingerprint;
use crate::ingest::plan::Plan;
use crate::ingest::report::Code;
use crate::ingest::report::Refusal;
use crate::ingest::report::Rejection;
use crate::ingest::row::Names;
use crate::ingest::row::Row;
use crate::ingest::row::RowReader;
use crate::ingest::validate::Values;
use crate::ingest::who::Who;
use crate::person::Identifier;
use crate::person::Persons;
use crate::schema::Definition;
use crate::schema::OCCURRED_TIME;
use crate::schema::Registry;
use crate::time::Zone;

/// The most bytes that a row may have, its line end not counted.
pub const ROW_BYTES_LIMIT: usize = 512_000;

/// How rows are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckOptions {
    /// The zone of times without an offset; without one they are refused.
    pub zone: Option<Zone>,
    /// Half a surrogate pair becomes U+FFFD, and the row is not refused for it.
    pub lenient: bool,
}

/// Checks rows against the definitions of one registry.
#[derive(Debug)]
pub struct Checker {
    plans: Vec<Plan>,
    names: Names,
    options: CheckOptions,
}

/// What came of one chunk.
#[derive(Debug, Default)]
pub struct Checked {
    /// Rows that were read; blank lines are none.
    pub rows: u64,
    /// The events, in the order of the input.
    pub(crate) events: Vec<Accepted>,
    /// Their columns, by definition.
    pub(crate) tables: Vec<Table>,
    /// Persons that the index did not know, each once, in the order of the first event of each.
    pub(crate) claims: Vec<Claim>,
    /// The refused rows, in the order of the input.
    pub rejections: Vec<Rejection>,
}

impl Checked {
    /// How many rows may become events; duplicates and unknown persons among them are not known yet.
    pub fn accepted(&self) -> usize {
        self.events.len()
    }

    /// The rows of persons that nobody knows and that may not be created: those with an id of ours, those with an
    /// identifier that creates nobody, and without `create` all.
    pub(crate) fn strangers(&self, create: bool) -> Vec<Rejection> {
        let stranger = |event: &&Accepted| match event.person {
            Doer::Known(_) => false,
            Doer::Claimed(place) => match &self.claims[place] {
                Claim::Id(..) => true,
                Claim::Named(identifier) => !(create && identifier.kind.may_create()),
            },
        };
        let told = |event: &Accepted| {
            let refusal = Refusal::new(Code::UnknownPerson, "nobody is known by this identifier");
            Rejection { row: event.row, refusal, raw: Vec::new() }
        };
        self.events.iter().filter(stranger).map(told).collect()
    }
}

/// An event that is stored unless it is a duplicate or its person turns out to be none. Its columns are the next row
/// of its table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepted {
    pub table: usize,
    pub person: Doer,
    /// Of the event id.
    pub key: u128,
    /// Of what the event says, without the person.
    pub payload: u64,
    pub row: u64,
    /// Where the row stands in its chunk.
    pub bytes: (usize, usize),
}

/// Who did an event, as far as a chunk alone can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doer {
    Known(PersonId),
    /// The place of the claim.
    Claimed(usize),
}

/// A person that the index did not know, as the row gives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Claim {
    /// By our own id; with its external id, if the row gives it too.
    Id(PersonId, Option<String>),
    Named(Identifier),
}

/// The events of one definition in one chunk.
#[derive(Debug)]
pub(crate) struct Table {
    pub definition: Arc<Definition>,
    pub schema: SchemaRef,
    /// `occurredTime, eventId, sessionId`, then the properties.
    pub columns: Vec<ArrayRef>,
    pub rows: usize,
}

impl Checker {
    pub fn new(registry: &Registry, options: CheckOptions) -> Self {
        let plans: Vec<Plan> = registry.iter().map(Plan::new).collect();
        let id = |definition: &Arc<Definition>| definition.id.to_string();
        let names = Names {
            definitions: plans.iter().enumerate().map(|(at, plan)| (id(&plan.definition), at)).collect(),
            templates: registry.templates().map(id).collect(),
        };
        Self { plans, names, options }
    }

    /// Checks a chunk of whole lines, whose first is row `first_row` of `source`. Blank lines count as rows of the
    /// source and are passed over.
    pub fn check_chunk(
        &self,
        lines: &[u8],
        source: &str,
        first_row: u64,
        persons: &Persons,
    ) -> Result<Checked> {
        let mut rest = lines;
        let mut row = first_row;
        let rows = std::iter::from_fn(|| {
            if rest.is_empty() {
                return None;
            }
            let end = memchr(b'\n', rest).unwrap_or(rest.len());
            let start = lines.len() - rest.len();
            rest = rest.get(end + 1..).unwrap_or_default();
            row += 1;
            Some((row - 1, (start, start + end)))
        });
        self.check_rows(lines, rows, source, persons)
    }

    /// Checks rows at given places of a chunk, each with its number in the source.
    pub(crate) fn check_rows(
        &self,
        lines: &[u8],
        rows: impl Iterator<Item = (u64, (usize, usize))>,
        source: &str,
        persons: &Persons,
    ) -> Result<Checked> {
        let source = fingerprint::source(source);
        self.check_placed(lines, rows, &|row| (source, row), persons)
    }

    /// [`Checker::check_rows`] for rows of several sources: `origin` tells for a row's number its source and its number
    /// there, which the id of an event is made of that has none.
    pub(crate) fn check_placed(
        &self,
        lines: &[u8],
        rows: impl Iterator<Item = (u64, (usize, usize))>,
        origin: &dyn Fn(u64) -> (u128, u64),
        persons: &Persons,
    ) -> Result<Checked> {
        let mut chunk = Chunk {
            checker: self,
            persons,
            origin,
            reader: RowReader::new(
                &self.plans,
                &self.names,
                Values { zone: self.options.zone },
                self.options.lenient,
            ),
            tables: self.plans.iter().map(|_| None).collect(),
            order: Vec::new(),
            claims: HashMap::new(),
            out: Checked::default(),
        };
        // Once for all rows, and row by row only if something is wrong somewhere.
        let whole = from_utf8(lines).ok();
        for (row, (start, end)) in rows {
            let mut raw = &lines[start..end];
            while let [trimmed @ .., b'\r' | b' ' | b'\t' | b'\n'] = raw {
                raw = trimmed;
            }
            if raw.is_empty() {
                continue;
            }
            chunk.out.rows += 1;
            let end = start + raw.len();
            let text = match whole {
                Some(whole) => Ok(&whole[start..end]),
                None => from_utf8(raw).map_err(|error| not_utf8(error.valid_up_to())),
            };
            let checked = text
                .and_then(
                    |text| if text.len() > ROW_BYTES_LIMIT { Err(too_large(text.len())) } else { Ok(text) },
                )
                .and_then(|text| chunk.reader.read(text));
            match checked {
                Ok(event) => chunk.accept(&event, row, (start, end), raw)?,
                Err(refusal) => chunk.out.rejections.push(Rejection { row, refusal, raw: raw.to_vec() }),
            }
        }
        chunk.finish()
    }
}

#[cold]
fn not_utf8(valid: usize) -> Box<Refusal> {
    Refusal::new(Code::InvalidUtf8, format!("byte {}: not UTF-8", valid + 1))
}

#[cold]
fn too_large(bytes: usize) -> Box<Refusal> {
    let message = format!("a row may have {ROW_BYTES_LIMIT} bytes, found {bytes}");
    Refusal::new(Code::RowTooLarge, message)
        .because(&format!("at most {ROW_BYTES_LIMIT} bytes"), &format!("{bytes} bytes"))
}

/// One chunk while it is being checked.
struct Chunk<'c, 'a> {
    checker: &'c Checker,
    persons: &'c Persons,
    origin: &'c dyn Fn(u64) -> (u128, u64),
    reader: RowReader<'c, 'a>,
    /// By plan; made when the first event of a definition comes.
    tables: Vec<Option<TableBuilder>>,
    /// The plans that have a table, in the order in which they got one.
    order: Vec<usize>,
    claims: HashMap<Claim, usize>,
    out: Checked,
}

impl<'a> Chunk<'_, 'a> {
    fn accept(&mut self, event: &Row<'a>, row: u64, bytes: (usize, usize), raw: &[u8]) -> Result<()> {
        let plan = &self.checker.plans[event.plan];
        let table = match &mut self.tables[event.plan] {
            Some(table) => table,
            empty => {
                let place = self.order.len();
                self.order.push(event.plan);
                empty.insert(TableBuilder::new(plan, place)?)
            }
        };
        let mut payload = plan.seed.wrapping_add(fingerprint::time(event.occurred.0));
        if let Some(session) = event.session_id.as_deref() {
            payload = payload.wrapping_add(fingerprint::session(session));
        }
        let (slots, items) = (&self.reader.slots, &self.reader.items);
        for ((column, property), slot) in table.columns.iter_mut().zip(&plan.properties).zip(slots) {
            column.push(slot, items);
            payload = payload.wrapping_add(match slot {
                Slot::List(_) => of_list(property.seed, items, &property.fields),
                slot => of_slot(property.seed, slot),
            });
        }
        table.occurred.append_value(event.occurred.0);
        table.session_ids.append_option(event.session_id.as_deref());
        table.rows += 1;
        let key = match event.event_id.as_deref() {
            Some(id) => {
                table.event_ids.append_value(id);
                fingerprint::event_key(id)
            }
            None => {
                let (source, row) = (self.origin)(row);
                let made = fingerprint::event_id(source, row, raw);
                let made = from_utf8(&made).unwrap_or_default();
                table.event_ids.append_value(made);
                fingerprint::event_key(made)
            }
        };
        let table = table.place;
        let person = self.doer(&event.who);
        self.out.events.push(Accepted { table, person, key, payload, row, bytes });
        Ok(())
    }

    /// The person, if it is known and nothing contradicts.
    fn doer(&mut self, who: &Who<'a>) -> Doer {
        let known = match who {
            Who::Id(id, None) => self.persons.contains(*id).then_some(*id),
            Who::Id(id, Some(external)) => {
                self.persons.get(*id).filter(|person| person.external_id == Some(external)).map(|_| *id)
            }
            Who::Named(kind, id, sender) => self.persons.find_by(*kind, id, sender),
        };
        if let Some(id) = known {
            return Doer::Known(id);
        }
        let claim = match who {
            Who::Id(id, external) => Claim::Id(*id, external.as_deref().map(str::to_owned)),
            Who::Named(kind, id, sender) => Claim::Named(Identifier {
                kind: *kind,
                id: id.clone().into_owned(),
                sender: sender.clone().into_owned(),
            }),
        };
        let next = self.claims.len();
        let place = *self.claims.entry(claim.clone()).or_insert(next);
        if place == next {
            self.out.claims.push(claim);
        }
        Doer::Claimed(place)
    }

    fn finish(mut self) -> Result<Checked> {
        for plan in self.order {
            if let Some(table) = self.tables[plan].take() {
                self.out.tables.push(table.finish(&self.checker.plans[plan])?);
            }
        }
        Ok(self.out)
    }
}

#[inline]
fn of_slot(seed: u64, slot: &Slot<'_>) -> u64 {
    match slot {
        Slot::Null | Slot::List(_) => 0,
        Slot::Text(text) => fingerprint::text(seed, text),
        Slot::Boolean(value) => fingerprint::bits(seed, u64::from(*value)),
        Slot::Integer(value) => fingerprint::integer(seed, *value),
        Slot::Decimal(value) => fingerprint::bits(seed, value.to_bits()),
        Slot::Time(value) => fingerprint::integer(seed, value.0),
    }
}

/// The objects in their order, the fields of each in any.
fn of_list(seed: u64, items: &[Slot<'_>], fields: &[crate::ingest::plan::FieldPlan]) -> u64 {
    items.chunks_exact(fields.len().max(1)).fold(fingerprint::bits(seed, 0), |list, object| {
        let object = fields.iter().zip(object).map(|(field, slot)| of_slot(field.seed, slot));
        fingerprint::bits(seed, list.wrapping_add(object.fold(1, u64::wrapping_add)))
    })
}

/// Fewer rows than this do not fill what a builder begins with.
const FEW_ROWS: usize = 1024;

/// The growing columns of one definition.
#[derive(Debug)]
struct TableBuilder {
    place: usize,
    rows: usize,
    occurred: TimestampMicrosecondBuilder,
    event_ids: StringBuilder,
    session_ids: StringBuilder,
    columns: Vec<ColumnBuilder>,
}

impl TableBuilder {
    fn new(plan: &Plan, place: usize) -> Result<Self> {
        let columns = plan
            .properties
            .iter()
            .map(|property| ColumnBuilder::new(&property.data_type))
            .collect::<Result<_>>()?;
        Ok(Self {
            place,
            rows: 0,
            occurred: TimestampMicrosecondBuilder::new(),
            event_ids: StringBuilder::new(),
            session_ids: StringBuilder::new(),
            columns,
        })
    }

    fn finish(mut self, plan: &Plan) -> Result<Table> {
        let schema = Arc::clone(plan.columns.file_schema());
        let occurred = self.occurred.finish();
        let occurred = match schema.field_with_name(OCCURRED_TIME) {
            Ok(field) => occurred.with_data_type(field.data_type().clone()),
            Err(_) => occurred,
        };
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(occurred), Arc::new(self.event_ids.finish()), Arc::new(self.session_ids.finish())];
        for column in self.columns {
            columns.push(column.finish()?);
        }
        if self.rows < FEW_ROWS {
            // Builders begin with room for more than that, and a batch may gather very many small files.
            columns.iter_mut().for_each(Array::shrink_to_fit);
        }
        Ok(Table { definition: Arc::clone(&plan.definition), schema, columns, rows: self.rows })
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin;
