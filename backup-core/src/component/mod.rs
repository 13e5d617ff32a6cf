//! What a control plane keeps that can be captured and put back. A new kind of state is one new module here.

mod aside;
mod configured;
pub mod control_plane;
mod etcd;
#[cfg(test)]
pub(crate) mod fake;
pub mod files;
mod kind;
pub(crate) mod packs;
mod part;
pub mod postgres;
mod program;
mod ready;
mod redis;
mod registry;
mod staying;
mod stored;
mod walls;

pub(crate) use aside::FORGED;
pub use configured::Components;
pub use kind::{Captures, Component, Fitted, Kind, Kinds, Look, Named, Restores, Room, Throwaway, Working};
pub use packs::{PackedTree, Packs, Unpacked, packs_by_hand};
pub use part::{Amount, Brought, Item, Part};
pub use ready::{ByHand, Captured, Fields, Out, PART, Ready, Said};
pub use staying::Staying;
pub use stored::Stored;
pub use walls::DrillLimits;
