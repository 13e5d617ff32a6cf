//! Arguments of `restore`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Identities, Latest, Limit, Reach};

#[derive(Args)]
pub(crate) struct Restore {
    #[command(subcommand)]
    pub(crate) command: Option<RestoreCommand>,
    /// The same as --file
    #[arg(value_name = "BUNDLE", value_parser = bundle, conflicts_with_all = ["file", "sql"])]
    pub(crate) bundle: Option<PathBuf>,
    /// The newest bundle of this cluster in the settings' stores; the same as the word `latest` for BUNDLE
    #[arg(long, conflicts_with_all = ["bundle", "file", "sql", "resume", "rollback"])]
    pub(crate) latest: bool,
    #[command(flatten)]
    pub(crate) whose: Latest,
    /// The bundle; with --resume, where it is now if it was moved; with --rollback, which restore is meant
    #[arg(long, value_name = "BUNDLE")]
    pub(crate) file: Option<PathBuf>,
    /// In place of a bundle, a script that `pg_dump orchestrator -f orchestrator.sql` made, perhaps compressed by gzip, or an
    /// archive of pg_dump (-Fc, -Fd, -Ft); its database is called orchestrator unless --database says otherwise
    #[arg(long, value_name = "SCRIPT", conflicts_with = "file")]
    pub(crate) sql: Option<PathBuf>,
    /// The cluster.conf that goes with the script; it is put where the settings say, if they do
    #[arg(long, value_name = "FILE", requires = "sql", conflicts_with = "rollback")]
    pub(crate) cluster_conf: Option<PathBuf>,
    /// Settings with the PostgreSQL connection (a file whose name ends in .toml) [default: the usual ones, if they exist]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Check everything, print the steps, and stop; with --rollback, say what it would rename and drop
    #[arg(long, conflicts_with = "resume")]
    pub(crate) dry_run: bool,
    /// Don't ask before databases step aside
    #[arg(long)]
    pub(crate) yes: bool,
    /// Go on with the restore that stopped half way
    #[arg(long, conflicts_with = "rollback")]
    pub(crate) resume: bool,
    /// Return to what was there before the last restore
    #[arg(long)]
    pub(crate) rollback: bool,
    /// A database to bring back alone, as often as needed, under another name if one follows
    /// [default: all of the bundle's, and files]
    #[arg(long, value_name = "NAME[=NEWNAME]", value_parser = renamed, conflicts_with_all = ["resume", "rollback"])]
    pub(crate) database: Vec<(String, Option<String>)>,
    /// Bring back this part of the bundle alone
    #[arg(long, value_name = "COMPONENT", conflicts_with_all = ["resume", "rollback"])]
    pub(crate) only: Option<Component>,
    /// Put files below this directory, as if it were `/`
    #[arg(long, value_name = "DIR", default_value = "/", value_parser = absolute)]
    pub(crate) root: PathBuf,
    /// Go on although this host of the cluster is down; several with commas, or as often as needed
    #[arg(long, value_name = "HOST", value_delimiter = ',', conflicts_with_all = ["resume", "rollback"])]
    pub(crate) allow_unreachable: Vec<String>,
    /// Go on although this host's SSH key is another one than it was, or unknown; several with commas, or as often
    /// as needed
    #[arg(long, value_name = "HOST", value_delimiter = ',', conflicts_with_all = ["resume", "rollback"])]
    pub(crate) accept_host_key: Vec<String>,
    /// Go on without this index, constraint, function or the like of a database, or without this table's rows, where the server
    /// refuses it, as the error names it; as often as needed, and with --resume too
    #[arg(long, value_name = "OBJECT", conflicts_with = "rollback")]
    pub(crate) accept_missing: Vec<String>,
    /// Go on although the bundle is of this cluster, and this machine of another one
    #[arg(long, value_name = "NAME", conflicts_with_all = ["resume", "rollback"])]
    pub(crate) accept_cluster: Option<String>,
    /// Make this role although it can do more than databases' owners may, as a superuser can, and this machine does not know
    /// the bundle; as often as needed
    #[arg(long, value_name = "ROLE", conflicts_with_all = ["resume", "rollback"])]
    pub(crate) allow_superuser: Vec<String>,
    /// Go on although a bundle could make this machine's PostgreSQL client programs, which are too old, run programs, and this machine
    /// does not know who made the bundle
    #[arg(long, conflicts_with_all = ["resume", "rollback"])]
    pub(crate) allow_old_clients: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// The release of this machine
    #[arg(long, value_name = "VERSION", conflicts_with_all = ["resume", "rollback"])]
    pub(crate) release: Option<String>,
    /// Connections that load rows at once [default: two for each core]
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
    /// Drop the databases, and delete the files, that stepped aside in restores; there is no rollback afterwards
    Cleanup(RestoreCleanup),
}

#[derive(Args)]
pub(crate) struct RestoreCleanup {
    /// Settings with the PostgreSQL connection [default: the usual ones, if they exist]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Say what would be dropped, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Don't ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Forget the restores that can't be taken back from here: their server does not answer, or is another one, or what
    /// stepped aside is gone; nothing is dropped
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
