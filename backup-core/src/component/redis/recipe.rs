//! What the steps of a restore are made of, as its journal says it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::OneRedis;
use crate::component::aside::{self, FORGED, STAGING};
use crate::names::is_moment;
use crate::{Error, Kind, Result};

/// All that the steps are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recipe {
    /// Where the server is.
    pub(super) address: String,
    /// The file that it keeps its data in.
    pub(super) place: PathBuf,
    /// The file beside it that is written first.
    pub(super) staging: PathBuf,
    /// What the file that is there now is called afterwards.
    pub(super) before: PathBuf,
}

impl Recipe {
    pub(super) fn at(redis: &OneRedis, place: PathBuf, moment: &str) -> Self {
        let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Two servers may have their files in one directory.
        let staging = place.with_file_name(format!("{STAGING}{moment}_{}", redis.id));
        let before = place.with_file_name(aside::before(&name, moment));
        Self { address: redis.server.address().into(), place, staging, before }
    }

    /// Makes sure that it is of this server, and names what a restore names: a journal that somebody else has made must lead to nothing
    /// else.
    ///
    /// # Errors
    /// [`Kind::Refused`].
    pub(super) fn check(&self, redis: &OneRedis) -> Result<()> {
        if self.address != redis.server.address() {
            let (here, there) = (redis.server.place(), &self.address);
            let error = Error::new(
                Kind::Refused,
                format!("{here} is another server than the one at {there} that the restore began on"),
            );
            return Err(error.hint("correct its address below [[component]] in the settings"));
        }
        let staging = self.staging.file_name().unwrap_or_default().to_string_lossy();
        let moment =
            staging.strip_prefix(STAGING).and_then(|rest| rest.split('_').next()).filter(|moment| is_moment(moment));
        if moment.is_some_and(|moment| *self == Self::at(redis, self.place.clone(), moment)) {
            return Ok(());
        }
        let message =
            format!("it names {} beside {}, as no restore does", self.staging.display(), self.place.display());
        Err(Error::new(Kind::Refused, message).hint(FORGED))
    }
}
