//! What a plan is made of, as the first line of its journal says it.

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::status::Status;
use crate::finding::Finding;
use crate::names::StepId;
use crate::{Result, TOOL};

/// The format that is written. Journals of [`TITLES`] are read and gone on with.
pub(super) const FORMAT: u32 = 2;
/// The format that knew steps by their titles.
pub(super) const TITLES: u32 = 1;

/// What a plan's steps are made of. It stands in a journal's head, so that the steps can be made again from that alone.
pub trait Recipe: Serialize + DeserializeOwned {
    /// Its steps in order, each with the title that journals of format 1 know it by. They stay as they were then; a kind of plan that is
    /// newer has none.
    fn titles_in_format_1(&self) -> Vec<(StepId, String)> {
        Vec::new()
    }

    /// Makes sure that what it names is what such a plan names: a journal that somebody else has made must lead to nothing else.
    ///
    /// # Errors
    /// [`crate::Kind::Refused`] with the name that is none of such a plan's.
    fn check_names(&self) -> Result<()> {
        Ok(())
    }
}

/// The first line: what the plan is and all that its steps are made of. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head<P> {
    pub(super) format: u32,
    pub(super) tool: String,
    /// What kind of plan it is, such as `restore`.
    pub kind: String,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// Its steps, in order; in format 1 they are titles.
    pub(super) steps: Vec<StepId>,
    /// What its steps are made of.
    pub plan: P,
    /// What was found before it began, and did not stop it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) found: Vec<Finding>,
}

impl<P: Recipe> Head<P> {
    /// A plan of this version's format, with these steps in this order.
    pub fn new(kind: &str, created: DateTime<Utc>, plan: P, steps: Vec<StepId>) -> Self {
        Self { format: FORMAT, tool: TOOL.into(), kind: kind.into(), created, steps, plan, found: Vec::new() }
    }

    /// The same with what was found before it began.
    pub fn with_found(self, found: Vec<Finding>) -> Self {
        Self { found, ..self }
    }

    /// Its steps as a journal notes them. A title of format 1 that is none of this plan's stays what it is: nobody finds it.
    pub(super) fn noted(&self) -> Vec<Noted> {
        let keys = self.steps.iter().map(|step| step.as_str().to_owned());
        let titles = if self.format == TITLES { self.plan.titles_in_format_1() } else { Vec::new() };
        let id = |key: &String| titles.iter().find(|(_, title)| title == key).map(|(id, _)| id.clone());
        let noted = |key: String| Noted {
            id: id(&key).unwrap_or_else(|| StepId::new(&*key)),
            key,
            status: Status::Waiting,
            note: None,
        };
        keys.map(noted).collect()
    }
}

/// A step as a journal notes it.
#[derive(Debug)]
pub(super) struct Noted {
    pub(super) id: StepId,
    /// What its lines call it: the id, or the title in format 1.
    pub(super) key: String,
    pub(super) status: Status,
    /// What its own work has noted last, for whoever goes on with it.
    pub(super) note: Option<Value>,
}
