//! `rclone:remote:path`: a path in a remote that rclone's own settings name.

use std::fmt;

use super::address::refused;
use crate::Result;

/// What begins such an address.
pub(super) const RCLONE: &str = "rclone:";
const FORM: &str = "write rclone:remote:path; rclone listremotes shows the remotes";

/// `rclone:remote:path`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RcloneAddress {
    /// The remote, as rclone's settings call it.
    pub remote: String,
    /// The path in it, without a slash at its end; empty for all of the remote.
    pub path: String,
}

/// Reads what comes after `rclone:`. What may hold a secret is not repeated.
pub(super) fn read(rest: &str) -> Result<RcloneAddress> {
    let (remote, path) = rest.split_once(':').unwrap_or((rest, ""));
    // `:s3,secret_access_key=…:bucket` and `remote,option=…:path` are remotes that a command line makes up.
    if remote.is_empty() && !path.is_empty() || remote.contains([',', '=']) {
        let why = "rclone:… has options of a remote, which may be secret and belong nowhere near a command line";
        return Err(
            refused(why).hint("write them into rclone's settings: rclone config create; then rclone:remote:path")
        );
    }
    if path.starts_with("//") {
        return Err(refused("rclone:…://… is a URL, and may hold a password").hint(FORM));
    }
    let legal = |c: char| c.is_alphanumeric() || "_-.+@ ".contains(c);
    let named = !remote.is_empty() && remote.chars().all(legal) && !remote.starts_with(['-', ' ']);
    if !named || remote.ends_with(' ') || rest.len() == remote.len() {
        return Err(refused("rclone:… names no remote and path").hint(FORM));
    }
    let whole = path.trim_end_matches('/');
    let parts = whole.strip_prefix('/').unwrap_or(whole);
    let bad = |part: &str| part.is_empty() || part == "." || part == "..";
    if !parts.is_empty() && parts.split('/').any(bad) || path.contains(char::is_control) {
        return Err(refused("rclone:… has an empty part in its path, or one that is . or ..").hint(FORM));
    }
    let path = if whole.is_empty() && path.starts_with('/') { "/" } else { whole };
    Ok(RcloneAddress { remote: remote.into(), path: path.into() })
}

impl fmt::Display for RcloneAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{RCLONE}{}:{}", self.remote, self.path)
    }
}
