//! One group of requests: checked together, decided one after the other, logged with one sync, answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::AsArray;
use bytes::Bytes;
use memchr::memchr;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::error::Result;
use crate::ingest::checker::CheckOptions;
use crate::ingest::checker::Checked;
use crate::ingest::checker::Checker;
use crate::ingest::fingerprint;
use crate::ingest::live::IngestOptions;
use crate::ingest::live::report::Fate;
use crate::ingest::live::report::IngestReport;
use crate::ingest::live::tail::Tail;
use crate::ingest::live::tail::TailedEvent;
use crate::ingest::report::Rejection;
use crate::ingest::sequencer::Decided;
use crate::ingest::sequencer::Input;
use crate::ingest::sequencer::Sequencer;
use crate::ingest::sequencer::Taken;
use crate::person::Persons;
use crate::schema::Registry;
use crate::storage::LoggedGroup;
use crate::storage::Storage;
use crate::storage::Turn;
use crate::storage::catalog::RejectedRow;
use crate::storage::event_ids::Verdict;
use crate::time::Micros;
use crate::time::SharedClock;

/// Requests of so many bytes are checked by their callers: several at once, and nobody waits for them.
pub(super) const LARGE_BYTES: usize = 64 << 10;

/// Rows of one caller, and the way back to it.
#[derive(Debug)]
pub(super) struct Request {
    lines: Bytes,
    options: IngestOptions,
    /// Names the rows of this call, in the quarantine and in the ids of events that have none.
    source: String,
    /// What was decided of the rows by themselves, if the caller did that.
    checked: Option<Checked>,
    answer: oneshot::Sender<Result<IngestReport>>,
}

impl Request {
    pub(super) fn new(
        lines: Bytes,
        options: IngestOptions,
        answer: oneshot::Sender<Result<IngestReport>>,
    ) -> Self {
        let source = options.source.clone().unwrap_or_else(|| format!("ingest {}", uuid::Uuid::new_v4()));
        Self { lines, options, source, checked: None, answer }
    }

    pub(super) fn bytes(&self) -> usize {
        self.lines.len()
    }

    /// Whether its rows are to be checked before it joins a group.
    pub(super) fn is_checked_alone(&self) -> bool {
        self.bytes() >= LARGE_BYTES || self.options.all_or_none
    }

    /// What is told if a checked request is refused as a whole.
    pub(super) fn refused(&mut self) -> Option<IngestReport> {
        let checked = self.checked.as_mut().filter(|_| self.options.all_or_none)?;
        let mut rejections = checked.strangers(self.options.create_persons);
        rejections.append(&mut checked.rejections);
        rejections.sort_by_key(|rejection| rejection.row);
        let mut report = IngestReport::default();
        for rejection in rejections {
            report.push(rejection.row, Fate::Refused(rejection.refusal));
        }
        (report.refused > 0).then_some(report)
    }

    /// The request with its rows checked by themselves.
    pub(super) fn checked(mut self, storage: &Storage) -> Result<Self> {
        let checker = Checker::new(&storage.registry(), self.options.check);
        let persons = storage.persons()?;
        self.checked =
            Some(checker.check_chunk(&self.lines, &self.source, self.options.first_row, &persons)?);
        Ok(self)
    }

    /// What of it was stored.
    fn stored(&self, report: &IngestReport) -> Vec<TailedEvent> {
        let places: Vec<(usize, usize)> = self.places().collect();
        let row = |number: u64| {
            let at = usize::try_from(number - self.options.first_row).ok()?;
            places.get(at).map(|(start, end)| self.lines.slice(*start..*end))
        };
        let stored = report.rows.iter().filter_map(|one| match &one.fate {
            Fate::Stored { event_id, person, seq } => Some(TailedEvent {
                seq: *seq,
                event_id: event_id.clone(),
                person: *person,
                row: row(one.row)?,
            }),
            _ => None,
        });
        stored.collect()
    }

    /// The places of its rows among its bytes.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let rest = self.lines.get(at..).filter(|rest| !rest.is_empty())?;
            let end = at + memchr(b'\n', rest).unwrap_or(rest.len());
            let place = (at, end);
            at = end + 1;
            Some(place)
        })
    }
}

/// Requests that can be checked together: how rows are read, and whether persons may be created.
type Kind = (Option<String>, bool, bool);

fn kind_of(options: &IngestOptions) -> Kind {
    let zone = options.check.zone.map(|zone| zone.to_string());
    (zone, options.check.lenient, options.create_persons)
}

/// Stores groups, one after the other.
#[derive(Debug)]
pub(super) struct Grouper {
    storage: Arc<Storage>,
    clock: SharedClock,
    /// The checkers of the definitions in force, by how they read.
    registry: Arc<Registry>,
    checkers: Vec<(CheckOptions, Arc<Checker>)>,
    tail: Tail,
}

/// Rows that are decided together: those of one large request, or those of many small ones.
struct Part<'r> {
    bytes: &'r [u8],
    checked: Checked,
    create_persons: bool,
    /// The request of each row and its number there, by the row's number in the part less one; none when all rows are
    /// of one request, numbered as there.
    origins: Option<Vec<(usize, u64)>>,
    request: usize,
}

impl Part<'_> {
    fn origin(&self, row: u64) -> (usize, u64) {
        match &self.origins {
            None => (self.request, row),
            Some(origins) => {
                let at = usize::try_from(row - 1).unwrap_or(usize::MAX);
                origins.get(at).copied().unwrap_or((self.request, row))
            }
        }
    }
}

impl Grouper {
    pub(super) fn new(storage: Arc<Storage>, clock: SharedClock, tail: Tail) -> Self {
        let registry = storage.registry();
        Self { storage, clock, registry, checkers: Vec::new(), tail }
    }

    /// Stores the rows of all requests and answers each, or tells each why that failed.
    pub(super) fn store(&mut self, mut group: Vec<Request>) {
        match self.reports(&mut group) {
            // An answer that nobody waits for any more changes nothing: the rows are stored.
            Ok(reports) => group.into_iter().zip(reports).for_each(|(request, report)| {
                let _ = request.answer.send(Ok(report));
            }),
            Err(error) => group.into_iter().for_each(|request| {
                let told = Error::new(error.kind(), error.to_string());
                let _ = request.answer.send(Err(told));
            }),
        }
    }

    fn reports(&mut self, group: &mut [Request]) -> Result<Vec<IngestReport>> {
        let storage = Arc::clone(&self.storage);
        let mut turn = storage.turn()?;
        let now = self.clock.now();
        let large: Vec<Option<Checked>> = group.iter_mut().map(|request| request.checked.take()).collect();
        let group = &*group;
        let mut small: BTreeMap<Kind, Vec<usize>> = BTreeMap::new();
        for (at, request) in group.iter().enumerate().filter(|(at, _)| large[*at].is_none()) {
            small.entry(kind_of(&request.options)).or_default().push(at);
        }
        let mut reports = vec![IngestReport::default(); group.len()];
        let mut logged = LoggedGroup { last_seq: turn.last_seq(), ..LoggedGroup::default() };
        let mut persons = turn.persons()?;
        let mut decide = |part: Part<'_>, persons: &mut Persons| {
            decide(&mut turn, part, group, now, persons, &mut logged, &mut reports)
        };
        for members in small.into_values() {
            let mut bytes = Vec::new();
            let (mut places, mut origins) = (Vec::new(), Vec::new());
            for &at in &members {
                for (row, (start, end)) in (group[at].options.first_row..).zip(group[at].places()) {
                    places.push((origins.len() as u64 + 1, (bytes.len() + start, bytes.len() + end)));
                    origins.push((at, row));
                }
                bytes.extend_from_slice(&group[at].lines);
                bytes.push(b'\n');
            }
            let options = &group[members[0]].options;
            let checker = self.checker(options.check);
            let sources: Vec<u128> =
                group.iter().map(|request| fingerprint::source(&request.source)).collect();
            let origin = |row: u64| {
                let (request, row) = origins[usize::try_from(row - 1).unwrap_or_default()];
                (sources[request], row)
            };
            let checked = checker.check_placed(&bytes, places.into_iter(), &origin, &persons)?;
            let create_persons = options.create_persons;
            let origins = Some(origins);
            decide(
                Part { bytes: &bytes, checked, create_persons, origins, request: members[0] },
                &mut persons,
            )?;
        }
        for (request, checked) in large.into_iter().enumerate() {
            let Some(checked) = checked else { continue };
            let create_persons = group[request].options.create_persons;
            let bytes = &group[request].lines;
            decide(Part { bytes, checked, create_persons, origins: None, request }, &mut persons)?;
        }
        turn.append(logged)?;
        for report in &mut reports {
            report.rows.sort_by_key(|row| row.row);
        }
        if self.tail.is_watched() {
            let stored = group.iter().zip(&reports).flat_map(|(request, report)| request.stored(report));
            self.tail.tell(stored.collect());
        }
        Ok(reports)
    }

    fn checker(&mut self, options: CheckOptions) -> Arc<Checker> {
        let registry = self.storage.registry();
        if !Arc::ptr_eq(&registry, &self.registry) {
            self.registry = registry;
            self.checkers.clear();
        }
        let same = |known: &CheckOptions| known.zone == options.zone && known.lenient == options.lenient;
        if let Some((_, checker)) = self.checkers.iter().find(|(known, _)| same(known)) {
            return Arc::clone(checker);
        }
        let checker = Arc::new(Checker::new(&self.registry, options));
        self.checkers.push((options, Arc::clone(&checker)));
        checker
    }
}

/// Decides about the rows of a part: what is to be logged, and what is told.
fn decide(
    turn: &mut Turn<'_>,
    mut part: Part<'_>,
    group: &[Request],
    now: Micros,
    persons: &mut Persons,
    logged: &mut LoggedGroup,
    reports: &mut [IngestReport],
) -> Result<()> {
    let mut sequencer = Sequencer::new(std::mem::take(persons), part.create_persons, logged.last_seq);
    let checked = std::mem::take(&mut part.checked);
    let input = Input { source: "", bytes: part.bytes, quarantined: BTreeMap::new(), now };
    let mut fates = Vec::with_capacity(checked.events.len());
    let ids = &mut logged.ids;
    let known = |_, key, fingerprint| {
        let verdict = turn.check(key, fingerprint)?;
        if verdict == Verdict::New {
            ids.push((key, fingerprint));
        }
        Ok(verdict)
    };
    let tell = |taken: Taken<'_>| {
        let event_id = taken.table.columns[1].as_string::<i32>().value(taken.at).to_owned();
        let fate = match taken.stored {
            Some((person, seq)) => Fate::Stored { event_id, person, seq },
            None => Fate::Duplicate { event_id },
        };
        fates.push((taken.event.row, fate));
    };
    let Decided { counts: _, refused } = sequencer.decide(&input, checked, known, tell)?;
    for (row, fate) in fates {
        let (request, row) = part.origin(row);
        reports[request].push(row, fate);
    }
    for rejection in refused {
        let (request, row) = part.origin(rejection.row);
        let rejection = Rejection { row, ..rejection };
        logged.rejected.push(quarantined(&group[request].source, &rejection, now));
        reports[request].push(row, Fate::Refused(rejection.refusal));
    }
    *persons = sequencer.persons().clone();
    if let Some(batch) = sequencer.batch() {
        logged.last_seq = batch.last_seq;
        logged.events.extend(batch.events);
        logged.persons.extend(batch.persons);
    }
    Ok(())
}

fn quarantined(source: &str, rejection: &Rejection, at: Micros) -> RejectedRow {
    let Rejection { row, refusal, raw } = rejection;
    RejectedRow {
        id: 0,
        source: source.to_owned(),
        row: *row,
        definition: refusal.definition.clone(),
        property: refusal.property.clone(),
        expected: refusal.expected.clone(),
        found: refusal.found.clone(),
        code: refusal.code.name().to_owned(),
        message: refusal.message.clone(),
        raw: raw.clone(),
        at,
    }
}
