//! Connections to PostgreSQL that honour what `psql` honours.
//!
//! The driver reads no environment, no password file and no service file, so these modules resolve the same
//! parameters as libpq does, in libpq's order: connection string, service file, environment, defaults. Child processes
//! get the very same result as libpq variables. The rules are those of chapter "libpq — C Library" of PostgreSQL's manual.

mod connect;
mod conninfo;
mod keywords;
mod parameters;
mod passfile;
mod query;
mod refusal;
mod service;
mod stage;
mod string;
mod tls;

pub use connect::{Connection, connect, connect_first, try_admission};
pub(crate) use conninfo::names_file;
pub use parameters::Parameters;
pub(crate) use query::is_no_text;
pub use string::ConnectionString;

use super::words;

/// The driver's error with the server's own words, which its `Display` leaves out.
pub(crate) fn describe(error: &tokio_postgres::Error) -> String {
    let Some(server) = error.as_db_error() else {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.ends_with(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        return text;
    };
    let mut text = format!("{}: {}", server.severity(), words::message(server.message()));
    if let Some(detail) = server.detail().filter(|_| !words::shows_rows(server)) {
        text = format!("{text} ({detail})");
    }
    text
}
