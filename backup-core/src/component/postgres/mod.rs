//! A PostgreSQL server as a component: what it holds, captured under one snapshot per database.

mod bound;
mod capture;
mod command;
mod component;
pub mod connection;
mod content;
mod directories;
mod discover;
mod elsewhere;
mod floor;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod globals;
mod gone;
mod grants;
mod head;
mod large_objects;
mod live;
mod load;
mod meaning;
mod needs;
mod pitfalls;
pub(crate) mod plain;
mod psql;
mod ready;
mod restore;
mod roles;
mod rows;
mod schema;
mod scripts;
mod sequences;
mod session;
mod snapshot;
mod sql;
mod tables;
mod throwaway;
mod tools;
mod words;

pub(crate) use bound::{Sign, bound};
pub(crate) use capture::directory;
pub(crate) use component::Postgres;
pub(crate) use content::{Content, content};
pub(crate) use directories::directories;
pub use discover::{DatabaseFacts, ServerFacts, access_problems, databases, server};
pub(crate) use discover::{extensions, half_built, is_untouched};
pub(crate) use elsewhere::{before_restore, elsewhere, is_of_elsewhere};
pub use floor::CLIENTS_UNSAFE;
pub(crate) use floor::unsafe_tools;
pub(crate) use globals::{Globals, read as read_globals};
pub(crate) use gone::gone;
pub(crate) use head::{Head, Keys, Relation, primary_keys};
pub(crate) use live::{Live, Piece, Pieces, written_by};
use load::later_powers as later_powers_of;
pub(crate) use load::{EXTENSION_VERSION, left_out, money_locale};
pub use load::{Load, Names, Script, Sessions, Target, drop_database, older_than_pg_dump, server_findings};
use load::{swap, swap_back, swapped};
pub(crate) use meaning::{has_money, session as session_of};
pub use pitfalls::pitfalls;
pub use ready::ReadyPostgres;
pub(crate) use ready::{Wanted, find};
pub use restore::Planned;
pub(crate) use restore::{
    Asked, Made, OfBundle, OfScript, Recipe, Restoring, Way, administrative, default_jobs, without_source,
};
pub(crate) use roles::roles_of_functions;
pub use roles::{Lacking, lacking};
pub use throwaway::Throwaway;
pub use tools::{Tools, find as find_tools, find_server, know_restrict};

use crate::{Error, Kind};

/// The locale by which our sessions write amounts of money.
pub(crate) const C_MONEY: &str = session::MONEY.1;

/// The oldest major version that is captured.
pub const OLDEST: u32 = 12;

/// What to do about a name or a text that the server takes and that is no text elsewhere.
const NO_TEXT: &str = "a role, a database, a tablespace, or a setting or comment of one, has a name or text that is not UTF-8: \
    rename it, or set it anew, in the database where that was done: one of encoding SQL_ASCII, or of its encoding";

/// A query's failure with the server's own words.
fn query_failed(doing: impl Into<String>, error: &tokio_postgres::Error) -> Error {
    let no_text = connection::is_no_text(error);
    let cause = if no_text { "the server sent a text that is not UTF-8".into() } else { connection::describe(error) };
    let failure = Error::new(Kind::Failed, doing).because(cause).of(words::cause(error));
    let code = error.code().map(tokio_postgres::error::SqlState::code);
    let failure = if code.is_some_and(|code| !words::code_may_pass(code)) { failure.lasting() } else { failure };
    match code {
        Some("42501") => {
            failure.hint("run as a superuser, or grant the role pg_read_all_data and the databases' own rights")
        }
        Some("55P03") => failure
            .hint("another session holds or waits for an exclusive lock on that table; try again when it is done"),
        Some("40001") => failure.hint(
            "on a standby, set hot_standby_feedback = on or raise max_standby_streaming_delay, so that long reads don't stand in the way",
        ),
        Some("53200") => failure.hint("the server's lock table is full; raise max_locks_per_transaction there"),
        Some("57014" | "57P01") => failure.hint("the server or its administrator ended the session; try again"),
        Some("22021") => failure.hint(NO_TEXT),
        None if no_text => failure.lasting().hint(NO_TEXT),
        _ if error.is_closed() => failure.hint("the connection was cut: look into the server's log, then try again"),
        _ => failure,
    }
}
