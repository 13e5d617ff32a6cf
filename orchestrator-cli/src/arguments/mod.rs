//! Arguments of the command line.

mod bundles;
mod cluster;
mod config;
mod help;
mod key;
mod restore;
mod routine;

use std::path::PathBuf;

use backup_core::settings::DEFAULT_PATH;
use clap::{Args, Parser, Subcommand};

pub(crate) use bundles::{Copy, Keep, Latest, Limit, Verify};
pub(crate) use cluster::{Claiming, Databases, DatabasesBackup, Deploy, Ownership, Ssh};
pub(crate) use config::{ConfigCommand, Init};
pub(crate) use key::Key;
pub(crate) use restore::{Restore, RestoreCleanup, RestoreCommand};
pub(crate) use routine::{Install, RunJob, Schedule, Status};

/// Back up and restore the control plane of a cluster.
#[derive(Parser)]
#[command(name = "orchestrator-cli", version, max_term_width = 110)]
#[command(help_template = help::template(), after_help = help::AFTER)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Print the result as one JSON document, and the progress as JSON lines on standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print no progress, and only the findings that are problems. This works with --json too
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

/// Flags that take several hosts.
const OF_HOSTS: [&str; 2] = ["--allow-unreachable", "--accept-host-key"];

/// What to say of hosts that stand after a flag with blanks between them; none where the words have no such slip.
pub(crate) fn hosts_apart<'w>(words: &[&'w str]) -> Option<String> {
    words.iter().enumerate().find_map(|(at, flag)| {
        let is_host = |word: &&&'w str| !word.starts_with('-') && !word.contains(".tgz");
        let hosts: Vec<&str> = words[at + 1..].iter().take_while(is_host).copied().collect();
        (OF_HOSTS.contains(flag) && hosts.len() > 1)
            .then(|| format!("several hosts have commas between them: {flag} {}", hosts.join(",")))
    })
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Back up databases, cluster.conf, release and files in one bundle
    #[command(after_help = "Examples:\n  \
        orchestrator-cli backup -c /home/orchestrator/cluster.conf --release 2.6.3\n  \
        orchestrator-cli backup --to /mnt/backups --to /var/lib/postgresql/backups\n  \
        orchestrator-cli backup --to - | ssh vault 'cat > o.tgz'")]
    Backup(Backup),
    /// Restore databases and files from a bundle. Checks come first. Live databases step aside last
    #[command(args_conflicts_with_subcommands = true)]
    #[command(after_help = "Examples:\n  \
        BUNDLE=/mnt/backups/orchestrator_backup_20261120T191500Z.tgz\n  \
        orchestrator-cli restore --file $BUNDLE --dry-run\n  \
        orchestrator-cli restore --file $BUNDLE --release 2.6.3\n  \
        orchestrator-cli restore --file $BUNDLE --database orchestrator=look\n  \
        orchestrator-cli restore --sql orchestrator.sql --cluster-conf cluster.conf\n  \
        orchestrator-cli restore --resume\n  \
        orchestrator-cli restore --rollback")]
    Restore(Box<Restore>),
    /// Run the agents of all machines for this orchestrator. They run level by level. `--dry` only draws the plan
    #[command(after_help = "Examples:\n  \
        orchestrator-cli deploy --dry -c cluster.conf\n  \
        orchestrator-cli deploy --dry -c cluster.conf --graph deploy.svg\n  \
        orchestrator-cli deploy -c cluster.conf --release 2.6.3\n  \
        orchestrator-cli deploy -c cluster.conf --release 2.6.3 --only router\n  \
        orchestrator-cli deploy -c cluster.conf --resume")]
    Deploy(Deploy),
    /// List the machines: tags, SSH host keys, and whether they answer
    #[command(after_help = "Examples:\n  orchestrator-cli nodes\n  orchestrator-cli nodes router -c cluster.conf")]
    Nodes {
        /// Name or address of machines, or a part of either, or a zone or tag [default: all machines]
        query: Option<String>,
        #[command(flatten)]
        config: Config,
        #[command(flatten)]
        reach: Reach,
    },
    /// Log in to a machine, or run a command there. The ssh of this system does the work
    #[command(after_help = "Examples:\n  \
        orchestrator-cli ssh\n  \
        orchestrator-cli ssh router\n  \
        orchestrator-cli ssh 10.0.0.11 -- uptime")]
    Ssh(Ssh),
    /// Back up the databases of the cluster's components
    #[command(subcommand)]
    #[command(after_help = "Example:\n  orchestrator-cli databases backup --dry-run")]
    Databases(Databases),
    /// Show or change the owner of the cluster. Only the owner may deploy and back up
    #[command(subcommand)]
    #[command(after_help = "Examples:\n  \
        orchestrator-cli ownership show\n  \
        orchestrator-cli ownership claim -c cluster.conf\n  \
        orchestrator-cli ownership release -c cluster.conf")]
    Ownership(Ownership),
    /// Compare a bundle with the live state, or with another bundle. What a restore would lose comes first
    #[command(after_help = "Examples:\n  \
        BUNDLE=/mnt/backups/orchestrator_backup_20261120T191500Z.tgz\n  \
        orchestrator-cli diff $BUNDLE\n  \
        orchestrator-cli diff $BUNDLE --rows\n  \
        orchestrator-cli diff $BUNDLE orchestrator_backup_20261119T191500Z.tgz")]
    Diff {
        /// Bundle: a file, an address, or `latest`
        bundle: PathBuf,
        /// Bundle to compare with, in place of the live state
        other: Option<PathBuf>,
        #[command(flatten)]
        latest: Latest,
        /// Compare the rows too, and count the differences. This reads all rows
        #[arg(long)]
        rows: bool,
        #[command(flatten)]
        config: Config,
        #[command(flatten)]
        identities: Identities,
    },
    /// Test a bundle: restore it into a throw-away PostgreSQL server. The time is measured
    #[command(after_help = "Examples:\n  \
        orchestrator-cli drill orchestrator_backup_20261120T191500Z.tgz\n  \
        orchestrator-cli drill orchestrator_backup_20261120T191500Z.tgz --in /var/tmp")]
    Drill(Drill),
    /// List the bundles in stores. `verify` also checks their bytes
    #[command(
        after_help = "Examples:\n  orchestrator-cli list /mnt/backups\n  orchestrator-cli list s3://bucket/prefix"
    )]
    List {
        /// Stores: DIR, s3://bucket/prefix, sftp://user@host/path or rclone:remote:path
        /// [default: the stores of the settings, or /var/lib/postgresql/backups]
        #[arg(value_name = "ADDRESS")]
        addresses: Vec<PathBuf>,
        #[command(flatten)]
        reading: Reading,
    },
    /// Show what a bundle holds, who made it, and how to restore it
    #[command(after_help = "Example:\n  orchestrator-cli show orchestrator_backup_20261120T191500Z.tgz")]
    Show {
        /// Bundle: a file, an address, or `latest`
        bundle: PathBuf,
        #[command(flatten)]
        latest: Latest,
        /// List every entry too
        #[arg(long)]
        entries: bool,
        #[command(flatten)]
        reading: Reading,
    },
    /// Compare every byte of a bundle with its digests. With --all: of every bundle of the stores
    #[command(after_help = "Examples:\n  \
        orchestrator-cli verify latest\n  \
        orchestrator-cli verify orchestrator_backup_20261120T191500Z.tgz\n  \
        orchestrator-cli verify --all --newer-than 7d")]
    Verify(Verify),
    /// Copy a bundle to other stores, and check every byte on its way
    #[command(after_help = "Examples:\n  \
        orchestrator-cli copy latest s3://bucket/prefix\n  \
        orchestrator-cli copy latest /mnt/vault sftp://user@host/path")]
    Copy(Copy),
    /// Extract files of a bundle into a new directory
    #[command(after_help = "Examples:\n  \
        BUNDLE=/mnt/backups/orchestrator_backup_20261120T191500Z.tgz\n  \
        orchestrator-cli extract $BUNDLE --to /tmp/look\n  \
        orchestrator-cli extract $BUNDLE cluster.conf 'databases/*.sql' --to /tmp/look")]
    Extract {
        /// Bundle: a file, an address, or `latest`
        bundle: PathBuf,
        #[command(flatten)]
        latest: Latest,
        /// Paths to extract, or patterns with `*`, `**` and `?` [default: everything]
        patterns: Vec<String>,
        /// Directory to put the new directory into
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        #[command(flatten)]
        limit: Limit,
        #[command(flatten)]
        reading: Reading,
    },
    /// Check everything that a backup needs, and list all problems
    #[command(after_help = "Examples:\n  \
        orchestrator-cli check\n  \
        orchestrator-cli check -c /home/orchestrator/cluster.conf --release 2.6.3")]
    Check {
        #[command(flatten)]
        config: Config,
        /// Store for the bundle: DIR, s3://bucket/prefix, sftp://user@host/path or rclone:remote:path. Repeat the flag for several
        #[arg(long, value_name = "ADDRESS")]
        to: Vec<PathBuf>,
        /// Encrypt the bundle for this recipient: age1…, an SSH public key, or a file with such lines. Recipients of the
        /// settings can read the bundle too. Repeat the flag for several
        #[arg(long, value_name = "RECIPIENT")]
        recipient: Vec<String>,
        /// Database to back up. Repeat the flag for several [default: all but template0, template1 and an untouched postgres]
        #[arg(long, value_name = "NAME")]
        database: Vec<String>,
        /// Release that runs on this machine
        #[arg(long, value_name = "VERSION")]
        release: Option<String>,
    },
    /// Make the first settings of a machine, or check settings
    #[command(subcommand)]
    #[command(after_help = "Examples:\n  orchestrator-cli config init\n  orchestrator-cli config check")]
    Config(ConfigCommand),
    /// Keep a bundle from being deleted by rules
    #[command(after_help = "Examples:\n  \
        orchestrator-cli keep latest --until 2027-03-31 --note audit\n  \
        orchestrator-cli keep latest --release")]
    Keep(Keep),
    /// Delete leftovers of interrupted backups from stores
    #[command(after_help = "Example:\n  orchestrator-cli cleanup s3://bucket/prefix")]
    Cleanup(Cleanup),
    /// Delete the bundles that no retention rule keeps. Each bundle is shown with the reason
    #[command(after_help = "Examples:\n  \
        orchestrator-cli prune --dry-run\n  \
        orchestrator-cli prune s3://bucket/prefix --yes")]
    Prune(Prune),
    /// Say whether backups are safe, on one screen and by exit code. It covers bundles, drills, runs, free space and
    /// unfinished work
    #[command(after_help = "Examples:\n  \
        orchestrator-cli status\n  \
        orchestrator-cli status --history\n  \
        orchestrator-cli status --html /var/www/html/backups.html\n  \
        orchestrator-cli status --metrics /var/lib/node_exporter/orchestrator.prom")]
    Status(Status),
    /// Run jobs by timer: install, show, run and remove them. Timers are those of systemd or cron
    #[command(subcommand)]
    #[command(after_help = "Examples:\n  \
        orchestrator-cli schedule install --user postgres\n  \
        orchestrator-cli schedule show\n  \
        orchestrator-cli schedule run backup\n  \
        orchestrator-cli schedule run")]
    Schedule(Schedule),
    /// Make keys that encrypt or sign bundles
    #[command(subcommand)]
    #[command(after_help = "Example:\n  orchestrator-cli key generate /root/orchestrator.key")]
    Key(Key),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  orchestrator-cli completions bash > /etc/bash_completion.d/orchestrator-cli")]
    Completions {
        /// Name of the shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write a page for every command
    #[command(
        after_help = "Examples:\n  orchestrator-cli man | man -l -\n  orchestrator-cli man /usr/local/share/man/man1"
    )]
    Man {
        /// Directory for a page of every command; it must exist [default: print the main page]
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
}

#[derive(Args)]
pub(crate) struct Config {
    /// A cluster.conf, or settings that name one. The name of settings ends in .toml
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_PATH)]
    pub(crate) config: PathBuf,
}

/// How the cluster's machines are reached.
#[derive(Args)]
pub(crate) struct Reach {
    /// SSH port of the machines [default: the one of the settings, or of the restored bundle, or 22]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) ssh_port: Option<u16>,
}

/// How bundles are reached by those who only read them.
#[derive(Args)]
pub(crate) struct Reading {
    /// Settings with stores, or a cluster.conf with keys for S3 [default: the usual settings, if they exist]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) identities: Identities,
}

#[derive(Args, Clone)]
pub(crate) struct Identities {
    /// File with the identity that opens an encrypted bundle. Repeat the flag for several
    #[arg(long = "identity", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Backup {
    #[command(flatten)]
    pub(crate) config: Config,
    /// Store for the bundle: DIR, s3://bucket/prefix, sftp://user@host/path, rclone:remote:path, or `-` for standard output. Repeat the flag
    /// for several [default: the stores of the settings, or /var/lib/postgresql/backups]
    #[arg(long, value_name = "ADDRESS|-")]
    pub(crate) to: Vec<PathBuf>,
    /// Encrypt the bundle for this recipient: age1…, an SSH public key, or a file with such lines. Recipients of the
    /// settings can read the bundle too. Repeat the flag for several
    #[arg(long, value_name = "RECIPIENT")]
    pub(crate) recipient: Vec<String>,
    /// Database to back up. `status` does not count such a bundle. Repeat the flag for several [default: all but
    /// template0, template1 and an untouched postgres]
    #[arg(long, value_name = "NAME")]
    pub(crate) database: Vec<String>,
    /// Release that runs on this machine
    #[arg(long, value_name = "VERSION")]
    pub(crate) release: Option<String>,
    /// Level of compression: 1 is fastest, 12 smallest [default: 3]
    #[arg(long, value_name = "N")]
    pub(crate) level: Option<u32>,
    /// Number of connections that read rows [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: Option<u16>,
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// Leave this store out: no bundle goes there, and nobody asks there who owns the cluster. Repeat the flag for several
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) without_store: Vec<String>,
    #[command(flatten)]
    pub(crate) limit: Limit,
    /// Delete no older bundles afterwards, whatever the retention rules say
    #[arg(long)]
    pub(crate) no_prune: bool,
    /// Check everything, print the plan, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args)]
pub(crate) struct Cleanup {
    /// Stores: DIR, s3://bucket/prefix, sftp://user@host/path or rclone:remote:path
    /// [default: the stores of the settings, or /var/lib/postgresql/backups]
    #[arg(value_name = "ADDRESS")]
    pub(crate) addresses: Vec<PathBuf>,
    /// Age that a leftover must have. A younger one may still be written
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    pub(crate) older_than: u16,
    /// Say what would be deleted, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

#[derive(Args)]
pub(crate) struct Prune {
    /// Stores: DIR, s3://bucket/prefix, sftp://user@host/path or rclone:remote:path [default: the stores of the settings]
    #[arg(value_name = "ADDRESS")]
    pub(crate) addresses: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) config: Config,
    #[command(flatten)]
    pub(crate) identities: Identities,
    /// Show what would be deleted and why, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Accept this newest bundle although it is much smaller than the bundles before it
    #[arg(long, value_name = "BUNDLE")]
    pub(crate) accept: Vec<String>,
    /// Delete although the last backup failed
    #[arg(long)]
    pub(crate) after_failure: bool,
}

#[derive(Args)]
pub(crate) struct Drill {
    /// Bundle: a file, an address, or `latest`
    /// [default: the newest bundle of every component in the stores of the settings]
    pub(crate) bundle: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) latest: Latest,
    /// Settings with assertions; the name of the file ends in .toml [default: the usual settings, if they exist]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Directory for the throw-away server [default: TMPDIR, or /tmp]
    #[arg(long = "in", value_name = "DIR")]
    pub(crate) place: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) limit: Limit,
    #[command(flatten)]
    pub(crate) identities: Identities,
}
