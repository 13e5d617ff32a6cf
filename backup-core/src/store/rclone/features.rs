//! What a remote can do, as `rclone backend features` says it.

use serde::Deserialize;

use super::Rclone;
use crate::{Error, ErrorContext, Kind, Result};

/// What counts for bundles.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Features {
    /// It says how much room there is.
    pub(super) about: bool,
    /// It has buckets, and below them no directories.
    pub(super) bucket_based: bool,
    /// It copies a file by itself.
    pub(super) copy: bool,
    /// Two files may have one name.
    pub(super) duplicate_files: bool,
    /// It gives a file another name by itself.
    #[serde(rename = "Move")]
    pub(super) renames: bool,
    /// It takes a file whose length is not known.
    pub(super) put_stream: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    features: Features,
}

impl Rclone {
    /// What the remote can do. rclone is asked once.
    pub(super) fn features(&self) -> Result<Features> {
        if let Some(features) = self.0.features.get() {
            return Ok(*features);
        }
        let remote = format!("{}:", self.0.address.remote);
        let doing = || format!("ask rclone what {remote} can do");
        let ran = self.0.program.succeed(doing(), &["backend", "features", &remote], None)?;
        let Answer { features } = serde_json::from_slice(&ran.output).context(doing)?;
        Ok(*self.0.features.get_or_init(|| features))
    }

    /// The same, of a remote that can give a file another name.
    pub(super) fn able_features(&self) -> Result<Features> {
        let features = self.features()?;
        if features.renames || features.copy {
            return Ok(features);
        }
        let error = Error::new(Kind::Unsupported, format!("write to {}", self.0.address));
        let why = "the remote can neither rename nor copy a file, and a bundle gets its name when all of it is there";
        Err(error.because(why).hint("name another place with --to"))
    }
}
