//! What this program knows: every kind of store, and every kind of state.

use std::sync::Arc;

use backup_core::component::redis::Redis;
use backup_core::component::{Kind, Kinds};
use backup_core::settings::Known;
use backup_core::store::{self, Address, Connector};
use s3_store::S3;

/// All of it. A new kind of state is one line here.
pub(crate) fn known() -> Known {
    let kinds: Vec<Box<dyn Kind>> = vec![Box::new(Redis)];
    Known { stores: stores(), kinds: Kinds::new(kinds) }
}

/// What makes stores of all kinds: those of the core, and S3.
fn stores() -> Connector {
    Connector::new(|settings, context| match &settings.address {
        Address::S3(address) => Ok(Arc::new(S3::new(address, &settings.s3, context)?)),
        _ => store::connect(settings, context),
    })
}
