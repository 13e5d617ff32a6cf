//! An object as bytes that can be read at any place.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use backon::{ExponentialBuilder, Retryable};
use backup_core::bundle::reader::ReadAt;
use backup_core::{Error, Kind, Result};
use bytes::{Bytes, BytesMut};

use crate::bucket::Bucket;
use crate::error::{Asked, status};
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
        let (tail, length, e_tag) = own.wait(async move { whole(|| opened.tail(&name)).await })?;
        Ok(Self { own, bucket, file, length, e_tag, head: std::sync::OnceLock::new(), tail })
    }

    fn fetch(&self, offset: u64, length: u64) -> Result<Bytes> {
        let (bucket, file, e_tag) = (self.bucket.clone(), self.file.clone(), self.e_tag.clone());
        self.own.wait(async move {
            let range = format!("bytes={offset}-{}", offset + length - 1);
            whole(|| bucket.range(&file, &range, e_tag.as_deref(), length)).await
        })
    }
}

/// Reads a body until it comes to its end.
pub(crate) async fn whole<T, F: Future<Output = Result<T>>>(read: impl FnMut() -> F) -> Result<T> {
    let backoff = ExponentialBuilder::default().with_jitter().with_min_delay(Duration::from_millis(200));
    read.retry(backoff.with_max_times(ATTEMPTS - 1)).when(is_broken_off).await
}

/// A body that did not come to its end, which is worth another try; all else was tried again already.
fn is_broken_off(error: &Error) -> bool {
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
    /// The last bytes of an object, its length, and what tells it from another one.
    async fn tail(&self, file: &str) -> Result<(Bytes, u64, Option<String>)> {
        let asked = Asked::new(format!("open {}", self.shown(file)), "s3:GetObject");
        let request = self.client.get_object().bucket(&self.address.bucket).key(self.key(file));
        match request.range(format!("bytes=-{TAIL}")).send().await {
            Ok(answer) => {
                let e_tag = answer.e_tag().map(Into::into);
                // Servers may give a small object whole, and then name no range.
                let total = answer.content_range().and_then(|range| range.rsplit_once('/')?.1.parse().ok());
                let bytes = collect(answer.body, TAIL, &asked).await?;
                let length = total.unwrap_or(bytes.len() as u64);
                if length < bytes.len() as u64 {
                    let error = Error::new(Kind::Failed, &asked.doing);
                    return Err(error.because("the server contradicts itself about its length"));
                }
                Ok((bytes, length, e_tag))
            }
            // An empty object has no last bytes.
            Err(cause) if status(&cause) == Some(416) => Ok((Bytes::new(), 0, None)),
            Err(cause) => Err(asked.failed(cause)),
        }
    }

    async fn range(&self, file: &str, range: &str, e_tag: Option<&str>, length: u64) -> Result<Bytes> {
        let asked = Asked::new(format!("read {}", self.shown(file)), "s3:GetObject");
        let request = self.client.get_object().bucket(&self.address.bucket).key(self.key(file));
        let answer = request.range(range).set_if_match(e_tag.map(Into::into)).send().await;
        let answer = answer.map_err(|cause| match status(&cause) {
            Some(412) => Error::new(Kind::Failed, &asked.doing).because("another object has taken its place"),
            _ => asked.failed(cause),
        })?;
        let bytes = collect(answer.body, length, &asked).await?;
        if bytes.len() as u64 == length {
            return Ok(bytes);
        }
        let said = format!("{BROKEN_OFF}: {} bytes came, and {length} were asked for", bytes.len());
        Err(Error::new(Kind::Failed, &asked.doing).because(said))
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
