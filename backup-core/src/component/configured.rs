//! The components that the settings describe.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{Component, Kinds};
use crate::names::ComponentId;
use crate::toml_text::Table;
use crate::{Error, ErrorContext, Kind, Result};

/// The components of a machine, in the order of its settings, which is that of backups and restores; and the kinds that are known.
#[derive(Clone, Default)]
pub struct Components {
    all: Vec<Arc<dyn Component>>,
    kinds: Kinds,
}

impl Components {
    /// Those that tables of the settings describe: each has a `kind`, and an `id`, which is the kind where it is not said.
    ///
    /// # Errors
    /// [`Kind::Usage`] with the component and what is wrong with it; [`Kind::Unsupported`] for a kind that the program does not know.
    pub fn configured(tables: Vec<Table>, kinds: &Kinds) -> Result<Self> {
        let mut all: Vec<Arc<dyn Component>> = Vec::new();
        for table in tables {
            let hint = "write kind = \"…\" below [[component]]";
            let kind = table.text_of("kind")?.ok_or_else(|| usage("component: it has no kind").hint(hint))?;
            let id = table.text_of("id")?.unwrap_or_else(|| kind.clone());
            let kind = kinds.named(&kind).context(|| format!("component {id}"))?;
            let shown = id.escape_debug().to_string();
            let id = ComponentId::try_from(id).map_err(|cause| usage(format!("component {shown}")).because(cause))?;
            if ComponentId::FIXED.contains(&id.as_str()) {
                let hint = "give it another id = \"…\"";
                return Err(usage(format!("component {id}: something else is called so")).hint(hint));
            }
            if all.iter().any(|other| *other.id() == id) {
                return Err(usage(format!("component {id}: there are two of this name"))
                    .hint("give one of them another id = \"…\""));
            }
            all.push(kind.configured(id.clone(), &table).context(|| format!("component {id}"))?);
        }
        Ok(Self { all, kinds: kinds.clone() })
    }

    /// These, of a test.
    #[cfg(test)]
    pub(crate) fn of(all: Vec<Arc<dyn Component>>) -> Self {
        Self { all, kinds: Kinds::default() }
    }

    /// None of these kinds.
    pub fn none(kinds: &Kinds) -> Self {
        Self { all: Vec::new(), kinds: kinds.clone() }
    }

    /// The kinds that are known.
    pub fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// The one with this name.
    pub fn get(&self, id: &ComponentId) -> Option<&Arc<dyn Component>> {
        self.iter().find(|component| component.id() == id)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Component>> {
        self.all.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

/// What the settings say of a component, in the terms of its kind, without its `kind` and `id`.
///
/// # Errors
/// [`Kind::Usage`], for people.
pub(super) fn read<T: DeserializeOwned>(table: &Table) -> Result<T> {
    table.read(&["kind", "id"])
}

/// Makes sure that there are commands that stop and start a component's server, whose usual unit is `unit`.
///
/// # Errors
/// [`Kind::Usage`].
pub(super) fn check_commands(unit: &str, stop: &[String], start: &[String]) -> Result<()> {
    for (key, command) in [("stop", stop), ("start", start)] {
        if command.first().is_none_or(String::is_empty) {
            let hint = format!("write {key} = [\"systemctl\", \"{key}\", \"{unit}\"]");
            return Err(usage(format!("{key} is empty")).hint(hint));
        }
    }
    Ok(())
}

fn usage(message: impl Into<String>) -> Error {
    Error::new(Kind::Usage, message)
}

impl fmt::Debug for Components {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.iter().map(|component| component.id())).finish()
    }
}
