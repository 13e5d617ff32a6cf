//! Who made a bundle, as far as is known.

use serde::{Deserialize, Serialize};

use super::Signing;
use crate::{Error, Kind, Result};

/// Where a bundle comes from, as far as can be told here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "origin", rename_all = "kebab-case")]
pub enum Origin {
    /// A key that the settings trust has signed it.
    Signed {
        /// What the settings call the key.
        signed_by: String,
    },
    /// This machine's journal of runs has its digest.
    MadeHere,
    /// The journal of runs has a bundle of this name and length, and no digest that could be compared: it is from before digests were
    /// noted, or is encrypted and can't be opened here.
    NamedHere,
    /// Nothing but its own manifest speaks for it.
    #[default]
    Unknown,
}

impl Origin {
    /// Whether a key or a journal of ours knows it.
    pub fn is_known(&self) -> bool {
        *self != Self::Unknown
    }

    /// Whether its bytes are those that somebody known has written.
    pub fn is_proved(&self) -> bool {
        matches!(self, Self::Signed { .. } | Self::MadeHere)
    }

    /// In a few words, for a table.
    pub fn short(&self) -> String {
        match self {
            Self::Signed { signed_by } => format!("signed by {signed_by}"),
            Self::MadeHere => "made here".into(),
            Self::NamedHere => "named here".into(),
            Self::Unknown => "unknown".into(),
        }
    }

    /// What it means that every byte is as its digests say.
    pub fn of_bytes(&self) -> String {
        match self {
            Self::Signed { signed_by } => format!("every byte is as it was written, signed by {signed_by}"),
            Self::MadeHere => "every byte is as it was written, by this machine".into(),
            Self::NamedHere => {
                "every byte is as its own manifest says; this machine made one of its name and length, and noted no digest then".into()
            }
            Self::Unknown => "every byte is as its own manifest says; nothing here knows who made it".into(),
        }
    }

    /// What to do where nobody known has made it.
    pub fn hint(&self) -> Option<&'static str> {
        (!self.is_known()).then_some(UNKNOWN)
    }

    /// Why a bundle is refused that is not signed, where the settings demand that.
    ///
    /// # Errors
    /// [`Kind::Refused`].
    pub fn demand(&self, signing: &Signing, doing: &str) -> Result<()> {
        if !signing.required || matches!(self, Self::Signed { .. }) {
            return Ok(());
        }
        let error = Error::new(Kind::Refused, format!("{doing}: no key that the settings trust has signed it"));
        Err(error
            .hint("take a signed one: `list` shows which; or add its signer to [signing.trusted], if you know the key"))
    }
}

/// What to do about a bundle that nothing here knows.
pub const UNKNOWN: &str = "a machine that is new knows no bundle: hold its sha256 against what its backup printed, or ask who put it there; \
                           signed bundles are known everywhere: `key generate --signing /etc/orchestrator/signing.key`";
