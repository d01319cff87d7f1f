use std::fs;
use std::io;
use std::io::Read;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;
use crate::error::Result;

/// Hands out its bytes a few at a time, as a pipe may.
struct Dribble {
    bytes: Vec<u8>,
    at: usize,
    step: usize,
}

impl Read for Dribble {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let amount = self.step.min(buffer.len()).min(self.bytes.len() - self.at);
        buffer[..amount].copy_from_slice(&self.bytes[self.at..self.at + amount]);
        self.at += amount;
        Ok(amount)
    }
}

fn chunks(bytes: &[u8], framing: Framing) -> Vec<Result<Chunk>> {
    ChunkReader::new("test", Box::new(io::Cursor::new(bytes.to_vec())), framing).unwrap().collect()
}

/// Row numbers with their text, blank lines left out, and the error at the end if there is one.
fn rows(bytes: &[u8], framing: Framing) -> (Vec<(u64, String)>, Option<String>) {
    numbered(chunks(bytes, framing))
}

fn numbered(chunks: impl IntoIterator<Item = Result<Chunk>>) -> (Vec<(u64, String)>, Option<String>) {
    let mut rows = Vec::new();
    let mut error = None;
    let mut next = None;
    for chunk in chunks {
        assert_eq!(error, None, "nothing comes after an error");
        match chunk {
            Ok(chunk) => {
                assert!(
                    next.is_none_or(|next| next == chunk.first_row),
                    "no row number is left out or used twice"
                );
                next = Some(chunk.first_row + chunk.rows);
                let text = String::from_utf8(chunk.bytes).unwrap();
                assert!(text.ends_with('\n'));
                assert_eq!(text.lines().count() as u64, chunk.rows);
                let lines = (chunk.first_row..).zip(text.split('\n'));
                rows.extend(
                    lines.filter(|(_, line)| !line.trim().is_empty()).map(|(at, line)| (at, line.to_owned())),
                );
            }
            Err(failed) => error = Some(failed.to_string()),
        }
    }
    (rows, error)
}

fn texts(bytes: &[u8]) -> Vec<String> {
    let (rows, error) = rows(bytes, Framing::Json);
    assert_eq!(error, None);
    rows.into_iter().map(|(_, text)| text).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn many_lines(count: usize) -> Vec<u8> {
    (0..count)
        .flat_map(|n| format!("{{\"n\":{n},\"pad\":\"{}\"}}\n", n * 7919 % 104_729).into_bytes())
        .collect()
}

#[test]
fn line_numbers_count_blank_lines_and_a_last_line_needs_no_end() {
    let (rows, error) = rows(b"\xef\xbb\xbf\r\n{\"a\":1}\r\n\n{\"a\":2}", Framing::Json);
    assert_eq!(rows, [(2, "{\"a\":1}\r".to_owned()), (4, "{\"a\":2}".to_owned())]);
    assert_eq!(error, None);
}

#[test]
fn an_empty_stream_has_no_rows() {
    for bytes in [b"".as_slice(), b"\xef\xbb\xbf", b"[]", b" [ ] \n"] {
        assert_eq!(rows(bytes, Framing::Json), (Vec::new(), None));
    }
}

#[test]
fn large_streams_come_in_chunks_of_whole_rows_and_count_what_was_used() {
    let bytes = many_lines(200_000);
    let chunks: Vec<Chunk> = chunks(&bytes, Framing::Json).into_iter().map(Result::unwrap).collect();
    assert!(chunks.len() > 2 && chunks.iter().all(|chunk| chunk.bytes.len() < 3 * 1024 * 1024));
    assert_eq!(chunks.iter().map(|chunk| chunk.rows).sum::<u64>(), 200_000);
    assert_eq!(chunks.last().unwrap().consumed, bytes.len() as u64);
    assert_eq!(chunks.into_iter().flat_map(|chunk| chunk.bytes).collect::<Vec<u8>>(), bytes);
}

#[test]
fn gzip_of_several_members_and_zstd_of_several_frames_are_read_to_the_end() {
    let bytes = many_lines(5_000);
    let (left, right) = bytes.split_at(bytes.len() / 3);
    let gz = [gzip(left), gzip(b""), gzip(right)].concat();
    let zst = [zstd::encode_all(left, 1).unwrap(), zstd::encode_all(right, 1).unwrap()].concat();
    for packed in [gz, zst] {
        assert!(packed.len() < bytes.len());
        let chunks: Vec<Chunk> = chunks(&packed, Framing::Json).into_iter().map(Result::unwrap).collect();
        assert_eq!(chunks.last().unwrap().consumed, packed.len() as u64);
        assert_eq!(chunks.into_iter().flat_map(|chunk| chunk.bytes).collect::<Vec<u8>>(), bytes);
    }
}

#[test]
fn a_cut_off_archive_gives_its_good_rows_and_then_the_byte_where_it_ends() {
    let bytes = many_lines(200_000);
    for packed in [gzip(&bytes), zstd::encode_all(bytes.as_slice(), 1).unwrap()] {
        let cut = packed.len() - 1_000;
        let (rows, error) = rows(&packed[..cut], Framing::Json);
        assert!(rows.len() > 150_000 && rows.len() < 200_000, "{}", rows.len());
        assert!(rows.iter().all(|(_, text)| text.ends_with("\"}")), "a row that was cut is not handed out");
        let error = error.unwrap();
        assert!(
            error.contains("\"test\" is damaged or cut off at byte") && error.contains(&cut.to_string()),
            "{error}"
        );
    }
}

#[test]
fn a_damaged_archive_is_an_error_and_not_an_end() {
    let mut packed = gzip(&many_lines(5_000));
    let middle = packed.len() / 2;
    packed[middle] ^= 0x55;
    assert!(rows(&packed, Framing::Json).1.unwrap().contains("damaged"));
    let trailing = [gzip(b"{}\n"), b"rubbish".to_vec()].concat();
    let (rows, error) = rows(&trailing, Framing::Json);
    assert_eq!(rows.len(), 1);
    assert!(error.unwrap().contains("damaged"));
}

#[test]
fn files_of_other_kinds_are_refused_by_name_and_with_the_cure() {
    let error = ChunkReader::new("export.zip", Box::new(&b"PK\x03\x04rest"[..]), Framing::Json).unwrap_err();
    assert!(error.to_string().contains("\"export.zip\" is a zip archive; unpack it first"), "{error}");
}

#[test]
fn arrays_become_one_element_per_line() {
    let pretty =
        b" \n[\n  {\n    \"a\": \"x\\\"],{\\n\",\n    \"b\": [1, 2]\n  },\n  null, 17,\n  \"t\"\n]\n";
    let want = ["{     \"a\": \"x\\\"],{\\n\",     \"b\": [1, 2]   }", "null", "17", "\"t\""];
    assert_eq!(texts(pretty), want);
    assert_eq!(texts(b"[1,2]\n[3]"), ["1", "2", "3"]);
    assert_eq!(texts(b"[1,,2]"), ["1", ",", "2"], "a hole is passed on, to be refused");
    assert_eq!(texts(b"[\"a\nb\"]").len(), 1, "a bare line end in a string does not make two rows");
}

#[test]
fn an_array_that_is_not_closed_gives_its_whole_elements_and_then_an_error() {
    let (rows, error) = rows(b"[{\"a\":1},{\"a\":2},{\"a\":", Framing::Json);
    assert_eq!(rows.len(), 2);
    let error = error.unwrap();
    assert!(error.contains("ends within element 3, at byte 22"), "{error}");
}

#[test]
fn text_behind_an_array_is_an_error_that_shows_it() {
    let (rows, error) = rows(b"[1]\n{\"a\":1}", Framing::Json);
    assert_eq!(rows.len(), 1);
    assert!(error.unwrap().contains("stands \"{\""));
}

#[test]
fn a_row_too_long_is_refused_and_the_rows_around_it_are_kept() {
    let long = vec![b'x'; MAX_ROW_BYTES + 1];
    let fits = vec![b'y'; MAX_ROW_BYTES - 1];
    let lines = [b"{\"a\":1}\n", long.as_slice(), b"\n{\"a\":2}\n", fits.as_slice(), b"\n{\"a\":3}"].concat();
    let array =
        [b"[{\"a\":1},\"", long.as_slice(), b"\",{\"a\":2},", fits.as_slice(), b",{\"a\":3}]"].concat();
    for bytes in [lines, array] {
        let chunks: Vec<Chunk> = chunks(&bytes, Framing::Json).into_iter().map(Result::unwrap).collect();
        let refused: Vec<&Refusal> = chunks.iter().flat_map(|chunk| &chunk.refused).collect();
        assert_eq!(refused.len(), 1);
        assert_eq!((refused[0].row, refused[0].code, refused[0].raw.len()), (2, "row_too_long", 4096));
        assert!(refused[0].raw.ends_with(b"xxx"));
        let (rows, _) = numbered(chunks.into_iter().map(Ok));
        let numbers: Vec<u64> = rows.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 3, 4, 5]);
    }
}

#[test]
fn a_quote_that_is_never_closed_does_not_fill_the_memory() {
    let dialect = Dialect { separator: Separator::Byte(b','), quote: Some(b'"'), header: true };
    let bytes = [b"a,b\n1,2\n\"open,".as_slice(), &b"line\n".repeat(5 * 1024 * 1024)].concat();
    let chunks: Vec<Chunk> =
        chunks(&bytes, Framing::Records(dialect)).into_iter().map(Result::unwrap).collect();
    let refused: Vec<&Refusal> = chunks.iter().flat_map(|chunk| &chunk.refused).collect();
    assert_eq!((refused.len(), refused[0].row), (1, 3));
    assert!(refused[0].message.contains("a quote or bracket before it that is not closed"));
    assert_eq!(numbered(chunks.into_iter().map(Ok)).0, [(2, "1,2".to_owned())]);
}

#[test]
fn records_keep_their_line_numbers_and_the_header_travels_along() {
    let dialect = Dialect { separator: Separator::Byte(b','), quote: Some(b'"'), header: true };
    let bytes = b"\xef\xbb\xbf\nid,\"the text\"\r\n1,\"two\r\nlines\"\r\n2,x";
    let chunks: Vec<Chunk> =
        chunks(bytes, Framing::Records(dialect)).into_iter().map(Result::unwrap).collect();
    assert_eq!(chunks.len(), 1);
    assert_eq!(**chunks[0].header.as_ref().unwrap(), ["id", "the text"]);
    assert_eq!((chunks[0].first_row, chunks[0].rows), (3, 3));
    assert_eq!(chunks[0].bytes, b"1,\"two\r\nlines\"\r\n2,x\n");
}

#[test]
fn rows_that_are_done_can_be_left_out() {
    let chunk = Chunk { bytes: b"a\n\nb\nc\n".to_vec(), first_row: 5, rows: 4, ..Chunk::default() };
    assert_eq!(chunk.clone().after(4), chunk);
    let rest = chunk.clone().after(7);
    assert_eq!((rest.bytes.as_slice(), rest.first_row, rest.rows), (b"c\n".as_slice(), 8, 1));
    assert_eq!(chunk.clone().after(100).rows, 0);
    assert_eq!(chunk.clone().after(0), chunk);
}

#[test]
fn a_folder_is_all_its_files_in_order_without_hidden_ones_and_each_once() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["b.json", "a/2.json.gz", "a/1.json", ".hidden", "a/.x", "c.csv"] {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "{}\n").unwrap();
    }
    let root = fs::canonicalize(dir.path()).unwrap();
    let names = |inputs: &[String]| {
        let sources = expand(inputs, "-", &ObjectStoreOptions::default()).unwrap();
        let name =
            |source: &Source| source.name.strip_prefix(&format!("{}/", root.display())).unwrap().to_owned();
        sources.iter().map(name).collect::<Vec<_>>()
    };
    let at = |name: &str| root.join(name).display().to_string();
    assert_eq!(names(&[at("")]), ["a/1.json", "a/2.json.gz", "b.json", "c.csv"]);
    assert_eq!(names(&[at("*/../b.json"), at("*.json"), at("a/*.gz")]), ["b.json", "a/2.json.gz"]);

    let refused =
        |input: &str| expand(&[at(input)], "-", &ObjectStoreOptions::default()).unwrap_err().to_string();
    assert!(refused("d.json").contains("there is no file or folder"));
    assert!(refused("*.parquet").contains("holds no files to import"));
}

#[test]
fn a_file_that_changes_changes_its_fingerprint_and_stdin_has_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.json");
    fs::write(&path, "{}\n").unwrap();
    let look = || {
        let inputs = [path.display().to_string(), "-".to_owned()];
        expand(&inputs, "nightly", &ObjectStoreOptions::default()).unwrap()
    };
    let before = look();
    assert_eq!((before[0].size, before[1].name.as_str()), (Some(3), "nightly"));
    assert_eq!(before[0].fingerprint, look()[0].fingerprint);
    fs::write(&path, "{}\n{}\n").unwrap();
    assert_ne!(before[0].fingerprint, look()[0].fingerprint);
    let (rows, error) = numbered(before[0].open(Framing::Json).unwrap());
    assert_eq!((rows.len(), error), (2, None));
}

#[test]
fn a_reader_may_work_on_a_thread_of_its_own() {
    let reader = ChunkReader::new("test", Box::new(&b"{}\n"[..]), Framing::Json).unwrap();
    let rows =
        std::thread::spawn(move || reader.map(|chunk| chunk.unwrap().rows).sum::<u64>()).join().unwrap();
    assert_eq!(rows, 1);
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        "[a-z\"\\\\{}\\[\\],\n é]{0,12}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map("[a-z\"{\\]\n]{0,4}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn an_array_gives_the_same_rows_wherever_the_reads_end(
        elements in prop::collection::vec(json(), 0..8), step in 1..40usize, pretty: bool
    ) {
        let whole = serde_json::Value::from(elements.clone());
        let text = if pretty { serde_json::to_string_pretty(&whole) } else { serde_json::to_string(&whole) }.unwrap();
        // The scanner sees every cut: it is fed directly, for a reader would gather the pieces first.
        let mut scanner = array::ArrayScanner::default();
        let mut out = Vec::new();
        for piece in text.as_bytes().chunks(step) {
            prop_assert_eq!(scanner.feed(piece, &mut out), Ok(()));
        }
        prop_assert_eq!(scanner.complete(), out.len());
        let lines: Vec<serde_json::Value> =
            out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| serde_json::from_slice(line).unwrap()).collect();
        prop_assert_eq!(lines, elements);
    }

    #[test]
    fn lines_come_out_as_they_went_in_however_they_arrive(
        lines in prop::collection::vec("[a-z\\[{ \r]{0,10}", 0..50), step in 1..7usize, end: bool
    ) {
        let mut text = lines.join("\n");
        if end {
            text.push('\n');
        }
        let reader = Box::new(Dribble { bytes: text.clone().into_bytes(), at: 0, step });
        let (rows, error) = numbered(ChunkReader::new("test", reader, Framing::Lines).unwrap());
        prop_assert_eq!(error, None);
        let want: Vec<(u64, String)> =
            (1..).zip(text.split('\n')).filter(|(_, line)| !line.trim().is_empty()).map(|(at, line)| (at, line.to_owned())).collect();
        prop_assert_eq!(rows, want);
    }
}
