//! A status for people who look, and for programs that watch.

mod charts;
mod html;
mod markup;
mod prometheus;
mod text;

pub(crate) use html::page;
pub(crate) use prometheus::metrics;
pub(crate) use text::{history, screen};
