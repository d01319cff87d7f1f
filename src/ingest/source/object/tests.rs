use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;

use super::*;
use crate::ingest::source::Framing;
use crate::ingest::source::expand;

/// So much of S3 as reading needs: one bucket, and a listing in one page.
#[derive(Debug)]
struct Bucket {
    objects: Vec<(&'static str, Vec<u8>)>,
}

impl Bucket {
    /// Serves on loopback until the test ends; gives the endpoint.
    fn serve(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let bucket = Arc::new(self);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(std::result::Result::ok) {
                let bucket = Arc::clone(&bucket);
                std::thread::spawn(move || bucket.answer(stream));
            }
        });
        endpoint
    }

    fn answer(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        loop {
            let mut request = String::new();
            if reader.read_line(&mut request).unwrap_or(0) == 0 {
                return;
            }
            let mut header = String::new();
            while reader.read_line(&mut header).unwrap_or(0) > 2 {
                header.clear();
            }
            let mut words = request.split(' ');
            let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let (status, body) = self.find(target);
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nETag: \"tag-{length}\"\r\nLast-Modified: Wed, 01 Jan 2025 00:00:00 GMT\r\n\r\n"
            );
            let body = if method == "HEAD" { &[] } else { body.as_slice() };
            if stream.write_all(&[head.as_bytes(), body].concat()).is_err() {
                return;
            }
        }
    }

    fn find(&self, target: &str) -> (&'static str, Vec<u8>) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if query.contains("list-type=2") {
            let prefix = query.split('&').find_map(|part| part.strip_prefix("prefix=")).unwrap_or_default();
            let prefix = prefix.replace("%2F", "/");
            let entry = |(key, body): &(&str, Vec<u8>)| {
                format!(
                    "<Contents><Key>{key}</Key><LastModified>2025-01-01T00:00:00.000Z</LastModified><ETag>&quot;tag-{0}&quot;</ETag><Size>{0}</Size></Contents>",
                    body.len()
                )
            };
            let found = self.objects.iter().filter(|(key, _)| key.starts_with(&prefix)).map(entry);
            let xml = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><IsTruncated>false</IsTruncated>{}</ListBucketResult>",
                found.collect::<String>()
            );
            return ("200 OK", xml.into_bytes());
        }
        match self.objects.iter().find(|(key, _)| path == format!("/lake/{key}")) {
            Some((_, body)) => ("200 OK", body.clone()),
            None => ("404 Not Found", Vec::new()),
        }
    }
}

fn options(endpoint: String) -> ObjectStoreOptions {
    ObjectStoreOptions { endpoint: Some(endpoint), anonymous: true, ..ObjectStoreOptions::default() }
}

fn bucket() -> Bucket {
    let large = b"{\"a\":1}\n".repeat(1_000_000);
    Bucket {
        objects: vec![
            ("raw/b.json", b"{}\n{}\n".to_vec()),
            ("raw/a.json.zst", zstd::encode_all(large.as_slice(), 1).unwrap()),
            ("raw/.hidden", b"{}\n".to_vec()),
            ("raw/deep/c.json", b"{}\n".to_vec()),
            ("other/d.json", b"{}\n".to_vec()),
        ],
    }
}

#[test]
fn keys_prefixes_and_patterns_become_sources_in_order() {
    let options = options(bucket().serve());
    let names = |input: &str| -> Vec<String> {
        expand(&[input.to_owned()], "-", &options).unwrap().into_iter().map(|source| source.name).collect()
    };
    assert_eq!(names("s3://lake/raw/b.json"), ["s3://lake/raw/b.json"]);
    assert_eq!(
        names("s3://lake/raw/"),
        ["s3://lake/raw/a.json.zst", "s3://lake/raw/b.json", "s3://lake/raw/deep/c.json"]
    );
    assert_eq!(names("s3://lake/raw/*.json"), ["s3://lake/raw/b.json"]);
    assert_eq!(names("s3://lake/*/d*"), ["s3://lake/other/d.json"]);
    let refused = |input: &str| expand(&[input.to_owned()], "-", &options).unwrap_err();
    assert_eq!(refused("s3://lake/raw/none.json").kind(), Kind::NotFound);
    assert!(refused("s3://lake/raw/*.csv").to_string().contains("holds no files"));
    assert!(refused("s3:///x").to_string().contains("names no bucket"));
}

#[test]
fn an_object_is_read_like_a_file_and_its_tag_is_its_fingerprint() {
    let options = options(bucket().serve());
    let source = expand(&["s3://lake/raw/a.json.zst".to_owned()], "-", &options).unwrap().remove(0);
    assert!(source.fingerprint.contains("tag-"), "{}", source.fingerprint);
    let chunks: Vec<_> = source.open(Framing::Json).unwrap().map(std::result::Result::unwrap).collect();
    assert_eq!(chunks.iter().map(|chunk| chunk.rows).sum::<u64>(), 1_000_000);
    assert_eq!(chunks.last().map(|chunk| chunk.consumed), source.size);
}

#[test]
fn listing_works_inside_of_a_runtime_too() {
    let options = options(bucket().serve());
    let sources =
        runtime().unwrap().block_on(async { expand(&["s3://lake/other/".to_owned()], "-", &options) });
    assert_eq!(sources.unwrap().len(), 1);
}

#[test]
fn secrets_are_not_printed() {
    let options =
        ObjectStoreOptions { secret_access_key: Some("hush".to_owned()), ..ObjectStoreOptions::default() };
    assert!(!format!("{options:?}").contains("hush"));
}
