//! Test only: stores of a few events in real Parquet files, and the rows that an export of them must give.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::BooleanBuilder;
use arrow::array::Float64Builder;
use arrow::array::Int64Array;
use arrow::array::Int64Builder;
use arrow::array::ListBuilder;
use arrow::array::RecordBatch;
use arrow::array::StringArray;
use arrow::array::StringBuilder;
use arrow::array::StructBuilder;
use arrow::array::TimestampMicrosecondArray;
use arrow::array::TimestampMicrosecondBuilder;
use arrow::datatypes::DataType;
use bytes::Bytes;
use flate2::read::GzDecoder;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::properties::WriterProperties;

use crate::error::Result;
use crate::export::clock::Clock;
use crate::export::day::OpenedFile;
use crate::export::json::Part;
use crate::export::moments::Flows;
use crate::export::shape::PackedRow;
use crate::export::shape::RowShape;
use crate::ids::PersonId;
use crate::person::ExternalIds;
use crate::person::Person;
use crate::person::Persons;
use crate::schema::Columns;
use crate::schema::Definition;
use crate::schema::Field;
use crate::schema::Property;
use crate::schema::PropertyType;
use crate::schema::Registry;
use crate::storage::People;
use crate::storage::snapshot::DataFile;
use crate::storage::snapshot::Snapshot;
use crate::storage::snapshot::TableFiles;
use crate::time::Day;
use crate::time::Micros;
use crate::value::ScalarType;

/// A value of a property.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Text(String),
    Bool(bool),
    Time(i64),
    Int(i64),
    Float(f64),
    List(Vec<Vec<Value>>),
}

/// One event of a test.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) person: i64,
    /// Microseconds.
    pub(crate) at: i64,
    pub(crate) session: Option<String>,
    pub(crate) values: Vec<Value>,
}

impl Event {
    pub(crate) fn new(id: impl Into<String>, at: i64, values: Vec<Value>) -> Self {
        Self { id: id.into(), person: 1, at, session: None, values }
    }
}

/// A definition of the user's own.
pub(crate) fn definition(id: &str, properties: &[(&str, ScalarType)]) -> Definition {
    Definition::external(
        id.parse().unwrap(),
        id,
        properties.iter().map(|&(name, kind)| Property::scalar(name, kind)).collect(),
    )
}

/// The same with a List behind its properties.
pub(crate) fn with_list(mut definition: Definition, name: &str, fields: &[(&str, ScalarType)]) -> Definition {
    let fields = fields.iter().map(|&(name, kind)| Field { name: name.to_owned(), kind }).collect();
    definition.properties.push(Property::new(name, PropertyType::List(fields)));
    definition
}

/// The events as a batch of the definition's file schema, in the order given; `seq` counts from `first_seq`.
pub(crate) fn batch(definition: &Definition, first_seq: i64, events: &[Event]) -> RecordBatch {
    let columns = Columns::of(definition);
    let times =
        || TimestampMicrosecondArray::from_iter_values(events.iter().map(|one| one.at)).with_timezone("UTC");
    let seqs = first_seq..first_seq + i64::try_from(events.len()).unwrap();
    let mut arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(events.iter().map(|one| one.person))),
        Arc::new(times()),
        Arc::new(Int64Array::from_iter_values(seqs)),
        Arc::new(StringArray::from_iter_values(events.iter().map(|one| &one.id))),
        Arc::new(events.iter().map(|one| one.session.as_deref()).collect::<StringArray>()),
        Arc::new(times()),
    ];
    for (at, column) in columns.properties().iter().enumerate() {
        let values: Vec<&Value> = events.iter().map(|one| &one.values[at]).collect();
        arrays.push(array(&column.data_type, &values));
    }
    RecordBatch::try_new(Arc::clone(columns.file_schema()), arrays).unwrap()
}

fn array(kind: &DataType, values: &[&Value]) -> ArrayRef {
    if let DataType::List(item) = kind {
        let DataType::Struct(fields) = item.data_type() else { panic!("a List of {item}") };
        let item = Arc::clone(item);
        let mut list = ListBuilder::new(StructBuilder::from_fields(fields.clone(), 0)).with_field(item);
        for value in values {
            let Value::List(items) = value else {
                list.append(false);
                continue;
            };
            for item in items {
                for (at, value) in item.iter().enumerate() {
                    append(list.values(), at, fields[at].data_type(), value);
                }
                list.values().append(true);
            }
            list.append(true);
        }
        return Arc::new(list.finish());
    }
    let fields = vec![arrow::datatypes::Field::new("only", kind.clone(), true)];
    let mut rows = StructBuilder::from_fields(fields, 0);
    for value in values {
        append(&mut rows, 0, kind, value);
        rows.append(true);
    }
    Arc::clone(rows.finish().column(0))
}

fn append(rows: &mut StructBuilder, at: usize, kind: &DataType, value: &Value) {
    match kind {
        DataType::Utf8 => rows.field_builder::<StringBuilder>(at).unwrap().append_option(match value {
            Value::Text(text) => Some(text),
            _ => None,
        }),
        DataType::Boolean => rows.field_builder::<BooleanBuilder>(at).unwrap().append_option(match value {
            Value::Bool(truth) => Some(*truth),
            _ => None,
        }),
        DataType::Int64 => rows.field_builder::<Int64Builder>(at).unwrap().append_option(match value {
            Value::Int(number) => Some(*number),
            _ => None,
        }),
        DataType::Float64 => rows.field_builder::<Float64Builder>(at).unwrap().append_option(match value {
            Value::Float(number) => Some(*number),
            _ => None,
        }),
        DataType::Timestamp(..) => {
            rows.field_builder::<TimestampMicrosecondBuilder>(at).unwrap().append_option(match value {
                Value::Time(micros) => Some(*micros),
                _ => None,
            });
        }
        other => panic!("no property has the type {other}"),
    }
}

/// A lake in memory and the snapshot over it.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) lake: Arc<dyn ObjectStore>,
    definitions: Vec<Definition>,
    files: BTreeMap<String, Vec<DataFile>>,
    persons: Persons,
}

impl Store {
    /// With two persons: 1 has the external id `crm-1`, 2 has none.
    pub(crate) fn new(definitions: &[Definition]) -> Self {
        let mut persons = Persons::default();
        for (id, external) in [(1, Some("crm-1".to_owned())), (2, None)] {
            let person = Person { id: PersonId(id), external_id: external, created: Micros(0) };
            persons.add(person, []);
        }
        let definitions = definitions.to_vec();
        Self { lake: Arc::new(InMemory::new()), definitions, files: BTreeMap::new(), persons }
    }

    /// Writes one file of each day of the events, sorted as files are and numbered from 1.
    pub(crate) async fn add(&mut self, id: &str, events: &[Event]) {
        self.add_from(id, 1, events).await;
    }

    /// The same with numbers from `first_seq` on, in each file.
    pub(crate) async fn add_from(&mut self, id: &str, first_seq: i64, events: &[Event]) {
        let definition = self.definitions.iter().find(|one| one.id.as_str() == id).unwrap();
        let mut days: BTreeMap<Day, Vec<Event>> = BTreeMap::new();
        for event in events {
            days.entry(Day::of(Micros(event.at))).or_default().push(event.clone());
        }
        for (day, mut events) in days {
            events.sort_by_key(|event| (event.person, event.at));
            let rows = batch(definition, first_seq, &events);
            let properties = WriterProperties::builder().set_max_row_group_row_count(Some(7)).build();
            let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).unwrap();
            writer.write(&rows).unwrap();
            let bytes = Bytes::from(writer.into_inner().unwrap());
            let files = self.files.entry(id.to_owned()).or_default();
            let path = format!("lake/{id}/day={}/{}.parquet", day.0, files.len());
            self.lake.put(&Path::parse(&path).unwrap(), bytes.clone().into()).await.unwrap();
            let times = || events.iter().map(|event| Micros(event.at));
            let persons = || events.iter().map(|event| event.person);
            files.push(DataFile {
                path,
                bytes: u64::try_from(bytes.len()).unwrap(),
                rows: u64::try_from(events.len()).unwrap(),
                day,
                persons: (persons().min().unwrap(), persons().max().unwrap()),
                times: (times().min().unwrap(), times().max().unwrap()),
            });
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let table = |definition: &Definition| {
            let id = definition.id.as_str().to_owned();
            let files = self.files.get(&id).cloned().unwrap_or_default();
            (id, Arc::new(TableFiles { definition: Arc::new(definition.clone()), files }))
        };
        Snapshot {
            registry: Arc::new(Registry::new(self.definitions.clone())),
            persons: Arc::new(self.persons.clone().into()),
            people: People::default(),
            tables: self.definitions.iter().map(table).collect(),
            index: Arc::default(),
        }
    }
}

/// The rows of a Parquet file, as an export reads them.
pub(crate) fn decode(file: Vec<u8>, shape: &Arc<RowShape>) -> Vec<Part> {
    let file = Bytes::from(file);
    let footer = Arc::new(ParquetMetaDataReader::new().parse_and_finish(&file).unwrap());
    let opened = OpenedFile::of("test", u64::try_from(file.len()).unwrap(), footer).unwrap();
    let range = opened.range_of(0);
    let bytes = file.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap());
    opened.decode(0, bytes, shape, None, None).unwrap().collect::<Result<_>>().unwrap()
}

/// A gzip file's text; fails when anything stands behind its one member.
pub(crate) fn gunzip(bytes: &[u8]) -> String {
    let mut decoder = GzDecoder::new(bytes);
    let mut text = String::new();
    decoder.read_to_string(&mut text).unwrap();
    assert!(decoder.into_inner().is_empty(), "there is something behind the gzip member");
    text
}

/// Appends the line of one event, packed and unpacked.
pub(crate) fn write(part: &Part, row: usize, persons: &ExternalIds, flows: &Flows, out: &mut Vec<u8>) {
    let mut packed = Vec::new();
    part.pack(row, persons, flows, &mut packed);
    let row = PackedRow { time: part.time(row), event_id: part.event_id(row).as_bytes(), packed: &packed };
    let whole = part.shape().write(row, &mut Clock::default(), out);
    assert!(whole.is_some(), "a row that was packed is whole");
}
