//! A bucket as a store.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use backup_core::bundle::reader::ReadAt;
use backup_core::finding::{Finding, Severity};
use backup_core::names::FileName;
use backup_core::store::{BESIDE, ClaimName, Leftover, S3Address, S3Options, Store, Stored, Upload};
use backup_core::{Context, Error, Kind, Result};
use chrono::{DateTime, Utc};

use crate::bucket::{BUNDLE, Bucket, upload_of};
use crate::client;
use crate::object::{Object, whole};
use crate::runtime::Own;
use crate::trial::{Condition, Tried};
use crate::upload::Multipart;

/// Bundles in a bucket.
pub struct S3 {
    address: S3Address,
    options: S3Options,
    endpoint: Option<String>,
    trusted: Option<Vec<u8>>,
    context: Context,
    own: Arc<Own>,
    /// Made when it is needed first.
    bucket: OnceLock<Arc<Bucket>>,
    /// Whether the bucket has Object Lock, as far as we may know.
    locks: OnceLock<bool>,
    /// What the server has shown when it was tried, once for all that follows.
    tried: Mutex<Option<Arc<Tried>>>,
}

/// How long it may take to take the trial away when the program was asked to stop.
const FAREWELL: Duration = Duration::from_secs(4);

impl S3 {
    /// The store at an address.
    ///
    /// # Errors
    /// [`Kind::Usage`] where the options make no sense, or their certificates can't be read.
    pub fn new(address: &S3Address, options: &S3Options, context: &Context) -> Result<Self> {
        let trusted = client::trusted(options, context)?;
        Ok(Self {
            address: address.clone(),
            options: options.clone(),
            endpoint: client::endpoint(options, context),
            trusted,
            context: context.clone(),
            own: Arc::new(Own::start(context.cancel.clone())?),
            bucket: OnceLock::new(),
            locks: OnceLock::new(),
            tried: Mutex::default(),
        })
    }

    fn bucket(&self) -> Result<Arc<Bucket>> {
        if let Some(bucket) = self.bucket.get() {
            return Ok(bucket.clone());
        }
        let (options, endpoint, trusted) = (self.options.clone(), self.endpoint.clone(), self.trusted.clone());
        let made = self.own.wait(async move { Ok(client::client(&options, endpoint, trusted).await) });
        let (client, endpoint) = made?;
        let bucket = Bucket {
            client,
            address: self.address.clone(),
            options: self.options.clone(),
            open_to_others: client::is_open_to_others(endpoint.as_deref()),
            work: client::WORK,
            no_suffixes: Arc::new(AtomicBool::new(false)),
        };
        Ok(self.bucket.get_or_init(|| Arc::new(bucket)).clone())
    }

    /// Runs a request to its end.
    fn ask<T: Send + 'static, F>(&self, request: impl FnOnce(Arc<Bucket>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.own.wait(request(self.bucket()?))
    }

    /// What the server shows, when each thing is tried that a bundle will need.
    fn tried(&self) -> Result<Arc<Tried>> {
        let mut known = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tried) = &*known {
            return Ok(tried.clone());
        }
        let (bucket, hasty) = (self.bucket()?, self.bucket()?.hasty());
        let (run, now, own) = (unique(), self.context.now(), bucket.clone());
        let (file, deletes) = self.own.wait(async move { own.trial_name(&run, now).await })?;
        let (name, own) = (file.clone(), bucket.clone());
        let tried = self.own.wait(async move {
            match hasty.try_out(&name).await {
                // What may be better in a moment has as much time as all else.
                Err(refused) if refused.may_pass() => Ok(own.try_out(&name).await?),
                tried => Ok(tried?),
            }
        });
        // Whatever happened, it goes again.
        let name = file.clone();
        let gone = deletes
            && self.own.finish(async move {
                let deleted = tokio::time::timeout(FAREWELL, bucket.delete(&name)).await;
                Ok(deleted.is_ok_and(|deleted| deleted.is_ok()))
            })?;
        let mut tried = tried?;
        if tried.written && !gone {
            let message = format!("what was tried can't be deleted again: {file}, a few bytes, stays");
            tried.findings.push(Finding::info("trial-stays", self.location(), message));
        }
        Ok(known.insert(Arc::new(tried)).clone())
    }
}

/// A text that no other run has.
fn unique() -> String {
    let half = |salt: u8| format!("{:016x}", RandomState::new().hash_one((std::process::id(), salt)));
    format!("{}{}", half(0), half(1))
}

impl Store for S3 {
    fn location(&self) -> String {
        self.address.to_string()
    }

    fn has_lock(&self) -> bool {
        false
    }

    fn check(&self, _size: u64) -> Result<Vec<Finding>> {
        let (now, place) = (self.context.now(), self.location());
        let mut findings = Vec::new();
        let (locks, uploads) = self.ask(|bucket| async move {
            // Shows permission, encryption and retention, and leaves nothing.
            let begun = bucket.create(BUNDLE, now).await?;
            let (uploads, locks) = tokio::join!(bucket.uploads(), bucket.locks());
            bucket.abort(&begun).await?;
            Ok((locks, uploads))
        })?;
        findings.push(Finding::ok("destination", &place, "can be written"));
        let wanted = self.options.retention.is_some() || self.options.legal_hold;
        if wanted && !locks? {
            let error = Error::new(Kind::Refused, format!("write to {place}: the bucket has no Object Lock"));
            return Err(error.hint("make a bucket with Object Lock, or leave retention and legal_hold out"));
        }
        let tried = self.tried()?;
        if tried.completes != Condition::Heeded && (uploads.is_err() || !tried.reads) {
            return Err(self.bucket()?.shared_name());
        }
        findings.extend(tried.findings.iter().cloned());
        if let Err(error) = uploads {
            let finding = Finding::from_error("uploads-not-listed", &place, &error);
            findings.push(finding.at_most(Severity::Info).unseen().hint(LIFECYCLE));
        }
        if self.bucket()?.open_to_others {
            let message = "the way there is not encrypted: whoever is on it can read bundles";
            findings.push(Finding::warning("way-not-encrypted", place, message).hint("use https:// in the endpoint"));
        }
        Ok(findings)
    }

    fn begin(&self, name: &FileName) -> Result<Box<dyn Upload>> {
        let (file, now, completes) = (name.to_string(), self.context.now(), self.tried()?.completes);
        let bucket = self.bucket()?;
        let begun = self.ask(|bucket| async move { bucket.reserve(&file, completes, now).await })?;
        let (own, context) = (self.own.clone(), self.context.clone());
        Ok(Box::new(Multipart::new(own, bucket, (begun, completes), name.clone(), context)))
    }

    fn list(&self) -> Result<Vec<Stored>> {
        self.ask(|bucket| async move { bucket.list().await })
    }

    fn read_beside(&self, name: &FileName, suffix: &str) -> Result<Option<Vec<u8>>> {
        let file = format!("{name}{suffix}");
        self.ask(|bucket| async move { Ok(whole(|| bucket.get(&file)).await?.map(Vec::from)) })
    }

    fn write_beside(&self, name: &FileName, suffix: &str, content: &[u8]) -> Result<()> {
        let (file, content) = (format!("{name}{suffix}"), content.to_vec());
        self.ask(|bucket| async move { Ok(bucket.put(&file, content).await?) })
    }

    fn remove_beside(&self, name: &FileName, suffix: &str) -> Result<()> {
        let file = format!("{name}{suffix}");
        self.ask(|bucket| async move { Ok(bucket.delete(&file).await?) })
    }

    fn open(&self, name: &FileName) -> Result<Box<dyn ReadAt>> {
        Ok(Box::new(Object::open(self.own.clone(), self.bucket()?, name.to_string())?))
    }

    fn locked_until(&self, name: &FileName) -> Result<Option<DateTime<Utc>>> {
        // To look at each bundle for nothing would cost a request each.
        let locks = *self.locks.get_or_init(|| self.ask(|bucket| async move { bucket.locks().await }).unwrap_or(true));
        if !locks {
            return Ok(None);
        }
        let file = name.to_string();
        let head = self.ask(|bucket| async move { Ok(bucket.head(&file).await?) })?;
        Ok(head.as_ref().and_then(crate::guarantees::locked_until))
    }

    fn remove(&self, name: &FileName) -> Result<()> {
        let name = name.clone();
        self.ask(|bucket| async move {
            bucket.delete(&name.to_string()).await?;
            for suffix in BESIDE {
                bucket.delete(&format!("{name}{suffix}")).await?;
            }
            Ok(())
        })
    }

    fn leftovers(&self, begun: DateTime<Utc>) -> Result<Vec<Leftover>> {
        let uploads = self.ask(|bucket| async move { bucket.uploads().await });
        let uploads = uploads.map_err(|error| match error.kind() {
            Kind::Unsupported => error.hint(LIFECYCLE),
            _ => error,
        })?;
        Ok(uploads.into_iter().filter(|upload| upload.is_before(begun)).collect())
    }

    fn remove_leftover(&self, leftover: &Leftover) -> Result<()> {
        let upload = upload_of(leftover);
        self.ask(|bucket| async move { bucket.abort(&upload).await.map(drop) })
    }

    fn claims(&self) -> Result<Vec<ClaimName>> {
        self.ask(|bucket| async move { bucket.claims().await })
    }

    fn read_claim(&self, name: &ClaimName) -> Result<Vec<u8>> {
        let file = name.to_string();
        self.ask(|bucket| async move { Ok(bucket.read_claim(&file).await?) })
    }

    fn claim(&self, name: &ClaimName, content: &[u8]) -> Result<Vec<Finding>> {
        let (file, content, puts) = (name.to_string(), content.to_vec(), self.tried()?.puts);
        self.ask(|bucket| async move { bucket.claim(&file, content, puts).await })
    }
}

/// What cleans up where uploads can't be listed.
const LIFECYCLE: &str = "a lifecycle rule of the bucket, AbortIncompleteMultipartUpload, ends what a crash leaves";
