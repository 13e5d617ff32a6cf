//! What a command about a restore that failed has left behind.

use super::unfinished;
use crate::plan::Progress;
use crate::{Context, Kind};

/// What is left behind. What is unfinished, the journal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// Nothing was changed: what was asked for was refused.
    Refused,
    /// Nothing was changed: something failed.
    Failed,
    /// Nothing was changed: it was interrupted.
    Interrupted,
    /// A restore can go on, or be rolled back; the argument that names it, where it can be seen.
    Resumable(Option<String>),
    /// A rollback must go on.
    RollbackUnfinished,
    /// A clean-up must go on.
    CleanupUnfinished,
}

impl Stopped {
    /// After an error of this kind.
    pub fn after(kind: Kind, context: &Context) -> Self {
        match kind {
            Kind::Unfinished => match unfinished(context) {
                Ok(Some((Progress::Undoing, _))) => Self::RollbackUnfinished,
                Ok(None) => Self::CleanupUnfinished,
                unfinished => Self::Resumable(unfinished.ok().flatten().map(|(_, argument)| argument)),
            },
            Kind::Interrupted => Self::Interrupted,
            Kind::Failed => Self::Failed,
            _ => Self::Refused,
        }
    }

    /// What programs call it.
    pub fn state(&self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Failed | Self::Interrupted => "failed-and-unchanged",
            Self::Resumable(_) => "resumable",
            Self::RollbackUnfinished => "rollback-unfinished",
            Self::CleanupUnfinished => "cleanup-unfinished",
        }
    }
}
