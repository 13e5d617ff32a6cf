//! What a killed run has left undone: hooks that run whatever happens are run by the next run, or by the supervisor of this one.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Around, Hooks, Said, When};
use crate::finding::Finding;
use crate::lock::{self, Lock};
use crate::{Context, ErrorContext, Result, state};

/// The ending of a note that a run's last hooks are still to come.
const ENDING: &str = ".hooks";

/// A note that the last hooks of a run are still to come, which the run holds as long as it lives.
pub(super) struct Noted(Option<(Lock, PathBuf)>);

impl Noted {
    /// Notes it, where there are such hooks.
    pub(super) fn begin(hooks: &Hooks, job: Around, context: &Context) -> Result<Self> {
        if hooks.of(job, When::Finally).next().is_none() {
            return Ok(Self(None));
        }
        let directory = directory(context)?;
        state::make_for("the notes of hooks", &directory)?;
        let path = directory.join(format!("{}-{}{ENDING}", job.name(), std::process::id()));
        let file = lock::open(&path).context(|| format!("write {}", path.display()))?;
        let held = lock::lock(file, &path, || format!("another run of {} goes on", job.name()))?;
        Ok(Self(Some((held, path))))
    }

    /// They have run.
    pub(super) fn end(self) {
        if let Some((_held, path)) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

fn directory(context: &Context) -> Result<PathBuf> {
    Ok(state::directory(context)?.join("hooks"))
}

/// Runs the last hooks of every run of a job that was killed before it came to them.
pub async fn settle(hooks: &Hooks, job: Around, said: &Said, context: &Context) {
    let Ok(directory) = directory(context) else { return };
    for path in left(&directory, job) {
        // One that lives holds its note.
        let held = lock::open(&path).ok().and_then(|file| lock::lock(file, &path, String::new).ok());
        let Some(_held) = held else { continue };
        let message = "a run was killed before its last hooks; they run now";
        said.push(Finding::warning("hooks-left", job.name(), message));
        hooks.run_all((job, When::Finally), "killed", said, context).await;
        let _ = fs::remove_file(&path);
    }
}

fn left(directory: &Path, job: Around) -> Vec<PathBuf> {
    let begin = format!("{}-", job.name());
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(&begin) && name.ends_with(ENDING)).collect();
    names.sort();
    names.into_iter().map(|name| directory.join(name)).collect()
}
