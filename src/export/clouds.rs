//! Buckets of Google Cloud Storage and containers of Azure, with the credentials of the environment.

use object_store::ClientOptions;
use object_store::RetryConfig;
use object_store::azure::AzureConfigKey;
use object_store::azure::MicrosoftAzure;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorage;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::gcp::GoogleConfigKey;

use crate::error::Context;
use crate::error::Kind;
use crate::error::Result;

/// Who keeps a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cloud {
    /// Amazon, and all who speak S3.
    S3,
    Google,
    /// Of this storage account, or the one that the environment names.
    Azure {
        account: Option<String>,
    },
}

impl Cloud {
    /// The name of the checksum that an object carries; Azure takes letters, digits and underscores.
    pub(crate) fn checksum(&self) -> &'static str {
        match self {
            Self::S3 | Self::Google => "milepost-sha256",
            Self::Azure { .. } => "milepost_sha256",
        }
    }
}

/// What to open and how.
#[derive(Clone, Debug)]
pub(crate) struct Opening<'a> {
    pub(crate) bucket: &'a str,
    /// Another server that speaks the same.
    pub(crate) endpoint: Option<&'a str>,
    pub(crate) client: ClientOptions,
    pub(crate) retry: RetryConfig,
}

impl Opening<'_> {
    /// A server that is said to be `http://` may be talked to so; nothing else may.
    fn client_for(&self, endpoint: Option<&str>) -> ClientOptions {
        let plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
        self.client.clone().with_allow_http(plain)
    }

    /// `builder` is `GoogleCloudStorageBuilder::from_env()`.
    pub(crate) fn google(&self, builder: GoogleCloudStorageBuilder) -> Result<GoogleCloudStorage> {
        let set = builder.get_config_value(&GoogleConfigKey::BaseUrl);
        let client = self.client_for(self.endpoint.or(set.as_deref()));
        let mut builder =
            builder.with_bucket_name(self.bucket).with_client_options(client).with_retry(self.retry.clone());
        if let Some(endpoint) = self.endpoint {
            builder = builder.with_base_url(endpoint.trim_end_matches('/'));
        }
        let wrong = || format!("the settings for gs://{} do not fit together", self.bucket);
        builder.build().context(Kind::Invalid, wrong)
    }

    /// `builder` is `MicrosoftAzureBuilder::from_env()`.
    pub(crate) fn azure(
        &self,
        builder: MicrosoftAzureBuilder,
        account: Option<&str>,
    ) -> Result<MicrosoftAzure> {
        let set = builder.get_config_value(&AzureConfigKey::Endpoint);
        let client = self.client_for(self.endpoint.or(set.as_deref()));
        let mut builder = builder
            .with_container_name(self.bucket)
            .with_client_options(client)
            .with_retry(self.retry.clone());
        if let Some(account) = account {
            builder = builder.with_account(account);
        }
        if let Some(endpoint) = self.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        let wrong = || {
            format!(
                "the settings for az://{} do not fit together; AZURE_STORAGE_ACCOUNT_NAME names the account",
                self.bucket
            )
        };
        builder.build().context(Kind::Invalid, wrong)
    }
}

#[cfg(test)]
mod tests;
