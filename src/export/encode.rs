//! Sorted rows become compressed lines: one thread merges the runs of a day, several make segments of what it gives.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use crate::error::Error;
use crate::error::Result;
use crate::export::clock::Clock;
use crate::export::gzip::Deflater;
use crate::export::gzip::Segment;
use crate::export::lines::Lines;
use crate::export::lines::Merge;
use crate::export::lines::SortedDay;
use crate::export::lines::lock;
use crate::export::plan::FileSpan;
use crate::export::shape::RowShape;

/// Text that is handed to the compressor at once.
const CHUNK_BYTES: usize = 128 << 10;

/// Compressed rows, and how many are of which definition, by its place in the list of shapes.
pub(crate) struct Encoded {
    pub(crate) segment: Segment,
    pub(crate) counts: Vec<u64>,
}

/// Rows of one segment, and whether the file ends behind it.
pub(crate) type Cut = (usize, Option<FileSpan>);

/// Nobody waits for an export any more.
pub(crate) fn stopped() -> Error {
    Error::cancelled("the export was stopped")
}

/// Merges the runs of a day into the rows of segments, until nobody wants them any more.
pub(crate) fn merge(
    day: SortedDay,
    cuts: Vec<Cut>,
    tools: &Tools,
    stop: &AtomicBool,
    sender: &mpsc::Sender<Result<(Lines, Option<FileSpan>)>>,
) {
    let merged = day.merge().and_then(|mut rows| {
        for (most, closes) in cuts {
            if stop.load(Ordering::Relaxed) {
                return Err(stopped());
            }
            if sender.blocking_send(Ok((tools.rows(&mut rows, most)?, closes))).is_err() {
                return Ok(());
            }
        }
        Ok(())
    });
    if let Err(error) = merged {
        // Whoever does not listen any more knows of an error already.
        drop(sender.blocking_send(Err(error)));
    }
}

/// What segments are made with, kept from one to the next.
#[derive(Debug)]
pub(crate) struct Tools {
    level: u32,
    lines: Mutex<Vec<Lines>>,
    encoders: Mutex<Vec<Encoder>>,
}

/// What one thread needs to make a segment.
#[derive(Debug)]
struct Encoder {
    deflater: Deflater,
    clock: Clock,
    text: Vec<u8>,
}

impl Tools {
    pub(crate) fn of(level: u32) -> Self {
        Self { level, lines: Mutex::default(), encoders: Mutex::default() }
    }

    /// The next rows of a day.
    fn rows(&self, rows: &mut Merge, most: usize) -> Result<Lines> {
        let mut lines = lock(&self.lines).pop().unwrap_or_default();
        for _ in 0..most {
            if !rows.next_into(&mut lines)? {
                return Err(Error::internal("a day of an export has fewer rows than were counted"));
            }
        }
        Ok(lines)
    }

    fn encoder(&self) -> Encoder {
        lock(&self.encoders).pop().unwrap_or_else(|| {
            let text = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 16);
            Encoder { deflater: Deflater::new(self.level), clock: Clock::default(), text }
        })
    }

    /// The rows as compressed lines; shapes by the number of their definition.
    pub(crate) fn encode(&self, mut lines: Lines, shapes: &[Arc<RowShape>]) -> Result<Encoded> {
        let mut encoder = self.encoder();
        let Encoder { deflater, clock, text } = &mut encoder;
        let mut counts = vec![0; shapes.len()];
        let mut rows = 0;
        for (nth, row) in lines.rows() {
            let written = shapes.get(nth).and_then(|shape| shape.write(row, clock, text));
            written.ok_or_else(|| Error::internal("a row of an export is not whole"))?;
            counts[nth] += 1;
            rows += 1;
            if text.len() >= CHUNK_BYTES {
                deflater.write(text)?;
                text.clear();
            }
        }
        deflater.write(text)?;
        text.clear();
        let segment = deflater.finish(rows)?;
        lock(&self.encoders).push(encoder);
        lines.clear();
        lock(&self.lines).push(lines);
        Ok(Encoded { segment, counts })
    }
}
