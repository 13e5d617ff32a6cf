//! The end of an upload: the bundle appears, unless its name was taken, and is held against what was sent and asked for.

use backup_core::bundle::footer;
use backup_core::digest::Sha256Digest;
use backup_core::finding::Finding;
use backup_core::names::FileName;
use backup_core::store::{DIGEST, Published, digest_line, exists};
use backup_core::{Error, Kind, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::error::Refused;
use crate::guarantees;
use crate::object::whole;
use crate::trial::{Condition, looked_for};
use crate::upload::{Part, Sender};

/// What was sent, as far as it is kept: both ends tell a bundle from any other one, for the footer has the digest of the manifest, which
/// has all others, and no two encrypted bundles end alike.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends {
    pub(crate) length: u64,
    first: Vec<u8>,
    last: Vec<u8>,
}

impl Ends {
    /// Takes the next bytes.
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        let missing = footer::LENGTH - self.first.len();
        self.first.extend_from_slice(&bytes[..missing.min(bytes.len())]);
        self.last.extend_from_slice(&bytes[bytes.len().saturating_sub(footer::LENGTH)..]);
        self.last.drain(..self.last.len().saturating_sub(footer::LENGTH));
    }
}

/// What is found where a bundle was published.
enum There {
    /// What was sent.
    Ours,
    /// Something as long that can't be read.
    Archived,
    /// Something else.
    Other,
}

impl Sender {
    /// Makes the bundle appear, and looks whether it is what it was to be.
    pub(crate) async fn publish(
        &self,
        sent: Vec<Part>,
        ends: Ends,
        (name, digest): (&FileName, &Sha256Digest),
        now: DateTime<Utc>,
    ) -> Result<Published> {
        let expected = composite(&sent);
        let parts = sent.into_iter().map(Into::into).collect();
        let file = self.begun.file.as_str();
        // A server that takes no condition writes over what has come meanwhile.
        if self.condition == Condition::Refused && self.bucket.head(file).await.is_ok_and(|head| head.is_some()) {
            return Err(exists(&self.shown()));
        }
        let completed = self.bucket.complete(&self.begun, parts, self.condition).await;
        // One that was taken may show a moment later.
        let read = match &completed {
            Ok(_) => looked_for(|| self.is_there(&ends)).await,
            Err(_) => self.is_there(&ends).await,
        };
        let checksum = match (completed, &read) {
            (Ok(completed), _) => completed.checksum,
            // The answer was lost, or the request was sent twice, and what is there is ours.
            (Err(_), Ok(There::Ours)) => None,
            (Err(refused), Ok(There::Other)) if refused.is_taken() => return Err(exists(&self.shown())),
            (Err(refused), Ok(There::Other)) => return Err(refused.into()),
            // What can be given up was not published.
            (Err(refused), Err(missing))
                if missing.is_missing()
                    && (refused.is_lasting() || matches!(self.bucket.abort(&self.begun).await, Ok(true))) =>
            {
                return Err(refused.into());
            }
            // What is there can't be seen, or not yet, and may be ours whose answer was lost.
            (Err(refused), _) => {
                let hint = "it may be there all the same: look with `list` before the backup is run again";
                return Err(refused.error.hint(hint).unsure());
            }
        };
        let mut warnings = Vec::new();
        // Some servers leave out how many parts there are.
        let of_parts = |checksum: &str| checksum.split('-').next().map(str::to_owned);
        let other_digest = checksum.is_some_and(|checksum| of_parts(&checksum) != of_parts(&expected));
        match read {
            Ok(There::Ours | There::Archived) if !other_digest => {}
            Ok(_) => {
                let error = Error::new(Kind::Damaged, format!("publish {}", self.shown()));
                let error = error.because("what the server has is not what was sent, and shows there all the same");
                let hint = "see what else writes into this bucket, delete it, and run the backup again";
                return Err(error.hint(hint).unsure());
            }
            // The trial was read; what passes is no reason to call a bundle failed that the server has taken.
            Err(refused) if refused.is_forbidden() || refused.is_missing() || refused.may_pass() => {
                warnings.push(self.warning("not-read-back", &refused.error));
            }
            Err(refused) => {
                let doing = format!("publish {}: the server took it, and it can't be opened there", self.shown());
                let hint = format!("it may be whole all the same: `orchestrator-cli verify {}` tells", self.shown());
                return Err(Error::new(Kind::Failed, doing).because(refused.error).hint(hint).unsure());
            }
        }
        if warnings.is_empty() {
            warnings.extend(self.guarantee(now).await);
        }
        let line = digest_line(digest, name).into_bytes();
        if let Err(refused) = self.bucket.put(&format!("{name}{DIGEST}"), line).await {
            // The bundle proves itself without.
            warnings.push(self.warning("digest-not-written", &refused.error));
        }
        Ok(Published { place: self.shown(), warnings })
    }

    /// What is there. It is read as every reader does: opened by its end, and a part of it from its place.
    async fn is_there(&self, ends: &Ends) -> Result<There, Refused> {
        let (bucket, file) = (&self.bucket, self.begun.file.as_str());
        let tail = match whole(|| bucket.tail(file, footer::LENGTH as u64)).await {
            Err(refused) if refused.archived => {
                let head = bucket.head(file).await.ok().flatten().ok_or(refused)?;
                let same = head.content_length() == i64::try_from(ends.length).ok();
                return Ok(if same { There::Archived } else { There::Other });
            }
            tail => tail?,
        };
        if tail.length != ends.length || tail.bytes != ends.last {
            return Ok(There::Other);
        }
        if tail.length == tail.bytes.len() as u64 {
            return Ok(There::Ours);
        }
        let first = whole(|| bucket.range(file, 0, footer::LENGTH as u64, tail.e_tag.as_deref())).await?;
        Ok(if first == ends.first { There::Ours } else { There::Other })
    }

    /// Sees to it that the bundle is kept as it was asked for; what can't be had is a warning.
    async fn guarantee(&self, now: DateTime<Utc>) -> Vec<Finding> {
        let (bucket, file) = (&self.bucket, &self.begun.file);
        if !guarantees::any(&bucket.options) {
            return Vec::new();
        }
        let gone = || Error::new(Kind::NotFound, format!("look at {}", self.shown()));
        let head = async || bucket.head(file).await.map_err(Error::from)?.ok_or_else(gone);
        let seen = async {
            let first = head().await?;
            if guarantees::amend(bucket, file, &first, now).await {
                Ok(head().await.unwrap_or(first))
            } else {
                Ok(first)
            }
        };
        match seen.await {
            Ok(head) => guarantees::unmet(bucket, file, &head, now).await,
            Err(error) => vec![self.warning("not-read-back", &error)],
        }
    }

    fn warning(&self, code: &str, error: &Error) -> Finding {
        Finding::warning_from_error(code, self.shown(), error)
    }
}

/// S3's digest of an object in parts: that of their digests, and how many there are.
fn composite(parts: &[Part]) -> String {
    let all = parts.iter().fold(Sha256::new(), |all, part| all.chain_update(part.digest.0));
    format!("{}-{}", BASE64_STANDARD.encode(all.finalize()), parts.len())
}
