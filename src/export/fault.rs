//! What an object store's error means: whose turn it is, and why in a few words without its requests and headers.

use std::error::Error as StdError;

use object_store::Error as Store;
use object_store::path::Path;

use crate::error::Error;
use crate::error::Kind;

/// What can be done about a store's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cure {
    /// Somebody must mend the request or a permission.
    Mend,
    /// The bucket is not there.
    NoBucket,
    /// The credentials have expired: new ones help.
    Renew,
    /// Try again; whether the request was done is not known.
    Later,
}

/// A store's error, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) cure: Cure,
    pub(crate) reason: String,
}

/// Codes of S3, Google and Azure that do not go away by themselves.
const MEND: &[&str] = &[
    "AccountIsDisabled",
    "AuthenticationFailed",
    "AuthorizationFailure",
    "AuthorizationPermissionMismatch",
    "InsufficientAccountPermissions",
    "InvalidArgument",
    "InvalidAuthenticationInfo",
    "InvalidMetadata",
    "NoAuthenticationInformation",
    "UserProjectMissing",
    "AccessDenied",
    "AccountProblem",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "BadDigest",
    "EntityTooLarge",
    "InvalidAccessKeyId",
    "InvalidBucketName",
    "InvalidObjectState",
    "InvalidRequest",
    "InvalidToken",
    "KMS.DisabledException",
    "KMS.NotFoundException",
    "KeyTooLongError",
    "MethodNotAllowed",
    "NotImplemented",
    "PermanentRedirect",
    "SignatureDoesNotMatch",
    "UserKeyMustBeSpecified",
];
const RENEW: &[&str] = &["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"];

impl Fault {
    pub(crate) fn of(error: &Store) -> Self {
        let mut text = String::new();
        let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(one) = cause {
            // Ours: it knows better.
            if let Some(ours) = one.downcast_ref::<Error>() {
                let cure = if ours.kind() == Kind::Invalid { Cure::Mend } else { Cure::Later };
                return Self { cure, reason: ours.to_string() };
            }
            text.push_str(&one.to_string());
            text.push('\n');
            cause = one.source();
        }
        let code = tag(&text, "Code");
        let cure = match code {
            Some("NoSuchBucket" | "ContainerNotFound") => Cure::NoBucket,
            Some(code) if RENEW.contains(&code) => Cure::Renew,
            Some(code) if MEND.contains(&code) => Cure::Mend,
            Some(_) => Cure::Later,
            None => match error {
                Store::PermissionDenied { .. }
                | Store::Unauthenticated { .. }
                | Store::InvalidPath { .. }
                | Store::NotImplemented { .. }
                | Store::NotSupported { .. } => Cure::Mend,
                _ if text.contains("incorrectly configured region") => Cure::Mend,
                _ => Cure::Later,
            },
        };
        let reason = match (code, tag(&text, "Message")) {
            (Some(code), Some(message)) => format!("{code}: {}", message.trim_end_matches('.')),
            (Some(code), None) => code.to_owned(),
            _ => plain(error),
        };
        Self { cure, reason }
    }

    /// We may not do this, and perhaps something else.
    pub(crate) fn is_denied(&self) -> bool {
        let denied = ["AccessDenied", "AuthorizationFailure", "AuthorizationPermissionMismatch"];
        self.cure == Cure::Mend && denied.iter().any(|code| self.reason.starts_with(code))
    }

    /// As an error about an object.
    pub(crate) fn about(self, doing: &str, path: &Path) -> Error {
        let kind = match self.cure {
            Cure::Mend => Kind::Invalid,
            Cure::NoBucket => Kind::NotFound,
            Cure::Renew | Cure::Later => Kind::Unavailable,
        };
        Error::new(kind, format!("{doing} \"{path}\": {}", self.reason))
    }
}

fn tag<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(value, _)| value)
}

/// The innermost cause says most; a server's page of HTML says nothing.
fn plain(error: &Store) -> String {
    let status = error.to_string();
    let status = status.split_once("status code: ").map(|(_, rest)| rest.lines().next().unwrap_or(rest));
    if let Some(status) = status {
        let end = status.find([':', '<']).unwrap_or(status.len());
        return format!("the server answered {}", status[..end].trim());
    }
    let mut innermost = error as &(dyn StdError + 'static);
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> Store {
        Store::Generic { store: "S3", source: text.into() }
    }

    fn body(status: &str, code: &str) -> String {
        format!(
            "Error performing PUT http://127.0.0.1:1/acme/x in 3ms - Server returned non-2xx status code: {status}: <?xml \
             version=\"1.0\"?><Error><Code>{code}</Code><Message>Because.</Message><AWSAccessKeyId>AKIAX</AWSAccessKeyId></Error>"
        )
    }

    #[test]
    fn a_code_decides_what_can_be_done() {
        let cure = |code: &str| Fault::of(&generic(&body("403 Forbidden", code))).cure;
        assert_eq!(cure("AccessDenied"), Cure::Mend);
        assert_eq!(cure("SignatureDoesNotMatch"), Cure::Mend);
        assert_eq!(cure("NoSuchBucket"), Cure::NoBucket);
        assert_eq!(cure("ContainerNotFound"), Cure::NoBucket);
        assert_eq!(cure("AuthenticationFailed"), Cure::Mend);
        assert_eq!(cure("ExpiredToken"), Cure::Renew);
        assert_eq!(cure("InternalError"), Cure::Later);
        assert_eq!(cure("SlowDown"), Cure::Later);
    }

    #[test]
    fn a_reason_is_short_and_shows_no_key() {
        let fault = Fault::of(&generic(&body("403 Forbidden", "InvalidAccessKeyId")));
        assert_eq!(fault.reason, "InvalidAccessKeyId: Because");
    }

    #[test]
    fn without_a_code_the_status_or_the_innermost_cause_is_told() {
        let page = generic(
            "Error performing PUT http://x - Server returned non-2xx status code: 502 Bad Gateway: <html>",
        );
        assert_eq!(Fault::of(&page).reason, "the server answered 502 Bad Gateway");
        let line = generic("connection reset by peer");
        let fault = Fault::of(&line);
        assert_eq!((fault.cure, fault.reason.as_str()), (Cure::Later, "connection reset by peer"));
    }

    #[test]
    fn what_is_denied_is_told_from_what_is_wrong() {
        let denied = |code: &str| Fault::of(&generic(&body("403 Forbidden", code))).is_denied();
        assert!(denied("AccessDenied"));
        assert!(!denied("SignatureDoesNotMatch") && !denied("NoSuchBucket"));
        let page = generic(
            "Error performing GET http://x - Server returned non-2xx status code: 403 Forbidden: <html>",
        );
        assert!(!Fault::of(&page).is_denied(), "a page without a code is not the bucket's word");
    }

    #[test]
    fn our_own_error_inside_is_taken_as_it_is() {
        let inner = Error::invalid("could not assume the role \"x\"");
        let fault = Fault::of(&Store::Generic { store: "S3", source: Box::new(inner) });
        assert_eq!(fault.cure, Cure::Mend);
        assert_eq!(fault.about("could not write", &Path::from("a")).kind(), Kind::Invalid);
    }
}
