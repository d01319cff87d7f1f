//! Cuts an unpacked stream into chunks of whole rows, within bounded memory.
//!
//! One rule holds everywhere behind this file: line `i` of a chunk is row `first_row + i`. Blank lines stay, as rows
//! that hold nothing; a row that was refused or that spans several lines leaves blank lines in its place.

use std::io::Read;
use std::sync::Arc;

use crate::error::Error;
use crate::error::Result;
use crate::ingest::source::array::ArrayScanner;
use crate::ingest::source::compression::Progress;
use crate::ingest::source::compression::unpack;
use crate::ingest::source::record::Cutter;
use crate::ingest::source::record::Dialect;

/// A longer row is refused instead of being held in memory.
pub const MAX_ROW_BYTES: usize = 16 * 1024 * 1024;
/// What is kept of a row that is too long.
pub(super) const KEPT_BYTES: usize = 4 * 1024;
/// The size at which a chunk is full.
const CHUNK_BYTES: usize = 2 * 1024 * 1024;
/// The size of one read.
const BLOCK_BYTES: usize = 256 * 1024;

/// What a stream holds, as far as cutting it into rows goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// JSON lines, or JSON arrays when the first byte that is no blank is `[`.
    Json,
    /// One row on each line, whatever it is.
    Lines,
    /// Delimited records.
    Records(Dialect),
}

/// Whole rows of one source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chunk {
    /// Lines, each with its `\n`; line `i` is row `first_row + i`, and a blank line is a row that holds nothing.
    pub bytes: Vec<u8>,
    /// The number of the first line: line numbers of the file from 1, element numbers for arrays.
    pub first_row: u64,
    /// How many lines there are.
    pub rows: u64,
    /// Packed bytes of the source that were used to get here.
    pub consumed: u64,
    /// The names of the columns, for records with a header.
    pub header: Option<Arc<Vec<String>>>,
    /// Rows of this chunk that never became a line.
    pub refused: Vec<Refusal>,
    /// Rows that a map's filters left out.
    pub skipped: u64,
}

/// A row that was refused before it could be checked against a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub row: u64,
    /// `row_too_long`, or one of the map's `unmapped_*`.
    pub code: &'static str,
    pub property: Option<String>,
    pub expected: Option<String>,
    pub found: Option<String>,
    /// What is wrong and how to mend it.
    pub message: String,
    /// The row as it came; only its beginning when it was too long.
    pub raw: Vec<u8>,
}

impl Chunk {
    /// Without the rows up to and including `row`, which are done.
    #[must_use]
    pub fn after(mut self, row: u64) -> Self {
        let Some(done) = row.checked_add(1).and_then(|next| next.checked_sub(self.first_row)) else {
            return self;
        };
        if done == 0 {
            return self;
        }
        let done = done.min(self.rows);
        let last = usize::try_from(done - 1).unwrap_or(usize::MAX);
        let end = memchr::memchr_iter(b'\n', &self.bytes).nth(last).map_or(self.bytes.len(), |at| at + 1);
        self.bytes.drain(..end);
        self.first_row += done;
        self.rows -= done;
        self.refused.retain(|refusal| refusal.row >= self.first_row);
        self
    }
}

/// The chunks of one stream, in order. The error that ends a damaged stream comes after its good rows.
pub struct ChunkReader {
    name: String,
    input: Box<dyn Read + Send>,
    progress: Progress,
    framing: Framing,
    state: State,
    /// Bytes read and not yet handed out.
    carry: Vec<u8>,
    /// Where the last whole row in `carry` ends, if there is one.
    carry_end: Option<usize>,
    next_row: u64,
    header: Option<Arc<Vec<String>>>,
    ended: bool,
    failure: Option<Error>,
}

enum State {
    Start,
    Rows(Cutter),
    Array(ArrayScanner),
    Done,
}

impl std::fmt::Debug for ChunkReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkReader")
            .field("name", &self.name)
            .field("next_row", &self.next_row)
            .finish_non_exhaustive()
    }
}

impl ChunkReader {
    /// Reads `input`, packed or not; `name` is for messages.
    pub fn new(name: impl Into<String>, input: Box<dyn Read + Send>, framing: Framing) -> Result<Self> {
        let name = name.into();
        let (input, progress) = unpack(&name, input)?;
        Ok(Self {
            name,
            input,
            progress,
            framing,
            state: State::Start,
            carry: Vec::new(),
            carry_end: None,
            next_row: 1,
            header: None,
            ended: false,
            failure: None,
        })
    }

    /// Appends up to `want` bytes; at the end of the stream, or when it fails, `ended` becomes true.
    fn fill(&mut self, buffer: &mut Vec<u8>, want: usize) {
        match self.input.by_ref().take(want as u64).read_to_end(buffer) {
            Ok(read) => self.ended = read < want,
            Err(error) => {
                self.ended = true;
                self.failure = Some(self.progress.explain(&self.name, error));
            }
        }
    }

    /// Drops a byte order mark and finds out whether this is an array.
    fn start(&mut self) {
        let mut buffer = Vec::with_capacity(BLOCK_BYTES);
        let mut array = false;
        while !self.ended {
            self.fill(&mut buffer, BLOCK_BYTES);
            if buffer.starts_with(b"\xef\xbb\xbf") {
                buffer.drain(..3);
            }
            if self.framing != Framing::Json {
                break;
            }
            let first = buffer.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
            array = first == Some(&b'[');
            if first.is_some() || buffer.len() > CHUNK_BYTES {
                break;
            }
        }
        if array {
            self.state = State::Array(ArrayScanner::default());
        } else {
            let mut cutter = Cutter::new(match self.framing {
                Framing::Records(dialect) => Some(dialect),
                Framing::Json | Framing::Lines => None,
            });
            self.carry_end = cutter.advance(&buffer).map(|(_, last)| last);
            self.state = State::Rows(cutter);
        }
        self.carry = buffer;
    }

    /// The next rows of a stream of lines or records.
    fn rows(&mut self, mut cutter: Cutter) -> Option<Chunk> {
        let mut buffer = std::mem::take(&mut self.carry);
        let mut end = self.carry_end.take();
        buffer.reserve((CHUNK_BYTES + BLOCK_BYTES).saturating_sub(buffer.len()));
        while !self.ended && (end.is_none() || buffer.len() < CHUNK_BYTES) {
            let before = buffer.len();
            self.fill(&mut buffer, BLOCK_BYTES);
            let found = cutter.advance(&buffer[before..]);
            let first_end = if end.is_none() { found.map(|(first, _)| before + first) } else { None };
            end = found.map(|(_, last)| before + last).or(end);
            let length = first_end.unwrap_or(if end.is_none() { buffer.len() } else { 0 });
            if length > MAX_ROW_BYTES {
                return Some(self.too_long(cutter, buffer, first_end, end));
            }
        }
        self.state = State::Rows(cutter);
        if self.ended {
            self.state = State::Done;
            if self.failure.is_none() && end.unwrap_or(0) < buffer.len() {
                buffer.push(b'\n');
                end = Some(buffer.len());
            }
        }
        let end = end?;
        if !self.ended {
            self.carry = buffer.split_off(end);
        }
        buffer.truncate(end);
        Some(self.chunk(buffer))
    }

    /// Refuses the first row in `buffer`, whose end may not have been read yet.
    fn too_long(
        &mut self,
        mut cutter: Cutter,
        mut buffer: Vec<u8>,
        first: Option<usize>,
        end: Option<usize>,
    ) -> Chunk {
        let raw = buffer[..KEPT_BYTES].to_vec();
        let mut lines = 0;
        let (mut first, mut end) = (first, end);
        while first.is_none() && !self.ended {
            lines += count_lines(&buffer);
            buffer.clear();
            self.fill(&mut buffer, BLOCK_BYTES);
            let found = cutter.advance(&buffer);
            first = found.map(|(first, _)| first);
            end = found.map(|(_, last)| last);
        }
        let cut = first.unwrap_or(buffer.len());
        lines += count_lines(&buffer[..cut]);
        self.carry = buffer.split_off(cut);
        self.carry_end = end.map(|end| end - cut).filter(|end| *end > 0);
        self.state = State::Rows(cutter);
        let mut chunk = self.chunk(vec![b'\n'; lines.max(1)]);
        chunk.refused.push(too_long(chunk.first_row, raw));
        chunk
    }

    /// The next elements of an array.
    fn elements(&mut self, mut scanner: ArrayScanner) -> Option<Chunk> {
        let mut out = Vec::with_capacity(CHUNK_BYTES + BLOCK_BYTES);
        // At the start `carry` is raw input, afterwards the beginning of an element that is already scanned.
        let mut block = Vec::new();
        if self.next_row == 1 && scanner.is_fresh() {
            block = std::mem::take(&mut self.carry);
        } else {
            out.append(&mut self.carry);
        }
        loop {
            if let Err((byte, _)) = scanner.feed(&block, &mut out) {
                self.ended = true;
                let found = char::from(byte);
                self.failure = Some(Error::invalid(format!(
                    "\"{}\" begins as a JSON array, but behind its end stands \"{found}\"; give each array its own file, or use JSON lines",
                    self.name
                )));
            }
            if self.ended || scanner.complete() >= CHUNK_BYTES {
                break;
            }
            block.clear();
            self.fill(&mut block, BLOCK_BYTES);
        }
        let complete = scanner.complete();
        let refused = scanner.taken();
        if self.ended {
            if let (None, Some(element)) = (&self.failure, scanner.open_element()) {
                self.failure = Some(Error::invalid(format!(
                    "the JSON array in \"{}\" is not closed: it ends within element {element}, at byte {}; every element before that was read: get a whole copy and import it again",
                    self.name,
                    self.progress.bytes()
                )));
            }
            self.state = State::Done;
        } else {
            self.carry = out.split_off(complete);
            self.state = State::Array(scanner);
        }
        out.truncate(complete);
        if out.is_empty() {
            return None;
        }
        let mut chunk = self.chunk(out);
        chunk.refused = refused.into_iter().map(|(row, raw)| too_long(row, raw)).collect();
        Some(chunk)
    }

    fn chunk(&mut self, bytes: Vec<u8>) -> Chunk {
        let rows = count_lines(&bytes) as u64;
        let chunk = Chunk {
            bytes,
            first_row: self.next_row,
            rows,
            consumed: self.progress.bytes(),
            header: self.header.clone(),
            ..Chunk::default()
        };
        self.next_row += rows;
        chunk
    }

    /// Takes the names of the columns from the first record that is not blank.
    fn take_header(&mut self, chunk: Chunk) -> Chunk {
        let Framing::Records(dialect @ Dialect { header: true, .. }) = self.framing else { return chunk };
        if self.header.is_some() || !chunk.refused.is_empty() {
            return chunk;
        }
        let mut cutter = Cutter::new(Some(dialect));
        let mut start = 0;
        while start < chunk.bytes.len() {
            let record = &chunk.bytes[start..];
            let record = &record[..cutter.first_end(record)];
            start += record.len();
            if !record.trim_ascii().is_empty() {
                let text = String::from_utf8_lossy(record);
                let names = dialect.fields(&text).iter().map(|name| name.trim().to_owned()).collect();
                let header = Arc::new(names);
                self.header = Some(Arc::clone(&header));
                let done = chunk.first_row + count_lines(&chunk.bytes[..start]) as u64 - 1;
                return Chunk { header: Some(header), ..chunk.after(done) };
            }
        }
        chunk
    }
}

impl Iterator for ChunkReader {
    type Item = Result<Chunk>;

    fn next(&mut self) -> Option<Result<Chunk>> {
        loop {
            let chunk = match std::mem::replace(&mut self.state, State::Done) {
                State::Start => {
                    self.start();
                    continue;
                }
                State::Rows(cutter) => self.rows(cutter),
                State::Array(scanner) => self.elements(scanner),
                State::Done => return self.failure.take().map(Err),
            };
            if let Some(chunk) = chunk.map(|chunk| self.take_header(chunk)).filter(|chunk| chunk.rows > 0) {
                return Some(Ok(chunk));
            }
        }
    }
}

fn too_long(row: u64, raw: Vec<u8>) -> Refusal {
    Refusal {
        row,
        code: "row_too_long",
        property: None,
        expected: Some(format!("at most {MAX_ROW_BYTES} bytes")),
        found: None,
        message: format!(
            "row {row} is longer than {} MiB; split it, or look for a quote or bracket before it that is not closed",
            MAX_ROW_BYTES / 1024 / 1024
        ),
        raw,
    }
}

fn count_lines(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', bytes).count()
}
