//! What is done with bundles that are there.

use std::path::PathBuf;

use backup_core::span::Span;
use backup_core::store::Rate;
use chrono::NaiveDate;
use clap::Args;

use super::Reading;

/// Whose newest bundle `latest` is.
#[derive(Args, Clone, Default)]
pub(crate) struct Latest {
    /// Cluster whose newest bundle `latest` is [default: the cluster of the settings' cluster.conf]
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// Component whose newest bundle `latest` is [default: the orchestrator itself]
    #[arg(long, value_name = "NAME")]
    pub(crate) component: Option<String>,
}

/// How fast bundles are read and written.
#[derive(Args, Clone, Copy)]
pub(crate) struct Limit {
    /// Most bytes a second to and from each store, such as 500K, 20M or 1G
    /// [default: limit_rate of the store in the settings, or no limit]
    #[arg(long, value_name = "RATE")]
    pub(crate) limit_rate: Option<Rate>,
}

#[derive(Args)]
pub(crate) struct Verify {
    /// Bundle: a file, an address, or `latest`. With --all: a store
    /// [default with --all: the stores of the settings, or /var/lib/postgresql/backups]
    #[arg(value_name = "BUNDLE|ADDRESS", required_unless_present = "all")]
    pub(crate) bundle: Option<PathBuf>,
    /// More stores
    #[arg(value_name = "ADDRESS", requires = "all")]
    pub(crate) more: Vec<PathBuf>,
    /// Verify every bundle of the stores. A damaged bundle stops none of the others
    #[arg(long)]
    pub(crate) all: bool,
    /// Verify only bundles that were begun within this time, such as 24h, 7d or 2w
    #[arg(long, value_name = "AGE", requires = "all")]
    pub(crate) newer_than: Option<Span>,
    #[command(flatten)]
    pub(crate) latest: Latest,
    #[command(flatten)]
    pub(crate) limit: Limit,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

#[derive(Args)]
pub(crate) struct Copy {
    /// Bundle: a file, an address, or `latest`
    pub(crate) bundle: PathBuf,
    /// Stores that get the bundle: DIR, s3://bucket/prefix, sftp://user@host/path or rclone:remote:path
    #[arg(value_name = "ADDRESS", required = true)]
    pub(crate) to: Vec<PathBuf>,
    /// Look at the bundle and the stores, say what would be copied, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) latest: Latest,
    #[command(flatten)]
    pub(crate) limit: Limit,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

#[derive(Args)]
pub(crate) struct Keep {
    /// Bundle: a file, an address, or `latest`
    pub(crate) bundle: PathBuf,
    #[command(flatten)]
    pub(crate) latest: Latest,
    /// Last day in UTC on which the bundle is kept: YYYY-MM-DD [default: until the bundle is released]
    #[arg(long, value_name = "DATE", conflicts_with = "release")]
    pub(crate) until: Option<NaiveDate>,
    /// Reason in one line. `list`, `show` and `prune` show it
    #[arg(long, value_name = "TEXT", conflicts_with = "release")]
    pub(crate) note: Option<String>,
    /// Let rules delete the bundle again
    #[arg(long)]
    pub(crate) release: bool,
    #[command(flatten)]
    pub(crate) reading: Reading,
}
