//! The log against a plain list: cuts at every byte, damage anywhere, and a disk that fails.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::error::Kind;

type Records = Vec<(u64, Vec<u8>)>;

fn open_after(dir: &Path, segment_bytes: u64, done: u64) -> Result<(Wal, Records)> {
    let mut found = Vec::new();
    let wal = Wal::open(dir, Arc::new(Disk), segment_bytes, done, |number, payload| {
        found.push((number, payload.to_vec()));
        Ok(())
    })?;
    Ok((wal, found))
}

fn numbered(payloads: &[Vec<u8>]) -> Records {
    (1..).zip(payloads.iter().cloned()).collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// A log of these records, in a folder of its own.
fn log_of(payloads: &[Vec<u8>], segment_bytes: u64) -> TempDir {
    let dir = TempDir::new().unwrap();
    let (mut wal, _) = open_after(dir.path(), segment_bytes, 0).unwrap();
    for (number, payload) in numbered(payloads) {
        assert_eq!(wal.append(&payload).unwrap(), number);
    }
    dir
}

fn some_payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
    // Frames within payloads must not be taken for frames.
    let mut frame = Vec::new();
    frame::write(2, b"not a record", &mut frame);
    vec(prop_oneof![vec(any::<u8>(), 0..40), Just(frame), Just(b"MPfr".to_vec())], 1..9)
}

#[derive(Clone, Debug)]
enum Op {
    Append(Vec<u8>),
    Cut,
    /// Everything up to this share of the records is stored elsewhere.
    Trim(u8),
    Reopen,
}

fn some_ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => vec(any::<u8>(), 0..60).prop_map(Op::Append),
        1 => Just(Op::Cut),
        1 => any::<u8>().prop_map(Op::Trim),
        2 => Just(Op::Reopen),
    ];
    vec(op, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// What is appended is there, in order, from `done` on, whatever is cut, trimmed and opened again in between.
    #[test]
    fn br40_a_log_is_the_list_of_its_records(ops in some_ops(), segment_bytes in 1_u64..200) {
        let dir = TempDir::new().unwrap();
        let (mut all, mut done): (Vec<Vec<u8>>, u64) = (Vec::new(), 0);
        let (mut wal, _) = open_after(dir.path(), segment_bytes, 0).unwrap();
        for op in ops {
            match op {
                Op::Append(payload) => {
                    all.push(payload.clone());
                    prop_assert_eq!(wal.append(&payload).unwrap(), all.len() as u64);
                }
                Op::Cut => wal.cut(),
                Op::Trim(share) => {
                    done = done.max(all.len() as u64 * u64::from(share) / 255);
                    wal.trim(done).unwrap();
                }
                Op::Reopen => {
                    drop(wal);
                    let (again, found) = open_after(dir.path(), segment_bytes, done).unwrap();
                    wal = again;
                    let left: Records =
                        numbered(&all).into_iter().filter(|(number, _)| *number > done).collect();
                    prop_assert_eq!(found, left);
                }
            }
            prop_assert_eq!(wal.last(), all.len() as u64);
            let on_disk: u64 = files(dir.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
            prop_assert_eq!(wal.bytes(), on_disk);
        }
    }
}

proptest! {
    // Each case opens the log once for every byte that it has.
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    /// A power cut leaves any part of what was not synced. At whichever byte the last segment ends: the records that
    /// are whole are there, no other, and the log goes on behind them.
    #[test]
    fn br40_a_cut_at_any_byte_leaves_the_whole_records_before_it(payloads in some_payloads()) {
        let dir = log_of(&payloads, u64::MAX);
        let path = path_of(dir.path(), 1);
        let bytes = fs::read(&path).unwrap();
        for end in 0..=bytes.len() {
            let cut = TempDir::new().unwrap();
            fs::write(path_of(cut.path(), 1), &bytes[..end]).unwrap();
            let mut whole = Vec::new();
            let mut at = frame::HEAD_BYTES;
            for (number, payload) in numbered(&payloads) {
                at += frame::FRAME_BYTES + payload.len();
                if at <= end {
                    whole.push((number, payload));
                }
            }
            let (mut wal, found) = open_after(cut.path(), u64::MAX, 0).unwrap();
            prop_assert_eq!(&found, &whole, "cut at byte {}", end);
            if end % 16 == 0 {
                whole.push((wal.append(b"more").unwrap(), b"more".to_vec()));
                drop(wal);
                prop_assert_eq!(open_after(cut.path(), u64::MAX, 0).unwrap().1, whole);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// A byte that has changed is an error that names its file, but for the very last record, which may be torn; never
    /// are other bytes handed out than were put in.
    #[test]
    fn br40_a_changed_byte_is_told_or_in_the_last_record(
        payloads in some_payloads(),
        at in any::<prop::sample::Index>(),
        change in 1_u8..,
        segment_bytes in prop_oneof![Just(u64::MAX), Just(60)],
    ) {
        let dir = log_of(&payloads, segment_bytes);
        let all = files(dir.path());
        let path = &all[at.index(all.len())];
        let mut bytes = fs::read(path).unwrap();
        let place = at.index(bytes.len());
        bytes[place] ^= change;
        fs::write(path, &bytes).unwrap();
        match open_after(dir.path(), segment_bytes, 0) {
            Err(error) => prop_assert!(error.to_string().contains(path.file_name().unwrap().to_str().unwrap())),
            Ok((_, found)) => {
                let expected = numbered(&payloads);
                prop_assert_eq!(found.as_slice(), &expected[..expected.len() - 1]);
                prop_assert_eq!(Some(path), all.last());
            }
        }
    }
}

#[test]
fn a_segment_that_is_missing_is_told_with_its_records() {
    let dir = log_of(&[vec![1], vec![2], vec![3], vec![4]], 1);
    fs::remove_file(path_of(dir.path(), 2)).unwrap();
    let error = open_after(dir.path(), 1, 0).unwrap_err();
    assert_eq!(error.kind(), Kind::Internal);
    assert!(error.to_string().contains("no records 2 to 2"), "{error}");
    // What is stored elsewhere need not be in the log.
    assert_eq!(open_after(dir.path(), 1, 2).unwrap_err().kind(), Kind::Internal);
    fs::remove_file(path_of(dir.path(), 1)).unwrap();
    assert_eq!(open_after(dir.path(), 1, 2).unwrap().1, [(3, vec![3]), (4, vec![4])]);
    // A log that is older than the store goes on behind it.
    let (mut wal, found) = open_after(dir.path(), 1, 9).unwrap();
    assert_eq!((found, wal.append(b"").unwrap()), (Vec::new(), 10));
}

/// A disk that fails at its nth write or sync; what a failing write was given is there in part.
#[derive(Debug)]
pub(crate) struct FailingDisk {
    left: AtomicUsize,
    how: Failure,
    seen: Mutex<Vec<io::ErrorKind>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nothing is written.
    Full,
    /// So many bytes are.
    Short(usize),
    /// All is written, and the sync fails.
    Sync,
}

impl FailingDisk {
    pub(crate) fn new(after: usize, how: Failure) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(after), how, seen: Mutex::default() })
    }

    fn fails(&self) -> bool {
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err()
    }

    fn fail(&self, kind: io::ErrorKind) -> io::Result<()> {
        self.seen.lock().unwrap().push(kind);
        Err(kind.into())
    }
}

#[derive(Debug)]
struct FailingFile {
    disk: Arc<FailingDisk>,
    file: Box<dyn LogFile>,
}

#[derive(Debug)]
pub(crate) struct Failing(pub(crate) Arc<FailingDisk>);

impl Medium for Failing {
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(FailingFile { disk: Arc::clone(&self.0), file: Disk.create(path)? }))
    }
}

impl LogFile for FailingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.disk.how {
            Failure::Full if self.disk.fails() => self.disk.fail(io::ErrorKind::StorageFull),
            Failure::Short(part) if self.disk.fails() => {
                self.file.write(&bytes[..part.min(bytes.len())])?;
                self.disk.fail(io::ErrorKind::StorageFull)
            }
            _ => self.file.write(bytes),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.disk.how == Failure::Sync && self.disk.fails() {
            return self.disk.fail(io::ErrorKind::Other);
        }
        self.file.sync()
    }
}

#[test]
fn br40_after_a_failure_nothing_is_taken_and_everything_acknowledged_is_there() {
    for how in [Failure::Full, Failure::Short(1), Failure::Short(30), Failure::Short(1000), Failure::Sync] {
        for after in 0..6 {
            let dir = TempDir::new().unwrap();
            let disk = FailingDisk::new(after, how);
            let medium = Arc::new(Failing(Arc::clone(&disk)));
            let mut wal = Wal::open(dir.path(), medium, 90, 0, |_, _| Ok(())).unwrap();
            let mut acknowledged = Vec::new();
            let payload = |number: u8| vec![number; 20];
            for number in 1..10 {
                match wal.append(&payload(number)) {
                    Ok(record) => {
                        assert!(disk.seen.lock().unwrap().is_empty(), "acknowledged after {how:?}");
                        acknowledged.push((record, payload(number)));
                    }
                    Err(error) => assert_eq!(error.kind(), Kind::Unavailable),
                }
            }
            // A disk that is full is tried again each time.
            let tries = if how == Failure::Sync { 1 } else { 9 - acknowledged.len() };
            assert_eq!(disk.seen.lock().unwrap().len(), tries, "{how:?} at {after}");
            drop(wal);
            let (mut wal, found) = open_after(dir.path(), 90, 0).unwrap();
            assert!(found.starts_with(&acknowledged), "{how:?} at {after}");
            assert!(found.len() <= acknowledged.len() + usize::from(how == Failure::Sync));
            let next = wal.append(b"more").unwrap();
            assert_eq!(next, found.len() as u64 + 1);
            drop(wal);
            assert_eq!(open_after(dir.path(), 90, 0).unwrap().1.len(), found.len() + 1);
        }
    }
}

#[test]
fn br40_a_log_goes_on_when_a_full_disk_has_room_again() {
    for how in [Failure::Full, Failure::Short(1), Failure::Short(16), Failure::Short(30)] {
        for after in 0..6 {
            let dir = TempDir::new().unwrap();
            let disk = FailingDisk::new(after, how);
            let medium = Arc::new(Failing(Arc::clone(&disk)));
            let mut wal = Wal::open(dir.path(), medium, 90, 0, |_, _| Ok(())).unwrap();
            let mut acknowledged = Vec::new();
            for number in 1..10_u8 {
                let payload = vec![number; 20];
                match wal.append(&payload) {
                    Ok(record) => acknowledged.push((record, payload)),
                    Err(_) if number % 2 == 0 => disk.left.store(after + 2, Ordering::SeqCst),
                    Err(_) => {}
                }
            }
            assert!(acknowledged.len() > 1, "{how:?} at {after}");
            drop(wal);
            assert_eq!(open_after(dir.path(), 90, 0).unwrap().1, acknowledged, "{how:?} at {after}");
        }
    }
}

#[test]
fn a_record_that_is_too_large_is_refused_and_the_log_goes_on() {
    let dir = TempDir::new().unwrap();
    let (mut wal, _) = open_after(dir.path(), 100, 0).unwrap();
    let error = wal.append(&vec![0; RECORD_LIMIT + 1]).unwrap_err();
    assert_eq!(error.kind(), Kind::Exhausted);
    assert_eq!(wal.append(b"small").unwrap(), 1);
}
