//! The bundle's file format alone: blocks, tar headers, manifest, footer, writer, reader.
//!
//! `docs/bundle-format.md` is the specification; these modules follow it section by section.

mod announced;
pub mod block;
pub(crate) mod dress;
pub mod expanded;
pub mod extract;
pub mod footer;
pub mod header;
pub mod manifest;
pub mod pack;
pub(crate) mod passing;
pub mod path;
pub mod reader;
pub mod rules;
mod section;
pub mod sparse;
pub mod verify;
pub mod writer;

/// The format that this tool writes as a rule, and the oldest that it reads.
pub const FORMAT: u32 = 1;
/// As the first one, for amounts of money that readers of the first one alone would get wrong.
pub const FORMAT_OF_MONEY: u32 = 2;
/// As those before, with headers that give readers without pax the nearest thing.
pub const FORMAT_OF_HEADERS: u32 = 3;
/// The newest that it reads: with other components than PostgreSQL, files and the control plane, each in a section of the manifest.
pub const FORMAT_OF_SECTIONS: u32 = 4;
