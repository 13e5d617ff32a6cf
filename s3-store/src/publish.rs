//! The end of an upload: the bundle appears, unless its name was taken, and is held against what was sent and asked for.

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use backup_core::bundle::digest::Sha256Digest;
use backup_core::bundle::name::FileName;
use backup_core::finding::Finding;
use backup_core::store::{DIGEST, Published, digest_line, exists};
use backup_core::{Error, Kind, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::bucket::RUN;
use crate::guarantees;
use crate::upload::{Part, Sender};

impl Sender {
    /// Makes the bundle appear, and looks whether it is what it was to be.
    pub(crate) async fn publish(
        &self,
        sent: Vec<Part>,
        length: u64,
        name: &FileName,
        digest: &Sha256Digest,
        now: DateTime<Utc>,
    ) -> Result<Published> {
        let expected = composite(&sent);
        let completed = self.bucket.complete(&self.begun, sent.into_iter().map(Into::into).collect()).await;
        let head = self.bucket.head(&self.begun.file).await;
        let is_ours =
            |head: &HeadObjectOutput| head.metadata().and_then(|metadata| metadata.get(RUN)) == Some(&self.begun.run);
        let checksum = match (completed, &head) {
            (Ok(completed), _) => completed.checksum,
            // The answer was lost, or the request was sent twice, and what is there is ours.
            (Err(_), Ok(Some(head))) if is_ours(head) => None,
            (Err(refused), Ok(Some(_))) if matches!(refused.status, Some(409 | 412)) => {
                return Err(exists(&self.shown()));
            }
            // What is there can't be seen, and may be ours whose answer was lost.
            (Err(refused), Err(_)) => {
                let hint = "it may be there all the same: look with `list` before the backup is run again";
                return Err(refused.error.hint(hint).unsure());
            }
            (Err(refused), _) => return Err(refused.error),
        };
        let mut warnings = Vec::new();
        match head {
            Ok(Some(head)) if is_ours(&head) => {
                // Some servers leave out how many parts there are.
                let digest = |checksum: &str| checksum.split('-').next().map(str::to_owned);
                let other_digest = checksum.is_some_and(|checksum| digest(&checksum) != digest(&expected));
                if other_digest || head.content_length() != i64::try_from(length).ok() {
                    let error = Error::new(Kind::Damaged, format!("publish {}", self.shown()));
                    let error = error.because("what the server has is not what was sent, and shows there all the same");
                    return Err(error.hint("delete it, and run the backup again").unsure());
                }
                warnings.extend(self.guarantee(head, now).await);
            }
            Ok(Some(_)) => {
                let error = Error::new(Kind::Failed, format!("publish {}", self.shown()));
                let said = "the server said that it is there, and what is there now is something else";
                return Err(error.because(said).hint("see what else writes into this bucket"));
            }
            // It is there, by the server's word.
            Ok(None) => {
                let error = Error::new(Kind::Failed, "the server took it, and does not show it yet");
                warnings.push(self.warning("not-read-back", &error.hint("verify it later")));
            }
            Err(refused) => warnings.push(self.warning("not-read-back", &refused.error)),
        }
        let line = digest_line(digest, name).into_bytes();
        if let Err(error) = self.bucket.put(&format!("{name}{DIGEST}"), line).await {
            // The bundle proves itself without.
            warnings.push(self.warning("digest-not-written", &error));
        }
        Ok(Published { place: self.shown(), warnings })
    }

    /// Sees to it that the bundle is kept as it was asked for; what can't be had is a warning.
    async fn guarantee(&self, head: HeadObjectOutput, now: DateTime<Utc>) -> Vec<Finding> {
        let (bucket, file) = (&self.bucket, &self.begun.file);
        let head = match guarantees::amend(bucket, file, &head, now).await {
            true => bucket.head(file).await.ok().flatten().unwrap_or(head),
            false => head,
        };
        guarantees::unmet(bucket, file, &head, now).await
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
