//! Makes a file appear whole and under a free name, or not at all.
//!
//! A put with "create" is one step for whoever lists the target: a local file is staged under another name and linked,
//! an object in S3 exists once its upload has ended and only if the key was free. There is no upload in parts that
//! could be left open. A file that is there already is left as it is: an equal one is what an earlier attempt wrote,
//! any other is a conflict.
//!
//! What a bucket answers is not believed: after every put, and after one whose answer was lost, the object is looked
//! at. It carries the checksum of its bytes, so that one look tells ours from another's and a whole one from a torn one.

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::Attribute;
use object_store::Attributes;
use object_store::GetOptions;
use object_store::ObjectMeta;
use object_store::ObjectStoreExt;
use object_store::PutMode;
use object_store::PutOptions;
use object_store::PutPayload;
use object_store::path::Path;
use sha2::Digest;
use sha2::Sha256;

use crate::error::Error;
use crate::error::Result;
use crate::export::fault::Cure;
use crate::export::fault::Fault;
use crate::export::target::Target;

/// How often one object is put before the attempt fails; whole attempts are repeated as well.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// What a look at a name shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Ours,
    /// It carries our checksum and has not all of our bytes.
    Torn,
    Other,
    /// We may write there and not look.
    Hidden,
}

/// Creates the object, or finds that it is there with the same bytes.
pub(crate) async fn create(target: &Target, path: &Path, pieces: Vec<Bytes>) -> Result<()> {
    let payload = PutPayload::from_iter(pieces);
    let sum = sha256(&payload);
    let mut attributes = Attributes::new();
    if target.remote {
        attributes.insert(Attribute::Metadata(target.checksum.into()), sum.clone().into());
    }
    let options =
        || PutOptions { mode: PutMode::Create, attributes: attributes.clone(), ..PutOptions::default() };
    let mut pause = FIRST_PAUSE;
    let mut last = None;
    for _ in 0..TRIES {
        let put = target.once.put_opts(path, payload.clone(), options()).await;
        let (taken, fault) = match put {
            Ok(_) if !target.remote => return Ok(()),
            Ok(_) => (false, None),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                (true, None)
            }
            Err(error) => (false, Some(Fault::of(&error))),
        };
        match fault.as_ref().map(|fault| fault.cure) {
            Some(Cure::Mend | Cure::NoBucket) => {
                return Err(fault.map_or_else(|| lost(path), |fault| fault.about("could not write", path)));
            }
            Some(Cure::Renew) => target.forget_credentials().await,
            Some(Cure::Later) | None => {}
        }
        match look(target, path, payload.content_length(), &sum).await {
            Ok(Found::Ours) => return Ok(()),
            // The store has just said that it is there.
            Ok(Found::Hidden) if !taken && fault.is_none() => return Ok(()),
            Ok(Found::Hidden) if taken => {
                return Err(Error::conflict(format!(
                    "\"{path}\" is there already and may not be read; allow s3:GetObject, or give another request id"
                )));
            }
            Ok(Found::Other) => {
                return Err(Error::conflict(format!(
                    "\"{path}\" is there already with other content; give another request id, or remove it"
                )));
            }
            // It says that it is ours and is not whole: nobody's, and in the way.
            Ok(Found::Torn) => {
                let removed = target.store.delete(path).await;
                last = removed.err().map(|error| Fault::of(&error));
            }
            Ok(Found::Nothing | Found::Hidden) => last = fault,
            Err(error) => last = Some(Fault::of(&error)),
        }
        tokio::time::sleep(pause).await;
        pause *= 3;
    }
    Err(last.map_or_else(|| lost(path), |fault| fault.about("could not write", path)))
}

fn lost(path: &Path) -> Error {
    Error::unavailable(format!("\"{path}\" was taken by the store and is not there"))
}

/// Whether an object with these bytes is there, as far as we may look.
pub(crate) async fn is_there(target: &Target, path: &Path, bytes: u64, sum: &str) -> Result<bool> {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    match look(target, path, bytes, sum).await {
        Ok(found) => Ok(found == Found::Ours),
        Err(error) => Err(Fault::of(&error).about("could not look at", path)),
    }
}

/// Looks whether an object is there and is what it should be.
async fn look(target: &Target, path: &Path, bytes: usize, sum: &str) -> object_store::Result<Found> {
    if target.remote {
        let head = GetOptions { head: true, ..GetOptions::default() };
        let head = match target.store.get_opts(path, head).await {
            Ok(head) => head,
            Err(object_store::Error::NotFound { .. }) => return Ok(Found::Nothing),
            Err(object_store::Error::PermissionDenied { .. }) => return Ok(Found::Hidden),
            Err(error) => return Err(error),
        };
        let whole = usize::try_from(head.meta.size).is_ok_and(|size| size == bytes);
        if let Some(carried) = head.attributes.get(&Attribute::Metadata(target.checksum.into())) {
            return Ok(match (carried.as_ref() == sum, whole) {
                (true, true) => Found::Ours,
                (true, false) => Found::Torn,
                (false, _) => Found::Other,
            });
        }
        if !whole {
            return Ok(Found::Other);
        }
    }
    let there = match target.store.get(path).await {
        Ok(found) => found.bytes().await?,
        Err(object_store::Error::NotFound { .. }) => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    Ok(if there.len() == bytes && sha256([&there]) == sum { Found::Ours } else { Found::Other })
}

/// The object's content, or none when there is no such object. Where we may not look, there is none for us.
pub(crate) async fn read(target: &Target, path: &Path) -> Result<Option<Bytes>> {
    let found = match target.store.get(path).await {
        Ok(found) => found.bytes().await,
        Err(error) => Err(error),
    };
    match found {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error @ object_store::Error::NotFound { .. }) => match Fault::of(&error) {
            fault if fault.cure == Cure::NoBucket => Err(fault.about("could not read", path)),
            _ => Ok(None),
        },
        Err(object_store::Error::PermissionDenied { .. }) if target.remote => Ok(None),
        Err(error) => Err(Fault::of(&error).about("could not read", path)),
    }
}

/// The names in the target's directory that begin with a prefix; none where we may not list.
pub(crate) async fn names(target: &Target, prefix: &str) -> Result<Vec<String>> {
    let (directory, prefix) = (target.prefix.clone(), prefix.to_owned());
    // Stores list by whole directories; where they can, they skip to the first name of ours.
    let offset = directory.clone().join(prefix.as_str());
    let listed = target.store.list_with_offset(Some(&directory), &offset);
    let ours = move |object: ObjectMeta| {
        std::future::ready(Ok(name_in(&directory, &object.location).filter(|name| name.starts_with(&prefix))))
    };
    let names: object_store::Result<Vec<String>> = listed.try_filter_map(ours).try_collect().await;
    names.or_else(|error| match Fault::of(&error) {
        fault if target.remote && fault.is_denied() => Ok(Vec::new()),
        fault => Err(fault.about("could not list", &target.prefix)),
    })
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
