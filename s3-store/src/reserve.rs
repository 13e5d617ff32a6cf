//! How an upload gets a name that nobody has or will have, on servers that heed conditions and on others.

use aws_sdk_s3::types::CompletedPart;
use backup_core::bundle::digest::Sha256Digest;
use backup_core::store::exists;
use backup_core::{Error, Kind, Result};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use crate::bucket::{Begun, Bucket, Refused, upload_of};
use crate::upload::Part;

/// An upload that began so long ago is nobody's any more: no backup takes a week.
const ABANDONED: TimeDelta = TimeDelta::days(7);

impl Bucket {
    /// Begins an upload under a name that is free, and ends those that were abandoned.
    ///
    /// # Errors
    /// [`Kind::Refused`] where the name is not free, or nothing would keep another run from taking it.
    pub(crate) async fn reserve(&self, file: &str, run: &str, now: DateTime<Utc>) -> Result<Begun> {
        let begun = self.create(file, run, now).await?;
        if let Err(error) = self.check_free(&begun, now).await {
            // What was begun shows to nobody.
            let _ = self.abort(&begun).await;
            return Err(error);
        }
        Ok(begun)
    }

    /// Makes sure that nobody else writes or has written under the name. Of two that begin at once each sees the other, or
    /// one sees what the other has published; so this holds too where the server does not heed the condition that goes
    /// along when the upload is completed. Where that can't be seen, or there is another upload, which may be our own
    /// whose answer was lost, the server must heed it.
    async fn check_free(&self, begun: &Begun, now: DateTime<Utc>) -> Result<()> {
        let alone = self.uploads().await.map(|uploads| {
            let uploads = uploads.iter().map(|upload| (upload_of(upload), upload.begun));
            uploads.partition::<Vec<_>, _>(|(upload, _)| upload.file != begun.file)
        });
        let alone = match alone {
            Ok((others, same)) => {
                for (abandoned, _) in
                    others.iter().filter(|(_, begun)| begun.is_some_and(|begun| begun < now - ABANDONED))
                {
                    // It costs room and harms nobody; whoever may not end it need not.
                    let _ = self.abort(abandoned).await;
                }
                same.iter().all(|(upload, _)| upload.upload_id == begun.upload_id)
            }
            Err(_) => false,
        };
        let free = match self.head(&begun.file).await {
            Ok(Some(_)) => return Err(exists(&self.shown(&begun.file))),
            Ok(None) => true,
            // Who may write and not read finds out when the upload is completed.
            Err(Refused { status: Some(403), .. }) => false,
            Err(refused) => return Err(refused.error),
        };
        if alone && free { Ok(()) } else { self.check_heeded(&begun.run).await }
    }

    /// Makes sure that the server refuses to complete an upload over what is there, by trying it on something of no worth.
    async fn check_heeded(&self, run: &str) -> Result<()> {
        let file = format!(".orchestrator-cli-trial-{run}");
        self.put(&file, b"of no worth\n".to_vec()).await?;
        let heeded = self.is_heeded(&file).await;
        // Whoever may not delete leaves a few bytes, which no one takes for a bundle.
        let _ = self.delete(&file).await;
        if heeded? {
            return Ok(());
        }
        let error =
            Error::new(Kind::Refused, format!("write to {}: nothing keeps a name for one backup alone", self.address));
        let why = "the server does not heed If-None-Match, and either another upload of this name is there, or none can be seen";
        Err(error.because(why).hint(
            "run it again in a second; if it stays so, let these credentials do s3:ListBucketMultipartUploads and s3:GetObject",
        ))
    }

    async fn is_heeded(&self, file: &str) -> Result<bool> {
        let begun = self.begin_plain(file).await?;
        let content = Bytes::from_static(b"of no worth either\n");
        let digest = Sha256Digest(Sha256::digest(&content).into());
        let completed = match self.put_part(&begun, 0, content, digest).await {
            Ok(e_tag) => self.complete(&begun, vec![CompletedPart::from(Part { number: 0, e_tag, digest })]).await,
            Err(error) => {
                let _ = self.abort(&begun).await;
                return Err(error);
            }
        };
        match completed {
            Ok(_) => Ok(false),
            Err(refused) => {
                let _ = self.abort(&begun).await;
                if refused.status == Some(412) { Ok(true) } else { Err(refused.error) }
            }
        }
    }
}
