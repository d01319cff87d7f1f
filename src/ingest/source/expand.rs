//! Turns what people type after `milepost import` into a list of sources that can be opened.

use std::collections::HashSet;
use std::fs;
use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use crate::error::Context;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::ingest::source::chunk::ChunkReader;
use crate::ingest::source::chunk::Framing;
use crate::ingest::source::object;
use crate::ingest::source::object::ObjectStoreOptions;

/// One input that can be opened.
#[derive(Clone, Debug)]
pub struct Source {
    /// An absolute path or a URL; for stdin `-`, or the name it was given.
    pub name: String,
    /// Packed bytes, where that is known beforehand.
    pub size: Option<u64>,
    /// Changes when the contents may have changed (size and modification time, or ETag); empty where nothing tells.
    pub fingerprint: String,
    pub origin: Origin,
}

/// How a [`Source`] is opened.
#[derive(Clone, Debug)]
pub enum Origin {
    File(PathBuf),
    Stdin,
    /// The key of an object in a bucket.
    Object {
        bucket: String,
        key: String,
        options: Box<ObjectStoreOptions>,
    },
}

impl Source {
    /// Standard input under a name.
    pub fn stdin(name: impl Into<String>) -> Self {
        Self { name: name.into(), size: None, fingerprint: String::new(), origin: Origin::Stdin }
    }

    /// Opens the source and reads its first bytes. Blocking; may be used on any thread that may block.
    pub fn open(&self, framing: Framing) -> Result<ChunkReader> {
        let input: Box<dyn Read + Send> = match &self.origin {
            Origin::File(path) => {
                let file = File::open(path).map_err(|error| missing(&self.name, error))?;
                Box::new(file)
            }
            Origin::Stdin => Box::new(io::stdin()),
            Origin::Object { bucket, key, options } => object::open(&self.name, bucket, key, options)?,
        };
        ChunkReader::new(self.name.clone(), input, framing)
    }

    fn file(path: &Path) -> Result<Self> {
        let metadata = fs::metadata(path).map_err(|error| missing(&path.display().to_string(), error))?;
        // A pipe has no contents to come back to, and its name under /proc means nothing tomorrow.
        if !metadata.is_file() {
            let path = std::path::absolute(path)
                .unavailable(|| format!("could not resolve \"{}\"", path.display()))?;
            let name = path.display().to_string();
            return Ok(Self { name, size: None, fingerprint: String::new(), origin: Origin::File(path) });
        }
        let path =
            fs::canonicalize(path).unavailable(|| format!("could not resolve \"{}\"", path.display()))?;
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Ok(Self {
            name: path.display().to_string(),
            size: Some(metadata.len()),
            fingerprint: format!("{}-{}", metadata.len(), modified.unwrap_or_default().as_nanos()),
            origin: Origin::File(path),
        })
    }
}

/// The sources that `inputs` stand for, in the order given, each once: a file; a folder (every file below it in order
/// of names, hidden ones and manifests of exports left out); a glob; `s3://bucket/key`, also with `*`, or a prefix that ends in `/`; `-` for
/// stdin, called `stdin_name`. An input that stands for nothing is an error.
pub fn expand(inputs: &[String], stdin_name: &str, options: &ObjectStoreOptions) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for input in inputs {
        let mut found = Vec::new();
        if input == "-" {
            found.push(Source::stdin(stdin_name));
        } else if let Some(address) = input.strip_prefix("s3://") {
            found.extend(object::list(input, address, options)?);
        } else {
            expand_path(input, &mut found)?;
        }
        if found.is_empty() {
            return Err(Error::not_found(format!("\"{input}\" holds no files to import")));
        }
        sources.extend(without_manifests(found));
    }
    let mut seen = HashSet::new();
    sources.retain(|source| seen.insert(source.name.clone()));
    Ok(sources)
}

fn expand_path(input: &str, sources: &mut Vec<Source>) -> Result<()> {
    let path = Path::new(input);
    let there = path.try_exists().unavailable(|| format!("could not look for \"{input}\""))?;
    if there {
        return add(path, sources);
    }
    if !input.contains(['*', '?', '[']) {
        return Err(missing(input, io::Error::from(io::ErrorKind::NotFound)));
    }
    let paths =
        glob::glob(input).context(Kind::Invalid, || format!("\"{input}\" is no pattern of file names"))?;
    for path in paths {
        let path = path.unavailable(|| format!("could not look for \"{input}\""))?;
        if !hidden(&path) {
            add(&path, sources)?;
        }
    }
    Ok(())
}

fn add(path: &Path, sources: &mut Vec<Source>) -> Result<()> {
    if !path.is_dir() {
        sources.push(Source::file(path)?);
        return Ok(());
    }
    let reading = || format!("could not read the folder \"{}\"", path.display());
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).unavailable(reading)? {
        let entry = entry.unavailable(reading)?;
        // A link to a folder could lead round in a circle; it is imported when named itself.
        let circle = entry.file_type().unavailable(reading)?.is_symlink() && entry.path().is_dir();
        if !hidden(&entry.path()) && !circle {
            entries.push(entry.path());
        }
    }
    entries.sort();
    entries.iter().try_for_each(|entry| add(entry, sources))
}

/// Leaves out the manifest of an export that stands beside the export's files: it lists them, and is no events itself.
fn without_manifests(found: Vec<Source>) -> Vec<Source> {
    let exports: HashSet<String> =
        found.iter().filter_map(|one| Some(one.name.rsplit_once("-events-")?.0.to_owned())).collect();
    let lists_files =
        |one: &Source| one.name.strip_suffix("-manifest.json").is_some_and(|id| exports.contains(id));
    found.into_iter().filter(|one| !lists_files(one)).collect()
}

fn hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

fn missing(name: &str, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::not_found(format!("there is no file or folder \"{name}\"")),
        _ => Error::unavailable(format!("could not open \"{name}\"")).with_source(error),
    }
}
