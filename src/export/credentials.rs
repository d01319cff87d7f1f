//! Credentials for a bucket: a role that is assumed with an external id, kept until shortly before they expire.
//!
//! They live here only: no error, no log and no table repeats them.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_config::Region;
use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use tokio::sync::Mutex;

use crate::error::Error;
use crate::export::order::EXTERNAL_ID;
use crate::time::Micros;
use crate::time::SharedClock;
use crate::time::SystemClock;

/// New ones are asked for so long before the old ones expire: longer than one request may take.
const MARGIN: i64 = 5 * 60 * 1_000_000;
/// Where STS is asked when nothing names a region.
const REGION: &str = "us-east-1";
/// What the sessions are called in the logs of AWS.
const SESSION: &str = "milepost-export";

/// Credentials that renew themselves.
#[derive(Debug)]
pub(crate) struct Credentials {
    provider: SharedCredentialsProvider,
    /// The role, for errors.
    role: String,
    clock: SharedClock,
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    credential: Arc<AwsCredential>,
    expires: Option<Micros>,
}

impl Credentials {
    /// Those of a role, assumed with what the environment has: variables, profiles, the role of the machine.
    pub(crate) async fn of_role(role: &str, external_id: Option<&str>, region: Option<&str>) -> Arc<Self> {
        let loaded = aws_config::defaults(BehaviorVersion::latest()).load().await;
        let region = region.map(|region| Region::new(region.to_owned()));
        let region = region.or_else(|| loaded.region().cloned()).unwrap_or(Region::from_static(REGION));
        let assumed = AssumeRoleProvider::builder(role)
            .external_id(external_id.unwrap_or(EXTERNAL_ID))
            .session_name(SESSION)
            .region(region)
            .configure(&loaded)
            .build()
            .await;
        Self::of(SharedCredentialsProvider::new(assumed), role, SystemClock::shared())
    }

    fn of(provider: SharedCredentialsProvider, role: &str, clock: SharedClock) -> Arc<Self> {
        Arc::new(Self { provider, role: role.to_owned(), clock, held: Mutex::default() })
    }

    /// Asks for new ones next time.
    pub(crate) async fn forget(&self) {
        *self.held.lock().await = None;
    }
}

#[async_trait]
impl CredentialProvider for Credentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut held = self.held.lock().await;
        let now = self.clock.now();
        if let Some(held) = &*held
            && held.expires.is_none_or(|expires| now.0 + MARGIN < expires.0)
        {
            return Ok(Arc::clone(&held.credential));
        }
        match self.provider.provide_credentials().await {
            Ok(fresh) => {
                let credential = Arc::new(AwsCredential {
                    key_id: fresh.access_key_id().to_owned(),
                    secret_key: fresh.secret_access_key().to_owned(),
                    token: fresh.session_token().map(str::to_owned),
                });
                let expires = fresh.expiry().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
                let expires = expires.and_then(|since| i64::try_from(since.as_micros()).ok()).map(Micros);
                *held = Some(Held { credential: Arc::clone(&credential), expires });
                Ok(credential)
            }
            // The old ones are good for a while yet.
            Err(_) if held.as_ref().is_some_and(|held| held.expires.is_some_and(|at| now < at)) => held
                .as_ref()
                .map(|held| Arc::clone(&held.credential))
                .ok_or_else(|| object_store::Error::Generic {
                    store: "S3",
                    source: Box::new(Error::internal("credentials were lost")),
                }),
            Err(error) => Err(object_store::Error::Generic {
                store: "S3",
                source: Box::new(refused(&self.role, &error)),
            }),
        }
    }
}

/// Why a role could not be assumed, and whether asking again may help.
fn refused(role: &str, error: &(dyn StdError + 'static)) -> Error {
    let mut reasons: Vec<String> = Vec::new();
    let mut cause = Some(error);
    while let Some(one) = cause {
        let text = one.to_string();
        if !reasons.iter().any(|said| said.contains(&text)) {
            reasons.push(text);
        }
        cause = one.source();
    }
    let reason = reasons.join(": ");
    let for_good = [
        "AccessDenied",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "MalformedPolicyDocument",
        "RegionDisabled",
        "ValidationError",
        "not enabled in this provider chain",
        "no providers in chain provided credentials",
    ];
    let message = format!("could not assume the role \"{role}\" ({reason})");
    if for_good.iter().any(|word| reason.contains(word)) {
        Error::invalid(format!("{message}; its trust policy must name us and the external id"))
    } else {
        Error::unavailable(message)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use aws_credential_types::Credentials as Given;
    use aws_credential_types::provider::error::CredentialsError;
    use aws_credential_types::provider::future;

    use super::*;
    use crate::error::Kind;
    use crate::time::StoppedClock;

    const MINUTE: i64 = 60 * 1_000_000;

    /// Hands out credentials that are good for an hour of its clock, until it is told to fail.
    #[derive(Debug)]
    struct Hourly {
        clock: Arc<StoppedClock>,
        asked: Arc<AtomicUsize>,
        most: usize,
    }

    impl ProvideCredentials for Hourly {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            use crate::time::Clock;
            let nth = self.asked.fetch_add(1, Ordering::SeqCst);
            if nth >= self.most {
                return future::ProvideCredentials::ready(Err(CredentialsError::provider_error(
                    "AccessDenied",
                )));
            }
            let micros = u64::try_from(self.clock.now().0 + 60 * MINUTE).unwrap();
            let expires = UNIX_EPOCH + Duration::from_micros(micros);
            let given = Given::new(format!("key{nth}"), "secret", None, Some(expires), "test");
            future::ProvideCredentials::ready(Ok(given))
        }
    }

    fn hourly(most: usize) -> (Arc<Credentials>, Arc<StoppedClock>, Arc<AtomicUsize>) {
        let (clock, asked) = (Arc::new(StoppedClock::default()), Arc::new(AtomicUsize::new(0)));
        let provider = Hourly { clock: Arc::clone(&clock), asked: Arc::clone(&asked), most };
        let shared = SharedCredentialsProvider::new(provider);
        (Credentials::of(shared, "arn:aws:iam::1:role/x", Arc::<StoppedClock>::clone(&clock)), clock, asked)
    }

    async fn key(credentials: &Credentials) -> String {
        credentials.get_credential().await.unwrap().key_id.clone()
    }

    #[tokio::test]
    async fn credentials_are_kept_and_renewed_before_they_expire() {
        let (credentials, clock, asked) = hourly(9);
        assert_eq!(key(&credentials).await, "key0");
        clock.set(Micros(54 * MINUTE));
        assert_eq!(key(&credentials).await, "key0");
        clock.set(Micros(55 * MINUTE));
        assert_eq!(key(&credentials).await, "key1");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn forgotten_credentials_are_asked_for_again() {
        let (credentials, _, _) = hourly(9);
        key(&credentials).await;
        credentials.forget().await;
        assert_eq!(key(&credentials).await, "key1");
    }

    #[tokio::test]
    async fn while_the_old_ones_are_good_a_failing_renewal_is_no_fault() {
        let (credentials, clock, _) = hourly(1);
        assert_eq!(key(&credentials).await, "key0");
        clock.set(Micros(58 * MINUTE));
        assert_eq!(key(&credentials).await, "key0");
        clock.set(Micros(60 * MINUTE));
        let fault = credentials.get_credential().await.unwrap_err();
        let source = StdError::source(&fault).unwrap().downcast_ref::<Error>().unwrap();
        assert_eq!(source.kind(), Kind::Invalid);
        assert!(source.message().contains("role/x"), "{source}");
    }

    #[tokio::test]
    async fn nothing_that_can_be_printed_holds_the_secret() {
        let (credentials, _, _) = hourly(9);
        key(&credentials).await;
        assert!(!format!("{credentials:?}").contains("secret\""), "{credentials:?}");
    }
}
