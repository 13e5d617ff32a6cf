//! A deploy, decided, as it stands in its journal; and where journals of deploys are kept.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Agent, Graph, Requirement};
use crate::cluster::hosts::Login;
use crate::plan::{Head, Journal, Progress};
use crate::{Context, Error, ErrorContext, Kind, Result, lock, state};

/// The kind of plan, as its journal names it.
pub(super) const KIND: &str = "deploy";
/// The first step.
pub(super) const BACKUP: &str = "back up the databases";
const JOURNAL: &str = "journal";

/// All that a deploy's steps are made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the cluster.
    pub cluster: String,
    /// The release.
    pub release: String,
    /// The machines that are deployed, in their order.
    pub graph: Graph,
    /// How their agents are told and run.
    pub agent: Agent,
    /// How they are logged in to.
    pub login: Login,
    /// Machines at once.
    pub at_once: usize,
}

impl Plan {
    /// Names of its steps: the backup, and each machine's.
    pub(super) fn steps(&self) -> Vec<String> {
        let machines = self.graph.machines.iter().map(|machine| format!("deploy {}", machine.host));
        std::iter::once(BACKUP.into()).chain(machines).collect()
    }

    /// Levels of steps. The backup comes before all machines.
    pub(super) fn levels(&self) -> Vec<Vec<usize>> {
        let machines = self.graph.levels.iter().map(|level| level.iter().map(|machine| machine + 1).collect());
        std::iter::once(vec![0]).chain(machines).collect()
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
    _lock: File,
}

impl Deploys {
    /// Opens it, making it where it is missing.
    ///
    /// # Errors
    /// [`Kind::Locked`] where another deploy runs.
    pub(super) fn open(context: &Context) -> Result<Self> {
        let directory = state::directory(context)?.join("deploys");
        let doing = || format!("open the deploys' directory {}", directory.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&directory).context(doing)?;
        let path = directory.join(".lock");
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path).context(doing)?;
        let lock = lock::lock(file, &path, || "another deploy is running on this machine".into())?;
        Ok(Self { directory, _lock: lock })
    }

    /// Begins a deploy: a directory with its journal, and room for logs.
    pub(super) fn create(&self, head: &Head<Plan>) -> Result<Journal> {
        let directory = self.directory.join(head.created.format("%Y%m%dT%H%M%S%.6fZ").to_string());
        DirBuilder::new().mode(0o700).create(&directory).context(|| format!("make {}", directory.display()))?;
        Journal::create(&directory.join(JOURNAL), head)
    }

    /// The last deploy, which is unfinished.
    ///
    /// # Errors
    /// [`Kind::NotFound`] where there is none, or it is complete.
    pub(super) fn unfinished(&self) -> Result<(Journal, Head<Plan>)> {
        let doing = || format!("look for a deploy in {}", self.directory.display());
        let entries = fs::read_dir(&self.directory).context(doing)?;
        // Names are in the order of time. A crash may leave a directory in which no journal was begun.
        let last = entries.flatten().map(|entry| entry.path().join(JOURNAL)).filter(|path| path.exists()).max();
        let nothing = || Error::new(Kind::NotFound, "no deploy is unfinished").hint("begin one without --resume");
        let (journal, head) = Journal::open::<Plan>(&last.ok_or_else(nothing)?)?;
        if journal.progress() == Progress::Applied { Err(nothing()) } else { Ok((journal, head)) }
    }
}

/// Where a machine's output goes.
pub(super) fn log(journal: &Journal, host: &str) -> PathBuf {
    journal.path().parent().unwrap_or(Path::new("")).join(format!("{host}.log"))
}
