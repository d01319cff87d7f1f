//! Indexes of a store on disk: each tells of its file whatever happened, goes with it, and is missed by nobody.

use super::*;
use crate::storage::sidecar;

/// The sidecars on disk, as paths of the data files that they are of.
pub(super) fn indexed(storage: &Storage) -> BTreeSet<String> {
    let root = storage.layout().index();
    let mut found = BTreeSet::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path == storage.layout().people() {
                continue;
            }
            let within = path.strip_prefix(&root).unwrap().to_str().unwrap();
            let parts: Vec<&str> = within.split('/').collect();
            found.insert(layout::data_of_sidecar(parts[0], parts[1], parts[2]).unwrap());
        }
    }
    found
}

/// Every sidecar is of a file that the store has, and says what that says.
pub(super) fn assert_true(storage: &Storage, snapshot: &Snapshot) {
    let mut left = indexed(storage);
    for file in snapshot.tables.values().flat_map(|table| &table.files) {
        if left.remove(&file.path) {
            assert_eq!(storage.verify_sidecar(file).unwrap(), None);
        }
    }
    assert_eq!(left, BTreeSet::new(), "indexes of files that are gone");
}

async fn files(storage: &Storage) -> Vec<DataFile> {
    let snapshot = storage.snapshot().await.unwrap();
    snapshot.tables.values().flat_map(|table| table.files.clone()).collect()
}

#[tokio::test]
async fn every_file_of_the_log_and_of_a_compaction_has_an_index_and_loses_it_when_it_goes() {
    let dir = TempDir::new().unwrap();
    let storage = open(&dir).await;
    for number in 0..3 {
        storage.commit(batch(&storage, 1 + number * 60, 60)).await.unwrap();
    }
    assert_eq!(indexed(&storage).len(), 18);
    assert_true(&storage, &storage.snapshot().await.unwrap());
    storage.compact(quiet()).await.unwrap();
    let all: BTreeSet<String> = files(&storage).await.into_iter().map(|file| file.path).collect();
    assert_eq!((indexed(&storage), all.len()), (all, 6));
    assert_true(&storage, &storage.snapshot().await.unwrap());
    let totals = storage.totals().await.unwrap();
    assert!(totals.iter().all(|one| one.indexed.files == one.files && one.indexed.bytes() > 0));
}

#[tokio::test]
async fn files_of_an_import_that_will_be_compacted_get_theirs_then() {
    let dir = TempDir::new().unwrap();
    let storage = open(&dir).await;
    for number in 0..2 {
        let rows = some(1 + number * 60, 60, 3);
        let events = vec![events(&storage, "view", &rows)];
        let batch = Batch { events, last_seq: 60 + number * 60, renumber: true, ..Batch::default() };
        storage.commit(batch).await.unwrap();
    }
    assert_eq!(indexed(&storage).len(), 3, "the first of each day");
    assert_eq!(storage.compact(quiet()).await.unwrap().indexed, 0);
    assert_eq!(indexed(&storage).len(), 3);
    assert_true(&storage, &storage.snapshot().await.unwrap());
}

#[tokio::test]
async fn what_is_missing_torn_or_of_another_file_is_made_anew_by_compaction() {
    let dir = TempDir::new().unwrap();
    let storage = open(&dir).await;
    storage.commit(batch(&storage, 1, 300)).await.unwrap();
    let files = files(&storage).await;
    let path = |at: usize| storage.layout().sidecar(&files[at].path).unwrap();
    let whole = fs::read(path(1)).unwrap();
    fs::remove_file(path(0)).unwrap();
    fs::write(path(1), &whole[..whole.len() - 3]).unwrap();
    fs::copy(path(3), path(2)).unwrap();
    for file in &files[..3] {
        assert!(storage.index.open(file).is_none(), "{}", file.path);
    }
    assert!(storage.index.open(&files[3]).is_some());
    // As another process finds it: nothing of it is in memory.
    drop(storage);
    let storage = open(&dir).await;
    assert_eq!(storage.compact(quiet()).await.unwrap().indexed, 3);
    assert_true(&storage, &storage.snapshot().await.unwrap());
    assert_eq!(indexed(&storage).len(), files.len());
    assert_eq!(storage.compact(quiet()).await.unwrap(), Compacted::default());
}

#[tokio::test]
async fn verification_finds_an_index_that_is_damaged_and_lets_it_be_made_anew() {
    let dir = TempDir::new().unwrap();
    let storage = open(&dir).await;
    let persons = (1..=17).map(|id| Person { id: PersonId(id), external_id: None, created: Micros(0) });
    let persons = persons.map(|person| (person, Vec::new())).collect();
    let events = vec![events(&storage, "view", &some(1, 100, 3))];
    let batch = Batch { events, persons, last_seq: 100, ..Batch::default() };
    storage.commit(batch).await.unwrap();
    let before = storage.verify(|_| {}).await.unwrap();
    assert_eq!((before.indexed, before.indexes_removed.len()), (3, 0));
    let files = files(&storage).await;
    let path = storage.layout().sidecar(&files[1].path).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let found = storage.verify(|_| {}).await.unwrap();
    assert_eq!(
        (found.indexed, found.faults.len()),
        (2, before.faults.len()),
        "it is no fault of what is stored"
    );
    assert!(found.indexes_removed[0].contains("is damaged and is removed; milepost compact makes it anew"));
    assert_eq!(storage.compact(quiet()).await.unwrap().indexed, 1);
    assert_eq!(storage.verify(|_| {}).await.unwrap().indexes_removed, Vec::<String>::new());
}

#[tokio::test]
async fn nothing_of_a_forgotten_person_is_left_in_an_index() {
    let dir = TempDir::new().unwrap();
    let storage = open(&dir).await;
    let mut first = batch(&storage, 1, 200);
    for id in 1..=17 {
        let person = Person { id: PersonId(id), external_id: None, created: Micros(0) };
        first.persons.push((person, Vec::new()));
    }
    storage.commit(first).await.unwrap();
    let tells = |storage: &Storage, files: &[DataFile]| {
        let of = files.iter().map(|file| storage.index.open(file).unwrap());
        of.filter(|sidecar| sidecar.persons().contains(&5)).count()
    };
    assert!(tells(&storage, &files(&storage).await) > 0);
    storage.forget(PersonId(5)).await.unwrap();
    let files = files(&storage).await;
    assert_eq!(tells(&storage, &files), 0);
    assert_eq!(indexed(&storage), files.iter().map(|file| file.path.clone()).collect());
    assert_true(&storage, &storage.snapshot().await.unwrap());
}

#[tokio::test]
async fn a_backup_has_no_index_and_a_restored_store_gets_one() {
    let dir = TempDir::new().unwrap();
    let storage = open(&dir).await;
    storage.commit(batch(&storage, 1, 100)).await.unwrap();
    let other = TempDir::new().unwrap();
    let (copy, again) = (other.path().join("copy"), other.path().join("again"));
    storage.backup(copy.to_str().unwrap()).await.unwrap();
    assert!(!copy.join("index").try_exists().unwrap());
    restore(copy.to_str().unwrap(), &again, None).await.unwrap();
    let restored = Storage::open(StorageConfig { dir: again, ..config(&dir) }).await.unwrap();
    assert_eq!(indexed(&restored).len(), 0);
    assert_eq!(restored.compact(quiet()).await.unwrap().indexed, 6);
    assert_true(&restored, &restored.snapshot().await.unwrap());
}

#[tokio::test]
async fn a_sidecar_that_cannot_be_written_does_not_fail_its_file() {
    let dir = TempDir::new().unwrap();
    let storage = open(&dir).await;
    fs::write(storage.layout().index(), "in the way").unwrap();
    storage.commit(batch(&storage, 1, 50)).await.unwrap();
    assert_eq!(seqs(&storage, "view").await.len(), 50);
    assert!(files(&storage).await.iter().all(|file| storage.index.open(file).is_none()));
    fs::remove_file(storage.layout().index()).unwrap();
    assert_eq!(storage.compact(quiet()).await.unwrap().indexed, 6);
    sidecar::remove_with(storage.layout(), "view/day=2026-06-01/none.parquet").unwrap();
}
