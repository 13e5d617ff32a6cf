//! Claims: small objects that are never overwritten, on servers that heed conditions and on others.

use backup_core::finding::Finding;
use backup_core::store::{CLAIMS, ClaimName, claims, is_taken, overwrites};
use backup_core::{Error, Kind, Result};

use crate::bucket::Bucket;
use crate::error::Refused;
use crate::object::whole;
use crate::trial::{Condition, looked_for};

impl Bucket {
    pub(crate) async fn claims(&self) -> Result<Vec<ClaimName>> {
        let files = self.list_all(CLAIMS).await?;
        Ok(claims(files.iter().map(|(name, _)| name.as_str())))
    }

    pub(crate) async fn read_claim(&self, file: &str) -> Result<Vec<u8>, Refused> {
        let missing = || Refused::missing(Error::new(Kind::NotFound, format!("read {}", self.shown(file))));
        whole(|| self.get(file)).await?.map(Vec::from).ok_or_else(missing)
    }

    /// Writes a claim. Whether the server heeds the condition shows when the same is written once more; it changes nothing where
    /// it does not.
    pub(crate) async fn claim(&self, file: &str, content: Vec<u8>, puts: Condition) -> Result<Vec<Finding>> {
        self.put_if_free(file, &content, puts).await?;
        self.check_ours(file, &content).await?;
        if !self.put_new(file, content.clone(), puts).await? {
            return Ok(Vec::new());
        }
        self.check_ours(file, &content).await?;
        Ok(vec![overwrites(&self.address.to_string())])
    }

    /// A server that does not heed the condition must not be asked to write over what is there.
    async fn put_if_free(&self, file: &str, content: &[u8], puts: Condition) -> Result<()> {
        match whole(|| self.get(file)).await? {
            Some(_) => Ok(()),
            None => Ok(self.put_new(file, content.to_vec(), puts).await.map(drop)?),
        }
    }

    async fn check_ours(&self, file: &str, content: &[u8]) -> Result<()> {
        // The server has said that it is there, or is being written.
        let there = looked_for(|| self.read_claim(file)).await?;
        if there == content { Ok(()) } else { Err(is_taken(&self.shown(file))) }
    }
}
