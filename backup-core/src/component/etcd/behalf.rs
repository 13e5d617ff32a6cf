//! As whom programs run that read a snapshot or serve what is in it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::access;
use crate::component::walls::Walls;

/// Begins a program in a directory: where a member listens is a name in its working directory, since a path of a socket can't be long.
const THERE: &str = r#"cd "$0" && exec "$@""#;
/// Restores with the program that this version has for it.
pub(super) const RESTORE: &str = r#"if command -v etcdutl >/dev/null; then etcdctl=etcdutl; else etcdctl=etcdctl; fi
exec "$etcdctl" snapshot "$@""#;

/// As whom programs run.
pub(super) enum Behalf {
    /// Behind walls.
    Walls(Box<Walls>),
    /// As whoever owns the live data. They end with us.
    Owner { user: u32, group: u32, programs: Option<PathBuf> },
}

impl Behalf {
    /// As the owner of something.
    pub(super) fn of_owner(like: &impl MetadataExt, programs: Option<&Path>) -> Self {
        Self::Owner { user: like.uid(), group: like.gid(), programs: programs.map(Into::into) }
    }

    /// The beginning of a command in `directory`: a program and its arguments follow.
    pub(super) fn command(&self, directory: &Path) -> Command {
        let mut command = match self {
            Self::Walls(walls) => walls.within.command("sh"),
            Self::Owner { user, group, programs } => {
                let mut command = Command::new("setpriv");
                command.env_clear().env("PATH", access::path(programs.as_deref())).args(["--pdeathsig", "KILL"]);
                // Who is not root can be nobody else.
                if rustix::process::geteuid().is_root() {
                    let (user, group) = (user.to_string(), group.to_string());
                    command.args(["--reuid", &user, "--regid", &group, "--clear-groups"]);
                }
                command.arg("sh");
                command
            }
        };
        command.args(["-c", THERE]).arg(directory).env("ETCDCTL_API", "3");
        command
    }
}
