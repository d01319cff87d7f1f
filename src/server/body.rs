//! The body of a request: no more of it than a limit, unpacked, as text where text is meant.

use std::io::Read;

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

use crate::server::fault::Cause;
use crate::server::fault::Fault;

/// Bodies beyond this are unpacked on a thread of their own.
const SMALL: usize = 64 << 10;

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

/// The whole body, unpacked; both forms of it have at most `limit` bytes.
pub(crate) async fn whole(headers: &HeaderMap, body: Body, limit: u64) -> Result<Bytes, Fault> {
    let packing = Packing::of(headers)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let said =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if said.is_some_and(|bytes| bytes > limit) {
        return Err(too_large(limit));
    }
    let mut parts = body.into_data_stream();
    let mut all = BytesMut::new();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|_| Fault::invalid("the body broke off"))?;
        if all.len() + part.len() > limit {
            return Err(too_large(limit));
        }
        all.extend_from_slice(&part);
    }
    let packed = all.freeze();
    match packing {
        Packing::Plain => Ok(packed),
        _ if packed.len() < SMALL => unpack(packing, &packed, limit),
        _ => tokio::task::spawn_blocking(move || unpack(packing, &packed, limit))
            .await
            .map_err(|_| Fault::new(Cause::Internal, "unpacking the body broke off"))?,
    }
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

    #[tokio::test]
    async fn gzip_of_several_members_is_one_body() {
        let bytes = [member(b"[1,"), member(b""), member(b"2]")].concat();
        assert_eq!(whole(&packed("gzip"), Body::from(bytes.clone()), 1000).await.unwrap(), "[1,2]");
        let cut = bytes[..bytes.len() - 3].to_vec();
        assert_eq!(whole(&packed("gzip"), Body::from(cut), 1000).await.unwrap_err().cause, Cause::Invalid);
        let zstd = zstd::encode_all(&b"{}"[..], 1).unwrap();
        assert_eq!(whole(&packed("zstd"), Body::from(zstd), 1000).await.unwrap(), "{}");
    }

    #[tokio::test]
    async fn a_small_body_that_unpacks_to_a_large_one_is_stopped() {
        let bomb = member(&vec![b' '; 1 << 20]);
        assert!(bomb.len() < 10_000);
        let fault = whole(&packed("gzip"), Body::from(bomb), 10_000).await.unwrap_err();
        assert_eq!(fault.cause, Cause::TooLarge);
        let fault = whole(&HeaderMap::new(), Body::from(vec![b' '; 11]), 10).await.unwrap_err();
        assert_eq!(fault.cause, Cause::TooLarge);
        assert_eq!(whole(&packed("br"), Body::empty(), 10).await.unwrap_err().cause, Cause::MediaType);
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
