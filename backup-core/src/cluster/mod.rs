//! `cluster.conf`: the language it is written in and what this tool reads from it.

pub mod agent;
mod doubts;
pub mod hosts;
mod lexer;
mod lines;
mod parser;
pub mod secret;
mod syntax;
mod value;
mod view;

pub use lines::Lines;
pub use parser::parse;
pub use syntax::SyntaxError;
pub use value::{Map, Value};
pub use view::{ClusterConf, DatabaseBackups, Zone};
