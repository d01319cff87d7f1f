//! What an export wrote: the last file to appear, and what makes a repetition harmless.
//!
//! Holds no clock's time, so equal exports have equal manifests.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::export::plan::ExportRequest;

/// The form that this version writes and reads.
const FORMAT: u32 = 1;

/// The content of `<request>-manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    format: u32,
    pub(crate) request_id: String,
    pub(crate) request: Asked,
    /// The number of the last event that the store had for this export; later ones are not in it, whenever they
    /// happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seq_seen: Option<i64>,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Definitions without rows are left out.
    pub(crate) rows_by_definition: BTreeMap<String, u64>,
    pub(crate) files: Vec<ExportedFile>,
}

/// The part of a request that decides what is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Asked {
    start_time: String,
    end_time: String,
    definition_id_list: Vec<String>,
    enrich_with_moments_info: bool,
    rows_per_file: usize,
    gzip_level: u32,
}

/// One file that an export wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportedFile {
    /// Without the directory.
    pub name: String,
    /// Where the file's own sub-range starts, as rows print times.
    pub start_time: String,
    /// Where it ends; not in it.
    pub end_time: String,
    pub rows: u64,
    /// Compressed.
    pub bytes: u64,
    /// Of the compressed file, in hexadecimal.
    pub sha256: String,
}

impl Asked {
    pub(crate) fn of(request: &ExportRequest) -> Self {
        let mut definition_id_list = request.definitions.clone();
        definition_id_list.sort_unstable();
        definition_id_list.dedup();
        Self {
            start_time: request.range.start.export_form().to_string(),
            end_time: request.range.end.export_form().to_string(),
            definition_id_list,
            enrich_with_moments_info: request.enrich_moments,
            rows_per_file: request.limits.rows_per_file,
            gzip_level: request.level,
        }
    }
}

impl Manifest {
    pub(crate) fn new(
        request_id: String,
        request: Asked,
        seq_seen: Option<i64>,
        rows_by_definition: BTreeMap<String, u64>,
        files: Vec<ExportedFile>,
    ) -> Self {
        let rows = files.iter().map(|file| file.rows).sum();
        let bytes = files.iter().map(|file| file.bytes).sum();
        Self { format: FORMAT, request_id, request, seq_seen, rows, bytes, rows_by_definition, files }
    }

    pub(crate) fn name(request_id: &str) -> String {
        format!("{request_id}-manifest.json")
    }

    pub(crate) fn to_json(&self) -> Result<Vec<u8>> {
        let mut json =
            serde_json::to_vec_pretty(self).internal(|| "could not write a manifest".to_owned())?;
        json.push(b'\n');
        Ok(json)
    }

    /// Fails with `Conflict` when the text is not a manifest of this version.
    pub(crate) fn from_json(name: &str, json: &[u8]) -> Result<Self> {
        let not_ours = || format!("\"{name}\" is in the way and is not a manifest that this version reads");
        match serde_json::from_slice::<Self>(json) {
            Ok(manifest) if manifest.format == FORMAT => Ok(manifest),
            Ok(_) => Err(Error::conflict(not_ours())),
            Err(error) => Err(Error::conflict(not_ours()).with_source(error)),
        }
    }
}
