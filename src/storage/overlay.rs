//! The lake's object store as this process reads it: the files of the lake, and the buffers beside them in memory.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::CopyOptions;
use object_store::GetOptions;
use object_store::GetResult;
use object_store::ListResult;
use object_store::MultipartUpload;
use object_store::ObjectMeta;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::PutMultipartOptions;
use object_store::PutOptions;
use object_store::PutPayload;
use object_store::PutResult;
use object_store::RenameOptions;
use object_store::Result;
use object_store::memory::InMemory;
use object_store::path::Path;

use crate::storage::layout;

/// Buffers are read from memory; all else is the lake's.
#[derive(Debug)]
pub(crate) struct Overlay {
    lake: Arc<dyn ObjectStore>,
    buffers: InMemory,
}

impl Overlay {
    pub(crate) fn new(lake: Arc<dyn ObjectStore>) -> Self {
        Self { lake, buffers: InMemory::new() }
    }

    fn of(&self, path: &Path) -> &dyn ObjectStore {
        if layout::is_buffer(path.as_ref()) { &self.buffers } else { self.lake.as_ref() }
    }

    /// Makes a buffer readable.
    pub(crate) async fn show(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.buffers.put(&Path::from(path), bytes.into()).await.map(|_| ())
    }

    /// Forgets the buffers that nobody needs.
    pub(crate) async fn keep(&self, needed: impl Fn(&str) -> bool) -> Result<()> {
        let held: Vec<ObjectMeta> = self.buffers.list(None).try_collect().await?;
        for one in held.iter().filter(|one| !needed(one.location.as_ref())) {
            self.buffers.delete(&one.location).await?;
        }
        Ok(())
    }
}

impl fmt::Display for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with buffers", self.lake)
    }
}

#[async_trait]
impl ObjectStore for Overlay {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.lake.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.lake.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.of(location).get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.of(location).get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.lake.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.lake.list(prefix).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.lake.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.lake.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.lake.rename_opts(from, to, options).await
    }
}
