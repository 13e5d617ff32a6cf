//! Connection strings that settings say.

use std::path::Path;

use toml::Spanned;

use super::{Parameters, names_file};
use crate::cluster::secret::Secret;
use crate::context::Environment;
use crate::{Error, Result};

/// A PostgreSQL connection string, which may hold a password, and where it stands; empty for what the environment says.
#[derive(Debug, Clone, Default)]
pub struct ConnectionString {
    text: Secret,
    place: Option<String>,
}

impl ConnectionString {
    /// What stands under `key` in the file at `path`, whose content is `text`.
    pub(crate) fn read(found: Option<&Spanned<String>>, key: &str, path: &Path, text: &str) -> Self {
        let Some(found) = found.filter(|found| !found.get_ref().is_empty()) else { return Self::default() };
        let line = text.get(..found.span().start).map_or(1, |before| before.matches('\n').count() + 1);
        Self { text: Secret::new(found.get_ref()), place: Some(format!("{key} in {}, line {line}", path.display())) }
    }

    /// Whether there is one.
    pub(crate) fn is_said(&self) -> bool {
        self.place.is_some()
    }

    /// A parameter that names a file, if there is one.
    ///
    /// # Errors
    /// A malformed string.
    pub(crate) fn names_file(&self) -> Result<Option<&'static str>> {
        names_file(self.text.expose())
    }

    /// The parameters of the connection.
    ///
    /// # Errors
    /// As [`Parameters::resolve`], with the place.
    pub fn parameters(&self, environment: &Environment) -> Result<Parameters> {
        let resolved = Parameters::resolve(self.text.expose(), environment);
        let Some(place) = &self.place else { return resolved };
        let resolved = resolved.map(|parameters| parameters.said_by(place));
        resolved.map_err(|error| {
            let hint = error.first_hint().map_or_else(String::new, |hint| format!("{hint}; "));
            let kind = error.kind();
            Error::new(kind, format!("read {place}")).because(error).hint(format!("{hint}correct it there"))
        })
    }
}
