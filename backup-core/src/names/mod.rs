//! Names that are stored: of bundles, of what they are kept as, of the steps of plans.

mod bundle;
mod component;
mod series;
mod step;

pub use bundle::{BundleName, DIGEST, FileName, NotAName, ORCHESTRATOR, renamed, timestamp};
pub(crate) use bundle::{begins_with_name, is_moment};
pub use component::{ComponentId, NotAComponent};
pub use series::Series;
pub use step::StepId;
