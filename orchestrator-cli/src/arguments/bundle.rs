//! Which bundle is meant, and how fast it is read and written.

use backup_core::store::Rate;
use clap::Args;

/// Whose newest bundle `latest` is.
#[derive(Args, Clone, Default)]
pub(crate) struct Latest {
    /// With `latest`: the cluster whose newest bundle is meant [default: that of the settings' cluster.conf]
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// With `latest`: the component whose newest bundle is meant [default: the orchestrator itself]
    #[arg(long, value_name = "NAME")]
    pub(crate) component: Option<String>,
}

/// How fast bundles are read and written.
#[derive(Args, Clone, Copy)]
pub(crate) struct Limit {
    /// The most bytes a second that go to each store, and come from it, such as 500K, 20M or 1G
    /// [default: the store's limit_rate in the settings, or no limit]
    #[arg(long, value_name = "RATE")]
    pub(crate) limit_rate: Option<Rate>,
}
