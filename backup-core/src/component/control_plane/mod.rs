//! The control plane itself as a component: the release that runs on it, and its `cluster.conf`, byte for byte.

mod capture;
mod fit;
mod release;

pub(crate) use capture::ControlPlane;
pub use fit::ReleaseRule;
pub(crate) use fit::fit;
pub use release::{Origin, Release, find};
