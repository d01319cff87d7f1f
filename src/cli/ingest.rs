//! `milepost ingest`: events as they come, each answered when it is safe and every query sees it.

use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use serde_json::json;
use tokio::sync::mpsc;

use crate::cli::args::Ingest;
use crate::cli::exit::Outcome;
use crate::cli::exit::say;
use crate::cli::print::counted;
use crate::cli::print::grouped;
use crate::cli::sql::interruptible;
use crate::engine::CheckOptions;
use crate::engine::Engine;
use crate::engine::Fate;
use crate::engine::IngestBatch;
use crate::engine::IngestOptions;
use crate::engine::IngestReport;
use crate::engine::RowFate;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;

/// So much is read at once at most; what a pipe has ready is taken without waiting for more.
const READ_BYTES: usize = 1 << 20;

/// What was taken so far.
#[derive(Default)]
struct Counts {
    rows: u64,
    stored: u64,
    duplicates: u64,
    refused: u64,
}

pub(crate) async fn run(engine: &Engine, ingest: Ingest) -> Result<Outcome> {
    let started = Instant::now();
    let mut counts = Counts::default();
    let done = interruptible(take(engine, &ingest, &mut counts)).await;
    if !ingest.quiet || counts.refused > 0 {
        let seconds = started.elapsed().as_secs_f64();
        say(&format!(
            "{} in {seconds:.1} s: {} stored, {} known already, {} refused\n",
            counted(counts.rows, "row"),
            grouped(counts.stored),
            grouped(counts.duplicates),
            grouped(counts.refused)
        ));
    }
    if counts.refused > 0 {
        say(
            "refused rows are kept: SELECT * FROM system.rejected; milepost import --replay tries them again\n",
        );
    }
    done?;
    Ok(if counts.refused > 0 { Outcome::Refused } else { Outcome::Done })
}

async fn take(engine: &Engine, ingest: &Ingest, counts: &mut Counts) -> Result<()> {
    let mut lines = read(&ingest.input)?;
    let mut next_row = 1;
    while let Some(chunk) = lines.recv().await {
        let chunk = chunk?;
        let rows = chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
        let rows = rows + u64::from(!chunk.ends_with(b"\n"));
        let options = IngestOptions {
            check: CheckOptions { zone: ingest.zone, lenient: false },
            create_persons: !ingest.no_create_persons,
            source: ingest.source.clone(),
            first_row: next_row,
            ..IngestOptions::default()
        };
        next_row += rows;
        let report = engine.ingest(IngestBatch::lines(chunk), options).await?;
        counts.rows += report.rows.len() as u64;
        counts.stored += report.stored;
        counts.duplicates += report.duplicates;
        counts.refused += report.refused;
        answer(&report, ingest.quiet)?;
    }
    Ok(())
}

/// Whole lines of the input, as they come, read by a thread of their own: a pipe may keep silent for hours.
fn read(input: &Path) -> Result<mpsc::Receiver<Result<Vec<u8>>>> {
    let doing = format!("could not read \"{}\"", input.display());
    let mut source: Box<dyn Read + Send> = if input == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(input).context(crate::error::Kind::NotFound, || doing.clone())?)
    };
    let (send, lines) = mpsc::channel(2);
    let work = move || {
        let mut rest = Vec::new();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let read = match source.read(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    // Nobody listens any more when this cannot be told.
                    let _ = send.blocking_send(Err(Error::unavailable(doing).with_source(error)));
                    return;
                }
            };
            rest.extend_from_slice(&buffer[..read]);
            let end =
                if read == 0 { Some(rest.len()) } else { memchr::memrchr(b'\n', &rest).map(|at| at + 1) };
            let Some(end) = end else { continue };
            let later = rest.split_off(end);
            let whole = std::mem::replace(&mut rest, later);
            if !whole.is_empty() && send.blocking_send(Ok(whole)).is_err() {
                return;
            }
            if read == 0 {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("lines".to_owned())
        .spawn(work)
        .unavailable(|| "could not begin to read".to_owned())?;
    Ok(lines)
}

/// A line for each row, or for each refused one.
fn answer(report: &IngestReport, quiet: bool) -> Result<()> {
    let mut text = Vec::new();
    for RowFate { row, fate } in &report.rows {
        let line = match fate {
            Fate::Stored { .. } | Fate::Duplicate { .. } if quiet => continue,
            Fate::Stored { event_id, person, seq } => {
                json!({"row": row, "status": "stored", "eventId": event_id, "personId": person.0, "seq": seq})
            }
            Fate::Duplicate { event_id } => json!({"row": row, "status": "duplicate", "eventId": event_id}),
            Fate::Refused(refusal) => {
                json!({"row": row, "status": "refused", "code": refusal.code.name(), "message": refusal.message})
            }
        };
        text.extend_from_slice(line.to_string().as_bytes());
        text.push(b'\n');
    }
    let mut out = io::stdout().lock();
    let written = out.write_all(&text).and_then(|()| out.flush());
    written.map_err(|source| Error::unavailable("could not write the answer").with_source(source))
}
