//! Who asks, and whether they may: keys in the forms `App`, `Bearer` and `Basic`.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use url::Host;
use url::Url;

use crate::engine::Key;
use crate::engine::Scope;
use crate::server::app::App;
use crate::server::fault::Cause;
use crate::server::fault::Fault;

/// Whoever made a request.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// Somebody on this machine, where no key is asked for.
    Anyone,
    /// A command of this machine's owner.
    Owner,
    Holder(Arc<Key>),
}

impl Caller {
    /// An error unless the caller may do one of these.
    pub(crate) fn may(&self, wanted: &[Scope]) -> Result<(), Fault> {
        let allowed = match self {
            Self::Anyone | Self::Owner => true,
            Self::Holder(key) => key.allows(wanted),
        };
        if allowed {
            return Ok(());
        }
        let names: Vec<_> = wanted.iter().map(|scope| scope.name()).collect();
        Err(Fault::new(
            Cause::Forbidden,
            format!("the key \"{}\" may not do this; it needs the scope {}", self.name(), names.join(" or ")),
        ))
    }

    /// How logs call them, and under which name their requests are counted.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Anyone => "local",
            Self::Owner => "owner",
            Self::Holder(key) => &key.name,
        }
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Fault> {
        caller(app, &parts.headers)
    }
}

/// Who made a request with these headers.
pub(crate) fn caller(app: &App, headers: &HeaderMap) -> Result<Caller, Fault> {
    match headers.get(header::AUTHORIZATION) {
        Some(value) => {
            let value = value.to_str().map_err(|_| unknown())?;
            holder(app, &secret(value)?)
        }
        None if app.open => {
            local(headers)?;
            Ok(Caller::Anyone)
        }
        None => Err(Fault::new(
            Cause::Unauthorized,
            "a key is needed: Authorization: App <key>; `milepost key create` makes one",
        )),
    }
}

/// The holder of a secret.
pub(crate) fn holder(app: &App, secret: &str) -> Result<Caller, Fault> {
    if same(secret, &app.token) {
        return Ok(Caller::Owner);
    }
    app.engine.key(secret)?.map(Caller::Holder).ok_or_else(unknown)
}

fn unknown() -> Fault {
    Fault::new(Cause::Unauthorized, "the key is not known, or was revoked")
}

/// Equal, in a time that does not tell how much of it is.
fn same(one: &str, other: &str) -> bool {
    let differences = one.bytes().zip(other.bytes()).fold(0, |sum, (one, other)| sum | (one ^ other));
    one.len() == other.len() && differences == 0
}

/// The secret in an `Authorization` header.
fn secret(value: &str) -> Result<String, Fault> {
    let (scheme, rest) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
    let rest = rest.trim();
    match scheme.to_ascii_lowercase().as_str() {
        "app" | "bearer" if !rest.is_empty() => Ok(rest.to_owned()),
        "basic" => {
            let bytes = BASE64_STANDARD.decode(rest).map_err(|_| unknown())?;
            let text = String::from_utf8(bytes).map_err(|_| unknown())?;
            let (user, password) = text.split_once(':').unwrap_or((&text, ""));
            Ok(if password.is_empty() { user } else { password }.to_owned())
        }
        _ => Err(Fault::new(
            Cause::Unauthorized,
            "the Authorization header must be App <key>, Bearer <key> or Basic with the key as the password",
        )),
    }
}

/// Refuses what a page of the web makes a browser on this machine send: such pages need a key, even here.
fn local(headers: &HeaderMap) -> Result<(), Fault> {
    let here = |url: &str| match Url::parse(url).ok().as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if text(header::ORIGIN).is_some_and(|origin| !here(origin)) {
        return Err(Fault::new(
            Cause::Unauthorized,
            "a page of another site needs a key, also on this machine",
        ));
    }
    if text(header::HOST).is_some_and(|host| !here(&format!("http://{host}"))) {
        return Err(Fault::new(
            Cause::Unauthorized,
            "without a key only this machine may ask, under the name localhost; \
             `milepost key create` makes a key",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_key_is_found_in_each_form_of_the_header() {
        assert_eq!(secret("App k1").unwrap(), "k1");
        assert_eq!(secret("bearer  k1 ").unwrap(), "k1");
        assert_eq!(secret(&format!("Basic {}", BASE64_STANDARD.encode("me:k1"))).unwrap(), "k1");
        assert_eq!(secret(&format!("Basic {}", BASE64_STANDARD.encode("k1:"))).unwrap(), "k1");
        for wrong in ["", "App", "IBSSO k1", "Basic ***", "k1"] {
            assert_eq!(secret(wrong).unwrap_err().cause, Cause::Unauthorized, "{wrong}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_strangers_on_loopback_too() {
        let with = |name: header::HeaderName, value: &'static str| {
            local(&HeaderMap::from_iter([(name, HeaderValue::from_static(value))])).is_ok()
        };
        assert!(with(header::HOST, "localhost:6453") && with(header::HOST, "127.0.0.1:6453"));
        assert!(with(header::HOST, "[::1]:6453") && with(header::ORIGIN, "http://localhost:3000"));
        assert!(!with(header::ORIGIN, "https://evil.example") && !with(header::ORIGIN, "null"));
        assert!(!with(header::HOST, "evil.example:6453"), "a name that was rebound");
    }

    #[test]
    fn secrets_are_compared_whole() {
        assert!(same("abc", "abc"));
        assert!(!same("abc", "abd") && !same("ab", "abc") && !same("", "abc"));
    }
}
