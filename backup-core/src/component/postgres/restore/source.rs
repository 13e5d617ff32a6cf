//! What databases are made of.

use std::borrow::Cow;
use std::slice::from_ref;
use std::sync::Arc;

use crate::Result;
use crate::bundle::manifest::{Database, Server, major};
use crate::bundle::reader::OpenBundle;
use crate::component::postgres::plain::{self, Contents};
use crate::component::postgres::{Globals, read_globals};

/// What databases are made of.
#[derive(Clone)]
pub(crate) enum Source {
    /// A bundle.
    Bundle(Arc<OpenBundle>),
    /// A script that was read to its end, and the database that it makes.
    Script(Arc<Contents>, Arc<Database>),
}

impl Source {
    /// All databases that it has.
    pub(crate) fn databases(&self) -> &[Database] {
        match self {
            Self::Bundle(bundle) => &bundle.manifest().databases,
            Self::Script(_, database) => from_ref(database),
        }
    }

    /// The server that they are of, if it says.
    pub(crate) fn server(&self) -> Option<Cow<'_, Server>> {
        match self {
            Self::Bundle(bundle) => bundle.manifest().source.postgres.as_ref().map(Cow::Borrowed),
            Self::Script(script, _) => Some(Cow::Owned(Server {
                version_number: major(&script.server) * 10_000,
                version: script.server.clone(),
                pg_dump: script.pg_dump.clone(),
                standby: false,
                preload: Vec::new(),
            })),
        }
    }

    /// The major version that programs must have to read its schema into a server; psql of any runs a script.
    pub(crate) fn archived_by(&self) -> u32 {
        match self {
            Self::Bundle(_) => self.server().map_or(0, |server| server.pg_dump_major()),
            Self::Script(..) => 0,
        }
    }

    /// The roles that it makes, and the source's tablespaces; a script has none.
    pub(crate) fn globals(&self) -> Result<Globals> {
        match self {
            Self::Bundle(bundle) => read_globals(&bundle.content("databases/globals.sql")?),
            Self::Script(..) => Ok(Globals::default()),
        }
    }

    /// The tablespaces that parts of a database need beside its own.
    pub(crate) fn tablespaces(&self, database: &Database) -> Result<Vec<String>> {
        match self {
            Self::Bundle(bundle) => {
                let schema = |part: &str| bundle.content(&format!("databases/{}/{part}.sql", database.directory));
                let (before, after) = (schema("pre-data")?, schema("post-data")?);
                Ok(plain::tablespaces(&before).into_iter().chain(plain::tablespaces(&after)).collect())
            }
            Self::Script(script, _) => Ok(script.tablespaces.iter().cloned().collect()),
        }
    }
}
