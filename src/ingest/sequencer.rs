//! Checked chunks, in the order of the input, to batches for the store: who did it, what was there before, which
//! `seq`. One thread does this, so that the same input always gives the same persons and the same order.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::BooleanArray;
use arrow::array::Int64Array;
use arrow::array::RecordBatch;
use arrow::array::TimestampMicrosecondArray;
use arrow::compute::filter_record_batch;

use crate::error::Context;
use crate::error::Result;
use crate::ids::PersonId;
use crate::ingest::checker::Accepted;
use crate::ingest::checker::Checked;
use crate::ingest::checker::Claim;
use crate::ingest::checker::Doer;
use crate::ingest::checker::Table;
use crate::ingest::fingerprint;
use crate::ingest::report::Code;
use crate::ingest::report::Refusal;
use crate::ingest::report::Rejection;
use crate::ingest::report::Report;
use crate::person::Identifier;
use crate::person::IdentifierType;
use crate::person::Person;
use crate::person::Persons;
use crate::schema::EventBatch;
use crate::storage::Batch;
use crate::storage::catalog::RejectedRow;
use crate::storage::catalog::SourceState;
use crate::storage::event_ids::EventIds;
use crate::storage::event_ids::GROUP;
use crate::storage::event_ids::Verdict;
use crate::time::Micros;

/// Refused rows that are gathered before they are stored, and the bytes of them.
const REFUSED_LIMIT: usize = 100_000;
const REFUSED_BYTES_LIMIT: usize = 64 << 20;

/// Events that are gathered before they are stored, however small: each has an id in memory.
const EVENTS_LIMIT: usize = 8_000_000;

/// Where the checked rows are from.
#[derive(Debug)]
pub(crate) struct Input<'i> {
    pub source: &'i str,
    /// The bytes that the places of the events point into.
    pub bytes: &'i [u8],
    /// Rows of this input that were refused earlier, with their ids in the quarantine.
    pub quarantined: BTreeMap<u64, i64>,
    pub now: Micros,
}

/// How many rows of an input went which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub stored: u64,
    pub refused: u64,
    pub duplicates: u64,
}

/// What was decided about a chunk.
#[derive(Debug)]
pub(crate) struct Decided {
    /// Without the refused ones.
    pub counts: Counts,
    /// In the order of the input.
    pub refused: Vec<Rejection>,
}

/// A row that was not refused.
#[derive(Debug)]
pub(crate) struct Taken<'t> {
    pub event: &'t Accepted,
    /// Where its columns are, and its place there.
    pub table: &'t Table,
    pub at: usize,
    /// Its person and its number; none for a duplicate.
    pub stored: Option<(PersonId, i64)>,
}

/// Gathers events into batches.
#[derive(Debug)]
pub(crate) struct Sequencer {
    persons: Persons,
    create_persons: bool,
    last_seq: i64,
    batch: Batch,
    /// Memory of the gathered columns, bytes.
    bytes: usize,
    events: usize,
    refused_bytes: usize,
    /// When the store took the events of the batch: one time for all of them takes no space.
    received: Option<Micros>,
    pub report: Report,
}

impl Sequencer {
    /// Goes on after `last_seq`, with the persons that are known.
    pub(crate) fn new(persons: Persons, create_persons: bool, last_seq: i64) -> Self {
        Self {
            persons,
            create_persons,
            last_seq,
            batch: empty_after(last_seq),
            bytes: 0,
            events: 0,
            refused_bytes: 0,
            received: None,
            report: Report::default(),
        }
    }

    /// All persons so far, those of the gathered batch included.
    pub(crate) fn persons(&self) -> &Persons {
        &self.persons
    }

    /// Goes on after others have decided; nothing may be gathered.
    pub(crate) fn go_on_after(&mut self, persons: Persons, last_seq: i64) {
        self.persons = persons;
        self.last_seq = last_seq;
        self.batch = empty_after(last_seq);
    }

    /// Goes on with these persons, which are the same, but held by others too.
    pub(crate) fn adopt(&mut self, persons: Persons) {
        self.persons = persons;
    }

    /// Takes the rows of one chunk.
    pub(crate) fn take(&mut self, input: &Input<'_>, checked: Checked, ids: &mut EventIds) -> Result<Counts> {
        self.report.rows += checked.rows;
        let groups = checked.events.chunks(GROUP);
        let strangers: Vec<u64> =
            groups.map(|group| ids.strangers(group.iter().map(|event| event.key))).collect();
        let known = |at: usize, key, fingerprint| {
            ids.check_one_of(strangers[at / GROUP], at % GROUP, key, fingerprint)
        };
        let Decided { mut counts, refused } = self.decide(input, checked, known, |_| {})?;
        counts.refused = u64::try_from(refused.len()).unwrap_or(u64::MAX);
        self.report.stored += counts.stored;
        self.report.duplicates += counts.duplicates;
        let mut left = input.quarantined.clone();
        for rejection in refused {
            left.remove(&rejection.row);
            self.refuse(input.source, rejection, input.now);
        }
        self.batch.replayed.extend(left.into_values());
        Ok(counts)
    }

    /// Decides about the rows of one chunk and gathers those that are stored: `known` looks ids up, and `tell` is told
    /// of each row that is not refused.
    pub(crate) fn decide(
        &mut self,
        input: &Input<'_>,
        checked: Checked,
        mut known: impl FnMut(usize, u128, u64) -> Result<Verdict>,
        mut tell: impl FnMut(Taken<'_>),
    ) -> Result<Decided> {
        let Checked { rows: _, events, tables, claims, rejections } = checked;
        let mut counts = Counts::default();
        let mut refused: Vec<Rejection> = rejections;
        let mut resolved: Vec<Option<Result<PersonId, Box<Refusal>>>> = vec![None; claims.len()];
        let mut sorted: Vec<Sorted> = tables.iter().map(|table| Sorted::with_capacity(table.rows)).collect();
        for (nth, event) in events.iter().enumerate() {
            let table = &tables[event.table];
            let place = &mut sorted[event.table];
            let person = match event.person {
                Doer::Known(id) => Ok(id),
                Doer::Claimed(at) => {
                    resolved[at].get_or_insert_with(|| self.resolve(&claims[at], input.now)).clone()
                }
            };
            let verdict = match person {
                Err(refusal) => Err(refusal),
                Ok(person) => match known(nth, event.key, fingerprint::of_person(event.payload, person))? {
                    Verdict::New => Ok(Some(person)),
                    Verdict::Duplicate => Ok(None),
                    Verdict::Conflict => Err(conflict(table, place.keep.len())),
                },
            };
            match verdict {
                Ok(Some(person)) => {
                    self.last_seq += 1;
                    counts.stored += 1;
                    tell(Taken { event, table, at: place.keep.len(), stored: Some((person, self.last_seq)) });
                    place.persons.push(person.0);
                    place.seqs.push(self.last_seq);
                    place.keep.push(true);
                }
                Ok(None) => {
                    counts.duplicates += 1;
                    tell(Taken { event, table, at: place.keep.len(), stored: None });
                    place.keep.push(false);
                }
                Err(mut refusal) => {
                    refusal.definition = Some(table.definition.id.to_string());
                    place.keep.push(false);
                    refused.push(rejection(event, input.bytes, refusal));
                }
            }
        }
        for (table, sorted) in tables.into_iter().zip(sorted) {
            self.gather(table, sorted, input.now)?;
        }
        refused.sort_by_key(|rejection| rejection.row);
        self.batch.last_seq = self.last_seq;
        Ok(Decided { counts, refused })
    }

    /// Adds the kept rows of a table to the batch.
    fn gather(&mut self, table: Table, sorted: Sorted, now: Micros) -> Result<()> {
        let doing = || format!("could not put the columns of \"{}\" together", table.definition.id);
        let kept = sorted.persons.len();
        if kept == 0 {
            return Ok(());
        }
        let mut rows = table.columns;
        if kept < table.rows {
            let fields = [1, 3, 4].into_iter().chain(6..table.schema.fields().len());
            let fields: Vec<usize> = fields.collect();
            let schema = Arc::new(table.schema.project(&fields).internal(doing)?);
            let all = RecordBatch::try_new(schema, rows).internal(doing)?;
            let keep = BooleanArray::from(sorted.keep);
            rows = filter_record_batch(&all, &keep).internal(doing)?.columns().to_vec();
        }
        let received = *self.received.get_or_insert(now);
        let received = TimestampMicrosecondArray::from_value(received.0, kept).with_timezone("UTC");
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(table.schema.fields().len());
        let mut rows = rows.into_iter();
        let persons: ArrayRef = Arc::new(Int64Array::from(sorted.persons));
        let seqs: ArrayRef = Arc::new(Int64Array::from(sorted.seqs));
        columns.push(persons);
        columns.extend(rows.next());
        columns.push(seqs);
        columns.extend(rows.by_ref().take(2));
        columns.push(Arc::new(received));
        columns.extend(rows);
        let rows = RecordBatch::try_new(table.schema, columns).internal(doing)?;
        self.bytes += rows.get_array_memory_size();
        self.events += kept;
        self.batch.events.push(EventBatch { definition: table.definition, rows });
        Ok(())
    }

    /// Puts a row into the quarantine.
    pub(crate) fn refuse(&mut self, source: &str, rejection: Rejection, now: Micros) {
        let Rejection { row, refusal, raw } = rejection;
        self.report.refuse(source, row, refusal.code, &refusal.message);
        self.refused_bytes += raw.len();
        self.batch.rejected.push(RejectedRow {
            id: 0,
            source: source.to_owned(),
            row,
            definition: refusal.definition,
            property: refusal.property,
            expected: refusal.expected,
            found: refusal.found,
            code: refusal.code.name().to_owned(),
            message: refusal.message,
            raw,
            at: now,
        });
    }

    /// Takes a row out of the quarantine, because there is nothing to store of it any more.
    pub(crate) fn forget(&mut self, quarantined: i64) {
        self.batch.replayed.push(quarantined);
    }

    /// Notes how far a source is done.
    pub(crate) fn progress(&mut self, state: &SourceState) {
        // Sources come one after the other, and there may be very many of them.
        match self.batch.sources.last_mut() {
            Some(last) if last.name == state.name => last.clone_from(state),
            _ => self.batch.sources.push(state.clone()),
        }
    }

    /// Whether so much is gathered that it should be stored.
    pub(crate) fn is_full(&self, batch_bytes: usize) -> bool {
        self.bytes >= batch_bytes
            || self.events >= EVENTS_LIMIT
            || self.batch.rejected.len() >= REFUSED_LIMIT
            || self.refused_bytes >= REFUSED_BYTES_LIMIT
    }

    /// How many events are gathered.
    pub(crate) fn gathered(&self) -> usize {
        self.events
    }

    /// What was gathered, if anything was; the next batch begins.
    pub(crate) fn batch(&mut self) -> Option<Batch> {
        let batch = std::mem::replace(&mut self.batch, empty_after(self.last_seq));
        self.received = None;
        (self.bytes, self.events, self.refused_bytes) = (0, 0, 0);
        let empty = batch.events.is_empty()
            && batch.persons.is_empty()
            && batch.sources.is_empty()
            && batch.rejected.is_empty()
            && batch.replayed.is_empty();
        (!empty).then_some(batch)
    }

    /// The person that a row means, created if need be and if it may be.
    fn resolve(&mut self, claim: &Claim, now: Micros) -> Result<PersonId, Box<Refusal>> {
        match claim {
            Claim::Id(id, external) => self.resolve_id(*id, external.as_deref(), now),
            Claim::Named(identifier) => self.resolve_named(identifier, now),
        }
    }

    fn resolve_id(
        &mut self,
        id: PersonId,
        external: Option<&str>,
        now: Micros,
    ) -> Result<PersonId, Box<Refusal>> {
        if self.persons.aliases().is_deleted(id) {
            return Err(
                Refusal::new(Code::UnknownPerson, format!("person {id} was deleted")).about("personId")
            );
        }
        let known =
            self.persons.get(id).map(|person| (person.external_id.map(str::to_owned), person.created));
        let created = match (&known, external) {
            (Some(_), None) => return Ok(id),
            (Some((Some(there), _)), Some(external)) if there == external => return Ok(id),
            (Some((Some(there), _)), Some(external)) => {
                let message =
                    format!("person {id} has the external id \"{there}\", the row says \"{external}\"");
                return Err(contradiction(message, there, external));
            }
            (Some((None, created)), Some(_)) => *created,
            (None, _) => now,
        };
        if let Some(external) = external
            && let Some(other) = self.persons.find_by(IdentifierType::ExternalId, external, "")
        {
            let message =
                format!("\"{external}\" is the external id of person {other}, the row says person {id}");
            return Err(contradiction(message, &other.to_string(), &id.to_string()));
        }
        if !self.create_persons {
            let message = match external.filter(|_| known.is_some()) {
                Some(external) => format!("person {id} has no external id, the row says \"{external}\""),
                None => format!("there is no person {id}, and persons may not be created"),
            };
            return Err(Refusal::new(Code::UnknownPerson, message).about("personId"));
        }
        self.report.persons_created += u64::from(known.is_none());
        self.add(Person { id, external_id: external.map(str::to_owned), created }, Vec::new());
        Ok(id)
    }

    fn resolve_named(&mut self, identifier: &Identifier, now: Micros) -> Result<PersonId, Box<Refusal>> {
        if let Some(id) = self.persons.find(identifier) {
            return Ok(id);
        }
        let Identifier { kind, id: name, .. } = identifier;
        if !(self.create_persons && kind.may_create()) {
            let why = if kind.may_create() {
                "persons may not be created".to_owned()
            } else {
                format!("{kind} creates none")
            };
            let message = format!("nobody is known by the {kind} \"{name}\", and {why}");
            let mut refusal = Refusal::new(Code::UnknownPerson, message).about("identifier");
            refusal.found = Some(name.clone());
            return Err(refusal);
        }
        let id = self.persons.next_id();
        let external = (*kind == IdentifierType::ExternalId).then(|| name.clone());
        let identifiers = if external.is_some() { Vec::new() } else { vec![identifier.clone()] };
        self.report.persons_created += 1;
        self.add(Person { id, external_id: external, created: now }, identifiers);
        Ok(id)
    }

    fn add(&mut self, person: Person, identifiers: Vec<Identifier>) {
        self.persons.add(person.clone(), identifiers.clone());
        self.batch.persons.push((person, identifiers));
    }
}

/// A batch that nothing is in yet. Nobody sees the numbers of its events before it is stored.
fn empty_after(last_seq: i64) -> Batch {
    Batch { last_seq, renumber: true, ..Batch::default() }
}

/// The rows of one table as they were decided.
#[derive(Debug)]
struct Sorted {
    /// For each row whether it is stored.
    keep: Vec<bool>,
    /// Of the stored rows.
    persons: Vec<i64>,
    seqs: Vec<i64>,
}

impl Sorted {
    fn with_capacity(rows: usize) -> Self {
        Self {
            keep: Vec::with_capacity(rows),
            persons: Vec::with_capacity(rows),
            seqs: Vec::with_capacity(rows),
        }
    }
}

#[cold]
fn rejection(event: &Accepted, bytes: &[u8], refusal: Box<Refusal>) -> Rejection {
    let (start, end) = event.bytes;
    Rejection { row: event.row, refusal, raw: bytes[start..end].to_vec() }
}

#[cold]
fn conflict(table: &Table, at: usize) -> Box<Refusal> {
    let id = table.columns[1].as_string::<i32>().value(at);
    let message = format!("another event with the id \"{id}\" and other content is there already");
    let mut refusal = Refusal::new(Code::EventConflict, message).about("eventId");
    refusal.found = Some(id.to_owned());
    refusal
}

#[cold]
fn contradiction(message: String, expected: &str, found: &str) -> Box<Refusal> {
    Refusal::new(Code::PersonContradiction, message).about("externalPersonId").because(expected, found)
}
