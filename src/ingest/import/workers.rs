//! The threads beside the sequencer: one reads sources into chunks, several check chunks.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::Sender;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::channel;

use crate::error::Error;
use crate::error::Result;
use crate::ingest::checker::Checked;
use crate::ingest::checker::Checker;
use crate::ingest::map::Mapping;
use crate::ingest::source::Chunk;
use crate::ingest::source::Framing;
use crate::ingest::source::Source;
use crate::person::Persons;

/// What the workers use.
pub(super) struct Shared {
    pub(super) checker: Checker,
    pub(super) mapping: Option<Arc<Mapping>>,
    /// Not always the latest, for the sequencer resolves the rest.
    pub(super) persons: RwLock<Persons>,
}

/// A chunk for a worker, with the way back.
pub(super) struct Job {
    source: Arc<str>,
    chunk: Chunk,
    answer: Sender<Result<Answer>>,
}

/// A chunk that was checked.
pub(super) struct Answer {
    pub(super) chunk: Chunk,
    pub(super) checked: Checked,
}

/// What the reader did, in order; the number is that of the source.
pub(super) enum Step {
    Begin(usize),
    Chunk(usize, Receiver<Result<Answer>>),
    End(usize),
    Failed(Error),
}

impl Shared {
    /// Reads the sources, each behind the rows that are done, until nobody listens any more.
    pub(super) fn read(&self, sources: Vec<(Source, u64)>, jobs: SyncSender<Job>, steps: SyncSender<Step>) {
        for (at, (source, done)) in sources.into_iter().enumerate() {
            if steps.send(Step::Begin(at)).is_err() {
                return;
            }
            match self.read_source(at, &source, done, &jobs, &steps) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    // If nobody listens, there is an earlier error.
                    let _ = steps.send(Step::Failed(error));
                    return;
                }
            }
        }
    }

    /// Whether somebody listened to the end.
    fn read_source(
        &self,
        at: usize,
        source: &Source,
        done: u64,
        jobs: &SyncSender<Job>,
        steps: &SyncSender<Step>,
    ) -> Result<bool> {
        let framing = self.mapping.as_ref().map_or(Framing::Json, |mapping| mapping.framing());
        let name: Arc<str> = Arc::from(source.name.as_str());
        for chunk in source.open(framing)? {
            let chunk = chunk?.after(done);
            if chunk.rows == 0 && chunk.refused.is_empty() {
                continue;
            }
            let (answer, answered) = channel();
            let job = Job { source: Arc::clone(&name), chunk, answer };
            if jobs.send(job).is_err() || steps.send(Step::Chunk(at, answered)).is_err() {
                return Ok(false);
            }
        }
        Ok(steps.send(Step::End(at)).is_ok())
    }

    /// Checks chunks until there are no more.
    pub(super) fn work(&self, waiting: Arc<Mutex<Receiver<Job>>>) {
        loop {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Job { source, chunk, answer }) = next else { return };
            // If nobody waits for it, the import has ended already.
            let _ = answer.send(self.check(&source, chunk));
        }
    }

    fn check(&self, source: &str, chunk: Chunk) -> Result<Answer> {
        let chunk = match &self.mapping {
            Some(mapping) => mapping.map(&chunk),
            None => chunk,
        };
        let persons = self.persons.read().unwrap_or_else(PoisonError::into_inner).clone();
        let checked = self.checker.check_chunk(&chunk.bytes, source, chunk.first_row, &persons)?;
        Ok(Answer { chunk, checked })
    }
}
