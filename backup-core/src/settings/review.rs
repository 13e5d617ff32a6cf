//! What is doubtful in settings, as far as this machine alone can tell: nothing else is asked.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Settings;
use crate::backup::{Request, destinations, of_cluster_conf, recipients};
use crate::component::control_plane::Origin;
use crate::component::postgres::connection::ConnectionString;
use crate::context::Environment;
use crate::encryption::open_to_others;
use crate::finding::Finding;
use crate::store::Address;
use crate::{Context, shell};

/// Others than the owner and the group can read a file.
const OTHERS: u32 = 0o004;

/// What is to be said of settings that can be read; `path` is where they stand.
pub fn review(settings: &Settings, path: &Path, context: &Context) -> Vec<Finding> {
    let mut findings = of_cluster_conf(&settings.backup);
    findings.extend(of_connections(settings, path, &context.environment));
    findings.extend(of_release(settings.backup.release.as_ref()));
    findings.extend(of_files(settings));
    findings.extend(of_stores(settings, context));
    findings.extend(of_keys(settings));
    findings.extend(of_routine(settings));
    findings
}

fn of_connections(settings: &Settings, path: &Path, environment: &Environment) -> Vec<Finding> {
    let open = fs::metadata(path).is_ok_and(|file| file.mode() & OTHERS != 0);
    let of = |(key, connection): (&str, &ConnectionString)| {
        if let Err(error) = connection.parameters(environment) {
            return Some(Finding::from_error("connection", key, &error));
        }
        let own = connection.parameters(&Environment::default()).ok()?;
        let message = "a password stands in it, and every user of this machine can read the settings";
        let hint = "put the password into ~/.pgpass of the user that jobs run as; then remove it here";
        let told = own.get("password").is_some() && open;
        told.then(|| Finding::warning("password-open", key, message).hint(hint))
    };
    [("postgres.connection", &settings.backup.connection), ("databases.connection", &settings.databases.connection)]
        .into_iter()
        .filter_map(of)
        .collect()
}

fn of_release(release: Option<&Origin>) -> Option<Finding> {
    match release {
        None => {
            let finding = Finding::warning("no-release", "release", "nothing says which release runs here");
            Some(finding.hint("set release.version, release.file or release.command; or give --release to each backup"))
        }
        Some(Origin::File(file)) if !file.is_file() => Some(lacks("release.file", file)),
        _ => None,
    }
}

fn of_files(settings: &Settings) -> Vec<Finding> {
    let trees = settings.backup.files.iter().map(|tree| ("files.path", tree.path.as_path()));
    let programs = settings.backup.bin_dir.iter().map(|directory| ("postgres.bin_dir", directory.as_path()));
    let assets = settings.deploy.assets.iter().filter(|assets| !assets.archive.to_string_lossy().contains('{'));
    let assets = assets.map(|assets| ("deploy.assets", assets.archive.as_path()));
    let all = trees.chain(programs).chain(assets);
    all.filter(|(_, path)| !path.exists()).map(|(key, path)| lacks(key, path)).collect()
}

fn lacks(key: &str, path: &Path) -> Finding {
    let message = format!("{} does not exist, or this user can not see it", path.display());
    Finding::warning("no-such-file", key, message).hint(format!("ls -ld {}", shell::path(path)))
}

fn of_stores(settings: &Settings, context: &Context) -> Vec<Finding> {
    let mut findings = Vec::new();
    let stores = &settings.backup.stores;
    for store in stores {
        let Address::Directory(directory) = &store.address else { continue };
        let around = directory.parent().filter(|_| !directory.exists());
        if let Some(around) = around.filter(|around| !around.as_os_str().is_empty() && !around.exists()) {
            let message = format!("{} does not exist, and a backup makes only the last directory", around.display());
            let finding = Finding::warning("no-directory", directory.display().to_string(), message);
            findings.push(finding.hint(format!("install -d -m 700 {}", shell::path(directory))));
        }
    }
    if let Err(error) = destinations(&settings.backup, &Request::default(), false, context) {
        findings.push(Finding::from_error("stores", "stores", &error));
    }
    if !stores.iter().any(|store| store.outlives_this_machine(&context.environment)) {
        let message = "every store is on this machine, and its loss takes all bundles along";
        let finding = Finding::warning("stores-here", "stores", message);
        findings.push(
            finding.hint("add a store on another machine; or set elsewhere = true if somebody copies the store away"),
        );
    }
    findings
}

fn of_keys(settings: &Settings) -> Vec<Finding> {
    let mut findings = open_to_others(&settings.backup.access.identities);
    match recipients(&settings.backup, &Request::default()) {
        Err(error) => findings.push(Finding::from_error("recipients", "encryption.recipients", &error)),
        Ok(recipients) if recipients.is_empty() => {
            let message = "bundles are not encrypted: everybody who can read a store reads them";
            findings.push(Finding::info("not-encrypted", "encryption", message));
        }
        Ok(recipients) if settings.backup.access.identities.is_empty() => {
            let message = format!(
                "bundles are for {}; no identity is named, so `drill` opens none here",
                recipients.names().join(", ")
            );
            let finding = Finding::info("no-identity", "encryption.identities", message);
            findings.push(finding.hint("`drill --identity /root/orchestrator.key` names one each time"));
        }
        Ok(_) => {}
    }
    if let Err(error) = settings.backup.access.signing.check() {
        findings.push(Finding::from_error("signing-key", "signing.key", &error));
    }
    findings
}

fn of_routine(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    if settings.backup.retention.is_none() {
        findings.push(Finding::info("no-retention", "retention", "no rule is set, so no bundle is ever deleted"));
    }
    if settings.schedule.is_none() {
        let message = "no times are set; `schedule install` takes the usual ones";
        findings.push(Finding::info("no-schedule", "schedule", message));
    }
    findings
}
