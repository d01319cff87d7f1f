//! A store that a running server has open, asked over HTTP: what the engine does in this process otherwise.

use std::path::Path;
use std::pin::Pin;

use arrow::buffer::Buffer;
use arrow::ipc::reader::StreamDecoder;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::Stream;
use futures::StreamExt;
use reqwest::Client;
use reqwest::RequestBuilder;
use reqwest::Response;
use serde_json::Value;
use serde_json::json;

use crate::engine::Answer;
use crate::engine::Config;
use crate::engine::Door;
use crate::engine::Engine;
use crate::engine::Rows;
use crate::engine::Scope;
use crate::error::Context;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Place;
use crate::error::Result;
use crate::sql::Statement;

/// Whoever answers statements: an engine of this process, or a server.
pub(crate) trait Asks {
    async fn execute(&self, statement: &Statement) -> Result<Answer>;
}

impl Asks for Engine {
    async fn execute(&self, statement: &Statement) -> Result<Answer> {
        Self::execute(self, statement).await
    }
}

/// A store as this process reached it.
#[derive(Debug)]
pub(crate) enum Reached {
    Here(Engine),
    There(Remote),
}

impl Reached {
    /// Opens a store, or finds the server that has it open.
    pub(crate) async fn store(config: Config) -> Result<Self> {
        match Engine::open(config.clone()).await {
            Err(error) if !config.read_only && error.kind() == Kind::Unavailable => {
                match Remote::of(&config.data)? {
                    Some(remote) => Ok(Self::There(remote)),
                    None => Err(error),
                }
            }
            opened => opened.map(Self::Here),
        }
    }

    pub(crate) async fn close(self) -> Result<()> {
        match self {
            Self::Here(engine) => engine.close().await,
            Self::There(_) => Ok(()),
        }
    }
}

impl Asks for Reached {
    async fn execute(&self, statement: &Statement) -> Result<Answer> {
        match self {
            Self::Here(engine) => engine.execute(statement).await,
            Self::There(remote) => remote.execute(statement).await,
        }
    }
}

/// Opens a store to write to it; when a server has it open, the error says where that is and what to do instead.
pub(crate) async fn writer(config: Config, instead: &str) -> Result<Engine> {
    let data = config.data.clone();
    match Engine::open(config).await {
        Err(error) if error.kind() == Kind::Unavailable => match Door::of(&data)? {
            Some(Door { url, .. }) => Err(Error::unavailable(format!(
                "the server at {url} has \"{}\" open; {}, or stop it first",
                data.display(),
                instead.replace("URL", &url)
            ))),
            None => Err(error),
        },
        opened => opened,
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Remote {
    client: Client,
    door: Door,
}

impl Remote {
    /// The server that says that it has this directory open.
    pub(crate) fn of(data: &Path) -> Result<Option<Self>> {
        let Some(door) = Door::of(data)? else { return Ok(None) };
        let client =
            Client::builder().no_proxy().build().internal(|| "could not make a client".to_owned())?;
        Ok(Some(Self { client, door }))
    }

    /// Makes a key; its secret.
    pub(crate) async fn create_key(&self, name: &str, scopes: &[Scope]) -> Result<String> {
        let scopes: Vec<_> = scopes.iter().map(|scope| scope.name()).collect();
        let body = json!({"name": name, "scopes": scopes}).to_string();
        let request = self.client.post(self.at("/v1/keys")).header("content-type", "application/json");
        let made = value(self.send(request.body(body)).await?).await?;
        made["key"].as_str().map(str::to_owned).ok_or_else(|| Error::internal("the server gave no key"))
    }

    pub(crate) async fn revoke_key(&self, name: &str) -> Result<()> {
        let mut url =
            url::Url::parse(&self.at("/v1/keys/")).internal(|| "the server has no url".to_owned())?;
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().push(name);
        }
        self.send(self.client.delete(url.as_str())).await.map(|_| ())
    }

    pub(crate) async fn keys(&self) -> Result<Rows> {
        let response = self.send(self.client.get(self.at("/v1/keys?format=arrow"))).await?;
        rows(Box::pin(response.bytes_stream())).await
    }

    /// Events as they come, as server-sent events.
    pub(crate) async fn tail(&self, definitions: &[String]) -> Result<Parts> {
        let wanted = definitions.iter().map(|id| ("definitionId", id));
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(wanted).finish();
        let response = self.send(self.client.get(self.at(&format!("/v1/tail?{query}")))).await?;
        Ok(Box::pin(response.bytes_stream()))
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.door.url)
    }

    /// Sends a request; what the server refuses is an error of the kind that it says.
    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let sent = request.bearer_auth(&self.door.token).send().await;
        let response = sent.unavailable(|| {
            format!("the server at {} has the data directory open and does not answer", self.door.url)
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.text().await.unwrap_or_default();
        Err(refused(&body).unwrap_or_else(|| Error::unavailable(format!("the server answered {status}"))))
    }
}

/// The error that the server tells of.
fn refused(body: &str) -> Option<Error> {
    let body: Value = serde_json::from_str(body).ok()?;
    let error = body.get("error")?;
    let kind = match error["code"].as_str()? {
        "not_found" => Kind::NotFound,
        "conflict" => Kind::Conflict,
        "unavailable" | "timeout" => Kind::Unavailable,
        "too_many_requests" => Kind::TooMany,
        "exhausted" => Kind::Exhausted,
        "internal" => Kind::Internal,
        _ => Kind::Invalid,
    };
    let told = Error::new(kind, error["message"].as_str()?);
    let place = error["line"].as_u64().zip(error["column"].as_u64());
    Some(match place {
        Some((line, column)) => told.at(Place { line, column }),
        None => told,
    })
}

async fn value(response: Response) -> Result<Value> {
    let text = response.text().await.unavailable(broke_off)?;
    serde_json::from_str(&text).internal(|| "the server's answer is no JSON".to_owned())
}

fn broke_off() -> String {
    "the server's answer broke off".to_owned()
}

impl Asks for Remote {
    async fn execute(&self, statement: &Statement) -> Result<Answer> {
        let url = self.at("/v1/sql?format=arrow");
        let request = self.client.post(url).header("content-type", "application/sql");
        let sent = self.send(request.body(statement.text.clone())).await;
        let response = sent.map_err(|error| match error.place() {
            Some(place) => error.at(place.within(statement.place)),
            None => error,
        })?;
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        if kind == Some("application/json") {
            let done = value(response).await?;
            return Ok(Answer::Done(done["done"].as_str().unwrap_or_default().to_owned()));
        }
        rows(Box::pin(response.bytes_stream())).await.map(Answer::Rows)
    }
}

pub(crate) type Parts = Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>;

/// An Arrow stream as it comes.
struct Incoming {
    parts: Parts,
    decoder: StreamDecoder,
    buffer: Buffer,
}

/// The rows of an Arrow stream, whose schema comes first.
async fn rows(parts: Parts) -> Result<Rows> {
    let empty = Buffer::from(Bytes::new());
    let mut incoming = Incoming { parts, decoder: StreamDecoder::new(), buffer: empty };
    let mut first = None;
    while incoming.decoder.schema().is_none() {
        first = incoming.next().await?;
        if first.is_none() && incoming.decoder.schema().is_none() && incoming.buffer.is_empty() {
            // The stream has ended, or `next` would have waited for more.
            break;
        }
    }
    let schema = incoming.decoder.schema().ok_or_else(|| Error::unavailable(broke_off()))?;
    let rest = futures::stream::try_unfold(incoming, |mut incoming| async {
        Ok(incoming.next().await?.map(|batch| (batch, incoming)))
    });
    let first = futures::stream::iter(first.map(Ok));
    Ok(Rows::new(schema, first.chain(rest)))
}

impl Incoming {
    /// The next batch; none at the end of a stream that came whole.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let read = self.decoder.decode(&mut self.buffer);
            if let Some(batch) = read.internal(|| "the server's answer is no Arrow stream".to_owned())? {
                return Ok(Some(batch));
            }
            match self.parts.next().await {
                Some(part) => self.buffer = Buffer::from(part.unavailable(broke_off)?),
                None => {
                    self.decoder.finish().unavailable(broke_off)?;
                    return Ok(None);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use arrow::ipc::writer::StreamWriter;
    use futures::TryStreamExt;

    use super::*;

    fn stream(batches: &[RecordBatch]) -> Vec<u8> {
        let empty = numbers(0);
        let mut writer = StreamWriter::try_new(Vec::new(), &empty.schema()).unwrap();
        for batch in batches {
            writer.write(batch).unwrap();
        }
        writer.into_inner().unwrap()
    }

    fn numbers(count: i64) -> RecordBatch {
        let numbers = Int64Array::from_iter_values(0..count);
        RecordBatch::try_from_iter([("n", Arc::new(numbers) as _)]).unwrap()
    }

    async fn read(bytes: &[u8], size: usize) -> Result<Vec<RecordBatch>> {
        let parts: Vec<_> = bytes.chunks(size).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
        rows(Box::pin(futures::stream::iter(parts))).await?.try_collect().await
    }

    #[tokio::test]
    async fn rows_come_whole_however_the_stream_is_cut_and_a_broken_one_is_an_error() {
        let bytes = stream(&[numbers(3), numbers(1000)]);
        for size in [1, 7, 64, bytes.len()] {
            assert_eq!(read(&bytes, size).await.unwrap(), [numbers(3), numbers(1000)], "{size}");
        }
        assert!(read(&bytes[..bytes.len() - 300], 64).await.is_err());
        assert!(read(b"", 64).await.is_err());
        assert_eq!(read(&stream(&[]), 5).await.unwrap(), []);
    }

    #[test]
    fn an_error_keeps_its_kind_and_place() {
        let body =
            r#"{"error":{"code":"not_found","message":"no table","line":2,"column":5,"requestId":"r"}}"#;
        let error = refused(body).unwrap();
        assert_eq!((error.kind(), error.message()), (Kind::NotFound, "no table"));
        assert_eq!(error.place(), Some(Place { line: 2, column: 5 }));
        assert!(refused("<html>").is_none());
    }
}
