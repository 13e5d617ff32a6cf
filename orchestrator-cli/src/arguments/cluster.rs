//! Arguments of what works on the cluster's machines.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Config, Identities, Reach};

#[derive(Args)]
pub(crate) struct Deploy {
    #[command(flatten)]
    pub(crate) config: Config,
    /// Draw the graph and stop. No machine is told anything. Assets of the release are unpacked if the settings name some
    #[arg(long, conflicts_with_all = ["only", "resume", "yes", "allow_unreachable", "accept_host_key", "without_store"])]
    pub(crate) dry: bool,
    /// Release to deploy [default: the one of the settings]
    #[arg(long, value_name = "VERSION")]
    pub(crate) release: Option<String>,
    /// File for the picture; its name ends in .png, .svg or .dot [default: graph.png]
    #[arg(long, value_name = "FILE", requires = "dry")]
    pub(crate) graph: Option<PathBuf>,
    /// Deploy only these machines: by name or address, or a part of either, or by zone or tag. Separate several with commas, or repeat the flag
    #[arg(long, value_name = "HOST|TAG", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Continue the deploy that was interrupted, or in which machines failed
    #[arg(long, conflicts_with_all = ["release", "only", "allow_unreachable"])]
    pub(crate) resume: bool,
    /// Do not ask before the agents run
    #[arg(long)]
    pub(crate) yes: bool,
    /// Continue although this machine is down. Separate several with commas, or repeat the flag
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub(crate) allow_unreachable: Vec<String>,
    /// Continue although the SSH host key of this machine changed or is unknown. Separate several with commas, or repeat the flag
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub(crate) accept_host_key: Vec<String>,
    /// Continue although this store can't say who owns the cluster. Repeat the flag for several
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) without_store: Vec<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Subcommand)]
pub(crate) enum Ownership {
    /// Show who owns the cluster, by the notes of this machine, the stores and the machines
    #[command(after_help = "Example:\n  orchestrator-cli ownership show")]
    Show {
        #[command(flatten)]
        config: Config,
        #[command(flatten)]
        identities: Identities,
        #[command(flatten)]
        reach: Reach,
    },
    /// Make this machine the owner of the cluster. The machines learn of the new owner with the next deploy
    #[command(
        after_help = "Examples:\n  orchestrator-cli ownership claim\n  orchestrator-cli ownership claim -c cluster.conf --yes"
    )]
    Claim(Claiming),
    /// Give the cluster up. Another orchestrator can then take the cluster over without a warning
    #[command(after_help = "Example:\n  orchestrator-cli ownership release")]
    Release(Claiming),
}

#[derive(Args)]
pub(crate) struct Claiming {
    #[command(flatten)]
    pub(crate) config: Config,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Continue although this store can't say who owns the cluster. Repeat the flag for several
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) without_store: Vec<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Args)]
pub(crate) struct Ssh {
    /// Name or address of the machine, or a part of either, or a zone or tag. The command asks if several machines match
    pub(crate) query: Option<String>,
    #[command(flatten)]
    pub(crate) config: Config,
    /// User to log in as [default: the one of the settings, or of the configuration of ssh]
    #[arg(long, short = 'l', value_name = "USER")]
    pub(crate) user: Option<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// Log in although the SSH host key differs from the restored bundle. ssh still makes its own check
    #[arg(long)]
    pub(crate) accept_host_key: bool,
    /// Command to run there, after `--`
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<std::ffi::OsString>,
}

#[derive(Subcommand)]
pub(crate) enum Databases {
    /// Back up the databases of this machine's components. On the orchestrator, back up those of all machines over SSH
    #[command(after_help = "Examples:\n  \
        orchestrator-cli databases backup --config /etc/orchestrator/orchestrator.toml\n  \
        orchestrator-cli databases backup --config cluster.conf --all --dry-run")]
    Backup(DatabasesBackup),
}

#[derive(Args)]
pub(crate) struct DatabasesBackup {
    #[command(flatten)]
    pub(crate) config: Config,
    /// Back up the databases of every machine over SSH, although this machine has databases of its own
    #[arg(long, conflicts_with = "host")]
    pub(crate) all: bool,
    /// Name of this machine in cluster.conf [default: the one with the address or name of this machine]
    #[arg(long = "as", value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Encrypt the bundles for this recipient: age1…, an SSH public key, or a file with such lines. Recipients of
    /// the settings can read the bundles too. Repeat the flag for several
    #[arg(long, value_name = "RECIPIENT")]
    pub(crate) recipient: Vec<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// Write no bundle to this store. Repeat the flag for several
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) without_store: Vec<String>,
    /// Delete no older bundles afterwards, whatever the retention rules say
    #[arg(long)]
    pub(crate) no_prune: bool,
    /// Find the masters, print the plan, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Read the order of an orchestrator from standard input. The settings are those of this machine
    #[arg(long, hide = true, conflicts_with_all = ["all", "host", "recipient", "without_store", "no_prune", "dry_run"])]
    pub(crate) errand: bool,
}
