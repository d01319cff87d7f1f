//! A copy of a whole data directory, made while events go on coming, and the way back.
//!
//! ```text
//! DIR/catalog.db  DIR/ids/…  DIR/lake/…     as in a data directory, as of one moment
//! DIR/backup.json                           what belongs to it, with sizes and checksums; written last
//! ```
//! The moment: everything that was acknowledged before the backup began is in it. A backup without its `backup.json`
//! is none.

use std::fs;
use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;
use xxhash_rust::xxh3::Xxh3;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::storage::Layout;
use crate::storage::Storage;
use crate::storage::layout;
use crate::storage::object;
use crate::storage::pool;

/// The file that makes a folder a backup.
const MANIFEST: &str = "backup.json";
const FORMAT: u32 = 1;
const PIECE_BYTES: usize = 1 << 20;

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    pub files: u64,
    pub bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    format: u32,
    /// The version of the program that wrote it.
    program: String,
    /// Microseconds since the epoch.
    at: i64,
    files: Vec<Entry>,
}

/// One file of a backup.
#[derive(Serialize, Deserialize)]
struct Entry {
    /// Within the backup, and within a data directory.
    path: String,
    bytes: u64,
    xxh3: String,
}

impl Storage {
    /// Copies everything that is stored into a new folder. Events can be taken and queries asked meanwhile; batches and
    /// compaction wait for a part of it.
    ///
    /// # Errors
    /// `Conflict` when the folder has something in it, `Unavailable` when a file cannot be read or written.
    pub async fn backup(self: &Arc<Self>, into: PathBuf) -> Result<Copied> {
        self.flush().await?;
        let storage = Arc::clone(self);
        // No file that the copied logs name is removed before it is copied.
        let _no_rewrite = self.compacting.lock().await;
        let (snapshot, mut entries) = {
            let _no_batch = self.committing.lock().await;
            let snapshot = self.snapshot().await?;
            let target = into.clone();
            let copy = move || storage.copy_what_changes(&target);
            (snapshot, tokio::task::spawn_blocking(copy).await.internal(broken_off)??)
        };
        let storage = Arc::clone(self);
        let copy = move || {
            let files = snapshot.tables.values().flat_map(|table| &table.files);
            let files = files.filter(|file| !layout::is_buffer(&file.path)).map(|file| file.path.clone());
            let root = storage.layout.root().to_owned();
            let paths: Vec<String> = files.map(|path| format!("lake/{path}")).collect();
            let copied = pool::run(storage.config.threads, paths, |path| copy_entry(&root, &into, path))?;
            entries.extend(copied);
            finish(&into, entries, storage.config.clock.now().0)
        };
        tokio::task::spawn_blocking(copy).await.internal(broken_off)?
    }

    /// The catalog, the event ids and the Delta logs, which belong together; nobody may commit meanwhile.
    fn copy_what_changes(&self, into: &Path) -> Result<Vec<Entry>> {
        must_be_empty(into)?;
        object::create_folder(into)?;
        let root = self.layout.root();
        self.catalog.copy_to(&Layout::new(into).catalog())?;
        let mut entries = vec![entry_of(into, "catalog.db".to_owned())?];
        for run in self.catalog.id_runs()? {
            entries.push(copy_entry(root, into, format!("ids/{run}"))?);
        }
        for table in names(&self.layout.lake())? {
            let log = format!("lake/{table}/{}", layout::LOG_FOLDER);
            let folder = root.join(&log);
            // A definition may have a folder and no table yet.
            if !folder.try_exists().unavailable(|| format!("could not look for \"{}\"", folder.display()))? {
                continue;
            }
            for name in names(&folder)? {
                entries.push(copy_entry(root, into, format!("{log}/{name}"))?);
            }
        }
        Ok(entries)
    }
}

/// Makes a data directory from a backup; every file is checked on the way. When it fails, there is no data directory.
///
/// # Errors
/// `NotFound` when there is no backup, `Conflict` when there is a data directory, `Internal` when the backup is
/// damaged.
pub fn restore(from: &Path, data: &Path, threads: usize) -> Result<Copied> {
    let path = from.join(MANIFEST);
    let text = fs::read(&path).map_err(|error| {
        let message = format!("there is no backup in \"{}\": its {MANIFEST} cannot be read", from.display());
        Error::not_found(message).with_source(error)
    })?;
    let manifest: Manifest =
        serde_json::from_slice(&text).internal(|| format!("\"{}\" is damaged", path.display()))?;
    if manifest.format != FORMAT {
        return Err(Error::invalid(format!(
            "the backup has format {} and this program reads format {FORMAT}; use a newer milepost",
            manifest.format
        )));
    }
    must_be_empty(data)?;
    let beside = data.with_extension("restoring");
    if beside.try_exists().unavailable(|| format!("could not look for \"{}\"", beside.display()))? {
        fs::remove_dir_all(&beside).unavailable(|| format!("could not remove \"{}\"", beside.display()))?;
    }
    object::create_folder(&beside)?;
    let mut done = Copied::default();
    let copied = pool::run(threads, manifest.files, |entry| {
        if entry.path.split('/').any(|part| part == "..") || Path::new(&entry.path).is_absolute() {
            return Err(Error::invalid(format!("the backup names \"{}\", outside of itself", entry.path)));
        }
        let copied = copy_entry(from, &beside, entry.path.clone())?;
        if (copied.bytes, &copied.xxh3) != (entry.bytes, &entry.xxh3) {
            return Err(Error::internal(format!(
                "the file \"{}\" of the backup is damaged: its checksum is another; use another backup",
                entry.path
            )));
        }
        Ok(copied.bytes)
    })?;
    for bytes in copied {
        done.files += 1;
        done.bytes += bytes;
    }
    let doing = || format!("could not put the data directory at \"{}\"", data.display());
    if data.try_exists().unavailable(doing)? {
        fs::remove_dir(data).unavailable(doing)?;
    }
    fs::rename(&beside, data).unavailable(doing)?;
    if let Some(parent) = data.parent() {
        object::sync_folder(parent)?;
    }
    Ok(done)
}

fn finish(into: &Path, files: Vec<Entry>, at: i64) -> Result<Copied> {
    let copied =
        Copied { files: files.len() as u64, bytes: files.iter().map(|entry| entry.bytes).sum::<u64>() };
    let manifest = Manifest { format: FORMAT, program: env!("CARGO_PKG_VERSION").to_owned(), at, files };
    let doing = || format!("could not write \"{}\"", into.join(MANIFEST).display());
    let text = serde_json::to_vec_pretty(&manifest).internal(doing)?;
    let beside = into.join("backup.json.new");
    File::create(&beside).and_then(|mut file| file.write_all(&text)).unavailable(doing)?;
    object::sync_file(&beside)?;
    fs::rename(&beside, into.join(MANIFEST)).unavailable(doing)?;
    object::sync_folder(into)?;
    Ok(copied)
}

/// Copies a file to the same place under another root, durably.
fn copy_entry(from: &Path, into: &Path, path: String) -> Result<Entry> {
    let (source, target) = (from.join(&path), into.join(&path));
    if let Some(folder) = target.parent() {
        object::create_folder(folder)?;
    }
    let doing = || format!("could not copy \"{}\" to \"{}\"", source.display(), target.display());
    let mut reading = File::open(&source).unavailable(doing)?;
    let mut writing = File::create(&target).unavailable(doing)?;
    let (mut sum, mut bytes) = (Xxh3::new(), 0);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = reading.read(&mut piece).unavailable(doing)?;
        if read == 0 {
            break;
        }
        sum.update(&piece[..read]);
        writing.write_all(&piece[..read]).unavailable(doing)?;
        bytes += read as u64;
    }
    object::sync_file(&target)?;
    Ok(Entry { path, bytes, xxh3: format!("{:016x}", sum.digest()) })
}

/// What a file of the backup is that was written there.
fn entry_of(root: &Path, path: String) -> Result<Entry> {
    let doing = || format!("could not read \"{}\"", root.join(&path).display());
    let bytes = fs::read(root.join(&path)).unavailable(doing)?;
    let mut sum = Xxh3::new();
    sum.update(&bytes);
    object::sync_file(&root.join(&path))?;
    Ok(Entry { path, bytes: bytes.len() as u64, xxh3: format!("{:016x}", sum.digest()) })
}

fn must_be_empty(folder: &Path) -> Result<()> {
    let empty = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => {
            return Err(error).unavailable(|| format!("could not look into \"{}\"", folder.display()));
        }
    };
    if empty { Ok(()) } else { Err(not_empty(folder)) }
}

fn not_empty(folder: &Path) -> Error {
    Error::conflict(format!(
        "\"{}\" has something in it already; name a folder that is new",
        folder.display()
    ))
}

/// What is in a folder, by name.
fn names(folder: &Path) -> Result<Vec<String>> {
    let doing = || format!("could not look into \"{}\"", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unavailable(doing)? {
        let name = entry.unavailable(doing)?.file_name().to_string_lossy().into_owned();
        // What is being written has a name with a sign that no finished file has.
        if !name.contains('#') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn broken_off() -> String {
    "the backup broke off".to_owned()
}
