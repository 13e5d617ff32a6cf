//! The components that the settings describe.

use std::fmt;
use std::sync::Arc;

use super::{Component, Kinds};
use crate::names::ComponentId;
use crate::{Error, ErrorContext, Kind, Result};

/// The components of a machine, in the order of its settings, which is that of backups and restores.
#[derive(Clone, Default)]
pub struct Components(Vec<Arc<dyn Component>>);

impl Components {
    /// Those that tables of the settings describe: each has a `kind`, and an `id`, which is the kind where it is not said.
    ///
    /// # Errors
    /// [`Kind::Usage`] with the component and what is wrong with it; [`Kind::Unsupported`] for a kind that the program does not know.
    pub fn configured(tables: Vec<toml::Table>, kinds: &Kinds) -> Result<Self> {
        let mut all: Vec<Arc<dyn Component>> = Vec::new();
        for mut table in tables {
            let mut text = |key: &str| match table.remove(key) {
                Some(toml::Value::String(text)) => Ok(Some(text)),
                Some(_) => Err(usage(format!("component.{key}: expected a string"))),
                None => Ok(None),
            };
            let hint = "write kind = \"…\" below [[component]]";
            let kind = text("kind")?.ok_or_else(|| usage("component: it has no kind").hint(hint))?;
            let id = text("id")?.unwrap_or_else(|| kind.clone());
            let kind = kinds.named(&kind).context(|| format!("component {id}"))?;
            let plain = "it begins with a small letter; small letters, digits and hyphens follow";
            let id = ComponentId::try_from(id.clone()).map_err(|_| usage(format!("component {id:?}: {plain}")))?;
            if all.iter().any(|other| *other.id() == id) {
                return Err(usage(format!("component {id}: there are two of this name"))
                    .hint("give one of them another id = \"…\""));
            }
            all.push(kind.configured(id.clone(), table).context(|| format!("component {id}"))?);
        }
        Ok(Self(all))
    }

    /// These, of a test.
    #[cfg(test)]
    pub(crate) fn of(all: Vec<Arc<dyn Component>>) -> Self {
        Self(all)
    }

    /// The one with this name.
    pub fn get(&self, id: &ComponentId) -> Option<&Arc<dyn Component>> {
        self.iter().find(|component| component.id() == id)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Component>> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn usage(message: impl Into<String>) -> Error {
    Error::new(Kind::Usage, message)
}

impl fmt::Debug for Components {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.iter().map(|component| component.id())).finish()
    }
}
