//! Arguments of the command line.

mod bundles;
mod cluster;
mod restore;
mod routine;

use std::path::PathBuf;

use backup_core::settings::DEFAULT_PATH;
use clap::{Args, Parser, Subcommand};

pub(crate) use bundles::{Copy, Latest, Limit, Verify};
pub(crate) use cluster::{Claiming, Databases, DatabasesBackup, Deploy, Ownership, Ssh};
pub(crate) use restore::{Restore, RestoreCleanup, RestoreCommand};
pub(crate) use routine::{Install, RunJob, Schedule, Status};

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 usage, 3 done with warnings, 10 not found, 11 locked, \
    12 damaged or unsupported, 13 refused by a check, 14 resume or rollback needed, 130 interrupted.";

/// Back up a control plane into one bundle that proves itself.
#[derive(Parser)]
#[command(name = "orchestrator-cli", version, about, after_help = EXIT_CODES, max_term_width = 110)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Print the result as one JSON document, and progress as JSON lines on standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print no progress, and of what was found only what is wrong; with --json too
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
    /// Capture databases, cluster.conf, release and files into one bundle
    #[command(after_help = "Examples:\n  \
        orchestrator-cli backup --config /home/orchestrator/cluster.conf --release 2.6.3\n  \
        orchestrator-cli backup --to /mnt/backups --to /var/lib/postgresql/backups\n  \
        orchestrator-cli backup --config cluster.conf --release 2.6.3 --to - | ssh vault 'cat > o.tgz'")]
    Backup(Backup),
    /// Bring databases back from a bundle: check everything, build beside what is live, swap last
    #[command(args_conflicts_with_subcommands = true)]
    #[command(after_help = "Examples:\n  \
        orchestrator-cli restore --file orchestrator_backup_20261120T191500Z.tgz --dry-run\n  \
        orchestrator-cli restore --file orchestrator_backup_20261120T191500Z.tgz --release 2.6.3\n  \
        orchestrator-cli restore --sql orchestrator.sql --cluster-conf cluster.conf\n  \
        orchestrator-cli restore --file orchestrator_backup_20261120T191500Z.tgz --database orchestrator=look\n  \
        orchestrator-cli restore --resume\n  \
        orchestrator-cli restore --rollback")]
    Restore(Box<Restore>),
    /// Tell the agents on all machines that this is their orchestrator, and run them, level by level; or draw what that would be
    #[command(after_help = "Examples:\n  \
        orchestrator-cli deploy --dry -c cluster.conf\n  \
        orchestrator-cli deploy --dry -c cluster.conf --release 2.6.3 --graph deploy.svg\n  \
        orchestrator-cli deploy -c cluster.conf --release 2.6.3\n  \
        orchestrator-cli deploy -c cluster.conf --release 2.6.3 --only router\n  \
        orchestrator-cli deploy -c cluster.conf --resume")]
    Deploy(Deploy),
    /// List the machines of the cluster: tags, who they prove to be, whether they answer
    #[command(after_help = "Examples:\n  orchestrator-cli nodes\n  orchestrator-cli nodes router -c cluster.conf")]
    Nodes {
        /// A name, an address or a part of them, a zone or a tag [default: all]
        query: Option<String>,
        #[command(flatten)]
        config: Config,
        #[command(flatten)]
        reach: Reach,
    },
    /// Log in to a machine of the cluster, or run a command there, with the system's own ssh
    #[command(after_help = "Examples:\n  \
        orchestrator-cli ssh\n  \
        orchestrator-cli ssh router\n  \
        orchestrator-cli ssh 10.0.0.11 -- uptime")]
    Ssh(Ssh),
    /// The databases of the cluster's components, on the machines that have them
    #[command(subcommand)]
    Databases(Databases),
    /// Who owns the cluster: the one orchestrator that may deploy it and back it up
    #[command(subcommand)]
    #[command(after_help = "Examples:\n  \
        orchestrator-cli ownership show\n  \
        orchestrator-cli ownership claim -c cluster.conf\n  \
        orchestrator-cli ownership release -c cluster.conf")]
    Ownership(Ownership),
    /// Show what differs between a bundle and what is live, or another bundle; what a restore would lose stands first
    #[command(after_help = "Examples:\n  \
        orchestrator-cli diff orchestrator_backup_20261120T191500Z.tgz --config /home/orchestrator/cluster.conf\n  \
        orchestrator-cli diff orchestrator_backup_20261120T191500Z.tgz --config /home/orchestrator/cluster.conf --rows\n  \
        orchestrator-cli diff orchestrator_backup_20261120T191500Z.tgz orchestrator_backup_20261119T191500Z.tgz")]
    Diff {
        /// The bundle: a file, an address, or `latest`
        bundle: PathBuf,
        /// Another bundle, in place of what is live
        other: Option<PathBuf>,
        #[command(flatten)]
        latest: Latest,
        /// Compare what stands in the rows, too, and count those that differ: all of them are read
        #[arg(long)]
        rows: bool,
        #[command(flatten)]
        config: Config,
        #[command(flatten)]
        identities: Identities,
    },
    /// Restore a bundle into a throw-away PostgreSQL, look whether all is well, take the time
    #[command(after_help = "Examples:\n  \
        orchestrator-cli drill orchestrator_backup_20261120T191500Z.tgz\n  \
        orchestrator-cli drill orchestrator_backup_20261120T191500Z.tgz --in /var/tmp")]
    Drill(Drill),
    /// List the bundles of stores, as they describe themselves: `verify` holds their bytes against it
    #[command(
        after_help = "Examples:\n  orchestrator-cli list /mnt/backups\n  orchestrator-cli list s3://bucket/prefix"
    )]
    List {
        /// The stores: DIR, s3://bucket/prefix or sftp://user@host/path
        /// [default: the settings' stores, or /var/lib/postgresql/backups]
        #[arg(value_name = "ADDRESS")]
        addresses: Vec<PathBuf>,
        #[command(flatten)]
        reading: Reading,
    },
    /// Show what a bundle holds, where it came from and how to restore it
    #[command(after_help = "Example:\n  orchestrator-cli show orchestrator_backup_20261120T191500Z.tgz")]
    Show {
        /// The bundle: a file, an address, or `latest`
        bundle: PathBuf,
        #[command(flatten)]
        latest: Latest,
        /// List every entry too
        #[arg(long)]
        entries: bool,
        #[command(flatten)]
        reading: Reading,
    },
    /// Check every byte of a bundle against its digests; with --all, of every bundle of the stores
    #[command(after_help = "Examples:\n  \
        orchestrator-cli verify orchestrator_backup_20261120T191500Z.tgz\n  \
        orchestrator-cli verify --all\n  \
        orchestrator-cli verify --all s3://bucket/prefix --newer-than 7d")]
    Verify(Verify),
    /// Copy a bundle to other stores, every byte of it checked on its way
    #[command(after_help = "Examples:\n  \
        orchestrator-cli copy orchestrator_backup_20261120T191500Z.tgz s3://bucket/prefix\n  \
        orchestrator-cli copy s3://bucket/orchestrator_backup_20261120T191500Z.tgz /mnt/vault sftp://user@host/path")]
    Copy(Copy),
    /// Extract entries of a bundle into a new directory
    #[command(after_help = "Examples:\n  \
        orchestrator-cli extract orchestrator_backup_20261120T191500Z.tgz --to /tmp/look\n  \
        orchestrator-cli extract orchestrator_backup_20261120T191500Z.tgz cluster.conf 'databases/*.sql' --to /tmp/look")]
    Extract {
        /// The bundle: a file, an address, or `latest`
        bundle: PathBuf,
        #[command(flatten)]
        latest: Latest,
        /// What to extract: paths or patterns with `*`, `**` and `?`; everything if none is given
        patterns: Vec<String>,
        /// Where the new directory goes
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        #[command(flatten)]
        limit: Limit,
        #[command(flatten)]
        reading: Reading,
    },
    /// Look at everything that a backup needs, and say all that is wrong at once
    #[command(after_help = "Examples:\n  \
        orchestrator-cli check\n  \
        orchestrator-cli check --config /home/orchestrator/cluster.conf --release 2.6.3")]
    Check {
        #[command(flatten)]
        config: Config,
        /// Store that would get the bundle, as often as needed: DIR, s3://bucket/prefix or sftp://user@host/path
        #[arg(long, value_name = "ADDRESS")]
        to: Vec<PathBuf>,
        /// Who can read the bundle, as often as needed: age1…, an SSH public key, or a file with such lines; it is
        /// encrypted then. Those of the settings can read it too
        #[arg(long, value_name = "RECIPIENT")]
        recipient: Vec<String>,
        /// A database to capture, as often as needed [default: all but template0, template1 and an untouched postgres]
        #[arg(long, value_name = "NAME")]
        database: Vec<String>,
        /// The release that runs here
        #[arg(long, value_name = "VERSION")]
        release: Option<String>,
    },
    /// Delete what backups have left in stores that were killed before their bundle was there
    #[command(after_help = "Example:\n  orchestrator-cli cleanup s3://bucket/prefix")]
    Cleanup(Cleanup),
    /// Delete bundles of this cluster that no rule of the settings keeps; each is shown with the reason
    #[command(after_help = "Examples:\n  \
        orchestrator-cli prune --dry-run\n  \
        orchestrator-cli prune s3://bucket/prefix --yes")]
    Prune(Prune),
    /// Are we safe? One screen and one exit code: bundles, drills, runs, room, what is unfinished
    #[command(after_help = "Examples:\n  \
        orchestrator-cli status\n  \
        orchestrator-cli status --history\n  \
        orchestrator-cli status --html /var/www/html/backups.html --metrics /var/lib/prometheus/node-exporter/orchestrator.prom")]
    Status(Status),
    /// Jobs that run by themselves: systemd's timers, cron, or a loop in the foreground
    #[command(subcommand)]
    #[command(after_help = "Examples:\n  \
        orchestrator-cli schedule install --user postgres\n  \
        orchestrator-cli schedule show\n  \
        orchestrator-cli schedule run backup\n  \
        orchestrator-cli schedule run")]
    Schedule(Schedule),
    /// Keys that bundles are encrypted with
    #[command(subcommand)]
    Key(Key),
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

#[derive(Subcommand)]
pub(crate) enum Key {
    /// Make a key: the file gets the identity, which reads bundles; what is printed is the recipient, which encrypts them. With --signing the
    /// file gets a key that signs bundles, and its public half is printed
    #[command(
        after_help = "Examples:\n  orchestrator-cli key generate /root/orchestrator.key\n  orchestrator-cli key generate --signing /etc/orchestrator/signing.key"
    )]
    Generate {
        /// Where the secret goes; it must not exist
        file: PathBuf,
        /// Make a key that signs bundles and records of drills, of the kind ssh-ed25519
        #[arg(long)]
        signing: bool,
    },
}

#[derive(Args)]
pub(crate) struct Config {
    /// A cluster.conf, or settings that name one (a file whose name ends in .toml)
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_PATH)]
    pub(crate) config: PathBuf,
}

/// How the cluster's machines are reached.
#[derive(Args)]
pub(crate) struct Reach {
    /// The port that machines take SSH connections on [default: what the settings say, then the restored bundle, then 22]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) ssh_port: Option<u16>,
}

/// How bundles are reached by those who only read them.
#[derive(Args)]
pub(crate) struct Reading {
    /// Settings of stores, or a cluster.conf with keys for S3 [default: the usual settings, if they exist]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) identities: Identities,
}

#[derive(Args, Clone)]
pub(crate) struct Identities {
    /// File with the identity that opens an encrypted bundle, as often as needed
    #[arg(long = "identity", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Backup {
    #[command(flatten)]
    pub(crate) config: Config,
    /// Where the bundle goes, as often as needed: DIR, s3://bucket/prefix, sftp://user@host/path, or `-` for standard
    /// output [default: the settings' stores, or /var/lib/postgresql/backups]
    #[arg(long, value_name = "ADDRESS|-")]
    pub(crate) to: Vec<PathBuf>,
    /// Who can read the bundle, as often as needed: age1…, an SSH public key, or a file with such lines; it is
    /// encrypted then. Those of the settings can read it too
    #[arg(long, value_name = "RECIPIENT")]
    pub(crate) recipient: Vec<String>,
    /// A database to capture, as often as needed; `status` does not count such a bundle [default: all but template0, template1
    /// and an untouched postgres]
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
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// Leave this store out: it gets no bundle, and is not asked who owns the cluster; as often as needed
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) without_store: Vec<String>,
    #[command(flatten)]
    pub(crate) limit: Limit,
    /// Delete nothing afterwards, whatever the rules of the settings say
    #[arg(long)]
    pub(crate) no_prune: bool,
    /// Check everything, print what would be done, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args)]
pub(crate) struct Cleanup {
    /// The stores: DIR, s3://bucket/prefix or sftp://user@host/path
    /// [default: the settings' stores, or /var/lib/postgresql/backups]
    #[arg(value_name = "ADDRESS")]
    pub(crate) addresses: Vec<PathBuf>,
    /// How long ago it must have been begun: what is younger may still be written
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    pub(crate) older_than: u16,
    /// Say what would be deleted, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Don't ask
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

#[derive(Args)]
pub(crate) struct Prune {
    /// The stores: DIR, s3://bucket/prefix or sftp://user@host/path [default: the settings' stores]
    #[arg(value_name = "ADDRESS")]
    pub(crate) addresses: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) config: Config,
    #[command(flatten)]
    pub(crate) identities: Identities,
    /// Show what would be deleted and why, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Don't ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// The newest bundle is well although it is much smaller than those before it
    #[arg(long, value_name = "BUNDLE")]
    pub(crate) accept: Vec<String>,
    /// Delete although the last backup failed
    #[arg(long)]
    pub(crate) after_failure: bool,
}

#[derive(Args)]
pub(crate) struct Drill {
    /// The bundle: a file, an address, or `latest`
    /// [default: the newest of every component, wherever the settings say that there are some]
    pub(crate) bundle: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) latest: Latest,
    /// Settings with assertions (a file whose name ends in .toml) [default: the usual ones, if they exist]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where the throw-away server's directory goes [default: TMPDIR, or /tmp]
    #[arg(long = "in", value_name = "DIR")]
    pub(crate) place: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) limit: Limit,
    #[command(flatten)]
    pub(crate) identities: Identities,
}
