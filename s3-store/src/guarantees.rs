//! How the server is to keep a bundle: encryption, retention, legal hold, storage class, tags. A server that ignores one of
//! them says so to nobody, so each is read back.

use aws_sdk_s3::operation::create_multipart_upload::CreateMultipartUploadOutput;
use aws_sdk_s3::operation::create_multipart_upload::builders::CreateMultipartUploadFluentBuilder as Create;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder as Put;
use aws_sdk_s3::primitives::DateTime as SdkTime;
use aws_sdk_s3::types::{
    ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockMode, ObjectLockRetention, ObjectLockRetentionMode,
    ServerSideEncryption, StorageClass, Tag, Tagging,
};
use backup_core::finding::Finding;
use backup_core::store::{RetentionMode, S3Options, ServerEncryption};
use backup_core::{Error, Kind, Result};
use chrono::{DateTime, TimeDelta, Utc};

use crate::bucket::Bucket;
use crate::error::Asked;

/// Asks for all that the options want.
pub(crate) fn ask(request: Create, options: &S3Options, now: DateTime<Utc>) -> Create {
    let lock = options.retention.map(|retention| (mode(retention.mode), until(retention.days, now)));
    let (mode, until) = lock.unzip();
    let class = options.storage_class.as_deref().map(StorageClass::from);
    let kms_key = options.kms_key.clone().filter(|_| options.encryption == Some(ServerEncryption::Kms));
    request
        .set_server_side_encryption(options.encryption.map(encryption))
        .set_ssekms_key_id(kms_key)
        .set_storage_class(class)
        .set_tagging((!options.tags.is_empty()).then(|| tagging(options)))
        .set_object_lock_mode(mode)
        .set_object_lock_retain_until_date(until)
        .set_object_lock_legal_hold_status(options.legal_hold.then_some(ObjectLockLegalHoldStatus::On))
}

/// Whether anything is asked for.
pub(crate) fn any(options: &S3Options) -> bool {
    let S3Options { encryption, retention, legal_hold, storage_class, tags, .. } = options;
    encryption.is_some() || retention.is_some() || *legal_hold || storage_class.is_some() || !tags.is_empty()
}

/// Asks for the encryption that the options want, for what is small: some buckets take nothing without.
pub(crate) fn encrypted(request: Put, options: &S3Options) -> Put {
    let kms_key = options.kms_key.clone().filter(|_| options.encryption == Some(ServerEncryption::Kms));
    request.set_server_side_encryption(options.encryption.map(encryption)).set_ssekms_key_id(kms_key)
}

fn encryption(encryption: ServerEncryption) -> ServerSideEncryption {
    match encryption {
        ServerEncryption::Aes256 => ServerSideEncryption::Aes256,
        ServerEncryption::Kms => ServerSideEncryption::AwsKms,
    }
}

fn mode(mode: RetentionMode) -> ObjectLockMode {
    match mode {
        RetentionMode::Governance => ObjectLockMode::Governance,
        RetentionMode::Compliance => ObjectLockMode::Compliance,
    }
}

fn until(days: u16, now: DateTime<Utc>) -> SdkTime {
    SdkTime::from_secs((now + TimeDelta::days(days.into())).timestamp())
}

/// Tags as a URL's query, which is how they travel.
fn tagging(options: &S3Options) -> String {
    let encoded =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let tags = options.tags.iter().map(|(key, value)| format!("{}={}", encoded(key), encoded(value)));
    tags.collect::<Vec<_>>().join("&")
}

/// Refuses a server that ignores encryption before anything is sent to it.
///
/// # Errors
/// [`Kind::Refused`].
pub(crate) fn check_begun(answer: &CreateMultipartUploadOutput, options: &S3Options, shown: &str) -> Result<()> {
    let Some(wanted) = options.encryption.map(encryption) else { return Ok(()) };
    if answer.server_side_encryption() == Some(&wanted) {
        return Ok(());
    }
    let error = Error::new(Kind::Refused, format!("begin to write {shown}: the server does not encrypt with {wanted}"));
    Err(error.hint("leave s3.encryption out and encrypt bundles with --recipient, or use another server"))
}

/// Asks once more for what did not take effect with the upload and can be had afterwards; some servers want it so. Whether it
/// helped shows when the object is looked at again, so that failures need not be told here. Whether there was a reason to.
pub(crate) async fn amend(bucket: &Bucket, file: &str, head: &HeadObjectOutput, now: DateTime<Utc>) -> bool {
    let (client, name, key) = (&bucket.client, &bucket.address.bucket, bucket.key(file));
    let options = &bucket.options;
    let retention = options.retention.filter(|_| head.object_lock_mode().is_none());
    if let Some(retention) = retention {
        let mode = match retention.mode {
            RetentionMode::Governance => ObjectLockRetentionMode::Governance,
            RetentionMode::Compliance => ObjectLockRetentionMode::Compliance,
        };
        let wanted = ObjectLockRetention::builder().mode(mode).retain_until_date(until(retention.days, now)).build();
        let _ = client.put_object_retention().bucket(name).key(&key).retention(wanted).send().await;
    }
    let hold = options.legal_hold && head.object_lock_legal_hold_status().is_none();
    if hold {
        let wanted = ObjectLockLegalHold::builder().status(ObjectLockLegalHoldStatus::On).build();
        let _ = client.put_object_legal_hold().bucket(name).key(&key).legal_hold(wanted).send().await;
    }
    if !options.tags.is_empty() && !has_tags(bucket, file).await.unwrap_or(false) {
        let tag = |(key, value): (&String, &String)| Tag::builder().key(key).value(value).build().ok();
        let tags = Tagging::builder().set_tag_set(Some(options.tags.iter().filter_map(tag).collect())).build();
        if let Ok(tags) = tags {
            let _ = client.put_object_tagging().bucket(name).key(&key).tagging(tags).send().await;
        }
    }
    retention.is_some() || hold
}

/// Everything that is not as it was asked for, of a bundle that is there.
pub(crate) async fn unmet(bucket: &Bucket, file: &str, head: &HeadObjectOutput, now: DateTime<Utc>) -> Vec<Finding> {
    let options = &bucket.options;
    let shown = bucket.shown(file);
    let mut unmet = Vec::new();
    let mut miss = |code: &str, message: String, hint: &str| {
        unmet.push(Finding::warning(code, &shown, message).hint(hint));
    };
    if let Some(wanted) =
        options.encryption.map(encryption).filter(|wanted| head.server_side_encryption() != Some(wanted))
    {
        miss("not-encrypted-by-server", format!("the server did not encrypt it with {wanted}"), OTHER_SERVER);
    }
    if let Some(retention) = options.retention {
        // A minute for what a server rounds, or its clock is off.
        let wanted = until(retention.days, now).secs() - 60;
        let kept = head.object_lock_retain_until_date().map(SdkTime::secs);
        let same = head.object_lock_mode() == Some(&mode(retention.mode));
        if !same || kept.is_none_or(|kept| kept < wanted) {
            let message =
                "anyone with the permission to delete can delete it: Object Lock did not take effect, or can't be seen";
            miss(
                "not-locked",
                message.into(),
                "enable Object Lock on the bucket, and let these credentials do s3:GetObjectRetention",
            );
        }
    }
    if options.legal_hold && head.object_lock_legal_hold_status() != Some(&ObjectLockLegalHoldStatus::On) {
        let message = "the legal hold did not take effect, or can't be seen";
        miss(
            "not-held",
            message.into(),
            "enable Object Lock on the bucket, and let these credentials do s3:GetObjectLegalHold",
        );
    }
    let class = |class: &StorageClass| class.as_str().to_owned();
    let kept = head.storage_class().map_or_else(|| "STANDARD".into(), class);
    if let Some(wanted) = options.storage_class.as_ref().filter(|wanted| **wanted != kept) {
        miss("other-storage-class", format!("its storage class is {kept}, and not {wanted}"), OTHER_SERVER);
    }
    if !options.tags.is_empty() {
        match has_tags(bucket, file).await {
            Ok(true) => {}
            Ok(false) => miss("not-tagged", "it has not the tags that it was to have".into(), OTHER_SERVER),
            Err(error) => miss("not-tagged", error.chain().join(": "), error.first_hint().unwrap_or(OTHER_SERVER)),
        }
    }
    unmet
}

const OTHER_SERVER: &str = "leave the option out of the settings, or use a server that knows it";

async fn has_tags(bucket: &Bucket, file: &str) -> Result<bool> {
    let asked = Asked::new(format!("look at the tags of {}", bucket.shown(file)), "s3:GetObjectTagging");
    let request = bucket.client.get_object_tagging().bucket(&bucket.address.bucket).key(bucket.key(file));
    let answer = request.send().await.map_err(|cause| asked.failed(cause))?;
    let has =
        |(key, value): (&String, &String)| answer.tag_set().iter().any(|tag| tag.key() == key && tag.value() == value);
    Ok(bucket.options.tags.iter().all(has))
}

/// Until when nobody can delete an object.
pub(crate) fn locked_until(head: &HeadObjectOutput) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(head.object_lock_retain_until_date()?.secs(), 0)
}
