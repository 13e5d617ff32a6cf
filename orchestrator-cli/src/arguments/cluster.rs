//! Arguments of what works on the cluster's machines.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Config, Identities, Reach};

#[derive(Args)]
pub(crate) struct Deploy {
    #[command(flatten)]
    pub(crate) config: Config,
    /// Tell no machine anything: draw the graph, unpack the release's assets where the settings name some, and stop
    #[arg(long, conflicts_with_all = ["only", "resume", "yes", "allow_unreachable", "accept_host_key", "without_store"])]
    pub(crate) dry: bool,
    /// The release [default: the settings']
    #[arg(long, value_name = "VERSION")]
    pub(crate) release: Option<String>,
    /// Where the picture goes; its name ends in .png, .svg or .dot [default: graph.png]
    #[arg(long, value_name = "FILE", requires = "dry")]
    pub(crate) graph: Option<PathBuf>,
    /// Deploy these machines alone, by name, address or a part of them, zone or tag; several with commas, or as often as needed
    #[arg(long, value_name = "HOST|TAG", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Go on with the deploy that stopped half way, or in which machines failed
    #[arg(long, conflicts_with_all = ["release", "only", "allow_unreachable"])]
    pub(crate) resume: bool,
    /// Don't ask before the agents are run
    #[arg(long)]
    pub(crate) yes: bool,
    /// Go on although this machine is down; several with commas, or as often as needed
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub(crate) allow_unreachable: Vec<String>,
    /// Go on although this machine's SSH key is another one than it was, or unknown; several with commas, or as often as needed
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub(crate) accept_host_key: Vec<String>,
    /// Go on although this store can't be asked who owns the cluster; as often as needed
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) without_store: Vec<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Subcommand)]
pub(crate) enum Ownership {
    /// Say who owns the cluster: by this machine's notes, the stores, and the machines that let us in
    Show {
        #[command(flatten)]
        config: Config,
        #[command(flatten)]
        identities: Identities,
        #[command(flatten)]
        reach: Reach,
    },
    /// Make this machine the cluster's owner, whoever is; the machines learn of it with the next deploy
    Claim(Claiming),
    /// Give the cluster up, so that another orchestrator takes it over without a warning
    Release(Claiming),
}

#[derive(Args)]
pub(crate) struct Claiming {
    #[command(flatten)]
    pub(crate) config: Config,
    /// Don't ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Go on although this store can't be asked who owns the cluster; as often as needed
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) without_store: Vec<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Args)]
pub(crate) struct Ssh {
    /// A name, an address or a part of them, a zone or a tag; where several machines match, the one to take is asked for
    pub(crate) query: Option<String>,
    #[command(flatten)]
    pub(crate) config: Config,
    /// Who to log in as [default: the settings', or what ssh's own configuration says]
    #[arg(long, short = 'l', value_name = "USER")]
    pub(crate) user: Option<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// Log in although the machine's key is another one than the restored bundle has; ssh asks as it always does
    #[arg(long)]
    pub(crate) accept_host_key: bool,
    /// What to run there, after `--`
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<std::ffi::OsString>,
}

#[derive(Subcommand)]
pub(crate) enum Databases {
    /// Back up the databases of this machine's components, or from the orchestrator those of all machines over ssh
    #[command(after_help = "Examples:\n  \
        orchestrator-cli databases backup --config /etc/orchestrator/orchestrator.toml\n  \
        orchestrator-cli databases backup --config cluster.conf --all --dry-run")]
    Backup(DatabasesBackup),
}

#[derive(Args)]
pub(crate) struct DatabasesBackup {
    #[command(flatten)]
    pub(crate) config: Config,
    /// Those of every machine, over ssh, though this machine has some itself
    #[arg(long, conflicts_with = "host")]
    pub(crate) all: bool,
    /// This machine is that one of cluster.conf [default: the one that has its address or name]
    #[arg(long = "as", value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Who can read the bundles, as often as needed: age1…, an SSH public key, or a file with such lines; they are
    /// encrypted then. Those of the settings can read them too
    #[arg(long, value_name = "RECIPIENT")]
    pub(crate) recipient: Vec<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// Leave this store out: it gets no bundle; as often as needed
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) without_store: Vec<String>,
    /// Delete nothing afterwards, whatever the rules of the settings say
    #[arg(long)]
    pub(crate) no_prune: bool,
    /// Look who is the master, print what would be done, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Take what is to be known from standard input, as an orchestrator sends it; the settings are this machine's own
    #[arg(long, hide = true, conflicts_with_all = ["all", "host", "recipient", "without_store", "no_prune", "dry_run"])]
    pub(crate) errand: bool,
}
