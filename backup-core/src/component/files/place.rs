//! Puts files back: each tree is written beside its place, and takes it by a rename; what was there steps aside.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::capture::ROOT;
use super::conf;
use super::staging::Staging;
use super::system::{move_there, remove, rename};
use crate::bundle::extract::{Pattern, extract};
use crate::bundle::manifest::{Entry, Manifest};
use crate::bundle::path;
use crate::bundle::reader::{Bundle, ReadAt};
use crate::event::Meter;
use crate::finding::Finding;
use crate::{Context, Error, ErrorContext, Kind, Result};

/// The entry that holds the cluster's configuration.
const CLUSTER_CONF: &str = "cluster.conf";

/// A file or a directory with all below it that goes back to its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Path of the entry in the bundle.
    pub entry: String,
    /// Where it goes.
    pub place: PathBuf,
    /// The directory beside it that it is written into first.
    pub staging: PathBuf,
    /// Where what is there now goes, if there is something.
    pub before: Option<PathBuf>,
    /// Directories above it that are missing, the topmost first.
    pub missing: Vec<PathBuf>,
}

/// Everything of a bundle that has a place below `root`: captured trees, and `cluster.conf`.
pub fn placements(manifest: &Manifest, root: &Path, timestamp: &str) -> Vec<Placement> {
    let below = format!("{ROOT}/");
    let tops = tops(manifest.entries.iter().filter(|entry| entry.path.starts_with(&below)));
    let mut wanted: Vec<(String, PathBuf)> = tops
        .filter_map(|entry| {
            let bytes = entry.path_bytes()?;
            Some((entry.path.clone(), root.join(OsStr::from_bytes(bytes.strip_prefix(below.as_bytes())?))))
        })
        .collect();
    if let Some(conf) = &manifest.source.cluster_conf {
        let place = root.join(conf.strip_prefix("/").unwrap_or(conf));
        let plain = conf.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        // In a captured tree it comes back with the tree.
        if plain && !wanted.iter().any(|(_, tree)| place.starts_with(tree)) {
            wanted.push((CLUSTER_CONF.into(), place));
        }
    }
    let placement = |(number, (entry, place)): (usize, (String, PathBuf))| {
        let beside = |name: String| place.with_file_name(name);
        let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let missing: Vec<PathBuf> =
            place.ancestors().skip(1).take_while(|directory| !directory.exists()).map(Into::into).collect();
        Placement {
            staging: beside(format!(".orchestrator-cli_restore_{timestamp}_{number}")),
            before: place.symlink_metadata().is_ok().then(|| beside(format!("{name}_before_{timestamp}"))),
            missing: missing.into_iter().rev().filter(|directory| !directory.as_os_str().is_empty()).collect(),
            entry,
            place,
        }
    };
    wanted.into_iter().enumerate().map(placement).collect()
}

/// Entries that no other one is above of.
fn tops<'e>(entries: impl Iterator<Item = &'e Entry>) -> impl Iterator<Item = &'e Entry> {
    let mut sorted: Vec<&Entry> = entries.collect();
    // A slash comes before all else, so that what is below an entry comes right after it.
    sorted.sort_by_key(|entry| entry.path.replace('/', "\0"));
    let mut last: Option<&str> = None;
    sorted.retain(|entry| {
        let below = last.is_some_and(|top| entry.path.strip_prefix(top).is_some_and(|rest| rest.starts_with('/')));
        if !below {
            last = Some(&entry.path);
        }
        !below
    });
    sorted.into_iter()
}

impl Placement {
    /// Where it lies below its staging directory before it takes its place.
    fn below(&self, bundle: &str) -> Result<PathBuf> {
        let bytes = path::from_text(&self.entry)
            .ok_or_else(|| Error::new(Kind::Damaged, format!("entry {}: a bad path", self.entry)))?;
        Ok(Path::new(bundle).join(OsStr::from_bytes(&bytes)))
    }

    /// The staging directory, and where in it that lies which was written beside its place; none where it is not there.
    fn staged(&self, bundle: &str) -> Result<Option<(Staging, PathBuf)>> {
        let Some(staging) = Staging::open(&self.staging)? else { return Ok(None) };
        let staged = staging.path().join(self.below(bundle)?);
        Ok(staged.symlink_metadata().is_ok().then_some((staging, staged)))
    }

    /// Writes it beside its place, anew if it is there; returns what could not be put back as it was.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn stage<R: ReadAt>(&self, bundle: &Bundle<R>, context: &Context) -> Result<Vec<Finding>> {
        self.discard()?;
        let staging = Staging::create(&self.staging)?;
        let extract = || {
            let extracted =
                extract(bundle, &[Pattern::exact(&self.entry)], &staging.path(), context, &Meter::default())?;
            let mut warnings = extracted.warnings;
            for warning in &mut warnings {
                let (path, real) = (staging.path(), &self.staging);
                warning.subject = warning.subject.replace(&*path.to_string_lossy(), &real.to_string_lossy());
            }
            if self.entry == CLUSTER_CONF {
                let (staged, manifest) = (self.below(&bundle.manifest().name)?, bundle.manifest());
                let (staged, lying) = (staging.path().join(staged), manifest.source.cluster_conf_lying.as_ref());
                if let (Some(lying), Some(made)) = (lying, self.missing.last()) {
                    warnings.extend(conf::own_directory(made, lying)?);
                }
                warnings.extend(conf::own(&staged, &self.place, lying)?);
            }
            self.sync_staged(&staging)?;
            Ok::<_, Error>(warnings)
        };
        extract().context(|| format!("write {}", self.staging.display()))
    }

    /// Writes a `cluster.conf` beside its place, anew if it is there; `name` is of what it goes with, and `mode` is the one
    /// that it gets where there is none to take it from.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn stage_content(&self, name: &str, content: &[u8], mode: u32) -> Result<()> {
        self.discard()?;
        let staging = Staging::create(&self.staging)?;
        let staged = staging.path().join(self.below(name)?);
        let write = || {
            fs::create_dir_all(staged.parent().unwrap_or(&staged))?;
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged);
            let mut file = file?;
            file.write_all(content)?;
            file.set_permissions(fs::Permissions::from_mode(mode))
        };
        let doing = || format!("write {}", self.staging.display());
        write().context(doing)?;
        conf::own(&staged, &self.place, None).context(doing)?;
        self.sync_staged(&staging).context(doing)
    }

    /// A journal that says that it is there must not outlive it in a power cut, nor the directories that lead to it.
    fn sync_staged(&self, staging: &Staging) -> Result<()> {
        staging.sync()?;
        let above = self.missing.iter().filter_map(|made| made.parent()).chain(self.staging.parent());
        above.map(File::open).try_for_each(|directory| directory?.sync_all()).context(|| "sync its directories".into())
    }

    /// Whether it has taken its place.
    pub fn is_placed(&self) -> bool {
        self.staging.symlink_metadata().is_err() && self.stands()
    }

    /// Whether it has to be written beside its place again: what was is gone, and has not taken its place.
    pub fn is_lost(&self) -> bool {
        self.staging.symlink_metadata().is_err() && !self.stands()
    }

    /// Whether something has the place, and what had it before has stepped aside.
    fn stands(&self) -> bool {
        let is_there = |path: &PathBuf| path.symlink_metadata().is_ok();
        is_there(&self.place) && self.before.as_ref().is_none_or(is_there)
    }

    /// Gives it its place, by two renames at most.
    ///
    /// # Errors
    /// The system's words.
    pub fn place(&self, bundle: &str) -> Result<()> {
        if self.is_placed() {
            return Ok(());
        }
        if let Some((_staging, staged)) = self.staged(bundle)? {
            if let Some(before) = self.before.as_ref().filter(|before| before.symlink_metadata().is_err()) {
                rename(&self.place, before)?;
            }
            move_there(&staged, &self.place).context(|| format!("put {} in its place", self.place.display()))?;
        } else if !self.stands() {
            let error = Error::new(
                Kind::Failed,
                format!("put {} in its place: what was written beside it is gone", self.place.display()),
            );
            return Err(error.hint("somebody removed it; go back with `restore --rollback`"));
        }
        self.sync()?;
        self.discard()
    }

    /// Renames are durable only once their directory is.
    fn sync(&self) -> Result<()> {
        let directory = self.place.parent().unwrap_or(Path::new("/"));
        File::open(directory).and_then(|file| file.sync_all()).context(|| format!("sync {}", directory.display()))
    }

    /// Makes sure that what had the place before can have it back.
    ///
    /// # Errors
    /// [`Kind::Refused`] where it is gone.
    pub fn check_way_back(&self, bundle: &str) -> Result<()> {
        let placed = self.place.symlink_metadata().is_ok() && self.staged(bundle)?.is_none();
        match self.before.as_ref().filter(|before| placed && before.symlink_metadata().is_err()) {
            None => Ok(()),
            Some(before) => {
                let message = format!("bring {} back: {} is gone", self.place.display(), before.display());
                Err(Error::new(Kind::Refused, message).hint("what was there before can't be returned to any more"))
            }
        }
    }

    /// Gives back the place to what had it before.
    ///
    /// # Errors
    /// The system's words.
    pub fn take_back(&self, bundle: &str) -> Result<()> {
        let stands = self.place.symlink_metadata().is_ok();
        let steps_back = self.before.as_ref().filter(|before| before.symlink_metadata().is_ok());
        // It stands in its place where nothing did before, or where that has stepped aside.
        if stands && self.staged(bundle)?.is_none() && (steps_back.is_some() || self.before.is_none()) {
            let staging = Staging::create(&self.staging)?;
            let staged = staging.path().join(self.below(bundle)?);
            let parent = staged.parent().unwrap_or(&staged);
            fs::create_dir_all(parent).context(|| format!("create {}", self.staging.display()))?;
            move_there(&self.place, &staged)?;
        }
        if let Some(before) = steps_back {
            rename(before, &self.place)?;
        }
        self.place.parent().filter(|parent| parent.exists()).map_or(Ok(()), |_| self.sync())
    }

    /// Removes what was written beside its place.
    ///
    /// # Errors
    /// The system's words.
    pub fn discard(&self) -> Result<()> {
        remove(&self.staging)
    }

    /// Removes what was written beside its place, and directories that were made for it and are empty.
    ///
    /// # Errors
    /// The system's words.
    pub fn forget(&self) -> Result<()> {
        self.discard()?;
        for directory in self.missing.iter().rev() {
            match fs::remove_dir(directory) {
                Ok(()) => {}
                Err(cause) if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {}
                Err(cause) => {
                    return Err(Error::new(Kind::Failed, format!("remove {}", directory.display())).because(cause));
                }
            }
        }
        Ok(())
    }

    /// Removes what has stepped aside.
    ///
    /// # Errors
    /// The system's words.
    pub fn clean_up(&self) -> Result<()> {
        // Under another name first, so that half of it is never taken for the whole.
        if let Some(before) = self.before.as_ref().filter(|before| before.symlink_metadata().is_ok()) {
            self.discard()?;
            rename(before, &self.staging)?;
        }
        self.discard()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_what_no_other_is_above_of() {
        let entry = |path: &str| Entry {
            path: path.into(),
            kind: Default::default(),
            link: None,
            size: 0,
            sha256: crate::bundle::digest::Sha256Digest([0; 32]),
            offset: 0,
            stored: 0,
            stored_sha256: crate::bundle::digest::Sha256Digest([0; 32]),
            chunk: None,
        };
        let entries = ["files/a", "files/a/b", "files/a-c", "files/a/b/c", "files/d/e", "files/ab"].map(entry);
        let found: Vec<&str> = tops(entries.iter()).map(|entry| entry.path.as_str()).collect();
        assert_eq!(found, ["files/a", "files/a-c", "files/ab", "files/d/e"]);
    }
}
