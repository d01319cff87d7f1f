//! Forgetting a person: its events, its identifiers and the refused rows that name it leave the disk, and a receipt says
//! what went and that nothing is left.
//!
//! The request is noted first, so that a stop in between is made good by the next start. The log is flushed and thereby
//! empty; each data file that may hold an event of the person is written anew without it; the old file is removed at
//! once, whatever the time of grace, and with it the history of its table, which says what texts it held. What stays is the number of the person, which nobody else gets, and hashes of
//! event ids, from which no event can be made.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::array::BooleanArray;
use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;
use tokio::runtime::Handle;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::ids::PersonId;
use crate::schema::Columns;
use crate::schema::Definition;
use crate::schema::PERSON_ID;
use crate::storage::DataFile;
use crate::storage::FileRecord;
use crate::storage::Storage;
use crate::storage::layout;
use crate::storage::merge;
use crate::storage::object;
use crate::storage::parquet::DataFileWriter;
use crate::storage::pool;
use crate::storage::shape;
use crate::storage::steps::Step;
use crate::storage::write;

/// Files of a definition.
type Holding = (String, Arc<Definition>, Vec<DataFile>);

/// What was forgotten, and that it is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The number of the request.
    pub request: i64,
    pub person_id: i64,
    /// Persons that were merged into it, and are forgotten with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<i64>,
    /// Times as export files write them.
    pub begun: String,
    pub done: String,
    /// Events that were removed, by definition.
    pub events: BTreeMap<String, u64>,
    /// Data files that were written anew, and removed.
    pub files_rewritten: u64,
    pub files_removed: u64,
    pub identifiers: u64,
    pub refused_rows: u64,
    /// Data files that were read again, after all that, for events of the person; there were none.
    pub files_checked: u64,
}

impl Storage {
    /// Forgets a person and all whom it stands for. Nobody may take events or import meanwhile.
    ///
    /// # Errors
    /// `NotFound` when there is no such person. After any other failure the same call goes on, and so does
    /// [`Storage::resume_forgetting`].
    pub async fn forget(self: &Arc<Self>, person: PersonId) -> Result<Receipt> {
        let receipts = self.forget_all(&[person]).await?;
        receipts.into_iter().next().ok_or_else(|| Error::internal(broken_off()))
    }

    /// [`Storage::forget`] of several, whose events leave the files together; a receipt for each, with what was removed
    /// of all.
    pub async fn forget_all(self: &Arc<Self>, asked: &[PersonId]) -> Result<Vec<Receipt>> {
        self.writer()?;
        let known = self.known_persons();
        let mut persons: Vec<PersonId> = asked.iter().map(|one| known.resolve(*one)).collect();
        persons.sort_unstable();
        persons.dedup();
        let of = |person: &PersonId| known.aliases().members(*person);
        let mut members: Vec<PersonId> = persons.iter().flat_map(of).collect();
        members.sort_unstable();
        let is_known: Vec<bool> = persons.iter().map(|one| known.contains(*one)).collect::<Result<_>>()?;
        let merged: Vec<Vec<i64>> = persons
            .iter()
            .map(|one| of(one).into_iter().filter(|other| other != one).map(|other| other.0).collect())
            .collect();
        drop(known);
        let begun = self.config.clock.now();
        let mut requests = Vec::with_capacity(persons.len());
        let mut resumed = false;
        for (person, is_known) in persons.iter().zip(&is_known) {
            let (request, again) = self.catalog.begin_forgetting(*person, begun)?;
            if !is_known && !again {
                return Err(Error::not_found(format!("there is no person {person}")));
            }
            requests.push(request);
            resumed |= again;
        }
        self.reached(Step::Asked)?;
        self.flush().await?;
        let mut receipt = Receipt { begun: begun.export_form().to_string(), ..Receipt::default() };
        let _turn = self.compacting.lock().await;
        let mut gone = Vec::new();
        for (id, definition, files) in self.files_of(&members).await?.0 {
            let storage = Arc::clone(self);
            let (of, old, gone_ids) = (Arc::clone(&definition), files.clone(), members.clone());
            let writing = self.mark.begin()?;
            let copies = self.lake.fetch(files.iter().map(|file| file.path.clone()).collect()).await?;
            let work = move || storage.without(&of, &old, &gone_ids);
            let (new, events) = tokio::task::spawn_blocking(work).await.internal(broken_off)??;
            drop(copies);
            self.lake.ship(&new).await?;
            self.reached(Step::Rewritten)?;
            if events > 0 {
                let _no_batch = self.committing.lock().await;
                let now = self.config.clock.now();
                if !self.tables.replace(&definition, &files, &new, true, now).await? {
                    return Err(Error::conflict(format!(
                        "somebody else changed the files of \"{id}\" while a person was forgotten; try again"
                    )));
                }
                self.reached(Step::Replaced)?;
                receipt.files_rewritten += new.len() as u64;
                receipt.events.insert(id, events);
                gone.extend(files);
            } else {
                for file in &new {
                    self.lake.remove(&file.path).await?;
                }
            }
            writing.done();
        }
        for file in &gone {
            self.lake.remove(&file.path).await?;
        }
        self.index.forget(gone.iter().map(|file| file.path.as_str()));
        {
            let _no_batch = self.committing.lock().await;
            // What an earlier try replaced is known by nobody but the logs.
            self.sweep(Duration::ZERO).await?;
            // Everybody in this process sees the newest versions before the others go.
            self.snapshot().await?;
            for id in self.tables.list().await? {
                if resumed || receipt.events.contains_key(&id) {
                    self.tables.forget_history(&id).await?;
                }
            }
        }
        receipt.files_removed = gone.len() as u64;
        let names = self.catalog.names_of(&members)?;
        receipt.identifiers = names.len() as u64;
        receipt.refused_rows = self.catalog.remove_rows_about(&members, &names)?;
        let there: Vec<PersonId> =
            persons.iter().zip(&is_known).filter(|(_, known)| **known).map(|(one, _)| *one).collect();
        if !there.is_empty() {
            self.change_people(move |people| people.delete_all(&there)).await?;
        }
        self.people_rows.forget()?;
        self.catalog.overwrite_deleted()?;
        let (left, checked) = self.files_of(&members).await?;
        if let Some((id, ..)) = left.first() {
            return Err(Error::internal(format!(
                "events of somebody who is forgotten are still in \"{id}\" after they were removed; ask for it again"
            )));
        }
        receipt.files_checked = checked;
        receipt.done = self.config.clock.now().export_form().to_string();
        let mut receipts = Vec::with_capacity(persons.len());
        for ((person, request), merged) in persons.iter().zip(requests).zip(merged) {
            let own = Receipt { request, person_id: person.0, merged, ..receipt.clone() };
            let text = serde_json::to_string(&own).internal(|| "could not write the receipt".to_owned())?;
            self.catalog.finish_forgetting(request, self.config.clock.now(), &text)?;
            receipts.push(own);
        }
        Ok(receipts)
    }

    /// Goes on with what a stop has left half forgotten.
    pub async fn resume_forgetting(self: &Arc<Self>) -> Result<()> {
        let open: Vec<PersonId> = self
            .catalog
            .forgotten()?
            .into_iter()
            .filter(|one| one.done.is_none())
            .map(|one| one.person)
            .collect();
        for person in open {
            self.forget(person).await?;
        }
        Ok(())
    }

    /// The files that hold events of persons (in order of their ids), by definition; and how many were read to know.
    async fn files_of(self: &Arc<Self>, persons: &[PersonId]) -> Result<(Vec<Holding>, u64)> {
        let snapshot = self.snapshot().await?;
        let (storage, persons) = (Arc::clone(self), persons.to_vec());
        let runtime = Handle::current();
        let work = move || {
            let within = |file: &DataFile, one: &PersonId| (file.persons.0..=file.persons.1).contains(&one.0);
            let may = |file: &&DataFile| {
                !layout::is_buffer(&file.path) && persons.iter().any(|one| within(file, one))
            };
            let (mut found, mut read) = (Vec::new(), 0);
            for (id, table) in &snapshot.tables {
                let files: Vec<DataFile> = table.files.iter().filter(may).cloned().collect();
                read += files.len() as u64;
                let held = pool::run(storage.config.threads, files, |file| {
                    let _copy = runtime.block_on(storage.lake.fetch(vec![file.path.clone()]))?;
                    Ok((storage.count_of(&file, &persons)? > 0).then_some(file))
                })?;
                let files: Vec<DataFile> = held.into_iter().flatten().collect();
                if !files.is_empty() {
                    found.push((id.clone(), Arc::clone(&table.definition), files));
                }
            }
            Ok((found, read))
        };
        tokio::task::spawn_blocking(work).await.internal(broken_off)?
    }

    /// How many events of persons a file holds.
    fn count_of(&self, file: &DataFile, persons: &[PersonId]) -> Result<u64> {
        let path = self.layout.local(&file.path);
        let doing = || format!("the data file \"{}\" cannot be read", path.display());
        let open = File::open(&path).unavailable(doing)?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(open).unavailable(doing)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), [PERSON_ID]);
        let mut count = 0;
        for rows in builder.with_projection(mask).build().unavailable(doing)? {
            let rows = rows.unavailable(doing)?;
            let ids = rows.column(0).as_primitive::<Int64Type>().values();
            count += ids.iter().filter(|id| persons.binary_search(&PersonId(**id)).is_ok()).count() as u64;
        }
        Ok(count)
    }

    /// Each file anew without the events of persons, unless nothing is left of it; and how many events that leaves out.
    fn without(
        &self,
        definition: &Definition,
        files: &[DataFile],
        persons: &[PersonId],
    ) -> Result<(Vec<FileRecord>, u64)> {
        let columns = Columns::of(definition);
        let id = definition.id.as_str();
        let (mut written, mut left_out) = (Vec::new(), 0);
        for file in files {
            let path = layout::data_path(id, file.day, &format!("f-{}", uuid::Uuid::new_v4().simple()))?;
            let local = self.layout.local(&path);
            let rows = usize::try_from(file.rows).unwrap_or(usize::MAX);
            let inputs = [self.layout.local(&file.path)];
            let (schema, times) = shape::of_files(columns.file_schema(), &inputs)?;
            let writer = DataFileWriter::create(&local, &schema, rows, times)?;
            let mut writer = writer.with_sidecar(self.layout.sidecar(&path), rows);
            let mut kept = 0;
            merge::merge(&inputs, &schema, |rows: &RecordBatch| {
                let others = others(rows, persons)?;
                kept += others.num_rows() as u64;
                left_out += (rows.num_rows() - others.num_rows()) as u64;
                if others.num_rows() > 0 { writer.write(&others) } else { Ok(()) }
            })?;
            if kept > 0 {
                written.push(write::record(id, file.day, path, writer.finish()?));
                local.parent().map_or(Ok(()), object::sync_folder)?;
            } else {
                drop(writer);
                object::remove_file(&local)?;
            }
        }
        Ok((written, left_out))
    }
}

fn others(rows: &RecordBatch, persons: &[PersonId]) -> Result<RecordBatch> {
    let doing = || "could not leave out the events of a person".to_owned();
    let ids = rows.column_by_name(PERSON_ID).ok_or_else(|| Error::internal(doing()))?;
    let ids = ids.as_primitive::<Int64Type>().values();
    let keep: BooleanArray =
        ids.iter().map(|id| Some(persons.binary_search(&PersonId(*id)).is_err())).collect();
    filter_record_batch(rows, &keep).internal(doing)
}

fn broken_off() -> String {
    "the forgetting of a person broke off; ask for it again".to_owned()
}
