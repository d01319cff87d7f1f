//! The requests that Google and Azure are sent, against a small server that keeps objects and takes each name once.

use std::collections::BTreeMap;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::StaticCredentialProvider;
use object_store::gcp::GcpCredential;
use object_store::path::Path;

use super::*;
use crate::export::publish;
use crate::export::target::Target;

/// Objects by path: bytes, and the headers that were given with them.
type Objects = Arc<Mutex<BTreeMap<String, (Vec<u8>, Vec<String>)>>>;

/// Serves until the test ends; its address and what it holds.
fn serve() -> (String, Objects) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let objects = Objects::default();
    let held = Arc::clone(&objects);
    thread::spawn(move || {
        for client in listener.incoming() {
            let held = Arc::clone(&held);
            thread::spawn(move || answer(&mut client.unwrap(), &held));
        }
    });
    (address, objects)
}

fn answer(client: &mut TcpStream, held: &Objects) {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let end = loop {
        match bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            Some(end) => break end,
            None => bytes.extend_from_slice(match client.read(&mut chunk).unwrap() {
                0 => return,
                read => &chunk[..read],
            }),
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let length: usize = header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = bytes[end + 4..].to_vec();
    while body.len() < length {
        let read = client.read(&mut chunk).unwrap();
        body.extend_from_slice(&chunk[..read]);
    }
    let mut first = head.split(' ');
    let (method, path) = (first.next().unwrap(), first.next().unwrap().to_owned());
    let mut held = held.lock().unwrap();
    let once = header("x-goog-if-generation-match") == Some("0") || header("if-none-match") == Some("*");
    let (status, headers, body) = match (method, held.get(&path)) {
        ("put", _) if !once => ("500 Not Once", Vec::new(), Vec::new()),
        ("put", Some(_)) => ("412 Precondition Failed", Vec::new(), Vec::new()),
        ("put", None) => {
            let kept = |line: &&str| {
                ["x-goog-meta-", "x-ms-meta-", "content-type", "x-ms-blob-content-type"]
                    .iter()
                    .any(|name| line.starts_with(name))
            };
            let headers = head.lines().filter(kept).map(str::to_owned).collect();
            held.insert(path, (body, headers));
            ("201 Created", Vec::new(), Vec::new())
        }
        ("head" | "get", Some((bytes, headers))) => ("200 OK", headers.clone(), bytes.clone()),
        _ => ("404 Not Found", Vec::new(), Vec::new()),
    };
    let mut said =
        format!("HTTP/1.1 {status}\r\netag: \"1\"\r\nx-goog-generation: 1\r\nconnection: close\r\n");
    said.push_str("last-modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n");
    headers.iter().for_each(|line| said.push_str(&format!("{line}\r\n")));
    said.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    client.write_all(said.as_bytes()).unwrap();
    if method != "head" {
        client.write_all(&body).unwrap();
    }
}

fn opening(endpoint: &str) -> Opening<'_> {
    let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let client = ClientOptions::new().with_content_type_for_suffix("gz", "application/gzip");
    Opening { bucket: "acme-events", endpoint: Some(endpoint), client, retry }
}

async fn puts_each_name_once(store: Arc<dyn ObjectStore>, cloud: &Cloud, objects: &Objects, metadata: &str) {
    let target = Target::remote(store, Path::from("raw"), cloud);
    let path = Path::from("raw/r1.json.gz");
    let pieces = || vec![Bytes::from_static(b"some "), Bytes::from_static(b"rows")];
    publish::create(&target, &path, pieces()).await.unwrap();
    // Again the same, which is there; and something else, which may not be.
    publish::create(&target, &path, pieces()).await.unwrap();
    let other = publish::create(&target, &path, vec![Bytes::from_static(b"else")]).await;
    assert_eq!(other.unwrap_err().kind(), Kind::Conflict);
    assert_eq!(publish::read(&target, &path).await.unwrap().unwrap(), "some rows");
    assert_eq!(publish::read(&target, &Path::from("raw/none")).await.unwrap(), None);
    let objects = objects.lock().unwrap();
    let (path, (bytes, headers)) = objects.first_key_value().unwrap();
    let path = path.replace("%2f", "/").replace("%2e", ".").replace("%2d", "-");
    assert!(objects.len() == 1 && path.ends_with("acme-events/raw/r1.json.gz"), "{path}");
    assert_eq!(bytes, b"some rows");
    let sum = publish::sha256(&pieces());
    assert!(headers.contains(&format!("{metadata}: {sum}")), "{headers:?}");
    assert!(headers.iter().any(|one| one.ends_with("content-type: application/gzip")), "{headers:?}");
}

#[tokio::test]
async fn google_is_asked_to_make_an_object_only_where_there_is_none() {
    let (address, objects) = serve();
    // Without any it would ask the machine's metadata server for some.
    let credentials = StaticCredentialProvider::new(GcpCredential { bearer: "token".to_owned() });
    let builder = GoogleCloudStorageBuilder::new().with_credentials(Arc::new(credentials));
    let store = Arc::new(opening(&address).google(builder).unwrap());
    puts_each_name_once(store, &Cloud::Google, &objects, "x-goog-meta-milepost-sha256").await;
}

#[tokio::test]
async fn azure_is_asked_to_make_a_blob_only_where_there_is_none() {
    let (address, objects) = serve();
    let builder = MicrosoftAzureBuilder::new().with_skip_signature(true);
    let store = Arc::new(opening(&address).azure(builder, Some("acme")).unwrap());
    let cloud = Cloud::Azure { account: None };
    puts_each_name_once(store, &cloud, &objects, "x-ms-meta-milepost_sha256").await;
}

#[test]
fn what_is_missing_is_said() {
    let missing = Opening { endpoint: None, ..opening("") }.azure(MicrosoftAzureBuilder::new(), None);
    let fault = missing.unwrap_err();
    assert_eq!(fault.kind(), Kind::Invalid);
    assert!(fault.to_string().contains("AZURE_STORAGE_ACCOUNT_NAME"), "{fault}");
}
