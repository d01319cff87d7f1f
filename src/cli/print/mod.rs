//! Answers to standard output as a table, CSV, JSON, Parquet or Arrow; everything else goes to standard error.

mod output;
mod pager;
mod table;

pub(crate) use output::Output;
pub(crate) use output::Shown;
pub(crate) use output::counted;
pub(crate) use output::grouped;
pub(crate) use output::is_broken_pipe;
pub(crate) use pager::Pager;
pub(crate) use table::Look;

use std::io::Write;
use std::path::Path;

use arrow::datatypes::SchemaRef;
use clap::ValueEnum;

use crate::engine::RowFormat;
use crate::engine::RowWriter;
use crate::error::Error;
use crate::error::Result;
use crate::error::did_you_mean;

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns, for people
    #[default]
    Table,
    /// A header and comma-separated rows; NULL is empty, empty text is ""
    Csv,
    /// One JSON array of objects
    Json,
    /// One JSON object per line
    Ndjson,
    /// A Parquet file, compressed with zstd
    Parquet,
    /// An Arrow IPC stream
    Arrow,
}

impl Format {
    pub(crate) const NAMES: [(&'static str, Self); 6] = [
        ("table", Self::Table),
        ("csv", Self::Csv),
        ("json", Self::Json),
        ("ndjson", Self::Ndjson),
        ("parquet", Self::Parquet),
        ("arrow", Self::Arrow),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, format)| *format == self).map_or("table", |(name, _)| name)
    }

    pub(crate) fn named(name: &str) -> Result<Self> {
        let names = Self::NAMES.map(|(name, _)| name);
        let found = Self::NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, format)| *format).ok_or_else(|| {
            let near = did_you_mean(name, names);
            Error::invalid(format!(
                "no format is called \"{name}\"; the formats are {}{near}",
                names.join(", ")
            ))
        })
    }

    /// The format that a file's name asks for by its extension.
    pub(crate) fn of_file(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "txt" => Some(Self::Table),
            "csv" => Some(Self::Csv),
            "json" => Some(Self::Json),
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            "parquet" => Some(Self::Parquet),
            "arrow" | "arrows" | "ipc" => Some(Self::Arrow),
            _ => None,
        }
    }

    /// Whether the bytes are for programs only: not to be thrown at a screen, one answer to a file.
    pub(crate) fn is_binary(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow)
    }
}

/// The writer of every format but the table, which needs to see rows before it knows its widths.
fn writer<'a>(
    format: Format,
    schema: &SchemaRef,
    out: Box<dyn Write + Send + 'a>,
) -> Result<Box<dyn RowWriter + 'a>> {
    let format = match format {
        Format::Csv => RowFormat::Csv,
        Format::Json => RowFormat::Json,
        Format::Ndjson => RowFormat::Ndjson,
        Format::Parquet => RowFormat::Parquet,
        Format::Arrow => RowFormat::Arrow,
        Format::Table => return Err(Error::internal("a table is written by its own printer")),
    };
    format.writer(schema, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_in_the_format_of_its_name() {
        let of = |name: &str| Format::of_file(Path::new(name));
        assert_eq!(of("out/day.PARQUET"), Some(Format::Parquet));
        assert_eq!(of("day.jsonl"), Some(Format::Ndjson));
        assert_eq!(of("day.xls"), None);
        assert_eq!(of("csv"), None);
    }

    #[test]
    fn a_mistyped_format_is_told_what_there_is() {
        let error = Format::named("parket").unwrap_err().to_string();
        assert!(error.contains("did you mean \"parquet\"?"), "{error}");
        assert_eq!(Format::named("CSV").unwrap(), Format::Csv);
        assert!(Format::NAMES.iter().all(|(name, format)| format.name() == *name));
    }
}
