//! Arguments of `restore`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Identities, Latest, Limit, Reach};

#[derive(Args)]
pub(crate) struct Restore {
    #[command(subcommand)]
    pub(crate) command: Option<RestoreCommand>,
    /// Bundle to restore; the same as --file
    #[arg(value_name = "BUNDLE", value_parser = bundle, conflicts_with_all = ["file", "sql"])]
    pub(crate) bundle: Option<PathBuf>,
    /// Newest bundle of this cluster in the stores of the settings; the same as `latest` for BUNDLE
    #[arg(long, conflicts_with_all = ["bundle", "file", "sql", "resume", "rollback"])]
    pub(crate) latest: bool,
    #[command(flatten)]
    pub(crate) whose: Latest,
    /// Bundle to restore. With --resume: its new place, if the bundle was moved. With --rollback: the bundle of the restore
    /// to roll back
    #[arg(long, value_name = "BUNDLE")]
    pub(crate) file: Option<PathBuf>,
    /// Restore a dump of pg_dump in place of a bundle: a script, plain or compressed by gzip, or an archive (-Fc, -Fd, -Ft).
    /// The database is named orchestrator, unless --database names another
    #[arg(long, value_name = "SCRIPT", conflicts_with = "file")]
    pub(crate) sql: Option<PathBuf>,
    /// The cluster.conf that belongs to the dump. It is put where the settings say, if they name a place
    #[arg(long, value_name = "FILE", requires = "sql", conflicts_with = "rollback")]
    pub(crate) cluster_conf: Option<PathBuf>,
    /// Settings with the PostgreSQL connection; the name of the file ends in .toml [default: the usual settings, if they exist]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Check everything, print the steps, and stop. With --rollback: say what it would rename and drop
    #[arg(long, conflicts_with = "resume")]
    pub(crate) dry_run: bool,
    /// Do not ask before live databases step aside
    #[arg(long)]
    pub(crate) yes: bool,
    /// Continue the restore that was interrupted
    #[arg(long, conflicts_with = "rollback")]
    pub(crate) resume: bool,
    /// Return to the state before the last restore
    #[arg(long)]
    pub(crate) rollback: bool,
    /// Restore only this database, under another name if one follows. Repeat the flag for several
    /// [default: all databases of the bundle, and files]
    #[arg(long, value_name = "NAME[=NEWNAME]", value_parser = renamed, conflicts_with_all = ["resume", "rollback"])]
    pub(crate) database: Vec<(String, Option<String>)>,
    /// Restore only this part of the bundle
    #[arg(long, value_name = "COMPONENT", conflicts_with_all = ["resume", "rollback"])]
    pub(crate) only: Option<Component>,
    /// Put files below this directory, as if the directory were `/`
    #[arg(long, value_name = "DIR", default_value = "/", value_parser = absolute)]
    pub(crate) root: PathBuf,
    /// Continue although this host of the cluster is down. Separate several with commas, or repeat the flag
    #[arg(long, value_name = "HOST", value_delimiter = ',', conflicts_with_all = ["resume", "rollback"])]
    pub(crate) allow_unreachable: Vec<String>,
    /// Continue although the SSH host key of this host changed or is unknown. Separate several with commas, or repeat
    /// the flag
    #[arg(long, value_name = "HOST", value_delimiter = ',', conflicts_with_all = ["resume", "rollback"])]
    pub(crate) accept_host_key: Vec<String>,
    /// Continue without this object, if the server refuses it: an index, a constraint, a function, or the rows of a table.
    /// Name the object as the error does. Repeat the flag for several; --resume takes it too
    #[arg(long, value_name = "OBJECT", conflicts_with = "rollback")]
    pub(crate) accept_missing: Vec<String>,
    /// Continue although the bundle belongs to this cluster, and this machine to another
    #[arg(long, value_name = "NAME", conflicts_with_all = ["resume", "rollback"])]
    pub(crate) accept_cluster: Option<String>,
    /// Create this role although the role is powerful, such as a superuser, and this machine does not know the bundle.
    /// Repeat the flag for several
    #[arg(long, value_name = "ROLE", conflicts_with_all = ["resume", "rollback"])]
    pub(crate) allow_superuser: Vec<String>,
    /// Continue although the PostgreSQL client programs are old, and nobody knows who made the bundle. A crafted bundle
    /// could run programs through them
    #[arg(long, conflicts_with_all = ["resume", "rollback"])]
    pub(crate) allow_old_clients: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// Release that runs on this machine
    #[arg(long, value_name = "VERSION", conflicts_with_all = ["resume", "rollback"])]
    pub(crate) release: Option<String>,
    /// Number of connections that load rows [default: two for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    #[arg(conflicts_with_all = ["resume", "rollback"])]
    pub(crate) jobs: Option<u16>,
    #[command(flatten)]
    pub(crate) limit: Limit,
    #[command(flatten)]
    pub(crate) identities: Identities,
}

#[derive(Subcommand)]
pub(crate) enum RestoreCommand {
    /// Drop the databases and delete the files that stepped aside in restores. There is no rollback afterwards
    #[command(
        after_help = "Examples:\n  orchestrator-cli restore cleanup --dry-run\n  orchestrator-cli restore cleanup --yes"
    )]
    Cleanup(RestoreCleanup),
}

#[derive(Args)]
pub(crate) struct RestoreCleanup {
    /// Settings with the PostgreSQL connection [default: the usual settings, if they exist]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Say what would be dropped, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Forget the restores that can't be rolled back from here: the server does not answer, the server is another one, or
    /// the old databases are gone. Nothing is dropped
    #[arg(long)]
    pub(crate) forget: bool,
}

/// A bundle's path, and no flag that was meant.
fn bundle(text: &str) -> Result<PathBuf, String> {
    match text {
        "resume" | "rollback" | "dry-run" => Err(format!("did you mean --{text}?")),
        _ => Ok(text.into()),
    }
}

/// A part of a bundle.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Component {
    /// PostgreSQL's databases and roles
    Databases,
    /// Captured files, and cluster.conf
    Files,
}

impl From<Component> for backup_core::restore::Component {
    fn from(component: Component) -> Self {
        match component {
            Component::Databases => Self::Databases,
            Component::Files => Self::Files,
        }
    }
}

/// A path that does not depend on the working directory.
fn absolute(text: &str) -> Result<PathBuf, String> {
    std::path::absolute(text).map_err(|cause| cause.to_string())
}

/// `NAME` or `NAME=NEWNAME`.
fn renamed(text: &str) -> Result<(String, Option<String>), String> {
    let (name, other) = text.split_once('=').map_or((text, None), |(name, other)| (name, Some(other)));
    if name.is_empty() || other.is_some_and(str::is_empty) {
        return Err("a name is empty".into());
    }
    Ok((name.into(), other.map(Into::into)))
}
