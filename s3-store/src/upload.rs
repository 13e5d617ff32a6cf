//! A multipart upload: parts leave as soon as they are full, several at once, and appear only when all are there.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_s3::types::CompletedPart;
use backup_core::digest::Sha256Digest;
use backup_core::names::FileName;
use backup_core::store::{Published, Upload};
use backup_core::{Context, Error, Kind, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::bucket::{Begun, Bucket};
use crate::publish::Ends;
use crate::runtime::Own;
use crate::trial::Condition;

const MIB: usize = 1 << 20;
/// The first parts, in MiB. S3 takes no part under 5 MiB but the last.
const PART: usize = 8;
/// After so many parts they are twice as long, for there may be 10,000: 8 TiB in all, where S3 ends at 5 TiB. Some servers
/// want all parts of one length; they get them up to 8 GiB.
const STEP: usize = 1000;
/// MiB on their way at once: 16 parts, or one where it alone is longer.
const BUDGET: usize = 128;
/// How long it may take to give an upload up: whoever ended the program waits for it.
const FAREWELL: Duration = Duration::from_secs(4);

/// MiB of the part with this number, counted from 0.
fn part_mib(number: usize) -> usize {
    PART * times_as_long(number) as usize
}

/// How many times as long as the first part the one with this number is.
pub(crate) fn times_as_long(number: usize) -> u32 {
    1 << (number / STEP)
}

/// A bundle on its way.
pub(crate) struct Multipart {
    sender: Sender,
    context: Context,
    name: FileName,
    /// The part that is being filled.
    part: Vec<u8>,
    parts: usize,
    ends: Ends,
    over: bool,
}

/// What sends parts, shared by all that are on their way.
#[derive(Clone)]
pub(crate) struct Sender {
    own: Arc<Own>,
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) begun: Arc<Begun>,
    /// What the server makes of the condition that nothing is written over.
    pub(crate) condition: Condition,
    /// A permit for each MiB that is on its way.
    budget: Arc<Semaphore>,
    given_up: CancellationToken,
    sent: Arc<Mutex<Sent>>,
}

#[derive(Default)]
struct Sent {
    parts: Vec<Part>,
    failed: Option<Error>,
}

/// A part that the server has.
pub(crate) struct Part {
    /// Its number, counted from 0.
    pub(crate) number: usize,
    /// What the server calls its content.
    pub(crate) e_tag: Option<String>,
    /// SHA-256 of it.
    pub(crate) digest: Sha256Digest,
}

impl Multipart {
    pub(crate) fn new(
        own: Arc<Own>,
        bucket: Arc<Bucket>,
        (begun, condition): (Begun, Condition),
        name: FileName,
        context: Context,
    ) -> Self {
        let sender = Sender {
            own,
            bucket,
            begun: Arc::new(begun),
            condition,
            budget: Arc::new(Semaphore::new(BUDGET)),
            given_up: CancellationToken::new(),
            sent: Arc::default(),
        };
        Self { sender, context, name, part: Vec::new(), parts: 0, ends: Ends::default(), over: false }
    }

    /// Sends what is gathered, once there is room for it among what is on its way.
    fn send(&mut self) -> Result<()> {
        let number = self.parts;
        let permits = u32::try_from(part_mib(number).min(BUDGET)).unwrap_or(1);
        let part = Bytes::from(std::mem::take(&mut self.part));
        self.parts += 1;
        let sender = self.sender.clone();
        self.sender.own.wait(async move {
            let room = sender.budget.clone().acquire_many_owned(permits).await;
            sender.check()?;
            let own = sender.own.clone();
            own.spawn(async move {
                sender.keep(number, part).await;
                drop(room);
            });
            Ok(())
        })
    }
}

impl Sender {
    fn sent(&self) -> std::sync::MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first failure of those that were sent, which nobody has had yet.
    fn check(&self) -> Result<()> {
        if self.given_up.is_cancelled() {
            return Err(Error::new(Kind::Failed, format!("write {}: it was given up", self.shown())));
        }
        self.sent().failed.take().map_or(Ok(()), Err)
    }

    pub(crate) fn shown(&self) -> String {
        self.bucket.shown(&self.begun.file)
    }

    async fn keep(&self, number: usize, part: Bytes) {
        let put = async {
            let digest = Sha256Digest(Sha256::digest(&part).into());
            let e_tag = self.bucket.put_part(&self.begun, number, part, digest).await?;
            Ok(Part { number, e_tag, digest })
        };
        tokio::select! {
            () = self.given_up.cancelled() => {}
            put = put => match put {
                Ok(part) => self.sent().parts.push(part),
                Err(error) => self.sent().failed = Some(error),
            }
        }
    }

    /// Waits until nothing is on its way any more.
    async fn idle(&self) {
        // It is never closed; what it gives is given back at once.
        let _ = self.budget.acquire_many(BUDGET as u32).await;
    }

    /// Waits until the server has all parts, and gives them in their order.
    async fn all_sent(&self, parts: usize) -> Result<Vec<Part>> {
        self.idle().await;
        self.check()?;
        let mut sent = std::mem::take(&mut self.sent().parts);
        sent.sort_by_key(|part| part.number);
        if sent.len() != parts {
            return Err(Error::new(Kind::Failed, format!("publish {}: not all parts were sent", self.shown())));
        }
        Ok(sent)
    }

    /// Stops what is on its way, and lets the server forget what it has.
    fn give_up(&self) {
        self.given_up.cancel();
        let sender = self.clone();
        // Where it can't be forgotten now, a later run cleans up.
        let _ = self.own.finish(async move {
            let forget = async {
                sender.idle().await;
                sender.bucket.abort(&sender.begun).await.map(drop)
            };
            tokio::time::timeout(FAREWELL, forget).await.unwrap_or(Ok(()))
        });
    }
}

impl Write for Multipart {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let full = part_mib(self.parts) * MIB;
        if self.part.capacity() == 0 {
            self.part.reserve_exact(full);
        }
        let taken = bytes.len().min(full - self.part.len());
        self.part.extend_from_slice(&bytes[..taken]);
        self.ends.sent(&bytes[..taken]);
        if self.part.len() == full {
            self.send().map_err(io::Error::other)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sender.check().map_err(io::Error::other)
    }
}

impl Upload for Multipart {
    fn abandon(&self) -> Box<dyn FnOnce() + Send> {
        let sender = self.sender.clone();
        Box::new(move || sender.give_up())
    }

    fn publish(mut self: Box<Self>, digest: &Sha256Digest) -> Result<Published> {
        if !self.part.is_empty() || self.parts == 0 {
            self.send()?;
        }
        let (sender, ends, name, digest) = (self.sender.clone(), self.ends.clone(), self.name.clone(), *digest);
        let (parts, now) = (self.parts, self.context.now());
        let all = sender.clone();
        let sent = self.sender.own.wait(async move { all.all_sent(parts).await })?;
        // From here on it may show, and what shows is brought to its end.
        let published = self.sender.own.finish(async move { sender.publish(sent, ends, (&name, &digest), now).await });
        self.over = published.is_ok();
        published
    }
}

impl Drop for Multipart {
    fn drop(&mut self) {
        if !self.over {
            self.sender.give_up();
        }
    }
}

impl From<Part> for CompletedPart {
    fn from(part: Part) -> Self {
        Self::builder()
            .part_number(part.number as i32 + 1)
            .set_e_tag(part.e_tag)
            .checksum_sha256(BASE64_STANDARD.encode(part.digest.0))
            .build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_parts_hold_the_longest_object_and_are_few_at_once() {
        let all: usize = (0..10_000).map(part_mib).sum();
        assert!(all * MIB >= 5 << 40);
        assert!((0..STEP).all(|number| part_mib(number) * 16 == BUDGET));
        assert!(part_mib(9_999) * MIB <= 5 << 30, "S3 takes no longer part");
    }
}
