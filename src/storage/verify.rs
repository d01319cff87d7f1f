//! Reads everything that is stored and says what is not as it should be: `milepost verify`.
//!
//! What is checked of each data file: it is there, as large as its log says, a whole Parquet file, of as many rows, all
//! of its day, sorted, within the bounds that queries rely on; and its index says what it says. And over all of them: no number and no event id comes
//! twice, each event's person and id are known, no number is above the last that was given out.

use std::fs;
use std::fs::File;
use std::sync::Arc;

use arrow::array::AsArray;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use roaring::RoaringTreemap;
use tokio::runtime::Handle;
use xxhash_rust::xxh3::xxh3_128;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::ids::PersonId;
use crate::person::Persons;
use crate::schema::EVENT_ID;
use crate::schema::OCCURRED_TIME;
use crate::schema::PERSON_ID;
use crate::schema::SEQ;
use crate::storage::DataFile;
use crate::storage::Storage;
use crate::storage::keys::SortKey;
use crate::storage::keys::SortKeys;
use crate::storage::layout;
use crate::storage::pool;
use crate::time::MICROS_PER_DAY;

/// So many faults are told; more say no more.
const MOST_FAULTS: usize = 100;

/// Event ids that are looked up without a break.
const PIECE_KEYS: usize = 10_000;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    pub files: u64,
    pub events: u64,
    pub bytes: u64,
    pub persons: u64,
    /// Files with an index beside them.
    pub indexed: u64,
    /// What was wrong with indexes, which are removed: they are made anew from their files, and nothing is lost.
    pub indexes_removed: Vec<String>,
    /// Event ids that are remembered, also of events that are gone.
    pub ids: u64,
    /// What is not as it should be, each in a sentence that names the place.
    pub faults: Vec<String>,
    /// Faults beyond those.
    pub more_faults: u64,
}

/// What one file says.
#[derive(Default)]
struct Seen {
    bytes: u64,
    rows: u64,
    seqs: RoaringTreemap,
    keys: Vec<u128>,
    faults: Vec<String>,
    indexed: bool,
    index_removed: Option<String>,
}

impl Storage {
    /// Reads all data files and holds them against each other and the catalog. What the log alone has comes into the
    /// lake first. Takes 16 bytes of memory an event. The path is told from the threads that read.
    ///
    /// # Errors
    /// `Invalid` when the directory is open for reading only. Faults of what is stored are no errors.
    pub async fn verify(
        self: &Arc<Self>,
        reading: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Verified> {
        self.flush().await?;
        let storage = Arc::clone(self);
        // Nobody may replace files or remember ids of events that were not read.
        let _still = (self.compacting.lock().await, self.committing.lock().await);
        let snapshot = self.snapshot().await?;
        let runtime = Handle::current();
        let work = move || {
            let mut files: Vec<(String, DataFile)> = Vec::new();
            for (id, table) in &snapshot.tables {
                let stored = table.files.iter().filter(|file| !layout::is_buffer(&file.path));
                files.extend(stored.map(|file| (id.clone(), file.clone())));
            }
            files.sort_by_key(|(_, file)| std::cmp::Reverse(file.bytes));
            let persons = Arc::clone(snapshot.persons.all()?);
            let seen = pool::run(storage.config.threads, files, |(id, file)| {
                reading(&file.path);
                // What cannot be fetched is told as what cannot be read.
                let _copy = runtime.block_on(storage.lake.fetch(vec![file.path.clone()]));
                Ok(storage.verify_file(&id, &file, &persons))
            })?;
            storage.together(seen, &persons)
        };
        tokio::task::spawn_blocking(work).await.internal(|| "the verification broke off".to_owned())?
    }

    /// What can be said of one file alone.
    fn verify_file(&self, id: &str, file: &DataFile, persons: &Persons) -> Seen {
        let mut seen = Seen::default();
        if let Err(error) = self.read_file(id, file, persons, &mut seen) {
            seen.faults.push(format!("{}: {error}", file.path));
        }
        seen.faults.truncate(MOST_FAULTS);
        if seen.faults.is_empty() {
            match self.verify_sidecar(file) {
                Ok(removed) => seen.index_removed = removed,
                Err(error) => seen.faults.push(format!("the index of {}: {error}", file.path)),
            }
            seen.indexed = self.index.head(file).is_some();
        }
        seen
    }

    fn read_file(&self, id: &str, file: &DataFile, persons: &Persons, seen: &mut Seen) -> Result<()> {
        let path = self.layout.local(&file.path);
        let doing = || "it cannot be read".to_owned();
        seen.bytes = fs::metadata(&path).unavailable(doing)?.len();
        let mut faults = Vec::new();
        if seen.bytes != file.bytes {
            faults.push(format!("it has {} bytes, and its log says {}", seen.bytes, file.bytes));
        }
        if !file.path.starts_with(&format!("{id}/")) {
            faults.push(format!("it is not in the folder of \"{id}\""));
        }
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unavailable(doing)?)
            .internal(doing)?;
        let schema = builder.parquet_schema();
        let wanted = [PERSON_ID, OCCURRED_TIME, SEQ, EVENT_ID];
        let mask = ProjectionMask::columns(schema, wanted);
        let mut last: Option<SortKey> = None;
        for rows in builder.with_projection(mask).build().internal(doing)? {
            let rows = rows.internal(doing)?;
            let keys = SortKeys::of(&rows)?;
            let ids = rows.column_by_name(EVENT_ID).and_then(|column| column.as_string_opt::<i32>());
            let ids = ids.ok_or_else(|| Error::internal("its event ids are missing"))?;
            for row in 0..keys.len() {
                let key = keys.key(row);
                let at = seen.rows;
                seen.rows += 1;
                if last.is_some_and(|last| last >= key) {
                    faults.push(format!("row {at} is not behind the row before it in the sort order"));
                }
                last = Some(key);
                let (person, time, seq) = key;
                if time.div_euclid(MICROS_PER_DAY) != i64::from(file.day.0) {
                    faults.push(format!("row {at} is of another day"));
                }
                if !(file.persons.0..=file.persons.1).contains(&person)
                    || !(file.times.0.0..=file.times.1.0).contains(&time)
                {
                    faults.push(format!("row {at} is outside the bounds that the log gives"));
                }
                if !persons.contains(PersonId(person)) {
                    faults.push(format!("row {at} is of person {person}, whom nobody knows"));
                }
                if !u64::try_from(seq).is_ok_and(|seq| seen.seqs.insert(seq)) {
                    faults.push(format!("row {at} has the number {seq}, which is negative or comes twice"));
                }
                seen.keys.push(xxh3_128(ids.value(row).as_bytes()));
            }
        }
        if seen.rows != file.rows {
            faults.push(format!("it has {} rows, and its log says {}", seen.rows, file.rows));
        }
        seen.faults.extend(faults.into_iter().map(|what| format!("{}: {what}", file.path)));
        Ok(())
    }

    /// What can be said of all files together.
    fn together(&self, seen: Vec<Seen>, persons: &Persons) -> Result<Verified> {
        let mut found = Verified { persons: persons.len() as u64, ..Verified::default() };
        let mut faults = Vec::new();
        let (mut seqs, mut keys) = (RoaringTreemap::new(), Vec::new());
        for mut one in seen {
            found.files += 1;
            found.events += one.rows;
            found.bytes += one.bytes;
            faults.append(&mut one.faults);
            found.indexed += u64::from(one.indexed);
            found.indexes_removed.extend(one.index_removed);
            let twice = seqs.intersection_len(&one.seqs);
            if twice > 0 {
                faults.push(format!("{twice} numbers of events come in two files"));
            }
            seqs |= one.seqs;
            keys.append(&mut one.keys);
        }
        let last = u64::try_from(self.last_seq()).unwrap_or(0);
        if let Some(greatest) = seqs.max().filter(|greatest| *greatest > last) {
            faults.push(format!("an event has the number {greatest}, and only {last} were given out"));
        }
        keys.sort_unstable();
        let twice = keys.windows(2).filter(|pair| pair[0] == pair[1]).count();
        if twice > 0 {
            faults.push(format!("{twice} event ids come twice"));
        }
        found.ids = self.event_ids()?.len();
        let mut unknown = 0;
        // In pieces, so that whoever takes events gets between.
        for piece in keys.chunks(PIECE_KEYS) {
            let ids = self.event_ids()?;
            for key in piece {
                unknown += u64::from(!ids.knows(*key)?);
            }
        }
        if unknown > 0 {
            faults.push(format!(
                "{unknown} events are not among the event ids: a retry would store them again"
            ));
        }
        found.more_faults = faults.len().saturating_sub(MOST_FAULTS) as u64;
        faults.truncate(MOST_FAULTS);
        found.faults = faults;
        Ok(found)
    }
}
