//! What a control plane keeps that can be captured and put back. A new kind of state is one new module here.

pub mod files;
mod part;
pub mod postgres;
pub mod release;
mod staying;

pub use part::{Amount, Brought, Item, Part};
pub(crate) use staying::Staying;
