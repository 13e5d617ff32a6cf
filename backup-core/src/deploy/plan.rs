//! A deploy, decided, as it stands in its journal; and where journals of deploys are kept.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use chrono::NaiveDateTime;
use serde::{Deserialize, Serialize};

use super::{Graph, Requirement};
use crate::cluster::agent::Remote;
use crate::lock::Lock;
use crate::names::StepId;
use crate::ownership::Claim;
use crate::plan::{Head, Journal, Progress, Recipe};
use crate::written::sync_directory;
use crate::{Context, Error, ErrorContext, Kind, Result, state};

/// The kind of plan, as its journal names it.
pub(super) const KIND: &str = "deploy";
/// Ids of the first step and the second one, and what a machine's begins with.
const IDS: [&str; 3] = ["claim", "backup", "machine"];
/// Their titles.
const TITLES: [&str; 3] = ["claim the cluster", "back up the databases", "deploy"];
/// Their titles in journals of format 1, which knew steps by these.
const TITLES_IN_FORMAT_1: [&str; 3] = ["claim the cluster", "back up the databases", "deploy"];
/// The place of the first machine's step.
pub(super) const FIRST: usize = 2;
const JOURNAL: &str = "journal";
/// What the directory of a deploy is called.
const NAME: &str = "%Y%m%dT%H%M%S%.6fZ";
/// Deploys that are kept, with the logs of their machines.
const KEPT: usize = 10;

/// All that a deploy's steps are made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// Whether it is all machines of the cluster.
    pub all: bool,
    /// Name of the cluster.
    pub cluster: String,
    /// The release.
    pub release: String,
    /// The machines that are deployed, in their order.
    pub graph: Graph,
    /// How they are logged in to, and their agents are told and run.
    pub remote: Remote,
    /// By which this machine owns the cluster, or is to own it.
    pub claim: Claim,
    /// Stores that are not asked for it.
    pub without: Vec<String>,
}

impl Recipe for Plan {
    fn titles_in_format_1(&self) -> Vec<(StepId, String)> {
        self.ids().into_iter().zip(self.named(TITLES_IN_FORMAT_1, " ")).collect()
    }
}

impl Plan {
    /// The claim, the backup, and each machine, with its host's name after what `joins` them.
    fn named(&self, [claim, backup, machine]: [&str; 3], joins: &str) -> Vec<String> {
        let machines = self.graph.machines.iter().map(|one| format!("{machine}{joins}{}", one.host));
        [claim.into(), backup.into()].into_iter().chain(machines).collect()
    }

    /// Ids of its steps, in order.
    pub(super) fn ids(&self) -> Vec<StepId> {
        self.named(IDS, "/").into_iter().map(StepId::new).collect()
    }

    /// Titles of its steps.
    pub(super) fn titles(&self) -> Vec<String> {
        self.named(TITLES, " ")
    }

    /// Levels of steps. The claim comes before the backup, so that whoever loses it leaves no bundle, and both before all machines.
    pub(super) fn levels(&self) -> Vec<Vec<usize>> {
        let machines = self.graph.levels.iter().map(|level| level.iter().map(|machine| machine + FIRST).collect());
        [vec![0], vec![1]].into_iter().chain(machines).collect()
    }
}

impl Graph {
    /// The machines that are wanted alone. What they need of others is taken to be there.
    pub(super) fn only(&self, wanted: impl Fn(&super::Machine) -> bool) -> Self {
        let kept: Vec<usize> = (0..self.machines.len()).filter(|at| wanted(&self.machines[*at])).collect();
        let now = |at: &usize| kept.iter().position(|kept| kept == at);
        let requirements = self.requirements.iter().filter_map(|requirement| {
            let machine = now(&requirement.machine)?;
            let on: Option<Vec<usize>> = requirement.on.iter().map(now).collect();
            Some(Requirement { machine, on: on?, ..requirement.clone() })
        });
        let levels = self.levels.iter().map(|level| level.iter().filter_map(now).collect::<Vec<_>>());
        Self {
            machines: kept.iter().map(|at| self.machines[*at].clone()).collect(),
            requirements: requirements.collect(),
            levels: levels.filter(|level| !level.is_empty()).collect(),
        }
    }
}

/// The directory of deploys, locked against another one on this machine.
pub(super) struct Deploys {
    directory: PathBuf,
    _lock: Lock,
}

impl Deploys {
    /// Opens it, making it where it is missing.
    ///
    /// # Errors
    /// [`Kind::Locked`] where another deploy runs.
    pub(super) fn open(context: &Context) -> Result<Self> {
        let directory = state::directory(context)?.join("deploys");
        let held = "another deploy is running on this machine";
        let lock = state::open_locked(&directory, "the deploys' directory", held)?;
        Ok(Self { directory, _lock: lock })
    }

    /// Begins a deploy: a directory with its journal, and room for logs.
    pub(super) fn create(&self, head: &Head<Plan>) -> Result<Journal> {
        self.tidy_up()?;
        let directory = self.directory.join(head.created.format(NAME).to_string());
        let made = DirBuilder::new().mode(0o700).create(&directory);
        made.and_then(|()| sync_directory(&self.directory)).context(|| format!("make {}", directory.display()))?;
        Journal::create(&directory.join(JOURNAL), head)
    }

    /// Removes all deploys but the last ones.
    fn tidy_up(&self) -> Result<()> {
        let mut all = self.all()?;
        all.truncate(all.len().saturating_sub(KEPT));
        all.iter().try_for_each(|old| fs::remove_dir_all(old).context(|| format!("remove {}", old.display())))
    }

    /// The directories of deploys, oldest first.
    fn all(&self) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(&self.directory).context(|| format!("list {}", self.directory.display()))?;
        let mut all: Vec<PathBuf> = entries
            .flatten()
            .filter(|entry| {
                entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_name(&entry.file_name().to_string_lossy())
            })
            .map(|entry| entry.path())
            .collect();
        // Names are in the order of time.
        all.sort();
        Ok(all)
    }

    /// The last deploy that is unfinished. One of all machines takes the place of those before it.
    ///
    /// # Errors
    /// [`Kind::NotFound`] where there is none.
    pub(super) fn unfinished(&self) -> Result<(Journal, Head<Plan>)> {
        // A crash may leave a directory in which no journal was begun.
        for path in self.all()?.iter().rev().map(|path| path.join(JOURNAL)).filter(|path| path.exists()) {
            let (journal, head) = Journal::open::<Plan>(&path)?;
            match journal.progress() {
                Progress::Applied if head.plan.all => break,
                Progress::Applied => {}
                _ => return Ok((journal, head)),
            }
        }
        Err(Error::new(Kind::NotFound, "no deploy is unfinished").hint("begin one without --resume"))
    }
}

/// Whether the directory of a deploy is called so; others are left alone.
fn is_name(name: &str) -> bool {
    NaiveDateTime::parse_from_str(name, NAME).is_ok()
}

/// Where a machine's output goes.
pub(super) fn log(journal: &Journal, host: &str) -> PathBuf {
    journal.path().parent().unwrap_or(Path::new("")).join(format!("{host}.log"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Status, golden};

    #[test]
    fn journals_of_every_format_are_of_these_steps() {
        let statuses = [Status::Applied, Status::Applied, Status::Applied, Status::Applied, Status::Applied];
        golden::check::<Plan>("deploy", &statuses);
    }
}
