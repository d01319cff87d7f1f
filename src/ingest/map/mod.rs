//! Maps rows of other shapes (JSON objects, CSV, web server logs) onto events, as a small TOML file says.
//!
//! ```toml
//! format = "csv"
//! definitions = "shop.events.json"            # created on demand; a file beside this one
//!
//! [event]
//! definition = { from = "event", others = "camel" }
//! person = [{ from = "user_id", type = "EXTERNAL_ID" }]
//! time = { from = "timestamp", zone = "UTC" }
//!
//! [[properties]]
//! name = "price"
//! from = "price_cents"
//! type = "Decimal"
//! scale = 0.01
//! ```
//!
//! `docs/maps.md` has every key. What comes out are canonical rows as JSON lines, line for line under the numbers of
//! the rows that they were; a row that cannot be mapped becomes a [`Refusal`], one that a filter leaves out is counted.

mod compile;
mod field;
mod log;
mod moment;
mod names;
mod row;
mod spec;
mod tree;
mod write;

use std::collections::HashSet;
use std::fs;
use std::path::Path;

pub(crate) use crate::ingest::map::names::camel;
pub(crate) use crate::ingest::map::tree::Node;

use crate::error::Context;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::error::did_you_mean;
use crate::ingest::map::compile::Filter;
use crate::ingest::map::compile::PersonField;
use crate::ingest::map::field::Field;
use crate::ingest::map::field::Pick;
use crate::ingest::map::field::Piece;
use crate::ingest::map::field::Problem;
use crate::ingest::map::row::Columns;
use crate::ingest::map::row::Row;
use crate::ingest::map::spec::Format;
use crate::ingest::map::spec::MapSpec;
use crate::ingest::map::write::Outcome;
use crate::ingest::map::write::Rest;
use crate::ingest::source::Chunk;
use crate::ingest::source::Cutter;
use crate::ingest::source::Dialect;
use crate::ingest::source::Framing;
use crate::ingest::source::Refusal;

/// A map that has been read and checked; pure and shared between threads.
#[derive(Debug)]
pub struct Mapping {
    format: Format,
    dialect: Option<Dialect>,
    /// Names of the columns, where the map gives them.
    columns: Option<Columns>,
    null: HashSet<String>,
    filters: Vec<Filter>,
    definition: Field,
    persons: Vec<PersonField>,
    time: Field,
    id: Option<Field>,
    session: Option<Field>,
    properties: Vec<Field>,
    rest: Option<Rest>,
    definitions: Option<String>,
}

impl Mapping {
    /// Reads a map file, and the file of definitions that it names. Errors say the file, the key and the cure.
    pub fn load(path: &Path) -> Result<Self> {
        let name = path.display();
        let text = fs::read_to_string(path).map_err(|error| {
            let kind =
                if error.kind() == std::io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Unavailable };
            Error::new(kind, format!("could not read the map \"{name}\"")).with_source(error)
        })?;
        let (mut mapping, definitions) = Self::build(&text)
            .map_err(|error| Error::new(error.kind(), format!("map \"{name}\": {error}")))?;
        if let Some(file) = definitions {
            let beside = path.with_file_name(&file);
            let text = fs::read_to_string(&beside).context(Kind::NotFound, || {
                format!("map \"{name}\": definitions: could not read \"{}\"", beside.display())
            })?;
            mapping.definitions = Some(text);
        }
        Ok(mapping)
    }

    /// A map from its text. It can name no file of definitions, for there is no folder to look in.
    pub fn parse(text: &str) -> Result<Self> {
        match Self::build(text)? {
            (mapping, None) => Ok(mapping),
            (_, Some(file)) => {
                Err(Error::invalid(format!("definitions: \"{file}\" can be read for a map in a file only")))
            }
        }
    }

    fn build(text: &str) -> Result<(Self, Option<String>)> {
        let spec: MapSpec = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            Error::invalid(format!("line {line}: {}", error.message().replace('\n', " ")))
        })?;
        if spec.csv.is_some() && spec.format != Format::Csv {
            return Err(Error::invalid("csv: this key is for format = \"csv\" only"));
        }
        let csv = spec.csv.unwrap_or_default();
        let dialect = if spec.format == Format::Csv { Some(compile::dialect(&csv)?) } else { None };
        let null: HashSet<String> = csv.null.unwrap_or_else(|| vec![String::new()]).into_iter().collect();
        let columns = match spec.format {
            Format::CombinedLog => Some(log::COLUMNS.map(str::to_owned).to_vec()),
            _ => Some(csv.columns).filter(|columns| !columns.is_empty()),
        };
        if spec.event.person.is_empty() {
            return Err(Error::invalid("event.person: list at least one way to identify the person"));
        }
        let persons = spec.event.person.iter().enumerate();
        let mut mapping = Self {
            format: spec.format,
            dialect,
            columns: columns.map(|columns| Columns::new(columns, &null)),
            null,
            filters: spec
                .filters
                .into_iter()
                .enumerate()
                .map(|(number, filter)| compile::filter(number, filter))
                .collect::<Result<_>>()?,
            definition: compile::definition(&spec.event.definition)?,
            persons: persons
                .map(|(number, person)| compile::person(&format!("event.person[{number}]"), person))
                .collect::<Result<_>>()?,
            time: compile::time(&spec.event.time)?,
            id: spec.event.id.as_ref().map(compile::id).transpose()?,
            session: spec.event.session.as_ref().map(compile::session).transpose()?,
            properties: spec
                .properties
                .iter()
                .enumerate()
                .map(|(number, property)| compile::property(number, property))
                .collect::<Result<_>>()?,
            rest: None,
            definitions: None,
        };
        mapping.check_names()?;
        if let Some(rest) = spec.rest {
            mapping.rest = Some(Rest::new(rest, &mapping.paths())?);
        }
        Ok((mapping, spec.definitions))
    }

    /// How to cut the source into rows.
    pub fn framing(&self) -> Framing {
        match (self.format, self.dialect) {
            (Format::Json, _) => Framing::Json,
            (Format::Csv, Some(dialect)) => Framing::Records(dialect),
            _ => Framing::Lines,
        }
    }

    /// The definitions that the map's events need, in the request form of the definitions API, if it names some.
    pub fn definitions(&self) -> Option<&str> {
        self.definitions.as_deref()
    }

    /// Columns that the map names and a file with this header does not have: their values will be missing, which is
    /// as likely a slip in the map as a file without them.
    pub fn missing_columns(&self, header: &[String]) -> Vec<String> {
        if self.columns.is_some() {
            return Vec::new();
        }
        let known: HashSet<&str> = header.iter().map(String::as_str).collect();
        let there = |path: &str| {
            known.contains(path) || path.match_indices('.').any(|(dot, _)| known.contains(&path[..dot]))
        };
        let mut missing: Vec<String> = self
            .paths()
            .iter()
            .filter(|path| !there(&path.text))
            .map(|path| format!("\"{}\"{}", path.text, did_you_mean(&path.text, known.iter().copied())))
            .collect();
        missing.sort();
        missing.dedup();
        missing
    }

    /// Canonical rows for the rows of a chunk: line `i` still is row `first_row + i`, blank where there is no event.
    pub fn map(&self, chunk: &Chunk) -> Chunk {
        let mut out = Chunk {
            bytes: Vec::with_capacity(chunk.bytes.len() * 2),
            header: chunk.header.clone(),
            refused: chunk.refused.clone(),
            ..*chunk
        };
        let from_header = chunk.header.as_ref().map(|names| Columns::new(names.to_vec(), &self.null));
        let columns = self.columns.as_ref().or(from_header.as_ref());
        let mut cutter = Cutter::new(self.dialect);
        let mut rest = chunk.bytes.as_slice();
        let mut row = chunk.first_row;
        while !rest.is_empty() {
            let length = cutter.first_end(rest);
            let (record, behind) = rest.split_at(length);
            rest = behind;
            let lines = memchr::memchr_iter(b'\n', record).count() as u64;
            let start = out.bytes.len();
            match self.outcome(record, columns, &mut out.bytes) {
                Ok(Outcome::Event | Outcome::Blank) => {}
                Ok(Outcome::LeftOut) => {
                    out.skipped += 1;
                    out.bytes.truncate(start);
                }
                Err(unmapped) => {
                    out.bytes.truncate(start);
                    out.refused.push(refusal(row, *unmapped));
                }
            }
            for _ in 0..lines {
                out.bytes.push(b'\n');
            }
            row += lines;
        }
        out
    }

    /// Tries a refused row again, as its refusal kept it. `None` when a filter leaves it out now.
    pub fn replay(&self, row: u64, raw: &[u8]) -> Result<Option<Vec<u8>>, Box<Refusal>> {
        let mut out = Vec::new();
        let text = String::from_utf8_lossy(raw);
        let object = Node::parse(&text).ok().filter(|node| matches!(node, Node::Object(_)));
        let outcome = match object {
            // A record is kept with the names of its columns, for its header will not be at hand.
            Some(object) if self.format == Format::Csv => self
                .event(&Row::Object(&object), &mut out)
                .map_err(|problem| Box::new((problem, raw.to_vec()))),
            _ => self.outcome(raw, self.columns.as_ref(), &mut out),
        };
        match outcome {
            Ok(Outcome::Event) => Ok(Some(out)),
            Ok(Outcome::Blank | Outcome::LeftOut) => Ok(None),
            Err(unmapped) => Err(Box::new(refusal(row, *unmapped))),
        }
    }

    /// Every path that the map reaches along.
    fn paths(&self) -> Vec<row::Path> {
        let fields = [&self.definition, &self.time]
            .into_iter()
            .chain(self.persons.iter().map(|person| &person.field))
            .chain(&self.id)
            .chain(&self.session)
            .chain(&self.properties);
        let mut paths: Vec<row::Path> = self.filters.iter().map(|filter| filter.path.clone()).collect();
        for field in fields {
            match &field.pick {
                Pick::Paths(given) | Pick::Hash(given) => paths.extend(given.iter().cloned()),
                Pick::Template(pieces) => paths.extend(pieces.iter().filter_map(|piece| match piece {
                    Piece::Value(path) => Some(path.clone()),
                    Piece::Text(_) => None,
                })),
                Pick::Constant(_) => {}
            }
        }
        paths
    }

    /// A property may be described twice only for different definitions.
    fn check_names(&self) -> Result<()> {
        for (at, property) in self.properties.iter().enumerate() {
            let twice = self.properties[..at].iter().any(|other| {
                let apart = !property.only.is_empty()
                    && !other.only.is_empty()
                    && property.only.is_disjoint(&other.only);
                other.name == property.name && !apart
            });
            if twice {
                return Err(Error::invalid(format!(
                    "properties.{}: the property is described twice; give each a for = [..] with other definitions",
                    property.name
                )));
            }
        }
        Ok(())
    }
}

fn refusal(row: u64, (problem, raw): (Problem, Vec<u8>)) -> Refusal {
    let Problem { code, property, expected, found, message } = problem;
    Refusal { row, code, property, expected, found, message, raw }
}

#[cfg(test)]
mod tests;
