//! What is asked of the server, one request a function.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, MultipartUpload, ObjectLockEnabled,
};
use backup_core::Result;
use backup_core::digest::Sha256Digest;
use backup_core::names::FileName;
use backup_core::store::{Leftover, S3Address, S3Options, SMALL, Stored, bundles};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::error::{Asked, Refused, status};
use crate::guarantees;
use crate::signature::SignedAs;
use crate::trial::{ABORT, BEGIN, Condition, TRIAL};

/// A name that no bundle will have, to try whether one could be written.
pub(crate) const BUNDLE: &str = "orchestrator_backup_19700101T000000Z.tgz";
/// What bundles are, as far as anybody on the way is to know: bytes, which none must unpack. Servers that are told nothing guess by the
/// name, and may take the gzip of `.tgz` for a coding of the way.
const TYPE: &str = "application/octet-stream";

/// A bucket, the prefix in it, and who talks to it.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    pub(crate) client: Client,
    pub(crate) address: S3Address,
    pub(crate) options: S3Options,
    /// Whether others on the way to the server could read along.
    pub(crate) open_to_others: bool,
    /// How many times as long as other requests those may take on which the server has to work.
    pub(crate) work: u32,
    /// Whether the server was seen to give no last bytes of an object whose length it is not told.
    pub(crate) no_suffixes: Arc<AtomicBool>,
}

/// An upload that was begun.
#[derive(Debug, Clone)]
pub(crate) struct Begun {
    pub(crate) file: String,
    pub(crate) upload_id: String,
}

impl Bucket {
    pub(crate) fn key(&self, file: &str) -> String {
        match self.address.prefix.as_str() {
            "" => file.into(),
            prefix => format!("{prefix}/{file}"),
        }
    }

    /// The same bucket for trials.
    pub(crate) fn hasty(&self) -> Self {
        Self { client: crate::client::hasty(&self.client), work: 1, ..self.clone() }
    }

    /// The address of something in the bucket.
    pub(crate) fn shown(&self, file: &str) -> String {
        format!("s3://{}/{}", self.address.bucket, self.key(file))
    }

    /// What there is to say of an object; none where it is not there.
    pub(crate) async fn head(&self, file: &str) -> Result<Option<HeadObjectOutput>, Refused> {
        let asked = Asked::new(format!("look at {}", self.shown(file)), "s3:GetObject");
        match self.client.head_object().bucket(&self.address.bucket).key(self.key(file)).send().await {
            Ok(head) => Ok(Some(head)),
            Err(cause) if status(&cause) == Some(404) => Ok(None),
            Err(cause) => Err(asked.refused(cause)),
        }
    }

    /// Begins an upload of a bundle.
    ///
    /// # Errors
    /// Where the server can't keep it as the options want, beside all others.
    pub(crate) async fn create(&self, file: &str, now: DateTime<Utc>) -> Result<Begun> {
        let shown = if file == BUNDLE { self.address.to_string() } else { self.shown(file) };
        let asked = Asked::new(format!("begin to write {shown}"), "s3:PutObject");
        let request = self.client.create_multipart_upload().bucket(&self.address.bucket).key(self.key(file));
        let request = request.checksum_algorithm(ChecksumAlgorithm::Sha256).content_type(TYPE);
        let request = guarantees::ask(request, &self.options, now);
        let answer = request.send().await.map_err(|cause| self.without(asked.refused(cause), BEGIN))?;
        let begun = Begun { file: file.into(), upload_id: answer.upload_id().unwrap_or_default().into() };
        if let Err(error) = guarantees::check_begun(&answer, &self.options, &shown) {
            // What was begun shows to nobody, and a lifecycle rule ends it where this does not.
            let _ = self.abort(&begun).await;
            return Err(error);
        }
        Ok(begun)
    }

    /// Begins an upload of something of no worth, that nothing has to keep.
    pub(crate) async fn begin_plain(&self, file: &str) -> Result<Begun> {
        let asked = Asked::new(format!("begin to write {}", self.shown(file)), "s3:PutObject");
        let request = self.client.create_multipart_upload().bucket(&self.address.bucket).key(self.key(file));
        let answer = request.checksum_algorithm(ChecksumAlgorithm::Sha256).send().await;
        let answer = answer.map_err(|cause| self.without(asked.refused(cause), BEGIN))?;
        Ok(Begun { file: file.into(), upload_id: answer.upload_id().unwrap_or_default().into() })
    }

    /// Lets the server forget an upload; whether it knew it still.
    pub(crate) async fn abort(&self, begun: &Begun) -> Result<bool> {
        let asked = Asked::new(format!("give up the upload of {}", self.shown(&begun.file)), "s3:AbortMultipartUpload");
        let request = self.client.abort_multipart_upload().bucket(&self.address.bucket).key(self.key(&begun.file));
        match request.upload_id(&begun.upload_id).send().await {
            Ok(_) => Ok(true),
            Err(cause) if status(&cause) == Some(404) => Ok(false),
            Err(cause) => Err(self.without(asked.refused(cause), ABORT)),
        }
    }

    /// Uploads a part, numbered from 0; gives what the server calls its content.
    pub(crate) async fn put_part(
        &self,
        begun: &Begun,
        number: usize,
        part: Bytes,
        digest: Sha256Digest,
    ) -> Result<Option<String>> {
        let doing = format!("upload part {} of {}", number + 1, self.shown(&begun.file));
        let asked = Asked::new(doing, "s3:PutObject");
        let request = self.client.upload_part().bucket(&self.address.bucket).key(self.key(&begun.file));
        let request = request.upload_id(&begun.upload_id).part_number(number as i32 + 1);
        let request = request.checksum_sha256(BASE64_STANDARD.encode(digest.0)).body(ByteStream::from(part));
        let request = request
            .customize()
            .interceptor(SignedAs(digest))
            .config_override(crate::client::patient(&self.options, self.work * crate::upload::times_as_long(number)));
        let answer = request.send().await.map_err(|cause| asked.failed(cause))?;
        Ok(answer.e_tag().map(Into::into))
    }

    /// Completes an upload under its name; with the condition, unless something has it.
    pub(crate) async fn complete(
        &self,
        begun: &Begun,
        parts: Vec<CompletedPart>,
        condition: Condition,
    ) -> Result<Completed, Refused> {
        let asked = Asked::new(format!("publish {}", self.shown(&begun.file)), "s3:PutObject");
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self.client.complete_multipart_upload().bucket(&self.address.bucket).key(self.key(&begun.file));
        let request = request.upload_id(&begun.upload_id).multipart_upload(parts);
        let request = request.set_if_none_match(condition.asked());
        match request.customize().config_override(crate::client::patient(&self.options, self.work)).send().await {
            Ok(answer) => Ok(Completed { checksum: answer.checksum_sha256().map(Into::into) }),
            Err(cause) => Err(asked.refused(cause)),
        }
    }

    /// Writes something small, in place of what is there.
    pub(crate) async fn put(&self, file: &str, content: Vec<u8>) -> Result<(), Refused> {
        self.put_under(file, content, Condition::Refused).await
    }

    /// Writes something small where nothing is, as far as the server sees to that; whether it was written.
    pub(crate) async fn put_new(&self, file: &str, content: Vec<u8>, condition: Condition) -> Result<bool, Refused> {
        match self.put_under(file, content, condition).await {
            Ok(()) => Ok(true),
            Err(refused) if refused.is_taken() => Ok(false),
            Err(refused) => Err(refused),
        }
    }

    /// Writes something small under a condition.
    pub(crate) async fn put_under(&self, file: &str, content: Vec<u8>, condition: Condition) -> Result<(), Refused> {
        let asked = Asked::new(format!("write {}", self.shown(file)), "s3:PutObject");
        let request = self.client.put_object().bucket(&self.address.bucket).key(self.key(file));
        // Buckets with a default retention demand a digest of everything.
        let request = request.checksum_algorithm(ChecksumAlgorithm::Sha256).content_type(TYPE);
        let request = guarantees::encrypted(request, &self.options).set_if_none_match(condition.asked());
        request.body(ByteStream::from(content)).send().await.map(drop).map_err(|cause| asked.refused(cause))
    }

    /// Reads something small, if it is there.
    pub(crate) async fn get(&self, file: &str) -> Result<Option<Bytes>, Refused> {
        let asked = Asked::new(format!("read {}", self.shown(file)), "s3:GetObject");
        match self.client.get_object().bucket(&self.address.bucket).key(self.key(file)).send().await {
            Ok(answer) => crate::object::collect(answer.body, SMALL, &asked).await.map(Some).map_err(Into::into),
            Err(cause) if status(&cause) == Some(404) && !is_missing_bucket(&cause) => Ok(None),
            Err(cause) => Err(asked.refused(cause)),
        }
    }

    pub(crate) async fn delete(&self, file: &str) -> Result<(), Refused> {
        let asked = Asked::new(format!("delete {}", self.shown(file)), "s3:DeleteObject");
        match self.client.delete_object().bucket(&self.address.bucket).key(self.key(file)).send().await {
            Ok(_) => Ok(()),
            Err(cause) if status(&cause) == Some(404) && !is_missing_bucket(&cause) => Ok(()),
            Err(cause) => Err(asked.refused(cause)),
        }
    }

    /// The bundles, in the order of their names.
    pub(crate) async fn list(&self) -> Result<Vec<Stored>> {
        Ok(bundles(self.list_all("").await?))
    }

    /// Names and lengths of all objects whose names begin with `names`.
    pub(crate) async fn list_all(&self, names: &str) -> Result<Vec<(String, u64)>, Refused> {
        match self.list_below(names).await {
            // Some buckets list whole directories alone.
            Err(refused) if refused.status == Some(400) && !names.is_empty() => {
                let mut files = self.list_below("").await?;
                files.retain(|(name, _)| name.starts_with(names));
                Ok(files)
            }
            listed => listed,
        }
    }

    async fn list_below(&self, names: &str) -> Result<Vec<(String, u64)>, Refused> {
        let asked = Asked::new(format!("list {}", self.address), "s3:ListBucket");
        let request = self.client.list_objects_v2().bucket(&self.address.bucket).prefix(self.key(names)).delimiter("/");
        let mut pages = request.into_paginator().send();
        let mut files = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|cause| asked.refused(cause))?;
            files.extend(page.contents().iter().filter_map(|object| {
                let name = object.key()?.strip_prefix(&self.key(""))?;
                Some((name.to_owned(), u64::try_from(object.size()?).ok()?))
            }));
        }
        Ok(files)
    }

    /// Uploads of bundles that were begun and are neither complete nor given up.
    pub(crate) async fn uploads(&self) -> Result<Vec<Leftover>> {
        let asked = Asked::new(format!("list the uploads into {}", self.address), "s3:ListBucketMultipartUploads");
        let mut uploads = Vec::new();
        let (mut key, mut id) = (None::<String>, None::<String>);
        loop {
            let request = self.client.list_multipart_uploads().bucket(&self.address.bucket).prefix(self.key(""));
            let page = request.set_key_marker(key.clone()).set_upload_id_marker(id.clone()).send().await;
            let page = page.map_err(|cause| asked.failed(cause))?;
            uploads.extend(page.uploads().iter().filter_map(|upload| self.leftover(upload)));
            let next = (page.next_key_marker().map(Into::into), page.next_upload_id_marker().map(Into::into));
            // A server that gives the same page for ever has said all that it has to say.
            if page.is_truncated() != Some(true) || next.0.is_none() || next == (key, id) {
                return Ok(uploads);
            }
            (key, id) = next;
        }
    }

    fn leftover(&self, upload: &MultipartUpload) -> Option<Leftover> {
        let name = upload.key()?.strip_prefix(&self.key(""))?;
        if name.parse::<FileName>().is_err() && !name.starts_with(TRIAL) {
            return None;
        }
        let begun = upload.initiated().and_then(|time| DateTime::from_timestamp(time.secs(), 0));
        Some(Leftover { name: format!("{name}{SEPARATOR}{}", upload.upload_id()?), begun })
    }

    /// Whether the bucket has Object Lock.
    pub(crate) async fn locks(&self) -> Result<bool> {
        let doing = format!("look whether s3://{} has Object Lock", self.address.bucket);
        let asked = Asked::new(doing, "s3:GetBucketObjectLockConfiguration");
        match self.client.get_object_lock_configuration().bucket(&self.address.bucket).send().await {
            Ok(answer) => {
                let enabled = answer.object_lock_configuration().and_then(|lock| lock.object_lock_enabled());
                Ok(enabled == Some(&ObjectLockEnabled::Enabled))
            }
            Err(cause) if status(&cause) == Some(404) && !is_missing_bucket(&cause) => Ok(false),
            Err(cause) => Err(asked.failed(cause)),
        }
    }
}

/// What stands between a file's name and its upload's in a leftover's.
const SEPARATOR: char = '?';

/// The upload that a leftover's name stands for.
pub(crate) fn upload_of(leftover: &Leftover) -> Begun {
    let (file, upload_id) = leftover.name.split_once(SEPARATOR).unwrap_or((&leftover.name, ""));
    Begun { file: file.into(), upload_id: upload_id.into() }
}

/// An upload that is complete, with the server's digest of the digests of its parts, if it says it.
pub(crate) struct Completed {
    pub(crate) checksum: Option<String>,
}

fn is_missing_bucket<E: ProvideErrorMetadata>(cause: &SdkError<E, HttpResponse>) -> bool {
    cause.code() == Some("NoSuchBucket")
}
