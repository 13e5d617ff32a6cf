//! A file that somebody named: opened, and what it is by the bytes that it begins with; or what is to be done where it is
//! another one than was meant.

mod file;
mod mistaken;
mod seen;

pub(crate) use file::{open_bundle, open_file};
#[cfg(test)]
pub(crate) use mistaken::SECTIONS;
pub(crate) use mistaken::{is_settings, refuse_cluster_conf, refuse_other, refuse_unlike};
pub(crate) use seen::{START, Seen};
