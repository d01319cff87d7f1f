//! Copies objects from one store to another, a piece at a time, and says what it copied.

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::buffered::BufWriter;
use object_store::path::Path as StorePath;
use tokio::io::AsyncWriteExt;
use xxhash_rust::xxh3::Xxh3;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;

/// What was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sum {
    pub bytes: u64,
    /// XXH3 of all bytes, in hexadecimal digits.
    pub xxh3: String,
}

/// Copies an object. When this returns it is there, in its size.
pub(crate) async fn copy(
    from: &Arc<dyn ObjectStore>,
    source: &StorePath,
    into: &Arc<dyn ObjectStore>,
    target: &StorePath,
) -> Result<Sum> {
    let reading = || format!("could not read \"{source}\"");
    let writing = || format!("could not write \"{target}\"");
    let mut pieces = from.get(source).await.unavailable(reading)?.into_stream();
    let mut writer = BufWriter::new(Arc::clone(into), target.clone());
    let (mut sum, mut bytes) = (Xxh3::new(), 0);
    loop {
        let piece = match pieces.try_next().await {
            Ok(Some(piece)) => piece,
            Ok(None) => break,
            Err(error) => {
                // An upload in parts leaves nothing behind.
                let _ = writer.abort().await;
                return Err(error).unavailable(reading);
            }
        };
        sum.update(&piece);
        bytes += piece.len() as u64;
        writer.put(piece).await.unavailable(writing)?;
    }
    writer.shutdown().await.unavailable(writing)?;
    let there = into.head(target).await.unavailable(writing)?.size;
    if there != bytes {
        return Err(Error::unavailable(format!(
            "\"{target}\" has {there} bytes of {bytes} after it was written"
        )));
    }
    Ok(Sum { bytes, xxh3: format!("{:016x}", sum.digest()) })
}
