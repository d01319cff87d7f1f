//! The body of a request: no more of it than a limit, unpacked, as text where text is meant.

use std::io::Read;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use bytes::Bytes;
use bytes::BytesMut;
use flate2::read::MultiGzDecoder;
use futures::StreamExt;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

use crate::server::fault::Cause;
use crate::server::fault::Fault;

/// Bodies beyond this are unpacked on a thread of their own.
const SMALL: usize = 64 << 10;
/// No packing makes more of a byte.
const MOST_PACKED: usize = 1100;

/// Bodies up to this size wait for no room.
const FREE: usize = 64 << 10;
/// How long a body waits for room; who holds some may be waiting too.
const PATIENCE: Duration = Duration::from_secs(5);
const KIB: usize = 1024;

/// Room for large bodies in memory, in KiB, shared by all requests.
#[derive(Debug)]
pub(crate) struct Room {
    free: Arc<Semaphore>,
    all: usize,
    patience: Duration,
}

/// Room that is given back when dropped.
#[derive(Debug, Default)]
pub(crate) struct Held(Option<OwnedSemaphorePermit>);

impl Room {
    pub(crate) fn of(bytes: u64) -> Self {
        let all = usize::try_from(bytes / 1024).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(all)), all, patience: PATIENCE }
    }

    /// Makes sure that what is held is enough for so many bytes.
    async fn hold(&self, held: &mut Held, bytes: usize) -> Result<(), Fault> {
        let has = held.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let needed = if bytes <= FREE { 0 } else { bytes.div_ceil(KIB).min(self.all) };
        if needed <= has {
            return Ok(());
        }
        // In steps, so that a body of many small parts does not ask for each.
        let more = (needed - has).max(FREE / KIB).min(self.all - has);
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let got = tokio::time::timeout(self.patience, Arc::clone(&self.free).acquire_many_owned(more)).await;
        let Ok(Ok(got)) = got else {
            return Err(Fault {
                retry_after: Some(1),
                ..Fault::new(Cause::Unavailable, "too many large bodies are being read; try again later")
            });
        };
        match &mut held.0 {
            Some(permit) => permit.merge(got),
            none => *none = Some(got),
        }
        Ok(())
    }
}

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Fault> {
        let value = headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?"));
        match value.map(|text| text.trim().to_ascii_lowercase()).as_deref() {
            None | Some("" | "identity") => Ok(Self::Plain),
            Some("gzip" | "x-gzip") => Ok(Self::Gzip),
            Some("zstd") => Ok(Self::Zstd),
            Some(other) => Err(Fault::new(
                Cause::MediaType,
                format!("a body may be packed with gzip or zstd, not with \"{}\"", other.escape_debug()),
            )),
        }
    }
}

/// The kind of a body, without its parameters and in lower case; empty when it is not given.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether a media type says that JSON comes, as the published endpoints take it.
pub(crate) fn is_json(media: &str) -> bool {
    matches!(media, "" | "application/json" | "text/json" | "application/json-patch+json" | "text/plain")
        || (media.starts_with("application/") && media.ends_with("+json"))
        // What `curl -d` says, whatever it sends.
        || media == "application/x-www-form-urlencoded"
}

/// Refuses what does not say that it is JSON.
pub(crate) fn expect_json(headers: &HeaderMap) -> Result<(), Fault> {
    let media = media_type(headers);
    if is_json(&media) && media != "application/x-www-form-urlencoded" {
        return Ok(());
    }
    Err(Fault::new(
        Cause::MediaType,
        format!("the body must be JSON: Content-Type: application/json, found \"{}\"", media.escape_debug()),
    ))
}

/// A body in memory, and the room that it takes.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) bytes: Bytes,
    _held: Held,
}

impl Deref for Whole {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The whole body, unpacked; both forms of it have at most `limit` bytes.
pub(crate) async fn whole(room: &Room, headers: &HeaderMap, body: Body, limit: u64) -> Result<Whole, Fault> {
    let packing = Packing::of(headers)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let said =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if said.is_some_and(|bytes| bytes > limit) {
        return Err(too_large(limit));
    }
    let mut parts = body.into_data_stream();
    let mut all = BytesMut::new();
    let mut held = Held::default();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|_| Fault::invalid("the body broke off"))?;
        if all.len() + part.len() > limit {
            return Err(too_large(limit));
        }
        room.hold(&mut held, all.len() + part.len()).await?;
        all.extend_from_slice(&part);
    }
    let packed = all.freeze();
    let bytes = match packing {
        Packing::Plain => packed,
        _ => {
            // Nobody knows how large it becomes before it is.
            room.hold(&mut held, limit.min(packed.len().saturating_mul(MOST_PACKED))).await?;
            if packed.len() < SMALL {
                unpack(packing, &packed, limit)?
            } else {
                tokio::task::spawn_blocking(move || unpack(packing, &packed, limit))
                    .await
                    .map_err(|_| Fault::new(Cause::Internal, "unpacking the body broke off"))??
            }
        }
    };
    Ok(Whole { bytes, _held: held })
}

/// A gzip body may have several members, as files put one behind the other have.
fn unpack(packing: Packing, packed: &[u8], limit: usize) -> Result<Bytes, Fault> {
    let mut all = Vec::new();
    let most = (limit as u64).saturating_add(1);
    let read = match packing {
        Packing::Plain => return Ok(Bytes::copy_from_slice(packed)),
        Packing::Gzip => MultiGzDecoder::new(packed).take(most).read_to_end(&mut all),
        Packing::Zstd => {
            zstd::Decoder::new(packed).and_then(|reader| reader.take(most).read_to_end(&mut all))
        }
    };
    match read {
        Ok(_) if all.len() > limit => Err(too_large(limit)),
        Ok(_) => Ok(Bytes::from(all)),
        Err(error) => Err(Fault::invalid(format!("the body could not be unpacked: {error}"))),
    }
}

fn too_large(limit: usize) -> Fault {
    Fault::new(Cause::TooLarge, format!("the body may have {limit} bytes, unpacked"))
}

/// A body as text.
pub(crate) fn text(body: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(body)
        .map_err(|error| Fault::invalid(format!("byte {}: not UTF-8", error.valid_up_to() + 1)))
}

/// A response of JSON.
pub(crate) fn json(status: axum::http::StatusCode, value: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (status, kind, value.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use axum::http::HeaderValue;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn member(bytes: &[u8]) -> Vec<u8> {
        let mut out = GzEncoder::new(Vec::new(), Compression::best());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn packed(name: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_ENCODING, HeaderValue::from_static(name))])
    }

    async fn read(headers: HeaderMap, body: Vec<u8>, limit: u64) -> Result<Whole, Fault> {
        whole(&Room::of(1 << 20), &headers, Body::from(body), limit).await
    }

    #[tokio::test]
    async fn large_bodies_wait_for_room_and_small_ones_do_not() {
        let room = Room { patience: Duration::from_millis(50), ..Room::of(200 << 10) };
        let large = || Body::from(vec![b' '; 150 << 10]);
        let first = whole(&room, &HeaderMap::new(), large(), 1 << 20).await.unwrap();
        let fault = whole(&room, &HeaderMap::new(), large(), 1 << 20).await.unwrap_err();
        assert_eq!((fault.cause, fault.retry_after), (Cause::Unavailable, Some(1)));
        whole(&room, &HeaderMap::new(), Body::from("{}"), 1 << 20).await.unwrap();
        drop(first);
        whole(&room, &HeaderMap::new(), large(), 1 << 20).await.unwrap();
        // One that alone is larger than the room gets all of it.
        let huge = Body::from(vec![b' '; 300 << 10]);
        whole(&room, &HeaderMap::new(), huge, 1 << 20).await.unwrap();
    }

    #[tokio::test]
    async fn gzip_of_several_members_is_one_body() {
        let bytes = [member(b"[1,"), member(b""), member(b"2]")].concat();
        assert_eq!(&*read(packed("gzip"), bytes.clone(), 1000).await.unwrap(), b"[1,2]");
        let cut = bytes[..bytes.len() - 3].to_vec();
        assert_eq!(read(packed("gzip"), cut, 1000).await.unwrap_err().cause, Cause::Invalid);
        let zstd = zstd::encode_all(&b"{}"[..], 1).unwrap();
        assert_eq!(&*read(packed("zstd"), zstd, 1000).await.unwrap(), b"{}");
    }

    #[tokio::test]
    async fn a_small_body_that_unpacks_to_a_large_one_is_stopped() {
        let bomb = member(&vec![b' '; 1 << 20]);
        assert!(bomb.len() < 10_000);
        let fault = read(packed("gzip"), bomb, 10_000).await.unwrap_err();
        assert_eq!(fault.cause, Cause::TooLarge);
        let fault = read(HeaderMap::new(), vec![b' '; 11], 10).await.unwrap_err();
        assert_eq!(fault.cause, Cause::TooLarge);
        assert_eq!(read(packed("br"), Vec::new(), 10).await.unwrap_err().cause, Cause::MediaType);
    }

    #[test]
    fn json_is_taken_under_all_its_names() {
        for media in
            ["application/json", "text/json", "application/json-patch+json", "application/vnd.x+json"]
        {
            assert!(is_json(media), "{media}");
        }
        for media in ["text/html", "multipart/form-data", "application/xml"] {
            assert!(!is_json(media), "{media}");
        }
    }
}
