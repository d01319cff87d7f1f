//! Makes a file appear whole and under a free name, or not at all.
//!
//! A put with "create" is one step for whoever lists the target: a local file is staged under another name and linked,
//! an object in S3 exists once its upload has ended and only if the key was free. A file that is there already is
//! left as it is: an equal one is what an earlier attempt wrote, any other is a conflict.

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::PutMode;
use object_store::PutPayload;
use object_store::path::Path;
use sha2::Digest;
use sha2::Sha256;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// Creates the object, or finds that it is there with the same bytes.
pub(crate) async fn create(store: &dyn ObjectStore, path: &Path, pieces: Vec<Bytes>) -> Result<()> {
    let payload = PutPayload::from_iter(pieces);
    match store.put_opts(path, payload.clone(), PutMode::Create.into()).await {
        Ok(_) => Ok(()),
        Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
            let there = read(store, path).await?.ok_or_else(|| {
                Error::unavailable(format!("\"{path}\" was there and is gone; export again"))
            })?;
            if there.len() == payload.content_length() && sha256([&there]) == sha256(&payload) {
                return Ok(());
            }
            Err(Error::conflict(format!(
                "\"{path}\" is there already with other content; give another request id, or remove it"
            )))
        }
        Err(error) => Err(failed("could not write", path, error)),
    }
}

/// The object's content, or none when there is no such object.
pub(crate) async fn read(store: &dyn ObjectStore, path: &Path) -> Result<Option<Bytes>> {
    let found = match store.get(path).await {
        Ok(found) => found.bytes().await,
        Err(error) => Err(error),
    };
    match found {
        Ok(bytes) => Ok(Some(bytes)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(failed("could not read", path, error)),
    }
}

/// The names directly in a directory that begin with a prefix.
pub(crate) async fn names(store: &dyn ObjectStore, directory: &Path, prefix: &str) -> Result<Vec<String>> {
    // Stores list by whole directories; where they can, they skip to the first name of ours.
    let offset = directory.clone().join(prefix);
    let names = store
        .list_with_offset(Some(directory), &offset)
        .try_filter_map(|object| std::future::ready(Ok(name_in(directory, &object.location))))
        .try_filter(|name| std::future::ready(name.starts_with(prefix)))
        .try_collect()
        .await;
    names.map_err(|error| failed("could not list", directory, error))
}

fn name_in(directory: &Path, path: &Path) -> Option<String> {
    let mut parts = path.prefix_match(directory)?;
    let name = parts.next()?.as_ref().to_owned();
    parts.next().is_none().then_some(name)
}

/// In hexadecimal.
pub(crate) fn sha256<'a>(pieces: impl IntoIterator<Item = &'a Bytes>) -> String {
    let mut hash = Sha256::new();
    for piece in pieces {
        hash.update(piece);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the caller can do about a store's error.
pub(crate) fn failed(doing: &str, path: &Path, error: object_store::Error) -> Error {
    use object_store::Error as Store;
    let kind = match &error {
        Store::NotFound { .. } => Kind::NotFound,
        Store::PermissionDenied { .. } | Store::Unauthenticated { .. } | Store::InvalidPath { .. } => {
            Kind::Invalid
        }
        _ => Kind::Unavailable,
    };
    Error::new(kind, format!("{doing} \"{path}\"")).with_source(error)
}
