//! A disk that is full for real: a small file system in memory, filled and emptied while events come. Where the test may
//! not mount one (that takes root), it says so and is skipped.

use std::fs;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use super::*;
use crate::storage::Batch;

/// Room for the catalog, the log and some files.
const DISK: &str = "size=24m";

/// A file system of its own, gone with the test.
struct SmallDisk {
    at: TempDir,
}

impl SmallDisk {
    fn mount(test: &str) -> Option<Self> {
        let at = TempDir::new().unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", DISK, "milepost-test"]).arg(at.path());
        let mounted = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self { at });
        }
        eprintln!("{test}: skipped, for no file system can be mounted here (that takes root)");
        None
    }

    fn ballast(&self) -> PathBuf {
        self.at.path().join("ballast")
    }

    /// Takes all the room that is left but so many bytes.
    fn fill(&self, left: u64) {
        let mut file = File::create(self.ballast()).unwrap();
        let piece = [1_u8; 4096];
        let mut bytes = 0_u64;
        while file.write_all(&piece).is_ok() {
            bytes += piece.len() as u64;
        }
        file.set_len(bytes.saturating_sub(left)).unwrap();
    }

    fn empty(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a file may still be open.
        let _ = Command::new("umount").arg("-l").arg(self.at.path()).status();
    }
}

/// Ids of events that were acknowledged, and how many calls were refused.
#[derive(Default)]
struct Sent {
    acknowledged: Vec<String>,
    refused: usize,
    next: u64,
}

impl Sent {
    /// Sends so many groups of new events, and each that is refused no second time.
    async fn send(&mut self, ingester: &Ingester, groups: u64) {
        for _ in 0..groups {
            let ids: Vec<u64> = (self.next..self.next + 40).collect();
            self.next += 40;
            let lines: String =
                ids.iter().map(|n| visit(&format!("v{n}"), &format!("p{}", n % 50), *n)).collect();
            match ingester.ingest(IngestBatch::lines(lines), IngestOptions::default()).await {
                Ok(report) => {
                    assert_eq!(report.stored, 40);
                    self.acknowledged.extend(ids.iter().map(|n| format!("v{n}")));
                }
                Err(error) => {
                    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
                    self.refused += 1;
                }
            }
        }
    }

    /// What was acknowledged is there, each once, and nothing else.
    async fn check(&self, storage: &Arc<Storage>) {
        let mut found: Vec<String> = shown(storage, "visit").await.into_iter().map(|one| one.2).collect();
        found.sort();
        let mut expected = self.acknowledged.clone();
        expected.sort();
        assert_eq!(found, expected);
    }
}

fn never() -> FlushLimits {
    let long = std::time::Duration::from_secs(1_000_000);
    FlushLimits { bytes: usize::MAX, events: usize::MAX, age: long, most_bytes: usize::MAX }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn br40_a_full_disk_is_told_and_loses_nothing_and_work_goes_on_when_there_is_room() {
    let Some(disk) = SmallDisk::mount("br40_a_full_disk_is_told_and_loses_nothing") else { return };
    let config = || StorageConfig {
        grace: std::time::Duration::ZERO,
        ..StorageConfig::new(disk.at.path().join("data"), clock())
    };
    let (storage, _) = open_with(config()).await;
    let ingester = Ingester::new(Arc::clone(&storage), clock(), Arc::default(), never());
    let mut sent = Sent::default();
    sent.send(&ingester, 20).await;
    assert_eq!(sent.refused, 0);

    // The log, or the catalog before it: with no room at all, and with so little that it ends within a record.
    for left in [0, 4096, 20_000] {
        disk.fill(left);
        let before = sent.refused;
        sent.send(&ingester, 12).await;
        assert!(sent.refused > before, "nobody was told of {left} bytes that are left");
        sent.check(&storage).await;
        disk.empty();
        let before = sent.refused;
        sent.send(&ingester, 3).await;
        assert_eq!(sent.refused, before, "work did not go on after {left} bytes");
        sent.check(&storage).await;
    }

    // The flush: data files, event ids, the catalog's record, Delta logs, wherever it ends.
    for left in [0, 8192, 40_000, 90_000, 150_000, 220_000] {
        sent.send(&ingester, 2).await;
        disk.fill(left);
        let flushed = storage.flush().await;
        sent.check(&storage).await;
        disk.empty();
        if let Err(error) = flushed {
            assert_eq!(error.kind(), Kind::Unavailable, "{error}");
        }
        storage.flush().await.unwrap();
        assert_eq!(storage.unflushed().events, 0);
        sent.check(&storage).await;
    }

    // A batch, as an import makes it, and compaction.
    for left in [0, 20_000, 60_000, 120_000] {
        sent.send(&ingester, 2).await;
        storage.flush().await.unwrap();
        disk.fill(left);
        let compacted = storage.compact(Arc::new(|_| {})).await;
        let _ = storage.commit(Batch { last_seq: storage.last_seq(), ..Batch::default() }).await;
        sent.check(&storage).await;
        disk.empty();
        if let Err(error) = compacted {
            assert_eq!(error.kind(), Kind::Unavailable, "{error}");
        }
        storage.compact(Arc::new(|_| {})).await.unwrap();
        sent.check(&storage).await;
    }

    // Nothing that is on the disk now is what a failure left.
    sent.send(&ingester, 2).await;
    drop((ingester, storage));
    let (storage, ingester) = open_with(config()).await;
    sent.check(&storage).await;
    sent.send(&ingester, 2).await;
    let verified = storage.verify(|_| {}).await.unwrap();
    assert_eq!(verified.faults, Vec::<String>::new());
    sent.check(&storage).await;
}
