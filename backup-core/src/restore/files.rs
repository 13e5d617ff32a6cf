//! Where files go, and whether they may.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Access, access, statvfs};

use super::Request;
use super::plan::quoted;
use crate::bundle::manifest::Manifest;
use crate::bundle::name::timestamp;
use crate::component::files::{Placement, placements};
use crate::finding::{Finding, Findings, bytes};
use crate::{Context, Error, Kind};

/// Looks at the places of all files that are asked for.
pub(super) fn look(
    manifest: &Manifest,
    request: &Request,
    context: &Context,
    findings: &mut Findings,
) -> Vec<Placement> {
    if !request.files_wanted() || manifest.component().is_some() {
        return Vec::new();
    }
    if manifest.source.cluster_conf.is_none() && request.cluster_conf.is_none() {
        let bundle = quoted(&request.file.display().to_string());
        let message =
            format!("the bundle does not say where it was: `extract {bundle} cluster.conf --to .` brings it back");
        findings.all.push(Finding::info("cluster-conf", "cluster.conf", message));
    }
    let files = placements(manifest, &request.root, &timestamp(context.now()));
    for file in &files {
        look_at(file, findings);
    }
    look_at_space(manifest, &files, findings);
    files
}

fn look_at(file: &Placement, findings: &mut Findings) {
    let shown = file.place.display().to_string();
    let there = file.place.ancestors().skip(1).find(|path| path.exists()).unwrap_or(Path::new("/"));
    if access(there, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let error = Error::new(
            Kind::Refused,
            format!("put {shown} in its place: no permission to write to {}", there.display()),
        );
        let hint = "run as root, name another place with --root, or restore the databases alone with --only databases";
        findings.keep::<()>("file", &shown, Err(error.hint(hint)));
        return;
    }
    let device = |path: &Path| path.symlink_metadata().ok().map(|metadata| metadata.dev());
    if file.before.is_some() && device(&file.place) != device(there) {
        let error =
            Error::new(Kind::Refused, format!("put {shown} in its place: it is a mount point and can't step aside"));
        let hint = "name another place with --root and copy from there, or restore with --only databases";
        findings.keep::<()>("file", &shown, Err(error.hint(hint)));
        return;
    }
    let message = match &file.before {
        Some(_) => "exists; it steps aside",
        None => "does not exist, and is put there",
    };
    findings.all.push(Finding::info("file", shown, message));
}

fn look_at_space(manifest: &Manifest, files: &[Placement], findings: &mut Findings) {
    let of_files = |path: &str| files.iter().any(|file| path.starts_with(&file.entry));
    let needed: u64 = manifest.entries.iter().filter(|entry| of_files(&entry.path)).map(|entry| entry.size).sum();
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
