//! Arguments of what makes and reads settings.

use std::path::PathBuf;

use backup_core::settings::{DEFAULT_PATH, Rule};
use clap::{Args, Subcommand};

use super::Config;

#[derive(Subcommand)]
pub(crate) enum ConfigCommand {
    /// Ask a few questions, look at this machine, and write settings that work
    #[command(after_help = "Examples:\n  \
        orchestrator-cli config init\n  \
        orchestrator-cli config init --release 2.6.3 --to /mnt/backups --yes\n  \
        orchestrator-cli config init --output - --to s3://bucket/prefix --yes")]
    Init(Box<Init>),
    /// Read settings and cluster.conf, and name what is wrong or doubtful. No server, store or host is asked
    #[command(after_help = "Examples:\n  \
        orchestrator-cli config check\n  \
        orchestrator-cli config check --config o.toml")]
    Check {
        #[command(flatten)]
        config: Config,
    },
}

/// What is not given here is asked for on a terminal.
#[derive(Args)]
pub(crate) struct Init {
    /// File for the settings; `-` prints them
    #[arg(long, short, value_name = "FILE|-", default_value = DEFAULT_PATH)]
    pub(crate) output: PathBuf,
    /// Overwrite existing settings
    #[arg(long)]
    pub(crate) force: bool,
    /// The cluster.conf [default: the one in /home/orchestrator, in /etc/orchestrator, or here]
    #[arg(long, value_name = "FILE")]
    pub(crate) cluster_conf: Option<PathBuf>,
    /// Connection to PostgreSQL, without a password [default: what the environment says now]
    #[arg(long, value_name = "STRING")]
    pub(crate) connection: Option<String>,
    /// Release that runs on this machine
    #[arg(long, value_name = "VERSION", conflicts_with = "release_file")]
    pub(crate) release: Option<String>,
    /// File whose first line is the release that runs on this machine
    #[arg(long, value_name = "FILE")]
    pub(crate) release_file: Option<PathBuf>,
    /// Store for bundles: DIR, s3://bucket/prefix, sftp://user@host/path or rclone:remote:path. Repeat the flag for several
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) to: Vec<PathBuf>,
    /// Encrypt bundles for this recipient: age1…, an SSH public key, or a file with such lines. Repeat the flag for several
    /// [default: bundles are not encrypted]
    #[arg(long, value_name = "RECIPIENT")]
    pub(crate) recipient: Vec<String>,
    /// File with an identity that opens the bundles on this machine, as drills need it. Repeat the flag for several
    /// [default: that of a recipient, if it lies in /etc/orchestrator or in the home directory as orchestrator.key]
    #[arg(long, value_name = "FILE", requires = "recipient")]
    pub(crate) identity: Vec<PathBuf>,
    /// Rules for bundles to keep, separated by commas
    /// [default: daily=7,weekly=4,monthly=6]
    #[arg(long, value_name = "RULE=NUMBER", value_delimiter = ',')]
    pub(crate) keep: Vec<Rule>,
    /// Never delete a bundle
    #[arg(long, conflicts_with = "keep")]
    pub(crate) keep_all: bool,
    /// Time of backups, as systemd or cron say it. An empty text: never [default: 02:30]
    #[arg(long, value_name = "WHEN")]
    pub(crate) backup_at: Option<String>,
    /// Time of drills of the newest bundle. An empty text: never [default: Sun 04:30]
    #[arg(long, value_name = "WHEN")]
    pub(crate) drill_at: Option<String>,
    /// Do not ask. Use the defaults for what is not given
    #[arg(long)]
    pub(crate) yes: bool,
}
