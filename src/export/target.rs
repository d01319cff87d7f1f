//! Where an export goes: a folder, a `file://` URL, or a bucket of one of three clouds; opened by its text.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::BackoffConfig;
use object_store::ClientOptions;
use object_store::ObjectStore;
use object_store::RetryConfig;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use serde::Deserialize;
use serde::Serialize;
use url::Url;

use crate::error::Context;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::export::arn;
use crate::export::clouds::Cloud;
use crate::export::clouds::Opening;
use crate::export::credentials::Credentials;
use crate::storage;

/// One request to a bucket, its body with it, takes no longer.
const REQUEST: Duration = Duration::from_secs(120);

/// A destination as somebody names it; holds no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// A folder, `file:///folder/`, `s3://bucket/directory/`, `gs://bucket/directory/`, `az://container/directory/` or
    /// `abfss://container@account.dfs.core.windows.net/directory/`.
    pub into: String,
    /// Of S3 only, in either spelling: `eu-central-1`, `EU_CENTRAL_1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Another server that speaks the same; by default what the environment says, or the cloud's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The role to write as; without one, the credentials of the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    /// What the role's trust policy asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
}

/// An opened destination: a store, and the directory in it.
#[derive(Clone, Debug)]
pub struct Target {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// The same store, which tries each request once: who puts looks before it puts again.
    pub(crate) once: Arc<dyn ObjectStore>,
    pub(crate) prefix: Path,
    /// Reached over a network: what it says is not the whole truth.
    pub(crate) remote: bool,
    /// The name of the checksum that objects carry there.
    pub(crate) checksum: &'static str,
    credentials: Option<Arc<Credentials>>,
}

/// A destination as its text says, before anything is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Folder(PathBuf),
    Bucket { cloud: Cloud, bucket: String, prefix: String },
}

impl Destination {
    /// A folder or a bucket, with what the environment says of it.
    pub fn new(into: impl Into<String>) -> Self {
        Self { into: into.into(), ..Self::default() }
    }

    /// Checks what can be told without opening anything.
    pub(crate) fn check(&self) -> Result<()> {
        let place = place(&self.into)?;
        if let Some(role) = &self.role_arn {
            arn::check_role(role)?;
        }
        if let Some(region) = &self.region {
            arn::region_name(region)?;
        }
        if self.external_id.is_some() && self.role_arn.is_none() {
            return Err(Error::invalid("an external id is for a role; name the role with role_arn"));
        }
        let given = [
            ("an endpoint", self.endpoint.is_some()),
            ("a region", self.region.is_some()),
            ("a role", self.role_arn.is_some()),
        ];
        let (unfit, is) = match place {
            Place::Folder(_) => (&given[..], "is a folder"),
            Place::Bucket { cloud: Cloud::S3, .. } => (&given[..0], ""),
            Place::Bucket { .. } => (&given[1..], "is not in S3"),
        };
        match unfit.iter().find(|(_, given)| *given) {
            Some((what, _)) => {
                Err(Error::invalid(format!("{what} is given, but \"{}\" {is}; leave it out", self.into)))
            }
            None => Ok(()),
        }
    }

    /// The same destination for a process that works elsewhere: a folder gets its whole path.
    pub(crate) fn absolute(mut self) -> Result<Self> {
        if let Place::Folder(folder) = place(&self.into)?
            && !self.into.contains("://")
        {
            let whole = std::path::absolute(&folder)
                .unavailable(|| format!("could not find the folder \"{}\"", folder.display()))?;
            self.into = whole.display().to_string();
        }
        Ok(self)
    }
}

impl Target {
    /// Opens a destination. A missing folder is made, and what is written into it survives a power cut.
    pub async fn open(destination: &Destination) -> Result<Self> {
        destination.check()?;
        match place(&destination.into)? {
            Place::Folder(folder) => {
                fs::create_dir_all(&folder)
                    .unavailable(|| format!("could not make the folder \"{}\"", folder.display()))?;
                Ok(Self::of(storage::open_local(&folder)?, Path::default()))
            }
            Place::Bucket { cloud, bucket, prefix } => {
                Self::bucket(destination, cloud, &bucket, &prefix).await
            }
        }
    }

    /// A store of one's own; trusted as a local one is.
    pub(crate) fn of(store: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        let checksum = Cloud::S3.checksum();
        Self { once: Arc::clone(&store), store, prefix, remote: false, checksum, credentials: None }
    }

    /// A bucket that was opened.
    pub(crate) fn remote(store: Arc<dyn ObjectStore>, prefix: Path, cloud: &Cloud) -> Self {
        Self { remote: true, checksum: cloud.checksum(), ..Self::of(store, prefix) }
    }

    async fn bucket(destination: &Destination, cloud: Cloud, bucket: &str, prefix: &str) -> Result<Self> {
        let prefix = Path::parse(prefix).context(Kind::Invalid, || {
            format!("\"{}\" names a directory that a bucket cannot have", destination.into)
        })?;
        // No `Content-Encoding`: the file is gzip, it is not sent as gzip.
        let client = ClientOptions::new()
            .with_timeout(REQUEST)
            .with_content_type_for_suffix("gz", "application/gzip")
            .with_content_type_for_suffix("json", "application/json")
            .with_content_type_for_suffix("csv", "text/csv")
            .with_content_type_for_suffix("parquet", "application/vnd.apache.parquet");
        // Whole attempts are repeated as well, so that one request need not try for minutes.
        let retries = RetryConfig {
            max_retries: 4,
            retry_timeout: Duration::from_secs(60),
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(5),
                base: 3.0,
            },
        };
        let no_retries = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let endpoint = destination.endpoint.as_deref();
        let opening = Opening { bucket, endpoint, client: client.clone(), retry: retries.clone() };
        let trying_once = Opening { retry: no_retries.clone(), ..opening.clone() };
        let (store, once): (Arc<dyn ObjectStore>, Arc<dyn ObjectStore>) = match &cloud {
            Cloud::S3 => return Self::s3(destination, prefix, &opening, no_retries).await,
            Cloud::Google => (
                Arc::new(opening.google(GoogleCloudStorageBuilder::from_env())?),
                Arc::new(trying_once.google(GoogleCloudStorageBuilder::from_env())?),
            ),
            Cloud::Azure { account } => (
                Arc::new(opening.azure(MicrosoftAzureBuilder::from_env(), account.as_deref())?),
                Arc::new(trying_once.azure(MicrosoftAzureBuilder::from_env(), account.as_deref())?),
            ),
        };
        Ok(Self { once, ..Self::remote(store, prefix, &cloud) })
    }

    async fn s3(
        destination: &Destination,
        prefix: Path,
        opening: &Opening<'_>,
        no_retries: RetryConfig,
    ) -> Result<Self> {
        let (client, retries) = (opening.client.clone(), opening.retry.clone());
        let bucket = opening.bucket;
        let mut builder = AmazonS3Builder::from_env().with_client_options(client).with_retry(retries);
        let region = destination.region.as_deref().map(arn::region_name).transpose()?;
        if let Some(region) = &region {
            builder = builder.with_region(region);
        }
        if let Some(endpoint) = &destination.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let mut credentials = None;
        if let Some(role) = &destination.role_arn {
            let external_id = destination.external_id.as_deref();
            // Boxed: it asks half of the machine.
            let assumed = Box::pin(Credentials::of_role(role, external_id, region.as_deref())).await;
            builder = builder.with_credentials(Arc::<Credentials>::clone(&assumed) as _);
            credentials = Some(assumed);
        }
        let once = Arc::new(storage::open_bucket(bucket, builder.clone().with_retry(no_retries))?);
        let store = Arc::new(storage::open_bucket(bucket, builder)?);
        Ok(Self { once, credentials, ..Self::remote(store, prefix, &Cloud::S3) })
    }

    /// The store says that the credentials have expired: the next request asks for new ones.
    pub(crate) async fn forget_credentials(&self) {
        if let Some(credentials) = &self.credentials {
            credentials.forget().await;
        }
    }
}

/// Whether a destination is a bucket, not a folder of this machine.
pub(crate) fn is_bucket(into: &str) -> bool {
    matches!(place(into), Ok(Place::Bucket { .. }))
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
        "s3" | "gs" | "az" | "azure" | "abfs" | "abfss" => {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let (bucket, account) = match bucket.split_once('@') {
                Some((container, host)) if scheme != "s3" && scheme != "gs" => {
                    (container, host.split('.').next())
                }
                _ => (bucket, None),
            };
            arn::check_bucket(bucket)?;
            let cloud = match scheme {
                "s3" => Cloud::S3,
                "gs" => Cloud::Google,
                _ => Cloud::Azure { account: account.map(str::to_owned) },
            };
            Ok(Place::Bucket {
                cloud,
                bucket: bucket.to_owned(),
                prefix: prefix.trim_matches('/').to_owned(),
            })
        }
        _ => Err(Error::invalid(format!(
            "an export goes into a folder, file://, s3://, gs:// or az://, found \"{scheme}://\""
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_a_folder_a_file_url_or_a_bucket() {
        assert_eq!(place("out/here").unwrap(), Place::Folder("out/here".into()));
        assert_eq!(place("file:///tmp/a%20b/").unwrap(), Place::Folder("/tmp/a b/".into()));
        let of = |cloud: Cloud, prefix: &str| Place::Bucket {
            cloud,
            bucket: "acme-events".to_owned(),
            prefix: prefix.to_owned(),
        };
        let bucket = |prefix: &str| of(Cloud::S3, prefix);
        assert_eq!(place("gs://acme-events/raw/").unwrap(), of(Cloud::Google, "raw"));
        assert_eq!(place("az://acme-events/raw/").unwrap(), of(Cloud::Azure { account: None }, "raw"));
        let account = Some("acme".to_owned());
        assert_eq!(
            place("abfss://acme-events@acme.dfs.core.windows.net/raw/x").unwrap(),
            of(Cloud::Azure { account }, "raw/x")
        );
        assert!(is_bucket("gs://acme-events") && !is_bucket("out") && !is_bucket("file:///tmp"));
        assert_eq!(place("s3://acme-events/raw/people/").unwrap(), bucket("raw/people"));
        assert_eq!(place("s3://acme-events/dt=2025-04-01").unwrap(), bucket("dt=2025-04-01"));
        assert_eq!(place("s3://acme-events").unwrap(), bucket(""));
        for wrong in ["", "ftp://x/", "s3://", "s3://a b/", "gs://a@b/", "file://host/x"] {
            assert_eq!(place(wrong).unwrap_err().kind(), Kind::Invalid, "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_bucket_opens_with_its_directory() {
        let region = Some("EU_CENTRAL_1".to_owned());
        let destination = Destination { region, ..Destination::new("s3://acme-events/raw/people/") };
        let target = Target::open(&destination).await.unwrap();
        assert_eq!(target.prefix.as_ref(), "raw/people");
        assert!(target.store.to_string().contains("acme-events"), "{}", target.store);
    }

    #[tokio::test]
    async fn a_missing_folder_is_made() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("a/b");
        let destination = Destination::new(folder.to_str().unwrap());
        Target::open(&destination).await.unwrap();
        assert!(folder.is_dir());
    }

    #[test]
    fn what_is_for_buckets_is_refused_for_folders_and_an_external_id_needs_a_role() {
        let fault = |destination: Destination| destination.check().unwrap_err().to_string();
        let region = Some("eu-central-1".to_owned());
        assert!(fault(Destination { region, ..Destination::new("out") }).contains("a region is given"));
        let role_arn = Some("arn:aws:iam::000000000000:role/x".to_owned());
        let google = Destination { role_arn: role_arn.clone(), ..Destination::new("gs://acme-events") };
        assert!(fault(google).contains("a role is given, but \"gs://acme-events\" is not in S3"));
        let endpoint = Some("http://127.0.0.1:4443".to_owned());
        Destination { endpoint, ..Destination::new("gs://acme-events") }.check().unwrap();
        assert!(fault(Destination { role_arn, ..Destination::new("out") }).contains("a role is given"));
        let external_id = Some("x".to_owned());
        assert!(fault(Destination { external_id, ..Destination::new("s3://acme") }).contains("role_arn"));
    }

    #[test]
    fn a_folder_keeps_its_place_whoever_works() {
        let whole = Destination::new("out").absolute().unwrap().into;
        assert!(whole.starts_with('/') && whole.ends_with("/out"), "{whole}");
        assert_eq!(Destination::new("s3://acme/x").absolute().unwrap().into, "s3://acme/x");
    }
}
