//! What an S3 server says, as errors that name the place, the action and the remedy.

use std::error::Error as StdError;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use backup_core::{Error, Kind};

use crate::unanswered;

/// What was asked of the server.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// In the words of this program: `list s3://bucket/prefix`.
    pub(crate) doing: String,
    /// The permission that it needs.
    pub(crate) action: &'static str,
}

/// How codes of servers are to be read: the first one counts that is part of the code, for some put their name before S3's. A
/// message is not searched, since it may quote any bucket and key.
const CODES: &[(&str, Kind, &str)] = &[
    ("ObjectLockConfiguration", Kind::Refused, NO_LOCK),
    ("NoSuchBucket", Kind::NotFound, "correct the bucket's name, or create it"),
    ("InvalidAccessKeyId", Kind::Failed, KEYS),
    ("SignatureDoesNotMatch", Kind::Failed, "the secret key is another one than the server knows; correct it"),
    ("Expired", Kind::Failed, "the credentials have expired: log in again, or renew them"),
    ("InvalidToken", Kind::Failed, "the session token is not valid: log in again, or renew the credentials"),
    ("RequestTimeTooSkewed", Kind::Failed, "this machine's clock is wrong: set it, with chrony or timedatectl"),
    ("AuthorizationHeaderMalformed", Kind::Failed, REGION),
    ("PermanentRedirect", Kind::Failed, REGION),
    ("Quota", Kind::Failed, FULL),
    ("StorageFull", Kind::Failed, FULL),
    ("InsufficientStorage", Kind::Failed, FULL),
    ("ObjectLocked", Kind::Refused, LOCKED),
    ("SlowDown", Kind::Failed, "the server is busy; run it again later"),
    ("TooManyRequests", Kind::Failed, "the server is busy; run it again later"),
    ("KMS", Kind::Failed, "correct the key in kms_key, and let these credentials use it"),
    ("InvalidObjectState", Kind::Failed, "the bundle is archived: have it restored from its storage class first"),
    ("NotImplemented", Kind::Unsupported, "this server can't do that; leave the option out, or use another server"),
];

/// Parts of messages, where servers have no code for what they mean: to plain HTTP a server of HTTPS answers in words alone, and
/// `InvalidRequest` stands for many things.
const WORDED: &[(&str, &str, Kind, &str)] =
    &[(REFUSED, "HTTPS", Kind::Failed, TLS), ("InvalidRequest", "ObjectLockConfiguration", Kind::Refused, NO_LOCK)];

/// What stands for the code of an answer that has none, with a status from 400 on.
const REFUSED: &str = "the server refused the request";
const NO_LOCK: &str = "make a bucket with Object Lock, or leave retention and legal_hold out";
const TLS: &str = "write https:// in the endpoint: the server wants it";
const KEYS: &str = "correct the access key: AWS_ACCESS_KEY_ID, ~/.aws/credentials, or database_backups in cluster.conf";
const REGION: &str = "name the bucket's region: AWS_REGION, or s3.region in the settings";
const FULL: &str = "make room there, or have the quota raised";
const LOCKED: &str = "Object Lock keeps it until its retention ends";

impl Asked {
    pub(crate) fn new(doing: impl Into<String>, action: &'static str) -> Self {
        Self { doing: doing.into(), action }
    }

    /// The error that an answer, or its absence, amounts to.
    pub(crate) fn failed<E>(&self, cause: SdkError<E, HttpResponse>) -> Error
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let SdkError::ServiceError(answer) = &cause else { return self.unanswered(&cause) };
        let status = answer.raw().status().as_u16();
        // A HEAD has no body and so no code.
        let code = cause.code().map_or_else(|| of_status(status).to_owned(), Into::into);
        let message = cause.message().map_or_else(|| other_words(answer.raw()), Into::into);
        self.because(status, &code, &message)
    }

    /// The same with the status beside it.
    pub(crate) fn refused<E>(&self, cause: SdkError<E, HttpResponse>) -> Refused
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        // A server that can do a thing and will not says why in a code of S3's.
        let unknown =
            matches!(status(&cause), Some(405 | 501)) || status(&cause) == Some(400) && cause.code().is_none();
        let archived = cause.code() == Some("InvalidObjectState");
        let (status, error) = (status(&cause), self.failed(cause));
        Refused { status, unknown: unknown && error.first_hint() != Some(TLS), archived, error }
    }

    fn because(&self, status: u16, code: &str, message: &str) -> Error {
        let worded = WORDED.iter().find(|(of, part, ..)| *of == code && message.contains(part));
        let worded = worded.map(|(_, _, kind, hint)| (*kind, *hint));
        let coded = || CODES.iter().find(|(part, ..)| code.contains(part)).map(|(_, kind, hint)| (*kind, *hint));
        let said = if message.is_empty() { code.to_owned() } else { format!("{code}: {message}") };
        let (kind, hint) = match worded.or_else(coded) {
            Some((kind, hint)) => (kind, hint.to_owned()),
            None if status == 404 => (Kind::NotFound, "`list` shows what is there".into()),
            None if status == 403 => (Kind::Failed, format!("let these credentials do {} there", self.action)),
            None if status >= 500 => (Kind::Failed, "look after the server, and run it again".into()),
            None => (Kind::Failed, format!("see what the server's own log says of {}", self.action)),
        };
        Error::new(kind, &self.doing).because(format!("{said} (HTTP {status}, {})", self.action)).hint(hint)
    }

    fn unanswered<E>(&self, cause: &SdkError<E, HttpResponse>) -> Error
    where
        E: StdError + Send + Sync + 'static,
    {
        let mut layers = Vec::new();
        let mut layer: Option<&dyn StdError> = Some(cause);
        while let Some(error) = layer {
            layers.push(error.to_string());
            layer = error.source();
        }
        // The outer layers say only that there was no answer.
        let inner = layers.split_off(layers.len().saturating_sub(3)).join(": ");
        let error = Error::new(Kind::Failed, &self.doing).because(format!("{inner} ({})", self.action));
        error.hint(unanswered::hint(cause))
    }
}

/// What the server would not do.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The HTTP status, where there was an answer.
    pub(crate) status: Option<u16>,
    /// Whether it does not seem to know what was asked for.
    pub(crate) unknown: bool,
    /// Whether it is there, of a storage class that can't be read.
    pub(crate) archived: bool,
    pub(crate) error: Error,
}

impl Refused {
    pub(crate) fn is_missing(&self) -> bool {
        self.status == Some(404)
    }

    /// That something is not there.
    pub(crate) fn missing(error: Error) -> Self {
        Self { status: Some(404), unknown: false, archived: false, error }
    }

    /// Whether the same may go well a moment later: there was no answer, or the server is busy, or it fails.
    pub(crate) fn may_pass(&self) -> bool {
        let passes = self.status.is_none_or(|status| matches!(status, 408 | 429) || status >= 500 && status != 501);
        passes && self.error.kind() == Kind::Failed
    }

    /// Whether the server has said no to what was asked, and would say it again.
    pub(crate) fn is_lasting(&self) -> bool {
        self.status.is_some_and(|status| !matches!(status, 404 | 408 | 409 | 429 | 503))
    }

    pub(crate) fn is_forbidden(&self) -> bool {
        self.status == Some(403)
    }

    /// Whether something is there, and the condition that nothing is written over was heeded.
    pub(crate) fn is_refused_condition(&self) -> bool {
        self.status == Some(412)
    }

    /// Whether something is there that was not to be written over, or is being written there at this moment.
    pub(crate) fn is_taken(&self) -> bool {
        matches!(self.status, Some(409 | 412))
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        refused.error
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { status: None, unknown: false, archived: false, error }
    }
}

/// What a server says that does not answer in S3's form, without the marks of HTML and not at length.
fn other_words(answer: &HttpResponse) -> String {
    let body = answer.body().bytes().map(String::from_utf8_lossy).unwrap_or_default();
    let mut inside = false;
    let text = body.chars().filter(|letter| {
        let shown = !inside && *letter != '<';
        inside = *letter == '<' || inside && *letter != '>';
        shown
    });
    let text: String = text.map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(WORDS).collect()
}

/// So much of it is told.
const WORDS: usize = 200;

fn of_status(status: u16) -> &'static str {
    match status {
        301 => "PermanentRedirect",
        403 => "AccessDenied",
        404 => "NotFound",
        412 => "PreconditionFailed",
        429 => "TooManyRequests",
        507 => "InsufficientStorage",
        400..500 => REFUSED,
        _ => "the server failed",
    }
}

/// The HTTP status of an answer, if there was one.
pub(crate) fn status<E>(cause: &SdkError<E, HttpResponse>) -> Option<u16> {
    cause.raw_response().map(|response| response.status().as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_goes_by_the_code_and_not_by_what_a_message_quotes() {
        let cases = [
            (403, "AccessDenied", "no access to the bucket Quota", "let these credentials do s3:PutObject there"),
            (404, "NoSuchKey", "InvalidAccessKeyId-SlowDown.tgz", "`list` shows what is there"),
            (400, "XMinioStorageFull", "", FULL),
            (400, REFUSED, "Client sent an HTTP request to an HTTPS server.", TLS),
            (400, "InvalidRequest", "Bucket is missing ObjectLockConfiguration", NO_LOCK),
            (400, "InvalidRequest", "of a bucket named HTTPS", "see what the server's own log says of s3:PutObject"),
        ];
        for (status, code, message, hint) in cases {
            let error = Asked::new("put", "s3:PutObject").because(status, code, message);
            assert_eq!(error.first_hint(), Some(hint), "{status} {code}: {message}");
        }
    }
}
