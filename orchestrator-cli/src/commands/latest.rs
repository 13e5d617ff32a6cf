//! The word `latest`, wherever a bundle is named.

use std::path::{Path, PathBuf};

use backup_core::catalog::{LATEST, Wanted};
use backup_core::event::Event;
use backup_core::finding::{Finding, age};
use backup_core::restore::Settings;
use backup_core::{Context, Error, Kind, Result};

use crate::arguments::Latest;

/// The bundle that is meant: `latest` is the newest one of the settings' stores. Which one it is, is said.
pub(super) async fn meant(bundle: &Path, whose: &Latest, settings: &Settings, context: &Context) -> Result<PathBuf> {
    if bundle.as_os_str() != LATEST {
        if let Some(flag) =
            [("--cluster", &whose.cluster), ("--component", &whose.component)].iter().find(|(_, is)| is.is_some())
        {
            let error =
                Error::new(Kind::Usage, format!("{}: it says whose `latest` is meant, and a bundle is named", flag.0));
            return Err(error.hint("write `latest` in place of the bundle, or leave the flag out"));
        }
        return Ok(bundle.into());
    }
    let wanted =
        Wanted { cluster: whose.cluster.clone().or_else(|| settings.cluster()), component: whose.component.clone() };
    let found = context.until_cancelled(wanted.find(&settings.access, context)).await?;
    let old = age(context.now().signed_duration_since(found.created).to_std().unwrap_or_default());
    let which = Finding::info(LATEST, LATEST, format!("{}, {old} old", found.path.display()));
    for finding in found.findings.into_iter().chain([which]) {
        context.observer.event(&Event::Finding(finding));
    }
    Ok(found.path)
}
