//! How an upload gets a name that nobody has or will have, on servers that heed conditions and on others.

use backup_core::Result;
use backup_core::store::exists;
use chrono::{DateTime, TimeDelta, Utc};

use crate::bucket::{Begun, Bucket, upload_of};
use crate::trial::Condition;

/// An upload that began so long ago is nobody's any more: no backup takes a week.
const ABANDONED: TimeDelta = TimeDelta::days(7);

impl Bucket {
    /// Begins an upload under a name that is free, and ends those that were abandoned.
    ///
    /// # Errors
    /// [`Kind::Refused`] where the name is not free, or nothing would keep another run from taking it.
    pub(crate) async fn reserve(&self, file: &str, completes: Condition, now: DateTime<Utc>) -> Result<Begun> {
        let begun = self.create(file, now).await?;
        if let Err(error) = self.check_free(&begun, completes, now).await {
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
    async fn check_free(&self, begun: &Begun, completes: Condition, now: DateTime<Utc>) -> Result<()> {
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
            Err(refused) if refused.is_forbidden() => false,
            Err(refused) => return Err(refused.into()),
        };
        if alone && free || completes == Condition::Heeded { Ok(()) } else { Err(self.shared_name()) }
    }
}
