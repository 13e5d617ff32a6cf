//! The database that a script makes, as far as the script tells.

use chrono::{DateTime, Utc};

use super::Contents;
use crate::bundle::manifest::postgres::{Database, Extension, Locale, Snapshot};

impl Contents {
    /// What a bundle would say of the database that it makes under this name, if it was written then.
    pub(crate) fn database(&self, name: String, written: DateTime<Utc>) -> Database {
        let extension = |name: String| Extension { name, version: String::new(), schema: String::new() };
        Database {
            name,
            directory: String::new(),
            owner: String::new(),
            encoding: self.encoding.clone(),
            locale: Locale {
                provider: String::new(),
                collate: String::new(),
                ctype: String::new(),
                name: None,
                version: None,
            },
            tablespace: "pg_default".into(),
            connection_limit: -1,
            privileges: Vec::new(),
            comment: None,
            settings: Vec::new(),
            session: None,
            money: false,
            extensions: self.extensions.iter().cloned().map(extension).collect(),
            size: self.size,
            roles: self.roles.iter().cloned().collect(),
            snapshot: Snapshot { time: written, wal: None },
            tables: self.tables.clone(),
            sequences: 0,
            large_objects: self.large_objects,
            dropped: Vec::new(),
            elsewhere: Vec::new(),
        }
    }
}
