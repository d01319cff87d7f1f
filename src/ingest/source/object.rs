//! Objects in S3 as sources: listing them, and reading one as a blocking stream.
//!
//! `object_store` is asynchronous and the readers of files are not, so each object is fetched on a thread of its own
//! with a small runtime, which also reads ahead.

use std::fmt;
use std::io;
use std::io::Read;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;

use bytes::Buf;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectMeta;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::aws::AmazonS3;
use object_store::aws::AmazonS3Builder;
use object_store::aws::AmazonS3ConfigKey;
use object_store::path::Path;

use crate::error::Context;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::ingest::source::expand::Origin;
use crate::ingest::source::expand::Source;
use crate::storage;

/// Blocks that wait between the fetching and the reading thread.
const BLOCKS_AHEAD: usize = 64;

/// Settings that go before those of the environment (`AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, …).
#[derive(Clone, Default)]
pub struct ObjectStoreOptions {
    /// Where the store answers, for stores other than Amazon's; `http://` is allowed when it is said here.
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<String>,
    pub session_token: Option<String>,
    /// For public buckets: sign nothing, ask for no credentials.
    pub anonymous: bool,
}

impl fmt::Debug for ObjectStoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStoreOptions")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("access_key_id", &self.access_key_id)
            .field("anonymous", &self.anonymous)
            .finish_non_exhaustive()
    }
}

fn store(bucket: &str, options: &ObjectStoreOptions) -> Result<AmazonS3> {
    let mut builder = AmazonS3Builder::from_env().with_skip_signature(options.anonymous);
    let given = [
        (AmazonS3ConfigKey::Endpoint, &options.endpoint),
        (AmazonS3ConfigKey::Region, &options.region),
        (AmazonS3ConfigKey::AccessKeyId, &options.access_key_id),
        (AmazonS3ConfigKey::SecretAccessKey, &options.secret_access_key),
        (AmazonS3ConfigKey::Token, &options.session_token),
    ];
    for (key, value) in given {
        if let Some(value) = value {
            builder = builder.with_config(key, value);
        }
    }
    storage::open_bucket(bucket, builder)
}

/// The objects that `address` (`bucket/key`, with `*` and the like, or ending in `/`) stands for, in order of keys.
pub(super) fn list(input: &str, address: &str, options: &ObjectStoreOptions) -> Result<Vec<Source>> {
    let (bucket, key) = address.split_once('/').unwrap_or((address, ""));
    if bucket.is_empty() {
        return Err(Error::invalid(format!("\"{input}\" names no bucket; write s3://bucket/key")));
    }
    let store = store(bucket, options)?;
    let wild = key.find(['*', '?', '[']);
    if wild.is_none() && !key.is_empty() && !key.ends_with('/') {
        let path = parse(input, key)?;
        let meta = on_a_thread(async { store.head(&path).await }).map_err(|error| explain(input, error))?;
        return Ok(vec![source(bucket, options, &meta)]);
    }
    let folder = key[..wild.unwrap_or(key.len())].rsplit_once('/').map_or("", |(folder, _)| folder);
    let prefix = parse(input, folder)?;
    let pattern = match wild {
        None => None,
        Some(_) => Some(
            glob::Pattern::new(key)
                .context(Kind::Invalid, || format!("\"{input}\" is no pattern of keys"))?,
        ),
    };
    let mut found: Vec<ObjectMeta> = on_a_thread(async { store.list(Some(&prefix)).try_collect().await })
        .map_err(|error| explain(input, error))?;
    let rules = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
    found.retain(|meta| {
        let key = meta.location.as_ref();
        let below = &key[folder.len().min(key.len())..];
        !below.split('/').any(|part| part.starts_with('.'))
            && pattern.as_ref().is_none_or(|pattern| pattern.matches_with(key, rules))
    });
    found.sort_by(|left, right| left.location.cmp(&right.location));
    Ok(found.iter().map(|meta| source(bucket, options, meta)).collect())
}

/// A stream of the object's bytes.
pub(super) fn open(
    name: &str,
    bucket: &str,
    key: &str,
    options: &ObjectStoreOptions,
) -> Result<Box<dyn Read + Send>> {
    let store = store(bucket, options)?;
    let path = parse(name, key)?;
    let (sender, receiver) = sync_channel(BLOCKS_AHEAD);
    std::thread::Builder::new()
        .name("object reader".to_owned())
        .spawn(move || match runtime() {
            Ok(runtime) => runtime.block_on(fetch(store, path, sender)),
            // Nobody left to tell: the reader has gone.
            Err(error) => drop(sender.send(Err(error))),
        })
        .unavailable(|| format!("could not start a thread to read \"{name}\""))?;
    Ok(Box::new(Blocks { receiver, current: Bytes::new() }))
}

async fn fetch(store: AmazonS3, path: Path, sender: SyncSender<io::Result<Bytes>>) {
    let sent = async {
        let mut blocks = store.get(&path).await?.into_stream();
        while let Some(block) = blocks.try_next().await? {
            if sender.send(Ok(block)).is_err() {
                break;
            }
        }
        Ok::<(), object_store::Error>(())
    };
    if let Err(error) = sent.await {
        // Nobody left to tell: the reader has gone.
        drop(sender.send(Err(io::Error::other(error))));
    }
}

struct Blocks {
    receiver: Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for Blocks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.recv() {
                Ok(block) => self.current = block?,
                Err(_) => return Ok(0),
            }
        }
        let amount = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..amount]);
        Ok(amount)
    }
}

fn source(bucket: &str, options: &ObjectStoreOptions, meta: &ObjectMeta) -> Source {
    let key = meta.location.to_string();
    let changed = || format!("{}-{}", meta.size, meta.last_modified.timestamp_micros());
    Source {
        name: format!("s3://{bucket}/{key}"),
        size: Some(meta.size),
        fingerprint: meta.e_tag.clone().unwrap_or_else(changed),
        origin: Origin::Object { bucket: bucket.to_owned(), key, options: Box::new(options.clone()) },
    }
}

fn parse(name: &str, key: &str) -> Result<Path> {
    Path::parse(key).context(Kind::Invalid, || format!("\"{name}\" is no address of an object"))
}

fn explain(name: &str, error: object_store::Error) -> Error {
    match error {
        object_store::Error::NotFound { .. } => Error::not_found(format!("there is no object \"{name}\"")),
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            let message = format!("\"{name}\" may not be read with these credentials");
            Error::invalid(message).with_source(error)
        }
        // A listing of a bucket that is not there has no variant of its own; the store's own code is in the text.
        other if other.to_string().contains("<Code>NoSuchBucket</Code>") => {
            Error::not_found(format!("there is no bucket for \"{name}\""))
        }
        other => Error::unavailable(format!("could not read \"{name}\"")).with_source(other),
    }
}

/// Runs a future to its end on a thread of its own: the caller may itself be inside a runtime.
fn on_a_thread<T: Send>(
    work: impl Future<Output = object_store::Result<T>> + Send,
) -> object_store::Result<T> {
    let failed = |source| object_store::Error::Generic { store: "S3", source };
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| match runtime() {
            Ok(runtime) => runtime.block_on(work),
            Err(error) => Err(failed(error.into())),
        });
        thread.join().unwrap_or_else(|_| Err(failed("the thread that asked the store panicked".into())))
    })
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

#[cfg(test)]
mod tests;
