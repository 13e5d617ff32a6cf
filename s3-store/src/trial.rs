//! What a server shows of itself, before anything is sent to it: each thing that publishing and reading will need is done with one small
//! object that nobody takes for a bundle.

use std::time::Duration;

use aws_sdk_s3::types::CompletedPart;
use backon::{ConstantBuilder, Retryable};
use backup_core::digest::Sha256Digest;
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

    /// What the answer to a request with the condition shows, where something is there already.
    fn shown_by<T>(answer: &Result<T, Refused>) -> Self {
        match answer {
            Err(refused) if refused.is_refused_condition() => Self::Heeded,
            Err(refused) if refused.is_lasting() && !refused.is_forbidden() => Self::Refused,
            // Where nothing can be told the condition is asked for, and not relied on.
            _ => Self::Ignored,
        }
    }
}

/// What a server has shown when it was tried.
#[derive(Debug)]
pub(crate) struct Tried {
    /// Conditions when something small is written.
    pub(crate) puts: Condition,
    /// Conditions when an upload is completed.
    pub(crate) completes: Condition,
    /// Whether these credentials may read.
    pub(crate) reads: bool,
    /// Whether a trial was written.
    pub(crate) written: bool,
    /// What could not be tried.
    pub(crate) findings: Vec<Finding>,
}

impl Bucket {
    /// The name of this run's trial, and whether it can be deleted. Where an earlier one can't be, it is the name that all share.
    pub(crate) async fn trial_name(&self, run: &str, now: DateTime<Utc>) -> Result<(String, bool)> {
        let own = format!("{TRIAL}-{}-{run}", now.format(TIME));
        let probed = match self.delete(&own).await {
            Ok(()) => self.sweep(now).await,
            probed => probed,
        };
        match probed {
            Ok(()) => Ok((own, true)),
            Err(refused) if matches!(refused.status, Some(403 | 405 | 501)) => Ok((TRIAL.into(), false)),
            Err(refused) => Err(refused.into()),
        }
    }

    /// Tries everything with an object of this name, which stays.
    ///
    /// # Errors
    /// [`Kind::Refused`] where the server lacks what a bundle needs.
    pub(crate) async fn try_out(&self, file: &str) -> Result<Tried, Refused> {
        let mut findings = Vec::new();
        let mut unseen = |code, refused: &Refused| {
            let finding = Finding::from_error(code, self.address.to_string(), &refused.error);
            findings.push(finding.at_most(Severity::Info).unseen());
        };
        let (puts, completes) = (Condition::Ignored, Condition::Ignored);
        let first = match self.put_under(file, CONTENT.into(), Condition::Heeded).await {
            Err(refused) if refused.is_forbidden() => {
                unseen("not-tried", &refused);
                return Ok(Tried { puts, completes, reads: true, written: false, findings });
            }
            // One that another run has left, or a server that wants no condition.
            Err(refused) if refused.is_lasting() && !refused.is_refused_condition() => {
                self.put(file, CONTENT.into()).await.map(|()| None)?
            }
            Err(refused) if !refused.is_refused_condition() => return Err(refused),
            first => Some(first.is_ok()),
        };
        let (read, listed, begun) =
            tokio::join!(self.try_to_read(file), self.try_to_list(file), self.begin_trial(file));
        let begun = begun?;
        // What may not be seen is no reason to refuse.
        let mut may = |seen: Result<(), Refused>, code| match seen {
            Ok(()) => Ok(true),
            Err(refused) if refused.is_forbidden() => {
                unseen(code, &refused);
                Ok(false)
            }
            Err(refused) => Err(refused),
        };
        let seen = may(read, "not-readable").and_then(|reads| may(listed, "not-listed").map(|_| reads));
        let reads = match seen {
            Ok(reads) => reads,
            Err(refused) => {
                let _ = self.abort(&begun.0).await;
                return Err(refused);
            }
        };
        let completes = self.try_to_complete(begun).await?;
        let puts = match first {
            // It has refused to write over what an earlier run has left.
            Some(false) => Condition::Heeded,
            _ => Condition::shown_by(&self.put_under(file, CONTENT.into(), Condition::Heeded).await),
        };
        Ok(Tried { puts, completes, reads, written: true, findings })
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

    /// Deletes what crashes have left of trials.
    ///
    /// # Errors
    /// Where one can't be deleted.
    async fn sweep(&self, now: DateTime<Utc>) -> Result<(), Refused> {
        // Whether it can be listed shows later.
        let files = self.list_all(TRIAL).await.unwrap_or_default();
        let old = format!("{TRIAL}-{}", (now - OLD).format(TIME));
        for (left, _) in files.iter().filter(|(name, _)| name.as_str() > TRIAL && *name < old) {
            self.delete(left).await?;
        }
        Ok(())
    }

    async fn try_to_list(&self, file: &str) -> Result<(), Refused> {
        let look = || async {
            let files = self.list_all(file).await?;
            let there = files.iter().any(|(name, length)| name == file && *length == CONTENT.len() as u64);
            if there { Ok(()) } else { Err(Refused::missing(self.lacks(UNLISTED, LISTED))) }
        };
        looked_for(look).await
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
    async fn try_to_complete(&self, (begun, part): (Begun, Part)) -> Result<Condition, Refused> {
        let refused = match self.complete(&begun, vec![part.into()], Condition::Heeded).await {
            Ok(_) => return Ok(Condition::Ignored),
            Err(refused) => refused,
        };
        let _ = self.abort(&begun).await;
        // Who may write over nothing at all need not know what the condition says.
        if refused.is_refused_condition() || refused.is_forbidden() || !refused.is_lasting() {
            return Ok(Condition::shown_by::<()>(&Err(refused)));
        }
        let (begun, part) = self.begin_trial(&begun.file).await?;
        if let Err(refused) = self.complete(&begun, vec![CompletedPart::from(part)], Condition::Refused).await {
            let _ = self.abort(&begun).await;
            return Err(self.without(refused, COMPLETE).into());
        }
        // So it was the condition, unless the server failed just then.
        let (begun, part) = self.begin_trial(&begun.file).await?;
        let again = self.complete(&begun, vec![part.into()], Condition::Heeded).await;
        if again.is_err() {
            let _ = self.abort(&begun).await;
        }
        Ok(Condition::shown_by(&again))
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
