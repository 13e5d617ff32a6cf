//! What is asked of databases, and what the steps that bring them back are made of.

use serde::{Deserialize, Serialize};

use super::swapping::swap_id;
use crate::Result;
use crate::bundle::manifest::postgres::Database;
use crate::component::Fitted;
use crate::component::postgres::Names;

/// What the steps are made of, as a restore's journal says it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Recipe {
    /// The server's own identifier.
    pub(crate) server: String,
    /// Roles that it has not and that are made.
    pub(crate) roles: Vec<String>,
    /// The databases.
    pub(crate) databases: Vec<Planned>,
    /// Connections that load rows at once.
    pub(crate) jobs: usize,
}

/// A database that is restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// Its place among the manifest's databases.
    pub index: usize,
    /// Its names.
    pub names: Names,
}

/// What is asked for.
pub(crate) struct Asked {
    /// Databases, each with another name where it is to have one; empty for all.
    pub(crate) databases: Vec<(String, Option<String>)>,
    /// Roles that may be made although they can do more than databases' owners may.
    pub(crate) allow_superuser: Vec<String>,
    /// Whether client programs may be used that a bundle of somebody unknown could turn against us.
    pub(crate) allow_old_clients: bool,
    /// Whether somebody known made what is restored.
    pub(crate) proved: bool,
}

impl Asked {
    /// The databases that are asked for, with their places and the names that they are to have.
    pub(super) fn chosen<'s>(&'s self, all: &'s [Database]) -> impl Iterator<Item = (usize, &'s Database, &'s str)> {
        all.iter().enumerate().filter_map(|(index, database)| {
            if self.databases.is_empty() {
                return Some((index, database, database.name.as_str()));
            }
            let (name, other) = self.databases.iter().find(|(name, _)| *name == database.name)?;
            Some((index, database, other.as_deref().unwrap_or(name)))
        })
    }

    /// Whether all get other names than they had.
    pub(super) fn renames_all(&self) -> bool {
        let renamed = |(name, other): &(String, Option<String>)| other.as_ref().is_some_and(|other| other != name);
        !self.databases.is_empty() && self.databases.iter().all(renamed)
    }
}

impl Recipe {
    /// How the names of this restore's sessions end, by which they are found however the program ended.
    pub(super) fn sessions(&self) -> String {
        let shadow = self.databases.first().map_or("", |planned| planned.names.shadow.as_str());
        format!("restore {}", shadow.rsplit('_').next().unwrap_or_default())
    }

    /// Every database's names.
    pub(super) fn names(&self) -> Vec<Names> {
        self.databases.iter().map(|planned| planned.names.clone()).collect()
    }

    /// Names of the databases while they are built.
    pub(crate) fn shadows(&self) -> Vec<String> {
        self.databases.iter().map(|planned| planned.names.shadow.clone()).collect()
    }

    /// Makes sure that it names what a restore names.
    ///
    /// # Errors
    /// As [`Planned::check_names`].
    pub(crate) fn check_names(&self) -> Result<()> {
        self.databases.iter().try_for_each(Planned::check_names)
    }

    /// What it brings back.
    pub(crate) fn fitted(&self) -> Fitted {
        let names = || self.databases.iter().map(|planned| &planned.names);
        Fitted {
            brings: names().map(|names| names.name.clone()).collect(),
            aside: names().filter_map(|names| Some((names.name.clone(), names.before.clone()?))).collect(),
            live: vec![swap_id()],
            ..Fitted::default()
        }
    }
}
