//! What a server shows of itself, before anything is sent to it: each thing that publishing and reading will need is done with one small
//! object that nobody takes for a bundle.

use std::time::Duration;

use aws_sdk_s3::types::CompletedPart;
use backon::{ConstantBuilder, Retryable};
use backup_core::bundle::digest::Sha256Digest;
use backup_core::finding::{Finding, Severity};
use backup_core::{Error, Kind, Result};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use crate::bucket::{Begun, Bucket};
use crate::error::Refused;
use crate::object::whole;
use crate::upload::Part;

/// What the name of the trial begins with. Where deletion is not allowed it has no more than that, so that one stays and no more; else
/// each run has its own, which no other deletes.
pub(crate) const TRIAL: &str = ".orchestrator-cli-trial";
/// What it holds, always: two that come at once write the same.
const CONTENT: &[u8] = b"orchestrator-cli tries here what this server can do; delete it when you like\n";
/// As much of it is read as a part.
const PIECE: u64 = 20;
/// How the time stands in its name, and when one is nobody's any more.
const TIME: &str = "%Y%m%dT%H%M%SZ";
const OLD: TimeDelta = TimeDelta::days(1);
/// Times that something is looked for which the server has taken, and the time between: some servers show it a moment later.
const LOOKS: usize = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// What a server makes of `If-None-Match: *`, which asks it to write over nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It writes over nothing.
    Heeded,
    /// It writes over what is there, or what it does could not be seen.
    Ignored,
    /// It takes no request that has it.
    Refused,
}

impl Condition {
    /// The header's value, where the server takes it.
    pub(crate) fn asked(self) -> Option<String> {
        (self != Self::Refused).then(|| "*".into())
    }
}

/// What a server has shown.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Conditions when something small is written.
    pub(crate) puts: Condition,
    /// Conditions when an upload is completed.
    pub(crate) completes: Condition,
    /// Whether these credentials may read.
    pub(crate) reads: bool,
    /// What could not be tried.
    pub(crate) findings: Vec<Finding>,
}

impl Bucket {
    /// The name of this run's trial, and whether it can be deleted.
    pub(crate) async fn trial_name(&self, run: &str, now: DateTime<Utc>) -> Result<(String, bool)> {
        match self.delete(TRIAL).await {
            Ok(()) => Ok((format!("{TRIAL}-{}-{run}", now.format(TIME)), true)),
            Err(refused) if refused.status.is_some() => Ok((TRIAL.into(), false)),
            Err(refused) => Err(refused.into()),
        }
    }

    /// Tries everything with an object of this name, which stays.
    ///
    /// # Errors
    /// [`Kind::Refused`] where the server lacks what a bundle needs.
    pub(crate) async fn try_out(&self, file: &str, now: DateTime<Utc>) -> Result<Shown> {
        let mut findings = Vec::new();
        let mut unseen = |severity, code, refused: &Refused| {
            findings
                .push(Finding::from_error(code, self.address.to_string(), &refused.error).at_most(severity).unseen());
        };
        let first = match self.put_new(file, CONTENT.into(), Condition::Heeded).await {
            Ok(written) => Some(written),
            Err(refused) if refused.is_forbidden() || self.put(file, CONTENT.into()).await.is_err() => {
                if !refused.is_forbidden() {
                    return Err(refused.into());
                }
                unseen(Severity::Warning, "not-tried", &refused);
                return Ok(Shown { puts: Condition::Ignored, completes: Condition::Ignored, reads: true, findings });
            }
            Err(_) => None,
        };
        let (read, listed, begun) =
            tokio::join!(self.try_to_read(file), self.try_to_list(file, now), self.begin_trial(file));
        let begun = begun?;
        // What may not be seen is no reason to refuse.
        let mut may = |seen: Result<(), Refused>, code| match seen {
            Ok(()) => Ok(true),
            Err(refused) if refused.is_forbidden() => {
                unseen(Severity::Info, code, &refused);
                Ok(false)
            }
            Err(refused) => Err(refused),
        };
        let seen = may(read, "not-readable").and_then(|reads| may(listed, "not-listed").map(|_| reads));
        let reads = match seen {
            Ok(reads) => reads,
            Err(refused) => {
                let _ = self.abort(&begun.0).await;
                return Err(refused.into());
            }
        };
        let completes = self.try_to_complete(begun).await?;
        let puts = match first {
            None => Condition::Refused,
            // It has refused to write over what an earlier run has left.
            Some(false) => Condition::Heeded,
            Some(true) => match self.put_new(file, CONTENT.into(), Condition::Heeded).await {
                Ok(false) => Condition::Heeded,
                Ok(true) => Condition::Ignored,
                Err(_) => Condition::Refused,
            },
        };
        Ok(Shown { puts, completes, reads, findings })
    }

    /// Opens it as a bundle is opened, and reads a part of it, as a reader does.
    async fn try_to_read(&self, file: &str) -> Result<(), Refused> {
        let length = CONTENT.len() as u64;
        let opened = || whole(|| async { tokio::try_join!(self.tail(file, PIECE), self.tail(file, 2 * length)) });
        let (short, long) = match looked_for(opened).await {
            Ok(tails) => tails,
            Err(refused) => return Err(self.unreadable(file, refused).await),
        };
        let end = &CONTENT[CONTENT.len() - PIECE as usize..];
        if (short.length, long.length) != (length, length) || short.bytes != end || long.bytes != CONTENT {
            return Err(self.lacks("it gives other bytes than were sent to it", BYTES).into());
        }
        match whole(|| self.range(file, 1, PIECE, short.e_tag.as_deref())).await {
            Ok(bytes) if bytes == CONTENT[1..=PIECE as usize] => Ok(()),
            Ok(_) => Err(self.lacks("it gives other bytes than were asked for", RANGES).into()),
            Err(refused) => Err(self.unreadable(file, refused).await),
        }
    }

    /// Why a part of an object can't be had: whether that is so of all of it too.
    async fn unreadable(&self, file: &str, refused: Refused) -> Refused {
        if refused.is_forbidden() {
            return refused;
        }
        match whole(|| self.get(file)).await {
            Ok(Some(all)) if all == CONTENT => {
                let lacks = self.lacks("it gives objects whole, and no parts of them", RANGES);
                let said = refused.error.chain().join(": ");
                lacks.because(format!("{RANGED}: {said}")).into()
            }
            Ok(Some(_)) => self.lacks("it gives other bytes than were sent to it", BYTES).into(),
            Ok(None) => self.lacks("it does not keep what it says it has taken", BYTES).into(),
            Err(_) => refused,
        }
    }

    /// Looks for it in the list, and deletes what crashes have left of others.
    async fn try_to_list(&self, file: &str, now: DateTime<Utc>) -> Result<(), Refused> {
        let look = || async {
            let files = self.list_all(TRIAL).await?;
            let there = files.iter().any(|(name, length)| name == file && *length == CONTENT.len() as u64);
            if there { Ok(files) } else { Err(Refused::missing(self.lacks(UNLISTED, LISTED))) }
        };
        let files = looked_for(look).await?;
        let old = format!("{TRIAL}-{}", (now - OLD).format(TIME));
        for (left, _) in files.iter().filter(|(name, _)| name.as_str() > TRIAL && *name < old) {
            // Where it can't be deleted, its few bytes stay.
            let _ = self.delete(left).await;
        }
        Ok(())
    }

    async fn begin_trial(&self, file: &str) -> Result<(Begun, Part)> {
        let begun = self.begin_plain(file).await?;
        let digest = Sha256Digest(Sha256::digest(CONTENT).into());
        match self.put_part(&begun, 0, Bytes::from_static(CONTENT), digest).await {
            Ok(e_tag) => Ok((begun, Part { number: 0, e_tag, digest })),
            Err(error) => {
                let _ = self.abort(&begun).await;
                Err(error)
            }
        }
    }

    /// Completes an upload where the trial is.
    async fn try_to_complete(&self, (begun, part): (Begun, Part)) -> Result<Condition> {
        let completed = self.complete(&begun, vec![part.into()], Condition::Heeded).await;
        let Err(refused) = completed else { return Ok(Condition::Ignored) };
        let _ = self.abort(&begun).await;
        if refused.is_taken() {
            return Ok(Condition::Heeded);
        }
        let (begun, part) = self.begin_trial(&begun.file).await?;
        match self.complete(&begun, vec![CompletedPart::from(part)], Condition::Refused).await {
            Ok(_) => Ok(Condition::Refused),
            Err(refused) => {
                let _ = self.abort(&begun).await;
                Err(self.without(refused, COMPLETE))
            }
        }
    }

    /// The error of a server that can't be used.
    fn lacks(&self, what: &str, hint: &str) -> Error {
        let error =
            Error::new(Kind::Refused, format!("write to {}: the server can keep no bundles: {what}", self.address));
        error.hint(hint)
    }

    /// The error of a server that would not do a thing, and may not know it.
    pub(crate) fn without(&self, refused: Refused, what: &str) -> Error {
        if !refused.unknown {
            return refused.error;
        }
        let because = refused.error.chain().join(": ");
        self.lacks(what, "use another server: bundles are written in parts").because(because)
    }

    /// The error of a server on which two backups of one second could take each other's name.
    pub(crate) fn shared_name(&self) -> Error {
        let error =
            Error::new(Kind::Refused, format!("write to {}: nothing keeps a name for one backup alone", self.address));
        let why = "the server does not heed If-None-Match, and either another upload of this name is there, or none can be seen";
        error.because(why).hint(
            "run it again in a second; if it stays so, let these credentials do s3:ListBucketMultipartUploads and s3:GetObject",
        )
    }
}

/// What servers lack that keep no objects in parts.
pub(crate) const BEGIN: &str = "it begins no upload in parts (CreateMultipartUpload)";
pub(crate) const ABORT: &str = "it can't give up an upload in parts (AbortMultipartUpload)";
const COMPLETE: &str = "it completes no upload in parts (CompleteMultipartUpload)";
const RANGED: &str = "asked for a part (Range)";
const RANGES: &str = "use another server: one that answers Range: bytes=FIRST-LAST with these bytes";
const BYTES: &str = "see the server's own log, or use another server";
const UNLISTED: &str = "what it has taken does not show in its list (ListObjectsV2)";
const LISTED: &str = "see the server's own log, or use another server: what does not show is never found again";

/// Looks until it is there, for a moment.
pub(crate) async fn looked_for<T, F: Future<Output = Result<T, Refused>>>(
    look: impl FnMut() -> F,
) -> Result<T, Refused> {
    let backoff = ConstantBuilder::default().with_delay(PAUSE).with_max_times(LOOKS - 1);
    look.retry(backoff).when(Refused::is_missing).await
}
