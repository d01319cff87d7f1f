//! The tables of `pg_catalog`, filled with what there is here: schemas, tables, columns, types, functions, one database
//! and one role.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::BooleanArray;
use arrow::array::Int64Array;
use arrow::array::StringArray;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;

use crate::error::Context;
use crate::error::Result;

/// To whom everything belongs.
pub(super) const OWNER: &str = "milepost";
const OWNER_OID: i64 = 10;
/// The schema whose tables need no schema before their names.
const MAIN: &str = "main";
const PG_CATALOG: i64 = 11;
/// Where numbers of our own begin, as in Postgres.
const FIRST: i64 = 16_384;

/// A column, as `information_schema` tells it.
#[derive(Clone, Debug, Default)]
pub(super) struct Column {
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) nullable: bool,
}

/// A function of SQL.
#[derive(Clone, Debug, Default)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) result: String,
    pub(super) kind: String,
}

/// What there is.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub(super) columns: Vec<Column>,
    pub(super) functions: Vec<Function>,
}

/// A type: its number, the short name, the name that people read, its length, the letter of its kind.
const TYPES: [(i64, &str, &str, i64, &str); 12] = [
    (16, "bool", "boolean", 1, "B"),
    (17, "bytea", "bytea", -1, "U"),
    (20, "int8", "bigint", 8, "N"),
    (21, "int2", "smallint", 2, "N"),
    (23, "int4", "integer", 4, "N"),
    (25, "text", "text", -1, "S"),
    (700, "float4", "real", 4, "N"),
    (701, "float8", "double precision", 8, "N"),
    (1082, "date", "date", 4, "D"),
    (1114, "timestamp", "timestamp without time zone", 8, "D"),
    (1184, "timestamptz", "timestamp with time zone", 8, "D"),
    (1700, "numeric", "numeric", -1, "N"),
];

/// The name of a type as people read it.
pub(super) fn type_name(oid: i64) -> &'static str {
    TYPES.iter().find(|one| one.0 == oid).map_or("-", |one| one.2)
}

/// The type in which the wire shows an Arrow type.
fn type_oid(kind: &str) -> i64 {
    match kind {
        "Boolean" => 16,
        "Int8" | "Int16" | "UInt8" => 21,
        "Int32" | "UInt16" => 23,
        "Int64" | "UInt32" | "UInt64" => 20,
        "Float16" | "Float32" => 700,
        "Float64" => 701,
        "Date32" | "Date64" => 1082,
        _ if kind.starts_with("Timestamp") && kind.contains("UTC") => 1184,
        _ if kind.starts_with("Timestamp") => 1114,
        _ if kind.starts_with("Decimal") => 1700,
        _ if kind.contains("Binary") => 17,
        _ => 25,
    }
}

/// One value.
#[derive(Clone, Debug)]
enum Cell {
    Null,
    Number(i64),
    Text(String),
    Flag(bool),
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<bool> for Cell {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// What stands in a column: `n` a number, `t` a text, `b` a flag.
type Columns = &'static [(&'static str, char)];

const CLASS: Columns = &[
    ("oid", 'n'),
    ("relname", 't'),
    ("relnamespace", 'n'),
    ("relkind", 't'),
    ("relnatts", 'n'),
    ("relowner", 'n'),
    ("reltype", 'n'),
    ("reloftype", 'n'),
    ("relam", 'n'),
    ("relfilenode", 'n'),
    ("reltablespace", 'n'),
    ("relpages", 'n'),
    ("reltuples", 'n'),
    ("reltoastrelid", 'n'),
    ("relchecks", 'n'),
    ("relhasindex", 'b'),
    ("relisshared", 'b'),
    ("relhasrules", 'b'),
    ("relhastriggers", 'b'),
    ("relhassubclass", 'b'),
    ("relrowsecurity", 'b'),
    ("relforcerowsecurity", 'b'),
    ("relispartition", 'b'),
    ("relispopulated", 'b'),
    ("relpersistence", 't'),
    ("relreplident", 't'),
    ("relacl", 't'),
    ("reloptions", 't'),
    ("relpartbound", 't'),
];
const NAMESPACE: Columns = &[("oid", 'n'), ("nspname", 't'), ("nspowner", 'n'), ("nspacl", 't')];
const ATTRIBUTE: Columns = &[
    ("attrelid", 'n'),
    ("attname", 't'),
    ("atttypid", 'n'),
    ("attnum", 'n'),
    ("attnotnull", 'b'),
    ("atttypmod", 'n'),
    ("attlen", 'n'),
    ("attndims", 'n'),
    ("attcollation", 'n'),
    ("attinhcount", 'n'),
    ("attstattarget", 'n'),
    ("atthasdef", 'b'),
    ("attisdropped", 'b'),
    ("attislocal", 'b'),
    ("attidentity", 't'),
    ("attgenerated", 't'),
    ("attstorage", 't'),
    ("attcompression", 't'),
    ("attacl", 't'),
    ("attoptions", 't'),
    ("attfdwoptions", 't'),
];
const TYPE: Columns = &[
    ("oid", 'n'),
    ("typname", 't'),
    ("typnamespace", 'n'),
    ("typlen", 'n'),
    ("typcategory", 't'),
    ("typtype", 't'),
    ("typowner", 'n'),
    ("typrelid", 'n'),
    ("typelem", 'n'),
    ("typarray", 'n'),
    ("typbasetype", 'n'),
    ("typcollation", 'n'),
    ("typtypmod", 'n'),
    ("typnotnull", 'b'),
    ("typdelim", 't'),
    ("typdefault", 't'),
];
const DATABASE: Columns = &[
    ("oid", 'n'),
    ("datname", 't'),
    ("datdba", 'n'),
    ("encoding", 'n'),
    ("datcollate", 't'),
    ("datctype", 't'),
    ("datlocprovider", 't'),
    ("datallowconn", 'b'),
    ("datistemplate", 'b'),
    ("datconnlimit", 'n'),
    ("dattablespace", 'n'),
    ("daticulocale", 't'),
    ("datlocale", 't'),
    ("daticurules", 't'),
    ("datacl", 't'),
];
const ROLES: Columns = &[
    ("oid", 'n'),
    ("rolname", 't'),
    ("rolsuper", 'b'),
    ("rolinherit", 'b'),
    ("rolcreaterole", 'b'),
    ("rolcreatedb", 'b'),
    ("rolcanlogin", 'b'),
    ("rolreplication", 'b'),
    ("rolbypassrls", 'b'),
    ("rolconnlimit", 'n'),
    ("rolvaliduntil", 't'),
    ("usename", 't'),
    ("usesysid", 'n'),
];
const PROC: Columns = &[
    ("oid", 'n'),
    ("proname", 't'),
    ("pronamespace", 'n'),
    ("prokind", 't'),
    ("prorettext", 't'),
    ("proargtext", 't'),
    ("proowner", 'n'),
    ("prorettype", 'n'),
    ("pronargs", 'n'),
    ("prolang", 'n'),
    ("proargtypes", 't'),
    ("proacl", 't'),
];
const SETTINGS: Columns = &[("name", 't'), ("setting", 't')];
const TABLES: Columns = &[
    ("schemaname", 't'),
    ("tablename", 't'),
    ("tableowner", 't'),
    ("hasindexes", 'b'),
    ("hasrules", 'b'),
    ("hastriggers", 'b'),
    ("rowsecurity", 'b'),
    ("tablespace", 't'),
];
/// Tables that hold nothing here, and are joined to others.
const EMPTY: [(&str, Columns); 7] = [
    ("pg_am", &[("oid", 'n'), ("amname", 't')]),
    ("pg_attrdef", &[("oid", 'n'), ("adrelid", 'n'), ("adnum", 'n'), ("adbin", 't')]),
    ("pg_collation", &[("oid", 'n'), ("collname", 't'), ("collnamespace", 'n')]),
    ("pg_description", &[("objoid", 'n'), ("classoid", 'n'), ("objsubid", 'n'), ("description", 't')]),
    ("pg_tablespace", &[("oid", 'n'), ("spcname", 't')]),
    ("pg_language", &[("oid", 'n'), ("lanname", 't')]),
    ("pg_views", &[("schemaname", 't'), ("viewname", 't'), ("viewowner", 't'), ("definition", 't')]),
];

impl Tables {
    /// Schemas with their numbers.
    fn schemas(&self) -> BTreeMap<&str, i64> {
        let names: BTreeSet<&str> = self.columns.iter().map(|one| one.schema.as_str()).collect();
        let own = names.into_iter().filter(|name| !matches!(*name, "pg_catalog" | MAIN)).zip(2_201..);
        own.chain([("pg_catalog", PG_CATALOG), (MAIN, 2_200)]).collect()
    }

    /// Tables by schema and name, with their numbers and columns.
    fn tables(&self) -> Vec<(i64, &str, &str, Vec<&Column>)> {
        let mut found: BTreeMap<(&str, &str), Vec<&Column>> = BTreeMap::new();
        for column in &self.columns {
            found.entry((&column.schema, &column.table)).or_default().push(column);
        }
        let numbered = (FIRST..).zip(found);
        numbered.map(|(oid, ((schema, table), columns))| (oid, schema, table, columns)).collect()
    }

    /// The tables that need no schema before their names.
    pub(super) fn visible(&self) -> BTreeSet<i64> {
        self.tables().into_iter().filter(|(_, schema, ..)| *schema == MAIN).map(|(oid, ..)| oid).collect()
    }

    /// Each table with its rows.
    pub(super) fn batches(&self) -> Result<Vec<(&'static str, RecordBatch)>> {
        let schemas = self.schemas();
        let tables = self.tables();
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let classes = tables.iter().map(|(oid, schema, table, columns)| {
            vec![
                (*oid).into(),
                (*table).into(),
                schemas.get(schema).copied().unwrap_or_default().into(),
                "r".into(),
                number(columns.len()).into(),
                OWNER_OID.into(),
            ]
        });
        let attributes = tables.iter().flat_map(|(oid, _, _, columns)| {
            (1_i64..).zip(columns).map(move |(at, column)| {
                vec![
                    (*oid).into(),
                    column.name.as_str().into(),
                    type_oid(&column.kind).into(),
                    at.into(),
                    (!column.nullable).into(),
                    (-1_i64).into(),
                ]
            })
        });
        let spaces = schemas.iter().map(|(name, oid)| vec![(*oid).into(), (*name).into(), OWNER_OID.into()]);
        let types = TYPES.iter().map(|(oid, name, _, length, category)| {
            vec![
                (*oid).into(),
                (*name).into(),
                PG_CATALOG.into(),
                (*length).into(),
                (*category).into(),
                "b".into(),
                OWNER_OID.into(),
            ]
        });
        let functions = (FIRST * 2..).zip(&self.functions).map(|(oid, one)| {
            let kind = match one.kind.as_str() {
                "AGGREGATE" => "a",
                "WINDOW" => "w",
                _ => "f",
            };
            let result = if one.result.is_empty() { "any" } else { type_name(type_oid(&one.result)) };
            vec![
                oid.into(),
                one.name.as_str().into(),
                2_200_i64.into(),
                kind.into(),
                result.into(),
                "…".into(),
            ]
        });
        let listed =
            tables.iter().map(|(_, schema, table, _)| vec![(*schema).into(), (*table).into(), OWNER.into()]);
        let database = vec![
            1_i64.into(),
            "milepost".into(),
            OWNER_OID.into(),
            6_i64.into(),
            "C.UTF-8".into(),
            "C.UTF-8".into(),
            "c".into(),
            true.into(),
        ];
        let mut role = vec![
            Cell::Number(OWNER_OID),
            OWNER.into(),
            false.into(),
            true.into(),
            false.into(),
            false.into(),
            true.into(),
            false.into(),
            false.into(),
            (-1_i64).into(),
            Cell::Null,
            OWNER.into(),
        ];
        role.push(OWNER_OID.into());
        let settings = [("server_version", "16.6"), ("server_version_num", "160006"), ("search_path", MAIN)];
        let settings = settings.map(|(name, value)| vec![name.into(), value.into()]);
        let mut all = vec![
            ("pg_class", batch(CLASS, classes.collect())?),
            ("pg_attribute", batch(ATTRIBUTE, attributes.collect())?),
            ("pg_namespace", batch(NAMESPACE, spaces.collect())?),
            ("pg_type", batch(TYPE, types.collect())?),
            ("pg_proc", batch(PROC, functions.collect())?),
            ("pg_tables", batch(TABLES, listed.collect())?),
            ("pg_database", batch(DATABASE, vec![database])?),
            ("pg_roles", batch(ROLES, vec![role.clone()])?),
            ("pg_user", batch(ROLES, vec![role.clone()])?),
            ("pg_authid", batch(ROLES, vec![role])?),
            ("pg_settings", batch(SETTINGS, settings.into())?),
        ];
        for (name, columns) in EMPTY {
            all.push((name, batch(columns, Vec::new())?));
        }
        Ok(all)
    }
}

/// Rows; what a row does not say is what Postgres has when there is nothing: no text, 0, false.
fn batch(columns: Columns, rows: Vec<Vec<Cell>>) -> Result<RecordBatch> {
    // Texts of this kind are letters, which are empty rather than missing.
    let letters = ["attidentity", "attgenerated", "attcompression"];
    let mut arrays: Vec<ArrayRef> = Vec::new();
    let mut fields = Vec::new();
    for (at, (name, kind)) in columns.iter().enumerate() {
        let cells = || rows.iter().map(|row| row.get(at));
        let (array, kind): (ArrayRef, DataType) = match kind {
            'n' => {
                let numbers: Int64Array = cells()
                    .map(|cell| Some(if let Some(Cell::Number(number)) = cell { *number } else { 0 }))
                    .collect();
                (Arc::new(numbers), DataType::Int64)
            }
            'b' => {
                let flags: BooleanArray =
                    cells().map(|cell| Some(matches!(cell, Some(Cell::Flag(true))))).collect();
                (Arc::new(flags), DataType::Boolean)
            }
            _ => {
                let empty = match *name {
                    "relpersistence" => Some("p"),
                    "relreplident" => Some("d"),
                    name if letters.contains(&name) => Some(""),
                    _ => None,
                };
                let texts: StringArray = cells()
                    .map(|cell| if let Some(Cell::Text(text)) = cell { Some(text.as_str()) } else { empty })
                    .collect();
                (Arc::new(texts), DataType::Utf8)
            }
        };
        arrays.push(array);
        fields.push(Field::new(*name, kind, true));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .internal(|| "could not fill pg_catalog".to_owned())
}
