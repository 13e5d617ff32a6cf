//! What a program knows of that settings may name.

use crate::component::Kinds;
use crate::store::Connector;

/// The kinds of stores and of components that a program knows.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// What makes stores.
    pub stores: Connector,
    /// Kinds of state.
    pub kinds: Kinds,
}
