//! Keys: who may do what through the server. A key is made once, shown once, and kept as a digest.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;

use arrow::array::TimestampMicrosecondArray;
use sha2::Digest;
use sha2::Sha256;

use crate::engine::Engine;
use crate::engine::Rows;
use crate::engine::answer::Table;
use crate::error::Error;
use crate::error::Result;
use crate::error::did_you_mean;
use crate::storage::catalog::ApiKey;
use crate::time::Clock;
use crate::time::SystemClock;

/// What every key starts with, so that one that leaks is recognised.
const PREFIX: &str = "mlp_";
/// The most characters of a key's name.
const NAME_CHARS: usize = 64;

/// One thing that a key allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Send events.
    Ingest,
    /// Send events from a web page; nothing else, for everybody can read such a key.
    Web,
    /// Ask questions and read definitions.
    Query,
    /// Ask for exports.
    Export,
    /// Everything, changes of definitions, persons and keys among them.
    Manage,
}

impl Scope {
    pub const ALL: [Self; 5] = [Self::Ingest, Self::Web, Self::Query, Self::Export, Self::Manage];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Web => "web",
            Self::Query => "query",
            Self::Export => "export",
            Self::Manage => "manage",
        }
    }
}

impl FromStr for Scope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let names = Self::ALL.map(Self::name);
        Self::ALL.into_iter().find(|scope| scope.name() == text).ok_or_else(|| {
            let hint = did_you_mean(text, names);
            Error::invalid(format!(
                "no scope is called \"{text}\"; the scopes are {}{hint}",
                names.join(", ")
            ))
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A key in force, as whoever shows it may know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub name: String,
    pub scopes: Vec<Scope>,
}

impl Key {
    /// Whether it allows one of these; a key that manages allows all.
    pub fn allows(&self, wanted: &[Scope]) -> bool {
        self.scopes.iter().any(|scope| *scope == Scope::Manage || wanted.contains(scope))
    }
}

/// The keys in force by their digests; read from the catalog at the first question.
#[derive(Debug, Default)]
pub(crate) struct KeyRing(RwLock<Option<Arc<ByDigest>>>);

type ByDigest = HashMap<[u8; 32], Arc<Key>>;

impl Engine {
    /// Makes a key and gives its secret, which is never seen again.
    ///
    /// # Errors
    /// `Conflict` when the name is taken, also by a key that was revoked; `Invalid` for a name of other than 1 to 64
    /// printable characters, and without a scope.
    pub fn create_key(&self, name: &str, scopes: &[Scope]) -> Result<String> {
        let fits = !name.trim().is_empty()
            && name.chars().count() <= NAME_CHARS
            && !name.chars().any(char::is_control);
        if !fits {
            return Err(Error::invalid(format!(
                "the name of a key has 1 to {NAME_CHARS} printable characters, found \"{}\"",
                name.escape_debug()
            )));
        }
        let mut scopes = scopes.to_vec();
        scopes.sort_unstable();
        scopes.dedup();
        if scopes.is_empty() {
            return Err(Error::invalid("a key needs at least one scope"));
        }
        if scopes.contains(&Scope::Web) && scopes.len() > 1 {
            return Err(Error::invalid(
                "a key with the scope web stands in a page that everybody can read, so it has no other scope; \
                 make two keys",
            ));
        }
        let secret = format!("{PREFIX}{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        let names: Vec<_> = scopes.iter().map(|scope| scope.name()).collect();
        let key = ApiKey {
            name: name.to_owned(),
            digest: digest(&secret),
            scopes: names.join(","),
            created: SystemClock.now(),
            revoked: None,
        };
        self.storage().writer()?;
        if !self.storage().catalog().add_api_key(&key)? {
            return Err(Error::conflict(format!(
                "there is or was a key \"{name}\"; a name is given once, so choose another"
            )));
        }
        self.forget_keys();
        Ok(secret)
    }

    /// Ends a key at once.
    ///
    /// # Errors
    /// `NotFound` when no key in force is called so.
    pub fn revoke_key(&self, name: &str) -> Result<()> {
        self.storage().writer()?;
        if !self.storage().catalog().revoke_api_key(name, SystemClock.now())? {
            let keys = self.storage().catalog().api_keys()?;
            let known = keys.iter().filter(|key| key.revoked.is_none()).map(|key| key.name.as_str());
            let hint = did_you_mean(name, known);
            return Err(Error::not_found(format!("no key in force is called \"{name}\"{hint}")));
        }
        self.forget_keys();
        Ok(())
    }

    /// All keys as a table, the revoked ones too.
    pub fn keys(&self) -> Result<Rows> {
        let keys = self.storage().catalog().api_keys()?;
        let time = |values: Vec<Option<i64>>| -> TimestampMicrosecondArray {
            TimestampMicrosecondArray::from(values).with_timezone("UTC")
        };
        let batch = Table::default()
            .texts("name", keys.iter().map(|key| Some(&key.name)))
            .texts("scopes", keys.iter().map(|key| Some(&key.scopes)))
            .array("created_at", Arc::new(time(keys.iter().map(|key| Some(key.created.0)).collect())))
            .array("revoked_at", Arc::new(time(keys.iter().map(|key| key.revoked.map(|at| at.0)).collect())))
            .batch()?;
        Ok(Rows::of(batch))
    }

    /// The key in force that has this secret.
    pub fn key(&self, secret: &str) -> Result<Option<Arc<Key>>> {
        Ok(self.keys_in_force()?.get(&digest(secret)).map(Arc::clone))
    }

    fn keys_in_force(&self) -> Result<Arc<ByDigest>> {
        let ring = &self.inner.keys.0;
        if let Some(keys) = &*ring.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Arc::clone(keys));
        }
        // Read under the lock, so that a key revoked meanwhile is not put back.
        let mut held = ring.write().unwrap_or_else(PoisonError::into_inner);
        let mut keys = ByDigest::new();
        for one in self.storage().catalog().api_keys()?.into_iter().filter(|one| one.revoked.is_none()) {
            let scopes = one.scopes.split(',').map(str::parse).collect::<Result<_>>()?;
            keys.insert(one.digest, Arc::new(Key { name: one.name, scopes }));
        }
        Ok(Arc::clone(held.insert(Arc::new(keys))))
    }

    fn forget_keys(&self) {
        *self.inner.keys.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// A secret has more than 240 random bits, so that a plain digest of it cannot be turned round.
fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Config;
    use crate::error::Kind;

    async fn engine(dir: &tempfile::TempDir) -> Engine {
        Engine::open(Config { data: dir.path().join("data"), ..Config::default() }).await.unwrap()
    }

    #[tokio::test]
    async fn a_key_is_known_until_it_is_revoked_and_its_secret_is_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(&dir).await;
        let secret = engine.create_key("shop", &[Scope::Query, Scope::Ingest, Scope::Query]).unwrap();
        let key = engine.key(&secret).unwrap().unwrap();
        assert_eq!((key.name.as_str(), key.scopes.as_slice()), ("shop", &[Scope::Ingest, Scope::Query][..]));
        assert!(key.allows(&[Scope::Query]) && !key.allows(&[Scope::Manage]));
        assert!(engine.key("mlp_0").unwrap().is_none());
        let catalog = std::fs::read(engine.storage().catalog().path()).unwrap();
        let mut log = engine.storage().catalog().path().as_os_str().to_owned();
        log.push("-wal");
        let log = std::fs::read(log).unwrap_or_default();
        for bytes in [catalog, log] {
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()));
        }
        engine.revoke_key("shop").unwrap();
        assert!(engine.key(&secret).unwrap().is_none());
        assert_eq!(engine.revoke_key("shop").unwrap_err().kind(), Kind::NotFound);
        assert_eq!(engine.create_key("shop", &[Scope::Query]).unwrap_err().kind(), Kind::Conflict);
    }

    #[tokio::test]
    async fn a_web_key_can_do_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(&dir).await;
        let refused = engine.create_key("page", &[Scope::Web, Scope::Query]).unwrap_err();
        assert!(refused.message().contains("make two keys"), "{refused}");
        assert!(engine.create_key("page", &[]).is_err());
        assert!(engine.create_key(" ", &[Scope::Web]).is_err());
        let refused = "quary".parse::<Scope>().unwrap_err();
        assert!(refused.message().ends_with("did you mean \"query\"?"), "{refused}");
    }

    #[tokio::test]
    async fn a_key_that_manages_may_do_everything() {
        let key = Key { name: "m".to_owned(), scopes: vec![Scope::Manage] };
        assert!(Scope::ALL.iter().all(|scope| key.allows(&[*scope])));
    }
}
