//! Puts files back: each tree is written beside its place, and takes it by a rename; what was there steps aside.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::capture::ROOT;
use super::conf;
use super::staging::Staging;
use super::system::{move_there, remove, rename};
use crate::bundle::extract::{Pattern, extract};
use crate::bundle::manifest::{Entry, Manifest, Source};
use crate::bundle::path;
use crate::bundle::reader::{Bundle, ReadAt};
use crate::component::aside::{self, FORGED, STAGING};
use crate::event::Meter;
use crate::finding::Finding;
use crate::held::{At, Held};
use crate::names::is_moment;
use crate::{Context, Error, ErrorContext, Kind, Result};

/// The entry that holds the cluster's configuration.
const CLUSTER_CONF: &str = "cluster.conf";

/// A file or a directory with all below it that goes back to its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Path of the entry in the bundle.
    pub entry: String,
    /// What stands for the machine's `/`; no link leads out of it.
    #[serde(default = "slash", skip_serializing_if = "is_slash")]
    pub root: PathBuf,
    /// Where it goes.
    pub place: PathBuf,
    /// The directory beside it that it is written into first.
    pub staging: PathBuf,
    /// Where what is there now goes, if there is something.
    pub before: Option<PathBuf>,
    /// Directories above it that are missing, the topmost first.
    pub missing: Vec<PathBuf>,
}

fn slash() -> PathBuf {
    "/".into()
}

fn is_slash(root: &Path) -> bool {
    root == Path::new("/")
}

/// What there is to be put back.
#[derive(Clone, Copy)]
pub(crate) struct There<'t> {
    /// Entries of the bundle.
    pub(crate) entries: &'t [Entry],
    /// Where it came from.
    pub(crate) from: &'t Source,
    /// Whether a component's databases alone are in it.
    pub(crate) is_of_component: bool,
}

impl<'t> There<'t> {
    /// What a bundle has.
    pub(crate) fn of(manifest: &'t Manifest) -> Self {
        Self { entries: &manifest.entries, from: &manifest.source, is_of_component: manifest.component().is_some() }
    }
}

/// Everything of a bundle that has a place below `root`: captured trees, and `cluster.conf`.
pub(crate) fn placements(there: &There<'_>, root: &Path, timestamp: &str) -> Vec<Placement> {
    let below = format!("{ROOT}/");
    let tops = tops(there.entries.iter().filter(|entry| entry.path.starts_with(&below)));
    let mut wanted: Vec<(String, PathBuf)> = tops
        .filter_map(|entry| {
            let bytes = entry.path_bytes()?;
            Some((entry.path.clone(), root.join(OsStr::from_bytes(bytes.strip_prefix(below.as_bytes())?))))
        })
        .collect();
    if let Some(conf) = &there.from.cluster_conf {
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
        // What can't be looked at is no matter of names: it is refused when the renames are tried.
        let is_missing = |directory: &&Path| matches!(Held::open(root, directory), Ok(None));
        let missing: Vec<PathBuf> = place.ancestors().skip(1).take_while(is_missing).map(Into::into).collect();
        let around = Held::open(root, place.parent().unwrap_or(root)).ok().flatten();
        let stands = around.is_some_and(|around| around.at(place.file_name().unwrap_or_default()).is_there());
        Placement {
            staging: beside(format!("{STAGING}{timestamp}_{number}")),
            before: stands.then(|| beside(aside::before(&name, timestamp))),
            root: root.into(),
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
    /// Makes sure that what is written, removed and renamed for it lies beside its place, and is called as such things are.
    ///
    /// # Errors
    /// [`Kind::Refused`] with the path that no restore would name.
    pub fn check_names(&self) -> Result<()> {
        let text = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_beside = |path: &Path| path.parent() == self.place.parent() && path == path.with_file_name(text(path));
        let staging = text(&self.staging);
        let moment = staging.strip_prefix(STAGING).and_then(|rest| rest.split_once('_'));
        let moment = moment.filter(|(moment, number)| is_moment(moment) && number.parse::<usize>().is_ok());
        let is_ours = |before: &PathBuf| {
            moment.is_some_and(|(moment, _)| {
                is_beside(before) && text(before) == aside::before(&text(&self.place), moment)
            })
        };
        let wrong = if moment.is_none() || !is_beside(&self.staging) {
            Some(&self.staging)
        } else {
            let above = |made: &&PathBuf| **made == self.place || !self.place.starts_with(made);
            self.before.as_ref().filter(|before| !is_ours(before)).or_else(|| self.missing.iter().find(above))
        };
        let climbs = self
            .place
            .strip_prefix(&self.root)
            .is_ok_and(|below| below.components().any(|part| part == Component::ParentDir));
        let outside = !is_slash(&self.root) && !self.place.starts_with(&self.root);
        match wrong.or((climbs || outside).then_some(&self.place)) {
            None => Ok(()),
            Some(path) => {
                let message = format!("it names {} for {}, as no restore does", path.display(), self.place.display());
                Err(Error::new(Kind::Refused, message).hint(FORGED))
            }
        }
    }

    /// Where it lies below its staging directory before it takes its place.
    fn below(&self, bundle: &str) -> Result<PathBuf> {
        let bytes = path::from_text(&self.entry)
            .ok_or_else(|| Error::new(Kind::Damaged, format!("entry {}: a bad path", self.entry)))?;
        Ok(Path::new(bundle).join(OsStr::from_bytes(&bytes)))
    }

    /// The directory around its place, if it is there. All that is done for it is done in there.
    fn around(&self) -> Result<Option<Around<'_>>> {
        let directory = self.place.parent().unwrap_or(Path::new("/"));
        Ok(Held::open(&self.root, directory)?.map(|held| Around { held, of: self }))
    }

    /// The same, made where it is missing.
    fn make_around(&self) -> Result<Around<'_>> {
        let directory = self.place.parent().unwrap_or(Path::new("/"));
        Ok(Around { held: Held::make(&self.root, directory)?, of: self })
    }

    /// Writes it beside its place, anew if it is there; returns what could not be put back as it was.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn stage<R: ReadAt>(&self, bundle: &Bundle<R>, context: &Context) -> Result<Vec<Finding>> {
        let around = self.make_around()?;
        remove(&around.staging())?;
        let staging = Staging::create(&around.staging())?;
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
                if let (Some(lying), false) = (lying, self.missing.is_empty()) {
                    warnings.extend(conf::own_directory(&around.held, lying)?);
                }
                warnings.extend(conf::own(&staged, &around.place(), lying)?);
            }
            self.sync_staged(&staging, &around)?;
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
        let around = self.make_around()?;
        remove(&around.staging())?;
        let staging = Staging::create(&around.staging())?;
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
        conf::own(&staged, &around.place(), None).context(doing)?;
        self.sync_staged(&staging, &around).context(doing)
    }

    /// A journal that says that it is there must not outlive it in a power cut, nor the directories that lead to it.
    fn sync_staged(&self, staging: &Staging, around: &Around<'_>) -> Result<()> {
        staging.sync()?;
        for above in self.missing.iter().filter_map(|made| made.parent()) {
            Held::open(&self.root, above)?.map_or(Ok(()), |above| above.sync())?;
        }
        around.held.sync()
    }

    /// Whether it has taken its place.
    pub fn is_placed(&self) -> bool {
        self.around().is_ok_and(|around| around.is_some_and(|around| !around.staging().is_there() && around.stands()))
    }

    /// Whether it has to be written beside its place again: what was is gone, and has not taken its place.
    pub fn is_lost(&self) -> bool {
        let is_kept = |around: Around<'_>| around.staging().is_there() || around.stands();
        !self.around().is_ok_and(|around| around.is_some_and(is_kept))
    }

    /// Gives it its place, by two renames at most.
    ///
    /// # Errors
    /// The system's words.
    pub fn place(&self, bundle: &str) -> Result<()> {
        let gone = || {
            let message = format!("put {} in its place: what was written beside it is gone", self.place.display());
            Error::new(Kind::Failed, message).hint("somebody removed it; go back with `restore --rollback`")
        };
        let around = self.around()?.ok_or_else(gone)?;
        if !around.staging().is_there() && around.stands() {
            return Ok(());
        }
        if let Some((_staging, staged)) = around.staged(bundle)? {
            if let Some(before) = around.before().filter(|before| !before.is_there()) {
                rename(&around.place(), &before)?;
            }
            let placed = move_there(&staged, &around.place());
            placed.context(|| format!("put {} in its place", self.place.display()))?;
        } else if !around.stands() {
            return Err(gone());
        }
        // Renames are durable only once their directory is.
        around.held.sync()?;
        remove(&around.staging())
    }

    /// Makes sure that what had the place before can have it back.
    ///
    /// # Errors
    /// [`Kind::Refused`] where it is gone.
    pub fn check_way_back(&self, bundle: &str) -> Result<()> {
        let Some(around) = self.around()? else { return Ok(()) };
        let placed = around.place().is_there() && around.staged(bundle)?.is_none();
        match around.before().filter(|before| placed && !before.is_there()) {
            None => Ok(()),
            Some(before) => {
                let message = format!("bring {} back: {} is gone", self.place.display(), before.shown.display());
                Err(Error::new(Kind::Refused, message).hint("what was there before can't be returned to any more"))
            }
        }
    }

    /// Gives back the place to what had it before.
    ///
    /// # Errors
    /// The system's words.
    pub fn take_back(&self, bundle: &str) -> Result<()> {
        let Some(around) = self.around()? else { return Ok(()) };
        let stands = around.place().is_there();
        let steps_back = around.before().filter(At::is_there);
        // It stands in its place where nothing did before, or where that has stepped aside.
        if stands && around.staged(bundle)?.is_none() && (steps_back.is_some() || self.before.is_none()) {
            let staging = Staging::create(&around.staging())?;
            let staged = around.in_staging(&staging, &self.below(bundle)?);
            let parent = staged.path.parent().unwrap_or(&staged.path);
            fs::create_dir_all(parent).context(|| format!("create {}", self.staging.display()))?;
            move_there(&around.place(), &staged)?;
        }
        if let Some(before) = steps_back {
            rename(&before, &around.place())?;
        }
        around.held.sync()
    }

    /// Removes what was written beside its place, and directories that were made for it and are empty.
    ///
    /// # Errors
    /// The system's words.
    pub fn forget(&self) -> Result<()> {
        if let Some(around) = self.around()? {
            remove(&around.staging())?;
        }
        for made in self.missing.iter().rev() {
            let (above, name) = (made.parent().unwrap_or(Path::new("/")), made.file_name().unwrap_or_default());
            Held::open(&self.root, above)?.map_or(Ok(()), |above| above.remove_empty(name))?;
        }
        Ok(())
    }

    /// Removes what has stepped aside.
    ///
    /// # Errors
    /// The system's words.
    pub fn clean_up(&self) -> Result<()> {
        let Some(around) = self.around()? else { return Ok(()) };
        // Under another name first, so that half of it is never taken for the whole.
        if let Some(before) = around.before().filter(At::is_there) {
            remove(&around.staging())?;
            rename(&before, &around.staging())?;
        }
        remove(&around.staging())
    }
}

/// The directory around a place, held open.
struct Around<'p> {
    held: Held,
    of: &'p Placement,
}

impl Around<'_> {
    fn beside(&self, path: &Path) -> At {
        self.held.at(path.file_name().unwrap_or_default())
    }

    fn place(&self) -> At {
        self.beside(&self.of.place)
    }

    fn staging(&self) -> At {
        self.beside(&self.of.staging)
    }

    fn before(&self) -> Option<At> {
        self.of.before.as_ref().map(|before| self.beside(before))
    }

    /// Whether something has the place, and what had it before has stepped aside.
    fn stands(&self) -> bool {
        self.place().is_there() && self.before().is_none_or(|before| before.is_there())
    }

    /// The staging directory, and where in it that lies which was written beside its place; none where it is not there.
    fn staged(&self, bundle: &str) -> Result<Option<(Staging, At)>> {
        let Some(staging) = Staging::open(&self.staging())? else { return Ok(None) };
        let staged = self.in_staging(&staging, &self.of.below(bundle)?);
        Ok(staged.is_there().then_some((staging, staged)))
    }

    fn in_staging(&self, staging: &Staging, below: &Path) -> At {
        At { path: staging.path().join(below), shown: self.of.staging.join(below) }
    }
}

#[cfg(test)]
mod tests;
