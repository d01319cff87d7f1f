//! One gzip member out of segments that are compressed apart, on as many threads as there are.
//!
//! Each segment is a run of deflate blocks that ends on a whole byte and looks back at nothing before it, so segments
//! put one after another are one valid stream. Header and trailer hold no time and no system: equal rows cut in equal
//! places give equal bytes.

use std::mem;

use bytes::Bytes;
use flate2::Compress;
use flate2::Compression;
use flate2::Crc;
use flate2::FlushCompress;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;

/// Compressed rows, a part of one file.
#[derive(Debug)]
pub(crate) struct Segment {
    deflated: Bytes,
    crc: Crc,
    pub(crate) rows: u64,
}

/// Compresses one segment after another; fed in pieces of any size. The same pieces give the same bytes.
///
/// Kept from segment to segment: a fresh one costs as much memory as the text that it compresses.
#[derive(Debug)]
pub(crate) struct Deflater {
    compress: Compress,
    out: Vec<u8>,
    crc: Crc,
    taken: u64,
}

const LEAST_ROOM: usize = 64 << 10;

impl Deflater {
    /// The level is 0 to 9; see [`check_level`].
    pub(crate) fn new(level: u32) -> Self {
        let compress = Compress::new(Compression::new(level), false);
        Self { compress, out: Vec::new(), crc: Crc::new(), taken: 0 }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.crc.update(bytes);
        self.taken += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.feed(bytes, FlushCompress::None)
    }

    /// Ends a segment, and is ready for the next. Fails when it held 4 GiB or more, which its checksum could not be
    /// combined over.
    pub(crate) fn finish(&mut self, rows: u64) -> Result<Segment> {
        if self.taken > u64::from(u32::MAX) {
            return Err(Error::invalid(
                "some thousand events hold more than 4 GiB of text; export them apart",
            ));
        }
        self.feed(&[], FlushCompress::Sync)?;
        let deflated = Bytes::copy_from_slice(&self.out);
        self.out.clear();
        self.compress.reset();
        self.taken = 0;
        Ok(Segment { deflated, crc: mem::take(&mut self.crc), rows })
    }

    fn feed(&mut self, mut bytes: &[u8], flush: FlushCompress) -> Result<()> {
        let flushes = flush == FlushCompress::Sync;
        loop {
            self.out.reserve(LEAST_ROOM);
            let before = self.compress.total_in();
            self.compress
                .compress_vec(bytes, &mut self.out, flush)
                .internal(|| "could not compress rows".to_owned())?;
            let taken = usize::try_from(self.compress.total_in() - before).unwrap_or(bytes.len());
            bytes = &bytes[taken..];
            // A full buffer may hide more output, which only a flush must have all of.
            if bytes.is_empty() && (!flushes || self.out.len() < self.out.capacity()) {
                return Ok(());
            }
        }
    }
}

/// Refuses a gzip level that does not exist.
pub(crate) fn check_level(level: u32) -> Result<()> {
    if level > 9 {
        return Err(Error::invalid(format!("a gzip level is 0 to 9, found {level}")));
    }
    Ok(())
}

/// The segments as one gzip member: pieces to be written one after another.
pub(crate) fn member(segments: Vec<Segment>, level: u32) -> Vec<Bytes> {
    let speed = match level {
        9 => 2,
        1 => 4,
        _ => 0,
    };
    // Magic, deflate, no flags, no time, how hard it tried, unknown system.
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, speed, 255];
    let mut crc = Crc::new();
    let mut pieces = vec![Bytes::copy_from_slice(&header)];
    for segment in segments {
        crc.combine(&segment.crc);
        pieces.push(segment.deflated);
    }
    // A last block with nothing in it, then checksum and length.
    let mut trailer = vec![0x03, 0x00];
    trailer.extend_from_slice(&crc.sum().to_le_bytes());
    trailer.extend_from_slice(&crc.amount().to_le_bytes());
    pieces.push(Bytes::from(trailer));
    pieces
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    fn segment(pieces: &[&[u8]], level: u32) -> Segment {
        let mut deflater = Deflater::new(level);
        for piece in pieces {
            deflater.write(piece).unwrap();
        }
        deflater.finish(1).unwrap()
    }

    fn read_back(member: &[Bytes]) -> Vec<u8> {
        let bytes = member.concat();
        let mut decoder = GzDecoder::new(bytes.as_slice());
        let mut text = Vec::new();
        decoder.read_to_end(&mut text).unwrap();
        assert!(decoder.into_inner().is_empty(), "there is something behind the member");
        text
    }

    #[test]
    fn no_segment_is_a_valid_empty_member() {
        assert_eq!(read_back(&member(Vec::new(), 6)), b"");
    }

    #[test]
    fn header_names_no_time_and_no_system() {
        let header = member(vec![segment(&[b"x"], 6)], 6).swap_remove(0);
        assert_eq!(header.as_ref(), [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    }

    #[test]
    fn output_larger_than_the_buffer_is_kept_whole() {
        let mut state = 7_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        })
        .take(3 * LEAST_ROOM + 17)
        .collect();
        assert_eq!(
            read_back(&member(vec![segment(&[&noise], 6), segment(&[&noise], 6)], 6)),
            noise.repeat(2)
        );
    }

    #[test]
    fn a_level_above_nine_is_refused() {
        assert!(check_level(9).is_ok());
        assert!(check_level(10).is_err());
    }

    proptest! {
        #[test]
        fn a_deflater_that_was_used_gives_what_a_fresh_one_does(
            texts in proptest::collection::vec(proptest::collection::vec(0_u8..4, 0..5_000), 1..5),
            level in 0_u32..10,
        ) {
            let mut used = Deflater::new(level);
            for text in &texts {
                used.write(text).unwrap();
                let again = used.finish(1).unwrap();
                let fresh = segment(&[text], level);
                prop_assert_eq!(&again.deflated, &fresh.deflated);
                prop_assert_eq!(again.crc.sum(), fresh.crc.sum());
            }
        }

        #[test]
        fn segments_read_back_as_one_text(
            texts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..2_000), 0..6),
            level in 0_u32..10,
        ) {
            let segments = texts.iter().map(|text| segment(&[text], level)).collect();
            prop_assert_eq!(read_back(&member(segments, level)), texts.concat());
        }
    }
}
