//! What this program knows of that settings may name.

use std::sync::Arc;

use backup_core::component::Kinds;
use backup_core::settings::Known;
use backup_core::store::{self, Address, Connector};
use s3_store::S3;

/// Every kind of store, the core's and S3, and every kind of state.
pub(crate) fn known() -> Known {
    let stores = Connector::new(|settings, context| match &settings.address {
        Address::S3(address) => Ok(Arc::new(S3::new(address, &settings.s3, context)?)),
        _ => store::connect(settings, context),
    });
    Known { stores, kinds: Kinds::default() }
}
