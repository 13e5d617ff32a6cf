//! What a killed run has left undone: hooks that run whatever happens are run by the next run, or by the supervisor of this one.
//!
//! A file stands for a run whose last hooks are still to come, and the run holds its lock. Two runs of a job with hooks never go on at
//! once: the last hooks of one would undo what the first hooks of the other did.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Around, Hooks, Said, When};
use crate::finding::Finding;
use crate::lock::{self, Lock};
use crate::{Context, Error, ErrorContext, Kind, Result, state};

/// The ending of such a file.
const ENDING: &str = ".hooks";

/// A run whose last hooks are still to come.
pub(super) struct Noted {
    held: Lock,
    path: PathBuf,
}

impl Noted {
    /// Notes it. What a killed run has left comes first.
    ///
    /// # Errors
    /// [`Kind::Locked`] where another run of the job goes on; where nothing can be noted.
    pub(super) async fn begin(hooks: &Hooks, job: Around, said: &Said, context: &Context) -> Result<Self> {
        let path = path(job, context)?;
        if let Some(directory) = path.parent() {
            state::make_for("the notes of hooks", directory)?;
        }
        let (held, is_left) = hold(&path, job)?;
        let noted = Self { held, path };
        if is_left {
            run_left(hooks, job, said, context).await;
        }
        Ok(noted)
    }

    /// The last hooks have run.
    pub(super) fn end(self) {
        let _ = fs::remove_file(&self.path);
        drop(self.held);
    }
}

/// Runs the last hooks of a job's run that was killed before it came to them.
pub async fn settle(hooks: &Hooks, job: Around, said: &Said, context: &Context) {
    let Ok(path) = path(job, context) else { return };
    if !path.exists() {
        return;
    }
    // A run that lives holds it.
    let Ok((held, is_left)) = hold(&path, job) else { return };
    if is_left {
        run_left(hooks, job, said, context).await;
    }
    Noted { held, path }.end();
}

async fn run_left(hooks: &Hooks, job: Around, said: &Said, context: &Context) {
    let message = "a run was killed before its last hooks; they run now";
    said.show(Finding::warning("hooks-left", job.name(), message), context);
    hooks.run_all((job, When::Finally), "killed", said, context).await;
}

fn path(job: Around, context: &Context) -> Result<PathBuf> {
    Ok(state::directory(context)?.join("hooks").join(format!("{}{ENDING}", job.name())))
}

/// Locks the file, and says whether a run has left it. A run that ends may take the file away at any moment.
fn hold(path: &Path, job: Around) -> Result<(Lock, bool)> {
    const TIMES: usize = 5;
    let doing = || format!("write {}", path.display());
    let held = || format!("another run of {} goes on, and has hooks", job.name());
    for _ in 0..TIMES {
        let before = path.metadata().ok();
        let file = lock::open(path).context(doing)?;
        let own = file.try_clone().context(doing)?;
        let lock = lock::lock(file, path, held)?;
        let (own, there) = (own.metadata().context(doing)?, path.metadata().ok());
        if there.is_some_and(|there| is_same(&there, &own)) {
            return Ok((lock, before.is_some_and(|before| is_same(&before, &own))));
        }
    }
    Err(Error::new(Kind::Locked, held()))
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}
