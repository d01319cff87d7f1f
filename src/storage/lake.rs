//! `Lake`: where data files are, in the data directory or in a bucket, and how they get there and back.
//!
//! Data files are written and rewritten on the local disk. Where the lake is in a bucket they are *shipped* there before
//! anything names them, and their local copies go; what is to be rewritten is *fetched* for as long as that takes. Queries
//! and Delta logs use the object store alone. With a lake on the local disk, nothing is shipped and nothing fetched.
//!
//! A bucket's answer is not believed: an upload is done when the object is there in its size.

use std::fs;
use std::sync::Arc;

use futures::FutureExt;
use futures::StreamExt;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use futures::stream;
use object_store::Error as StoreError;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::PutMode;
use object_store::PutOptions;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path as StorePath;
use object_store::prefix::PrefixStore;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::storage::FileRecord;
use crate::storage::Layout;
use crate::storage::catalog::Catalog;
use crate::storage::catalog::KeptLake;
use crate::storage::copy;
use crate::storage::delta::Tables;
use crate::storage::layout;
use crate::storage::object;
use crate::storage::sidecar;

/// Objects that are moved at the same time.
const AT_ONCE: usize = 8;
/// How often an object is put that is not there afterwards.
const ATTEMPTS: usize = 4;
/// The object that says whose a lake is.
const OWNER: &str = "milepost-lake.json";

/// The lake of a data directory.
#[derive(Clone, Debug)]
pub(crate) struct Lake {
    layout: Layout,
    store: Arc<dyn ObjectStore>,
    is_remote: bool,
}

/// Local copies of files of a bucket, there as long as this is.
#[derive(Debug)]
pub(crate) struct Copies {
    layout: Layout,
    paths: Vec<String>,
}

impl Drop for Copies {
    fn drop(&mut self) {
        for path in &self.paths {
            // What stays is removed by the next start.
            let _ = object::remove_file(&self.layout.local(path));
        }
    }
}

impl Lake {
    /// The lake in the data directory, which is made when it is missing.
    pub(crate) fn local(layout: &Layout) -> Result<Self> {
        object::create_folder(&layout.lake())?;
        Ok(Self { layout: layout.clone(), store: object::open_local(&layout.lake())?, is_remote: false })
    }

    /// The lake in a bucket.
    pub(crate) fn remote(layout: &Layout, url: &str) -> Result<Self> {
        Ok(Self { layout: layout.clone(), store: open_place(url)?, is_remote: true })
    }

    /// The lake of a writer: where the catalog says it is, or, in a new data directory, where it is asked for.
    ///
    /// # Errors
    /// `Conflict` when it is elsewhere, or belongs to another data directory.
    pub(crate) async fn of_writer(layout: &Layout, catalog: &Catalog, asked: Option<&str>) -> Result<Self> {
        let kept = match (catalog.lake()?, asked.map(normal).transpose()?) {
            (None, None) => return Self::local(layout),
            (Some(kept), Some(asked)) if kept.url != asked => {
                return Err(Error::conflict(format!(
                    "the lake of this data directory is in {}, not in {asked}; leave out --lake",
                    kept.url
                )));
            }
            (Some(kept), _) => kept,
            (None, Some(asked)) if catalog.next_batch()? > 1 => {
                return Err(Error::conflict(format!(
                    "the lake of this data directory is on the local disk; to have it in {asked}, make a backup and \
                     restore that with --lake into a new data directory"
                )));
            }
            (None, Some(url)) => KeptLake { url, owner: uuid::Uuid::new_v4().to_string() },
        };
        let lake = Self::remote(layout, &kept.url)?;
        let is_new = catalog.lake()?.is_none();
        // Noted first, so that a stop in between leaves nothing there that is nobody's.
        catalog.set_lake(Some(&kept))?;
        if let Err(error) = lake.own(&kept).await {
            if is_new {
                catalog.set_lake(None)?;
            }
            return Err(error);
        }
        lake.clear_local()?;
        Ok(lake)
    }

    /// The lake of a reader.
    pub(crate) fn of_reader(layout: &Layout, catalog: &Catalog) -> Result<Self> {
        match catalog.lake()? {
            Some(kept) => Self::remote(layout, &kept.url),
            None => Ok(Self {
                layout: layout.clone(),
                store: object::open_local(&layout.lake())?,
                is_remote: false,
            }),
        }
    }

    /// The tables, for the only one who writes to them.
    pub(crate) fn tables_of_writer(&self) -> Tables {
        let store = Arc::clone(&self.store);
        if self.is_remote { Tables::far_and_alone(store) } else { Tables::new(store) }
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// An error when a place in a bucket belongs to a data directory.
    pub(crate) async fn must_be_free(&self, url: &str) -> Result<()> {
        match self.store.head(&StorePath::from(OWNER)).await {
            Err(StoreError::NotFound { .. }) => Ok(()),
            Ok(_) => Err(not_ours(url)),
            Err(error) => Err(error).unavailable(|| format!("the lake in {url} cannot be reached")),
        }
    }

    /// Takes possession of a place in a bucket, or finds that it is ours.
    pub(crate) async fn own(&self, kept: &KeptLake) -> Result<()> {
        let doing = || format!("the lake in {} cannot be reached", kept.url);
        let path = StorePath::from(OWNER);
        let mine = serde_json::json!({ "owner": kept.owner }).to_string();
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            let put = self.store.put_opts(&path, mine.clone().into(), options).await;
            // Whatever the answer was: what is there counts.
            match self.store.get(&path).await {
                Ok(got) => {
                    let found = got.bytes().await.unavailable(doing)?;
                    return if found == mine.as_bytes() { Ok(()) } else { Err(not_ours(&kept.url)) };
                }
                Err(error) => last = Some(put.err().unwrap_or(error)),
            }
        }
        let error = Error::unavailable(doing());
        Err(match last {
            Some(last) => error.with_source(last),
            None => error,
        })
    }

    /// Removes what a crash left of local copies.
    fn clear_local(&self) -> Result<()> {
        let folder = self.layout.lake();
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).unavailable(|| format!("could not empty \"{}\"", folder.display()));
            }
            _ => {}
        }
        object::create_folder(&folder)
    }

    /// Brings files that were written to where they belong; they are durable there when this returns.
    pub(crate) async fn ship(&self, files: &[FileRecord]) -> Result<()> {
        if !self.is_remote {
            return Ok(());
        }
        let copies = Copies {
            layout: self.layout.clone(),
            paths: files.iter().map(|file| file.path.clone()).collect(),
        };
        // Boxed one by one, so that the compiler can tell that this may move between threads.
        let mut each: Vec<BoxFuture<'_, Result<()>>> = Vec::with_capacity(files.len());
        for file in files {
            each.push(self.ship_one(&file.path, file.bytes).boxed());
        }
        let shipped = stream::iter(each).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await;
        drop(copies);
        shipped.map(|_| ())
    }

    async fn ship_one(&self, path: &str, bytes: u64) -> Result<()> {
        let local = object::open_local(&self.layout.lake())?;
        let place = StorePath::from(path);
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let copied = copy::copy(&local, &place, &self.store, &place).await;
            match copied {
                Ok(copied) if copied.bytes == bytes => return Ok(()),
                Ok(copied) => {
                    return Err(Error::internal(format!(
                        "\"{path}\" has {} bytes, and {bytes} were written",
                        copied.bytes
                    )));
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::unavailable(format!("\"{path}\" could not be stored"))))
    }

    /// Local copies of files, for whoever reads them from the disk; one call at a time for a file.
    pub(crate) async fn fetch(&self, paths: Vec<String>) -> Result<Copies> {
        let mut copies = Copies { layout: self.layout.clone(), paths: Vec::new() };
        if !self.is_remote {
            return Ok(copies);
        }
        copies.paths = paths;
        let local = object::open_local(&self.layout.lake())?;
        let mut each: Vec<BoxFuture<'_, Result<()>>> = Vec::with_capacity(copies.paths.len());
        for path in &copies.paths {
            each.push(self.fetch_one(path, &local).boxed());
        }
        stream::iter(each).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
        Ok(copies)
    }

    async fn fetch_one(&self, path: &str, local: &Arc<dyn ObjectStore>) -> Result<()> {
        let place = StorePath::from(path);
        copy::copy(&self.store, &place, local, &place).await.map(|_| ())
    }

    /// Removes a data file with its sidecar; that it is gone already is fine.
    pub(crate) async fn remove(&self, path: &str) -> Result<()> {
        sidecar::remove_with(&self.layout, path)?;
        if !self.is_remote {
            return Ok(());
        }
        match self.store.delete(&StorePath::from(path)).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error).unavailable(|| format!("could not remove \"{path}\"")),
        }
    }

    /// The data files of a definition that are there, whether or not its table has them.
    pub(crate) async fn data_files(&self, definition: &str) -> Result<Vec<String>> {
        let folder = StorePath::from(definition);
        let listed: Vec<_> = self
            .store
            .list(Some(&folder))
            .try_collect()
            .await
            .unavailable(|| format!("the files of \"{definition}\" cannot be listed"))?;
        let paths = listed.into_iter().map(|meta| meta.location.to_string());
        Ok(paths.filter(|path| layout::is_data_file(path)).collect())
    }
}

fn not_ours(url: &str) -> Error {
    Error::conflict(format!("the lake in {url} belongs to another data directory; name another place"))
}

/// `s3://bucket/prefix` without a slash at its end.
pub(crate) fn normal(url: &str) -> Result<String> {
    let wrong =
        || Error::invalid(format!("a lake is in a bucket such as s3://bucket/prefix, found \"{url}\""));
    let address = url.strip_prefix("s3://").ok_or_else(wrong)?.trim_end_matches('/');
    let bucket = address.split('/').next().unwrap_or_default();
    if bucket.is_empty() || address.split('/').any(str::is_empty) {
        return Err(wrong());
    }
    Ok(format!("s3://{address}"))
}

/// A place in a bucket as an object store of its own.
pub(crate) fn open_place(url: &str) -> Result<Arc<dyn ObjectStore>> {
    let url = normal(url)?;
    let address = url.trim_start_matches("s3://");
    let (bucket, prefix) = address.split_once('/').unwrap_or((address, ""));
    let bucket = object::open_bucket(bucket, AmazonS3Builder::from_env())?;
    Ok(match prefix {
        "" => Arc::new(bucket),
        prefix => Arc::new(PrefixStore::new(bucket, StorePath::from(prefix))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lake_is_named_by_its_bucket_and_prefix() {
        assert_eq!(normal("s3://acme/lake/").unwrap(), "s3://acme/lake");
        assert_eq!(normal("s3://acme").unwrap(), "s3://acme");
        for wrong in ["", "acme", "/tmp/lake", "s3://", "s3:///x", "s3://acme//x", "gs://acme/x"] {
            assert!(normal(wrong).is_err(), "{wrong}");
        }
    }
}
