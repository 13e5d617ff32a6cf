//! What a step of a plan is stored as.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a journal knows a step by, such as `postgres/rows/orchestrator`: component, act, subject. It stands on disk, so it
/// is never reworded; a step's title may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(String);

impl StepId {
    /// The id with this text, which no other step of the plan may have.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}
