//! The kinds of state that this crate knows. A new one is a folder beside this file, and one line here.

use super::Kinds;
use super::etcd::Etcd;
use super::redis::Redis;

/// All of them.
impl Default for Kinds {
    fn default() -> Self {
        Self::new(vec![Box::new(Redis), Box::new(Etcd)])
    }
}
