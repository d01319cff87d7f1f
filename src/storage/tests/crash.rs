//! BR-40: whatever step a crash falls on, a batch is whole or absent, and a compaction done or not begun.

use super::*;
use crate::error::Error;
use crate::error::Result;
use crate::storage::steps::Step;
use crate::storage::steps::Steps;

/// Stops at the nth time that a step is reached, and at every step after it, as a crash does.
#[derive(Debug)]
struct StopAt {
    step: Step,
    passes: Mutex<usize>,
}

impl Steps for StopAt {
    fn reached(&self, step: Step) -> Result<()> {
        let mut passes = self.passes.lock().unwrap();
        if step == self.step || *passes == usize::MAX {
            if *passes == 0 || *passes == usize::MAX {
                *passes = usize::MAX;
                return Err(Error::cancelled("stopped by a test"));
            }
            *passes -= 1;
        }
        Ok(())
    }
}

async fn open_to_stop(dir: &TempDir, step: Step, passes: usize) -> Arc<Storage> {
    let steps: Arc<dyn Steps> = Arc::new(StopAt { step, passes: Mutex::new(passes) });
    Storage::open(StorageConfig { steps: Some(steps), ..config(dir) }).await.unwrap()
}

#[tokio::test]
async fn br40_a_stop_at_any_step_of_a_commit_leaves_the_batch_whole_or_absent() {
    let stops = [
        (Step::IdsSealed, 0, false),
        (Step::FilesWritten, 0, false),
        (Step::Recorded, 0, true),
        (Step::TableCommitted, 0, true),
        (Step::TableCommitted, 1, true),
        (Step::Published, 0, true),
    ];
    for (step, passes, stored) in stops {
        let dir = TempDir::new().unwrap();
        let storage = open(&dir).await;
        storage.commit(batch(&storage, 1, 100)).await.unwrap();
        drop(storage);

        let storage = open_to_stop(&dir, step, passes).await;
        storage.commit(batch(&storage, 101, 100)).await.unwrap_err();
        drop(storage);

        for _ in 0..2 {
            let storage = open(&dir).await;
            let last = if stored { 200 } else { 100 };
            let expected: Vec<i64> = (1..=last).collect();
            assert_eq!(seqs(&storage, "view").await, expected, "stopped at {step:?}");
            assert_eq!(seqs(&storage, "buy").await, expected, "stopped at {step:?}");
            assert_eq!(storage.catalog().last_seq().unwrap(), last);
            assert_eq!(storage.catalog().unpublished_batches().unwrap(), []);
            let known = event_ids::Verdict::Duplicate;
            assert_eq!(
                storage.event_ids().unwrap().check(150, 1).unwrap() == known,
                stored,
                "stopped at {step:?}"
            );
            storage.event_ids().unwrap().discard().unwrap();
            assert_no_orphans(&storage).await;
        }
        let storage = open(&dir).await;
        storage.commit(batch(&storage, 201, 100)).await.unwrap();
        assert_eq!(seqs(&storage, "view").await.len(), if stored { 300 } else { 200 });
    }
}

#[tokio::test]
async fn br40_a_batch_that_could_not_be_shown_is_shown_by_the_next_commit() {
    let dir = TempDir::new().unwrap();
    drop(open(&dir).await);
    // Only the first batch is stopped: the others never reach "recorded" without passing it.
    #[derive(Debug, Default)]
    struct Once(Mutex<bool>);
    impl Steps for Once {
        fn reached(&self, step: Step) -> Result<()> {
            let mut stopped = self.0.lock().unwrap();
            if step == Step::TableCommitted && !*stopped {
                *stopped = true;
                return Err(Error::unavailable("the store does not answer"));
            }
            Ok(())
        }
    }
    let steps: Arc<dyn Steps> = Arc::new(Once::default());
    let storage = Storage::open(StorageConfig { steps: Some(steps), ..config(&dir) }).await.unwrap();
    let failed = storage.commit(batch(&storage, 1, 10)).await.unwrap_err();
    assert!(failed.to_string().contains("batch 1 is stored"), "{failed}");
    storage.commit(batch(&storage, 11, 10)).await.unwrap();
    let all: Vec<i64> = (1..=20).collect();
    assert_eq!(seqs(&storage, "view").await, all);
    assert_eq!(seqs(&storage, "buy").await, all);
}

#[tokio::test]
async fn br40_a_batch_is_published_once_however_often_it_is_tried() {
    let dir = TempDir::new().unwrap();
    let storage = open(&dir).await;
    storage.commit(batch(&storage, 1, 10)).await.unwrap();
    let registry = storage.registry();
    let view = registry.get("view").unwrap();
    let record = FileRecord {
        definition: "view".to_owned(),
        path: "view/day=1970-01-01/again.parquet".to_owned(),
        bytes: 1,
        day: 0,
        stats: "{}".to_owned(),
    };
    storage.tables.publish(view, 1, &[record], Micros(0)).await.unwrap();
    assert_eq!(seqs(&storage, "view").await.len(), 10);
}

#[tokio::test]
async fn br40_a_stop_in_a_compaction_leaves_the_old_files_or_the_new_ones() {
    for step in [Step::Rewritten, Step::Replaced] {
        for passes in 0..2 {
            let dir = TempDir::new().unwrap();
            let storage = open(&dir).await;
            storage.commit(batch(&storage, 1, 100)).await.unwrap();
            storage.commit(batch(&storage, 101, 100)).await.unwrap();
            drop(storage);

            let storage = open_to_stop(&dir, step, passes).await;
            storage.compact(quiet()).await.unwrap_err();
            drop(storage);

            let storage = open(&dir).await;
            let all: Vec<i64> = (1..=200).collect();
            assert_eq!(seqs(&storage, "view").await, all);
            assert_eq!(seqs(&storage, "buy").await, all);
            assert_no_orphans(&storage).await;
            storage.compact(quiet()).await.unwrap();
            assert_eq!(seqs(&storage, "view").await, all);
            assert_no_orphans(&storage).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn br40_events_that_come_while_files_are_compacted_are_kept_once() {
    let dir = TempDir::new().unwrap();
    let storage = open(&dir).await;
    storage.commit(batch(&storage, 1, 100)).await.unwrap();
    let writer = Arc::clone(&storage);
    let commits = tokio::spawn(async move {
        for number in 1..8 {
            writer.commit(batch(&writer, 1 + number * 100, 100)).await.unwrap();
        }
    });
    for _ in 0..4 {
        storage.compact(quiet()).await.unwrap();
        let seen = seqs(&storage, "view").await;
        assert_eq!(seen, (1..=i64::try_from(seen.len()).unwrap()).collect::<Vec<_>>());
    }
    commits.await.unwrap();
    storage.compact(quiet()).await.unwrap();
    assert_eq!(seqs(&storage, "view").await, (1..=800).collect::<Vec<_>>());
    assert_eq!(storage.snapshot().await.unwrap().tables["view"].files.len(), 3);
    assert_no_orphans(&storage).await;
}
