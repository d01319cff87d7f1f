//! A local object store whose writes survive a power cut: what `object_store`'s own does not promise.
//!
//! A commit is acknowledged to the catalog when the Delta log has it, so the log must be on the medium by then. Each
//! object is written beside its place, synced, and only then moved there: a name never shows a torn object. Listings
//! are in order.

use std::fmt;
use std::fs;
use std::fs::File;
use std::io;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream;
use futures::stream::BoxStream;
use object_store::CopyOptions;
use object_store::Error;
use object_store::GetOptions;
use object_store::GetResult;
use object_store::ListResult;
use object_store::MultipartUpload;
use object_store::ObjectMeta;
use object_store::ObjectStore;
use object_store::PutMode;
use object_store::PutMultipartOptions;
use object_store::PutOptions;
use object_store::PutPayload;
use object_store::PutResult;
use object_store::RenameOptions;
use object_store::Result;
use object_store::UploadPart;
use object_store::local::LocalFileSystem;
use object_store::path::Path as StorePath;

use crate::storage::object;

/// So much is read by the thread that asks: it comes sooner than another thread would take over.
const IN_PLACE_BYTES: u64 = 1 << 20;

/// A folder of the local disk as a durable object store.
#[derive(Debug)]
pub(crate) struct DurableStore {
    inner: LocalFileSystem,
}

impl DurableStore {
    /// Rooted at a folder that is there.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        Ok(Self { inner: LocalFileSystem::new_with_prefix(root)? })
    }
}

impl fmt::Display for DurableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "durable {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for DurableStore {
    async fn put_opts(
        &self,
        location: &StorePath,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let create = match opts.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            // Not something that a file system can do.
            PutMode::Update(_) => return self.inner.put_opts(location, payload, opts).await,
        };
        let path = self.inner.path_to_filesystem(location)?;
        tokio::task::spawn_blocking(move || put(&path, &payload, create))
            .await
            .map_err(|error| Error::JoinError { source: error })?
    }

    async fn put_multipart_opts(
        &self,
        location: &StorePath,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let path = self.inner.path_to_filesystem(location)?;
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(DurableUpload { inner, path }))
    }

    async fn get_opts(&self, location: &StorePath, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &StorePath, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum::<u64>() <= IN_PLACE_BYTES
            && let Ok(found) = read_in_place(&self.inner.path_to_filesystem(location)?, ranges)
        {
            return Ok(found);
        }
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<StorePath>>,
    ) -> BoxStream<'static, Result<StorePath>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&StorePath>) -> BoxStream<'static, Result<ObjectMeta>> {
        sorted(self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&StorePath>,
        offset: &StorePath,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        sorted(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&StorePath>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &StorePath, to: &StorePath, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        sync(&self.inner.path_to_filesystem(to)?)
    }

    async fn rename_opts(&self, from: &StorePath, to: &StorePath, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await?;
        sync(&self.inner.path_to_filesystem(to)?)
    }
}

/// Some ranges of a file. An error is left to the slower way to explain.
fn read_in_place(path: &Path, ranges: &[Range<u64>]) -> io::Result<Vec<Bytes>> {
    let file = File::open(path)?;
    let read = |range: &Range<u64>| {
        let length = range.end.checked_sub(range.start).and_then(|length| usize::try_from(length).ok());
        let mut bytes = vec![0; length.ok_or(io::ErrorKind::InvalidInput)?];
        file.read_exact_at(&mut bytes, range.start)?;
        Ok(Bytes::from(bytes))
    };
    ranges.iter().map(read).collect()
}

/// In the order of paths, as large stores list: a Delta log is read by that.
fn sorted(listed: BoxStream<'static, Result<ObjectMeta>>) -> BoxStream<'static, Result<ObjectMeta>> {
    let all = async move {
        let mut all: Vec<ObjectMeta> = listed.try_collect().await?;
        all.sort_by(|a, b| a.location.cmp(&b.location));
        Ok::<_, Error>(stream::iter(all.into_iter().map(Ok)))
    };
    stream::once(all).try_flatten().boxed()
}

/// A large object in parts, durable when it is complete.
#[derive(Debug)]
struct DurableUpload {
    inner: Box<dyn MultipartUpload>,
    path: PathBuf,
}

#[async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.inner.complete().await?;
        sync(&self.path)?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

fn put(path: &Path, payload: &PutPayload, create: bool) -> Result<PutResult> {
    if let Some(folder) = path.parent() {
        object::create_folder(folder).map_err(generic)?;
    }
    // Listings leave out names that end like this.
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!("#{}", uuid::Uuid::new_v4().as_u128()));
    let beside = PathBuf::from(beside);
    let written = write(&beside, payload)
        .and_then(|()| if create { fs::hard_link(&beside, path) } else { fs::rename(&beside, path) });
    if create || written.is_err() {
        // What cannot be removed is never read.
        let _ = fs::remove_file(&beside);
    }
    match written {
        Ok(()) => {}
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Error::AlreadyExists { path: path.display().to_string(), source: source.into() });
        }
        Err(source) => return Err(generic(source)),
    }
    if let Some(folder) = path.parent() {
        object::sync_folder(folder).map_err(generic)?;
    }
    Ok(PutResult { e_tag: None, version: None })
}

fn write(path: &Path, payload: &PutPayload) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    for bytes in payload {
        file.write_all(bytes)?;
    }
    file.sync_all()
}

fn sync(path: &Path) -> Result<()> {
    object::sync_file(path).map_err(generic)
}

fn generic(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic { store: "local disk", source: source.into() }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::*;

    #[tokio::test]
    async fn an_object_that_is_there_is_not_created_again_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = DurableStore::open(folder.path()).unwrap();
        let path = StorePath::from("a/b/1.json");
        store.put_opts(&path, "first".into(), PutMode::Create.into()).await.unwrap();
        let refused = store.put_opts(&path, "second".into(), PutMode::Create.into()).await.unwrap_err();
        assert!(matches!(refused, Error::AlreadyExists { .. }), "{refused}");
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "first");

        store.put(&path, "third".into()).await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "third");
        let names: Vec<_> = fs::read_dir(folder.path().join("a/b"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["1.json"]);
    }

    #[tokio::test]
    async fn a_large_object_comes_in_parts_and_is_listed_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let store = DurableStore::open(folder.path()).unwrap();
        let path = StorePath::from("large");
        let mut upload = store.put_multipart(&path).await.unwrap();
        upload.put_part("one ".into()).await.unwrap();
        upload.put_part("two".into()).await.unwrap();
        upload.complete().await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "one two");
        for name in ["c", "a", "b"] {
            store.put(&StorePath::from(name), name.into()).await.unwrap();
        }
        let listed: Vec<_> =
            store.list(None).map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap();
        assert_eq!(listed, ["a", "b", "c", "large"]);
    }
}
