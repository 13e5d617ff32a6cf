//! Logging in to hosts with the system's own `ssh`, so that the operator's configuration and agent hold.

use std::ffi::OsString;
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Identity, Record, SSH_PORT, Seen};
use crate::{Context, Error, ErrorContext, Kind, Result, state};

/// How hosts are logged in to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The port.
    pub port: u16,
    /// The user; none for what ssh's own configuration says.
    pub user: Option<String>,
}

impl Login {
    /// Arguments of `ssh` up to the host's name. `known` is a file with the keys that the host must have, which is insisted on.
    pub fn arguments(&self, host: &str, known: Option<&Path>) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        if let Some(path) = known {
            let mut file = OsString::from("UserKnownHostsFile=\"");
            file.push(path);
            file.push("\"");
            let alias = format!("HostKeyAlias={host}");
            let options =
                [file, "GlobalKnownHostsFile=/dev/null".into(), "StrictHostKeyChecking=yes".into(), alias.into()];
            arguments.extend(options.into_iter().flat_map(|option| ["-o".into(), option]));
        }
        if self.port != SSH_PORT {
            arguments.extend(["-p".into(), self.port.to_string().into()]);
        }
        if let Some(user) = &self.user {
            arguments.extend(["-l".into(), user.into()]);
        }
        arguments.extend(["--".into(), host.into()]);
        arguments
    }
}

/// A file with the keys that a host shows, if they are known of it; none where nothing is known of it.
///
/// # Errors
/// [`Kind::Refused`] where it has other keys than are known of it.
pub fn known_hosts(seen: &Seen, context: &Context) -> Result<Option<PathBuf>> {
    let Some(record) = Record::load(context)? else { return Ok(None) };
    match record.identity(seen) {
        // Where it shows no key it is not reached either, and ssh says why.
        Identity::Unknown | Identity::Unseen => Ok(None),
        Identity::Same => keep(seen, context).map(Some),
        Identity::Changed => {
            let message = format!("log in to {}: its SSH key is another one than {} has", seen.host, record.bundle);
            let error = Error::new(Kind::Refused, message).because(format!("it shows {}", seen.keys.join(", ")));
            Err(error.hint("find out whether the machine was made anew; --accept-host-key goes on all the same"))
        }
    }
}

/// Writes a host's keys where ssh finds them.
fn keep(seen: &Seen, context: &Context) -> Result<PathBuf> {
    let directory = state::directory(context)?.join("known_hosts");
    // A host's name holds nothing that leads elsewhere: others were left out when `cluster.conf` was read.
    let path = directory.join(&seen.host);
    let doing = || format!("write {}", path.display());
    DirBuilder::new().recursive(true).mode(0o700).create(&directory).context(doing)?;
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&path).context(doing)?;
    let lines: String = seen.public_keys.iter().map(|key| format!("{} {key}\n", seen.host)).collect();
    file.write_all(lines.as_bytes()).context(doing)?;
    Ok(path)
}
