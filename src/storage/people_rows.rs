//! The table of persons as Arrow columns in memory, in chunks by id: made when somebody first asks, and after that made
//! anew only where persons changed, which the number of the last change tells.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::sync_channel;
use std::thread;

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::Int64Array;
use arrow::array::ListBuilder;
use arrow::array::StringArray;
use arrow::array::StringBuilder;
use arrow::array::StringViewArray;
use arrow::array::TimestampMicrosecondArray;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::FieldRef;
use arrow::datatypes::Fields;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use arrow::datatypes::TimeUnit;
use arrow::record_batch::RecordBatch;
use serde_json::Map;
use serde_json::Value;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::ids::PersonId;
use crate::person::ATTRIBUTES;
use crate::person::CustomAttribute;
use crate::person::CustomAttributes;
use crate::person::CustomType;
use crate::person::IdentifierType;
use crate::person::Member;
use crate::person::Persons;
use crate::person::Profile;
use crate::schema::EXTERNAL_PERSON_ID;
use crate::schema::PERSON_ID;
use crate::storage::catalog::Catalog;
use crate::storage::catalog::profiles;
use crate::storage::catalog::profiles::Unread;
use crate::storage::people::members;

/// Persons of one chunk when it is made; one that grows to twice as many is cut.
const CHUNK: usize = 8_192;

/// The persons of a snapshot, for those who ask.
#[derive(Clone, Debug, Default)]
pub struct People {
    attributes: Arc<CustomAttributes>,
    rows: Option<Arc<PeopleRows>>,
}

/// What is kept in memory, for all snapshots of a store.
#[derive(Debug)]
pub(crate) struct PeopleRows {
    catalog: Arc<Catalog>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// What the chunks were made from.
    persons: Arc<Persons>,
    attributes: Arc<CustomAttributes>,
    change: i64,
    chunks: Vec<Chunk>,
}

/// Persons in the order of ids; never empty.
#[derive(Clone, Debug)]
struct Chunk {
    ids: Vec<PersonId>,
    rows: Option<RecordBatch>,
}

/// Some persons: their least and greatest id, and their rows.
#[derive(Clone, Debug)]
pub struct PeopleChunk {
    pub ids: (PersonId, PersonId),
    pub rows: RecordBatch,
}

impl PeopleRows {
    pub(crate) fn new(catalog: Arc<Catalog>) -> Self {
        Self { catalog, kept: Mutex::default() }
    }
}

impl People {
    pub(crate) fn new(attributes: Arc<CustomAttributes>, rows: Arc<PeopleRows>) -> Self {
        Self { attributes, rows: Some(rows) }
    }

    pub fn attributes(&self) -> &CustomAttributes {
        &self.attributes
    }

    /// The columns: those that every person has, then the custom attributes by name.
    pub fn schema(&self) -> SchemaRef {
        schema(&self.attributes)
    }

    /// Everybody who stands for themselves, in the order of ids. Reads the catalog where it is not in memory yet.
    pub fn chunks(&self, persons: &Arc<Persons>) -> Result<Vec<PeopleChunk>> {
        let Some(rows) = &self.rows else { return self.unwritten(persons) };
        let mut kept = rows.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.catch_up(&rows.catalog, persons, &self.attributes)?;
        Ok(kept.chunks.iter().filter_map(Chunk::shown).collect())
    }

    /// Persons of whom nothing is written anywhere, as tests have them.
    fn unwritten(&self, persons: &Persons) -> Result<Vec<PeopleChunk>> {
        let mut all: Vec<Profile> = persons
            .iter()
            .map(|one| Profile {
                external_id: one.external_id.map(str::to_owned),
                ..Profile::new(one.id, one.created)
            })
            .collect();
        all.sort_by_key(|one| one.id);
        let (Some(first), Some(last)) = (all.first(), all.last()) else { return Ok(Vec::new()) };
        let ids = (first.id, last.id);
        Ok(vec![PeopleChunk { ids, rows: rows_of(&all, &self.attributes)? }])
    }
}

impl Chunk {
    fn shown(&self) -> Option<PeopleChunk> {
        let ids = (*self.ids.first()?, *self.ids.last()?);
        Some(PeopleChunk { ids, rows: self.rows.clone()? })
    }
}

impl Kept {
    fn catch_up(
        &mut self,
        catalog: &Catalog,
        persons: &Arc<Persons>,
        attributes: &Arc<CustomAttributes>,
    ) -> Result<()> {
        if self.attributes != *attributes {
            *self = Self { attributes: Arc::clone(attributes), ..Self::default() };
        }
        let doing = "read persons from";
        catalog.look(doing, |tx| {
            let say = |error| catalog.failed(doing, error);
            let change = profiles::last_change(tx).map_err(say)?;
            if change == self.change && Arc::ptr_eq(&self.persons, persons) {
                return Ok(());
            }
            if self.chunks.is_empty() {
                self.begin(persons);
            } else {
                let mut changed: BTreeSet<PersonId> =
                    profiles::changed_after(tx, self.change).map_err(say)?.into_iter().collect();
                changed.extend(persons.newer_than(&self.persons));
                changed.extend(persons.aliases().differing_from(self.persons.aliases()));
                let roots: Vec<PersonId> = changed.iter().map(|id| persons.resolve(*id)).collect();
                changed.extend(roots);
                changed.into_iter().for_each(|id| self.mark(id, persons));
            }
            self.cut();
            let missing = self.chunks.iter().enumerate().filter(|(_, chunk)| chunk.rows.is_none());
            let read = missing.map(|(at, chunk)| Ok((at, Read::of(tx, persons, &chunk.ids).map_err(say)?)));
            for (at, chunk) in made(read, |read| read.chunk(attributes, say))? {
                self.chunks[at] = chunk;
            }
            self.chunks.retain(|chunk| !chunk.ids.is_empty());
            self.persons = Arc::clone(persons);
            self.change = change;
            Ok(())
        })
    }

    fn begin(&mut self, persons: &Persons) {
        let mut ids: Vec<PersonId> = persons.iter().map(|one| one.id).collect();
        ids.sort_unstable();
        self.chunks = ids.chunks(CHUNK).map(|ids| Chunk { ids: ids.to_vec(), rows: None }).collect();
    }

    /// Notes that a person came, changed, or is not shown any more.
    fn mark(&mut self, id: PersonId, persons: &Persons) {
        let after = self.chunks.partition_point(|chunk| chunk.ids.first().is_some_and(|first| *first <= id));
        let at = after.saturating_sub(1);
        let Some(chunk) = self.chunks.get_mut(at) else {
            self.chunks.push(Chunk { ids: vec![id], rows: None });
            return;
        };
        let shown = persons.contains(id) && persons.resolve(id) == id;
        match (chunk.ids.binary_search(&id), shown) {
            (Ok(_), true) => chunk.rows = None,
            (Err(place), true) => {
                chunk.ids.insert(place, id);
                chunk.rows = None;
            }
            (Ok(place), false) => {
                // One that becomes empty is left out when its rows are made.
                chunk.ids.remove(place);
                chunk.rows = None;
            }
            (Err(_), false) => {}
        }
        if self.chunks[at].ids.is_empty() {
            self.chunks.remove(at);
        }
    }

    fn cut(&mut self) {
        if self.chunks.iter().all(|chunk| chunk.ids.len() <= 2 * CHUNK) {
            return;
        }
        let chunks = std::mem::take(&mut self.chunks);
        self.chunks = chunks
            .into_iter()
            .flat_map(|chunk| match chunk.ids.len() > 2 * CHUNK {
                true => chunk.ids.chunks(CHUNK).map(|ids| Chunk { ids: ids.to_vec(), rows: None }).collect(),
                false => vec![chunk],
            })
            .collect();
    }
}

/// What the catalog has of some persons who stand for themselves.
#[derive(Debug)]
struct Read {
    ids: Vec<PersonId>,
    all: Vec<Unread>,
    /// Everybody whom somebody stands for, of those who stand for others.
    merged: HashMap<PersonId, Vec<Member>>,
}

impl Read {
    fn of(tx: &rusqlite::Transaction<'_>, persons: &Persons, ids: &[PersonId]) -> rusqlite::Result<Self> {
        let (Some(first), Some(last)) = (ids.first(), ids.last()) else {
            return Ok(Self { ids: Vec::new(), all: Vec::new(), merged: HashMap::new() });
        };
        let roots = ids.iter().filter(|id| persons.aliases().is_involved(**id));
        let merged =
            roots.map(|id| Ok((*id, members(tx, persons, *id)?))).collect::<rusqlite::Result<_>>()?;
        let all = profiles::unread_between(tx, first.0, last.0)?;
        Ok(Self { ids: ids.to_vec(), all, merged })
    }

    /// Their profiles in the order of ids; those that the catalog lacks are left out.
    fn profiles(mut self) -> rusqlite::Result<Vec<Profile>> {
        let mut found = Vec::with_capacity(self.ids.len());
        let mut all = self.all.into_iter().peekable();
        for id in self.ids {
            while all.next_if(|one| one.id() < id).is_some() {}
            let own = all.next_if(|one| one.id() == id);
            found.extend(match (self.merged.remove(&id), own) {
                (Some(members), _) => Profile::of(&members),
                (None, Some(own)) => Profile::of(&[own.read()?]),
                (None, None) => None,
            });
        }
        Ok(found)
    }

    fn chunk(self, attributes: &CustomAttributes, say: impl Fn(rusqlite::Error) -> Error) -> Result<Chunk> {
        let profiles = self.profiles().map_err(say)?;
        let ids = profiles.iter().map(|one| one.id).collect();
        Ok(Chunk { ids, rows: Some(rows_of(&profiles, attributes)?) })
    }
}

/// What is made of each of the parts that come, on several threads while the next is fetched; with their places.
fn made<R: Send, T: Send>(
    parts: impl Iterator<Item = Result<(usize, R)>>,
    make: impl Fn(R) -> Result<T> + Sync,
) -> Result<Vec<(usize, T)>> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return Ok(Vec::new());
    }
    let (sender, receiver) = sync_channel(threads);
    // Held by those who take alone: when the last of them ends, nobody waits to give.
    let receiver = Arc::new(Mutex::new(receiver));
    let work = |receiver: Arc<Mutex<Receiver<(usize, R)>>>| {
        let mut all = Vec::new();
        loop {
            let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((at, part)) = next else { return Ok(all) };
            all.push((at, make(part)?));
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads).map(|_| Arc::clone(&receiver)).map(|one| scope.spawn(|| work(one))).collect();
        drop(receiver);
        let mut failed = None;
        for part in parts {
            match part.map(|part| sender.send(part)) {
                Ok(Ok(())) => {}
                // All of them have failed, which is told below.
                Ok(Err(_)) => break,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        drop(sender);
        let mut all = Vec::new();
        for worker in workers {
            let done: Result<Vec<_>> =
                worker.join().unwrap_or_else(|_| Err(Error::internal("the reading of persons broke off")));
            all.extend(done?);
        }
        failed.map_or(Ok(all), Err)
    })
}

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

pub(crate) fn schema(attributes: &CustomAttributes) -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let texts = |name: &str| Field::new_list(name, Field::new("item", DataType::Utf8, true), false);
    let mut fields = vec![
        Field::new(PERSON_ID, DataType::Int64, false),
        Field::new(EXTERNAL_PERSON_ID, DataType::Utf8View, true),
        Field::new("type", DataType::Utf8, false),
    ];
    fields.extend(ATTRIBUTES.iter().map(|(_, name, _)| text(name)));
    fields.extend([texts("tags"), texts("emails"), texts("phones"), texts("pushRegistrations")]);
    fields.push(Field::new("origin", DataType::Utf8, false));
    fields.push(Field::new("createdTime", time(), false));
    fields.push(Field::new("modifiedTime", time(), false));
    let own: Vec<Field> = attributes
        .iter()
        .map(|one| {
            let taken = fields.iter().any(|field| field.name().eq_ignore_ascii_case(&one.name));
            let name = if taken { format!("custom_{}", one.name) } else { one.name.clone() };
            Field::new(name, type_of(one), true)
        })
        .collect();
    fields.extend(own);
    Arc::new(Schema::new(fields))
}

fn type_of(attribute: &CustomAttribute) -> DataType {
    match attribute.data_type {
        CustomType::ListOfObjects => {
            let fields =
                attribute.object_schema.iter().map(|(name, kind)| Field::new(name, scalar(*kind), true));
            let item = Field::new("item", DataType::Struct(fields.collect::<Fields>()), true);
            DataType::List(Arc::new(item))
        }
        kind => scalar(kind),
    }
}

fn scalar(kind: CustomType) -> DataType {
    match kind {
        CustomType::String | CustomType::ListOfObjects => DataType::Utf8,
        CustomType::Decimal => DataType::Float64,
        CustomType::Integer => DataType::Int64,
        CustomType::Boolean => DataType::Boolean,
        CustomType::Date => DataType::Date32,
        CustomType::DateTime => time(),
    }
}

fn rows_of(profiles: &[Profile], attributes: &CustomAttributes) -> Result<RecordBatch> {
    let schema = schema(attributes);
    let times = |of: fn(&Profile) -> i64| -> ArrayRef {
        let times: TimestampMicrosecondArray = profiles.iter().map(|one| Some(of(one))).collect();
        Arc::new(times.with_timezone("UTC"))
    };
    let contacts = |kind: IdentifierType| {
        texts(profiles, |one| {
            one.contacts.iter().filter(|one| one.kind == kind).map(|one| one.id.as_str()).collect()
        })
    };
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(profiles.iter().map(|one| Some(one.id.0)).collect::<Int64Array>()),
        Arc::new(profiles.iter().map(|one| one.external_id.as_deref()).collect::<StringViewArray>()),
        Arc::new(profiles.iter().map(|one| Some(one.kind.name())).collect::<StringArray>()),
    ];
    for (attribute, ..) in &ATTRIBUTES {
        let values = profiles.iter().map(|one| one.attributes.get(attribute).map(String::as_str));
        columns.push(Arc::new(values.collect::<StringArray>()));
    }
    columns.push(texts(profiles, |one| one.tags.iter().map(String::as_str).collect()));
    columns.extend([IdentifierType::Email, IdentifierType::Phone, IdentifierType::Push].map(contacts));
    columns.push(Arc::new(profiles.iter().map(|one| Some(one.origin.as_str())).collect::<StringArray>()));
    columns.push(times(|one| one.created.0));
    columns.push(times(|one| one.modified.0));
    columns.extend(custom(profiles, attributes, &schema.fields()[columns.len()..])?);
    // They are kept, and grew by doubling.
    columns.iter_mut().for_each(Array::shrink_to_fit);
    RecordBatch::try_new(schema, columns).internal(|| "could not put the persons together".to_owned())
}

fn texts<'a>(profiles: &'a [Profile], of: impl Fn(&'a Profile) -> Vec<&'a str>) -> ArrayRef {
    let mut list = ListBuilder::new(StringBuilder::new());
    for profile in profiles {
        for text in of(profile) {
            list.values().append_value(text);
        }
        list.append(true);
    }
    Arc::new(list.finish())
}

/// The columns of custom attributes: their values are JSON, which Arrow reads by the types of the columns.
fn custom(profiles: &[Profile], attributes: &CustomAttributes, fields: &[FieldRef]) -> Result<Vec<ArrayRef>> {
    if fields.is_empty() {
        return Ok(Vec::new());
    }
    let doing = || "could not put the custom attributes together".to_owned();
    let schema = Arc::new(Schema::new(fields.to_vec()));
    let rows: Vec<Map<String, Value>> = profiles
        .iter()
        .map(|one| {
            let named = attributes.iter().zip(fields);
            named
                .filter_map(|(attribute, field)| {
                    Some((field.name().clone(), one.custom.get(&attribute.name)?.clone()))
                })
                .collect()
        })
        .collect();
    let mut decoder = arrow::json::ReaderBuilder::new(schema)
        .with_batch_size(profiles.len().max(1))
        .build_decoder()
        .internal(doing)?;
    decoder.serialize(&rows).internal(doing)?;
    let batch = decoder.flush().internal(doing)?;
    let batch = batch.map(|batch| batch.columns().to_vec());
    Ok(batch.unwrap_or_else(|| {
        fields.iter().map(|field| arrow::array::new_null_array(field.data_type(), profiles.len())).collect()
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::person::Attribute;
    use crate::time::Micros;

    #[test]
    fn every_type_of_attribute_becomes_a_column_of_its_type() {
        let schema =
            BTreeMap::from([("sku".to_owned(), CustomType::String), ("n".to_owned(), CustomType::Integer)]);
        let of = |name: &str, kind| CustomAttribute::new(name, kind, BTreeMap::new()).unwrap();
        let attributes: CustomAttributes = [
            of("a", CustomType::String),
            of("b", CustomType::Decimal),
            of("c", CustomType::Integer),
            of("city", CustomType::Boolean),
            of("d", CustomType::Date),
            of("e", CustomType::DateTime),
            CustomAttribute::new("f", CustomType::ListOfObjects, schema).unwrap(),
        ]
        .into_iter()
        .collect();
        let mut ana = Profile::new(PersonId(1), Micros(0));
        ana.attributes.insert(Attribute::City, "Pula".to_owned());
        ana.tags.insert("vip".to_owned());
        ana.custom = [
            ("a", json!("x")),
            ("b", json!(1.5)),
            ("c", json!(9_223_372_036_854_775_807_i64)),
            ("city", json!(true)),
            ("d", json!("2024-02-29")),
            ("e", json!("2024-02-29T10:00:00.000001Z")),
            ("f", json!([{"sku": "s", "n": 2}, {"n": 3}])),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        let nobody = Profile::new(PersonId(2), Micros(0));
        let rows = rows_of(&[ana, nobody], &attributes).unwrap();
        let shown =
            arrow::util::pretty::pretty_format_batches(std::slice::from_ref(&rows)).unwrap().to_string();
        for part in [
            "9223372036854775807",
            "2024-02-29",
            "2024-02-29T10:00:00.000001Z",
            "[{n: 2, sku: s}, {n: 3, sku: }]",
        ] {
            assert!(shown.contains(part), "{part} {shown}");
        }
        assert_eq!(rows.num_rows(), 2);
        assert!(rows.column_by_name("custom_city").is_some());
        assert_eq!(rows.column_by_name("a").unwrap().null_count(), 1);
    }
}
