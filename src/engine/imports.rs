//! Import: inputs as people name them become sources, a map brings its definitions, and each day ends in one file.

use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::Engine;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::ingest::CheckOptions;
use crate::ingest::ImportOptions;
use crate::ingest::Importer;
use crate::ingest::Progress;
use crate::ingest::Report;
use crate::ingest::map::Mapping;
use crate::ingest::propose::ProposedDefinition;
use crate::ingest::propose::Proposer;
use crate::ingest::source::Framing;
use crate::ingest::source::ObjectStoreOptions;
use crate::ingest::source::Source;
use crate::ingest::source::expand;
use crate::time::SystemClock;
use crate::time::Zone;

/// What to import, and how.
#[derive(Clone, Debug)]
pub struct ImportRequest {
    /// Files, folders, patterns, `s3://` addresses, or `-` for standard input.
    pub inputs: Vec<String>,
    /// The file of a map, for rows of another shape.
    pub map: Option<PathBuf>,
    /// The zone of times without an offset.
    pub zone: Option<Zone>,
    /// Unknown persons are created, where the identifier allows it.
    pub create_persons: bool,
    /// Half a surrogate pair becomes U+FFFD instead of a refusal.
    pub lenient: bool,
    /// Read inputs again that are done and unchanged.
    pub again: bool,
    /// What standard input is called; without a name its rows cannot be told from those of another run.
    pub source: Option<String>,
    /// Try the refused rows again, instead of reading inputs.
    pub replay: bool,
}

impl Default for ImportRequest {
    fn default() -> Self {
        Self {
            inputs: Vec::new(),
            map: None,
            zone: None,
            create_persons: true,
            lenient: false,
            again: false,
            source: None,
            replay: false,
        }
    }
}

impl Engine {
    /// Imports, then makes each day that grew one file again. Refused rows are in the report and in quarantine.
    ///
    /// # Errors
    /// When an input cannot be read or a batch cannot be stored; what came before is stored.
    pub async fn import(&self, request: ImportRequest, progress: Box<dyn Progress>) -> Result<Report> {
        let turn = self.turn_to_import().await;
        let mapping = mapping(&request)?;
        let mut notes = Vec::new();
        if let Some(definitions) = mapping.as_ref().and_then(|mapping| mapping.definitions()) {
            let done = self.apply_definitions(definitions, true, false)?;
            notes.extend(done.into_iter().filter(|line| !line.ends_with("unchanged")));
        }
        let options = ImportOptions {
            check: CheckOptions { zone: request.zone.or(self.config().zone), lenient: request.lenient },
            create_persons: request.create_persons,
            again: request.again,
            mapping: mapping.map(Arc::new),
            threads: self.config().thread_count(),
            ..ImportOptions::default()
        };
        let importer =
            Importer::new(Arc::clone(self.storage()), SystemClock::shared(), options).with_turn(turn);
        let mut report = if request.replay {
            importer.replay(progress).await?
        } else {
            importer.import(sources(&request).await?, progress).await?
        };
        if report.stored > 0 {
            self.storage().compact(Arc::new(|_| {})).await?;
        }
        notes.append(&mut report.notes);
        Ok(Report { notes, ..report })
    }

    /// Definitions that would take the events of the inputs.
    ///
    /// # Errors
    /// When an input cannot be read; standard input cannot, for the import that follows would find it empty.
    pub async fn propose(&self, request: &ImportRequest) -> Result<Proposal> {
        if request.inputs.iter().any(|input| input == "-") {
            return Err(Error::invalid(
                "definitions are proposed from inputs that can be read twice; save standard input to a file",
            ));
        }
        let mapping = mapping(request)?;
        let framing = mapping.as_ref().map_or(Framing::Json, Mapping::framing);
        let registry = self.storage().registry();
        let sources = sources(request).await?;
        let read = move || {
            let mut proposer = Proposer::new();
            for source in sources {
                for chunk in source.open(framing)? {
                    let chunk = chunk?;
                    match &mapping {
                        Some(mapping) => proposer.see(&mapping.map(&chunk)),
                        None => proposer.see(&chunk),
                    }
                }
            }
            Proposal::new(&proposer.propose(&registry)?, proposer.unreadable())
        };
        tokio::task::spawn_blocking(read).await.internal(|| "reading the inputs broke off".to_owned())?
    }
}

/// Definitions that would take events, before anybody has said yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// A JSON array of requests, as `apply_definitions` takes it.
    pub json: String,
    /// What people should know before they say yes.
    pub notes: Vec<String>,
}

impl Proposal {
    fn new(proposed: &[ProposedDefinition], unreadable: u64) -> Result<Self> {
        let mut notes = Vec::new();
        for one in proposed {
            let what = if one.new { "new" } else { "known" };
            notes.push(format!(
                "{}: {what}, {} rows, {} properties to add",
                one.definition.id,
                one.rows,
                one.added.len()
            ));
            notes.extend(one.notes.iter().map(|note| format!("{}: {note}", one.definition.id)));
        }
        if unreadable > 0 {
            notes.push(format!(
                "{unreadable} rows are no JSON objects with a definitionId, and will be refused; --map says how rows \
                 of another shape become events (docs/maps.md)"
            ));
        }
        let changed = proposed.iter().filter(|one| one.new || !one.added.is_empty());
        let requests: Vec<_> = changed.map(ProposedDefinition::to_json).collect();
        let json =
            serde_json::to_string_pretty(&requests).internal(|| "could not write the proposal".to_owned())?;
        Ok(Self { json, notes })
    }
}

fn mapping(request: &ImportRequest) -> Result<Option<Mapping>> {
    request.map.as_deref().map(Mapping::load).transpose()
}

/// Everything that the inputs name. Buckets are asked on a thread of their own.
async fn sources(request: &ImportRequest) -> Result<Vec<Source>> {
    let inputs = request.inputs.clone();
    let name = request.source.clone().unwrap_or_else(|| format!("stdin {}", uuid::Uuid::new_v4()));
    let sources = tokio::task::spawn_blocking(move || expand(&inputs, &name, &ObjectStoreOptions::default()))
        .await
        .internal(|| "looking for the inputs broke off".to_owned())??;
    if request.map.is_none()
        && let Some(table) = sources.iter().find(|source| is_csv(&source.name))
    {
        return Err(Error::invalid(format!(
            "\"{}\" is CSV by its name: --map says how its rows become events (docs/maps.md)",
            table.name
        )));
    }
    Ok(sources)
}

/// Whether the name says that the rows are no JSON, packed or not.
fn is_csv(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let name = [".gz", ".zst"].iter().find_map(|packed| name.strip_suffix(packed)).unwrap_or(&name);
    name.ends_with(".csv") || name.ends_with(".tsv")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_text_is_known_by_its_name_packed_or_not() {
        for csv in ["/a/b.csv", "/a/b.CSV.gz", "s3://a/b.tsv.zst"] {
            assert!(is_csv(csv), "{csv}");
        }
        for other in ["/a.csv/b.json", "/a/csv", "/a/b.json.gz", "-"] {
            assert!(!is_csv(other), "{other}");
        }
    }
}
