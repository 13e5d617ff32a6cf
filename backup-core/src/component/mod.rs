//! What a control plane keeps that can be captured and put back. A new kind of state is one new module here.

mod aside;
mod configured;
#[cfg(test)]
pub(crate) mod fake;
pub mod files;
mod kind;
pub mod packs;
mod part;
pub mod postgres;
mod program;
mod ready;
mod redis;
mod registry;
pub mod release;
mod staying;
mod stored;
mod walls;

pub use configured::Components;
pub use kind::{Component, Fitted, Kind, Kinds, Look, Room, Throwaway, Working};
pub use part::{Amount, Brought, Item, Part};
pub use ready::{Captured, Out, PART, Ready};
pub(crate) use staying::Staying;
pub use stored::Stored;
pub use walls::DrillLimits;
