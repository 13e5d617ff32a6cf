//! Where what this machine must remember is kept.

use std::path::{Path, PathBuf};

use crate::{Context, Error, Kind, Result};

/// Where a service is told to keep its state, else root's usual place or the user's own. It need not exist.
///
/// # Errors
/// Where nothing says a place.
pub fn directory(context: &Context) -> Result<PathBuf> {
    let environment = &context.environment;
    match (environment.get("STATE_DIRECTORY"), environment.get("XDG_STATE_HOME")) {
        (Some(directory), _) => Ok(PathBuf::from(directory)),
        (None, _) if rustix::process::geteuid().is_root() => Ok(PathBuf::from("/var/lib/orchestrator-cli")),
        (None, Some(directory)) => Ok(Path::new(directory).join("orchestrator-cli")),
        (None, None) => {
            let home = environment.home.as_ref().ok_or_else(|| {
                Error::new(Kind::Failed, "find a place for what must be remembered: the user has no home directory")
                    .hint("name one with STATE_DIRECTORY")
            })?;
            Ok(home.join(".local/state/orchestrator-cli"))
        }
    }
}
