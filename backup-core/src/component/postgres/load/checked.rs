//! What psql is given of a bundle: never a command of its own.
//!
//! Who made a bundle may have written anything into it, and `\! …` runs a program as whoever restores. So a script is looked
//! through first; and psql, where it knows how, takes no command between lines that only we can write.

use std::hash::{BuildHasher as _, RandomState};

use super::{Target, simple};
use crate::component::postgres::plain::commands;
use crate::component::postgres::{command, know_restrict};
use crate::{ErrorContext, Result};

/// A script that holds no command of psql's own.
pub(super) struct Checked(Vec<u8>);

impl Checked {
    /// Our own statements, with names that the server has quoted.
    pub(super) fn ours(script: Vec<u8>) -> Self {
        Self(script)
    }

    /// The statements of a script of a bundle, each of which must begin as one of `forms`.
    ///
    /// # Errors
    /// [`crate::Kind::Damaged`] where it holds another one, or anything else.
    pub(super) fn of_forms(script: &[u8], forms: &[&str]) -> Result<Self> {
        let mut all = simple::of_forms(script, forms)?.join(&b'\n');
        all.push(b'\n');
        Ok(Self(all))
    }

    /// Any one statement, such as a constraint with expressions, after some of our own.
    ///
    /// # Errors
    /// [`crate::Kind::Damaged`] where it is another number, or a command of psql's own is among them.
    pub(super) fn one(before: Vec<u8>, statement: &[u8]) -> Result<Self> {
        simple::refuse_zeros(statement)?;
        commands::refuse(statement)?;
        Ok(Self([&before, statement, b"\n"].concat()))
    }
}

/// Lines between which psql takes no command.
pub(super) struct Fence {
    /// None where psql does not know them.
    key: Option<String>,
}

impl Fence {
    pub(super) fn begin(&self) -> String {
        self.key.as_ref().map(|key| format!("\\restrict {key}\n")).unwrap_or_default()
    }

    pub(super) fn end(&self) -> String {
        self.key.as_ref().map(|key| format!("\\unrestrict {key}\n")).unwrap_or_default()
    }
}

impl Target {
    /// A fence that nobody can have foreseen.
    pub(super) fn fence(&self) -> Fence {
        // The system's random numbers are what such a hasher begins with.
        let random = || RandomState::new().hash_one(std::process::id());
        let key = || format!("{:016x}{:016x}", random(), random());
        Fence { key: know_restrict(&self.tools.version).then(key) }
    }

    /// Runs a script with psql.
    pub(super) async fn run_script(&self, database: &str, doing: &str, script: &Checked) -> Result<()> {
        let psql = self.psql(&self.parameters.with_database(database));
        let script = [self.fence().begin().as_bytes(), &script.0].concat();
        command::run(psql, doing, Some(&script)).await.map(|_| ()).context(|| format!("database {database}"))
    }
}
