//! From sources to the store: one thread reads, several check, one puts in order and commits.
//!
//! ```text
//! reader ─▶ jobs ─▶ workers ─▶ answers ─▶ sequencer ─▶ commit
//!    └──── the order of the chunks ──────────┘
//! ```
//!
//! Both queues are bounded, so memory does not depend on the size of the input. Each chunk brings the sender of its
//! own answer with it, and the sequencer waits for the answers in the order in which the chunks were read. A batch
//! carries how far its sources are done: a killed import goes on behind its last batch.

mod replay;
mod workers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use tokio::runtime::Handle;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::ingest::checker::CheckOptions;
use crate::ingest::checker::Checker;
use crate::ingest::import::workers::Answer;
use crate::ingest::import::workers::Shared;
use crate::ingest::import::workers::Step;
use crate::ingest::map::Mapping;
use crate::ingest::report::Code;
use crate::ingest::report::Progress;
use crate::ingest::report::Refusal;
use crate::ingest::report::Rejection;
use crate::ingest::report::Report;
use crate::ingest::sequencer::Input;
use crate::ingest::sequencer::Sequencer;
use crate::ingest::source::Chunk;
use crate::ingest::source::Refusal as UnreadRow;
use crate::ingest::source::Source;
use crate::ingest::turns::Turn;
use crate::person::Persons;
use crate::storage::Committing;
use crate::storage::Storage;
use crate::storage::catalog::SourceState;
use crate::time::SharedClock;

/// Columns that are gathered before they are committed, while as many are being written. With the columns of the
/// chunks on their way, the event ids and the writers of files this stays far below 1.5 GiB.
const BATCH_BYTES: usize = 208 << 20;

/// Chunks that wait for a worker, for each worker.
const JOBS_PER_WORKER: usize = 2;

/// Events that come one by one wait so long for an import: each time ends a batch, and small ones are slow.
const LET_OTHERS_AFTER: Duration = Duration::from_secs(1);

/// Sources that were done already and are named one by one.
const NOTES_OF_SKIPPED: usize = 10;

/// How to import.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    pub check: CheckOptions,
    /// Unknown persons are created where the identifier allows it; otherwise their rows are refused.
    pub create_persons: bool,
    /// Read sources again that are done and unchanged.
    pub again: bool,
    /// Turns the rows of the source into ours; without one they are ours already.
    pub mapping: Option<Arc<Mapping>>,
    /// Threads that check rows.
    pub threads: usize,
    /// Bytes of columns that are gathered before they are committed.
    pub batch_bytes: usize,
    /// How long events that come one by one may wait for their turn, at least.
    pub let_others_after: Duration,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            check: CheckOptions::default(),
            create_persons: true,
            again: false,
            mapping: None,
            threads: thread::available_parallelism().map_or(1, usize::from),
            batch_bytes: BATCH_BYTES,
            let_others_after: LET_OTHERS_AFTER,
        }
    }
}

/// Imports into one store, one import at a time: while one runs, nobody else may check event ids or add persons.
#[derive(Debug)]
pub struct Importer {
    storage: Arc<Storage>,
    clock: SharedClock,
    options: ImportOptions,
    turn: Option<Turn>,
}

/// Stops the work on other threads when nobody waits for it any more.
struct StopWhenDropped(Arc<AtomicBool>);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Importer {
    pub fn new(storage: Arc<Storage>, clock: SharedClock, options: ImportOptions) -> Self {
        Self { storage, clock, options, turn: None }
    }

    /// Gives the turn to others now and then, and back at the end.
    #[must_use]
    pub fn with_turn(self, turn: Turn) -> Self {
        Self { turn: Some(turn), ..self }
    }

    /// Imports the sources, in order. Refused rows are in the report and in the quarantine, and no error.
    ///
    /// Dropping the future stops the import at the next chunk: what was committed stays, and the same import goes on
    /// from there.
    ///
    /// # Errors
    /// When a source cannot be read or a batch not be stored. The rows before that are stored.
    pub async fn import(self, sources: Vec<Source>, progress: Box<dyn Progress>) -> Result<Report> {
        self.on_threads(progress, move |run| run.import(sources)).await
    }

    /// Checks the quarantined rows again. Those that are taken now, or turn out to be there already, leave the
    /// quarantine with the batch that stores them; the others stay, each with its reason of now.
    ///
    /// # Errors
    /// As [`Importer::import`].
    pub async fn replay(self, progress: Box<dyn Progress>) -> Result<Report> {
        self.on_threads(progress, Run::replay).await
    }

    async fn on_threads(
        self,
        progress: Box<dyn Progress>,
        work: impl FnOnce(&mut Run) -> Result<()> + Send + 'static,
    ) -> Result<Report> {
        // What is logged has persons and numbers already, and ids that the batches of the import must not seal.
        self.storage.flush().await?;
        let stop = Arc::new(AtomicBool::new(false));
        let _guard = StopWhenDropped(Arc::clone(&stop));
        let runtime = Handle::current();
        let all = move || {
            let storage = Arc::clone(&self.storage);
            let mut run = Run::new(self, runtime, stop, progress)?;
            let done = work(&mut run).and_then(|()| run.commit());
            // What is on its way ends in any case, and its error came first.
            let done = run.settle().and(done);
            if done.is_err() {
                // Ids of events that were not stored must not make their next coming a duplicate.
                storage.event_ids()?.discard()?;
            }
            done.map(|()| run.sequencer.report)
        };
        tokio::task::spawn_blocking(all).await.internal(|| "the import broke off".to_owned())?
    }
}

/// One import while it runs; lives on the thread of the sequencer.
struct Run {
    storage: Arc<Storage>,
    clock: SharedClock,
    options: ImportOptions,
    runtime: Handle,
    stop: Arc<AtomicBool>,
    progress: Box<dyn Progress>,
    shared: Arc<Shared>,
    sequencer: Sequencer,
    /// The batch that is being written while the next one is gathered.
    committing: Option<Committing>,
    turn: Option<Turn>,
    /// Since when nobody else has had a turn.
    since: Instant,
}

/// A source and how far it is done.
struct Planned {
    source: Source,
    state: SourceState,
    /// Refused rows of an earlier reading, with their ids in the quarantine.
    quarantined: BTreeMap<u64, i64>,
}

impl Run {
    fn new(
        importer: Importer,
        runtime: Handle,
        stop: Arc<AtomicBool>,
        progress: Box<dyn Progress>,
    ) -> Result<Self> {
        let Importer { storage, clock, options, turn } = importer;
        let persons = Persons::clone(&*storage.persons()?);
        let shared = Shared {
            checker: Checker::new(&storage.registry(), options.check),
            mapping: options.mapping.clone(),
            persons: RwLock::new(persons.clone()),
        };
        let sequencer = Sequencer::new(persons, options.create_persons, storage.last_seq());
        let shared = Arc::new(shared);
        Ok(Self {
            storage,
            clock,
            options,
            runtime,
            stop,
            progress,
            shared,
            sequencer,
            committing: None,
            turn,
            since: Instant::now(),
        })
    }

    fn go_on(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::cancelled("the import was stopped; the same import goes on from there"));
        }
        Ok(())
    }

    /// Begins to store what was gathered, when what was gathered before is stored.
    fn commit(&mut self) -> Result<()> {
        let rows = u64::try_from(self.sequencer.gathered()).unwrap_or(u64::MAX);
        self.settle()?;
        if let Some(mut batch) = self.sequencer.batch() {
            self.progress.committing(rows);
            // The same persons as the sequencer has, but held once, by the store and the workers, too.
            let mut persons = Persons::clone(&*self.storage.persons()?);
            for (person, identifiers) in &batch.persons {
                persons.add(person.clone(), identifiers.iter().cloned());
            }
            batch.known = Some(persons.clone());
            *self.shared.persons.write().unwrap_or_else(PoisonError::into_inner) = persons.clone();
            self.sequencer.adopt(persons);
            self.committing = Some(self.runtime.block_on(self.storage.begin(batch))?);
        }
        Ok(())
    }

    /// Waits until the batch on its way is stored.
    fn settle(&mut self) -> Result<()> {
        match self.committing.take() {
            Some(committing) => self.runtime.block_on(committing.finish()).map(|_| ()),
            None => Ok(()),
        }
    }

    fn commit_if_full(&mut self) -> Result<()> {
        let room = room_beside(self.sequencer.persons().len(), self.options.batch_bytes);
        if self.sequencer.is_full(room) { self.commit() } else { Ok(()) }
    }

    /// Lets events through that came one by one and have waited for long enough. What was gathered is stored before, so
    /// that nothing is decided and not known to others.
    fn let_others(&mut self) -> Result<()> {
        let wanted = self.turn.as_ref().is_some_and(Turn::is_wanted);
        if !wanted || self.since.elapsed() < self.options.let_others_after {
            return Ok(());
        }
        self.commit()?;
        self.settle()?;
        if let Some(turn) = &mut self.turn {
            turn.let_others();
        }
        self.runtime.block_on(self.storage.flush())?;
        self.sequencer.go_on_after(Persons::clone(&*self.storage.persons()?), self.storage.last_seq());
        self.since = Instant::now();
        Ok(())
    }

    /// Lets the workers know of new persons, when there are enough of them to be worth it.
    fn publish_persons(&self) {
        let mut known = self.shared.persons.write().unwrap_or_else(PoisonError::into_inner);
        let persons = self.sequencer.persons();
        if persons.len().saturating_sub(known.len()) > known.len() / 4 {
            *known = persons.clone();
        }
    }

    fn import(&mut self, sources: Vec<Source>) -> Result<()> {
        let mut planned = Vec::new();
        let mut skipped = 0;
        for source in sources {
            let name = source.name.clone();
            match self.plan(source)? {
                Some(source) => planned.push(source),
                None => {
                    skipped += 1;
                    // A folder may hold very many.
                    if skipped <= NOTES_OF_SKIPPED {
                        let note = format!("{name} was imported before and has not changed; skipped");
                        self.sequencer.report.notes.push(note);
                    }
                }
            }
        }
        if skipped > NOTES_OF_SKIPPED {
            let more = skipped - NOTES_OF_SKIPPED;
            let note = format!("and {more} more that were imported before and have not changed; skipped");
            self.sequencer.report.notes.push(note);
        }
        let reading: Vec<_> = planned.iter().map(|one| (one.source.clone(), one.state.rows)).collect();
        let shared = Arc::clone(&self.shared);
        let workers = self.options.threads.max(1);
        thread::scope(|scope| {
            let (jobs, waiting) = sync_channel(workers * JOBS_PER_WORKER);
            let (steps, order) = sync_channel(workers * JOBS_PER_WORKER * 2);
            let waiting = Arc::new(Mutex::new(waiting));
            for _ in 0..workers {
                let waiting = Arc::clone(&waiting);
                scope.spawn(|| shared.work(waiting));
            }
            // The workers alone hold it, so that the reader learns when they are gone.
            drop(waiting);
            scope.spawn(|| shared.read(reading, jobs, steps));
            // Taken along, so that the reader learns when nobody listens any more.
            self.sequence(&mut planned, order)
        })
    }

    /// From where a source is read; nothing when it is done and has not changed.
    fn plan(&mut self, source: Source) -> Result<Option<Planned>> {
        let earlier = self.storage.catalog().source(&source.name)?;
        let mut state = SourceState {
            name: source.name.clone(),
            fingerprint: source.fingerprint.clone(),
            ..SourceState::default()
        };
        let mut quarantined = BTreeMap::new();
        match earlier {
            Some(earlier) if !self.options.again && known(&earlier, &source) && earlier.finished => {
                return Ok(None);
            }
            Some(earlier) if !self.options.again && known(&earlier, &source) => {
                let note = format!("{} goes on after row {}", source.name, earlier.rows);
                self.sequencer.report.notes.push(note);
                state = earlier;
            }
            Some(earlier) if earlier.refused > 0 => {
                quarantined = self.storage.catalog().rejected_of(&source.name)?;
            }
            _ => {}
        }
        Ok(Some(Planned { source, state, quarantined }))
    }

    fn sequence(&mut self, planned: &mut [Planned], order: Receiver<Step>) -> Result<()> {
        for step in order {
            self.go_on()?;
            match step {
                Step::Begin(at) => {
                    let source = &planned[at].source;
                    self.progress.source(&source.name, source.size);
                }
                Step::Chunk(at, answer) => {
                    let answer =
                        answer.recv().internal(|| "a thread that checks rows broke off".to_owned())??;
                    self.take(&mut planned[at], answer)?;
                    self.commit_if_full()?;
                    self.let_others()?;
                }
                Step::End(at) => {
                    let state = &mut planned[at].state;
                    state.finished = true;
                    state.finished_at = Some(self.clock.now());
                    self.sequencer.progress(state);
                }
                Step::Failed(error) => {
                    self.commit()?;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, planned: &mut Planned, answer: Answer) -> Result<()> {
        let Answer { chunk, checked } = answer;
        let source = planned.source.name.as_str();
        let now = self.clock.now();
        self.note_header(planned.state.rows, source, &chunk);
        let behind = chunk.first_row + chunk.rows;
        let later = planned.quarantined.split_off(&behind);
        let mut quarantined = std::mem::replace(&mut planned.quarantined, later);
        let unread = u64::try_from(chunk.refused.len()).unwrap_or(u64::MAX);
        for refusal in chunk.refused {
            quarantined.remove(&refusal.row);
            self.sequencer.refuse(source, unread_row(refusal), now);
        }
        let input = Input { source, bytes: &chunk.bytes, quarantined, now };
        let counts = self.sequencer.take(&input, checked, &mut *self.storage.event_ids()?)?;
        let report = &mut self.sequencer.report;
        report.rows += unread + chunk.skipped;
        report.bytes += u64::try_from(chunk.bytes.len()).unwrap_or(u64::MAX);
        let state = &mut planned.state;
        state.rows = behind - 1;
        state.bytes = chunk.consumed;
        state.stored += counts.stored;
        state.refused += counts.refused + unread;
        state.duplicate += counts.duplicates;
        self.sequencer.progress(state);
        self.publish_persons();
        self.progress.advanced(chunk.consumed, &self.sequencer.report);
        Ok(())
    }

    /// Says once for each source which columns of the map it does not have.
    fn note_header(&mut self, done: u64, source: &str, chunk: &Chunk) {
        if let (0, Some(mapping), Some(header)) = (done, &self.shared.mapping, &chunk.header) {
            let missing = mapping.missing_columns(header);
            if !missing.is_empty() {
                let note = format!("{source} has no column {}, which the map names", missing.join(", "));
                self.sequencer.report.notes.push(note);
            }
        }
    }
}

/// The bytes of columns to gather beside known persons: what these take in memory, once for good and once more while
/// they are put together, comes off the batch, of which there are two at a time.
fn room_beside(persons: usize, batch_bytes: usize) -> usize {
    const PERSON_BYTES: usize = 64;
    batch_bytes.saturating_sub(persons.saturating_mul(PERSON_BYTES)).max(batch_bytes / 4)
}

/// Whether the source is the one that was read before, as far as can be told.
fn known(earlier: &SourceState, source: &Source) -> bool {
    !source.fingerprint.is_empty() && earlier.fingerprint == source.fingerprint
}

/// A row that the source or the map refused.
fn unread_row(refusal: UnreadRow) -> Rejection {
    let UnreadRow { row, code, property, expected, found, message, raw } = refusal;
    let code = Code::Unread(code);
    Rejection {
        row,
        refusal: Box::new(Refusal { code, definition: None, property, expected, found, message }),
        raw,
    }
}

#[cfg(test)]
mod tests;
