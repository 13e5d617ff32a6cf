//! Mode and owner of a `cluster.conf` that is put back: those of the one before it; where there is none, those that it had.

use std::fs::{self, File, Metadata, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use crate::accounts::Accounts;
use crate::bundle::manifest::control_plane::{Attributes, Lying};
use crate::finding::Finding;
use crate::held::{At, Held};
use crate::{ErrorContext, Result, shell};

/// The bits of a mode that are its group's, and those of all others.
const GROUP: u32 = 0o070;
const OTHERS: u32 = 0o007;

/// Dresses the file that is to take its `place`; returns what could not be brought back.
pub(super) fn own(staged: &Path, place: &At, lying: Option<&Lying>) -> Result<Vec<Finding>> {
    let file = File::open(staged).context(|| format!("open {}", staged.display()))?;
    if let Ok(before) = fs::metadata(&place.path) {
        give(&file, before.uid(), before.gid(), staged)?;
        if before.is_file() {
            let mode = file.set_permissions(before.permissions());
            mode.context(|| format!("set the mode of {}", staged.display()))?;
        }
        return Ok(Vec::new());
    }
    let directory = place.path.parent().unwrap_or(Path::new("/"));
    let around = fs::metadata(directory).context(|| format!("look at the directory of {}", place.shown.display()))?;
    match lying {
        Some(lying) => dress(&file, &around, &lying.file, &place.shown),
        None => give(&file, around.uid(), around.gid(), staged).map(|()| Vec::new()),
    }
}

/// Dresses a directory that was made for it.
pub(super) fn own_directory(made: &Held, lying: &Lying) -> Result<Vec<Finding>> {
    let (directory, doing) = (made.shown(), || format!("open {}", made.shown().display()));
    let file = made.file().context(doing)?;
    let made = file.metadata().context(doing)?;
    // Something is to be put into it yet.
    let had = Attributes { mode: lying.directory.mode | 0o700, ..lying.directory.clone() };
    dress(&file, &made, &had, directory)
}

/// Gives it the mode and, by their names, the user and the group that it had. Where nobody has such a name it belongs to whom the
/// model does: a number may be anybody's here, and there are secrets in it. Another group
/// may what all others may.
fn dress(file: &File, model: &Metadata, had: &Attributes, place: &Path) -> Result<Vec<Finding>> {
    let (accounts, doing) = (Accounts::load(), || format!("set mode and owner of {}", place.display()));
    let (user, group) = (accounts.user_number(&had.user), accounts.group_number(&had.group));
    give(file, user.unwrap_or(model.uid()), group.unwrap_or(model.gid()), place)?;
    let now = file.metadata().context(doing)?;
    let for_others = (had.mode & !GROUP) | ((had.mode & OTHERS) << 3);
    let mode = if group == Some(now.gid()) { had.mode } else { for_others };
    file.set_permissions(Permissions::from_mode(mode)).context(doing)?;
    if user == Some(now.uid()) && group == Some(now.gid()) {
        return Ok(Vec::new());
    }
    let (shown, word) = (place.display().to_string(), shell::path(place));
    let message = format!("it belonged to {}:{}, and could not be given to both of them here", had.user, had.group);
    let (user, group) = (shell::word(&had.user), shell::word(&had.group));
    let hint = format!("if they are to have it, as root: chown {user}:{group} {word} && chmod {:o} {word}", had.mode);
    Ok(vec![Finding::warning("owner-not-set", shown, message).hint(hint)])
}

fn give(file: &File, user: u32, group: u32, shown: &Path) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    fchown(file, Some(user), Some(group)).context(|| format!("give {}", shown.display()))
}
