//! What a control plane keeps that can be captured and put back. A new kind of state is one new module here.

pub mod files;
pub mod postgres;
pub mod release;
mod staying;

pub(crate) use staying::Staying;
