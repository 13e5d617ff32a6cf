//! Bundles in S3: multipart uploads out, ranged reads in, nothing ever overwritten.

mod bucket;
mod claim;
mod client;
mod error;
mod guarantees;
mod object;
mod publish;
mod reserve;
mod retry;
mod runtime;
mod signature;
mod store;
mod trial;
mod unanswered;
mod upload;

pub use store::S3;
