//! Import: inputs as people name them become sources, a map brings its definitions, and each day ends in one file.

use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::Engine;
use crate::error::Context;
use crate::error::Result;
use crate::ingest::CheckOptions;
use crate::ingest::ImportOptions;
use crate::ingest::Importer;
use crate::ingest::Progress;
use crate::ingest::Report;
use crate::ingest::map::Mapping;
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
        let importer = Importer::new(Arc::clone(self.storage()), SystemClock::shared(), options);
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

    pub async fn propose(&self, _request: &ImportRequest) -> Result<String> {
        Ok(String::new())
    }
}

fn mapping(request: &ImportRequest) -> Result<Option<Mapping>> {
    request.map.as_deref().map(Mapping::load).transpose()
}

/// Everything that the inputs name. Buckets are asked on a thread of their own.
async fn sources(request: &ImportRequest) -> Result<Vec<Source>> {
    let inputs = request.inputs.clone();
    let name = request.source.clone().unwrap_or_else(|| format!("stdin {}", uuid::Uuid::new_v4()));
    tokio::task::spawn_blocking(move || expand(&inputs, &name, &ObjectStoreOptions::default()))
        .await
        .internal(|| "looking for the inputs broke off".to_owned())?
}
