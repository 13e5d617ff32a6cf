//! Arguments of the command line.

use std::path::PathBuf;

use backup_core::settings::DEFAULT_PATH;
use clap::{Args, Parser, Subcommand};

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 usage, 3 done with warnings, 10 not found, 11 locked, \
    12 damaged or unsupported, 13 refused by a check, 130 interrupted.";

/// Back up a control plane into one bundle that proves itself.
#[derive(Parser)]
#[command(name = "orchestrator-cli", version, about, after_help = EXIT_CODES, max_term_width = 110)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Print the result as one JSON document, and progress as JSON lines on standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print no progress
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Capture databases, cluster.conf, release and files into one bundle
    #[command(after_help = "Examples:\n  \
        orchestrator-cli backup --config /home/orchestrator/cluster.conf --release 2.6.3\n  \
        orchestrator-cli backup --to /mnt/backups --to /var/lib/postgresql/backups\n  \
        orchestrator-cli backup --config cluster.conf --release 2.6.3 --to - | ssh vault 'cat > o.tgz'")]
    Backup(Backup),
    /// List the bundles of a directory
    #[command(after_help = "Example:\n  orchestrator-cli list /mnt/backups")]
    List {
        /// The directory
        #[arg(default_value = backup_core::settings::DEFAULT_STORE)]
        directory: PathBuf,
    },
    /// Show what a bundle holds, where it came from and how to restore it
    #[command(after_help = "Example:\n  orchestrator-cli show orchestrator_backup_20261120T191500Z.tgz")]
    Show {
        /// The bundle
        bundle: PathBuf,
        /// List every entry too
        #[arg(long)]
        entries: bool,
    },
    /// Check every byte of a bundle against its digests
    #[command(after_help = "Example:\n  orchestrator-cli verify orchestrator_backup_20261120T191500Z.tgz")]
    Verify {
        /// The bundle
        bundle: PathBuf,
    },
    /// Extract entries of a bundle into a new directory
    #[command(after_help = "Examples:\n  \
        orchestrator-cli extract orchestrator_backup_20261120T191500Z.tgz --to /tmp/look\n  \
        orchestrator-cli extract orchestrator_backup_20261120T191500Z.tgz cluster.conf 'databases/*.sql' --to /tmp/look")]
    Extract {
        /// The bundle
        bundle: PathBuf,
        /// What to extract: paths or patterns with `*`, `**` and `?`; everything if none is given
        patterns: Vec<String>,
        /// Where the new directory goes
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Look at everything that a backup needs, and say all that is wrong at once
    #[command(after_help = "Examples:\n  \
        orchestrator-cli check\n  \
        orchestrator-cli check --config /home/orchestrator/cluster.conf --release 2.6.3")]
    Check {
        #[command(flatten)]
        config: Config,
        /// Directory that would get the bundle, as often as needed
        #[arg(long, value_name = "DIR")]
        to: Vec<PathBuf>,
        /// A database to capture, as often as needed [default: all but templates and an untouched postgres]
        #[arg(long, value_name = "NAME")]
        database: Vec<String>,
        /// The release that runs here
        #[arg(long, value_name = "VERSION")]
        release: Option<String>,
    },
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  orchestrator-cli completions bash > /etc/bash_completion.d/orchestrator-cli")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(after_help = "Example:\n  orchestrator-cli man | man -l -")]
    Man,
}

#[derive(Args)]
pub(crate) struct Config {
    /// A cluster.conf, or settings that name one (a file whose name ends in .toml)
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_PATH)]
    pub(crate) config: PathBuf,
}

#[derive(Args)]
pub(crate) struct Backup {
    #[command(flatten)]
    pub(crate) config: Config,
    /// Where the bundle goes, as often as needed: a directory, or `-` for standard output
    /// [default: the settings' stores, or /var/lib/postgresql/backups]
    #[arg(long, value_name = "DIR|-")]
    pub(crate) to: Vec<PathBuf>,
    /// A database to capture, as often as needed [default: all but templates and an untouched postgres]
    #[arg(long, value_name = "NAME")]
    pub(crate) database: Vec<String>,
    /// The release that runs here
    #[arg(long, value_name = "VERSION")]
    pub(crate) release: Option<String>,
    /// Compression: 1 is fastest, 12 smallest [default: 3]
    #[arg(long, value_name = "N")]
    pub(crate) level: Option<u32>,
    /// Connections that read rows at once [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: Option<u16>,
    /// Check everything, print what would be done, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
}
