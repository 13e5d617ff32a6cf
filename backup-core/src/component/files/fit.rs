//! Where files go, and whether they may.

use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use super::{Placement, There, placements};
use crate::finding::{Finding, Findings, bytes};
use crate::shell;

/// What is asked for.
pub(crate) struct Asked {
    /// What stands for `/` where they are put.
    pub(crate) root: PathBuf,
    /// What is restored, for commands that are hinted at.
    pub(crate) file: PathBuf,
    /// Whether a `cluster.conf` was given beside a script.
    pub(crate) conf_given: bool,
    /// Where the settings read `cluster.conf`, if they say.
    pub(crate) settings_conf: Option<PathBuf>,
    /// Whether data of another cluster were accepted.
    pub(crate) other_cluster: bool,
}

impl Asked {
    /// Whether files go to their own places.
    pub(super) fn is_in_place(&self) -> bool {
        self.root == Path::new("/")
    }
}

/// Looks at the places of all files that are asked for; what stands aside ends in `moment`.
pub(super) fn fit(there: &There<'_>, asked: &Asked, moment: &str, findings: &mut Findings) -> Vec<Placement> {
    if there.is_of_component {
        return Vec::new();
    }
    if there.from.cluster_conf.is_none() && !asked.conf_given {
        let bundle = shell::word(&asked.file.display().to_string());
        let message =
            format!("the bundle does not say where it was: `extract {bundle} cluster.conf --to .` brings it back");
        findings.all.push(Finding::info("cluster-conf", "cluster.conf", message));
    }
    if asked.is_in_place() {
        findings.all.extend(asked.settings_conf.as_deref().and_then(|settings| conf_elsewhere(there, asked, settings)));
    }
    let files = placements(there, &asked.root, moment);
    if asked.is_in_place() {
        findings.all.extend(named_by_link(there, &files));
    }
    for file in &files {
        look_at(file, findings);
    }
    look_at_space(there, &files, findings);
    files
}

/// That the settings read another `cluster.conf` than the one that is put back.
fn conf_elsewhere(there: &There<'_>, asked: &Asked, settings: &Path) -> Option<Finding> {
    let place = there.from.cluster_conf.as_deref()?;
    let same = settings == place || settings.canonicalize().is_ok_and(|settings| settings == place);
    // Of a link that led there more is said.
    let named = there.from.cluster_conf_lying.as_ref().and_then(|lying| lying.named.as_deref());
    let same = same || named == Some(settings);
    let message =
        format!("it is put at {}, where it was, and the settings read {}", place.display(), settings.display());
    let when = match asked.other_cluster {
        false => "after the restore",
        true => "after the restore, and only if this machine is to run that cluster",
    };
    let hint = format!("{when}: cp --backup=numbered {} {}", shell::path(place), shell::path(settings));
    (!same).then(|| Finding::warning("cluster-conf-elsewhere", "cluster.conf", message).hint(hint))
}

/// That `cluster.conf` was reached through a link which does not come back, so that who names it as before finds nothing.
fn named_by_link(there: &There<'_>, files: &[Placement]) -> Option<Finding> {
    let place = there.from.cluster_conf.as_deref()?;
    let named = there.from.cluster_conf_lying.as_ref()?.named.as_deref()?;
    let (directory, name) = (named.parent()?, named.file_name()?);
    let leads = named.symlink_metadata().is_ok()
        || directory.canonicalize().is_ok_and(|directory| directory.join(name) == place)
        || files.iter().any(|file| named.starts_with(&file.place));
    let message = format!(
        "it was named {}, a link that leads to {}, and comes back there alone",
        named.display(),
        place.display()
    );
    let made = if directory.exists() { String::new() } else { format!("mkdir -p {} && ", shell::path(directory)) };
    let hint = format!("after the restore: {made}ln -s {} {}", shell::path(place), shell::path(named));
    (!leads).then(|| Finding::warning("cluster-conf-link", "cluster.conf", message).hint(hint))
}

fn look_at(file: &Placement, findings: &mut Findings) {
    let shown = file.place.display().to_string();
    if let Err(error) = file.check_renames() {
        findings.keep::<()>("file", &shown, Err(error));
        return;
    }
    let message = match &file.before {
        Some(_) => "exists; it steps aside",
        None => "does not exist, and is put there",
    };
    findings.all.push(Finding::info("file", shown, message));
}

fn look_at_space(there: &There<'_>, files: &[Placement], findings: &mut Findings) {
    let of_files = |path: &str| files.iter().any(|file| path.starts_with(&file.entry));
    let needed: u64 = there.entries.iter().filter(|entry| of_files(&entry.path)).map(|entry| entry.size).sum();
    for file in files {
        let Some(there) = file.place.ancestors().skip(1).find(|path| path.exists()) else { continue };
        let free = statvfs(there).map_or(u64::MAX, |stat| stat.f_bavail * stat.f_frsize);
        if free < needed {
            let message = format!("{} are free there, and files may take {}", bytes(free), bytes(needed));
            let finding = Finding::error("space", there.display().to_string(), message);
            findings.all.push(finding.hint("make room, or name another place with --root"));
            return;
        }
    }
}
