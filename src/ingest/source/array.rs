//! Cuts a JSON array into one element per line while it streams by, knowing only depth and strings.
//!
//! It checks no grammar: an element that is no JSON comes out as it stands and is refused by whoever parses it.

use crate::ingest::source::chunk::KEPT_BYTES;
use crate::ingest::source::chunk::MAX_ROW_BYTES;

/// The scanner's place in the document; input may be cut anywhere.
#[derive(Debug, Default)]
pub(super) struct ArrayScanner {
    /// 0 outside of the array, 1 between its elements, more inside one.
    depth: usize,
    string: bool,
    escape: bool,
    /// Something of the present element has been seen.
    element: bool,
    /// The present element is too long: its beginning.
    dropped: Option<Vec<u8>>,
    /// Where in the output the present element begins.
    start: usize,
    /// Elements finished so far.
    finished: u64,
    /// The elements that were too long: number from 1, and beginning.
    too_long: Vec<(u64, Vec<u8>)>,
}

impl ArrayScanner {
    /// Reads on over `input` and appends the elements to `out`, each with a line end. The error is the byte that may
    /// not stand outside of an array, and its place in `input`.
    pub(super) fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), (u8, usize)> {
        let mut at = 0;
        while at < input.len() {
            let byte = input[at];
            if self.string {
                at += self.inside_string(&input[at..], out);
                continue;
            }
            at += 1;
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => {
                    if self.element {
                        self.push(b" ", out);
                    }
                }
                b'[' if self.depth == 0 => self.depth = 1,
                _ if self.depth == 0 => return Err((byte, at - 1)),
                b',' if self.depth == 1 => self.finish(out, true),
                b']' if self.depth == 1 => {
                    self.finish(out, false);
                    self.depth = 0;
                }
                b'"' => {
                    self.string = true;
                    self.push(b"\"", out);
                }
                b'[' | b'{' => {
                    self.depth += 1;
                    self.push(&[byte], out);
                }
                b']' | b'}' => {
                    self.depth = self.depth.saturating_sub(1).max(1);
                    self.push(&[byte], out);
                }
                _ => {
                    let run = input[at..].iter().take_while(|byte| is_plain(**byte)).count();
                    self.push(&input[at - 1..at + run], out);
                    at += run;
                }
            }
        }
        Ok(())
    }

    /// Whether nothing has been read yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.depth == 0 && self.finished == 0 && !self.element
    }

    /// Where the finished elements in the output end; what follows is the beginning of one.
    pub(super) fn complete(&self) -> usize {
        self.start
    }

    /// Forgets the finished elements, which the caller has taken out of the output.
    pub(super) fn taken(&mut self) -> Vec<(u64, Vec<u8>)> {
        self.start = 0;
        std::mem::take(&mut self.too_long)
    }

    /// The number of the element that the document stops in, if it is not closed.
    pub(super) fn open_element(&self) -> Option<u64> {
        (self.depth > 0).then_some(self.finished + 1)
    }

    fn inside_string(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        if self.escape {
            self.escape = false;
            self.push_visible(input[0], out);
            return 1;
        }
        let run = memchr::memchr3(b'"', b'\\', b'\n', input).unwrap_or(input.len());
        self.push(&input[..run], out);
        let Some(byte) = input.get(run) else { return run };
        match byte {
            b'"' => self.string = false,
            b'\\' => self.escape = true,
            _ => {}
        }
        self.push_visible(*byte, out);
        run + 1
    }

    /// A bare line end in a string is no JSON; it becomes another control character, so that the line stays one line
    /// and is still refused.
    fn push_visible(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.push(&[if byte == b'\n' { b'\r' } else { byte }], out);
    }

    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.element = true;
        if self.dropped.is_some() {
            return;
        }
        out.extend_from_slice(bytes);
        if out.len() - self.start > MAX_ROW_BYTES {
            self.dropped = Some(out[self.start..self.start + KEPT_BYTES].to_vec());
            out.truncate(self.start);
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>, comma: bool) {
        if !self.element {
            if !comma {
                return;
            }
            // Nothing between two commas is no JSON: passed on as a row that will be refused.
            out.push(b',');
        }
        while out.len() > self.start && out.last() == Some(&b' ') {
            out.pop();
        }
        out.push(b'\n');
        self.start = out.len();
        self.finished += 1;
        self.element = false;
        if let Some(beginning) = self.dropped.take() {
            self.too_long.push((self.finished, beginning));
        }
    }
}

fn is_plain(byte: u8) -> bool {
    !matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b'"' | b'[' | b']' | b'{' | b'}')
}
