//! A copy of a whole data directory, made while events go on coming, and the way back.
//!
//! ```text
//! PLACE/catalog.db  PLACE/ids/…  PLACE/lake/…     as in a data directory, as of one moment
//! PLACE/backup.json                               what belongs to it, with sizes and checksums; written last
//! ```
//! The place is a folder, or a prefix in a bucket. The moment: everything that was acknowledged before the backup began
//! is in it. A backup without its `backup.json` is none.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use futures::FutureExt;
use futures::StreamExt;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use futures::stream;
use object_store::Error as StoreError;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::path::Path as StorePath;
use serde::Deserialize;
use serde::Serialize;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::storage::Layout;
use crate::storage::Storage;
use crate::storage::catalog::Catalog;
use crate::storage::catalog::KeptLake;
use crate::storage::copy;
use crate::storage::lake;
use crate::storage::lake::Lake;
use crate::storage::layout;
use crate::storage::object;

/// The object that makes a place a backup.
const MANIFEST: &str = "backup.json";
const CATALOG: &str = "catalog.db";
const FORMAT: u32 = 1;
/// Objects that are copied at the same time.
const AT_ONCE: usize = 4;
/// What begins the paths of the lake in a backup.
const LAKE: &str = "lake/";

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
#[derive(Clone, Serialize, Deserialize)]
struct Entry {
    /// Within the backup, and within a data directory.
    path: String,
    bytes: u64,
    xxh3: String,
}

type Store = Arc<dyn ObjectStore>;

impl Storage {
    /// Copies everything that is stored into a new folder, or to a new place `s3://bucket/prefix`. Events can be taken
    /// and queries asked meanwhile; batches and compaction wait for a part of it.
    ///
    /// # Errors
    /// `Conflict` when the place has something in it, `Unavailable` when a file cannot be read or written.
    pub async fn backup(self: &Arc<Self>, into: &str) -> Result<Copied> {
        self.writer()?;
        self.flush().await?;
        let target = open_new(into).await?;
        // No file that the copied logs name is removed before it is copied.
        let _no_rewrite = self.compacting.lock().await;
        let (snapshot, mut entries) = {
            let _no_batch = self.committing.lock().await;
            (self.snapshot().await?, self.copy_what_changes(&target).await?)
        };
        let files = snapshot.tables.values().flat_map(|table| &table.files);
        let paths: Vec<&str> =
            files.map(|file| file.path.as_str()).filter(|path| !layout::is_buffer(path)).collect();
        let lake = self.lake.store();
        // Boxed one by one, so that the compiler can tell that this may move between threads.
        let mut each: Vec<BoxFuture<'_, Result<Entry>>> = Vec::with_capacity(paths.len());
        for path in paths {
            each.push(copy_entry(lake, path, &target, format!("{LAKE}{path}")).boxed());
        }
        let copied: Vec<Entry> = stream::iter(each).buffer_unordered(AT_ONCE).try_collect().await?;
        entries.extend(copied);
        finish(&target, entries, self.config.clock.now().0).await
    }

    /// The catalog, the event ids and the Delta logs, which belong together; nobody may commit meanwhile.
    async fn copy_what_changes(&self, target: &Store) -> Result<Vec<Entry>> {
        let mut entries = vec![self.copy_catalog(target).await?];
        let root = object::open_local(self.layout.root())?;
        for run in self.catalog.id_runs()? {
            let path = format!("ids/{run}");
            entries.push(copy_entry(&root, &path, target, path.clone()).await?);
        }
        let lake = self.lake.store();
        for table in self.tables.list().await? {
            let log = StorePath::from(format!("{table}/{}", layout::LOG_FOLDER));
            let listed: Vec<_> = lake
                .list(Some(&log))
                .try_collect()
                .await
                .unavailable(|| format!("the Delta log of \"{table}\" cannot be listed"))?;
            for meta in listed {
                let path = meta.location.as_ref();
                entries.push(copy_entry(lake, path, target, format!("{LAKE}{path}")).await?);
            }
        }
        Ok(entries)
    }

    /// The catalog as it is now, by way of a file of its own.
    async fn copy_catalog(&self, target: &Store) -> Result<Entry> {
        let beside = self.layout.root().join(format!("backup-{}", uuid::Uuid::new_v4().simple()));
        object::create_folder(&beside)?;
        let (catalog, copy) = (Arc::clone(&self.catalog), beside.join(CATALOG));
        let made = tokio::task::spawn_blocking(move || catalog.copy_to(&copy)).await;
        let copied = match made.internal(|| "the copying of the catalog broke off".to_owned())? {
            Ok(()) => copy_entry(&object::open_local(&beside)?, CATALOG, target, CATALOG.to_owned()).await,
            Err(error) => Err(error),
        };
        fs::remove_dir_all(&beside).unavailable(|| format!("could not remove \"{}\"", beside.display()))?;
        copied
    }
}

/// Makes a data directory from a backup in a folder or a bucket, its lake in it or, if one is named, in a bucket; every
/// file is checked on the way. When it fails, there is no data directory.
///
/// # Errors
/// `NotFound` when there is no backup, `Conflict` when there is a data directory, `Internal` when the backup is
/// damaged.
pub async fn restore(from: &str, data: &Path, in_bucket: Option<&str>) -> Result<Copied> {
    let (source, manifest) = open_backup(from).await?;
    must_be_empty(data)?;
    let beside = data.with_extension("restoring");
    if beside.try_exists().unavailable(|| format!("could not look for \"{}\"", beside.display()))? {
        fs::remove_dir_all(&beside).unavailable(|| format!("could not remove \"{}\"", beside.display()))?;
    }
    object::create_folder(&beside)?;
    let layout = Layout::new(&beside);
    let kept = in_bucket
        .map(|url| {
            Ok::<_, Error>(KeptLake { url: lake::normal(url)?, owner: uuid::Uuid::new_v4().to_string() })
        })
        .transpose()?;
    let lake = match &kept {
        Some(kept) => Lake::remote(&layout, &kept.url)?,
        None => Lake::local(&layout)?,
    };
    if let Some(kept) = &kept {
        lake.must_be_free(&kept.url).await?;
    }
    let root = object::open_local(&beside)?;
    let (files, store) = (&root, lake.store());
    let mut each: Vec<BoxFuture<'_, Result<u64>>> = Vec::with_capacity(manifest.files.len());
    for entry in manifest.files {
        each.push(restore_entry(&source, files, store, entry).boxed());
    }
    let copied: Vec<u64> = stream::iter(each).buffer_unordered(AT_ONCE).try_collect().await?;
    if let Some(kept) = &kept {
        lake.own(kept).await?;
    }
    {
        let catalog = Catalog::open(&layout.catalog())?;
        if catalog.lake()? != kept {
            catalog.set_lake(kept.as_ref())?;
        }
    }
    let doing = || format!("could not put the data directory at \"{}\"", data.display());
    if data.try_exists().unavailable(doing)? {
        fs::remove_dir(data).unavailable(doing)?;
    }
    fs::rename(&beside, data).unavailable(doing)?;
    if let Some(parent) = data.parent() {
        object::sync_folder(parent)?;
    }
    Ok(Copied { files: copied.len() as u64, bytes: copied.iter().sum() })
}

async fn open_backup(from: &str) -> Result<(Store, Manifest)> {
    let missing = || format!("there is no backup in \"{from}\": its {MANIFEST} cannot be read");
    let source = match from.contains("://") {
        true => lake::open_place(from)?,
        false => object::open_local(Path::new(from))
            .map_err(|error| Error::not_found(missing()).with_source(error))?,
    };
    let path = StorePath::from(MANIFEST);
    let got = source.get(&path).await.map_err(|error| match error {
        StoreError::NotFound { .. } => Error::not_found(missing()).with_source(error),
        _ => Error::unavailable(missing()).with_source(error),
    })?;
    let text = got.bytes().await.unavailable(missing)?;
    let manifest: Manifest =
        serde_json::from_slice(&text).internal(|| format!("{MANIFEST} in \"{from}\" is damaged"))?;
    if manifest.format != FORMAT {
        return Err(Error::invalid(format!(
            "the backup has format {} and this program reads format {FORMAT}; use a newer milepost",
            manifest.format
        )));
    }
    Ok((source, manifest))
}

async fn restore_entry(source: &Store, root: &Store, lake: &Store, entry: Entry) -> Result<u64> {
    if entry.path.split('/').any(|part| part == "..") || entry.path.starts_with('/') {
        return Err(Error::invalid(format!("the backup names \"{}\", outside of itself", entry.path)));
    }
    let (store, path) = match entry.path.strip_prefix(LAKE) {
        Some(path) => (lake, path),
        None => (root, entry.path.as_str()),
    };
    let copied = copy_entry(source, &entry.path, store, path.to_owned()).await?;
    if (copied.bytes, &copied.xxh3) != (entry.bytes, &entry.xxh3) {
        return Err(Error::internal(format!(
            "the file \"{}\" of the backup is damaged: its checksum is another; use another backup",
            entry.path
        )));
    }
    Ok(copied.bytes)
}

async fn finish(into: &Store, files: Vec<Entry>, at: i64) -> Result<Copied> {
    let copied =
        Copied { files: files.len() as u64, bytes: files.iter().map(|entry| entry.bytes).sum::<u64>() };
    let manifest = Manifest { format: FORMAT, program: env!("CARGO_PKG_VERSION").to_owned(), at, files };
    let doing = || format!("could not write the {MANIFEST} of the backup");
    let text = serde_json::to_vec_pretty(&manifest).internal(doing)?;
    into.put(&StorePath::from(MANIFEST), text.into()).await.unavailable(doing)?;
    Ok(copied)
}

async fn copy_entry(from: &Store, source: &str, into: &Store, path: String) -> Result<Entry> {
    let copied = copy::copy(from, &StorePath::from(source), into, &StorePath::from(path.as_str())).await?;
    Ok(Entry { path, bytes: copied.bytes, xxh3: copied.xxh3 })
}

/// A place that has nothing in it.
async fn open_new(into: &str) -> Result<Store> {
    if !into.contains("://") {
        let folder = Path::new(into);
        must_be_empty(folder)?;
        object::create_folder(folder)?;
        return object::open_local(folder);
    }
    let place = lake::open_place(into)?;
    let first = place.list(None).next().await.transpose();
    match first.unavailable(|| format!("\"{into}\" cannot be listed"))? {
        None => Ok(place),
        Some(_) => Err(not_empty(into)),
    }
}

fn must_be_empty(folder: &Path) -> Result<()> {
    let empty = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => {
            return Err(error).unavailable(|| format!("could not look into \"{}\"", folder.display()));
        }
    };
    if empty { Ok(()) } else { Err(not_empty(&folder.display().to_string())) }
}

fn not_empty(place: &str) -> Error {
    Error::conflict(format!("\"{place}\" has something in it already; name a place that is new"))
}
