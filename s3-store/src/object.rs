//! An object as bytes that can be read at any place.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use aws_sdk_s3::config::Builder;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::primitives::ByteStream;
use backon::{ExponentialBuilder, Retryable};
use backup_core::bundle::reader::ReadAt;
use backup_core::{Error, Kind, Result};
use bytes::{Bytes, BytesMut};

use crate::bucket::Bucket;
use crate::error::{Asked, Refused, status};
use crate::runtime::Own;

/// What is read with the first request: footer and manifest of most bundles, and all of a small one.
const TAIL: u64 = 256 << 10;
/// The least that a request is worth; what comes after what was asked for is asked for next, more often than not.
const LEAST: u64 = 64 << 10;
/// Reads at once: each waits for the way there and back most of its time.
const READERS: usize = 16;
/// Times that a body is read which breaks off. To have requests answered is the SDK's work.
const ATTEMPTS: usize = 4;

/// An object, open.
pub(crate) struct Object {
    own: Arc<Own>,
    bucket: Arc<Bucket>,
    file: String,
    length: u64,
    /// Tells the object from another one that takes its place.
    e_tag: Option<String>,
    /// Its beginning and its end, as far as they were read.
    head: std::sync::OnceLock<Bytes>,
    tail: Bytes,
}

impl Object {
    pub(crate) fn open(own: Arc<Own>, bucket: Arc<Bucket>, file: String) -> Result<Self> {
        let (opened, name) = (bucket.clone(), file.clone());
        let tail = own.wait(async move { Ok(whole(|| opened.tail(&name, TAIL)).await?) })?;
        let Tail { bytes, length, e_tag } = tail;
        Ok(Self { own, bucket, file, length, e_tag, head: std::sync::OnceLock::new(), tail: bytes })
    }

    fn fetch(&self, offset: u64, length: u64) -> Result<Bytes> {
        let (bucket, file, e_tag) = (self.bucket.clone(), self.file.clone(), self.e_tag.clone());
        self.own.wait(async move { Ok(whole(|| bucket.range(&file, offset, length, e_tag.as_deref())).await?) })
    }
}

/// Reads a body until it comes to its end.
pub(crate) async fn whole<T, F: Future<Output = Result<T, Refused>>>(read: impl FnMut() -> F) -> Result<T, Refused> {
    let backoff = ExponentialBuilder::default().with_jitter().with_min_delay(Duration::from_millis(200));
    read.retry(backoff.with_max_times(ATTEMPTS - 1)).when(is_broken_off).await
}

/// A body that did not come to its end, which is worth another try; all else was tried again already.
fn is_broken_off(refused: &Refused) -> bool {
    let error = &refused.error;
    error.kind() == Kind::Failed && error.chain().iter().any(|cause| cause.contains(BROKEN_OFF))
}

const BROKEN_OFF: &str = "the answer broke off";

impl ReadAt for Object {
    fn length(&self) -> io::Result<u64> {
        Ok(self.length)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let wanted = buffer.len() as u64;
        let end = offset.checked_add(wanted).filter(|end| *end <= self.length).ok_or(io::ErrorKind::UnexpectedEof)?;
        if wanted == 0 {
            return Ok(());
        }
        let tail = self.length - self.tail.len() as u64;
        let mut copy = |bytes: &[u8], from: u64| {
            buffer.copy_from_slice(&bytes[from as usize..][..wanted as usize]);
        };
        if offset >= tail {
            copy(&self.tail, offset - tail);
            return Ok(());
        }
        if let Some(head) = self.head.get().filter(|head| end <= head.len() as u64) {
            copy(head, offset);
            return Ok(());
        }
        let length = wanted.max(LEAST).min(self.length - offset);
        let bytes = self.fetch(offset, length).map_err(io::Error::other)?;
        copy(&bytes, 0);
        if offset == 0 && length == LEAST {
            // Two that come at once read the same.
            let _ = self.head.set(bytes);
        }
        Ok(())
    }

    fn readers(&self) -> usize {
        READERS
    }
}

impl Bucket {
    /// The end of an object, by which it is opened: at most `most` bytes of it. Asked for as its last bytes, which is one request; by its
    /// length where the server has no such answer, or a wrong one.
    pub(crate) async fn tail(&self, file: &str, most: u64) -> Result<Tail, Refused> {
        if self.no_suffixes.load(Relaxed) {
            return self.tail_by_length(file, most).await;
        }
        let refused = match self.tail_by_suffix(file, most).await {
            Ok(tail) => return Ok(tail),
            Err(refused) if refused.is_missing() || refused.is_forbidden() => return Err(refused),
            Err(refused) => refused,
        };
        match self.tail_by_length(file, most).await {
            Ok(tail) => {
                // Nobody has last bytes of an empty object.
                self.no_suffixes.fetch_or(tail.length > 0, Relaxed);
                Ok(tail)
            }
            Err(second) if second.is_missing() || second.is_forbidden() => Err(second),
            // The answer to a HEAD says less.
            Err(_) => Err(refused),
        }
    }

    async fn tail_by_suffix(&self, file: &str, most: u64) -> Result<Tail, Refused> {
        let asked = Asked::new(format!("open {}", self.shown(file)), "s3:GetObject");
        let request = self.client.get_object().bucket(&self.address.bucket).key(self.key(file));
        // What fails is not asked for again: there is another way.
        let once = Builder::new().retry_config(RetryConfig::disabled());
        let answer = request.range(format!("bytes=-{most}")).customize().config_override(once).send().await;
        let answer = answer.map_err(|cause| asked.refused(cause))?;
        let (e_tag, range) = (answer.e_tag().map(Into::into), answer.content_range().map(Span::of));
        let bytes = collect(answer.body, most, &asked).await?;
        let length = match range {
            Some(Some(range)) if range.ends_at_the_end() && range.length() == bytes.len() as u64 => range.total,
            // Servers may give a small object whole, and then name no range.
            None if (bytes.len() as u64) < most => bytes.len() as u64,
            _ => {
                let error = Error::new(Kind::Failed, &asked.doing);
                return Err(error.because("the server gives other bytes than an object's last ones").into());
            }
        };
        Ok(Tail { bytes, length, e_tag })
    }

    async fn tail_by_length(&self, file: &str, most: u64) -> Result<Tail, Refused> {
        let missing = || Error::new(Kind::NotFound, format!("open {}", self.shown(file)));
        let head = self.head(file).await?.ok_or_else(|| Refused::missing(missing()))?;
        let length = head.content_length().and_then(|length| u64::try_from(length).ok()).ok_or_else(|| {
            let error = Error::new(Kind::Failed, format!("open {}", self.shown(file)));
            error.because("the server does not say how long it is (s3:GetObject)")
        })?;
        let (e_tag, last) = (head.e_tag().map(Into::into), length.min(most));
        let bytes = match last {
            0 => Bytes::new(),
            _ => self.range(file, length - last, last, head.e_tag()).await?,
        };
        Ok(Tail { bytes, length, e_tag })
    }

    /// `length` bytes of the object that has this tag, from `offset` on. They end where the object does, or before.
    pub(crate) async fn range(
        &self,
        file: &str,
        offset: u64,
        length: u64,
        e_tag: Option<&str>,
    ) -> Result<Bytes, Refused> {
        let asked = Asked::new(format!("read {}", self.shown(file)), "s3:GetObject");
        let request = self.client.get_object().bucket(&self.address.bucket).key(self.key(file));
        let range = format!("bytes={offset}-{}", offset + length - 1);
        let answer = request.range(range).set_if_match(e_tag.map(Into::into)).send().await;
        let answer = answer.map_err(|cause| match status(&cause) {
            Some(412) => Error::new(Kind::Failed, &asked.doing).because("another object has taken its place").into(),
            _ => asked.refused(cause),
        })?;
        let begins = answer.content_range().and_then(Span::of).map(|range| range.first);
        let bytes = collect(answer.body, length, &asked).await?;
        let error = Error::new(Kind::Failed, &asked.doing);
        if begins.is_some_and(|first| first != offset) {
            return Err(error.because("the server gives other bytes than those that were asked for").into());
        }
        if bytes.len() as u64 == length {
            return Ok(bytes);
        }
        let said = format!("{BROKEN_OFF}: {} bytes came, and {length} were asked for", bytes.len());
        Err(error.because(said).into())
    }
}

/// The end of an object.
pub(crate) struct Tail {
    pub(crate) bytes: Bytes,
    /// Of the whole object.
    pub(crate) length: u64,
    /// Tells it from another one that takes its place.
    pub(crate) e_tag: Option<String>,
}

/// Which bytes an answer says that it has: `bytes 0-9/10`.
struct Span {
    first: u64,
    last: u64,
    total: u64,
}

impl Span {
    fn of(said: &str) -> Option<Self> {
        let (range, total) = said.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let span = Self { first: first.parse().ok()?, last: last.parse().ok()?, total: total.parse().ok()? };
        (span.first <= span.last && span.last < span.total).then_some(span)
    }

    fn length(&self) -> u64 {
        self.last - self.first + 1
    }

    fn ends_at_the_end(&self) -> bool {
        self.last + 1 == self.total
    }
}

/// All of a body, which must be no longer than `most`: a server may ignore what was asked for.
pub(crate) async fn collect(mut body: ByteStream, most: u64, asked: &Asked) -> Result<Bytes> {
    let mut all = BytesMut::new();
    while let Some(part) = body.next().await {
        let part = part.map_err(|cause| {
            Error::new(Kind::Failed, &asked.doing)
                .because(format!("{BROKEN_OFF}: {}", innermost(&cause)))
                .hint("look after the network between here and the server, and run it again")
        })?;
        if (all.len() + part.len()) as u64 > most {
            let error = Error::new(Kind::Failed, &asked.doing);
            return Err(error.because(format!("the server sends more than the {most} bytes that were asked for")));
        }
        all.extend_from_slice(&part);
    }
    Ok(all.freeze())
}

fn innermost(cause: &(dyn std::error::Error + 'static)) -> String {
    let mut layer = cause;
    while let Some(deeper) = layer.source() {
        layer = deeper;
    }
    layer.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_that_can_not_be_is_none() {
        let ends = |said| Span::of(said).map(|span| (span.length(), span.ends_at_the_end()));
        assert_eq!(ends("bytes 0-9/10"), Some((10, true)));
        assert_eq!(ends("bytes 3-3/10"), Some((1, false)));
        for said in ["", "bytes */10", "bytes 0-9/*", "bytes 5-3/10", "bytes 0-10/10", "items 0-9/10", "bytes -1-9/10"]
        {
            assert_eq!(ends(said), None, "{said}");
        }
    }
}
