//! Where an export goes: a folder, a `file://` URL, or a bucket; opened by its text.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::ClientOptions;
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use url::Url;

use crate::error::Context;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::storage;

/// An opened destination: a store, and the directory in it.
#[derive(Clone, Debug)]
pub struct Target {
    pub store: Arc<dyn ObjectStore>,
    pub prefix: Path,
}

/// A destination as its text says, before anything is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Folder(PathBuf),
    Bucket { bucket: String, prefix: String },
}

impl Target {
    /// Opens a destination: a folder (created when missing; what is written survives a power cut), `file:///folder`, or `s3://bucket/directory/` with the
    /// credentials and endpoint of the environment. The region is of S3 only, in either spelling: `eu-central-1`,
    /// `EU_CENTRAL_1`.
    pub fn open(into: &str, region: Option<&str>) -> Result<Self> {
        match place(into)? {
            Place::Folder(_) if region.is_some() => {
                Err(Error::invalid(format!("a region is given, but \"{into}\" is a folder; leave it out")))
            }
            Place::Folder(folder) => {
                fs::create_dir_all(&folder)
                    .unavailable(|| format!("could not make the folder \"{}\"", folder.display()))?;
                Ok(Self { store: storage::open_local(&folder)?, prefix: Path::default() })
            }
            Place::Bucket { bucket, prefix } => {
                let prefix = Path::parse(&prefix).context(Kind::Invalid, || {
                    format!("\"{into}\" names a directory that a bucket cannot have")
                })?;
                // No `Content-Encoding`: the file is gzip, it is not sent as gzip.
                let client = ClientOptions::new()
                    .with_content_type_for_suffix("gz", "application/gzip")
                    .with_content_type_for_suffix("json", "application/json");
                let mut builder = AmazonS3Builder::from_env().with_client_options(client);
                if let Some(region) = region {
                    builder = builder.with_region(region_name(region)?);
                }
                let store = storage::open_bucket(&bucket, builder)?;
                Ok(Self { store: Arc::new(store), prefix })
            }
        }
    }
}

fn place(into: &str) -> Result<Place> {
    let Some((scheme, rest)) = into.split_once("://") else {
        if into.is_empty() {
            return Err(Error::invalid("an export needs a destination: a folder, or s3://bucket/directory/"));
        }
        return Ok(Place::Folder(PathBuf::from(into)));
    };
    match scheme {
        "file" => {
            let wrong = || Error::invalid(format!("\"{into}\" is not a folder; write file:///folder/"));
            let url = Url::parse(into).map_err(|error| wrong().with_source(error))?;
            url.to_file_path().map(Place::Folder).map_err(|()| wrong())
        }
        "s3" => {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            check_bucket(bucket)?;
            Ok(Place::Bucket { bucket: bucket.to_owned(), prefix: prefix.trim_matches('/').to_owned() })
        }
        _ => Err(Error::invalid(format!(
            "an export goes into a folder, file:// or s3://, found \"{scheme}://\""
        ))),
    }
}

fn check_bucket(bucket: &str) -> Result<()> {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if (3..=63).contains(&bucket.len()) && bucket.bytes().all(safe) {
        return Ok(());
    }
    Err(Error::invalid(format!("a bucket has 3 to 63 of a-z 0-9 . -, found \"{bucket}\"")))
}

/// `EU_CENTRAL_1` and `eu-central-1` are the same region.
fn region_name(region: &str) -> Result<String> {
    let name = region.to_ascii_lowercase().replace('_', "-");
    let well_formed = name.split('-').count() >= 3
        && name
            .split('-')
            .all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    if well_formed {
        return Ok(name);
    }
    Err(Error::invalid(format!("a region looks like eu-central-1 or EU_CENTRAL_1, found \"{region}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_a_folder_a_file_url_or_a_bucket() {
        assert_eq!(place("out/here").unwrap(), Place::Folder("out/here".into()));
        assert_eq!(place("file:///tmp/a%20b/").unwrap(), Place::Folder("/tmp/a b/".into()));
        let bucket =
            |prefix: &str| Place::Bucket { bucket: "acme-events".to_owned(), prefix: prefix.to_owned() };
        assert_eq!(place("s3://acme-events/raw/people/").unwrap(), bucket("raw/people"));
        assert_eq!(place("s3://acme-events/dt=2025-04-01").unwrap(), bucket("dt=2025-04-01"));
        assert_eq!(place("s3://acme-events").unwrap(), bucket(""));
        for wrong in ["", "ftp://x/", "s3://", "s3://a b/", "file://host/x"] {
            assert_eq!(place(wrong).unwrap_err().kind(), Kind::Invalid, "{wrong}");
        }
    }

    #[test]
    fn a_region_may_be_spelled_both_ways() {
        assert_eq!(region_name("EU_CENTRAL_1").unwrap(), "eu-central-1");
        assert_eq!(region_name("us-gov-east-1").unwrap(), "us-gov-east-1");
        for wrong in ["", "eu", "eu--1", "eu central 1"] {
            assert!(region_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_bucket_opens_with_its_directory() {
        let target = Target::open("s3://acme-events/raw/people/", Some("EU_CENTRAL_1")).unwrap();
        assert_eq!(target.prefix.as_ref(), "raw/people");
        assert!(target.store.to_string().contains("acme-events"), "{}", target.store);
    }

    #[test]
    fn a_missing_folder_is_made() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("a/b");
        Target::open(folder.to_str().unwrap(), None).unwrap();
        assert!(folder.is_dir());
        assert!(Target::open(folder.to_str().unwrap(), Some("eu-central-1")).is_err());
    }
}
