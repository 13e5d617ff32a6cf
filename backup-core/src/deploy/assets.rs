//! A release's assets, unpacked where a deploy takes them from. A reboot cleans `/tmp`, and then they are missing.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::{Error, ErrorContext, Kind, Result};

/// What tells a directory of assets from others.
const MARK: &str = ".orchestrator-assets";

/// Where assets come from and where they are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assets {
    /// The archive, compressed or not; `{release}` stands for the release.
    pub archive: PathBuf,
    /// The directory that its content is unpacked into.
    pub directory: PathBuf,
}

impl Assets {
    /// Unpacks the assets of a release unless they are there as the archive has them; whether they had to be.
    ///
    /// # Errors
    /// [`Kind::NotFound`] where there is no archive; [`Kind::Refused`] where the directory is somebody else's, or holds something else;
    /// where it can't be unpacked. What was there before is there still.
    pub async fn refresh(&self, release: &str) -> Result<bool> {
        let archive = self.archive_of(release)?;
        let shown = self.directory.display();
        let there = self.look()?;
        if there && self.is_same(&archive).await? {
            return Ok(false);
        }
        let doing = || format!("unpack {} into {shown}", archive.display());
        let around = self.directory.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o755).create(around).context(doing)?;
        let beside = tempfile::Builder::new().prefix(".orchestrator-assets-").tempdir_in(around).context(doing)?;
        let unpacked = beside.path().join("new");
        DirBuilder::new().mode(0o755).create(&unpacked).context(doing)?;
        let mut tar = tar("--extract", &archive, &unpacked);
        let output = tar.output().await.context(doing)?;
        if !output.status.success() {
            return Err(Error::new(Kind::Failed, doing()).because(String::from_utf8_lossy(&output.stderr).trim()));
        }
        fs::write(unpacked.join(MARK), "").context(doing)?;
        if there {
            // It goes with the directory beside.
            fs::rename(&self.directory, beside.path().join("old")).context(doing)?;
        }
        fs::rename(&unpacked, &self.directory).context(doing)?;
        Ok(true)
    }

    fn archive_of(&self, release: &str) -> Result<PathBuf> {
        let archive = PathBuf::from(self.archive.to_string_lossy().replace("{release}", release));
        if archive.is_file() {
            return Ok(archive);
        }
        let error =
            Error::new(Kind::NotFound, format!("find the assets of release {release}: no {}", archive.display()));
        Err(error.hint("copy the archive there, or correct deploy.assets in the settings"))
    }

    /// Whether the directory is there. In `/tmp` anybody could have made one of its name.
    fn look(&self) -> Result<bool> {
        let metadata = match fs::symlink_metadata(&self.directory) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(false),
            metadata => metadata.context(|| format!("look at {}", self.directory.display()))?,
        };
        let empty = || fs::read_dir(&self.directory).is_ok_and(|mut entries| entries.next().is_none());
        let why = if !metadata.is_dir() {
            "it is no directory"
        } else if metadata.uid() != rustix::process::geteuid().as_raw() {
            "it is somebody else's"
        } else if !self.directory.join(MARK).exists() && !empty() {
            "it holds something else than assets"
        } else {
            return Ok(true);
        };
        let error = Error::new(Kind::Refused, format!("unpack assets into {}: {why}", self.directory.display()));
        Err(error.hint("move it away, or name another directory with deploy.assets_directory in the settings"))
    }

    async fn is_same(&self, archive: &Path) -> Result<bool> {
        let mut tar = tar("--compare", archive, &self.directory);
        let output = tar.env("LC_ALL", "C").output().await.context(|| "run tar".into())?;
        let said = String::from_utf8_lossy(&output.stdout);
        // What is unpacked belongs to who unpacks it.
        let own = |line: &str| ["Uid differs", "Gid differs", "Mode differs"].iter().any(|end| line.ends_with(end));
        Ok(output.stderr.is_empty() && said.lines().all(own))
    }
}

fn tar(work: &str, archive: &Path, directory: &Path) -> Command {
    let mut tar = Command::new("tar");
    tar.arg(work).arg("--no-same-owner").arg("--file").arg(archive).arg("--directory").arg(directory);
    tar.stdin(Stdio::null()).kill_on_drop(true);
    tar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_reboot_cleaned_away_comes_back_and_nothing_else_is_touched() {
        let place = tempfile::tempdir().expect("a directory");
        let source = place.path().join("source");
        fs::create_dir(&source).expect("a directory");
        for file in ["first", "second"] {
            fs::write(source.join(file), file).expect("a file");
        }
        let archive = place.path().join("release-2.6.3.tar.gz");
        let made = Command::new("tar")
            .args(["--owner=nobody:65534", "-czf"])
            .args([archive.as_os_str(), "-C".as_ref(), source.as_os_str(), ".".as_ref()])
            .status()
            .await;
        assert!(made.expect("tar runs").success());
        let assets = Assets {
            archive: place.path().join("release-{release}.tar.gz"),
            directory: place.path().join("tmp/assets"),
        };
        let content = || fs::read_to_string(assets.directory.join("second")).ok();
        for expected in [true, false] {
            assert_eq!(assets.refresh("2.6.3").await.ok(), Some(expected));
            assert_eq!(content().as_deref(), Some("second"));
        }
        fs::remove_file(assets.directory.join("second")).expect("removed");
        assert_eq!((assets.refresh("2.6.3").await.ok(), content().as_deref()), (Some(true), Some("second")));
        let inside: Vec<_> = fs::read_dir(place.path().join("tmp")).expect("a directory").flatten().collect();
        assert_eq!(inside.len(), 1, "{inside:?}");
        assert_eq!(assets.refresh("2.7.0").await.expect_err("no archive").kind(), Kind::NotFound);
        // A damaged archive takes nothing away.
        fs::write(&archive, "damaged").expect("written");
        assert!(assets.refresh("2.6.3").await.is_err() && content().is_some());
        // Nor is what is no asset taken for one.
        let mine = Assets { directory: place.path().join("source"), ..assets.clone() };
        assert_eq!(mine.refresh("2.6.3").await.expect_err("something else").kind(), Kind::Refused);
        // Nor is a link followed that somebody put there.
        fs::rename(&assets.directory, place.path().join("moved")).expect("moved");
        std::os::unix::fs::symlink(place.path().join("moved"), &assets.directory).expect("a link");
        assert_eq!(assets.refresh("2.6.3").await.expect_err("a link").kind(), Kind::Refused);
    }
}
