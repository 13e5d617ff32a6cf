//! Every kind of store that there is.

use std::sync::Arc;

use backup_core::store::{self, Address, Connector};
use s3_store::S3;

/// What makes stores of all kinds: those of the core, and S3.
pub(crate) fn every_kind() -> Connector {
    Connector::new(|settings, context| match &settings.address {
        Address::S3(address) => Ok(Arc::new(S3::new(address, &settings.s3, context)?)),
        _ => store::connect(settings, context),
    })
}
