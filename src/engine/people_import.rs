//! Import of persons: JSON lines or CSV become upserts, a few thousand in one transaction.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;

use serde::Deserialize;
use serde_json::Value;

use crate::engine::Engine;
use crate::engine::PersonOp;
use crate::engine::Verdict;
use crate::engine::people::Writer;
use crate::engine::people_rows::Target;
use crate::engine::people_rows::of_text;
use crate::engine::people_rows::target;
use crate::engine::people_rows::write_of;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::person::Fault;
use crate::person::Mode;
use crate::person::PersonWrite;
use crate::storage::PeopleTx;

/// Persons that are written in one transaction.
const AT_ONCE: usize = 5_000;
/// Refusals that are told with their reasons.
const SAMPLES: usize = 10;
/// The origin that imported profiles have.
const ORIGIN: &str = "IMPORT";

/// How the persons of a file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeopleFile {
    /// One object a line.
    Json,
    /// A header, and one person a record.
    Csv,
}

/// What to import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeopleImport {
    pub file: PeopleFile,
    /// The text of a map: which column of a CSV is what.
    pub map: Option<String>,
    /// Persons that are there are overwritten instead of added to.
    pub replace: bool,
}

/// What came of an import of persons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeopleReport {
    pub created: u64,
    pub updated: u64,
    pub unchanged: u64,
    pub refused: u64,
    /// The first refusals: the line, and why.
    pub samples: Vec<(u64, String)>,
}

impl PeopleReport {
    /// How many persons were read.
    pub fn rows(&self) -> u64 {
        self.created + self.updated + self.unchanged + self.refused
    }

    fn refuse(&mut self, row: u64, faults: &[Fault]) {
        self.refused += 1;
        if self.samples.len() < SAMPLES {
            let messages: Vec<String> = faults.iter().map(said).collect();
            self.samples.push((row, messages.join("; ")));
        }
    }
}

fn said(fault: &Fault) -> String {
    let told = fault.property.is_empty() || fault.message.contains(&fault.property);
    if told { fault.message.clone() } else { format!("{}: {}", fault.property, fault.message) }
}

/// `[columns]` of a map: the name in the file, and what it is of a person; an empty text leaves a column out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Map {
    #[serde(default)]
    columns: std::collections::BTreeMap<String, String>,
}

type Read1 = (u64, std::result::Result<PersonWrite, Vec<Fault>>);

impl Engine {
    /// Adds persons, or adds to those that are there by any identifier; `told` hears how many are done.
    ///
    /// # Errors
    /// When the input cannot be read or its columns are not known; what came before is stored.
    pub async fn import_people(
        &self,
        input: Box<dyn Read + Send>,
        request: PeopleImport,
        told: impl Fn(u64) + Sync,
    ) -> Result<PeopleReport> {
        let attributes = self.custom_attributes();
        let mut persons: Box<dyn Iterator<Item = Result<Read1>> + Send> = match request.file {
            PeopleFile::Json => Box::new(json_lines(input)),
            PeopleFile::Csv => {
                let map: Map = match &request.map {
                    Some(text) => toml::from_str(text)
                        .context(crate::error::Kind::Invalid, || "the map cannot be read".to_owned())?,
                    None => Map::default(),
                };
                let mut reader = csv::Reader::from_reader(input);
                let header =
                    reader.headers().context(crate::error::Kind::Invalid, || "no header".to_owned())?.clone();
                let wanted = map.columns.keys().find(|name| !header.iter().any(|one| one == name.as_str()));
                if let Some(name) = wanted {
                    let hint = crate::error::did_you_mean(name, header.iter());
                    return Err(Error::invalid(format!(
                        "the map names a column \"{name}\", which there is not{hint}"
                    )));
                }
                let targets = header
                    .iter()
                    .map(|name| match map.columns.get(name).map_or(name, String::as_str) {
                        "" => Ok(None),
                        meant => target(meant, &attributes).map(Some),
                    })
                    .collect::<Result<Vec<_>>>()?;
                Box::new(csv_rows(reader, targets, attributes))
            }
        };
        let mode = if request.replace { Mode::Replace } else { Mode::Update };
        let mut report = PeopleReport::default();
        loop {
            let mut batch = Vec::with_capacity(AT_ONCE);
            while batch.len() < AT_ONCE
                && let Some(next) = tokio::task::block_in_place(|| persons.next())
            {
                match next? {
                    (row, Ok(write)) => batch.push((row, write)),
                    (row, Err(faults)) => report.refuse(row, &faults),
                }
            }
            if batch.is_empty() {
                return Ok(report);
            }
            for (row, verdict) in self.upsert_people(batch, mode).await? {
                match verdict {
                    Verdict::Created(_) => report.created += 1,
                    Verdict::Refused(faults) => report.refuse(row, &faults),
                    Verdict::NotModified(_) => report.unchanged += 1,
                    Verdict::Updated(_) | Verdict::Deleted(_) => report.updated += 1,
                }
            }
            told(report.rows());
        }
    }

    async fn upsert_people(&self, batch: Vec<(u64, PersonWrite)>, mode: Mode) -> Result<Vec<(u64, Verdict)>> {
        let work = move |people: &mut PeopleTx<'_>| {
            let each = batch.into_iter().map(|(row, write)| {
                let verdict = Writer { people, origin: ORIGIN }.write(PersonOp::Upsert { write, mode })?;
                Ok((row, verdict))
            });
            each.collect()
        };
        self.change_people(work).await
    }
}

fn json_lines(input: Box<dyn Read + Send>) -> impl Iterator<Item = Result<Read1>> + Send {
    let lines = BufReader::new(input).split(b'\n').enumerate();
    lines.filter_map(|(at, line)| {
        let row = at as u64 + 1;
        let line = match line.unavailable(|| format!("could not read line {row}")) {
            Ok(line) => line,
            Err(error) => return Some(Err(error)),
        };
        if line.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        let write = match serde_json::from_slice::<Value>(&line) {
            Ok(value) => PersonWrite::from_json(&value),
            Err(error) => Err(vec![Fault {
                code: crate::person::FaultCode::Invalid,
                property: String::new(),
                message: format!("no JSON: {error}"),
            }]),
        };
        Some(Ok((row, write)))
    })
}

fn csv_rows(
    reader: csv::Reader<Box<dyn Read + Send>>,
    targets: Vec<Option<Target>>,
    attributes: std::sync::Arc<crate::person::CustomAttributes>,
) -> impl Iterator<Item = Result<Read1>> + Send {
    reader.into_records().map(move |record| {
        let record = record.context(crate::error::Kind::Invalid, || "could not read a record".to_owned())?;
        let row = record.position().map_or(0, csv::Position::line);
        let mut given = Vec::new();
        let mut values = Vec::new();
        for (target, text) in targets.iter().zip(&record) {
            let Some(target) = target else { continue };
            if let Some(value) = of_text(target, text, &attributes) {
                given.push(target.clone());
                values.push(value);
            }
        }
        Ok((row, write_of(&given, values)))
    })
}
