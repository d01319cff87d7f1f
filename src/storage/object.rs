//! Opens object stores (on the local disk, and buckets), and makes, syncs and removes folders and files there.

use std::fs;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::AmazonS3;
use object_store::aws::AmazonS3Builder;
use object_store::aws::AmazonS3ConfigKey;

use crate::error::Context;
use crate::error::Kind;
use crate::error::Result;
use crate::storage::durable::DurableStore;

/// An object store on the local disk, rooted at a folder that must be there: the lake's, or that of an export.
pub(crate) fn open_local(folder: &Path) -> Result<Arc<dyn ObjectStore>> {
    let store = DurableStore::open(folder)
        .unavailable(|| format!("the folder \"{}\" cannot be opened", folder.display()))?;
    Ok(Arc::new(store))
}

/// A bucket, with what else is set on `builder`: `AmazonS3Builder::from_env()` and whatever goes before it.
///
/// An endpoint that is said to be `http://` may be talked to so; nothing else may.
pub(crate) fn open_bucket(bucket: &str, builder: AmazonS3Builder) -> Result<AmazonS3> {
    let builder = builder.with_bucket_name(bucket);
    let plain = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint]
        .iter()
        .find_map(|key| builder.get_config_value(key))
        .is_some_and(|endpoint| endpoint.starts_with("http://"));
    let builder = if plain { builder.with_allow_http(true) } else { builder };
    builder.build().context(Kind::Invalid, || format!("the settings for s3://{bucket} do not fit together"))
}

/// Makes a folder and its parents, each of them durable before the next is made in it.
pub(crate) fn create_folder(folder: &Path) -> Result<()> {
    // An empty path is the working directory.
    let there = folder.as_os_str().is_empty()
        || folder.try_exists().unavailable(|| format!("could not look for \"{}\"", folder.display()))?;
    if there {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        create_folder(parent)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).unavailable(|| format!("could not make the folder \"{}\"", folder.display()));
        }
        _ => {}
    }
    match folder.parent() {
        Some(parent) => sync_folder(parent),
        None => Ok(()),
    }
}

/// Returns when the names in a folder will survive a power loss.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    // An empty path is the working directory.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)
        .and_then(|open| open.sync_all())
        .unavailable(|| format!("could not make the folder \"{}\" durable", folder.display()))
}

/// Returns when a file and its name will survive a power loss.
pub(crate) fn sync_file(file: &Path) -> Result<()> {
    File::open(file)
        .and_then(|open| open.sync_all())
        .unavailable(|| format!("could not make \"{}\" durable", file.display()))?;
    match file.parent() {
        Some(parent) => sync_folder(parent),
        None => Ok(()),
    }
}

/// Removes a file; that it is gone already is fine.
pub(crate) fn remove_file(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).unavailable(|| format!("could not remove \"{}\"", file.display()))
        }
        _ => Ok(()),
    }
}
